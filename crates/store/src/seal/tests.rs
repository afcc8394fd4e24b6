use super::*;
use crate::testing::{TestStore, at, both, event};
use crate::verify::VerifyOptions;
use model::AuditEvent;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

fn key(store: &TestStore) -> SealKey {
    SealKey::load_or_create(&store.dir.path().join("key")).unwrap()
}

/// How often each event is in a seal.
async fn sealed(store: &Store) -> HashMap<Uuid, usize> {
    let mut sealed = HashMap::new();
    for seal in store.seals_from(1, None, i64::MAX).await.unwrap() {
        for (id, _) in read_members(&seal.members.unwrap()) {
            *sealed.entry(id).or_default() += 1;
        }
    }
    sealed
}

async fn holds(store: &Store, key: &SealKey) {
    let options = VerifyOptions { trusted: TrustedKeys::of(key).unwrap(), ..Default::default() };
    let report = store.verify_audit(&options, |_| ()).await.unwrap();
    assert!(report.holds(), "{:?}", report.findings);
}

both! {
    each_event_is_sealed_once_and_quiet_days_too(store) {
        let key = key(&store);
        assert_eq!(store.seal_all(at(0), &key).await, Sealed::default());
        store.append_events((0..5).map(event).collect()).await.unwrap();
        let lag = store.seal_lag(at(5_000_000)).await.unwrap();
        assert_eq!((lag.events, lag.lag.as_secs(), lag.last), (5, 5, None));
        assert_eq!(store.seal_all(at(10), &key).await, Sealed { seals: 1, events: 5 });
        assert_eq!(store.seal_all(at(11), &key).await, Sealed::default());
        store.append_events(vec![event(7)]).await.unwrap();
        assert_eq!(store.seal_all(at(12), &key).await, Sealed { seals: 1, events: 1 });
        let day = 86_400_000_000;
        assert_eq!(store.seal_all(at(day), &key).await, Sealed::default(), "not yet a day");
        assert_eq!(store.seal_all(at(12 + day), &key).await, Sealed { seals: 1, events: 0 });
        assert_eq!(sealed(&store).await.len(), 6);
        let lag = store.seal_lag(at(20)).await.unwrap();
        assert_eq!((lag.events, lag.oldest), (0, None));
        holds(&store, &key).await;
    }

    a_long_stretch_becomes_several_seals_also_within_one_transaction(store) {
        let key = key(&store);
        let events: Vec<AuditEvent> = (0..25_000).map(event).collect();
        store.append_events(events).await.unwrap();
        assert_eq!(store.seal_all(at(10), &key).await, Sealed { seals: 3, events: 25_000 });
        let seals = store.seals_from(1, None, 10).await.unwrap();
        assert!(seals.iter().all(|seal| seal.count <= EVENTS as i64));
        assert!(seals.windows(2).all(|pair| pair[0].to == pair[1].from));
        let sealed = sealed(&store).await;
        assert_eq!(sealed.len(), 25_000);
        holds(&store, &key).await;
        let mut lines = vec![];
        store.export_seals(2, |line| { lines.push(line); Ok(()) }).await.unwrap();
        assert_eq!(lines.len(), 2);
        let copy: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        let digest = Sha256(openssl::sha::sha256(copy["header"].as_str().unwrap().as_bytes()));
        assert_eq!(copy["digest"], digest.to_string());
    }

    /// Many writers, two sealers that race: every event in exactly one seal, the chain whole.
    nothing_is_lost_or_sealed_twice_under_load(store) {
        let key = Arc::new(key(&store));
        let (stop, seals) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let sealers: Vec<_> = (0..2).map(|_| {
            let (store, key, stop, seals) = (store.store.clone(), key.clone(), stop.clone(), seals.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    seals.fetch_add(store.seal(at(1), &key).await.unwrap().seals, Ordering::Relaxed);
                    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
                }
            })
        }).collect();
        let writers: Vec<_> = (0..8).map(|writer| {
            let store = store.store.clone();
            tokio::spawn(async move {
                for n in 0..60 {
                    let some = (0..(n % 7) + 1).map(|i| event(writer * 1000 + n * 10 + i)).collect();
                    store.append_events(some).await.unwrap();
                }
            })
        }).collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let mut written: i64 = 8 * (0..60).map(|n| (n % 7) + 1).sum::<i64>();
        // Where the machine is busy, until the sealers had their turn too.
        let at_most = written + 50_000;
        while seals.load(Ordering::Relaxed) <= 3 && written < at_most && !sealers.iter().any(|sealer| sealer.is_finished()) {
            store.append_events(vec![event(written)]).await.unwrap();
            written += 1;
        }
        assert!(written < at_most, "the sealers make no seals");
        stop.store(true, Ordering::Relaxed);
        for sealer in sealers {
            sealer.await.unwrap();
        }
        store.seal_all(at(2), &key).await;
        let sealed = sealed(&store).await;
        assert_eq!(sealed.len() as i64, written);
        assert!(sealed.values().all(|times| *times == 1));
        holds(&store, &key).await;
    }
}

