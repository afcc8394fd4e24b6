//! A node's notes about seals in its state directory, outside the database that the seals protect: the newest known
//! seal, the seal that is about to be stored, other nodes' keys and newest seals, and an alarm.
//!
//! A seal is noted durably as *pending* before it is committed, and as the newest after that. So there is never a
//! seal without a note: after a crash in between there is a pending seal, which the next run finds committed or
//! creates again unchanged. If the database lacks a noted seal, or has another one, it was changed without this node,
//! or restored.

mod alarm;
mod file;

pub use alarm::{AlarmCause, SealAlarm, SealingBlocked};
pub use file::MarkFile;
pub(crate) use file::MarkLock;

use super::{Bound, Seal, SealHistory, TrustedKeys};
use chrono::DateTime;
use model::{Result, Sha256};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// The noted data of a seal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotedSeal {
    /// Its number; 0 stands for the beginning, before every seal.
    pub seal: i64,
    /// Its digest; zeros for the beginning.
    pub digest: Sha256,
    /// The digest of its row's fields: the same, unless the row was changed and accepted so.
    pub row: Sha256,
}

impl NotedSeal {
    /// Before every seal.
    pub const BEGINNING: Self = Self { seal: 0, digest: Sha256([0; 32]), row: Sha256([0; 32]) };

    pub(crate) fn of(seal: &Seal) -> Self {
        Self { seal: seal.seq, digest: seal.digest, row: seal.compute_digest() }
    }
}

/// The notes about another node's key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotedKey {
    /// The public half, PEM.
    pub public_pem: String,
    /// The newest seal by it.
    pub newest: Option<(i64, Sha256)>,
}

/// The note of one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealMark {
    /// The newest seal that this node knows, of any node. It covers all earlier seals.
    pub newest: NotedSeal,
    /// This seal and some earlier ones, to find where an older database diverged.
    pub history: SealHistory,
    /// A seal that this node was about to store, without its members.
    pub pending: Option<Seal>,
    /// Keys that this node trusts besides its own, by id.
    pub keys: BTreeMap<String, NotedKey>,
    /// Records of restored databases that were followed: each counts once.
    pub accepted: BTreeSet<Uuid>,
    /// The alarm, until it ends ([`AlarmCause`]).
    pub alarm: Option<SealAlarm>,
    /// What prevents events from being sealed, before that becomes an alarm.
    pub halt: Option<SealingBlocked>,
}

impl Default for SealMark {
    fn default() -> Self {
        Self {
            newest: NotedSeal::BEGINNING,
            history: SealHistory::default(),
            pending: None,
            keys: BTreeMap::new(),
            accepted: BTreeSet::new(),
            alarm: None,
            halt: None,
        }
    }
}

impl SealMark {
    /// Whether this node has verified the database's seals up to the newest.
    #[must_use]
    pub fn is_in_order(&self) -> bool {
        self.alarm.as_ref().is_none_or(|alarm| !alarm.stops_sealing())
    }

    /// Notes a seal as the newest.
    pub(crate) fn note(&mut self, seal: &Seal) {
        self.newest = NotedSeal::of(seal);
        self.history.note(seal.seq, seal.digest);
    }

    /// Whether this node saw exactly this seal after it had followed a record of an accepted database: then that
    /// record did not discard it.
    pub(crate) fn has_outlived(&self, record: Uuid, seal: i64, digest: Sha256) -> bool {
        self.accepted.contains(&record)
            && (self.history.has(seal, digest) || self.known().contains(&(seal, digest)))
    }

    /// The seals that must exist, by number and digest.
    pub(crate) fn known(&self) -> Vec<(i64, Sha256)> {
        let newest = Some((self.newest.seal, self.newest.digest)).filter(|(seal, _)| *seal > 0);
        // The newest covers the earlier ones; listed separately, a missing seal is reported by its number.
        let others = self.keys.values().filter_map(|key| key.newest).filter(|other| Some(*other) != newest);
        others.chain(newest).collect()
    }

