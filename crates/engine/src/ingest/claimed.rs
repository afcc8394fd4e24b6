//! Claims of files that were left behind: a file that a poll renamed to claim it, and that was never recorded, because the
//! process ended in between.
//!
//! Another gateway may have claimed it too, so it is left for two cycles, each the later of 15 minutes and 15 polls. They are
//! counted in memory; a restart begins anew.

use crate::context::Context;
use model::{NodeName, RemotePath, Timestamp};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use store::ClaimsLeft;
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

/// What this node knows of a flow's claims.
#[derive(Default)]
struct FlowClaims {
    files: HashMap<RemotePath, Seen>,
    /// What the database holds; `None` if that is not known.
    recorded: Option<Option<ClaimsLeft>>,
}

/// The claimed files that this node's polls have seen and for which no recorded offer waits, by flow.
#[derive(Default)]
pub(crate) struct ClaimedFiles(Mutex<HashMap<String, FlowClaims>>);

impl ClaimedFiles {
    fn flows(&self) -> MutexGuard<'_, HashMap<String, FlowClaims>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The claims of a flow that wait to be released; `None` if there are none.
    fn left(&self, flow: &str, node: &NodeName) -> Option<ClaimsLeft> {
        let flows = self.flows();
        let files = &flows.get(flow)?.files;
        let shown: Vec<_> = files.iter().filter(|(_, seen)| seen.polls >= SHOWN_AFTER).collect();
        let (path, first) = shown.iter().min_by_key(|(path, seen)| (seen.since, *path))?;
        Some(ClaimsLeft {
            flow: flow.to_owned(),
            node: node.to_string(),
            since: first.since,
            released: first.since + chrono::TimeDelta::minutes(MINUTES),
            files: shown.len() as u64,
            path: (*path).clone(),
        })
    }

    /// Records after a poll which claims of its flow wait to be released, if that has changed.
    pub(crate) async fn report(&self, context: &Context, flow: &str) {
        let left = self.left(flow, &context.lease.current().node);
        if self.flows().get(flow).is_some_and(|claims| claims.recorded.as_ref() == Some(&left)) {
            return;
        }
        let written = match &left {
            Some(left) => context.store.claims_are_left(left.clone()).await,
            None => context.store.no_claim_is_left(flow).await,
        };
        match written {
            Ok(()) => self.flows().entry(flow.to_owned()).or_default().recorded = Some(left),
            Err(error) => {
                tracing::warn!(flow, error = %error.chain(), "which claims were left behind could not be recorded");
            }
        }
    }

    /// Forgets a flow that this node no longer polls.
    pub(crate) fn forget_flow(&self, flow: &str) {
        self.flows().remove(flow);
    }

    /// Counts the claimed files that a poll of a flow has seen, and forgets those that it has not. Returns those that have
    /// been there for two cycles.
    pub(crate) fn seen(&self, flow: &str, claimed: Vec<ClaimedFile>, now: Timestamp) -> Vec<RemotePath> {
        let mut flows = self.flows();
        let claims = flows.entry(flow.to_owned()).or_default();
        let mut before = std::mem::take(&mut claims.files);
        let mut due = Vec::new();
        claims.files = claimed
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
        due
    }
}

#[cfg(test)]
mod tests {
    use super::ClaimedFiles;
    use chrono::TimeDelta;
    use model::{RemotePath, Timestamp};
    use store::ClaimsLeft;
    use transport::ClaimedFile;

    #[test]
    fn a_claim_is_left_behind_after_two_cycles_of_minutes_and_polls() {
        let claimed = ClaimedFiles::default();
        let file = |size: u64| vec![ClaimedFile { path: "in/a".into(), size: Some(size), modified: None }];
        let seen = |flow: &str, minute: i64, files| {
            claimed.seen(flow, files, Timestamp::UNIX_EPOCH + TimeDelta::minutes(minute))
        };
        let node = "n1".parse().unwrap();
        let left = || claimed.left("f", &node);
        let path = vec![RemotePath::from("in/a")];
        seen("f", 0, file(1));
        assert_eq!(left(), None);
        seen("f", 1, file(1));
        let begun = Timestamp::UNIX_EPOCH;
        let shown = ClaimsLeft {
            flow: "f".into(),
            node: "n1".into(),
            since: begun,
            released: begun + TimeDelta::minutes(30),
            files: 1,
            path: "in/a".into(),
        };
        assert_eq!(left(), Some(shown));
        claimed.forget_flow("f");
        assert_eq!(left(), None);
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