/// A transaction that wrote its event before a sealing run and commits after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_transaction_falls_into_a_later_seal() {
    use sqlx::Connection as _;
    let store = TestStore::postgres().await;
    let key = key(&store);
    let mut slow = sqlx::PgConnection::connect(&store.url).await.unwrap();
    store.append_events(vec![event(1)]).await.unwrap();
    store.quiet().await;
    let mut transaction = slow.begin().await.unwrap();
    let late = Uuid::now_v7();
    sqlx::query(
        "INSERT INTO audit_events (id, at, node, kind, severity, actor, detail) \
         VALUES ($1, $2, 'n2', 'poll.failed', 'warning', 'system', '{}')",
    )
    .bind(late)
    .bind(at(2))
    .execute(&mut *transaction)
    .await
    .unwrap();
    store.append_events(vec![event(3)]).await.unwrap();
    // The third event is committed, but behind the one under way: it waits with it.
    assert_eq!(store.seal(at(10), &key).await.unwrap().events, 1);
    assert_eq!(store.seal(at(11), &key).await.unwrap().events, 0);
    assert_eq!(store.seal_lag(at(11)).await.unwrap().events, 1);
    transaction.commit().await.unwrap();
    assert_eq!(store.seal_all(at(12), &key).await.events, 2);
    let sealed = sealed(&store).await;
    assert_eq!(sealed.len(), 3);
    assert_eq!(sealed[&late], 1);
    holds(&store, &key).await;
}

/// Transactions of random length from outside, so that commits come in another order than positions.
#[tokio::test(flavor = "multi_thread")]
async fn commits_out_of_order_are_never_missed() {
    let store = TestStore::postgres().await;
    let key = key(&store);
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(12).connect(&store.url).await.unwrap();
    // They go on until some seals were made beside them, however slow the machine is.
    let seals = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..12u64)
        .map(|writer| {
            let (pool, seals) = (pool.clone(), Arc::clone(&seals));
            tokio::spawn(async move {
                let mut committed = vec![];
                let mut n = 0_u64;
                while n < 25 || seals.load(Ordering::Relaxed) <= 5 {
                    n += 1;
                    let mut transaction = pool.begin().await.unwrap();
                    let id = Uuid::now_v7();
                    sqlx::query(
                        "INSERT INTO audit_events (id, at, node, kind, severity, actor, detail) \
                     VALUES ($1, $2, 'n2', 'poll.failed', 'warning', 'system', '{}')",
                    )
                    .bind(id)
                    .bind(at(2))
                    .execute(&mut *transaction)
                    .await
                    .unwrap();
                    let pause = (writer * 7919 + n * 104_729) % 23;
                    tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
                    if pause.is_multiple_of(5) {
                        transaction.rollback().await.unwrap();
                    } else {
                        transaction.commit().await.unwrap();
                        committed.push(id);
                    }
                }
                committed
            })
        })
        .collect();
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        let made = store.seal(at(5), &key).await.unwrap().seals;
        seals.fetch_add(made, Ordering::Relaxed);
    }
    let mut committed = vec![];
    for writer in writers {
        committed.extend(writer.await.unwrap());
    }
    store.seal_all(at(6), &key).await;
    let sealed = sealed(&store).await;
    assert_eq!(sealed.len(), committed.len());
    assert!(committed.iter().all(|id| sealed.get(id) == Some(&1)));
    holds(&store, &key).await;
}
