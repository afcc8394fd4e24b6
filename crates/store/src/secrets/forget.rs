//! Giving up a master key that is lost, with all that was encrypted with it.

use crate::Store;
use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::tx::Tx;
use async_trait::async_trait;
use model::{AuditEvent, Result};
use sqlx::FromRow;
use uuid::Uuid;

/// Where an encrypted secret stands.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, FromRow)]
pub struct SecretPlace {
    /// What the definition's document names it by.
    pub id: Uuid,
    /// The definition's section.
    pub section: String,
    /// The definition's name.
    pub name: String,
    /// The field's path within the definition.
    pub field: String,
}

impl Store {
    /// Where the secrets stand that are encrypted with a master key, of all revisions; `None` when the key is not
    /// known.
    ///
    /// # Errors
    /// The database failed.
    pub async fn secrets_under(&self, key_id: &str) -> Result<Option<Vec<SecretPlace>>> {
        let (known, places) = self
            .read("read the secrets under a master key", async {
                let known: i64 = on!(self.pool(), c => sqlx::query_scalar(
                    "SELECT count(*) FROM master_keys WHERE key_id = $1").bind(key_id).fetch_one(c).await)?;
                let places: Vec<SecretPlace> = on!(self.pool(), c => sqlx::query_as(
                    "SELECT id, section, name, field FROM secrets WHERE key_id = $1 \
                     ORDER BY section, name, field, id").bind(key_id).fetch_all(c).await)?;
                Ok((known > 0, places))
            })
            .await?;
        Ok((known || !places.is_empty()).then_some(places))
    }

    /// Removes a master key with all secrets that are encrypted with it, and answers how many there were.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget_master_key(&self, key_id: &str, events: Vec<AuditEvent>) -> Result<u64> {
        self.write(ForgetKey { key_id: key_id.to_owned(), events }).await
    }
}

struct ForgetKey {
    key_id: String,
    events: Vec<AuditEvent>,
}

#[async_trait]
impl Command for ForgetKey {
    type Answer = u64;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<u64, Fault> {
        let gone = on!(tx, c => sqlx::query("DELETE FROM secrets WHERE key_id = $1")
            .bind(&self.key_id).execute(c).await.map(|done| done.rows_affected()))?;
        on!(tx, c => sqlx::query("DELETE FROM master_keys WHERE key_id = $1")
            .bind(&self.key_id).execute(c).await.map(|_| ()))?;
        tx.events(&self.events);
        Ok(gone)
    }
}
