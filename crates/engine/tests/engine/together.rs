//! Files of one message, or of one offer, that stay together.

use crate::database::both;
use crate::operating::{follows, suspend};
use crate::receiving::{begin_new, message, reply};
use crate::scene::{Scene, flow, receiving};
use engine::Engine;
use model::definition::{Flow, FlowSource, OnFailure};
use model::{Mask, MaskSpec, SuspensionKind, TransferId, TransferKind, TransferState};
use serde_json::{Map, Value};
use testkit::fake::{Answer, Fault, ScriptedOffer, ScriptedPart};
use transport::{ReceivedFile, Reception, StagedPart, Wanted};

fn together(name: &str, to: &[&str]) -> Flow {
    Flow { together: true, ..receiving(name, to) }
}

/// The same for names that match a mask.
fn of_names(flow: Flow, mask: &str) -> Flow {
    let FlowSource::Receive(source) = &flow.source else { panic!("it polls") };
    let mask = Mask::new(&MaskSpec { include: vec![mask.into()], ..MaskSpec::default() }).unwrap();
    let source = FlowSource::Receive(model::definition::ReceiveSource { mask, ..source.clone() });
    Flow { source, ..flow }
}

/// Files with no metadata but their message's.
pub(crate) fn asked<'a>(
    names: &'a [model::RemotePath],
    of_message: &'a Map<String, Value>,
) -> Vec<ReceivedFile<'a>> {
    let file = |file_name| ReceivedFile { file_name, of_message, metadata: of_message };
    names.iter().map(file).collect()
}

/// A part with its name as its bytes.
async fn part(reception: &mut Box<dyn Reception>, name: &str) -> StagedPart {
    let mut writer = reception.part().await.unwrap();
    let bytes = name.as_bytes().to_vec();
    let staged = tokio::task::spawn_blocking(move || {
        writer.append(&bytes).unwrap();
        writer.commit().unwrap()
    });
    StagedPart {
        staged: staged.await.unwrap(),
        file_name: name.into(),
        media_type: Some("text/plain".into()),
        metadata: Map::from_iter([("as2_file_name".to_owned(), Value::from(name))]),
        connection: None,
    }
}

async fn receive(engine: &Engine, key: &str, names: &[&str]) -> model::Result<Vec<TransferId>> {
    let mut reception = begin_new(engine, key).await;
    let mut parts = Vec::new();
    for name in names {
        parts.push(part(&mut reception, name).await);
    }
    reception.commit(message(parts), reply("done")).await
}

fn got(scene: &Scene, place: &str) -> Vec<(String, Vec<u8>)> {
    let received = scene.place(place).received();
    received.iter().map(|(_, name, bytes)| (name.to_text(), bytes.to_vec())).collect()
}

fn files(names: &[&str]) -> Vec<(String, Vec<u8>)> {
    names.iter().map(|name| ((*name).to_owned(), name.as_bytes().to_vec())).collect()
}

