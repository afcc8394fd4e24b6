//! Secrets of definitions, encrypted. The master keys are the host's, and never in the database.

mod cipher;
mod forget;
mod rotate;

pub use cipher::{MasterKey, MasterKeys};
pub use forget::SecretPlace;

use crate::Store;
use crate::either::on;
use crate::fault::Fault;
use crate::tx::Tx;
use model::{Error, ErrorKind, Result};
use sqlx::{FromRow, QueryBuilder};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Rows of one statement: SQLite binds 32,766 values at most.
const ROWS: usize = 1000;

/// An encrypted secret. Its place and the key's id are authenticated with it: it cannot be moved to another field.
#[derive(Clone, PartialEq, Eq, Debug, FromRow)]
pub struct EncryptedSecret {
    /// What the definition's document names it by.
    pub id: Uuid,
    /// The definition's section.
    pub section: String,
    /// The definition's name.
    pub name: String,
    /// The field's path within the definition.
    pub field: String,
    /// The master key that it is encrypted with.
    pub key_id: String,
    /// Nonce (12 bytes), ciphertext, tag (16 bytes).
    pub ciphertext: Vec<u8>,
}

/// What is stored of a master key: its id, and a value by which a wrong key of that id is found.
#[derive(Clone, PartialEq, Eq, Debug, FromRow)]
pub struct KeyCheck {
    /// The key's id.
    pub key_id: String,
    /// HMAC-SHA-256 with the key.
    pub check_value: Vec<u8>,
}

/// Secrets to be stored with a revision.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NewSecrets {
    /// The secrets.
    pub rows: Vec<EncryptedSecret>,
    /// The key that they are encrypted with.
    pub check: Option<KeyCheck>,
}

impl Store {
    /// Compares master keys with what the database holds. `needed`: the secrets that are in force. What only earlier
    /// revisions hold, under a key that is missing, is a warning, one a key.
    ///
    /// # Errors
    /// `ConfigInvalid` when a key that needed secrets are encrypted with is missing, or another key has its id; or the
    /// database failed.
    pub async fn check_master_keys(&self, keys: &MasterKeys, needed: &[Uuid]) -> Result<Vec<String>> {
        let (used, checks) = self
            .read("read which master keys are in use", async {
                let used: Vec<(String, i64)> = on!(self.pool(), c => sqlx::query_as(
                    "SELECT key_id, count(*) FROM secrets GROUP BY key_id ORDER BY key_id").fetch_all(c).await)?;
                let checks: Vec<KeyCheck> = on!(self.pool(), c => sqlx::query_as(
                    "SELECT key_id, check_value FROM master_keys ORDER BY key_id").fetch_all(c).await)?;
                Ok((used, checks))
            })
            .await?;
        for check in &checks {
            if keys.check(&check.key_id).is_some_and(|own| own != *check) {
                return Err(wrong_key(&check.key_id));
            }
        }
        let missing: Vec<&(String, i64)> = used.iter().filter(|(id, _)| keys.check(id).is_none()).collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let mut in_force: BTreeMap<String, usize> = BTreeMap::new();
        for secret in self.secrets(needed).await?.into_values() {
            *in_force.entry(secret.key_id).or_default() += 1;
        }
        if let Some((id, _)) = missing.iter().find(|(id, _)| in_force.contains_key(id)) {
            let count = in_force.get(id).copied().unwrap_or_default();
            return Err(missing_key(id, &keys.ids()).with("secrets in force", count));
        }
        let warning = |(id, count): &&(String, i64)| {
            format!(
                "{count} secrets of earlier revisions are encrypted with master key {id}, which is not in the settings: \
                 those revisions cannot be put in force again; `waybill key forget {id}` removes them"
            )
        };
        Ok(missing.iter().map(warning).collect())
    }

    /// The ids of the master keys that are in use.
    ///
    /// # Errors
    /// The database failed.
    pub async fn master_keys_in_use(&self) -> Result<Vec<String>> {
        self.read("read which master keys are in use", async {
            on!(self.pool(), c => sqlx::query_scalar("SELECT key_id FROM master_keys ORDER BY key_id")
                .fetch_all(c).await)
        })
        .await
    }

