//! The power goes. Whatever a disk may then have kept of what was not synced, what was reported
//! committed is whole, and nothing half looks committed.
//!
//! The same checks must fail when a sync is left out: that is tried as well.

use crate::{SETTINGS, hash, id};
use model::{PayloadId, Timestamp};
use proptest::prelude::*;
use staging::{Disk, PartFile, StagedPayload, Staging};
use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use testkit::clock::SeededRandom;
use testkit::forgetful::ForgetfulDisk;

/// Where the area lies: two levels that opening makes, so that their names are at stake too.
const ROOT: &str = "/var/staging";

/// What a life does with staging before the power goes.
#[derive(Clone, Debug)]
enum Act {
    /// Stages a payload in so many pieces of 700 bytes.
    Stage {
        pieces: u8,
    },
    /// The same out of order.
    StageBackwards {
        pieces: u8,
    },
    /// Begins a part and leaves it open.
    Begin {
        pieces: u8,
    },
    /// Adds to the part of one of three names, then drops it, or commits it.
    Name {
        name: u8,
        pieces: u8,
        commit: bool,
    },
    /// Puts an earlier payload into quarantine, or takes it out again.
    Quarantine {
        which: u8,
    },
    Restore {
        which: u8,
    },
    /// Removes an earlier payload.
    Remove {
        which: u8,
    },
    /// Sweeps, and knows every other payload.
    Sweep,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0..4_u8).prop_map(|pieces| Act::Stage { pieces }),
        1 => (0..4_u8).prop_map(|pieces| Act::StageBackwards { pieces }),
        1 => (0..4_u8).prop_map(|pieces| Act::Begin { pieces }),
        4 => (0..3_u8, 0..4_u8, any::<bool>()).prop_map(|(name, pieces, commit)| Act::Name { name, pieces, commit }),
        2 => (0..8_u8).prop_map(|which| Act::Quarantine { which }),
        2 => (0..8_u8).prop_map(|which| Act::Restore { which }),
        1 => (0..8_u8).prop_map(|which| Act::Remove { which }),
        1 => Just(Act::Sweep),
    ];
    prop::collection::vec(act, 1..10)
}

/// The content that a payload, or a named part, is given: piece after piece.
fn piece(of: u64, place: u64) -> Vec<u8> {
    SeededRandom::new(of * 1000 + place).bytes(700)
}

/// What a life remembers having been told.
#[derive(Default)]
struct Memory {
    /// Reported committed, and not asked to be removed.
    committed: BTreeMap<PayloadId, StagedPayload>,
    /// Everything that may lie in the area as committed, with its whole content.
    meant: BTreeMap<PayloadId, Vec<u8>>,
    next: u64,
}

struct Life {
    disk: ForgetfulDisk,
    memory: Memory,
    open_parts: Vec<PartFile>,
}

impl Life {
    fn new() -> Self {
        Self { disk: ForgetfulDisk::new(), memory: Memory::default(), open_parts: Vec::new() }
    }

    /// Lives until the power goes; what is done is done in order, errors end it.
    fn live(&mut self, acts: &[Act]) -> model::Result<()> {
        let staging = Staging::open(Path::new(ROOT), Arc::new(self.disk.clone()), SETTINGS)?;
        acts.iter().try_for_each(|act| self.act(&staging, act))
    }

