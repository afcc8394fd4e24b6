//! Attempts: receipts, retries, failures, and what a person does about them.

use crate::database::both;
use crate::scene::{RETRY, Scene, destination, flow, gaps};
use engine::Engine;
use model::definition::{Destination, Endpoint};
use model::schema::{Value, Values};
use model::{
    DeliveryState, ErrorKind, Receipt, ReceiptKind, Retry, Timestamp, TransferId, TransferKind, TransferState,
};
use std::sync::Arc;
use std::time::Duration;
use testkit::defined;
use testkit::fake::{Act, Answer, Fault, MemoryFolder, SPEC, ScriptedFolder, ScriptedOffer, ScriptedReply};
use transport::folder::{Folder, Overwrite};
use transport::{Clock, Judgement, OutgoingReceipt, Reply, Resolution, Resolved, StagedPart};

/// A flow to `out`, one file, and the engine at work on it.
pub(crate) async fn under_way(scene: &Scene, answers: impl IntoIterator<Item = Answer>) -> Engine {
    scene.flow(flow("orders", &["out"]));
    for answer in answers {
        scene.place("out").answer(answer);
    }
    scene.place("in").offer(ScriptedOffer::file("po.edi", *b"ISA*00"));
    scene.start().await
}

pub(crate) async fn until_delivery(scene: &Scene, state: DeliveryState) -> TransferId {
    scene
        .until(&format!("the delivery is {state}"), || async {
            let Some(transfer) = scene.transfers().await.first().cloned() else { return false };
            scene.store.deliveries(transfer.id).await.unwrap()[0].state == state
        })
        .await;
    scene.transfers().await[0].id
}

pub(crate) fn attempts_at(scene: &Scene) -> Vec<Timestamp> {
    scene.place("out").deliveries().iter().map(|seen| seen.at).collect()
}

pub(crate) fn plain_receipt(scene: &Scene, positive: bool) -> Receipt {
    Receipt {
        kind: ReceiptKind::Mdn,
        at: scene.clock.now(),
        positive,
        summary: if positive { "processed" } else { "failed: decryption-failed" }.into(),
        detail: serde_json::Map::new(),
        connection: None,
        mdn: None,
    }
}

/// What a receipt says: accepted, or refused permanently.
pub(crate) fn receipt(scene: &Scene, positive: bool) -> Resolution {
    let receipt = plain_receipt(scene, positive);
    match positive {
        true => Judgement::Proof(receipt).into(),
        false => refusal(receipt, Fault::REFUSED, true),
    }
}

pub(crate) fn refusal(receipt: Receipt, fault: Fault, may_contradict: bool) -> Resolution {
    Judgement::Refusal { receipt, error: fault.error("accept the file"), may_contradict }.into()
}

const REFUSED: Fault = Fault::REFUSED;
pub(crate) const AWAIT: Duration = Duration::from_secs(60);

pub(crate) fn awaiting(key: &str) -> Answer {
    Answer::Awaiting { correlation: Some(key.into()), wait: AWAIT }
}

