//! What a flow's destination may ask for when it writes: how a file is verified, what happens to one of its name, where
//! it lies until it is whole, its time, and a marker after it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test program: a failed expectation is how it speaks"
)]

use model::{Claim, DeliveryId, ErrorKind, NameTemplate, Result, Retry, Timestamp};
use serde_json::{Map, Value};
use std::sync::Arc;
use testkit::conformance::Interlude;
use testkit::fake::{Act, BytesPayload, Fault, MemoryFolder, MemoryLog, ScriptedFolder, services};
use transport::folder::{
    ChecksumKind, Folder, FolderCapabilities, FolderDestination, Overwrite, Verify, WriteOptions,
    is_unsettled,
};
use transport::{Deliver, DeliveryLog, Destination, Sent};
use uuid::Uuid;

const CONTENT: &[u8] = b"UNA:+.? '";

struct Ground {
    memory: MemoryFolder,
    script: Arc<ScriptedFolder>,
    log: Arc<MemoryLog>,
    options: WriteOptions,
    metadata: Map<String, Value>,
}

impl Ground {
    fn new() -> Self {
        Self::over(MemoryFolder::new())
    }

    fn over(memory: MemoryFolder) -> Self {
        memory.put("out/.keep", *b"");
        Self {
            script: ScriptedFolder::new(Arc::new(memory.clone())),
            memory,
            log: Arc::default(),
            options: WriteOptions::new("place", "out".into()),
            metadata: Map::new(),
        }
    }

    fn marked(mut self, marker: &str) -> Self {
        self.options.marker = Some(NameTemplate::parse(marker).unwrap());
        self
    }

    async fn attempt(&self, number: u32) -> Result<Map<String, Value>> {
        let folder = Arc::clone(&self.script) as Arc<dyn Folder>;
        let services = services(Arc::new(Interlude::default()));
        let node = services.node.clone();
        let destination = FolderDestination::new(folder, self.options.clone(), services)?;
        let sent = destination.deliver(Deliver {
            attachments: Vec::new(),
            claim: Claim {
                delivery: DeliveryId::new(Uuid::from_u128(0x0192_7000)),
                node,
                epoch: 1,
                attempt: number,
            },
            payload: BytesPayload::described("a.edi", CONTENT, self.metadata.clone()),
            file_name: "a.edi".into(),
            received: model::Timestamp::UNIX_EPOCH,
            flow: "flow".into(),
            partner: None,
            notes: self.log.notes(),
            interrupted: false,
            is_last: false,
            log: Arc::clone(&self.log) as Arc<dyn DeliveryLog>,
        });
        match sent.await? {
            Sent::Delivered { receipt, .. } => Ok(receipt.detail),
            Sent::Awaiting { .. } => panic!("a folder gives its receipt at once"),
        }
    }

    fn files(&self) -> Vec<String> {
        self.memory.files()
    }
}

#[tokio::test]
async fn a_file_of_the_same_content_counts_as_the_delivery() {
    for temporary_name in [true, false] {
        let mut ground = Ground::new();
        ground.options.overwrite = Overwrite::SkipSame;
        ground.options.temporary_name = temporary_name;
        ground.memory.put("out/a.edi", CONTENT);
        let receipt = ground.attempt(1).await.unwrap();
        assert_eq!(receipt["existed"], true);
        assert_eq!(ground.script.count(Act::BeginWrite), 0, "nothing is sent");
        assert_eq!(ground.files(), ["out/.keep", "out/a.edi"]);
    }
}

#[tokio::test]
async fn a_file_of_other_content_is_refused_and_stays() {
    for other in [&b"UNA:+.? !"[..], b"longer than the payload"] {
        let mut ground = Ground::new();
        ground.options.overwrite = Overwrite::SkipSame;
        ground.memory.put("out/a.edi", other);
        let error = ground.attempt(1).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::AlreadyExists, Retry::Permanent));
        assert_eq!(ground.files(), ["out/.keep", "out/a.edi"]);
        assert_eq!(&*ground.memory.get("out/a.edi").unwrap(), other);
    }
}

#[tokio::test]
async fn a_file_of_the_same_content_that_appears_meanwhile_counts_as_well() {
    let mut ground = Ground::new();
    ground.options.overwrite = Overwrite::SkipSame;
    let memory = ground.memory.clone();
    ground.script.before(Act::Publish, move || async move { memory.put("out/a.edi", CONTENT) });
    assert_eq!(ground.attempt(1).await.unwrap()["existed"], true);
    assert_eq!(ground.files(), ["out/.keep", "out/a.edi"]);
}

