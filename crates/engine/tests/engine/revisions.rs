//! Transfers end under the revision under which they were recorded, whatever comes into force meanwhile.

use crate::database::both;
use crate::scene::{RETRY, Scene, destination, flow, poll, polling, saying};
use model::definition::{Destination, Flow, FlowSource, PollSource, RetryPolicy, SettleWhen};
use model::{DeliveryState, ErrorKind, Retry, TransferState};
use staging::Disk;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use testkit::defined;
use testkit::fake::{Answer, Fault, MemoryFolder, SPEC, ScriptedOffer};
use transport::folder::{Claim, Overwrite};

const PATIENCE: Duration = Duration::from_secs(5);

/// A destination at an endpoint that gives each delivery a subject.
fn with_subject(endpoint: &str, subject: &str) -> Destination {
    let given = defined::destination(&SPEC, endpoint, &[("subject", subject)]);
    Destination { retry: RETRY, ..given }
}

fn orders(destination: Destination) -> Flow {
    Flow { destinations: vec![destination], ..flow("orders", &[]) }
}

/// Puts a flow in force and waits until its only delivery has failed once.
async fn failed_once(scene: &Scene, flow: Flow) {
    scene.flow(flow);
    scene.place("out").answer(Answer::Fails(Fault::CUT));
    scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
    scene
        .until("it failed once", || async {
            let transfers = scene.transfers().await;
            match transfers.first() {
                Some(transfer) => {
                    scene.store.deliveries(transfer.id).await.unwrap()[0].state == DeliveryState::Retrying
                }
                None => false,
            }
        })
        .await;
}

fn subjects(scene: &Scene) -> Vec<Option<String>> {
    scene.place("out").deliveries().into_iter().map(|seen| seen.subject).collect()
}

fn some(subjects: &[&str]) -> Vec<Option<String>> {
    subjects.iter().map(|subject| Some((*subject).to_owned())).collect()
}