    /// Encrypted secrets by their ids. One that is not there is left out.
    ///
    /// # Errors
    /// The database failed.
    pub async fn secrets(&self, ids: &[Uuid]) -> Result<BTreeMap<Uuid, EncryptedSecret>> {
        let mut found = BTreeMap::new();
        for ids in ids.chunks(ROWS) {
            let rows: Vec<EncryptedSecret> = self
                .read("read the secrets of the definitions", async {
                    on!(self.pool(), c => {
                        let mut query = QueryBuilder::<Db>::new(
                            "SELECT id, section, name, field, key_id, ciphertext FROM secrets WHERE id IN (");
                        let mut list = query.separated(", ");
                        for id in ids {
                            list.push_bind(*id);
                        }
                        query.push(")");
                        query.build_query_as().persistent(false).fetch_all(c).await
                    })
                })
                .await?;
            found.extend(rows.into_iter().map(|row| (row.id, row)));
        }
        Ok(found)
    }
}

fn wrong_key(key_id: &str) -> Error {
    Error::permanent(ErrorKind::ConfigInvalid, "use the master key").with("key", key_id).advice(
        "the database contains secrets that were encrypted with another key of this id: restore the right \
        key under this id in secrets.master_key of waybill.toml; a new key needs a new id",
    )
}

fn missing_key(key_id: &str, known: &[&str]) -> Error {
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Error::permanent(ErrorKind::ConfigInvalid, "decrypt the secrets of the definitions")
        .with("key", key_id)
        .with("keys in waybill.toml", known)
        .advice(
            "the database holds secrets that are encrypted with this master key: add it to secrets.master_key in \
             waybill.toml. If it is lost, forget it (`waybill key forget`), then apply the definitions with these \
             secrets written again",
        )
}

/// Writes secrets; those that are there already are left alone.
pub(crate) async fn insert(tx: &mut Tx<'_>, secrets: &NewSecrets) -> Result<(), Fault> {
    if let Some(check) = &secrets.check {
        refuse_new_key(tx, check).await?;
        register(tx, check).await?;
    }
    for rows in secrets.rows.chunks(ROWS) {
        on!(tx, c => {
            let mut insert =
                QueryBuilder::<Db>::new("INSERT INTO secrets (id, section, name, field, key_id, ciphertext) ");
            insert.push_values(rows, |mut row, secret| {
                row.push_bind(secret.id)
                    .push_bind(&secret.section)
                    .push_bind(&secret.name)
                    .push_bind(&secret.field)
                    .push_bind(&secret.key_id)
                    .push_bind(&secret.ciphertext);
            });
            insert.push(" ON CONFLICT (id) DO NOTHING");
            insert.build().persistent(false).execute(c).await.map(|_| ())
        })?;
    }
    Ok(())
}

/// A key that is in use for nothing yet begins with a rotation, unless it is the first of all: a command run once with
/// the wrong settings would else leave a secret that no gateway can decrypt.
async fn refuse_new_key(tx: &mut Tx<'_>, check: &KeyCheck) -> Result<(), Fault> {
    let known: Vec<String> = on!(tx, c => sqlx::query_scalar("SELECT key_id FROM master_keys ORDER BY key_id").fetch_all(c).await)?;
    if known.is_empty() || known.contains(&check.key_id) {
        return Ok(());
    }
    Err(Error::permanent(ErrorKind::ConfigInvalid, "encrypt secrets with a new master key")
        .with("key", &check.key_id)
        .with("keys in use", known.join(", "))
        .advice(
            "put the keys in use into secrets.master_key of waybill.toml. `waybill key rotate` goes over to a new key, \
             and `waybill key forget` gives up one that is lost",
        )
        .into())
}

/// Notes that a master key is in use, unless another key of its id is.
async fn register(tx: &mut Tx<'_>, check: &KeyCheck) -> Result<(), Fault> {
    on!(tx, c => sqlx::query(
        "INSERT INTO master_keys (key_id, check_value) VALUES ($1, $2) ON CONFLICT (key_id) DO NOTHING")
        .bind(&check.key_id).bind(&check.check_value).execute(c).await.map(|_| ()))?;
    // Locked: a rotation that ends at this moment must not take the key for an unused one.
    let sql = crate::tx::locking!(tx, "SELECT check_value FROM master_keys WHERE key_id = $1");
    let stored: Vec<u8> = on!(tx, c => sqlx::query_scalar(sql).bind(&check.key_id).fetch_one(c).await)?;
    if stored == check.check_value { Ok(()) } else { Err(wrong_key(&check.key_id).into()) }
}

#[cfg(test)]
mod tests;
