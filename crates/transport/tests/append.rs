//! Adding files to the end of others: what an interrupted attempt left is gone on with, found whole, or left to a person.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test program: a failed expectation is how it speaks"
)]

use model::{ErrorKind, Result, Retry};
use serde_json::{Map, Value};
use std::sync::Arc;
use testkit::clock::SeededRandom;
use testkit::conformance::Interlude;
use testkit::fake::{Act, Fault, MemoryFolder, ScriptedFolder, services};
use testkit::through::Attempt;
use transport::folder::{APPENDING, Folder, Overwrite, Verify, is_unsettled};
use transport::{DeliveryLog, Services};

const CHUNK: usize = 256 * 1024;

struct Scene {
    memory: MemoryFolder,
    script: Arc<ScriptedFolder>,
    attempt: Attempt,
    content: Vec<u8>,
    services: Services,
}

impl Scene {
    fn new() -> Self {
        let memory = MemoryFolder::new();
        memory.put("out/all.edi", *b"earlier");
        let mut attempt = Attempt::into("out");
        attempt.options.overwrite = Overwrite::Append;
        Self {
            script: ScriptedFolder::new(Arc::new(memory.clone())),
            memory,
            attempt,
            content: SeededRandom::new(1).bytes(3 * CHUNK + 77),
            services: services(Arc::new(Interlude::default())),
        }
    }

    async fn deliver(&mut self) -> Result<Map<String, Value>> {
        let folder = Arc::clone(&self.script) as Arc<dyn Folder>;
        let delivered = self.attempt.deliver(&folder, "all.edi", &self.content, &self.services).await;
        self.attempt.number += 1;
        delivered
    }

    fn there(&self) -> Vec<u8> {
        self.memory.get("out/all.edi").unwrap().to_vec()
    }

    fn whole(&self) -> Vec<u8> {
        [b"earlier", &self.content[..]].concat()
    }

    /// Breaks the connection at a write, counted from 0.
    fn cut_at_write(script: &Arc<ScriptedFolder>, number: u32) {
        let next = Arc::clone(script);
        match number {
            0 => script.fail(Act::Write, Fault::CUT),
            _ => script.before(Act::Write, move || async move { Self::cut_at_write(&next, number - 1) }),
        }
    }
}

#[tokio::test]
async fn a_file_is_added_to_the_end_of_another_one_or_made() {
    let mut scene = Scene::new();
    let receipt = scene.deliver().await.unwrap();
    assert_eq!((&receipt["appended_at_byte"], scene.there()), (&Value::from(7), scene.whole()));
    assert_eq!(scene.memory.files(), ["out/all.edi"]);
    scene.memory.remove(&"out/all.edi".into()).await.unwrap();
    let mut scene = Scene { attempt: Attempt { number: 1, ..Attempt::into("out") }, ..scene };
    scene.attempt.options.overwrite = Overwrite::Append;
    let receipt = scene.deliver().await.unwrap();
    assert_eq!((&receipt["appended_at_byte"], scene.there()), (&Value::from(0), scene.content.clone()));
}

#[tokio::test]
async fn the_size_before_is_noted_before_the_first_byte() {
    let mut scene = Scene::new();
    let log = Arc::clone(&scene.attempt.log);
    scene.script.before(Act::Append, move || async move {
        assert_eq!(log.notes()[APPENDING]["before"], 7);
        assert!(is_unsettled(&log.notes()), "no other address is tried");
    });
    scene.deliver().await.unwrap();
}

#[tokio::test]
async fn what_was_cut_off_is_gone_on_with_wherever_that_was() {
    for number in 0..4 {
        let mut scene = Scene::new();
        Scene::cut_at_write(&scene.script, number);
        let error = scene.deliver().await.unwrap_err();
        assert_eq!(error.retry(), Retry::Ambiguous, "{error:?}");
        assert!(scene.whole().starts_with(&scene.there()));
        scene.deliver().await.unwrap();
        assert_eq!(scene.there(), scene.whole(), "cut at write {number}");
    }
}

#[tokio::test]
async fn an_append_of_which_the_server_stored_less_than_it_confirmed_goes_on() {
    let mut scene = Scene::new();
    scene.script.finish_short();
    let error = scene.deliver().await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::IntegrityFailed, Retry::Transient), "{error:?}");
    scene.deliver().await.unwrap();
    assert_eq!(scene.there(), scene.whole());
}

#[tokio::test]
async fn an_attempt_that_sent_nothing_takes_nothing_of_others_for_its_own() {
    let mut scene = Scene::new();
    scene.script.fail(Act::Append, Fault::CUT);
    scene.deliver().await.unwrap_err();
    assert!(!is_unsettled(&scene.attempt.log.notes()));
    let by_another = [&b"earlier"[..], &scene.content[..CHUNK]].concat();
    scene.memory.put("out/all.edi", by_another.clone());
    scene.deliver().await.unwrap();
    assert_eq!(scene.there(), [by_another, scene.content.clone()].concat());
}

