//! What becomes of files whose time is another at each look.

use crate::database::both;
use crate::scene::{Scene, flow, polling, saying};
use chrono::TimeDelta;
use engine::Engine;
use model::TransferState;
use model::definition::SettleWhen;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use testkit::fake::{Act, Answer, Fault, MemoryFolder, ScriptedFolder, Way};
use transport::folder::After;
use transport::folder::{Folder, Overwrite};
use transport_file::LocalFolder;

const BYTES: &[u8] = b"all of the order";

/// A place whose files have another time at each look, as long as the flag says so.
struct Restless {
    folder: MemoryFolder,
    scripted: Arc<ScriptedFolder>,
    moves: Arc<AtomicBool>,
}

impl Restless {
    /// Of the system's own time of the last change, or of the modification time.
    fn at(scene: &Scene, system_time: bool) -> Self {
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
                let later = entry.modified.map(|at| at + TimeDelta::seconds(looks.load(Ordering::SeqCst)));
                if system_time {
                    entry.changed = later;
                } else {
                    entry.modified = later;
                }
            });
        }
        scene.place("in").use_folder(Arc::clone(&scripted) as _, "in", Overwrite::Refuse);
        Self { folder, scripted, moves }
    }
}

/// Until a person is told of the file, which takes ten minutes.
async fn told(scene: &Scene, engine: &Engine) {
    scene
        .until_by(Duration::from_secs(5), "a person is told", || async {
            !engine.unstable().snapshot().is_empty()
        })
        .await;
    scene.until("it is in the trail", || async { scene.events("offer.unstable").await.len() == 1 }).await;
}

/// Nothing was tried, and nothing counted as tried.
async fn untouched(scene: &Scene) {
    for kind in ["offer.backed_off", "offer.refused", "offer.mismatch"] {
        assert!(scene.events(kind).await.is_empty(), "{kind}");
    }
    assert!(scene.transfers().await.is_empty());
    assert_eq!(scene.staged(), 0);
}

async fn delivered(scene: &Scene, count: usize) {
    scene.until_all(count, TransferState::Completed).await;
    assert!(scene.place("out").received().iter().all(|(_, _, bytes)| **bytes == *BYTES));
}