    fn act(&mut self, staging: &Staging, act: &Act) -> model::Result<()> {
        self.memory.next += 1;
        let (number, new) = (self.memory.next, id(self.memory.next));
        match *act {
            Act::Stage { pieces } => {
                let mut part = staging.begin(new)?;
                (0..pieces.into()).try_for_each(|n| part.append(&piece(number, n)))?;
                self.commit(part, number, pieces.into())?;
            }
            Act::StageBackwards { pieces } => {
                let mut part = staging.begin(new)?;
                (0..u64::from(pieces)).rev().try_for_each(|n| part.write_at(n * 700, &piece(number, n)))?;
                self.commit(part, number, pieces.into())?;
            }
            Act::Begin { pieces } => {
                let mut part = staging.begin(new)?;
                (0..pieces.into()).try_for_each(|n| part.append(&piece(number, n)))?;
                self.open_parts.push(part);
            }
            Act::Name { name, pieces, commit } => {
                let mut part = staging.begin_named(new, &name.to_string())?;
                let of = 1_000_000 + u64::from(name);
                let held = part.length() / 700;
                let all = held + u64::from(pieces);
                (held..all).try_for_each(|n| part.append(&piece(of, n)))?;
                if commit {
                    self.commit(part, of, all)?;
                }
            }
            Act::Quarantine { which } => {
                if let Some(id) = self.pick(which) {
                    staging.quarantine(id)?;
                }
            }
            Act::Restore { which } => {
                if let Some(id) = self.pick(which) {
                    staging.restore(id)?;
                }
            }
            Act::Remove { which } => {
                if let Some(id) = self.pick(which) {
                    self.memory.committed.remove(&id);
                    staging.remove(id)?;
                }
            }
            Act::Sweep => {
                let known: HashSet<_> = self.memory.committed.keys().copied().step_by(2).collect();
                staging.sweep(Timestamp::MAX_UTC, |_| Ok(known.clone().into()), |_| {})?;
            }
        }
        Ok(())
    }

    fn commit(&mut self, part: PartFile, of: u64, pieces: u64) -> model::Result<()> {
        let whole: Vec<u8> = (0..pieces).flat_map(|n| piece(of, n)).collect();
        self.memory.meant.insert(part.id(), whole);
        let payload = part.commit()?;
        self.memory.committed.insert(payload.id, payload);
        Ok(())
    }

    fn pick(&self, which: u8) -> Option<PayloadId> {
        self.memory.committed.keys().nth(usize::from(which)).copied()
    }
}

/// Looks at a disk after the power went, as a new process does.
fn check(disk: &ForgetfulDisk, memory: &Memory) -> Result<(), String> {
    let staging = Staging::open(Path::new(ROOT), Arc::new(disk.clone()), SETTINGS).map_err(text)?;
    check_committed(disk, memory)?;
    // The sweep knows what was reported, and nothing else: it brings back what is in quarantine.
    let known: HashSet<_> = memory.committed.keys().copied().collect();
    staging.sweep(Timestamp::MAX_UTC, |_| Ok(known.clone().into()), |_| {}).map_err(text)?;
    check_committed(disk, memory)?;
    for (id, payload) in &memory.committed {
        let mut found = Vec::new();
        let mut reader = staging.read_verified(payload).map_err(|e| format!("lost: {e}"))?;
        reader.read_to_end(&mut found).map_err(|e| format!("damaged: {e}"))?;
        if found != memory.meant[id] || payload.sha256 != hash(&found) {
            return Err(format!("{id} is not what it was"));
        }
    }
    let left = disk.list(&Path::new(ROOT).join("partial")).map_err(text)?.count();
    if left > 0 {
        return Err(format!("{left} parts of the dead are left after the sweep"));
    }
    Ok(())
}

/// Everything under the name of a payload is that payload, whole, reported or not.
fn check_committed(disk: &ForgetfulDisk, memory: &Memory) -> Result<(), String> {
    let root = Path::new(ROOT);
    let fans = disk.list(&root.join("payloads")).map_err(text)?;
    let mut directories: Vec<_> = fans.map(|fan| root.join("payloads").join(fan.unwrap())).collect();
    directories.push(root.join("quarantine"));
    for directory in directories {
        for name in disk.list(&directory).map_err(text)? {
            let name = name.unwrap().into_string().unwrap();
            let whole = memory.meant.get(&name.parse().map_err(text)?).ok_or("a payload nobody meant")?;
            let file = disk.open_read(&directory.join(&name)).map_err(text)?;
            let mut found = vec![0; whole.len() + 1];
            let n = file.read_at(&mut found, 0).map_err(text)?;
            if found[..n] != whole[..] {
                return Err(format!("{name} looks committed and is not whole"));
            }
        }
    }
    Ok(())
}

