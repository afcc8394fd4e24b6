//! Pausing flows and setting endpoints offline by way of the operations: who may, what is refused, what is on record.

use crate::support::{World, caller, start, world};
use control::{Caller, ListEndpoints, PauseFlow, ResumeFlow, SetOffline, SetOnline};
use model::{Actor, ErrorKind, EventKind, Role, SuspensionKind};

fn pause(flow: &str, reason: &str) -> PauseFlow {
    PauseFlow { flow: flow.into(), reason: reason.into() }
}

fn resume(flow: &str) -> ResumeFlow {
    ResumeFlow { flow: flow.into(), reason: Some("they are done".into()) }
}

async fn events(world: &World, kind: &str) -> Vec<store::EventView> {
    let filter = store::EventFilter { kind: Some(kind.to_owned()), ..store::EventFilter::default() };
    world.store.events(&filter, store::Page::first(10)).await.unwrap().rows
}

#[tokio::test]
async fn a_flow_is_paused_and_resumed_on_record() {
    let world = world().await;
    let (control, operator) = (&world.control, caller(Role::Operator));
    let paused = control.pause_flow(&operator, &pause("orders", " the partner moves ")).await.unwrap();
    assert_eq!((paused.kind, paused.name.as_str(), paused.since), (SuspensionKind::Flow, "orders", start()));
    assert_eq!((&paused.by, paused.reason.as_deref()), (&operator.actor, Some("the partner moves")));
    let list = control.flows(&caller(Role::Viewer)).await.unwrap().flows;
    let shown: Vec<_> = list.iter().map(|flow| (flow.name.as_str(), flow.paused.is_some())).collect();
    assert_eq!(shown, [("inbound", false), ("orders", true)]);
    assert_eq!(list[1].source.as_ref().unwrap().name(), "dock");
    assert_eq!(list[1].destinations, ["warehouse", "archive"]);
    let again = control.pause_flow(&operator, &pause("orders", "twice")).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);

    let ended = control.resume_flow(&operator, &resume("orders")).await.unwrap();
    assert_eq!(ended, paused);
    let wrong = control.resume_flow(&operator, &resume("orders")).await.unwrap_err();
    assert!(
        wrong.kind() == ErrorKind::NotFound && wrong.chain().contains("it is not paused"),
        "{}",
        wrong.chain()
    );
    let event = &events(&world, "flow.paused").await[0];
    assert_eq!(event.actor, operator.actor.to_text());
    assert_eq!(
        (event.flow.as_deref(), &event.detail["reason"]),
        (Some("orders"), &"the partner moves".into())
    );
    assert_eq!(events(&world, "flow.resumed").await[0].detail["reason"], "they are done");
    assert_eq!(events(&world, "flow.").await.len(), 2, "what was refused left nothing");
}

