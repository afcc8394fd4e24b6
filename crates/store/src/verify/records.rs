//! What the signed records of a trail say, as far as trusted keys have signed them.

use super::accepted::AcceptedKeys;
use super::removal::Removed;
use super::signed::{RecordRow, record_rows, sign};
use crate::Store;
use crate::seal::{NotedSeal, SealKey, TrustedKeys};
use chrono::{DateTime, SecondsFormat};
use model::{EventKind, Result, Sha256, Timestamp};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

/// What the signed records say.
pub(crate) struct Records {
    pub(crate) removed: Removed,
    /// The keys that were trusted from the beginning, and those that these have confirmed.
    pub(crate) trusted: TrustedKeys,
    /// Keys among these that a record made known.
    pub(crate) vouched: Vec<String>,
    pub(crate) restored: Vec<Restored>,
    /// Months whose events retention removed, as `2026-11`.
    pub(crate) removed_months: BTreeSet<String>,
    pub(crate) count: usize,
    /// Unknown keys that were accepted up to a seal, which is unchanged since then.
    pub(crate) accepted: Vec<AcceptedKeys>,
    /// Records by such keys.
    pub(crate) accepted_records: u64,
    /// Records that no trusted key has signed.
    pub(crate) invalid: Vec<RecordRow>,
}

/// That an administrator accepted the trail as it was found, though a later seal was known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Restored {
    /// The event that the record was signed for: a record counts once for each node.
    pub(crate) event: Uuid,
    /// When it was accepted, by the accepting node's clock.
    pub(crate) at: Timestamp,
    /// The newest seal that was known.
    pub(crate) known: NotedSeal,
    /// The newest seal that was found.
    pub(crate) found: NotedSeal,
    /// The newest seal that the known ones and the found ones have in common, as far as the accepting node remembered.
    pub(crate) common: NotedSeal,
    /// Unknown keys that were accepted with it.
    pub(crate) keys: AcceptedKeys,
}

impl Restored {
    /// The seals after `common` were discarded.
    #[cfg(test)]
    pub(crate) fn plain(at: Timestamp, known: NotedSeal, found: NotedSeal, common: NotedSeal) -> Self {
        Self { event: Uuid::now_v7(), at, known, found, common, keys: AcceptedKeys::default() }
    }

    /// Whether a seal with this number was discarded by this record. Another one with the same number may
    /// have been created since.
    pub(crate) fn gives_up(&self, seal: i64) -> bool {
        seal <= self.known.seal && seal > self.common.seal
    }

    /// The detail of its event, signed.
    pub(crate) fn record(&self, facts: Map<String, Value>, key: &SealKey) -> Result<Map<String, Value>> {
        let Self { event, at, known, found, common, keys } = self;
        let mut detail = facts;
        if !keys.is_empty() {
            keys.write(&mut detail);
        }
        detail.insert("known".into(), json!({"seal": known.seal, "digest": known.digest.to_string()}));
        detail.insert("accepted_at".into(), at.to_rfc3339_opts(SecondsFormat::Micros, true).into());
        detail.insert("common".into(), json!({"seal": common.seal, "digest": common.digest.to_string()}));
        detail.insert(
            "found".into(),
            json!({
                "seal": found.seal, "digest": found.digest.to_string(), "row": found.row.to_string(),
            }),
        );
        sign(EventKind::AuditRestored, *event, detail, key)
    }

    fn read(event: Uuid, detail: &Map<String, Value>) -> Option<Self> {
        let digest = |value: &Value| value.as_str()?.parse::<Sha256>().ok();
        let noted = |seal: &Value| {
            let digest = digest(seal.get("digest")?)?;
            Some(NotedSeal { seal: seal.get("seal")?.as_i64()?, digest, row: digest })
        };
        let found = detail.get("found")?;
        let at = DateTime::parse_from_rfc3339(detail.get("accepted_at")?.as_str()?).ok()?;
        Some(Self {
            event,
            at: at.to_utc(),
            known: noted(detail.get("known")?)?,
            common: noted(detail.get("common")?)?,
            found: NotedSeal {
                seal: found.get("seal")?.as_i64()?,
                digest: digest(found.get("digest")?)?,
                row: digest(found.get("row")?)?,
            },
            keys: AcceptedKeys::read(detail)?,
        })
    }
}

