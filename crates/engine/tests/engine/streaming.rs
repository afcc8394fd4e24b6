//! Files that are not staged: each attempt reads them at their source.

use crate::database::both;
use crate::operating::{ENDPOINT, end, follows, suspend};
use crate::scene::{Scene, endpoint, flow, polling, saying};
use engine::Engine;
use model::definition::{Definitions, Flow, OfflineRule, SettleWhen};
use model::schedule::Schedule;
use model::{Content, ErrorKind, Outcome, Sha256, TransferState};
use std::sync::Arc;
use std::time::Duration;
use store::{FlowInForce, TransferView};
use testkit::fake::{Act, Answer, Fault, MemoryFolder, Opening, ScriptedFolder, ScriptedOffer};
use transport::folder::{Folder, Overwrite};

fn streaming(to: &[&str]) -> Flow {
    let flow = saying(flow("orders", to), |polling| polling.stream = true);
    polling(flow, |poll| poll.settle = SettleWhen::AfterDelivery)
}

fn sum(bytes: &[u8]) -> Sha256 {
    Sha256(openssl::sha::sha256(bytes))
}

/// A folder behind each end.
async fn folders(scene: &Scene) -> (MemoryFolder, Arc<ScriptedFolder>, MemoryFolder) {
    let (from, to) = (MemoryFolder::new(), MemoryFolder::new());
    from.make_directory(&"in".into()).await.unwrap();
    let read = ScriptedFolder::new(Arc::new(from.clone()));
    scene.place("in").use_folder(Arc::clone(&read) as Arc<_>, "in", Overwrite::Refuse);
    scene.place("out").use_folder(Arc::new(to.clone()), "out", Overwrite::Refuse);
    (from, read, to)
}

/// A transfer that fails because somebody took its file away before it was sent.
async fn lost(scene: &Scene) -> (Engine, TransferView) {
    scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
    suspend(scene, &scene.store, ENDPOINT, "out").await;
    let engine = scene.start().await;
    follows(scene, &engine, 1).await;
    scene.until("it is recorded", || async { scene.transfers().await.len() == 1 }).await;
    scene.place("in").remove_offer(&"po.edi".into());
    end(scene, &scene.store, ENDPOINT, "out").await;
    let failed = scene.until_all(1, TransferState::Failed).await.remove(0);
    assert_eq!(scene.events("delivery.retrying").await.len(), 2);
    let error = scene.events("delivery.failed").await.remove(0).detail["error"].to_string();
    assert!(error.contains("no longer at its source"), "{error}");
    assert!(scene.events("endpoint.offline").await.is_empty());
    scene.until("its source is settled", || async { scene.events("offer.settled").await.len() == 1 }).await;
    (engine, failed)
}

