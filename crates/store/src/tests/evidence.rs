use super::fixture::{
    after, claim_one, delivered, event, events, lease, now, offer, payload, receipt, recorded_with_event,
    retry, transfer,
};
use crate::testing::{TestStore, both};
use crate::verify::{Finding, RowOptions, VerifyOptions};
use crate::{
    Done, EvidenceOf, Failure, Finish, Finished, IntakeCommit, IntakeCommitted, NewEvidence, NewTransfer,
    NodeLease, ReceiptRecord, ReceiptSays, Reply, Resolved, SealKey, Store, evidence_digest, evidence_pieces,
};
use model::{ErrorKind, EventKind, EvidenceId, MdnEntity, PayloadId, Receipt, Sha256, Timestamp, TransferId};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

const DAY: Duration = Duration::from_secs(86_400);

fn about() -> Map<String, Value> {
    json!({ "message_id": "<1@globex>", "way": "received" }).as_object().unwrap().clone()
}

fn pieces() -> BTreeMap<String, Vec<u8>> {
    BTreeMap::from([("signature".to_owned(), vec![0x30, 0, 0xff]), ("signer".to_owned(), b"der".to_vec())])
}

pub(super) fn evidence(of: EvidenceOf, transfer: TransferId) -> NewEvidence {
    NewEvidence {
        id: EvidenceId::new(Uuid::now_v7()),
        of,
        transfer,
        keep_for: DAY,
        about: about(),
        pieces: pieces(),
        content: None,
        keeps_content: true,
    }
}

/// A message of two files that came with evidence.
async fn received(store: &Store, lease: &NodeLease) -> (Vec<NewTransfer>, NewEvidence) {
    let offer = offer("received");
    let key = offer.id.to_string();
    store.intake_begin(lease, &key, now()).await.unwrap();
    let transfers = vec![transfer(Some(offer.id), &["x"]), transfer(Some(offer.id), &["x"])];
    let first = &transfers[0].transfer;
    let mut proof = evidence(EvidenceOf::Received(offer.id), first.id);
    proof.content = Some(first.payload.clone());
    let told =
        transfers.iter().map(|new| event(lease, EventKind::TransferRecorded).transfer(new.transfer.id));
    let commit = IntakeCommit {
        answer_until: None,
        lease: lease.clone(),
        key,
        offer,
        events: told.collect(),
        transfers: transfers.clone(),
        reply: Reply { head: json!({ "status": 200, "headers": [] }), body: vec![] },
        content: Some(Sha256([7; 32])),
        evidence: Some(proof.clone()),
        now: now(),
    };
    assert_eq!(store.intake_commit(commit.clone()).await.unwrap(), IntakeCommitted::Committed);
    // Once more, as its commit was not answered.
    assert_eq!(store.intake_commit(commit).await.unwrap(), IntakeCommitted::Committed);
    (transfers, proof)
}

fn sent(claim: &crate::Claimed) -> NewEvidence {
    let mut proof = evidence(EvidenceOf::Sent(claim.delivery.id), claim.transfer.id);
    proof.content = Some(claim.payload.clone());
    proof
}

/// A receipt that came later for `<1@acme>`, with what proves the message.
async fn receipt_with(store: &Store, lease: &NodeLease, says: ReceiptSays, proof: &NewEvidence) -> Resolved {
    let record = ReceiptRecord { evidence: Some(proof.clone()), ..ReceiptRecord::default() };
    store.resolve_noting("<1@acme>", says, record, &lease.node, now()).await.unwrap()
}

fn with_mdn(positive: bool, mdn: &[u8]) -> Receipt {
    Receipt { mdn: Some(MdnEntity::new(mdn.to_vec())), ..receipt(positive) }
}

fn refused(may_contradict: bool) -> ReceiptSays {
    let error = Failure { kind: ErrorKind::Rejected, text: "no".into() };
    ReceiptSays::Refusal { receipt: receipt(false), error, retry_at: None, may_contradict }
}

