//! The steps of flows: what is sent is what they made, whatever happens between.

use crate::database::both;
use crate::receiving::receive;
use crate::scene::{Scene, destination, flow, polling, receiving, saying};
use model::definition::{Flow, OnFailure, SettleWhen, StepDefinition};
use model::schema::{Value, Values};
use model::{TransferKind, TransferState};
use std::sync::Arc;
use std::time::Duration;
use testkit::fake::{Answer, Fault, MemoryFolder, ScriptedOffer};
use transport::folder::Overwrite;

fn convert(from: &str, to: &str) -> StepDefinition {
    let kind = steps::kind("convert_charset").unwrap();
    let options = Values::defaults(kind.group.fields).unwrap();
    let text = |text: &str| Value::Text(text.to_owned());
    StepDefinition {
        kind: kind.name.to_owned(),
        options: options.with("from", text(from)).with("to", text(to)),
    }
}

/// A flow to these endpoints, whose files are in ISO-8859-1.
fn from_latin1(to: &[&str]) -> Flow {
    Flow { steps: vec![convert("ISO-8859-1", "UTF-8")], ..flow("orders", to) }
}

/// What arrived at a place, oldest first.
fn received(scene: &Scene, place: &str) -> Vec<Vec<u8>> {
    scene.place(place).received().iter().map(|(_, _, bytes)| bytes.to_vec()).collect()
}