/// The detail of an event with which a node confirms another node's key.
pub(crate) fn key_record(
    event: Uuid,
    trusted_key: &str,
    public_pem: &str,
    facts: Map<String, Value>,
    key: &SealKey,
) -> Result<Map<String, Value>> {
    let mut detail = facts;
    detail.insert("trusted_key".into(), trusted_key.into());
    detail.insert("public_key".into(), public_pem.into());
    sign(EventKind::AuditKeyTrusted, event, detail, key)
}

/// Reads all signed records and trusts those that a trusted key has signed, or a key that a trusted key has
/// confirmed.
pub(crate) async fn load_records(store: &Store, trusted: &TrustedKeys) -> Result<Records> {
    let rows = record_rows(store).await?;
    let count = rows.len();
    let (mut trusted, mut vouched) = (trusted.clone(), vec![]);
    let (mut open, others): (Vec<RecordRow>, Vec<RecordRow>) =
        rows.into_iter().partition(|row| row.kind == EventKind::AuditKeyTrusted);
    loop {
        let before = open.len();
        open.retain(|row| {
            let Some((_, detail)) = row.read(&trusted) else { return true };
            let pem = detail.get("public_key").and_then(Value::as_str).unwrap_or_default();
            let named = detail.get("trusted_key").and_then(Value::as_str).unwrap_or_default();
            let known = trusted.has(named);
            match TrustedKeys::id_of_pem(pem.as_bytes()) {
                // What it names and what it holds are signed together, and must be the same key.
                Ok(id) if id == named => {
                    if !known && trusted.add_pem(pem.as_bytes()).is_ok() {
                        vouched.push(id);
                    }
                    false
                }
                _ => true,
            }
        });
        if open.len() == before {
            break;
        }
    }
    let mut records = Records {
        removed: Removed::default(),
        vouched,
        restored: vec![],
        removed_months: BTreeSet::new(),
        count,
        accepted: vec![],
        accepted_records: 0,
        invalid: open,
        trusted: TrustedKeys::new(),
    };
    for row in others {
        let read = row.read(&trusted).and_then(|(event, detail)| {
            match row.kind {
                EventKind::AuditRestored => records.restored.push(Restored::read(event, &detail)?),
                _ => {
                    records.removed.merge(Removed::read(&detail)?);
                    let month = detail.get("month").and_then(Value::as_str);
                    records.removed_months.extend(month.map(str::to_owned));
                }
            }
            Some(())
        });
        if read.is_none() {
            records.invalid.push(row);
        }
    }
    records.trusted = trusted;
    accept_records(store, &mut records).await?;
    Ok(records)
}

/// Reads which unknown keys were accepted.
async fn accept_records(store: &Store, records: &mut Records) -> Result<()> {
    for restored in records.restored.iter().filter(|restored| !restored.keys.is_empty()) {
        // It binds all before it; where it is another now, nothing is accepted.
        if store.seal_digest(restored.found.seal).await? == Some(restored.found.digest) {
            records.accepted.push(restored.keys.clone());
        }
    }
    for row in std::mem::take(&mut records.invalid) {
        let Some(keys) = records.accepted.iter().find(|keys| keys.accept_record(&row)) else {
            records.invalid.push(row);
            continue;
        };
        match keys.removed(store, &row).await? {
            Some((removed, month)) => {
                records.removed.merge(removed);
                records.removed_months.extend(month);
            }
            None if row.kind == EventKind::AuditRemoved => {
                records.invalid.push(row);
                continue;
            }
            // Confirming keys, and discarding seals, is not among what was accepted.
            None => {}
        }
        records.accepted_records += 1;
    }
    Ok(())
}
