//! What passes through a socket, and what ended it.

use crate::connection::lock;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

/// Counts what passes through a socket, and notes what ended it.
#[derive(Default)]
pub(crate) struct Meter {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    requests: AtomicU64,
    /// The connection carries exchanges of request and answer, and should end between two of them.
    exchanges: AtomicBool,
    /// `bytes_out` when something was last heard from the peer, TLS's own messages apart.
    out_when_heard: AtomicU64,
    /// `bytes_out` when the last exchange was answered: more than that means another has begun.
    out_when_answered: AtomicU64,
    /// Answers that are being read. A connection may be in use again for the next request before the
    /// first one's user has seen its answer, so this is a count.
    answers: AtomicU64,
    /// Whether it was in the middle of an exchange when it began to shut down; what is written after
    /// that (TLS says goodbye) is no request.
    cut_short: OnceLock<bool>,
    /// The socket did not take what we last wanted to write.
    write_blocked: AtomicBool,
    /// The status of the last request that was answered with a refusal; 0 is none.
    refused: AtomicU16,
    seen: Mutex<Option<Seen>>,
}

/// What the socket showed at its end, the telling one kept.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    ShutDown,
    PeerClosed,
    Broke(String),
}

impl Meter {
    pub(crate) fn read(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn wrote(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Notes that something came that is meant for the user of the connection.
    pub(crate) fn heard(&self) {
        self.out_when_heard.store(self.bytes_out(), Ordering::Relaxed);
    }

    pub(crate) fn write_blocked(&self, blocked: bool) {
        self.write_blocked.store(blocked, Ordering::Relaxed);
    }

    pub(crate) fn is_write_blocked(&self) -> bool {
        self.write_blocked.load(Ordering::Relaxed)
    }

    /// Counts one request or file operation.
    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Notes that a request was answered with a status that refuses it.
    pub(crate) fn refused(&self, status: u16) {
        self.refused.store(status, Ordering::Relaxed);
    }

    pub(crate) fn last_refusal(&self) -> Option<u16> {
        Some(self.refused.load(Ordering::Relaxed)).filter(|status| *status != 0)
    }

    pub(crate) fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }

    /// From now on, what leaves the socket belongs to a request.
    pub(crate) fn carries_exchanges(&self) {
        self.exchanges.store(true, Ordering::Relaxed);
        self.out_when_answered.store(self.bytes_out(), Ordering::Relaxed);
    }

    /// Counts an answer. If its request is written whole, the next write begins another.
    pub(crate) fn answer_began(&self, whole: bool) {
        self.request();
        self.answers.fetch_add(1, Ordering::Relaxed);
        if whole {
            self.out_when_answered.store(self.out_when_heard.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Notes that an answer was read to its end. Once for each.
    pub(crate) fn answer_ended(&self) {
        self.answers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether the connection ended in the middle of an exchange, which then is counted as a request
    /// too. Asked first, and so decided, when it begins to end.
    pub(crate) fn cut_short(&self) -> bool {
        *self.cut_short.get_or_init(|| {
            let asking = self.bytes_out() != self.out_when_answered.load(Ordering::Relaxed);
            let answering = self.answers.load(Ordering::Relaxed) > 0;
            let exchanges = self.exchanges.load(Ordering::Relaxed);
            if exchanges && asking && !answering {
                self.request();
            }
            exchanges && (asking || answering)
        })
    }

    /// Notes that our side ends the connection.
    pub(crate) fn shut_down(&self) {
        self.cut_short();
        lock(&self.seen).get_or_insert(Seen::ShutDown);
    }

    pub(crate) fn peer_closed(&self) {
        let mut seen = lock(&self.seen);
        if !matches!(*seen, Some(Seen::Broke(_))) {
            *seen = Some(Seen::PeerClosed);
        }
    }

    pub(crate) fn broke(&self, error: &std::io::Error) {
        let mut seen = lock(&self.seen);
        if !matches!(*seen, Some(Seen::Broke(_))) {
            *seen = Some(Seen::Broke(error.to_string()));
        }
    }

    pub(crate) fn seen(&self) -> Option<Seen> {
        lock(&self.seen).clone()
    }
}
