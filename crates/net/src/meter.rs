//! What passes through a socket, and what ended it.

use crate::connection::lock;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// Bytes of many connections together.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
}

/// Counts what passes through a socket, and notes what ended it.
#[derive(Default)]
pub(crate) struct Meter {
    /// Where it is counted as well.
    totals: Option<Arc<Totals>>,
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
    /// `bytes_out` when it began to end; what is written after that (TLS says goodbye) is no request.
    out_at_end: OnceLock<u64>,
    /// The socket did not take what we last wanted to write.
    write_blocked: AtomicBool,
    /// The socket has no more to read: the peer has closed its side of it.
    at_end: AtomicBool,
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
    /// One whose bytes count in these totals too.
    pub(crate) fn within(totals: Arc<Totals>) -> Self {
        Self { totals: Some(totals), ..Self::default() }
    }

    pub(crate) fn read(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
        if let Some(totals) = &self.totals {
            totals.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    pub(crate) fn wrote(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
        if let Some(totals) = &self.totals {
            totals.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
        }
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

    /// Whether the connection carries exchanges and none of them is unanswered: neither asked and not
    /// answered, nor answered in part. While it ends, the user of its last answer may not have seen that
    /// answer yet, so this may still become true.
    pub(crate) fn is_between_exchanges(&self) -> bool {
        self.exchanges.load(Ordering::Relaxed) && !self.is_asking() && !self.is_answering()
    }

    /// Whether the connection ends in the middle of an exchange, as far as known now.
    pub(crate) fn cut_short(&self) -> bool {
        self.exchanges.load(Ordering::Relaxed) && (self.is_asking() || self.is_answering())
    }

    /// Whether the exchange that was cut short had no answer yet: nobody counted it as a request.
    pub(crate) fn is_uncounted(&self) -> bool {
        self.cut_short() && !self.is_answering()
    }

    fn is_asking(&self) -> bool {
        let written = self.out_at_end.get().copied().unwrap_or_else(|| self.bytes_out());
        written != self.out_when_answered.load(Ordering::Relaxed)
    }

    fn is_answering(&self) -> bool {
        self.answers.load(Ordering::Relaxed) > 0
    }

    /// The connection ends: what is written from now on belongs to no request. Asked again, it does nothing.
    pub(crate) fn ends(&self) {
        self.out_at_end.get_or_init(|| self.bytes_out());
    }

    /// Notes that our side ends the connection.
    pub(crate) fn shut_down(&self) {
        self.ends();
        lock(&self.seen).get_or_insert(Seen::ShutDown);
    }

    /// Notes that the socket has no more to read.
    pub(crate) fn peer_closed(&self) {
        self.at_end.store(true, Ordering::Relaxed);
        let mut seen = lock(&self.seen);
        if !matches!(*seen, Some(Seen::Broke(_))) {
            *seen = Some(Seen::PeerClosed);
        }
    }

    /// Whether the socket has no more to read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.at_end.load(Ordering::Relaxed)
    }

    pub(crate) fn broke(&self, error: &std::io::Error) {
        let mut seen = lock(&self.seen);
        // Once our side ends it, the peer may be gone already: no TLS goodbye reaches it then.
        if !matches!(*seen, Some(Seen::Broke(_) | Seen::ShutDown)) {
            *seen = Some(Seen::Broke(error.to_string()));
        }
    }

    pub(crate) fn seen(&self) -> Option<Seen> {
        lock(&self.seen).clone()
    }
}
