use super::fixture::{after, claim, delivered, lease, now, offer, record, transfer};
use crate::testing::both;
use crate::{Act, Done, NodeLease, Store};
use model::{Actor, AuditEvent, EventId, EventKind, PayloadId, Timestamp};
use std::collections::HashSet;
use uuid::Uuid;

fn removal(payload: PayloadId) -> (PayloadId, AuditEvent) {
    let id = EventId::new(Uuid::now_v7());
    (payload, AuditEvent::new(id, now(), crate::tests::fixture::node("n1"), EventKind::PayloadRemoved))
}

async fn past(store: &Store, at: Timestamp) -> Vec<PayloadId> {
    store.payloads_past_retention(at, 100).await.unwrap().into_iter().map(|payload| payload.id).collect()
}

async fn deliver_all(store: &Store, lease: &NodeLease) {
    for one in claim(store, lease).await {
        store.finish(&one.claim, delivered(), now(), vec![]).await.unwrap();
    }
}

both! {
    a_payload_is_kept_as_long_as_any_transfer_needs_it(store) {
        let lease = lease(&store, "n1").await;
        let (mut first, mut second) = (transfer(None, &["x"]), transfer(None, &["lane-a"]));
        second.transfer.payload = first.transfer.payload.clone();
        first.retain_for = std::time::Duration::from_secs(1);
        second.retain_for = std::time::Duration::from_secs(100);
        let id = first.transfer.payload.id;
        assert_eq!(store.newest_payload().await.unwrap(), None);
        store.record_offer(record(&lease, offer("a"), vec![first.clone(), second])).await.unwrap();
        assert_eq!(store.newest_payload().await.unwrap(), Some(id));
        assert!(past(&store, after(now(), 1_000_000)).await.is_empty());

        let claimed = claim(&store, &lease).await;
        let one = claimed.iter().find(|one| one.transfer.id == first.transfer.id).unwrap();
        store.finish(&one.claim, delivered(), now(), vec![]).await.unwrap();
        assert!(past(&store, after(now(), 1_000_000)).await.is_empty());
        let other = claimed.iter().find(|one| one.transfer.id != first.transfer.id).unwrap();
        store.finish(&other.claim, delivered(), now(), vec![]).await.unwrap();
        assert!(past(&store, after(now(), 50_000)).await.is_empty());
        assert_eq!(past(&store, after(now(), 101_000)).await, [id]);

        let end = after(now(), 101_000);
        assert!(store.mark_payloads_removed(vec![removal(id)], after(now(), 50_000)).await.unwrap().is_empty());
        assert_eq!(store.mark_payloads_removed(vec![removal(id)], end).await.unwrap(), HashSet::from([id]));
        assert!(store.mark_payloads_removed(vec![removal(id)], end).await.unwrap().is_empty());
        assert!(past(&store, end).await.is_empty());
        let rows = store.payload_rows(&[id]).await.unwrap();
        assert_eq!((rows.present.len(), rows.removed), (0, HashSet::from([id])));
        assert_eq!(store.newest_payload().await.unwrap(), None);
        // Told to each transfer that needed it.
        assert_eq!(crate::tests::fixture::events(&store, EventKind::PayloadRemoved).await, 2);

        // What is gone cannot be sent again, nor used for another transfer.
        let mut third = transfer(None, &["x"]);
        third.transfer.payload = first.transfer.payload;
        let error = store.record_offer(record(&lease, offer("b"), vec![third])).await.unwrap_err();
        assert_eq!(error.kind(), model::ErrorKind::NotFound);
    }

    what_a_delivery_keeps_is_needed_as_long_as_its_transfer(store) {
        let lease = lease(&store, "n1").await;
        let new = transfer(None, &["x"]);
        let payload = new.transfer.payload.clone();
        store.record_offer(record(&lease, offer("a"), vec![new])).await.unwrap();
        let one = claim(&store, &lease).await.remove(0);
        let kept = model::PayloadRecord { id: PayloadId::new(Uuid::now_v7()), ..payload.clone() };
        let note = serde_json::json!({ "about": 1 });
        assert_eq!(store.keep(&one.claim, "spool", note.clone(), kept.clone()).await.unwrap(), Done::Done);
        // Once more is the same.
        assert_eq!(store.keep(&one.claim, "spool", note.clone(), kept.clone()).await.unwrap(), Done::Done);
        assert_eq!(store.payload_rows(&[kept.id]).await.unwrap().present, HashSet::from([kept.id]));
        store.finish(&one.claim, crate::tests::fixture::retry(now()), now(), vec![]).await.unwrap();
        let two = claim(&store, &lease).await.remove(0);
        assert_eq!(two.notes["spool"], note);
        // Whoever lost the claim keeps nothing.
        let other = model::PayloadRecord { id: PayloadId::new(Uuid::now_v7()), ..payload.clone() };
        assert_eq!(store.keep(&one.claim, "spool", note, other.clone()).await.unwrap(), Done::ClaimLost);
        assert!(store.payload_rows(&[other.id]).await.unwrap().present.is_empty());
        let end = after(now(), 3_601_000);
        assert!(past(&store, end).await.is_empty());
        store.finish(&two.claim, delivered(), now(), vec![]).await.unwrap();
        assert_eq!(HashSet::from_iter(past(&store, end).await), HashSet::from([kept.id, payload.id]));
        let removed = store.mark_payloads_removed(vec![removal(kept.id), removal(payload.id)], end).await.unwrap();
        assert_eq!(removed.len(), 2);
    }

    a_transfer_that_is_sent_again_keeps_its_payload(store) {
        let lease = lease(&store, "n1").await;
        let new = transfer(None, &["x"]);
        let (id, payload) = (new.transfer.id, new.transfer.payload.id);
        store.record_offer(record(&lease, offer("a"), vec![new])).await.unwrap();
        let one = claim(&store, &lease).await.remove(0);
        store.finish(&one.claim, crate::tests::fixture::failed(false), now(), vec![]).await.unwrap();
        let end = after(now(), 3_601_000);
        assert_eq!(past(&store, end).await, [payload]);
        let act = Act::new(Actor::User("ada".into()), lease.node.clone(), now());
        store.retry_transfer(id, &act, None).await.unwrap();
        assert!(past(&store, end).await.is_empty());
        assert!(store.mark_payloads_removed(vec![removal(payload)], end).await.unwrap().is_empty());
        deliver_all(&store, &lease).await;
        assert_eq!(store.mark_payloads_removed(vec![removal(payload)], end).await.unwrap().len(), 1);
    }
}
