//! One connection from its first moment to its ending, whatever becomes of the future that holds it.
//!
//! A connection is *pending* from the moment its socket is there, *open* once it is recorded as
//! opened, and *ended* when its [`crate::Stream`] is dropped. The stream's own handshake may lie
//! between the first two: TLS is done by this room, SSH by the transport, which then calls
//! [`ConnectionHandle::established`].

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

/// The user of an answer has so long to read it, once its connection is gone, before the connection's end is
/// recorded without waiting for that.
const DECIDED_WITHIN: Duration = Duration::from_secs(30);

/// A clock as [`crate::NetSettings`] lends it.
pub type NowFn = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// No code panics while it holds one of these locks; a poisoned one is as good as any.
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
    /// What is known for the opened record.
    opened: Opened,
    phase: Phase,
    place: Option<Place>,
    reason: Option<(PeerText, bool)>,
    /// When its stream went, and how long it had been up.
    ended: Option<(Timestamp, Duration)>,
}

enum Phase {
    /// The socket is there; not recorded.
    Pending,
    /// The opened record is being written; the ending, if it came meanwhile.
    Recording(Option<Box<ConnectionClosed>>),
    /// Recorded.
    Open,
    /// Its stream is gone. Whether its last exchange was answered to the end is not known yet: the HTTP
    /// library closes a connection as soon as the answer has come, before whoever asked has seen it.
    Undecided,
    /// The ending was handed over.
    Ended,
}

/// A view of one connection that can be kept apart from its stream: counts requests, says why it
/// ends, completes its record. Cheap to clone; keeps nothing open.
#[derive(Clone)]
pub struct ConnectionHandle {
    shared: Arc<Shared>,
}

/// Ends the connection's record when dropped; lives in the stream, behind the socket.
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
    /// A connection whose socket is there. The ender goes into the stream.
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

    /// The connection's id, as it is recorded.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.shared.id
    }

    /// Counts one request (HTTP) or file operation (SFTP). This room's HTTP counts by itself.
    pub fn request(&self) {
        self.shared.meter.request();
    }

    /// Says why the connection ends, when it ends in order. The first reason given stays, unless an
    /// error follows.
    pub fn closing(&self, reason: impl AsRef<[u8]>) {
        lock(&self.shared.state).reason.get_or_insert((PeerText::new(reason.as_ref()), false));
    }

    /// Says what went wrong; the connection's end is recorded as failed. The first error stays.
    pub fn fail(&self, reason: impl AsRef<[u8]>) {
        let mut state = lock(&self.shared.state);
        if !matches!(state.reason, Some((_, true))) {
            state.reason = Some((PeerText::new(reason.as_ref()), true));
        }
        self.shared.decide(&mut state, true);
    }

    /// Notes the head of an answer; `whole` when its request had been written whole by then.
    pub(crate) fn answer_began(&self, whole: bool) {
        self.shared.meter.answer_began(whole);
        self.decide(false);
    }

    /// Notes that an answer was read to its end. Once for each.
    pub(crate) fn answer_ended(&self) {
        self.shared.meter.answer_ended();
        self.decide(false);
    }

    /// Notes that the rest of an answer is not read.
    pub(crate) fn answer_abandoned(&self) {
        self.decide(true);
    }

    fn decide(&self, finally: bool) {
        self.shared.decide(&mut lock(&self.shared.state), finally);
    }

    /// Notes how the connection is protected, for its record, without recording it yet.
    pub fn set_security(&self, security: Security) {
        lock(&self.shared.state).opened.record.security = security;
    }

    /// How the connection is protected, as far as known.
    #[must_use]
    pub fn security(&self) -> Security {
        lock(&self.shared.state).opened.record.security.clone()
    }

    /// The real address of the other side of the socket (the proxy's, when there is one).
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        lock(&self.shared.state).opened.record.remote
    }

    /// The proxy that it goes or came through, as recorded.
    #[must_use]
    pub fn proxy(&self) -> Option<String> {
        lock(&self.shared.state).opened.record.proxy.clone()
    }

    /// Our side of the socket.
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

    /// Records the connection as opened, protected as given; returns when that is durable. Needed
    /// once, after [`crate::Net::dial_deferred`], when the handshake is done and before the connection
    /// is used for anything else; asked again, it does nothing. Goes on to its end when the caller
    /// stops waiting.
    ///
    /// # Errors
    /// `Internal`, `Transient`: the record could not be written. Drop the stream; the connection is
    /// recorded with its end as soon as the log takes it.
    pub async fn established(&self, security: Security) -> Result<()> {
        self.set_security(security);
        self.record_opened().await
    }

    /// Completes an accepted connection's record by what its first request showed.
    pub(crate) fn belongs_to(&self, protocol: Protocol, purpose: Purpose, endpoint: Option<String>) {
        let record = &mut lock(&self.shared.state).opened.record;
        record.protocol = protocol;
        record.purpose = purpose;
        record.endpoint = endpoint;
    }

    /// Notes whose connection it is that a proxy made.
    pub(crate) fn came_through(&self, proxy: SocketAddr, client: SocketAddr) {
        let record = &mut lock(&self.shared.state).opened.record;
        (record.remote, record.proxy) = (Some(client), Some(proxy.to_string()));
    }

    /// Notes the host that the peer asked for.
    pub(crate) fn asked_for(&self, host: &[u8]) {
        lock(&self.shared.state).opened.record.host = Some(PeerText::new(host));
    }

    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.shared.meter
    }

    /// Writes the opened record, if that was not done.
    pub(crate) async fn record_opened(&self) -> Result<()> {
        let opened = {
            let mut state = lock(&self.shared.state);
            if !matches!(state.phase, Phase::Pending) {
                return Ok(());
            }
            state.phase = Phase::Recording(None);
            state.opened.clone()
        };
        // In a task of its own: when the caller stops waiting, whether the record was written must
        // still be known, or the ending could be written without it.
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

    /// An answer that nobody reads and nobody drops must not keep the record open.
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

/// Whoever could have said what became of the last exchange is gone.
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
    /// Whether what becomes of the last exchange can still turn out well.
    fn is_undecided(&self, state: &State) -> bool {
        self.meter.cut_short() && !matches!(state.reason, Some((_, true))) && !std::thread::panicking()
    }

    /// Hands over the ending of a connection whose stream is gone, if its last exchange is decided by now, or
    /// has to be.
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
            // All that was asked had been answered: it was over, however rudely the peer says so.
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
        // Requests that no handler sees (no such path, a head too large) leave no other trace.
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
