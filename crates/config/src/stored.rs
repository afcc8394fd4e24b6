//! Definitions as the database keeps them: one by one, and the texts of their files.

use crate::documents::{Document, Documents, node_from_json, value_to_json};
use crate::facts::Facts;
use crate::problem::Place;
use crate::secrets::without_secrets;
use crate::tree::{Entry, Table, Value};
use model::schema::Section;
use model::{EDITED, Error, ErrorKind, Result, StoredDefinition, StoredFile};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Documents {
    /// Each definition by itself, references as written, as of an origin. Sorted by section and name.
    #[must_use]
    pub fn definitions(&self, origin: &str) -> Vec<StoredDefinition> {
        let mut all = Vec::new();
        for document in &self.files {
            let mut named: Vec<(&Place, &str, &str, &Value)> = Vec::new();
            for (section, entry) in &document.table {
                let Value::Table(table) = &entry.node.value else { continue };
                named.extend(
                    table.iter().map(|(name, entry)| {
                        (&entry.key, section.as_str(), name.as_str(), &entry.node.value)
                    }),
                );
            }
            named.sort_by_key(|(place, section, name, _)| (place.line, place.column, *section, *name));
            all.extend(named.into_iter().zip(0..).map(|((_, section, name, value), position)| {
                StoredDefinition {
                    section: section.to_owned(),
                    name: name.to_owned(),
                    origin: origin.to_owned(),
                    file: document.name.clone(),
                    position,
                    document: value_to_json(value),
                }
            }));
        }
        all.sort_by(|a, b| (&a.section, &a.name).cmp(&(&b.section, &b.name)));
        all
    }

    /// The files' texts, as of an origin, with `{ kept = true }` in place of literal secrets.
    #[must_use]
    pub fn texts(&self, origin: &str, facts: Facts<'_>) -> Vec<StoredFile> {
        let file = |document: &Document| StoredFile {
            origin: origin.to_owned(),
            file: document.name.clone(),
            text: without_secrets(&document.text, facts),
        };
        self.files.iter().map(file).collect()
    }

    /// Documents made of stored definitions. Lines are not known any more.
    ///
    /// # Errors
    /// `ConfigInvalid` when one holds what a document cannot.
    pub fn from_definitions<'a>(definitions: impl IntoIterator<Item = &'a StoredDefinition>) -> Result<Self> {
        let mut files: BTreeMap<(&str, &str), Document> = BTreeMap::new();
        for definition in definitions {
            let document = files.entry((&definition.origin, &definition.file)).or_insert_with(|| Document {
                name: definition.file.clone(),
                table: Table::new(),
                broken: false,
                shown: shown(definition),
                text: "".into(),
            });
            let place = Place::whole(&document.shown);
            let node = node_from_json(&place, &definition.document).map_err(|kind| {
                Error::permanent(ErrorKind::ConfigInvalid, "read a stored definition")
                    .with("definition", definition.key())
                    .with("holds", kind)
            })?;
            let section = document.table.entry(definition.section.clone()).or_insert_with(|| Entry {
                key: place.clone(),
                node: crate::tree::Node { place: place.clone(), value: Value::Table(Table::new()) },
            });
            if let Value::Table(table) = &mut section.node.value {
                table.insert(definition.name.clone(), Entry { key: place, node });
            }
        }
        Ok(Self { files: files.into_values().collect(), directory: None })
    }

    /// These documents and others together.
    #[must_use]
    pub fn with(mut self, others: Self) -> Self {
        self.files.extend(others.files);
        self
    }

    /// These documents but for some definitions, asked by section and name.
    #[must_use]
    pub fn without(mut self, leave_out: impl Fn(&str, &str) -> bool) -> Self {
        for document in &mut self.files {
            for (section, entry) in &mut document.table {
                if let Value::Table(named) = &mut entry.node.value {
                    named.retain(|name, _| !leave_out(section, name));
                }
            }
        }
        self
    }

    /// The names of stored definitions of a kind.
    pub fn names_in(
        definitions: &[StoredDefinition],
        section: Section,
    ) -> impl Iterator<Item = &str> + Clone {
        let of_kind = definitions.iter().filter(move |definition| definition.section == section.as_str());
        of_kind.map(|definition| definition.name.as_str())
    }
}

/// How messages name the file of a stored definition.
fn shown(definition: &StoredDefinition) -> Arc<str> {
    match (definition.origin.as_str(), definition.file.as_str()) {
        (EDITED, _) => format!("({} of the console)", definition.key()).into(),
        (origin, "") => format!("({} of {origin})", definition.key()).into(),
        // A name that a person gave, and no directory.
        (origin, file) if !origin.starts_with('/') => format!("{file} of {origin}").into(),
        (origin, file) => format!("{}/{file}", origin.trim_end_matches('/')).into(),
    }
}
