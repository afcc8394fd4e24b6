//! Cancelling and holding what is being sent, and what awaits its receipt: nothing is lost, nothing is sent twice.

use super::fixture::{
    after, claim, claim_one, delivered, delivery_states, events, failed, lease, node, now, offer, receipt,
    record, recorded, retry, transfer, transfer_state,
};
use crate::testing::both;
use crate::{Act, ClaimFilter, Claimed, Finish, Finished, NodeLease, RecordOffer, Resolved, Store};
use model::definition::SettleWhen;
use model::{Actor, DeliveryState, EventKind, Outcome, TransferState};

fn act() -> Act {
    Act::new(Actor::User("ada".into()), node("n1"), now())
}

/// A delivery that is being sent in a transfer that is cancelled meanwhile.
async fn cancelled_while_sending(store: &Store, lease: &NodeLease, to: &str) -> Claimed {
    recorded(store, lease, to, &[to]).await;
    let one = claim_one(store, lease).await;
    store.correlate(&one.claim, to).await.unwrap();
    let acted = store.cancel_transfer(one.transfer.id, &act()).await.unwrap();
    assert_eq!((acted.transfer, acted.deliveries, acted.sending), (TransferState::Cancelled, 0, 1));
    one
}

/// Nothing of it is tried again, now or later, and its retention has begun.
async fn is_given_up(store: &Store, lease: &NodeLease, one: &Claimed) {
    let id = one.transfer.id;
    assert_eq!(transfer_state(store, id).await, TransferState::Cancelled);
    assert_eq!(delivery_states(store, id).await, [DeliveryState::Cancelled]);
    let later = after(now(), 3_000_000);
    assert!(store.claim(lease, 10, ClaimFilter::default(), later).await.unwrap().is_empty());
    let past = store.payloads_past_retention(after(now(), 4_000_000), 10).await.unwrap();
    assert_eq!(past.len(), 1, "{past:?}");
}

