//! Seals as a copy that is kept elsewhere has them, compared with those of the database.
//!
//! After a restored database was accepted the copy has a fork: the seals that were given up, and those that were made
//! in their place. Each line of a copy names the seal before it, so that a branch of the fork is told by its ends: what
//! leads down from the seal that the signed record gives up was given up by it. A branch whose newest seals never came
//! into the copy is known by where it begins, behind the seal that the record accepts; one branch for each record.

use super::records::Restored;
use super::report::{Finding, VerifyReport};
use crate::seal::Seal;
use model::Sha256;
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
    /// The digest of the seal before it; `None` when the line's own digest does not prove it.
    pub previous: Option<Sha256>,
}

impl CopiedSeal {
    /// Reads a line as [`Seal::export`] made it; `None` when it is none, or not a whole one.
    #[must_use]
    pub fn read(line: &Value) -> Option<Self> {
        let digest = line.get("digest")?.as_str()?.parse().ok()?;
        let seal = line.get("seq")?.as_i64()?;
        let header = line.get("header")?.as_str()?;
        let read: Option<Value> = serde_json::from_str(header).ok();
        let proven = Sha256(sha256(header.as_bytes())) == digest;
        let previous = read.filter(|read| proven && read["seq"].as_i64() == Some(seal));
        let previous = previous.and_then(|read| read["previous"].as_str()?.parse().ok());
        Some(Self { seal, digest, previous })
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

    /// After the last seal: what was given up on record is counted, what else is not as in the copies is a finding.
    pub(super) fn end(
        mut self,
        beyond: impl Fn(i64) -> bool,
        restored: &[Restored],
        report: &mut VerifyReport,
    ) {
        let missing = self.by_seal.values().flatten().filter(|copy| beyond(copy.seal));
        self.unlike.extend(missing.map(|copy| (*copy, None)));
        let given_up = self.given_up(restored);
        for (copy, found) in &self.unlike {
            if given_up.contains(&(copy.seal, copy.digest)) {
                report.given_up += 1;
            } else {
                report.find(match *found {
                    Some(found) => Finding::ExpectedDiffers { seal: copy.seal, found },
                    None => Finding::ExpectedMissing { seal: copy.seal },
                });
            }
        }
    }

    fn given_up(&self, restored: &[Restored]) -> HashSet<(i64, Sha256)> {
        let mut given_up = HashSet::new();
        for record in restored {
            let known = self.line(record.known.seal, record.known.digest);
            let branch: Vec<&CopiedSeal> = match known {
                Some(known) => std::iter::successors(Some(known), |copy| {
                    self.line(copy.seal - 1, copy.previous?).filter(|before| record.gives_up(before.seal))
                })
                .collect(),
                None => {
                    let first = self.unlike.iter().map(|(copy, _)| (copy.seal, copy.digest)).find(|copy| {
                        !given_up.contains(copy)
                            && self.line(copy.0, copy.1).is_some_and(|copy| {
                                copy.seal == record.found.seal + 1
                                    && copy.previous == Some(record.found.digest)
                            })
                    });
                    let first = first.and_then(|(seal, digest)| self.line(seal, digest));
                    std::iter::successors(first, |copy| self.after(copy))
                        .take_while(|copy| record.gives_up(copy.seal))
                        .collect()
                }
            };
            given_up.extend(branch.into_iter().map(|copy| (copy.seal, copy.digest)));
        }
        given_up
    }

    fn line(&self, seal: i64, digest: Sha256) -> Option<&CopiedSeal> {
        self.by_seal.get(&seal)?.iter().find(|copy| copy.digest == digest)
    }

    fn after(&self, before: &CopiedSeal) -> Option<&CopiedSeal> {
        self.by_seal.get(&(before.seal + 1))?.iter().find(|copy| copy.previous == Some(before.digest))
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

    fn record(known: &Seal, found: &Seal) -> Restored {
        Restored::plain(uuid::Uuid::now_v7(), NotedSeal::of(known), NotedSeal::of(found))
    }

    /// Findings, and how many were given up.
    fn compare(copies: &[CopiedSeal], database: &[Seal], restored: &[Restored]) -> (Vec<Finding>, u64) {
        let (mut copies, mut report) = (Copies::new(copies), VerifyReport::default());
        database.iter().for_each(|seal| copies.seal(seal));
        copies.end(|seal| seal > database.len() as i64, restored, &mut report);
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
        let record = record(&given_up[4], &before[4]);
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
        assert_eq!(compare(&later, &replaced, one), (found, 4));

        // A line that does not prove what it says leads nowhere.
        later[2].previous = None;
        assert_eq!(compare(&later, &database, one), (vec![differs(8, &again[2]), missing(9)], 2));
        let mut line: Value = serde_json::from_str(&given_up[0].export()).unwrap();
        line["digest"] = again[0].digest.to_string().into();
        assert_eq!(CopiedSeal::read(&line).unwrap().previous, None);
        line["header"] = Value::Null;
        assert_eq!(CopiedSeal::read(&line), None);

        // Restored twice.
        let second = branch(&key, before.get(2), 4, 400);
        let copy = [copy, lines(&second)].concat();
        let twice = [record.clone(), super::tests::record(&again[2], &before[2])];
        let database = [before[..3].to_vec(), second].concat();
        assert_eq!(compare(&copy, &database, &twice), (vec![], 5 + 3 + 2));
        assert_eq!(compare(&copy, &database, &twice[..1]).1, 5);
    }
}
