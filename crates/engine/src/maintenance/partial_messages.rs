//! Messages that have arrived in part and whose senders did not go on with them, and segments that no message has.

use crate::context::Context;
use crate::maintenance::repeat::Maintenance;
use crate::receive::kept::remove_segments;
use crate::staged::blocking;
use async_trait::async_trait;
use model::Result;
use std::sync::Arc;
use std::time::Duration;

/// Segments that no message has are removed after this time: one may be about to be recorded.
const ORPHAN_AGE: Duration = Duration::from_secs(3600);

/// Removes what was kept of messages for longer than was agreed, and segments that a crash left.
pub(crate) struct PartialMessages(pub(crate) Arc<Context>);

#[async_trait]
impl Maintenance for PartialMessages {
    fn name(&self) -> &'static str {
        "messages that have arrived in part"
    }

    fn every(&self) -> Duration {
        self.0.settings.retention_every
    }

    async fn run(&self) -> Result<()> {
        let context = &self.0;
        loop {
            let aged = context.store.remove_aged_partials(&context.settings.node, context.now()).await?;
            if aged.messages == 0 {
                break;
            }
            tracing::info!(
                messages = aged.messages,
                "messages that had arrived in part, and whose senders did not go on with them, were removed"
            );
            remove_segments(&context.staging, aged.segments).await;
        }
        let (staging, store) = (context.staging.clone(), context.store.clone());
        let runtime = tokio::runtime::Handle::current();
        let before = context.now() - ORPHAN_AGE;
        let swept = blocking("sweep segments of messages", move || {
            staging.sweep_segments(before, |ids| runtime.block_on(store.known_segments(ids)))
        });
        let removed = swept.await?;
        if removed > 0 {
            tracing::info!(removed, "segments in staging that belong to no message were removed");
        }
        Ok(())
    }
}
