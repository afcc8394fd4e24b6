//! What a broken upload and a broken reading may go on with, and what not: over a folder under a script.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test program: a failed expectation is how it speaks"
)]

use model::{ErrorKind, Result, Retry};
use std::sync::Arc;
use testkit::clock::SeededRandom;
use testkit::conformance::Interlude;
use testkit::fake::{Act, Fault, MemoryFolder, ScriptedFolder, services};
use testkit::through::Attempt;
use transport::Services;
use transport::folder::{Folder, Verify};

/// What is read from staging and sent at a time.
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
        memory.put("out/.keep", *b"");
        Self {
            script: ScriptedFolder::new(Arc::new(memory.clone())),
            memory,
            attempt: Attempt::into("out"),
            content: SeededRandom::new(1).bytes(8 * CHUNK + 77),
            services: services(Arc::new(Interlude::default())),
        }
    }

    fn folder(&self) -> Arc<dyn Folder> {
        Arc::clone(&self.script) as Arc<dyn Folder>
    }

    /// Breaks the connection at a write, counted from 0.
    fn cut_at_write(script: &Arc<ScriptedFolder>, number: u32) {
        let next = Arc::clone(script);
        match number {
            0 => script.fail(Act::Write, Fault::CUT),
            _ => script.before(Act::Write, move || async move { Self::cut_at_write(&next, number - 1) }),
        }
    }

    async fn deliver(&self) -> Result<Vec<u64>> {
        let receipt = self.attempt.deliver(&self.folder(), "a.edi", &self.content, &self.services).await?;
        assert_eq!(&*self.memory.get("out/a.edi").unwrap(), &*self.content);
        assert_eq!(self.memory.files(), ["out/.keep", "out/a.edi"]);
        let resumed = receipt.get("resumed").and_then(|value| value.as_array());
        Ok(resumed.into_iter().flatten().map(|one| one["from_byte"].as_u64().unwrap()).collect())
    }

    /// The path of the temporary file.
    fn temporary(memory: &MemoryFolder) -> String {
        memory.files().into_iter().find(|path| path.starts_with("out/.a.edi")).unwrap()
    }

    /// Changes the temporary file when it is looked at after the cut.
    fn on_look(&self, change: impl FnOnce(&[u8]) -> Vec<u8> + Send + 'static) {
        let memory = self.memory.clone();
        self.script.before(Act::Stat, move || async move {
            let temporary = Self::temporary(&memory);
            let changed = change(&memory.get(temporary.as_str()).unwrap());
            memory.put(temporary.as_str(), changed);
        });
    }
}

#[tokio::test]
async fn a_broken_upload_goes_on_at_the_bytes_that_are_there() {
    let scene = Scene::new();
    Scene::cut_at_write(&scene.script, 4);
    // The script holds one chunk back.
    assert_eq!(scene.deliver().await.unwrap(), [3 * CHUNK as u64]);
    assert_eq!(scene.script.count(Act::BeginWrite), 1);
}

#[tokio::test]
async fn it_goes_on_as_often_as_it_gets_further() {
    let scene = Scene::new();
    Scene::cut_at_write(&scene.script, 3);
    let script = Arc::clone(&scene.script);
    scene.script.before(Act::ResumeWrite, move || async move { Scene::cut_at_write(&script, 3) });
    let from: Vec<u64> = [2, 4].map(|chunks| chunks * CHUNK as u64).into();
    assert_eq!(scene.deliver().await.unwrap(), from);
    // One that gets no further ends the attempt, and leaves nothing.
    let scene = Scene::new();
    Scene::cut_at_write(&scene.script, 3);
    let script = Arc::clone(&scene.script);
    scene.script.before(Act::ResumeWrite, move || async move { script.fail(Act::Write, Fault::CUT) });
    let error = scene.deliver().await.unwrap_err();
    assert_eq!(error.retry(), Retry::Transient);
    assert!(error.to_string().contains("resumed times 1"), "{error}");
    assert_eq!(scene.memory.files(), ["out/.keep"]);
}

#[tokio::test]
async fn a_size_alone_proves_nothing() {
    // The server reserved the space, or kept other bytes.
    for padded in [true, false] {
        let scene = Scene::new();
        Scene::cut_at_write(&scene.script, 4);
        let length = scene.content.len();
        scene.on_look(move |there| match padded {
            true => {
                let mut there = there.to_vec();
                there.resize(length, 0);
                there
            }
            false => there.iter().map(|byte| !byte).collect(),
        });
        let error = scene.deliver().await.unwrap_err();
        assert_eq!(error.retry(), Retry::Transient);
        assert_eq!(scene.memory.files(), ["out/.keep"], "nothing of it is left");
        assert_eq!(scene.script.count(Act::ResumeWrite), 0);
    }
}

