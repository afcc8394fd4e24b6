//! Telling the source: once, when it is time, and again when it was not told.

use crate::database::both;
use crate::scene::{LEASE, Scene, flow, polling, saying};
use model::definition::SettleWhen;
use model::{Outcome, TransferState};
use std::sync::Arc;
use std::time::Duration;
use testkit::fake::{Answer, Fault, MemoryFolder, ScriptedOffer, Settling};
use transport::folder::After;
use transport::folder::Overwrite;

fn after_delivery(scene: &Scene) {
    let flow = polling(flow("orders", &["out"]), |poll| poll.settle = SettleWhen::AfterDelivery);
    scene.flow(saying(flow, |polling| polling.error_directory = Some("bad".into())));
}

both! {
    settling_waits_for_the_last_delivery_when_told_to(scene) {
        after_delivery(&scene);
        scene.place("out").answer(Answer::Fails(Fault::CUT));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
        let _engine = scene.start().await;
        scene.until("it failed once", || async { scene.events("delivery.retrying").await.len() == 1 }).await;
        assert!(scene.place("in").settled().is_empty());
        scene.until("it is settled", || async { scene.place("in").settled().len() == 1 }).await;
        assert_eq!(scene.place("in").settled()[0].outcome, Outcome::Taken);
        assert_eq!(scene.transfers().await[0].state, TransferState::Completed);
        assert_eq!(scene.place("in").opened().len(), 1);
    }

    what_could_not_be_delivered_is_put_aside_with_the_reason(scene) {
        let folder = MemoryFolder::new();
        folder.put("in/po.edi", *b"ISA");
        scene.place("in").use_folder(Arc::new(folder.clone()), "in", Overwrite::Refuse);
        scene.place("out").answer(Answer::Fails(Fault::REFUSED));
        after_delivery(&scene);
        let _engine = scene.start().await;
        scene.until("the cause lies beside it", || async { folder.get("bad/po.edi.error.json").is_some() && folder.get("in/po.edi").is_none() }).await;
        let files = folder.files();
        let texts: Vec<_> = files.iter().map(|path| String::from_utf8_lossy(&folder.get(path.as_str()).unwrap()).into_owned()).collect();
        assert!(texts.iter().any(|text| text.contains("the test asked for it")), "{files:?} {texts:?}");
    }

    a_source_that_cannot_be_settled_is_told_again_and_offers_nothing_twice(scene) {
        scene.flow(flow("orders", &["out"]));
        let settlings = [Settling::Fails(Fault::CUT), Settling::Fails(Fault::REFUSED), Settling::DoneAnswerLost];
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x").settling(settlings));
        let _engine = scene.start().await;
        scene.until("it is confirmed", || async { scene.events("offer.settled").await.len() == 1 }).await;
        assert_eq!(scene.place("in").settled().len(), 4);
        assert_eq!(scene.events("offer.settle_failed").await.len(), 3);
        scene.until_all(1, TransferState::Completed).await;
        assert_eq!(scene.place("in").opened().len(), 1);
        // From now on the same name, size and time is a new file.
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"y"));
        scene.until_all(2, TransferState::Completed).await;
    }

    a_node_that_may_not_settle_waits_before_it_looks_again(scene) {
        scene.flow(flow("orders", &["out"]));
        for n in 0..120 {
            let settlings = [Settling::Fails(Fault::CUT)];
            scene.place("in").offer(ScriptedOffer::file(format!("{n}").as_str(), *b"x").settling(settlings));
        }
        let _engine = scene.start().await;
        scene.until_by(Duration::ZERO, "all failed once", || async {
            scene.event_count("offer.settle_failed").await == 120
        }).await;
        scene.supplant(&scene.another_or_same().await).await;
        scene.clock.advance(LEASE / 2);
        let looked = scene.sources_made();
        scene.until_by(Duration::ZERO, "it looked", || async { scene.sources_made() >= looked + 100 }).await;
        // A full round is due, and none of it is its to do. No time passes: it does not look again.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(scene.sources_made() <= looked + 200, "{looked} {}", scene.sources_made());
    }

    one_that_changed_is_left_alone_and_offered_anew(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x").settling([Settling::Changed]));
        let _engine = scene.start().await;
        scene.until_all(2, TransferState::Completed).await;
        assert_eq!(scene.place("in").opened().len(), 2);
    }

    a_kept_file_is_taken_once_for_as_long_as_it_lies_there(scene) {
        scene.flow(saying(flow("orders", &["out"]), |polling| polling.after = After::Keep));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Completed).await;
        scene.pass(Duration::from_secs(100), 50).await;
        assert_eq!(scene.transfers().await.len(), 1);
        let polls = scene.place("in").discoveries().len();
        scene.place("in").remove_offer(&"po.edi".into());
        scene.until("it is missed", || async { scene.place("in").discoveries().len() > polls + 1 }).await;
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
        scene.until_all(2, TransferState::Completed).await;
    }
}