#[tokio::test]
async fn a_file_that_reads_back_differently_is_not_published() {
    let mut ground = Ground::new();
    ground.options.verify = Verify::Checksum;
    let memory = ground.memory.clone();
    ground.script.before(Act::Read, move || async move {
        // A disk that keeps the size and loses the content.
        let written = memory.files().into_iter().find(|path| path.starts_with("out/.a.edi")).unwrap();
        memory.put(written.as_str(), *b"\0\0\0\0\0\0\0\0\0");
    });
    let error = ground.attempt(1).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::IntegrityFailed, Retry::Transient));
    assert_eq!(ground.files(), ["out/.keep"]);
    let receipt = ground.attempt(2).await.unwrap();
    assert!(receipt["verified_by"].as_str().unwrap().contains("SHA-256"), "{receipt:?}");
    assert_eq!(&*ground.memory.get("out/a.edi").unwrap(), CONTENT);
}

#[tokio::test]
async fn a_checksum_that_the_server_computes_stands_for_reading_back() {
    for kind in ChecksumKind::BY_PREFERENCE {
        let mut ground = Ground::new();
        ground.options.verify = Verify::Checksum;
        ground.script.compute(kind);
        let receipt = ground.attempt(1).await.unwrap();
        let words = receipt["verified_by"].as_str().unwrap();
        assert!(words.contains("the server computed") && words.contains(kind.name()), "{words}");
        let is_weak = matches!(kind, ChecksumKind::Sha1 | ChecksumKind::Md5);
        assert_eq!(words.contains("no better checksum"), is_weak, "{words}");
        assert_eq!(ground.script.count(Act::Read), 0, "nothing is read back");
        // Another content is not published.
        let mut ground = Ground::new();
        ground.options.verify = Verify::Checksum;
        ground.script.compute(kind);
        let memory = ground.memory.clone();
        ground.script.before(Act::Checksum, move || async move {
            let written = memory.files().into_iter().find(|path| path.starts_with("out/.a.edi")).unwrap();
            memory.put(written.as_str(), *b"damaged 9");
        });
        let error = ground.attempt(1).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::IntegrityFailed, Retry::Transient));
        assert_eq!(ground.files(), ["out/.keep"]);
    }
}

#[tokio::test]
async fn a_checksum_that_cannot_be_computed_now_is_no_reason_to_fail() {
    let mut ground = Ground::new();
    ground.options.verify = Verify::Checksum;
    ground.script.compute(ChecksumKind::Sha256);
    ground.script.fail(Act::Checksum, Fault::CUT);
    let receipt = ground.attempt(1).await.unwrap();
    assert!(receipt["verified_by"].as_str().unwrap().contains("read back"), "{receipt:?}");
}

#[tokio::test]
async fn where_nothing_can_be_read_back_the_error_says_what_helps() {
    let mut ground = Ground::new();
    ground.options.verify = Verify::Checksum;
    ground.script.fail(Act::Read, Fault::REFUSED);
    let error = ground.attempt(1).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unsupported, Retry::Permanent));
    assert!(error.chain().contains("verify = \"size\""), "{}", error.chain());
    assert_eq!(ground.files(), ["out/.keep"]);
}

#[tokio::test]
async fn unfinished_files_lie_where_and_are_named_as_the_flow_says() {
    let mut ground = Ground::new();
    ground.options.temporary_directory = Some("work/unfinished".into());
    ground.options.temporary_prefix = "part-".into();
    ground.options.temporary_suffix = String::new();
    let memory = ground.memory.clone();
    ground.script.before(Act::Publish, move || async move {
        let files = memory.files();
        assert!(files.iter().any(|path| path.starts_with("work/unfinished/part-a.edi.")), "{files:?}");
    });
    ground.attempt(1).await.unwrap();
    assert_eq!(ground.files(), ["out/.keep", "out/a.edi"]);
    ground.options.temporary_directory = None;
    ground.options.temporary_prefix = String::new();
    let error = ground.attempt(2).await.unwrap_err();
    assert!(error.chain().contains("no prefix, suffix or directory"), "{}", error.chain());
}

#[tokio::test]
async fn a_file_gets_the_time_it_had_at_its_source() {
    let modified = Timestamp::from_timestamp(1_700_000_000, 0).unwrap();
    for set_modified in [true, false] {
        for temporary_name in [true, false] {
            let capabilities = FolderCapabilities { rename_no_replace: true, set_modified };
            let mut ground = Ground::over(MemoryFolder::with_capabilities(capabilities));
            ground.options.keep_time = true;
            ground.options.temporary_name = temporary_name;
            ground.metadata.insert("source_modified_micros".into(), modified.timestamp_micros().into());
            let receipt = ground.attempt(1).await.unwrap();
            let there = ground.memory.stat(&"out/a.edi".into()).await.unwrap().modified;
            assert_eq!(there == Some(modified), set_modified);
            assert_eq!(receipt.contains_key("modified_micros"), set_modified, "{receipt:?}");
            assert_eq!(receipt.contains_key("time_not_kept"), !set_modified, "{receipt:?}");
        }
    }
}

