//! What people decide about flows and endpoints while the engine runs, and before it starts.

use crate::database::both;
use crate::scene::{Scene, endpoint, flow, polling, receiving, saying};
use engine::Engine;
use model::schedule::Schedule;
use model::{Actor, ErrorKind, PollReport, SkipReason, Suspension, SuspensionKind, TransferState};
use serde_json::Map;
use std::sync::Arc;
use std::time::Duration;
use store::{EndSuspension, FlowRunResult, NewFlowRun, Store};
use testkit::defined;
use testkit::fake::{Answer, Fault, MemoryFolder, SPEC, ScriptedOffer};
use transport::folder::{Empty, Filter, Overwrite};
use transport::{Clock, Wanted};
use uuid::Uuid;

const FLOW: SuspensionKind = SuspensionKind::Flow;
pub(crate) const ENDPOINT: SuspensionKind = SuspensionKind::Endpoint;

pub(crate) async fn suspend(scene: &Scene, store: &Store, kind: SuspensionKind, name: &str) {
    let by = Actor::User("anna".into());
    let since = scene.clock.now();
    let suspension =
        Suspension { kind, name: name.into(), by, reason: Some("the partner moves".into()), since };
    store.suspend(suspension, Vec::new()).await.unwrap();
}

pub(crate) async fn end(scene: &Scene, store: &Store, kind: SuspensionKind, name: &str) {
    let end = EndSuspension {
        kind,
        name: name.into(),
        by: Actor::User("anna".into()),
        reason: None,
        at: scene.clock.now(),
        must_be_in_force: false,
        events: Vec::new(),
    };
    store.end_suspension(end).await.unwrap();
}

/// Waits until this node knows so many suspensions.
pub(crate) async fn follows(scene: &Scene, engine: &Engine, count: usize) {
    let known = engine.suspensions();
    scene.until_by(Duration::ZERO, "the node follows", || async { known().len() == count }).await;
}

fn put(scene: &Scene, name: &str) {
    scene.place("in").offer(ScriptedOffer::file(name, *b"x"));
}

