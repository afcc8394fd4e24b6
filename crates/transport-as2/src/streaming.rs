//! Between async HTTP bodies and the blocking streams of `smime`: small bounded channels.

use bytes::Bytes;
use model::{Error, ErrorKind, Result};
use net::http::Body;
use smime::Measured;
use std::io::{self, Read};
use tokio::sync::mpsc;

/// Bytes handed over at once.
pub(crate) const CHUNK: usize = 256 * 1024;
/// Chunks on their way between the two sides.
const IN_FLIGHT: usize = 2;
/// Buffers of one stream, in bytes, for the process's budget: in flight, being filled, being written.
pub(crate) const STREAM_BUFFERS: usize = (IN_FLIGHT + 2) * CHUNK;

/// An HTTP body of what a blocking reader yields. The reader runs on a blocking thread and stops when
/// the body is dropped.
pub(crate) fn body_of(mut reader: Box<dyn Measured + Send>, length: Option<u64>) -> Body {
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            match (&mut reader).take(CHUNK as u64).read_to_end(&mut chunk) {
                Ok(0) => return,
                Ok(_) => {
                    if sender.blocking_send(Ok(Bytes::from(chunk))).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    // A send fails only when nobody wants the body any more.
                    drop(sender.blocking_send(Err(stream_error(error))));
                    return;
                }
            }
        }
    });
    let stream = futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|item| (item, receiver))
    });
    Body::stream(stream, length)
}

/// The error inside a stream's error: ours as it is, `smime`'s and the system's wrapped.
pub(crate) fn stream_error(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(error) => Error::local_io("read a staged payload", error),
    }
}

/// The blocking end of a body that is being received.
pub(crate) struct BodyReader {
    receiver: mpsc::Receiver<Result<Bytes>>,
    current: Bytes,
    ended: bool,
}

impl BodyReader {
    /// A channel whose async end is filled by [`pump`].
    pub(crate) fn channel() -> (mpsc::Sender<Result<Bytes>>, Self) {
        let (sender, receiver) = mpsc::channel(IN_FLIGHT);
        (sender, Self { receiver, current: Bytes::new(), ended: false })
    }
}

impl Read for BodyReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.receiver.blocking_recv() {
                Some(Ok(bytes)) => self.current = bytes,
                Some(Err(error)) => {
                    self.ended = true;
                    return Err(io::Error::other(error));
                }
                // The pump was dropped before it said that the body ended: the body is not whole.
                None => {
                    self.ended = true;
                    return Err(io::Error::other(Error::transient(
                        ErrorKind::Unreachable,
                        "receive a message to its end",
                    )));
                }
            }
            // An empty chunk is the pump's word for the end.
            self.ended |= self.current.is_empty();
        }
        let count = self.current.len().min(out.len());
        out[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

/// Moves a received body into the channel, up to `most` bytes, and says when it ended.
pub(crate) async fn pump(mut body: Body, sender: mpsc::Sender<Result<Bytes>>, most: u64) {
    let mut received = 0_u64;
    loop {
        let item = match body.next().await {
            Ok(Some(bytes)) if bytes.is_empty() => continue,
            Ok(Some(bytes)) => {
                received += bytes.len() as u64;
                if received > most { Err(too_large(most)) } else { Ok(bytes) }
            }
            Ok(None) => Ok(Bytes::new()),
            Err(error) => Err(error),
        };
        let ended = match &item {
            Ok(bytes) => bytes.is_empty(),
            Err(_) => true,
        };
        if sender.send(item).await.is_err() || ended {
            return;
        }
    }
}

pub(crate) fn too_large(most: u64) -> Error {
    Error::permanent(ErrorKind::Rejected, "receive a message")
        .with("largest_message", format!("{most} bytes"))
        .advice("raise the partner's largest_message if such messages are expected")
}
