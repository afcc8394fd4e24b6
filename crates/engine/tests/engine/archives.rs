//! Archives: copies on this machine, and removing files when their time is over.

use crate::database::both;
use crate::scene::{Scene, flow, polling, saying};
use model::definition::SettleWhen;
use model::{NameTemplate, TransferState};
use std::sync::Arc;
use std::time::Duration;
use store::EventView;
use store::{ArchiveRecord, ArchiveSite};
use testkit::fake::{Act, Answer, Fault, MemoryFolder, Renames, ScriptedFolder};
use transport::folder::{After, Overwrite};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A remote folder with one file, and a flow that archives it on this machine for a day.
fn archiving(scene: &Scene, timestamp: bool) -> MemoryFolder {
    let folder = MemoryFolder::new();
    folder.put("in/po.edi", *b"ISA");
    scene.place("in").use_folder(Arc::new(folder.clone()), "in", Overwrite::Refuse);
    scene.flow(saying(flow("orders", &["out"]), |polling| {
        polling.after = After::ArchiveLocally { directory: "/srv/{flow}/{received:%Y}".into(), timestamp };
        polling.keep_for = Some(DAY);
    }));
    folder
}

fn archived(scene: &Scene) -> Vec<String> {
    scene.archives.files()
}

fn outcomes(events: &[EventView]) -> Vec<String> {
    events.iter().map(|event| event.detail["outcome"].as_str().unwrap().to_owned()).collect()
}

