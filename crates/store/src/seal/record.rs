//! One seal: what it says, and what its digest covers.

use super::{SealKey, TrustedKeys};
use model::{Result, Sha256, Timestamp, canonical_json};
use openssl::sha::sha256;
use serde_json::{Value, json};
use uuid::Uuid;

/// A place in the trail's order: the database's position of an event, and within one position (one
/// transaction) the event's id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Bound {
    /// Postgres: the transaction's number. SQLite: the event's sequence.
    pub position: i64,
    /// The event's id; nil for the beginning of the position.
    pub id: Uuid,
}

impl Bound {
    /// Before every event.
    pub const START: Self = Self { position: 0, id: Uuid::nil() };

    /// The beginning of a position.
    #[must_use]
    pub const fn position(position: i64) -> Self {
        Self { position, id: Uuid::nil() }
    }

    fn json(self) -> Value {
        json!([self.position, self.id.to_string()])
    }
}

/// Bytes of one member: the event's id and its hash.
pub(crate) const MEMBER: usize = 16 + 32;

/// One seal over the events of a range. Ranges of consecutive seals meet: no event lies between them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seal {
    /// From 1, without gaps.
    pub seq: i64,
    /// First place that is covered.
    pub from: Bound,
    /// First place that is not covered any more.
    pub to: Bound,
    /// Number of events.
    pub count: i64,
    /// SHA-256 over the members.
    pub members_digest: Sha256,
    /// Digest of the seal before; zeros for the first.
    pub previous: Sha256,
    /// When it was made, by the sealing node's clock.
    pub sealed_at: Timestamp,
    /// Which key signed it.
    pub key_id: String,
    /// SHA-256 over the header (see [`Seal::header`]).
    pub digest: Sha256,
    /// Ed25519 over the 32 bytes of the digest.
    pub signature: Vec<u8>,
    /// Id (16 bytes) and hash (32 bytes) of each event, in order. `None` once retention has removed all
    /// of the events.
    pub members: Option<Vec<u8>>,
}

impl Seal {
    /// Makes the seal that follows `last` over the given members, and signs it.
    ///
    /// # Errors
    /// The cryptographic library failed.
    pub(crate) fn make(
        last: Option<&Self>,
        range: (Bound, Bound),
        members: Vec<u8>,
        at: Timestamp,
        key: &SealKey,
    ) -> Result<Self> {
        let mut seal = Self {
            seq: last.map_or(1, |last| last.seq + 1),
            from: range.0,
            to: range.1,
            count: i64::try_from(members.len() / MEMBER).unwrap_or(i64::MAX),
            members_digest: Sha256(sha256(&members)),
            previous: last.map_or(Sha256([0; 32]), |last| last.digest),
            sealed_at: at,
            key_id: key.id().to_owned(),
            digest: Sha256([0; 32]),
            signature: Vec::new(),
            members: Some(members),
        };
        seal.digest = seal.compute_digest();
        seal.signature = key.sign(&seal.digest.0)?;
        Ok(seal)
    }

    /// The canonical JSON that the digest is taken over: version, sequence, range, count, digest of the
    /// members, digest of the seal before, time in microseconds, key id.
    #[must_use]
    pub fn header(&self) -> String {
        canonical_json(&json!({
            "v": 1,
            "seq": self.seq,
            "from": self.from.json(),
            "to": self.to.json(),
            "count": self.count,
            "members": self.members_digest.to_string(),
            "previous": self.previous.to_string(),
            "sealed_at": self.sealed_at.timestamp_micros(),
            "key": self.key_id,
        }))
    }

    /// The digest that the fields give.
    pub(crate) fn compute_digest(&self) -> Sha256 {
        Sha256(sha256(self.header().as_bytes()))
    }

    /// Whether the signature is good; `None` when the key is not trusted.
    pub(crate) fn signature_holds(&self, trusted: &TrustedKeys) -> Option<bool> {
        trusted.check(&self.key_id, &self.digest.0, &self.signature)
    }

    /// The seal as one line of JSON, for a copy that is kept elsewhere. Digest and signature can be
    /// checked from it alone: `digest` is SHA-256 over `header` as written, `signature` is over the
    /// digest's bytes.
    #[must_use]
    pub fn export(&self) -> String {
        self.export_with(None)
    }

    pub(crate) fn export_with(&self, timestamp: Option<&[u8]>) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut line = json!({
            "seq": self.seq,
            "header": self.header(),
            "digest": self.digest.to_string(),
            "signature": hex(&self.signature),
        });
        if let Some(token) = timestamp {
            line["timestamp"] = hex(token).into();
        }
        canonical_json(&line)
    }
}

/// Adds one event to the members of a seal.
pub(crate) fn push_member(members: &mut Vec<u8>, id: Uuid, hash: Sha256) {
    members.extend_from_slice(id.as_bytes());
    members.extend_from_slice(&hash.0);
}

/// Reads the members of a seal; what is left over of a blob of the wrong length is ignored (its digest
/// is wrong then).
pub(crate) fn read_members(members: &[u8]) -> impl Iterator<Item = (Uuid, Sha256)> + '_ {
    members.chunks_exact(MEMBER).filter_map(|member| {
        let (id, hash) = member.split_first_chunk::<16>()?;
        Some((Uuid::from_bytes(*id), Sha256(hash.try_into().ok()?)))
    })
}
