use super::*;
use crate::TrustedKeys;
use crate::seal::{Bound, SealKey};
use crate::testing::{TestStore, at, both, event};
use crate::verify::VerifyOptions;
use chrono::Datelike as _;
use model::{Actor, ConnectionId, DeliveryId, Severity, Timestamp, TransferId};
use serde_json::json;
use uuid::Uuid;

async fn rows(store: &Store) -> Vec<StoredRow> {
    let mut cursor = EventCursor::new(store, Bound::START, Bound::position(i64::MAX));
    let mut rows = vec![];
    while let Some(row) = cursor.next().await.unwrap() {
        rows.push(row);
    }
    rows
}

/// An event in which everything is set, and everything is as bad as it can be.
fn worst(n: i64) -> AuditEvent {
    let long = "x\0é\n".repeat(10_000);
    let deep = (0..500).fold(json!(1.5), |inner, _| json!({"in\0": [inner]}));
    let mut event = event(n)
        .by(Actor::User(long.clone()))
        .flow(&long)
        .endpoint(&long)
        .partner(&long)
        .transfer(TransferId::new(Uuid::from_u128(1)))
        .delivery(DeliveryId::new(Uuid::from_u128(2)))
        .connection(ConnectionId::new(Uuid::max()))
        .severity(Severity::Error)
        .detail("deep", deep)
        .detail("long", long.clone())
        .detail("nul\0key", "\0")
        .detail("float", 1e300)
        .detail("big", u64::MAX)
        .detail("minus", i64::MIN)
        .detail("", json!([null, true, "\u{1}\u{7f}\u{ffff}\u{10ffff}"]));
    event.peer = Some(long);
    event
}

