//! Makes durable what comes of a message, and records it: after some bytes, after some time, and at its end.

use crate::context::Context;
use crate::crash;
use crate::receive::kept::holders::Holders;
use crate::receive::kept::progress::Progress;
use crate::receive::kept::removed::remove_segments;
use crate::staged::blocking;
use model::{AuditEvent, Result, Timestamp};
use staging::Segment;
use std::sync::Arc;
use std::time::Duration;
use store::{PartialRecorded, PartialSegment, RecordPartial};
use tokio::sync::watch;
use transport::Shutdown;
use uuid::Uuid;

/// The longest time until what has come is made durable, and between two questions whether the message is still held.
const RECORD_EVERY: Duration = Duration::from_secs(1);
/// How often the last record is tried.
const LAST_TRIES: u32 = 5;
/// The longest time for which a message is kept.
const LONGEST_KEPT: Duration = Duration::from_secs(3650 * 86_400);

/// Until when a message is kept of which the last bytes have come now.
pub(super) fn until(now: Timestamp, keep_for: Duration) -> Timestamp {
    now + keep_for.min(LONGEST_KEPT)
}

/// Follows one holder of a message to its end.
pub(super) struct Following {
    pub(super) context: Arc<Context>,
    pub(super) holders: Arc<Holders>,
    pub(super) key: String,
    pub(super) id: Uuid,
    pub(super) fence: i64,
    /// The segment that is written, as it was recorded last.
    pub(super) last: PartialSegment,
    pub(super) segment: Arc<Segment>,
    /// The place of its first byte in the message.
    pub(super) start: u64,
    pub(super) keep_for: Duration,
    pub(super) broken_off: AuditEvent,
    pub(super) too_little: AuditEvent,
    pub(super) progress: Arc<Progress>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) ended: watch::Sender<bool>,
    /// When the process ends, the message is given up.
    pub(super) shutdown: Shutdown,
}

impl Following {
    pub(super) async fn run(mut self) {
        let (mut holds, mut gives_up) = (true, false);
        loop {
            tokio::select! {
                () = self.progress.news() => {}
                () = self.context.services.clock.sleep(RECORD_EVERY) => {}
                // What has come is recorded, and its sender goes on at another node or with the next process.
                _ = self.shutdown.wait_for(|ended| *ended), if !gives_up => {
                    gives_up = true;
                    self.stop.send_replace(true);
                }
            }
            if self.progress.has_ended() {
                break;
            }
            if holds {
                holds = self.step().await;
            }
        }
        if holds {
            self.record_end().await;
        }
        self.holders.leave(&self.key, self.fence);
        self.ended.send_replace(true);
    }

    /// Records what has come since; whether the message is still held.
    async fn step(&mut self) -> bool {
        let is_new = self.progress.written() > self.last.length;
        let held = match is_new {
            true => self.record(false).await,
            false => self.context.store.holds_partial(&self.key, self.id, self.fence).await,
        };
        match held {
            Ok(true) => true,
            Ok(false) => {
                self.stop.send_replace(true);
                false
            }
            Err(error) => {
                tracing::warn!(key = self.key, error = %error.chain(), "how far a message has come was not recorded; this is tried again");
                true
            }
        }
    }

    /// Records the end, so that its file can be continued.
    async fn record_end(&mut self) {
        for attempt in 1..=LAST_TRIES {
            match self.record(true).await {
                Ok(_) => return,
                Err(error) if attempt == LAST_TRIES => {
                    tracing::warn!(key = self.key, error = %error.chain(), "how far a message has come was not recorded: its sender sends again what came last");
                }
                Err(_) => tokio::time::sleep(RECORD_EVERY).await,
            }
        }
    }

    /// Makes durable what has come, and records it; whether the message is still held.
    async fn record(&mut self, ended: bool) -> Result<bool> {
        let is_whole = self.progress.is_whole();
        let length = self.progress.written();
        let last_byte = if length > self.last.length {
            let segment = Arc::clone(&self.segment);
            let made_durable = blocking("make durable what has come of a message", move || {
                segment.sync()?;
                // Of these: more may have come meanwhile.
                let mut byte = [0];
                segment.read(&mut byte, length - 1)?;
                Ok(byte[0])
            });
            Some(made_durable.await?)
        } else {
            None
        };
        crash::point("kept.synced");
        let now = self.context.now();
        let received = self.start + length;
        // A reader that stops for what it has read is no broken connection; nor is there anything to tell where nothing came.
        let broke = ended && self.progress.has_broken() && received > 0;
        let told = |event: &AuditEvent| -> Vec<AuditEvent> {
            broke.then(|| event.clone().detail("received", received)).into_iter().collect()
        };
        let record = RecordPartial {
            key: self.key.clone(),
            id: self.id,
            fence: self.fence,
            segment: self.last.id,
            length,
            last_byte,
            is_whole: ended && is_whole,
            ended,
            keep_until: until(now, self.keep_for),
            events: told(&self.broken_off),
            removed: told(&self.too_little),
            now,
        };
        let recorded = self.context.store.record_partial(record).await?;
        crash::point("kept.recorded");
        self.last.length = length;
        match recorded {
            PartialRecorded::Recorded => Ok(true),
            PartialRecorded::Removed { segments } => {
                remove_segments(&self.context.staging, segments).await;
                Ok(false)
            }
            PartialRecorded::Lost => Ok(false),
        }
    }
}
