//! What is known of single fields of definitions: which hold secrets, which name other definitions, which belong to
//! an environment. Read from the fields' declarations.

use crate::catalogue::Catalogue;
use crate::sections::{DESTINATION, POLLED, RECEIVED, SOURCE};
use model::StoredDefinition;
use model::schema::{Field, Group, Kind, Section, TransportSpec, joined};
use serde_json::Value as Json;

/// The declared fields, asked by their path within a definition: `["source", "after", "archive"]`, without the
/// numbers of list entries.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    catalogue: &'a Catalogue,
}

impl<'a> Facts<'a> {
    /// The fields of the built transports.
    #[must_use]
    pub const fn new(catalogue: &'a Catalogue) -> Self {
        Self { catalogue }
    }

    /// Whether a field holds a secret. `transport` is the definition's, where it has one.
    #[must_use]
    pub fn is_secret(&self, section: &str, transport: Option<&str>, path: &[&str]) -> bool {
        self.find(section, transport, path).iter().any(|field| matches!(field.kind, Kind::Secret))
    }

    /// Whether an overlay for an environment may set a field: it, or the table that it stands in, is declared so.
    #[must_use]
    pub fn is_per_environment(&self, section: &str, transport: Option<&str>, path: &[&str]) -> bool {
        (1..=path.len())
            .any(|end| self.find(section, transport, &path[..end]).iter().any(|field| field.per_environment))
    }

    /// Whether a field says how to log in: an import keeps it when asked.
    #[must_use]
    pub fn is_login(&self, section: &str, transport: Option<&str>, path: &[&str]) -> bool {
        self.find(section, transport, path).iter().any(|field| field.login)
    }

    /// Whether definitions of a kind are nothing but a login: an import keeps them whole when asked.
    #[must_use]
    pub fn is_login_section(&self, section: &str) -> bool {
        [Section::CREDENTIAL, Section::KEY].iter().any(|login| login.as_str() == section)
    }

    /// The definitions that one names, each as section and name.
    #[must_use]
    pub fn references(&self, definition: &StoredDefinition) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let transport = definition.document.get("transport").and_then(Json::as_str);
        let fields = self.fields(&definition.section, transport);
        collect(&fields, &definition.document, &mut found);
        if definition.section == Section::FLOW.as_str() {
            for (key, fields) in [("source", self.source()), ("destination", self.destination())] {
                let tables = definition.document.get(key).into_iter().flat_map(items);
                tables.for_each(|table| collect(&fields, table, &mut found));
            }
        }
        found.sort();
        found.dedup();
        found
    }

    /// Every declared field of a path: several where transports differ and none is said.
    fn find(&self, section: &str, transport: Option<&str>, path: &[&str]) -> Vec<Field> {
        if section == Section::FLOW.as_str()
            && let Some((table @ ("source" | "destination"), rest)) =
                path.split_first().map(|(first, rest)| (*first, rest))
            && !rest.is_empty()
        {
            let fields = if table == "source" { self.source() } else { self.destination() };
            return within(&fields, rest);
        }
        within(&self.fields(section, transport), path)
    }

    /// The fields at the top of a definition.
    fn fields(&self, section: &str, transport: Option<&str>) -> Vec<Field> {
        let Some(spec) = self.catalogue.sections().find(|spec| spec.section.as_str() == section) else {
            return Vec::new();
        };
        let mut fields = spec.group.fields.to_vec();
        // A transport that is not known may be any: no secret is to be missed.
        let known = transport.filter(|name| self.catalogue.get(name).is_some());
        for of in self.catalogue.iter().filter(|of| known.is_none_or(|name| name == of.name)) {
            let own: &[&Group] = match spec.section {
                Section::ENDPOINT => of.endpoint,
                Section::LISTENER => of.listener,
                _ => &[],
            };
            fields.extend(joined(own).0);
            let side = match spec.section {
                Section::PARTNER => of.partner,
                Section::IDENTITY => of.identity,
                _ => None,
            };
            fields.extend(side.map(|group| Field::optional(of.name, Kind::Table(group), of.doc)));
        }
        fields
    }

    fn source(&self) -> Vec<Field> {
        self.with_every(&[&SOURCE, &POLLED, &RECEIVED], |spec| [spec.source, spec.received].concat())
    }

    fn destination(&self) -> Vec<Field> {
        self.with_every(&[&DESTINATION], |spec| spec.destination.to_vec())
    }

    fn with_every(
        &self,
        common: &[&Group],
        own: impl Fn(&TransportSpec) -> Vec<&'static Group>,
    ) -> Vec<Field> {
        let mut fields = joined(common).0;
        for spec in self.catalogue.iter() {
            fields.extend(joined(&own(spec)).0);
        }
        fields
    }
}

/// The fields that a path leads to.
fn within(fields: &[Field], path: &[&str]) -> Vec<Field> {
    let Some((name, rest)) = path.split_first() else { return Vec::new() };
    let named = fields.iter().filter(|field| field.name == *name);
    named.flat_map(|field| if rest.is_empty() { vec![*field] } else { below(field.kind, rest) }).collect()
}

/// The fields that a path leads to within a field's value.
fn below(kind: Kind, path: &[&str]) -> Vec<Field> {
    match kind {
        Kind::Table(group) => within(group.fields, path),
        Kind::List(kind) => below(*kind, path),
        // The first word is a key that a person chose.
        Kind::Map(kind) => below(*kind, path.get(1..).unwrap_or_default()),
        Kind::OneOf(kinds) => kinds.iter().flat_map(|kind| below(*kind, path)).collect(),
        _ => Vec::new(),
    }
}

/// The values of a list, or the one alone.
fn items(value: &Json) -> impl Iterator<Item = &Json> {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice).iter()
}

fn collect(fields: &[Field], table: &Json, found: &mut Vec<(&'static str, String)>) {
    for field in fields {
        if let Some(value) = table.get(field.name) {
            named(field.kind, value, found);
        }
    }
}

/// The definitions that a value names.
fn named(kind: Kind, value: &Json, found: &mut Vec<(&'static str, String)>) {
    match kind {
        Kind::Name(section) => found.extend(value.as_str().map(|name| (section.as_str(), name.to_owned()))),
        Kind::NameOf(sections) => {
            let Some((word, name)) = value.as_str().and_then(|text| text.split_once(':')) else { return };
            let section = sections.iter().find(|section| section.as_str() == word);
            found.extend(section.map(|section| (section.as_str(), name.to_owned())));
        }
        Kind::List(kind) => items(value).for_each(|item| named(*kind, item, found)),
        Kind::Table(group) => collect(group.fields, value, found),
        Kind::Map(kind) => {
            value.as_object().into_iter().flatten().for_each(|(_, value)| named(*kind, value, found));
        }
        Kind::OneOf(kinds) => {
            // A word that stands for itself names nothing.
            let word = |kind: &Kind| matches!((kind, value.as_str()), (Kind::Choice(words), Some(text)) if words.contains(&text));
            if !kinds.iter().any(word) {
                kinds.iter().for_each(|kind| named(*kind, value, found));
            }
        }
        _ => {}
    }
}
