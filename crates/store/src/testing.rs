//! Both databases for tests: a SQLite file and a fresh database on a real PostgreSQL server.

use crate::either::on;
use crate::{SealKey, Sealed, Store, StoreSettings};
use model::{AuditEvent, EventId, EventKind, Timestamp};
use sqlx::{Executor, PgPool, SqlitePool};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use uuid::Uuid;

/// A store of its own for one test.
pub(crate) struct TestStore {
    pub(crate) store: Store,
    pub(crate) url: String,
    pub(crate) dir: tempfile::TempDir,
}

impl std::ops::Deref for TestStore {
    type Target = Store;
    fn deref(&self) -> &Store {
        &self.store
    }
}

impl TestStore {
    pub(crate) async fn open(url: String, dir: tempfile::TempDir) -> Self {
        let mut settings = StoreSettings::new(&url);
        settings.away_for = std::time::Duration::from_millis(300);
        let (store, _) = Store::open(&settings, Arc::new(Uuid::now_v7)).await.unwrap();
        Self { store, url, dir }
    }

    /// In a SQLite file.
    pub(crate) async fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("waybill.db").display());
        Self::open(url, dir).await
    }

    /// In a database of its own on the PostgreSQL server of this test run.
    pub(crate) async fn postgres() -> Self {
        let name = format!("t{}", Uuid::new_v4().simple());
        let output = script().arg("database").arg(server()).arg(name).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let url = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Self::open(url, tempfile::tempdir().unwrap()).await
    }

    /// Waits until all that is committed lies below the horizon. Transactions of all databases of a
    /// server hold it back, and other tests run on the same one.
    pub(crate) async fn quiet(&self) {
        let rows = "SELECT coalesce(max(position), 0) FROM audit_events";
        let last: i64 = on!(self.store.pool(), c => sqlx::query_scalar(rows).fetch_one(c).await).unwrap();
        while self.store.audit_horizon().await.unwrap() <= last {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }

    /// Seals all that is committed.
    pub(crate) async fn seal_all(&self, now: Timestamp, key: &SealKey) -> Sealed {
        self.quiet().await;
        self.store.seal(now, key).await.unwrap()
    }

    /// Does what a hand that bypasses Waybill could do.
    pub(crate) async fn tamper(&self, sql: &str) -> u64 {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        if self.url.starts_with("sqlite:") {
            let pool = SqlitePool::connect(&self.url).await.unwrap();
            let done = pool.execute(sqlx::raw_sql(sql)).await.unwrap().rows_affected();
            pool.close().await;
            done
        } else {
            let pool = PgPool::connect(&self.url).await.unwrap();
            let done = pool.execute(sqlx::raw_sql(sql)).await.unwrap().rows_affected();
            pool.close().await;
            done
        }
    }
}

pub(crate) fn script() -> Command {
    Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/servers/postgres.sh"))
}

/// The directory of the server. nextest runs each test in a process of its own: these share one server,
/// which ends with nextest; otherwise it ends with this process.
fn server() -> &'static std::path::Path {
    static SERVER: OnceLock<std::path::PathBuf> = OnceLock::new();
    SERVER.get_or_init(|| {
        let (name, owner) = match std::env::var("NEXTEST_RUN_ID") {
            Ok(run) => (run, std::os::unix::process::parent_id()),
            Err(_) => (Uuid::new_v4().simple().to_string(), std::process::id()),
        };
        let dir = std::env::temp_dir().join(format!("waybill-store-{name}"));
        std::fs::create_dir_all(&dir).unwrap();
        let lock = std::fs::File::create(dir.join("starting")).unwrap();
        lock.lock().unwrap();
        if !dir.join("run/json").exists() {
            let started = script()
                .arg("start")
                .arg(&dir)
                .args(["--owner-pid", &owner.to_string(), "--temporary"])
                .stdin(Stdio::null())
                .output()
                .unwrap();
            assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        }
        dir
    })
}

/// Runs an async test on both databases: `both!(name(store) { … })`.
macro_rules! both {
    ($($(#[$attribute:meta])* $name:ident($store:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn run($store: $crate::testing::TestStore) $body

            $(#[$attribute])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                run($crate::testing::TestStore::sqlite().await).await;
            }

            $(#[$attribute])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                run($crate::testing::TestStore::postgres().await).await;
            }
        }
    )*};
}
pub(crate) use both;

/// A moment; `n` microseconds after the first of November 2026.
pub(crate) fn at(n: i64) -> Timestamp {
    chrono::DateTime::from_timestamp_micros(1_793_491_200_000_000 + n).unwrap()
}

/// An event with a number.
pub(crate) fn event(n: i64) -> AuditEvent {
    AuditEvent::new(EventId::new(Uuid::now_v7()), at(n), "n1".parse().unwrap(), EventKind::PollFailed)
        .detail("n", n)
}

/// A revision that puts flows of these names into force, from one file.
pub(crate) fn revision(
    base: i64,
    flows: &[&str],
    at: Timestamp,
    events: Vec<AuditEvent>,
) -> crate::NewRevision {
    let put = flows.iter().zip(0..).map(|(name, position)| model::StoredDefinition {
        section: "flow".into(),
        name: (*name).into(),
        origin: "/etc/flows".into(),
        file: "orders.toml".into(),
        position,
        document: serde_json::json!({"source": {"endpoint": "in", "every": base + 1}}),
    });
    crate::NewRevision {
        id: Uuid::now_v7(),
        base,
        at,
        author: model::Actor::System,
        kind: model::RevisionKind::Apply,
        source: Some("/etc/flows".into()),
        summary: format!("changed {}", flows.join(", ")),
        put: put.collect(),
        removed: vec![],
        files_put: vec![model::StoredFile {
            origin: "/etc/flows".into(),
            file: "orders.toml".into(),
            text: format!("# revision {}\n", base + 1),
        }],
        files_removed: vec![],
        secrets: crate::NewSecrets::default(),
        events,
    }
}
