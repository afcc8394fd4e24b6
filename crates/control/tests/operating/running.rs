//! Running flows by way of the operations: who may, what is refused, what is answered.

use crate::support::{caller, start, world};
use control::{FlowRunAnswer, PauseFlow, RunFlow, SetOffline};
use model::{ErrorKind, PollReport, Role};
use std::time::Duration;
use store::{Acquired, FlowRunResult};
use uuid::Uuid;

fn run(flow: &str, wait_seconds: u64) -> RunFlow {
    RunFlow { flow: flow.into(), wait_seconds }
}

#[tokio::test]
async fn a_run_is_asked_for_on_record_and_answered_by_the_node_that_polls() {
    let world = world().await;
    let (control, operator) = (world.control.clone(), caller(Role::Operator));
    let asked = tokio::spawn({
        let operator = operator.clone();
        async move { control.run_flow(&operator, &run("orders", 60)).await }
    });
    let open = loop {
        if let [open] = &world.store.open_flow_runs(start()).await.unwrap()[..] {
            break open.clone();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let acquired =
        world.store.acquire_node(&"n1".parse().unwrap(), Duration::from_secs(60), start(), Uuid::nil()).await;
    let Acquired::Held(lease) = acquired.unwrap() else { unreachable!() };
    assert!(world.store.begin_flow_run(open.id, &lease, start()).await.unwrap());
    let report = PollReport { taken: 3, ..PollReport::default() };
    let result = FlowRunResult::Polled(report.clone());
    assert!(world.store.end_flow_run(open.id, &lease, result, start(), vec![]).await.unwrap());
    assert_eq!(asked.await.unwrap().unwrap(), FlowRunAnswer::Polled { node: "n1".into(), report });
    let filter = store::EventFilter { kind: Some("flow.run_requested".into()), ..Default::default() };
    let events = world.store.events(&filter, store::Page::first(10)).await.unwrap().rows;
    assert_eq!((events.len(), &events[0].actor), (1, &operator.actor.to_text()));
    assert_eq!(events[0].detail["run"], open.id.to_string());
}

#[tokio::test]
async fn the_wait_for_a_run_is_bounded() {
    let world = world().await;
    let answer = world.control.run_flow(&caller(Role::Admin), &run("orders", 1)).await.unwrap();
    assert_eq!(answer, FlowRunAnswer::NotBegun);
    assert!(!answer.succeeded());
    assert!(world.store.open_flow_runs(start() + Duration::from_secs(1)).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_cannot_run_is_refused_with_what_helps() {
    let world = world().await;
    let (control, operator) = (&world.control, caller(Role::Operator));
    let refused = async |flow: &str| control.run_flow(&operator, &run(flow, 60)).await.unwrap_err();
    assert_eq!(
        control.run_flow(&caller(Role::Viewer), &run("orders", 60)).await.unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
    assert!(refused("order").await.chain().contains("did you mean 'orders'?"));
    let receives = refused("inbound").await;
    assert!(receives.kind() == ErrorKind::Rejected && receives.chain().contains("receives from a listener"));
    let offline = SetOffline { endpoint: "dock".into(), reason: "inventory".into() };
    control.set_endpoint_offline(&operator, &offline).await.unwrap();
    assert!(refused("orders").await.chain().contains("`waybill endpoint online dock` ends that"));
    let pause = PauseFlow { flow: "orders".into(), reason: "the partner moves".into() };
    control.pause_flow(&operator, &pause).await.unwrap();
    let paused = refused("orders").await.chain();
    assert!(
        paused.contains("the partner moves") && paused.contains("`waybill flow resume orders`"),
        "{paused}"
    );
    assert!(world.store.open_flow_runs(start()).await.unwrap().is_empty());
}
