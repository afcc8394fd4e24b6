//! The checks themselves, over seals and events handed in: no database here.

use super::accepted::AcceptedKeys;
use super::copies::Copies;
use super::records::Restored;
use super::removal::Removed;
use super::report::{Finding, VerifyOptions, VerifyReport};
use crate::audit::StoredRow;
use crate::seal::{Bound, Seal, push_member, read_members};
use model::Sha256;
use openssl::sha::sha256;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// A seal known from outside the database.
#[derive(Clone, Copy)]
struct Expected {
    digest: Sha256,
    /// Whether this node's own note names it, and so which records it has outlived.
    is_noted: bool,
}

/// Walks the chain seal by seal.
pub(crate) struct Chain<'a> {
    options: &'a VerifyOptions,
    restored: &'a [Restored],
    accepted: &'a [AcceptedKeys],
    /// Seals known from outside the database.
    expected: BTreeMap<i64, Vec<Expected>>,
    copies: Copies,
    last: Option<(i64, Sha256, Bound)>,
    /// Where a range that does not begin with seal 1 has its first seal.
    begin: i64,
}

impl<'a> Chain<'a> {
    pub(crate) fn new(
        options: &'a VerifyOptions,
        restored: &'a [Restored],
        accepted: &'a [AcceptedKeys],
    ) -> Self {
        let mut expected: BTreeMap<i64, Vec<Expected>> = BTreeMap::new();
        let noted = options.mark.iter().flat_map(|mark| mark.known().into_iter().map(|seal| (seal, true)));
        for ((seal, digest), is_noted) in options.expected.iter().map(|seal| (*seal, false)).chain(noted) {
            expected.entry(seal).or_default().push(Expected { digest, is_noted });
        }
        let copies = Copies::new(&options.copies);
        let begin = options.from.unwrap_or(1).max(1);
        Self { options, restored, accepted, expected, copies, last: None, begin }
    }

    /// Whether a seal would come next.
    pub(crate) fn is_before(&self, seal: &Seal) -> bool {
        match self.last {
            None => seal.seq == 1,
            Some((seq, digest, _)) => seal.seq == seq + 1 && seal.previous == digest,
        }
    }

    /// A seal that is expected and not found, or found otherwise: given up by a record, or a finding. Of the newest seal
    /// that a record gives up the digest is known, those before it go by their numbers: where that alone decides and this
    /// node cannot tell from its note, the report names them.
    fn unlike(&self, seal: i64, expected: Expected, finding: Finding, report: &mut VerifyReport) {
        let outlived = |restored: &Restored| {
            self.options
                .mark
                .as_ref()
                .is_some_and(|mark| mark.has_outlived(restored.event, seal, expected.digest))
        };
        let mut records = self.restored.iter().filter(|restored| {
            restored.gives_up(seal)
                && (restored.known.seal != seal || restored.known.digest == expected.digest)
                && !outlived(restored)
        });
        match records.next() {
            Some(restored) => {
                report.given_up += 1;
                if !expected.is_noted && restored.known.seal != seal {
                    report.by_number.push((seal, restored.at));
                }
            }
            None => report.find(finding),
        }
    }

    /// Takes the seal before the first as given.
    pub(crate) fn follow(&mut self, before: &Seal) {
        self.last = Some((before.seq, before.digest, before.to));
    }

    /// Where the last seal's range ends.
    pub(crate) fn to(&self) -> Option<Bound> {
        self.last.map(|(_, _, to)| to)
    }

