//! What the console is made of, and what the binary lends it.

use crate::assets::Assets;
use crate::door::{Hasher, Throttle, first_start};
use crate::flows::Defined;
use crate::overview::Counted;
use crate::routes;
use crate::trouble::Trouble;
use model::{AuditEvent, EventId, EventKind, NodeName, Result, Sha256, Timestamp};
use std::sync::Arc;
use store::{SealAlarm, Store};
use url::Url;
use uuid::Uuid;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Fills a buffer with random bytes fit for secrets.
pub type Random = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// What the console is told once.
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

/// What this node knows that is not in the database. Asked for each page or scrape that shows it:
/// answer from memory.
pub trait Vitals: Send + Sync {
    /// Endpoints that have failed or are in use.
    fn endpoints(&self) -> Vec<EndpointVitals> {
        Vec::new()
    }

    /// The connection journal.
    fn journal(&self) -> Option<JournalVitals> {
        None
    }

    /// The staging area.
    fn staging(&self) -> Option<StagingVitals> {
        None
    }

    /// What is not as it should be with the audit trail, until it ends.
    fn audit_alarm(&self) -> Option<SealAlarm> {
        None
    }

    /// Why nothing is sealed, when that is no alarm.
    fn sealing_stopped(&self) -> Option<String> {
        None
    }

    /// What the listen addresses have seen, the console's own among them.
    fn listeners(&self) -> Vec<net::http::ListenerNumbers> {
        Vec::new()
    }

    /// Other reasons not to be ready, one line each.
    fn not_ready(&self) -> Vec<String> {
        Vec::new()
    }

    /// What is in trouble here and not known to the database: listeners that are down, alarms of the audit
    /// trail and the like.
    fn trouble(&self) -> Vec<Trouble> {
        Vec::new()
    }
}

/// Nothing is known beside the database.
struct NoVitals;

impl Vitals for NoVitals {}

/// An endpoint's health on this node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointVitals {
    /// The endpoint.
    pub name: String,
    /// Failures since the last success.
    pub failures: u32,
    /// Not used before then.
    pub offline_until: Option<Timestamp>,
    /// Attempts under way.
    pub in_flight: usize,
}

/// The connection journal on this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JournalVitals {
    /// Bytes not yet in the database.
    pub backlog_bytes: u64,
    /// Bytes from which on the node is not ready.
    pub most_bytes: u64,
}

/// The staging area of this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StagingVitals {
    /// Bytes free on its file system.
    pub free_bytes: u64,
    /// Bytes that are to stay free: with fewer the node is not ready.
    pub min_free_bytes: u64,
}

/// The console. Cheap to clone.
#[derive(Clone)]
pub struct Console {
    site: Arc<Site>,
}

pub(crate) struct Site {
    pub(crate) store: Store,
    pub(crate) settings: ConsoleSettings,
    clock: Clock,
    random: Random,
    pub(crate) vitals: Arc<dyn Vitals>,
    pub(crate) assets: Assets,
    pub(crate) throttle: Throttle,
    pub(crate) hasher: Hasher,
    pub(crate) counted: Counted,
    pub(crate) defined: Defined,
    pub(crate) started: Timestamp,
}

impl Console {
    /// A console over a store. Does no I/O.
    #[must_use]
    pub fn new(store: Store, settings: ConsoleSettings, clock: Clock, random: Random) -> Self {
        Self::with_vitals(store, settings, clock, random, Arc::new(NoVitals))
    }

    /// The same, with what the node knows beside the database.
    #[must_use]
    pub fn with_vitals(
        store: Store,
        settings: ConsoleSettings,
        clock: Clock,
        random: Random,
        vitals: Arc<dyn Vitals>,
    ) -> Self {
        let started = clock();
        Self {
            site: Arc::new(Site {
                store,
                settings,
                clock,
                random,
                vitals,
                assets: Assets::embedded(),
                throttle: Throttle::default(),
                hasher: Hasher::default(),
                counted: Counted::default(),
                defined: Defined::default(),
                started,
            }),
        }
    }

    /// Its pages and probes, as a service for `net`'s `TowerHandler`, registered at path `/`.
    pub fn router(&self) -> axum::Router {
        routes::router(self.site.clone())
    }

    /// While there are no users: a new one-time link, good for 24 hours, that lets whoever opens it
    /// become the first (earlier links that were not used are void then). `base` is where people reach
    /// the console, such as `http://127.0.0.1:8420`; the settings' public URL goes before it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn first_start_link(&self, base: &str) -> Result<Option<String>> {
        first_start::link(&self.site, base).await
    }
}

impl Site {
    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// 256 random bits and their SHA-256: what the browser gets, and what the store keeps.
    pub(crate) fn token(&self) -> (String, Sha256) {
        use base64::Engine as _;
        let mut bytes = [0; 32];
        (self.random)(&mut bytes);
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        let digest = token_digest(&text);
        (text, digest)
    }

    pub(crate) fn fill(&self, bytes: &mut [u8]) {
        (self.random)(bytes);
    }

    pub(crate) fn event(&self, kind: EventKind) -> AuditEvent {
        let now = self.now();
        let mut bytes = [0; 10];
        (self.random)(&mut bytes);
        let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid();
        AuditEvent::new(EventId::new(id), now, self.settings.node.clone(), kind)
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
