//! Comparing seals in a copy that is kept elsewhere with those of the database.
//!
//! After a restored database was accepted the copy has a fork: the seals that were given up, and those that were made
//! in their place. Each line of a copy names the seal before it, so that a branch of the fork is told by its ends: what
//! leads down from the seal that the signed record gives up was given up by it, as far as the other end of the fork, which
//! leads down from the seal that the record accepts. A branch whose newest seals never came into the copy is known by where
//! it begins, and by its age: what was sealed before the restored database was accepted, and does not lead down from the
//! accepted seal, was given up. What was sealed after that never was.

use super::records::Restored;
use super::report::{Finding, VerifyReport};
use crate::seal::{NotedSeal, Seal, SealMark};
use chrono::DateTime;
use model::{Sha256, Timestamp};
use openssl::sha::sha256;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};

/// A seal as a copy has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CopiedSeal {
    /// Its number.
    pub seal: i64,
    /// Its digest.
    pub digest: Sha256,
    /// What the line says besides; `None` when its own digest does not prove it.
    pub proven: Option<ProvenHeader>,
}

/// What the digest of a copied seal proves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProvenHeader {
    /// The digest of the seal before it.
    pub previous: Sha256,
    /// When it was made, by the sealing node's clock.
    pub sealed_at: Timestamp,
}

impl CopiedSeal {
    /// Reads a line as [`Seal::export`] made it; `None` when it is none, or not a whole one.
    #[must_use]
    pub fn read(line: &Value) -> Option<Self> {
        let digest = line.get("digest")?.as_str()?.parse().ok()?;
        let seal = line.get("seq")?.as_i64()?;
        let header = line.get("header")?.as_str()?;
        let is_proven = Sha256(sha256(header.as_bytes())) == digest;
        let read: Option<Value> = serde_json::from_str(header).ok();
        let read = read.filter(|read| is_proven && read["seq"].as_i64() == Some(seal));
        let proven = read.and_then(|read| {
            Some(ProvenHeader {
                previous: read["previous"].as_str()?.parse().ok()?,
                sealed_at: DateTime::from_timestamp_micros(read["sealed_at"].as_i64()?)?,
            })
        });
        Some(Self { seal, digest, proven })
    }

    const fn key(&self) -> (i64, Sha256) {
        (self.seal, self.digest)
    }

    /// Number and digest of the seal before it.
    fn before(&self) -> Option<(i64, Sha256)> {
        Some((self.seal - 1, self.proven?.previous))
    }
}

/// All lines of the copies.
pub(super) struct Copies {
    /// By number; what one number has several of, in the order of the copies.
    by_seal: BTreeMap<i64, Vec<CopiedSeal>>,
    /// What the database has otherwise, with the digest found there.
    unlike: Vec<(CopiedSeal, Option<Sha256>)>,
}

impl Copies {
    pub(super) fn new(copies: &[CopiedSeal]) -> Self {
        let mut by_seal: BTreeMap<i64, Vec<CopiedSeal>> = BTreeMap::new();
        for copy in copies {
            let of_number = by_seal.entry(copy.seal).or_default();
            // What a crash left unnoted was sent twice.
            if !of_number.iter().any(|other| other.digest == copy.digest) {
                of_number.push(*copy);
            }
        }
        Self { by_seal, unlike: Vec::new() }
    }

    /// Compares with the database's seal of a number.
    pub(super) fn seal(&mut self, found: &Seal) {
        let copies = self.by_seal.get(&found.seq).into_iter().flatten();
        let unlike = copies.filter(|copy| copy.digest != found.digest);
        self.unlike.extend(unlike.map(|copy| (*copy, Some(found.digest))));
    }

    /// Called after the last seal: discarded seals are counted; every other difference from the copies is a
    /// finding.
    pub(super) fn end(
        mut self,
        beyond: impl Fn(i64) -> bool,
        restored: &[Restored],
        mark: Option<&SealMark>,
        report: &mut VerifyReport,
    ) {
        let missing = self.by_seal.values().flatten().filter(|copy| beyond(copy.seal));
        self.unlike.extend(missing.map(|copy| (*copy, None)));
        let given_up = self.given_up(restored, mark);
        for (copy, found) in &self.unlike {
            if given_up.contains(&copy.key()) {
                report.given_up += 1;
            } else {
                report.find(match *found {
                    Some(found) => Finding::ExpectedDiffers { seal: copy.seal, found },
                    None => Finding::ExpectedMissing { seal: copy.seal },
                });
            }
        }
    }

    fn given_up(&self, restored: &[Restored], mark: Option<&SealMark>) -> HashSet<(i64, Sha256)> {
        let mut given_up = HashSet::new();
        for record in restored {
            let of = Branches::of(self, record);
            let branch = match self.line(record.known.seal, record.known.digest) {
                Some(known) => of.leads_down_from(known),
                None => of.older(mark),
            };
            given_up.extend(branch);
        }
        given_up
    }