both! {
    the_files_of_a_message_are_one_transfer_and_one_delivery(scene) {
        scene.flow(together("inbound", &["out"]));
        scene.flow(receiving("each", &["other"]));
        scene.place("out").answer(Answer::Fails(Fault::CUT));
        let engine = scene.start().await;
        let ids = receive(&engine, "A/B/<1>", &["po.xml", "plan.pdf", "terms.txt"]).await.unwrap();
        // One of the flow that keeps them together, one of each file of the other.
        assert_eq!(ids.len(), 4);
        scene.until_all(4, TransferState::Completed).await;
        // Again with all of them after a failed attempt.
        assert_eq!(got(&scene, "out"), files(&["po.xml", "plan.pdf", "terms.txt"]));
        assert_eq!(got(&scene, "other").len(), 3);
        let whole = scene.transfers().await.into_iter().find(|one| one.flow == "inbound").unwrap();
        let waybill = scene.waybill(whole.id).await;
        let attached: Vec<String> = waybill.attachments.iter().map(|one| one.file_name.to_text()).collect();
        assert_eq!(attached, ["plan.pdf", "terms.txt"]);
        assert!(waybill.came_with.is_empty(), "of its own flow there is no other");
        let recorded = waybill.events.iter().find(|event| event.kind == "transfer.recorded").unwrap();
        assert_eq!(recorded.detail["attachments"][1]["file_name"], "terms.txt");
        let each = scene.transfers().await.into_iter().find(|one| one.flow == "each").unwrap();
        assert_eq!(scene.waybill(each.id).await.came_with.len(), 2);
        let stored = scene.store.attachments(whole.id).await.unwrap();
        assert_eq!(stored[0].metadata["as2_file_name"], "plan.pdf");
        assert_eq!(stored[0].payload.media_type.as_deref(), Some("text/plain"));
    }

    a_flow_that_keeps_files_together_looks_at_the_name_of_the_first(scene) {
        scene.flow(of_names(together("inbound", &["out"]), "*.xml"));
        let engine = scene.start().await;
        let reception = begin_new(&engine, "A/B/<asked>").await;
        let wanted = |names: [&str; 2]| {
            let names = names.map(model::RemotePath::from);
            reception.wanted_files("fake", Some("globex"), &asked(&names, &Map::new()))
        };
        assert_eq!(wanted(["po.xml", "plan.pdf"]), [Wanted::Yes, Wanted::Yes]);
        let refused = wanted(["plan.pdf", "po.xml"]);
        assert!(refused.iter().all(|wanted| matches!(wanted, Wanted::No(_))), "{refused:?}");
        drop(reception);
        // The whole message or nothing of it.
        assert!(receive(&engine, "A/B/<1>", &["plan.pdf", "po.xml"]).await.is_err());
        assert!(scene.transfers().await.is_empty());
        receive(&engine, "A/B/<2>", &["po.xml", "plan.pdf"]).await.unwrap();
        scene.until_all(1, TransferState::Completed).await;
        assert_eq!(got(&scene, "out"), files(&["po.xml", "plan.pdf"]));
    }

    a_paused_flow_that_keeps_files_together_is_asked_for_first_files_alone(scene) {
        scene.flow(of_names(together("orders", &["out"]), "*.xml"));
        scene.flow(receiving("each", &["other"]));
        let engine = scene.start().await;
        suspend(&scene, &scene.store, SuspensionKind::Flow, "orders").await;
        follows(&scene, &engine, 1).await;
        let reception = begin_new(&engine, "A/B/<asked>").await;
        let wanted = |names: [&str; 2]| {
            let names = names.map(model::RemotePath::from);
            reception.wanted_files("fake", Some("globex"), &asked(&names, &Map::new()))
        };
        assert_eq!(wanted(["plan.pdf", "po.xml"]), [Wanted::Yes, Wanted::Yes]);
        let wanted = wanted(["po.xml", "plan.pdf"]);
        assert!(matches!(wanted[0], Wanted::Paused(_)), "{wanted:?}");
    }

    the_parts_of_an_offer_stay_together_and_go_the_way_of_failures_together(scene) {
        let parts = ["po.xml", "plan.pdf"].map(|name| ScriptedPart::new(name, name.as_bytes()));
        scene.place("in").offer(ScriptedOffer::file("mail", *b"").with_parts(parts.into()));
        scene.flow(Flow { together: true, ..receiving("failed", &["other"]) });
        let on_failure = Some(OnFailure::Flow("failed".into()));
        scene.flow(Flow { together: true, on_failure, ..flow("orders", &["out"]) });
        scene.place("out").answer(Answer::Fails(Fault::REFUSED));
        let _engine = scene.start().await;
        scene.until("the child is delivered", || async { got(&scene, "other").len() == 2 }).await;
        assert_eq!(got(&scene, "other"), files(&["po.xml", "plan.pdf"]));
        let kinds: Vec<TransferKind> = scene.transfers().await.iter().map(|one| one.kind).collect();
        assert_eq!(kinds.len(), 2, "{kinds:?}");
    }
}
