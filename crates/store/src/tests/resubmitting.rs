//! Payloads that are sent once more.

use super::fixture::{
    after, claim, claim_one, delivered, events, failed, lease, node, now, offer, record, recorded, transfer,
    transfer_state,
};
use crate::testing::both;
use crate::{Act, NewTransfer, NodeLease, Store, child_id};
use model::{Actor, AuditEvent, ErrorKind, EventId, EventKind, Transfer, TransferId, TransferState};
use uuid::Uuid;

fn act() -> Act {
    Act::new(Actor::User("ada".into()), node("n1"), now())
}

/// A child of a transfer, to the destinations.
fn child(request: Uuid, parent: &Transfer, to: &[&str]) -> NewTransfer {
    let mut new = transfer(None, to);
    let id = child_id(request, parent.id);
    new.transfer = Transfer { id, payload: parent.payload.clone(), parent: Some(parent.id), ..new.transfer };
    for delivery in &mut new.deliveries {
        delivery.delivery.transfer = id;
    }
    new
}

async fn completed(store: &Store, lease: &NodeLease, to: &[&str]) -> Transfer {
    let (_, new) = recorded(store, lease, &Uuid::now_v7().to_string(), to).await;
    for one in claim(store, lease).await {
        store.finish(&one.claim, delivered(), now(), vec![]).await.unwrap();
    }
    assert_eq!(transfer_state(store, new.transfer.id).await, TransferState::Completed);
    store.transfer(new.transfer.id).await.unwrap().unwrap()
}

async fn removed(store: &Store, of: &Transfer, at: model::Timestamp) -> bool {
    let event = AuditEvent::new(EventId::new(Uuid::now_v7()), at, node("n1"), EventKind::PayloadRemoved);
    !store.mark_payloads_removed(vec![(of.payload.id, event)], at).await.unwrap().is_empty()
}