both! {
    a_file_is_read_while_it_is_sent_and_settled_once_it_is_delivered(scene) {
        scene.flow(streaming(&["out"]));
        scene.place("out").answer(Answer::FailsAfter(1, Fault::CUT));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"ISA*00"));
        let _engine = scene.start().await;
        scene.until("it failed once", || async { scene.events("delivery.retrying").await.len() == 1 }).await;
        assert!(scene.place("in").settled().is_empty());
        let waiting = scene.transfers().await.remove(0);
        assert_eq!((waiting.content, waiting.length), (Content::Streamed(None), 6));
        scene.until("it is settled", || async { scene.place("in").settled().len() == 1 }).await;
        assert_eq!(scene.place("in").settled()[0].outcome, Outcome::Taken);
        assert!(scene.place("in").offers().is_empty());
        // Each attempt opened it, and nothing was ever staged.
        assert_eq!((scene.place("in").opened().len(), scene.staged()), (2, 0));
        let received = scene.place("out").received();
        assert_eq!((received.len(), &*received[0].2), (1, &b"ISA*00"[..]));
        let done = scene.until_all(1, TransferState::Completed).await.remove(0);
        assert_eq!(done.content, Content::Streamed(Some(sum(b"ISA*00"))));
        let recorded = scene.events("transfer.recorded").await.remove(0);
        assert_eq!((&recorded.detail["streamed"], recorded.detail.get("sha256")), (&true.into(), None));
        let read = scene.events("transfer.streamed").await.remove(0);
        assert_eq!((read.endpoint.as_deref(), &read.detail["bytes"]), (Some("in"), &6.into()));
        assert_eq!(read.detail["sha256"], sum(b"ISA*00").to_string());
        // A new file of its name, size and time is another one.
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"ISA*01"));
        scene.until_all(2, TransferState::Completed).await;
    }

    what_is_read_once_and_gone_then_is_delivered(scene) {
        scene.flow(streaming(&["out"]));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x").opening([Opening::Once]));
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Completed).await;
        assert_eq!(scene.place("out").received().len(), 1);
    }

    a_file_that_changes_while_it_is_read_is_not_published_and_is_taken_anew(scene) {
        let (from, read, to) = folders(&scene).await;
        from.put("in/po.edi", *b"first");
        let replaced = from.clone();
        // Opened, read, and replaced before it is looked at again.
        read.before(Act::Read, move || async move { replaced.put("in/po.edi", *b"second one") });
        scene.flow(streaming(&["out"]));
        let _engine = scene.start().await;
        scene.until("the second is delivered", || async { to.get("out/po.edi").is_some() }).await;
        assert_eq!(&*to.get("out/po.edi").unwrap(), b"second one");
        scene.until("its source is settled", || async { from.files().is_empty() }).await;
        assert_eq!(to.files(), ["out/po.edi"]);
        scene.until("both ended", || async {
            scene.transfers().await.iter().all(|one| one.ended_at.is_some())
        }).await;
        let states: Vec<_> = scene.transfers().await.iter().map(|one| one.state).collect();
        assert_eq!(states, [TransferState::Failed, TransferState::Completed]);
        // At once, not after attempts that cannot help.
        assert!(scene.events("delivery.retrying").await.is_empty());
        assert_eq!(scene.staged(), 0);
    }

    a_file_that_was_replaced_before_its_delivery_fails_and_says_so(scene) {
        let (from, _, to) = folders(&scene).await;
        scene.flow(streaming(&["out"]));
        let engine = scene.start().await;
        suspend(&scene, &scene.store, ENDPOINT, "out").await;
        follows(&scene, &engine, 1).await;
        from.put("in/po.edi", *b"first");
        scene.until("it is recorded", || async { scene.transfers().await.len() == 1 }).await;
        from.put("in/po.edi", *b"second one");
        scene.until("the second is recorded", || async { scene.transfers().await.len() == 2 }).await;
        end(&scene, &scene.store, ENDPOINT, "out").await;
        scene.until("both ended", || async {
            scene.transfers().await.iter().all(|one| one.ended_at.is_some())
        }).await;
        let states: Vec<_> = scene.transfers().await.iter().map(|one| one.state).collect();
        assert_eq!(states, [TransferState::Failed, TransferState::Completed]);
        let failed = scene.events("delivery.failed").await.remove(0);
        assert!(failed.detail["error"].as_str().unwrap().contains("changed before it was sent"), "{failed:?}");
        assert_eq!(&*to.get("out/po.edi").unwrap(), b"second one");
        scene.until("the second is settled, the first leaves it alone", || async { from.files().is_empty() }).await;
    }

    a_size_that_is_not_what_was_listed_breaks_every_attempt(scene) {
        let (from, read, to) = folders(&scene).await;
        from.put("in/po.edi", *b"12345");
        for way in [testkit::fake::Way::Listing, testkit::fake::Way::Look] {
            read.tell(way, |entry| if entry.path.file_name() == b"po.edi" { entry.size = Some(9) });
        }
        scene.flow(streaming(&["out"]));
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Failed).await;
        assert_eq!(to.files(), Vec::<String>::new());
        let error = scene.events("delivery.failed").await.remove(0).detail["error"].to_string();
        assert!(error.contains("reported bytes 9") && error.contains("read bytes 5"), "{error}");
        // It stays, is on record, and is not offered again.
        scene.pass(Duration::from_secs(60), 30).await;
        assert_eq!((from.files(), scene.transfers().await.len()), (vec!["in/po.edi".to_owned()], 1));
    }

    a_file_that_is_gone_is_waited_for_and_a_person_can_have_it_sent_again(scene) {
        // Its folder is not listed while it is away: it would be on record as gone.
        let daily = Schedule::every(Duration::from_secs(86_400));
        scene.flow(polling(streaming(&["out"]), |poll| poll.schedule = daily.clone()));
        let (_engine, failed) = lost(&scene).await;
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
        scene.store.retry_transfer(failed.id, &scene.act(), None::<FlowInForce>).await.unwrap();
        scene.until_all(1, TransferState::Completed).await;
        scene.until("it is settled", || async { scene.place("in").offers().is_empty() }).await;
    }

    a_file_that_was_seen_to_be_gone_is_a_new_one_when_it_is_there_again(scene) {
        scene.flow(streaming(&["out"]));
        let (_engine, failed) = lost(&scene).await;
        scene.pass(Duration::from_secs(60), 30).await;
        let retried = scene.store.retry_transfer(failed.id, &scene.act(), None::<FlowInForce>).await;
        let error = retried.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("no longer where it was found"), "{error}");
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
        scene.until("it is delivered", || async { scene.place("out").received().len() == 1 }).await;
        scene.until("both ended", || async {
            let transfers = scene.transfers().await;
            transfers.len() == 2 && transfers.iter().all(|one| one.ended_at.is_some())
        }).await;
        let states: Vec<_> = scene.transfers().await.iter().map(|one| one.state).collect();
        assert_eq!(states, [TransferState::Failed, TransferState::Completed]);
    }

    a_source_that_does_not_answer_goes_offline_and_its_files_wait(scene) {
        scene.define(|all: &mut Definitions| {
            let mut source = (*endpoint("in")).clone();
            source.offline = Some(OfflineRule { after: 1, lasts: Some(Duration::from_secs(3600)) });
            all.endpoints.insert("in".into(), Arc::new(source));
        });
        scene.flow(streaming(&["out"]));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x").opening([Opening::Fails(Fault::CUT), Opening::Whole]));
        let _engine = scene.start().await;
        // In small steps: its next attempt must not be due before the failed one is recorded.
        let step = Duration::from_millis(100);
        scene.until_by(step, "the source is offline", || async { !scene.events("endpoint.offline").await.is_empty() }).await;
        assert_eq!(scene.events("endpoint.offline").await[0].endpoint.as_deref(), Some("in"));
        // Its second attempt is due after ten seconds, and waits for the source.
        scene.pass(Duration::from_secs(600), 60).await;
        assert_eq!(scene.place("in").opened().len(), 1);
        scene.pass(Duration::from_secs(3600), 60).await;
        scene.until_all(1, TransferState::Completed).await;
        assert_eq!(scene.events("endpoint.offline").await.len(), 1);
    }

    a_login_that_the_source_refuses_does_not_end_the_delivery(scene) {
        let refused = Fault { kind: model::ErrorKind::Unauthenticated, retry: model::Retry::Permanent };
        scene.flow(streaming(&["out"]));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x").opening([Opening::Fails(refused), Opening::Whole]));
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Completed).await;
        assert_eq!(scene.events("delivery.retrying").await.len(), 1);
    }

    a_reading_that_breaks_off_is_begun_anew(scene) {
        scene.flow(streaming(&["out"]));
        let openings = [Opening::FailsAt(3), Opening::FailsAt(0), Opening::Whole];
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"ISA*00").opening(openings));
        let _engine = scene.start().await;
        let done = scene.until_all(1, TransferState::Completed).await.remove(0);
        assert_eq!(done.content, Content::Streamed(Some(sum(b"ISA*00"))));
        assert_eq!((scene.place("out").received().len(), scene.place("in").opened().len()), (1, 3));
    }

    a_file_of_unknown_size_is_refused_and_left(scene) {
        scene.flow(streaming(&["out"]));
        let mut offer = ScriptedOffer::file("po.edi", *b"x");
        offer.size = None;
        scene.place("in").offer(offer);
        let _engine = scene.start().await;
        scene.until("it is refused", || async { scene.events("offer.refused").await.len() == 1 }).await;
        assert_eq!((scene.transfers().await.len(), scene.place("in").offers().len()), (0, 1));
    }

    what_is_cancelled_stays_at_its_source(scene) {
        scene.flow(streaming(&["out"]));
        scene.place("out").otherwise(Answer::Fails(Fault::CUT));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
        let _engine = scene.start().await;
        scene.until("it failed once", || async { !scene.events("delivery.retrying").await.is_empty() }).await;
        let transfer = scene.transfers().await[0].id;
        scene.store.cancel_transfer(transfer, &scene.act()).await.unwrap();
        scene.until("its source is settled", || async { scene.place("in").settled().len() == 1 }).await;
        assert_eq!(scene.place("in").settled()[0].outcome, Outcome::Refused);
        assert_eq!(scene.place("in").offers().len(), 1);
    }

    nothing_is_kept_to_be_resubmitted(scene) {
        scene.flow(streaming(&["out"]));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
        let _engine = scene.start().await;
        let done = scene.until_all(1, TransferState::Completed).await.remove(0);
        let parent = scene.store.transfer(done.id).await.unwrap().unwrap();
        let mut child = parent.clone();
        (child.id, child.parent) = (model::TransferId::new(uuid::Uuid::now_v7()), Some(parent.id));
        (child.offer, child.state) = (None, TransferState::Staged);
        let deliveries = engine::new_deliveries(&streaming(&["out"]), &child, uuid::Uuid::now_v7);
        let child = store::NewTransfer { transfer: child, deliveries, retain_for: Duration::ZERO, failure_route: None, attachments: Vec::new() };
        let made = scene.store.resubmit(vec![child], &scene.act()).await.unwrap().remove(0).made;
        let error = made.unwrap_err().to_string();
        assert!(error.contains("streamed") && error.contains("keeps no copy"), "{error}");
        // Its retention ends, and there is nothing to remove.
        scene.pass(Duration::from_secs(2 * 3600), 60).await;
        assert!(scene.events("payload.removed").await.is_empty());
    }
}