both! {
    bytes_that_changed_in_staging_are_not_delivered(scene) {
        let _engine = under_way(&scene, [Answer::Fails(Fault::CUT)]).await;
        until_delivery(&scene, DeliveryState::Retrying).await;
        let fans = std::fs::read_dir(scene.staging.root().join("payloads")).unwrap();
        let mut payloads = fans.flat_map(|fan| std::fs::read_dir(fan.unwrap().path()).unwrap());
        let payload = payloads.next().unwrap().unwrap().path();
        std::fs::set_permissions(&payload, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(&payload, b"ISA*01").unwrap();
        let failed = scene.until_all(1, TransferState::Failed).await;
        let delivery = &scene.waybill(failed[0].id).await.deliveries[0];
        assert!(delivery.error.as_deref().is_some_and(|words| words.contains("has changed")), "{delivery:?}");
        assert!(scene.place("out").received().is_empty());
    }

    the_last_attempt_takes_its_temporary_file_back(scene) {
        let memory = MemoryFolder::new();
        memory.put("out/.keep", *b"");
        let script = ScriptedFolder::new(Arc::new(memory.clone()));
        for _ in 0..RETRY.attempts {
            script.fail(Act::Publish, Fault { kind: ErrorKind::Rejected, retry: Retry::Transient });
        }
        scene.place("out").use_folder(Arc::clone(&script) as Arc<dyn Folder>, "out", Overwrite::Refuse);
        let _engine = under_way(&scene, []).await;
        let failed = scene.until_all(1, TransferState::Failed).await;
        assert_eq!(memory.files(), ["out/.keep"]);
        assert_eq!((script.count(Act::BeginWrite), script.count(Act::Publish)), (1, 3), "the bytes are sent once");
        let delivery = &scene.waybill(failed[0].id).await.deliveries[0];
        assert!(delivery.error.as_deref().is_some_and(|words| words.contains("temporary = \"none\"")), "{delivery:?}");
    }

    what_fails_for_a_while_is_retried_with_growing_waits(scene) {
        let _engine = under_way(&scene, [Answer::Fails(Fault::CUT), Answer::FailsAfter(3, Fault::CUT)]).await;
        scene.until_all(1, TransferState::Completed).await;
        let waits = gaps(&attempts_at(&scene));
        // The clock of the test runs on while the gateway works: only the least waits can be told.
        assert!(waits[0] >= 5 && waits[1] >= 10, "{waits:?}");
        assert_eq!(scene.events("delivery.retrying").await.len(), 2);
        assert_eq!(scene.place("out").received().len(), 1);
    }

    what_fails_for_good_fails_at_once_until_a_person_retries(scene) {
        let _engine = under_way(&scene, [Answer::Fails(REFUSED)]).await;
        let failed = scene.until_all(1, TransferState::Failed).await;
        assert_eq!(scene.place("out").deliveries().len(), 1);
        scene.store.retry_transfer(failed[0].id, &scene.act(), None).await.unwrap();
        scene.until_all(1, TransferState::Completed).await;
        assert_eq!(scene.place("out").deliveries().len(), 2);
    }

    attempts_run_out_and_a_person_starts_them_anew(scene) {
        let _engine = under_way(&scene, (0..5).map(|_| Answer::Fails(Fault::CUT))).await;
        let failed = scene.until_all(1, TransferState::Failed).await;
        assert_eq!(scene.place("out").deliveries().len(), 3);
        scene.store.retry_transfer(failed[0].id, &scene.act(), None).await.unwrap();
        scene.until_all(1, TransferState::Completed).await;
        assert_eq!(scene.place("out").deliveries().len(), 6);
        assert_eq!(scene.place("out").received().len(), 1);
    }

    an_ambiguous_end_is_tried_again(scene) {
        let _engine = under_way(&scene, [Answer::DeliveredAnswerLost]).await;
        scene.until_all(1, TransferState::Completed).await;
        // At least once: this place neither publishes atomically nor gives a receipt.
        assert_eq!(scene.place("out").received().len(), 2);
    }

    a_transport_that_breaks_down_is_tried_again(scene) {
        let _engine = under_way(&scene, [Answer::Panics]).await;
        scene.until_all(1, TransferState::Completed).await;
        let retrying = scene.events("delivery.retrying").await;
        assert_eq!(retrying.len(), 1);
        assert!(scene.events("endpoint.offline").await.is_empty());
    }

    a_receipt_ends_the_wait(scene) {
        let engine = under_way(&scene, [awaiting("<1@acme>")]).await;
        let id = until_delivery(&scene, DeliveryState::AwaitingReceipt).await;
        let intake = engine.intake();
        assert_eq!(intake.resolve("<other>", receipt(&scene, true)).await.unwrap(), Resolved::Unmatched);
        assert_eq!(intake.resolve("<1@acme>", receipt(&scene, true)).await.unwrap(), Resolved::Matched);
        assert_eq!(intake.resolve("<1@acme>", receipt(&scene, true)).await.unwrap(), Resolved::Already);
        let waybill = scene.waybill(id).await;
        assert_eq!(waybill.transfer.state, TransferState::Completed);
        assert_eq!(waybill.deliveries[0].receipt.as_ref().unwrap().summary, "processed");
        // A later word to the contrary is believed.
        assert_eq!(intake.resolve("<1@acme>", receipt(&scene, false)).await.unwrap(), Resolved::Matched);
        assert_eq!(scene.waybill(id).await.transfer.state, TransferState::Failed);
        assert_eq!(scene.place("out").deliveries().len(), 1);
    }

    a_receipt_may_overtake_the_answer_to_what_it_is_for(scene) {
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
        assert_eq!(engine.intake().resolve("<2@acme>", receipt(&scene, true)).await.unwrap(), Resolved::Matched);
        go.notify_one();
        scene.pass(Duration::from_secs(200), 40).await;
        scene.until_all(1, TransferState::Completed).await;
        assert_eq!(scene.place("out").deliveries().len(), 1);
    }

    an_overdue_receipt_makes_another_attempt_and_a_late_one_ends_it(scene) {
        let engine = under_way(&scene, [awaiting("<3@acme>"), awaiting("<3@acme>")]).await;
        until_delivery(&scene, DeliveryState::AwaitingReceipt).await;
        scene.until("it is sent again", || async { scene.place("out").deliveries().len() == 2 }).await;
        let wait = gaps(&attempts_at(&scene))[0];
        // The clock of the test runs on while the gateway works: only the least wait can be told.
        assert!(wait >= 64, "{wait}");
        until_delivery(&scene, DeliveryState::AwaitingReceipt).await;
        assert_eq!(engine.intake().resolve("<3@acme>", receipt(&scene, true)).await.unwrap(), Resolved::Matched);
        scene.until_all(1, TransferState::Completed).await;
    }

    one_that_expires_while_it_waits_is_not_sent(scene) {
        let mut flow = flow("orders", &["out"]);
        flow.destinations[0].expires_after = Some(Duration::from_secs(30));
        flow.destinations[0].retry.first = Duration::from_secs(600);
        flow.destinations[0].retry.longest = Duration::from_secs(600);
        scene.flow(flow);
        scene.place("out").answer(Answer::Fails(Fault::CUT));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Failed).await;
        assert_eq!(scene.place("out").deliveries().len(), 1);
        assert_eq!(scene.events("delivery.expired").await.len(), 1);
    }

    held_ones_wait_and_cancelled_ones_end(scene) {
        let _engine = under_way(&scene, [Answer::Fails(Fault::CUT), Answer::Fails(Fault::CUT)]).await;
        let id = until_delivery(&scene, DeliveryState::Retrying).await;
        scene.store.hold_transfer(id, &scene.act()).await.unwrap();
        scene.pass(Duration::from_secs(60), 30).await;
        assert_eq!(scene.place("out").deliveries().len(), 1);
        scene.store.release_transfer(id, &scene.act()).await.unwrap();
        scene.until("it goes on", || async { scene.place("out").deliveries().len() == 2 }).await;
        until_delivery(&scene, DeliveryState::Retrying).await;
        scene.store.cancel_transfer(id, &scene.act()).await.unwrap();
        scene.pass(Duration::from_secs(100), 30).await;
        assert_eq!(scene.place("out").deliveries().len(), 2);
        assert_eq!(scene.transfers().await[0].state, TransferState::Cancelled);
    }

    a_reply_is_held_for_a_person_and_kept_as_long_as_its_flow_says(scene) {
        let reply = |name: &str| ScriptedReply { file_name: name.into(), bytes: Arc::from(&b"answer"[..]) };
        let _engine = under_way(&scene, [Answer::Replies(vec![reply("a.xml"), reply("b.xml")])]).await;
        scene.until("replies are there", || async { scene.transfers().await.len() == 3 }).await;
        let all = scene.transfers().await;
        let sent = all.iter().find(|transfer| transfer.kind == TransferKind::Payload).unwrap();
        scene.until("it ended", || async { scene.waybill(sent.id).await.transfer.state == TransferState::Completed }).await;
        let waybill = scene.waybill(sent.id).await;
        assert_eq!(waybill.children.len(), 2);
        assert!(waybill.children.iter().all(|reply| reply.state == TransferState::Held && reply.deliveries == 0));
        assert_eq!(scene.events("transfer.held").await.len(), 2);
        // It has nowhere to go.
        assert!(scene.store.release_transfer(waybill.children[0].id, &scene.act()).await.is_err());
        scene.store.cancel_transfer(waybill.children[0].id, &scene.act()).await.unwrap();
        assert_eq!(scene.staged(), 3);
        scene.until_by(Duration::from_secs(120), "retention ends", || async { scene.staged() == 0 }).await;
    }

    a_reply_goes_through_the_flow_that_the_destination_names(scene) {
        let named = |name: &str| {
            let options = defined::destination(&SPEC, "out", &[]).options;
            let flow = Values::of([("flow", Value::Text(name.to_owned()))]);
            Destination { options: options.with("response", Value::Table(flow)), ..destination("out") }
        };
        scene.flow(crate::scene::receiving("quotes", &["other"]));
        scene.flow(model::definition::Flow { destinations: vec![named("quotes")], ..flow("orders", &["out"]) });
        let reply = |name: &str| ScriptedReply { file_name: name.into(), bytes: Arc::from(&b"quote"[..]) };
        let place = scene.place("out");
        place.answer(Answer::Replies(vec![reply("a.xml"), reply("b.xml")]));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"ISA*00"));
        let _engine = scene.start().await;
        let all = scene.until_all(3, TransferState::Completed).await;
        let sent = all.iter().find(|transfer| transfer.kind == TransferKind::Payload).unwrap();
        let replies: Vec<_> = all.iter().filter(|transfer| transfer.kind == TransferKind::Reply).collect();
        assert!(replies.iter().all(|reply| reply.flow == "quotes"));
        assert_eq!(scene.waybill(sent.id).await.children.len(), 2);
        assert_eq!(scene.place("other").received().len(), 2);
        // Where the flow is gone, it is held.
        scene.define(|all| { all.flows.remove("quotes"); });
        place.answer(Answer::Replies(vec![reply("c.xml")]));
        scene.place("in").offer(ScriptedOffer::file("po2.edi", *b"ISA*00"));
        scene.until("it is held", || async { scene.events("transfer.held").await.len() == 1 }).await;
        let held = scene.events("transfer.held").await.remove(0);
        assert!(held.detail["why"].as_str().unwrap().contains("no longer defined"), "{:?}", held.detail);
    }

    a_reply_and_the_receipt_that_it_asks_for_are_recorded_together_also_while_a_receipt_is_awaited(scene) {
        let answer = Answer::Call(Arc::new(move |delivery, services| {
            Box::pin(async move {
                delivery.log.correlate("<1@acme>").await?;
                let staging = Arc::clone(&services.staging);
                let stage = move |bytes: &'static [u8]| {
                    let mut part = staging.begin()?;
                    part.append(bytes)?;
                    part.commit()
                };
                let staged = tokio::task::spawn_blocking(move || {
                    Ok::<_, model::Error>((stage(b"quote")?, stage(b"receipt")?))
                });
                let (quote, receipt) = staged.await.unwrap()?;
                let part = |staged, name: &str| StagedPart {
                    staged,
                    file_name: name.into(),
                    media_type: None,
                    metadata: serde_json::Map::new(),
                    connection: None,
                };
                let receipt = OutgoingReceipt {
                    listener: "out".into(),
                    partner: "globex".into(),
                    endpoint: "out".into(),
                    url: "fake://out/receipts".into(),
                    of_other: false,
                    part: part(receipt, "mdn.eml"),
                };
                let reply = Reply { part: part(quote, "quote.xml"), receipt: Some(receipt), message: None };
                let deadline = services.clock.now() + AWAIT;
                Ok(transport::Sent::Awaiting { deadline, connection: None, replies: vec![reply] })
            })
        }));
        let engine = under_way(&scene, [answer]).await;
        scene.until("all are there", || async { scene.transfers().await.len() == 3 }).await;
        let all = scene.transfers().await;
        let of = |kind| all.iter().find(|transfer| transfer.kind == kind).unwrap();
        let (sent, reply) = (of(TransferKind::Payload), of(TransferKind::Reply));
        assert_eq!(reply.state, TransferState::Held);
        assert_eq!(scene.waybill(sent.id).await.children.len(), 1);
        assert_eq!(scene.waybill(reply.id).await.children[0].id, of(TransferKind::Receipt).id);
        assert_eq!(engine.intake().resolve("<1@acme>", receipt(&scene, true)).await.unwrap(), Resolved::Matched);
        scene.until("it is proved", || async { scene.waybill(sent.id).await.transfer.state == TransferState::Completed }).await;
    }

    an_endpoint_that_is_gone_fails_clearly_and_a_retry_finds_it_again(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("out").otherwise(Answer::Fails(Fault::CUT));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
        let _engine = scene.start().await;
        until_delivery(&scene, DeliveryState::Retrying).await;
        scene.define(|all| {
            all.endpoints.remove("out");
            all.flows.clear();
        });
        let failed = scene.until_all(1, TransferState::Failed).await;
        let error = scene.waybill(failed[0].id).await.deliveries[0].error.clone().unwrap();
        assert!(error.contains("out") && error.contains("define it again"), "{error}");
        scene.place("out").otherwise(Answer::Delivered);
        scene.define(|all| drop(all.endpoints.insert("out".into(), crate::scene::endpoint("out"))));
        scene.store.retry_transfer(failed[0].id, &scene.act(), None).await.unwrap();
        scene.until_all(1, TransferState::Completed).await;
    }

    a_slow_endpoint_leaves_the_others_their_places(scene) {
        let mut slow = flow("orders", &["out", "other"]);
        slow.destinations[0] = destination("out");
        scene.flow(slow);
        scene.place("out").otherwise(Answer::Hangs);
        for n in 0..30 {
            scene.place("in").offer(ScriptedOffer::file(format!("{n:02}").as_str(), *b"x"));
        }
        let _engine = scene.start().await;
        scene.until_by(Duration::from_millis(100), "the other endpoint has all", || async {
            scene.place("other").received().len() == 30
        }).await;
        assert_eq!(scene.place("out").deliveries().len(), 4);
        // Not one round every two seconds: each end makes room for the next at once.
        let took = gaps(&[scene.place("other").deliveries()[0].at, scene.place("other").deliveries()[29].at])[0];
        assert!(took <= 8, "{took}");
    }

    an_endpoint_that_keeps_silent_is_rested_and_returns(scene) {
        let mut patient = flow("orders", &["out"]);
        patient.destinations[0].retry.attempts = 100;
        scene.flow(patient);
        scene.place("out").break_down(Some(Fault::CUT));
        for n in 0..6 {
            scene.place("in").offer(ScriptedOffer::file(format!("{n}").as_str(), *b"x"));
        }
        let engine = scene.start().await;
        scene.until("it is offline", || async { !scene.events("endpoint.offline").await.is_empty() }).await;
        assert!(engine.health().snapshot()["out"].offline_until.is_some());
        scene.pass(Duration::from_secs(60), 60).await;
        scene.place("out").break_down(None);
        scene.until_all(6, TransferState::Completed).await;
        assert_eq!(scene.events("endpoint.online").await.len(), 1);
        assert_eq!(engine.health().snapshot()["out"].offline_until, None);
    }

    files_wait_for_an_endpoint_that_refuses_the_login_however_long_that_takes(scene) {
        let locked_out = Fault { kind: ErrorKind::Unauthenticated, retry: Retry::Permanent };
        let never = Endpoint { offline: None, ..Endpoint::clone(&crate::scene::endpoint("other")) };
        scene.define(|all| drop(all.endpoints.insert("other".into(), Arc::new(never))));
        scene.flow(flow("orders", &["out", "other"]));
        for place in ["out", "other"] {
            scene.place(place).break_down(Some(locked_out));
        }
        for name in ["a", "b", "c"] {
            scene.place("in").offer(ScriptedOffer::file(name, *b"x"));
        }
        let _engine = scene.start().await;
        scene.until("both were tried", || async {
            ["out", "other"].iter().all(|place| !scene.place(place).deliveries().is_empty())
        }).await;
        for _ in 0..12 {
            scene.pass(Duration::from_secs(600), 10).await;
        }
        let [out, other] = ["out", "other"].map(|place| scene.place(place).deliveries().len());
        // At most four at once, after waits of one minute, two, four and so on up to an hour; three of each file, where it
        // never goes offline.
        assert!((4..=32).contains(&out) && (4..=36).contains(&other), "{out} {other}");
        let transfers = scene.transfers().await;
        assert!(transfers.len() == 3 && transfers.iter().all(|transfer| transfer.state == TransferState::Delivering));
        scene.until_by(Duration::ZERO, "they wait", || async {
            let waybill = scene.waybill(transfers[0].id).await;
            waybill.deliveries.iter().all(|delivery| delivery.state == DeliveryState::Retrying)
        }).await;
        let waybill = scene.waybill(transfers[0].id).await;
        let delivery = &waybill.deliveries[0];
        assert!(delivery.error.as_ref().unwrap().contains("unauthenticated"), "{:?}", delivery.error);
        assert!(scene.events("delivery.failed").await.is_empty());
        let offline = scene.events("endpoint.offline").await;
        assert!(offline[0].detail["error"].as_str().unwrap().contains("unauthenticated"), "{offline:?}");
        // The files go on by themselves, and have all their attempts left.
        for place in ["out", "other"] {
            scene.place(place).answer(Answer::Fails(Fault::CUT));
            scene.place(place).break_down(None);
        }
        scene.until_by(Duration::from_secs(60), "all arrive", || async {
            scene.transfers().await.iter().all(|transfer| transfer.state == TransferState::Completed)
        }).await;
    }

    a_delivery_that_waits_for_a_login_expires_when_its_time_is_over(scene) {
        let locked_out = Fault { kind: ErrorKind::TrustFailed, retry: Retry::Permanent };
        let mut orders = flow("orders", &["out"]);
        orders.destinations[0].expires_after = Some(Duration::from_secs(3600));
        scene.flow(orders);
        scene.place("out").break_down(Some(locked_out));
        scene.place("in").offer(ScriptedOffer::file("a", *b"x"));
        let _engine = scene.start().await;
        scene.until_by(Duration::from_secs(30), "it expires", || async {
            scene.events("delivery.expired").await.len() == 1
        }).await;
        scene.until_all(1, TransferState::Failed).await;
    }

    a_wrong_password_is_tried_once_whatever_waits_behind_it(scene) {
        let locked_out = Fault { kind: ErrorKind::Unauthenticated, retry: Retry::Permanent };
        let mut ordered = flow("orders", &["out"]);
        ordered.ordered = true;
        scene.flow(ordered);
        scene.place("out").break_down(Some(locked_out));
        scene.place("in").offer(ScriptedOffer::file("a", *b"x"));
        let _engine = scene.start().await;
        scene.until("it is offline", || async { scene.events("endpoint.offline").await.len() == 1 }).await;
        scene.place("in").offer(ScriptedOffer::file("b", *b"x"));
        scene.pass(Duration::from_secs(40), 40).await;
        assert_eq!(scene.place("out").deliveries().len(), 1);
        assert_eq!(scene.events("endpoint.offline").await.len(), 1);
    }
}