    /// Checks one seal's place, fields and signature; seals come by ascending number.
    pub(crate) fn seal(&mut self, seal: &Seal, report: &mut VerifyReport) {
        report.seals += 1;
        let expected = self.last.map_or(self.begin, |(seq, _, _)| seq + 1);
        if seal.seq > expected {
            report.find(Finding::SealsMissing { first: expected, last: seal.seq - 1 });
        }
        // After a gap the chain cannot be followed; the gap is the finding.
        let before = match self.last {
            Some((seq, digest, to)) if seq + 1 == seal.seq => Some((digest, to)),
            None if seal.seq == 1 => Some((Sha256([0; 32]), Bound::START)),
            _ => None,
        };
        if let Some((digest, to)) = before {
            if seal.previous != digest {
                report.find(Finding::ChainBroken { seal: seal.seq });
            }
            if seal.from != to || seal.to < seal.from {
                report.find(Finding::RangeBroken { seal: seal.seq });
            }
        }
        if seal.digest != seal.compute_digest() {
            report.find(Finding::SealAltered { seal: seal.seq });
        }
        match seal.signature_holds(&self.options.trusted) {
            Some(true) => {}
            Some(false) => {
                report.find(Finding::SignatureInvalid { seal: seal.seq, key: seal.key_id.clone() });
            }
            None if self.accepted.iter().any(|keys| keys.accept(seal)) => report.accepted += 1,
            None => report.find(Finding::KeyUnknown { seal: seal.seq, key: seal.key_id.clone() }),
        }
        for expected in self.expected.get(&seal.seq).into_iter().flatten() {
            if expected.digest != seal.digest {
                let finding = Finding::ExpectedDiffers { seal: seal.seq, found: seal.digest };
                self.unlike(seal.seq, *expected, finding, report);
            }
        }
        self.copies.seal(seal);
        report.newest = Some((seal.seq, seal.digest));
        self.last = Some((seal.seq, seal.digest, seal.to));
    }

    /// After the last seal: what should have come and did not.
    pub(crate) fn end(self, report: &mut VerifyReport) {
        let last = self.last.map_or(self.begin - 1, |(seq, _, _)| seq);
        if let Some(to) = self.options.to
            && to > last
        {
            report.find(Finding::SealsMissing { first: last + 1, last: to });
        }
        let beyond = |seal: i64| seal > last && self.options.to.is_none_or(|to| seal <= to);
        for (seal, expected) in self.expected.iter().filter(|(seal, _)| beyond(**seal)) {
            for expected in expected {
                self.unlike(*seal, *expected, Finding::ExpectedMissing { seal: *seal }, report);
            }
        }
        self.copies.end(beyond, self.restored, self.options.mark.as_ref(), report);
    }
}

/// Compares the events of one seal's range with the seal's members.
pub(crate) struct Members<'a> {
    seal: &'a Seal,
    removed: &'a Removed,
    /// Index and hash of each member; `None` once the events alone can be compared.
    known: Option<HashMap<Uuid, (u64, Sha256)>>,
    seen: Vec<bool>,
    last_index: Option<u64>,
    /// The members that the stored events make, for a seal whose own list was altered.
    rebuilt: Vec<u8>,
}

impl<'a> Members<'a> {
    pub(crate) fn new(seal: &'a Seal, removed: &'a Removed) -> Self {
        let intact =
            seal.members.as_deref().filter(|members| Sha256(sha256(members)) == seal.members_digest).map(
                |members| {
                    let known: HashMap<_, _> = read_members(members)
                        .zip(0u64..)
                        .map(|((id, hash), index)| (id, (index, hash)))
                        .collect();
                    known
                },
            );
        let cleared = seal.members.is_none() && removed.has_whole(seal.seq);
        let known = if cleared { Some(HashMap::new()) } else { intact };
        let seen = vec![false; known.as_ref().map_or(0, HashMap::len)];
        Self { seal, removed, known, seen, last_index: None, rebuilt: Vec::new() }
    }

    /// Checks one event of the seal's range; events come in order.
    pub(crate) fn event(&mut self, event: &StoredRow, report: &mut VerifyReport) {
        report.events += 1;
        let (seal, id, stored_hash) = (self.seal.seq, event.bound.id, event.hash());
        let Some(known) = &self.known else {
            if let Some(hash) = stored_hash {
                push_member(&mut self.rebuilt, id, hash);
            }
            return;
        };
        let seen = |index: u64| usize::try_from(index).ok();
        match known.get(&id) {
            Some((index, hash)) if seen(*index).and_then(|i| self.seen.get(i)) == Some(&false) => {
                if let Some(mark) = seen(*index).and_then(|i| self.seen.get_mut(i)) {
                    *mark = true;
                }
                if stored_hash != Some(*hash) {
                    report.find(Finding::EventChanged { seal, event: id, stored: event.summary() });
                } else if self.last_index.is_some_and(|last| last > *index) {
                    report.find(Finding::EventMoved { seal, event: id });
                }
                self.last_index = self.last_index.max(Some(*index));
            }
            _ => report.find(Finding::EventAdded { seal: Some(seal), event: id, stored: event.summary() }),
        }
    }

