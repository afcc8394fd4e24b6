//! A gateway's engine on a clock that a test moves, between places that do what the test says.

use crate::counting::Counting;
use crate::database;
use crate::relay::Relay;
use async_trait::async_trait;
use engine::{Engine, EngineSettings, FlowAt, FlowHistory, Parts, SystemClock};
use model::definition::{
    Definitions, Destination, Endpoint, Flow, FlowSource, Order, PollSource, ReceiveSource, RetryPolicy,
};
use model::schedule::Schedule;
use model::schema::Values;
use model::{Actor, Mask, MaskSpec, MetadataConditions, RevisionKind, Timestamp, TransferId, TransferState};
use staging::{RealDisk, Staging};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use store::{
    Act, EventFilter, EventView, NewRevision, NewSecrets, Page, Store, StoreSettings, TransferFilter,
    TransferView, Waybill,
};
use testkit::clock::{FixedClock, SeededRandom};
use testkit::defined;
use testkit::fake::{FakeEndpoint, FakeTransport, MemoryFolder, SPEC};
use testkit::forgetful::ForgetfulDisk;
use tokio::sync::watch;
use transport::folder::After;
use transport::folder::options::Polling;
use transport::{Clock, Directory, Transport};
use uuid::Uuid;

/// A test that waits longer has failed.
const LIMIT: Duration = Duration::from_secs(60);
/// The term of a node's lease, on the test's clock; on PostgreSQL also on the server's.
pub(crate) const LEASE: Duration = Duration::from_secs(86_400);

/// The installation of every node of a scene.
pub(crate) const INSTANCE: Uuid = Uuid::nil();

pub(crate) struct Scene {
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) fake: Arc<FakeTransport>,
    counting: Arc<Counting>,
    pub(crate) store: Store,
    pub(crate) staging: Staging,
    /// What flows archive to on this machine.
    pub(crate) archives: MemoryFolder,
    definitions: watch::Sender<Arc<Definitions>>,
    history: Arc<History>,
    url: String,
    _dir: tempfile::TempDir,
}

struct InForce(watch::Receiver<Arc<Definitions>>);

impl Directory for InForce {
    fn definitions(&self) -> Arc<Definitions> {
        Arc::clone(&self.0.borrow())
    }
}

/// Every revision that was in force, and how often one was asked for.
#[derive(Default)]
pub(crate) struct History {
    revisions: Mutex<BTreeMap<i64, Arc<Definitions>>>,
    asked: Mutex<usize>,
    broken: Mutex<bool>,
}

#[async_trait]
impl FlowHistory for History {
    async fn flow(&self, name: &str, revision: i64) -> model::Result<Option<FlowAt>> {
        *self.asked.lock().unwrap() += 1;
        if *self.broken.lock().unwrap() {
            return Err(model::Error::transient(
                model::ErrorKind::ConfigInvalid,
                "read a flow of an earlier revision",
            ));
        }
        let definitions = self.revisions.lock().unwrap().get(&revision).cloned();
        Ok(definitions.and_then(|all| all.flows.get(name).map(|flow| FlowAt::of(flow, &all))))
    }
}

