//! One connection from its socket to the record of its end. The end is recorded even if the future that holds the
//! connection is dropped.
//!
//! A connection is *pending* when its socket exists, *open* when it is recorded as opened, and *ended* when its
//! [`crate::Stream`] is dropped. The stream's own handshake may happen between the first two: TLS is done by this
//! crate, SSH by the transport, which then calls [`ConnectionHandle::established`].

use crate::meter::{Meter, Seen};
use crate::record::{ConnectionLog, Ending, Opened, Place};
use model::{
    ConnectionClosed, ConnectionId, Error, ErrorKind, PeerText, Protocol, Purpose, Result, Retry, Security,
    Timestamp,
};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The time in which the reader of an answer may finish after its connection closed, before the connection's end is
/// recorded without its result.
const DECIDED_WITHIN: Duration = Duration::from_secs(30);

/// The clock of [`crate::NetSettings`].
pub type NowFn = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// No code panics while it holds one of these locks, so a poisoned one is still consistent.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Shared {
    id: ConnectionId,
    since: Instant,
    now: NowFn,
    log: Arc<dyn ConnectionLog>,
    meter: Arc<Meter>,
    state: Mutex<State>,
}

struct State {
    /// The data known for the opened record.
    opened: Opened,
    phase: Phase,
    place: Option<Place>,
    reason: Option<(PeerText, bool)>,
    /// When its stream was dropped, and how long the connection had been open.
    ended: Option<(Timestamp, Duration)>,
}

enum Phase {
    /// The socket exists; nothing is recorded.
    Pending,
    /// The opened record is being written; the end, if it came in the meantime.
    Recording(Option<Box<ConnectionClosed>>),
    /// Recorded.
    Open,
    /// Its stream was dropped. It is not yet known whether its last exchange was completed: the HTTP library closes a
    /// connection when the answer has arrived, before the caller has read it.
    Undecided,
    /// The end was handed to the record.
    Ended,
}

/// A handle of one connection, separate from its stream: counts requests, sets the reason why it ends, completes its
/// record. Cheap to clone; does not keep the connection open.
#[derive(Clone)]
pub struct ConnectionHandle {
    shared: Arc<Shared>,
}

/// Ends the connection's record when it is dropped. The stream owns it, after the socket.
pub(crate) struct Ender(ConnectionHandle);

impl Ender {
    pub(crate) fn handle(&self) -> &ConnectionHandle {
        &self.0
    }
}

impl Drop for Ender {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl ConnectionHandle {
    /// A connection whose socket exists. The stream owns the ender.
    pub(crate) fn new(
        opened: Opened,
        now: NowFn,
        log: Arc<dyn ConnectionLog>,
        meter: Arc<Meter>,
        place: Place,
    ) -> (Self, Ender) {
        let handle = Self {
            shared: Arc::new(Shared {
                id: opened.record.id,
                since: Instant::now(),
                now,
                log,
                meter,
                state: Mutex::new(State {
                    opened,
                    phase: Phase::Pending,
                    place: Some(place),
                    reason: None,
                    ended: None,
                }),
            }),
        };
        (handle.clone(), Ender(handle))
    }

    /// The connection's id in the records.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.shared.id
    }

    /// Counts one request (HTTP) or file operation (SFTP). The HTTP code of this crate counts by itself.
    pub fn request(&self) {
        self.shared.meter.request();
    }

    /// Sets the reason why the connection ends, if it ends normally. The first reason stays, unless an error follows.
    pub fn closing(&self, reason: impl AsRef<[u8]>) {
        lock(&self.shared.state).reason.get_or_insert((PeerText::new(reason.as_ref()), false));
    }

    /// Sets the error; the connection's end is recorded as failed. The first error stays.
    pub fn fail(&self, reason: impl AsRef<[u8]>) {
        let mut state = lock(&self.shared.state);
        if !matches!(state.reason, Some((_, true))) {
            state.reason = Some((PeerText::new(reason.as_ref()), true));
        }
        self.shared.decide(&mut state, true);
    }

    /// Notes that the head of an answer arrived; `whole` if its request had been completely written by then.
    pub(crate) fn answer_began(&self, whole: bool) {
        self.shared.meter.answer_began(whole);
        self.decide(false);
    }

    /// Notes that an answer was read to its end. Called once for each answer.
    pub(crate) fn answer_ended(&self) {
        self.shared.meter.answer_ended();
        self.decide(false);
    }

    /// Notes that the rest of an answer will not be read.
    pub(crate) fn answer_abandoned(&self) {
        self.decide(true);
    }

    fn decide(&self, finally: bool) {
        self.shared.decide(&mut lock(&self.shared.state), finally);
    }

