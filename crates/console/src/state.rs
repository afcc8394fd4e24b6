//! What all pages share: the store, the settings, the clock, and what is kept in memory between requests.
//!
//! Pages import this; nothing here imports a page.

pub(crate) mod active_problem;
pub(crate) mod assets;
pub(crate) mod flow_definitions;
pub(crate) mod node_status;
pub(crate) mod overview_cache;

use crate::auth::hasher::Hasher;
use crate::auth::throttle::Throttle;
use crate::state::assets::Assets;
use crate::state::flow_definitions::{DefinedFlows, FlowDefinitions};
use crate::state::node_status::NodeStatus;
use crate::state::overview_cache::{CountedOverview, OverviewCache};
use model::{AuditEvent, EventId, EventKind, NodeName, Result, Sha256, Timestamp};
use std::sync::Arc;
use store::Store;
use url::Url;
use uuid::Uuid;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Fills a buffer with random bytes fit for secrets.
pub type Random = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// The settings of a console.
#[derive(Clone, Debug)]
pub struct ConsoleSettings {
    /// The node whose console this is.
    pub node: NodeName,
    /// Where people reach it, when that is not where it listens (a reverse proxy).
    pub public_url: Option<Url>,
    /// Whether people reach it by HTTPS: cookies are then `Secure` and `__Host-`.
    pub secure_cookies: bool,
    /// Waybill's version, as shown and as in the metrics.
    pub version: String,
    /// Transports whose endpoints refuse a name that is taken, unless their option `overwrite` says otherwise.
    pub refusing_transports: Vec<&'static str>,
}

/// The state of a console: axum hands it to every handler.
pub(crate) struct AppState {
    pub(crate) store: Store,
    pub(crate) settings: ConsoleSettings,
    clock: Clock,
    random: Random,
    /// What this node knows beside the database.
    pub(crate) node: Arc<dyn NodeStatus>,
    pub(crate) assets: Assets,
    pub(crate) throttle: Throttle,
    pub(crate) hasher: Hasher,
    overview: OverviewCache,
    flows: FlowDefinitions,
    pub(crate) started: Timestamp,
}

impl AppState {
    /// Does no I/O.
    pub(crate) fn new(
        store: Store,
        settings: ConsoleSettings,
        clock: Clock,
        random: Random,
        node: Arc<dyn NodeStatus>,
    ) -> Self {
        let started = clock();
        Self {
            store,
            settings,
            clock,
            random,
            node,
            assets: Assets::embedded(),
            throttle: Throttle::default(),
            hasher: Hasher::default(),
            overview: OverviewCache::default(),
            flows: FlowDefinitions::default(),
            started,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// 256 random bits and their SHA-256: what the browser gets, and what the store keeps.
    pub(crate) fn token(&self) -> (String, Sha256) {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(self.random_bytes::<32>());
        let digest = token_digest(&text);
        (text, digest)
    }

    pub(crate) fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.random)(&mut bytes);
        bytes
    }

    /// An event of this node, now.
    pub(crate) fn event(&self, kind: EventKind) -> AuditEvent {
        let now = self.now();
        let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &self.random_bytes()).into_uuid();
        AuditEvent::new(EventId::new(id), now, self.settings.node.clone(), kind)
    }

    /// The overview's numbers, at most a few seconds old, or a minute while they are being counted.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn overview(&self) -> Result<CountedOverview> {
        self.overview.get(&self.store, self.now()).await
    }

    /// The flows of the definitions in force.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn defined_flows(&self) -> Result<DefinedFlows> {
        self.flows.get(&self.store, &self.settings.refusing_transports).await
    }
}

/// What the store keeps of a token.
pub(crate) fn token_digest(token: &str) -> Sha256 {
    Sha256(openssl::sha::sha256(token.as_bytes()))
}

/// An id as it stands in a path.
pub(crate) fn path_id(text: &str) -> Option<Uuid> {
    text.parse().ok()
}
