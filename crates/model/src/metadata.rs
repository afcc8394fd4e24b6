//! Keys of the metadata of transfers that have a meaning.

use crate::{ARCHIVE_PATH, ARCHIVE_SHA256};
use serde_json::Value;
use std::borrow::Cow;

/// A file's name in the destination directory, or with [`IS_FILE_PATH`] its absolute path.
pub const FILE_NAME: &str = "file_name";

/// Whether [`FILE_NAME`] is an absolute path. Left out, it is a name.
pub const IS_FILE_PATH: &str = "is_file_path";

/// The beginning of the keys that sources write.
const OF_SOURCES: &str = "source_";

/// The key of a failure route.
const FAILURE: &str = "failure";

/// Whether Waybill itself writes a key, so that a flow must not.
#[must_use]
pub fn is_reserved(key: &str) -> bool {
    key.starts_with(OF_SOURCES) || [FAILURE, ARCHIVE_PATH, ARCHIVE_SHA256].contains(&key)
}

/// Whether a text can be a key that a person names: 1 to 64 of `a-z`, `0-9`, `.`, `-` and `_`, with a letter or digit first.
#[must_use]
pub fn is_key(key: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=64).contains(&key.len())
        && key.bytes().all(|byte| plain(byte) || b".-_".contains(&byte))
        && key.bytes().next().is_some_and(plain)
}

/// What a value says as text: one text of a text, a number or a truth value, each of those in a list, none of anything else.
#[must_use]
pub fn texts(value: &Value) -> Vec<Cow<'_, str>> {
    match value {
        Value::Array(values) => values.iter().filter_map(text).collect(),
        one => text(one).into_iter().collect(),
    }
}

fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(is) => Some(Cow::Owned(is.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
