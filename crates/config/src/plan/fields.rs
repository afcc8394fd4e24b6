//! What changes within one definition.

use crate::facts::Facts;
use crate::reference::is_only_references;
use model::StoredDefinition;
use serde::Serialize;
use serde_json::{Map, Value as Json};
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Longest text of a value that is shown, in characters.
const LONGEST: usize = 200;

static EMPTY: LazyLock<Json> = LazyLock::new(|| Json::Object(Map::new()));

/// A field that changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FieldChange {
    /// Its path within the definition, such as `destination[2].file_name`.
    pub field: String,
    /// What it held, as JSON; `None` when it was not there, or held a secret.
    pub before: Option<String>,
    /// What it will hold, as JSON; `None` when it is taken out, or will hold a secret.
    pub after: Option<String>,
    /// Whether it held a secret, of which nothing else is shown.
    pub secret_before: bool,
    /// Whether it will hold a secret, of which nothing else is shown.
    pub secret_after: bool,
}

/// The fields in which two versions of a definition differ.
pub(super) fn changed_fields(
    before: &StoredDefinition,
    after: &StoredDefinition,
    facts: Facts<'_>,
) -> Vec<FieldChange> {
    let transport =
        |of: &StoredDefinition| of.document.get("transport").and_then(Json::as_str).map(str::to_owned);
    let transports = [transport(before), transport(after)];
    let mut walk = Walk { section: &before.section, transports, facts, found: Vec::new() };
    walk.differ(Some(&before.document), Some(&after.document), &mut String::new(), &mut Vec::new());
    walk.found
}

struct Walk<'a> {
    section: &'a str,
    transports: [Option<String>; 2],
    facts: Facts<'a>,
    found: Vec<FieldChange>,
}

impl<'a> Walk<'a> {
    fn differ<'j>(
        &mut self,
        before: Option<&'j Json>,
        after: Option<&'j Json>,
        path: &mut String,
        names: &mut Vec<&'j str>,
    ) {
        if before == after {
            return;
        }
        let secret = self.is_secret(names);
        match (before, after) {
            _ if secret => self.tell(before, after, path, true),
            (Some(Json::Object(old)), Some(Json::Object(new))) => {
                let keys: BTreeSet<&'j String> = old.keys().chain(new.keys()).collect();
                for key in keys {
                    let length = path.len();
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(key);
                    names.push(key);
                    self.differ(old.get(key), new.get(key), path, names);
                    names.pop();
                    path.truncate(length);
                }
            }
            (Some(Json::Array(old)), Some(Json::Array(new)))
                if old.iter().chain(new).any(|item| item.is_object()) =>
            {
                for at in 0..old.len().max(new.len()) {
                    let length = path.len();
                    path.push_str(&format!("[{}]", at + 1));
                    self.differ(old.get(at), new.get(at), path, names);
                    path.truncate(length);
                }
            }
            // A table that is added or taken out is told field by field where a secret may be among them.
            (None, Some(Json::Object(fields))) | (Some(Json::Object(fields)), None)
                if !fields.is_empty() && self.holds_secret(fields, names) =>
            {
                self.differ(Some(before.unwrap_or(&EMPTY)), Some(after.unwrap_or(&EMPTY)), path, names);
            }
            _ => self.tell(before, after, path, false),
        }
    }

    fn is_secret(&self, names: &[&str]) -> bool {
        self.transports
            .iter()
            .any(|transport| self.facts.is_secret(self.section, transport.as_deref(), names))
    }

    fn holds_secret<'j>(&self, fields: &'j Map<String, Json>, names: &mut Vec<&'j str>) -> bool {
        fields.iter().any(|(key, value)| {
            names.push(key);
            let found = self.is_secret(names)
                || value.as_object().is_some_and(|below| self.holds_secret(below, names));
            names.pop();
            found
        })
    }

    fn tell(&mut self, before: Option<&Json>, after: Option<&Json>, path: &str, secret: bool) {
        // A reference says where a secret is kept, not what it is.
        let shown = |value: &Json| !secret || value.as_str().is_some_and(is_only_references);
        let text = |value: &Json| cut(&value.to_string());
        self.found.push(FieldChange {
            field: path.to_owned(),
            before: before.filter(|value| shown(value)).map(text),
            after: after.filter(|value| shown(value)).map(text),
            secret_before: before.is_some_and(|value| !shown(value)),
            secret_after: after.is_some_and(|value| !shown(value)),
        });
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
    }
}
