//! What makes a file a new one.

use crate::database::both;
use crate::scene::{Scene, flow, saying};
use model::{IdentityRule, TransferState};
use std::sync::Arc;
use std::time::Duration;
use testkit::fake::{Answer, Fault, MemoryFolder};
use transport::folder::{After, Filter, Folder, Overwrite};

/// A folder with one file, polled by a flow that tells files apart by a rule.
fn telling_apart(scene: &Scene, rule: IdentityRule, after: After) -> MemoryFolder {
    let folder = MemoryFolder::new();
    folder.put("in/po.edi", *b"ISA");
    scene.place("in").use_folder(Arc::new(folder.clone()), "in", Overwrite::Refuse);
    scene.flow(saying(flow("orders", &["out"]), |polling| {
        polling.after = after;
        polling.identity = rule;
    }));
    folder
}

/// Lets several polls happen.
async fn polls(scene: &Scene) {
    scene.pass(Duration::from_secs(60), 60).await;
}

both! {
    by_name_size_and_time_a_file_that_was_touched_is_a_new_one(scene) {
        let folder = telling_apart(&scene, IdentityRule::NameSizeTime, After::Keep);
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Completed).await;
        folder.put("in/po.edi", *b"ISA");
        scene.until_all(2, TransferState::Completed).await;
    }

    by_name_a_file_that_is_changed_is_the_same_until_it_was_gone(scene) {
        let folder = telling_apart(&scene, IdentityRule::Name, After::Keep);
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Completed).await;
        folder.put("in/po.edi", *b"changed");
        polls(&scene).await;
        assert_eq!(scene.transfers().await.len(), 1);
        folder.remove(&"in/po.edi".into()).await.unwrap();
        polls(&scene).await;
        folder.put("in/po.edi", *b"changed");
        scene.until_all(2, TransferState::Completed).await;
    }

    by_name_a_file_that_a_filter_leaves_meanwhile_is_not_taken_again(scene) {
        let folder = MemoryFolder::new();
        folder.put("in/po.edi", *b"ISA");
        scene.place("in").use_folder(Arc::new(folder.clone()), "in", Overwrite::Refuse);
        scene.flow(saying(flow("orders", &["out"]), |polling| {
            polling.after = After::Keep;
            polling.identity = IdentityRule::Name;
            polling.filter = Filter { max_size: Some(5), ..Filter::default() };
        }));
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Completed).await;
        folder.put("in/po.edi", *b"too large now");
        polls(&scene).await;
        folder.put("in/po.edi", *b"UNB");
        polls(&scene).await;
        assert_eq!(scene.transfers().await.len(), 1, "it was there in each listing");
    }

    by_content_a_file_that_was_touched_or_renamed_is_not_transferred_again(scene) {
        let folder = telling_apart(&scene, IdentityRule::Content, After::Keep);
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Completed).await;
        folder.put("in/po.edi", *b"ISA");
        scene.until("it is a duplicate", || async { scene.events("offer.duplicate").await.len() == 1 }).await;
        folder.put("in/again.edi", *b"ISA");
        scene.until("this one too", || async { scene.events("offer.duplicate").await.len() == 2 }).await;
        polls(&scene).await;
        assert_eq!(scene.events("offer.duplicate").await.len(), 2, "each is read once");
        assert_eq!(scene.transfers().await.len(), 1);
        folder.put("in/again.edi", *b"UNB");
        scene.until_all(2, TransferState::Completed).await;
        assert_eq!(scene.staged(), 2, "nothing stays in staging of duplicates");
    }

    by_content_a_duplicate_is_settled_and_what_failed_is_taken_again(scene) {
        scene.place("out").answer(Answer::Fails(Fault::REFUSED));
        let folder = telling_apart(&scene, IdentityRule::Content, After::Delete);
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Failed).await;
        folder.put("in/po.edi", *b"ISA");
        scene.until("it is delivered", || async { scene.events("transfer.completed").await.len() == 1 }).await;
        folder.put("in/po.edi", *b"ISA");
        scene.until("the duplicate is deleted", || async {
            scene.events("offer.duplicate").await.len() == 1 && folder.files().is_empty()
        }).await;
        assert_eq!(scene.transfers().await.len(), 2);
    }
}
