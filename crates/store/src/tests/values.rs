//! What is written is what is read.

use super::fixture::{lease, now, offer, record, transfer};
use crate::either::on;
use crate::testing::both;
use chrono::TimeDelta;
use model::{RemotePath, Timestamp};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;

fn any_time() -> impl Strategy<Value = Timestamp> {
    // Years 1970 to 9999, with fractions of every length.
    (0_i64..253_402_300_799, prop_oneof![Just(0_i64), (0_i64..1000).prop_map(|n| n * 1000), 0_i64..1_000_000])
        .prop_map(|(seconds, micros)| {
            Timestamp::from_timestamp(seconds, 0).unwrap() + TimeDelta::microseconds(micros)
        })
}

both! {
    times_come_back_equal_and_sort_as_they_follow(store) {
        let mut runner = TestRunner::deterministic();
        let strategy = proptest::collection::vec(any_time(), 200);
        let mut times = strategy.new_tree(&mut runner).unwrap().current();
        let base = now();
        times.extend((0..50).map(|n| base + TimeDelta::microseconds(n * 337)));
        for (n, time) in times.iter().enumerate() {
            let name = format!("s{n}");
            let lane = crate::testing::event(0).detail("n", n).detail("name", name);
            store.append_events(vec![model::AuditEvent { at: *time, ..lane }]).await.unwrap();
        }
        let read: Vec<Timestamp> =
            on!(store.pool(), c => sqlx::query_scalar("SELECT at FROM audit_events ORDER BY at").fetch_all(c).await)
                .unwrap();
        times.sort();
        assert_eq!(read, times);
    }

    names_and_metadata_come_back_as_they_were(store) {
        let lease = lease(&store, "n1").await;
        let mut found = offer("ignored");
        found.identity.path = RemotePath::from_bytes(*b"in/caf\xe9 100%\n.edi");
        found.identity.modified = Some(now());
        found.identity.version = Some("\"etag\"".into());
        found.source_data.insert("uid".into(), json!(9_007_199_254_740_993_i64));
        let mut new = transfer(Some(found.id), &["x"]);
        new.transfer.payload.file_name = RemotePath::from_bytes(*b"caf\xe9.edi");
        new.transfer.payload.length = 1 << 40;
        new.transfer.metadata.insert("é".into(), json!({"list": [1, null, true, "x"]}));
        store.record_offer(record(&lease, found.clone(), vec![new.clone()])).await.unwrap();
        let read = store.transfer(new.transfer.id).await.unwrap().unwrap();
        assert_eq!(read, model::Transfer { state: read.state, ..new.transfer });
        let read = store.offers_to_settle("orders", "acme", now(), 1).await.unwrap().remove(0).offer;
        assert_eq!(read, model::Offer { state: model::OfferState::Recorded, ..found });
    }

    a_text_that_the_database_refuses_fails_its_own_command_alone(store) {
        let lease = lease(&store, "n1").await;
        let mut bad = offer("bad");
        bad.source_data.insert("nul".into(), "a\0b".into());
        let new = transfer(Some(bad.id), &["x"]);
        let (bad, good) = tokio::join!(
            store.record_offer(record(&lease, bad, vec![new])),
            store.record_offer(record(&lease, offer("good"), vec![transfer(None, &["x"])])),
        );
        assert!(good.is_ok());
        // SQLite takes it.
        assert_eq!(bad.is_err(), store.backend() == crate::Backend::Postgres);
    }
}
