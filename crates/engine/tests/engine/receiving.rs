//! What listeners hand in.

use crate::database::both;
use crate::scene::{Scene, receiving};
use engine::Engine;
use model::{PayloadId, TransferId, TransferState};
use serde_json::Map;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use testkit::fake::Answer;
use transport::{
    AnswerState, AnsweredBy, Begin, Clock, Evidence, EvidenceContent, Message, Reception, StagedPart,
    StoredReply, content_digest,
};

pub(crate) async fn begin(engine: &Engine, key: &str) -> Begin {
    engine.intake().begin(key).await.unwrap()
}

pub(crate) async fn begin_new(engine: &Engine, key: &str) -> Box<dyn Reception> {
    match begin(engine, key).await {
        Begin::New(reception) => reception,
        _ => panic!("not new: {key}"),
    }
}

pub(crate) fn word(begun: &Begin) -> &'static str {
    match begun {
        Begin::New(_) => "new",
        Begin::InProgress => "in progress",
        Begin::Answered(_) => "answered",
    }
}

pub(crate) fn reply(text: &str) -> StoredReply {
    StoredReply { status: 200, headers: vec![("X".into(), "y".into())], body: text.as_bytes().to_vec() }
}

pub(crate) async fn part(reception: &mut Box<dyn Reception>, name: &str) -> (StagedPart, PayloadId) {
    let mut writer = reception.part().await.unwrap();
    let staged = tokio::task::spawn_blocking(move || {
        writer.append(b"EDI").unwrap();
        writer.commit().unwrap()
    });
    let staged = staged.await.unwrap();
    let id = staged.id;
    (
        StagedPart {
            staged,
            file_name: name.into(),
            media_type: None,
            metadata: Map::new(),
            connection: None,
        },
        id,
    )
}

pub(crate) fn message(parts: Vec<StagedPart>) -> Message {
    Message {
        listener: "fake".into(),
        endpoint: "/as2".into(),
        partner: Some("globex".into()),
        parts,
        metadata: Map::new(),
        events: Vec::new(),
        receipts: Vec::new(),
        evidence: None,
        answer_until: None,
    }
}

pub(crate) async fn receive(engine: &Engine, key: &str, name: &str) -> model::Result<Vec<TransferId>> {
    let mut reception = begin_new(engine, key).await;
    let (part, _) = part(&mut reception, name).await;
    reception.commit(message(vec![part]), reply("done")).await
}

/// What is freed in the background is free soon.
pub(crate) async fn until_new(scene: &Scene, engine: &Engine, key: &str) {
    scene.until("the key is free", || async { word(&begin(engine, key).await) == "new" }).await;
}

