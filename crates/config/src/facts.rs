//! What is known of single fields of definitions: which hold secrets, which name other definitions, which belong to
//! an environment. Read from the fields' declarations.

use crate::catalogue::Catalogue;
use crate::sections::{DESTINATION, POLLED, RECEIVED, SOURCE};
use crate::tree::join;
use model::StoredDefinition;
use model::schema::{Field, Group, Kind, Section, TransportSpec, joined};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

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

    /// Whether a field holds a secret, several, or one in one of its forms. `transport` is the definition's, where it
    /// has one.
    #[must_use]
    pub fn is_secret(&self, section: &str, transport: Option<&str>, path: &[&str]) -> bool {
        self.find(section, transport, path).iter().any(|field| takes_secret(field.kind))
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

    /// The names of all fields for secrets, wherever they stand.
    pub(crate) fn secret_names(&self) -> BTreeSet<&'static str> {
        let mut found = BTreeSet::new();
        for spec in self.catalogue.sections() {
            secret_names(&self.fields(spec.section.as_str(), None), &mut found);
        }
        secret_names(&self.source(), &mut found);
        secret_names(&self.destination(), &mut found);
        found
    }

    /// The first field of a definition, by its path, that holds a secret or refers to one.
    #[must_use]
    pub fn secret_field(&self, definition: &StoredDefinition) -> Option<String> {
        let transport = definition.document.get("transport").and_then(Json::as_str);
        first_secret(&self.fields(&definition.section, transport), &definition.document, "")
    }

    /// Whether definitions of a kind are nothing but a login: an import keeps them whole when asked.
    #[must_use]
    pub fn is_login_section(&self, section: &str) -> bool {
        [Section::CREDENTIAL, Section::KEY].iter().any(|login| login.as_str() == section)
    }

    /// The definitions that one names, each as section and name.
    #[must_use]
    pub fn references(&self, definition: &StoredDefinition) -> Vec<(&'static str, String)> {
        let found = self.reference_fields(definition).into_iter();
        let mut found: Vec<_> = found.map(|reference| (reference.section, reference.name)).collect();
        found.sort();
        found.dedup();
        found
    }

    /// The same with the fields that name them, in the order of the fields' declarations.
    #[must_use]
    pub fn reference_fields<'d>(&self, definition: &'d StoredDefinition) -> Vec<Reference<'d>> {
        let mut found = Vec::new();
        let transport = definition.document.get("transport").and_then(Json::as_str);
        let fields = self.fields(&definition.section, transport);
        collect(&fields, &definition.document, "", None, &mut found);
        if definition.section == Section::FLOW.as_str() {
            for (key, fields) in [("source", self.source()), ("destination", self.destination())] {
                let tables = definition.document.get(key).into_iter().flat_map(items);
                tables.for_each(|table| collect(&fields, table, key, None, &mut found));
            }
        }
        found
    }

    /// What decides to whom the secrets of a definition are shown: the fields that are declared so, by their paths, and
    /// the definitions that they name, each as section and name.
    #[must_use]
    pub fn address(&self, definition: &StoredDefinition) -> Address {
        let transport = definition.document.get("transport").and_then(Json::as_str);
        let mut address = Address::default();
        collect_address(&self.fields(&definition.section, transport), &definition.document, "", &mut address);
        address.names.sort();
        address.names.dedup();
        address
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

/// A field of a definition that names another definition.
#[derive(Clone, PartialEq, Debug)]
pub struct Reference<'d> {
    /// Its path within its definition, without the numbers of list entries, such as `as2.keys`.
    pub field: String,
    /// The kind of the definition that it names.
    pub section: &'static str,
    /// That definition's name.
    pub name: String,
    /// The table of a list that holds the name, such as `{ name = "acme", from = … }`.
    pub entry: Option<&'d Json>,
}

/// What decides to whom the secrets of a definition are shown.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Address {
    /// What the fields hold, by their paths within the definition.
    pub fields: BTreeMap<String, Json>,
    /// The definitions that they name, each as section and name.
    pub names: Vec<(&'static str, String)>,
}

