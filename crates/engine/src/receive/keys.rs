//! The keys under which this node is receiving messages. If the answer to a key's reservation was lost, the key can
//! be freed without taking it from another connection.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whether a reception holds its key in the database.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyHeld {
    Yes,
    /// The answer to the reservation was lost.
    Unknown,
    No,
}

/// How this node uses a key.
#[derive(Debug, Default)]
struct KeyUse {
    /// The number of connections that request it or receive under it.
    connections: u32,
    /// It is being freed: further connections are asked to come again.
    freeing: bool,
}

/// The keys in use on this node.
#[derive(Default)]
pub(crate) struct ReceivingKeys(Mutex<HashMap<String, KeyUse>>);

impl ReceivingKeys {
    fn keys(&self) -> MutexGuard<'_, HashMap<String, KeyUse>> {
        // After a panic elsewhere at most one key stays in it, whose sender is asked to send again.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection; false while the key is being freed.
    pub(crate) fn enter(&self, key: &str) -> bool {
        let mut keys = self.keys();
        let used = keys.entry(key.to_owned()).or_default();
        if used.freeing {
            return false;
        }
        used.connections += 1;
        true
    }

    /// Removes a connection. Returns whether the key must be freed in the database; if so, it is marked as being
    /// freed.
    pub(crate) fn leave(&self, key: &str, held: KeyHeld) -> bool {
        let mut keys = self.keys();
        let Some(used) = keys.get_mut(key) else { return false };
        let free = held == KeyHeld::Yes || (held == KeyHeld::Unknown && used.connections == 1);
        used.connections -= 1;
        used.freeing |= free;
        if used.connections == 0 && !used.freeing {
            keys.remove(key);
        }
        free
    }

    /// Ends the freeing of a key.
    pub(crate) fn freed(&self, key: &str) {
        let mut keys = self.keys();
        if let Some(used) = keys.get_mut(key) {
            used.freeing = false;
            if used.connections == 0 {
                keys.remove(key);
            }
        }
    }
}
