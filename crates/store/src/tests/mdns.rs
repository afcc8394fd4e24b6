use super::fixture::{claim, claim_one, lease, now, offer, receipt, recorded, retry, transfer};
use crate::testing::both;
use crate::{Finish, IntakeBegun, IntakeCommit, IntakeCommitted, KeptMdn, NodeLease, Reply, Store, WhichMdn};
use model::{MdnEntity, Receipt, TransferId, UNPROVEN_MDN};
use serde_json::{Value, json};
use uuid::Uuid;

/// A receipt with the given MDN, in base64.
fn with_mdn(mdn: &str) -> Receipt {
    let mut receipt = receipt(true);
    receipt.mdn = Some(MdnEntity::from_text(mdn).unwrap());
    receipt
}

/// A message that was received and answered so.
async fn answered(store: &Store, lease: &NodeLease, headers: Value, body: &[u8]) -> TransferId {
    let offer = offer("received");
    let key = offer.id.to_string();
    assert_eq!(store.intake_begin(lease, &key, now()).await.unwrap(), IntakeBegun::New);
    let transfers = vec![transfer(Some(offer.id), &["x"])];
    let id = transfers[0].transfer.id;
    let reply = Reply { head: json!({ "status": 200, "headers": headers }), body: body.to_vec() };
    let events = vec![];
    let (content, evidence) = (None, None);
    let commit = IntakeCommit {
        answer_until: None,
        lease: lease.clone(),
        key,
        offer,
        transfers,
        reply,
        content,
        evidence,
        events,
        now: now(),
    };
    assert_eq!(store.intake_commit(commit).await.unwrap(), IntakeCommitted::Committed);
    id
}

both! {
    a_transfers_mdns_are_found_by_delivery_and_given_byte_for_byte(store) {
        let lease = lease(&store, "n1").await;
        recorded(&store, &lease, "a", &["x", "y"]).await;
        let claimed = claim(&store, &lease).await;
        let (id, [first, second]) = (claimed[0].transfer.id, [0, 1].map(|n| claimed[n].delivery.id));
        assert_eq!(store.mdns(id).await.unwrap(), []);
        let note = json!({ "attempt": 1, "mdn": "Tm86ICP/AA0K", "status": 200 });
        for one in &claimed {
            store.note(&one.claim, UNPROVEN_MDN, note.clone()).await.unwrap();
            store.note(&one.claim, "message", json!({ "mdn": "bm90aGluZw==" })).await.unwrap();
        }
        let receipt = with_mdn("WWVzOiAA/w==");
        let finish = Finish::Delivered { receipt, replies: vec![] };
        let of_first = claimed.iter().find(|one| one.delivery.id == first).unwrap();
        store.finish(&of_first.claim, finish, now(), vec![]).await.unwrap();
        let kept = |which, attempt| KeptMdn { which, attempt: Some(attempt) };
        let all = store.mdns(id).await.unwrap();
        assert_eq!(all[0], kept(WhichMdn::Accepted(first), 1));
        assert_eq!(all.len(), 3, "{all:?}");
        for delivery in [first, second] {
            assert!(all.contains(&kept(WhichMdn::NotAccepted(delivery), 1)), "{all:?}");
            let no = store.mdn(id, WhichMdn::NotAccepted(delivery)).await.unwrap();
            assert_eq!(no.unwrap(), b"No: #\xff\0\r\n");
        }
        assert_eq!(store.mdn(id, WhichMdn::Accepted(first)).await.unwrap().unwrap(), b"Yes: \0\xff");
        assert_eq!(store.mdn(id, WhichMdn::Accepted(second)).await.unwrap(), None);
        assert_eq!(store.mdn(id, WhichMdn::Sent).await.unwrap(), None);
        // A delivery of another transfer.
        let other = TransferId::new(Uuid::now_v7());
        for which in [WhichMdn::Accepted(first), WhichMdn::NotAccepted(first), WhichMdn::Sent] {
            assert_eq!(store.mdn(other, which).await.unwrap(), None);
        }
    }

    an_mdn_that_is_no_base64_is_an_error_and_hides_no_other(store) {
        let lease = lease(&store, "n1").await;
        recorded(&store, &lease, "a", &["x"]).await;
        let one = claim_one(&store, &lease).await;
        store.note(&one.claim, UNPROVEN_MDN, json!({ "attempt": "none", "mdn": "%" })).await.unwrap();
        store.finish(&one.claim, retry(now()), now(), vec![]).await.unwrap();
        let which = WhichMdn::NotAccepted(one.delivery.id);
        assert_eq!(store.mdns(one.transfer.id).await.unwrap(), [KeptMdn { which, attempt: None }]);
        assert!(store.mdn(one.transfer.id, which).await.is_err());
        let other = recorded(&store, &lease, "b", &["x"]).await.1.transfer.id;
        assert_eq!(store.mdns(other).await.unwrap(), []);
    }

    the_mdn_that_was_sent_is_an_entity_and_a_bare_status_is_none(store) {
        let lease = lease(&store, "n1").await;
        let headers = json!([["AS2-From", "ACME"], ["Content-Type", "multipart/report; boundary=x"]]);
        let id = answered(&store, &lease, headers, b"--x--\0\xff").await;
        assert_eq!(store.mdns(id).await.unwrap(), [KeptMdn { which: WhichMdn::Sent, attempt: None }]);
        let entity = store.mdn(id, WhichMdn::Sent).await.unwrap().unwrap();
        assert_eq!(entity, b"AS2-From: ACME\r\nContent-Type: multipart/report; boundary=x\r\n\r\n--x--\0\xff");
        let headers = json!([["Content-Type", "text/plain; charset=utf-8"]]);
        let bare = answered(&store, &lease, headers, b"").await;
        assert_eq!(store.mdns(bare).await.unwrap(), []);
        assert_eq!(store.mdn(bare, WhichMdn::Sent).await.unwrap(), None);
    }
}
