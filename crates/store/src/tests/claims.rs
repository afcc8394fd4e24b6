use super::fixture::{
    after, claim, claim_one, delivered, delivery_states, events, failed, lease, now, offer, record, recorded,
    retry, transfer, transfer_state,
};
use crate::testing::both;
use crate::{ClaimFilter, Done, Finish, Finished, PoolRooms};
use model::{DeliveryState, EventKind, SendProgress, TransferState};
use serde_json::json;
use std::collections::HashSet;

both! {
    a_delivery_is_claimed_once_and_ends_with_its_receipt(store) {
        let lease = lease(&store, "n1").await;
        let (_, new) = recorded(&store, &lease, "a", &["x"]).await;
        let one = claim_one(&store, &lease).await;
        assert_eq!(one.delivery.state, DeliveryState::Sending);
        assert_eq!((one.claim.attempt, one.claim.epoch, one.failures, one.interrupted), (1, lease.epoch, 0, false));
        assert_eq!(one.transfer.payload, new.transfer.payload);
        assert!(claim(&store, &lease).await.is_empty());
        let end = store.finish(&one.claim, delivered(), now(), vec![]).await.unwrap();
        assert_eq!(end, Finished::Done { transfer_ended: Some(TransferState::Completed) });
        assert_eq!(transfer_state(&store, new.transfer.id).await, TransferState::Completed);
        // Told again, as its answer might have been lost.
        let again = store.finish(&one.claim, delivered(), now(), vec![]).await.unwrap();
        assert_eq!(again, Finished::AlreadyResolved(DeliveryState::Delivered));
        assert_eq!(events(&store, EventKind::DeliveryAttempted).await, 1);
        assert_eq!(events(&store, EventKind::TransferCompleted).await, 1);
    }

    a_failed_attempt_waits_for_its_time_and_counts(store) {
        let lease = lease(&store, "n1").await;
        recorded(&store, &lease, "a", &["x"]).await;
        let one = claim_one(&store, &lease).await;
        let due = after(now(), 60_000);
        store.finish(&one.claim, retry(due), now(), vec![]).await.unwrap();
        assert!(claim(&store, &lease).await.is_empty());
        assert_eq!(store.next_due().await.unwrap(), Some(due));
        let two = store.claim(&lease, 10, ClaimFilter::default(), due).await.unwrap().remove(0);
        assert_eq!((two.claim.attempt, two.failures), (2, 1));
        // The first attempt has nothing to say any more.
        assert_eq!(store.finish(&one.claim, delivered(), now(), vec![]).await.unwrap(), Finished::ClaimLost);
        assert_eq!(store.note(&one.claim, "k", json!(1)).await.unwrap(), Done::ClaimLost);
    }

    a_transfer_ends_by_its_deliveries(store) {
        let lease = lease(&store, "n1").await;
        for (ends, state) in [
            ([true, true], TransferState::Completed),
            ([true, false], TransferState::PartlyFailed),
            ([false, false], TransferState::Failed),
        ] {
            let (_, new) = recorded(&store, &lease, &format!("{ends:?}"), &["x", "y"]).await;
            let claimed = claim(&store, &lease).await;
            assert_eq!(claimed.len(), 2);
            for (place, (one, well)) in claimed.iter().zip(ends).enumerate() {
                let finish = if well { delivered() } else { failed(false) };
                let end = store.finish(&one.claim, finish, now(), vec![]).await.unwrap();
                assert_eq!(end, Finished::Done { transfer_ended: (place == 1).then_some(state) });
            }
            assert_eq!(transfer_state(&store, new.transfer.id).await, state);
        }
    }

    endpoints_can_be_passed_over_and_the_oldest_goes_first(store) {
        let lease = lease(&store, "n1").await;
        for path in ["a", "b", "c"] {
            recorded(&store, &lease, path, &["x", "offline"]).await;
        }
        let filter = ClaimFilter { skip_endpoints: vec!["offline".into(), "other".into()], ..ClaimFilter::default() };
        let first = store.claim(&lease, 2, filter.clone(), now()).await.unwrap();
        let rest = store.claim(&lease, 10, filter, now()).await.unwrap();
        assert_eq!((first.len(), rest.len()), (2, 1));
        let due: Vec<_> = first.iter().chain(&rest).map(|one| one.delivery.due_at).collect();
        assert!(due.is_sorted());
        assert_eq!(claim(&store, &lease).await.len(), 3);
    }

    destinations_outside_their_hours_are_passed_over_in_lanes_too(store) {
        let lease = lease(&store, "n1").await;
        recorded(&store, &lease, "a", &["x", "closed", "lane-closed"]).await;
        let closed = ["orders/closed", "orders/lane-closed", "other/x"].map(str::to_owned).into();
        let filter = ClaimFilter { closed, ..ClaimFilter::default() };
        let open = store.claim(&lease, 10, filter, now()).await.unwrap();
        let to: Vec<_> = open.iter().map(|one| one.delivery.destination.as_str()).collect();
        assert_eq!(to, ["x"]);
        assert_eq!(claim(&store, &lease).await.len(), 2);
    }

    of_the_deliveries_to_an_endpoint_the_most_urgent_go_first(store) {
        let lease = lease(&store, "n1").await;
        // All to one endpoint, the least urgent ones first; and one to another endpoint, as old as the first.
        for (number, to) in ["later", "later", "usual", "usual", "urgent", "other"].into_iter().enumerate() {
            let offer = offer(&format!("{number}"));
            let mut new = transfer(Some(offer.id), &[to]);
            let delivery = &mut new.deliveries[0].delivery;
            delivery.due_at = after(now(), -1000 + i64::try_from(number).unwrap());
            if to == "other" {
                delivery.due_at = after(now(), -1000);
            } else {
                delivery.endpoint = "partner".into();
            }
            store.record_offer(record(&lease, offer, vec![new])).await.unwrap();
        }
        let priorities = [("orders/later".to_owned(), 5), ("orders/urgent".to_owned(), 1), ("orders/none".to_owned(), 2)];
        let filter = ClaimFilter { priorities: priorities.into(), room: 2, ..ClaimFilter::default() };
        let mut order = Vec::new();
        for _ in 0..3 {
            let claimed = store.claim(&lease, 10, filter.clone(), now()).await.unwrap();
            let to_partner = claimed.iter().filter(|one| one.delivery.endpoint == "partner");
            assert_eq!(to_partner.clone().count(), if order.len() < 4 { 2 } else { 1 });
            order.extend(to_partner.map(|one| one.delivery.destination.clone()));
            // The other endpoint waits for none of them.
            let others = claimed.len() - claimed.iter().filter(|one| one.delivery.endpoint == "partner").count();
            assert_eq!(others, usize::from(order.len() == 2));
        }
        assert_eq!(order, ["urgent", "usual", "usual", "later", "later"]);
        assert!(claim(&store, &lease).await.is_empty());
    }

    notes_last_over_attempts(store) {
        let lease = lease(&store, "n1").await;
        recorded(&store, &lease, "a", &["x"]).await;
        let one = claim_one(&store, &lease).await;
        assert!(one.notes.is_empty());
        for value in [json!({"id": "<1@a>"}), json!({"id": "<2@a>", "n": 12})] {
            assert_eq!(store.note(&one.claim, "message_id", value).await.unwrap(), Done::Done);
        }
        store.note(&one.claim, "publishing", json!(true)).await.unwrap();
        store.finish(&one.claim, retry(now()), now(), vec![]).await.unwrap();
        let two = claim_one(&store, &lease).await;
        assert_eq!(two.notes["message_id"], json!({"id": "<2@a>", "n": 12}));
        assert_eq!(two.notes["publishing"], json!(true));
    }

    how_much_was_sent_is_read_while_it_is_sent(store) {
        let lease = lease(&store, "n1").await;
        recorded(&store, &lease, "a", &["x"]).await;
        let one = claim_one(&store, &lease).await;
        let delivery = one.claim.delivery;
        assert_eq!(store.progress(delivery).await.unwrap(), None);
        let begun = SendProgress { attempt: 1, from: 0, sent: 5 << 40, total: Some(u64::MAX >> 1), millis: 2000 };
        let on = SendProgress { from: 7, sent: 9, total: None, ..begun };
        for progress in [begun, on] {
            assert_eq!(store.note_progress(&one.claim, &progress).await.unwrap(), Done::Done);
            assert_eq!(store.progress(delivery).await.unwrap(), Some(progress));
        }
        store.finish(&one.claim, retry(now()), now(), vec![]).await.unwrap();
        // An attempt that has lost its claim says nothing more.
        let two = claim_one(&store, &lease).await;
        assert_eq!(store.note_progress(&one.claim, &begun).await.unwrap(), Done::ClaimLost);
        assert_eq!(store.progress(two.claim.delivery).await.unwrap(), Some(on));
    }

    what_is_past_its_time_expires_and_is_not_claimed(store) {
        let lease = lease(&store, "n1").await;
        let offer = crate::tests::fixture::offer("a");
        let mut new = crate::tests::fixture::transfer(Some(offer.id), &["x"]);
        let expires = after(now(), 60_000);
        new.deliveries[0].delivery.expires_at = Some(expires);
        let id = new.transfer.id;
        store.record_offer(crate::tests::fixture::record(&lease, offer, vec![new])).await.unwrap();
        assert!(store.expire_due(&lease.node, now(), 10).await.unwrap().is_empty());
        assert!(store.claim(&lease, 10, ClaimFilter::default(), expires).await.unwrap().is_empty());
        let [expired] = &store.expire_due(&lease.node, expires, 10).await.unwrap()[..] else { panic!("it did not expire") };
        assert_eq!((expired.transfer, expired.flow.as_str()), (id, "orders"));
        assert_eq!(delivery_states(&store, id).await, [DeliveryState::Expired]);
        assert_eq!(transfer_state(&store, id).await, TransferState::Failed);
        assert_eq!(events(&store, EventKind::DeliveryExpired).await, 1);
        assert!(store.expire_due(&lease.node, expires, 10).await.unwrap().is_empty());
    }

    replies_become_transfers_with_the_receipt(store) {
        let lease = lease(&store, "n1").await;
        let (_, new) = recorded(&store, &lease, "a", &["x"]).await;
        let one = claim_one(&store, &lease).await;
        let mut reply = crate::tests::fixture::transfer(None, &["back"]);
        reply.transfer.parent = Some(new.transfer.id);
        let finish = Finish::Delivered {
            receipt: crate::tests::fixture::receipt(true),
            replies: vec![reply.clone()],
        };
        store.finish(&one.claim, finish.clone(), now(), vec![]).await.unwrap();
        store.finish(&one.claim, finish, now(), vec![]).await.unwrap();
        let claimed = claim_one(&store, &lease).await;
        assert_eq!(claimed.transfer.id, reply.transfer.id);
        assert_eq!(claimed.transfer.parent, Some(new.transfer.id));
    }

    two_nodes_never_claim_the_same(store) {
        let leases = [lease(&store, "n1").await, lease(&store, "n2").await];
        for n in 0..60 {
            recorded(&store, &leases[0], &format!("f{n}"), &["x", "lane-a", "y"]).await;
        }
        let tasks: Vec<_> = (0..8).map(|n| {
            let (store, lease) = (store.store.clone(), leases[n % 2].clone());
            tokio::spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let some = store.claim(&lease, 7, ClaimFilter::default(), now()).await.unwrap();
                    if some.is_empty() { break; }
                    for one in some {
                        if n % 3 == 0 { tokio::task::yield_now().await; }
                        let end = store.finish(&one.claim, delivered(), now(), vec![]).await.unwrap();
                        assert!(matches!(end, Finished::Done { .. }), "{end:?}");
                        mine.push(one);
                    }
                }
                mine
            })
        }).collect();
        let mut all = Vec::new();
        for task in tasks { all.extend(task.await.unwrap()); }
        // A lane's next one may have come up just after a task had found nothing.
        loop {
            let rest = claim(&store, &leases[0]).await;
            if rest.is_empty() { break; }
            for one in rest {
                store.finish(&one.claim, delivered(), now(), vec![]).await.unwrap();
                all.push(one);
            }
        }
        let distinct: HashSet<_> = all.iter().map(|one| one.delivery.id).collect();
        assert_eq!((all.len(), distinct.len()), (180, 180));
        assert!(all.iter().all(|one| one.claim.attempt == 1));
    }

    a_node_claims_nothing_of_a_later_revision_than_it_has_in_force(store) {
        let lease = lease(&store, "n1").await;
        recorded(&store, &lease, "a", &["x", "lane-a"]).await;
        // Recorded under revision 1.
        let behind = ClaimFilter { revision: 0, ..ClaimFilter::default() };
        assert!(store.claim(&lease, 10, behind, now()).await.unwrap().is_empty());
        let level = ClaimFilter { revision: 1, ..ClaimFilter::default() };
        assert_eq!(store.claim(&lease, 10, level, now()).await.unwrap().len(), 2);
    }

    a_busy_endpoint_or_pool_leaves_its_deliveries_to_others(store) {
        let lease = lease(&store, "n1").await;
        for path in ["a", "b", "c"] {
            recorded(&store, &lease, path, &["slow", "fast", "lane-own"]).await;
        }
        assert_eq!(store.waiting("slow", 10).await.unwrap(), 3);
        assert_eq!(store.waiting("slow", 2).await.unwrap(), 2);
        let claimed = |filter: ClaimFilter| async {
            let claimed = store.claim(&lease, 100, filter, now()).await.unwrap();
            let mut to: Vec<_> = claimed.iter().map(|one| one.delivery.endpoint.clone()).collect();
            to.sort();
            to
        };
        let named = |name: &str, pool: &str| [(name.to_owned(), pool.to_owned())].into();
        // The flow's pool is full; the endpoints have pools of their own, of which one has room for one.
        let pools = PoolRooms {
            of_endpoints: named("slow", "few"),
            of_flows: named("orders", "busy"),
            rooms: [("busy".into(), 0), ("few".into(), 1)].into(),
        };
        let filter = ClaimFilter { pools, ..ClaimFilter::default() };
        assert_eq!(claimed(filter.clone()).await, ["slow"]);
        // The default pool is full: nobody names it.
        let full = PoolRooms { rooms: [("default".into(), 0)].into(), ..PoolRooms::default() };
        let only_slow = PoolRooms { of_endpoints: named("slow", "few"), ..full.clone() };
        assert!(claimed(ClaimFilter { pools: full, ..ClaimFilter::default() }).await.is_empty());
        let filter = ClaimFilter { pools: only_slow, rooms: [("slow".into(), 1)].into(), ..filter };
        assert_eq!(claimed(filter).await, ["slow"]);
        let filter = ClaimFilter { room: 1, ..ClaimFilter::default() };
        assert_eq!(claimed(filter).await, ["fast", "lane-own", "slow"]);
        assert_eq!(claimed(ClaimFilter::default()).await, ["fast", "fast"]);
        assert_eq!(store.waiting("slow", 10).await.unwrap(), 0);
    }
}
