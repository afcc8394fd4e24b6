//! Claims of files that were left behind: a file that a poll renamed to claim it, and that was never recorded, because the
//! process ended in between.
//!
//! Another gateway may have claimed it too, so it is left for two cycles, each the later of 15 minutes and 15 polls. They are
//! counted in memory; a restart begins anew.

use model::{RemotePath, Timestamp};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use transport::ClaimedFile;

/// The time of two cycles, in minutes.
const MINUTES: i64 = 30;

/// The polls of two cycles.
const POLLS: u32 = 30;

struct Seen {
    since: Timestamp,
    polls: u32,
    /// As it was then: what changes is written to, and belongs to somebody.
    file: ClaimedFile,
}

/// Polls after which a claim is shown: those of other gateways and flows are usually over by then.
const SHOWN_AFTER: u32 = 2;

/// The claimed files of a flow for which no recorded offer waits: their reading was cut off, or another program or gateway
/// is at work on them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrphanedClaims {
    /// The flow.
    pub flow: String,
    /// How many files there are.
    pub files: usize,
    /// One of them, by the name without the claim.
    pub path: RemotePath,
    /// When the first of them was seen first.
    pub since: Timestamp,
    /// When the first of them may be released at the earliest.
    pub released: Timestamp,
}

/// The claimed files that this node's polls have seen and for which no recorded offer waits, by flow.
#[derive(Default)]
pub struct ClaimedFiles(Mutex<HashMap<String, HashMap<RemotePath, Seen>>>);

impl ClaimedFiles {
    fn flows(&self) -> MutexGuard<'_, HashMap<String, HashMap<RemotePath, Seen>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits to be released, by flow.
    #[must_use]
    pub fn snapshot(&self) -> Vec<OrphanedClaims> {
        let flows = self.flows();
        let of_flow = |(flow, files): (&String, &HashMap<RemotePath, Seen>)| {
            let shown: Vec<_> = files.iter().filter(|(_, seen)| seen.polls >= SHOWN_AFTER).collect();
            let (path, _) = shown.iter().min_by_key(|(path, seen)| (seen.since, *path))?;
            let since = shown.iter().map(|(_, seen)| seen.since).min()?;
            let released = since + chrono::TimeDelta::minutes(MINUTES);
            let (flow, path) = (flow.clone(), (*path).clone());
            Some(OrphanedClaims { flow, files: shown.len(), path, since, released })
        };
        let mut all: Vec<OrphanedClaims> = flows.iter().filter_map(of_flow).collect();
        all.sort_by(|a, b| a.flow.cmp(&b.flow));
        all
    }

    /// Forgets a flow that this node no longer polls.
    pub(crate) fn forget_flow(&self, flow: &str) {
        self.flows().remove(flow);
    }

    /// Counts the claimed files that a poll of a flow has seen, and forgets those that it has not. Returns those that have
    /// been there for two cycles.
    pub(crate) fn seen(&self, flow: &str, claimed: Vec<ClaimedFile>, now: Timestamp) -> Vec<RemotePath> {
        let mut flows = self.flows();
        let mut before = flows.remove(flow).unwrap_or_default();
        let mut due = Vec::new();
        let counted: HashMap<RemotePath, Seen> = claimed
            .into_iter()
            .map(|file| {
                let path = file.path.clone();
                let unchanged = before.remove(&path).filter(|seen| seen.file == file);
                let seen = unchanged.unwrap_or(Seen { since: now, polls: 0, file });
                let seen = Seen { polls: seen.polls.saturating_add(1), ..seen };
                if seen.polls == SHOWN_AFTER {
                    tracing::warn!(flow, %path, "a file is claimed (.stage) and no record of it waits: its reading was cut off, or another gateway reads it; it is released after 30 minutes and 30 polls");
                }
                if seen.polls > POLLS && now - seen.since >= chrono::TimeDelta::minutes(MINUTES) {
                    due.push(path.clone());
                }
                (path, seen)
            })
            .collect();
        if !counted.is_empty() {
            flows.insert(flow.to_owned(), counted);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::{ClaimedFiles, OrphanedClaims};
    use chrono::TimeDelta;
    use model::{RemotePath, Timestamp};
    use transport::ClaimedFile;

    #[test]
    fn a_claim_is_left_behind_after_two_cycles_of_minutes_and_polls() {
        let claimed = ClaimedFiles::default();
        let file = |size: u64| vec![ClaimedFile { path: "in/a".into(), size: Some(size), modified: None }];
        let seen = |flow: &str, minute: i64, files| {
            claimed.seen(flow, files, Timestamp::UNIX_EPOCH + TimeDelta::minutes(minute))
        };
        let path = vec![RemotePath::from("in/a")];
        seen("f", 0, file(1));
        assert!(claimed.snapshot().is_empty());
        seen("f", 1, file(1));
        let begun = Timestamp::UNIX_EPOCH;
        let shown = OrphanedClaims {
            flow: "f".into(),
            files: 1,
            path: "in/a".into(),
            since: begun,
            released: begun + TimeDelta::minutes(30),
        };
        assert_eq!(claimed.snapshot(), [shown]);
        claimed.forget_flow("f");
        assert!(claimed.snapshot().is_empty());
        // A poll a minute: both are over at the 31st poll. One that was gone in between begins anew.
        for begin in [0, 100] {
            for minute in 0..30 {
                assert!(seen("f", begin + minute, file(1)).is_empty(), "{minute}");
            }
            assert_eq!(seen("f", begin + 30, file(1)), path);
            assert!(seen("f", begin + 31, Vec::new()).is_empty());
        }
        // A poll an hour: 30 polls take longer than 30 minutes.
        for hour in 0..30 {
            assert!(seen("f", 1_000 + 60 * hour, file(1)).is_empty(), "{hour}");
        }
        assert_eq!(seen("f", 1_000 + 60 * 30, file(1)), path);
        // One that changes belongs to somebody, and each flow counts its own.
        assert!(seen("f", 10_000, file(2)).is_empty());
        assert!(seen("other", 10_000, file(2)).is_empty());
    }
}
