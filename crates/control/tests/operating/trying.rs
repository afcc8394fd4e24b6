//! Testing endpoints and looking at flows' sources by way of the operations: who may, and what is on record.

use crate::support::{World, caller, start, world};
use control::{DryRunFlow, TestEndpoint};
use engine::{StagingRoom, Trial};
use model::definition::{Definitions, Flow};
use model::{ErrorKind, Role};
use staging::{RealDisk, Staging};
use std::sync::Arc;
use testkit::conformance::Interlude;
use testkit::defined;
use testkit::fake::{FakeTransport, SPEC, ScriptedOffer, services};
use transport::{Directory, Services};

struct InForce(Arc<Definitions>);

impl Directory for InForce {
    fn definitions(&self) -> Arc<Definitions> {
        Arc::clone(&self.0)
    }
}

/// The flow `orders` from `dock`, where one file lies, to `warehouse`.
fn trial(world: &World) -> (Trial, Arc<FakeTransport>) {
    let poll = defined::poll("dock", transport::folder::After::Delete);
    let destinations = vec![defined::destination(&SPEC, "warehouse", &[])];
    let flow = Flow { destinations, ..defined::flow("orders", poll) };
    let mut definitions = Definitions::default();
    definitions.flows.insert("orders".into(), Arc::new(flow));
    for name in ["dock", "warehouse"] {
        let endpoint = defined::endpoint(&SPEC, name, "fake:place", &[]);
        definitions.endpoints.insert(name.into(), Arc::new(endpoint));
    }
    let places = FakeTransport::new();
    places.endpoint("dock").offer(ScriptedOffer::file("a.edi", *b"order"));
    let directory = Arc::new(InForce(Arc::new(definitions)));
    let services = Services { directory, ..services(Arc::new(Interlude::default())) };
    let transports: Vec<Arc<dyn transport::Transport>> = vec![places.clone()];
    let staging = world.directory.path().join("staging");
    let staging = Staging::open(&staging, Arc::new(RealDisk), staging::Settings::default()).unwrap();
    let room = Arc::new(StagingRoom::new(staging));
    (Trial { store: world.store.clone(), transports, services, room }, places)
}

fn of_orders() -> DryRunFlow {
    DryRunFlow { flow: "orders".into() }
}

fn of_dock() -> TestEndpoint {
    TestEndpoint { endpoint: "dock".into() }
}

/// Who caused the events of a kind, and about which endpoint.
async fn on_record(world: &World, kind: &str) -> Vec<(String, Option<String>)> {
    let filter = store::EventFilter { kind: Some(kind.to_owned()), ..store::EventFilter::default() };
    let events = world.store.events(&filter, store::Page::first(10)).await.unwrap().rows;
    events.into_iter().map(|event| (event.actor, event.endpoint)).collect()
}

#[tokio::test]
async fn those_who_operate_flows_may_test_endpoints_and_look_at_sources() {
    for role in [Role::Operator, Role::Designer, Role::Admin] {
        let world = world().await;
        let (trial, _places) = trial(&world);
        let caller = caller(role);
        let looked = world.control.dry_run_flow(&caller, &trial, &of_orders()).await.unwrap();
        assert_eq!((looked.takes, looked.files[0].path.as_str()), (1, "a.edi"), "{role}");
        let tested = world.control.test_endpoint(&caller, &trial, &of_dock()).await.unwrap();
        assert!(tested.passed && !tested.steps.is_empty(), "{role}: {tested:?}");
        let by = vec![(caller.actor.to_text(), Some("dock".to_owned()))];
        assert_eq!(on_record(&world, "flow.dry_run").await, by, "{role}");
        assert_eq!(on_record(&world, "endpoint.tested").await, by, "{role}");
    }
}

#[tokio::test]
async fn others_may_not_and_nothing_is_asked_of_the_endpoint() {
    let world = world().await;
    let (trial, places) = trial(&world);
    for role in [Role::Viewer, Role::Auditor] {
        let caller = caller(role);
        let looked = world.control.dry_run_flow(&caller, &trial, &of_orders()).await.unwrap_err();
        let tested = world.control.test_endpoint(&caller, &trial, &of_dock()).await.unwrap_err();
        for refused in [looked, tested] {
            assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{role}");
        }
    }
    assert!(places.endpoint("dock").discoveries().is_empty());
    assert!(on_record(&world, "flow.dry_run").await.is_empty());
    assert!(on_record(&world, "endpoint.tested").await.is_empty());
    assert!(world.store.open_flow_runs(start()).await.unwrap().is_empty());
}
