//! Messages that come in the answer to a delivery, and by POST as well.

use crate::database::both;
use crate::delivering::under_way;
use crate::receiving::{begin, receive, reply, word};
use crate::scene::{Scene, destination, flow, poll, receiving};
use model::definition::{Destination, Flow, FlowSource};
use model::schema::{Value, Values};
use model::{Receipt, ReceiptKind, Sha256, TransferKind, TransferState};
use serde_json::{Map, json};
use std::sync::Arc;
use std::time::Duration;
use testkit::fake::{Answer, ScriptedOffer};
use transport::{
    AnswerMessage, Begin, OutgoingReceipt, Reply, Sent, Services, StagedPart, StagedPayload, content_digest,
};

/// Stages these bytes.
async fn staged(services: &Services, bytes: &'static [u8]) -> model::Result<StagedPayload> {
    let staging = Arc::clone(&services.staging);
    let staged = tokio::task::spawn_blocking(move || {
        let mut part = staging.begin()?;
        part.append(bytes)?;
        part.commit()
    });
    staged.await.unwrap()
}

fn part(staged: StagedPayload, name: &str) -> StagedPart {
    StagedPart { staged, file_name: name.into(), media_type: None, metadata: Map::new(), connection: None }
}

/// The file is delivered, and the answer is a message with this key and content, for which a receipt is asked.
fn answer(key: &'static str, bytes: &'static [u8]) -> Answer {
    Answer::Call(Arc::new(move |_, services| {
        Box::pin(async move {
            let payload = staged(&services, bytes).await?;
            let message = AnswerMessage {
                key: key.into(),
                message_id: "<1@globex>".into(),
                reply: reply("confirmed"),
                content: content_digest(&[payload.sha256]),
                is_remembered: true,
                evidence: None,
            };
            let receipt = OutgoingReceipt {
                listener: "out".into(),
                partner: "globex".into(),
                endpoint: "out".into(),
                url: "fake:receipts".into(),
                of_other: false,
                part: part(staged(&services, b"receipt").await?, "mdn.eml"),
            };
            let replies = vec![Reply {
                part: part(payload, "quote.xml"),
                receipt: Some(receipt),
                message: Some(message),
            }];
            let receipt = Receipt {
                kind: ReceiptKind::Mdn,
                at: services.clock.now(),
                positive: true,
                summary: "processed".into(),
                detail: Map::new(),
                connection: None,
                mdn: None,
            };
            Ok(Sent::Delivered { receipt, replies })
        })
    }))
}

/// Files go out, and answers to them go through the flow `quotes`, which polls and keeps what it takes for so long.
fn asking(scene: &Scene, retention: Duration) {
    let source = FlowSource::Poll(poll("other"));
    scene.flow(Flow { source, retention, ..flow("quotes", &["other"]) });
    let to = Values::of([("flow", Value::Text("quotes".to_owned()))]);
    let options = destination("out").options.with("response", Value::Table(to));
    let asking = Destination { options, ..destination("out") };
    scene.flow(Flow { destinations: vec![asking], ..flow("orders", &["out"]) });
}

const DAY: Duration = Duration::from_secs(86_400);

/// How many transfers of each kind there are: payloads, replies, receipts.
async fn kinds(scene: &Scene) -> [usize; 3] {
    let all = scene.transfers().await;
    [TransferKind::Payload, TransferKind::Reply, TransferKind::Receipt]
        .map(|kind| all.iter().filter(|transfer| transfer.kind == kind).count())
}

/// The digest of `EDI`, which every part of a posted message here is.
fn content() -> Sha256 {
    content_digest(&[Sha256(openssl::sha::sha256(b"EDI"))])
}