both! {
    a_paused_flow_is_not_polled_and_a_restart_and_a_revision_resume_nothing(scene) {
        scene.flow(flow("orders", &["out"]));
        suspend(&scene, &scene.store, FLOW, "orders").await;
        put(&scene, "a");
        let engine = scene.start().await;
        scene.pass(Duration::from_secs(60), 30).await;
        assert_eq!(scene.sources_made(), 0);
        // A revision that changes it, removes it, and brings it back.
        let mut other = flow("orders", &["other"]);
        other.title = Some("Orders".into());
        scene.flow(other.clone());
        scene.pass(Duration::from_secs(30), 15).await;
        scene.define(|all| drop(all.flows.remove("orders")));
        scene.pass(Duration::from_secs(10), 5).await;
        scene.flow(other);
        engine.stop(Duration::from_secs(5)).await;
        let engine = scene.start().await;
        scene.pass(Duration::from_secs(60), 30).await;
        assert_eq!((scene.sources_made(), engine.suspensions()().len()), (0, 1));
        // Another process resumes it: it is polled at once.
        end(&scene, &scene.another_or_same().await, FLOW, "orders").await;
        follows(&scene, &engine, 0).await;
        scene.until_all(1, TransferState::Completed).await;
        assert_eq!(scene.place("other").received().len(), 1);
    }

    a_flow_paused_in_the_middle_delivers_what_it_has_taken(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.flow(flow("invoices", &["other"]));
        scene.place("out").break_down(Some(Fault::CUT));
        put(&scene, "a");
        let engine = scene.start().await;
        scene.until("it is tried", || async { !scene.place("out").deliveries().is_empty() }).await;
        suspend(&scene, &scene.another_or_same().await, FLOW, "orders").await;
        follows(&scene, &engine, 1).await;
        scene.place("out").break_down(None);
        put(&scene, "b");
        scene.until("the delivery goes on", || async { scene.place("out").received().len() == 1 }).await;
        // The other flow of the same source goes on.
        scene.until("the other flow takes both", || async { !scene.place("other").received().is_empty() }).await;
        scene.pass(Duration::from_secs(60), 30).await;
        let orders = scene.transfers().await.into_iter().filter(|transfer| transfer.flow == "orders").count();
        assert_eq!(orders, 1);
    }

    nothing_is_tried_at_an_endpoint_set_offline_and_its_files_wait_in_order(scene) {
        let mut ordered = flow("orders", &["out"]);
        ordered.ordered = true;
        scene.flow(ordered);
        let engine = scene.start().await;
        suspend(&scene, &scene.another_or_same().await, ENDPOINT, "out").await;
        follows(&scene, &engine, 1).await;
        for name in ["a", "b", "c"] {
            put(&scene, name);
        }
        scene.until("all are taken", || async { scene.transfers().await.len() == 3 }).await;
        scene.pass(Duration::from_secs(120), 60).await;
        assert!(scene.place("out").deliveries().is_empty(), "nothing was tried");
        engine.stop(Duration::from_secs(5)).await;
        let engine = scene.start().await;
        scene.pass(Duration::from_secs(60), 30).await;
        assert!(scene.place("out").deliveries().is_empty(), "nor after a restart");
        end(&scene, &scene.another_or_same().await, ENDPOINT, "out").await;
        follows(&scene, &engine, 0).await;
        scene.until_all(3, TransferState::Completed).await;
        let names: Vec<String> = scene.place("out").received().iter().map(|got| got.1.to_text()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(scene.place("out").deliveries().len(), 3, "one attempt for each");
    }

    a_source_set_offline_is_neither_polled_nor_settled(scene) {
        scene.flow(flow("orders", &["out"]));
        // Taken and not settled yet when the endpoint goes offline.
        scene.place("out").answer(Answer::Delivered);
        let engine = scene.start().await;
        scene.until("it is polled", || async { scene.sources_made() > 0 }).await;
        suspend(&scene, &scene.store, ENDPOINT, "in").await;
        follows(&scene, &engine, 1).await;
        scene.pass(Duration::from_secs(20), 10).await;
        let before = scene.sources_made();
        put(&scene, "a");
        scene.pass(Duration::from_secs(120), 60).await;
        assert_eq!(scene.sources_made(), before);
        end(&scene, &scene.store, ENDPOINT, "in").await;
        scene.until_all(1, TransferState::Completed).await;
        scene.until("it is settled", || async { scene.place("in").offers().is_empty() }).await;
    }

    an_endpoint_behind_one_that_is_set_offline_is_used_neither_as_source_nor_as_destination(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.flow(polling(flow("back", &["other"]), |poll| poll.endpoint = "far".into()));
        let behind = |name: &str, through: &str| {
            Arc::new(defined::endpoint(&SPEC, name, "fake:place", &[("through", through)]))
        };
        scene.define(|all| {
            for (name, through) in [("out", "bastion"), ("far", "bastion"), ("bastion", "gate")] {
                all.endpoints.insert(name.into(), behind(name, through));
            }
            all.endpoints.insert("gate".into(), endpoint("gate"));
        });
        suspend(&scene, &scene.store, ENDPOINT, "gate").await;
        let engine = scene.start().await;
        put(&scene, "a");
        scene.place("far").offer(ScriptedOffer::file("b", *b"x"));
        scene.until("it is taken", || async { scene.transfers().await.len() == 1 }).await;
        scene.pass(Duration::from_secs(60), 30).await;
        assert!(scene.place("out").deliveries().is_empty() && scene.transfers().await.len() == 1);
        end(&scene, &scene.another_or_same().await, ENDPOINT, "gate").await;
        follows(&scene, &engine, 0).await;
        scene.until_all(2, TransferState::Completed).await;
    }

    online_ends_what_failures_began(scene) {
        let mut patient = flow("orders", &["out"]);
        patient.destinations[0].retry.attempts = 100;
        patient.destinations[0].retry.longest = Duration::from_secs(10);
        scene.flow(patient);
        let locked = Fault { kind: ErrorKind::Unauthenticated, retry: model::Retry::Transient };
        scene.place("out").break_down(Some(locked));
        put(&scene, "a");
        let engine = scene.start().await;
        scene.until("it is offline", || async { !scene.events("endpoint.offline").await.is_empty() }).await;
        scene.place("out").break_down(None);
        let until = engine.health().snapshot()["out"].offline_until.unwrap();
        // Nobody had set it offline, and yet it is a change that each node follows.
        end(&scene, &scene.another_or_same().await, ENDPOINT, "out").await;
        scene.until_by(Duration::from_millis(100), "it is tried again", || async {
            scene.place("out").received().len() == 1
        }).await;
        assert!(scene.clock.now() < until, "before its time was over");
    }

    a_paused_flow_refuses_for_the_time_being_what_it_would_receive(scene) {
        scene.flow(receiving("inbound", &["out"]));
        scene.flow(receiving("copies", &["other"]));
        let engine = scene.start().await;
        let listening = crate::receiving::begin_new(&engine, "A/B/<0>").await;
        let wanted = || listening.wanted("fake", Some("globex"), &"po.edi".into(), &Map::new());
        assert_eq!(wanted(), Wanted::Yes);
        suspend(&scene, &scene.store, FLOW, "copies").await;
        follows(&scene, &engine, 1).await;
        // Not by one flow alone either: the message comes again for both.
        let Wanted::Paused(words) = wanted() else { panic!("{:?}", wanted()) };
        assert!(words.contains("flow copies is paused by anna since"), "{words}");
        let refused = crate::receiving::receive(&engine, "A/B/<1>", "po.edi").await.unwrap_err();
        assert_eq!((refused.kind(), refused.retry()), (ErrorKind::Throttled, model::Retry::Transient));
        assert!(scene.transfers().await.is_empty());
        scene.until("nothing of it stays", || async { scene.staged() == 0 }).await;

        end(&scene, &scene.store, FLOW, "copies").await;
        follows(&scene, &engine, 0).await;
        crate::receiving::until_new(&scene, &engine, "A/B/<1>").await;
        assert_eq!(crate::receiving::receive(&engine, "A/B/<2>", "po.edi").await.unwrap().len(), 2);
        scene.until_all(2, TransferState::Completed).await;
        let other = listening.wanted("other", None, &"po.edi".into(), &Map::new());
        assert!(matches!(&other, Wanted::No(why) if why.contains("this listener")), "{other:?}");
    }
}

/// Two nodes of one database follow each other's decisions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_nodes_follow_on_postgres() {
    let scene = Scene::postgres().await;
    scene.flow(flow("orders", &["out"]));
    let one = scene.start().await;
    let two = scene.prepare("n2", scene.another_store().await).await;
    scene.run(&two).await;
    suspend(&scene, &scene.another_store().await, FLOW, "orders").await;
    follows(&scene, &one, 1).await;
    follows(&scene, &two, 1).await;
    put(&scene, "a");
    scene.pass(Duration::from_secs(60), 30).await;
    assert!(scene.transfers().await.is_empty());
    // One node ends meanwhile; the other one polls.
    one.stop(Duration::from_secs(5)).await;
    end(&scene, &scene.another_store().await, FLOW, "orders").await;
    follows(&scene, &two, 0).await;
    scene.until_all(1, TransferState::Completed).await;
}

