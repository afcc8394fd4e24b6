//! Files for which staging has no room.

use crate::database::both;
use crate::scene::{Scene, flow, polling};
use model::definition::Flow;
use model::{SkipReason, TransferState};
use std::time::Duration;
use testkit::fake::ScriptedOffer;

const MINUTE: Duration = Duration::from_secs(60);

fn offer(scene: &Scene, name: &str, bytes: usize) {
    scene.place("in").offer(ScriptedOffer::file(name, vec![b'x'; bytes]));
}

fn opened(scene: &Scene) -> Vec<String> {
    scene.place("in").opened().iter().map(model::RemotePath::to_text).collect()
}

async fn until_some_wait(scene: &Scene) {
    scene.until("a file waits", || async { !scene.store.waiting_for_room().await.unwrap().is_empty() }).await;
}

both! {
    files_that_do_not_fit_together_are_taken_one_after_the_other(scene) {
        let mut scene = scene;
        let _disk = scene.limit_staging(100_000);
        scene.flow(flow("orders", &["out"]));
        offer(&scene, "a", 60_000);
        offer(&scene, "b", 70_000);
        offer(&scene, "small", 10);
        let _engine = scene.start().await;
        scene.until_all(2, TransferState::Completed).await;
        until_some_wait(&scene).await;
        scene.pass(MINUTE * 5, 30).await;
        assert_eq!(opened(&scene), ["a", "small"]);
        let [waiting] = &scene.store.waiting_for_room().await.unwrap()[..] else { panic!() };
        assert_eq!((waiting.flow.as_str(), waiting.node.as_str(), waiting.files), ("orders", "n1", 1));
        assert_eq!((waiting.largest.to_text().as_str(), waiting.bytes), ("b", 70_000));
        // Said once, and the polls succeed.
        let told = scene.events("flow.waits_for_room").await;
        assert_eq!((told.len(), &told[0].detail["path"], &told[0].detail["bytes"]), (1, &"b".into(), &70_000.into()));
        assert!(scene.events("poll.failed").await.is_empty() && scene.events("offer.backed_off").await.is_empty());
        // When the first one's retention is over, there is room.
        scene.until_by(MINUTE, "it is taken", || async { scene.transfers().await.len() == 3 }).await;
        scene.until_all(3, TransferState::Completed).await;
        scene.until("none waits", || async { scene.store.waiting_for_room().await.unwrap().is_empty() }).await;
        assert_eq!(scene.events("flow.has_room").await.len(), 1);
    }

    files_of_unknown_size_that_run_out_of_room_are_taken_one_after_the_other(scene) {
        let mut scene = scene;
        let _disk = scene.limit_staging(2_000_000);
        scene.flow(flow("orders", &["out"]));
        for name in ["a", "b", "c"] {
            let file = ScriptedOffer::file(name, vec![b'x'; 1_200_000]);
            scene.place("in").offer(ScriptedOffer { size: None, ..file });
        }
        let _engine = scene.start().await;
        scene.until_by(MINUTE, "all are taken", || async { scene.transfers().await.len() == 3 }).await;
        scene.until_all(3, TransferState::Completed).await;
        assert!(scene.events("poll.failed").await.is_empty());
        assert!(scene.place("out").received().iter().all(|(_, _, bytes)| bytes.len() == 1_200_000));
    }

    a_local_file_whose_blocks_staging_cannot_share_is_opened_once_and_waits_for_room(scene) {
        let mut scene = scene;
        let _disk = scene.limit_staging(2_000_000);
        scene.place("in").be_local();
        scene.flow(flow("orders", &["out"]));
        offer(&scene, "a", 900_000);
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Completed).await;
        offer(&scene, "b", 1_200_000);
        until_some_wait(&scene).await;
        scene.pass(MINUTE * 5, 30).await;
        assert_eq!(opened(&scene), ["a", "b"]);
        assert!(scene.events("poll.failed").await.is_empty() && scene.events("offer.backed_off").await.is_empty());
        // When the first one's retention is over, it is copied.
        scene.until_by(MINUTE, "it is taken", || async { scene.transfers().await.len() == 2 }).await;
        scene.until_all(2, TransferState::Completed).await;
        assert!(scene.place("out").received().iter().any(|(_, name, bytes)| {
            name.to_text() == "b" && bytes.len() == 1_200_000
        }));
    }

    files_that_wait_for_room_leave_the_limit_of_polls_to_others(scene) {
        let mut scene = scene;
        let _disk = scene.limit_staging(100_000);
        scene.flow(polling(flow("orders", &["out"]), |poll| poll.read_limit = 1));
        offer(&scene, "a", 60_000);
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Completed).await;
        offer(&scene, "b", 70_000);
        offer(&scene, "c", 80_000);
        offer(&scene, "small", 10);
        scene.until_all(2, TransferState::Completed).await;
        scene.until("both wait", || async {
            scene.store.waiting_for_room().await.unwrap().first().is_some_and(|waiting| waiting.files == 2)
        })
        .await;
        assert_eq!(opened(&scene), ["a", "small"]);
        let [waiting] = &scene.store.waiting_for_room().await.unwrap()[..] else { panic!() };
        assert_eq!((waiting.largest.to_text().as_str(), waiting.bytes), ("c", 80_000));
        // When there is room for one of them, it is taken.
        scene.until_by(MINUTE, "one is taken", || async { scene.transfers().await.len() == 3 }).await;
        scene.until_all(3, TransferState::Completed).await;
    }

    a_dry_run_tells_which_files_wait_for_room_as_the_next_poll_does(scene) {
        let mut scene = scene;
        let _disk = scene.limit_staging(100_000);
        let orders = polling(flow("orders", &["out"]), |poll| poll.read_limit = 1);
        scene.flow(orders.clone());
        offer(&scene, "a", 60_000);
        let engine = scene.start().await;
        scene.until_all(1, TransferState::Completed).await;
        for (name, bytes) in [("b", 70_000), ("small", 10), ("c", 80_000)] {
            offer(&scene, name, bytes);
        }
        let trial = engine.trial();
        let told = || async {
            let looked = trial.dry_run("orders").await.unwrap();
            let takes: Vec<_> = looked.takes.iter().map(|file| file.path.to_text()).collect();
            let leaves: Vec<_> = looked.leaves.iter().map(|left| (left.file.path.to_text(), left.why)).collect();
            assert_eq!(looked.skipped.iter().map(|count| count.files).sum::<u64>(), leaves.len() as u64);
            (takes.join(" "), leaves.into_iter().filter(|(_, why)| *why == SkipReason::NoRoom).map(|(path, _)| path).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(told().await, ("small".into(), "b".into()));
        // In an ordered flow the others wait behind the first.
        let ordered = Flow { ordered: true, ..polling(orders, |poll| poll.read_limit = 0) };
        scene.flow(Flow { enabled: false, ..ordered });
        assert_eq!(told().await, (String::new(), "b small c".into()));
        let orders = polling(flow("orders", &["out"]), |poll| poll.read_limit = 1);
        scene.flow(orders);
        scene.until_all(2, TransferState::Completed).await;
        assert_eq!(opened(&scene), ["a", "small"]);
    }

    a_file_larger_than_staging_is_refused_once_and_the_others_go_on(scene) {
        let mut scene = scene;
        let _disk = scene.limit_staging(100_000);
        scene.flow(flow("orders", &["out"]));
        offer(&scene, "large", 100_001);
        offer(&scene, "small", 10);
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Completed).await;
        scene.pass(MINUTE * 5, 30).await;
        let refused = scene.events("offer.refused").await;
        assert_eq!(refused.len(), 1);
        let error = refused[0].detail["error"].as_str().unwrap();
        assert!(error.contains("larger than the staging area") && error.contains("100001"), "{error}");
        assert_eq!(opened(&scene), ["small"]);
        assert!(scene.place("in").settled().is_empty() || scene.place("in").offers().len() == 1);
        assert!(scene.store.waiting_for_room().await.unwrap().is_empty());
    }

    an_ordered_flow_waits_for_room_and_keeps_its_order(scene) {
        let mut scene = scene;
        let _disk = scene.limit_staging(100_000);
        scene.flow(Flow { ordered: true, ..flow("orders", &["out"]) });
        offer(&scene, "a", 60_000);
        offer(&scene, "b", 70_000);
        offer(&scene, "c", 20_000);
        let _engine = scene.start().await;
        until_some_wait(&scene).await;
        scene.pass(MINUTE * 5, 30).await;
        assert_eq!(scene.transfers().await.len(), 1);
        // What was read of the third one is not left in staging.
        scene.until("it is gone", || async { scene.staging.space().unwrap().free >= 40_000 }).await;
        scene.until_by(MINUTE, "all are taken", || async { scene.transfers().await.len() == 3 }).await;
        scene.until_all(3, TransferState::Completed).await;
        let received: Vec<_> = scene.place("out").received().iter().map(|(_, name, _)| name.to_text()).collect();
        assert_eq!(received, ["a", "b", "c"]);
    }
}
