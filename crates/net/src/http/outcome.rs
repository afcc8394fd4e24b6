//! How much of an exchange was completed, and the retry class of its failure.

use super::Body;
use super::connector::{Carrier, DialError};
use super::pace::Pace;
use crate::ConnectionHandle;
use crate::connection::lock;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::CaptureConnection;
use model::{ConnectionId, Error, ErrorKind, Result, Retry};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// How much of a request was sent.
pub(super) struct Progress {
    safe: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The number of bytes that the connection had written before this request.
    written_before: Option<u64>,
    /// When the last of the body was given to the library.
    finished: Option<Instant>,
    /// Why the body could not be read.
    failure: Option<Error>,
}

impl Progress {
    /// The progress of a request whose method is safe or not.
    pub(super) fn new(safe: bool) -> Self {
        Self { safe, state: Mutex::default() }
    }

    fn finish(&self) {
        lock(&self.state).finished.get_or_insert_with(Instant::now);
    }

    pub(super) fn finished_at(&self) -> Option<Instant> {
        lock(&self.state).finished
    }

    /// Whether certainly no byte of the request was sent.
    fn is_unsent(&self, carrier: Option<&Carrier>) -> bool {
        match (carrier, lock(&self.state).written_before) {
            (None, _) => true,
            (Some(carrier), Some(before)) => carrier.handle.bytes_out() == before,
            (Some(_), None) => false,
        }
    }

    fn take_failure(&self) -> Option<Error> {
        lock(&self.state).failure.take()
    }

    /// The retry class of a failure without an answer, from how much of the request was sent.
    fn retry(&self) -> Retry {
        if self.safe || self.finished_at().is_none() { Retry::Transient } else { Retry::Ambiguous }
    }

    /// The error of an exchange that took too long.
    pub(super) fn late(&self, waiting_for: &'static str, waited: Duration) -> Error {
        Error::new(ErrorKind::Timeout, self.retry(), "get an answer over HTTP")
            .with("waiting for", waiting_for)
            .with("waited", format!("{:.1} s", waited.as_secs_f64()))
            .advice("the server is reachable but did not answer in time")
    }
}

/// The connection that carries a request, told while the request's body is still being sent. Put into the request's
/// extensions; a request without a body tells its connection in its answer only.
#[derive(Clone, Debug, Default)]
pub struct CarriedBy(Arc<OnceLock<ConnectionId>>);

impl CarriedBy {
    /// The connection, once the first piece of the body was asked for.
    #[must_use]
    pub fn connection(&self) -> Option<ConnectionId> {
        self.0.get().copied()
    }
}

/// A request's body that records its progress.
pub(super) struct Tracked {
    carried_by: Option<CarriedBy>,
    body: Body,
    progress: Arc<Progress>,
    /// The connection that carries the request; taken at the first poll.
    captured: Option<CaptureConnection>,
}

impl Tracked {
    pub(super) fn new(body: Body, progress: Arc<Progress>, carried_by: Option<CarriedBy>) -> Self {
        // The library never polls an empty body for its end.
        if body.is_end_stream() {
            progress.finish();
        }
        Self { carried_by, body, progress, captured: None }
    }

    pub(super) fn capture(&mut self, captured: CaptureConnection) {
        self.captured = Some(captured);
    }

    /// Notes how much the connection had written before. The library asks for the first piece of the body after the
    /// head is in its buffer and before it writes any of it; by then only this request uses the connection.
    fn note_beginning(&mut self) {
        if let Some(carrier) = self.captured.take().as_ref().and_then(carrier) {
            lock(&self.progress.state).written_before = Some(carrier.handle.bytes_out());
            if let Some(carried_by) = &self.carried_by {
                carried_by.0.get_or_init(|| carrier.info.id);
            }
        }
    }
}

