//! Reading the rest of a request's body that the handler did not read, before the answer is sent.
//!
//! Many senders read the answer only after they have sent the whole message. If the connection is closed before, they
//! see a broken pipe instead of the 404 or 405, and send the same message again.

use crate::connection::lock;
use crate::http::Body;
use crate::http::outcome::Watched;
use ::http::Request;
use ::http::header::EXPECT;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use model::{Error, Result};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// The most bytes that are read for this, and the longest time.
const MOST: u64 = 1 << 30;
const LONGEST: Duration = Duration::from_secs(300);
/// The longest silence: a silent client may be waiting for the answer.
const SILENCE: Duration = Duration::from_secs(5);

/// Where a lent body is returned.
pub(super) struct Lender {
    back: Arc<Mutex<Option<UnreadBody>>>,
}

/// A body that was returned before its end.
pub(super) struct UnreadBody {
    body: Watched,
    /// The client waits for permission before it sends the body (`Expect: 100-continue`): its body is never
    /// requested.
    held_back: bool,
}

/// Lends a request's body to a handler.
pub(super) fn lend(request: Request<Watched>) -> (Request<Body>, Lender) {
    let back = Arc::default();
    let held_back = request.headers().contains_key(EXPECT);
    let lender = Lender { back: Arc::clone(&back) };
    let request = request.map(|body| Body::wrap(Lent { left: Some(UnreadBody { body, held_back }), back }));
    (request, lender)
}

impl Lender {
    /// The returned body, unless it was read to its end or is still in use.
    pub(super) fn unread(self) -> Option<UnreadBody> {
        lock(&self.back).take().filter(|left| !left.held_back && !left.body.is_end_stream())
    }
}

impl UnreadBody {
    /// Reads it to its end, within the limits.
    pub(super) async fn drain(mut self) {
        let (until, mut read) = (Instant::now() + LONGEST, 0);
        // A body that is known to be too large is not read at all.
        while self.body.size_hint().lower() <= MOST && read <= MOST {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
            match timeout_at(until, timeout(SILENCE, frame)).await {
                Ok(Ok(Some(Ok(frame)))) => read += frame.data_ref().map_or(0, Bytes::len) as u64,
                // The end of the body, or a client that disconnected, is late or silent: the connection's record says
                // which.
                Ok(Ok(Some(Err(_)) | None) | Err(_)) | Err(_) => return,
            }
        }
    }
}

/// A body that is returned when it is dropped.
struct Lent {
    left: Option<UnreadBody>,
    back: Arc<Mutex<Option<UnreadBody>>>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        *lock(&self.back) = self.left.take();
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let Some(left) = &mut self.left else { return Poll::Ready(None) };
        left.held_back = false;
        let polled = Pin::new(&mut left.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(Some(Err(_)) | None)) {
            // Nothing more will arrive.
            self.left = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.left.as_ref().is_none_or(|left| left.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.left.as_ref().map_or_else(|| SizeHint::with_exact(0), |left| left.body.size_hint())
    }
}
