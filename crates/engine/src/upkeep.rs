//! What time asks for: lapsed leases, late receipts, expired deliveries, retention, strangers in staging.

use crate::attempt::overdue_attempt;
use crate::crash;
use crate::guard::guarded;
use crate::recording::DEFAULT_RETENTION;
use crate::shared::Shared;
use async_trait::async_trait;
use model::definition::FlowSource;
use model::{Error, ErrorKind, EventKind, PayloadId, Result};
use staging::{Found, Rows, Staging};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use transport::Shutdown;

/// Rows looked at in one round.
const BATCH: u32 = 500;
/// Finds of a sweep that wait to be told.
const FINDS: usize = 100;
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

/// Gives up the claims of nodes whose lease has lapsed, and loses sight of their connections on record.
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
            tracing::warn!(node = %fenced.node, epoch = fenced.epoch, "a node's lease lapsed; its claims are released to other nodes");
        }
        store.lose_connections_of_lapsed_nodes(self.0.now(), &settings.node).await.map(drop)
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
        // One that cannot be unlinked keeps no other from going; the sweep tries it again.
        let mut failed = Ok(());
        loop {
            let past = shared.store.payloads_past_retention(shared.now(), BATCH).await?;
            if past.is_empty() {
                return failed;
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
                return failed;
            }
            let staging = shared.staging.clone();
            let unlinked = blocking("remove staged bytes", move || remove_all(&staging, removed)).await;
            failed = failed.and(unlinked);
        }
    }
}

/// Removes staged bytes, each whatever becomes of the others; the first error.
pub(crate) fn remove_all(staging: &Staging, payloads: impl IntoIterator<Item = PayloadId>) -> Result<()> {
    payloads.into_iter().map(|payload| staging.remove(payload)).fold(Ok(()), Result::and)
}

/// Forgets what nobody can ask for any more: answers to messages that came long ago, logins that are over.
pub(crate) struct Forgetting(pub(crate) Arc<Shared>);

#[async_trait]
impl Upkeep for Forgetting {
    fn name(&self) -> &'static str {
        "answers and logins of the past"
    }

    fn every(&self) -> Duration {
        self.0.settings.retention_every
    }

    async fn run(&self) -> Result<()> {
        let Shared { store, .. } = &*self.0;
        // A message that is repeated gets its answer again for as long as what came of it is kept.
        let definitions = self.0.definitions();
        let receiving =
            definitions.flows.values().filter(|flow| matches!(flow.source, FlowSource::Receive(_)));
        let kept = receiving.map(|flow| flow.retention).fold(DEFAULT_RETENTION, Duration::max);
        store.purge_intake_keys(self.0.now() - kept).await?;
        store.purge_logins(self.0.now()).await
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
        // The sweep waits while what it found is told: each find has its line, however many there are.
        let (tell, mut told) = mpsc::channel(FINDS);
        let sweep = tokio::spawn(blocking("sweep staging", move || {
            let known = |ids: &[PayloadId]| {
                let rows = runtime.block_on(store.payload_rows(ids))?;
                Ok(Rows { needed: rows.present, removed: rows.removed })
            };
            // Nobody listens any more when the process ends; then the log is all there is.
            let tell = |find| {
                if let Err(unheard) = tell.blocking_send(find) {
                    tracing::warn!(find = ?unheard.0, "found in staging");
                }
            };
            staging.sweep(before, known, tell).map(drop)
        }));
        while let Some(find) = told.recv().await {
            shared.tell_find(find).await;
        }
        sweep
            .await
            .map_err(|error| Error::transient(ErrorKind::Internal, "sweep staging").caused_by(error))?
    }
}

impl Shared {
    async fn tell_find(&self, find: Found) {
        match find {
            Found::Stranger { id, length } => {
                tracing::warn!(payload = %id, length, "staged bytes without a record were set aside in quarantine");
                let event = self.event(EventKind::PayloadQuarantined).detail("payload", id.to_string());
                self.record(event.detail("bytes", length)).await;
            }
            Found::Restored { id } => {
                tracing::warn!(payload = %id, "quarantined bytes have a record after all; they are back in place")
            }
            Found::Expired { id } => {
                tracing::info!(payload = %id, "staged bytes past their retention, which had not been removed, were removed")
            }
            Found::Stuck { path, cause } => {
                tracing::warn!(path = %path.display(), cause, "staged bytes past their retention could not be removed; it is tried again")
            }
            Found::Leftover { name, length } => {
                tracing::info!(name, length, "a part that was never finished was removed")
            }
            Found::Foreign { path } => {
                tracing::warn!(path = %path.display(), "something in the staging directory is not Waybill's; it was left alone")
            }
        }
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