#[tokio::test]
async fn a_paused_flow_that_is_removed_is_listed_and_can_be_resumed() {
    let world = world().await;
    let (control, operator) = (&world.control, caller(Role::Operator));
    control.pause_flow(&operator, &pause("orders", "the partner moves")).await.unwrap();
    world.remove("flow", "orders").await;
    let flow = control.flow(&operator, "orders").await.unwrap();
    assert!(!flow.defined && flow.paused.is_some(), "{flow:?}");
    // Not defined, a flow can no longer be paused; but a pause can be ended.
    control.resume_flow(&operator, &resume("orders")).await.unwrap();
    let gone = control.resume_flow(&operator, &resume("orders")).await.unwrap_err();
    assert!(gone.chain().contains("`waybill flow list` shows the one that is defined"), "{}", gone.chain());
    assert_eq!(control.flow(&operator, "orders").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn an_endpoint_is_set_offline_and_online_on_record() {
    let world = world().await;
    let (control, operator) = (&world.control, caller(Role::Operator));
    let request = SetOffline { endpoint: "warehouse".into(), reason: "inventory".into() };
    let offline = control.set_endpoint_offline(&operator, &request).await.unwrap();
    let list = control.endpoints(&operator, &ListEndpoints::default()).await.unwrap().endpoints;
    let shown: Vec<_> =
        list.iter().map(|e| (e.name.as_str(), e.offline.is_some(), e.used_by.len())).collect();
    assert_eq!(shown, [("archive", false, 1), ("dock", false, 1), ("warehouse", true, 2)]);
    let online = SetOnline { endpoint: "warehouse".into(), reason: None };
    assert_eq!(control.set_endpoint_online(&operator, &online).await.unwrap(), Some(offline));
    // Also one that only failures took offline: nodes are told, and it is on record.
    assert_eq!(control.set_endpoint_online(&operator, &online).await.unwrap(), None);
    assert_eq!(events(&world, "endpoint.set_online").await.len(), 2);
    let event = &events(&world, "endpoint.set_offline").await[0];
    assert_eq!(
        (event.endpoint.as_deref(), &event.detail["reason"]),
        (Some("warehouse"), &"inventory".into())
    );
    let unknown = SetOnline { endpoint: "warehous".into(), reason: None };
    let error = control.set_endpoint_online(&operator, &unknown).await.unwrap_err().chain();
    assert!(error.contains("did you mean 'warehouse'?"), "{error}");
}

#[tokio::test]
async fn endpoints_that_failures_took_offline_are_listed_with_node_time_and_error() {
    let world = world().await;
    let moment = |seconds: i64| {
        let away = std::time::Duration::from_secs(seconds.unsigned_abs());
        if seconds < 0 { start() - away } else { start() + away }
    };
    let event = |node: &str, seconds: i64, kind| {
        let id = model::EventId::new(uuid::Uuid::now_v7());
        model::AuditEvent::new(id, moment(seconds), node.parse().unwrap(), kind).endpoint("warehouse")
    };
    let went_offline = async |node: &str, seconds: i64, until: i64| {
        let error = format!("refused at {seconds}");
        let offline = store::WentOffline {
            endpoints: vec!["warehouse".to_owned()],
            node: node.parse().unwrap(),
            at: moment(seconds),
            until: moment(until),
            failures: 3,
            revision: 1,
            error: Some(error),
        };
        let event = event(node, seconds, EventKind::EndpointOffline);
        world.store.endpoints_went_offline(offline, event).await.unwrap();
    };
    let came_online = async |node: &str, seconds: i64| {
        let event = event(node, seconds, EventKind::EndpointOnline);
        let endpoints = vec!["warehouse".to_owned()];
        world.store.endpoints_came_online(endpoints, &node.parse().unwrap(), event).await.unwrap();
    };
    // On n1 twice since it was last online; n2 has it online again; on n3 it is about to be tried again.
    went_offline("n1", -900, -800).await;
    came_online("n1", -700).await;
    went_offline("n1", -300, -200).await;
    went_offline("n1", -100, 200).await;
    went_offline("n2", -100, 200).await;
    came_online("n2", -50).await;
    went_offline("n3", -100, -10).await;
    let listed = async || {
        let list = world.control.endpoints(&caller(Role::Viewer), &ListEndpoints::default()).await.unwrap();
        list.endpoints.into_iter().flat_map(|endpoint| endpoint.failing).collect::<Vec<_>>()
    };
    let found = listed().await;
    assert_eq!(found.len(), 1, "{found:?}");
    let seconds = |at: model::Timestamp| (at - start()).num_seconds();
    assert_eq!((found[0].endpoint.as_str(), found[0].node.as_str()), ("warehouse", "n1"));
    assert_eq!((seconds(found[0].since), seconds(found[0].until)), (-300, 200));
    assert_eq!(found[0].error.as_deref(), Some("refused at -100"));
    // A person sets it online: that ends it on every node.
    let online = SetOnline { endpoint: "warehouse".into(), reason: None };
    world.control.set_endpoint_online(&caller(Role::Operator), &online).await.unwrap();
    assert!(listed().await.is_empty());
}

#[tokio::test]
async fn what_a_role_may_not_do_or_has_no_reason_changes_nothing() {
    let world = world().await;
    let control = &world.control;
    for role in [Role::Viewer, Role::Auditor] {
        let caller = Caller { actor: Actor::User("vera".into()), role };
        let refused = [
            control.pause_flow(&caller, &pause("orders", "x")).await.unwrap_err(),
            control.resume_flow(&caller, &resume("orders")).await.unwrap_err(),
            control
                .set_endpoint_offline(&caller, &SetOffline { endpoint: "dock".into(), reason: "x".into() })
                .await
                .unwrap_err(),
            control
                .set_endpoint_online(&caller, &SetOnline { endpoint: "dock".into(), reason: None })
                .await
                .unwrap_err(),
        ];
        assert!(refused.iter().all(|error| error.kind() == ErrorKind::PermissionDenied), "{role}");
    }
    let long = "x".repeat(501);
    for reason in ["", "  ", "two\nlines", &long] {
        let error = control.pause_flow(&caller(Role::Admin), &pause("orders", reason)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{reason:?}");
    }
    let error = control.pause_flow(&caller(Role::Admin), &pause("order", "x")).await.unwrap_err().chain();
    assert!(error.contains("did you mean 'orders'?"), "{error}");
    assert!(world.store.suspensions().await.unwrap().is_empty());
    assert!(events(&world, "flow.").await.is_empty());
}