#[tokio::test]
async fn equal_bytes_prove_nothing_either() {
    let mut scene = Scene::new();
    // What was reserved reads as zeros, and so does the file.
    scene.content = vec![0; 8 * CHUNK];
    Scene::cut_at_write(&scene.script, 4);
    scene.deliver().await.unwrap_err();
    assert_eq!(scene.script.count(Act::ResumeWrite), 0);
}

#[tokio::test]
async fn what_cannot_be_looked_at_or_read_is_sent_again_by_the_next_attempt() {
    for act in [Act::Stat, Act::Read] {
        let mut scene = Scene::new();
        Scene::cut_at_write(&scene.script, 4);
        scene.script.fail(act, Fault::REFUSED);
        scene.deliver().await.unwrap_err();
        assert_eq!(scene.script.count(Act::ResumeWrite), 0);
        scene.attempt.number = 2;
        assert_eq!(scene.deliver().await.unwrap(), [0; 0]);
    }
}

#[tokio::test]
async fn a_cut_before_much_has_arrived_ends_the_attempt() {
    let scene = Scene::new();
    Scene::cut_at_write(&scene.script, 1);
    scene.deliver().await.unwrap_err();
    assert_eq!(scene.memory.files(), ["out/.keep"]);
}

/// A server that cannot be reached is asked six times within some 15 s; then the next attempt sends the whole file.
#[tokio::test]
async fn a_server_that_does_not_come_back_ends_the_attempt() {
    let mut scene = Scene::new();
    Scene::cut_at_write(&scene.script, 4);
    for _ in 0..6 {
        scene.script.fail(Act::Stat, Fault::CUT);
    }
    let error = scene.deliver().await.unwrap_err();
    assert_eq!(error.retry(), Retry::Transient);
    assert_eq!((scene.script.count(Act::Stat), scene.script.count(Act::ResumeWrite)), (6, 0));
    scene.attempt.number = 2;
    assert_eq!(scene.deliver().await.unwrap(), [0; 0]);
    assert_eq!(scene.script.count(Act::BeginWrite), 2);
}

#[tokio::test]
async fn a_server_that_is_back_after_a_moment_goes_on_with_the_file() {
    let scene = Scene::new();
    Scene::cut_at_write(&scene.script, 4);
    scene.script.fail(Act::Stat, Fault::CUT);
    scene.script.fail(Act::ResumeWrite, Fault::CUT);
    assert_eq!(scene.deliver().await.unwrap(), [3 * CHUNK as u64]);
}

/// A silent server is not asked again, as its timeout was wait enough, nor is one that a small file goes to.
#[tokio::test]
async fn nothing_is_waited_for_where_it_is_of_no_use() {
    let silent = Fault { kind: ErrorKind::Timeout, ..Fault::CUT };
    for (write, length, fault) in [(4, 8 * CHUNK, silent), (0, CHUNK - 1, Fault::CUT)] {
        let mut scene = Scene::new();
        scene.content.truncate(length);
        Scene::cut_at_write(&scene.script, write);
        for _ in 0..2 {
            scene.script.fail(Act::Stat, fault);
        }
        scene.deliver().await.unwrap_err();
        assert_eq!(scene.script.count(Act::Stat), 1, "{length}");
    }
}

#[tokio::test]
async fn who_lost_the_claim_does_not_go_on() {
    let scene = Scene::new();
    Scene::cut_at_write(&scene.script, 4);
    let log = Arc::clone(&scene.attempt.log);
    scene.script.before(Act::Write, move || async move { log.lose_claim(true) });
    scene.deliver().await.unwrap_err();
    assert_eq!(scene.script.count(Act::ResumeWrite), 0);
}

#[tokio::test]
async fn a_lost_answer_to_the_last_byte_is_found_out_by_going_on() {
    let mut scene = Scene::new();
    scene.attempt.options.verify = Verify::Checksum;
    scene.script.fail(Act::Finish, Fault::CUT);
    let memory = scene.memory.clone();
    let content = scene.content.clone();
    scene.script.before(Act::Stat, move || async move {
        // The server has written all of it.
        memory.put(Scene::temporary(&memory).as_str(), content);
    });
    let last = scene.content.len() as u64 - 1;
    assert_eq!(scene.deliver().await.unwrap(), [last]);
}