/// The connection that carries a request, if it was assigned.
pub(super) fn carrier(captured: &CaptureConnection) -> Option<Carrier> {
    let metadata = captured.connection_metadata();
    let mut extensions = ::http::Extensions::new();
    metadata.as_ref()?.get_extras(&mut extensions);
    extensions.remove::<Carrier>()
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = BodyFailed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFailed>>> {
        self.note_beginning();
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                // If the length is known, the library stops polling after the last byte.
                if self.body.length() == Some(0) || self.body.is_end_stream() {
                    self.progress.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                lock(&self.progress.state).failure = Some(error);
                Poll::Ready(Some(Err(BodyFailed)))
            }
            None => {
                self.progress.finish();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Tells the library that the body could not be read; the reason is in [`Progress`].
#[derive(Debug)]
pub(super) struct BodyFailed;

impl std::fmt::Display for BodyFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the request's body could not be read")
    }
}

impl std::error::Error for BodyFailed {}

/// Whether certainly no byte of the request was sent.
pub(super) fn is_unsent(error: &legacy::Error, progress: &Progress, carrier: Option<&Carrier>) -> bool {
    progress.is_unsent(carrier) || find::<hyper::Error>(error).is_some_and(hyper::Error::is_canceled)
}

/// Builds the error of a failed exchange, with its retry class.
pub(super) fn explain(error: legacy::Error, progress: &Progress, carrier: Option<&Carrier>) -> Error {
    if let Some(failure) = progress.take_failure() {
        return failure;
    }
    if let Some(dial) = find::<DialError>(&error).and_then(DialError::take) {
        return dial;
    }
    let library = find::<hyper::Error>(&error);
    let bad_answer = library.is_some_and(hyper::Error::is_parse);
    let unsent = is_unsent(&error, progress, carrier);
    let operation = "get an answer over HTTP";
    let first = carrier.is_none_or(|carrier| carrier.handle.requests() <= 1);
    let alert = find::<io::Error>(&error).and_then(alert).filter(|_| first);
    let outcome = if let Some(alert) = alert {
        // With TLS 1.3 the server checks our certificate after our side has finished the handshake. If it refuses the
        // certificate, it has not read the request.
        Error::permanent(ErrorKind::Unauthenticated, operation).said(alert).advice(
            "the server refused the request (TLS alert): it may need a client certificate, or another one",
        )
    } else if unsent {
        Error::transient(ErrorKind::Unreachable, operation)
            .with("sent", "nothing")
            .advice("the server closed the connection before it received the request, so the request can be sent again")
    } else if bad_answer {
        Error::new(ErrorKind::Protocol, progress.retry(), operation)
            .advice("the server's answer is not HTTP/1.1: check that the URL's port speaks HTTP")
    } else if progress.finished_at().is_none() {
        Error::new(ErrorKind::Unreachable, progress.retry(), operation)
            .with("sent", "a part of the request")
            .advice("the connection was lost while the request was being sent")
    } else {
        Error::new(ErrorKind::Unreachable, progress.retry(), operation)
            .with("sent", "the whole request")
            .advice("the connection was lost before the answer: the server may have received the request")
    };
    outcome.caused_by(error)
}

/// The TLS alert about certificates that a read failed with.
fn alert(error: &io::Error) -> Option<&'static str> {
    let tls = error.get_ref()?.downcast_ref::<openssl::ssl::Error>()?;
    let reason = tls.ssl_error()?.errors().first()?.reason()?;
    let refused = ["certificate", "unknown ca", "access denied", "handshake failure"];
    (reason.contains("alert") && refused.iter().any(|word| reason.contains(word))).then_some(reason)
}

/// The first cause of an error that has this type.
pub(super) fn find<'a, T: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a T> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
}

/// An answer's body: converts its errors, and limits silence.
pub(super) fn answer_body(body: Incoming, idle: Duration, handle: ConnectionHandle) -> Body {
    let mut watched = Watched::new(body, idle, "read the answer's body", handle);
    watched.answer = true;
    watched.note_end();
    Body::wrap(watched)
}

/// A body from the network, with a limit on silence and, if wanted, on slowness.
pub(super) struct Watched {
    body: Incoming,
    idle: Duration,
    operation: &'static str,
    sleep: Pin<Box<Sleep>>,
    /// Since when its reader has been waiting; the timer is then set.
    waiting: Option<Instant>,
    pace: Option<Pace>,
    handle: ConnectionHandle,
    /// It is an answer whose end is not noted yet.
    answer: bool,
}

impl Watched {
    pub(super) fn new(
        body: Incoming,
        idle: Duration,
        operation: &'static str,
        handle: ConnectionHandle,
    ) -> Self {
        let sleep = Box::pin(tokio::time::sleep(idle));
        Self { body, idle, operation, sleep, waiting: None, pace: None, handle, answer: false }
    }

    /// Enforces a minimum pace of the sender.
    pub(super) fn at(mut self, pace: Pace) -> Self {
        self.pace = Some(pace);
        self
    }

    /// The awaited bytes have arrived.
    fn came(&mut self, frame: &Frame<Bytes>) {
        let waited = self.waiting.take().map(|since| since.elapsed()).unwrap_or_default();
        if let Some(pace) = &mut self.pace {
            pace.note(frame.data_ref().map_or(0, Bytes::len), waited);
        }
    }

    /// Why it is no longer awaited.
    fn late(&self) -> Error {
        match &self.pace {
            Some(pace) if pace.left() < self.idle => pace.too_slow(self.operation),
            _ => Error::transient(ErrorKind::Timeout, self.operation)
                .with("waited", format!("{:.1} s", self.idle.as_secs_f64()))
                .advice("the peer stopped sending before the end"),
        }
    }

    /// A reader of a body with a known length may not poll for its end.
    fn note_end(&mut self) {
        if self.body.is_end_stream() {
            self.ended();
        }
    }

    fn ended(&mut self) {
        if std::mem::take(&mut self.answer) {
            self.handle.answer_ended();
        }
    }

    fn failed(&self, error: Error) -> Error {
        self.handle.fail(error.chain());
        error
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.answer {
            self.handle.answer_abandoned();
        }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Err(cause))) => {
                let error = Error::transient(ErrorKind::Unreachable, self.operation)
                    .advice("the peer closed the connection before the end")
                    .caused_by(cause);
                Poll::Ready(Some(Err(self.failed(error))))
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.came(&frame);
                self.note_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.ended();
                Poll::Ready(None)
            }
            Poll::Pending => {
                if self.waiting.is_none() {
                    let now = Instant::now();
                    let most = self.pace.map_or(self.idle, |pace| pace.left().min(self.idle));
                    self.sleep.as_mut().reset(now + most);
                    self.waiting = Some(now);
                }
                ready!(self.sleep.as_mut().poll(cx));
                let error = self.late();
                Poll::Ready(Some(Err(self.failed(error))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
