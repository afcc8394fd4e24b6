//! Starting the engine, following the definitions, ending in order.

use crate::adapters::{Ids, StoreAudit};
use crate::dispatcher::dispatch;
use crate::endpoints::EndpointHealth;
use crate::intake::EngineIntake;
use crate::lease::LeaseKeeper;
use crate::poller::Poller;
use crate::shared::Shared;
use crate::staging_area::Area;
use crate::unstable::UnstableFiles;
pub use crate::upkeep::Upkeep;
use crate::upkeep::{Deadlines, Fencing, Forgetting, Retention, Strangers, repeat};
use model::definition::{Definitions, FlowSource};
use model::{EventKind, NodeName, Result};
use staging::Staging;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::Store;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use transport::{BufferBudget, Clock, Directory, Intake, Random, Services, Shutdown, Transport};
use uuid::Uuid;

/// How the engine works; from the process settings.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// This node.
    pub node: NodeName,
    /// Length of the node's lease.
    pub lease: Duration,
    /// Which installation of the node this is; a lock proves that no other process of it lives.
    pub instance: Uuid,
    /// Offers of one poll staged at once.
    pub stagings_at_once: usize,
    /// Deliveries under way at once.
    pub deliveries_at_once: usize,
    /// Deliveries under way at once to one endpoint.
    pub deliveries_per_endpoint: usize,
    /// Bytes of all buffers.
    pub buffers: u64,
    /// Time between two looks for payloads past their retention, and for strangers in staging.
    pub retention_every: Duration,
}

/// The running engine.
pub struct Engine {
    shared: Arc<Shared>,
    shutdown: watch::Sender<bool>,
    lease_shutdown: watch::Sender<bool>,
    lease_task: tokio::task::JoinHandle<()>,
}

/// What the engine is made of.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// Staged payloads.
    pub staging: Staging,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Definitions, partners and keys.
    pub directory: Arc<dyn Directory>,
    /// Every transport there is.
    pub transports: Vec<Arc<dyn Transport>>,
}

impl Parts {
    fn ids(&self) -> Ids {
        Ids { clock: Arc::clone(&self.clock), random: Arc::clone(&self.random) }
    }

    /// What transports are lent, for a node of this name with so many bytes of buffers: also for a
    /// command that only tries an endpoint and moves nothing.
    #[must_use]
    pub fn services(&self, node: &NodeName, buffers: u64) -> Services {
        Services {
            node: node.clone(),
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            directory: Arc::clone(&self.directory),
            audit: Arc::new(StoreAudit(self.store.clone())),
            budget: BufferBudget::new(buffers),
            staging: Arc::new(Area { staging: self.staging.clone(), ids: self.ids() }),
        }
    }
}

impl Engine {
    /// Takes the node's lease and recovers what an earlier process of it left. Nothing moves yet.
    ///
    /// # Errors
    /// The database cannot be reached, or another process holds the node's lease.
    pub async fn prepare(parts: Parts, settings: EngineSettings) -> Result<Self> {
        let lease = LeaseKeeper::acquire(
            parts.store.clone(),
            Arc::clone(&parts.clock),
            settings.node.clone(),
            settings.lease,
            settings.instance,
        )
        .await?;
        let lease = Arc::new(lease);
        let ids = parts.ids();
        let services = parts.services(&settings.node, settings.buffers);
        let shared = Arc::new(Shared {
            store: parts.store,
            staging: parts.staging,
            services,
            lease: Arc::clone(&lease),
            ids,
            transports: parts.transports.into_iter().map(|t| (t.name(), t)).collect(),
            health: Arc::new(EndpointHealth::default()),
            unstable: Arc::default(),
            settings,
            receiving: Mutex::default(),
            settling: Mutex::default(),
            in_hand: Mutex::default(),
            kept: Mutex::default(),
            tasks: TaskTracker::new(),
        });
        let (lease_shutdown, ended) = watch::channel(false);
        let lease_task = tokio::spawn(async move { lease.keep(ended).await });
        let (shutdown, _) = watch::channel(false);
        Ok(Self { shared, shutdown, lease_shutdown, lease_task })
    }

    /// What transports and listeners are lent.
    #[must_use]
    pub fn services(&self) -> Services {
        self.shared.services.clone()
    }

    /// The engine's side of receptions.
    #[must_use]
    pub fn intake(&self) -> Arc<dyn Intake> {
        Arc::new(EngineIntake(Arc::clone(&self.shared)))
    }

    /// Health of the endpoints, for pages and metrics.
    #[must_use]
    pub fn health(&self) -> Arc<EndpointHealth> {
        Arc::clone(&self.shared.health)
    }