    fn line(&self, seal: i64, digest: Sha256) -> Option<&CopiedSeal> {
        self.by_seal.get(&seal)?.iter().find(|copy| copy.digest == digest)
    }
}

/// The fork that one record explains.
struct Branches<'a> {
    copies: &'a Copies,
    record: &'a Restored,
    /// What the record accepted, as far down as it could have given up others.
    kept: HashSet<(i64, Sha256)>,
    /// Whether the copy leads down from the accepted seal to the fork.
    is_whole: bool,
}

impl<'a> Branches<'a> {
    fn of(copies: &'a Copies, record: &'a Restored) -> Self {
        let key = |noted: &NotedSeal| (noted.seal, noted.digest);
        let found = copies.line(record.found.seal, record.found.digest);
        let down = std::iter::successors(found, |copy| {
            let (seal, digest) = copy.before()?;
            copies.line(seal, digest).filter(|_| seal > record.common.seal)
        });
        let mut kept: HashSet<_> = down.map(CopiedSeal::key).collect();
        let lowest = kept.iter().map(|(seal, _)| *seal).min();
        let is_whole = lowest.unwrap_or(record.found.seal) <= record.common.seal.saturating_add(1);
        kept.extend([key(&record.common), key(&record.found)]);
        Self { copies, record, kept, is_whole }
    }

    fn is_given_up(&self, copy: &CopiedSeal) -> bool {
        self.record.gives_up(copy.seal) && !self.kept.contains(&copy.key())
    }

    fn leads_down_from(&self, known: &'a CopiedSeal) -> HashSet<(i64, Sha256)> {
        let branch = std::iter::successors(Some(known), |copy| {
            let (seal, digest) = copy.before()?;
            self.copies.line(seal, digest)
        });
        branch.take_while(|copy| self.is_given_up(copy)).map(CopiedSeal::key).collect()
    }

