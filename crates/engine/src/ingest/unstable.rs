//! Files that are not read because their modification time differs each time, although nothing else changes: either a
//! program writes them in place, or their server reports the present time for every file. The two cases cannot be
//! distinguished, so the files wait as long as this continues, and a warning is raised.
//!
//! They are counted in memory, by path and size; a restart resets the counts.

use chrono::TimeDelta;
use model::{RemotePath, Timestamp};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use transport::{FoundOffer, UNSTABLE_LIMIT, UnstableFile};

/// The number of polls at which a file is unstable before the warning.
const POLLS: u32 = 5;

/// The number of minutes that it is unstable before the warning: writing a file may take some minutes.
const MINUTES: i64 = 10;

/// The number of successive polls at which it is stable before it is forgotten.
const FORGOTTEN_AFTER: u8 = 3;

/// What a person can do about it.
pub(crate) const ADVICE: &str = "the file is still being written, or the server reports a different time on \
    each request; if nobody writes to it, set ignore_times = true on the flow's source";

/// A file that is not read because its time changes, and for which a warning was raised.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WithheldFile {
    /// The flow.
    pub flow: String,
    /// Its source's endpoint.
    pub endpoint: String,
    /// The file, with its last two times.
    pub file: UnstableFile,
    /// When it was first seen as unstable.
    pub since: Timestamp,
}

impl WithheldFile {
    /// Why it is not read and what helps, in one sentence.
    #[must_use]
    pub fn words(&self) -> String {
        format!("its modification time was {} and is now {}: {ADVICE}", self.file.was, self.file.is)
    }
}

struct Counted {
    withheld: WithheldFile,
    polls: u32,
    /// The poll at which it was last counted.
    last: Timestamp,
    /// The number of polls since then.
    quiet: u8,
    warned: bool,
}

type Counts = HashMap<(RemotePath, Option<u64>), Counted>;

/// The unstable files that this node's polls have seen: at most [`UNSTABLE_LIMIT`] of each flow.
#[derive(Default)]
pub struct UnstableFiles(Mutex<HashMap<String, Counts>>);

impl UnstableFiles {
    fn flows(&self) -> MutexGuard<'_, HashMap<String, Counts>> {
        // After a panic elsewhere a count is wrong by at most one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files for which a warning was raised, as long as they are unstable: by flow and path.
    #[must_use]
    pub fn snapshot(&self) -> Vec<WithheldFile> {
        let flows = self.flows();
        let warned = flows.values().flat_map(HashMap::values).filter(|counted| counted.warned);
        let mut all: Vec<WithheldFile> = warned.map(|counted| counted.withheld.clone()).collect();
        all.sort_by(|a, b| (&a.flow, &a.file.path).cmp(&(&b.flow, &b.file.path)));
        all
    }

    /// Counts a file once for the poll that began at `poll`.
    pub(crate) fn count(&self, flow: &str, endpoint: &str, file: UnstableFile, poll: Timestamp) {
        let mut flows = self.flows();
        let counts = flows.entry(flow.to_owned()).or_default();
        let key = (file.path.clone(), file.size);
        if let Some(counted) = counts.get_mut(&key) {
            counted.polls = counted.polls.saturating_add(u32::from(counted.last != poll));
            (counted.last, counted.quiet, counted.withheld.file) = (poll, 0, file);
        } else if counts.len() < UNSTABLE_LIMIT {
            let (flow, endpoint) = (flow.to_owned(), endpoint.to_owned());
            let withheld = WithheldFile { flow, endpoint, file, since: poll };
            counts.insert(key, Counted { withheld, polls: 1, last: poll, quiet: 0, warned: false });
        }
    }

    /// Counts a file that had changed when it was opened, if it was listed with another time before.
    pub(crate) fn count_missed(&self, flow: &str, endpoint: &str, offer: &FoundOffer, poll: Timestamp) {
        let identity = &offer.identity;
        let Some(is) = identity.modified else { return };
        let key = (identity.path.clone(), identity.size);
        let before =
            self.flows().get(flow).and_then(|counts| counts.get(&key)).map(|known| known.withheld.file.is);
        if before != Some(is) {
            let was = before.unwrap_or(is);
            let file = UnstableFile { path: identity.path.clone(), size: identity.size, was, is };
            self.count(flow, endpoint, file, poll);
        }
    }

    /// Ends a poll: forgets files that are stable again, and returns those to warn about now.
    pub(crate) fn end_poll(&self, flow: &str, poll: Timestamp) -> Vec<WithheldFile> {
        let mut flows = self.flows();
        let Some(counts) = flows.get_mut(flow) else { return Vec::new() };
        counts.retain(|_, counted| {
            counted.quiet = counted.quiet.saturating_add(u8::from(counted.last != poll));
            counted.quiet < FORGOTTEN_AFTER
        });
        let is_due = |counted: &&mut Counted| {
            let lasted = counted.last - counted.withheld.since >= TimeDelta::minutes(MINUTES);
            !counted.warned && counted.polls >= POLLS && lasted
        };
        let due = counts.values_mut().filter(is_due).map(|counted| {
            counted.warned = true;
            counted.withheld.clone()
        });
        let mut due: Vec<WithheldFile> = due.collect();
        due.sort_by(|a, b| a.file.path.cmp(&b.file.path));
        if counts.is_empty() {
            flows.remove(flow);
        }
        due
    }

    /// Forgets a file that was recorded.
    pub(crate) fn forget(&self, flow: &str, path: &RemotePath) {
        if let Some(counts) = self.flows().get_mut(flow) {
            counts.retain(|(of, _), _| of != path);
        }
    }

    /// Forgets a flow that this node no longer polls.
    pub(crate) fn forget_flow(&self, flow: &str) {
        self.flows().remove(flow);
    }
}
