//! Secrets in stored definitions. A literal one is kept encrypted elsewhere; the document names it by
//! `{"kept": "ID"}`, and a person writes `{ kept = true }` to leave it as it is.

use serde_json::{Map, Value as Json};

/// The key of the table that stands for a secret.
const KEPT: &str = "kept";

/// Writes `{"kept": true}` for every secret that is named by its id.
pub(crate) fn hide_kept(value: Json) -> Json {
    match value {
        Json::Object(fields) if kept_id(&fields).is_some() => {
            Json::Object(Map::from_iter([(KEPT.to_owned(), Json::Bool(true))]))
        }
        Json::Object(fields) => {
            Json::Object(fields.into_iter().map(|(key, value)| (key, hide_kept(value))).collect())
        }
        Json::Array(items) => items.into_iter().map(hide_kept).collect(),
        other => other,
    }
}

/// The id of the secret that a table stands for.
fn kept_id(fields: &Map<String, Json>) -> Option<&str> {
    if fields.len() == 1 { fields.get(KEPT)?.as_str() } else { None }
}
