//! Payloads past their retention.

use crate::context::Context;
use crate::crash;
use crate::maintenance::repeat::{BATCH, Maintenance};
use crate::staged::{blocking, remove_all};
use async_trait::async_trait;
use model::{EventKind, Result};
use std::sync::Arc;
use std::time::Duration;

/// Removes payloads past their retention: first the row, then the bytes.
pub(crate) struct Retention(pub(crate) Arc<Context>);

#[async_trait]
impl Maintenance for Retention {
    fn name(&self) -> &'static str {
        "retention"
    }

    fn every(&self) -> Duration {
        self.0.settings.retention_every
    }

    async fn run(&self) -> Result<()> {
        let context = &self.0;
        // A payload that cannot be removed does not stop the others; the sweep tries it again.
        let mut failed = Ok(());
        loop {
            let past = context.store.payloads_past_retention(context.now(), BATCH).await?;
            if past.is_empty() {
                return failed;
            }
            let marks = past.iter().map(|payload| {
                let event = context
                    .event(EventKind::PayloadRemoved)
                    .detail("payload", payload.id.to_string())
                    .detail("file_name", payload.file_name.to_text())
                    .detail("sha256", payload.content.sha256().map(|hash| hash.to_string()))
                    .detail("reason", "retention");
                (payload.id, event)
            });
            let removed = context.store.mark_payloads_removed(marks.collect(), context.now()).await?;
            crash::point("retain.marked");
            if removed.is_empty() {
                // All of them have become needed again in the meantime.
                return failed;
            }
            let staging = context.staging.clone();
            let unlinked = blocking("remove staged bytes", move || remove_all(&staging, removed)).await;
            failed = failed.and(unlinked);
        }
    }
}
