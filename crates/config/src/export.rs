//! Stored definitions as documents again: files as they were written where their text is known, others in one
//! canonical form. Secrets that the database keeps are written as `{ kept = true }`.

use crate::documents::Documents;
use crate::facts::Facts;
use crate::plan::Side;
use crate::secrets::{Held, Put, each_secret};
use model::{Error, ErrorKind, Result, StoredDefinition, StoredFile, did_you_mean};
use serde::Serialize;
use serde_json::{Map, Value as Json};
use std::collections::{BTreeMap, BTreeSet};

/// A document to be written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ExportedFile {
    /// Its name in the directory.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Everything, as files of one directory. A file's text is given back as it was written where it says what is in force;
/// definitions that it lacks are written in another file, and where it says anything else all of its definitions are.
///
/// # Errors
/// A stored definition cannot be written as TOML.
pub fn export(side: Side<'_>, facts: Facts<'_>) -> Result<Vec<ExportedFile>> {
    let mut of_file: BTreeMap<(&str, &str), Vec<&StoredDefinition>> = BTreeMap::new();
    for definition in side.definitions {
        of_file.entry((&definition.origin, &definition.file)).or_default().push(definition);
    }
    let mut files = Vec::new();
    let mut names = BTreeSet::new();
    for file in side.files {
        let key = (file.origin.as_str(), file.file.as_str());
        let here = of_file.get(&key).map(Vec::as_slice).unwrap_or_default();
        if let Some(lacking) = lacking(file, here, facts) {
            files.push(ExportedFile { name: free_name(&mut names, &file.file), text: file.text.clone() });
            of_file.insert(key, lacking);
        }
    }
    let mut others: BTreeMap<(&str, String), Vec<&StoredDefinition>> = BTreeMap::new();
    for definition in of_file.into_values().flatten() {
        let name = match definition.file.as_str() {
            "" => format!("{}.toml", definition.section),
            file => file.to_owned(),
        };
        others.entry((&definition.origin, name)).or_default().push(definition);
    }
    for ((_, name), definitions) in others {
        let text = canonical_toml(definitions, facts)?;
        files.push(ExportedFile { name: free_name(&mut names, &name), text });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// The definitions of a file that its text lacks; `None` when the text says anything else than what is in force.
fn lacking<'d>(
    file: &StoredFile,
    here: &[&'d StoredDefinition],
    facts: Facts<'_>,
) -> Option<Vec<&'d StoredDefinition>> {
    let (documents, problems) = Documents::parse([(file.file.as_str(), file.text.as_bytes())]);
    if !problems.is_empty() {
        return None;
    }
    let written = documents.definitions(&file.origin);
    let mut lacking: BTreeMap<String, &StoredDefinition> = here.iter().map(|d| (d.key(), *d)).collect();
    for written in written {
        let stored = lacking.remove(&written.key())?;
        if hidden(stored, facts).document != written.document {
            return None;
        }
    }
    Some(lacking.into_values().collect())
}

/// A definition with `{ kept = true }` for each secret that the database keeps.
fn hidden(definition: &StoredDefinition, facts: Facts<'_>) -> StoredDefinition {
    let mut hidden = definition.clone();
    each_secret(&mut hidden, facts, |_, held| match held {
        Held::Id(_) => Put::Kept,
        Held::Kept | Held::Literal(_) => Put::Nothing,
    });
    hidden
}

/// One definition and all that it refers to, in one file.
///
/// # Errors
/// `NotFound` when there is no such definition; or it cannot be written as TOML.
pub fn export_one(definitions: &[StoredDefinition], object: &str, facts: Facts<'_>) -> Result<ExportedFile> {
    let all: BTreeMap<String, &StoredDefinition> = definitions.iter().map(|d| (d.key(), d)).collect();
    let mut wanted = BTreeSet::new();
    let mut open = vec![object.to_owned()];
    while let Some(key) = open.pop() {
        let Some(definition) = all.get(&key) else {
            let near = did_you_mean(&key, all.keys().map(String::as_str));
            return Err(Error::permanent(ErrorKind::NotFound, "export a definition")
                .with("definition", &key)
                .advice(format!(
                    "no definition has this name{near}; write it as SECTION.NAME, such as flow.orders"
                )));
        };
        if wanted.insert(key) {
            let named = facts.references(definition).into_iter();
            open.extend(named.map(|(section, name)| format!("{section}.{name}")));
        }
    }
    let chosen = wanted.iter().filter_map(|key| all.get(key).copied()).collect();
    Ok(ExportedFile { name: format!("{object}.toml"), text: canonical_toml(chosen, facts)? })
}

/// A name that no file has yet: `orders.toml`, then `orders-2.toml`.
fn free_name(names: &mut BTreeSet<String>, wanted: &str) -> String {
    let stem = wanted.strip_suffix(".toml").unwrap_or(wanted);
    let mut name = wanted.to_owned();
    let mut number = 2;
    while !names.insert(name.clone()) {
        name = format!("{stem}-{number}.toml");
        number += 1;
    }
    name
}

fn canonical_toml(mut definitions: Vec<&StoredDefinition>, facts: Facts<'_>) -> Result<String> {
    definitions.sort_by_key(|definition| (&definition.section, definition.position, &definition.name));
    let mut text = String::new();
    for definition in definitions {
        let failed = |error: toml::ser::Error| {
            Error::permanent(ErrorKind::Internal, "write a definition as TOML")
                .with("definition", definition.key())
                .caused_by(error)
        };
        let document = hidden(definition, facts).document;
        let named = Json::Object(Map::from_iter([(definition.name.clone(), document)]));
        let whole = Json::Object(Map::from_iter([(definition.section.clone(), named)]));
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&toml::to_string(&whole).map_err(failed)?);
    }
    Ok(text)
}
