//! A PostgreSQL server of a test's own: its settings, and what happens when it goes away.

use super::fixture::{INSTANCE, after, claim_one, lease, node, now, recorded};
use super::writing::{Count, counted};
use crate::testing::{TestStore, at, event, script};
use crate::{Acquired, Renewal, Store, StoreSettings};
use model::{Error, ErrorKind};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// A server that ends with its directory.
struct Server(tempfile::TempDir);

impl Server {
    fn start(settings: &[&str]) -> Self {
        let server = Self(tempfile::tempdir().unwrap());
        let mut start = script();
        start.arg("start").arg(server.0.path()).args([
            "--owner-pid",
            &std::process::id().to_string(),
            "--temporary",
        ]);
        for setting in settings {
            start.args(["--set", setting]);
        }
        run(start);
        server
    }

    fn tell(&self, command: &str) {
        let mut told = script();
        told.arg(command).arg(self.0.path());
        run(told);
    }

    fn url(&self) -> String {
        let mut database = script();
        database.arg("database").arg(self.0.path()).arg("own");
        run(database).trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = script().arg("stop").arg(self.0.path()).status();
    }
}

fn run(mut command: std::process::Command) -> String {
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn open(url: &str) -> Result<(Store, Vec<String>), Error> {
    Store::open(&StoreSettings::new(url), Arc::new(Uuid::now_v7)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_sync_is_refused() {
    let server = Server::start(&["fsync=off"]);
    let error = open(&server.url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
    assert!(error.to_string().contains("fsync=on"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asynchronous_commits_are_warned_of() {
    let test = TestStore::postgres().await;
    let name = test.url.rsplit('/').next().unwrap().to_owned();
    test.tamper(&format!("ALTER DATABASE {name} SET synchronous_commit = off")).await;
    let (_, warnings) = open(&test.url).await.unwrap();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("synchronous_commit=off"), "{warnings:?}");
}

/// The node notes each seal, so that one which a crash of the server took back would raise an alarm.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seal_is_on_disk_also_where_commits_are_asynchronous() {
    let test = TestStore::postgres().await;
    let name = test.url.rsplit('/').next().unwrap().to_owned();
    test.tamper(&format!("ALTER DATABASE {name} SET synchronous_commit = off")).await;
    test.tamper(
        "CREATE TABLE seen (how TEXT); \
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN INSERT INTO seen VALUES (current_setting(''synchronous_commit'')); RETURN NEW; END'; \
         CREATE TRIGGER see BEFORE INSERT ON audit_seals FOR EACH ROW EXECUTE FUNCTION see()",
    )
    .await;
    let (store, _) = open(&test.url).await.unwrap();
    let key = crate::SealKey::load_or_create(&test.dir.path().join("key")).unwrap();
    store.append_events(vec![event(1)]).await.unwrap();
    test.quiet().await;
    assert_eq!(store.seal(at(9), &key).await.unwrap().seals, 1);
    assert_eq!(test.tamper("DELETE FROM seen WHERE how = 'on'").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_crashes_and_comes_back_fails_nothing() {
    let server = Server::start(&[]);
    let (store, _) = open(&server.url()).await.unwrap();
    let tasks: Vec<_> = (0..20)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 1..=200 {
                    let lane = format!("t{task}");
                    assert_eq!(store.write(Count { lane, fails: false }).await.unwrap(), n);
                }
            })
        })
        .collect();
    let crashes = tokio::task::spawn_blocking(move || {
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(300));
            server.tell("kill");
            std::thread::sleep(Duration::from_millis(700));
            server.tell("restart");
        }
        server
    });
    let _server = crashes.await.unwrap();
    for task in tasks {
        task.await.unwrap();
    }
    for task in 0..20 {
        assert_eq!(counted(&store, &format!("t{task}")).await, Some(200));
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_wrong_takes_no_lease_and_loses_none() {
    let test = TestStore::postgres().await;
    let (ahead, behind) = (after(now(), 3_600_000), after(now(), -3_600_000));
    let good = lease(&test, "n1").await;
    recorded(&test, &good, "a", &["x"]).await;
    // A node whose clock is an hour ahead finds nobody's lease ended; one that is behind holds its own.
    assert!(test.fence_expired(&node("n2"), ahead).await.unwrap().is_empty());
    let term = Duration::from_secs(60);
    let Acquired::Held(slow) = test.acquire_node(&node("n3"), term, behind, INSTANCE).await.unwrap() else {
        panic!("not acquired");
    };
    assert!(test.fence_expired(&node("n1"), now()).await.unwrap().is_empty());
    assert_eq!(test.renew_node(&slow, behind).await.unwrap(), Renewal::Renewed);
    assert_eq!(claim_one(&test, &slow).await.claim.epoch, slow.epoch);
}
