//! Files that are not taken because their modification time differs at each look, though nothing else about them
//! changes: somebody writes them in place, or their place states the present time for every file. The two cases cannot
//! be distinguished, so the files wait as long as that goes on, and a warning is raised.
//!
//! They are counted in memory, by path and size: a restart begins the count anew.

use crate::poller::Poller;
use crate::reading::Reading;
use chrono::TimeDelta;
use model::{ErrorKind, EventKind, RemotePath, Result, Timestamp};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use transport::{FoundOffer, UNSTABLE_LIMIT, UnstableFile};

/// Polls at which a file was unstable, before the warning.
const POLLS: u32 = 5;

/// Minutes for which it was unstable, before the warning: files that are written for some minutes are normal.
const MINUTES: i64 = 10;

/// Polls in a row at which it was not unstable, after which it is forgotten.
const FORGOTTEN_AFTER: u8 = 3;

/// What a person can do about it.
const ADVICE: &str = "it is still being written, or the place states another time at each look; if nobody writes to it, set \
                      ignore_times = true on the flow's source";

/// A file that is not taken because its time moves, and that a person was told of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptBack {
    /// The flow.
    pub flow: String,
    /// Its source's endpoint.
    pub endpoint: String,
    /// The file, with the last two times it was told with.
    pub file: UnstableFile,
    /// When it was first seen so.
    pub since: Timestamp,
}

impl KeptBack {
    /// Why it is not taken, and what helps: one sentence.
    #[must_use]
    pub fn words(&self) -> String {
        format!("its time was {} and is {}: {ADVICE}", self.file.was, self.file.is)
    }
}

struct Counted {
    kept_back: KeptBack,
    polls: u32,
    /// The poll at which it was counted last.
    last: Timestamp,
    /// Polls since then.
    quiet: u8,
    told: bool,
}

type Counts = HashMap<(RemotePath, Option<u64>), Counted>;

/// What this node's polls have seen of such files: of each flow at most [`UNSTABLE_LIMIT`].
#[derive(Default)]
pub struct UnstableFiles(Mutex<HashMap<String, Counts>>);

impl UnstableFiles {
    fn flows(&self) -> MutexGuard<'_, HashMap<String, Counts>> {
        // A panic elsewhere leaves at worst a count one off.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that people were told of, and that still are so: by flow and path.
    #[must_use]
    pub fn snapshot(&self) -> Vec<KeptBack> {
        let flows = self.flows();
        let told = flows.values().flat_map(HashMap::values).filter(|counted| counted.told);
        let mut all: Vec<KeptBack> = told.map(|counted| counted.kept_back.clone()).collect();
        all.sort_by(|a, b| (&a.flow, &a.file.path).cmp(&(&b.flow, &b.file.path)));
        all
    }

    /// Counts a file once for the poll that began at `poll`.
    pub(crate) fn saw(&self, flow: &str, endpoint: &str, file: UnstableFile, poll: Timestamp) {
        let mut flows = self.flows();
        let counts = flows.entry(flow.to_owned()).or_default();
        let key = (file.path.clone(), file.size);
        if let Some(counted) = counts.get_mut(&key) {
            counted.polls = counted.polls.saturating_add(u32::from(counted.last != poll));
            (counted.last, counted.quiet, counted.kept_back.file) = (poll, 0, file);
        } else if counts.len() < UNSTABLE_LIMIT {
            let (flow, endpoint) = (flow.to_owned(), endpoint.to_owned());
            let kept_back = KeptBack { flow, endpoint, file, since: poll };
            counts.insert(key, Counted { kept_back, polls: 1, last: poll, quiet: 0, told: false });
        }
    }

    /// Counts a file that was not as it was listed when it was to be read, if it was listed with another time before.
    fn missed(&self, flow: &str, endpoint: &str, offer: &FoundOffer, poll: Timestamp) {
        let identity = &offer.identity;
        let Some(is) = identity.modified else { return };
        let key = (identity.path.clone(), identity.size);
        let before =
            self.flows().get(flow).and_then(|counts| counts.get(&key)).map(|known| known.kept_back.file.is);
        if before != Some(is) {
            let was = before.unwrap_or(is);
            let file = UnstableFile { path: identity.path.clone(), size: identity.size, was, is };
            self.saw(flow, endpoint, file, poll);
        }
    }

    /// Ends a poll: forgets what is no longer so, and answers of whom a person must be told now.
    fn end_poll(&self, flow: &str, poll: Timestamp) -> Vec<KeptBack> {
        let mut flows = self.flows();
        let Some(counts) = flows.get_mut(flow) else { return Vec::new() };
        counts.retain(|_, counted| {
            counted.quiet = counted.quiet.saturating_add(u8::from(counted.last != poll));
            counted.quiet < FORGOTTEN_AFTER
        });
        let is_due = |counted: &&mut Counted| {
            let lasted = counted.last - counted.kept_back.since >= TimeDelta::minutes(MINUTES);
            !counted.told && counted.polls >= POLLS && lasted
        };
        let due = counts.values_mut().filter(is_due).map(|counted| {
            counted.told = true;
            counted.kept_back.clone()
        });
        let mut due: Vec<KeptBack> = due.collect();
        due.sort_by(|a, b| a.file.path.cmp(&b.file.path));
        if counts.is_empty() {
            flows.remove(flow);
        }
        due
    }

    /// Forgets a file that was taken.
    pub(crate) fn forget(&self, flow: &str, path: &RemotePath) {
        if let Some(counts) = self.flows().get_mut(flow) {
            counts.retain(|(of, _), _| of != path);
        }
    }

    /// Forgets a flow that this node polls no more.
    pub(crate) fn forget_flow(&self, flow: &str) {
        self.flows().remove(flow);
    }
}

impl Poller {
    /// Counts an offer that was gone or another when it was to be read: where files are taken at first sight there is no
    /// second listing that tells whose time moves.
    pub(crate) fn note_unstable(&self, offer: &FoundOffer, read: &Result<Reading>, poll: Timestamp) {
        let is_missed = match read {
            Ok(Reading::Changed(_)) => true,
            Ok(Reading::Whole(_) | Reading::Doubtful(_)) => false,
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        if is_missed {
            self.shared.unstable.missed(&self.flow.name, &self.poll.endpoint, offer, poll);
        }
    }

    /// Tells, once for each, of the files that have been unstable for long.
    pub(crate) async fn warn_of_unstable(&self, poll: Timestamp) {
        for kept_back in self.shared.unstable.end_poll(&self.flow.name, poll) {
            let UnstableFile { path, size, was, is } = &kept_back.file;
            tracing::warn!(flow = %self.flow.name, %path, size, %was, %is, advice = ADVICE, "a file is not taken: its time is another at each look");
            let event = self.shared.event(EventKind::OfferUnstable).flow(&self.flow.name);
            let event = event.endpoint(&self.poll.endpoint).detail("path", path.to_text());
            let event = event.detail("was", was.to_string()).detail("is", is.to_string());
            let event = match size {
                Some(size) => event.detail("bytes", *size),
                None => event,
            };
            self.shared
                .record(event.detail("since", kept_back.since.to_string()).detail("advice", ADVICE))
                .await;
        }
    }
}
