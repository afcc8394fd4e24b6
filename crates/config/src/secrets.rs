//! Secrets in definitions. A literal one is kept encrypted elsewhere: the stored document names it by
//! `{"kept": "ID"}`, the text of its file says `{ kept = true }` in its place, and so may a person, to leave it as
//! it is.

use crate::documents::Documents;
use crate::facts::Facts;
use crate::reference::is_only_references;
use crate::tree::{Table, Value, join};
use model::StoredDefinition;
use serde_json::{Map, Value as Json};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The key of the table that stands for a secret.
const KEPT: &str = "kept";
/// What the text of a file says in a literal secret's place.
const KEPT_TOML: &str = "{ kept = true }";

/// What a field for a secret holds in a stored definition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held<'a> {
    /// The secret itself, or a part of it.
    Literal(&'a str),
    /// `{"kept": "ID"}`: the database keeps it encrypted under this id.
    Id(&'a str),
    /// `{ kept = true }`: whatever is stored.
    Kept,
}

/// What to put into a field for a secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Put {
    /// Leave it.
    Nothing,
    /// `{"kept": "ID"}`.
    Id(String),
    /// `{"kept": true}`.
    Kept,
}

/// Goes through the fields for secrets of a stored definition, but for those that hold references alone. `field` is
/// the path within the definition.
pub fn each_secret(
    definition: &mut StoredDefinition,
    facts: Facts<'_>,
    mut visit: impl FnMut(&str, Held<'_>) -> Put,
) {
    let transport = definition.document.get("transport").and_then(Json::as_str).map(str::to_owned);
    let is_secret = |names: &[&str]| facts.is_secret(&definition.section, transport.as_deref(), names);
    walk_json(&mut definition.document, &mut Vec::new(), &mut String::new(), &is_secret, &mut visit);
}

fn walk_json(
    value: &mut Json,
    names: &mut Vec<String>,
    path: &mut String,
    is_secret: &impl Fn(&[&str]) -> bool,
    visit: &mut impl FnMut(&str, Held<'_>) -> Put,
) {
    let plain: Vec<&str> = names.iter().map(String::as_str).collect();
    if let Some(held) = held(value)
        && is_secret(&plain)
    {
        let put = match visit(path, held) {
            Put::Nothing => return,
            Put::Id(id) => Json::String(id),
            Put::Kept => Json::Bool(true),
        };
        *value = Json::Object(Map::from_iter([(KEPT.to_owned(), put)]));
        return;
    }
    let length = path.len();
    match value {
        Json::Object(fields) => {
            for (key, value) in fields {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
                names.push(key.clone());
                walk_json(value, names, path, is_secret, visit);
                names.pop();
                path.truncate(length);
            }
        }
        Json::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                path.push_str(&format!("[{}]", at + 1));
                walk_json(item, names, path, is_secret, visit);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// What a value holds, were it in a field for a secret; `None` for references, and for what no such field takes.
fn held(value: &Json) -> Option<Held<'_>> {
    match value {
        Json::String(text) if !is_only_references(text) => Some(Held::Literal(text)),
        Json::Object(fields) if fields.len() == 1 => match fields.get(KEPT) {
            Some(Json::String(id)) => Some(Held::Id(id)),
            Some(Json::Bool(true)) => Some(Held::Kept),
            _ => None,
        },
        _ => None,
    }
}

impl Documents {
    /// Puts secrets in that are kept elsewhere. `secret` is asked with a definition (`endpoint.acme`), the field's path
    /// within it, and the id that the document names, `None` for `{ kept = true }`; what it does not know stays as
    /// it is, and is an error when the documents are checked.
    #[must_use]
    pub fn with_kept(
        mut self,
        facts: Facts<'_>,
        mut secret: impl FnMut(&str, &str, Option<&str>) -> Option<String>,
    ) -> Self {
        for document in &mut self.files {
            for (section, entry) in &mut document.table {
                let Value::Table(named) = &mut entry.node.value else { continue };
                for (name, entry) in named {
                    let Value::Table(fields) = &mut entry.node.value else { continue };
                    let transport = match fields.get("transport").map(|entry| &entry.node.value) {
                        Some(Value::Text(text)) => Some(text.clone()),
                        _ => None,
                    };
                    let is_secret = |names: &[&str]| facts.is_secret(section, transport.as_deref(), names);
                    let definition = format!("{section}.{name}");
                    let mut put = |field: &str, id: Option<&str>| secret(&definition, field, id);
                    walk_tree(fields, &mut Vec::new(), "", &is_secret, &mut put);
                }
            }
        }
        self
    }
}

fn walk_tree(
    table: &mut Table,
    names: &mut Vec<String>,
    path: &str,
    is_secret: &impl Fn(&[&str]) -> bool,
    secret: &mut impl FnMut(&str, Option<&str>) -> Option<String>,
) {
    for (key, entry) in table {
        names.push(key.clone());
        walk_value(&mut entry.node.value, names, &join(path, key), is_secret, secret);
        names.pop();
    }
}

fn walk_value(
    value: &mut Value,
    names: &mut Vec<String>,
    path: &str,
    is_secret: &impl Fn(&[&str]) -> bool,
    secret: &mut impl FnMut(&str, Option<&str>) -> Option<String>,
) {
    let plain: Vec<&str> = names.iter().map(String::as_str).collect();
    if let Some(id) = kept(value)
        && is_secret(&plain)
    {
        if let Some(text) = secret(path, id) {
            *value = Value::Opened(text);
        }
        return;
    }
    match value {
        Value::Table(inner) => walk_tree(inner, names, path, is_secret, secret),
        Value::List(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                walk_value(&mut item.value, names, &format!("{path}[{}]", at + 1), is_secret, secret);
            }
        }
        _ => {}
    }
}

/// Whether a value stands for a secret that the database keeps: its id, or `None` for `{ kept = true }`.
pub(crate) fn kept(value: &Value) -> Option<Option<&str>> {
    let Value::Table(fields) = value else { return None };
    match fields.get(KEPT).map(|entry| &entry.node.value) {
        Some(Value::Text(id)) if fields.len() == 1 => Some(Some(id)),
        Some(Value::Bool(true)) if fields.len() == 1 => Some(None),
        _ => None,
    }
}

/// A document's text with `{ kept = true }` in place of each literal secret. Text that is no TOML is given back as it
/// is: it is never stored.
pub(crate) fn without_secrets(text: &str, facts: Facts<'_>) -> String {
    let Ok(root) = DeTable::parse(text) else { return text.to_owned() };
    let mut spans = Vec::new();
    each_literal(root.get_ref(), facts, |_, span| spans.push(span));
    spans.sort_by_key(|span| span.start);
    let mut whole = String::with_capacity(text.len());
    let mut at = 0;
    for span in spans {
        whole.push_str(text.get(at..span.start).unwrap_or_default());
        whole.push_str(KEPT_TOML);
        at = span.end;
    }
    whole.push_str(text.get(at..).unwrap_or_default());
    whole
}

/// Goes through the literal secrets of a document, each with its place.
pub(crate) fn each_literal(root: &DeTable<'_>, facts: Facts<'_>, mut visit: impl FnMut(&str, Range<usize>)) {
    for (section, named) in root {
        let DeValue::Table(named) = named.get_ref() else { continue };
        for fields in named.values() {
            let DeValue::Table(fields) = fields.get_ref() else { continue };
            let transport = fields.get("transport").and_then(|transport| transport.get_ref().as_str());
            let is_secret = |names: &[&str]| facts.is_secret(section.get_ref(), transport, names);
            literals_below(fields, &mut Vec::new(), &is_secret, &mut visit);
        }
    }
}

fn literals_below<'t>(
    table: &'t DeTable<'_>,
    names: &mut Vec<&'t str>,
    is_secret: &impl Fn(&[&str]) -> bool,
    visit: &mut impl FnMut(&str, Range<usize>),
) {
    for (key, value) in table {
        names.push(key.get_ref());
        literals_of(value, names, is_secret, visit);
        names.pop();
    }
}

fn literals_of<'t>(
    value: &'t Spanned<DeValue<'_>>,
    names: &mut Vec<&'t str>,
    is_secret: &impl Fn(&[&str]) -> bool,
    visit: &mut impl FnMut(&str, Range<usize>),
) {
    match value.get_ref() {
        DeValue::String(text) if !is_only_references(text) && is_secret(names) => visit(text, value.span()),
        DeValue::Table(inner) => literals_below(inner, names, is_secret, visit),
        DeValue::Array(items) => items.iter().for_each(|item| literals_of(item, names, is_secret, visit)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::catalogue;

    const TEXT: &str = "# Ours\n[endpoint.e]\ntransport = \"sftp\"   # SSH\nurl = \"sftp://h/\"\n\
        host_key = \"k\"\npassword = 'hunter2' # é\npassphrase = \"${env:P}\"\noptions2 = 1\n[key.k]\nprivate_key = \"\"\"\n-----BEGIN\nbattery\"\"\"\npassphrase.x = 1\n\
        [credential.c]\nusername = \"hunter2\"\npassword = \"${file:/x}staple\"\n";

    #[test]
    fn literal_secrets_leave_the_text_and_nothing_else_does() {
        let catalogue = catalogue();
        let facts = Facts::new(&catalogue);
        let expected = TEXT
            .replace("'hunter2'", KEPT_TOML)
            .replace("\"\"\"\n-----BEGIN\nbattery\"\"\"", KEPT_TOML)
            .replace("\"${file:/x}staple\"", KEPT_TOML);
        assert_eq!(without_secrets(TEXT, facts), expected);
        assert_eq!(without_secrets(&expected, facts), expected, "and once is enough");
        assert_eq!(without_secrets("[broken", facts), "[broken");
    }

    #[test]
    fn secrets_are_named_by_their_path_and_come_back() {
        let catalogue = catalogue();
        let facts = Facts::new(&catalogue);
        let (documents, _) = Documents::parse([("x.toml", TEXT.as_bytes())]);
        let mut stored = documents.definitions("/defs");
        let mut kept = std::collections::BTreeMap::new();
        for definition in &mut stored {
            let key = definition.key();
            each_secret(definition, facts, |field, held| {
                let Held::Literal(text) = held else { panic!("{held:?}") };
                let id = format!("{key} {field}");
                kept.insert(id.clone(), text.to_owned());
                Put::Id(id)
            });
        }
        let ids: Vec<&String> = kept.keys().collect();
        assert_eq!(ids, ["credential.c password", "endpoint.e password", "key.k private_key"]);
        let json = serde_json::to_string(&stored).unwrap();
        assert!(!json.contains("battery") && !json.contains("staple") && json.contains("${env:P}"), "{json}");
        let back = Documents::from_definitions(&stored)
            .unwrap()
            .with_kept(facts, |_, _, id| kept.get(id.unwrap()).cloned());
        let documents_of = |of: &Documents| -> Vec<Json> {
            of.definitions("/defs").into_iter().map(|definition| definition.document).collect()
        };
        assert_eq!(documents_of(&back), documents_of(&documents));
        // As a person writes it.
        let text = without_secrets(TEXT, facts);
        let (documents, problems) = Documents::parse([("x.toml", text.as_bytes())]);
        assert!(problems.is_empty());
        let mut asked = Vec::new();
        let _ = documents.with_kept(facts, |definition, field, id| {
            asked.push(format!("{definition} {field} {id:?}"));
            None
        });
        assert_eq!(
            asked,
            ["credential.c password None", "endpoint.e password None", "key.k private_key None"]
        );
    }
}