    /// Files that are not taken because their time moves, for pages.
    #[must_use]
    pub fn unstable(&self) -> Arc<UnstableFiles> {
        Arc::clone(&self.shared.unstable)
    }

    /// Tells, whenever it is asked, whether this node has its lease: without it, nothing is taken in and
    /// nothing delivered.
    pub fn may_act(&self) -> impl Fn() -> Result<()> + Send + Sync + 'static {
        let lease = Arc::clone(&self.shared.lease);
        move || lease.may_act(lease.current().epoch)
    }

    /// Becomes true when the engine ends; for listeners that live with it.
    #[must_use]
    pub fn shutdown_signal(&self) -> Shutdown {
        self.shutdown.subscribe()
    }

    /// Lets things move: deliveries, settling, upkeep, and the flows' pollers, which follow each new
    /// revision of the definitions.
    ///
    /// # Errors
    /// The start could not be recorded.
    pub async fn start(
        &self,
        definitions: watch::Receiver<Arc<Definitions>>,
        chores: Vec<Arc<dyn Upkeep>>,
    ) -> Result<()> {
        let shared = &self.shared;
        let event = shared.event(EventKind::NodeStarted).detail("version", env!("CARGO_PKG_VERSION"));
        shared.services.audit.record(vec![event]).await?;
        let mut all: Vec<Arc<dyn Upkeep>> = vec![
            Arc::new(Fencing(Arc::clone(shared))),
            Arc::new(Deadlines(Arc::clone(shared))),
            Arc::new(Retention(Arc::clone(shared))),
            Arc::new(Strangers(Arc::clone(shared))),
            Arc::new(Forgetting(Arc::clone(shared))),
        ];
        all.extend(chores);
        for chore in all {
            shared.tasks.spawn(repeat(Arc::clone(shared), chore, self.shutdown.subscribe()));
        }
        shared.tasks.spawn(dispatch(Arc::clone(shared), self.shutdown.subscribe()));
        shared.tasks.spawn(Arc::clone(shared).settle_due(self.shutdown.subscribe()));
        shared.tasks.spawn(follow(Arc::clone(shared), definitions, self.shutdown.subscribe()));
        Ok(())
    }

    /// Ends in order: no new work, what is under way is let end for `patience`, then the lease is
    /// given back.
    pub async fn stop(self, patience: Duration) {
        self.shutdown.send_replace(true);
        let tasks = &self.shared.tasks;
        tasks.close();
        if tokio::time::timeout(patience, tasks.wait()).await.is_err() {
            tracing::warn!("work under way did not end in time; it is taken up again at the next start");
        }
        let event = self.shared.event(EventKind::NodeStopped);
        self.shared.record(event).await;
        self.lease_shutdown.send_replace(true);
        if let Err(error) = self.lease_task.await {
            tracing::warn!(%error, "the lease's keeper did not end in order");
        }
        if let Err(error) = self.shared.lease.release().await {
            tracing::warn!(error = %error.chain(), "the node's lease was not given back; it lapses by itself");
        }
    }
}

/// Runs one poller for each enabled polled flow; a new revision ends them and starts the new ones.
async fn follow(
    shared: Arc<Shared>,
    mut definitions: watch::Receiver<Arc<Definitions>>,
    mut shutdown: Shutdown,
) {
    loop {
        let current = Arc::clone(&definitions.borrow_and_update());
        let (stop, stopped) = watch::channel(false);
        let pollers = TaskTracker::new();
        // No poller runs now: what is empty stays so, and flows that are gone are forgotten.
        shared.in_hand().retain(|_, in_hand| !in_hand.is_empty());
        let polled =
            current.flows.values().filter(|flow| flow.enabled).filter_map(|flow| match &flow.source {
                FlowSource::Poll(poll) => Some((flow, poll)),
                FlowSource::Receive(_) => None,
            });
        let ours = polled.filter(|(_, poll)| {
            current.endpoints.get(&poll.endpoint).is_none_or(|endpoint| shared.is_here(endpoint))
        });
        let ours: Vec<_> = ours.collect();
        for (flow, poll) in &ours {
            let poller = Poller::new(Arc::clone(&shared), Arc::clone(flow), (*poll).clone(), ours.len());
            pollers.spawn(poller.run(stopped.clone()));
        }
        let ended = tokio::select! {
            changed = definitions.changed() => changed.is_err(),
            _ = shutdown.wait_for(|ended| *ended) => true,
        };
        stop.send_replace(true);
        pollers.close();
        pollers.wait().await;
        if ended {
            return;
        }
        shared.health.end_rests(shared.now());
    }
}