both! {
    a_completed_transfer_is_sent_once_more_as_its_child(store) {
        let lease = lease(&store, "n1").await;
        let parent = completed(&store, &lease, &["x"]).await;
        let request = Uuid::now_v7();
        let new = child(request, &parent, &["x"]);
        let id = new.transfer.id;
        let made = store.resubmit(vec![new.clone()], &act()).await.unwrap();
        assert_eq!((made[0].parent, made[0].child), (parent.id, id));
        assert!(matches!(made[0].made, Ok(true)), "{made:?}");
        // Asked for again it is there already.
        let made = store.resubmit(vec![new], &act()).await.unwrap();
        assert!(matches!(made[0].made, Ok(false)), "{made:?}");
        assert_eq!(transfer_state(&store, parent.id).await, TransferState::Completed);
        let read = store.transfer(id).await.unwrap().unwrap();
        assert_eq!((read.parent, read.payload.id), (Some(parent.id), parent.payload.id));
        assert_eq!((read.state, read.sequence), (TransferState::Delivering, 1));
        let one = claim_one(&store, &lease).await;
        assert_eq!(one.transfer.id, id);
        assert!(one.notes.is_empty(), "it has a Message-ID of its own");
        assert_eq!(events(&store, EventKind::TransferResubmitted).await, 1);
        assert_eq!(events(&store, EventKind::TransferRecorded).await, 1);
        assert_eq!(store.waybill(parent.id).await.unwrap().unwrap().children[0].id, id);
    }

    the_same_request_by_two_at_once_makes_one_child(store) {
        let lease = lease(&store, "n1").await;
        let parent = completed(&store, &lease, &["x"]).await;
        let request = Uuid::now_v7();
        let ask = async |_| {
            let mut made = store.resubmit(vec![child(request, &parent, &["x"])], &act()).await.unwrap();
            made.remove(0).made.unwrap()
        };
        let asked = futures::future::join_all((0..8).map(ask)).await;
        assert_eq!(asked.iter().filter(|made| **made).count(), 1, "{asked:?}");
        assert_eq!(claim(&store, &lease).await.len(), 1);
    }

    parent_and_child_both_need_the_payload(store) {
        let lease = lease(&store, "n1").await;
        let parent = completed(&store, &lease, &["x"]).await;
        let new = child(Uuid::now_v7(), &parent, &["x"]);
        store.resubmit(vec![new.clone()], &act()).await.unwrap();
        // The parent's retention is over; the child is under way.
        let end = after(now(), 3_700_000);
        assert!(store.payloads_past_retention(end, 10).await.unwrap().is_empty());
        assert!(!removed(&store, &parent, end).await);
        let one = claim_one(&store, &lease).await;
        store.finish(&one.claim, delivered(), end, vec![]).await.unwrap();
        assert!(!removed(&store, &parent, after(end, 3_500_000)).await, "the child's own retention");
        assert!(removed(&store, &parent, after(end, 3_700_000)).await);
        assert_eq!(events(&store, EventKind::PayloadRemoved).await, 2);
    }

    what_retention_removed_is_not_sent_once_more(store) {
        let lease = lease(&store, "n1").await;
        let parent = completed(&store, &lease, &["x"]).await;
        assert!(removed(&store, &parent, after(now(), 3_700_000)).await);
        let mut made = store.resubmit(vec![child(Uuid::now_v7(), &parent, &["x"])], &act()).await.unwrap();
        let error = made.remove(0).made.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let said = error.to_string();
        assert!(said.contains("retention 1h") && said.contains("payload removed"), "{said}");
        assert_eq!(events(&store, EventKind::TransferResubmitted).await, 0);
    }

    what_retention_removed_is_not_retried(store) {
        let lease = lease(&store, "n1").await;
        let new = transfer(None, &["x"]);
        store.record_offer(record(&lease, offer("a"), vec![new.clone()])).await.unwrap();
        let one = claim_one(&store, &lease).await;
        store.finish(&one.claim, failed(false), now(), vec![]).await.unwrap();
        assert!(removed(&store, &new.transfer, after(now(), 3_700_000)).await);
        let error = store.retry_transfer(new.transfer.id, &act(), None).await.unwrap_err();
        assert!(error.to_string().contains("retention 1h"), "{error}");
        assert_eq!(events(&store, EventKind::DeliveryRequeued).await, 0);
        assert!(claim(&store, &lease).await.is_empty());
    }

    one_that_has_not_ended_is_refused_and_keeps_no_other_back(store) {
        let lease = lease(&store, "n1").await;
        let done = completed(&store, &lease, &["x"]).await;
        let (_, open) = recorded(&store, &lease, "b", &["y"]).await;
        let request = Uuid::now_v7();
        let unknown = Transfer { id: TransferId::new(Uuid::now_v7()), ..open.transfer.clone() };
        let asked = [&open.transfer, &unknown, &done].map(|parent| child(request, parent, &["x"]));
        let made = store.resubmit(asked.to_vec(), &act()).await.unwrap();
        let kinds: Vec<_> = made.iter().map(|one| one.made.as_ref().map_err(model::Error::kind)).collect();
        assert_eq!(kinds, [Err(ErrorKind::Rejected), Err(ErrorKind::NotFound), Ok(&true)]);
    }

    children_keep_the_order_of_their_request_in_their_lane(store) {
        let lease = lease(&store, "n1").await;
        let parents = [completed(&store, &lease, &["lane-a"]).await, completed(&store, &lease, &["lane-a"]).await, completed(&store, &lease, &["lane-a"]).await];
        let request = Uuid::now_v7();
        let children: Vec<_> = parents.iter().map(|parent| child(request, parent, &["lane-a"])).collect();
        let wanted: Vec<_> = children.iter().map(|new| new.transfer.id).collect();
        store.resubmit(children, &act()).await.unwrap();
        for id in wanted {
            let one = claim_one(&store, &lease).await;
            assert_eq!(one.transfer.id, id);
            store.finish(&one.claim, delivered(), now(), vec![]).await.unwrap();
        }
    }

    an_id_of_another_transfer_is_refused(store) {
        let lease = lease(&store, "n1").await;
        let (first, second) = (completed(&store, &lease, &["x"]).await, completed(&store, &lease, &["x"]).await);
        let mut new = child(Uuid::now_v7(), &first, &["x"]);
        new.transfer.id = second.id;
        let made = store.resubmit(vec![new], &act()).await.unwrap().remove(0).made;
        assert_eq!(made.unwrap_err().kind(), ErrorKind::AlreadyExists);
    }
}

#[test]
fn the_same_request_gives_the_same_id() {
    let (request, parent) = (Uuid::now_v7(), TransferId::new(Uuid::now_v7()));
    assert_eq!(child_id(request, parent), child_id(request, parent));
    assert_ne!(child_id(Uuid::now_v7(), parent), child_id(request, parent));
    assert_ne!(child_id(request, TransferId::new(Uuid::now_v7())), child_id(request, parent));
}
