//! The record of events that retention removed.
//!
//! Events go by month, seals by the order of writing: a month's events fill some seals whole and share
//! others with the next month. The record (an `audit.removed` event) says which members of which seals
//! went: whole seals as ranges of numbers, parts as runs of members. It is signed with the seal key, so
//! that a hand which can only write the database cannot pass off its own removal as retention.
//!
//! A record goes itself one day, with the month it was written in. Before that it is carried over: another
//! event takes it in as it is, signature and all, so that it proves the same for ever, whichever node
//! signed it.

use crate::seal::{SealKey, TrustedKeys};
use model::{Result, canonical_json};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Entries of one record; what needs more is written as several records.
pub(crate) const ENTRIES: usize = 1_000;

/// Which members of which seals retention removed.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Removed {
    /// First to last seal of which every event went, by first.
    whole: BTreeMap<i64, i64>,
    /// Runs of members of the others: first index and number.
    parts: BTreeMap<i64, Vec<(u64, u64)>>,
}

impl Removed {
    /// Notes that every event of a seal went.
    pub(crate) fn whole(&mut self, seal: i64) {
        match self.whole.range_mut(..=seal).next_back() {
            Some((_, last)) if *last + 1 >= seal => *last = (*last).max(seal),
            _ => {
                self.whole.insert(seal, seal);
            }
        }
    }

    /// Notes that one member of a seal went; members of a seal come in order.
    pub(crate) fn member(&mut self, seal: i64, index: u64) {
        let runs = self.parts.entry(seal).or_default();
        match runs.last_mut() {
            Some((first, length)) if *first + *length == index => *length += 1,
            _ => runs.push((index, 1)),
        }
    }

    /// Whether the member went.
    pub(crate) fn has(&self, seal: i64, index: u64) -> bool {
        self.has_whole(seal)
            || self.parts.get(&seal).is_some_and(|runs| {
                runs.iter().any(|(first, length)| (*first..first.saturating_add(*length)).contains(&index))
            })
    }

    /// Whether all members of the seal went.
    pub(crate) fn has_whole(&self, seal: i64) -> bool {
        self.whole.range(..=seal).any(|(_, last)| *last >= seal)
    }

    /// The ranges of seals whose members all went.
    pub(crate) fn whole_ranges(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.whole.iter().map(|(first, last)| (*first, *last))
    }

    /// Adds another record.
    pub(crate) fn merge(&mut self, other: Self) {
        for (first, last) in other.whole {
            let known = self.whole.entry(first).or_insert(last);
            *known = (*known).max(last);
        }
        for (seal, runs) in other.parts {
            self.parts.entry(seal).or_default().extend(runs);
        }
    }

    /// Cuts into pieces of at most [`ENTRIES`] entries each.
    pub(crate) fn split(self) -> Vec<Self> {
        let mut pieces = vec![];
        let mut piece = Self::default();
        let mut room = ENTRIES;
        let mut make_room = |piece: &mut Self| {
            if room == 0 {
                pieces.push(std::mem::take(piece));
                room = ENTRIES;
            }
            room -= 1;
        };
        for (first, last) in self.whole {
            make_room(&mut piece);
            piece.whole.insert(first, last);
        }
        for (seal, runs) in self.parts {
            for run in runs {
                make_room(&mut piece);
                piece.parts.entry(seal).or_default().push(run);
            }
        }
        if piece != Self::default() {
            pieces.push(piece);
        }
        pieces
    }

    /// The detail of the record's event, signed. `facts` are for the reader: month, count, positions.
    ///
    /// # Errors
    /// The cryptographic library failed.
    pub(crate) fn record(
        &self,
        event: Uuid,
        facts: Map<String, Value>,
        key: &SealKey,
    ) -> Result<Map<String, Value>> {
        let mut detail = facts;
        let whole: Vec<Value> = self.whole.iter().map(|(first, last)| json!([first, last])).collect();
        let parts: Vec<Value> = self
            .parts
            .iter()
            .flat_map(|(seal, runs)| runs.iter().map(move |(first, length)| json!([seal, first, length])))
            .collect();
        detail.insert("seals".into(), whole.into());
        detail.insert("parts".into(), parts.into());
        detail.insert("key".into(), key.id().into());
        let signature = key.sign(&signed(event, &detail))?;
        detail.insert("signature".into(), openssl::base64::encode_block(&signature).into());
        Ok(detail)
    }

