//! Starting and stopping the engine.

use crate::addresses::Addresses;
use crate::context::Context;
use crate::deliver::dispatch::dispatch;
use crate::health::EndpointHealth;
use crate::history::KeptFlows;
use crate::ingest::claimed::ClaimedFiles;
use crate::ingest::pollers::Pollers;
use crate::ingest::room::StagingRoom;
use crate::ingest::settle::Settler;
use crate::ingest::unstable::UnstableFiles;
use crate::maintenance::archives::ArchiveRetention;
use crate::maintenance::deadlines::Deadlines;
use crate::maintenance::expectations::Expectations;
use crate::maintenance::fencing::Fencing;
use crate::maintenance::partial_messages::PartialMessages;
use crate::maintenance::purge::Purge;
use crate::maintenance::repeat::{Maintenance, repeat};
use crate::maintenance::retention::Retention;
use crate::maintenance::sweep::OrphanSweep;
use crate::node::lease::NodeLeaseKeeper;
use crate::operate::{self, follow_suspensions};
use crate::pace::Paces;
use crate::parts::Parts;
use crate::processing;
use crate::queues::Queues;
use crate::receive::intake::EngineIntake;
use crate::settings::EngineSettings;
use crate::trial::Trial;
use model::definition::Definitions;
use model::{EventKind, Result, Suspension};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use transport::{Intake, Services, Shutdown};

/// The running engine.
pub struct Engine {
    context: Arc<Context>,
    intake: Arc<EngineIntake>,
    unstable: Arc<UnstableFiles>,
    claimed: Arc<ClaimedFiles>,
    room: Arc<StagingRoom>,
    shutdown: watch::Sender<bool>,
    lease_shutdown: watch::Sender<bool>,
    lease_task: tokio::task::JoinHandle<()>,
}

impl Engine {
    /// Takes the node's lease and recovers what an earlier process of this node left. Starts no work yet.
    ///
    /// # Errors
    /// The database cannot be reached, or another process holds the node's lease.
    pub async fn prepare(parts: Parts, settings: EngineSettings) -> Result<Self> {
        let lease = NodeLeaseKeeper::acquire(
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
        let room = Arc::new(StagingRoom::new(parts.staging.clone()));
        let paces = Paces::new(Arc::clone(&services.clock), Arc::clone(&services.directory));
        let context = Arc::new(Context {
            store: parts.store,
            staging: parts.staging,
            local_archives: parts.local_archives,
            services,
            lease: Arc::clone(&lease),
            ids,
            transports: parts.transports.into_iter().map(|t| (t.spec().name, t)).collect(),
            health: Arc::new(EndpointHealth::default()),
            flows: KeptFlows::new(parts.history),
            suspensions: watch::Sender::default(),
            host_keys: parts.host_keys,
            addresses: Addresses::default(),
            queues: Queues::default(),
            paces,
            flow_runs: watch::Sender::default(),
            settings,
            tasks: TaskTracker::new(),
        });
        // Before any work starts: what was paused must stay paused.
        follow_suspensions(&context).await?;
        let (lease_shutdown, ended) = watch::channel(false);
        let lease_task = tokio::spawn(async move { lease.keep(ended).await });
        let (shutdown, _) = watch::channel(false);
        let intake = Arc::new(EngineIntake::new(Arc::clone(&context), shutdown.subscribe()));
        let (unstable, claimed) = (Arc::default(), Arc::default());
        Ok(Self { context, intake, unstable, claimed, room, shutdown, lease_shutdown, lease_task })
    }

    /// The services for transports and listeners.
    #[must_use]
    pub fn services(&self) -> Services {
        self.context.services.clone()
    }

    /// The interface for listeners that receive messages.
    #[must_use]
    pub fn intake(&self) -> Arc<dyn Intake> {
        Arc::clone(&self.intake) as Arc<dyn Intake>
    }

    /// The health of the endpoints, for pages and metrics.
    #[must_use]
    pub fn health(&self) -> Arc<EndpointHealth> {
        Arc::clone(&self.context.health)
    }

    /// What people have paused or set offline, as this node knows it, for pages.
    pub fn suspensions(&self) -> impl Fn() -> Vec<Suspension> + Send + Sync + 'static {
        let context = Arc::clone(&self.context);
        move || context.suspensions().all()
    }

