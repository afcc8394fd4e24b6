//! Beginning, ending and beginning again; revisions; two nodes on one database.

use crate::database::both;
use crate::scene::{LEASE, Scene, endpoint, flow, polling};
use model::definition::{Endpoint, Flow};
use model::{DeliveryState, TransferState};
use std::sync::Arc;
use std::time::Duration;
use testkit::fake::{Answer, Fault, ScriptedOffer, Settling};

const PATIENCE: Duration = Duration::from_secs(5);

async fn sending(scene: &Scene, place: &str, count: usize) {
    scene.until("it is being sent", || async { scene.place(place).deliveries().len() == count }).await;
}

both! {
    an_end_in_order_lets_what_is_under_way_end(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("out").answer(Answer::Later(Duration::from_secs(5), Box::new(Answer::Delivered)));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
        let engine = scene.start().await;
        sending(&scene, "out", 1).await;
        let stopping = tokio::spawn(engine.stop(PATIENCE));
        scene.until("it stopped", || async { stopping.is_finished() }).await;
        assert_eq!(scene.transfers().await[0].state, TransferState::Completed);
        assert_eq!(scene.events("node.stopped").await.len(), 1);
    }

    what_did_not_end_in_time_acts_no_more_and_is_taken_up_at_the_next_start(scene) {
        scene.flow(flow("orders", &["out"]));
        let go = Arc::new(tokio::sync::Notify::new());
        let waits = Arc::clone(&go);
        let acted = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let acts = Arc::clone(&acted);
        scene.place("out").answer(Answer::Call(Arc::new(move |delivery, _| {
            let (waits, acts) = (Arc::clone(&waits), Arc::clone(&acts));
            Box::pin(async move {
                waits.notified().await;
                delivery.log.may_act()?;
                acts.store(true, std::sync::atomic::Ordering::SeqCst);
                std::future::pending().await
            })
        })));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
        let engine = scene.start().await;
        sending(&scene, "out", 1).await;
        engine.stop(Duration::from_millis(100)).await;
        go.notify_one();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!acted.load(std::sync::atomic::Ordering::SeqCst));
        let _again = scene.start().await;
        scene.until_all(1, TransferState::Completed).await;
        assert!(scene.place("out").deliveries()[1].interrupted);
        assert_eq!(scene.place("out").received().len(), 1);
    }

    a_lost_lease_ends_what_hangs_under_it_and_it_is_tried_again(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("out").answer(Answer::Hangs);
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
        let _engine = scene.start().await;
        sending(&scene, "out", 1).await;
        // Another node finds the lease lapsed and fences this one.
        scene.fence(&scene.another_or_same().await).await;
        scene.until_by(Duration::from_secs(3600), "it is taken up under a new epoch", || async {
            scene.place("out").deliveries().len() == 2
        }).await;
        scene.until_all(1, TransferState::Completed).await;
        let seen = scene.place("out").deliveries();
        assert!(seen[1].epoch > seen[0].epoch && seen[1].interrupted);
    }

    a_lost_lease_ends_a_settling_that_hangs_under_it(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x").settling([Settling::Hangs]));
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Completed).await;
        scene.fence(&scene.another_or_same().await).await;
        scene.until_by(Duration::from_secs(3600), "it is settled under a new epoch", || async {
            scene.events("offer.settled").await.len() == 1
        }).await;
        assert!(scene.place("in").offers().is_empty());
        assert!(scene.events("offer.settle_failed").await.is_empty());
    }

    a_node_without_a_renewed_lease_publishes_nothing(scene) {
        scene.flow(flow("orders", &["out"]));
        let (noted, go) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
        let (note, wait) = (Arc::clone(&noted), Arc::clone(&go));
        scene.place("out").answer(Answer::Call(Arc::new(move |delivery, _| {
            let (note, wait) = (Arc::clone(&note), Arc::clone(&wait));
            Box::pin(async move {
                note.notify_one();
                wait.notified().await;
                delivery.log.may_act()?;
                panic!("it acted");
            })
        })));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
        let _engine = scene.start().await;
        sending(&scene, "out", 1).await;
        noted.notified().await;
        // Another process takes the node's name over, and lives: no renewal succeeds.
        scene.supplant(&scene.store).await;
        scene.clock.advance(LEASE / 2);
        go.notify_one();
        scene.pass(Duration::from_secs(100), 20).await;
        assert!(scene.place("out").received().is_empty());
        assert_eq!(scene.place("out").deliveries().len(), 1);
        // It was given up by the fence, and nobody else is there to take it up.
        let id = scene.transfers().await[0].id;
        assert_eq!(scene.store.deliveries(id).await.unwrap()[0].state, DeliveryState::Retrying);
    }

    a_revision_starts_and_stops_pollers(scene) {
        scene.place("in").offer(ScriptedOffer::file("a", *b"x"));
        let _engine = scene.start().await;
        scene.pass(Duration::from_secs(20), 20).await;
        assert!(scene.transfers().await.is_empty());
        scene.flow(flow("orders", &["out"]));
        scene.until_all(1, TransferState::Completed).await;
        scene.flow(Flow { enabled: false, ..flow("orders", &["out"]) });
        scene.pass(Duration::from_secs(3), 10).await;
        scene.place("in").offer(ScriptedOffer::file("b", *b"x"));
        scene.pass(Duration::from_secs(40), 20).await;
        assert_eq!(scene.transfers().await.len(), 1);
        scene.flow(flow("orders", &["other"]));
        scene.until_all(2, TransferState::Completed).await;
        assert_eq!(scene.place("other").received().len(), 1);
    }

    revisions_in_the_midst_of_work_lose_nothing(scene) {
        scene.flow(flow("orders", &["out"]));
        for n in 0..20 {
            let settlings = [Settling::Fails(Fault::CUT)];
            scene.place("in").offer(ScriptedOffer::file(format!("{n}").as_str(), *b"x").settling(settlings));
        }
        let _engine = scene.start().await;
        for n in 0..30 {
            // Each changes the flow, so that its poller ends in the middle of whatever it does.
            scene.flow(Flow { title: Some(n.to_string()), ..flow("orders", &["out"]) });
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
        scene.until_all(20, TransferState::Completed).await;
        scene.until("all are settled", || async { scene.place("in").offers().is_empty() }).await;
        assert_eq!(scene.place("out").received().len(), 20);
    }

    a_revision_touches_only_what_it_changes(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.flow(polling(flow("other", &["out"]), |poll| poll.endpoint = "elsewhere".into()));
        let _engine = scene.start().await;
        scene.until("both poll", || async { scene.sources_made() >= 2 }).await;
        let before = scene.sources_made();
        for n in 0..5 {
            scene.flow(Flow { title: Some(n.to_string()), ..flow("orders", &["out"]) });
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        scene.until("the changed one polls anew", || async { scene.sources_made() > before }).await;
        // At most one for each revision: the other flow's poller and its source go on.
        assert!(scene.sources_made() <= before + 5, "{} then {}", before, scene.sources_made());
    }

    what_is_another_nodes_is_left_to_it(scene) {
        let pinned = |name: &str| Arc::new(Endpoint { node: Some("n2".into()), ..Endpoint::clone(&endpoint(name)) });
        scene.flow(flow("orders", &["out"]));
        scene.place("in").offer(ScriptedOffer::file("a", *b"x").settling([Settling::Fails(Fault::CUT)]));
        scene.place("out").answer(Answer::Fails(Fault::CUT));
        let _engine = scene.start().await;
        scene.until("both failed once", || async {
            scene.place("in").settled().len() == 1 && scene.place("out").deliveries().len() == 1
        }).await;
        scene.define(|all| {
            all.endpoints.insert("in".into(), pinned("in"));
            all.endpoints.insert("out".into(), pinned("out"));
        });
        scene.pass(Duration::from_secs(120), 60).await;
        assert_eq!((scene.place("in").settled().len(), scene.place("out").deliveries().len()), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_share_the_work_and_do_nothing_twice() {
    let scene = Scene::postgres().await;
    scene.flow(flow("orders", &["out", "other"]));
    for n in 0..60 {
        scene.place("in").offer(ScriptedOffer::file(format!("{n:02}").as_str(), *b"x"));
    }
    let short = Answer::Later(Duration::from_millis(300), Box::new(Answer::Delivered));
    scene.place("out").otherwise(short.clone());
    scene.place("other").otherwise(short);
    let one = scene.start().await;
    let two = scene.prepare("n2", scene.another_store().await).await;
    scene.run(&two).await;
    scene.until_all(60, TransferState::Completed).await;
    for place in ["out", "other"] {
        assert_eq!(scene.place(place).deliveries().len(), 60);
        let nodes: std::collections::BTreeSet<String> =
            scene.place(place).deliveries().iter().map(|seen| seen.node.to_string()).collect();
        assert_eq!(nodes.len(), 2, "{nodes:?}");
    }
    assert_eq!(scene.place("in").opened().len(), 60);
    // The poller's node ends in order; the other takes its source over.
    one.stop(PATIENCE).await;
    scene.place("in").offer(ScriptedOffer::file("late", *b"x"));
    scene.until_all(61, TransferState::Completed).await;
    two.stop(PATIENCE).await;
}
