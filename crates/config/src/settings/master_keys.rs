//! The master keys.

use super::fields::MASTER_KEY;
use crate::reader::Reader;
use crate::reference::is_only_references;
use crate::tree::Value;
use model::Secret;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a key.
const LENGTH: usize = 32;

/// A key that encrypts secrets of definitions.
#[derive(Clone, Debug)]
pub struct MasterKey {
    /// Its name in the database.
    pub id: String,
    /// 32 bytes.
    pub key: Secret<Vec<u8>>,
}

pub(super) fn read(secrets: &Reader<'_>) -> Vec<MasterKey> {
    let mut keys: Vec<MasterKey> = Vec::new();
    for (node, path) in secrets.items("master_key") {
        let Some(entry) = Reader::open(secrets.context, &node.place, node, path, &MASTER_KEY) else {
            continue;
        };
        let id = entry.text("id").map(|text| text.value);
        let good = |id: &String| {
            (1..=64).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        if id.as_ref().is_some_and(|id| !good(id)) {
            entry.error("id", "must be 1 to 64 letters, digits, '.', '_' or '-'");
        }
        if keys.iter().any(|key| Some(&key.id) == id.as_ref()) {
            entry.error("id", "is the id of two keys: give each key its own id");
        }
        // What the settings file holds itself is copied with it; a variable may hold the key.
        if let Some(Value::Text(written)) = entry.entry("key").map(|found| &found.node.value)
            && !is_only_references(written)
        {
            entry.error(
                "key",
                "must be a reference, ${file:/path} or ${env:NAME}: a key must not be in a settings file, \
                which is copied and backed up",
            );
            continue;
        }
        let key = entry.secret("key").and_then(|text| {
            let bytes = decode(text.reveal());
            if bytes.is_none() {
                entry.error("key", "must be 32 bytes in base64, as `waybill key generate` makes them");
            }
            bytes
        });
        if let (Some(id), Some(key)) = (id, key) {
            keys.push(MasterKey { id, key });
        }
    }
    keys
}

fn decode(text: &str) -> Option<Secret<Vec<u8>>> {
    let mut bytes = Zeroizing::new(openssl::base64::decode_block(text.trim()).ok()?);
    if bytes.len() != LENGTH {
        return None;
    }
    let key = Secret::new(bytes.to_vec());
    bytes.zeroize();
    Some(key)
}