/// Asks for a run, to be begun within a minute.
async fn ask(scene: &Scene, store: &Store, flow: &str) -> Uuid {
    let (id, at) = (Uuid::now_v7(), scene.clock.now());
    let run = NewFlowRun {
        id,
        flow: flow.into(),
        by: Actor::User("anna".into()),
        at,
        begin_by: at + Duration::from_secs(60),
        events: Vec::new(),
    };
    store.request_flow_run(run).await.unwrap();
    id
}

/// Waits for the end of a run, without letting time pass.
async fn ended(scene: &Scene, id: Uuid) -> FlowRunResult {
    let ended = || async { scene.store.flow_run(id).await.unwrap().unwrap().ended };
    scene.until_by(Duration::ZERO, "the run ends", || async { ended().await.is_some() }).await;
    ended().await.unwrap().1
}

/// Polled once at the start, and then not for hours.
fn rarely(name: &str, to: &[&str]) -> model::definition::Flow {
    polling(flow(name, to), |poll| poll.schedule = Schedule::every(Duration::from_secs(86_400)))
}

both! {
    a_run_polls_at_once_and_tells_what_it_found(scene) {
        scene.flow(rarely("orders", &["out"]));
        let _engine = scene.start().await;
        scene.until("it was polled at the start", || async { scene.place("in").discoveries().len() == 1 }).await;
        put(&scene, "a");
        put(&scene, "b");
        scene.pass(Duration::from_secs(60), 30).await;
        assert!(scene.transfers().await.is_empty());
        let result = ended(&scene, ask(&scene, &scene.another_or_same().await, "orders").await).await;
        assert_eq!(result, FlowRunResult::Polled(PollReport { taken: 2, ..PollReport::default() }));
        scene.until_all(2, TransferState::Completed).await;
        // Two who ask at once get one poll each, or one for both; and each an answer.
        let (first, second) = (ask(&scene, &scene.store, "orders").await, ask(&scene, &scene.store, "orders").await);
        for id in [first, second] {
            assert_eq!(ended(&scene, id).await, FlowRunResult::Polled(PollReport::default()));
        }
        let events = scene.events("flow.run").await;
        assert!(events.len() == 3 && events.iter().all(|event| event.actor == "user:anna"));
        assert_eq!(events.iter().filter(|event| event.detail["taken"] == 2).count(), 1);
        let polled = scene.sources_made();
        scene.pass(Duration::from_secs(600), 60).await;
        assert!(scene.sources_made() - polled <= 2, "nothing is run again: {}", scene.sources_made() - polled);
    }

    a_run_that_fails_says_why_and_one_of_an_offline_endpoint_until_when(scene) {
        scene.flow(rarely("orders", &["out"]));
        let _engine = scene.start().await;
        scene.until("it was polled at the start", || async { scene.place("in").discoveries().len() == 1 }).await;
        let locked = Fault { kind: ErrorKind::Unauthenticated, retry: model::Retry::Permanent };
        scene.place("in").break_down(Some(locked));
        let FlowRunResult::Failed { error, .. } = ended(&scene, ask(&scene, &scene.store, "orders").await).await
        else { panic!("it succeeded") };
        assert!(!error.is_empty());
        let result = ended(&scene, ask(&scene, &scene.store, "orders").await).await;
        assert!(matches!(result, FlowRunResult::EndpointOffline { .. }), "{result:?}");
        scene.place("in").break_down(None);
        end(&scene, &scene.store, ENDPOINT, "in").await;
        scene.until_by(Duration::from_millis(100), "it is tried again", || async {
            let id = ask(&scene, &scene.store, "orders").await;
            ended(&scene, id).await == FlowRunResult::Polled(PollReport::default())
        }).await;
    }

    a_run_of_a_flow_that_nobody_polls_waits_and_is_begun_by_the_node_that_comes(scene) {
        scene.flow(rarely("orders", &["out"]));
        let id = ask(&scene, &scene.store, "orders").await;
        assert_eq!(scene.store.flow_run(id).await.unwrap().unwrap().node, None);
        let _engine = scene.start().await;
        assert_eq!(ended(&scene, id).await, FlowRunResult::Polled(PollReport::default()));
    }

    an_empty_file_is_refused_where_the_flow_says_so_and_a_dry_run_tells_it(scene) {
        let folder = MemoryFolder::new();
        scene.place("in").use_folder(Arc::new(folder.clone()), "in", Overwrite::Refuse);
        scene.flow(saying(rarely("orders", &["out"]), |polling| {
            polling.error_directory = Some("bad".into());
            polling.filter = Filter { max_size: Some(3), empty: Empty::Refuse, ..Filter::default() };
        }));
        folder.put("in/known", *b"ISA");
        let engine = scene.start().await;
        scene.until_all(1, TransferState::Completed).await;
        for (name, bytes) in [("in/empty", &b""[..]), ("in/large", b"ISA and more"), ("in/po", b"ISA")] {
            folder.put(name, bytes.to_vec());
        }
        let looked = engine.trial().dry_run("orders").await.unwrap();
        assert_eq!(looked.takes.iter().map(|file| file.path.to_text()).collect::<Vec<_>>(), ["in/po"]);
        let left = looked.leaves.iter().map(|left| (left.why, left.error.as_deref().unwrap_or_default()));
        let left: Vec<_> = left.collect();
        assert_eq!((left[0].0, left[1].0), (SkipReason::TooLarge, SkipReason::ToRefuse));
        assert!(left[1].1.contains("the file is empty, and the flow refuses empty files"), "{left:?}");
        let result = ended(&scene, ask(&scene, &scene.store, "orders").await).await;
        let skipped = vec![model::SkipCount { reason: SkipReason::TooLarge, files: 1 }];
        assert_eq!(result, FlowRunResult::Polled(PollReport { taken: 1, refused: 1, skipped, ..PollReport::default() }));
        scene.until("it is in the error directory", || async { folder.get("in/empty").is_none() && folder.get("bad/empty.error.json").is_some() }).await;
        let refused = &scene.events("offer.refused").await[0];
        assert!(refused.detail["error"].as_str().unwrap().contains("the file is empty"), "{refused:?}");
    }

    a_dry_run_tells_what_the_next_poll_takes_and_writes_nothing(scene) {
        scene.flow(rarely("orders", &["out"]));
        let engine = scene.start().await;
        scene.until("it was polled at the start", || async { scene.place("in").discoveries().len() == 1 }).await;
        for n in 0..40 {
            put(&scene, &format!("{n:02}"));
        }
        let events = scene.event_count("offer.").await;
        let trial = engine.trial();
        let looked = trial.dry_run("orders").await.unwrap();
        let again = trial.dry_run("orders").await.unwrap();
        assert_eq!((looked.takes.len(), &looked), (40, &again));
        assert_eq!((scene.event_count("offer.").await, scene.staged()), (events, 0));
        assert!(scene.transfers().await.is_empty() && scene.place("in").offers().len() == 40);
        let result = ended(&scene, ask(&scene, &scene.store, "orders").await).await;
        assert_eq!(result, FlowRunResult::Polled(PollReport { taken: 40, ..PollReport::default() }));
        let mut names: Vec<String> = scene.transfers().await.iter().map(|t| t.file_name.to_text()).collect();
        names.sort();
        assert_eq!(looked.takes.iter().map(|file| file.path.to_text()).collect::<Vec<_>>(), names);
        let receives = trial.dry_run("nothing").await.unwrap_err();
        assert_eq!(receives.kind(), ErrorKind::NotFound);
    }
}
