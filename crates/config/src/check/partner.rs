//! Identities and partners: what holds for every transport, and by transport what it declares.

use super::Checker;
use crate::reader::{Declared, Reader};
use crate::tree::Entry;
use model::definition::{Identity, Partner};
use model::schema::{Field, Group, Kind, Section, Value, Values};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

impl<'a> Checker<'a> {
    pub(super) fn identities(&mut self) {
        let tables = self.by_transport(|spec| spec.identity);
        for (name, entry) in self.written(Section::IDENTITY) {
            let Some((reader, sides)) = self.with_transports(Section::IDENTITY, name, entry, &tables) else {
                continue;
            };
            let title = reader.text("title").map(|text| text.value);
            let identity = Identity { name: name.to_owned(), title, sides };
            let mut is_usable = true;
            for transport in identity.sides.keys() {
                is_usable &=
                    self.ask(transport, (Section::IDENTITY, name), transport.as_str(), |own, findings| {
                        own.check_identity(&identity, &self.definitions, findings);
                    });
            }
            if is_usable {
                self.definitions.identities.insert(name.to_owned(), Arc::new(identity));
            }
        }
    }

    pub(super) fn partners(&mut self) {
        let tables = self.by_transport(|spec| spec.partner);
        for (name, entry) in self.written(Section::PARTNER) {
            let Some((reader, agreements)) = self.with_transports(Section::PARTNER, name, entry, &tables)
            else {
                continue;
            };
            let title = reader.text("title").map(|text| text.value);
            let contact = reader.text("contact").map(|text| text.value);
            let partner = Partner { name: name.to_owned(), title, contact, agreements };
            let mut is_usable = true;
            for transport in partner.agreements.keys() {
                is_usable &=
                    self.ask(transport, (Section::PARTNER, name), transport.as_str(), |own, findings| {
                        own.check_partner(&partner, &self.definitions, findings);
                    });
            }
            if is_usable {
                self.definitions.partners.insert(name.to_owned(), Arc::new(partner));
            }
        }
    }

    /// A table for each transport that declares one.
    fn by_transport(
        &self,
        group: impl Fn(&model::schema::TransportSpec) -> Option<&'static Group>,
    ) -> Vec<Field> {
        let table = |spec: &'static model::schema::TransportSpec| {
            group(spec).map(|group| Field::optional(spec.name, Kind::Table(group), spec.doc))
        };
        self.catalogue.iter().filter_map(table).collect()
    }

    /// Opens a definition, and reads the tables of the transports that are written in it.
    fn with_transports(
        &self,
        section: Section,
        name: &str,
        entry: &'a Entry,
        tables: &[Field],
    ) -> Option<(Reader<'a>, BTreeMap<String, Values>)> {
        let spec = self.catalogue.sections().find(|spec| spec.section == section)?;
        let fields = spec.group.fields.iter().chain(tables).copied().collect();
        let declared = Declared { fields: Cow::Owned(fields), rules: Cow::Borrowed(spec.group.rules) };
        let errors = self.context.error_count();
        let reader = self.open(section, name, entry, declared)?;
        let mut values = BTreeMap::new();
        for field in tables.iter().filter(|field| reader.has(field.name)) {
            if let Some(Value::Table(table)) = reader.value(field.name) {
                values.insert(field.name.to_owned(), table);
            }
        }
        (self.context.error_count() == errors).then_some((reader, values))
    }
}
