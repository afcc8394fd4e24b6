//! Canonical JSON (RFC 8785), the form that audit seals hash.

use serde_json::{Map, Value};

/// Writes a value in the canonical form of RFC 8785: no white space, keys sorted by UTF-16 code units,
/// shortest escapes. Waybill's audit holds no floating-point numbers; one that appears all the same is
/// written as serde_json would, so that the function is total.
#[must_use]
pub fn canonical_json(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

/// As [`canonical_json`], of an object's fields.
#[must_use]
pub fn canonical_object(fields: &Map<String, Value>) -> String {
    let mut text = String::new();
    write_object(fields, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        Value::Object(fields) => write_object(fields, text),
        scalar => text.push_str(&scalar.to_string()),
    }
}

fn write_object(fields: &Map<String, Value>, text: &mut String) {
    let mut keys: Vec<&String> = fields.keys().collect();
    keys.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
    text.push('{');
    for (place, key) in keys.into_iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        // serde_json escapes exactly as RFC 8785 3.2.2.2 asks.
        text.push_str(&Value::from(key.as_str()).to_string());
        text.push(':');
        write(&fields[key], text);
    }
    text.push('}');
}

#[cfg(test)]
mod tests {
    use super::canonical_json;
    use serde_json::json;

    #[test]
    fn rfc_8785_order_and_escapes() {
        // The key order of RFC 8785, 3.2.3: sorted by UTF-16 code units, not by code points.
        let value =
            json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7});
        assert_eq!(
            canonical_json(&value),
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}"
        );
        assert_eq!(canonical_json(&json!([null, true, -1, "a\u{f}\"/"])), "[null,true,-1,\"a\\u000f\\\"/\"]");
    }
}
