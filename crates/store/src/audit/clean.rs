//! The form that every event gets before it is written.
//!
//! An event is written in the same transaction as the change it records. A value that the database refuses, or
//! returns differently, would undo the change or break the seal over the event. So every event is converted to a form
//! that both databases accept and return unchanged: no NUL (Postgres refuses it in text and jsonb), no fractions
//! (jsonb changes their spelling), no whole number above 2^53-1 (RFC 8785 uses doubles), no text that is too long for
//! an index, and no detail that is nested too deeply.

use chrono::SubsecRound;
use model::{Actor, AuditEvent, PeerText, Timestamp, canonical_json};
use serde_json::{Map, Value};

/// The longest text of an indexed column, in bytes. Postgres refuses index rows above 2,704.
const COLUMN: usize = 512;
/// The longest text inside the detail, in bytes.
const TEXT: usize = 64 * 1024;
/// The longest key inside the detail, in bytes.
const KEY: usize = 256;
/// The longest detail, in bytes of its canonical form.
const DETAIL: usize = 256 * 1024;
/// The most members that are kept of a longer detail.
const MEMBERS: usize = 64;
/// The deepest nesting of the detail; a deeper value is replaced by its JSON text.
const DEPTH: usize = 24;
/// The largest whole number on which all JSON readers agree (RFC 7493, 2.2).
const SAFE: u64 = (1 << 53) - 1;

/// The end of the year 9999.
const END_OF_TIME: Timestamp = match chrono::DateTime::from_timestamp(253_402_300_799, 0) {
    Some(end) => end,
    None => Timestamp::MAX_UTC,
};

/// The event as it is written and hashed. A second application changes nothing.
pub(crate) fn clean(event: &AuditEvent) -> AuditEvent {
    let column = |text: &Option<String>| text.as_deref().map(clean_column);
    AuditEvent {
        id: event.id,
        // The years that both databases can store and that sort correctly as text.
        at: event.at.trunc_subsecs(6).clamp(chrono::DateTime::UNIX_EPOCH, END_OF_TIME),
        node: event.node.clone(),
        kind: event.kind,
        severity: event.severity,
        actor: match &event.actor {
            Actor::System => Actor::System,
            Actor::Peer => Actor::Peer,
            Actor::User(name) => Actor::User(clean_column(name)),
            Actor::CommandLine(name) => Actor::CommandLine(clean_column(name)),
        },
        flow: column(&event.flow),
        endpoint: column(&event.endpoint),
        partner: column(&event.partner),
        transfer: event.transfer,
        delivery: event.delivery,
        connection: event.connection,
        peer: column(&event.peer),
        detail: clean_detail(&event.detail),
    }
}

/// One short text without control characters.
pub(crate) fn clean_column(text: &str) -> String {
    cut(PeerText::from(text).as_str(), COLUMN)
}

/// A detail of limited size. If it is too large, its smallest members are kept, by which its event is compared with
/// rows, and the beginning of the whole as text.
pub(crate) fn clean_detail(detail: &Map<String, Value>) -> Map<String, Value> {
    let cleaned = clean_object(detail, 1);
    let size = canonical_json(&Value::Object(cleaned.clone())).len();
    if size <= DETAIL {
        return cleaned;
    }
    let mut kept = smallest_members(&cleaned);
    let beginning = cut(&canonical_json(&Value::Object(cleaned)), TEXT);
    kept.insert("shortened".to_owned(), beginning.into());
    kept.insert("length".to_owned(), size.into());
    kept
}

/// The smallest members of a detail, within [`MEMBERS`] and [`TEXT`].
fn smallest_members(detail: &Map<String, Value>) -> Map<String, Value> {
    let size = |(key, value): &(&String, &Value)| key.len() + canonical_json(value).len();
    let mut members: Vec<_> = detail.iter().map(|member| (size(&member), member)).collect();
    members.sort_by_key(|(size, _)| *size);
    let mut total = 0;
    members
        .into_iter()
        .take(MEMBERS)
        .take_while(|(size, _)| {
            total += size;
            total <= TEXT / 2
        })
        .map(|(_, (key, value))| (key.clone(), value.clone()))
        .collect()
}

