//! Encrypting everything with the newest master key, a batch at a time. May be stopped at any moment and begun again:
//! each secret is under the one key or the other.

use super::{EncryptedSecret, KeyCheck, MasterKeys, ROWS, register};
use crate::Store;
use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::tx::Tx;
use async_trait::async_trait;
use model::{AuditEvent, Error, ErrorKind, Result};

impl Store {
    /// Encrypts at most `limit` secrets that are under older keys with the newest one. Answers how many there were:
    /// 0 when all are under the newest key.
    ///
    /// # Errors
    /// There is no key; an older key is missing or wrong; or the database failed. What was done stays done.
    pub async fn reencrypt_secrets(&self, keys: &MasterKeys, limit: u32) -> Result<usize> {
        let newest = newest(keys)?;
        let limit = i64::from(limit).clamp(1, i64::try_from(ROWS).unwrap_or(1));
        let old: Vec<EncryptedSecret> = self
            .read("read the secrets of the definitions", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT id, section, name, field, key_id, ciphertext FROM secrets \
                     WHERE key_id <> $1 ORDER BY key_id, id LIMIT $2")
                    .bind(&newest.key_id).bind(limit).fetch_all(c).await)
            })
            .await?;
        if old.is_empty() {
            return Ok(0);
        }
        let mut replaced = Vec::with_capacity(old.len());
        for secret in &old {
            let plain = keys.decrypt(secret)?;
            let place = (secret.section.as_str(), secret.name.as_str(), secret.field.as_str());
            replaced.push((keys.encrypt(secret.id, place, plain.reveal())?, secret.key_id.clone()));
        }
        let count = replaced.len();
        self.write(Replace { replaced, check: newest }).await?;
        Ok(count)
    }

    /// Forgets the master keys that nothing is encrypted with any more, all but the newest.
    ///
    /// # Errors
    /// There is no key; or the database failed.
    pub async fn forget_old_master_keys(&self, keys: &MasterKeys, events: Vec<AuditEvent>) -> Result<()> {
        self.write(Forget { check: newest(keys)?, events }).await
    }
}

fn newest(keys: &MasterKeys) -> Result<KeyCheck> {
    keys.newest().and_then(|id| keys.check(id)).ok_or_else(|| {
        Error::permanent(ErrorKind::ConfigInvalid, "rotate the master key")
            .advice("set secrets.master_key in waybill.toml; `waybill key generate` creates one")
    })
}

struct Replace {
    /// The secret as it is to be, and the key that it was under.
    replaced: Vec<(EncryptedSecret, String)>,
    check: KeyCheck,
}

#[async_trait]
impl Command for Replace {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        register(tx, &self.check).await?;
        for (secret, old) in &self.replaced {
            on!(tx, c => sqlx::query(
                "UPDATE secrets SET key_id = $2, ciphertext = $3 WHERE id = $1 AND key_id = $4")
                .bind(secret.id).bind(&secret.key_id).bind(&secret.ciphertext).bind(old)
                .execute(c).await.map(|_| ()))?;
        }
        Ok(())
    }
}

struct Forget {
    check: KeyCheck,
    events: Vec<AuditEvent>,
}

#[async_trait]
impl Command for Forget {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        register(tx, &self.check).await?;
        on!(tx, c => sqlx::query(
            "DELETE FROM master_keys WHERE key_id <> $1 \
             AND NOT EXISTS (SELECT 1 FROM secrets WHERE secrets.key_id = master_keys.key_id)")
            .bind(&self.check.key_id).execute(c).await.map(|_| ()))?;
        tx.events(&self.events);
        Ok(())
    }
}