    /// Notes how the connection is protected, without recording it yet.
    pub fn set_security(&self, security: Security) {
        lock(&self.shared.state).opened.record.security = security;
    }

    /// Notes a protection that the configuration has switched off, before the connection is recorded as opened.
    pub fn weaken(&self, what: Option<&'static str>) {
        lock(&self.shared.state).opened.weakened.extend(what);
    }

    /// How the connection is protected, as far as known.
    #[must_use]
    pub fn security(&self) -> Security {
        lock(&self.shared.state).opened.record.security.clone()
    }

    /// The address at the other end of the socket (the proxy's, if there is one).
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        lock(&self.shared.state).opened.record.remote
    }

    /// The host and port that were asked for, as recorded.
    #[must_use]
    pub fn host(&self) -> Option<String> {
        lock(&self.shared.state).opened.record.host.as_ref().map(PeerText::to_string)
    }

    /// The endpoint that it belongs to, as recorded.
    #[must_use]
    pub fn endpoint(&self) -> Option<String> {
        lock(&self.shared.state).opened.record.endpoint.clone()
    }

    /// The proxy that it uses, as recorded.
    #[must_use]
    pub fn proxy(&self) -> Option<String> {
        lock(&self.shared.state).opened.record.proxy.clone()
    }

    /// The local address of the socket.
    #[must_use]
    pub fn local(&self) -> Option<SocketAddr> {
        lock(&self.shared.state).opened.record.local
    }

    /// Bytes read from the socket so far.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.shared.meter.bytes_in()
    }

    /// Bytes written to the socket so far.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.shared.meter.bytes_out()
    }

    /// Requests counted so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.meter.requests()
    }

    /// Records the connection as opened, with this protection; returns when that is durable. Call it once after
    /// [`crate::Net::dial_deferred`], after the handshake and before any other use of the connection; a second call
    /// does nothing. The record is completed even if the caller stops waiting.
    ///
    /// # Errors
    /// `Internal`, `Transient`: the record could not be written. Drop the stream; both records are written as soon as
    /// the log accepts them.
    pub async fn established(&self, security: Security) -> Result<()> {
        self.set_security(security);
        self.record_opened().await
    }

    /// Completes an accepted connection's record with data of its first request.
    pub(crate) fn belongs_to(&self, protocol: Protocol, purpose: Purpose, endpoint: Option<String>) {
        let record = &mut lock(&self.shared.state).opened.record;
        record.protocol = protocol;
        record.purpose = purpose;
        record.endpoint = endpoint;
    }

    /// Notes the client for which a proxy made the connection.
    pub(crate) fn came_through(&self, proxy: SocketAddr, client: SocketAddr) {
        let record = &mut lock(&self.shared.state).opened.record;
        (record.remote, record.proxy) = (Some(client), Some(proxy.to_string()));
    }

    /// Notes the host that the peer requested.
    pub(crate) fn asked_for(&self, host: &[u8]) {
        lock(&self.shared.state).opened.record.host = Some(PeerText::new(host));
    }

    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.shared.meter
    }

    /// Writes the opened record, unless it is already written.
    pub(crate) async fn record_opened(&self) -> Result<()> {
        let opened = {
            let mut state = lock(&self.shared.state);
            if !matches!(state.phase, Phase::Pending) {
                return Ok(());
            }
            state.phase = Phase::Recording(None);
            state.opened.clone()
        };
        // In its own task: if the caller stops waiting, it must still be known whether the record was written, or the
        // end could be recorded without it.
        let handle = self.clone();
        let written = tokio::spawn(async move {
            let written = handle.shared.log.opened(opened).await;
            handle.recorded(written.is_ok());
            written
        })
        .await;
        match written {
            Ok(written) => written.map_err(|error| {
                Error::transient(ErrorKind::Internal, "record a connection")
                    .on_connection(self.shared.id)
                    .advice("the connection was not used, because it could not be recorded; see the cause")
                    .caused_by(error)
            }),
            Err(gone) => Err(Error::new(ErrorKind::Internal, Retry::Transient, "record a connection")
                .on_connection(self.shared.id)
                .caused_by(gone)),
        }
    }

    fn recorded(&self, written: bool) {
        let mut state = lock(&self.shared.state);
        let ended = match std::mem::replace(&mut state.phase, Phase::Ended) {
            Phase::Recording(ended) => ended,
            other => {
                state.phase = other;
                return;
            }
        };
        match ended {
            None => state.phase = if written { Phase::Open } else { Phase::Pending },
            Some(closed) => {
                let ending = if written {
                    Ending::Closed(*closed)
                } else {
                    Ending::Unrecorded(Box::new((state.opened.clone(), *closed)))
                };
                if let Some(place) = state.place.take() {
                    place.end(ending);
                }
            }
        }
    }

    fn end(&self) {
        let shared = &self.shared;
        let mut state = lock(&shared.state);
        shared.meter.ends();
        state.ended.get_or_insert(((shared.now)(), shared.since.elapsed()));
        match &state.phase {
            Phase::Recording(_) => {
                let closed = shared.closed(&state);
                state.phase = Phase::Recording(Some(Box::new(closed)));
            }
            Phase::Ended | Phase::Undecided => {}
            Phase::Open if shared.is_undecided(&state) => {
                state.phase = Phase::Undecided;
                drop(state);
                self.decide_in_time();
            }
            Phase::Open => {
                let closed = shared.closed(&state);
                state.end(Ending::Closed(closed));
            }
            Phase::Pending => {
                let both = (state.opened.clone(), shared.closed(&state));
                state.end(Ending::Unrecorded(Box::new(both)));
            }
        }
    }

    /// An answer that is neither read nor dropped must not keep the record open.
    fn decide_in_time(&self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let shared = Arc::downgrade(&self.shared);
        runtime.spawn(async move {
            tokio::time::sleep(DECIDED_WITHIN).await;
            if let Some(shared) = shared.upgrade() {
                shared.decide(&mut lock(&shared.state), true);
            }
        });
    }
}

