//! Failure routes: what becomes of a transfer that failed for good.

use crate::database::both;
use crate::scene::{Scene, destination, flow};
use model::definition::{Flow, OnFailure};
use model::{Lifecycle, NameTemplate, TransferKind, TransferState};
use std::time::Duration;
use store::TransferView;
use testkit::fake::{Answer, Fault, ScriptedOffer};

fn to_flow(name: &str, to: &[&str], other: &str) -> Flow {
    Flow { on_failure: Some(OnFailure::Flow(other.into())), ..flow(name, to) }
}

/// A flow to `other` under a name that tells the failure; it polls nothing here.
fn operations(scene: &Scene) -> Flow {
    let mut operations = crate::scene::receiving("operations", &["other"]);
    let name = "{failure.flow}-{failure.destination}-{failure.error}-{name}";
    operations.destinations[0].file_name = Some(NameTemplate::parse(name).unwrap());
    scene.flow(operations.clone());
    operations
}

async fn of_kind(scene: &Scene, kind: TransferKind) -> Vec<TransferView> {
    scene.transfers().await.into_iter().filter(|transfer| transfer.kind == kind).collect()
}

fn names(scene: &Scene, place: &str) -> Vec<String> {
    scene.place(place).received().iter().map(|(_, name, _)| name.to_text()).collect()
}

both! {
    what_failed_for_good_goes_through_another_flow_with_its_cause(scene) {
        operations(&scene);
        scene.flow(to_flow("orders", &["out"], "operations"));
        scene.place("out").answer(Answer::Fails(Fault::REFUSED));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"EDI"));
        let _engine = scene.start().await;
        scene.until("it arrives", || async { names(&scene, "other") == ["orders-out-rejected-po.edi"] }).await;
        scene.until("it is recorded", || async {
            of_kind(&scene, TransferKind::Failure).await.iter().all(|child| child.state == TransferState::Completed)
        })
        .await;
        let parent = of_kind(&scene, TransferKind::Payload).await.remove(0);
        let child = of_kind(&scene, TransferKind::Failure).await.remove(0);
        assert_eq!((parent.state, child.flow.as_str()), (TransferState::Failed, "operations"));
        assert_eq!(&*scene.place("other").received()[0].2, b"EDI");
        let (of_parent, of_child) = (scene.waybill(parent.id).await, scene.waybill(child.id).await);
        assert_eq!(of_parent.children.iter().map(|child| child.id).collect::<Vec<_>>(), [child.id]);
        let recorded = of_child.events.iter().find(|event| event.kind == "transfer.recorded").unwrap();
        assert_eq!(recorded.detail["parent"], parent.id.to_string());
        assert_eq!(recorded.detail["failure"]["destination"], "out");
        let failed = scene.events("transfer.failed").await;
        assert_eq!(failed[0].detail["failure_route"], child.id.to_string());
        // A person's retry that succeeds makes no other.
        scene.store.retry_transfer(parent.id, &scene.act(), None).await.unwrap();
        scene.until("it is delivered", || async { scene.place("out").received().len() == 1 }).await;
        scene.pass(Duration::from_secs(20), 10).await;
        assert_eq!(of_kind(&scene, TransferKind::Failure).await.len(), 1);
    }

    a_destination_for_failures_gets_nothing_else(scene) {
        let on_failure = Some(OnFailure::Destination("other".into()));
        scene.flow(Flow { on_failure, ordered: true, ..flow("orders", &["out", "other"]) });
        scene.place("out").answer(Answer::Delivered);
        scene.place("out").answer(Answer::Fails(Fault::REFUSED));
        for name in ["1", "2"] {
            scene.place("in").offer(ScriptedOffer::file(name, *b"EDI"));
        }
        let _engine = scene.start().await;
        scene.until("it arrives", || async { names(&scene, "other") == ["2"] }).await;
        scene.until("all ended", || async { scene.transfers().await.iter().all(|t| t.state.is_final()) }).await;
        let children = of_kind(&scene, TransferKind::Failure).await;
        assert_eq!((children.len(), children[0].flow.as_str()), (1, "orders"));
        assert_eq!(names(&scene, "out"), ["1"]);
    }

    one_of_several_that_fails_or_expires_is_enough_and_routes_may_follow_each_other(scene) {
        scene.define(|all| {
            for name in ["last", "more"] {
                all.endpoints.insert(name.into(), crate::scene::endpoint(name));
            }
        });
        let mut middle = crate::scene::receiving("middle", &["other"]);
        middle.on_failure = Some(OnFailure::Flow("last".into()));
        scene.flow(crate::scene::receiving("last", &["last"]));
        scene.flow(middle);
        let mut orders = to_flow("orders", &["out", "more"], "middle");
        orders.destinations[0] = model::definition::Destination {
            expires_after: Some(Duration::from_secs(30)),
            ..destination("out")
        };
        orders.destinations[0].retry.first = Duration::from_secs(600);
        orders.destinations[0].retry.longest = Duration::from_secs(600);
        scene.flow(orders);
        scene.place("out").otherwise(Answer::Fails(Fault::CUT));
        scene.place("other").answer(Answer::Fails(Fault::REFUSED));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"EDI"));
        let _engine = scene.start().await;
        scene.until("it comes to the end", || async { names(&scene, "last") == ["po.edi"] }).await;
        let children = of_kind(&scene, TransferKind::Failure).await;
        let flows: Vec<_> = children.iter().map(|child| child.flow.clone()).collect();
        assert_eq!(flows, ["middle", "last"]);
        let parent = of_kind(&scene, TransferKind::Payload).await.remove(0);
        assert_eq!(parent.state, TransferState::PartlyFailed);
        let recorded = scene.events("transfer.recorded").await;
        assert!(recorded.iter().any(|event| event.detail.get("failure").is_some_and(|why| why["error_kind"] == "expired")), "{recorded:?}");
    }

    what_a_person_cancels_goes_nowhere(scene) {
        operations(&scene);
        scene.flow(to_flow("orders", &["out"], "operations"));
        scene.place("out").otherwise(Answer::Fails(Fault::CUT));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"EDI"));
        let _engine = scene.start().await;
        scene.until("it is tried", || async { !scene.place("out").deliveries().is_empty() }).await;
        let id = scene.transfers().await[0].id;
        scene.store.hold_transfer(id, &scene.act()).await.unwrap();
        scene.store.cancel_transfer(id, &scene.act()).await.unwrap();
        scene.pass(Duration::from_secs(100), 30).await;
        assert_eq!(scene.transfers().await.len(), 1);
    }
}
