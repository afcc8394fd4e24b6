//! Secrets in definitions. A literal one is kept encrypted elsewhere: the stored document names it by
//! `{"kept": "ID"}`, the text of its file says `{ kept = true }` in its place, and so may a person, to leave it as
//! it is.

use crate::documents::Documents;
use crate::facts::Facts;
use crate::reference::is_only_references;
use crate::tree::{Table, Value};
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
    if is_secret(&plain) {
        let held = match &*value {
            Json::String(text) if !is_only_references(text) => Some(Held::Literal(text)),
            Json::Object(fields) => match kept(fields) {
                Some(Json::String(id)) => Some(Held::Id(id)),
                Some(Json::Bool(true)) => Some(Held::Kept),
                _ => None,
            },
            _ => None,
        };
        if let Some(Put::Id(id)) = held.map(|held| visit(path, held)) {
            *value = Json::Object(Map::from_iter([(KEPT.to_owned(), Json::String(id))]));
        }
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

fn kept(fields: &Map<String, Json>) -> Option<&Json> {
    if fields.len() == 1 { fields.get(KEPT) } else { None }
}

/// Writes `{"kept": true}` for every secret that is named by its id.
pub(crate) fn hide_kept(value: Json) -> Json {
    match value {
        Json::Object(fields) if kept(&fields).is_some_and(Json::is_string) => {
            Json::Object(Map::from_iter([(KEPT.to_owned(), Json::Bool(true))]))
        }
        Json::Object(fields) => {
            Json::Object(fields.into_iter().map(|(key, value)| (key, hide_kept(value))).collect())
        }
        Json::Array(items) => items.into_iter().map(hide_kept).collect(),
        other => other,
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
        let field = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        names.push(key.clone());
        let plain: Vec<&str> = names.iter().map(String::as_str).collect();
        if is_secret(&plain) {
            let id = match &entry.node.value {
                Value::Table(inner) if inner.len() == 1 => match inner.get(KEPT).map(|e| &e.node.value) {
                    Some(Value::Text(id)) => Some(Some(id.clone())),
                    Some(Value::Bool(true)) => Some(None),
                    _ => None,
                },
                _ => None,
            };
            if let Some(text) = id.and_then(|id| secret(&field, id.as_deref())) {
                entry.node.value = Value::Text(text);
            }
        } else {
            match &mut entry.node.value {
                Value::Table(inner) => walk_tree(inner, names, &field, is_secret, secret),
                Value::List(items) => {
                    for (at, item) in items.iter_mut().enumerate() {
                        if let Value::Table(inner) = &mut item.value {
                            walk_tree(inner, names, &format!("{field}[{}]", at + 1), is_secret, secret);
                        }
                    }
                }
                _ => {}
            }
        }
        names.pop();
    }
}

/// A document's text with `{ kept = true }` in place of each literal secret. Text that is no TOML is given back as it
/// is: it is never stored.
pub(crate) fn without_secrets(text: &str, facts: Facts<'_>) -> String {
    let Ok(root) = DeTable::parse(text) else { return text.to_owned() };
    let mut spans = Vec::new();
    for (section, named) in root.get_ref() {
        let DeValue::Table(named) = named.get_ref() else { continue };
        for fields in named.values() {
            let DeValue::Table(fields) = fields.get_ref() else { continue };
            let transport = fields.get("transport").and_then(|transport| transport.get_ref().as_str());
            let is_secret = |names: &[&str]| facts.is_secret(section.get_ref(), transport, names);
            spans_below(fields, &mut Vec::new(), &is_secret, &mut spans);
        }
    }
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

fn spans_below<'t>(
    table: &'t DeTable<'_>,
    names: &mut Vec<&'t str>,
    is_secret: &impl Fn(&[&str]) -> bool,
    spans: &mut Vec<Range<usize>>,
) {
    for (key, value) in table {
        names.push(key.get_ref());
        spans_of(value, names, is_secret, spans);
        names.pop();
    }
}

fn spans_of<'t>(
    value: &'t Spanned<DeValue<'_>>,
    names: &mut Vec<&'t str>,
    is_secret: &impl Fn(&[&str]) -> bool,
    spans: &mut Vec<Range<usize>>,
) {
    match value.get_ref() {
        DeValue::String(text) if !is_only_references(text) && is_secret(names) => spans.push(value.span()),
        DeValue::Table(inner) => spans_below(inner, names, is_secret, spans),
        DeValue::Array(items) => items.iter().for_each(|item| spans_of(item, names, is_secret, spans)),
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
