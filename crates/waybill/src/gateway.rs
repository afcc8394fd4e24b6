//! One whole gateway, put together from its rooms.

use crate::certificate_ends::CertificateEnds;
use crate::certificate_exchange::CertificateExchange;
use crate::descriptors;
use crate::directory::InForce;
use crate::journal_log::JournalLog;
use crate::listeners::Listeners;
use crate::maintenance::{Months, Sealing};
use crate::process::{ClockAndRandom, StateLock};
use crate::readiness::Readiness;
use crate::revisions::Revisions;
use crate::seal_copies::SealCopies;
use crate::servers::{Certificates, Servers};
use crate::stale_journals;
use crate::timestamps::Timestamps;
use crate::transports::Transports;
use config::settings::ProxyHeader;
use config::{Catalogue, Settings};
use control::Control;
use engine::{Engine, EngineSettings, KnownHostList, Maintenance, Parts, StagedPayloads};
use model::definition::Definitions;
use model::{Error, ErrorKind, Result};
use net::http::{ForwardedHeader, HttpServers, ServerLimits, TrustedProxies};
use net::{EgressRules, Net, NetSettings};
use staging::{RealDisk, Staging};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::{Journal, JournalSettings, Sealer, Store, StoreSettings};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// How long work under way may take at an orderly end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway that is up but moves nothing yet: its database, staging, network and lease.
pub(crate) struct Gateway {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    pub(crate) staging: Staging,
    pub(crate) journal: Arc<Journal>,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) copies: Arc<SealCopies>,
    pub(crate) timestamps: Option<Arc<Timestamps>>,
    pub(crate) engine: Engine,
    pub(crate) servers: HttpServers,
    certificates: Arc<Certificates>,
    pub(crate) certificate_ends: Arc<CertificateEnds>,
    pub(crate) certificate_exchange: Arc<CertificateExchange>,
    pub(crate) transports: Transports,
    pub(crate) ambient: ClockAndRandom,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) revisions: Arc<Revisions>,
    net: Net,
    /// What ends with the journal: after everything else.
    shipping: TaskTracker,
    stop_shipping: watch::Sender<bool>,
    listeners: TaskTracker,
    _lock: StateLock,
}

/// The database, opened for a gateway or a command.
///
/// # Errors
/// It cannot be reached, or another process uses its file.
pub(crate) async fn open_store(settings: &Settings, ambient: &ClockAndRandom) -> Result<Store> {
    let store_settings = StoreSettings {
        text_search_indexes: settings.database.text_search_indexes,
        ..StoreSettings::new(settings.database.url.reveal().as_str())
    };
    let (store, warnings) = Store::open(&store_settings, ambient.id_fn()).await?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(store)
}

/// The file of an SQLite database that nothing has made yet.
pub(crate) fn missing_database(settings: &Settings) -> Option<&Path> {
    let url = settings.database.url.reveal();
    url.strip_prefix("sqlite://").map(Path::new).filter(|path| !path.exists())
}

/// The same for a command beside a gateway that may be running.
///
/// # Errors
/// It cannot be reached, or no gateway ever made it.
pub(crate) async fn open_command_session(settings: &Settings, ambient: &ClockAndRandom) -> Result<Store> {
    open_beside(settings, ambient, false).await
}

/// The same; `make_tables`: in a PostgreSQL database that no gateway has used yet as well.
///
/// # Errors
/// It cannot be reached.
pub(crate) async fn open_beside(
    settings: &Settings,
    ambient: &ClockAndRandom,
    make_tables: bool,
) -> Result<Store> {
    let url = settings.database.url.reveal();
    if let Some(path) = missing_database(settings) {
        return Err(Error::permanent(ErrorKind::NotFound, "open the database")
            .with("path", path.display())
            .advice("name the gateway's settings with --config, or start `waybill serve` first"));
    }
    let beside = StoreSettings {
        beside_gateway: true,
        make_tables,
        readers: 2,
        writers: 1,
        // Who asks at the command line waits for the answer, and can end it.
        search_within: Duration::from_secs(300),
        text_search_indexes: settings.database.text_search_indexes,
        ..StoreSettings::new(url.as_str())
    };
    Store::open(&beside, ambient.id_fn()).await.map(|(store, _)| store)
}

/// What may be done to the gateway of a database.
pub(crate) fn control(
    settings: &Settings,
    store: &Store,
    catalogue: Catalogue,
    ambient: &ClockAndRandom,
) -> Control {
    let random = Arc::clone(&ambient.random);
    Control::new(control::Parts {
        store: store.clone(),
        settings: settings.clone(),
        catalogue,
        now: ambient.now_fn(),
        ids: ambient.id_fn(),
        random: Arc::new(move |bytes: &mut [u8]| random.fill(bytes)),
    })
}

