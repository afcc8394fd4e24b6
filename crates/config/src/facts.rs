//! What is known of single fields of definitions: which hold secrets, which name other definitions, which belong to
//! an environment. Read from the fields' declarations.

use crate::catalogue::Catalogue;
use crate::check::fields_of;
use crate::field::{Field, FieldKind, Section};
use model::{OptionKind, StoredDefinition};
use serde_json::Value as Json;

/// The declared fields, asked by their path within a definition: `["source", "after", "archive"]`, without the
/// numbers of list entries.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    catalogue: &'a Catalogue,
}

/// Fields of endpoints that say how to log in there.
const LOGIN: [&str; 3] = ["username", "credential", "key"];
/// The same among the transport's own options.
const LOGIN_OPTIONS: [&str; 4] = ["password", "private_key", "passphrase", "authentication"];
/// Fields that an environment may override. (Acceptance G17: directories for archived, downloaded and failed files,
/// the node that polls, and the preferred algorithms.)
const PER_ENVIRONMENT: [(Section, &[&str]); 11] = [
    (Section::Flow, &["source", "after", "archive"]),
    (Section::Flow, &["source", "after", "move"]),
    (Section::Flow, &["source", "after", "archive_locally"]),
    (Section::Flow, &["source", "error_directory"]),
    (Section::Flow, &["destination", "directory"]),
    (Section::Endpoint, &["node"]),
    (Section::Endpoint, &["options", "ciphers"]),
    (Section::Endpoint, &["options", "compression"]),
    (Section::Endpoint, &["options", "macs"]),
    (Section::Endpoint, &["options", "key_exchange"]),
    (Section::Endpoint, &["options", "host_key_algorithms"]),
];

fn section_of(word: &str) -> Option<Section> {
    Section::ALL.into_iter().find(|section| section.as_str() == word)
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
        let kind = section_of(section).and_then(|section| find(fields_of(section), path));
        match kind {
            Some((FieldKind::Value(kind), [])) => kind == OptionKind::Secret,
            Some((FieldKind::Options, [option])) => {
                let options = transport.and_then(|name| self.catalogue.get(name)).map(|spec| spec.options);
                let option = options.unwrap_or_default().iter().find(|spec| spec.name == *option);
                option.is_some_and(|spec| spec.kind == OptionKind::Secret)
            }
            _ => false,
        }
    }

    /// Whether an overlay for an environment may set a field.
    #[must_use]
    pub fn is_per_environment(&self, section: &str, _transport: Option<&str>, path: &[&str]) -> bool {
        PER_ENVIRONMENT.iter().any(|(of, field)| of.as_str() == section && *field == path)
    }

    /// Whether a field says how to log in: an import keeps it when asked.
    #[must_use]
    pub fn is_login(&self, section: &str, _transport: Option<&str>, path: &[&str]) -> bool {
        section == Section::Endpoint.as_str()
            && match path {
                [field] => LOGIN.contains(field),
                ["options", option] => LOGIN_OPTIONS.contains(option),
                _ => false,
            }
    }

    /// Whether definitions of a kind are nothing but a login: an import keeps them whole when asked.
    #[must_use]
    pub fn is_login_section(&self, section: &str) -> bool {
        [Section::Credential, Section::Key].iter().any(|login| login.as_str() == section)
    }

    /// The definitions that one names, each as section and name.
    #[must_use]
    pub fn references(&self, definition: &StoredDefinition) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        if let Some(section) = section_of(&definition.section) {
            collect(fields_of(section), &definition.document, &mut found);
        }
        found
    }
}

/// The kind of the field at a path, and what of the path lies below it.
fn find<'p>(fields: &'static [Field], path: &'p [&'p str]) -> Option<(FieldKind, &'p [&'p str])> {
    let (name, rest) = path.split_first()?;
    let kind = fields.iter().find(|field| field.name == *name)?.kind;
    match kind {
        FieldKind::Table(fields) | FieldKind::Tables(fields) if !rest.is_empty() => find(fields, rest),
        FieldKind::Named(fields) if rest.len() > 1 => find(fields, &rest[1..]),
        kind => Some((kind, rest)),
    }
}

fn collect(fields: &'static [Field], table: &Json, found: &mut Vec<(&'static str, String)>) {
    for field in fields {
        let Some(value) = table.get(field.name) else { continue };
        match field.kind {
            FieldKind::Name(section) | FieldKind::Names(section) => {
                let one = std::slice::from_ref(value);
                let names = value.as_array().map_or(one, Vec::as_slice).iter().filter_map(Json::as_str);
                found.extend(names.map(|name| (section.as_str(), name.to_owned())));
            }
            FieldKind::Table(fields) => collect(fields, value, found),
            FieldKind::Tables(fields) => {
                value.as_array().into_iter().flatten().for_each(|table| collect(fields, table, found));
            }
            FieldKind::Named(fields) => {
                value.as_object().into_iter().flatten().for_each(|(_, table)| collect(fields, table, found));
            }
            FieldKind::Value(_) | FieldKind::After | FieldKind::Options => {}
        }
    }
}
