use super::*;
use model::{AuditEvent, EventId, EventKind};
use std::path::Path;
use std::process::{Command, Stdio};
use store::{EventFilter, Page, StoreSettings};

/// A PostgreSQL that ends with this process: two databases on it.
fn postgres(directory: &Path) -> [String; 2] {
    let call = |arguments: &[&str]| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/servers/postgres.sh");
        let done = Command::new(script).args(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    };
    let (place, owner) = (directory.join("postgres"), std::process::id().to_string());
    let place = place.to_str().unwrap();
    call(&["start", place, "--owner-pid", &owner, "--temporary"]);
    ["one", "two"].map(|name| call(&["database", place, name]))
}

async fn open(url: &str, ambient: &ClockAndRandom) -> Store {
    Store::open(&StoreSettings::new(url), ambient.id_fn()).await.unwrap().0
}

fn sealer(state: &Path, ambient: &ClockAndRandom) -> Arc<Sealer> {
    std::fs::create_dir_all(state).unwrap();
    Arc::new(Sealer::open(state, None, "n1".parse().unwrap(), ambient.id_fn()).unwrap())
}

/// Events of a month long past, all under seals.
async fn past(store: &Store, sealer: &Sealer, ambient: &ClockAndRandom) {
    let now = ambient.clock.now();
    let event = |_| {
        let at = now - chrono::TimeDelta::days(100);
        AuditEvent::new(
            EventId::new(ambient.random.uuid(now)),
            at,
            "n1".parse().unwrap(),
            EventKind::PollFailed,
        )
    };
    store.append_events((0..3).map(event).collect()).await.unwrap();
    while store.seal_lag(now).await.unwrap().events > 0 {
        sealer.seal(store, now).await.unwrap();
    }
    assert!(sealer.state().good, "{:?}", sealer.state());
}

async fn count(store: &Store) -> usize {
    let filter = EventFilter { kind: Some(EventKind::PollFailed.as_str().into()), ..EventFilter::default() };
    store.events(&filter, Page::first(10)).await.unwrap().rows.len()
}

/// A month goes once this process has found the trail in order, and not before: what it would find otherwise is evidence.
async fn no_month_goes_before_the_first_look(urls: [String; 2], directory: &Path) {
    let ambient = ClockAndRandom::default();
    let (here, there) = (open(&urls[0], &ambient).await, open(&urls[1], &ambient).await);
    let states = [directory.join("here"), directory.join("there")];
    let before = sealer(&states[0], &ambient);
    past(&here, &before, &ambient).await;
    // The same node's key, and seals of the same numbers: what a hand in the database could not do better.
    std::fs::create_dir_all(&states[1]).unwrap();
    std::fs::copy(states[0].join("seal.key"), states[1].join("seal.key")).unwrap();
    past(&there, &sealer(&states[1], &ambient), &ambient).await;

    let months = |store: &Store, sealer: Arc<Sealer>| Months {
        store: store.clone(),
        sealer,
        ambient: ambient.clone(),
        node: "n1".parse().unwrap(),
        retention: Some(1),
    };
    // A new process, which has not looked yet.
    let new = sealer(&states[0], &ambient);
    assert!(new.state().alarm.is_none() && !new.state().good);
    let run = months(&there, Arc::clone(&new));
    run.run().await.unwrap();
    assert_eq!(count(&there).await, 3, "the audit trail is not the one that was sealed");
    assert!(new.state().alarm.is_some());
    run.run().await.unwrap();
    assert_eq!(count(&there).await, 3);

    // Nor while the note cannot be read.
    let note = states[1].join("seals.json");
    std::fs::rename(&note, states[1].join("kept")).unwrap();
    std::fs::create_dir(&note).unwrap();
    months(&there, sealer(&states[1], &ambient)).run().await.unwrap();
    assert_eq!(count(&there).await, 3);
    std::fs::remove_dir(&note).unwrap();
    std::fs::rename(states[1].join("kept"), &note).unwrap();

    months(&there, sealer(&states[1], &ambient)).run().await.unwrap();
    assert_eq!(count(&there).await, 0, "in order, it goes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_month_goes_before_the_first_look_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let url = |name: &str| format!("sqlite:{}", directory.path().join(name).display());
    no_month_goes_before_the_first_look([url("one.db"), url("two.db")], directory.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_month_goes_before_the_first_look_on_postgres() {
    let directory = tempfile::tempdir().unwrap();
    no_month_goes_before_the_first_look(postgres(directory.path()), directory.path()).await;
}