impl Scene {
    pub(crate) async fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::at(database::sqlite(dir.path()), dir).await
    }

    pub(crate) async fn postgres() -> Self {
        Self::at(database::postgres(), tempfile::tempdir().unwrap()).await
    }

    /// On PostgreSQL, behind a relay that may lose the answer to a commit.
    pub(crate) async fn behind(relay: &Relay) -> Self {
        Self::at(relay.url(), tempfile::tempdir().unwrap()).await
    }

    async fn at(url: String, dir: tempfile::TempDir) -> Self {
        let settings = staging::Settings { min_free: 0, ..staging::Settings::default() };
        let staging = Staging::open(&dir.path().join("staging"), Arc::new(RealDisk), settings).unwrap();
        let store = open(&url).await;
        let fake = FakeTransport::new();
        let scene = Self {
            clock: Arc::new(FixedClock::at(SystemClock::default().now())),
            counting: Counting::of(&fake),
            fake,
            store,
            staging,
            archives: MemoryFolder::new(),
            definitions: watch::Sender::new(Arc::default()),
            history: Arc::default(),
            url,
            _dir: dir,
        };
        scene.define(|all| {
            for name in ["in", "out", "other"] {
                all.endpoints.insert(name.to_owned(), endpoint(name));
            }
        });
        scene
    }

    /// Stages on a disk in memory from now on that holds so many bytes.
    pub(crate) fn limit_staging(&mut self, bytes: u64) -> ForgetfulDisk {
        let disk = ForgetfulDisk::new();
        let settings = staging::Settings { min_free: 0, ..staging::Settings::default() };
        self.staging = Staging::open(Path::new("/staging"), Arc::new(disk.clone()), settings).unwrap();
        disk.set_capacity(Some(bytes));
        // Files of this moment are never old enough to be set aside, however far the clock of a test goes.
        disk.set_now((self.clock.now() + chrono::TimeDelta::days(1_000)).timestamp_micros());
        disk
    }

    /// Another pool on the same database, as another node has.
    pub(crate) async fn another_store(&self) -> Store {
        open(&self.url).await
    }

    /// Where another node would stand: SQLite has but one user.
    pub(crate) async fn another_or_same(&self) -> Store {
        if self.url.starts_with("sqlite") { self.store.clone() } else { self.another_store().await }
    }

    /// Changes the definitions: a new revision.
    pub(crate) fn define(&self, change: impl FnOnce(&mut Definitions)) {
        self.definitions.send_modify(|all| {
            let mut new = Definitions::clone(all);
            new.revision += 1;
            change(&mut new);
            for (name, flow) in &new.flows {
                if all.flows.get(name) != Some(flow) {
                    new.flows_since.insert(name.clone(), new.revision);
                }
            }
            *all = Arc::new(new);
            self.history.revisions.lock().unwrap().insert(all.revision, Arc::clone(all));
        });
    }

    /// What is in force.
    pub(crate) fn in_force(&self) -> Arc<Definitions> {
        Arc::clone(&self.definitions.borrow())
    }

    /// Stores revisions without definitions until the newest is the one in force.
    pub(crate) async fn store_revisions(&self) {
        for base in 0..self.revision() {
            let revision = NewRevision {
                id: Uuid::new_v4(),
                base,
                at: self.clock.now(),
                author: Actor::User("ada".into()),
                kind: RevisionKind::Apply,
                source: None,
                summary: String::new(),
                put: Vec::new(),
                removed: Vec::new(),
                files_put: Vec::new(),
                files_removed: Vec::new(),
                secrets: NewSecrets::default(),
                events: Vec::new(),
            };
            self.store.apply_revision(revision).await.unwrap();
        }
    }

    /// The number of the revision in force.
    pub(crate) fn revision(&self) -> i64 {
        self.definitions.borrow().revision
    }

    /// Puts a flow into force.
    pub(crate) fn flow(&self, flow: Flow) {
        self.define(|all| {
            all.flows.insert(flow.name.clone(), Arc::new(flow));
        });
    }

    /// How often a flow of another revision was read.
    pub(crate) fn flows_read(&self) -> usize {
        *self.history.asked.lock().unwrap()
    }

    /// Whether flows of other revisions cannot be read.
    pub(crate) fn history_broken(&self, broken: bool) {
        *self.history.broken.lock().unwrap() = broken;
    }

    pub(crate) fn place(&self, name: &str) -> Arc<FakeEndpoint> {
        self.fake.endpoint(name)
    }

    /// How often a source was asked for.
    pub(crate) fn sources_made(&self) -> usize {
        self.counting.sources()
    }

    /// A node's engine that does not move yet.
    pub(crate) async fn prepare(&self, node: &str, store: Store) -> Engine {
        self.prepare_with(node, store, self.definitions.subscribe()).await
    }

    /// The same of a node that has its own definitions in force.
    pub(crate) async fn prepare_with(
        &self,
        node: &str,
        store: Store,
        definitions: watch::Receiver<Arc<Definitions>>,
    ) -> Engine {
        let parts = Parts {
            host_keys: Arc::new(engine::KnownHostList::load(store.clone()).await.unwrap()),
            store,
            staging: self.staging.clone(),
            local_archives: Arc::new(self.archives.clone()),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            random: Arc::new(SeededRandom::new(Uuid::new_v4().as_u64_pair().0)),
            directory: Arc::new(InForce(definitions)),
            history: Arc::clone(&self.history) as Arc<dyn FlowHistory>,
            transports: vec![Arc::clone(&self.counting) as Arc<dyn Transport>],
        };
        let settings = EngineSettings {
            node: node.parse().unwrap(),
            lease: LEASE,
            instance: INSTANCE,
            stagings_at_once: 4,
            deliveries_at_once: 8,
            deliveries_per_endpoint: 4,
            buffers: 64 << 20,
            retention_every: Duration::from_secs(60),
        };
        Engine::prepare(parts, settings).await.unwrap()
    }

    /// As if others had found the lease of `n1` lapsed, and fenced it off.
    pub(crate) async fn fence(&self, store: &Store) {
        let node = "n1".parse().unwrap();
        let lease = store.acquire_node(&node, LEASE, self.clock.now(), INSTANCE).await.unwrap();
        let store::Acquired::Held(lease) = lease else { panic!("{lease:?}") };
        store.release_node(&lease, self.clock.now()).await.unwrap();
    }

    /// The same, and another installation took its name and lives: no renewal succeeds.
    pub(crate) async fn supplant(&self, store: &Store) {
        self.fence(store).await;
        let (node, other) = ("n1".parse().unwrap(), Uuid::max());
        let lease = store.acquire_node(&node, LEASE * 100, self.clock.now(), other).await.unwrap();
        assert!(matches!(lease, store::Acquired::Held(_)), "{lease:?}");
    }

    pub(crate) async fn start(&self) -> Engine {
        let engine = self.prepare("n1", self.store.clone()).await;
        self.run(&engine).await;
        engine
    }

    pub(crate) async fn run(&self, engine: &Engine) {
        engine.start(self.definitions.subscribe(), Vec::new()).await.unwrap();
    }

    /// Lets time pass, a second at a time, until something is so.
    pub(crate) async fn until<F: Future<Output = bool>>(&self, what: &str, is_so: impl FnMut() -> F) {
        self.until_by(Duration::from_secs(1), what, is_so).await;
    }

    /// The same in other steps; zero lets no time pass.
    pub(crate) async fn until_by<F: Future<Output = bool>>(
        &self,
        step: Duration,
        what: &str,
        mut is_so: impl FnMut() -> F,
    ) {
        let begun = Instant::now();
        while !is_so().await {
            assert!(begun.elapsed() < LIMIT, "it never came so: {what}\n{}", self.story().await);
            self.clock.advance(step);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Lets so much time pass, in steps, and whatever follows from it happen.
    pub(crate) async fn pass(&self, time: Duration, steps: u32) {
        for _ in 0..steps {
            self.clock.advance(time / steps);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// All transfers, oldest first.
    pub(crate) async fn transfers(&self) -> Vec<TransferView> {
        let mut all = self.store.transfers(&TransferFilter::default(), Page::first(500)).await.unwrap().rows;
        all.reverse();
        all
    }

    /// Waits until there are so many transfers, all in this state.
    pub(crate) async fn until_all(&self, count: usize, state: TransferState) -> Vec<TransferView> {
        self.until(&format!("{count} transfers {state}"), || async {
            let all = self.transfers().await;
            all.len() == count && all.iter().all(|transfer| transfer.state == state)
        })
        .await;
        self.transfers().await
    }

    pub(crate) async fn waybill(&self, id: TransferId) -> Waybill {
        self.store.waybill(id).await.unwrap().unwrap()
    }

    /// Events of a kind, oldest first.
    pub(crate) async fn events(&self, kind: &str) -> Vec<EventView> {
        let filter = EventFilter { kind: Some(kind.to_owned()), ..EventFilter::default() };
        let mut all = self.store.events(&filter, Page::first(500)).await.unwrap().rows;
        all.reverse();
        all
    }

    /// What a person does now.
    pub(crate) fn act(&self) -> Act {
        Act::new(Actor::User("ada".into()), "n1".parse().unwrap(), self.clock.now())
    }

    /// What the trail tells, for a test that failed.
    async fn story(&self) -> String {
        let events = self.store.events(&EventFilter::default(), Page::first(60)).await.unwrap().rows;
        let lines = events.iter().rev().map(|event| {
            let detail = serde_json::Value::Object(event.detail.clone());
            format!("{} {} {:?} {detail}\n", event.at, event.kind, event.endpoint)
        });
        lines.collect()
    }

    /// How many events of a kind there are, also when they fill several pages.
    pub(crate) async fn event_count(&self, kind: &str) -> usize {
        let filter = EventFilter { kind: Some(kind.to_owned()), ..EventFilter::default() };
        let (mut page, mut count) = (Page::first(500), 0);
        loop {
            let listing = self.store.events(&filter, page).await.unwrap();
            count += listing.rows.len();
            let Some(next) = listing.next else { return count };
            page.after = Some(next);
        }
    }

    /// Files in `payloads/` of staging.
    pub(crate) fn staged(&self) -> usize {
        self.staged_paths().len()
    }

    /// Where they are.
    pub(crate) fn staged_paths(&self) -> Vec<PathBuf> {
        let root = self.staging.root().join("payloads");
        let fans = std::fs::read_dir(root).unwrap();
        fans.flat_map(|fan| std::fs::read_dir(fan.unwrap().path()).unwrap())
            .map(|file| file.unwrap().path())
            .collect()
    }
}

async fn open(url: &str) -> Store {
    let mut settings = StoreSettings::new(url);
    settings.away_for = Duration::from_millis(500);
    Store::open(&settings, Arc::new(Uuid::now_v7)).await.unwrap().0
}

pub(crate) fn endpoint(name: &str) -> Arc<Endpoint> {
    Arc::new(defined::endpoint(&SPEC, name, "fake:place", &[]))
}

/// Three attempts, ten seconds after the first.
pub(crate) const RETRY: RetryPolicy =
    RetryPolicy { attempts: 3, first: Duration::from_secs(10), longest: Duration::from_secs(60) };

/// A flow from `in` to these endpoints, polled every ten seconds.
pub(crate) fn flow(name: &str, to: &[&str]) -> Flow {
    Flow {
        destinations: to.iter().map(|to| destination(to)).collect(),
        retention: Duration::from_secs(3600),
        ..defined::flow(name, poll("in"))
    }
}

pub(crate) fn poll(endpoint: &str) -> PollSource {
    PollSource {
        schedule: Schedule::every(Duration::from_secs(10)),
        order: Order::Listing,
        retry: RETRY,
        ..defined::poll(endpoint, After::Delete)
    }
}

/// A flow that takes what partners send by the listener `fake`.
pub(crate) fn receiving(name: &str, to: &[&str]) -> Flow {
    let mask = Mask::new(&MaskSpec::default()).unwrap();
    let source = ReceiveSource {
        listener: "fake".into(),
        partner: None,
        mask,
        conditions: MetadataConditions::default(),
        options: Values::default(),
    };
    Flow { source: FlowSource::Receive(source), ..flow(name, to) }
}

/// The same flow with what it says to the folder changed.
pub(crate) fn saying(mut flow: Flow, change: impl FnOnce(&mut Polling)) -> Flow {
    if let FlowSource::Poll(poll) = &mut flow.source {
        *poll = defined::polling(poll.clone(), change);
    }
    flow
}

/// The same flow with its polling changed.
pub(crate) fn polling(mut flow: Flow, change: impl FnOnce(&mut PollSource)) -> Flow {
    if let FlowSource::Poll(poll) = &mut flow.source {
        change(poll);
    }
    flow
}

pub(crate) fn destination(endpoint: &str) -> Destination {
    Destination { retry: RETRY, ..defined::destination(&SPEC, endpoint, &[]) }
}

/// Seconds between moments.
pub(crate) fn gaps(moments: &[Timestamp]) -> Vec<i64> {
    moments.windows(2).map(|pair| (pair[1] - pair[0]).num_seconds()).collect()
}
