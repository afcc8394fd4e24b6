//! What time asks for: lapsed leases, late receipts, expired deliveries, retention, strangers in staging.

use crate::attempt::overdue_attempt;
use crate::crash;
use crate::guard::guarded;
use crate::shared::Shared;
use async_trait::async_trait;
use model::{Error, ErrorKind, EventKind, PayloadId, Result};
use staging::Found;
use std::sync::Arc;
use std::time::Duration;
use transport::Shutdown;

/// Rows looked at in one round.
const BATCH: u32 = 500;
/// Finds of one sweep that are told one by one.
const MOST_FINDS: usize = 1_000;
/// Staged bytes without a row are set aside after this.
const STRANGER_AGE: Duration = Duration::from_secs(86_400);

/// A chore of another room that the engine runs now and then: sealing the audit trail, making its
/// partitions, removing what is past its retention.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Its name in the log.
    fn name(&self) -> &'static str;
    /// Time between two runs.
    fn every(&self) -> Duration;
    /// Runs once.
    ///
    /// # Errors
    /// Logged; it runs again.
    async fn run(&self) -> Result<()>;
}

/// Runs a chore until shutdown.
pub(crate) async fn repeat(shared: Arc<Shared>, chore: Arc<dyn Upkeep>, mut shutdown: Shutdown) {
    loop {
        if let Err(error) = guarded("run a chore", chore.run()).await {
            tracing::warn!(chore = chore.name(), error = %error.chain(), "upkeep failed; it runs again");
        }
        tokio::select! {
            () = shared.services.clock.sleep(chore.every()) => {}
            _ = shutdown.wait_for(|ended| *ended) => return,
        }
    }
}

/// Gives up the claims of nodes whose lease has lapsed, and closes their connections on record.
pub(crate) struct Fencing(pub(crate) Arc<Shared>);

#[async_trait]
impl Upkeep for Fencing {
    fn name(&self) -> &'static str {
        "lapsed leases"
    }

    fn every(&self) -> Duration {
        self.0.settings.lease / 4
    }

    async fn run(&self) -> Result<()> {
        let Shared { store, settings, .. } = &*self.0;
        for fenced in store.fence_expired(&settings.node, self.0.now()).await? {
            tracing::warn!(node = %fenced.node, epoch = fenced.epoch, "a node's lease lapsed; its work was given up to others");
        }
        store.end_connections_of_dead_nodes(self.0.now(), &settings.node).await.map(drop)
    }
}

/// Ends waits for receipts that did not come, and deliveries whose time ran out.
pub(crate) struct Deadlines(pub(crate) Arc<Shared>);

#[async_trait]
impl Upkeep for Deadlines {
    fn name(&self) -> &'static str {
        "deadlines"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn run(&self) -> Result<()> {
        let shared = &self.0;
        for waiting in shared.store.overdue_receipts(shared.now(), BATCH).await? {
            let error = Error::ambiguous(ErrorKind::Timeout, "get the receipt in time")
                .with("endpoint", &waiting.delivery.endpoint)
                .with("attempt", waiting.claim.attempt)
                .advice("ask the partner whether the file arrived; it is sent again with the same identity");
            shared.finish(&overdue_attempt(waiting), Err(error)).await;
        }
        for delivery in shared.store.expire_due(&shared.settings.node, shared.now(), BATCH).await? {
            tracing::error!(%delivery, "a delivery's time ran out");
        }
        Ok(())
    }
}

/// Removes payloads past their retention: row first, bytes after.
pub(crate) struct Retention(pub(crate) Arc<Shared>);

#[async_trait]
impl Upkeep for Retention {
    fn name(&self) -> &'static str {
        "retention"
    }

    fn every(&self) -> Duration {
        self.0.settings.retention_every
    }

    async fn run(&self) -> Result<()> {
        let shared = &self.0;
        loop {
            let past = shared.store.payloads_past_retention(shared.now(), BATCH).await?;
            if past.is_empty() {
                return Ok(());
            }
            let marks = past.iter().map(|payload| {
                let event = shared
                    .event(EventKind::PayloadRemoved)
                    .detail("payload", payload.id.to_string())
                    .detail("file_name", payload.file_name.to_text())
                    .detail("sha256", payload.sha256.to_string())
                    .detail("reason", "retention");
                (payload.id, event)
            });
            let removed = shared.store.mark_payloads_removed(marks.collect(), shared.now()).await?;
            crash::point("retain.marked");
            if removed.is_empty() {
                // Something came to need them all in the meantime.
                return Ok(());
            }
            let staging = shared.staging.clone();
            blocking("remove staged bytes", move || {
                removed.iter().try_for_each(|payload| staging.remove(*payload))
            })
            .await?;
        }
    }
}

/// Sets staged bytes aside that no row refers to.
pub(crate) struct Strangers(pub(crate) Arc<Shared>);

#[async_trait]
impl Upkeep for Strangers {
    fn name(&self) -> &'static str {
        "strangers in staging"
    }

    fn every(&self) -> Duration {
        self.0.settings.retention_every
    }

    async fn run(&self) -> Result<()> {
        let shared = &self.0;
        let staging = shared.staging.clone();
        let store = shared.store.clone();
        let runtime = tokio::runtime::Handle::current();
        let before = shared.now() - STRANGER_AGE;
        let finds = blocking("sweep staging", move || {
            let mut finds = Vec::new();
            let known = |ids: &[PayloadId]| runtime.block_on(store.payloads_present(ids));
            staging.sweep(before, known, |find| {
                // What does not fit is found again by the next sweep's own look at quarantine.
                if finds.len() < MOST_FINDS {
                    finds.push(find);
                }
            })?;
            Ok(finds)
        })
        .await?;
        for find in finds {
            match find {
                Found::Stranger { id, length } => {
                    tracing::warn!(payload = %id, length, "staged bytes without a record were set aside in quarantine");
                    let event = shared.event(EventKind::PayloadQuarantined).detail("payload", id.to_string());
                    shared.record(event.detail("bytes", length)).await;
                }
                Found::Restored { id } => {
                    tracing::warn!(payload = %id, "quarantined bytes have a record after all; they are back in place")
                }
                Found::Leftover { name, length } => {
                    tracing::info!(name, length, "a part that was never finished was removed")
                }
                Found::Foreign { path } => {
                    tracing::warn!(path = %path.display(), "something in the staging directory is not Waybill's; it was left alone")
                }
            }
        }
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::transient(ErrorKind::Internal, what).caused_by(error))?
}
