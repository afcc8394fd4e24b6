//! Files whose time is another at each look, though nothing else about them changes: some servers state the present time
//! for every file, and by time such a file is never the one that was found.
//!
//! They are counted by path and size. One that was missed so at [`POLLS`] polls is read without its time, and taken once a
//! second reading, for which its time moved again, gives the same bytes: then somebody who writes it in place would have
//! changed them. From the first reading on the attempts are counted where offers are, so a restart begins them no more.

use crate::poller::Poller;
use crate::reading::Reading;
use crate::taking::Discovered;
use model::{ErrorKind, Result, Timestamp};
use serde_json::{Map, Value, json};
use std::sync::PoisonError;
use transport::folder::{GONE, TIME_MOVED};
use transport::{FoundOffer, Source};

/// Polls at which a file was missed, each time with another time, before it is read without it.
pub(crate) const POLLS: u32 = 5;

/// A file that was missed with another time at each poll.
pub(crate) struct MovedTime {
    /// The time it was last listed with.
    listed: Timestamp,
    /// At how many polls it was another.
    times: u32,
    /// How many polls ago it was missed.
    polls_ago: u8,
}

impl Poller {
    /// Reads an offer once more without its time, if that is all that ever keeps it from being read.
    pub(crate) async fn read_untimed(
        &self,
        source: &dyn Source,
        found: Discovered,
        read: Result<Reading>,
    ) -> (Discovered, Result<Reading>) {
        let is_missed = match &read {
            Ok(Reading::Changed(_)) => true,
            Ok(Reading::Whole(_) | Reading::Doubtful(_)) => false,
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        let Some(listed) = found.offer.identity.modified.filter(|_| is_missed) else { return (found, read) };
        let untimed = found.offer.identity.untimed();
        let (polls, before) = self.count_moved(&untimed.key(), listed);
        let earlier = match self.shared.store.earlier_tries(&untimed.key()).await {
            Ok(earlier) => earlier,
            Err(error) => {
                tracing::warn!(flow = %self.flow.name, path = %untimed.path, error = %error.chain(), "earlier attempts of a file could not be looked up; the next poll tries it again");
                return (found, read);
            }
        };
        let is_due = polls >= POLLS || earlier.failures > 0;
        if !is_due {
            return (found, read);
        }
        let mut source_data = found.offer.source_data.clone();
        // Both times of the listing; else this one, and that of an earlier poll.
        let noted = |data: &Map<String, Value>, which: &str| {
            data.get(TIME_MOVED)?.get(which)?.as_str().map(str::to_owned)
        };
        let is = noted(&source_data, "is").unwrap_or_else(|| listed.to_string());
        let was = noted(&source_data, "was")
            .or(before.map(|before| before.to_string()))
            .or_else(|| noted(&earlier.source_data, "is"))
            .unwrap_or_else(|| "another".to_owned());
        source_data.insert(TIME_MOVED.to_owned(), json!({ "was": was, "is": is }));
        let found = Discovered { offer: FoundOffer { identity: untimed, source_data }, ..found };
        let words = format!("its time was {was} and is {is}, though nothing else about it changed");
        let read = match self.read(source, &found.offer).await {
            Ok(Reading::Whole(whole)) if whole.source_data.contains_key(GONE) => Ok(Reading::Whole(whole)),
            Ok(Reading::Whole(mut whole) | Reading::Doubtful(mut whole)) => {
                whole.contradiction = Some(match whole.contradiction.take() {
                    Some(other) => format!("{words}; {other}"),
                    None => words,
                });
                Ok(Reading::Doubtful(whole))
            }
            other => other,
        };
        (found, read)
    }

    /// Counts a miss: at how many polls the file had another time, and the one before where it is known.
    fn count_moved(&self, key: &str, listed: Timestamp) -> (u32, Option<Timestamp>) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = moved.get_mut(key) else {
            moved.insert(key.to_owned(), MovedTime { listed, times: 1, polls_ago: 0 });
            return (1, None);
        };
        let before = known.listed;
        if before != listed {
            (known.listed, known.times) = (listed, known.times.saturating_add(1));
        }
        known.polls_ago = 0;
        (known.times, Some(before).filter(|before| *before != listed))
    }

    /// Forgets files that were not missed at the last polls.
    pub(crate) fn forget_moved(&self) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        moved.retain(|_, file| {
            file.polls_ago = file.polls_ago.saturating_add(1);
            file.polls_ago < 3
        });
    }
}
