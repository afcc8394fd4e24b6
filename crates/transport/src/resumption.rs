//! Transfers that went on after their connection broke.

use model::ConnectionId;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};

/// A time that a transfer went on after its connection broke.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Resumption {
    /// The byte that it went on at, from 0.
    #[serde(rename = "from_byte")]
    pub from: u64,
    /// The connection over which it went on; `None` if there was none.
    pub connection: Option<ConnectionId>,
    /// Why the connection before it ended.
    pub after: String,
}

/// The resumptions of a part that is being read. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Resumptions(Arc<Mutex<Vec<Resumption>>>);

impl Resumptions {
    /// Adds one. Whoever reads bounds how many there are.
    pub fn add(&self, resumption: Resumption) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(resumption);
    }

    /// Those so far.
    #[must_use]
    pub fn taken(&self) -> Vec<Resumption> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