    /// Reads a record back; `None` when it is malformed or no trusted key has signed it.
    pub(crate) fn read(event: Uuid, detail: Map<String, Value>, trusted: &TrustedKeys) -> Option<Self> {
        let (event, mut detail) = signed_record(event, detail);
        let signature = openssl::base64::decode_block(detail.remove("signature")?.as_str()?).ok()?;
        if !trusted.check(detail.get("key")?.as_str()?, &signed(event, &detail), &signature)? {
            return None;
        }
        let mut removed = Self::default();
        for range in detail.get("seals")?.as_array()? {
            let [first, last] = range.as_array()?.as_slice() else { return None };
            removed.whole.insert(first.as_i64()?, last.as_i64()?);
        }
        for run in detail.get("parts")?.as_array()? {
            let [seal, first, length] = run.as_array()?.as_slice() else { return None };
            removed.parts.entry(seal.as_i64()?).or_default().push((first.as_u64()?, length.as_u64()?));
        }
        Some(removed)
    }
}

/// The record in an event's detail, and the event that it was signed for: its own, or the one it was
/// carried over from.
fn signed_record(event: Uuid, mut detail: Map<String, Value>) -> (Uuid, Map<String, Value>) {
    let first = detail.get("first_event").and_then(Value::as_str).and_then(|id| id.parse().ok());
    match (first, detail.remove("record")) {
        (Some(first), Some(Value::Object(record))) => (first, record),
        (_, Some(other)) => {
            detail.insert("record".into(), other);
            (event, detail)
        }
        (_, None) => (event, detail),
    }
}

/// The event for which the record in a detail was signed.
pub(crate) fn first_event(event: Uuid, detail: &Map<String, Value>) -> Uuid {
    signed_record(event, detail.clone()).0
}

/// The detail of an event that carries the record of another one over.
pub(crate) fn carried(event: Uuid, detail: Map<String, Value>) -> Map<String, Value> {
    let (first, record) = signed_record(event, detail);
    Map::from_iter([
        ("month".to_owned(), record.get("month").cloned().unwrap_or_default()),
        ("first_event".to_owned(), first.to_string().into()),
        ("record".to_owned(), record.into()),
    ])
}

fn signed(event: Uuid, detail: &Map<String, Value>) -> Vec<u8> {
    canonical_json(&json!({"removed": detail, "event": event.to_string()})).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_back_and_only_when_signed() {
        let dir = tempfile::tempdir().unwrap();
        let key = SealKey::load_or_create(&dir.path().join("key")).unwrap();
        let trusted = TrustedKeys::of(&key).unwrap();
        let mut removed = Removed::default();
        [3, 4, 5, 9].into_iter().for_each(|seal| removed.whole(seal));
        [0, 1, 2, 7, 8].into_iter().for_each(|index| removed.member(6, index));
        assert_eq!(removed.whole, BTreeMap::from([(3, 5), (9, 9)]));
        assert_eq!(removed.parts, BTreeMap::from([(6, vec![(0, 3), (7, 2)])]));
        let has: Vec<u64> = (0..10).filter(|index| removed.has(6, *index)).collect();
        assert_eq!(has, [0, 1, 2, 7, 8]);
        assert!(removed.has_whole(4) && !removed.has_whole(6) && !removed.has_whole(2));

        let id = Uuid::from_u128(1);
        let detail = removed.record(id, Map::new(), &key).unwrap();
        assert_eq!(Removed::read(id, detail.clone(), &trusted), Some(removed.clone()));
        assert_eq!(Removed::read(Uuid::from_u128(2), detail.clone(), &trusted), None, "for another event");
        assert_eq!(Removed::read(id, detail.clone(), &TrustedKeys::new()), None);
        let (second, third) = (Uuid::from_u128(2), Uuid::from_u128(3));
        let once = carried(id, detail.clone());
        let twice = carried(second, once.clone());
        assert_eq!((first_event(second, &once), first_event(third, &twice)), (id, id));
        assert_eq!(Removed::read(third, twice, &trusted), Some(removed.clone()));
        let mut widened = detail;
        widened.insert("seals".into(), json!([[1, 9]]));
        assert_eq!(Removed::read(id, widened, &trusted), None);
    }

    #[test]
    fn long_records_are_split_without_loss() {
        let mut removed = Removed::default();
        (0..3 * ENTRIES as u64).for_each(|index| removed.member(1, 2 * index));
        removed.whole(7);
        let pieces = removed.clone().split();
        assert_eq!(pieces.len(), 4);
        let mut merged = Removed::default();
        pieces.into_iter().for_each(|piece| merged.merge(piece));
        assert_eq!(merged, removed);
    }
}
