//! What the signed records of a trail say, as far as trusted keys have signed them.

use super::removal::Removed;
use super::signed::{RecordRow, record_rows, sign};
use crate::Store;
use crate::seal::{NotedSeal, SealKey, TrustedKeys};
use model::{EventKind, Result, Sha256};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

/// What the signed records say.
pub(crate) struct Records {
    pub(crate) removed: Removed,
    /// The keys that were trusted from the beginning, and those that they have vouched for.
    pub(crate) trusted: TrustedKeys,
    /// Keys among these that a record made known.
    pub(crate) vouched: Vec<String>,
    pub(crate) restored: Vec<Restored>,
    /// Months whose events retention removed, as `2026-11`.
    pub(crate) removed_months: BTreeSet<String>,
    pub(crate) count: usize,
    /// Records that no trusted key has signed.
    pub(crate) invalid: Vec<(Uuid, EventKind)>,
}

/// That an administrator accepted the trail as it was found, though a later seal was known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Restored {
    /// The event that the record was signed for: a record counts once for each node.
    pub(crate) event: Uuid,
    /// The newest seal that was known.
    pub(crate) known: NotedSeal,
    /// The newest seal that was found.
    pub(crate) found: NotedSeal,
}

impl Restored {
    /// That a seal was given up for another.
    #[cfg(test)]
    pub(crate) fn plain(event: Uuid, known: NotedSeal, found: NotedSeal) -> Self {
        Self { event, known, found }
    }

    /// Whether a seal that is known from outside was given up by this.
    pub(crate) fn gives_up(&self, seal: i64) -> bool {
        seal <= self.known.seal && seal > self.found.seal.min(self.known.seal - 1)
    }

    /// The detail of its event, signed.
    pub(crate) fn record(
        event: Uuid,
        known: &NotedSeal,
        found: &NotedSeal,
        facts: Map<String, Value>,
        key: &SealKey,
    ) -> Result<Map<String, Value>> {
        let mut detail = facts;
        detail.insert("known".into(), json!({"seal": known.seal, "digest": known.digest.to_string()}));
        detail.insert(
            "found".into(),
            json!({
                "seal": found.seal, "digest": found.digest.to_string(), "row": found.row.to_string(),
            }),
        );
        sign(EventKind::AuditRestored, event, detail, key)
    }

    fn read(event: Uuid, detail: &Map<String, Value>) -> Option<Self> {
        let digest = |value: &Value| value.as_str()?.parse::<Sha256>().ok();
        let known = detail.get("known")?;
        let found = detail.get("found")?;
        let known_digest = digest(known.get("digest")?)?;
        Some(Self {
            event,
            known: NotedSeal { seal: known.get("seal")?.as_i64()?, digest: known_digest, row: known_digest },
            found: NotedSeal {
                seal: found.get("seal")?.as_i64()?,
                digest: digest(found.get("digest")?)?,
                row: digest(found.get("row")?)?,
            },
        })
    }
}

/// The detail of an event by which a node vouches for another's key.
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

/// Reads all signed records and believes those that a trusted key has signed, or a key that such a one has
/// vouched for.
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
        invalid: open.iter().map(|row| (row.event, row.kind)).collect(),
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
            records.invalid.push((row.event, row.kind));
        }
    }
    records.trusted = trusted;
    Ok(records)
}