impl State {
    fn end(&mut self, ending: Ending) {
        self.phase = Phase::Ended;
        if let Some(place) = self.place.take() {
            place.end(ending);
        }
    }
}

/// Nothing can report the result of the last exchange any more.
impl Drop for Shared {
    fn drop(&mut self) {
        let closed = {
            let state = lock(&self.state);
            matches!(state.phase, Phase::Undecided).then(|| self.closed(&state))
        };
        if let Some(closed) = closed {
            lock(&self.state).end(Ending::Closed(closed));
        }
    }
}

impl Shared {
    /// Whether the last exchange may still be completed.
    fn is_undecided(&self, state: &State) -> bool {
        self.meter.cut_short() && !matches!(state.reason, Some((_, true))) && !std::thread::panicking()
    }

    /// Hands over the end of a connection whose stream was dropped, if the result of its last exchange is known or
    /// the time for it is over.
    fn decide(&self, state: &mut State, finally: bool) {
        if matches!(state.phase, Phase::Undecided) && (finally || !self.is_undecided(state)) {
            let closed = self.closed(state);
            state.end(Ending::Closed(closed));
        }
    }

    fn closed(&self, state: &State) -> ConnectionClosed {
        let idle = self.meter.is_between_exchanges() && self.meter.requests() > 0;
        let (reason, failed) = match (&state.reason, self.meter.seen()) {
            (Some((reason, true)), _) => (reason.clone(), true),
            _ if std::thread::panicking() => ("the task that used the connection panicked".into(), true),
            // Everything requested had been answered: the connection was finished, even if the peer closed it
            // abruptly.
            (None, Some(Seen::Broke(error))) if idle => {
                (PeerText::new(format!("ended by the peer while idle: {error}").as_bytes()), false)
            }
            (None, Some(Seen::Broke(error))) => (PeerText::new(error.as_bytes()), true),
            (Some((reason, false)), _) => (reason.clone(), false),
            (None, Some(Seen::PeerClosed)) => ("closed by the peer".into(), false),
            (None, Some(Seen::ShutDown) | None) => ("closed by Waybill".into(), false),
        };
        let pending = matches!(state.phase, Phase::Pending);
        if self.meter.is_uncounted() {
            self.meter.request();
        }
        let (reason, failed) = if failed {
            (reason, true)
        } else if pending {
            (PeerText::new(format!("{reason} before it was established").as_bytes()), true)
        } else if self.meter.cut_short() {
            (PeerText::new(format!("{reason} in the middle of a request").as_bytes()), true)
        } else {
            (reason, false)
        };
        // Requests that no handler receives (unknown path, head too large) are recorded nowhere else.
        let reason = match self.meter.last_refusal() {
            Some(status) => PeerText::new(format!("{reason}; a request was answered {status}").as_bytes()),
            None => reason,
        };
        let (at, duration) = state.ended.unwrap_or_else(|| ((self.now)(), self.since.elapsed()));
        ConnectionClosed {
            id: self.id,
            at,
            bytes_in: self.meter.bytes_in(),
            bytes_out: self.meter.bytes_out(),
            duration,
            requests: self.meter.requests(),
            reason,
            failed,
        }
    }
}
