//! Receipts that contradict those that proved their deliveries.

use super::fixture::{
    claim, claim_one, delivered, delivery_states, events, failed, failure_route, lease, node, now, offer,
    receipt, record, transfer, transfer_state,
};
use crate::testing::both;
use crate::{Act, Claimed, Failure, NodeLease, ReceiptRecord, ReceiptSays, Resolved, Store};
use model::{Actor, DeliveryState, ErrorKind, EventKind, Receipt, TransferId, TransferKind, TransferState};

fn mdn(positive: bool, signed: bool) -> Receipt {
    let mut receipt = receipt(positive);
    receipt.detail.insert("signed".into(), signed.into());
    receipt
}

async fn prove(store: &Store, key: &str, signed: bool) -> Resolved {
    let says = ReceiptSays::Proof(mdn(true, signed));
    store.resolve_noting(key, says, ReceiptRecord::default(), &node("n2"), now()).await.unwrap()
}

/// A refusal that the transport lets contradict.
async fn refuse(store: &Store, key: &str, signed: bool) -> Resolved {
    let error = Failure { kind: ErrorKind::Rejected, text: "decryption-failed".into() };
    let receipt = mdn(false, signed);
    let says = ReceiptSays::Refusal { receipt, error, retry_at: None, may_contradict: true };
    store.resolve_noting(key, says, ReceiptRecord::default(), &node("n2"), now()).await.unwrap()
}

/// A transfer with a failure route, whose deliveries are claimed; each is bound to its destination as the key.
async fn sent(store: &Store, lease: &NodeLease, to: &[&str]) -> (TransferId, Vec<Claimed>) {
    let offer = offer(&to.concat());
    let mut new = transfer(Some(offer.id), to);
    new.failure_route = Some(failure_route("ops"));
    let id = new.transfer.id;
    store.record_offer(record(lease, offer, vec![new])).await.unwrap();
    let claimed = claim(store, lease).await;
    assert_eq!(claimed.len(), to.len(), "{claimed:?}");
    for one in &claimed {
        store.correlate(&one.claim, &one.delivery.destination).await.unwrap();
    }
    (id, claimed)
}

/// The delivery to this destination.
fn to<'a>(claimed: &'a [Claimed], destination: &str) -> &'a Claimed {
    claimed.iter().find(|one| one.delivery.destination == destination).unwrap()
}

both! {
    an_unsigned_refusal_contradicts_no_signed_receipt(store) {
        let lease = lease(&store, "n1").await;
        for (key, is_proof_signed, is_refusal_signed, counts) in
            [("signed", true, false, false), ("both", true, true, true), ("neither", false, false, true)]
        {
            let (id, _) = sent(&store, &lease, &[key]).await;
            assert!(matches!(prove(&store, key, is_proof_signed).await, Resolved::Resolved { .. }), "{key}");
            let resolved = refuse(&store, key, is_refusal_signed).await;
            let state = match counts {
                true => DeliveryState::Failed,
                false => DeliveryState::Delivered,
            };
            assert_eq!(matches!(resolved, Resolved::Resolved { .. }), counts, "{key}: {resolved:?}");
            assert_eq!(delivery_states(&store, id).await, [state], "{key}");
            let ended = if counts { TransferState::Failed } else { TransferState::Completed };
            assert_eq!(transfer_state(&store, id).await, ended, "{key}");
        }
        assert_eq!(events(&store, EventKind::ReceiptIgnored).await, 1);
    }

    a_contradicted_receipt_sends_nothing_on_the_failure_route(store) {
        let lease = lease(&store, "n1").await;
        let (id, _) = sent(&store, &lease, &["a"]).await;
        prove(&store, "a", true).await;
        refuse(&store, "a", true).await;
        assert_eq!(transfer_state(&store, id).await, TransferState::Failed);
        assert!(claim(&store, &lease).await.is_empty());
        // A person has sent it again, and it did not arrive.
        let act = Act::new(Actor::User("ada".into()), lease.node.clone(), now());
        store.retry_transfer(id, &act, None).await.unwrap();
        let again = claim_one(&store, &lease).await;
        assert_eq!(again.transfer.id, id);
        store.finish(&again.claim, failed(false), now(), vec![]).await.unwrap();
        let child = claim_one(&store, &lease).await;
        assert_eq!((child.transfer.kind, child.transfer.parent), (TransferKind::Failure, Some(id)));
    }

    a_contradicted_receipt_follows_no_failure_route_a_second_time(store) {
        let lease = lease(&store, "n1").await;
        let (id, claimed) = sent(&store, &lease, &["b", "c"]).await;
        store.finish(&to(&claimed, "b").claim, failed(false), now(), vec![]).await.unwrap();
        prove(&store, "c", true).await;
        assert_eq!(transfer_state(&store, id).await, TransferState::PartlyFailed);
        let child = claim_one(&store, &lease).await;
        assert_eq!(child.transfer.parent, Some(id));
        refuse(&store, "c", true).await;
        assert_eq!(transfer_state(&store, id).await, TransferState::Failed);
        assert!(claim(&store, &lease).await.is_empty());
    }

    a_receipt_that_is_contradicted_before_its_transfer_ends_sends_nothing_either(store) {
        let lease = lease(&store, "n1").await;
        let (id, claimed) = sent(&store, &lease, &["d", "e"]).await;
        prove(&store, "d", true).await;
        refuse(&store, "d", true).await;
        store.finish(&to(&claimed, "e").claim, delivered(), now(), vec![]).await.unwrap();
        assert_eq!(transfer_state(&store, id).await, TransferState::PartlyFailed);
        assert!(claim(&store, &lease).await.is_empty());
    }
}