/// Parts that are resumed after the power went hold a beginning of what they were given.
fn check_resumed(disk: &ForgetfulDisk, memory: &mut Memory) -> Result<(), String> {
    let staging = Staging::open(Path::new(ROOT), Arc::new(disk.clone()), SETTINGS).map_err(text)?;
    for name in 0..3_u64 {
        let id = id(500 + name);
        let mut part = staging.begin_named(id, &name.to_string()).map_err(text)?;
        let held = usize::try_from(part.length()).map_err(text)?;
        let whole: Vec<u8> = (0..60).flat_map(|n| piece(1_000_000 + name, n)).collect();
        part.append(&whole[held..]).map_err(text)?;
        let payload = part.commit().map_err(text)?;
        if payload.sha256 != hash(&whole) {
            return Err(format!("resumed at {held} with bytes that were never given"));
        }
        memory.meant.insert(id, whole);
        memory.committed.insert(id, payload);
    }
    Ok(())
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// Lives, loses the power at a call, and looks at one of the disks that may be left.
fn one_outcome(
    acts: &[Act],
    calls: usize,
    seed: u64,
    careless: impl Fn(&ForgetfulDisk),
) -> Result<(), String> {
    let mut life = Life::new();
    careless(&life.disk);
    life.disk.fail_after(calls);
    let _ = life.live(acts);
    let random = SeededRandom::new(seed);
    // Some outcomes keep nearly everything, some nearly nothing: both ends are where mistakes hide.
    let bias = random.below(4);
    let mut choose = |n: usize| match bias {
        0 => random.below(n),
        1 => 0,
        2 if random.below(8) > 0 => 0,
        3 if random.below(8) > 0 => 1.min(n - 1),
        _ => random.below(n),
    };
    let found = life.disk.lose_power(&mut choose);
    let mut memory = life.memory;
    check(&found.lose_power(&mut |_| 0), &memory)?;
    check_resumed(&found, &mut memory)?;
    check(&found, &memory)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn whatever_was_done_and_whenever_the_power_goes(
        acts in acts(), calls in 0_usize..420, seed in any::<u64>(),
    ) {
        one_outcome(&acts, calls, seed, |_| {}).map_err(TestCaseError::fail)?;
    }
}

/// A life with every act in it.
fn full_life() -> Vec<Act> {
    vec![
        Act::Stage { pieces: 2 },
        Act::Name { name: 0, pieces: 2, commit: false },
        Act::Stage { pieces: 1 },
        Act::StageBackwards { pieces: 3 },
        Act::Quarantine { which: 0 },
        Act::Name { name: 0, pieces: 1, commit: true },
        Act::Restore { which: 0 },
        Act::Begin { pieces: 1 },
        Act::Name { name: 1, pieces: 3, commit: false },
        Act::Remove { which: 1 },
        Act::Sweep,
        Act::Stage { pieces: 1 },
    ]
}

/// Calls after which opening an area is nearly done.
const OPENING: usize = 255;

fn calls_of(acts: &[Act]) -> usize {
    let mut life = Life::new();
    life.live(acts).unwrap();
    life.disk.calls().len()
}

#[test]
fn at_every_single_call_of_one_life() {
    let acts = full_life();
    // Opening makes 256 directories, one call like the other: a few of them will do.
    let calls = (0..=calls_of(&acts)).filter(|call| *call < 10 || *call > OPENING || call % 16 == 0);
    for calls in calls {
        for seed in 0..4 {
            if let Err(what) = one_outcome(&acts, calls, seed * 977 + calls as u64, |_| {}) {
                panic!("power gone at call {calls}, seed {seed}: {what}");
            }
        }
    }
}

/// The outcomes of [`at_every_single_call_of_one_life`] that are wrong when a sync is left out.
fn wrong_outcomes(careless: impl Fn(&ForgetfulDisk)) -> Vec<String> {
    let acts = full_life();
    let calls = OPENING..=calls_of(&acts);
    let outcomes = calls.flat_map(|calls| (0..3).map(move |seed| (calls, seed)));
    outcomes
        .filter_map(|(calls, seed)| one_outcome(&acts, calls, seed * 977 + calls as u64, &careless).err())
        .collect()
}

#[test]
fn the_checks_notice_when_the_directory_sync_is_left_out() {
    let wrong = wrong_outcomes(ForgetfulDisk::skip_dir_sync);
    assert!(wrong.iter().any(|what| what.starts_with("lost: ")), "{wrong:?}");
}

#[test]
fn the_checks_notice_when_the_file_sync_is_left_out() {
    let wrong = wrong_outcomes(ForgetfulDisk::skip_file_sync);
    assert!(wrong.iter().any(|what| what.contains("looks committed and is not whole")), "{wrong:?}");
}