fn clean_object(object: &Map<String, Value>, depth: usize) -> Map<String, Value> {
    let mut cleaned = Map::new();
    for (key, value) in object {
        let mut key = clean_text(key, KEY);
        // Two keys that differ only in the part that was cut or escaped must both be kept.
        while cleaned.contains_key(&key) {
            key.push('_');
        }
        cleaned.insert(key, clean_value(value, depth));
    }
    cleaned
}

fn clean_value(value: &Value, depth: usize) -> Value {
    match value {
        Value::Array(_) | Value::Object(_) if depth >= DEPTH => {
            clean_text(&canonical_json(value), TEXT).into()
        }
        Value::Array(items) => items.iter().map(|item| clean_value(item, depth + 1)).collect(),
        Value::Object(object) => clean_object(object, depth + 1).into(),
        Value::String(text) => clean_text(text, TEXT).into(),
        Value::Number(number) => {
            let whole = number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64());
            if whole.is_some_and(|size| size <= SAFE) { value.clone() } else { number.to_string().into() }
        }
        Value::Null | Value::Bool(_) => value.clone(),
    }
}

fn clean_text(text: &str, longest: usize) -> String {
    if text.contains('\0') { cut(&text.replace('\0', "\\u{0}"), longest) } else { cut(text, longest) }
}

fn cut(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    let mut kept = text[..text.floor_char_boundary(longest - '…'.len_utf8())].to_owned();
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn detail(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_the_databases_would_refuse_or_change_is_rewritten() {
        let cleaned = clean_detail(&detail(json!({
            "nul\0": "a\0b", "nul\\u{0}": 1, "float": 1.5, "big": u64::MAX, "least": i64::MIN,
            "fine": [1, -1, SAFE, null, true, "é\u{1}"],
        })));
        assert_eq!(
            Value::Object(cleaned.clone()),
            json!({
                "nul\\u{0}": "a\\u{0}b", "nul\\u{0}_": 1, "float": "1.5", "big": u64::MAX.to_string(),
                "least": i64::MIN.to_string(), "fine": [1, -1, SAFE, null, true, "é\u{1}"],
            })
        );
        assert_eq!(clean_detail(&cleaned), cleaned);
    }

    #[test]
    fn deep_and_large_details_are_bounded() {
        let deep = (0..200).fold(json!(1), |inner, _| json!({"in": inner}));
        let text = Value::Object(clean_detail(&detail(deep))).to_string();
        assert!(serde_json::from_str::<Value>(&text).is_ok(), "within the reader's depth");
        let wide: Map<_, _> = (0..100_000).map(|n| (format!("key-{n}"), json!("value"))).collect();
        let cleaned = clean_detail(&wide);
        assert!(cleaned["length"].as_u64().unwrap() > DETAIL as u64);
        assert!(cleaned["shortened"].as_str().unwrap().ends_with('…'));
        assert_eq!(clean_detail(&cleaned), cleaned);
        let mut applied = detail(json!({"revision": 7, "digest": "d".repeat(64), "first_position": 12}));
        applied.insert("flows".to_owned(), wide.values().cloned().collect());
        let cleaned = clean_detail(&applied);
        assert_eq!((&cleaned["revision"], &cleaned["first_position"]), (&json!(7), &json!(12)));
        assert!(cleaned.contains_key("digest") && !cleaned.contains_key("flows"));
        assert!(cleaned["shortened"].as_str().unwrap().contains("value"));
        assert_eq!(clean_detail(&cleaned), cleaned);
        assert!(clean_column(&"é".repeat(5000)).len() <= COLUMN);
    }
}
