use super::fixture::{
    after, claim, claim_one, claim_one_steps, claim_steps, delivered, delivery_states, event, events, failed,
    failure_route, lease, lease_for, made, node, now, recorded_with_steps, steps_done, steps_failed,
    transfer_state,
};
use crate::testing::both;
use crate::{Act, DestinationInForce, Failure, FlowInForce, StepsEnd, StepsEnded};
use model::{Actor, Content, DeliveryState, ErrorKind, EventKind, Sha256, TransferKind, TransferState};
use std::collections::HashSet;
use std::time::Duration;

fn act() -> Act {
    Act::new(Actor::User("ada".into()), node("n1"), now())
}

fn recorded(of: StepsEnded) -> HashSet<model::PayloadId> {
    match of {
        StepsEnded::Done { recorded, .. } => recorded,
        lost => panic!("{lost:?}"),
    }
}

both! {
    deliveries_wait_for_what_steps_make_and_send_it(store) {
        let lease = lease(&store, "n1").await;
        let new = recorded_with_steps(&store, &lease, "a", &["x", "lane-y"], |_| {}).await;
        let id = new.transfer.id;
        assert_eq!(transfer_state(&store, id).await, TransferState::Processing);
        assert!(claim(&store, &lease).await.is_empty());
        assert_eq!(store.next_due().await.unwrap(), None);
        assert!(store.next_steps().await.unwrap().is_some());
        let steps = claim_one_steps(&store, &lease).await;
        assert_eq!((steps.claim.attempt, steps.failures, steps.deliveries.len()), (1, 0, 2));
        assert_eq!(steps.transfer.payload, new.transfer.payload);
        assert!(claim_steps(&store, &lease).await.is_empty());
        let (end, payload) = steps_done(&lease, &steps);
        assert_eq!(recorded(store.end_steps(&steps.claim, end.clone(), now()).await.unwrap()), [payload].into());
        // Told again, as its answer might have been lost.
        assert_eq!(store.end_steps(&steps.claim, end, now()).await.unwrap(), StepsEnded::ClaimLost);
        assert_eq!(transfer_state(&store, id).await, TransferState::Delivering);
        assert_eq!((events(&store, EventKind::StepDone).await, store.next_steps().await.unwrap()), (1, None));
        let claimed = claim(&store, &lease).await;
        assert_eq!(claimed.len(), 2);
        for one in &claimed {
            assert_eq!((one.payload.id, one.payload.length, one.payload.content), (payload, 6, Content::Staged(Sha256([8; 32]))));
            assert_eq!(one.transfer.payload, new.transfer.payload);
            store.finish(&one.claim, delivered(), now(), vec![]).await.unwrap();
        }
        assert_eq!(transfer_state(&store, id).await, TransferState::Completed);
        // Both payloads are kept as long as their transfer, and no longer.
        assert!(store.payloads_past_retention(now(), 10).await.unwrap().is_empty());
        let past = store.payloads_past_retention(after(now(), 4_000_000), 10).await.unwrap();
        let past: HashSet<_> = past.iter().map(|payload| payload.id).collect();
        assert_eq!(past, [payload, new.transfer.payload.id].into());
    }

    only_whoever_holds_the_claim_ends_steps(store) {
        let short = lease_for(&store, "n1", Duration::from_secs(1)).await;
        let other = lease(&store, "n2").await;
        recorded_with_steps(&store, &other, "a", &["x"], |_| {}).await;
        let first = claim_one_steps(&store, &short).await;
        assert!(claim_steps(&store, &other).await.is_empty());
        let later = after(now(), 60_000);
        // PostgreSQL measures leases by its own clock.
        while store.fence_expired(&other.node, later).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(events(&store, EventKind::StepsInterrupted).await, 1);
        let mut second = store.claim_steps(&other, 9, i64::MAX, later).await.unwrap();
        let second = second.remove(0);
        assert_eq!(second.claim.attempt, 2);
        let (late, _) = steps_done(&short, &first);
        assert_eq!(store.end_steps(&first.claim, late, later).await.unwrap(), StepsEnded::ClaimLost);
        // Nothing is claimed by whoever lost the lease.
        assert!(store.claim_steps(&short, 9, i64::MAX, later).await.unwrap().is_empty());
        let (end, payload) = steps_done(&other, &second);
        assert_eq!(recorded(store.end_steps(&second.claim, end, later).await.unwrap()), [payload].into());
        assert_eq!(events(&store, EventKind::StepDone).await, 1);
        let one = store.claim(&other, 9, crate::ClaimFilter::default(), later).await.unwrap().remove(0);
        assert_eq!(one.payload.id, payload);
    }

    a_node_does_no_steps_of_a_later_revision_than_it_has_in_force(store) {
        let lease = lease(&store, "n1").await;
        // Recorded under revision 1.
        recorded_with_steps(&store, &lease, "a", &["x"], |_| {}).await;
        assert!(store.claim_steps(&lease, 9, 0, now()).await.unwrap().is_empty());
        assert_eq!(store.claim_steps(&lease, 9, 1, now()).await.unwrap().len(), 1);
    }

    steps_that_fail_for_good_fail_their_deliveries_and_a_retry_does_them_again(store) {
        let lease = lease(&store, "n1").await;
        let route = failure_route("ops");
        let new = recorded_with_steps(&store, &lease, "a", &["x", "y"], |new| new.failure_route = Some(route)).await;
        let id = new.transfer.id;
        let steps = claim_one_steps(&store, &lease).await;
        let end = store.end_steps(&steps.claim, steps_failed(&lease, &steps), now()).await.unwrap();
        let ended = Some(TransferState::Failed);
        assert_eq!(end, StepsEnded::Done { recorded: HashSet::new(), transfer_ended: ended });
        assert_eq!(delivery_states(&store, id).await, [DeliveryState::Failed; 2]);
        assert_eq!(events(&store, EventKind::DeliveryFailed).await, 2);
        assert!(claim_steps(&store, &lease).await.is_empty());
        // What failed goes elsewhere as it was received.
        let child = claim_one(&store, &lease).await;
        assert_eq!((child.transfer.kind, &child.payload), (TransferKind::Failure, &new.transfer.payload));
        assert_eq!(child.transfer.metadata["failure"]["error_kind"], "integrity_failed");
        store.finish(&child.claim, delivered(), now(), vec![]).await.unwrap();
        // Corrected, and retried.
        let to = |name: &str| DestinationInForce {
            name: name.into(), endpoint: name.into(), expires_after: None, lane_continues: false,
        };
        let flow = FlowInForce { revision: 2, destinations: vec![to("x"), to("y")] };
        let retried = store.retry_transfer(id, &act(), Some(flow)).await.unwrap();
        assert_eq!((retried.acted.deliveries, retried.acted.transfer), (2, TransferState::Processing));
        assert!(store.claim_steps(&lease, 9, 1, now()).await.unwrap().is_empty());
        let again = claim_one_steps(&store, &lease).await;
        assert_eq!((again.claim.attempt, again.deliveries[0].revision), (2, Some(2)));
        let (end, _) = steps_done(&lease, &again);
        store.end_steps(&again.claim, end, now()).await.unwrap();
        assert_eq!(transfer_state(&store, id).await, TransferState::Delivering);
        assert_eq!(claim(&store, &lease).await.len(), 2);
    }

    each_destination_gets_its_own(store) {
        let lease = lease(&store, "n1").await;
        let new = recorded_with_steps(&store, &lease, "a", &["x", "y", "plain"], |_| {}).await;
        let id = new.transfer.id;
        // One needs no steps, and is sent at once.
        assert_eq!(transfer_state(&store, id).await, TransferState::Delivering);
        let plain = claim_one(&store, &lease).await;
        assert_eq!(plain.payload, new.transfer.payload);
        store.finish(&plain.claim, delivered(), now(), vec![]).await.unwrap();
        let steps = claim_one_steps(&store, &lease).await;
        let [x, y] = &steps.deliveries[..] else { panic!("{steps:?}") };
        let first = made(&lease, &new.transfer.payload);
        let (second, unused) = (made(&lease, &first.payload), made(&lease, &first.payload));
        let (sent, ids) = (second.payload.id, HashSet::from([first.payload.id, second.payload.id]));
        let StepsEnd::Done { failed, .. } = steps_failed(&lease, &steps) else { panic!() };
        let failed = failed.into_iter().filter(|failed| failed.delivery == y.id).collect();
        let end = StepsEnd::Done { made: vec![first, second, unused], sent: vec![(x.id, sent)], failed };
        assert_eq!(recorded(store.end_steps(&steps.claim, end, now()).await.unwrap()), ids);
        let one = claim_one(&store, &lease).await;
        assert_eq!((one.delivery.id, one.payload.id), (x.id, sent));
        store.finish(&one.claim, delivered(), now(), vec![]).await.unwrap();
        assert_eq!(transfer_state(&store, id).await, TransferState::PartlyFailed);
        // The one that failed alone is done again.
        let retried = store.retry_transfer(id, &act(), None).await.unwrap();
        assert_eq!(retried.acted.transfer, TransferState::Processing);
        let again = claim_one_steps(&store, &lease).await;
        assert_eq!(again.deliveries.iter().map(|d| d.id).collect::<Vec<_>>(), [y.id]);
        // Its flow has no steps any more.
        let end = StepsEnd::Done { made: vec![], sent: vec![(y.id, new.transfer.payload.id)], failed: vec![] };
        store.end_steps(&again.claim, end, now()).await.unwrap();
        assert_eq!(claim_one(&store, &lease).await.payload, new.transfer.payload);
    }

    steps_keep_the_order_of_a_lane(store) {
        let lease = lease(&store, "n1").await;
        let first = recorded_with_steps(&store, &lease, "a", &["lane-x"], |_| {}).await;
        let second = recorded_with_steps(&store, &lease, "b", &["lane-x"], |_| {}).await;
        let mut steps = claim_steps(&store, &lease).await;
        assert_eq!(steps.len(), 2);
        steps.sort_by_key(|steps| steps.transfer.id != second.transfer.id);
        for steps in steps {
            assert!(claim(&store, &lease).await.is_empty());
            let (end, _) = steps_done(&lease, &steps);
            store.end_steps(&steps.claim, end, now()).await.unwrap();
        }
        for new in [first, second] {
            let one = claim_one(&store, &lease).await;
            assert_eq!(one.transfer.id, new.transfer.id);
            store.finish(&one.claim, delivered(), now(), vec![]).await.unwrap();
        }
    }

    what_could_not_be_done_is_tried_again_when_it_is_due(store) {
        let lease = lease(&store, "n1").await;
        let new = recorded_with_steps(&store, &lease, "a", &["x"], |_| {}).await;
        let steps = claim_one_steps(&store, &lease).await;
        let due_at = after(now(), 60_000);
        let error = Failure { kind: ErrorKind::StorageFull, text: "no space".into() };
        let retrying = Box::new(event(&lease, EventKind::StepsRetrying));
        let end = StepsEnd::Retry { due_at, error, event: retrying };
        store.end_steps(&steps.claim, end.clone(), now()).await.unwrap();
        assert_eq!(store.next_steps().await.unwrap(), Some(due_at));
        assert!(claim_steps(&store, &lease).await.is_empty());
        let again = store.claim_steps(&lease, 9, i64::MAX, due_at).await.unwrap().remove(0);
        assert_eq!((again.claim.attempt, again.failures), (2, 1));
        store.end_steps(&again.claim, end, now()).await.unwrap();
        assert_eq!(events(&store, EventKind::StepsRetrying).await, 2);
        let failing = store.overview(now()).await.unwrap().failing_steps;
        assert_eq!((failing.len(), failing[0].flow.as_str(), failing[0].transfers), (1, "orders", 1));
        assert_eq!((failing[0].next, failing[0].error.as_deref()), (Some(due_at), Some("no space")));
        // A person does not wait.
        let retried = store.retry_transfer(new.transfer.id, &act(), None).await.unwrap();
        assert!(retried.acted.changed && retried.deliveries.is_empty());
        assert_eq!(events(&store, EventKind::StepsRequeued).await, 1);
        // Nothing to hasten.
        let retried = store.retry_transfer(new.transfer.id, &act(), None).await.unwrap();
        assert!(!retried.acted.changed);
        assert_eq!(claim_one_steps(&store, &lease).await.failures, 0);
    }

    people_hold_and_cancel_what_steps_are_to_make(store) {
        let lease = lease(&store, "n1").await;
        let new = recorded_with_steps(&store, &lease, "a", &["x"], |_| {}).await;
        let id = new.transfer.id;
        store.hold_transfer(id, &act()).await.unwrap();
        assert_eq!(transfer_state(&store, id).await, TransferState::Held);
        assert!(claim_steps(&store, &lease).await.is_empty());
        store.release_transfer(id, &act()).await.unwrap();
        assert_eq!(transfer_state(&store, id).await, TransferState::Processing);
        // Held while they are done: what they made waits.
        let steps = claim_one_steps(&store, &lease).await;
        store.hold_transfer(id, &act()).await.unwrap();
        let (end, _) = steps_done(&lease, &steps);
        store.end_steps(&steps.claim, end, now()).await.unwrap();
        assert!(claim(&store, &lease).await.is_empty());
        store.release_transfer(id, &act()).await.unwrap();
        assert_eq!(transfer_state(&store, id).await, TransferState::Delivering);
        assert_eq!(claim(&store, &lease).await.len(), 1);
        // Cancelled while they are done: nothing of it is recorded.
        let new = recorded_with_steps(&store, &lease, "b", &["x"], |_| {}).await;
        let steps = claim_one_steps(&store, &lease).await;
        store.cancel_transfer(new.transfer.id, &act()).await.unwrap();
        let (end, payload) = steps_done(&lease, &steps);
        assert!(recorded(store.end_steps(&steps.claim, end, now()).await.unwrap()).is_empty());
        assert!(store.payload_rows(&[payload]).await.unwrap().present.is_empty());
        assert_eq!(transfer_state(&store, new.transfer.id).await, TransferState::Cancelled);
        assert_eq!((events(&store, EventKind::StepDone).await, store.next_steps().await.unwrap()), (1, None));
    }

    what_expires_before_its_steps_are_done_ends(store) {
        let lease = lease(&store, "n1").await;
        let expires = after(now(), 60_000);
        let new = recorded_with_steps(&store, &lease, "a", &["x"], |new| {
            new.deliveries[0].delivery.expires_at = Some(expires);
        }).await;
        assert_eq!(store.expire_due(&lease.node, expires, 9).await.unwrap().len(), 1);
        assert_eq!(transfer_state(&store, new.transfer.id).await, TransferState::Failed);
        let steps = claim_one_steps(&store, &lease).await;
        assert!(steps.deliveries.is_empty());
        let end = StepsEnd::Done { made: vec![], sent: vec![], failed: vec![] };
        store.end_steps(&steps.claim, end, now()).await.unwrap();
        assert!(claim_steps(&store, &lease).await.is_empty());
        assert_eq!(transfer_state(&store, new.transfer.id).await, TransferState::Failed);
    }

    what_was_removed_is_made_again_where_what_was_received_is_kept(store) {
        let lease = lease(&store, "n1").await;
        let new = recorded_with_steps(&store, &lease, "a", &["x"], |_| {}).await;
        let steps = claim_one_steps(&store, &lease).await;
        let (end, payload) = steps_done(&lease, &steps);
        store.end_steps(&steps.claim, end, now()).await.unwrap();
        let one = claim_one(&store, &lease).await;
        store.finish(&one.claim, failed(false), now(), vec![]).await.unwrap();
        let gone = event(&lease, EventKind::PayloadRemoved).detail("payload", payload.to_string());
        store.mark_payloads_removed(vec![(payload, gone)], after(now(), 4_000_000)).await.unwrap();
        store.retry_transfer(new.transfer.id, &act(), None).await.unwrap();
        assert!(claim(&store, &lease).await.is_empty());
        let again = claim_one_steps(&store, &lease).await;
        let (end, other) = steps_done(&lease, &again);
        store.end_steps(&again.claim, end, now()).await.unwrap();
        assert_eq!(claim_one(&store, &lease).await.payload.id, other);
    }

    what_cannot_be_read_keeps_no_other_from_its_steps(store) {
        let lease = lease(&store, "n1").await;
        for n in 0..3 {
            recorded_with_steps(&store, &lease, &format!("f{n}"), &["x"], |_| {}).await;
        }
        store.tamper("UPDATE transfers SET kind = 'novel'").await;
        store.tamper("UPDATE deliveries SET file_name = '%zz' WHERE id = (SELECT id FROM deliveries ORDER BY id LIMIT 1)").await;
        let new = recorded_with_steps(&store, &lease, "a", &["x"], |_| {}).await;
        let claimed = |at| store.claim_steps(&lease, 2, i64::MAX, at);
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.extend(claimed(now()).await.unwrap().into_iter().map(|one| one.transfer.id));
        }
        assert_eq!(seen, [new.transfer.id]);
        // Later they are tried again.
        store.tamper("UPDATE transfers SET kind = 'payload'").await;
        let later = after(now(), 301_000);
        assert_eq!(claimed(later).await.unwrap().len() + claimed(later).await.unwrap().len(), 2);
    }

    two_nodes_never_do_the_same_steps(store) {
        let leases = [lease(&store, "n1").await, lease(&store, "n2").await];
        for n in 0..30 {
            recorded_with_steps(&store, &leases[0], &format!("f{n}"), &["x", "lane-a"], |_| {}).await;
        }
        let tasks: Vec<_> = (0..6).map(|n| {
            let (store, lease) = (store.store.clone(), leases[n % 2].clone());
            tokio::spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let some = store.claim_steps(&lease, 3, i64::MAX, now()).await.unwrap();
                    if some.is_empty() { break; }
                    for one in some {
                        let (end, payload) = steps_done(&lease, &one);
                        let ended = store.end_steps(&one.claim, end, now()).await.unwrap();
                        assert_eq!(recorded(ended), [payload].into());
                        mine.push(one.transfer.id);
                    }
                }
                mine
            })
        }).collect();
        let mut all = Vec::new();
        for task in tasks { all.extend(task.await.unwrap()); }
        for one in claim_steps(&store, &leases[0]).await {
            all.push(one.transfer.id);
        }
        assert_eq!((all.len(), all.iter().collect::<HashSet<_>>().len()), (30, 30));
    }
}
