//! Files that a person sends: recorded once, delivered like others.

use super::fixture::{claim_one, delivered, events, lease, node, now, transfer, transfer_state};
use crate::testing::both;
use crate::{Act, NewTransfer};
use model::{Actor, ByHand, ErrorKind, EventKind, TransferKind, TransferState};
use uuid::Uuid;

fn act() -> Act {
    Act { request: Some(Uuid::nil()), ..Act::new(Actor::User("ada".into()), node("n1"), now()) }
}

fn by_hand() -> NewTransfer {
    let mut new = transfer(None, &["globex-as2"]);
    new.transfer.kind = TransferKind::ByHand;
    new.transfer.flow = ByHand { endpoint: "globex-as2", is_test: false }.flow();
    new
}

both! {
    a_file_is_recorded_once_and_delivered(store) {
        let lease = lease(&store, "n1").await;
        let new = by_hand();
        assert!(store.send_file(new.clone(), &act()).await.unwrap());
        // Asked for again, as after a commit whose answer was lost.
        assert!(!store.send_file(new.clone(), &act()).await.unwrap());
        assert_eq!(events(&store, EventKind::TransferRecorded).await, 1);
        let read = store.transfer(new.transfer.id).await.unwrap().unwrap();
        assert_eq!((read.kind, read.state, read.offer), (TransferKind::ByHand, TransferState::Delivering, None));
        let one = claim_one(&store, &lease).await;
        assert_eq!(one.transfer.id, new.transfer.id);
        store.finish(&one.claim, delivered(), now(), vec![]).await.unwrap();
        assert_eq!(transfer_state(&store, new.transfer.id).await, TransferState::Completed);
    }

    its_event_names_the_person_and_the_endpoint(store) {
        let new = by_hand();
        store.send_file(new.clone(), &act()).await.unwrap();
        let waybill = store.waybill(new.transfer.id).await.unwrap().unwrap();
        let [event] = &waybill.events[..] else { panic!("{:?}", waybill.events) };
        assert_eq!((event.kind.as_str(), event.actor.as_str()), ("transfer.recorded", "user:ada"));
        assert_eq!(event.endpoint.as_deref(), Some("globex-as2"));
        assert_eq!((&event.detail["by_hand"], &event.detail["kind"]), (&true.into(), &"by_hand".into()));
        assert_eq!(event.flow.as_deref(), Some("endpoint:globex-as2"));
    }

    another_file_under_the_same_id_is_refused(store) {
        let new = by_hand();
        store.send_file(new.clone(), &act()).await.unwrap();
        let mut other = by_hand();
        other.transfer.id = new.transfer.id;
        for delivery in &mut other.deliveries {
            delivery.delivery.transfer = new.transfer.id;
        }
        let error = store.send_file(other, &act()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(events(&store, EventKind::TransferRecorded).await, 1);
    }
}