#[tokio::test]
async fn a_marker_follows_the_file_and_is_tried_again_without_it() {
    for temporary_name in [true, false] {
        let mut ground = Ground::new().marked("{stem}.done");
        ground.options.temporary_name = temporary_name;
        let (memory, script) = (ground.memory.clone(), Arc::clone(&ground.script));
        let last_act = if temporary_name { Act::Publish } else { Act::Finish };
        ground.script.before(last_act, move || async move {
            assert!(!memory.files().contains(&"out/a.done".to_owned()));
            // The next file that is begun is the marker.
            script.fail(Act::BeginWrite, Fault::CUT);
        });
        let error = ground.attempt(1).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Transient);
        assert!(error.chain().contains("marker"), "{}", error.chain());
        assert_eq!(ground.files(), ["out/.keep", "out/a.edi"]);
        ground.attempt(2).await.unwrap();
        assert_eq!(ground.files(), ["out/.keep", "out/a.done", "out/a.edi"]);
        assert_eq!(ground.memory.get("out/a.done").unwrap().len(), 0);
    }
}

#[tokio::test]
async fn a_marker_has_a_name_of_its_own_made_of_the_files() {
    for (marker, words) in [
        ("{name}", "the name of the file itself"),
        ("{stem}{ext}", "the name of the file itself"),
        ("{flow}", "{stem} and {ext}"),
    ] {
        let error = Ground::new().marked(marker).attempt(1).await.unwrap_err();
        assert!(error.chain().contains(words), "{marker}: {}", error.chain());
    }
}

#[tokio::test]
async fn a_marker_never_takes_the_name_of_a_file_with_content() {
    // The template gives other names another marker, and this one its own name.
    let ground = Ground::new().marked("{stem}.edi");
    let error = ground.attempt(1).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Rejected, Retry::Permanent));
    assert!(error.chain().contains("own name"), "{}", error.chain());
    assert_eq!(ground.script.count(Act::BeginWrite), 0, "nothing is sent");
    let ground = Ground::new().marked("{name}.done");
    ground.memory.put("out/a.edi.done", *b"somebody's");
    let error = ground.attempt(1).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::AlreadyExists, Retry::Permanent));
    assert_eq!(&*ground.memory.get("out/a.edi.done").unwrap(), b"somebody's");
    assert!(is_unsettled(&ground.log.notes()), "the file is here, so no other address is tried");
}

#[tokio::test]
async fn a_marker_whose_name_is_too_long_is_refused_before_anything_is_sent() {
    let mut ground = Ground::new().marked("{name}.done");
    ground.options.name_limit = 9;
    let error = ground.attempt(1).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Rejected, Retry::Permanent));
    assert_eq!(ground.script.count(Act::BeginWrite), 0, "nothing is sent");
}

/// How a server without better words refuses.
const VAGUE: Fault = Fault { kind: ErrorKind::Rejected, retry: Retry::Permanent };

#[tokio::test]
async fn a_directory_that_another_delivery_makes_meanwhile_is_used() {
    for (temporary_name, apart) in [(true, true), (true, false), (false, false)] {
        let mut ground = Ground::over(MemoryFolder::new());
        ground.options.directory = "missing".into();
        ground.options.create_directories = true;
        ground.options.temporary_name = temporary_name;
        ground.options.temporary_directory = apart.then(|| "work".into());
        let memory = ground.memory.clone();
        ground.script.before(Act::BeginWrite, move || async move {
            memory.make_directory(&"missing".into()).await.unwrap();
            memory.make_directory(&"work".into()).await.unwrap();
        });
        ground.script.fail(Act::BeginWrite, VAGUE);
        ground.attempt(1).await.unwrap();
        assert_eq!(ground.files(), ["missing/a.edi", "out/.keep"]);
    }
}

#[tokio::test]
async fn a_refusal_in_a_directory_that_is_always_there_stands() {
    let ground = Ground::new();
    ground.script.fail(Act::BeginWrite, VAGUE);
    let error = ground.attempt(1).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Rejected, Retry::Permanent));
    assert_eq!(ground.script.count(Act::BeginWrite), 1);
}

#[tokio::test]
async fn a_file_that_was_to_be_replaced_and_has_the_same_size_is_not_taken_for_the_new_one() {
    let mut ground = Ground::new();
    ground.options.overwrite = Overwrite::Replace;
    ground.options.temporary_name = false;
    ground.memory.put("out/a.edi", *b"the old 9");
    ground.memory.duplicate("out/a.edi", "out/.keep");
    // A server that writes to a hidden file leaves the old one until the new one is whole.
    let memory = ground.memory.clone();
    ground.script.before(Act::Finish, move || async move { memory.duplicate("out/.keep", "out/a.edi") });
    ground.script.fail(Act::Finish, Fault::LOST);
    let error = ground.attempt(1).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Ambiguous);
    assert_eq!(&*ground.memory.get("out/a.edi").unwrap(), b"the old 9");
    ground.attempt(2).await.unwrap();
    assert_eq!(&*ground.memory.get("out/a.edi").unwrap(), CONTENT);
}
