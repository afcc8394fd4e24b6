//! What becomes of files whose time is another at each look.

use crate::database::both;
use crate::scene::{Scene, flow, polling};
use chrono::TimeDelta;
use model::TransferState;
use model::definition::After;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::time::Duration;
use testkit::fake::{Act, MemoryFolder, ScriptedFolder, Way};
use transport::folder::Overwrite;

const BYTES: &[u8] = b"all of the order";

/// A place whose files have another time at each look, as long as the flag says so.
struct Restless {
    folder: MemoryFolder,
    scripted: Arc<ScriptedFolder>,
    moves: Arc<AtomicBool>,
}

impl Restless {
    fn at(scene: &Scene) -> Self {
        let folder = MemoryFolder::new();
        folder.put("in/po.edi", BYTES);
        let scripted = ScriptedFolder::new(Arc::new(folder.clone()));
        let (moves, looks) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicI64::new(0)));
        for way in [Way::Listing, Way::Look] {
            let (moves, looks) = (Arc::clone(&moves), Arc::clone(&looks));
            scripted.tell(way, move |entry| {
                if moves.load(Ordering::SeqCst) {
                    looks.fetch_add(1, Ordering::SeqCst);
                }
                let later = TimeDelta::seconds(looks.load(Ordering::SeqCst));
                entry.modified = entry.modified.map(|at| at + later);
            });
        }
        scene.place("in").use_folder(Arc::clone(&scripted) as _, "in", Overwrite::Refuse);
        Self { folder, scripted, moves }
    }

    /// Every reading gives other bytes from now on.
    fn refill_at_each_listing(&self) {
        let (folder, round) = (self.folder.clone(), AtomicU8::new(0));
        self.scripted.tell(Way::Listing, move |_| {
            folder.refill("in/po.edi", vec![round.fetch_add(1, Ordering::SeqCst); BYTES.len()]);
        });
    }
}

async fn delivered(scene: &Scene, count: usize) {
    scene.until_all(count, TransferState::Completed).await;
    assert!(scene.place("out").received().iter().all(|(_, _, bytes)| **bytes == *BYTES));
}

both! {
    it_is_taken_once_two_readings_agree(scene) {
        for (round, stable_for) in [(1, Duration::ZERO), (2, Duration::from_secs(2))] {
            let restless = Restless::at(&scene);
            for (nth, after) in [After::Delete, After::Archive { directory: "done".into(), timestamp: true }].into_iter().enumerate() {
                let count = 2 * (round - 1) + nth + 1;
                restless.folder.put("in/po.edi", BYTES);
                let engine = {
                    scene.flow(polling(flow("orders", &["out"]), |poll| (poll.stable_for, poll.after) = (stable_for, after)));
                    scene.start().await
                };
                delivered(&scene, count).await;
                scene.until("its source is settled", || async { restless.folder.get("in/po.edi").is_none() }).await;
                let failed = scene.events("offer.backed_off").await;
                assert_eq!(failed.len(), count, "one for each: {failed:?}");
                let why = failed[count - 1].detail["error"].as_str().unwrap();
                assert!(why.contains("its time was 2") && why.contains(" and is 2"), "{why}");
                let taken = scene.events("offer.contradicted").await;
                assert!(taken[count - 1].detail["why"].as_str().unwrap().contains("though nothing else"), "{taken:?}");
                scene.pass(Duration::from_secs(100), 20).await;
                assert_eq!(scene.transfers().await.len(), count);
                engine.stop(Duration::from_secs(1)).await;
            }
            assert_eq!(restless.folder.files().len(), 1, "{:?}", restless.folder.files());
        }
    }

    it_is_counted_for_some_polls_before_it_is_read(scene) {
        let restless = Restless::at(&scene);
        scene.flow(polling(flow("orders", &["out"]), |poll| poll.stable_for = Duration::from_secs(2)));
        let _engine = scene.start().await;
        scene.until("it was read", || async { scene.events("offer.backed_off").await.len() == 1 }).await;
        // Two listings in each poll; at the fifth poll it is read.
        assert_eq!(restless.scripted.count(Act::Read), 1);
        assert!(restless.scripted.count(Act::List) >= 10);
    }

    it_is_taken_once_where_files_are_kept(scene) {
        let restless = Restless::at(&scene);
        scene.flow(polling(flow("orders", &["out"]), |poll| poll.after = After::Keep));
        let _engine = scene.start().await;
        delivered(&scene, 1).await;
        scene.pass(Duration::from_secs(300), 60).await;
        assert_eq!(scene.transfers().await.len(), 1);
        assert_eq!(restless.scripted.count(Act::Read), 2);
        // One of another size is a new file; so is one after it was away.
        restless.folder.put("in/po.edi", *b"a longer one than the first");
        scene.until("it is taken too", || async { scene.transfers().await.len() == 2 }).await;
    }

    a_restart_does_not_begin_to_count_anew(scene) {
        let restless = Restless::at(&scene);
        scene.flow(flow("orders", &["out"]));
        let engine = scene.start().await;
        scene.until("it was read", || async { scene.events("offer.backed_off").await.len() == 1 }).await;
        engine.stop(Duration::from_secs(1)).await;
        let polls = scene.events("offer.changed").await.len();
        let _engine = scene.start().await;
        delivered(&scene, 1).await;
        assert!(scene.events("offer.changed").await.len() <= polls, "it was read at once");
        assert!(restless.folder.files().is_empty());
    }

    one_whose_readings_differ_goes_to_the_error_directory(scene) {
        let restless = Restless::at(&scene);
        restless.refill_at_each_listing();
        scene.flow(polling(flow("orders", &["out"]), |poll| poll.error_directory = Some("bad".into())));
        let _engine = scene.start().await;
        scene.until("it is moved away", || async { restless.folder.get("bad/po.edi.cause.txt").is_some() }).await;
        assert_eq!(restless.folder.files(), ["bad/po.edi", "bad/po.edi.cause.txt"]);
        let refused = scene.events("offer.refused").await;
        assert!(refused[0].detail["error"].as_str().unwrap().contains("its time was"), "{refused:?}");
        assert!(scene.transfers().await.is_empty());
        assert_eq!(scene.staged(), 0);
    }

    one_that_is_filled_for_long_and_stands_still_then_is_taken_once(scene) {
        let restless = Restless::at(&scene);
        scene.flow(polling(flow("orders", &["out"]), |poll| poll.stable_for = Duration::from_secs(2)));
        restless.folder.refill("in/po.edi", vec![0; BYTES.len()]);
        let _engine = scene.start().await;
        scene.until("it was read", || async { scene.events("offer.backed_off").await.len() == 1 }).await;
        restless.folder.refill("in/po.edi", BYTES);
        restless.moves.store(false, Ordering::SeqCst);
        delivered(&scene, 1).await;
        scene.until("its source is settled", || async { restless.folder.files().is_empty() }).await;
        // What was read of it before is not taken for the only copy of a file that is gone.
        scene.pass(Duration::from_secs(200), 40).await;
        assert_eq!(scene.transfers().await.len(), 1);
        assert!(!scene.store.has_untimed("orders", "in").await.unwrap());
        assert!(scene.events("payload.quarantined").await.is_empty());
        assert_eq!(scene.staged(), 1);
    }
}
