//! Messages that are kept while they arrive: who holds one on this node, and what the database and staging have of it.
//!
//! The bytes of a message are in segments in staging ([`bytes`]), which a task makes durable and records ([`follow`]). A caller
//! that asks what is held of a message takes it over: its holder on this node stops, and its end is awaited, so that
//! what it has counts; one elsewhere finds out with its next record, and what it had not recorded does not count.

mod bytes;
mod follow;
mod holders;
mod progress;
mod removed;

pub(crate) use removed::remove_segments;

use crate::context::Context;
use crate::crash;
use crate::staged::blocking;
use async_trait::async_trait;
use bytes::{Earlier, OpenBytes};
use follow::{Following, until};
use holders::{Holder, Holders};
use model::{Error, ErrorKind, PayloadId, Result};
use progress::Progress;
use staging::{Segment, Staging};
use std::sync::Arc;
use store::{ContinuePartial, NewPartial, PartialBegun, PartialContinued, PartialSegment};
use tokio::sync::watch;
use transport::{HeldMessage, Keep, Kept, KeptMessage, KeptMessages, KeptState, Shutdown};
use uuid::Uuid;

/// Messages that are kept, behind the contract's trait.
pub(crate) struct EngineKept {
    context: Arc<Context>,
    holders: Arc<Holders>,
    shutdown: Shutdown,
}

impl EngineKept {
    pub(crate) fn new(context: Arc<Context>, shutdown: Shutdown) -> Self {
        Self { context, holders: Arc::default(), shutdown }
    }
}

#[async_trait]
impl KeptMessages for EngineKept {
    async fn held(&self, key: &str) -> Result<Option<HeldMessage>> {
        let context = &self.context;
        let lease = context.lease.current();
        context.lease.may_act(lease.epoch)?;
        // Asked first: most have not been heard of, and nothing is written for them.
        if context.store.partial_length(key).await?.is_none() {
            return Ok(None);
        }
        self.holders.stop(key).await;
        let taken = context.store.take_partial(&lease, key, context.now()).await?;
        crash::point("kept.taken");
        remove_segments(&context.staging, taken.removed).await;
        Ok(taken.message.map(|held| HeldMessage {
            holder: held.fence,
            message: held.message,
            length: held.durable,
            last_byte: held.last_byte,
            total: held.total,
            answered: held.answered,
        }))
    }

    async fn keep(&self, keep: Keep) -> Result<Kept> {
        let lease = self.context.lease.current();
        self.context.lease.may_act(lease.epoch)?;
        match keep.goes_on {
            Some(holder) => self.go_on(keep, holder).await,
            None => self.begin(keep).await,
        }
    }

    async fn forget(&self, key: &str) -> Result<()> {
        let segments = self.context.store.forget_partial(key).await?;
        remove_segments(&self.context.staging, segments).await;
        Ok(())
    }
}

impl EngineKept {
    /// Keeps a message from its first byte on.
    async fn begin(&self, keep: Keep) -> Result<Kept> {
        let context = &self.context;
        // The message as it comes, and its payload.
        let needed = keep.total.unwrap_or(0).saturating_mul(2);
        if let Err(full) = self.check_room(needed).await {
            return match full.kind() {
                ErrorKind::StorageFull => Ok(Kept::NotKept(full.chain())),
                _ => Err(full),
            };
        }
        self.holders.stop(&keep.key).await;
        let (id, segment) = (context.ids.next(), PayloadId::new(context.ids.next()));
        let now = context.now();
        let new = NewPartial {
            lease: context.lease.current(),
            key: keep.key.clone(),
            id,
            listener: keep.listener.clone(),
            partner: keep.partner.clone(),
            message: keep.message.clone(),
            total: keep.total,
            segment,
            most_messages: keep.limits.messages,
            most_bytes: keep.limits.bytes,
            keep_until: until(now, keep.keep_for),
            events: keep.events.clone(),
            now,
        };
        match context.store.begin_partial(new).await? {
            PartialBegun::Full { removed } => {
                remove_segments(&context.staging, removed).await;
                Ok(Kept::NotKept(format!(
                    "the listener keeps as much as it may ({} messages, {} bytes), or half as much of this partner",
                    keep.limits.messages, keep.limits.bytes
                )))
            }
            PartialBegun::Begun { fence, removed } => {
                crash::point("kept.begun");
                remove_segments(&context.staging, removed).await;
                let segments = vec![PartialSegment { id: segment, length: 0 }];
                self.open(keep, id, fence, segments, true).await
            }
        }
    }

