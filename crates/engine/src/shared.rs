//! What every part of the engine holds.

use crate::adapters::Ids;
use crate::endpoints::EndpointHealth;
use crate::intake::Asked;
use crate::kept::KeptReading;
use crate::lease::LeaseKeeper;
use crate::running::EngineSettings;
use crate::unstable::UnstableFiles;
use model::definition::{Definitions, Endpoint};
use model::{AuditEvent, Error, ErrorKind, EventKind, OfferId, Result, Retry, Timestamp};
use staging::Staging;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::Store;
use tokio_util::task::TaskTracker;
use transport::{Services, Transport};

/// Between two tries to record what has happened, while the database is away.
const RECORD_AGAIN: Duration = Duration::from_secs(2);

pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) staging: Staging,
    pub(crate) services: Services,
    pub(crate) lease: Arc<LeaseKeeper>,
    pub(crate) ids: Ids,
    pub(crate) transports: BTreeMap<&'static str, Arc<dyn Transport>>,
    pub(crate) health: Arc<EndpointHealth>,
    pub(crate) unstable: Arc<UnstableFiles>,
    pub(crate) settings: EngineSettings,
    pub(crate) receiving: Mutex<HashMap<String, Asked>>,
    /// Offers whose source this node is settling.
    pub(crate) settling: Mutex<HashSet<OfferId>>,
    /// By flow, what this node has staged and not recorded yet.
    pub(crate) in_hand: Mutex<HashMap<String, TaskTracker>>,
    /// By the offer's key, readings of files that may be gone when they are read again.
    pub(crate) kept: Mutex<HashMap<String, KeptReading>>,
    /// All work of the engine: its end is waited for.
    pub(crate) tasks: TaskTracker,
}

impl Shared {
    pub(crate) fn now(&self) -> Timestamp {
        self.services.clock.now()
    }

    pub(crate) fn event(&self, kind: EventKind) -> AuditEvent {
        self.services.event(kind)
    }

    pub(crate) fn definitions(&self) -> Arc<Definitions> {
        self.services.directory.definitions()
    }

    /// Writes an event that is no part of a state change. A failure is logged with the event itself:
    /// it must not stop the work, and must not vanish.
    pub(crate) async fn record(&self, event: AuditEvent) {
        let kind = event.kind;
        let detail = serde_json::Value::Object(event.detail.clone());
        if let Err(error) = self.services.audit.record(vec![event]).await {
            tracing::error!(%kind, %detail, error = %error.chain(), "an audit event could not be written");
        }
    }

    /// An endpoint in force, and the transport that speaks to it.
    pub(crate) fn endpoint(&self, name: &str) -> Result<(Arc<Endpoint>, Arc<dyn Transport>)> {
        let definitions = self.definitions();
        let endpoint = definitions.endpoints.get(name).ok_or_else(|| {
            Error::permanent(ErrorKind::ConfigInvalid, "find an endpoint")
                .with("endpoint", name)
                .advice("it is no longer defined; define it again, then retry")
        })?;
        let transport = self.transports.get(endpoint.transport.as_str()).ok_or_else(|| {
            Error::permanent(ErrorKind::ConfigInvalid, "find an endpoint's transport")
                .with("endpoint", name)
                .with("transport", &endpoint.transport)
        })?;
        Ok((Arc::clone(endpoint), Arc::clone(transport)))
    }

    /// Endpoints that are another node's to use.
    pub(crate) fn elsewhere(&self) -> Vec<String> {
        let definitions = self.definitions();
        let pinned = definitions.endpoints.values().filter(|endpoint| !self.is_here(endpoint));
        pinned.map(|endpoint| endpoint.name.clone()).collect()
    }

    /// Whether an endpoint is this node's to use.
    pub(crate) fn is_here(&self, endpoint: &Endpoint) -> bool {
        endpoint.node.as_deref().is_none_or(|node| node == self.settings.node.as_str())
    }

    /// Records what has happened, again and again while the database is away: forgetting it would
    /// repeat it. Gives up with the epoch, when it is others' to find out, and on errors that no
    /// repetition mends.
    pub(crate) async fn insist<T, F: Future<Output = Result<T>>>(
        &self,
        what: &'static str,
        epoch: i64,
        mut write: impl FnMut() -> F,
    ) -> Result<T> {
        loop {
            match write().await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.retry() == Retry::Permanent || !self.lease.holds(epoch) => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(what, error = %error.chain(), "could not be recorded yet; it is tried again");
                }
            }
            tokio::select! {
                () = self.services.clock.sleep(RECORD_AGAIN) => {}
                () = self.lease.lost(epoch) => {}
            }
        }
    }

    /// The same for what needs not be repeated when it is certain that it did not happen.
    pub(crate) async fn insist_if_ambiguous<T, F: Future<Output = Result<T>>>(
        &self,
        what: &'static str,
        epoch: i64,
        mut write: impl FnMut() -> F,
    ) -> Result<T> {
        match write().await {
            Err(error) if error.retry() == Retry::Ambiguous => {
                tracing::warn!(what, error = %error.chain(), "it is not known whether it was recorded; asking again");
            }
            answer => return answer,
        }
        // From now on an error says nothing of the first try.
        let answer = self.insist(what, epoch, write).await;
        answer.map_err(|error| error.retry_as(Retry::Ambiguous))
    }

    /// Keys of the messages that this node is receiving.
    pub(crate) fn receiving(&self) -> MutexGuard<'_, HashMap<String, Asked>> {
        // A panic elsewhere leaves at worst a key in it, whose sender is asked to come again.
        self.receiving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offers whose source this node is settling.
    pub(crate) fn settling(&self) -> MutexGuard<'_, HashSet<OfferId>> {
        // Whoever is in it takes it out by a guard of its own, also when it panics.
        self.settling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By flow, what this node has staged and not recorded yet.
    pub(crate) fn in_hand(&self) -> MutexGuard<'_, HashMap<String, TaskTracker>> {
        // A map of trackers is whole whatever panics.
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Readings of files that may be gone when they are read again, by the offer's key.
    pub(crate) fn kept(&self) -> MutexGuard<'_, HashMap<String, KeptReading>> {
        // A map of plain values is whole whatever panics.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number from 0 to 1 that spreads retries.
    pub(crate) fn jitter(&self) -> f64 {
        self.services.random.unit()
    }
}
