//! The beginning of a message, seen before it is read.

use super::{Arriving, rejection_of};
use bytes::{Bytes, BytesMut};
use net::http::Body;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// After its first piece, so long is waited for more: nothing is held for a message yet, and no pace is asked of it.
const LONGEST: Duration = Duration::from_secs(3);

impl Arriving {
    /// Waits for about so many of its first bytes, or for all where it has fewer; a sender that is slow is not waited for.
    /// They are still to be read.
    ///
    /// # Errors
    /// As [`Body::next`].
    pub(crate) async fn peek(&mut self, wanted: usize) -> model::Result<Bytes> {
        self.peek_within(wanted, LONGEST).await
    }

    async fn peek_within(&mut self, wanted: usize, longest: Duration) -> model::Result<Bytes> {
        self.begin().await?;
        let until = Instant::now() + longest;
        let first = self.first.take().unwrap_or_default();
        // An empty piece is its end.
        let mut ended = first.is_empty();
        let mut seen = BytesMut::from(&first[..]);
        while !ended && seen.len() < wanted {
            match timeout_at(until, self.body.next()).await {
                Ok(Ok(Some(more))) => seen.extend_from_slice(&more),
                Ok(Ok(None)) => ended = true,
                // It is found again by the one who reads, and answered.
                Ok(Err(error)) if rejection_of(&error).is_some() => {
                    self.body = Body::stream(futures::stream::iter([Err(error)]), None);
                    break;
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => break,
            }
        }
        if ended {
            // It was read to its end, which is not asked for a second time.
            self.body = Body::empty();
        }
        let seen = seen.freeze();
        self.first = Some(seen.clone());
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streaming::BodyReader;
    use std::io::Read;

    fn arriving(pieces: &[&'static str]) -> Arriving {
        let pieces: Vec<model::Result<Bytes>> =
            pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect();
        Arriving::new(Body::stream(futures::stream::iter(pieces), None), false)
    }

    #[tokio::test]
    async fn what_was_seen_is_still_read() {
        for (pieces, wanted, seen) in [
            (&["ab", "cd", "ef"][..], 3, "abcd"),
            (&["ab", "cd", "ef"][..], 100, "abcdef"),
            (&["ab", "", "cd"][..], 1, "ab"),
            (&[][..], 10, ""),
        ] {
            let mut message = arriving(pieces);
            assert_eq!(message.peek(wanted).await.unwrap(), seen.as_bytes());
            // Seen twice, read once.
            assert_eq!(message.peek(wanted).await.unwrap(), seen.as_bytes());
            let (sender, mut reader) = BodyReader::channel();
            let read = tokio::task::spawn_blocking(move || {
                let mut all = String::new();
                reader.read_to_string(&mut all).map(|_| all)
            });
            message.pump(sender, 1000, || false).await;
            assert_eq!(read.await.unwrap().unwrap(), pieces.concat());
        }
    }

    #[tokio::test]
    async fn a_rejection_is_left_for_the_reader() {
        let rejected = model::Error::permanent(model::ErrorKind::Protocol, "read a form")
            .caused_by(crate::rejection::Rejection::BadForm { why: "x" });
        let pieces = [Ok(Bytes::from_static(b"ab")), Err(rejected)];
        let mut message = Arriving::new(Body::stream(futures::stream::iter(pieces), None), false);
        assert_eq!(message.peek(100).await.unwrap(), &b"ab"[..]);
        let (sender, mut reader) = BodyReader::channel();
        let read = tokio::task::spawn_blocking(move || {
            let mut all = String::new();
            reader.read_to_string(&mut all).map(|_| all)
        });
        message.pump(sender, 1000, || false).await;
        let error = read.await.unwrap().unwrap_err();
        assert!(error.get_ref().is_some_and(|inner| inner.is::<crate::rejection::Rejection>()), "{error}");
    }

    #[tokio::test]
    async fn a_slow_sender_is_not_waited_for() {
        use futures::StreamExt as _;
        let begun = futures::stream::iter([Ok(Bytes::from_static(b"ab"))]);
        let body = Body::stream(begun.chain(futures::stream::pending()), None);
        let mut message = Arriving::new(body, false);
        let seen = message.peek_within(100, Duration::from_millis(10)).await.unwrap();
        assert_eq!(seen, &b"ab"[..]);
    }
}
