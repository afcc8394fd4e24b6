//! How much of a message has left while it is sent: noted for a person who watches (`waybill as2 send`).

use model::SendProgress;
use net::http::Body;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use transport::DeliveryLog;

/// Between two notes. Of a message that is sent in less, nothing is noted.
const NOTED_EVERY: Duration = Duration::from_secs(2);

/// A message, or its rest, on its way over one connection.
pub(super) struct UnderWay {
    attempt: u32,
    from: u64,
    total: Option<u64>,
    begun: Instant,
    /// Bytes of its body that HTTP has asked for: what it holds of them has not left yet, which is less than a megabyte.
    asked: Arc<AtomicU64>,
}

impl UnderWay {
    /// From this byte on, of so many.
    pub(super) fn new(attempt: u32, from: u64, total: Option<u64>) -> Self {
        Self { attempt, from, total, begun: Instant::now(), asked: Arc::default() }
    }

    /// The same body, counted while it is sent.
    pub(super) fn counted(&self, body: Body) -> Body {
        let (length, asked) = (body.length(), Arc::clone(&self.asked));
        let pieces = futures::stream::unfold(body, move |mut body| {
            let asked = Arc::clone(&asked);
            async move {
                let piece = body.next().await.transpose()?;
                if let Ok(bytes) = &piece {
                    asked.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                }
                Some((piece, body))
            }
        });
        Body::stream(pieces, length)
    }

    /// Waits for the answer to what is sent, and notes meanwhile how much has left, where that has grown. A note that takes long
    /// holds nothing up.
    pub(super) async fn noted<T>(&self, log: &dyn DeliveryLog, answer: impl Future<Output = T>) -> T {
        let mut answer = std::pin::pin!(answer);
        let mut noted = 0;
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                () = tokio::time::sleep(NOTED_EVERY) => {}
            }
            let asked = self.asked.load(Ordering::Relaxed);
            if asked == noted {
                continue;
            }
            noted = asked;
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                () = log.on_the_wire(self.progress(asked)) => {}
            }
        }
    }

    fn progress(&self, asked: u64) -> SendProgress {
        SendProgress {
            attempt: self.attempt,
            from: self.from,
            sent: self.from.saturating_add(asked),
            total: self.total,
            millis: u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use model::{Error, ErrorKind};

    #[tokio::test]
    async fn a_body_is_counted_and_stays_the_same() {
        let under_way = UnderWay::new(3, 100, Some(112));
        let [hello, world] = ["hello ", "world "].map(str::as_bytes).map(Bytes::from_static);
        let pieces = || futures::stream::iter([Ok::<_, Error>(hello.clone()), Ok(world.clone())]);
        let mut body = under_way.counted(Body::stream(pieces(), Some(12)));
        assert_eq!(body.length(), Some(12));
        assert_eq!(body.next().await.unwrap(), Some(hello.clone()));
        let progress = under_way.progress(under_way.asked.load(Ordering::Relaxed));
        let expected =
            SendProgress { attempt: 3, from: 100, sent: 106, total: Some(112), millis: progress.millis };
        assert_eq!(progress, expected);
        assert_eq!(body.collect(100).await.unwrap(), world);
        assert_eq!(under_way.asked.load(Ordering::Relaxed), 12);
        // In chunks, and one that is shorter than it should be.
        assert_eq!(under_way.counted(Body::stream(pieces(), None)).length(), None);
        assert!(under_way.counted(Body::stream(pieces(), Some(13))).collect(100).await.is_err());
        let lost = || Error::transient(ErrorKind::Unreachable, "read it");
        let broken = futures::stream::iter([Ok(hello.clone()), Err(lost())]);
        let error = under_way.counted(Body::stream(broken, None)).collect(100).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable);
    }
}
