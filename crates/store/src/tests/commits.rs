//! Connections that break before, at and after a commit (PostgreSQL).

use super::proxy::{Fault as Cut, Proxy};
use super::writing::{Count, add, counted};
use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::testing::TestStore;
use crate::tx::Tx;
use crate::{Store, StoreSettings};
use async_trait::async_trait;
use model::{ErrorKind, Retry};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use uuid::Uuid;

async fn open(url: &str) -> Store {
    let mut settings = StoreSettings::new(url);
    settings.writers = 1;
    settings.answer_within = Duration::from_secs(2);
    settings.away_for = Duration::from_secs(20);
    Store::open(&settings, Arc::new(Uuid::now_v7)).await.unwrap().0
}

/// Counts, then ends its own connection, the first time.
struct CutOff(Arc<AtomicU32>);

#[async_trait]
impl Command for CutOff {
    type Answer = i64;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<i64, Fault> {
        let count = add(tx, "a").await?;
        if self.0.fetch_add(1, Ordering::SeqCst) == 0 {
            on!(tx, c => sqlx::query("SELECT pg_terminate_backend(pg_backend_pid())").execute(c).await.map(|_| ()))?;
        }
        Ok(count)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_before_the_commit_changes_nothing() {
    let test = TestStore::postgres().await;
    let store = open(&test.url).await;
    let tries = Arc::new(AtomicU32::new(0));
    let others =
        futures::future::join_all((0..20).map(|_| store.write(Count { lane: "b".into(), fails: false })));
    let (answer, others) = tokio::join!(store.write(CutOff(tries.clone())), others);
    assert_eq!((answer.unwrap(), tries.load(Ordering::SeqCst)), (1, 2));
    assert!(others.iter().all(Result::is_ok));
    assert_eq!((counted(&store, "a").await, counted(&store, "b").await), (Some(1), Some(20)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_the_server_ends_at_the_commit_is_looked_up_and_repeated() {
    let test = TestStore::postgres().await;
    // A deferred trigger runs within COMMIT; the sequence counts on although the transaction is undone.
    test.tamper(
        "CREATE SEQUENCE tries; \
         CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS \
           'BEGIN IF nextval(''tries'') <= 2 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; \
            RETURN NULL; END'; \
         CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON lanes DEFERRABLE INITIALLY DEFERRED \
           FOR EACH ROW EXECUTE FUNCTION cut()",
    )
    .await;
    let store = open(&test.url).await;
    assert_eq!(store.write(Count { lane: "a".into(), fails: false }).await.unwrap(), 1);
    assert_eq!(counted(&store, "a").await, Some(1));
}

async fn through(cut: Cut) {
    let test = TestStore::postgres().await;
    let proxy = Proxy::before(&test.url, cut).await;
    let store = open(&proxy.url(&test.url)).await;
    for round in 1..=3 {
        proxy.arm();
        let group = (0..10).map(|n| store.write(Count { lane: format!("a{n}"), fails: n % 5 == 0 }));
        let answers = futures::future::join_all(group).await;
        assert!(!proxy.is_armed());
        for (n, answer) in answers.into_iter().enumerate() {
            match n {
                0 | 5 => assert_eq!(answer.unwrap_err().kind(), ErrorKind::Rejected),
                _ => assert_eq!(answer.unwrap(), round),
            }
        }
        // Once, and not twice.
        assert_eq!(counted(&test, "a1").await, Some(round));
        assert_eq!(counted(&test, "a0").await, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_never_reached_the_server_is_repeated() {
    through(Cut::CutBefore).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_stands() {
    through(Cut::CutAfter).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_not_answered_in_time_stands() {
    through(Cut::Swallow).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_stays_away_fails_commands_as_transient() {
    let test = TestStore::postgres().await;
    let mut settings = StoreSettings::new(&test.url);
    settings.away_for = Duration::from_millis(500);
    let (store, _) = Store::open(&settings, Arc::new(Uuid::now_v7)).await.unwrap();
    let (server, name) = test.url.rsplit_once('/').unwrap();
    let elsewhere = sqlx::PgPool::connect(&format!("{server}/postgres")).await.unwrap();
    for sql in [
        format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"),
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&elsewhere).await.unwrap();
    }
    let error = store.write(Count { lane: "a".into(), fails: false }).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Transient, "{error:?}");
    assert!(store.ready().await.is_err());
}
