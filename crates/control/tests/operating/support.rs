//! A gateway's database with a few definitions, and the operations on it.

use config::{Catalogue, Settings};
use control::{Caller, Control, Parts};
use model::{Actor, RevisionKind, Role, StoredDefinition, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;
use store::{NewRevision, NewSecrets, Store, StoreSettings};
use uuid::Uuid;

pub(crate) struct World {
    pub(crate) control: Control,
    pub(crate) store: Store,
    pub(crate) directory: tempfile::TempDir,
}

pub(crate) fn start() -> Timestamp {
    Timestamp::from_timestamp_micros(1_795_183_800_000_000).unwrap()
}

pub(crate) fn caller(role: Role) -> Caller {
    Caller { actor: Actor::CommandLine("anna".into()), role }
}

/// Without definitions.
pub(crate) async fn bare_world() -> World {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("waybill.db").display());
    let (store, _) = Store::open(&StoreSettings::new(url), Arc::new(Uuid::now_v7)).await.unwrap();
    let environment = config::ProcessEnvironment::at(start());
    let (settings, _) = Settings::load(None, Vec::new(), &environment).unwrap();
    let control = Control::new(Parts {
        store: store.clone(),
        settings,
        catalogue: Catalogue::from_iter([
            Arc::new(testkit::fake::HostKeysOnly) as Arc<dyn model::Declaration>
        ]),
        now: Arc::new(start),
        ids: Arc::new(Uuid::now_v7),
        random: Arc::new(|bytes: &mut [u8]| bytes.fill(7)),
    });
    World { control, store, directory }
}

/// With the flow `orders` from the folder `dock` to two folders, and `inbound` from a listener.
pub(crate) async fn world() -> World {
    let world = bare_world().await;
    let folder = |name: &str| definition("endpoint", name, json!({"transport": "file", "url": "file:///x"}));
    let orders = json!({
        "source": {"endpoint": "dock", "every": "${env:EVERY}"},
        "destination": [{"endpoint": "warehouse"}, {"endpoint": "archive"}],
    });
    let inbound = json!({"source": {"listener": "as2"}, "destination": {"endpoint": "warehouse"}});
    let mut put: Vec<StoredDefinition> = ["dock", "warehouse", "archive"].map(folder).into();
    put.extend([definition("flow", "orders", orders), definition("flow", "inbound", inbound)]);
    world.revise(put, vec![]).await;
    world
}

fn definition(section: &str, name: &str, document: Value) -> StoredDefinition {
    StoredDefinition {
        section: section.into(),
        name: name.into(),
        origin: "/etc/flows".into(),
        file: "flows.toml".into(),
        position: 0,
        document,
    }
}

impl World {
    async fn revise(&self, put: Vec<StoredDefinition>, removed: Vec<(String, String)>) {
        let revision = NewRevision {
            id: Uuid::now_v7(),
            base: self.store.current_revision_number().await.unwrap(),
            at: start(),
            author: Actor::System,
            kind: RevisionKind::Apply,
            source: None,
            summary: String::new(),
            put,
            removed,
            files_put: vec![],
            files_removed: vec![],
            secrets: NewSecrets::default(),
            events: vec![],
        };
        self.store.apply_revision(revision).await.unwrap();
    }

    pub(crate) async fn define(&self, section: &str, name: &str, document: Value) {
        self.revise(vec![definition(section, name, document)], vec![]).await;
    }

    pub(crate) async fn remove(&self, section: &str, name: &str) {
        self.revise(vec![], vec![(section.into(), name.into())]).await;
    }
}