/// As after `continue_after_failure` and a person's retry: another file was appended in between, and begins as this one does.
#[tokio::test]
async fn what_another_file_appended_meanwhile_is_not_taken_for_a_part_of_this_one() {
    for others in [CHUNK, 3 * CHUNK + 77] {
        let mut scene = Scene::new();
        Scene::cut_at_write(&scene.script, 0);
        scene.deliver().await.unwrap_err();
        let by_another = [&b"earlier"[..], &scene.content[..others]].concat();
        scene.memory.put("out/all.edi", by_another.clone());
        scene.attempt.log.note(model::OVERTAKEN, true.into()).await.unwrap();
        let error = scene.deliver().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::IntegrityFailed, Retry::Permanent),
            "{error:?}"
        );
        assert_eq!(scene.there(), by_another, "nothing is appended before a person has looked");
        // That person retries it, and a connection breaks in the middle: what is ours is known as ours again.
        Scene::cut_at_write(&scene.script, 1);
        scene.deliver().await.unwrap_err();
        scene.deliver().await.unwrap();
        assert_eq!(scene.there(), [by_another, scene.content.clone()].concat());
    }
}

#[tokio::test]
async fn a_lost_answer_to_the_last_byte_appends_nothing_twice() {
    for later in [&b""[..], b"somebody else's, appended since"] {
        let mut scene = Scene::new();
        let (memory, content) = (scene.memory.clone(), scene.content.clone());
        // The last piece reaches the server, and its answer does not come.
        scene.script.before(Act::Finish, move || async move {
            memory.put("out/all.edi", [b"earlier", &content[..], later].concat());
        });
        scene.script.fail(Act::Finish, Fault::CUT);
        scene.deliver().await.unwrap_err();
        let receipt = scene.deliver().await.unwrap();
        assert!(receipt["verified_by"].as_str().unwrap().contains("read back"), "{receipt:?}");
        assert_eq!(scene.there(), [&scene.whole()[..], later].concat());
        assert_eq!(scene.script.count(Act::Append), 1);
    }
}

#[tokio::test]
async fn what_cannot_be_told_is_left_to_a_person_whose_retry_appends_anew() {
    for found in [&b"earlier, and somebody else's"[..], b"earl", b""] {
        let mut scene = Scene::new();
        Scene::cut_at_write(&scene.script, 2);
        scene.deliver().await.unwrap_err();
        scene.memory.put("out/all.edi", found);
        let error = scene.deliver().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::IntegrityFailed, Retry::Permanent),
            "{error:?}"
        );
        assert!(error.chain().contains("retry the transfer"), "{}", error.chain());
        assert_eq!(scene.there(), found, "nothing was changed");
        scene.deliver().await.unwrap();
        assert_eq!(scene.there(), [found, &scene.content[..]].concat());
    }
}

#[tokio::test]
async fn a_part_is_found_when_the_flow_asks_for_something_else_now() {
    let mut scene = Scene::new();
    Scene::cut_at_write(&scene.script, 2);
    scene.deliver().await.unwrap_err();
    scene.attempt.options.overwrite = Overwrite::Replace;
    let error = scene.deliver().await.unwrap_err();
    assert_eq!(error.retry(), Retry::Permanent, "{error:?}");
    assert!(scene.there().len() > 7, "nothing was removed");
}

#[tokio::test]
async fn a_checksum_is_taken_of_what_was_appended() {
    let mut scene = Scene::new();
    scene.attempt.options.verify = Verify::Checksum;
    let receipt = scene.deliver().await.unwrap();
    assert!(receipt["verified_by"].as_str().unwrap().contains("read back"), "{receipt:?}");
    let mut scene = Scene::new();
    scene.attempt.options.verify = Verify::Checksum;
    let memory = scene.memory.clone();
    scene.script.before(Act::Read, move || async move { memory.put("out/all.edi", *b"earlier, mixed up") });
    let error = scene.deliver().await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::IntegrityFailed, Retry::Permanent));
}

#[tokio::test]
async fn where_no_size_is_shown_nothing_is_appended() {
    let mut scene = Scene::new();
    scene.script.refuse_looks(Fault::REFUSED);
    let error = scene.deliver().await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unsupported, Retry::Permanent));
    assert_eq!(scene.there(), b"earlier");
}

/// Deliveries under random faults: each arrives once, whatever is cut off, as long as nobody else writes.
#[tokio::test]
async fn an_appended_payload_arrives_once_whatever_is_cut_off() {
    let mut attempts = 0;
    for seed in 0..500 {
        let random = SeededRandom::new(seed);
        let mut scene = Scene::new();
        scene.content = random.bytes(random.below(3 * CHUNK));
        for number in 1..=20 {
            for _ in 0..if number <= 6 { random.below(4) } else { 0 } {
                match random.below(6) {
                    0 => Scene::cut_at_write(&scene.script, random.below(3) as u32),
                    1 => scene.script.fail(Act::Append, Fault::CUT),
                    2 => scene.script.fail(Act::Finish, Fault::LOST),
                    3 => scene.script.fail(Act::Stat, Fault::CUT),
                    4 => scene.script.fail(Act::Read, Fault::CUT),
                    _ => scene.attempt.log.lose_claim_after_note(),
                }
            }
            attempts += 1;
            let delivered = scene.deliver().await;
            scene.attempt.log.lose_claim(false);
            match delivered {
                Ok(_) => break,
                Err(error) => assert_ne!(error.retry(), Retry::Permanent, "seed {seed}: {error:?}"),
            }
        }
        assert!(scene.there() == scene.whole(), "seed {seed}: {} bytes", scene.there().len());
    }
    assert!(attempts > 700, "the faults do hit: {attempts} attempts");
}