both! {
    a_remote_file_goes_when_its_copy_here_is_durable_and_the_copy_when_its_time_is_over(scene) {
        scene.archives.set_renames(Renames::Never);
        let folder = archiving(&scene, true);
        let _engine = scene.start().await;
        scene.until("archiving failed twice", || async { scene.events("offer.settle_failed").await.len() >= 2 }).await;
        assert!(folder.get("in/po.edi").is_some(), "the remote file stays as long as there is no copy");
        scene.archives.set_renames(Renames::All);
        scene.until("it is settled", || async { scene.events("offer.settled").await.len() == 1 }).await;
        assert_eq!(folder.get("in/po.edi"), None);
        let [path] = &archived(&scene)[..] else { panic!("{:?}", archived(&scene)) };
        assert!(path.starts_with("srv/orders/20") && path.ends_with("Z.edi"), "{path}");
        assert_eq!(scene.archives.get(path.as_str()).unwrap().as_ref(), b"ISA");
        assert_eq!(scene.events("offer.settled").await[0].detail["archived"], format!("/{path}"));
        assert_eq!(scene.until_all(1, TransferState::Completed).await.len(), 1);
        scene.archives.put("srv/orders/mine.edi", *b"a file of somebody else");
        scene.pass(DAY / 2, 5).await;
        assert_eq!(archived(&scene).len(), 2);
        scene.pass(DAY, 5).await;
        scene.until("it is removed", || async { archived(&scene) == ["srv/orders/mine.edi"] }).await;
        scene.until("that is on record", || async { scene.events("archive.removed").await.len() == 1 }).await;
        assert_eq!(outcomes(&scene.events("archive.removed").await), ["removed"]);
    }

    the_copy_in_an_archive_is_known_to_names_and_metadata(scene) {
        let named = |flow: &mut model::definition::Flow| {
            let template = NameTemplate::parse("{archive.name}.{archive.sha256}").unwrap();
            flow.destinations[0].file_name = Some(template);
        };
        for (number, after) in [
            After::ArchiveLocally { directory: "/srv/{flow}/{received:%Y}".into(), timestamp: true },
            After::Archive { directory: "done/{received:%Y}".into(), timestamp: true },
            After::Archive { directory: "done/{received:%Y}".into(), timestamp: false },
        ]
        .into_iter()
        .enumerate()
        {
            let is_timed = number < 2;
            let folder = MemoryFolder::new();
            folder.put("in/po.edi", *b"ISA");
            scene.place("in").use_folder(Arc::new(folder.clone()), "in", Overwrite::Refuse);
            let mut flow = saying(flow(&format!("orders-{number}"), &["out"]), |polling| polling.after = after.clone());
            if is_timed {
                named(&mut flow);
            }
            let name = flow.name.clone();
            scene.define(|all| {
                all.flows.clear();
                all.flows.insert(name.clone(), Arc::new(flow));
            });
            let engine = scene.start().await;
            scene.until("it is settled", || async { scene.events("offer.settled").await.len() == number + 1 }).await;
            scene.until_all(number + 1, TransferState::Completed).await;
            let transfer = scene.transfers().await.pop().unwrap();
            let metadata = scene.store.transfer(transfer.id).await.unwrap().unwrap().metadata;
            let received = scene.place("out").received().pop().unwrap().1.to_text();
            let there = if number == 0 { archived(&scene) } else { folder.files() };
            if is_timed {
                let [path] = &there[..] else { panic!("{there:?}") };
                let told = metadata["archive_path"].as_str().unwrap();
                assert_eq!(told.trim_start_matches('/'), path.as_str(), "{number}");
                let sha256 = metadata["archive_sha256"].as_str().unwrap();
                assert_eq!(sha256, "92f122ac5c2fbef19c1812f2cce2c486f9d3c9e147c992b77054bb4536322c3f");
                let last = path.rsplit('/').next().unwrap();
                assert_eq!(received, format!("{last}.{sha256}"), "{number}");
            } else {
                // The name may get a number, so it is not known before.
                assert!(!metadata.contains_key("archive_path"), "{metadata:?}");
                assert_eq!(received, "po.edi");
            }
            engine.stop(Duration::from_secs(10)).await;
        }
    }

    each_file_is_archived_by_itself_and_one_that_was_changed_there_stays(scene) {
        let folder = archiving(&scene, false);
        let _engine = scene.start().await;
        scene.until("it is settled", || async { scene.events("offer.settled").await.len() == 1 }).await;
        folder.put("in/po.edi", *b"ISA");
        scene.until("the same again", || async { scene.events("offer.settled").await.len() == 2 }).await;
        folder.put("in/po.edi", *b"UNB");
        scene.until("another one", || async { scene.events("offer.settled").await.len() == 3 }).await;
        let [same, other, first] = &archived(&scene)[..] else { panic!("{:?}", archived(&scene)) };
        assert!(first.ends_with("/po.edi") && same.ends_with("/po-2.edi") && other.ends_with("/po-3.edi"), "{first}");
        scene.archives.put(first.as_str(), *b"changed by hand");
        scene.pass(2 * DAY, 10).await;
        scene.until("all are judged", || async { scene.events("archive.removed").await.len() == 3 }).await;
        assert_eq!(archived(&scene), std::slice::from_ref(first));
        let mut outcomes = outcomes(&scene.events("archive.removed").await);
        outcomes.sort();
        assert_eq!(outcomes, ["changed", "removed", "removed"]);
    }

    a_copy_is_on_record_before_its_source_is_settled(scene) {
        let refusing = ScriptedFolder::new(Arc::new(archiving(&scene, true)));
        (0..100).for_each(|_| refusing.fail(Act::Remove, Fault::REFUSED));
        scene.place("in").use_folder(Arc::clone(&refusing) as _, "in", Overwrite::Refuse);
        let _engine = scene.start().await;
        scene.until("settling failed twice", || async { scene.events("offer.settle_failed").await.len() >= 2 }).await;
        assert_eq!(archived(&scene).len(), 1, "the second attempt finds the copy of the first");
        let in_two_days = chrono::Utc::now() + 2 * DAY;
        let node = "n1".parse().unwrap();
        let due = scene.store.archived_past(&node, in_two_days, 10).await.unwrap();
        assert_eq!(due.len(), 1, "{due:?}");
    }

    what_a_flow_archived_that_is_no_longer_defined_stays_until_it_is_defined_again(scene) {
        let folder = MemoryFolder::new();
        folder.put("in/po.edi", *b"ISA");
        scene.place("in").use_folder(Arc::new(folder.clone()), "in", Overwrite::Refuse);
        let orders = saying(flow("orders", &["out"]), |polling| {
            polling.after = After::Archive { directory: "done".into(), timestamp: false };
            polling.keep_for = Some(DAY);
        });
        scene.flow(orders.clone());
        let _engine = scene.start().await;
        scene.until("it is archived", || async { scene.events("offer.settled").await.len() == 1 }).await;
        scene.define(|all| drop(all.flows.remove("orders")));
        scene.pass(2 * DAY, 10).await;
        assert_eq!((folder.files().len(), scene.events("archive.removed").await.len()), (1, 0));
        scene.flow(orders);
        scene.pass(DAY, 10).await;
        scene.until("it is removed", || async { scene.events("archive.removed").await.len() == 1 }).await;
        assert!(folder.files().is_empty());
    }

    a_server_that_does_not_answer_holds_up_no_other_archive(scene) {
        let theirs = MemoryFolder::new();
        theirs.put("in/sub/directory", *b"nothing to poll");
        let silent = ScriptedFolder::new(Arc::new(theirs));
        silent.before(Act::Stat, std::future::pending::<()>);
        scene.place("other").use_folder(Arc::clone(&silent) as _, "in", Overwrite::Refuse);
        scene.flow(polling(flow("orders-of-silent", &["out"]), |poll| poll.endpoint = "other".into()));
        let folder = archiving(&scene, true);
        let record = |site, path: &str| ArchiveRecord {
            flow: "orders-of-silent".into(),
            site,
            path: path.into(),
            size: Some(3),
            modified: None,
            remove_at: chrono::Utc::now() + DAY,
        };
        let _engine = scene.start().await;
        scene.until("it is archived", || async { folder.get("in/po.edi").is_none() }).await;
        let theirs = record(ArchiveSite::Endpoint("other".into()), "done/po.edi");
        scene.store.record_archived(vec![theirs], chrono::Utc::now()).await.unwrap();
        scene.pass(2 * DAY, 10).await;
        scene.until("ours is removed", || async { archived(&scene).is_empty() }).await;
    }

    a_payload_is_kept_until_its_source_is_settled(scene) {
        scene.archives.set_renames(Renames::Never);
        let folder = archiving(&scene, true);
        scene.define(|all| {
            let mut kept_for_no_time = (*all.flows["orders"]).clone();
            kept_for_no_time.retention = Duration::ZERO;
            all.flows.insert("orders".into(), Arc::new(kept_for_no_time));
        });
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Completed).await;
        scene.pass(Duration::from_secs(600), 20).await;
        assert_eq!(scene.staged(), 1, "its copy in the archive is not written yet");
        scene.archives.set_renames(Renames::All);
        scene.until("it is archived", || async { archived(&scene).len() == 1 && folder.get("in/po.edi").is_none() }).await;
        scene.until("it is removed from staging", || async { scene.staged() == 0 }).await;
    }

    a_file_at_its_source_is_removed_from_the_archive_there(scene) {
        let folder = MemoryFolder::new();
        folder.put("in/po.edi", *b"ISA");
        scene.place("in").use_folder(Arc::new(folder.clone()), "in", Overwrite::Refuse);
        scene.flow(saying(flow("orders", &["out"]), |polling| {
            polling.after = After::Archive { directory: "done/{received:%Y-%m}".into(), timestamp: false };
            polling.keep_for = Some(DAY);
        }));
        let _engine = scene.start().await;
        scene.until("it is archived", || async { scene.events("offer.settled").await.len() == 1 }).await;
        let [path] = &folder.files()[..] else { panic!("{:?}", folder.files()) };
        assert!(path.starts_with("done/20"), "{path}");
        folder.put("done/theirs.edi", *b"a file of somebody else");
        scene.pass(2 * DAY, 10).await;
        scene.until("it is removed", || async { scene.events("archive.removed").await.len() == 1 }).await;
        assert_eq!(folder.files(), ["done/theirs.edi"]);
    }

    a_delivery_that_failed_for_good_after_its_source_was_settled_is_kept_to_be_sent_again(scene) {
        let folder = MemoryFolder::new();
        folder.put("in/po.edi", *b"ISA");
        scene.place("in").use_folder(Arc::new(folder.clone()), "in", Overwrite::Refuse);
        scene.place("out").answer(Answer::Fails(Fault::REFUSED));
        let recorded = polling(flow("orders", &["out"]), |poll| poll.settle = SettleWhen::Recorded);
        scene.flow(saying(recorded, |polling| polling.error_directory = Some("bad".into())));
        let _engine = scene.start().await;
        let failed = scene.until_all(1, TransferState::Failed).await;
        assert_eq!(folder.files(), [""; 0], "its source was settled before");
        scene.pass(Duration::from_secs(600), 10).await;
        assert_eq!(scene.staged(), 1);
        scene.store.retry_transfer(failed[0].id, &scene.act(), None).await.unwrap();
        scene.until_all(1, TransferState::Completed).await;
    }
}
