//! Files that are read at their source while they are written: what is asked of the payload when, over a folder under a
//! script.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test program: a failed expectation is how it speaks"
)]

use async_trait::async_trait;
use model::{Content, Error, ErrorKind, PayloadId, PayloadRecord, Result, Retry, Sha256, Timestamp};
use serde_json::{Map, Value};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use testkit::clock::SeededRandom;
use testkit::conformance::Interlude;
use testkit::fake::{Act, Fault, MemoryFolder, ScriptedFolder, services};
use testkit::through::Attempt;
use transport::folder::{ChecksumKind, Folder, Overwrite, Verify, WriteOptions};
use transport::{BufferBudget, Payload, PayloadReader, Services};

/// A file at its source.
struct Streamed {
    script: Arc<ScriptedFolder>,
    memory: MemoryFolder,
    bytes: Vec<u8>,
    record: PayloadRecord,
    opened: AtomicU32,
    /// What lay in the folder, and what had been asked of it, when it was confirmed.
    confirmed: Mutex<Vec<Vec<String>>>,
    /// Whether it is not what was found.
    changed: bool,
    budget: BufferBudget,
}

#[async_trait]
impl Payload for Streamed {
    fn record(&self) -> &PayloadRecord {
        &self.record
    }

    fn sha256(&self) -> Option<Sha256> {
        (self.opened.load(Ordering::SeqCst) > 0).then(|| Sha256(openssl::sha::sha256(&self.bytes)))
    }

    fn is_streamed(&self) -> bool {
        true
    }

    async fn confirm(&self) -> Result<Sha256> {
        assert_eq!(
            self.budget.free(),
            self.budget.total(),
            "nobody waits for a source while it holds buffers"
        );
        let acts = self.script.calls();
        assert!(acts.iter().any(|(act, _)| *act == Act::Finish), "the upload has ended: {acts:?}");
        assert!(acts.iter().all(|(act, _)| *act != Act::Publish), "{acts:?}");
        self.confirmed.lock().unwrap().push(self.memory.files());
        if self.changed {
            return Err(Error::permanent(ErrorKind::IntegrityFailed, "stream a file: it was changed"));
        }
        Ok(self.sha256().unwrap())
    }

    fn metadata(&self) -> &Map<String, Value> {
        static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        &NONE
    }

    fn reader_buffers(&self) -> usize {
        0
    }

    async fn open(&self, range: Range<u64>) -> Result<PayloadReader> {
        assert_eq!(range, 0..self.length());
        assert_eq!(self.opened.fetch_add(1, Ordering::SeqCst), 0, "it can be read once");
        assert_eq!(
            self.budget.free(),
            self.budget.total(),
            "nobody waits for a source while it holds buffers"
        );
        let acts = self.script.calls();
        assert!(
            acts.iter().all(|(act, _)| *act != Act::BeginWrite),
            "its connection is taken first: {acts:?}"
        );
        Ok(Box::new(std::io::Cursor::new(self.bytes.clone())))
    }

    fn open_blocking(&self, _: Range<u64>) -> Result<Box<dyn std::io::Read + Send>> {
        panic!("no folder reads on a blocking thread")
    }
}

struct Scene {
    memory: MemoryFolder,
    script: Arc<ScriptedFolder>,
    attempt: Attempt,
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
            services: services(Arc::new(Interlude::default())),
        }
    }

    fn streamed(&self, changed: bool) -> Arc<Streamed> {
        let bytes = SeededRandom::new(1).bytes(3 << 20);
        let record = PayloadRecord {
            id: PayloadId::new(uuid::Uuid::nil()),
            length: bytes.len() as u64,
            content: Content::Streamed(None),
            media_type: None,
            file_name: "found.edi".into(),
            staged_at: Timestamp::UNIX_EPOCH,
        };
        Arc::new(Streamed {
            script: Arc::clone(&self.script),
            memory: self.memory.clone(),
            bytes,
            record,
            opened: AtomicU32::default(),
            confirmed: Mutex::default(),
            changed,
            budget: self.services.budget.clone(),
        })
    }

    async fn deliver(&self, payload: &Arc<Streamed>) -> Result<Map<String, Value>> {
        let folder = Arc::clone(&self.script) as Arc<dyn Folder>;
        self.attempt.send(&folder, "a.edi", Arc::clone(payload) as Arc<dyn Payload>, &self.services).await
    }
}

#[tokio::test]
async fn a_streamed_file_is_opened_first_and_confirmed_before_it_is_published() {
    let scene = Scene::new();
    let payload = scene.streamed(false);
    let receipt = scene.deliver(&payload).await.unwrap();
    assert_eq!(&*scene.memory.get("out/a.edi").unwrap(), &*payload.bytes);
    assert_eq!(receipt["sha256"], payload.sha256().unwrap().to_string());
    let confirmed = payload.confirmed.lock().unwrap().clone();
    assert_eq!(confirmed.len(), 1);
    assert!(confirmed[0].iter().any(|path| path.starts_with("out/.a.edi")), "{confirmed:?}");
}

#[tokio::test]
async fn a_streamed_file_that_was_changed_is_not_published_and_nothing_of_it_stays() {
    let scene = Scene::new();
    let payload = scene.streamed(true);
    let error = scene.deliver(&payload).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::IntegrityFailed, Retry::Permanent));
    assert_eq!(scene.memory.files(), ["out/.keep"]);
}

#[tokio::test]
async fn an_upload_of_a_streamed_file_that_breaks_is_begun_anew_by_the_next_attempt() {
    let scene = Scene::new();
    scene.script.fail(Act::Write, Fault::CUT);
    let error = scene.deliver(&scene.streamed(false)).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Transient);
    assert_eq!(scene.memory.files(), ["out/.keep"]);
    assert!(scene.script.calls().iter().all(|(act, _)| *act != Act::ResumeWrite));
}

#[tokio::test]
async fn a_checksum_of_another_kind_is_not_asked_of_a_streamed_file() {
    for kind in [ChecksumKind::Sha256, ChecksumKind::Md5] {
        let mut scene = Scene::new();
        scene.attempt.options.verify = Verify::Checksum;
        scene.script.compute(kind);
        let receipt = scene.deliver(&scene.streamed(false)).await.unwrap();
        let by = receipt["verified_by"].as_str().unwrap();
        assert_eq!(by.contains("server"), kind == ChecksumKind::Sha256, "{by}");
    }
}

#[tokio::test]
async fn what_cannot_be_done_with_a_streamed_file_is_refused_before_it_is_read() {
    let changes: [fn(&mut WriteOptions); 3] = [
        |options| options.temporary_name = false,
        |options| options.overwrite = Overwrite::SkipSame,
        |options| options.overwrite = Overwrite::Append,
    ];
    for change in changes {
        let mut scene = Scene::new();
        change(&mut scene.attempt.options);
        let payload = scene.streamed(false);
        let error = scene.deliver(&payload).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        assert_eq!(payload.opened.load(Ordering::SeqCst), 0);
        assert_eq!(scene.memory.files(), ["out/.keep"]);
    }
}