both! {
    each_destination_gets_what_steps_made_for_it_and_the_source_is_settled_before(scene) {
        let mut flow = from_latin1(&["out", "other"]);
        flow.destinations[1].steps = vec![convert("UTF-8", "IBM037")];
        scene.flow(flow);
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"Caf\xe9"));
        let _engine = scene.start().await;
        let done = scene.until_all(1, TransferState::Completed).await;
        assert_eq!(received(&scene, "out"), ["Café".as_bytes()]);
        assert_eq!(received(&scene, "other"), [b"\xc3\x81\x86\x51"]);
        assert_eq!(scene.place("in").settled().len(), 1);
        let waybill = scene.waybill(done[0].id).await;
        assert_eq!(waybill.transfer.length, 4);
        // The flow's own step is done once for both.
        let made: Vec<_> = waybill.made.iter().map(|made| (made.made_by.as_str(), made.parent_length, made.length)).collect();
        assert_eq!(made, [
            ("convert_charset from ISO-8859-1 to UTF-8", 4, 5),
            ("convert_charset from UTF-8 to IBM037", 5, 4),
        ]);
        assert_eq!((waybill.made[0].parent, waybill.made[1].parent), (waybill.transfer.payload, waybill.made[0].payload));
        let sent: Vec<_> = waybill.deliveries.iter().map(|delivery| delivery.payload.unwrap()).collect();
        assert!(sent.contains(&waybill.made[0].payload) && sent.contains(&waybill.made[1].payload));
        assert!(waybill.processing.unwrap().due_at.is_none());
        assert_eq!(scene.staged(), 3);
        scene.until_by(Duration::from_secs(60), "all are removed", || async { scene.staged() == 0 }).await;
        assert_eq!(scene.events("payload.removed").await.len(), 3);
    }

    what_cannot_be_converted_goes_the_way_of_what_failed_and_is_retried_as_the_flow_says_then(scene) {
        scene.flow(receiving("operations", &["other"]));
        let folder = MemoryFolder::new();
        folder.put("in/po.edi", *b"Caf\xe9");
        scene.place("in").use_folder(Arc::new(folder.clone()), "in", Overwrite::Refuse);
        let wrong = Flow {
            steps: vec![convert("UTF-8", "ISO-8859-15")],
            on_failure: Some(OnFailure::Flow("operations".into())),
            ..polling(flow("orders", &["out"]), |poll| poll.settle = SettleWhen::AfterDelivery)
        };
        let wrong = saying(wrong, |polling| polling.error_directory = Some("bad".into()));
        scene.flow(wrong.clone());
        let _engine = scene.start().await;
        scene.until("it lies in the error directory", || async { folder.get("bad/po.edi.error.json").is_some() && folder.get("in/po.edi").is_none() }).await;
        let why = folder.files().iter().map(|path| folder.get(path.as_str()).unwrap().to_vec())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).find(|text| text.contains("error")).unwrap();
        assert!(why.contains("offset 3, bytes e9") && why.contains("correct `from` of the step"), "{why}");
        // As it was received.
        scene.until("operations have it", || async { received(&scene, "other") == [b"Caf\xe9"] }).await;
        assert!(received(&scene, "out").is_empty());
        assert_eq!(scene.place("out").received().len(), 0);
        let failed = scene.transfers().await.into_iter().find(|one| one.kind == TransferKind::Payload).unwrap();
        assert_eq!(failed.state, TransferState::Failed);
        let waybill = scene.waybill(failed.id).await;
        assert!(waybill.deliveries[0].attempts.is_empty() && waybill.made.is_empty());
        // Nothing was tried at the endpoint, which is not to blame.
        assert!(scene.events("endpoint.offline").await.is_empty());
        scene.flow(Flow { steps: vec![convert("windows-1252", "UTF-8")], ..wrong });
        let in_force = store::DestinationInForce {
            name: "out".into(), endpoint: "out".into(), expires_after: None, lane_continues: false,
        };
        let revision = scene.revision();
        let flow = store::FlowInForce { revision, destinations: vec![in_force] };
        scene.store.retry_transfer(failed.id, &scene.act(), Some(flow)).await.unwrap();
        scene.until("it arrives", || async { received(&scene, "out") == ["Café".as_bytes()] }).await;
    }

    a_message_passes_through_steps_as_a_file_does(scene) {
        scene.flow(Flow { steps: vec![convert("UTF-8", "UTF-16BE")], ..receiving("inbound", &["out"]) });
        let engine = scene.start().await;
        receive(&engine, "m1", "po.edi").await.unwrap();
        scene.until_all(1, TransferState::Completed).await;
        assert_eq!(received(&scene, "out"), [b"\0E\0D\0I"]);
    }

    a_retry_sends_what_was_made_and_a_resubmission_makes_it_anew(scene) {
        let mut flow = from_latin1(&["out"]);
        flow.destinations = vec![destination("out")];
        scene.flow(flow.clone());
        scene.place("out").answer(Answer::Fails(Fault::CUT));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"\xe9"));
        let _engine = scene.start().await;
        let done = scene.until_all(1, TransferState::Completed).await;
        assert_eq!(scene.events("step.done").await.len(), 1);
        let transfer = scene.store.transfer(done[0].id).await.unwrap().unwrap();
        let mut child = transfer.clone();
        (child.id, child.parent) = (model::TransferId::new(uuid::Uuid::new_v4()), Some(transfer.id));
        (child.state, child.offer) = (TransferState::Staged, None);
        let deliveries = engine::new_deliveries(&flow, &child, uuid::Uuid::new_v4);
        let again = store::NewTransfer { transfer: child, retain_for: flow.retention, deliveries, failure_route: None, attachments: Vec::new() };
        scene.store.resubmit(vec![again], &scene.act()).await.unwrap();
        scene.until_all(2, TransferState::Completed).await;
        assert_eq!(received(&scene, "out"), ["é".as_bytes(), "é".as_bytes()]);
        assert_eq!(scene.events("step.done").await.len(), 2);
    }

    an_ordered_flow_keeps_its_order_through_steps(scene) {
        scene.flow(Flow { ordered: true, ..from_latin1(&["out"]) });
        for n in 0..12_u8 {
            // The first ones take longest.
            let bytes = vec![b'a' + n; 300_000 / (usize::from(n) + 1)];
            scene.place("in").offer(ScriptedOffer::file(format!("{n:02}").as_str(), bytes));
        }
        let _engine = scene.start().await;
        scene.until_all(12, TransferState::Completed).await;
        let firsts: Vec<u8> = received(&scene, "out").iter().map(|bytes| bytes[0]).collect();
        assert_eq!(firsts, (b'a'..b'm').collect::<Vec<_>>());
    }

    a_step_that_is_not_known_here_fails_the_delivery_and_says_so(scene) {
        let unknown = StepDefinition { kind: "encrypt".into(), options: Values::default() };
        scene.flow(Flow { steps: vec![unknown], ..flow("orders", &["out"]) });
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Failed).await;
        let failed = scene.events("delivery.failed").await;
        assert!(failed[0].detail["error"].as_str().unwrap().contains("encrypt"), "{failed:?}");
    }

    a_node_that_lost_its_lease_records_nothing_of_its_steps(scene) {
        scene.flow(from_latin1(&["out"]));
        let engine = scene.prepare("n1", scene.store.clone()).await;
        let other = scene.another_or_same().await;
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"Caf\xe9"));
        scene.run(&engine).await;
        scene.until("it is recorded", || async { scene.transfers().await.len() == 1 }).await;
        scene.supplant(&other).await;
        // Whatever it was doing: another node ends it, and the file is sent once, converted.
        let _second = scene.prepare("n2", other).await;
        scene.run(&_second).await;
        scene.until_all(1, TransferState::Completed).await;
        let sent = received(&scene, "out");
        assert!(!sent.is_empty() && sent.iter().all(|bytes| bytes == "Café".as_bytes()), "{sent:?}");
    }
}
