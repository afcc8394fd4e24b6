//! Files that are not staged: where they may be claimed, what is known once they are delivered, and what a retry needs.

use super::fixture::{
    after, claim, claim_one, event, events, failed, lease, node, now, offer, receipt, record, recorded,
    transfer,
};
use crate::testing::both;
use crate::{
    Act, ClaimFilter, Finish, Finished, FlowInForce, NewTransfer, NodeLease, Recorded, Store, StreamedContent,
};
use model::definition::SettleWhen;
use model::{
    Actor, Content, DeliveryState, ErrorKind, EventKind, Offer, OfferId, OfferState, Outcome, Retry, Sha256,
    TransferState,
};
use serde_json::{Map, json};
use std::time::Duration;

async fn streamed(store: &Store, lease: &NodeLease, path: &str, to: &str) -> (OfferId, NewTransfer) {
    let offer = offer(path);
    let id = offer.id;
    let mut new = transfer(Some(id), &[to]);
    new.transfer.payload.content = Content::Streamed(None);
    let mut record = record(lease, offer, vec![new.clone()]);
    record.settle_when = Some(SettleWhen::AfterDelivery);
    record.events = vec![event(lease, EventKind::TransferRecorded).transfer(new.transfer.id)];
    assert_eq!(store.record_offer(record).await.unwrap(), Recorded::Recorded);
    (id, new)
}

fn content(lease: &NodeLease) -> StreamedContent {
    StreamedContent {
        sha256: Some(Sha256([9; 32])),
        source_data: Map::from_iter([("seen".to_owned(), json!(1))]),
        event: event(lease, EventKind::TransferStreamed),
    }
}

fn act() -> Act {
    Act::new(Actor::User("ada".into()), node("n1"), now())
}

async fn to_settle(store: &Store) -> Vec<(Offer, Outcome)> {
    let found = store.offers_to_settle("orders", "acme", now(), 10).await.unwrap();
    found.into_iter().map(|one| (one.offer, one.outcome)).collect()
}

async fn failed_once(store: &Store, lease: &NodeLease) {
    let one = claim_one(store, lease).await;
    let end = store.finish(&one.claim, failed(false), now(), vec![]).await.unwrap();
    assert_eq!(end, Finished::Done { transfer_ended: Some(TransferState::Failed) });
}

async fn settled(store: &Store, lease: &NodeLease, offer: OfferId, kept: bool) {
    assert!(store.begin_settle(offer, lease, now()).await.unwrap());
    store.settled(offer, lease, kept, vec![], vec![], now()).await.unwrap();
}

both! {
    what_is_streamed_is_claimed_where_its_source_can_be_read(store) {
        let lease = lease(&store, "n1").await;
        for to in ["x", "lane-x"] {
            streamed(&store, &lease, to, to).await;
            for skip in [vec!["acme".to_owned()], vec!["other".to_owned(), "acme".to_owned()]] {
                let filter = ClaimFilter { skip_sources: skip, ..ClaimFilter::default() };
                assert!(store.claim(&lease, 10, filter, now()).await.unwrap().is_empty(), "{to}");
            }
            let filter = ClaimFilter { skip_sources: vec!["other".into()], ..ClaimFilter::default() };
            let claimed = store.claim(&lease, 10, filter, now()).await.unwrap();
            assert_eq!((claimed.len(), claimed[0].payload.content), (1, Content::Streamed(None)));
        }
        // What is staged does not need its source.
        recorded(&store, &lease, "staged", &["y"]).await;
        let filter = ClaimFilter { skip_sources: vec!["acme".into()], ..ClaimFilter::default() };
        assert_eq!(store.claim(&lease, 10, filter, now()).await.unwrap().len(), 1);
    }

    what_was_streamed_is_known_once_it_is_delivered(store) {
        let lease = lease(&store, "n1").await;
        let (offer, new) = streamed(&store, &lease, "a", "x").await;
        assert!(to_settle(&store).await.is_empty());
        assert_eq!(store.newest_payload().await.unwrap(), None, "nothing of it must be in staging");
        let one = claim_one(&store, &lease).await;
        let finish = Finish::Streamed { receipt: receipt(true), content: content(&lease) };
        let end = store.finish(&one.claim, finish.clone(), now(), vec![]).await.unwrap();
        assert_eq!(end, Finished::Done { transfer_ended: Some(TransferState::Completed) });
        // Told again, as its answer might have been lost.
        let again = store.finish(&one.claim, finish, now(), vec![]).await.unwrap();
        assert_eq!(again, Finished::AlreadyResolved(DeliveryState::Delivered));
        let view = store.transfer_view(new.transfer.id).await.unwrap().unwrap();
        assert_eq!(view.content, Content::Streamed(Some(Sha256([9; 32]))));
        assert_eq!(events(&store, EventKind::TransferStreamed).await, 1);
        let due = to_settle(&store).await;
        assert_eq!((due[0].0.id, due[0].1, &due[0].0.source_data["seen"]), (offer, Outcome::Taken, &json!(1)));
        // At the end of its retention there is nothing to remove.
        let late = after(now(), i64::try_from(Duration::from_secs(86_400).as_millis()).unwrap());
        assert!(store.payloads_past_retention(late, 10).await.unwrap().is_empty());
    }

    a_file_that_stayed_can_be_sent_again_and_is_settled_then(store) {
        let lease = lease(&store, "n1").await;
        let (offer, new) = streamed(&store, &lease, "a", "x").await;
        failed_once(&store, &lease).await;
        assert_eq!(to_settle(&store).await[0].1, Outcome::Refused);
        settled(&store, &lease, offer, true).await;
        assert_eq!(store.offer(offer).await.unwrap().unwrap().state, OfferState::Settled);
        store.retry_transfer(new.transfer.id, &act(), None::<FlowInForce>).await.unwrap();
        assert_eq!(store.offer(offer).await.unwrap().unwrap().state, OfferState::Recorded);
        assert!(to_settle(&store).await.is_empty());
        let one = claim_one(&store, &lease).await;
        let finish = Finish::Streamed { receipt: receipt(true), content: content(&lease) };
        store.finish(&one.claim, finish, now(), vec![]).await.unwrap();
        assert_eq!(to_settle(&store).await[0].1, Outcome::Taken);
    }

    a_file_that_was_moved_away_is_not_sent_again(store) {
        let lease = lease(&store, "n1").await;
        let (offer, new) = streamed(&store, &lease, "a", "x").await;
        failed_once(&store, &lease).await;
        assert!(store.begin_settle(offer, &lease, now()).await.unwrap());
        let error = store.retry_transfer(new.transfer.id, &act(), None).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Busy, Retry::Transient));
        store.settled(offer, &lease, false, vec![], vec![], now()).await.unwrap();
        let error = store.retry_transfer(new.transfer.id, &act(), None).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Permanent));
        assert!(error.to_string().contains("into the polled directory again"), "{error}");
        assert!(claim(&store, &lease).await.is_empty());
    }
}