both! {
    a_delivery_is_written_as_its_own_revision_says_also_when_its_destination_is_renamed(scene) {
        scene.flow(orders(with_subject("out", "old")));
        let _engine = scene.start().await;
        failed_once(&scene, orders(with_subject("out", "old"))).await;
        let renamed = Destination { name: "renamed".into(), ..with_subject("out", "new") };
        scene.flow(orders(renamed));
        scene.until_all(1, TransferState::Completed).await;
        assert_eq!(subjects(&scene), some(&["old", "old"]));
        // What comes from now on goes by the new one.
        scene.place("in").offer(ScriptedOffer::file("next.edi", *b"x"));
        let transfers = scene.until_all(2, TransferState::Completed).await;
        assert_eq!(subjects(&scene), some(&["old", "old", "new"]));
        assert!(transfers[0].revision < transfers[1].revision);
    }

    a_delivery_of_a_flow_that_is_gone_ends_also_over_a_restart_and_its_source_is_settled(scene) {
        let after_delivery = |flow| polling(flow, |poll| poll.settle = SettleWhen::AfterDelivery);
        let engine = scene.start().await;
        failed_once(&scene, after_delivery(orders(with_subject("out", "old")))).await;
        scene.define(|all| { all.flows.remove("orders"); });
        scene.pass(Duration::from_secs(2), 4).await;
        engine.stop(PATIENCE).await;
        let _again = scene.start().await;
        scene.until_all(1, TransferState::Completed).await;
        assert_eq!(subjects(&scene), some(&["old", "old"]));
        scene.until("its source is settled", || async { scene.place("in").offers().is_empty() }).await;
    }

    failures_are_retried_as_often_as_the_own_revision_says(scene) {
        let _engine = scene.start().await;
        failed_once(&scene, flow("orders", &["out"])).await;
        scene.place("out").otherwise(Answer::Fails(Fault::CUT));
        let once = Destination { retry: RetryPolicy { attempts: 1, ..RETRY }, ..destination("out") };
        scene.flow(orders(once));
        scene.until_all(1, TransferState::Failed).await;
        assert_eq!(scene.place("out").deliveries().len(), 3);
        scene.place("in").offer(ScriptedOffer::file("next.edi", *b"x"));
        scene.until_all(2, TransferState::Failed).await;
        assert_eq!(scene.place("out").deliveries().len(), 4);
    }

    a_flow_of_an_earlier_revision_is_read_once_for_all_that_go_through_it(scene) {
        scene.flow(orders(with_subject("out", "old")));
        scene.place("out").otherwise(Answer::Fails(Fault::CUT));
        for n in 0..20 {
            scene.place("in").offer(ScriptedOffer::file(format!("{n:02}").as_str(), *b"x"));
        }
        let _engine = scene.start().await;
        scene.until_all(20, TransferState::Delivering).await;
        assert_eq!(scene.flows_read(), 0);
        scene.flow(orders(with_subject("out", "new")));
        scene.place("out").otherwise(Answer::Delivered);
        scene.until_all(20, TransferState::Completed).await;
        // Several at once may ask for it before the first has it.
        assert!((1..=8).contains(&scene.flows_read()), "{}", scene.flows_read());
        assert!(!subjects(&scene).contains(&Some("new".to_owned())));
    }

    a_flow_that_cannot_be_read_here_is_tried_again_and_says_nothing_of_the_endpoint(scene) {
        let engine = scene.start().await;
        failed_once(&scene, orders(with_subject("out", "old"))).await;
        scene.history_broken(true);
        scene.flow(orders(with_subject("out", "new")));
        scene.until("it was tried in vain", || async { scene.events("delivery.retrying").await.len() == 2 }).await;
        let told = &scene.events("delivery.retrying").await[1].detail;
        assert_eq!(told["error_kind"], ErrorKind::ConfigInvalid.as_str());
        assert_eq!(engine.health().snapshot()["out"].failures, 1);
        scene.history_broken(false);
        scene.until_all(1, TransferState::Completed).await;
        assert_eq!(subjects(&scene), some(&["old", "old"]));
    }

    a_node_with_an_older_revision_forgets_nothing_of_flows_that_it_does_not_know(scene) {
        let mut scene = scene;
        let disk = scene.limit_staging(100);
        disk.create(Path::new("/filler"), 0o600).unwrap().write_at(&[0; 60], 0).unwrap();
        let older = tokio::sync::watch::Sender::new(scene.in_force());
        let folder = MemoryFolder::new();
        folder.put("other/po.edi.stage", *b"ISA");
        scene.place("other").use_folder(Arc::new(folder), "other", Overwrite::Refuse);
        scene.place("in").offer(ScriptedOffer::file("large", vec![b'x'; 50]));
        scene.place("out").break_down(Some(Fault { kind: ErrorKind::PermissionDenied, retry: Retry::Permanent }));
        let from = |name: &str, endpoint: &str| Flow {
            source: FlowSource::Poll(PollSource { endpoint: endpoint.to_owned(), ..poll("in") }),
            ..flow(name, &["out"])
        };
        scene.flow(flow("waits", &["out"]));
        scene.flow(saying(from("claims", "other"), |polling| polling.claim = Claim::Rename));
        scene.flow(from("fails", "out"));
        scene.store_revisions().await;
        let behind = scene.prepare_with("n2", scene.another_or_same().await, older.subscribe()).await;
        let _engine = scene.start().await;
        let known = || async {
            let store = &scene.store;
            let waits = store.waiting_for_room().await.unwrap().len();
            (waits, store.claims_left().await.unwrap().len(), store.failing_polls().await.unwrap().len())
        };
        scene.until("all is on record", || async { known().await == (1, 1, 1) }).await;
        behind.start(older.subscribe(), Vec::new()).await.unwrap();
        for _ in 0..40 {
            scene.pass(Duration::from_secs(3), 3).await;
            assert_eq!(known().await, (1, 1, 1));
        }
        // When it has the newest revision too, what that does not have any more is forgotten.
        scene.define(|all| all.flows.clear());
        older.send_replace(scene.in_force());
        scene.until("all is forgotten", || async { known().await == (0, 0, 0) }).await;
    }

    a_delivery_to_an_endpoint_that_is_gone_fails_and_says_so(scene) {
        let _engine = scene.start().await;
        failed_once(&scene, flow("orders", &["out"])).await;
        scene.define(|all| {
            all.flows.remove("orders");
            all.endpoints.remove("out");
        });
        scene.until_all(1, TransferState::Failed).await;
        let failed = &scene.events("delivery.failed").await[0].detail;
        assert!(failed["error"].as_str().unwrap().contains("find an endpoint"), "{failed:?}");
    }
}
