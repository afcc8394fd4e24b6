//! Messages that are kept while they arrive: one holder at a time, on whichever node; what was said to be held is there.

use crate::database::both;
use crate::receiving::{begin_new, message, part, reply};
use crate::scene::{Scene, receiving};
use engine::Engine;
use model::{EventKind, TransferState};
use std::time::Duration;
use transport::{Begin, HeldMessage, Keep, KeepLimits, Kept, KeptMessage, PartialBytes};

const KEY: &str = "etag from to";
const MESSAGE: &str = "A/B/<kept>";

fn keep(engine: &Engine, goes_on: Option<i64>) -> Keep {
    Keep {
        key: KEY.into(),
        message: MESSAGE.into(),
        listener: "fake".into(),
        partner: "globex".into(),
        goes_on,
        total: Some(12),
        limits: KeepLimits { messages: 10, bytes: 1 << 30 },
        keep_for: Duration::from_secs(3600),
        events: Vec::new(),
        broken_off: engine.services().event(EventKind::MessagePartialKept),
        too_little: engine.services().event(EventKind::MessagePartialRemoved),
    }
}

async fn open(engine: &Engine, goes_on: Option<i64>) -> KeptMessage {
    match engine.intake().kept().keep(keep(engine, goes_on)).await.unwrap() {
        Kept::Open(kept) => kept,
        other => panic!("{}", word(&other)),
    }
}

fn word(kept: &Kept) -> String {
    match kept {
        Kept::Open(_) => "open".into(),
        Kept::NotKept(reason) => format!("not kept: {reason}"),
        Kept::Gone => "gone".into(),
        Kept::TakenOver => "taken over".into(),
        Kept::NoRoom(error) => format!("no room: {error}"),
    }
}

async fn held(engine: &Engine) -> Option<HeldMessage> {
    engine.intake().kept().held(KEY).await.unwrap()
}

async fn append(
    mut bytes: Box<dyn PartialBytes>,
    more: &'static [u8],
) -> (Box<dyn PartialBytes>, model::Result<()>) {
    tokio::task::spawn_blocking(move || {
        let appended = bytes.append(more);
        (bytes, appended)
    })
    .await
    .unwrap()
}

async fn all(bytes: Box<dyn PartialBytes>) -> (Box<dyn PartialBytes>, Vec<u8>) {
    tokio::task::spawn_blocking(move || {
        let (mut read, mut buffer) = (Vec::new(), [0; 5]);
        loop {
            match bytes.read_at(&mut buffer, read.len() as u64).unwrap() {
                0 => return (bytes, read),
                count => read.extend_from_slice(&buffer[..count]),
            }
        }
    })
    .await
    .unwrap()
}

/// Writes some bytes and drops the writer, as when its connection breaks.
async fn broken_off(kept: KeptMessage, more: &'static [u8]) {
    let KeptMessage { bytes, mut state } = kept;
    let (mut bytes, appended) = append(bytes, more).await;
    appended.unwrap();
    bytes.broke_off();
    drop(bytes);
    state.ended().await;
}

/// Files of segments.
fn segments(scene: &Scene) -> usize {
    let names = std::fs::read_dir(scene.staging.root().join("partial")).unwrap();
    names.filter(|name| name.as_ref().unwrap().file_name().to_string_lossy().starts_with("segment-")).count()
}

