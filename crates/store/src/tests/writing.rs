//! The writer: groups, savepoints, broken connections, other transactions in the way.

use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::testing::{TestStore, both};
use crate::tx::Tx;
use crate::{Store, StoreSettings};
use async_trait::async_trait;
use model::{Error, ErrorKind, Retry};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{Barrier, Semaphore};
use uuid::Uuid;

/// Adds one to a lane's number and answers it; may fail after that.
pub(super) struct Count {
    pub(super) lane: String,
    pub(super) fails: bool,
}

#[async_trait]
impl Command for Count {
    type Answer = i64;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<i64, Fault> {
        let count = add(tx, &self.lane).await?;
        tx.event(crate::testing::event(count));
        if self.fails {
            return Err(Error::permanent(ErrorKind::Rejected, "count").into());
        }
        Ok(count)
    }
}

pub(super) async fn add(tx: &mut Tx<'_>, lane: &str) -> Result<i64, Fault> {
    Ok(on!(tx, c => sqlx::query_scalar(
        "INSERT INTO lanes (lane, next_seq) VALUES ($1, 1) \
         ON CONFLICT (lane) DO UPDATE SET next_seq = lanes.next_seq + 1 RETURNING next_seq")
        .bind(lane).fetch_one(c).await)?)
}

pub(super) async fn counted(store: &Store, lane: &str) -> Option<i64> {
    on!(store.pool(), c => sqlx::query_scalar("SELECT next_seq FROM lanes WHERE lane = $1")
        .bind(lane).fetch_optional(c).await)
    .unwrap()
}

/// Keeps a writer busy until it is let go, so that what comes behind makes one group.
struct Wait(Arc<Semaphore>);

#[async_trait]
impl Command for Wait {
    type Answer = ();

    async fn apply(&self, _tx: &mut Tx<'_>) -> Result<(), Fault> {
        self.0.acquire().await.unwrap().forget();
        Ok(())
    }
}

/// The transaction that a command runs in, and its place among those of the group.
struct Swallow;

#[async_trait]
impl Command for Swallow {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        let _ = on!(tx, c => sqlx::raw_sql("SELECT * FROM no_such_table").execute(c).await.map(|_| ()));
        Ok(())
    }
}

/// A store with one writer, so that groups are foreseeable.
async fn one_writer(test: &TestStore) -> Store {
    test.close().await;
    let mut settings = StoreSettings::new(&test.url);
    settings.writers = 1;
    Store::open(&settings, Arc::new(Uuid::now_v7)).await.unwrap().0
}

both! {
    one_failing_command_leaves_its_group_alone(test) {
        let store = one_writer(&test).await;
        let gate = Arc::new(Semaphore::new(0));
        let waiting = tokio::spawn({ let (store, gate) = (store.clone(), gate.clone()); async move { store.write(Wait(gate)).await } });
        tokio::time::sleep(Duration::from_millis(100)).await;
        let group = (0..10).map(|n| store.write(Count { lane: "a".into(), fails: n % 3 == 1 }));
        let group = futures::future::join_all(group);
        let (answers, ()) = tokio::join!(group, async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            gate.add_permits(1);
        });
        waiting.await.unwrap().unwrap();
        let (good, bad): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!(good.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
        assert!(bad.iter().all(|error| error.as_ref().unwrap_err().kind() == ErrorKind::Rejected));
        assert_eq!((bad.len(), counted(&store, "a").await), (3, Some(7)));
        // The events of those that failed went with them, and the group was one transaction.
        let positions: Vec<i64> =
            on!(store.pool(), c => sqlx::query_scalar("SELECT position FROM audit_events").fetch_all(c).await).unwrap();
        assert_eq!(positions.len(), 7);
        if store.backend() == crate::Backend::Postgres {
            assert!(positions.iter().all(|position| *position == positions[0]));
        }
        store.close().await;
    }

    a_lease_that_is_taken_is_lost_for_the_rest_of_the_group(test) {
        let store = one_writer(&test).await;
        let old = crate::tests::fixture::lease(&store, "n1").await;
        let gate = Arc::new(Semaphore::new(0));
        let waiting = tokio::spawn({
            let (store, gate) = (store.clone(), gate.clone());
            async move { store.write(Wait(gate)).await }
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (name, term, now) = (&old.node, Duration::from_secs(60), crate::tests::fixture::now());
        let found = crate::tests::fixture::offer("a");
        let new = crate::tests::fixture::transfer(None, &["x"]);
        let (claimed, taken, recorded, ()) = tokio::join!(
            store.claim(&old, 1, crate::ClaimFilter::default(), now),
            store.acquire_node(name, term, now, crate::tests::fixture::INSTANCE),
            store.record_offer(crate::tests::fixture::record(&old, found, vec![new])),
            async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                gate.add_permits(1);
            },
        );
        waiting.await.unwrap().unwrap();
        assert!(claimed.unwrap().is_empty());
        assert!(matches!(taken.unwrap(), crate::Acquired::Held(_)));
        assert_eq!(recorded.unwrap(), crate::Recorded::LeaseLost);
        store.close().await;
    }

    a_swallowed_error_is_not_answered_as_done(store) {
        let answer = store.write(Swallow).await;
        assert_eq!(answer.is_err(), store.backend() == crate::Backend::Postgres);
        assert_eq!(store.write(Count { lane: "a".into(), fails: false }).await.unwrap(), 1);
    }

    ten_thousand_commands_from_a_hundred_tasks(store) {
        let tasks: Vec<_> = (0..100).map(|task| {
            let store = store.store.clone();
            tokio::spawn(async move {
                for n in 1..=100 {
                    let lane = format!("task {task}");
                    assert_eq!(store.write(Count { lane, fails: false }).await.unwrap(), n);
                }
            })
        }).collect();
        for task in tasks { task.await.unwrap(); }
        // sum() is numeric on PostgreSQL.
        let sum: i64 = on!(store.pool(), c => sqlx::query_scalar("SELECT CAST(sum(next_seq) AS BIGINT) FROM lanes").fetch_one(c).await).unwrap();
        assert_eq!(sum, 10_000);
    }

    closing_brings_what_waits_to_its_answer(store) {
        let all = futures::future::join_all((0..300).map(|_| store.write(Count { lane: "a".into(), fails: false })));
        let (answers, ()) = tokio::join!(all, async {
            tokio::task::yield_now().await;
            store.close().await;
        });
        let done = answers.iter().filter(|answer| answer.is_ok()).count();
        assert!(done > 0);
        let error = store.write(Count { lane: "a".into(), fails: false }).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unreachable, Retry::Transient));
        let (again, _) = Store::open(&StoreSettings::new(&store.url), Arc::new(Uuid::now_v7)).await.unwrap();
        assert_eq!(counted(&again, "a").await, Some(i64::try_from(done).unwrap()));
    }

    a_claimable_delivery_wakes_whoever_listens(test) {
        let mut wakeups = test.wakeups();
        // The listening connection fires once when it is there.
        tokio::time::sleep(Duration::from_millis(300)).await;
        wakeups.mark_unchanged();
        let lease = crate::tests::fixture::lease(&test, "n1").await;
        crate::tests::fixture::recorded(&test, &lease, "a", &["x"]).await;
        tokio::time::timeout(Duration::from_secs(5), wakeups.changed()).await.unwrap().unwrap();
        assert!(test.ready().await.is_ok());
    }
}