fn secret_names(fields: &[Field], found: &mut BTreeSet<&'static str>) {
    fn below(kind: Kind, found: &mut BTreeSet<&'static str>) {
        match kind {
            Kind::Table(group) => secret_names(group.fields, found),
            Kind::List(kind) | Kind::Map(kind) => below(*kind, found),
            Kind::OneOf(kinds) => kinds.iter().for_each(|kind| below(*kind, found)),
            _ => {}
        }
    }
    for field in fields {
        if takes_secret(field.kind) {
            found.insert(field.name);
        }
        below(field.kind, found);
    }
}

fn first_secret(fields: &[Field], table: &Json, path: &str) -> Option<String> {
    fields.iter().find_map(|field| {
        let value = table.get(field.name)?;
        let path = join(path, field.name);
        if takes_secret(field.kind) { Some(path) } else { secret_below(field.kind, value, &path) }
    })
}

fn secret_below(kind: Kind, value: &Json, path: &str) -> Option<String> {
    match kind {
        Kind::Table(group) => first_secret(group.fields, value, path),
        Kind::List(kind) => {
            let mut items = items(value).enumerate();
            items.find_map(|(at, item)| secret_below(*kind, item, &format!("{path}[{}]", at + 1)))
        }
        Kind::Map(kind) if takes_secret(*kind) => Some(path.to_owned()),
        Kind::Map(kind) => {
            let mut named = value.as_object().into_iter().flatten();
            named.find_map(|(key, value)| secret_below(*kind, value, &join(path, key)))
        }
        Kind::OneOf(kinds) => kinds.iter().find_map(|kind| secret_below(*kind, value, path)),
        _ => None,
    }
}

fn collect_address(fields: &[Field], table: &Json, path: &str, found: &mut Address) {
    for field in fields {
        let Some(value) = table.get(field.name) else { continue };
        let path = join(path, field.name);
        if field.address {
            let mut names = Vec::new();
            named(field.kind, value, &path, None, &mut names);
            found.names.extend(names.into_iter().map(|reference| (reference.section, reference.name)));
            found.fields.insert(path, value.clone());
        } else {
            address_below(field.kind, value, &path, found);
        }
    }
}

fn address_below(kind: Kind, value: &Json, path: &str, found: &mut Address) {
    match kind {
        Kind::Table(group) => collect_address(group.fields, value, path, found),
        Kind::List(kind) => {
            for (at, item) in items(value).enumerate() {
                address_below(*kind, item, &format!("{path}[{}]", at + 1), found);
            }
        }
        Kind::Map(kind) => {
            for (key, value) in value.as_object().into_iter().flatten() {
                address_below(*kind, value, &join(path, key), found);
            }
        }
        Kind::OneOf(kinds) => kinds.iter().for_each(|kind| address_below(*kind, value, path, found)),
        _ => {}
    }
}

/// Whether a text in a field of a kind may be a secret.
fn takes_secret(kind: Kind) -> bool {
    match kind {
        Kind::Secret => true,
        Kind::List(kind) => takes_secret(*kind),
        Kind::OneOf(kinds) => kinds.iter().any(|kind| takes_secret(*kind)),
        _ => false,
    }
}

/// The fields that a path leads to.
fn within(fields: &[Field], path: &[&str]) -> Vec<Field> {
    let Some((name, rest)) = path.split_first() else { return Vec::new() };
    let named = fields.iter().filter(|field| field.name == *name);
    named
        .flat_map(|field| if rest.is_empty() { vec![*field] } else { below(field, field.kind, rest) })
        .collect()
}

/// The fields that a path leads to within the value of a field of a kind.
fn below(field: &Field, kind: Kind, path: &[&str]) -> Vec<Field> {
    match (kind, path) {
        (Kind::Table(group), _) => within(group.fields, path),
        (Kind::List(kind), _) => below(field, *kind, path),
        // The first word is a key that a person chose.
        (Kind::Map(kind), [_]) => vec![Field { kind: *kind, ..*field }],
        (Kind::Map(kind), [_, rest @ ..]) => below(field, *kind, rest),
        (Kind::OneOf(kinds), _) => kinds.iter().flat_map(|kind| below(field, *kind, path)).collect(),
        _ => Vec::new(),
    }
}

