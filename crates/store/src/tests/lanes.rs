use super::fixture::{after, claim, claim_one, delivered, failed, lease, now, recorded, retry};
use crate::testing::both;
use crate::{Act, ClaimFilter, Finish};
use model::{Actor, DeliveryState, Timestamp};

fn act() -> Act {
    Act::new(Actor::User("ada".into()), crate::tests::fixture::node("n1"), now())
}

both! {
    a_lane_goes_in_the_order_of_recording(store) {
        let lease = lease(&store, "n1").await;
        let mut order = Vec::new();
        for n in 0..4 {
            let (_, new) = recorded(&store, &lease, &format!("f{n}"), &["lane-a"]).await;
            order.push(new.transfer.id);
        }
        for expected in order {
            let one = claim_one(&store, &lease).await;
            assert_eq!(one.transfer.id, expected);
            store.finish(&one.claim, delivered(), now(), vec![]).await.unwrap();
        }
    }

    each_of_several_destinations_gets_one_file_at_a_time_whichever_node_sends(store) {
        let (one, two) = (lease(&store, "n1").await, lease(&store, "n2").await);
        let mut order = Vec::new();
        for path in ["a", "b", "c"] {
            order.push(recorded(&store, &one, path, &["lane-a", "lane-b"]).await.1.transfer.id);
        }
        let mut sent: std::collections::BTreeMap<String, Vec<_>> = Default::default();
        for (lease, other) in [(&one, &two), (&two, &one), (&one, &two)] {
            let both = claim(&store, lease).await;
            assert_eq!(both.len(), 2, "one to each destination");
            assert!(claim(&store, other).await.is_empty(), "what is being sent blocks its lane for every node");
            for claimed in both {
                sent.entry(claimed.delivery.endpoint.clone()).or_default().push(claimed.transfer.id);
                store.finish(&claimed.claim, delivered(), now(), vec![]).await.unwrap();
            }
        }
        assert_eq!(sent.len(), 2);
        assert!(sent.values().all(|ids| *ids == order), "{sent:?}");
    }

    waiting_for_a_retry_or_a_receipt_blocks_the_lane(store) {
        let lease = lease(&store, "n1").await;
        for path in ["a", "b"] { recorded(&store, &lease, path, &["lane-a"]).await; }
        recorded(&store, &lease, "c", &["lane-b"]).await;
        let both = claim(&store, &lease).await;
        assert_eq!(both.len(), 2);
        let first = both.iter().find(|one| one.delivery.endpoint == "lane-a").unwrap();
        let due = after(now(), 60_000);
        store.finish(&first.claim, retry(due), now(), vec![]).await.unwrap();
        assert!(claim(&store, &lease).await.is_empty());
        assert_eq!(store.next_due().await.unwrap(), Some(due));
        let again = store.claim(&lease, 10, ClaimFilter::default(), due).await.unwrap().remove(0);
        assert_eq!(again.delivery.id, first.delivery.id);
        store.finish(&again.claim, Finish::Awaiting { deadline: due, replies: vec![] }, now(), vec![]).await.unwrap();
        assert!(store.claim(&lease, 10, ClaimFilter::default(), after(due, 1)).await.unwrap().is_empty());
        store.finish(&again.claim, delivered(), now(), vec![]).await.unwrap();
        assert_eq!(claim_one(&store, &lease).await.delivery.endpoint, "lane-a");
    }

    a_failure_for_good_blocks_until_a_person_acts(store) {
        let lease = lease(&store, "n1").await;
        for path in ["a", "b"] { recorded(&store, &lease, path, &["lane-a"]).await; }
        let first = claim_one(&store, &lease).await;
        store.finish(&first.claim, failed(false), now(), vec![]).await.unwrap();
        assert!(claim(&store, &lease).await.is_empty());
        store.retry_delivery(first.delivery.id, &act()).await.unwrap();
        let again = claim_one(&store, &lease).await;
        assert_eq!(again.delivery.id, first.delivery.id);
        assert_eq!((again.claim.attempt, again.failures), (2, 0));
        store.finish(&again.claim, failed(false), now(), vec![]).await.unwrap();
        assert!(claim(&store, &lease).await.is_empty());
        store.cancel_delivery(first.delivery.id, &act()).await.unwrap();
        assert_ne!(claim_one(&store, &lease).await.delivery.id, first.delivery.id);
    }

    a_lane_that_goes_on_does_not_wait_for_a_failure(store) {
        let lease = lease(&store, "n1").await;
        for path in ["a", "b"] { recorded(&store, &lease, path, &["lane-a"]).await; }
        let first = claim_one(&store, &lease).await;
        store.finish(&first.claim, failed(true), now(), vec![]).await.unwrap();
        let second = claim_one(&store, &lease).await;
        assert_ne!(second.delivery.id, first.delivery.id);
        // Sent again by a person, the first takes its place in front.
        store.finish(&second.claim, retry(now()), now(), vec![]).await.unwrap();
        store.retry_delivery(first.delivery.id, &act()).await.unwrap();
        let again = claim_one(&store, &lease).await;
        assert_eq!(again.delivery.id, first.delivery.id);
        // Its transport is told that others came between.
        assert_eq!(again.notes.get(model::OVERTAKEN), Some(&true.into()));
        store.finish(&again.claim, failed(true), now(), vec![]).await.unwrap();
        let second = claim_one(&store, &lease).await;
        store.finish(&second.claim, failed(true), now(), vec![]).await.unwrap();
        store.retry_delivery(second.delivery.id, &act()).await.unwrap();
        assert_eq!(claim_one(&store, &lease).await.notes.get(model::OVERTAKEN), None, "it is the last");
    }

    numbers_have_no_gaps_whoever_fails(store) {
        let lease = lease(&store, "n1").await;
        recorded(&store, &lease, "a", &["lane-a", "lane-b"]).await;
        let found = crate::tests::fixture::offer("broken");
        let mut broken = crate::tests::fixture::transfer(Some(found.id), &["lane-a"]);
        broken.deliveries.push(broken.deliveries[0].clone());
        assert!(store.record_offer(crate::tests::fixture::record(&lease, found, vec![broken])).await.is_err());
        recorded(&store, &lease, "b", &["lane-a"]).await;
        let numbers: Vec<i64> = crate::either::on!(store.pool(), c => sqlx::query_scalar(
            "SELECT lane_seq FROM deliveries WHERE lane = 'lane-a' ORDER BY lane_seq").fetch_all(c).await).unwrap();
        assert_eq!(numbers, [1, 2]);
    }

    a_long_queue_behind_an_offline_endpoint_costs_nothing(store) {
        let lease = lease(&store, "n1").await;
        let found = crate::tests::fixture::offer("many");
        let many = (0..500).map(|_| crate::tests::fixture::transfer(Some(found.id), &["lane-a"])).collect();
        store.record_offer(crate::tests::fixture::record(&lease, found, many)).await.unwrap();
        let one = claim_one(&store, &lease).await;
        store.finish(&one.claim, retry(Timestamp::from_timestamp_micros(4_000_000_000_000_000).unwrap()), now(), vec![]).await.unwrap();
        assert!(claim(&store, &lease).await.is_empty());
        assert_eq!(store.deliveries(one.transfer.id).await.unwrap()[0].state, DeliveryState::Retrying);
    }
}