    /// Goes on with a message.
    async fn go_on(&self, keep: Keep, holder: i64) -> Result<Kept> {
        let context = &self.context;
        // Of the message as it comes, what is missing; its payload whole. What is held stays if there is no room.
        let needed = keep.total.unwrap_or(0);
        if let Err(full) = self.check_room(needed).await {
            return match full.kind() {
                ErrorKind::StorageFull => Ok(Kept::NoRoom(full)),
                _ => Err(full),
            };
        }
        let partial = ContinuePartial {
            lease: context.lease.current(),
            key: keep.key.clone(),
            fence: holder,
            segment: PayloadId::new(context.ids.next()),
            total: keep.total,
            events: keep.events.clone(),
            now: context.now(),
        };
        match context.store.continue_partial(partial).await? {
            PartialContinued::Lost => Ok(Kept::TakenOver),
            PartialContinued::TooManySegments => {
                self.forget(&keep.key).await?;
                Ok(Kept::Gone)
            }
            PartialContinued::Continued { id, segments, is_new } => {
                crash::point("kept.continued");
                let key = keep.key.clone();
                match self.open(keep, id, holder, segments, is_new).await {
                    Err(error)
                        if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IntegrityFailed) =>
                    {
                        tracing::error!(key, error = %error.chain(), "what was held of a message is not in staging any more: its sender starts over");
                        self.forget(&key).await?;
                        Ok(Kept::Gone)
                    }
                    other => other,
                }
            }
        }
    }

    async fn check_room(&self, bytes: u64) -> Result<()> {
        let staging = self.context.staging.clone();
        blocking("check the room in staging", move || staging.check_room(bytes)).await
    }

    /// Opens the segments of a message, the last one to be written, and follows what comes.
    async fn open(
        &self,
        keep: Keep,
        id: Uuid,
        fence: i64,
        segments: Vec<PartialSegment>,
        is_new: bool,
    ) -> Result<Kept> {
        let context = &self.context;
        let staging = context.staging.clone();
        let opened =
            blocking("open what is held of a message", move || open_segments(&staging, &segments, is_new));
        let Opened { earlier, segment, last } = opened.await?;
        let start = earlier.last().map_or(0, Earlier::end);
        let (stop, taken_over) = watch::channel(false);
        let (ended, has_ended) = watch::channel(false);
        let progress = Arc::new(Progress::new(last.length));
        let segment = Arc::new(segment);
        self.holders.enter(&keep.key, Holder { fence, stop: stop.clone(), ended: has_ended.clone() });
        let following = Following {
            context: Arc::clone(context),
            holders: Arc::clone(&self.holders),
            key: keep.key,
            id,
            fence,
            last,
            segment: Arc::clone(&segment),
            start,
            keep_for: keep.keep_for,
            broken_off: keep.broken_off,
            too_little: keep.too_little,
            progress: Arc::clone(&progress),
            stop,
            ended,
            shutdown: self.shutdown.clone(),
        };
        context.tasks.spawn(following.run());
        let bytes = OpenBytes::new(earlier, segment, start, progress, taken_over.clone());
        let state = KeptState::new(taken_over, has_ended);
        Ok(Kept::Open(KeptMessage { bytes: Box::new(bytes), state }))
    }
}

/// The open segments of a message.
struct Opened {
    earlier: Vec<Earlier>,
    /// The one that is written.
    segment: Segment,
    last: PartialSegment,
}

/// Blocks.
fn open_segments(staging: &Staging, segments: &[PartialSegment], is_new: bool) -> Result<Opened> {
    let Some((last, before)) = segments.split_last() else {
        return Err(Error::permanent(ErrorKind::Internal, "open a message without segments"));
    };
    let (mut earlier, mut start) = (Vec::with_capacity(before.len()), 0);
    for part in before.iter().filter(|part| part.length > 0) {
        let segment = staging.open_segment(part.id, part.length, false)?;
        earlier.push(Earlier { segment, start, length: part.length });
        start += part.length;
    }
    let segment = match is_new {
        true => staging.begin_segment(last.id)?,
        false => staging.open_segment(last.id, last.length, true)?,
    };
    Ok(Opened { earlier, segment, last: *last })
}
