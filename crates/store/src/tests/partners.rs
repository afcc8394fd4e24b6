//! What was exchanged with partners, newest first, and within bounds.

use super::fixture::{after, claim, claim_one, event, failed, lease, now, receipt, recorded, transfer};
use crate::testing::both;
use crate::{Failure, Finish, NodeLease, ReceiptRecord, ReceiptSays, Store};
use model::DeliveryState::{Delivered, Failed};
use model::{DeliveryState, ErrorKind, EventKind, TransferKind};
use serde_json::json;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A delivery to an endpoint with a receipt that says something.
async fn delivered_to(store: &Store, lease: &NodeLease, endpoint: &str, name: &str) {
    recorded(store, lease, name, &[endpoint]).await;
    let one = claim_one(store, lease).await;
    let mut receipt = receipt(true);
    receipt.detail = json!({"mic": "Zm9v, sha256", "signed": true}).as_object().unwrap().clone();
    store
        .finish(&one.claim, Finish::Delivered { receipt, replies: Vec::new() }, now(), vec![])
        .await
        .unwrap();
}

both! {
    what_was_sent_is_found_by_its_endpoints_newest_first(store) {
        let lease = lease(&store, "n1").await;
        for (endpoint, name) in [("a", "1"), ("b", "2"), ("a", "3"), ("other", "4")] {
            delivered_to(&store, &lease, endpoint, name).await;
        }
        recorded(&store, &lease, "5", &["b"]).await;
        let one = claim_one(&store, &lease).await;
        store.finish(&one.claim, failed(false), now(), vec![]).await.unwrap();
        let (sent, unreadable) = store.sent_to(&names(&["a", "b"]), 10).await.unwrap();
        assert!(unreadable.is_empty(), "{unreadable:?}");
        let shown: Vec<(&str, DeliveryState)> =
            sent.iter().map(|sent| (sent.endpoint.as_str(), sent.state)).collect();
        assert_eq!(shown, [("b", Failed), ("a", Delivered), ("b", Delivered), ("a", Delivered)]);
        assert_eq!(sent[0].error.as_deref(), Some("550 no"));
        assert_eq!((sent[1].receipt.as_deref(), &sent[1].receipt_detail["mic"]), (Some("processed"), &json!("Zm9v, sha256")));
        assert_eq!(store.sent_to(&names(&["a", "b"]), 2).await.unwrap().0.len(), 2);
        assert!(store.sent_to(&[], 2).await.unwrap().0.is_empty());
        let last = store.last_sent_to(&names(&["a", "b", "nothing"])).await.unwrap();
        let last: Vec<(&str, DeliveryState)> =
            last.iter().map(|sent| (sent.endpoint.as_str(), sent.state)).collect();
        assert_eq!(last, [("a", Delivered), ("b", Failed)]);
    }

    receipts_of_ours_are_none_of_what_was_sent(store) {
        let lease = lease(&store, "n1").await;
        let mut new = transfer(None, &["a"]);
        new.transfer.kind = TransferKind::Receipt;
        let act = crate::Act::new(model::Actor::System, lease.node.clone(), now());
        store.send_file(new, &act).await.unwrap();
        assert!(store.sent_to(&names(&["a"]), 10).await.unwrap().0.is_empty());
    }

    awaited_receipts_come_by_their_deadlines(store) {
        let lease = lease(&store, "n1").await;
        for (name, wait) in [("1", 60_000), ("2", 30_000)] {
            recorded(&store, &lease, name, &["a"]).await;
            let one = claim(&store, &lease).await.remove(0);
            let deadline = after(now(), wait);
            let end = Finish::Awaiting { deadline, replies: vec![] };
            store.finish(&one.claim, end, now(), vec![]).await.unwrap();
        }
        let (awaited, _) = store.awaiting_receipts(&names(&["a", "b"]), 10).await.unwrap();
        assert_eq!(awaited.len(), 2);
        assert!(awaited[0].receipt_deadline < awaited[1].receipt_deadline);
        assert_eq!(store.awaiting_receipts(&names(&["a"]), 1).await.unwrap().0.len(), 1);
        assert!(store.awaiting_receipts(&names(&["b"]), 1).await.unwrap().0.is_empty());
    }

    what_a_partner_sent_comes_with_its_metadata(store) {
        let lease = lease(&store, "n1").await;
        let (_, new) = recorded(&store, &lease, "1", &["a"]).await;
        // The transfers of these tests are of globex.
        let (received, _) = store.received_from("globex", 10).await.unwrap();
        assert_eq!(received.len(), 1);
        assert_eq!((received[0].transfer.id, &received[0].metadata), (new.transfer.id, &new.transfer.metadata));
        assert!(store.received_from("initech", 10).await.unwrap().0.is_empty());
        let last = store.last_received_from(&names(&["globex", "initech"])).await.unwrap();
        assert_eq!(last.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["globex"]);
    }

    a_receipt_that_proves_nothing_is_a_trouble_of_the_partner_that_sent_it(store) {
        let lease = lease(&store, "n1").await;
        // Its transfer is of globex, which it came from.
        recorded(&store, &lease, "1", &["a"]).await;
        let one = claim_one(&store, &lease).await;
        store.correlate(&one.claim, "<1@acme>").await.unwrap();
        let end = Finish::Awaiting { deadline: after(now(), 60_000), replies: vec![] };
        store.finish(&one.claim, end, now(), vec![]).await.unwrap();
        let error = Failure { kind: ErrorKind::IntegrityFailed, text: "it is not signed".into() };
        let says = ReceiptSays::NoProof { receipt: receipt(true), error };
        let record = ReceiptRecord { partner: Some("initech".into()), ..ReceiptRecord::default() };
        store.resolve_noting("<1@acme>", says, record, &lease.node, now()).await.unwrap();
        let (found, _) = store.partner_troubles("initech", 10).await.unwrap();
        let [trouble] = &found[..] else { panic!("{found:?}") };
        assert_eq!((trouble.kind.as_str(), trouble.transfer), ("receipt.unproven", Some(one.transfer.id)));
        assert!(store.partner_troubles("globex", 10).await.unwrap().0.is_empty());
    }

    troubles_are_those_of_the_partner_alone(store) {
        let lease = lease(&store, "n1").await;
        let of = |kind, partner: &str| event(&lease, kind).partner(partner);
        let all = vec![
            of(EventKind::MessageRefused, "globex"),
            of(EventKind::MessageRefused, "initech"),
            of(EventKind::ReceiptUnproven, "globex"),
            of(EventKind::TransferRecorded, "globex"),
            event(&lease, EventKind::MessageRefused),
        ];
        store.append_events(all).await.unwrap();
        let (found, _) = store.partner_troubles("globex", 10).await.unwrap();
        let mut kinds: Vec<&str> = found.iter().map(|event| event.kind.as_str()).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, ["message.refused", "receipt.unproven"]);
        assert_eq!(store.partner_troubles("globex", 1).await.unwrap().0.len(), 1);
    }
}
