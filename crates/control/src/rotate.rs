//! Encrypting all stored secrets with the newest master key.

use crate::{Caller, Control};
use model::{Error, ErrorKind, EventKind, Permission, Result};
use serde::Serialize;

/// Secrets of one transaction.
const BATCH: u32 = 200;

/// What a rotation did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Rotated {
    /// The key that everything is encrypted with now.
    pub key: String,
    /// Secrets that were under another key before.
    pub secrets: usize,
}

impl Control {
    /// Encrypts every stored secret, of all revisions, with the newest master key. May be stopped at any moment
    /// and begun again: until it ends, both keys are needed.
    ///
    /// # Errors
    /// The caller may not manage secrets; there is no master key, or an older one is missing; the database failed.
    pub async fn rotate_master_key(&self, caller: &Caller) -> Result<Rotated> {
        caller.require(Permission::ManageSecrets)?;
        let keys = &self.0.master_keys;
        let missing = self.0.store.check_master_keys(keys, &[]).await?;
        if !missing.is_empty() {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "rotate the master key").advice(format!(
                "add the missing key to the settings, or forget it: {}",
                missing.join("; ")
            )));
        }
        let mut secrets = 0;
        loop {
            let done = self.0.store.reencrypt_secrets(keys, BATCH).await?;
            engine::crash_point("rotate.batch");
            if done == 0 {
                break;
            }
            secrets += done;
        }
        let key = keys.newest().unwrap_or_default().to_owned();
        let event = self
            .event(EventKind::MasterKeyRotated)
            .by(caller.actor.clone())
            .detail("key", key.as_str())
            .detail("secrets", secrets);
        self.0.store.forget_old_master_keys(keys, vec![event]).await?;
        Ok(Rotated { key, secrets })
    }
}
