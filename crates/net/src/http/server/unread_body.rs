//! What a handler leaves of a request's body is read and thrown away before its answer goes out.
//!
//! Many senders look for the answer only when their whole message is sent. A connection that is closed before
//! is a broken pipe to them: they never see the 404 or the 405, and come again with the same message.

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

/// Most that is read so, in bytes, and the longest time for it.
const MOST: u64 = 1 << 30;
const LONGEST: Duration = Duration::from_secs(300);
/// Longest silence meanwhile: who is silent may be waiting for the answer.
const SILENCE: Duration = Duration::from_secs(5);

/// Where a lent body comes back to.
pub(super) struct Lender {
    back: Arc<Mutex<Option<UnreadBody>>>,
}

/// A body that was given back before its end.
pub(super) struct UnreadBody {
    body: Watched,
    /// The client waits for a word before it sends anything (`Expect: 100-continue`): its body is never asked
    /// for.
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
    /// What came back, unless it is read to its end, or still in use.
    pub(super) fn unread(self) -> Option<UnreadBody> {
        lock(&self.back).take().filter(|left| !left.held_back && !left.body.is_end_stream())
    }
}

impl UnreadBody {
    /// Reads it to its end, as far as that goes.
    pub(super) async fn drain(mut self) {
        let (until, mut read) = (Instant::now() + LONGEST, 0);
        // What is known to be too much is not worth beginning with.
        while self.body.size_hint().lower() <= MOST && read <= MOST {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
            match timeout_at(until, timeout(SILENCE, frame)).await {
                Ok(Ok(Some(Ok(frame)))) => read += frame.data_ref().map_or(0, Bytes::len) as u64,
                // Its end, or a client that is gone, late or silent: the connection's record says which.
                Ok(Ok(Some(Err(_)) | None) | Err(_)) | Err(_) => return,
            }
        }
    }
}

/// A body that goes back when whoever has it drops it.
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
            // Nothing more comes of it.
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