#[tokio::test]
async fn a_file_belongs_to_one_process() {
    let test = TestStore::sqlite().await;
    let error = Store::open(&StoreSettings::new(&test.url), Arc::new(Uuid::now_v7)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::AlreadyExists, Retry::Permanent));
    assert!(error.to_string().contains("another Waybill process"), "{error}");
    test.close().await;
    Store::open(&StoreSettings::new(&test.url), Arc::new(Uuid::now_v7)).await.unwrap();
}

#[tokio::test]
async fn a_wrong_url_is_said_without_its_password() {
    for url in ["mysql://root:hunter2@h/x", "postgres://waybill:hunter2@[broken/x"] {
        let error = Store::open(&StoreSettings::new(url), Arc::new(Uuid::now_v7)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

/// Two transactions that lock the same two rows in opposite order.
struct Cross {
    lanes: [&'static str; 2],
    both_began: Arc<Barrier>,
    tries: Arc<AtomicU32>,
}

#[async_trait]
impl Command for Cross {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        add(tx, self.lanes[0]).await?;
        if self.tries.fetch_add(1, Ordering::SeqCst) < 2 {
            self.both_began.wait().await;
        }
        add(tx, self.lanes[1]).await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_that_block_each_other_both_come_through() {
    let store = TestStore::postgres().await;
    let (both_began, tries) = (Arc::new(Barrier::new(2)), Arc::new(AtomicU32::new(0)));
    let cross = |lanes| Cross { lanes, both_began: both_began.clone(), tries: tries.clone() };
    let first = tokio::spawn({
        let (store, cross) = (store.store.clone(), cross(["a", "b"]));
        async move { store.write(cross).await }
    });
    // So that another writer takes the second.
    tokio::time::sleep(Duration::from_millis(200)).await;
    store.write(cross(["b", "a"])).await.unwrap();
    first.await.unwrap().unwrap();
    assert_eq!((counted(&store, "a").await, counted(&store, "b").await), (Some(2), Some(2)));
    assert!(tries.load(Ordering::SeqCst) >= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_together_migrate_once() {
    let first = TestStore::postgres().await;
    // The database as it was before.
    first.tamper("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
    let opened = futures::future::join_all(
        (0..4).map(|_| async { Store::open(&StoreSettings::new(&first.url), Arc::new(Uuid::now_v7)).await }),
    )
    .await;
    for store in opened {
        let (store, warnings) = store.unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        store.write(Count { lane: "a".into(), fails: false }).await.unwrap();
    }
    assert_eq!(counted(&first, "a").await, Some(4));
}

/// Sets how large the file may become, then writes as much as it is told.
struct Fill {
    pages: u32,
    bytes: usize,
}

#[async_trait]
impl Command for Fill {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {}", self.pages));
        on!(tx, c => sqlx::raw_sql(limit).execute(c).await.map(|_| ()))?;
        add(tx, &"x".repeat(self.bytes)).await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_fails_what_does_not_fit_and_passes() {
    let store = TestStore::sqlite().await;
    assert_eq!(store.write(Count { lane: "a".into(), fails: false }).await.unwrap(), 1);
    let error = store.write(Fill { pages: 1, bytes: 1 << 20 }).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::StorageFull, Retry::Transient), "{error:?}");
    store.write(Fill { pages: 1_000_000, bytes: 1 << 20 }).await.unwrap();
    assert_eq!(store.write(Count { lane: "a".into(), fails: false }).await.unwrap(), 2);
}
