//! The record of events that retention removed.
//!
//! Events are removed by month; seals follow the order of writing: a month's events fill some seals completely and
//! share others with the next month. The record (an `audit.removed` event) lists the removed members of seals:
//! complete seals as ranges of numbers, parts as runs of members. It is a signed record ([`super::signed`]), so that
//! a person who can only write to the database cannot present a removal as retention.

use super::signed::sign;
use crate::seal::SealKey;
use model::{EventKind, Result};
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

    /// The first and the last seal that it speaks of.
    pub(crate) fn span(&self) -> Option<(i64, i64)> {
        let first = self.whole.keys().chain(self.parts.keys()).min()?;
        let last = self.whole.values().chain(self.parts.keys()).max()?;
        Some((*first, *last))
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
        sign(EventKind::AuditRemoved, event, detail, key)
    }

    /// Reads a record whose signature holds; `None` when it is malformed.
    pub(crate) fn read(detail: &Map<String, Value>) -> Option<Self> {
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

#[cfg(test)]
mod tests {
    use super::super::signed::RecordRow;
    use super::*;
    use crate::seal::TrustedKeys;

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
        let row = |event, detail| RecordRow { event, kind: EventKind::AuditRemoved, at: None, detail };
        let read = |row: &RecordRow, trusted: &TrustedKeys| {
            row.read(trusted).and_then(|(_, detail)| Removed::read(&detail))
        };
        let detail = removed.record(id, Map::new(), &key).unwrap();
        assert_eq!(read(&row(id, detail.clone()), &trusted), Some(removed.clone()));
        let (second, third) = (Uuid::from_u128(2), Uuid::from_u128(3));
        assert_eq!(read(&row(second, detail.clone()), &trusted), None, "for another event");
        let other = RecordRow { kind: EventKind::AuditRestored, ..row(id, detail.clone()) };
        assert_eq!(read(&other, &trusted), None, "for another kind of record");
        assert_eq!(read(&row(id, detail.clone()), &TrustedKeys::new()), None);
        let once = row(second, row(id, detail.clone()).carried());
        let twice = row(third, once.clone().carried());
        assert_eq!((once.first_event(), twice.first_event()), (id, id));
        assert_eq!(read(&twice, &trusted), Some(removed.clone()));
        let mut widened = detail;
        widened.insert("seals".into(), json!([[1, 9]]));
        assert_eq!(read(&row(id, widened), &trusted), None);
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
