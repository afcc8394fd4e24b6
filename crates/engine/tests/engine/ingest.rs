//! Finding, staging, recording: until a file is ours.

use crate::database::both;
use crate::scene::{flow, polling, saying};
use model::{RemotePath, TransferState};
use std::sync::Arc;
use std::time::Duration;
use testkit::fake::{Act, Fault, MemoryFolder, Opening, ScriptedFolder, ScriptedOffer, ScriptedPart};
use transport::folder::Overwrite;

both! {
    a_file_is_moved_whole_and_its_source_settled(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("in").offer(ScriptedOffer::file("in/po.edi", *b"ISA*00"));
        let engine = scene.start().await;
        let done = scene.until_all(1, TransferState::Completed).await;
        assert_eq!((done[0].file_name.to_text().as_str(), done[0].length), ("po.edi", 6));
        let received = scene.place("out").received();
        assert_eq!(received.len(), 1);
        assert_eq!((&*received[0].2, received[0].1.to_text().as_str()), (&b"ISA*00"[..], "po.edi"));
        scene.until("the source is settled", || async { scene.place("in").offers().is_empty() }).await;
        assert_eq!(scene.place("in").settled().len(), 1);
        // The source has done it a moment before that is on record.
        let kinds = ["delivery.attempted", "delivery.delivered", "offer.settled", "transfer.completed", "transfer.recorded"];
        scene.until("every step is on record", || async {
            let waybill = scene.waybill(done[0].id).await;
            let mut told: Vec<&str> = waybill.events.iter().map(|event| event.kind.as_str()).collect();
            told.sort_unstable();
            told == kinds
        }).await;
        engine.stop(std::time::Duration::from_secs(5)).await;
    }

    the_waybill_tells_when_a_file_was_found_and_when_it_was_ours(scene) {
        let folder = MemoryFolder::new();
        folder.put("in/po.edi", *b"ISA");
        let slow = ScriptedFolder::new(Arc::new(folder));
        let clock = Arc::clone(&scene.clock);
        slow.before(Act::Read, move || Box::pin(async move { clock.advance(Duration::from_secs(7)) }));
        scene.place("in").use_folder(slow, "in", Overwrite::Refuse);
        scene.flow(flow("orders", &["out"]));
        let _engine = scene.start().await;
        scene.until_by(Duration::ZERO, "it is recorded", || async { scene.transfers().await.len() == 1 }).await;
        let waybill = scene.waybill(scene.transfers().await[0].id).await;
        let found = waybill.offer.unwrap().found_at;
        assert_eq!((waybill.transfer.created_at - found).num_seconds(), 7);
    }

    files_are_read_while_others_are_settled_over_the_same_connection(scene) {
        let folder = MemoryFolder::new();
        for number in 0..30 {
            folder.put(format!("in/{number}.edi").as_str(), *b"ISA");
        }
        let slow = ScriptedFolder::new(Arc::new(folder));
        slow.limit_connections(1);
        scene.place("in").use_folder(slow, "in", Overwrite::Refuse);
        scene.flow(polling(flow("orders", &["out"]), |poll| poll.read_limit = 0));
        let _engine = scene.start().await;
        scene.until_all(30, TransferState::Completed).await;
        scene.until("all are settled", || async { scene.events("offer.settled").await.len() == 30 }).await;
    }

    each_part_becomes_a_transfer_of_one_offer(scene) {
        scene.flow(flow("mails", &["out", "other"]));
        scene.place("in").offer(ScriptedOffer { size: None, ..ScriptedOffer::file("mail-1", *b"") }.with_parts(vec![
            ScriptedPart::new("a.edi", *b"first"),
            ScriptedPart::new("b.edi", *b"second"),
            ScriptedPart::new("c.edi", *b""),
        ]));
        let _engine = scene.start().await;
        let done = scene.until_all(3, TransferState::Completed).await;
        assert!(done.iter().all(|transfer| transfer.offer == done[0].offer && transfer.deliveries == 2));
        for place in ["out", "other"] {
            let mut texts: Vec<_> = scene.place(place).received().iter().map(|(_, name, bytes)| (name.to_text(), bytes.to_vec())).collect();
            texts.sort();
            assert_eq!(texts, [("a.edi".into(), b"first".to_vec()), ("b.edi".into(), b"second".to_vec()), ("c.edi".into(), vec![])]);
        }
    }

    a_reader_that_fails_in_the_middle_is_tried_again_and_whole(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("in").offer(
            ScriptedOffer::file("po.edi", vec![7_u8; 100_000]).opening([Opening::FailsAt(70_000), Opening::Whole]),
        );
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Completed).await;
        assert_eq!(scene.place("in").opened().len(), 2);
        let backed_off = scene.events("offer.backed_off").await;
        assert_eq!(backed_off.len(), 1);
        assert_eq!(scene.place("out").received()[0].2.len(), 100_000);
        assert_eq!(scene.staged(), 1);
    }

    a_file_that_changes_while_it_is_read_is_offered_anew(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"text").opening([Opening::Changed, Opening::Whole]));
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Completed).await;
        assert_eq!(scene.events("offer.changed").await.len(), 1);
        assert_eq!(scene.staged(), 1);
    }

    one_that_never_opens_starves_nobody_and_is_refused_in_the_end(scene) {
        scene.flow(polling(flow("orders", &["out"]), |poll| poll.read_limit = 1));
        scene.place("in").offer(ScriptedOffer::file("a-broken", *b"x").opening([Opening::Fails(Fault::CUT)]));
        scene.place("in").offer(ScriptedOffer::file("b", *b"y"));
        scene.place("in").offer(ScriptedOffer::file("c", *b"z"));
        let _engine = scene.start().await;
        scene.until_all(2, TransferState::Completed).await;
        scene.until("it is refused", || async { scene.events("offer.refused").await.len() == 1 }).await;
        let opened = scene.place("in").opened();
        let broken = RemotePath::from("a-broken");
        assert_eq!(opened.iter().filter(|path| **path == broken).count(), 3);
        assert_eq!(scene.events("offer.backed_off").await.len(), 2);
        // It stays where it is, and hides.
        scene.pass(std::time::Duration::from_secs(100), 20).await;
        assert_eq!(scene.place("in").opened().iter().filter(|path| **path == broken).count(), 3);
        assert_eq!(scene.place("in").offers().len(), 1);
    }

    a_transport_that_breaks_down_over_one_file_takes_nothing_else_with_it(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("in").offer(ScriptedOffer::file("a", *b"x").opening([Opening::Panics, Opening::Whole]));
        scene.place("in").offer(ScriptedOffer::file("b", *b"y"));
        let _engine = scene.start().await;
        scene.until_all(2, TransferState::Completed).await;
        assert_eq!(scene.place("in").opened().len(), 3);
    }

    one_that_is_always_gone_when_it_is_opened_starves_nobody(scene) {
        let gone = Fault { kind: model::ErrorKind::NotFound, retry: model::Retry::Transient };
        scene.flow(polling(flow("orders", &["out"]), |poll| poll.read_limit = 1));
        scene.place("in").offer(ScriptedOffer::file("a-ghost", *b"x").opening([Opening::Fails(gone)]));
        scene.place("in").offer(ScriptedOffer::file("b", *b"y"));
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Completed).await;
        assert!(!scene.events("offer.backed_off").await.is_empty());
    }

    an_offer_without_parts_is_refused_and_not_settled_away(scene) {
        scene.flow(flow("mails", &["out"]));
        let empty = ScriptedOffer { size: None, ..ScriptedOffer::file("mail", *b"") };
        scene.place("in").offer(empty.with_parts(Vec::new()));
        let _engine = scene.start().await;
        scene.until("it is refused", || async { scene.events("offer.refused").await.len() == 1 }).await;
        assert_eq!(scene.place("in").offers().len(), 1);
    }

    the_cause_goes_with_a_refused_file_to_its_error_directory(scene) {
        let folder = MemoryFolder::new();
        let scripted = ScriptedFolder::new(Arc::new(folder.clone()));
        scripted.fail(Act::Read, Fault::REFUSED);
        scene.place("in").use_folder(scripted, "in", Overwrite::Refuse);
        folder.put("in/po.edi", *b"ISA");
        scene.flow(saying(flow("orders", &["out"]), |polling| polling.error_directory = Some("bad".into())));
        let _engine = scene.start().await;
        scene.until("it is moved away", || async { folder.get("in/po.edi").is_none() }).await;
        scene.until("its cause lies beside it", || async { folder.get("bad/po.edi.error.json").is_some() }).await;
        let files = folder.files();
        let texts: Vec<String> = files.iter().map(|path| String::from_utf8_lossy(&folder.get(path.as_str()).unwrap()).into_owned()).collect();
        assert!(texts.iter().any(|text| text == "ISA"), "{files:?}");
        assert!(texts.iter().any(|text| text.contains("the test asked for it")), "{files:?} {texts:?}");
    }
}
