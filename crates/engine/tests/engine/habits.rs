//! What becomes of files whose source tells something else of them than what is read.

use crate::database::both;
use crate::scene::{Scene, flow, saying};
use model::{Timestamp, TransferState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use testkit::fake::{MemoryFolder, Opening, ScriptedFolder, ScriptedOffer, Way};
use transport::folder::Overwrite;

const BYTES: &[u8] = b"all of the order";

fn stating(size: u64) -> ScriptedOffer {
    ScriptedOffer { size: Some(size), ..ScriptedOffer::file("in/po.edi", BYTES) }
}

/// Waits until the one file is delivered, and shows that it is whole.
async fn delivered_whole(scene: &Scene) {
    scene.until_all(1, TransferState::Completed).await;
    let received = scene.place("out").received();
    assert_eq!((received.len(), &*received[0].2), (1, BYTES));
    assert_eq!(scene.staged(), 1, "what was read in vain is gone from staging");
}

/// The numbers in an event's detail.
fn sizes(event: &store::EventView) -> (u64, u64) {
    (event.detail["stated_bytes"].as_u64().unwrap(), event.detail["read_bytes"].as_u64().unwrap())
}

both! {
    the_only_copy_of_a_file_that_is_given_once_is_recorded(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("in").offer(ScriptedOffer::file("in/po.edi", BYTES).opening([Opening::Once]));
        let _engine = scene.start().await;
        delivered_whole(&scene).await;
        scene.until("its source is settled", || async { scene.events("offer.settled").await.len() == 1 }).await;
        assert!(scene.events("offer.changed").await.is_empty());
        assert!(scene.events("offer.mismatch").await.is_empty());
    }

    what_is_gone_and_longer_than_stated_is_taken_with_a_warning(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("in").offer(stating(6).opening([Opening::Once]));
        let _engine = scene.start().await;
        delivered_whole(&scene).await;
        let events = scene.events("offer.mismatch").await;
        assert_eq!(events.iter().map(sizes).collect::<Vec<_>>(), [(6, 16)]);
    }

    what_is_gone_and_shorter_than_stated_is_held_for_a_person(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("in").offer(stating(32).opening([Opening::Once]));
        let _engine = scene.start().await;
        let held = scene.until_all(1, TransferState::Held).await;
        let events = scene.events("transfer.held").await;
        assert!(events[0].detail["why"].as_str().unwrap().contains("32 bytes, 16 were read"), "{events:?}");
        assert!(scene.place("out").received().is_empty());
        // A person looked at it, and lets it go on.
        scene.store.release_transfer(held[0].id, &scene.act()).await.unwrap();
        delivered_whole(&scene).await;
    }

    the_only_copy_outlives_looks_that_fail_after_it_was_read(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("in").offer(ScriptedOffer::file("in/po.edi", BYTES).opening([Opening::OnceUnseen(1)]));
        let _engine = scene.start().await;
        delivered_whole(&scene).await;
        assert!(scene.events("offer.backed_off").await.is_empty(), "the source was asked once more");
    }

    the_only_copy_is_taken_once_the_source_says_that_the_file_is_gone(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("in").offer(ScriptedOffer::file("in/po.edi", BYTES).opening([Opening::OnceUnseen(3)]));
        let _engine = scene.start().await;
        delivered_whole(&scene).await;
        let failed = scene.events("offer.backed_off").await;
        assert_eq!(failed.len(), 1);
        assert!(failed[0].detail["error"].as_str().unwrap().contains("look at an offer"), "{failed:?}");
        scene.until("its source is settled", || async { scene.events("offer.settled").await.len() == 1 }).await;
        assert_eq!(scene.place("in").opened().len(), 1);
    }

    the_only_copy_outlives_a_connection_that_breaks_after_its_last_byte(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("in").offer(ScriptedOffer::file("in/po.edi", BYTES).opening([Opening::OnceFailsAt(16)]));
        let _engine = scene.start().await;
        delivered_whole(&scene).await;
        assert!(scene.events("offer.backed_off").await.is_empty());
    }

    a_server_that_hangs_up_after_each_last_byte_is_read_twice(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("in").offer(ScriptedOffer::file("in/po.edi", BYTES).opening([Opening::FailsAt(16)]));
        let _engine = scene.start().await;
        delivered_whole(&scene).await;
        assert_eq!(scene.events("offer.backed_off").await.len(), 1);
        let taken = scene.events("offer.mismatch").await;
        assert!(taken[0].detail["why"].as_str().unwrap().contains("interrupted at the size that the source had reported"), "{taken:?}");
    }

    what_came_of_a_file_that_is_given_once_is_held_when_its_reading_breaks_off(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("in").offer(ScriptedOffer::file("in/po.edi", BYTES).opening([Opening::OnceFailsAt(6)]));
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Held).await;
        let events = scene.events("transfer.held").await;
        assert!(events[0].detail["why"].as_str().unwrap().contains("16 bytes, 6 were read"), "{events:?}");
        assert_eq!(scene.staged(), 1);
    }

    what_was_doubted_is_taken_when_it_is_gone_at_the_second_reading(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("in").offer(stating(0));
        let _engine = scene.start().await;
        scene.until("it was read", || async { scene.events("offer.backed_off").await.len() == 1 }).await;
        scene.place("in").remove_offer(&"in/po.edi".into());
        delivered_whole(&scene).await;
        assert_eq!(scene.events("offer.mismatch").await.iter().map(sizes).collect::<Vec<_>>(), [(0, 16)]);
        scene.until("its source is settled", || async { scene.events("offer.settled").await.len() == 1 }).await;
    }

    less_than_was_stated_is_held_when_it_is_gone_at_the_second_reading(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("in").offer(stating(32));
        let _engine = scene.start().await;
        scene.until("it was read", || async { scene.events("offer.backed_off").await.len() == 1 }).await;
        scene.place("in").remove_offer(&"in/po.edi".into());
        scene.until_all(1, TransferState::Held).await;
        assert_eq!(scene.staged(), 1);
    }

    a_doubted_file_that_was_replaced_is_set_aside_and_the_new_one_taken(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("in").offer(stating(32));
        let _engine = scene.start().await;
        scene.until("it was read", || async { scene.events("offer.backed_off").await.len() == 1 }).await;
        scene.place("in").offer(ScriptedOffer::file("in/po.edi", BYTES));
        delivered_whole(&scene).await;
        let aside = scene.events("payload.quarantined").await;
        assert_eq!(aside[0].detail["path"], "in/po.edi", "{aside:?}");
    }

    a_wrong_size_is_believed_no_more_after_a_second_reading(scene) {
        scene.flow(flow("orders", &["out"]));
        let _engine = scene.start().await;
        for (taken, size) in [(1, 32), (2, 0), (3, 6)] {
            scene.place("in").offer(stating(size));
            scene.until("it is delivered", || async { scene.place("out").received().len() == taken }).await;
            scene.until("its source is settled", || async { scene.place("in").offers().is_empty() }).await;
            let refused = scene.events("offer.backed_off").await;
            assert_eq!(refused.len(), taken);
            assert_eq!(sizes(&refused[taken - 1]), (size, 16));
            assert!(refused[taken - 1].detail["error"].as_str().unwrap().contains(&format!("reported bytes {size}")), "{refused:?}");
            assert_eq!(sizes(&scene.events("offer.mismatch").await[taken - 1]), (size, 16));
        }
        assert!(scene.place("out").received().iter().all(|(_, _, bytes)| **bytes == *BYTES));
        assert_eq!(scene.place("in").opened().len(), 6, "each was read twice");
    }

    readings_that_differ_end_in_the_error_directory(scene) {
        let folder = MemoryFolder::new();
        folder.put("in/po.edi", BYTES);
        let scripted = ScriptedFolder::new(Arc::new(folder.clone()));
        for way in [Way::Listing, Way::Look] {
            scripted.tell(way, |entry| entry.size = Some(1_000));
        }
        // Its content changes from reading to reading, and nothing that is told of it.
        let (refilled, round) = (folder.clone(), AtomicU8::new(0));
        scripted.tell(Way::Listing, move |_| {
            refilled.refill("in/po.edi", vec![round.fetch_add(1, Ordering::Relaxed); 16]);
        });
        scene.place("in").use_folder(scripted, "in", Overwrite::Refuse);
        scene.flow(saying(flow("orders", &["out"]), |polling| polling.error_directory = Some("bad".into())));
        let _engine = scene.start().await;
        scene.until("it is moved away", || async { folder.get("bad/po.edi.error.json").is_some() }).await;
        assert_eq!(folder.files(), ["bad/po.edi", "bad/po.edi.error.json"]);
        let cause = String::from_utf8(folder.get("bad/po.edi.error.json").unwrap().to_vec()).unwrap();
        assert!(cause.contains("reported bytes 1000, read bytes 16"), "{cause}");
        assert_eq!(scene.events("offer.backed_off").await.len(), 2);
        assert_eq!(scene.events("offer.refused").await.iter().map(sizes).collect::<Vec<_>>(), [(1_000, 16)]);
        assert!(scene.transfers().await.is_empty());
        assert_eq!(scene.staged(), 0);
    }

    looks_that_contradict_each_other_are_overruled_by_a_second_reading(scene) {
        scene.flow(flow("orders", &["out"]));
        scene.place("in").offer(ScriptedOffer::file("in/po.edi", BYTES).opening([Opening::Doubtful]));
        let _engine = scene.start().await;
        delivered_whole(&scene).await;
        assert_eq!(scene.events("offer.backed_off").await.len(), 1);
        assert_eq!(scene.events("offer.mismatch").await.len(), 1);
    }

    one_that_changes_at_every_reading_is_refused_in_the_end(scene) {
        scene.flow(flow("orders", &["out"]));
        let at = Timestamp::from_timestamp(1_700_000_000, 0).unwrap();
        scene.place("in").offer(ScriptedOffer::file("in/po.edi", BYTES).modified_at(at).opening([Opening::Changed]));
        let _engine = scene.start().await;
        scene.until("it is refused", || async { scene.events("offer.refused").await.len() == 1 }).await;
        assert!(!scene.events("offer.changed").await.is_empty(), "at first it is simply offered anew");
        let refused = scene.events("offer.refused").await;
        assert!(refused[0].detail["error"].as_str().unwrap().contains("the test asked for it"), "{refused:?}");
        assert_eq!(scene.place("in").offers().len(), 1);
    }
}
