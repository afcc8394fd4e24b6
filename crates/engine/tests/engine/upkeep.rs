//! What time asks for: retention, orphans, and endpoints that are not to be hammered.

use crate::database::both;
use crate::scene::{flow, gaps, polling};
use model::schedule::Schedule;
use model::{ErrorKind, PayloadId, Retry, TransferState};
use std::time::Duration;
use testkit::fake::{Fault, ScriptedOffer};
use transport::Clock;
use uuid::Uuid;

both! {
    payloads_go_when_their_retention_ends_and_not_before(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
        let _engine = scene.start().await;
        let done = scene.until_all(1, TransferState::Completed).await;
        scene.pass(Duration::from_secs(3000), 30).await;
        assert_eq!(scene.staged(), 1);
        scene.until_by(Duration::from_secs(30), "it is removed", || async { scene.staged() == 0 }).await;
        assert_eq!(scene.events("payload.removed").await.len(), 1);
        assert!(scene.waybill(done[0].id).await.transfer.payload_removed_at.is_some());
    }

    one_that_cannot_be_unlinked_keeps_no_other_from_going(scene) {
        scene.flow(flow("orders", &["out"]));
        for n in 0..12 {
            scene.place("in").offer(ScriptedOffer::file(format!("{n}").as_str(), *b"x"));
        }
        let _engine = scene.start().await;
        scene.until_all(12, TransferState::Completed).await;
        // A directory cannot be unlinked as a file is.
        let stuck = scene.staged_paths().remove(0);
        std::fs::remove_file(&stuck).unwrap();
        std::fs::create_dir(&stuck).unwrap();
        scene.until_by(Duration::from_secs(60), "the others are removed", || async { scene.staged() == 1 }).await;
        assert_eq!(scene.events("payload.removed").await.len(), 12);
        // When it can, it goes too, and is no orphan.
        std::fs::remove_dir(&stuck).unwrap();
        std::fs::write(&stuck, "x").unwrap();
        scene.until_by(Duration::from_secs(900), "it is removed", || async { scene.staged() == 0 }).await;
        scene.pass(Duration::from_secs(300), 10).await;
        assert!(scene.events("payload.quarantined").await.is_empty());
        assert!(!scene.staging.root().join("quarantine").read_dir().unwrap().any(|_| true));
    }

    many_strangers_are_told_one_by_one(scene) {
        for _ in 0..1_050 {
            scene.staging.begin(PayloadId::new(Uuid::now_v7())).unwrap().commit().unwrap();
        }
        scene.clock.advance(Duration::from_secs(90_000));
        let _engine = scene.start().await;
        scene.until_by(Duration::ZERO, "all are told", || async {
            let told = scene.event_count("payload.quarantined").await;
            assert!(told <= 1_050);
            told == 1_050
        }).await;
    }

    bytes_without_a_record_go_to_quarantine_after_a_day(scene) {
        let mut part = scene.staging.begin(PayloadId::new(Uuid::now_v7())).unwrap();
        part.append(b"whose?").unwrap();
        part.commit().unwrap();
        let _engine = scene.start().await;
        scene.pass(Duration::from_secs(80_000), 20).await;
        assert_eq!(scene.staged(), 1);
        scene.until_by(Duration::from_secs(600), "it is set aside", || async { scene.staged() == 0 }).await;
        assert_eq!(std::fs::read_dir(scene.staging.root().join("quarantine")).unwrap().count(), 1);
        scene.until("it is told", || async { scene.events("payload.quarantined").await.len() == 1 }).await;
    }

    a_poll_that_fails_for_good_is_tried_less_and_less_until_it_succeeds(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("in").break_down(Some(Fault { kind: ErrorKind::PermissionDenied, retry: Retry::Permanent }));
        let _engine = scene.start().await;
        scene.until("it failed five times", || async { scene.events("poll.failed").await.len() == 5 }).await;
        let times: Vec<_> = scene.events("poll.failed").await.iter().map(|event| event.at).collect();
        let waits = gaps(&times);
        // Twenty seconds, then forty, eighty and so on; without growth it would be forty in all.
        assert!(waits.iter().sum::<i64>() >= 270 && waits[3] > 2 * waits[0], "{waits:?}");
        // It is the poll's trouble, not the endpoint's.
        assert!(scene.events("endpoint.offline").await.is_empty());
        scene.until("it is shown", || async {
            scene.store.failing_polls().await.unwrap().first().is_some_and(|failing| failing.failures >= 5)
        }).await;
        let [failing] = &scene.store.failing_polls().await.unwrap()[..] else { panic!() };
        assert_eq!((failing.flow.as_str(), failing.endpoint.as_str(), failing.node.as_str()), ("orders", "in", "n1"));
        assert!(failing.since <= times[0] && failing.error.contains("permission"), "{failing:?}");
        scene.place("in").break_down(None);
        scene.until("a poll succeeded", || async { scene.store.failing_polls().await.unwrap().is_empty() }).await;
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
        scene.until_by(Duration::from_secs(5), "it is polled again", || async { scene.transfers().await.len() == 1 }).await;
        let polls = scene.place("in").discoveries().len();
        scene.pass(Duration::from_secs(40), 40).await;
        assert!(scene.place("in").discoveries().len() >= polls + 3);
    }

    the_failures_of_a_flow_that_is_polled_no_more_are_forgotten(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("in").break_down(Some(Fault { kind: ErrorKind::PermissionDenied, retry: Retry::Permanent }));
        let _engine = scene.start().await;
        scene.until("it is shown", || async { scene.store.failing_polls().await.unwrap().len() == 1 }).await;
        let mut disabled = flow("orders", &["out"]);
        disabled.enabled = false;
        scene.flow(disabled);
        scene.until("it is forgotten", || async { scene.store.failing_polls().await.unwrap().is_empty() }).await;
    }

    a_wrong_password_rests_the_source_until_the_definitions_change(scene) {
        let refused = Fault { kind: ErrorKind::Unauthenticated, retry: Retry::Permanent };
        scene.flow(flow("orders", &["out"]));
        scene.flow(polling(flow("also", &["out"]), |poll| poll.schedule = Schedule::every(Duration::from_secs(15))));
        scene.place("in").break_down(Some(refused));
        let engine = scene.start().await;
        scene.until("it failed", || async { !scene.events("poll.failed").await.is_empty() }).await;
        scene.pass(Duration::from_secs(50), 50).await;
        // Both flows may have knocked at the same moment; neither has since.
        assert!(scene.events("poll.failed").await.len() <= 2);
        assert_eq!(scene.events("endpoint.offline").await.len(), 1);
        scene.place("in").break_down(None);
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
        scene.define(|_| ());
        scene.until_by(Duration::from_millis(100), "it is used at once", || async { !scene.transfers().await.is_empty() }).await;
        scene.until("it counts as online", || async { engine.health().snapshot()["in"].offline_until.is_none() }).await;
    }

    a_restart_knows_until_when_an_endpoint_is_offline(scene) {
        let refused = Fault { kind: ErrorKind::Unauthenticated, retry: Retry::Permanent };
        scene.flow(flow("orders", &["out"]));
        scene.place("out").break_down(Some(refused));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
        let engine = scene.start().await;
        scene.until("it is offline", || async { scene.events("endpoint.offline").await.len() == 1 }).await;
        let tried = scene.place("out").deliveries().len();
        let failing = scene.store.failing_endpoints(scene.clock.now()).await.unwrap();
        let [known] = &failing[..] else { panic!("{failing:?}") };
        assert_eq!((known.endpoint.as_str(), known.node.as_str(), known.failures), ("out", "n1", 1));
        assert!(known.error.as_ref().unwrap().contains("unauthenticated"), "{known:?}");
        assert_eq!(scene.store.overview(scene.clock.now()).await.unwrap().offline, failing);
        assert_eq!(engine.health().snapshot()["out"].offline_until, Some(known.until));
        engine.stop(Duration::from_secs(10)).await;

        let engine = scene.start().await;
        assert_eq!(engine.health().snapshot()["out"].offline_until, Some(known.until));
        scene.pass(Duration::from_secs(20), 20).await;
        assert_eq!(scene.place("out").deliveries().len(), tried);
        assert_eq!(scene.store.failing_endpoints(scene.clock.now()).await.unwrap(), failing);
        // The wait grows as if there had been no restart.
        scene.until("it is tried again", || async { scene.events("endpoint.offline").await.len() == 2 }).await;
        let again = scene.store.failing_endpoints(scene.clock.now()).await.unwrap();
        assert!(again[0].failures == 2 && again[0].since == known.since && again[0].until > known.until, "{again:?}");
        engine.stop(Duration::from_secs(10)).await;

        // What was changed meanwhile is tried at once.
        scene.place("out").break_down(None);
        scene.define(|_| ());
        let _engine = scene.start().await;
        scene.until_by(Duration::from_millis(100), "it is delivered", || async {
            scene.place("out").received().len() == 1
        }).await;
        scene.until("it is online", || async { scene.events("endpoint.online").await.len() == 1 }).await;
        assert!(scene.clock.now() < again[0].until);
        assert!(scene.store.failing_endpoints_of(&"n1".parse().unwrap()).await.unwrap().is_empty());
    }
}