/// The values of a list, or the one alone.
fn items(value: &Json) -> impl Iterator<Item = &Json> {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice).iter()
}

fn collect<'d>(
    fields: &[Field],
    table: &'d Json,
    path: &str,
    entry: Option<&'d Json>,
    found: &mut Vec<Reference<'d>>,
) {
    for field in fields {
        if let Some(value) = table.get(field.name) {
            // In `{ name = … }` the list's own path says more.
            let is_entry_name = entry.is_some() && field.name == "name";
            let path = if is_entry_name { path.to_owned() } else { join(path, field.name) };
            named(field.kind, value, &path, entry, found);
        }
    }
}

/// The definitions that a value names.
fn named<'d>(
    kind: Kind,
    value: &'d Json,
    path: &str,
    entry: Option<&'d Json>,
    found: &mut Vec<Reference<'d>>,
) {
    let reference = |section: Section, name: &str| Reference {
        field: path.to_owned(),
        section: section.as_str(),
        name: name.to_owned(),
        entry,
    };
    match kind {
        Kind::Name(section) => found.extend(value.as_str().map(|name| reference(section, name))),
        Kind::NameOf(sections) => {
            let Some((word, name)) = value.as_str().and_then(|text| text.split_once(':')) else { return };
            let section = sections.iter().find(|section| section.as_str() == word);
            found.extend(section.map(|section| reference(*section, name)));
        }
        Kind::List(kind) => items(value).for_each(|item| {
            let entry = if item.is_object() { Some(item) } else { entry };
            named(*kind, item, path, entry, found);
        }),
        Kind::Table(group) => collect(group.fields, value, path, entry, found),
        Kind::Map(kind) => {
            let named_values = value.as_object().into_iter().flatten();
            named_values.for_each(|(key, value)| named(*kind, value, &join(path, key), entry, found));
        }
        Kind::OneOf(kinds) => {
            // A word that stands for itself names nothing.
            let word = |kind: &Kind| matches!((kind, value.as_str()), (Kind::Choice(words), Some(text)) if words.contains(&text));
            if !kinds.iter().any(word) {
                kinds.iter().for_each(|kind| named(*kind, value, path, entry, found));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::catalogue;
    use serde_json::json;

    #[test]
    fn references_say_which_field_names_what() {
        let definition = StoredDefinition {
            section: "identity".to_owned(),
            name: "acme".to_owned(),
            origin: String::new(),
            file: String::new(),
            position: 0,
            document: json!({ "as2": { "id": "ACME", "keys": ["a", "b"] } }),
        };
        let catalogue = catalogue();
        let found = Facts::new(&catalogue).reference_fields(&definition);
        let found: Vec<_> =
            found.iter().map(|each| (each.field.as_str(), each.section, each.name.as_str())).collect();
        assert_eq!(found, [("as2.keys", "key", "a"), ("as2.keys", "key", "b")]);
    }

    #[test]
    fn a_table_in_a_list_of_names_goes_with_its_name() {
        static DATED: Group = Group::of(&[
            Field::required("name", Kind::Name(Section::KEY), "The name."),
            Field::optional("from", Kind::Time, "The begin."),
        ]);
        const KEYS: Kind = Kind::List(&Kind::OneOf(&[Kind::Name(Section::KEY), Kind::Table(&DATED)]));
        let value = json!(["a", { "name": "b", "from": "2027-01-01T00:00:00Z" }]);
        let mut found = Vec::new();
        named(KEYS, &value, "as2.keys", None, &mut found);
        let begins: Vec<_> = found.iter().map(|each| each.entry.map(|entry| entry["from"].clone())).collect();
        assert_eq!(begins, [None, Some(json!("2027-01-01T00:00:00Z"))]);
        let names: Vec<_> = found.iter().map(|each| (each.field.as_str(), each.name.as_str())).collect();
        assert_eq!(names, [("as2.keys", "a"), ("as2.keys", "b")]);
    }
}
