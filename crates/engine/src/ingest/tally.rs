//! Counts the files of one poll by result.

use model::{PollReport, SkipCount, SkipReason};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What happened to a file that a poll found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Became {
    Taken,
    BackedOff,
    Refused,
    /// It had disappeared or changed when it was opened.
    Changed,
}

/// The counts of the running poll. Polls of one flow never overlap.
#[derive(Default)]
pub(crate) struct Tally(Mutex<(PollReport, BTreeMap<SkipReason, u64>)>);

impl Tally {
    fn counts(&self) -> MutexGuard<'_, (PollReport, BTreeMap<SkipReason, u64>)> {
        // After a panic elsewhere a count is wrong by at most one.
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

    /// Forgets what was skipped: the files are looked at again.
    pub(crate) fn forget_skipped(&self) {
        self.counts().1.clear();
    }

    /// Returns the counts.
    pub(crate) fn report(&self) -> PollReport {
        let (report, skipped) = &*self.counts();
        let skipped = skipped.iter().map(|(&reason, &files)| SkipCount { reason, files }).collect();
        PollReport { skipped, ..report.clone() }
    }

    /// Returns the counts and resets them.
    pub(crate) fn take(&self) -> PollReport {
        let report = self.report();
        *self.counts() = Default::default();
        report
    }
}
