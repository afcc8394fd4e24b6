use super::fixture::{
    claim, claim_one, delivered, delivery_states, events, failed, lease, now, recorded, transfer_state,
};
use crate::testing::both;
use crate::{Act, Acted, DestinationInForce, Finished, FlowInForce};
use model::{Actor, DeliveryState, ErrorKind, EventKind, TransferState};
use std::time::Duration;

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
        let again = store.retry_transfer(id, &act(), None).await.unwrap();
        assert_eq!(again.acted, Acted { transfer: TransferState::Delivering, ..acted });
        let twice = store.retry_transfer(id, &act(), None).await.unwrap();
        assert_eq!((twice.acted.changed, twice.deliveries.len()), (false, 0), "it is on its way already");
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
            store.retry_transfer(new.transfer.id, &act(), None).await.unwrap_err(),
            store.hold_transfer(new.transfer.id, &act()).await.unwrap_err(),
            store.release_transfer(new.transfer.id, &act()).await.unwrap_err(),
            store.cancel_transfer(new.transfer.id, &act()).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Rejected);
            assert!(error.to_string().contains("state completed"), "{error}");
        }
    }

    what_is_retried_goes_through_the_flow_in_force_where_it_has_the_destination(store) {
        let lease = lease(&store, "n1").await;
        let (_, new) = recorded(&store, &lease, "a", &["x", "y", "gone", "lane-a"]).await;
        let id = new.transfer.id;
        assert_eq!(store.unfinished_deliveries().await.unwrap().get("gone"), Some(&1));
        let to = |name: &str, endpoint: &str| DestinationInForce {
            name: name.into(),
            endpoint: endpoint.into(),
            expires_after: (name == "x").then_some(Duration::from_secs(3600)),
            lane_continues: true,
        };
        // In another order than it was, and `y` at another endpoint: that is another destination.
        let destinations = vec![to("lane-a", "lane-a"), to("y", "elsewhere"), to("x", "x")];
        let flow = |revision| Some(FlowInForce { revision, destinations: destinations.clone() });
        for one in claim(&store, &lease).await {
            // One is still on its way: it keeps the revision that it began under.
            if one.delivery.endpoint != "lane-a" {
                store.finish(&one.claim, failed(false), now(), vec![]).await.unwrap();
            }
        }
        let unfinished = store.unfinished_deliveries().await.unwrap();
        assert_eq!(unfinished.into_iter().collect::<Vec<_>>(), [("lane-a".to_owned(), 1)]);
        let asked = act();
        let retried = store.retry_transfer(id, &asked, flow(4)).await.unwrap();
        let mut told: Vec<_> =
            retried.deliveries.iter().map(|one| (one.destination.as_str(), one.revision, one.in_force)).collect();
        told.sort_unstable();
        assert_eq!(told, [("gone", 1, false), ("x", 4, true), ("y", 1, false)]);
        let deliveries = store.deliveries(id).await.unwrap();
        let stored = |name: &str| deliveries.iter().find(|one| one.destination == name).unwrap();
        assert_eq!((stored("x").revision, stored("x").file_name.to_text()), (Some(4), "po.edi".into()));
        assert_eq!(stored("x").expires_at, Some(crate::tests::fixture::after(asked.at, 3_600_000)));
        assert_eq!(["y", "gone", "lane-a"].map(|name| stored(name).revision), [None; 3]);
        let waybill = store.waybill(id).await.unwrap().unwrap();
        assert_eq!(waybill.deliveries.iter().filter(|one| one.revision == Some(4)).count(), 1);
        // What is claimed says so, and its transfer is what it was.
        let claimed = claim(&store, &lease).await;
        let x = claimed.iter().find(|one| one.delivery.destination == "x").unwrap();
        assert_eq!((x.delivery.revision_of(&x.transfer), x.transfer.revision), (4, 1));

        // Retried again, it goes through the flow that is in force by then.
        for (flow, revision) in [(flow(5), 5), (flow(6), 6)] {
            let x = store.deliveries(id).await.unwrap().into_iter().find(|one| one.destination == "x").unwrap();
            if x.state == DeliveryState::Pending {
                for one in claim(&store, &lease).await {
                    store.finish(&one.claim, failed(false), now(), vec![]).await.unwrap();
                }
            } else {
                for one in &claimed {
                    store.finish(&one.claim, failed(false), now(), vec![]).await.unwrap();
                }
            }
            let retried = store.retry_transfer(id, &act(), flow).await.unwrap();
            let x = retried.deliveries.iter().find(|one| one.destination == "x").unwrap();
            assert_eq!((x.revision, x.in_force), (revision, true));
        }
        // Without the flow each keeps what it had.
        for one in claim(&store, &lease).await {
            store.finish(&one.claim, failed(false), now(), vec![]).await.unwrap();
        }
        let retried = store.retry_transfer(id, &act(), None).await.unwrap();
        let x = retried.deliveries.iter().find(|one| one.destination == "x").unwrap();
        assert_eq!((x.revision, x.in_force), (6, false));
    }
}