/// What verification finds of evidence.
pub(super) async fn found(store: &TestStore) -> Vec<String> {
    let report = store.verify_rows(&RowOptions::default(), &VerifyOptions::default(), |_| ()).await.unwrap();
    let of_evidence = report.findings.into_iter().filter_map(|finding| match finding {
        Finding::Row { table: "evidence", what, .. } => Some(what),
        _ => None,
    });
    of_evidence.collect()
}

async fn past(store: &Store, at: Timestamp) -> Vec<PayloadId> {
    store.payloads_past_retention(at, 100).await.unwrap().into_iter().map(|payload| payload.id).collect()
}

both! {
    evidence_of_a_received_message_is_found_by_each_of_its_transfers(store) {
        let lease = lease(&store, "n1").await;
        let (transfers, proof) = received(&store, &lease).await;
        for new in &transfers {
            let kept = store.evidence_of(new.transfer.id).await.unwrap();
            assert_eq!((kept.len(), kept[0].id, kept[0].delivery), (1, proof.id, None));
            assert_eq!((&kept[0].about, kept[0].removed_at), (&about(), None));
        }
        let kept = store.evidence(proof.id).await.unwrap().unwrap();
        assert_eq!(kept.pieces, pieces());
        assert_eq!(kept.content.unwrap().payload.id, transfers[0].transfer.payload.id);
        assert_eq!(kept.transfers.len(), 2);
        let digest = evidence_digest(
            &Value::Object(about()),
            &evidence_pieces(&pieces()),
            Some(transfers[0].transfer.payload.id),
        );
        assert_eq!(kept.digest, digest);
        let told = store.sealed_events(&[transfers[0].transfer.id], None).await.unwrap();
        assert_eq!(told.events.len(), 1, "{told:?}");
        let event: Value = serde_json::from_str(&told.events[0].0).unwrap();
        assert_eq!(event["detail"]["evidence"], proof.id.to_string());
        assert_eq!(event["detail"]["evidence_digest"], digest.to_string());
        assert_eq!(found(&store).await, [""; 0]);
        assert_eq!(store.evidence(EvidenceId::new(Uuid::now_v7())).await.unwrap(), None);
    }

    evidence_of_a_sent_message_comes_with_its_delivery_and_keeps_the_payload(store) {
        let lease = lease(&store, "n1").await;
        let new = recorded_with_event(&store, &lease, "a", &["x"]).await;
        let one = claim_one(&store, &lease).await;
        // An attempt that fails proves nothing.
        store.finish_proved(&one.claim, retry(now()), now(), vec![], Some(sent(&one))).await.unwrap();
        assert_eq!(store.evidence_of(new.transfer.id).await.unwrap(), []);
        let two = claim_one(&store, &lease).await;
        let proof = sent(&two);
        let told = event(&lease, EventKind::DeliveryDelivered).transfer(new.transfer.id).delivery(two.delivery.id);
        let mut with_mdn = receipt(true);
        with_mdn.mdn = Some(MdnEntity::new(b"MDN".to_vec()));
        let finish = Finish::Delivered { receipt: with_mdn.clone(), replies: vec![] };
        let finish = || store.finish_proved(&two.claim, finish.clone(), now(), vec![told.clone()], Some(proof.clone()));
        assert!(matches!(finish().await.unwrap(), Finished::Done { .. }));
        // Once more, as its commit was not answered.
        assert!(matches!(finish().await.unwrap(), Finished::AlreadyResolved(_)));
        let kept = store.evidence_of(new.transfer.id).await.unwrap();
        assert_eq!((kept.len(), kept[0].delivery), (1, Some(two.delivery.id)));
        // With the receipt, which is a piece of it.
        let kept = store.evidence(proof.id).await.unwrap().unwrap();
        assert_eq!(kept.pieces["receipt"], b"MDN");
        let ours: Vec<_> = kept.pieces.keys().filter(|name| *name != "receipt").collect();
        assert_eq!(ours, pieces().keys().collect::<Vec<_>>());
        assert_eq!(store.evidence(proof.id).await.unwrap().unwrap().receipt, Some(with_mdn));
        assert_eq!(events(&store, EventKind::EvidenceRecorded).await, 0);
        assert_eq!(found(&store).await, [""; 0]);
        // The flow keeps payloads for an hour, the evidence for a day.
        let content = new.transfer.payload.id;
        assert!(past(&store, after(now(), 2 * 3_600_000)).await.is_empty());
        assert_eq!(past(&store, after(now(), 25 * 3_600_000)).await, [content]);
    }

    content_that_is_not_kept_with_evidence_goes_with_its_payload(store) {
        let lease = lease(&store, "n1").await;
        recorded_with_event(&store, &lease, "a", &["x"]).await;
        let one = claim_one(&store, &lease).await;
        let proof = NewEvidence { keeps_content: false, ..sent(&one) };
        store.finish_proved(&one.claim, delivered(), now(), vec![], Some(proof)).await.unwrap();
        assert_eq!(past(&store, after(now(), 2 * 3_600_000)).await, [one.payload.id]);
    }

    staged_bytes_of_evidence_alone_are_kept_and_removed_with_it(store) {
        let lease = lease(&store, "n1").await;
        recorded_with_event(&store, &lease, "a", &["x"]).await;
        let one = claim_one(&store, &lease).await;
        let own = payload();
        let proof = NewEvidence { content: Some(own.clone()), ..sent(&one) };
        store.finish_proved(&one.claim, delivered(), now(), vec![], Some(proof)).await.unwrap();
        assert_eq!(store.payload_rows(&[own.id]).await.unwrap().present.len(), 1);
        let mut gone = past(&store, after(now(), 25 * 3_600_000)).await;
        gone.sort();
        let mut both = vec![own.id, one.payload.id];
        both.sort();
        assert_eq!(gone, both);
    }

    a_receipt_that_overtakes_the_answer_does_not_lose_the_evidence(store) {
        let lease = lease(&store, "n1").await;
        let new = recorded_with_event(&store, &lease, "a", &["x"]).await;
        let one = claim_one(&store, &lease).await;
        store.correlate(&one.claim, "<1@acme>").await.unwrap();
        store.resolve("<1@acme>", receipt(true), &lease.node, vec![], now()).await.unwrap();
        let proof = sent(&one);
        for _ in 0..2 {
            let finish = delivered();
            let finished =
                store.finish_proved(&one.claim, finish, now(), vec![], Some(proof.clone())).await;
            assert!(matches!(finished.unwrap(), Finished::AlreadyResolved(_)));
        }
        assert_eq!(store.evidence_of(new.transfer.id).await.unwrap().len(), 1);
        assert_eq!(events(&store, EventKind::EvidenceRecorded).await, 1);
        assert_eq!(found(&store).await, [""; 0]);
        assert!(past(&store, after(now(), 2 * 3_600_000)).await.is_empty());
    }

    evidence_comes_with_the_receipt_that_comes_later_and_once(store) {
        let lease = lease(&store, "n1").await;
        let new = recorded_with_event(&store, &lease, "a", &["x"]).await;
        let one = claim_one(&store, &lease).await;
        assert_eq!(store.correlate(&one.claim, "<1@acme>").await.unwrap(), Done::Done);
        // One that waits for its receipt is not proved yet.
        let finish = Finish::Awaiting { deadline: after(now(), 60_000), replies: vec![] };
        store.finish_proved(&one.claim, finish, now(), vec![], Some(sent(&one))).await.unwrap();
        let nothing = ReceiptSays::NoProof {
            receipt: receipt(true),
            error: Failure { kind: ErrorKind::IntegrityFailed, text: "it is not signed".into() },
        };
        assert!(matches!(receipt_with(&store, &lease, nothing, &sent(&one)).await, Resolved::Unproven { .. }));
        assert_eq!(store.evidence_of(new.transfer.id).await.unwrap(), []);
        let (proof, mdn) = (sent(&one), with_mdn(true, b"MDN"));
        let resolved = receipt_with(&store, &lease, ReceiptSays::Proof(mdn.clone()), &proof).await;
        assert!(matches!(resolved, Resolved::Resolved { .. }), "{resolved:?}");
        // The same receipt once more, which its sender has to make sure.
        let again = receipt_with(&store, &lease, ReceiptSays::Proof(mdn.clone()), &sent(&one)).await;
        assert!(matches!(again, Resolved::AlreadyResolved { .. }), "{again:?}");
        let kept = store.evidence_of(new.transfer.id).await.unwrap();
        assert_eq!((kept.len(), kept[0].id, kept[0].delivery), (1, proof.id, Some(one.delivery.id)));
        assert_eq!(store.evidence(proof.id).await.unwrap().unwrap().receipt, Some(mdn.clone()));
        assert_eq!(events(&store, EventKind::EvidenceRecorded).await, 0);
        assert_eq!(found(&store).await, [""; 0]);
        // The flow keeps payloads for an hour, the evidence for a day.
        assert!(past(&store, after(now(), 2 * 3_600_000)).await.is_empty());
        assert_eq!(past(&store, after(now(), 25 * 3_600_000)).await, [one.payload.id]);
        // A receipt that contradicts it does not take its place in the evidence.
        let resolved = receipt_with(&store, &lease, refused(true), &sent(&one)).await;
        assert!(matches!(resolved, Resolved::Resolved { .. }), "{resolved:?}");
        assert_eq!(store.evidence_of(new.transfer.id).await.unwrap().len(), 1);
        assert_eq!(store.evidence(proof.id).await.unwrap().unwrap().receipt, Some(mdn));
        assert_eq!(found(&store).await, [""; 0]);
    }

    evidence_that_came_with_an_early_receipt_is_not_recorded_again_when_the_attempt_ends(store) {
        let lease = lease(&store, "n1").await;
        let new = recorded_with_event(&store, &lease, "a", &["x"]).await;
        let one = claim_one(&store, &lease).await;
        store.correlate(&one.claim, "<1@acme>").await.unwrap();
        let proof = sent(&one);
        receipt_with(&store, &lease, ReceiptSays::Proof(with_mdn(true, b"MDN")), &proof).await;
        let finished = store.finish_proved(&one.claim, delivered(), now(), vec![], Some(sent(&one))).await;
        assert!(matches!(finished.unwrap(), Finished::AlreadyResolved(_)));
        let kept = store.evidence_of(new.transfer.id).await.unwrap();
        assert_eq!((kept.len(), kept[0].id), (1, proof.id));
        assert_eq!(events(&store, EventKind::EvidenceRecorded).await, 0);
        assert_eq!(found(&store).await, [""; 0]);
    }

    evidence_is_not_recorded_where_an_early_receipt_refused_the_message(store) {
        let lease = lease(&store, "n1").await;
        let new = recorded_with_event(&store, &lease, "a", &["x"]).await;
        let one = claim_one(&store, &lease).await;
        store.correlate(&one.claim, "<1@acme>").await.unwrap();
        store.resolve("<1@acme>", refused(true), &lease.node, vec![], now()).await.unwrap();
        let finished = store.finish_proved(&one.claim, delivered(), now(), vec![], Some(sent(&one))).await;
        assert!(matches!(finished.unwrap(), Finished::AlreadyResolved(_)));
        assert_eq!(store.evidence_of(new.transfer.id).await.unwrap(), []);
    }

    events_of_evidence_are_those_of_its_delivery_and_never_without_the_one_that_recorded_it(store) {
        let lease = lease(&store, "n1").await;
        let new = recorded_with_event(&store, &lease, "a", &["x"]).await;
        let transfer = new.transfer.id;
        let one = claim_one(&store, &lease).await;
        let told = |kind| event(&lease, kind).transfer(transfer);
        let other = told(EventKind::DeliveryDelivered).delivery(model::DeliveryId::new(Uuid::now_v7()));
        store.append_events(vec![told(EventKind::EvidenceExported), other]).await.unwrap();
        let own = told(EventKind::DeliveryDelivered).delivery(one.delivery.id);
        let proof = sent(&one);
        store.finish_proved(&one.claim, delivered(), now(), vec![own], Some(proof.clone())).await.unwrap();
        let delivery = Some(one.delivery.id);
        let all = store.sealed_events(&[transfer], delivery).await.unwrap().events;
        let some = store.sealed_events_within(&[transfer], delivery, 1).await.unwrap();
        assert!(some.more && some.events.len() < all.len(), "{some:?}");
        let kinds_and_evidence: Vec<(String, Option<String>)> = some.events.iter()
            .map(|(event, _)| serde_json::from_str::<Value>(event).unwrap())
            .map(|event| (event["kind"].as_str().unwrap().to_owned(), event["detail"]["evidence"].as_str().map(str::to_owned)))
            .collect();
        let recording = ("delivery.delivered".to_owned(), Some(proof.id.to_string()));
        assert!(kinds_and_evidence.contains(&recording), "{some:?}");
    }

    evidence_is_removed_when_its_own_retention_ends(store) {
        let lease = lease(&store, "n1").await;
        let (transfers, proof) = received(&store, &lease).await;
        assert_eq!(store.remove_evidence(&lease.node, after(now(), 3_600_000)).await.unwrap(), 0);
        let end = after(now(), 25 * 3_600_000);
        assert_eq!(store.remove_evidence(&lease.node, end).await.unwrap(), 1);
        assert_eq!(store.remove_evidence(&lease.node, end).await.unwrap(), 0);
        let kept = store.evidence_of(transfers[1].transfer.id).await.unwrap();
        assert_eq!((kept[0].id, kept[0].removed_at, kept[0].about.len()), (proof.id, Some(end), 0));
        assert!(store.evidence(proof.id).await.unwrap().unwrap().pieces.is_empty());
        assert_eq!(events(&store, EventKind::EvidenceRemoved).await, 1);
        assert_eq!(found(&store).await, [""; 0]);
    }

    evidence_that_somebody_changed_or_removed_is_found(store) {
        let lease = lease(&store, "n1").await;
        received(&store, &lease).await;
        let changed = json!(evidence_pieces(&BTreeMap::from([("signature".to_owned(), b"other".to_vec())])));
        store.tamper(&format!("UPDATE evidence SET pieces = '{changed}'")).await;
        let what = found(&store).await;
        assert!(what.len() == 1 && what[0].contains("digest"), "{what:?}");
        store.tamper("DELETE FROM evidence").await;
        let what = found(&store).await;
        assert!(what.len() == 1 && what[0].contains("missing"), "{what:?}");
    }

    events_are_given_with_the_seals_over_them(store) {
        let lease = lease(&store, "n1").await;
        let key = SealKey::load_or_create(&store.dir.path().join("seal.key")).unwrap();
        let (transfers, _) = received(&store, &lease).await;
        store.seal_all(now(), &key).await;
        // What comes later is not sealed yet.
        let later = event(&lease, EventKind::EvidenceExported).transfer(transfers[1].transfer.id);
        store.append_events(vec![later]).await.unwrap();
        let ids: Vec<TransferId> = transfers.iter().map(|new| new.transfer.id).collect();
        let told = store.sealed_events(&ids, None).await.unwrap();
        let seals: Vec<Option<i64>> = told.events.iter().map(|(_, seal)| *seal).collect();
        assert_eq!(seals, [Some(1), Some(1), None]);
        let seal = &told.seals[&1];
        assert_eq!((told.seals.len(), seal.key_id.as_str()), (1, key.id()));
        let members = seal.members.as_ref().unwrap();
        for (event, _) in &told.events[..2] {
            let hash = openssl::sha::sha256(event.as_bytes());
            assert!(members.chunks(48).any(|member| member[16..] == hash), "{event}");
        }
        assert!(store.sealed_events(&[], None).await.unwrap().events.is_empty());
    }
}
