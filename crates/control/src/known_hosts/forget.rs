//! Forgetting a key that waited for a decision.

use crate::{Caller, Control};
use model::{Permission, Result};
use serde::{Deserialize, Serialize};

/// A key that a server showed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ForgetOfferedKey {
    /// The server's host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The key's fingerprint.
    pub fingerprint: String,
}

impl Control {
    /// Takes a key off those that wait for a decision. Nothing is trusted or revoked by it: the next connection to a server that
    /// shows the key is refused again, and brings it back.
    ///
    /// # Errors
    /// The caller may not change definitions; the database failed.
    pub async fn forget_offered_host_key(&self, caller: &Caller, request: &ForgetOfferedKey) -> Result<()> {
        caller.require(Permission::ChangeDefinitions)?;
        let mut keys = self.0.store.offered_host_keys().await?;
        keys.retain(|key| {
            (key.host.as_str(), key.port, key.fingerprint.as_str())
                == (request.host.as_str(), request.port, request.fingerprint.as_str())
        });
        self.0.store.forget_offered_host_keys(keys).await
    }
}