both! {
    a_message_is_taken_once_delivered_and_answered_alike_for_ever(scene) {
        scene.flow(receiving("inbound", &["out", "other"]));
        let engine = scene.start().await;
        let ids = receive(&engine, "A/B/<1>", "po.edi").await.unwrap();
        assert_eq!(ids.len(), 1);
        match begin(&engine, "A/B/<1>").await {
            Begin::Answered(again) => assert_eq!(again.reply, reply("done")),
            other => panic!("{}", word(&other)),
        }
        let done = scene.until_all(1, TransferState::Completed).await;
        assert_eq!((done[0].id, done[0].partner.as_deref(), done[0].deliveries), (ids[0], Some("globex"), 2));
        assert_eq!(scene.place("out").received().len() + scene.place("other").received().len(), 2);
    }

    a_message_ends_under_the_definitions_under_which_it_began(scene) {
        scene.flow(receiving("inbound", &["out"]));
        let engine = scene.start().await;
        let mut begun = begin_new(&engine, "A/B/<long>").await;
        let (part, _) = part(&mut begun, "po.edi").await;
        scene.define(|all| { all.flows.remove("inbound"); });
        let wanted = begun.wanted("fake", Some("globex"), &"po.edi".into(), &Map::new());
        assert_eq!(wanted, transport::Wanted::Yes);
        begun.commit(message(vec![part]), reply("done")).await.unwrap();
        scene.until_all(1, TransferState::Completed).await;
        // The next one finds no flow.
        assert!(receive(&engine, "A/B/<next>", "po.edi").await.is_err());
    }

    a_delivery_goes_into_an_answer_that_waits_and_a_repetition_gets_the_same(scene) {
        scene.flow(receiving("inbound", &["other"]));
        scene.flow(crate::scene::flow("quotes", &["out"]));
        let answer = Answer::Call(Arc::new(move |delivery, services| {
            Box::pin(async move {
                let of = AnsweredBy::Key("A/B/<rfq>".into());
                let Some(waiting) = delivery.log.waiting_answer(&of).await? else {
                    return Err(testkit::fake::Fault::REFUSED.error("find an answer that waits"));
                };
                assert_eq!((waiting.key.as_str(), waiting.reply), ("A/B/<rfq>", reply("mdn")));
                let staging = Arc::clone(&services.staging);
                let staged = tokio::task::spawn_blocking(move || {
                    let mut part = staging.begin()?;
                    part.append(b"mdn and quote")?;
                    part.commit()
                });
                let head = StoredReply { body: Vec::new(), ..reply("") };
                assert!(delivery.log.give_answer(&waiting.key, head, staged.await.unwrap()?).await?);
                let deadline = services.clock.now() + Duration::from_secs(3600);
                Ok(transport::Sent::Awaiting { deadline, connection: None, replies: Vec::new() })
            })
        }));
        scene.place("out").answer(answer);
        let engine = scene.start().await;
        let intake = engine.intake();
        assert!(matches!(intake.answer("A/B/<rfq>", &reply("mdn")).await.unwrap(), AnswerState::Plain));
        let mut reception = begin_new(&engine, "A/B/<rfq>").await;
        let (part, _) = part(&mut reception, "rfq.edi").await;
        let until = scene.clock.now() + Duration::from_secs(3600);
        let message = Message { answer_until: Some(until), ..message(vec![part]) };
        reception.commit(message, reply("mdn")).await.unwrap();
        assert!(matches!(intake.answer("A/B/<rfq>", &reply("mdn")).await.unwrap(), AnswerState::Waiting(at) if at == until));
        scene.place("in").offer(testkit::fake::ScriptedOffer::file("quote.edi", *b"quote"));
        scene.until("it is given", || async {
            matches!(intake.answer("A/B/<rfq>", &reply("mdn")).await.unwrap(), AnswerState::Given { .. })
        }).await;
        for _ in 0..2 {
            let AnswerState::Given { head, body } = intake.close_answer("A/B/<rfq>", &reply("mdn")).await.unwrap() else {
                panic!("it was given")
            };
            assert_eq!((head.status, head.body.len(), body.length()), (200, 0, 13));
            let mut bytes = Vec::new();
            let mut reader = body.open(0..13).await.unwrap();
            tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut bytes).await.unwrap();
            assert_eq!(bytes, b"mdn and quote");
        }
        assert!(matches!(intake.answer("A/B/<rfq>", &reply("another")).await.unwrap(), AnswerState::Plain));
        // The stored reply stays what it is, for a node that does not look further.
        assert!(matches!(begin(&engine, "A/B/<rfq>").await, Begin::Answered(again) if again.reply == reply("mdn")));
    }

    of_two_copies_at_once_one_is_received(scene) {
        scene.flow(receiving("inbound", &["out"]));
        let engine = scene.start().await;
        let all = futures::future::join_all((0..10).map(|_| begin(&engine, "A/B/<2>"))).await;
        assert_eq!(all.iter().filter(|begun| word(begun) == "new").count(), 1);
        assert!(all.iter().all(|begun| word(begun) != "answered"));
        let mut reception = all.into_iter().find_map(|begun| match begun {
            Begin::New(reception) => Some(reception),
            _ => None,
        }).unwrap();
        let (part, _) = part(&mut reception, "po.edi").await;
        reception.commit(message(vec![part]), reply("done")).await.unwrap();
        let all = futures::future::join_all((0..10).map(|_| begin(&engine, "A/B/<2>"))).await;
        assert!(all.iter().all(|begun| word(begun) == "answered"));
        scene.until_all(1, TransferState::Completed).await;
    }

    a_message_that_breaks_off_may_come_again(scene) {
        scene.flow(receiving("inbound", &["out"]));
        let engine = scene.start().await;
        let mut reception = begin_new(&engine, "A/B/<3>").await;
        drop(reception.part().await.unwrap());
        assert_eq!(word(&begin(&engine, "A/B/<3>").await), "in progress");
        drop(reception);
        until_new(&scene, &engine, "A/B/<3>").await;
        assert_eq!(scene.staged(), 0);
    }

    a_file_that_no_flow_wants_is_refused_and_its_key_is_free(scene) {
        let engine = scene.start().await;
        let error = receive(&engine, "A/B/<4>", "po.edi").await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (model::ErrorKind::Rejected, model::Retry::Permanent));
        assert_eq!(scene.staged(), 0);
        until_new(&scene, &engine, "A/B/<4>").await;
        scene.flow(receiving("inbound", &["out"]));
        scene.until("it is free again", || async {
            match begin(&engine, "A/B/<4>").await {
                Begin::New(reception) => {
                    // Nothing of it: a message that holds no file is refused as well.
                    let error = reception.commit(message(Vec::new()), reply("done")).await.unwrap_err();
                    assert_eq!(error.kind(), model::ErrorKind::Rejected);
                    true
                }
                _ => false,
            }
        }).await;
        assert!(scene.transfers().await.is_empty());
    }

    evidence_of_a_message_and_its_content_are_known_after_it(scene) {
        scene.flow(receiving("inbound", &["out"]));
        let engine = scene.start().await;
        let mut reception = begin_new(&engine, "A/B/<9>").await;
        let (first, id) = part(&mut reception, "po.edi").await;
        let (copy, _) = part(&mut reception, "signed").await;
        let sha256 = first.staged.sha256;
        let evidence = |content| Evidence {
            keep_for: Duration::from_secs(400 * 86_400),
            about: Map::from_iter([("message_id".to_owned(), "<9>".into())]),
            pieces: BTreeMap::from([("signature".to_owned(), b"0".to_vec())]),
            content: Some(content),
            keeps_content: true,
        };
        let of = Message { evidence: Some(evidence(EvidenceContent::Payload)), ..message(vec![first]) };
        let ids = reception.commit(of, reply("done")).await.unwrap();
        let kept = scene.store.evidence_of(ids[0]).await.unwrap();
        assert_eq!(kept.len(), 1);
        let whole = scene.store.evidence(kept[0].id).await.unwrap().unwrap();
        assert_eq!(whole.content.unwrap().payload.id, id);
        assert_eq!(whole.pieces["signature"], b"0");
        match begin(&engine, "A/B/<9>").await {
            Begin::Answered(again) => assert_eq!(again.content, Some(content_digest(&[sha256]))),
            other => panic!("{}", word(&other)),
        }
        // Bytes that are staged for the evidence alone are known to the database, so that the sweep leaves them.
        let mut reception = begin_new(&engine, "A/B/<10>").await;
        let (first, _) = part(&mut reception, "po.edi").await;
        let staged = EvidenceContent::Staged(copy.staged.clone());
        let of = Message { evidence: Some(evidence(staged)), ..message(vec![first]) };
        reception.commit(of, reply("done")).await.unwrap();
        assert!(scene.store.payload_rows(&[copy.staged.id]).await.unwrap().present.contains(&copy.staged.id));
    }

    a_refused_message_may_begin_anew(scene) {
        scene.flow(receiving("inbound", &["out"]));
        let engine = scene.start().await;
        let reception = begin_new(&engine, "A/B/<5>").await;
        reception.refuse(Vec::new(), reply("decryption-failed"), Vec::new()).await.unwrap();
        receive(&engine, "A/B/<5>", "po.edi").await.unwrap();
        scene.until_all(1, TransferState::Completed).await;
    }

    the_waybill_tells_when_a_message_began_and_when_it_was_ours(scene) {
        scene.flow(receiving("inbound", &["out"]));
        let engine = scene.start().await;
        let mut reception = begin_new(&engine, "A/B/<8>").await;
        scene.clock.advance(Duration::from_secs(7));
        let (part, _) = part(&mut reception, "po.edi").await;
        let made = reception.commit(message(vec![part]), reply("done")).await.unwrap();
        let waybill = scene.waybill(made[0]).await;
        assert_eq!((waybill.transfer.created_at - waybill.offer.unwrap().found_at).num_seconds(), 7);
    }

    an_answer_is_kept_as_long_as_a_message_may_be_repeated_and_no_longer(scene) {
        let mut inbound = receiving("inbound", &["out"]);
        inbound.retention = Duration::from_secs(40 * 86_400);
        scene.flow(inbound);
        let engine = scene.start().await;
        receive(&engine, "A/B/<7>", "po.edi").await.unwrap();
        scene.until_all(1, TransferState::Completed).await;
        scene.pass(Duration::from_secs(39 * 86_400), 160).await;
        // Each step is longer than the lease: until it is renewed, the node refuses to begin anything.
        scene.until("it is answered again", || async {
            matches!(engine.intake().begin("A/B/<7>").await, Ok(Begin::Answered(_)))
        }).await;
        scene.until_by(Duration::from_secs(18_000), "it is forgotten", || async {
            matches!(engine.intake().begin("A/B/<7>").await, Ok(Begin::New(_)))
        }).await;
    }

    a_message_of_another_life_of_the_node_is_not_committed(scene) {
        scene.flow(receiving("inbound", &["out"]));
        let engine = scene.start().await;
        let mut reception = begin_new(&engine, "A/B/<6>").await;
        let (part, _) = part(&mut reception, "po.edi").await;
        // As if others had fenced this node off while it was stopped.
        scene.fence(&scene.store).await;
        assert!(reception.commit(message(vec![part]), reply("done")).await.is_err());
        assert!(scene.transfers().await.is_empty());
        // Its bytes stay for the sweep: who has the key now may have made something of them.
        assert_eq!(scene.staged(), 1);
        engine.stop(Duration::from_secs(1)).await;
    }
}