    /// After the last event of the range: what was sealed and did not come.
    pub(crate) fn end(self, report: &mut VerifyReport) {
        let seal = self.seal.seq;
        let Some(known) = self.known else {
            let events_intact = Sha256(sha256(&self.rebuilt)) == self.seal.members_digest;
            report.find(Finding::MembersAltered { seal, events_intact });
            return;
        };
        if self.seal.members.is_none() {
            report.removed += u64::try_from(self.seal.count).unwrap_or(0);
            return;
        }
        let mut missing: Vec<(u64, Uuid)> = known
            .into_iter()
            .filter(|(_, (index, _))| usize::try_from(*index).is_ok_and(|i| self.seen.get(i) == Some(&false)))
            .map(|(id, (index, _))| (index, id))
            .collect();
        missing.sort_unstable();
        for (index, event) in missing {
            if self.removed.has(seal, index) {
                report.removed += 1;
            } else {
                report.find(Finding::EventMissing { seal, event });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::EventColumns;
    use crate::seal::{SealKey, TrustedKeys};
    use chrono::DateTime;

    struct Trail {
        _dir: tempfile::TempDir,
        key: SealKey,
        seals: Vec<Seal>,
        events: Vec<(Bound, EventColumns)>,
        removed: Removed,
        expected: Vec<(i64, Sha256)>,
    }

    fn columns(id: Uuid) -> EventColumns {
        let event = crate::testing::event(id.as_u128() as i64 & 0xffff);
        EventColumns::of(&model::AuditEvent { id: model::EventId::new(id), ..event })
    }

    /// Four seals of five events each, one position per event.
    fn trail() -> Trail {
        let dir = tempfile::tempdir().unwrap();
        let key = SealKey::load_or_create(&dir.path().join("key")).unwrap();
        let mut seals: Vec<Seal> = vec![];
        let mut events = vec![];
        for seal in 0..4 {
            let mut members = vec![];
            for n in 1..=5 {
                let position: i64 = seal * 5 + n;
                let id = Uuid::from_u128(1000 - position as u128);
                let columns = columns(id);
                push_member(&mut members, id, columns.hash());
                events.push((Bound { position, id }, columns));
            }
            let from = seals.last().map_or(Bound::START, |last| last.to);
            let range = (from, Bound::position(seal * 5 + 6));
            let at = DateTime::from_timestamp_micros(seal).unwrap();
            seals.push(Seal::make(seals.last(), range, members, at, &key).unwrap());
        }
        Trail { _dir: dir, key, seals, events, removed: Removed::default(), expected: vec![] }
    }

    impl Trail {
        fn verify(&self) -> VerifyReport {
            let trusted = TrustedKeys::of(&self.key).unwrap();
            let options = VerifyOptions { trusted, expected: self.expected.clone(), ..Default::default() };
            let mut report = VerifyReport::default();
            let mut chain = Chain::new(&options, &[], &[]);
            let mut seals = self.seals.clone();
            seals.sort_by_key(|seal| seal.seq);
            for seal in &seals {
                chain.seal(seal, &mut report);
                let mut members = Members::new(seal, &self.removed);
                let mut events: Vec<_> =
                    self.events.iter().filter(|(b, _)| (seal.from..seal.to).contains(b)).collect();
                events.sort_by_key(|(bound, _)| *bound);
                for (bound, columns) in events {
                    let row = StoredRow::of(*bound, columns.clone());
                    members.event(&row, &mut report);
                }
                members.end(&mut report);
            }
            chain.end(&mut report);
            report
        }

        fn id(&self, index: usize) -> Uuid {
            self.events[index].0.id
        }
    }

    #[test]
    fn a_whole_trail_holds() {
        let report = trail().verify();
        assert!(report.holds(), "{:?}", report.findings);
        assert_eq!((report.seals, report.events, report.removed), (4, 20, 0));
    }

    #[test]
    fn what_was_done_to_events_is_named() {
        let mut t = trail();
        t.events[2].1.node = "n2".into();
        assert!(matches!(&t.verify().findings[..],
            [Finding::EventChanged { seal: 1, event, .. }] if *event == t.id(2)));

        let mut t = trail();
        let gone = t.events.remove(7).0.id;
        assert_eq!(t.verify().findings, [Finding::EventMissing { seal: 2, event: gone }]);

        let mut t = trail();
        t.events.push((Bound { position: 7, id: Uuid::max() }, columns(Uuid::max())));
        assert!(matches!(&t.verify().findings[..],
            [Finding::EventAdded { seal: Some(2), event, .. }] if *event == Uuid::max()));

        let mut t = trail();
        (t.events[1].0.position, t.events[2].0.position) = (3, 2);
        assert!(matches!(&t.verify().findings[..], [Finding::EventMoved { seal: 1, .. }]));

        let mut t = trail();
        let copy = Bound { position: 4, ..t.events[2].0 };
        t.events.push((copy, t.events[2].1.clone()));
        assert!(matches!(&t.verify().findings[..], [Finding::EventAdded { seal: Some(1), .. }]));
    }

    #[test]
    fn what_was_done_to_seals_is_named() {
        let mut t = trail();
        t.seals.remove(1);
        assert_eq!(t.verify().findings, [Finding::SealsMissing { first: 2, last: 2 }]);

        let mut t = trail();
        (t.seals[1].seq, t.seals[2].seq) = (3, 2);
        let findings = t.verify().findings;
        assert!(findings.contains(&Finding::SealAltered { seal: 2 }), "{findings:?}");
        assert!(findings.contains(&Finding::SealAltered { seal: 3 }), "{findings:?}");

        // Re-made and signed by another key: the chain after it no longer fits.
        let mut t = trail();
        let dir = tempfile::tempdir().unwrap();
        let other = SealKey::load_or_create(&dir.path().join("key")).unwrap();
        let old = t.seals[1].clone();
        let range = (old.from, old.to);
        t.seals[1] =
            Seal::make(Some(&t.seals[0]), range, old.members.unwrap(), old.sealed_at, &other).unwrap();
        assert_eq!(
            t.verify().findings,
            [Finding::KeyUnknown { seal: 2, key: other.id().into() }, Finding::ChainBroken { seal: 3 }]
        );
        // Under the name of the trusted key: neither digest nor signature fit.
        t.seals[1].key_id = t.key.id().into();
        assert!(t.verify().findings.contains(&Finding::SignatureInvalid { seal: 2, key: t.key.id().into() }));
    }

    #[test]
    fn altered_members_leave_the_events_provable() {
        let mut t = trail();
        t.seals[0].members.as_mut().unwrap()[20] ^= 1;
        assert_eq!(t.verify().findings, [Finding::MembersAltered { seal: 1, events_intact: true }]);
        t.events.remove(0);
        assert_eq!(t.verify().findings, [Finding::MembersAltered { seal: 1, events_intact: false }]);
        t.seals[0].members = None;
        assert_eq!(t.verify().findings, [Finding::MembersAltered { seal: 1, events_intact: false }]);
    }

    #[test]
    fn a_cut_tail_shows_only_against_a_seal_from_outside() {
        let mut t = trail();
        let (last, third) = (t.seals[3].clone(), t.seals[2].clone());
        t.seals.pop();
        t.events.truncate(15);
        assert!(t.verify().holds(), "a shorter trail is good in itself");
        t.expected = vec![(third.seq, third.digest)];
        assert!(t.verify().holds());
        t.expected = vec![(last.seq, last.digest)];
        assert_eq!(t.verify().findings, [Finding::ExpectedMissing { seal: 4 }]);
        t.expected = vec![(2, Sha256([0; 32]))];
        assert!(matches!(t.verify().findings[..], [Finding::ExpectedDiffers { seal: 2, .. }]));
    }

    #[test]
    fn what_retention_removed_is_no_finding() {
        let mut t = trail();
        t.removed.whole(1);
        t.removed.member(2, 0);
        t.removed.member(2, 1);
        t.seals[0].members = None;
        t.events.drain(..7);
        let report = t.verify();
        assert!(report.holds(), "{:?}", report.findings);
        assert_eq!((report.events, report.removed), (13, 7));
        let gone = t.events.remove(0).0.id;
        assert_eq!(t.verify().findings, [Finding::EventMissing { seal: 2, event: gone }]);
    }
}