impl Gateway {
    /// Opens every room and takes the node's lease.
    ///
    /// # Errors
    /// Whatever keeps a room from opening; nothing moves then.
    pub(crate) async fn open(settings: Settings) -> Result<Self> {
        let ambient = ClockAndRandom::default();
        let lock = StateLock::take(&settings.state_directory)?;
        let instance =
            store::load_or_create_instance(&settings.state_directory.join("instance"), Uuid::new_v4)?;
        let store = open_store(&settings, &ambient).await?;
        store.ensure_partitions(ambient.clock.now()).await?;
        let staging = open_staging(&settings, &store).await?;
        let sealer = Arc::new(open_sealer(&settings, &ambient)?);
        let journal_settings = JournalSettings::new(settings.state_directory.join("journal"));
        let journal = Journal::open(journal_settings, settings.node.clone(), ambient.clock.now())?;
        let journal = Arc::new(journal);
        stale_journals::ship(&settings.state_directory, &store, &settings.node, &ambient).await;
        let log = JournalLog { journal: Arc::clone(&journal), ids: Arc::clone(&ambient.random) };
        let net = Net::new(net_settings(&settings, &ambient), Arc::new(log));
        let copies = Arc::new(SealCopies::new(&settings, &net, &ambient));
        let timestamps = Timestamps::new(&settings, &net, &store, &ambient)?.map(Arc::new);
        let servers = HttpServers::behind(&net, server_limits(&settings), trusted_proxies(&settings));
        let https = Servers::new(&settings, &ambient)?;
        let transports = Transports::new(&settings, &net, &servers, https.listen);
        let (definitions, in_force) = watch::channel(Arc::new(Definitions::default()));
        let control = control(&settings, &store, transports.catalogue(), &ambient);
        let parts = Parts {
            store: store.clone(),
            staging: staging.clone(),
            local_archives: Arc::clone(&transports.local_archives),
            clock: Arc::clone(&ambient.clock),
            random: Arc::clone(&ambient.random),
            directory: Arc::new(InForce(in_force)),
            host_keys: Arc::new(KnownHostList::load(store.clone()).await?),
            history: Arc::new(control.clone()),
            transports: transports.all.clone(),
        };
        for warning in control.check_master_keys().await? {
            tracing::warn!("{warning}");
        }
        let engine = Engine::prepare(parts, engine_settings(&settings, instance)).await?;
        let readiness = Arc::<Readiness>::default();
        let revisions = Arc::new(Revisions::new(
            control,
            store.clone(),
            settings.node.clone(),
            ambient.clone(),
            Arc::clone(&readiness),
            definitions,
        ));
        let certificate_ends = Arc::new(CertificateEnds::new(Arc::clone(&revisions), ambient.clone()));
        let payloads = StagedPayloads::new(staging.clone());
        let certificate_exchange =
            Arc::new(CertificateExchange::new(Arc::clone(&revisions), payloads, ambient.clone()));
        let (stop_shipping, stopped) = watch::channel(false);
        let shipping = TaskTracker::new();
        shipping.spawn(ship(Arc::clone(&journal), store.clone(), ambient.clone(), stopped));
        Ok(Self {
            settings,
            store,
            staging,
            journal,
            sealer,
            copies,
            timestamps,
            engine,
            servers,
            certificates: https.certificates,
            certificate_ends,
            certificate_exchange,
            transports,
            ambient,
            readiness,
            revisions,
            net,
            shipping,
            stop_shipping,
            listeners: TaskTracker::new(),
            _lock: lock,
        })
    }

    /// Lets things move: listeners first, so that partners are answered, then the flows.
    ///
    /// # Errors
    /// The start could not be recorded. A listener that cannot be bound is down and says so; the
    /// process lives.
    pub(crate) async fn start(&self) -> Result<()> {
        let definitions = self.revisions.in_force();
        let (services, readiness) = (self.engine.services(), Arc::clone(&self.readiness));
        let mut listeners = Listeners::new(&self.transports.all, services, self.engine.intake(), readiness);
        listeners.start(&definitions).await;
        let mut maintenance: Vec<Arc<dyn Maintenance>> = vec![
            Arc::new(Sealing {
                store: self.store.clone(),
                sealer: Arc::clone(&self.sealer),
                ambient: self.ambient.clone(),
                every: self.settings.audit.seal_every,
                copies: Arc::clone(&self.copies),
            }),
            Arc::new(Months {
                store: self.store.clone(),
                sealer: Arc::clone(&self.sealer),
                ambient: self.ambient.clone(),
                node: self.settings.node.clone(),
                retention: self.settings.audit.retention_months,
            }),
        ];
        maintenance.push(Arc::clone(&self.certificates) as Arc<dyn Maintenance>);
        maintenance.push(Arc::clone(&self.certificate_ends) as Arc<dyn Maintenance>);
        maintenance.push(Arc::clone(&self.certificate_exchange) as Arc<dyn Maintenance>);
        maintenance.extend(self.timestamps.iter().map(|stamps| Arc::clone(stamps) as Arc<dyn Maintenance>));
        self.engine.start(self.revisions.subscribe(), maintenance).await?;
        let (revisions, ended) = (Arc::clone(&self.revisions), self.engine.shutdown_signal());
        self.listeners.spawn(async move { revisions.follow(ended).await });
        let followed =
            listeners.follow(definitions, self.revisions.subscribe(), self.engine.shutdown_signal());
        self.listeners.spawn(followed);
        self.readiness.started();
        Ok(())
    }