both! {
    a_message_that_came_in_an_answer_is_answered_and_not_taken_when_it_is_posted(scene) {
        asking(&scene, 30 * DAY);
        scene.place("out").answer(answer("A/B/<1>", b"EDI"));
        scene.place("in").offer(ScriptedOffer::file("rfq.edi", *b"ISA*00"));
        let engine = scene.start().await;
        scene.until("all are there", || async { kinds(&scene).await == [1, 1, 1] }).await;
        match begin(&engine, "A/B/<1>").await {
            Begin::Answered(again) => {
                assert_eq!((again.reply, again.content), (reply("confirmed"), Some(content())));
            }
            other => panic!("{}", word(&other)),
        }
        let all = scene.transfers().await;
        let of = |kind| all.iter().find(|transfer| transfer.kind == kind).unwrap().id;
        let (taken, confirmed) = (of(TransferKind::Reply), of(TransferKind::Receipt));
        let offer = scene.waybill(taken).await.offer.unwrap();
        assert_eq!((offer.endpoint.as_str(), offer.id), ("out", scene.waybill(confirmed).await.offer.unwrap().id));
        assert_eq!(scene.waybill(taken).await.children[0].id, confirmed);
        assert!(scene.events("message.repeated").await.is_empty());
    }

    a_message_in_an_answer_that_no_flow_takes_is_held_and_taken_when_it_is_posted(scene) {
        scene.flow(receiving("inbound", &["other"]));
        let engine = under_way(&scene, [answer("A/B/<1>", b"EDI")]).await;
        scene.until("all are there", || async { kinds(&scene).await == [1, 1, 1] }).await;
        assert_eq!(receive(&engine, "A/B/<1>", "po.edi").await.unwrap().len(), 1);
        assert_eq!(kinds(&scene).await, [2, 1, 1]);
        // What was posted is known.
        scene.place("out").answer(answer("A/B/<1>", b"EDI"));
        scene.place("in").offer(ScriptedOffer::file("rfq-2.edi", *b"ISA*01"));
        scene.until("it is a repetition", || async { scene.events("message.repeated").await.len() == 1 }).await;
        assert_eq!(kinds(&scene).await[1], 1);
    }

    a_message_that_was_posted_is_not_taken_again_from_an_answer(scene) {
        scene.flow(receiving("inbound", &["other"]));
        scene.flow(flow("orders", &["out"]));
        let engine = scene.start().await;
        let posted = receive(&engine, "A/B/<1>", "po.edi").await.unwrap();
        scene.place("out").answer(answer("A/B/<1>", b"EDI"));
        scene.place("in").offer(ScriptedOffer::file("rfq.edi", *b"ISA*00"));
        let all = scene.until_all(3, TransferState::Completed).await;
        assert_eq!(kinds(&scene).await, [2, 0, 1]);
        let receipt = all.iter().find(|transfer| transfer.kind == TransferKind::Receipt).unwrap();
        assert_eq!(receipt.parent, Some(posted[0]));
        assert_eq!(scene.place("receipts").received().len(), 1);
        let repeated = scene.events("message.repeated").await;
        assert_eq!((repeated.len(), &repeated[0].detail["message_id"]), (1, &json!("<1@globex>")));
        assert!(repeated[0].delivery.is_some() && scene.events("payload.quarantined").await.is_empty());
        scene.until("what nothing was made of is removed", || async { scene.staged() <= 3 }).await;
    }

    a_message_in_an_answer_is_known_as_long_as_its_flow_keeps_what_it_takes(scene) {
        // The flow is a polled one, and no flow receives.
        asking(&scene, 40 * DAY);
        scene.place("out").answer(answer("A/B/<1>", b"EDI"));
        scene.place("in").offer(ScriptedOffer::file("rfq.edi", *b"ISA*00"));
        let engine = scene.start().await;
        scene.until_all(3, TransferState::Completed).await;
        scene.pass(39 * DAY, 160).await;
        // Until its lease is renewed, the node refuses to begin anything.
        scene.until("it is still known", || async {
            matches!(engine.intake().begin("A/B/<1>").await, Ok(Begin::Answered(_)))
        }).await;
        scene.until_by(Duration::from_secs(18_000), "it is forgotten", || async {
            matches!(engine.intake().begin("A/B/<1>").await, Ok(Begin::New(_)))
        }).await;
    }

    other_content_under_a_known_key_is_taken_from_an_answer(scene) {
        scene.flow(receiving("inbound", &["other"]));
        scene.flow(flow("orders", &["out"]));
        let engine = scene.start().await;
        receive(&engine, "A/B/<1>", "po.edi").await.unwrap();
        scene.place("out").answer(answer("A/B/<1>", b"quote"));
        scene.place("in").offer(ScriptedOffer::file("rfq.edi", *b"ISA*00"));
        scene.until("all are there", || async { kinds(&scene).await == [2, 1, 1] }).await;
        let differs = scene.events("message.content_differs").await;
        assert_eq!((differs.len(), &differs[0].detail["first_content"]), (1, &json!(content().to_string())));
        match begin(&engine, "A/B/<1>").await {
            Begin::Answered(again) => assert_eq!((again.reply, again.content), (reply("done"), Some(content()))),
            other => panic!("{}", word(&other)),
        }
    }
}
