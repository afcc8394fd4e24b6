//! What events and receipts carry by key, as names and values for people.

use crate::web::format::{Moment, capitalized, duration_text, grouped, safe_text, size_text, with_breaks};
use askama::Template;
use model::Timestamp;
use serde_json::{Map, Value};
use std::time::Duration;

/// Values longer than this are folded.
const LONG: usize = 400;

/// One key with its value.
pub(crate) struct Fact {
    pub(crate) name: String,
    pub(crate) value: String,
    /// Shown in place of the value, when it is a time.
    pub(crate) moment: Option<Moment>,
    /// The page of what the value names.
    pub(crate) page: Option<String>,
    /// Shown folded.
    pub(crate) long: bool,
    /// A hash, an id or the like.
    pub(crate) mono: bool,
}

impl Fact {
    pub(crate) fn new(name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        let mono = value.len() >= 24 && !value.trim_end_matches(", sha256").contains(' ');
        Self { name: name.to_owned(), moment: None, page: None, long: value.len() > LONG, mono, value }
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
    pairs.into_iter().map(|(key, value)| fact(key, value)).collect()
}

/// One key with its value: times and durations as people read them.
fn fact(key: &str, value: &Value) -> Fact {
    let (name, text) = (name(key), text(value));
    if DURATIONS.contains(&key)
        && let Some(micros) = value.as_u64()
    {
        return Fact::new(&name, duration_text(Duration::from_micros(micros)));
    }
    if SIZES.contains(&key)
        && let Some(bytes) = value.as_u64()
    {
        let exact = format!("{} bytes", grouped(bytes));
        return Fact::new(
            &name,
            if bytes < 1024 { exact } else { format!("{} ({exact})", size_text(bytes)) },
        );
    }
    let moment = match value {
        Value::Number(number) if key.ends_with("_micros") => {
            number.as_i64().and_then(Timestamp::from_timestamp_micros)
        }
        Value::String(text) if text.len() >= SHORTEST_TIME => {
            chrono::DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc())
        }
        _ => None,
    };
    let page = PAGES.iter().find(|(known, _)| *known == key).and_then(|(_, path)| {
        let id: uuid::Uuid = value.as_str()?.parse().ok()?;
        Some(format!("{path}/{id}"))
    });
    Fact { moment: moment.map(Moment), page, ..Fact::new(&name, text) }
}

fn text(value: &Value) -> String {
    match value {
        // Again made safe: nothing here relies on who wrote it.
        Value::String(text) => with_breaks(text),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => safe_text(&other.to_string()),
    }
}

/// Keys whose numbers are lengths of time, in microseconds; those of other `*_micros` are moments.
const DURATIONS: [&str; 2] = ["duration_micros", "micros"];
/// Keys whose numbers are bytes.
const SIZES: [&str; 5] = ["bytes", "bytes_in", "bytes_out", "size", "source_size"];
/// The shortest moment by RFC 3339: `2026-11-20T14:10:00Z`.
const SHORTEST_TIME: usize = 20;

/// Keys whose values are ids of what has a page.
const PAGES: [(&str, &str); 2] = [("connection", "/connections"), ("parent", "/transfers")];

/// Names that have a form of their own, what matters most first.
const NAMES: [(&str, &str); 35] = [
    ("error", "Error"),
    ("error_kind", "Error kind"),
    ("would_match", "Would match"),
    ("tell_partner", "To tell the partner"),
    ("as2_from", "AS2 from"),
    ("as2_to", "AS2 to"),
    ("as2_subject", "Subject"),
    ("message_id", "Message-ID"),
    ("as2_message_id", "Message-ID"),
    ("disposition", "Disposition"),
    ("mic", "MIC"),
    ("as2_mic", "MIC"),
    ("mic_matched", "MIC matched"),
    ("as2_file_name", "File name in the AS2 message"),
    ("as2_cipher", "Cipher"),
    ("as2_decrypted_with", "Decrypted with our key"),
    ("as2_verified_with", "Signature verified with certificate"),
    ("as2_signer", "Signer's certificate (SHA-256)"),
    ("sent_signed_with", "Message signed with our key"),
    ("sent_signed_by", "Message signed with certificate (SHA-256)"),
    ("sent_encrypted_with", "Message encrypted for certificate"),
    ("sent_encrypted_for", "Message encrypted for certificate (SHA-256)"),
    ("as2_went_on_at_byte", "Message went on after a lost connection, at byte"),
    ("restarts", "Message went on after lost connections, times"),
    ("restarted_at_bytes", "Went on at bytes"),
    ("restart_saved_bytes", "Bytes not sent again"),
    ("signed", "Receipt signed"),
    ("signed_with", "Receipt verified with certificate"),
    ("signed_by", "Receipt signed with certificate (SHA-256)"),
    ("file_name", "File name"),
    ("sha256", "SHA-256"),
    ("status", "HTTP status"),
    ("mdn_content_type", "MDN content type"),
    ("duration_micros", "Duration"),
    ("micros", "Duration"),
];

fn name(key: &str) -> String {
    if let Some((_, name)) = NAMES.iter().find(|(known, _)| *known == key) {
        return (*name).to_owned();
    }
    let words = safe_text(&key.strip_suffix("_micros").unwrap_or(key).replace('_', " "));
    capitalized(&words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_durations_and_ids_are_for_people() {
        let detail = json!({
            "duration_micros": 1_240_000, "source_modified_micros": 1_795_187_310_000_000_i64,
            "until": "2026-11-20T14:55:00Z", "size": 700, "bytes": 67_108_864, "note": "not a time, though it is long",
            "connection": "0192f7a0-0000-7000-8000-000000000000", "parent": "../logout",
        });
        let facts = facts(detail.as_object().unwrap());
        let shown = |name: &str| {
            let fact = facts.iter().find(|fact| fact.name == name).unwrap();
            fact.moment.map_or_else(|| fact.value.clone(), |moment| moment.to_string())
        };
        assert_eq!(shown("Duration"), "1.24 s");
        assert!(shown("Source modified").contains("datetime=\"2026-11-20T15:08:30.000Z\""));
        assert!(shown("Until").contains("2026-11-20 14:55:00 UTC"));
        let page = |name: &str| facts.iter().find(|fact| fact.name == name).unwrap().page.clone();
        assert_eq!(page("Connection").unwrap(), "/connections/0192f7a0-0000-7000-8000-000000000000");
        assert_eq!((page("Parent"), page("Size")), (None, None));
        assert_eq!(shown("Size"), "700 bytes");
        assert_eq!(shown("Bytes"), "64.0 MiB (67,108,864 bytes)");
        assert_eq!(shown("Note"), "not a time, though it is long");
    }
}
