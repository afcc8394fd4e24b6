//! What events and receipts carry by key, as names and values for people.

use crate::show::safe_text;
use askama::Template;
use serde_json::{Map, Value};

/// Values longer than this are folded.
const LONG: usize = 400;

/// One key with its value.
pub(crate) struct Fact {
    pub(crate) name: String,
    pub(crate) value: String,
    /// Shown folded.
    pub(crate) long: bool,
}

impl Fact {
    pub(crate) fn new(name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        Self { name: name.to_owned(), long: value.len() > LONG, value }
    }
}

/// Names with their values, as a list.
#[derive(Template, Default)]
#[template(path = "facts.html")]
pub(crate) struct Facts {
    pub(crate) list: Vec<Fact>,
}

impl askama::filters::HtmlSafe for Facts {}

impl From<Vec<Fact>> for Facts {
    fn from(list: Vec<Fact>) -> Self {
        Self { list }
    }
}

/// All keys of a detail, in their order.
pub(crate) fn facts(detail: &Map<String, Value>) -> Vec<Fact> {
    detail
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| Fact::new(&name(key), text(value)))
        .collect()
}

/// The first of some keys that has a text: one line for a list.
pub(crate) fn first(detail: &Map<String, Value>, keys: &[&str]) -> Option<String> {
    keys.iter().find_map(|key| detail.get(*key)).map(text)
}

fn text(value: &Value) -> String {
    match value {
        // Again made safe: nothing here relies on who wrote it.
        Value::String(text) => safe_text(text),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => safe_text(&other.to_string()),
    }
}

/// Names that have a form of their own.
const NAMES: [(&str, &str); 16] = [
    ("message_id", "Message-ID"),
    ("as2_message_id", "Message-ID"),
    ("mic", "MIC"),
    ("as2_mic", "MIC"),
    ("mic_matched", "MIC matched"),
    ("mdn", "MDN as received (Base64)"),
    ("mdn_content_type", "MDN content type"),
    ("sha256", "SHA-256"),
    ("status", "HTTP status"),
    ("as2_from", "AS2 from"),
    ("as2_to", "AS2 to"),
    ("as2_subject", "Subject"),
    ("as2_cipher", "Cipher"),
    ("as2_signer", "Signer's certificate (SHA-256)"),
    ("error_kind", "Kind of error"),
    ("file_name", "File name"),
];

fn name(key: &str) -> String {
    if let Some((_, name)) = NAMES.iter().find(|(known, _)| *known == key) {
        return (*name).to_owned();
    }
    let words = safe_text(&key.replace('_', " "));
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
