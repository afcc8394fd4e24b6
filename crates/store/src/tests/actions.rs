use super::fixture::{
    claim, claim_one, delivered, delivery_states, events, failed, lease, now, recorded, transfer_state,
};
use crate::testing::both;
use crate::{Act, Acted, Finished};
use model::{Actor, DeliveryState, ErrorKind, EventKind, TransferState};

fn act() -> Act {
    Act::new(Actor::User("ada".into()), crate::tests::fixture::node("n1"), now())
}

both! {
    a_held_transfer_is_not_claimed(store) {
        let lease = lease(&store, "n1").await;
        let (_, new) = recorded(&store, &lease, "a", &["x", "lane-a"]).await;
        let id = new.transfer.id;
        let held = store.hold_transfer(id, &act()).await.unwrap();
        assert_eq!(held, Acted { changed: true, deliveries: 2, sending: 0, transfer: TransferState::Held });
        assert!(claim(&store, &lease).await.is_empty());
        assert_eq!(store.next_due().await.unwrap(), None);
        // Another person holds it too: it is held, and one release lets it go on.
        let again = store.hold_transfer(id, &act()).await.unwrap();
        assert_eq!(again, Acted { changed: false, deliveries: 0, ..held });
        store.release_transfer(id, &act()).await.unwrap();
        let again = store.release_transfer(id, &act()).await.unwrap();
        assert_eq!((again.changed, again.transfer), (false, TransferState::Delivering));
        assert_eq!(claim(&store, &lease).await.len(), 2);
        assert_eq!(events(&store, EventKind::TransferHeld).await, 1);
        assert_eq!(events(&store, EventKind::TransferReleased).await, 1);
    }

    a_transfer_held_while_its_last_delivery_is_under_way_ends_all_the_same(store) {
        let lease = lease(&store, "n1").await;
        let (_, new) = recorded(&store, &lease, "a", &["x"]).await;
        let one = claim_one(&store, &lease).await;
        store.hold_transfer(new.transfer.id, &act()).await.unwrap();
        let end = store.finish(&one.claim, delivered(), now(), vec![]).await.unwrap();
        assert_eq!(end, Finished::Done { transfer_ended: Some(TransferState::Completed) });
    }

    a_cancelled_transfer_can_be_sent_again(store) {
        let lease = lease(&store, "n1").await;
        let (_, new) = recorded(&store, &lease, "a", &["x", "y"]).await;
        let id = new.transfer.id;
        let cancelled = store.cancel_transfer(id, &act()).await.unwrap();
        let acted = Acted { changed: true, deliveries: 2, sending: 0, transfer: TransferState::Cancelled };
        assert_eq!(cancelled, acted);
        assert!(claim(&store, &lease).await.is_empty());
        let twice = store.cancel_transfer(id, &act()).await.unwrap();
        assert_eq!(twice, Acted { changed: false, deliveries: 0, ..acted });
        let again = store.retry_transfer(id, &act()).await.unwrap();
        assert_eq!(again, Acted { transfer: TransferState::Delivering, ..acted });
        let twice = store.retry_transfer(id, &act()).await.unwrap();
        assert_eq!((twice.changed, twice.deliveries), (false, 0), "it is on its way already");
        assert_eq!(claim(&store, &lease).await.len(), 2);
        assert_eq!(events(&store, EventKind::DeliveryRequeued).await, 2);
    }

    one_under_way_ends_as_it_will(store) {
        let lease = lease(&store, "n1").await;
        let (_, new) = recorded(&store, &lease, "a", &["x"]).await;
        let one = claim_one(&store, &lease).await;
        assert_eq!(store.cancel_delivery(one.delivery.id, &act()).await.unwrap_err().kind(), ErrorKind::Rejected);
        store.cancel_transfer(new.transfer.id, &act()).await.unwrap();
        let end = store.finish(&one.claim, delivered(), now(), vec![]).await.unwrap();
        assert_eq!(end, Finished::Done { transfer_ended: Some(TransferState::Completed) });
        assert_eq!(transfer_state(&store, new.transfer.id).await, TransferState::Completed);
        assert_eq!(delivery_states(&store, new.transfer.id).await, [DeliveryState::Delivered]);
    }

    a_skipped_failure_settles_its_transfer(store) {
        let lease = lease(&store, "n1").await;
        let (_, new) = recorded(&store, &lease, "a", &["x"]).await;
        let one = claim_one(&store, &lease).await;
        store.finish(&one.claim, failed(false), now(), vec![]).await.unwrap();
        let skipped = store.cancel_delivery(one.delivery.id, &act()).await.unwrap();
        let acted = Acted { changed: true, deliveries: 1, sending: 0, transfer: TransferState::Cancelled };
        assert_eq!(skipped, acted);
        let cancelled = recorded(&store, &lease, "b", &["x"]).await.1;
        let acted = store.cancel_delivery(cancelled.deliveries[0].delivery.id, &act()).await.unwrap();
        assert_eq!(acted.transfer, TransferState::Cancelled);
        assert_eq!(delivery_states(&store, new.transfer.id).await, [DeliveryState::Cancelled]);
    }

    what_is_not_there_is_named(store) {
        let id = model::TransferId::new(uuid::Uuid::now_v7());
        let error = store.hold_transfer(id, &act()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains(&id.to_string()), "{error}");
        let lease = lease(&store, "n1").await;
        let (_, new) = recorded(&store, &lease, "a", &["x"]).await;
        let one = claim_one(&store, &lease).await;
        store.finish(&one.claim, delivered(), now(), vec![]).await.unwrap();
        for error in [
            store.retry_transfer(new.transfer.id, &act()).await.unwrap_err(),
            store.hold_transfer(new.transfer.id, &act()).await.unwrap_err(),
            store.release_transfer(new.transfer.id, &act()).await.unwrap_err(),
            store.cancel_transfer(new.transfer.id, &act()).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Rejected);
            assert!(error.to_string().contains("state completed"), "{error}");
        }
    }
}