both! {
    what_is_written_is_read_back_and_hashes_the_same(store) {
        let events: Vec<_> = (0..20).map(|n| if n % 2 == 0 { event(n) } else { worst(n) }).collect();
        store.append_events(events.clone()).await.unwrap();
        // Again, and in other company: nothing twice.
        store.append_events(events.iter().rev().cloned().chain([event(100)]).collect()).await.unwrap();
        let rows = rows(&store).await;
        assert_eq!(rows.len(), 21);
        for event in &events {
            let row = rows.iter().find(|row| row.bound.id == event.id.uuid()).unwrap();
            assert_eq!(row.columns.as_ref().unwrap().hash(), event_hash(event));
        }
    }

    many_events_are_read_in_order_page_by_page(store) {
        let events: Vec<_> = (0..3500).map(event).collect();
        for some in events.chunks(700) {
            store.append_events(some.to_vec()).await.unwrap();
        }
        let rows = rows(&store).await;
        assert_eq!(rows.len(), 3500);
        assert!(rows.windows(2).all(|pair| pair[0].bound < pair[1].bound));
    }

    months_are_removed_whole_and_on_record(store) {
        let key = SealKey::load_or_create(&store.dir.path().join("key")).unwrap();
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = time("2026-11-20T12:00:00Z");
        let node = "n1".parse().unwrap();
        store.ensure_partitions(time("2026-08-10T00:00:00Z")).await.unwrap();
        store.ensure_partitions(now).await.unwrap();
        store.ensure_partitions(now).await.unwrap();
        // Two old months, their boundary inside a seal, one event of 1970 and one of the future.
        let mut n = 0;
        let mut some = |from: &str, count: i64| -> Vec<AuditEvent> {
            let from = time(from);
            (0..count).map(|_| {
                n += 1;
                AuditEvent { at: from + chrono::TimeDelta::minutes(n), ..event(n) }
            }).collect()
        };
        store.append_events(some("2026-08-31T10:00:00Z", 20)).await.unwrap();
        store.append_events(some("1970-01-01T00:00:00Z", 1)).await.unwrap();
        store.seal_all(now, &key).await;
        store.append_events(some("2026-08-31T12:00:00Z", 5)).await.unwrap();
        store.append_events(some("2026-09-01T00:00:00Z", 7)).await.unwrap();
        store.seal_all(now, &key).await;
        store.append_events(some("2026-09-02T00:00:00Z", 1200)).await.unwrap();
        store.append_events(some("2026-11-02T00:00:00Z", 3)).await.unwrap();
        store.append_events(some("2031-01-01T00:00:00Z", 1)).await.unwrap();
        let before = time("2026-11-01T00:00:00Z");
        let remove = || store.remove_audit_before(before, now, &node, &key, Uuid::now_v7);

        let months = remove().await.unwrap();
        let kept: Vec<_> = months.iter().map(|m| (m.month.as_str(), m.events, m.kept)).collect();
        assert_eq!(kept, [
            ("1970-01", 1, None), ("2026-08", 25, None), ("2026-09", 0, Some(MonthKept::Unsealed)),
        ]);
        store.seal_all(now, &key).await;
        let months = remove().await.unwrap();
        assert_eq!((months.len(), months[0].events, months[0].kept), (1, 1207, None));
        assert_eq!(remove().await.unwrap(), []);
        store.seal_all(now, &key).await;

        let options = VerifyOptions { trusted: TrustedKeys::of(&key).unwrap(), ..Default::default() };
        let report = store.verify_audit(&options, |_| ()).await.unwrap();
        assert!(report.holds(), "{:?}", report.findings);
        assert_eq!((report.removed, report.unsealed), (1 + 25 + 1207, 0));
        // What is left: November's, the future's, and a record for each month.
        assert_eq!(rows(&store).await.len(), 3 + 1 + 3);
        let seals = store.seals_from(1, None, 100).await.unwrap();
        assert!(seals[0].members.is_none() && seals[1].members.is_none(), "no events, no members");
        assert!(seals[2].members.is_some(), "November's events are in it");

        // A removal that only the database knows of is no retention.
        store.tamper("DELETE FROM audit_events WHERE at < '2026-11-03'").await;
        let report = store.verify_audit(&options, |_| ()).await.unwrap();
        assert_eq!(report.findings.len(), 3);
    }

    the_record_of_a_removal_outlives_its_own_month(store) {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        // Two nodes take turns, and each has a key of its own.
        let keys = ["one", "two"].map(|name| SealKey::load_or_create(&store.dir.path().join(name)).unwrap());
        let mut options = VerifyOptions { trusted: TrustedKeys::of(&keys[0]).unwrap(), ..Default::default() };
        options.trusted.add_pem(keys[1].public_pem().as_bytes()).unwrap();
        let mut months = 0;
        for (round, now) in ["2026-03-05", "2026-06-05", "2026-09-05", "2026-12-05", "2027-03-05"].iter().enumerate() {
            let now = time(&format!("{now}T12:00:00Z"));
            let (key, node) = (&keys[round % 2], ["n1", "n2"][round % 2].parse().unwrap());
            store.ensure_partitions(now).await.unwrap();
            let round = round as i64;
            let some = (0..5).map(|n| AuditEvent { at: now - chrono::TimeDelta::hours(n), ..event(10 * round + n) });
            store.append_events(some.collect()).await.unwrap();
            store.seal_all(now, key).await;
            // Two months are kept, so each round removes what the one before left.
            let before = now - chrono::TimeDelta::days(60);
            let removed = store.remove_audit_before(before, now, &node, key, Uuid::now_v7).await.unwrap();
            assert!(removed.iter().all(|month| month.kept.is_none()), "{removed:?}");
            months += removed.len();
            store.seal_all(now, key).await;
            let report = store.verify_audit(&options, |_| ()).await.unwrap();
            assert!(report.holds(), "{now}: {:?}", report.findings);
        }
        assert_eq!(months, 4);
        // One record for each month that went, and none twice.
        assert_eq!(crate::verify::record_rows(&store).await.unwrap().len(), 4);
    }

    evidence_of_tampering_is_not_removed(store) {
        let key = SealKey::load_or_create(&store.dir.path().join("key")).unwrap();
        let old: Vec<_> =
            (0..5).map(|n| AuditEvent { at: at(n) - chrono::TimeDelta::days(90), ..event(n) }).collect();
        store.append_events(old).await.unwrap();
        store.seal_all(at(10), &key).await;
        store.tamper("UPDATE audit_events SET flow = 'other' WHERE detail LIKE '%3%'".replace(
            "detail LIKE", "CAST(detail AS TEXT) LIKE").as_str()).await;
        let error = store
            .remove_audit_before(at(0), at(10), &"n1".parse().unwrap(), &key, Uuid::now_v7)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), model::ErrorKind::IntegrityFailed);
        assert_eq!(rows(&store).await.len(), 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_move_from_the_default_partition_to_their_month() {
    let store = TestStore::postgres().await;
    let events: Vec<_> = (0..10).map(event).collect();
    store.append_events(events).await.unwrap();
    let before: Vec<_> = rows(&store).await.into_iter().map(|row| row.bound).collect();
    let starts = (0..4).map(|_| store.ensure_partitions(at(0)));
    for done in futures::future::join_all(starts).await {
        done.unwrap();
    }
    let moved = store.tamper("DELETE FROM audit_events_default").await;
    assert_eq!(moved, 0, "nothing is left there");
    let after: Vec<_> = rows(&store).await.into_iter().map(|row| row.bound).collect();
    assert_eq!(before, after);
    store.append_events(vec![event(11)]).await.unwrap();
    let table = format!("audit_events_{:04}_{:02}", at(0).year(), at(0).month());
    assert_eq!(store.tamper(&format!("UPDATE {table} SET node = node")).await, 11);
}

/// A dump restored into another server, whose transactions have lower numbers.
#[tokio::test(flavor = "multi_thread")]
async fn positions_continue_behind_the_newest_seal_after_a_restore() {
    use sqlx::Connection as _;
    let store = TestStore::postgres().await;
    let key = SealKey::load_or_create(&store.dir.path().join("key")).unwrap();
    store
        .tamper(
            "CREATE OR REPLACE FUNCTION audit_position(transaction bigint) RETURNS bigint LANGUAGE sql \
                 IMMUTABLE PARALLEL SAFE AS 'SELECT transaction + 1000000'",
        )
        .await;
    store.append_events(vec![event(1)]).await.unwrap();
    store.seal_all(at(5), &key).await;
    store
        .tamper(
            "CREATE OR REPLACE FUNCTION audit_position(transaction bigint) RETURNS bigint LANGUAGE sql \
                 IMMUTABLE PARALLEL SAFE AS 'SELECT transaction + 0'",
        )
        .await;
    // One that began before, and writes its event after.
    let mut slow = sqlx::PgConnection::connect(&store.url).await.unwrap();
    let mut transaction = slow.begin().await.unwrap();
    sqlx::query("SELECT pg_current_xact_id()").execute(&mut *transaction).await.unwrap();
    for _ in 0..5 {
        store.tamper("SELECT pg_current_xact_id()").await;
    }
    store.ensure_partitions(at(0)).await.unwrap();
    sqlx::query(
        "INSERT INTO audit_events (id, at, node, kind, severity, actor, detail) \
         VALUES ($1, $2, 'n2', 'poll.failed', 'warning', 'system', '{}')",
    )
    .bind(uuid::Uuid::now_v7())
    .bind(at(2))
    .execute(&mut *transaction)
    .await
    .unwrap();
    transaction.commit().await.unwrap();
    store.append_events(vec![event(2)]).await.unwrap();
    assert_eq!(store.seal_all(at(6), &key).await.events, 2);
    let options = VerifyOptions { trusted: TrustedKeys::of(&key).unwrap(), ..Default::default() };
    let report = store.verify_audit(&options, |_| ()).await.unwrap();
    assert!(report.holds(), "{:?}", report.findings);
    assert_eq!(report.events, 3);
}

#[test]
fn an_event_keeps_its_meaning_when_cleaned() {
    let plain = event(1).by(Actor::User("ada".into())).flow("orders");
    assert_eq!(clean(&plain), plain);
    let cleaned = clean(&worst(1));
    assert!(clean(&cleaned) == cleaned, "once is enough");
}

/// A backup reads the table: writers are not held up behind a wish to change its partitions.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_reader_only_puts_off_the_partitions() {
    use sqlx::Connection as _;
    let store = TestStore::postgres().await;
    let mut reader = sqlx::PgConnection::connect(&store.url).await.unwrap();
    let mut reading = reader.begin().await.unwrap();
    sqlx::query("SELECT count(*) FROM audit_events").execute(&mut *reading).await.unwrap();
    let (made, ()) = tokio::join!(store.ensure_partitions(at(0)), async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let one = store.append_events(vec![event(1)]);
        tokio::time::timeout(std::time::Duration::from_secs(20), one).await.unwrap().unwrap();
    });
    let error = made.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (model::ErrorKind::Throttled, model::Retry::Transient));
    reading.rollback().await.unwrap();
    store.ensure_partitions(at(0)).await.unwrap();
    assert_eq!(rows(&store).await.len(), 1);
}