both! {
    it_waits_and_a_person_is_told_once(scene) {
        for (round, (system_time, stable_for)) in
            [(false, Duration::from_secs(2)), (true, Duration::from_secs(2)), (false, Duration::ZERO)].into_iter().enumerate()
        {
            let restless = Restless::at(&scene, system_time);
            let refusing = saying(flow("orders", &["out"]), |polling| polling.error_directory = Some("bad".into()));
            scene.flow(saying(refusing, |folder| folder.stable_for = stable_for));
            let engine = scene.start().await;
            let begun = scene.events("offer.unstable").await.len();
            scene.pass(Duration::from_secs(500), 100).await;
            assert_eq!(scene.events("offer.unstable").await.len(), begun, "it may be written for some minutes");
            scene.until_by(Duration::from_secs(5), "a person is told", || async { !engine.unstable().snapshot().is_empty() }).await;
            scene.pass(Duration::from_secs(500), 100).await;
            let told = scene.events("offer.unstable").await;
            assert_eq!(told.len(), round + 1, "once");
            let detail = &told[round].detail;
            assert_eq!((&detail["path"], &detail["bytes"]), (&"in/po.edi".into(), &16.into()));
            assert_ne!(detail["was"], detail["is"]);
            assert!(detail["advice"].as_str().unwrap().contains("ignore_times = true"), "{detail:?}");
            let kept_back = engine.unstable().snapshot();
            assert_eq!((kept_back.len(), kept_back[0].flow.as_str()), (1, "orders"));
            assert!(kept_back[0].words().contains("its modification time was 2"), "{}", kept_back[0].words());
            assert!(kept_back[0].since < scene.events("offer.unstable").await[round].at);
            assert_eq!(restless.scripted.count(Act::Read), 0, "it is not opened");
            assert_eq!(restless.folder.files(), ["in/po.edi"]);
            assert!(scene.events("offer.backed_off").await.is_empty() && scene.events("offer.refused").await.is_empty());
            assert_eq!(scene.transfers().await.len(), round);
            // It stands still.
            restless.moves.store(false, Ordering::SeqCst);
            delivered(&scene, round + 1).await;
            scene.until("its source is settled", || async { restless.folder.files().is_empty() }).await;
            assert!(engine.unstable().snapshot().is_empty());
            engine.stop(Duration::from_secs(1)).await;
        }
    }

    it_is_taken_where_times_are_left_out(scene) {
        let restless = Restless::at(&scene, false);
        let keeping = || saying(flow("orders", &["out"]), |polling| polling.after = After::Keep);
        scene.flow(saying(keeping(), |folder| folder.stable_for = Duration::from_secs(2)));
        let engine = scene.start().await;
        told(&scene, &engine).await;
        untouched(&scene).await;
        scene.flow(saying(keeping(), |folder| {
            (folder.stable_for, folder.ignore_times) = (Duration::from_secs(2), true);
        }));
        delivered(&scene, 1).await;
        scene.pass(Duration::from_secs(100), 20).await;
        assert_eq!((scene.transfers().await.len(), restless.scripted.count(Act::Read)), (1, 1));
        assert!(engine.unstable().snapshot().is_empty());
        // One of another size is a new file.
        restless.folder.put("in/po.edi", *b"a longer one than the first");
        scene.until("it is taken too", || async { scene.transfers().await.len() == 2 }).await;
    }

    one_that_is_overwritten_before_it_is_settled_stays(scene) {
        let restless = Restless::at(&scene, false);
        scene.place("out").answer(Answer::Fails(Fault::CUT));
        let waiting = polling(flow("orders", &["out"]), |poll| poll.settle = SettleWhen::AfterDelivery);
        scene.flow(saying(waiting, |folder| folder.ignore_times = true));
        let _engine = scene.start().await;
        scene.until("it is recorded", || async { scene.transfers().await.len() == 1 }).await;
        restless.folder.refill("in/po.edi", *b"another to order");
        scene.until("it is found out", || async {
            scene.events("offer.settled").await.iter().any(|event| event.detail["outcome"] == "changed")
        }).await;
        scene.until("the other one is taken too", || async { scene.transfers().await.len() == 2 }).await;
        scene.until("its source is settled", || async { restless.folder.files().is_empty() }).await;
        let bytes: Vec<_> = scene.place("out").received().iter().map(|(_, _, bytes)| bytes.to_vec()).collect();
        assert_eq!(bytes, [BYTES.to_vec(), b"another to order".to_vec()]);
    }

    a_local_file_that_is_filled_in_place_is_taken_once_it_is_quiet(scene) {
        let ground = tempfile::tempdir().unwrap();
        let (path, bad) = (ground.path().join("in"), ground.path().join("bad"));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::create_dir_all(&bad).unwrap();
        std::fs::write(path.join("po.edi"), vec![0; BYTES.len()]).unwrap();
        let root = transport_file_root(ground.path());
        let folder = ScriptedFolder::new(Arc::new(LocalFolder::new(root.clone(), vec![root.clone()])) as Arc<dyn Folder>);
        let (writes, file) = (Arc::new(AtomicBool::new(true)), path.join("po.edi"));
        let still = Arc::clone(&writes);
        // Whoever fills it writes something after each look.
        folder.tell(Way::Listing, move |entry| {
            if still.load(Ordering::SeqCst) && entry.path.file_name() == b"po.edi" {
                std::thread::sleep(Duration::from_millis(10));
                File::options().write(true).open(&file).unwrap().write_all_at(BYTES, 0).unwrap();
            }
        });
        let directory = root.join(&"in".into()).to_text();
        scene.place("in").use_folder(Arc::clone(&folder) as _, directory.as_str(), Overwrite::Refuse);
        let refusing = saying(flow("orders", &["out"]), |polling| {
            polling.error_directory = Some(root.join(&"bad".into()).to_text());
        });
        scene.flow(saying(refusing, |folder| folder.stable_for = Duration::from_secs(2)));
        let engine = scene.start().await;
        told(&scene, &engine).await;
        untouched(&scene).await;
        assert_eq!((folder.count(Act::Read), std::fs::read_dir(&bad).unwrap().count()), (0, 0));
        writes.store(false, Ordering::SeqCst);
        delivered(&scene, 1).await;
        scene.until("its source is settled", || async { !path.join("po.edi").exists() }).await;
        assert_eq!(std::fs::read_dir(&bad).unwrap().count(), 0);
    }
}

fn transport_file_root(path: &std::path::Path) -> model::RemotePath {
    model::RemotePath::from(path.to_str().unwrap())
}
