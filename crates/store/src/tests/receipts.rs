use super::fixture::{
    after, claim, claim_one, delivered, delivery_states, events, lease, node, now, receipt, recorded, retry,
    transfer, transfer_state,
};
use crate::testing::both;
use crate::{Claimed, Done, Finish, Finished, NodeLease, Resolved, Store};
use model::{AuditEvent, DeliveryState, EventId, EventKind, TransferKind, TransferState};

/// A claimed delivery that a key is bound to.
async fn sent(store: &Store, lease: &NodeLease, key: &str) -> Claimed {
    recorded(store, lease, key, &["x"]).await;
    let one = claim_one(store, lease).await;
    assert_eq!(store.correlate(&one.claim, key).await.unwrap(), Done::Done);
    assert_eq!(store.correlate(&one.claim, key).await.unwrap(), Done::Done);
    one
}

async fn resolve(store: &Store, key: &str, positive: bool) -> Resolved {
    let by = crate::tests::fixture::node("n2");
    store.resolve(key, receipt(positive), &by, vec![], now()).await.unwrap()
}

fn was(resolved: &Resolved) -> Option<DeliveryState> {
    match resolved {
        Resolved::Resolved { was, .. } => Some(*was),
        _ => None,
    }
}

both! {
    a_receipt_ends_a_waiting_delivery(store) {
        let lease = lease(&store, "n1").await;
        let one = sent(&store, &lease, "<1@a>").await;
        let deadline = after(now(), 60_000);
        let end = store.finish(&one.claim, Finish::Awaiting { deadline }, now(), vec![]).await.unwrap();
        assert_eq!(end, Finished::Done { transfer_ended: None });
        assert_eq!(store.next_due().await.unwrap(), Some(deadline));
        let resolved = resolve(&store, "<1@a>", true).await;
        assert_eq!(resolved, Resolved::Resolved {
            delivery: one.delivery.id,
            transfer: one.transfer.id,
            was: DeliveryState::AwaitingReceipt,
            transfer_ended: Some(TransferState::Completed),
        });
        assert!(matches!(resolve(&store, "<1@a>", true).await, Resolved::AlreadyResolved { .. }));
        assert_eq!(events(&store, EventKind::DeliveryDelivered).await, 1);
    }

    a_receipt_may_overtake_the_answer_to_the_sending(store) {
        let lease = lease(&store, "n1").await;
        let one = sent(&store, &lease, "<1@a>").await;
        assert_eq!(was(&resolve(&store, "<1@a>", true).await), Some(DeliveryState::Sending));
        assert_eq!(store.note(&one.claim, "answered", serde_json::json!(200)).await.unwrap(), Done::Done);
        let late = store.finish(&one.claim, Finish::Awaiting { deadline: now() }, now(), vec![]).await.unwrap();
        assert_eq!(late, Finished::AlreadyResolved(DeliveryState::Delivered));
        assert_eq!(transfer_state(&store, one.transfer.id).await, TransferState::Completed);
    }

    what_came_with_the_answer_is_on_record_also_when_a_receipt_overtook_it(store) {
        let lease = lease(&store, "n1").await;
        let one = sent(&store, &lease, "<1@a>").await;
        resolve(&store, "<1@a>", true).await;
        let mut reply = transfer(None, &[]);
        (reply.transfer.kind, reply.transfer.state) = (TransferKind::Reply, TransferState::Held);
        let event = |kind, of| {
            let id = EventId::new(uuid::Uuid::now_v7());
            AuditEvent::new(id, now(), node("n1"), kind).transfer(of)
        };
        let told = vec![
            event(EventKind::DeliveryDelivered, one.transfer.id),
            event(EventKind::TransferHeld, reply.transfer.id),
        ];
        let Finish::Delivered { receipt, .. } = delivered() else { unreachable!() };
        let finish = Finish::Delivered { receipt, replies: vec![reply.clone()] };
        // Also when it is told twice, as its first answer was lost.
        for _ in 0..2 {
            let late = store.finish(&one.claim, finish.clone(), now(), told.clone()).await.unwrap();
            assert_eq!(late, Finished::AlreadyResolved(DeliveryState::Delivered));
        }
        assert_eq!(transfer_state(&store, reply.transfer.id).await, TransferState::Held);
        assert_eq!(events(&store, EventKind::TransferHeld).await, 1);
        assert_eq!(events(&store, EventKind::DeliveryDelivered).await, 1);
    }

    a_negative_receipt_fails_it_also_later(store) {
        let lease = lease(&store, "n1").await;
        let one = sent(&store, &lease, "<1@a>").await;
        store.finish(&one.claim, Finish::Awaiting { deadline: now() }, now(), vec![]).await.unwrap();
        assert_eq!(was(&resolve(&store, "<1@a>", false).await), Some(DeliveryState::AwaitingReceipt));
        assert_eq!(transfer_state(&store, one.transfer.id).await, TransferState::Failed);
        assert!(matches!(resolve(&store, "<1@a>", true).await,
            Resolved::AlreadyResolved { state: DeliveryState::Failed, .. }));

        let two = sent(&store, &lease, "<2@a>").await;
        store.finish(&two.claim, delivered(), now(), vec![]).await.unwrap();
        assert_eq!(transfer_state(&store, two.transfer.id).await, TransferState::Completed);
        assert_eq!(was(&resolve(&store, "<2@a>", false).await), Some(DeliveryState::Delivered));
        assert_eq!(delivery_states(&store, two.transfer.id).await, [DeliveryState::Failed]);
        assert_eq!(transfer_state(&store, two.transfer.id).await, TransferState::Failed);
        assert_eq!(events(&store, EventKind::DeliveryFailed).await, 2);
    }

    a_receipt_for_an_attempt_that_was_given_up_still_counts(store) {
        let lease = lease(&store, "n1").await;
        let one = sent(&store, &lease, "<1@a>").await;
        store.finish(&one.claim, retry(now()), now(), vec![]).await.unwrap();
        assert_eq!(was(&resolve(&store, "<1@a>", true).await), Some(DeliveryState::Retrying));
        assert!(claim(&store, &lease).await.is_empty());
    }

    an_unknown_receipt_is_on_record(store) {
        assert_eq!(resolve(&store, "<nobody@a>", true).await, Resolved::Unmatched);
        assert_eq!(events(&store, EventKind::ReceiptUnmatched).await, 1);
    }

    a_key_belongs_to_one_delivery(store) {
        let lease = lease(&store, "n1").await;
        sent(&store, &lease, "<1@a>").await;
        recorded(&store, &lease, "b", &["x"]).await;
        let two = claim_one(&store, &lease).await;
        let error = store.correlate(&two.claim, "<1@a>").await.unwrap_err();
        assert_eq!(error.kind(), model::ErrorKind::AlreadyExists);
    }

    overdue_receipts_are_found_and_retried(store) {
        let lease = lease(&store, "n1").await;
        let one = sent(&store, &lease, "<1@a>").await;
        let deadline = after(now(), 60_000);
        store.finish(&one.claim, Finish::Awaiting { deadline }, now(), vec![]).await.unwrap();
        assert!(store.overdue_receipts(now(), 10).await.unwrap().is_empty());
        let overdue = store.overdue_receipts(deadline, 10).await.unwrap().remove(0);
        assert_eq!((overdue.deadline, overdue.claim.attempt), (deadline, 1));
        assert_eq!(overdue.delivery.state, DeliveryState::AwaitingReceipt);
        store.finish(&overdue.claim, retry(now()), now(), vec![]).await.unwrap();
        let two = claim_one(&store, &lease).await;
        assert_eq!((two.claim.attempt, two.failures), (2, 1));
        assert_eq!(store.finish(&overdue.claim, retry(now()), now(), vec![]).await.unwrap(), Finished::ClaimLost);
    }

    a_receipt_and_the_deadline_meet_once(store) {
        let lease = lease(&store, "n1").await;
        for n in 0..10 {
            let key = format!("<{n}@a>");
            let one = sent(&store, &lease, &key).await;
            store.finish(&one.claim, Finish::Awaiting { deadline: now() }, now(), vec![]).await.unwrap();
            let far = after(now(), 600_000);
            let (resolved, finished) = tokio::join!(
                resolve(&store, &key, true),
                store.finish(&one.claim, retry(far), now(), vec![]),
            );
            assert!(was(&resolved).is_some(), "{resolved:?}");
            let finished = finished.unwrap();
            assert!(matches!(finished, Finished::Done { .. } | Finished::AlreadyResolved(_)), "{finished:?}");
            assert_eq!(delivery_states(&store, one.transfer.id).await, [DeliveryState::Delivered]);
        }
    }
}