    /// Tests endpoints and makes dry runs for a person.
    #[must_use]
    pub fn trial(&self) -> Trial {
        Trial {
            store: self.context.store.clone(),
            transports: self.context.transports.values().cloned().collect(),
            services: self.context.services.clone(),
            room: Arc::clone(&self.room),
        }
    }

    /// Files that are not read because their modification time keeps changing, for pages.
    #[must_use]
    pub fn unstable(&self) -> Arc<UnstableFiles> {
        Arc::clone(&self.unstable)
    }

    /// Whether this node has its lease. Without a lease it accepts and delivers nothing.
    pub fn may_act(&self) -> impl Fn() -> Result<()> + Send + Sync + 'static {
        let lease = Arc::clone(&self.context.lease);
        move || lease.may_act(lease.current().epoch)
    }

    /// Becomes true when the engine stops; for listeners that must stop with it.
    #[must_use]
    pub fn shutdown_signal(&self) -> Shutdown {
        self.shutdown.subscribe()
    }

    /// Starts the work: deliveries, settling, maintenance, and the flows' pollers, which follow each new revision of
    /// the definitions.
    ///
    /// # Errors
    /// The start could not be recorded, or what the database knows of endpoints could not be read.
    pub async fn start(
        &self,
        definitions: watch::Receiver<Arc<Definitions>>,
        maintenance: Vec<Arc<dyn Maintenance>>,
    ) -> Result<()> {
        let context = &self.context;
        let event = context.event(EventKind::NodeStarted).detail("version", env!("CARGO_PKG_VERSION"));
        context.services.audit.record(vec![event]).await?;
        context.restore_health().await?;
        let mut all: Vec<Arc<dyn Maintenance>> = vec![
            Arc::new(Fencing(Arc::clone(context))),
            Arc::new(Deadlines(Arc::clone(context))),
            Arc::new(Expectations::new(Arc::clone(context))),
            Arc::new(Retention(Arc::clone(context))),
            Arc::new(ArchiveRetention::new(Arc::clone(context))),
            Arc::new(OrphanSweep(Arc::clone(context))),
            Arc::new(Purge(Arc::clone(context))),
            Arc::new(PartialMessages(Arc::clone(context))),
        ];
        all.extend(maintenance);
        for maintenance in all {
            context.tasks.spawn(repeat(Arc::clone(context), maintenance, self.shutdown.subscribe()));
        }
        context.tasks.spawn(operate::follow(Arc::clone(context), self.shutdown.subscribe()));
        context.tasks.spawn(processing::dispatch::dispatch(Arc::clone(context), self.shutdown.subscribe()));
        context.tasks.spawn(dispatch(Arc::clone(context), self.shutdown.subscribe()));
        let settler = Arc::new(Settler::new(Arc::clone(context)));
        context.tasks.spawn(Arc::clone(&settler).settle_due(self.shutdown.subscribe()));
        let (claimed, room) = (Arc::clone(&self.claimed), Arc::clone(&self.room));
        let pollers = Pollers::new(Arc::clone(context), settler, self.unstable(), claimed, room);
        context.tasks.spawn(pollers.run(definitions, self.shutdown.subscribe()));
        Ok(())
    }

    /// Stops in order: starts no new work, gives running work `patience` to finish, then releases the lease.
    pub async fn stop(self, patience: Duration) {
        self.shutdown.send_replace(true);
        let tasks = &self.context.tasks;
        tasks.close();
        if tokio::time::timeout(patience, tasks.wait()).await.is_err() {
            tracing::warn!("running work did not finish in time; it continues at the next start");
        }
        let event = self.context.event(EventKind::NodeStopped);
        self.context.record_event(event).await;
        self.lease_shutdown.send_replace(true);
        if let Err(error) = self.lease_task.await {
            tracing::warn!(%error, "the renewal of the lease did not stop cleanly");
        }
        if let Err(error) = self.context.lease.release().await {
            tracing::warn!(error = %error.chain(), "the node's lease was not released; it expires by itself");
        }
    }
}
