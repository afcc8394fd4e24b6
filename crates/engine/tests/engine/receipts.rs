//! Receipts that come later, and receipts that are sent later.

use crate::database::both;
use crate::delivering::{
    AWAIT, attempts_at, awaiting, plain_receipt, receipt, refusal, under_way, until_delivery,
};
use crate::receiving::{begin, begin_new, message, part, reply, until_new, word};
use crate::scene::{Scene, gaps, receiving};
use engine::Engine;
use model::{DeliveryState, ErrorKind, TransferId, TransferKind, TransferState};
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use testkit::fake::{Answer, Fault};
use tokio::io::AsyncReadExt;
use transport::{
    Begin, Evidence, EvidenceContent, Judgement, OutgoingReceipt, Resolution, Resolved, StagedPart,
    content_digest,
};

fn no_proof(scene: &Scene) -> Resolution {
    let error = Fault { kind: ErrorKind::IntegrityFailed, ..Fault::CUT }.error("check a receipt");
    Judgement::NoProof { receipt: plain_receipt(scene, true), error }.into()
}

/// What proves a message, with its payload.
fn evidence() -> Evidence {
    Evidence {
        keep_for: Duration::from_secs(400 * 86_400),
        about: Map::from_iter([("message_id".to_owned(), "<7@acme>".into())]),
        pieces: BTreeMap::from([("signature".to_owned(), b"0".to_vec())]),
        content: Some(EvidenceContent::Payload),
        keeps_content: true,
    }
}

/// A receipt that is sent to this URL.
async fn later(engine: &Engine, url: &str) -> OutgoingReceipt {
    // Its bytes are staged by any reception, which then breaks off.
    let mut spare = begin_new(engine, &format!("spare {}", uuid::Uuid::new_v4())).await;
    let (part, _) = part(&mut spare, "receipt.mdn").await;
    outgoing(part, url)
}

fn outgoing(part: StagedPart, url: &str) -> OutgoingReceipt {
    OutgoingReceipt {
        listener: "fake".into(),
        partner: "globex".into(),
        endpoint: "other".into(),
        url: url.into(),
        of_other: false,
        part,
    }
}

/// Receives a message whose receipt goes to this URL.
async fn receive_with_receipt(engine: &Engine, key: &str, url: &str) -> model::Result<Vec<TransferId>> {
    let mut reception = begin_new(engine, key).await;
    let (file, _) = part(&mut reception, "po.edi").await;
    let (mdn, _) = part(&mut reception, "receipt.mdn").await;
    let mut message = message(vec![file]);
    message.receipts.push(outgoing(mdn, url));
    reception.commit(message, reply("")).await
}

/// The receipts among the transfers.
async fn receipts(scene: &Scene) -> Vec<store::TransferView> {
    let mut all = scene.transfers().await;
    all.retain(|transfer| transfer.kind == TransferKind::Receipt);
    all
}

