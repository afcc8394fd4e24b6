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
    /// A hash, an id or the like.
    pub(crate) mono: bool,
}

impl Fact {
    pub(crate) fn new(name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        let mono = value.len() >= 24 && !value.trim_end_matches(", sha256").contains(' ');
        Self { name: name.to_owned(), long: value.len() > LONG, mono, value }
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

/// All keys of a detail: those with a name of their own first.
pub(crate) fn facts(detail: &Map<String, Value>) -> Vec<Fact> {
    let place = |key: &str| NAMES.iter().position(|(known, _)| *known == key).unwrap_or(NAMES.len());
    let mut pairs: Vec<_> = detail.iter().filter(|(_, value)| !value.is_null()).collect();
    pairs.sort_by_key(|(key, _)| place(key));
    pairs.into_iter().map(|(key, value)| Fact::new(&name(key), text(value))).collect()
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

/// Names that have a form of their own, what matters most first.
const NAMES: [(&str, &str); 18] = [
    ("error", "Error"),
    ("error_kind", "Kind of error"),
    ("as2_from", "AS2 from"),
    ("as2_to", "AS2 to"),
    ("as2_subject", "Subject"),
    ("message_id", "Message-ID"),
    ("as2_message_id", "Message-ID"),
    ("disposition", "Disposition"),
    ("mic", "MIC"),
    ("as2_mic", "MIC"),
    ("mic_matched", "MIC matched"),
    ("as2_cipher", "Cipher"),
    ("as2_signer", "Signer's certificate (SHA-256)"),
    ("file_name", "File name"),
    ("sha256", "SHA-256"),
    ("status", "HTTP status"),
    ("mdn_content_type", "MDN content type"),
    ("mdn", "MDN as received (Base64)"),
];

fn name(key: &str) -> String {
    if let Some((_, name)) = NAMES.iter().find(|(known, _)| *known == key) {
        return (*name).to_owned();
    }
    let words = safe_text(&key.replace('_', " "));
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