both! {
    a_message_goes_on_where_it_broke_off_and_its_bytes_are_there(scene) {
        let engine = scene.start().await;
        assert_eq!(held(&engine).await, None);
        broken_off(open(&engine, None).await, b"first ").await;
        let held_now = held(&engine).await.unwrap();
        assert_eq!((held_now.length, held_now.last_byte, held_now.total), (6, Some(b' '), Some(12)));
        assert!(held_now.message == MESSAGE && !held_now.answered);
        let kept = open(&engine, Some(held_now.holder)).await;
        assert_eq!(kept.bytes.length(), 6);
        let (bytes, appended) = append(kept.bytes, b"second").await;
        appended.unwrap();
        let (mut bytes, read) = all(bytes).await;
        assert_eq!(read, b"first second");
        bytes.finish();
        drop(bytes);
        let mut state = kept.state;
        state.ended().await;
        assert_eq!(held(&engine).await.unwrap().length, 12);
        // What broke off is on record, with its bytes; what was whole is not.
        let events = scene.events("message.partial_kept").await;
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].detail["received"], 6);
        assert_eq!(segments(&scene), 1);
    }

    a_later_holder_stops_the_earlier_one_and_what_it_had_counts(scene) {
        let engine = scene.start().await;
        let KeptMessage { bytes, mut state } = open(&engine, None).await;
        let (bytes, appended) = append(bytes, b"first ").await;
        appended.unwrap();
        // Its connection hangs: it is asked to stop, and what it has is recorded when it does.
        let stopped = tokio::spawn(async move {
            state.taken_over().await;
            let (bytes, appended) = append(bytes, b"too late").await;
            assert_eq!(appended.unwrap_err().kind(), model::ErrorKind::Throttled);
            drop(bytes);
        });
        let held_now = held(&engine).await.unwrap();
        stopped.await.unwrap();
        assert_eq!(held_now.length, 6);
        broken_off(open(&engine, Some(held_now.holder)).await, b"second").await;
        // An earlier holder can record nothing now.
        let stale = engine.intake().kept().keep(keep(&engine, Some(held_now.holder - 1))).await.unwrap();
        assert_eq!(word(&stale), "taken over");
        assert_eq!(held(&engine).await.unwrap().length, 12);
    }

    another_node_takes_a_message_over_and_the_first_one_writes_nothing_more_of_it(scene) {
        let engine = scene.start().await;
        let other = scene.prepare("n2", scene.another_or_same().await).await;
        let KeptMessage { bytes, mut state } = open(&engine, None).await;
        let (bytes, appended) = append(bytes, b"first ").await;
        appended.unwrap();
        // Recorded by the time: the other node knows nothing of this one's files but what is on record.
        scene.until("six bytes are on record", || async {
            scene.store.partial_length(KEY).await.unwrap() == Some(6)
        }).await;
        let (bytes, appended) = append(bytes, b"unrecorded").await;
        appended.unwrap();
        let held_there = held(&other).await.unwrap();
        assert_eq!(held_there.length, 6);
        let KeptMessage { bytes: there, state: mut there_state } = open(&other, Some(held_there.holder)).await;
        // The first one finds out, and stops.
        let found_out = tokio::spawn(async move { state.taken_over().await; state });
        scene.until("the first node has found out", || async { found_out.is_finished() }).await;
        let (bytes, appended) = append(bytes, b"too late").await;
        assert!(appended.is_err());
        drop(bytes);
        let (there, appended) = append(there, b"second").await;
        appended.unwrap();
        let (there, read) = all(there).await;
        assert_eq!(read, b"first second");
        drop(there);
        there_state.ended().await;
        assert_eq!(held(&engine).await.unwrap().length, 12);
        other.stop(Duration::from_secs(1)).await;
    }

    a_message_outlives_the_process_that_received_it(scene) {
        let engine = scene.start().await;
        let KeptMessage { bytes, .. } = open(&engine, None).await;
        let (bytes, appended) = append(bytes, b"first ").await;
        appended.unwrap();
        scene.until("six bytes are on record", || async {
            scene.store.partial_length(KEY).await.unwrap() == Some(6)
        }).await;
        // Killed: nothing ends in order.
        std::mem::forget(bytes);
        scene.fence(&scene.store).await;
        let next = scene.prepare("n3", scene.another_or_same().await).await;
        let held_now = held(&next).await.unwrap();
        assert_eq!(held_now.length, 6);
        let kept = open(&next, Some(held_now.holder)).await;
        let (bytes, read) = all(kept.bytes).await;
        assert_eq!(read, b"first ");
        drop(bytes);
        next.stop(Duration::from_secs(1)).await;
    }

    with_the_commit_the_stored_answer_is_what_the_last_byte_gets_and_the_bytes_are_removed(scene) {
        scene.flow(receiving("inbound", &["out"]));
        let engine = scene.start().await;
        let KeptMessage { bytes, mut state } = open(&engine, None).await;
        let (mut bytes, appended) = append(bytes, b"first second").await;
        appended.unwrap();
        bytes.finish();
        drop(bytes);
        state.ended().await;
        let mut reception = begin_new(&engine, MESSAGE).await;
        let (part, _) = part(&mut reception, "po.edi").await;
        reception.was_kept(KEY);
        reception.commit(message(vec![part]), reply("receipt")).await.unwrap();
        engine.intake().kept().forget(KEY).await.unwrap();
        let held_now = held(&engine).await.unwrap();
        assert!(held_now.answered);
        assert_eq!((held_now.length, held_now.last_byte), (12, Some(b'd')));
        assert_eq!(segments(&scene), 0);
        match engine.intake().begin(MESSAGE).await.unwrap() {
            Begin::Answered(again) => assert_eq!(again.reply, reply("receipt")),
            _ => panic!("it was answered"),
        }
        scene.until_all(1, TransferState::Completed).await;
    }

    what_nobody_goes_on_with_is_removed_with_its_files_and_so_is_what_a_crash_left(scene) {
        let engine = scene.start().await;
        broken_off(open(&engine, None).await, b"first ").await;
        // Of no message: its row was not written, or its file not removed.
        scene.staging.begin_segment(model::PayloadId::new(uuid::Uuid::now_v7())).unwrap();
        assert_eq!(segments(&scene), 2);
        scene.until_by(Duration::from_secs(120), "both are removed", || async { segments(&scene) == 0 }).await;
        assert_eq!(held(&engine).await, None);
        assert_eq!(scene.events("message.partial_removed").await.len(), 1);
    }

    of_a_message_that_breaks_off_too_early_nothing_is_left(scene) {
        let engine = scene.start().await;
        broken_off(open(&engine, None).await, b"first").await;
        assert_eq!((held(&engine).await, segments(&scene)), (None, 0));
        let removed = scene.events("message.partial_removed").await;
        assert_eq!(removed.len(), 1);
        assert_eq!(removed[0].detail["received"], 5);
        assert_eq!(scene.events("message.partial_kept").await.len(), 0);
        // With a byte more it is half of the message, and stays.
        broken_off(open(&engine, None).await, b"first ").await;
        assert_eq!(held(&engine).await.unwrap().length, 6);
    }

    where_a_file_is_gone_the_sender_starts_over(scene) {
        let engine = scene.start().await;
        broken_off(open(&engine, None).await, b"first ").await;
        let held_now = held(&engine).await.unwrap();
        for file in std::fs::read_dir(scene.staging.root().join("partial")).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
        let kept = engine.intake().kept().keep(keep(&engine, Some(held_now.holder))).await.unwrap();
        assert_eq!(word(&kept), "gone");
        assert_eq!(held(&engine).await, None);
        broken_off(open(&engine, None).await, b"again ").await;
        assert_eq!(held(&engine).await.unwrap().length, 6);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_kept_only_where_there_is_room_for_it_and_its_payload() {
    static HALF: [u8; 300_000] = [7; 300_000];
    let mut scene = Scene::sqlite().await;
    let disk = scene.limit_staging(1 << 20);
    let engine = scene.start().await;
    let large = |goes_on| Keep { total: Some(600_000), ..keep(&engine, goes_on) };
    let kept = engine.intake().kept().keep(large(None)).await.unwrap();
    assert!(word(&kept).starts_with("not kept: "), "{}", word(&kept));
    disk.set_capacity(Some(2 << 20));
    match engine.intake().kept().keep(large(None)).await.unwrap() {
        Kept::Open(kept) => broken_off(kept, &HALF).await,
        other => panic!("{}", word(&other)),
    }
    let held_now = held(&engine).await.unwrap();
    // What is held stays until there is room again.
    disk.set_capacity(Some(100_000));
    let kept = engine.intake().kept().keep(large(Some(held_now.holder))).await.unwrap();
    assert!(word(&kept).starts_with("no room: "), "{}", word(&kept));
    disk.set_capacity(Some(2 << 20));
    let held_now = held(&engine).await.unwrap();
    assert_eq!(held_now.length, 300_000);
    let kept = engine.intake().kept().keep(large(Some(held_now.holder))).await.unwrap();
    assert_eq!(word(&kept), "open");
}
