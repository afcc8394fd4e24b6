//! What follows from an answer or a lost connection, and how often a message goes on.

use http::StatusCode;
use model::{Error, ErrorKind, Retry};
use std::time::Duration;

/// The waits before a lost connection is made again. They begin anew when the partner has got further.
pub(super) const WAITS: [Duration; 5] = [
    // What is on its way still arrives.
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// As often a message goes on within one attempt.
const MOST_RESTARTS: u32 = 1000;

/// What an answer says of restart.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Judged {
    /// Nothing.
    Take,
    /// The partner has so many bytes.
    GoOn(u64),
    /// It does not take what was sent so.
    Refused,
}

/// Judges the status of an answer to a POST that began at `from`; `held` is what the partner says it has. An answer to a
/// whole message is doubted only where its status is that of a server that does not know the header fields.
pub(super) fn judge(status: StatusCode, held: Option<u64>, from: u64, total: u64) -> Judged {
    match (status.as_u16(), held) {
        (416, Some(held)) if held <= total && held != from => Judged::GoOn(held),
        // Firewalls in front of web servers do not let Content-Range in a request pass (403, 405, 406).
        (416 | 400 | 403 | 405 | 406 | 417 | 501, _) => Judged::Refused,
        (409 | 412 | 422 | 500, _) if from > 0 => Judged::Refused,
        _ => Judged::Take,
    }
}

/// Whether the connection was lost, so that the partner can be asked at once. One that has the whole message and is silent
/// may still be reading it: that is left to the next attempt.
pub(super) fn is_lost(error: &Error) -> bool {
    match (error.kind(), error.retry()) {
        (_, Retry::Permanent) | (ErrorKind::Timeout, Retry::Ambiguous) => false,
        (kind, _) => matches!(kind, ErrorKind::Unreachable | ErrorKind::Timeout),
    }
}

/// How often a message goes on within an attempt.
#[derive(Default)]
pub(super) struct Tries {
    pub(super) restarts: u32,
    /// Since the partner got further.
    without_gain: usize,
    most_held: u64,
}

impl Tries {
    /// The wait before the next one; `None` when there were enough.
    pub(super) fn next_wait(&mut self) -> Option<Duration> {
        if self.restarts >= MOST_RESTARTS {
            return None;
        }
        let wait = WAITS.get(self.without_gain).copied()?;
        self.without_gain += 1;
        self.restarts += 1;
        Some(wait)
    }

    /// The partner has so many bytes.
    pub(super) fn reached(&mut self, held: u64) {
        if held > self.most_held {
            self.most_held = held;
            self.without_gain = 0;
        }
    }
}