both! {
    a_refusal_is_retried_as_a_failed_attempt_until_none_is_left(scene) {
        let engine = under_way(&scene, (0..3).map(|_| awaiting("<1@acme>"))).await;
        for expected in 1..=3 {
            until_delivery(&scene, DeliveryState::AwaitingReceipt).await;
            assert_eq!(scene.place("out").deliveries().len(), expected);
            let refused = refusal(plain_receipt(&scene, false), Fault::CUT, true);
            assert_eq!(engine.intake().resolve("<1@acme>", refused).await.unwrap(), Resolved::Matched);
        }
        let failed = scene.until_all(1, TransferState::Failed).await;
        let delivery = &scene.waybill(failed[0].id).await.deliveries[0];
        assert!(delivery.error.as_deref().is_some_and(|words| words.contains("accept the file")), "{delivery:?}");
        assert_eq!(scene.events("delivery.retrying").await.len(), 2);
        // The clock of the test runs on while the gateway works: only the least waits can be told.
        let waits = gaps(&attempts_at(&scene));
        assert!(waits[0] >= 5 && waits[1] >= 10, "{waits:?}");
    }

    a_refusal_that_is_posted_again_does_not_fail_the_next_attempt(scene) {
        let engine = under_way(&scene, (0..2).map(|_| awaiting("<1@acme>"))).await;
        let intake = engine.intake();
        let refused = || {
            let digest = Some("a1".to_owned());
            Resolution { digest, ..refusal(plain_receipt(&scene, false), Fault::CUT, true) }
        };
        until_delivery(&scene, DeliveryState::AwaitingReceipt).await;
        assert_eq!(intake.resolve("<1@acme>", refused()).await.unwrap(), Resolved::Matched);
        // At once, and while the next attempt waits for its own receipt.
        assert_eq!(intake.resolve("<1@acme>", refused()).await.unwrap(), Resolved::Already);
        until_delivery(&scene, DeliveryState::AwaitingReceipt).await;
        assert_eq!(intake.resolve("<1@acme>", refused()).await.unwrap(), Resolved::Already);
        assert_eq!(intake.resolve("<1@acme>", receipt(&scene, true)).await.unwrap(), Resolved::Matched);
        scene.until_all(1, TransferState::Completed).await;
        assert_eq!(scene.place("out").deliveries().len(), 2);
        assert_eq!(scene.events("receipt.ignored").await.len(), 2);
        assert_eq!(scene.events("delivery.retrying").await.len(), 1);
    }

    a_refusal_may_overtake_the_answer_to_what_it_is_for(scene) {
        let (go, gone) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
        let (told, tell) = (Arc::clone(&go), Arc::clone(&gone));
        let slow = Answer::Call(Arc::new(move |delivery, services| {
            let (told, tell) = (Arc::clone(&told), Arc::clone(&tell));
            Box::pin(async move {
                delivery.log.correlate("<2@acme>").await?;
                tell.notify_one();
                told.notified().await;
                Ok(transport::Sent::Awaiting { deadline: services.clock.now() + AWAIT, connection: None, replies: vec![] })
            })
        }));
        let engine = under_way(&scene, [slow]).await;
        scene.until("it is being sent", || async { !scene.place("out").deliveries().is_empty() }).await;
        gone.notified().await;
        let refused = refusal(plain_receipt(&scene, false), Fault::CUT, true);
        assert_eq!(engine.intake().resolve("<2@acme>", refused).await.unwrap(), Resolved::Matched);
        go.notify_one();
        scene.until_all(1, TransferState::Completed).await;
        assert_eq!(scene.place("out").deliveries().len(), 2);
        assert!(scene.events("delivery.awaiting_receipt").await.is_empty());
    }

    a_receipt_that_proves_nothing_leaves_it_waiting_and_its_deadline_stands(scene) {
        let engine = under_way(&scene, [awaiting("<3@acme>")]).await;
        let id = until_delivery(&scene, DeliveryState::AwaitingReceipt).await;
        let intake = engine.intake();
        for _ in 0..2 {
            assert_eq!(intake.resolve("<3@acme>", no_proof(&scene)).await.unwrap(), Resolved::Unproven);
        }
        assert_eq!(scene.waybill(id).await.deliveries[0].state, DeliveryState::AwaitingReceipt);
        assert_eq!(scene.events("receipt.unproven").await.len(), 2);
        scene.until_all(1, TransferState::Completed).await;
        assert_eq!(scene.place("out").deliveries().len(), 2);
        assert!(gaps(&attempts_at(&scene))[0] >= 60);
        assert_eq!(intake.resolve("<3@acme>", no_proof(&scene)).await.unwrap(), Resolved::Already);
    }

    only_a_refusal_as_well_proved_contradicts_a_receipt(scene) {
        let engine = under_way(&scene, [awaiting("<4@acme>")]).await;
        let id = until_delivery(&scene, DeliveryState::AwaitingReceipt).await;
        let intake = engine.intake();
        assert_eq!(intake.resolve("<4@acme>", receipt(&scene, true)).await.unwrap(), Resolved::Matched);
        for fault in [Fault::CUT, Fault::REFUSED] {
            let unsigned = refusal(plain_receipt(&scene, false), fault, false);
            assert_eq!(intake.resolve("<4@acme>", unsigned).await.unwrap(), Resolved::Already);
        }
        assert_eq!(scene.waybill(id).await.transfer.state, TransferState::Completed);
        assert_eq!(scene.events("receipt.ignored").await.len(), 2);
        let signed = refusal(plain_receipt(&scene, false), Fault::REFUSED, true);
        assert_eq!(intake.resolve("<4@acme>", signed).await.unwrap(), Resolved::Matched);
        assert_eq!(scene.waybill(id).await.transfer.state, TransferState::Failed);
        assert_eq!(scene.place("out").deliveries().len(), 1);
    }

    what_a_receipt_is_compared_with_is_found_by_its_key(scene) {
        let noting = Answer::Call(Arc::new(|delivery, services| {
            Box::pin(async move {
                delivery.log.note("sent", json!({ "mic": "abc" })).await?;
                delivery.log.correlate("<5@acme>").await?;
                Ok(transport::Sent::Awaiting { deadline: services.clock.now() + AWAIT, connection: None, replies: vec![] })
            })
        }));
        let engine = under_way(&scene, [noting]).await;
        let id = until_delivery(&scene, DeliveryState::AwaitingReceipt).await;
        let intake = engine.intake();
        assert!(intake.awaited("<other>").await.unwrap().is_none());
        let awaited = intake.awaited("<5@acme>").await.unwrap().unwrap();
        assert_eq!((awaited.transfer, awaited.attempt), (id, 1));
        assert_eq!((awaited.flow.as_str(), awaited.endpoint.as_str()), ("orders", "out"));
        assert_eq!((awaited.state, &awaited.notes["sent"]), (DeliveryState::AwaitingReceipt, &json!({ "mic": "abc" })));
        let mut bytes = Vec::new();
        awaited.payload.open(0..awaited.payload.length()).await.unwrap().read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, b"ISA*00");
        // Also after its end.
        intake.resolve("<5@acme>", receipt(&scene, true)).await.unwrap();
        assert_eq!(intake.awaited("<5@acme>").await.unwrap().unwrap().state, DeliveryState::Delivered);
    }

    what_proves_a_message_is_recorded_with_the_receipt_that_comes_later(scene) {
        let engine = under_way(&scene, [awaiting("<7@acme>")]).await;
        let id = until_delivery(&scene, DeliveryState::AwaitingReceipt).await;
        let intake = engine.intake();
        let with = |resolution: Resolution| Resolution { evidence: Some(evidence()), ..resolution };
        assert_eq!(intake.resolve("<7@acme>", with(no_proof(&scene))).await.unwrap(), Resolved::Unproven);
        assert_eq!(scene.store.evidence_of(id).await.unwrap(), []);
        assert_eq!(intake.resolve("<7@acme>", with(receipt(&scene, true))).await.unwrap(), Resolved::Matched);
        assert_eq!(intake.resolve("<7@acme>", with(receipt(&scene, true))).await.unwrap(), Resolved::Already);
        let kept = scene.store.evidence_of(id).await.unwrap();
        assert_eq!(kept.len(), 1);
        let whole = scene.store.evidence(kept[0].id).await.unwrap().unwrap();
        let awaited = intake.awaited("<7@acme>").await.unwrap().unwrap();
        assert_eq!(kept[0].delivery, Some(awaited.delivery));
        assert_eq!(whole.content.unwrap().payload.id, awaited.payload.record().id);
        assert!(whole.receipt.is_some_and(|receipt| receipt.positive));
        assert!(scene.events("evidence.recorded").await.is_empty());
    }

    evidence_of_a_message_names_the_receipt_that_is_sent_later(scene) {
        scene.flow(receiving("inbound", &["out"]));
        let engine = scene.start().await;
        let mut reception = begin_new(&engine, "A/B/<6>").await;
        let (file, _) = part(&mut reception, "po.edi").await;
        let (mdn, _) = part(&mut reception, "receipt.mdn").await;
        let sha256 = file.staged.sha256;
        let mut message = message(vec![file]);
        message.receipts.push(outgoing(mdn, "fake:receipts"));
        message.evidence = Some(evidence());
        let ids = reception.commit(message, reply("")).await.unwrap();
        scene.until_all(2, TransferState::Completed).await;
        let sent = receipts(&scene).await.remove(0).id;
        let kept = scene.store.evidence_of(ids[0]).await.unwrap();
        assert_eq!((kept.len(), kept[0].transfer), (1, ids[0]));
        assert_eq!(scene.store.evidence_of(sent).await.unwrap()[0].id, kept[0].id);
        let whole = scene.store.evidence(kept[0].id).await.unwrap().unwrap();
        assert_eq!(whole.transfers.iter().map(|one| one.id).collect::<Vec<_>>(), ids);
        assert_eq!(whole.receipt_transfers, [sent]);
        // A receipt is none of the content by which a repetition is told.
        match begin(&engine, "A/B/<6>").await {
            Begin::Answered(again) => assert_eq!(again.content, Some(content_digest(&[sha256]))),
            other => panic!("{}", word(&other)),
        }
    }

    any_node_takes_a_receipt(scene) {
        let _engine = under_way(&scene, [awaiting("<6@acme>")]).await;
        let id = until_delivery(&scene, DeliveryState::AwaitingReceipt).await;
        let other = scene.prepare("n2", scene.another_or_same().await).await;
        let intake = other.intake();
        assert_eq!(intake.awaited("<6@acme>").await.unwrap().unwrap().transfer, id);
        assert_eq!(intake.resolve("<6@acme>", receipt(&scene, true)).await.unwrap(), Resolved::Matched);
        scene.until_all(1, TransferState::Completed).await;
    }

    a_receipt_is_recorded_with_its_message_and_sent_like_a_delivery(scene) {
        scene.flow(receiving("inbound", &["out"]));
        scene.place("receipts").answer(Answer::Fails(Fault::CUT));
        let engine = scene.start().await;
        let ids = receive_with_receipt(&engine, "A/B/<1>", "fake:receipts").await.unwrap();
        assert_eq!(ids.len(), 1, "the receipt is none of the files");
        scene.until_all(2, TransferState::Completed).await;
        let sent = &receipts(&scene).await[0];
        assert_eq!((sent.flow.as_str(), sent.partner.as_deref()), ("listener:fake", Some("globex")));
        assert_eq!((sent.parent, sent.file_name.to_text().as_str()), (Some(ids[0]), "receipt.mdn"));
        let waybill = scene.waybill(sent.id).await;
        let delivery = &waybill.deliveries[0];
        assert_eq!((delivery.endpoint.as_str(), delivery.destination.as_str()), ("other", "receipt"));
        assert_eq!(waybill.offer.unwrap().id, scene.waybill(ids[0]).await.offer.unwrap().id);
        let seen = scene.place("receipts").deliveries();
        assert_eq!(seen.iter().map(|seen| seen.attempt).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(scene.place("receipts").received().len(), 1);
        assert!(scene.place("other").deliveries().is_empty());
        assert_eq!(scene.events("delivery.retrying").await.len(), 1);
        assert_eq!(scene.waybill(ids[0]).await.children.len(), 1);
    }

    a_refusal_has_its_receipt_too_and_the_message_may_come_again(scene) {
        scene.flow(receiving("inbound", &["out"]));
        let engine = scene.start().await;
        let mut reception = begin_new(&engine, "A/B/<2>").await;
        let (mdn, _) = part(&mut reception, "receipt.mdn").await;
        reception.refuse(Vec::new(), reply(""), vec![outgoing(mdn, "fake:receipts")]).await.unwrap();
        let sent = scene.until_all(1, TransferState::Completed).await;
        assert_eq!((sent[0].kind, sent[0].parent), (TransferKind::Receipt, None));
        assert_eq!(scene.place("receipts").received().len(), 1);
        receive_with_receipt(&engine, "A/B/<2>", "fake:receipts").await.unwrap();
        scene.until_all(3, TransferState::Completed).await;
    }

    a_message_that_no_flow_wants_has_no_receipt(scene) {
        let engine = scene.start().await;
        let error = receive_with_receipt(&engine, "A/B/<3>", "fake:receipts").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert_eq!(scene.staged(), 0);
        assert!(scene.transfers().await.is_empty());
        until_new(&scene, &engine, "A/B/<3>").await;
    }

    a_repeated_message_has_its_receipt_again_but_not_while_one_is_on_its_way(scene) {
        scene.flow(receiving("inbound", &["out"]));
        scene.place("receipts").otherwise(Answer::Fails(Fault::CUT));
        let engine = scene.start().await;
        let ids = receive_with_receipt(&engine, "A/B/<4>", "fake:receipts").await.unwrap();
        let intake = engine.intake();
        let staged = scene.staged();
        for _ in 0..3 {
            assert_eq!(word(&begin(&engine, "A/B/<4>").await), "answered");
            let again = later(&engine, "fake:receipts").await;
            assert!(!intake.repeat_receipts("A/B/<4>", vec![again]).await.unwrap());
        }
        assert_eq!(scene.staged(), staged, "what is not sent is not kept");
        scene.place("receipts").otherwise(Answer::Delivered);
        scene.until_all(2, TransferState::Completed).await;
        assert!(intake.repeat_receipts("A/B/<4>", vec![later(&engine, "fake:receipts").await]).await.unwrap());
        scene.until_all(3, TransferState::Completed).await;
        assert!(receipts(&scene).await.iter().all(|sent| sent.parent == Some(ids[0])));
        assert_eq!(scene.place("receipts").received().len(), 2);
        assert!(!intake.repeat_receipts("A/B/<other>", vec![later(&engine, "fake:receipts").await]).await.unwrap());
    }

    what_a_receipt_meets_says_nothing_of_its_endpoint(scene) {
        scene.flow(receiving("inbound", &["out"]));
        scene.place("receipts").break_down(Some(Fault { kind: ErrorKind::Unauthenticated, ..Fault::REFUSED }));
        let engine = scene.start().await;
        for n in 0..6 {
            receive_with_receipt(&engine, &format!("A/B/<{n}>"), "fake:receipts").await.unwrap();
        }
        let unsent = receive_with_receipt(&engine, "A/B/<forbidden>", "mailto:as2@globex.example").await.unwrap();
        scene.until("all receipts failed", || async {
            let all = receipts(&scene).await;
            all.len() == 7 && all.iter().all(|sent| sent.state == TransferState::Failed)
        }).await;
        assert!(scene.events("endpoint.offline").await.is_empty());
        let other = engine.health().snapshot().get("other").and_then(|other| other.offline_until);
        assert_eq!(other, None);
        // A person sends one again.
        scene.place("receipts").break_down(None);
        let failed = receipts(&scene).await;
        let again = failed.iter().find(|sent| sent.parent != Some(unsent[0])).unwrap();
        scene.store.retry_transfer(again.id, &scene.act(), None).await.unwrap();
        scene.until("it arrived", || async { scene.place("receipts").received().len() == 1 }).await;
    }

    a_receipt_whose_endpoint_is_gone_fails_clearly(scene) {
        scene.flow(receiving("inbound", &["out"]));
        let engine = scene.start().await;
        scene.define(|all| drop(all.endpoints.remove("other")));
        receive_with_receipt(&engine, "A/B/<5>", "fake:receipts").await.unwrap();
        scene.until("it failed", || async {
            receipts(&scene).await.iter().any(|sent| sent.state == TransferState::Failed)
        }).await;
        let waybill = scene.waybill(receipts(&scene).await[0].id).await;
        let error = waybill.deliveries[0].error.clone().unwrap();
        assert!(error.contains("other") && error.contains("define it again"), "{error}");
        assert!(scene.place("receipts").deliveries().is_empty());
    }
}
