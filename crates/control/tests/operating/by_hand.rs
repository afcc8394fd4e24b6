//! Files and test messages that a person sends: who may, where to, and what is recorded.

use crate::support::{World, bare_world, caller};
use control::{ChooseEndpoint, FileToSend, SetOffline, StagedPayloads, explain, is_test_name};
use model::{ByHand, DeliveryState, ErrorKind, PayloadId, Role, TransferKind};
use serde_json::json;
use staging::{RealDisk, Staging};
use std::sync::Arc;
use uuid::Uuid;

async fn partners() -> World {
    let world = bare_world().await;
    let endpoint =
        json!({"transport": "as2", "url": "http://127.0.0.1:9/as2", "partner": "globex", "identity": "acme"});
    world.define("endpoint", "globex-as2", endpoint).await;
    world.define("partner", "globex", json!({"as2": {"id": "GLOBEX"}})).await;
    world.define("identity", "acme", json!({"as2": {"id": "ACME"}})).await;
    world
}

fn payloads(world: &World) -> (StagedPayloads, Staging) {
    let settings = staging::Settings { min_free: 0, ..staging::Settings::default() };
    let staging =
        Staging::open(&world.directory.path().join("staging"), Arc::new(RealDisk), settings).unwrap();
    (StagedPayloads::new(staging.clone()), staging)
}

fn to_globex() -> ChooseEndpoint {
    ChooseEndpoint { transport: "as2".into(), partner: Some("globex".into()), ..ChooseEndpoint::default() }
}

#[tokio::test]
async fn a_test_message_is_staged_recorded_and_open_until_a_gateway_sends_it() {
    let world = partners().await;
    let (control, operator) = (&world.control, caller(Role::Operator));
    let to = control.choose_endpoint(&operator, &to_globex()).await.unwrap();
    let (payloads, staging) = payloads(&world);
    let sent = control.send_test_message(&operator, &payloads, &to).await.unwrap();
    assert_eq!((sent.endpoint.as_str(), sent.partner.as_deref()), ("globex-as2", Some("globex")));
    let transfer = world.store.transfer(sent.transfer).await.unwrap().unwrap();
    assert_eq!(transfer.kind, TransferKind::ByHand);
    assert_eq!(ByHand::of(&transfer.flow), Some(ByHand { endpoint: "globex-as2", is_test: true }));
    assert!(is_test_name(&transfer.payload.file_name.to_text()));
    assert!(staging.holds(transfer.payload.id).unwrap());
    let mut content = String::new();
    std::io::Read::read_to_string(&mut payloads.open(&transfer.payload).unwrap(), &mut content).unwrap();
    assert!(content.contains("TEST message"), "{content}");
    let waybill = world.store.waybill(sent.transfer).await.unwrap().unwrap();
    let explained = explain(&waybill).unwrap();
    assert_eq!((explained.state, explained.passed), (DeliveryState::Pending, None));
    let event = &waybill.events[0];
    assert_eq!((event.kind.as_str(), &event.actor), ("transfer.recorded", &operator.actor.to_text()));
}

#[tokio::test]
async fn only_those_who_may_operate_transfers_send_files() {
    let world = partners().await;
    let (payloads, staging) = payloads(&world);
    let to = world.control.choose_endpoint(&caller(Role::Operator), &to_globex()).await.unwrap();
    for role in [Role::Viewer, Role::Auditor] {
        let refused = world.control.choose_endpoint(&caller(role), &to_globex()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
        let refused = world.control.send_test_message(&caller(role), &payloads, &to).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    }
    let file = FileToSend {
        file_name: "po.edi".into(),
        media_type: None,
        subject: Some("Orders".into()),
        payload: PayloadId::new(Uuid::now_v7()),
        length: 8,
        sha256: payloads.stage(PayloadId::new(Uuid::now_v7()), b"an order").unwrap(),
        request: Uuid::now_v7(),
        reason: Some("asked for by telephone".into()),
    };
    let refused = world.control.send_file(&caller(Role::Viewer), &to, &file).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    let designer = caller(Role::Designer);
    let first = world.control.send_file(&designer, &to, &file).await.unwrap();
    let again = world.control.send_file(&designer, &to, &file).await.unwrap();
    assert_eq!((first.transfer, first.recorded, again.recorded), (again.transfer, true, false));
    let transfer = world.store.transfer(first.transfer).await.unwrap().unwrap();
    assert_eq!(transfer.metadata["chosen_subject"], "Orders");
    assert!(!staging.holds(file.payload).unwrap(), "this one was never staged");
}

#[tokio::test]
async fn nothing_is_sent_to_an_endpoint_that_a_person_set_offline() {
    let world = partners().await;
    let operator = caller(Role::Operator);
    let offline = SetOffline { endpoint: "globex-as2".into(), reason: "the partner moves".into() };
    world.control.set_endpoint_offline(&operator, &offline).await.unwrap();
    let refused = world.control.choose_endpoint(&operator, &to_globex()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Rejected);
    let words = refused.chain();
    assert!(
        words.contains("the partner moves") && words.contains("`waybill endpoint online globex-as2`"),
        "{words}"
    );
}
