//! Counts what becomes of the files of one poll.

use model::{PollReport, SkipCount, SkipReason};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What became of a file that a poll found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Became {
    Taken,
    BackedOff,
    Refused,
    /// It was gone, or another, when it was read.
    Changed,
}

/// The counts of the poll that runs. Polls of one flow follow each other.
#[derive(Default)]
pub(crate) struct Tally(Mutex<(PollReport, BTreeMap<SkipReason, u64>)>);

impl Tally {
    fn counts(&self) -> MutexGuard<'_, (PollReport, BTreeMap<SkipReason, u64>)> {
        // A panic elsewhere leaves at worst a count one off.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self, became: Became) {
        let (report, _) = &mut *self.counts();
        match became {
            Became::Taken => report.taken += 1,
            Became::BackedOff => report.backed_off += 1,
            Became::Refused => report.refused += 1,
            Became::Changed => report.changed += 1,
        }
    }

    pub(crate) fn skip(&self, why: SkipReason) {
        *self.counts().1.entry(why).or_default() += 1;
    }

    /// Takes the counts out, and begins anew.
    pub(crate) fn take(&self) -> PollReport {
        let (report, skipped) = std::mem::take(&mut *self.counts());
        let skipped = skipped.into_iter().map(|(reason, files)| SkipCount { reason, files }).collect();
        PollReport { skipped, ..report }
    }
}