    /// The address at which a listener receives AS2 messages.
    pub(crate) fn as2_address(&self, listener: &str) -> Option<SocketAddr> {
        self.transports.as2.bound(listener)
    }

    /// Ends in order: what is under way ends, connections are closed and on record, the audit trail is
    /// sealed up to here.
    pub(crate) async fn stop(self) {
        self.engine.stop(PATIENCE).await;
        self.listeners.close();
        self.listeners.wait().await;
        let cut = self.servers.shutdown(Duration::from_secs(5)).await;
        let open = self.net.drain(Duration::from_secs(5)).await;
        if cut + open > 0 {
            tracing::warn!(cut, open, "open connections were closed when the gateway stopped");
        }
        self.stop_shipping.send_replace(true);
        self.shipping.close();
        self.shipping.wait().await;
        let now = self.ambient.clock.now();
        if let Err(error) = self.journal.ship_pending(&self.store, now).await {
            tracing::warn!(error = %error.chain(), "connection records stay in the journal and are stored at the next start");
        }
        if let Err(error) = self.sealer.seal(&self.store, now).await {
            tracing::warn!(error = %error.chain(), "the last events are sealed at the next start");
        }
        self.store.close().await;
    }
}

async fn ship(
    journal: Arc<Journal>,
    store: Store,
    ambient: ClockAndRandom,
    mut stopped: watch::Receiver<bool>,
) {
    let stop = async move {
        // A closed channel is an end as well.
        drop(stopped.wait_for(|stopped| *stopped).await);
    };
    journal.ship(&store, || ambient.clock.now(), stop).await;
}

/// The node's sealing: its key and its note of the seals, and the other nodes' keys, which lie in the
/// directory that all share.
///
/// # Errors
/// The key cannot be used, or staging not written.
pub(crate) fn open_sealer(settings: &Settings, ambient: &ClockAndRandom) -> Result<Sealer> {
    let shared = Some(settings.staging.directory.as_path());
    Sealer::open(&settings.state_directory, shared, settings.node.clone(), ambient.id_fn())
}

/// Staging; made where there is none, unless the database knows payloads that should be in it.
///
/// # Errors
/// Its disk is not mounted, or cannot be used.
pub(crate) async fn open_staging(settings: &Settings, store: &Store) -> Result<Staging> {
    let root = settings.staging.directory.clone();
    if !Staging::is_made(&root, &RealDisk)?
        && let Some(payload) = store.newest_payload().await?
    {
        return Err(Error::permanent(ErrorKind::NotFound, "find staging")
            .with("directory", root.display())
            .with("a payload in the database", payload)
            .advice(format!(
                "the database lists staged files, but this directory has none: mount the staging disk, or \
                set staging.directory to the directory that was used before. Only if the staged files are \
                permanently lost, create {} yourself; their open deliveries will then fail",
                root.join("payloads").display()
            )));
    }
    let staging_settings =
        staging::Settings { min_free: settings.staging.min_free, ..staging::Settings::default() };
    tokio::task::spawn_blocking(move || Staging::open(&root, Arc::new(RealDisk), staging_settings))
        .await
        .map_err(|error| Error::transient(ErrorKind::Internal, "open staging").caused_by(error))?
}

fn server_limits(settings: &Settings) -> ServerLimits {
    ServerLimits {
        connections: descriptors::connections_each(descriptors::raise(), settings),
        connections_per_client: settings.limits.connections_per_client,
        ..ServerLimits::default()
    }
}

fn trusted_proxies(settings: &Settings) -> TrustedProxies {
    let listen = &settings.listen;
    TrustedProxies {
        networks: networks(&listen.trusted_proxies),
        header: match listen.proxy_header {
            ProxyHeader::Either => ForwardedHeader::Either,
            ProxyHeader::XForwardedFor => ForwardedHeader::XForwardedFor,
            ProxyHeader::Forwarded => ForwardedHeader::Forwarded,
        },
    }
}

fn networks(networks: &[config::settings::Network]) -> Vec<net::Network> {
    networks.iter().filter_map(|network| network.to_string().parse().ok()).collect()
}

pub(crate) fn net_settings(settings: &Settings, ambient: &ClockAndRandom) -> NetSettings {
    let mut net = NetSettings::new(settings.node.clone(), ambient.now_fn(), ambient.id_fn());
    net.egress = EgressRules {
        allow_loopback: settings.egress.allow_loopback,
        allow: networks(&settings.egress.allow),
    };
    net.proxy = settings.proxy.clone();
    net
}

fn engine_settings(settings: &Settings, instance: Uuid) -> EngineSettings {
    EngineSettings {
        node: settings.node.clone(),
        lease: settings.lease,
        // The state directory's lock is ours: an earlier process with this id is gone.
        instance,
        stagings_at_once: settings.limits.stagings,
        deliveries_at_once: settings.limits.deliveries,
        // A slow endpoint leaves a quarter of them to others.
        deliveries_per_endpoint: settings.limits.deliveries - settings.limits.deliveries / 4,
        buffers: settings.limits.buffers,
        retention_every: Duration::from_secs(600),
    }
}
