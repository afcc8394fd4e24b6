//! Files that are claimed by renaming.

use crate::database::both;
use crate::scene::{Scene, flow, polling, saying};
use model::TransferState;
use model::definition::SettleWhen;
use std::sync::Arc;
use std::time::Duration;
use testkit::fake::{Act, Answer, Fault, MemoryFolder, ScriptedFolder};
use transport::folder::{After, Claim, DoneFile, Folder, Overwrite};

const MINUTE: Duration = Duration::from_secs(60);

/// A flow that claims what it takes from a folder, and settles it after its delivery.
fn claiming(scene: &Scene, folder: Arc<dyn Folder>) {
    scene.place("in").use_folder(folder, "in", Overwrite::Refuse);
    let mut orders = saying(flow("orders", &["out"]), |polling| polling.claim = Claim::Rename);
    // The clock of the test runs on: no delivery is to fail for good meanwhile.
    orders.destinations[0].retry.attempts = 10_000;
    scene.flow(polling(orders, |poll| poll.settle = SettleWhen::AfterDelivery));
}

both! {
    a_claimed_file_keeps_its_claim_until_it_is_settled_however_long_that_takes(scene) {
        let folder = MemoryFolder::new();
        folder.put("in/po.edi", *b"ISA");
        claiming(&scene, Arc::new(folder.clone()));
        scene.place("out").break_down(Some(Fault::CUT));
        let _engine = scene.start().await;
        scene.until("it is taken", || async { scene.transfers().await.len() == 1 }).await;
        assert_eq!(folder.files(), ["in/po.edi.stage"]);
        for _ in 0..60 {
            scene.pass(MINUTE, 1).await;
        }
        assert!(scene.store.claims_left().await.unwrap().is_empty(), "its delivery is awaited");
        assert_eq!((folder.files(), scene.transfers().await.len()), (vec!["in/po.edi.stage".to_owned()], 1));
        scene.place("out").break_down(None);
        scene.until_all(1, TransferState::Completed).await;
        scene.until("it is deleted", || async { folder.files().is_empty() }).await;
        assert_eq!(scene.place("out").received()[0].1.to_text(), "po.edi");
    }

    a_file_that_could_not_be_delivered_everywhere_is_renamed_back_and_is_not_taken_again(scene) {
        let folder = MemoryFolder::new();
        folder.put("in/po.edi", *b"ISA");
        scene.place("in").use_folder(Arc::new(folder.clone()), "in", Overwrite::Refuse);
        scene.place("other").answer(Answer::Fails(Fault::REFUSED));
        let orders = saying(flow("orders", &["out", "other"]), |polling| polling.claim = Claim::Rename);
        scene.flow(polling(orders, |poll| poll.settle = SettleWhen::AfterDelivery));
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::PartlyFailed).await;
        scene.until("it has its name again", || async { folder.files() == ["in/po.edi"] }).await;
        for _ in 0..60 {
            scene.pass(MINUTE, 1).await;
        }
        assert_eq!((folder.files(), scene.transfers().await.len()), (vec!["in/po.edi".to_owned()], 1));
        assert_eq!(scene.place("out").received().len(), 1);
    }

    the_next_file_of_a_name_waits_for_the_claim_of_the_one_before(scene) {
        let folder = MemoryFolder::new();
        folder.put("in/po.edi", *b"ISA");
        claiming(&scene, Arc::new(folder.clone()));
        scene.place("out").break_down(Some(Fault::CUT));
        let _engine = scene.start().await;
        scene.until("it is taken", || async { scene.transfers().await.len() == 1 }).await;
        folder.put("in/po.edi", *b"UNB");
        scene.pass(MINUTE * 20, 40).await;
        assert!(scene.events("offer.refused").await.is_empty() && scene.events("offer.backed_off").await.is_empty());
        assert_eq!(scene.transfers().await.len(), 1);
        scene.place("out").break_down(None);
        scene.until_all(2, TransferState::Completed).await;
        scene.until("both are deleted", || async { folder.files().is_empty() }).await;
    }

    a_done_file_of_an_earlier_file_of_the_name_does_not_stand_for_the_next(scene) {
        let folder = MemoryFolder::new();
        folder.put("in/po.edi", *b"ISA");
        folder.put("in/po.edi.done", *b"");
        scene.place("in").use_folder(Arc::new(folder.clone()), "in", Overwrite::Refuse);
        scene.flow(saying(flow("orders", &["out"]), |polling| {
            polling.after = After::Keep;
            polling.done_file = DoneFile::parse("{name}.done").ok();
        }));
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Completed).await;
        folder.put("in/po.edi", *b"the next one, half");
        scene.pass(MINUTE * 5, 20).await;
        assert_eq!(scene.transfers().await.len(), 1);
        folder.put("in/po.edi.done", *b"2");
        scene.until_all(2, TransferState::Completed).await;
    }

    a_claim_that_was_left_behind_is_released_after_two_cycles(scene) {
        let folder = MemoryFolder::new();
        folder.put("in/po.edi.stage", *b"ISA");
        claiming(&scene, Arc::new(folder.clone()));
        let _engine = scene.start().await;
        for _ in 0..25 {
            scene.pass(MINUTE, 1).await;
        }
        assert_eq!(folder.files(), ["in/po.edi.stage"]);
        scene.until_by(Duration::from_secs(10), "it is shown", || async { scene.store.claims_left().await.unwrap().len() == 1 }).await;
        let [shown] = &scene.store.claims_left().await.unwrap()[..] else { panic!("it is not shown") };
        assert_eq!((shown.flow.as_str(), shown.files, shown.path.to_text().as_str()), ("orders", 1, "in/po.edi"));
        let taken = || async {
            scene.pass(MINUTE, 1).await;
            folder.files().is_empty()
        };
        scene.until_by(Duration::ZERO, "it is taken", taken).await;
        scene.until_all(1, TransferState::Completed).await;
        scene.until("it is no longer shown", || async { scene.store.claims_left().await.unwrap().is_empty() }).await;
        assert_eq!(scene.place("out").received()[0].2.as_ref(), b"ISA");
    }

    a_file_that_could_not_be_read_is_renamed_back_and_is_tried_again(scene) {
        let memory = MemoryFolder::new();
        memory.put("in/po.edi", *b"ISA");
        let folder = ScriptedFolder::new(Arc::new(memory.clone()));
        folder.fail(Act::Read, Fault::CUT);
        claiming(&scene, Arc::clone(&folder) as _);
        let _engine = scene.start().await;
        scene.until("it failed once", || async { scene.events("offer.backed_off").await.len() == 1 }).await;
        scene.until_all(1, TransferState::Completed).await;
        scene.until("it is deleted", || async { memory.files().is_empty() }).await;
        assert_eq!(folder.count(Act::Read), 2);
    }
}