both! {
    a_cancelled_delivery_names_what_may_remain_at_its_destination(store) {
        let lease = lease(&store, "n1").await;
        recorded(&store, &lease, "a", &["x"]).await;
        let one = claim_one(&store, &lease).await;
        let remain = serde_json::json!({"may_remain": ["out/.a.edi.1-1.a", "out/.old.a.edi.1-1.a"]});
        store.note(&one.claim, "publishing", remain).await.unwrap();
        store.finish(&one.claim, retry(now()), now(), vec![]).await.unwrap();
        store.cancel_transfer(one.transfer.id, &act()).await.unwrap();
        let view = store.waybill(one.transfer.id).await.unwrap().unwrap();
        let event = view.events.iter().find(|event| event.kind == EventKind::DeliveryCancelled.as_str()).unwrap();
        assert_eq!(event.detail["may_remain"], "out/.a.edi.1-1.a, out/.old.a.edi.1-1.a");
    }

    what_was_being_sent_when_it_was_cancelled_and_failed_is_not_tried_again(store) {
        let lease = lease(&store, "n1").await;
        for (n, finish) in [retry(now()), failed(false), Finish::Expire { lane_continues: false }].into_iter().enumerate() {
            let one = cancelled_while_sending(&store, &lease, &format!("lane-{n}")).await;
            // Its bytes are needed as long as it is being sent.
            assert!(store.payloads_past_retention(after(now(), 4_000_000), 10).await.unwrap().len() == n);
            let end = store.finish(&one.claim, finish, now(), vec![]).await.unwrap();
            assert_eq!(end, Finished::Done { transfer_ended: None });
            assert_eq!(delivery_states(&store, one.transfer.id).await, [DeliveryState::Cancelled]);
            assert_eq!(transfer_state(&store, one.transfer.id).await, TransferState::Cancelled);
            assert!(store.claim(&lease, 10, ClaimFilter::default(), after(now(), 3_000_000)).await.unwrap().is_empty());
            assert_eq!(store.payloads_past_retention(after(now(), 4_000_000), 10).await.unwrap().len(), n + 1);
            // Its lane goes on.
            recorded(&store, &lease, &format!("next {n}"), &[&format!("lane-{n}")]).await;
            let next = claim_one(&store, &lease).await;
            store.finish(&next.claim, delivered(), now(), vec![]).await.unwrap();
            store.tamper("UPDATE transfers SET released = true WHERE state = 'completed'").await;
        }
        assert_eq!(events(&store, EventKind::DeliveryCancelled).await, 3);
        assert_eq!(events(&store, EventKind::TransferCancelled).await, 3);
    }

    what_was_cancelled_while_its_node_ended_is_not_tried_again(store) {
        let first = lease(&store, "n1").await;
        let one = cancelled_while_sending(&store, &first, "x").await;
        let second = lease(&store, "n1").await;
        is_given_up(&store, &second, &one).await;
        assert_eq!(events(&store, EventKind::DeliveryInterrupted).await, 1);
        // A person sends it all the same: that its last attempt was cut off is not forgotten.
        store.retry_transfer(one.transfer.id, &act(), None).await.unwrap();
        let again = claim_one(&store, &second).await;
        assert!(again.interrupted);
        assert_eq!(again.claim.attempt, 2);
    }

    a_receipt_that_comes_after_the_cancelling_says_that_it_arrived(store) {
        let lease = lease(&store, "n1").await;
        for (positive, state) in [(true, DeliveryState::Delivered), (false, DeliveryState::Cancelled)] {
            let key = format!("<{positive}@a>");
            recorded(&store, &lease, &key, &["x"]).await;
            let one = claim_one(&store, &lease).await;
            store.correlate(&one.claim, &key).await.unwrap();
            let deadline = after(now(), 60_000);
            store.finish(&one.claim, Finish::Awaiting { deadline, replies: vec![] }, now(), vec![]).await.unwrap();
            let acted = store.cancel_transfer(one.transfer.id, &act()).await.unwrap();
            assert_eq!((acted.deliveries, acted.sending, acted.transfer), (1, 0, TransferState::Cancelled));
            assert!(store.overdue_receipts(after(deadline, 1), 10).await.unwrap().is_empty());
            let resolved = store.resolve(&key, receipt(positive), &node("n2"), vec![], now()).await.unwrap();
            assert_eq!(delivery_states(&store, one.transfer.id).await, [state]);
            if positive {
                assert!(matches!(resolved, Resolved::Resolved { was: DeliveryState::Cancelled, transfer_ended: Some(TransferState::Completed), .. }), "{resolved:?}");
            } else {
                assert!(matches!(resolved, Resolved::AlreadyResolved { state: DeliveryState::Cancelled, .. }), "{resolved:?}");
                assert_eq!(transfer_state(&store, one.transfer.id).await, TransferState::Cancelled);
            }
        }
    }

    a_source_waits_for_the_end_of_what_was_being_sent_when_it_was_cancelled(store) {
        let lease = lease(&store, "n1").await;
        for (finish, outcome) in [(delivered(), Outcome::Taken), (retry(now()), Outcome::Refused)] {
            let offer = offer(if outcome == Outcome::Taken { "taken" } else { "refused" });
            let new = transfer(Some(offer.id), &["x"]);
            let record = RecordOffer { settle_when: Some(SettleWhen::AfterDelivery), ..record(&lease, offer.clone(), vec![new]) };
            store.record_offer(record).await.unwrap();
            let one = claim_one(&store, &lease).await;
            store.cancel_transfer(one.transfer.id, &act()).await.unwrap();
            let settled = async || {
                let found = store.offers_to_settle("orders", "acme", now(), 10).await.unwrap();
                found.into_iter().find(|found| found.offer.id == offer.id).map(|found| found.outcome)
            };
            assert_eq!(settled().await, None);
            store.finish(&one.claim, finish, now(), vec![]).await.unwrap();
            assert_eq!(settled().await, Some(outcome));
        }
    }

    one_that_was_sent_while_it_was_cancelled_waits_for_its_receipt_once(store) {
        let lease = lease(&store, "n1").await;
        let one = cancelled_while_sending(&store, &lease, "x").await;
        let end = store.finish(&one.claim, Finish::Awaiting { deadline: now(), replies: vec![] }, now(), vec![]).await.unwrap();
        assert_eq!(end, Finished::Done { transfer_ended: None });
        assert_eq!(delivery_states(&store, one.transfer.id).await, [DeliveryState::AwaitingReceipt]);
        let overdue = store.overdue_receipts(after(now(), 1000), 10).await.unwrap().remove(0);
        store.finish(&overdue.claim, retry(now()), now(), vec![]).await.unwrap();
        is_given_up(&store, &lease, &one).await;
    }

    a_second_cancelling_gives_up_a_receipt_that_is_still_awaited(store) {
        let lease = lease(&store, "n1").await;
        let one = cancelled_while_sending(&store, &lease, "x").await;
        store.finish(&one.claim, Finish::Awaiting { deadline: after(now(), 60_000), replies: vec![] }, now(), vec![]).await.unwrap();
        let acted = store.cancel_transfer(one.transfer.id, &act()).await.unwrap();
        assert_eq!((acted.changed, acted.deliveries), (true, 1));
        is_given_up(&store, &lease, &one).await;
        assert_eq!(events(&store, EventKind::TransferCancelled).await, 1);
    }

    what_is_being_sent_when_it_is_held_is_not_tried_again_until_it_is_released(store) {
        let lease = lease(&store, "n1").await;
        let (_, new) = recorded(&store, &lease, "a", &["x"]).await;
        let one = claim_one(&store, &lease).await;
        let held = store.hold_transfer(new.transfer.id, &act()).await.unwrap();
        assert_eq!((held.sending, held.transfer), (1, TransferState::Held));
        store.finish(&one.claim, retry(now()), now(), vec![]).await.unwrap();
        assert!(claim(&store, &lease).await.is_empty());
        store.release_transfer(new.transfer.id, &act()).await.unwrap();
        assert_eq!(claim_one(&store, &lease).await.claim.attempt, 2);
    }

    cancelling_a_failed_transfer_lets_its_lane_go_on(store) {
        let lease = lease(&store, "n1").await;
        for path in ["a", "b"] { recorded(&store, &lease, path, &["lane-a"]).await; }
        let first = claim_one(&store, &lease).await;
        store.finish(&first.claim, failed(false), now(), vec![]).await.unwrap();
        assert!(claim(&store, &lease).await.is_empty());
        let acted = store.cancel_transfer(first.transfer.id, &act()).await.unwrap();
        assert_eq!((acted.deliveries, acted.transfer), (1, TransferState::Cancelled));
        assert_ne!(claim_one(&store, &lease).await.transfer.id, first.transfer.id);
    }

    a_partly_failed_transfer_stays_so_and_its_lane_goes_on(store) {
        let lease = lease(&store, "n1").await;
        let (_, new) = recorded(&store, &lease, "a", &["x", "lane-a"]).await;
        for one in claim(&store, &lease).await {
            let end = if one.delivery.endpoint == "x" { delivered() } else { failed(false) };
            store.finish(&one.claim, end, now(), vec![]).await.unwrap();
        }
        recorded(&store, &lease, "b", &["lane-a"]).await;
        assert!(claim(&store, &lease).await.is_empty());
        let acted = store.cancel_transfer(new.transfer.id, &act()).await.unwrap();
        assert_eq!((acted.changed, acted.transfer), (true, TransferState::PartlyFailed));
        assert_eq!(claim(&store, &lease).await.len(), 1);
        assert!(!store.cancel_transfer(new.transfer.id, &act()).await.unwrap().changed);
        assert_eq!(events(&store, EventKind::TransferCancelled).await, 0);
    }

    a_retry_makes_what_waits_due_and_leaves_a_skipped_one_alone(store) {
        let lease = lease(&store, "n1").await;
        let (_, new) = recorded(&store, &lease, "a", &["x", "y", "z"]).await;
        let far = after(now(), 3_600_000);
        for one in claim(&store, &lease).await {
            let end = match one.delivery.endpoint.as_str() { "x" => retry(far), _ => failed(false) };
            store.finish(&one.claim, end, now(), vec![]).await.unwrap();
            if one.delivery.endpoint == "z" {
                store.cancel_delivery(one.delivery.id, &act()).await.unwrap();
            }
        }
        assert!(claim(&store, &lease).await.is_empty());
        let acted = store.retry_transfer(new.transfer.id, &act(), None).await.unwrap();
        assert_eq!((acted.deliveries.len(), acted.acted.transfer), (2, TransferState::Delivering));
        let mut again: Vec<String> = claim(&store, &lease).await.into_iter().map(|one| one.delivery.endpoint).collect();
        again.sort();
        assert_eq!(again, ["x", "y"]);
    }

    the_reason_is_on_record(store) {
        let lease = lease(&store, "n1").await;
        let (_, new) = recorded(&store, &lease, "a", &["x"]).await;
        let request = uuid::Uuid::now_v7();
        let act = Act { reason: Some("wrong\u{7} price list".into()), request: Some(request), ..act() };
        store.hold_transfer(new.transfer.id, &act).await.unwrap();
        let found = store.events(&crate::EventFilter::default(), crate::Page::first(10)).await.unwrap().rows;
        let held = found.iter().find(|event| event.kind == EventKind::TransferHeld.as_str()).unwrap();
        assert_eq!(held.actor, "user:ada");
        assert_eq!(held.detail["reason"], "wrong\\u{7} price list");
        assert_eq!(held.detail["request"], request.to_string());
    }
}
