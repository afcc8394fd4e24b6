//! Staged bytes without a row in the database.

use crate::context::Context;
use crate::maintenance::repeat::Maintenance;
use crate::staged::blocking;
use async_trait::async_trait;
use model::{Error, ErrorKind, EventKind, PayloadId, Result};
use staging::{Found, Rows};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// The most finds of a sweep that wait to be reported.
const FINDS: usize = 100;
/// Staged bytes without a row are moved to quarantine after this time.
const ORPHAN_AGE: Duration = Duration::from_secs(86_400);

/// Moves staged bytes without a row to quarantine.
pub(crate) struct OrphanSweep(pub(crate) Arc<Context>);

#[async_trait]
impl Maintenance for OrphanSweep {
    fn name(&self) -> &'static str {
        "orphaned files in staging"
    }

    fn every(&self) -> Duration {
        self.0.settings.retention_every
    }

    async fn run(&self) -> Result<()> {
        let context = &self.0;
        let staging = context.staging.clone();
        let store = context.store.clone();
        let runtime = tokio::runtime::Handle::current();
        let before = context.now() - ORPHAN_AGE;
        // The sweep waits while its finds are reported: each gets its own line, however many there are.
        let (report_to, mut finds) = mpsc::channel(FINDS);
        let sweep = tokio::spawn(blocking("sweep staging", move || {
            let known = |ids: &[PayloadId]| {
                let rows = runtime.block_on(store.payload_rows(ids))?;
                Ok(Rows { needed: rows.present, removed: rows.removed })
            };
            // When the process stops, nothing receives the finds any more; then they are only logged.
            let send = |find| {
                if let Err(unsent) = report_to.blocking_send(find) {
                    tracing::warn!(find = ?unsent.0, "found in staging");
                }
            };
            staging.sweep(before, known, send).map(drop)
        }));
        while let Some(find) = finds.recv().await {
            report(context, find).await;
        }
        sweep
            .await
            .map_err(|error| Error::transient(ErrorKind::Internal, "sweep staging").caused_by(error))?
    }
}

/// Logs what a sweep found.
async fn report(context: &Context, find: Found) {
    match find {
        Found::Orphan { id, length } => {
            tracing::warn!(payload = %id, length, "staged bytes without a record were moved to quarantine");
            let event = context.event(EventKind::PayloadQuarantined).detail("payload", id.to_string());
            context.record_event(event.detail("bytes", length)).await;
        }
        Found::Restored { id } => {
            tracing::warn!(payload = %id, "quarantined bytes have a record now; they were moved back to staging")
        }
        Found::Expired { id } => {
            tracing::info!(payload = %id, "staged bytes past their retention, which had not been removed, were removed")
        }
        Found::Stuck { path, cause } => {
            tracing::warn!(path = %path.display(), cause, "staged bytes past their retention could not be removed; this is tried again")
        }
        Found::AbandonedPart { name, length } => {
            tracing::info!(name, length, "a part that was never finished was removed")
        }
        Found::Foreign { path } => {
            tracing::warn!(path = %path.display(), "a file in the staging directory does not belong to Waybill; it was left there")
        }
    }
}
