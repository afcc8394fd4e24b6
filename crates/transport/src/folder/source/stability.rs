//! Which files of a listing are complete, as far as size and time can show it: those that an earlier poll saw as they
//! are now. No poll waits for that: what has to be looked at again is kept for the next one.

use super::FolderSource;
use super::compare::Metadata;
use crate::folder::selection::Candidate;
use crate::pending::{Listing, Pending};
use crate::{Discovery, UNSTABLE_LIMIT, UnstableFile};
use model::{OfferIdentity, SkipReason};
use std::collections::HashMap;
use std::time::Duration;

/// What a listing shows of a file, compared with the one before.
enum Seen {
    /// It stayed the same for `stable_for`.
    Stable,
    /// It was not listed before.
    New,
    /// It stayed the same, but not for long enough.
    Unchanged,
    /// It is another now; the times, if nothing else differs.
    Changed(Option<UnstableFile>),
}

impl Listing {
    fn of(candidate: &Candidate) -> Self {
        let OfferIdentity { size, modified, version, .. } = &candidate.identity;
        Self { size: *size, modified: *modified, version: version.clone(), changed: candidate.changed }
    }
}

impl FolderSource {
    /// The candidates that this poll takes, in their order: those that stayed the same for `stable_for` and for which there is
    /// room, and no more than `read_limit`. The others are kept in `discovery.pending`, and reported as skipped. `begun` is when the listing
    /// began, by the monotonic clock.
    pub(super) fn choose(
        &self,
        candidates: Vec<Candidate>,
        discovery: &Discovery,
        begun: Duration,
    ) -> Vec<Candidate> {
        let ended = self.services.clock.monotonic();
        let limit = match self.poll.read_limit {
            0 => usize::MAX,
            limit => limit,
        };
        let mut before = discovery.pending.take();
        let mut pending = HashMap::new();
        let mut taken = Vec::new();
        let mut moved = Vec::new();
        for candidate in candidates {
            let listing = Listing::of(&candidate);
            let earlier = before.remove(&candidate.identity.path);
            let seen = self.judge(&candidate, &listing, earlier.as_ref(), begun);
            let since = match (&seen, &earlier) {
                (Seen::Stable | Seen::Unchanged, Some(earlier)) => earlier.since,
                _ => ended,
            };
            // A poll that looks again leaves what is not stable to the schedule, because in a busy directory it would
            // be followed by another at once.
            let mut look_again = match (discovery.looks_again, &seen) {
                (false, _) => Some(since + self.polling.stable_for),
                (true, Seen::Unchanged) => earlier.and_then(|earlier| earlier.look_again),
                (true, _) => None,
            };
            let why = match seen {
                Seen::Stable if taken.len() < limit && discovery.known.has_room(&candidate.identity) => {
                    taken.push(candidate);
                    continue;
                }
                Seen::Stable => {
                    look_again = None;
                    if taken.len() < limit { SkipReason::NoRoom } else { SkipReason::ReadLimit }
                }
                Seen::New | Seen::Unchanged => SkipReason::New,
                Seen::Changed(times) => {
                    moved.extend(times.filter(|_| moved.len() < UNSTABLE_LIMIT));
                    SkipReason::Changing
                }
            };
            discovery.known.skipped(&candidate.skipped(why));
            if !self.polling.stable_for.is_zero() {
                pending.insert(candidate.identity.path, Pending { listing, since, look_again });
            }
        }
        discovery.pending.replace(pending);
        if !moved.is_empty() {
            discovery.known.unstable(moved);
        }
        taken
    }

    fn judge(
        &self,
        candidate: &Candidate,
        listing: &Listing,
        earlier: Option<&Pending>,
        begun: Duration,
    ) -> Seen {
        if self.polling.stable_for.is_zero() {
            return Seen::Stable;
        }
        let Some(earlier) = earlier else { return Seen::New };
        let (was, is) = (Metadata::listed(&earlier.listing), Metadata::listed(listing));
        if was.contradictions(&is).is_empty() {
            // The earlier time is that of the end of its listing, this one that of the beginning.
            return match begun.saturating_sub(earlier.since) >= self.polling.stable_for {
                true => Seen::Stable,
                false => Seen::Unchanged,
            };
        }
        let OfferIdentity { path, size, .. } = &candidate.identity;
        Seen::Changed(was.times_moved(&is).map(|(was, is)| UnstableFile {
            path: path.clone(),
            size: *size,
            was,
            is,
        }))
    }
}
