//! Flows that choose by the metadata of what is received.

use crate::database::both;
use crate::receiving::{begin_new, message, part, reply};
use crate::scene::{Scene, receiving};
use crate::together::asked;
use engine::Engine;
use model::definition::{Flow, FlowSource, ReceiveSource};
use model::{Mask, MaskSpec, MetadataConditions, NameTemplate, RemotePath, TransferId, TransferState};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use transport::{Message, Wanted};

/// The same flow, for metadata of which the value of a key matches a mask.
fn where_matches(flow: Flow, key: &str, mask: &str) -> Flow {
    let FlowSource::Receive(source) = &flow.source else { panic!("it polls") };
    let mask = Mask::of_text(&MaskSpec { include: vec![mask.into()], ..MaskSpec::default() }).unwrap();
    let conditions = MetadataConditions::new(BTreeMap::from([(key.to_owned(), mask)]));
    let source = FlowSource::Receive(ReceiveSource { conditions, ..source.clone() });
    Flow { source, ..flow }
}

fn map(metadata: &Value) -> Map<String, Value> {
    metadata.as_object().unwrap().clone()
}

async fn receive(
    engine: &Engine,
    key: &str,
    of_message: &Value,
    own: &Value,
) -> model::Result<Vec<TransferId>> {
    let mut reception = begin_new(engine, key).await;
    let (mut part, _) = part(&mut reception, "po.edi").await;
    part.metadata = map(own);
    let message = Message { metadata: map(of_message), ..message(vec![part]) };
    reception.commit(message, reply("done")).await
}

fn names(scene: &Scene, place: &str) -> Vec<String> {
    scene.place(place).received().iter().map(|(_, name, _)| name.to_text().to_string()).collect()
}

both! {
    flows_of_one_listener_and_partner_are_chosen_by_metadata(scene) {
        let mut orders = where_matches(receiving("orders", &["out"]), "form_application", "ORDERS*");
        orders.destinations[0].file_name =
            Some(NameTemplate::parse("{metadata.form_application}-{stem}{metadata.missing}{ext}").unwrap());
        scene.flow(orders);
        scene.flow(where_matches(receiving("urgent", &["other"]), "as2_subject", "*urgent/*"));
        let engine = scene.start().await;

        let reception = begin_new(&engine, "A/B/<asked>").await;
        let wanted = |metadata: Value| {
            let metadata = map(&metadata);
            let wanted = reception.wanted("fake", Some("globex"), &"po.edi".into(), &metadata);
            let names = [RemotePath::from("po.edi")];
            let files = reception.wanted_files("fake", Some("globex"), &asked(&names, &metadata));
            assert_eq!(files, std::slice::from_ref(&wanted));
            wanted
        };
        assert_eq!(wanted(json!({ "form_application": "ORDERS-1" })), Wanted::Yes);
        assert_eq!(wanted(json!({ "as2_subject": "an urgent/one" })), Wanted::Yes);
        let Wanted::No(why) = wanted(json!({ "form_application": "INVOIC" })) else { panic!("wanted") };
        for words in [
            "flow orders would, but form_application is \"INVOIC\", and must match \"ORDERS*\"",
            "flow urgent would, but as2_subject is missing",
        ] {
            assert!(why.contains(words), "{why}");
        }
        let unknown = reception.wanted("other", Some("globex"), &"po.edi".into(), &Map::new());
        assert!(matches!(&unknown, Wanted::No(why) if why.contains("this listener")), "{unknown:?}");
        drop(reception);

        let refused = receive(&engine, "A/B/<1>", &json!({ "form_application": "INVOIC" }), &json!({})).await;
        let refused = refused.unwrap_err().chain();
        assert!(refused.contains("form_application is \"INVOIC\""), "{refused}");
        assert!(scene.transfers().await.is_empty());

        // What a part says of itself counts more than what its message says.
        let invoice = json!({ "form_application": "INVOIC" });
        receive(&engine, "A/B/<2>", &invoice, &json!({ "form_application": "ORDERS/1" })).await.unwrap();
        receive(&engine, "A/B/<3>", &json!({ "as2_subject": "urgent/" }), &json!({})).await.unwrap();
        scene.until_all(2, TransferState::Completed).await;
        assert_eq!(names(&scene, "out"), ["ORDERS_1-po.edi"]);
        assert_eq!(names(&scene, "other"), ["po.edi"]);
    }

    a_paused_flow_is_asked_for_what_it_would_take_alone(scene) {
        scene.flow(where_matches(receiving("orders", &["out"]), "form_application", "ORDERS*"));
        scene.flow(receiving("each", &["other"]));
        let engine = scene.start().await;
        crate::operating::suspend(&scene, &scene.store, model::SuspensionKind::Flow, "orders").await;
        crate::operating::follows(&scene, &engine, 1).await;
        let reception = begin_new(&engine, "A/B/<asked>").await;
        let wanted = |metadata: Value| reception.wanted("fake", Some("globex"), &"po.edi".into(), &map(&metadata));
        assert_eq!(wanted(json!({})), Wanted::Yes);
        assert!(matches!(wanted(json!({ "form_application": "ORDERS" })), Wanted::Paused(_)));
    }
}