    /// What leads up from the fork, and is older than the record.
    fn older(&self, mark: Option<&SealMark>) -> HashSet<(i64, Sha256)> {
        let Restored { event, at, found, common, .. } = self.record;
        let mut branch = HashSet::new();
        for copy in self.copies.by_seal.range(common.seal..).flat_map(|(_, copies)| copies) {
            let is_older = copy.proven.is_some_and(|proven| proven.sealed_at < *at);
            // Up to the accepted seal, those that were accepted are older as well.
            let is_told_apart = self.is_whole || copy.seal > found.seal;
            let follows =
                copy.before().is_some_and(|before| branch.contains(&before) || self.kept.contains(&before));
            let outlived = mark.is_some_and(|mark| mark.has_outlived(*event, copy.seal, copy.digest));
            if is_older && is_told_apart && follows && !outlived && self.is_given_up(copy) {
                branch.insert(copy.key());
            }
        }
        branch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{Bound, NotedSeal, SealKey};
    use crate::testing::at;

    /// Seals of one branch: `count` of them behind `last`, told apart by their time.
    fn branch(key: &SealKey, last: Option<&Seal>, count: i64, time: i64) -> Vec<Seal> {
        let mut seals: Vec<Seal> = vec![];
        for n in 0..count {
            let last = seals.last().or(last);
            let from = last.map_or(Bound::START, |last| last.to);
            let range = (from, Bound::position(from.position + 1));
            seals.push(Seal::make(last, range, vec![], at(time + n), key).unwrap());
        }
        seals
    }

    fn lines(seals: &[Seal]) -> Vec<CopiedSeal> {
        let read = |seal: &Seal| CopiedSeal::read(&serde_json::from_str(&seal.export()).unwrap()).unwrap();
        seals.iter().map(read).collect()
    }

    /// Accepted at a time.
    fn record(time: i64, known: &Seal, found: &Seal) -> Restored {
        Restored::plain(at(time), NotedSeal::of(known), NotedSeal::of(found), NotedSeal::of(found))
    }

    /// Findings, and how many seals were discarded.
    fn compare(copies: &[CopiedSeal], database: &[Seal], restored: &[Restored]) -> (Vec<Finding>, u64) {
        let (mut copies, mut report) = (Copies::new(copies), VerifyReport::default());
        database.iter().for_each(|seal| copies.seal(seal));
        copies.end(|seal| seal > database.len() as i64, restored, None, &mut report);
        (report.findings, report.given_up)
    }

    #[test]
    fn a_fork_is_accepted_as_far_as_a_record_explains_it() {
        let directory = tempfile::tempdir().unwrap();
        let key = SealKey::load_or_create(&directory.path().join("key")).unwrap();
        let before = branch(&key, None, 5, 0);
        let given_up = branch(&key, before.last(), 5, 100);
        let again = branch(&key, before.last(), 3, 200);
        let forged = branch(&key, before.last(), 3, 300);
        let record = record(150, &given_up[4], &before[4]);
        let one = std::slice::from_ref(&record);
        let database = [before.clone(), again.clone()].concat();
        let copy = lines(&[before.clone(), given_up.clone(), again.clone()].concat());

        assert_eq!(compare(&copy, &database, one), (vec![], 5));
        assert_eq!(compare(&[copy.clone(), copy.clone()].concat(), &database, one), (vec![], 5));
        let differs = |seal: i64, found: &Seal| Finding::ExpectedDiffers { seal, found: found.digest };
        let missing = |seal| Finding::ExpectedMissing { seal };
        let unexplained = vec![
            differs(6, &again[0]),
            differs(7, &again[1]),
            differs(8, &again[2]),
            missing(9),
            missing(10),
        ];
        assert_eq!(compare(&copy, &database, &[]), (unexplained, 0), "without a record");

        // What was made in their place is compared like every other seal.
        let replaced = [before.clone(), forged.clone()].concat();
        let found = vec![differs(6, &forged[0]), differs(7, &forged[1]), differs(8, &forged[2])];
        assert_eq!(compare(&copy, &replaced, one), (found.clone(), 5));
        // Also where the copy was begun after the record, or never got the last ones that were given up.
        let mut later = lines(&[given_up[..4].to_vec(), again.clone()].concat());
        assert_eq!(compare(&later, &database, one), (vec![], 4));
        assert_eq!(compare(&later, &replaced, one), (found.clone(), 4));
        let begun_later = lines(&[before.clone(), again.clone()].concat());
        assert_eq!(compare(&begun_later, &database, one), (vec![], 0));
        assert_eq!(
            compare(&begun_later, &replaced, one),
            (found.clone(), 0),
            "nothing of what was made later"
        );
        assert_eq!(compare(&lines(&again), &replaced, one), (found, 0));

        // A line that does not prove what it says leads nowhere.
        later[2].proven = None;
        assert_eq!(compare(&later, &database, one), (vec![differs(8, &again[2]), missing(9)], 2));
        let mut line: Value = serde_json::from_str(&given_up[0].export()).unwrap();
        line["digest"] = again[0].digest.to_string().into();
        assert_eq!(CopiedSeal::read(&line).unwrap().proven, None);
        line["header"] = Value::Null;
        assert_eq!(CopiedSeal::read(&line), None);

        // Restored twice.
        let second = branch(&key, before.get(2), 4, 400);
        let copy = [copy, lines(&second)].concat();
        let twice = [record.clone(), super::tests::record(350, &again[2], &before[2])];
        let database = [before[..3].to_vec(), second].concat();
        assert_eq!(compare(&copy, &database, &twice), (vec![], 5 + 3 + 2));
        assert_eq!(compare(&copy, &database, &twice[..1]).1, 5);
    }

    #[test]
    fn a_fork_below_accepted_seals_is_told_by_both_its_ends() {
        let directory = tempfile::tempdir().unwrap();
        let key = SealKey::load_or_create(&directory.path().join("key")).unwrap();
        let before = branch(&key, None, 5, 0);
        let given_up = branch(&key, before.last(), 5, 100);
        // Another node went on from the backup, and further, before it was accepted; the fork is remembered roughly.
        let accepted = branch(&key, before.last(), 7, 120);
        let forged = branch(&key, before.last(), 7, 120 + 7);
        let noted = NotedSeal::of;
        let record = [Restored::plain(at(150), noted(&given_up[4]), noted(&accepted[6]), noted(&before[3]))];
        let database = [before.clone(), accepted.clone()].concat();
        let replaced = [before.clone(), forged].concat();
        let copy = lines(&[before.clone(), given_up.clone(), accepted.clone()].concat());
        assert_eq!(compare(&copy, &database, &record), (vec![], 5));
        let differing = |report: (Vec<Finding>, u64)| (report.0.len(), report.1);
        assert_eq!(differing(compare(&copy, &replaced, &record)), (7, 5));
        let without_end = lines(&[before.clone(), given_up[..4].to_vec(), accepted.clone()].concat());
        assert_eq!(compare(&without_end, &database, &record), (vec![], 4));
        assert_eq!(differing(compare(&without_end, &replaced, &record)), (7, 4));
        // Where neither end is in the copy, what was accepted is not told from what was not: nothing is given up.
        let cut = lines(&[before, accepted[..6].to_vec()].concat());
        assert_eq!(differing(compare(&cut, &replaced, &record)), (6, 0));
    }
}
