//! Counts the bytes of a socket, and notes how it ended.

use crate::connection::lock;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// The byte counts of many connections together.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
}

/// Counts the bytes of a socket, and notes how it ended.
#[derive(Default)]
pub(crate) struct Meter {
    /// Totals that include this connection.
    totals: Option<Arc<Totals>>,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    requests: AtomicU64,
    /// The connection carries exchanges of request and answer, and should end between two of them.
    exchanges: AtomicBool,
    /// `bytes_out` when the peer last sent something, not counting TLS's own messages.
    out_when_heard: AtomicU64,
    /// `bytes_out` when the last exchange was answered: if it is higher now, another exchange has begun.
    out_when_answered: AtomicU64,
    /// The number of answers that are being read. A count, because a connection may be used for the next request
    /// before the reader of the first answer has finished.
    answers: AtomicU64,
    /// `bytes_out` when the end began; what is written after that (the TLS close message) belongs to no request.
    out_at_end: OnceLock<u64>,
    /// The socket did not accept the last write.
    write_blocked: AtomicBool,
    /// The socket is at its end: the peer has closed its side.
    at_end: AtomicBool,
    /// The status of the last request that was answered with a refusal; 0 for none.
    refused: AtomicU16,
    seen: Mutex<Option<Seen>>,
}

/// What the socket showed at its end; the most significant observation is kept.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    ShutDown,
    PeerClosed,
    Broke(String),
}

impl Meter {
    /// Also counts in these totals.
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

    /// Notes that bytes arrived for the user of the connection.
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

    /// Notes that a request was answered with a refusing status.
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

    /// From now on, bytes that are written belong to a request.
    pub(crate) fn carries_exchanges(&self) {
        self.exchanges.store(true, Ordering::Relaxed);
        self.out_when_answered.store(self.bytes_out(), Ordering::Relaxed);
    }

    /// Counts an answer. If its request is completely written, the next write begins another.
    pub(crate) fn answer_began(&self, whole: bool) {
        self.request();
        self.answers.fetch_add(1, Ordering::Relaxed);
        if whole {
            self.out_when_answered.store(self.out_when_heard.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Notes that an answer was read to its end. Called once for each answer.
    pub(crate) fn answer_ended(&self) {
        self.answers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether the connection carries exchanges and all of them are completely answered. While the connection ends,
    /// the user of its last answer may not have read it yet, so this may still become true.
    pub(crate) fn is_between_exchanges(&self) -> bool {
        self.exchanges.load(Ordering::Relaxed) && !self.is_asking() && !self.is_answering()
    }

    /// Whether the connection ends in the middle of an exchange, as far as known now.
    pub(crate) fn cut_short(&self) -> bool {
        self.exchanges.load(Ordering::Relaxed) && (self.is_asking() || self.is_answering())
    }

    /// Whether the interrupted exchange had no answer yet, so that it was not counted as a request.
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

    /// The connection is ending: what is written from now on belongs to no request. A second call does nothing.
    pub(crate) fn ends(&self) {
        self.out_at_end.get_or_init(|| self.bytes_out());
    }

    /// Notes that our side ends the connection.
    pub(crate) fn shut_down(&self) {
        self.ends();
        lock(&self.seen).get_or_insert(Seen::ShutDown);
    }

    /// Notes that the socket is at its end.
    pub(crate) fn peer_closed(&self) {
        self.at_end.store(true, Ordering::Relaxed);
        let mut seen = lock(&self.seen);
        if !matches!(*seen, Some(Seen::Broke(_))) {
            *seen = Some(Seen::PeerClosed);
        }
    }

    /// Whether the socket is at its end.
    pub(crate) fn is_at_end(&self) -> bool {
        self.at_end.load(Ordering::Relaxed)
    }

    pub(crate) fn broke(&self, error: &std::io::Error) {
        let mut seen = lock(&self.seen);
        // After our side has ended it, the peer may have disconnected already, without a TLS close message.
        if !matches!(*seen, Some(Seen::Broke(_) | Seen::ShutDown)) {
            *seen = Some(Seen::Broke(error.to_string()));
        }
    }

    pub(crate) fn seen(&self) -> Option<Seen> {
        lock(&self.seen).clone()
    }
}
