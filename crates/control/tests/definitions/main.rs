//! Definitions by way of the operations, with a transport that declares what the next ones will: logins in tables, in
//! lists and by name.

#![allow(clippy::unwrap_used)] // What goes wrong here fails a test.

mod changes;
mod disclosure;
mod lost_key;
mod places;

use config::{Catalogue, Settings};
use control::{Applied, Apply, Caller, Control, Parts, PlanAnswer, PlanRequest};
use model::schema::{Field, Group, Kind, Paths, Roles, Scheme, Section, TransportSpec};
use model::{Actor, Declaration, Role, Secret, Timestamp};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use store::{Store, StoreSettings};
use uuid::Uuid;

const fn field(name: &'static str, kind: Kind) -> Field {
    Field::optional(name, kind, "For tests.")
}

static ENDPOINT: Group = Group::of(&[
    field("username", Kind::Text).login(),
    field("password", Kind::Secret).login(),
    field("credential", Kind::Name(Section::CREDENTIAL)).login(),
    field("key", Kind::Name(Section::KEY)).login(),
    field("proxy", Kind::Name(Section::PROXY)).address(),
    field("host_key", Kind::Text).address(),
    field("timeout", Kind::Duration),
    field("oauth2", Kind::Table(&OAUTH2)).login(),
    field("headers", Kind::Map(&Kind::Secret)),
    field("tokens", Kind::List(&Kind::Secret)),
    field("token", Kind::OneOf(&[Kind::Secret, Kind::Table(&OAUTH2)])),
]);

static OAUTH2: Group = Group::of(&[
    field("token_url", Kind::Url).address(),
    field("client", Kind::Text),
    field("client_secret", Kind::Secret),
]);

static POLLED: Group = Group::of(&[field("after", Kind::Choice(&["keep", "delete"]))]);

static SPEC: TransportSpec = TransportSpec {
    schemes: &[Scheme { name: "fake", port: Some(1), paths: Paths::Login, connects_per_poll: true }],
    roles: Roles { source: true, destination: true, listener: false },
    endpoint: &[&ENDPOINT],
    source: &[&POLLED],
    ..TransportSpec::new("fake", "A server.")
};

struct Fake;

impl Declaration for Fake {
    fn spec(&self) -> &'static TransportSpec {
        &SPEC
    }
}

/// One gateway, and directories to apply to it.
pub(crate) struct World {
    pub(crate) control: Control,
    pub(crate) store: Store,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) hook: Hook,
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_timestamp_micros(1_795_183_800_000_000).unwrap()
}

/// Called once, when the clock is asked next: in the middle of an operation.
pub(crate) type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

fn control(store: &Store, keys: &[&str], hook: Hook) -> Control {
    let environment = config::ProcessEnvironment::at(now());
    let (mut settings, _) = Settings::load(None, Vec::new(), &environment).unwrap();
    settings.roots.inline_secrets = !keys.is_empty();
    settings.roots.secret_variables = ["HOME", "PATH"].map(str::to_owned).into();
    let key = |id: &&str| config::settings::MasterKey {
        id: (*id).to_owned(),
        key: Secret::new(id.bytes().cycle().take(32).collect()),
    };
    settings.master_keys = keys.iter().map(key).collect();
    Control::new(Parts {
        store: store.clone(),
        settings,
        catalogue: Catalogue::from_iter([Arc::new(Fake) as Arc<dyn Declaration>]),
        now: Arc::new(move || {
            let hook = hook.lock().unwrap().take();
            hook.into_iter().for_each(|hook| hook());
            now()
        }),
        ids: Arc::new(Uuid::now_v7),
        random: Arc::new(|bytes: &mut [u8]| bytes.fill(7)),
    })
}

pub(crate) async fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("waybill.db").display());
    let (store, _) = Store::open(&StoreSettings::new(url), Arc::new(Uuid::now_v7)).await.unwrap();
    let hook = Hook::default();
    World { control: control(&store, &["k1"], Arc::clone(&hook)), store, directory, hook }
}

pub(crate) fn caller(role: Role) -> Caller {
    Caller { actor: Actor::CommandLine("root".into()), role }
}

impl World {
    /// The same gateway with other master keys.
    pub(crate) fn with_keys(&mut self, keys: &[&str]) {
        self.control = control(&self.store, keys, Arc::clone(&self.hook));
    }

    /// A directory of documents.
    pub(crate) fn write(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let directory = self.directory.path().join(name);
        drop(std::fs::remove_dir_all(&directory));
        std::fs::create_dir(&directory).unwrap();
        for (file, text) in files {
            std::fs::write(directory.join(file), text).unwrap();
        }
        directory
    }

    pub(crate) async fn plan(&self, request: PlanRequest) -> PlanAnswer {
        self.control.plan(&caller(Role::Admin), &request).await.unwrap()
    }

    pub(crate) async fn apply(&self, request: PlanRequest) -> Applied {
        let request = Apply { plan: request, base: None };
        self.control.apply(&caller(Role::Admin), &request).await.unwrap()
    }

    /// Applies documents of an origin, and says what became of it.
    pub(crate) async fn put(&self, origin: &str, text: &str) -> Applied {
        let directory = self.write(origin, &[("a.toml", text)]);
        self.apply(of(origin, &directory)).await
    }

    /// What a plan of documents says, for people and for programs.
    pub(crate) async fn plan_text(&self, text: &str) -> String {
        let directory = self.write("planned", &[("a.toml", text)]);
        let answer = self.plan(PlanRequest { take_over: true, ..of("planned", &directory) }).await;
        format!("{answer}{}", serde_json::to_string(&answer).unwrap())
    }

    /// Has documents applied by somebody else in the middle of the next operation.
    pub(crate) fn meanwhile(&self, origin: &'static str, text: &str) {
        let url = format!("sqlite:{}", self.directory.path().join("waybill.db").display());
        let directory = self.write(&format!("{origin}-meanwhile"), &[("a.toml", text)]);
        let theirs = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let settings = StoreSettings { beside_gateway: true, ..StoreSettings::new(url) };
                let (store, _) = Store::open(&settings, Arc::new(Uuid::now_v7)).await.unwrap();
                let control = control(&store, &["k1"], Hook::default());
                let request = Apply { plan: of(origin, &directory), base: None };
                made(&control.apply(&caller(Role::Admin), &request).await.unwrap());
                store.close().await;
            });
        };
        *self.hook.lock().unwrap() = Some(Box::new(|| std::thread::spawn(theirs).join().unwrap()));
    }

    pub(crate) async fn exported(&self) -> String {
        let files = self.control.export(&caller(Role::Admin), &Default::default()).await.unwrap();
        files.into_iter().map(|file| format!("--- {}\n{}", file.name, file.text)).collect()
    }
}

pub(crate) fn of(origin: &str, directory: &Path) -> PlanRequest {
    PlanRequest { directory: directory.to_owned(), origin: Some(origin.to_owned()), ..PlanRequest::default() }
}

#[track_caller]
pub(crate) fn made(applied: &Applied) {
    assert!(matches!(applied, Applied::Made { .. }), "{applied}");
}

#[track_caller]
pub(crate) fn conflict(applied: &Applied, words: &[&str]) {
    assert!(matches!(applied, Applied::Conflicts { .. }), "{applied}");
    let text = applied.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in:\n{text}");
    }
}