    /// Adds the keys that this node trusts besides its own.
    ///
    /// # Errors
    /// One is no key.
    pub fn trust(&self, trusted: &mut TrustedKeys) -> Result<()> {
        for key in self.keys.values() {
            trusted.add_pem(key.public_pem.as_bytes())?;
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let keys: serde_json::Map<String, Value> = self
            .keys
            .iter()
            .map(|(id, key)| {
                let newest =
                    key.newest.map(|(seal, digest)| json!({ "seal": seal, "digest": digest.to_string() }));
                (id.clone(), json!({ "public_key": key.public_pem, "newest": newest }))
            })
            .collect();
        json!({
            "version": 1,
            "newest": {
                "seal": self.newest.seal, "digest": self.newest.digest.to_string(),
                "row": self.newest.row.to_string(),
            },
            "history": self.history.json(),
            "pending": self.pending.as_ref().map(seal_json),
            "keys": keys,
            "accepted": self.accepted.iter().map(Uuid::to_string).collect::<Vec<_>>(),
            "alarm": self.alarm.as_ref().map(SealAlarm::json),
            "halt": self.halt.as_ref().map(SealingBlocked::json),
        })
    }

    fn of_json(value: &Value) -> Option<Self> {
        if value.get("version")?.as_i64()? != 1 {
            return None;
        }
        let newest = value.get("newest")?;
        let mut keys = BTreeMap::new();
        for (id, key) in value.get("keys")?.as_object()? {
            let newest = match key.get("newest")? {
                Value::Null => None,
                newest => Some((newest.get("seal")?.as_i64()?, digest(newest.get("digest")?)?)),
            };
            let public_pem = key.get("public_key")?.as_str()?.to_owned();
            keys.insert(id.clone(), NotedKey { public_pem, newest });
        }
        Some(Self {
            newest: NotedSeal {
                seal: newest.get("seal")?.as_i64()?,
                digest: digest(newest.get("digest")?)?,
                row: digest(newest.get("row")?)?,
            },
            history: SealHistory::read(value.get("history")?)?,
            pending: match value.get("pending")? {
                Value::Null => None,
                pending => Some(seal_of(pending)?),
            },
            keys,
            accepted: value
                .get("accepted")?
                .as_array()?
                .iter()
                .map(|id| id.as_str()?.parse().ok())
                .collect::<Option<_>>()?,
            alarm: match value.get("alarm")? {
                Value::Null => None,
                alarm => Some(SealAlarm::of_json(alarm)?),
            },
            halt: match value.get("halt")? {
                Value::Null => None,
                halt => Some(SealingBlocked::of_json(halt)?),
            },
        })
    }
}

fn digest(value: &Value) -> Option<Sha256> {
    value.as_str()?.parse().ok()
}

fn bound_json(bound: Bound) -> Value {
    json!([bound.position, bound.id.to_string()])
}

fn bound_of(value: &Value) -> Option<Bound> {
    let [position, id] = value.as_array()?.as_slice() else { return None };
    Some(Bound { position: position.as_i64()?, id: id.as_str()?.parse().ok()? })
}

fn seal_json(seal: &Seal) -> Value {
    json!({
        "seal": seal.seq, "from": bound_json(seal.from), "to": bound_json(seal.to), "count": seal.count,
        "members_digest": seal.members_digest.to_string(), "previous": seal.previous.to_string(),
        "sealed_at": seal.sealed_at.timestamp_micros(), "key": seal.key_id, "digest": seal.digest.to_string(),
        "signature": openssl::base64::encode_block(&seal.signature),
    })
}

fn seal_of(value: &Value) -> Option<Seal> {
    Some(Seal {
        seq: value.get("seal")?.as_i64()?,
        from: bound_of(value.get("from")?)?,
        to: bound_of(value.get("to")?)?,
        count: value.get("count")?.as_i64()?,
        members_digest: digest(value.get("members_digest")?)?,
        previous: digest(value.get("previous")?)?,
        sealed_at: DateTime::from_timestamp_micros(value.get("sealed_at")?.as_i64()?)?,
        key_id: value.get("key")?.as_str()?.to_owned(),
        digest: digest(value.get("digest")?)?,
        signature: openssl::base64::decode_block(value.get("signature")?.as_str()?).ok()?,
        members: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::SealKey;

    #[tokio::test]
    async fn read_back_as_written_and_refused_when_changed() {
        let dir = tempfile::tempdir().unwrap();
        let file = MarkFile::within(dir.path());
        assert_eq!(file.read().await.unwrap(), None);
        let key = SealKey::load_or_create(&dir.path().join("key")).unwrap();
        let range = (Bound::START, Bound { position: 7, id: Uuid::from_u128(9) });
        let at = DateTime::from_timestamp_micros(5).unwrap();
        let seal = Seal { members: None, ..Seal::make(None, range, vec![], at, &key).unwrap() };
        let mut history = SealHistory::default();
        history.note(1, seal.digest);
        let mark = SealMark {
            newest: NotedSeal::of(&seal),
            history,
            pending: Some(seal.clone()),
            keys: BTreeMap::from([
                (
                    "a".into(),
                    NotedKey { public_pem: key.public_pem().into(), newest: Some((1, seal.digest)) },
                ),
                ("b".into(), NotedKey { public_pem: "x".into(), newest: None }),
            ]),
            accepted: BTreeSet::from([Uuid::from_u128(3)]),
            alarm: Some(SealAlarm {
                since: at,
                what: "seal 3 is gone".into(),
                cause: AlarmCause::UnknownKey("ab".into()),
            }),
            halt: Some(SealingBlocked { since: at, runs: 3, oldest: Some(range.1) }),
        };
        file.write(&mark, &file.lock().await.unwrap()).await.unwrap();
        assert_eq!(file.read().await.unwrap(), Some(mark));
        for text in ["", "{}", "null", "{\"version\":2}"] {
            std::fs::write(file.path(), text).unwrap();
            assert!(file.read().await.unwrap_err().to_string().contains("accept-restored"), "{text}");
        }
    }
}
