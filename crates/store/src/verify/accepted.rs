//! Unknown keys that an administrator accepted, mainly those of an installation whose state directory is lost.
//!
//! Without the key, its seals cannot be checked. What was accepted is still bound: the record names the newest seal
//! that was found, whose digest covers all earlier ones, and each signed record by such a key. So nothing that is
//! created with the key later is trusted, nor is a record by it that removes what other keys have sealed, confirms a
//! key, or discards seals.

use super::removal::Removed;
use super::signed::RecordRow;
use crate::Store;
use crate::seal::{NotedSeal, Seal};
use model::{Error, ErrorKind, EventKind, Result, Sha256};
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashSet};

/// Keys accepted at once, at most.
const KEYS: usize = 100;
/// Signed records accepted at once, at most.
const RECORDS: usize = 1_000;

/// The keys that one record accepts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct AcceptedKeys {
    keys: BTreeSet<String>,
    up_to: i64,
    /// Digests of the signed records by these keys.
    records: HashSet<Sha256>,
}

impl AcceptedKeys {
    /// The keys of seals up to the one that was found, and of the records, that `is_known` does not know; `None` when
    /// each seal is by a known one.
    ///
    /// # Errors
    /// There are more than a hundred of them; the database failed.
    pub(crate) async fn find(
        store: &Store,
        found: &NotedSeal,
        invalid: &[RecordRow],
        is_known: impl Fn(&str) -> bool,
    ) -> Result<Option<Self>> {
        let too_many = || {
            Error::permanent(ErrorKind::ConfigInvalid, "accept the audit trail as it is").advice(
                "its seals and records are signed with more unknown keys than an installation can have",
            )
        };
        let known = BTreeSet::new();
        let all = store.keys_of_seals(1, found.seal, 10 * KEYS).await?;
        let mut keys: BTreeSet<String> = known;
        keys.extend(all.into_iter().filter(|key| !is_known(key)));
        if keys.is_empty() {
            return Ok(None);
        }
        let mut records = HashSet::new();
        for row in invalid {
            if let Some(key) = row.key().filter(|key| !is_known(key)) {
                keys.insert(key);
                records.insert(row.digest());
            }
        }
        if keys.len() > KEYS || records.len() > RECORDS {
            return Err(too_many());
        }
        Ok(Some(Self { keys, up_to: found.seal, records }))
    }

    /// Puts it into the detail of the record that accepts.
    pub(crate) fn write(&self, detail: &mut Map<String, Value>) {
        let mut records: Vec<String> = self.records.iter().map(ToString::to_string).collect();
        records.sort_unstable();
        detail.insert("unknown_keys".into(), json!(self.keys));
        detail.insert("up_to_seal".into(), self.up_to.into());
        detail.insert("records".into(), json!(records));
    }

    /// Reads it from such a detail; nothing where no keys are accepted.
    pub(crate) fn read(detail: &Map<String, Value>) -> Option<Self> {
        let Some(keys) = detail.get("unknown_keys") else { return Some(Self::default()) };
        let texts = |value: &Value| -> Option<Vec<String>> {
            value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let records = texts(detail.get("records")?)?;
        Some(Self {
            keys: texts(keys)?.into_iter().collect(),
            up_to: detail.get("up_to_seal")?.as_i64()?,
            records: records.iter().map(|digest| digest.parse().ok()).collect::<Option<_>>()?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = String> {
        self.keys.iter().cloned()
    }

    /// Whether a seal is one of those that were accepted.
    pub(crate) fn accept(&self, seal: &Seal) -> bool {
        seal.seq <= self.up_to && self.keys.contains(&seal.key_id)
    }

    /// Whether a signed record is.
    pub(crate) fn accept_record(&self, row: &RecordRow) -> bool {
        self.records.contains(&row.digest())
    }

    /// What an accepted record says that retention removed, with its month; `None` when it speaks of seals by others.
    pub(crate) async fn removed(
        &self,
        store: &Store,
        row: &RecordRow,
    ) -> Result<Option<(Removed, Option<String>)>> {
        let (_, detail) = row.unproven();
        if row.kind != EventKind::AuditRemoved {
            return Ok(None);
        }
        let Some(removed) = Removed::read(&detail) else { return Ok(None) };
        let Some((first, last)) = removed.span() else { return Ok(None) };
        let by = store.keys_of_seals(first, last, KEYS + 1).await?;
        let is_own = last <= self.up_to && by.iter().all(|key| self.keys.contains(key));
        let month = detail.get("month").and_then(Value::as_str).map(str::to_owned);
        Ok(is_own.then_some((removed, month)))
    }
}
