//! A publication whose answer was lost, at a directory that may not be the one it was: a file system that
//! is not mounted, or another one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test program: a failed expectation is how it speaks"
)]

use futures::StreamExt;
use model::{Claim, DeliveryId, Offer, OfferId, OfferState, Outcome, RemotePath, Result, Retry};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use testkit::conformance::Interlude;
use testkit::defined;
use testkit::fake::{Act, BytesPayload, Fault, Known, MemoryLog, PublishAnswer, ScriptedFolder, services};
use transport::folder::After;
use transport::folder::{Folder, FolderDestination, FolderSource, FolderSourceOptions, WriteOptions};
use transport::{Deliver, DeliveryLog, Destination, Discovery, Sent, Settled, Source};
use transport_file::LocalFolder;
use uuid::Uuid;

fn path(path: &Path) -> RemotePath {
    RemotePath::from_bytes(path.as_os_str().as_bytes())
}

async fn attempt(script: &Arc<ScriptedFolder>, log: &Arc<MemoryLog>, number: u32) -> Result<Sent> {
    attempt_with(script, log, number, None).await
}

async fn attempt_with(
    script: &Arc<ScriptedFolder>,
    log: &Arc<MemoryLog>,
    number: u32,
    temporary_directory: Option<RemotePath>,
) -> Result<Sent> {
    let services = services(Arc::new(Interlude::default()));
    let node = services.node.clone();
    let folder = Arc::clone(script) as Arc<dyn Folder>;
    let options =
        WriteOptions { temporary_directory, ..WriteOptions::new("warehouse", RemotePath::default()) };
    let deliver = Deliver {
        attachments: Vec::new(),
        claim: Claim {
            delivery: DeliveryId::new(Uuid::from_u128(0x0192_7000)),
            node,
            epoch: 1,
            attempt: number,
        },
        payload: BytesPayload::shared("a.edi", *b"ISA*00"),
        file_name: "a.edi".into(),
        received: model::Timestamp::UNIX_EPOCH,
        flow: "flow".into(),
        partner: None,
        notes: log.notes(),
        interrupted: number > 1,
        is_last: false,
        log: Arc::clone(log) as Arc<dyn DeliveryLog>,
    };
    FolderDestination::new(folder, options, services).unwrap().deliver(deliver).await
}

#[tokio::test]
async fn a_file_missing_from_another_directory_was_not_published_there() {
    let root = tempfile::tempdir().unwrap();
    let (mounted, unmounted) = (root.path().join("out"), root.path().join("away"));
    fs::create_dir(&mounted).unwrap();
    let local = LocalFolder::new(path(&mounted), vec![path(root.path())]);
    let script = ScriptedFolder::new(Arc::new(local));
    let log = Arc::<MemoryLog>::default();

    // Written and noted; whether it was published, nobody tells.
    script.publish_answer(PublishAnswer::UnknownNotDone);
    script.fail(Act::Stat, Fault::CUT);
    assert_eq!(attempt(&script, &log, 1).await.unwrap_err().retry(), Retry::Ambiguous);

    // The file system is away, and with it the directory: nothing can be said.
    fs::rename(&mounted, &unmounted).unwrap();
    let error = attempt(&script, &log, 2).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Ambiguous, "{error}");
    assert!(error.chain().contains("mounted"), "{}", error.chain());

    // The bare mount point instead: the file never was there, so it is sent.
    fs::create_dir(&mounted).unwrap();
    assert!(matches!(attempt(&script, &log, 3).await, Ok(Sent::Delivered { .. })));
    assert_eq!(fs::read(mounted.join("a.edi")).unwrap(), b"ISA*00");
}

#[tokio::test]
async fn a_file_missing_from_another_directory_for_unfinished_files_was_not_published_from_there() {
    let root = tempfile::tempdir().unwrap();
    let (out, work) = (root.path().join("out"), root.path().join("work"));
    for directory in [&out, &work] {
        fs::create_dir(directory).unwrap();
    }
    let local = LocalFolder::new(path(&out), vec![path(root.path())]);
    let script = ScriptedFolder::new(Arc::new(local));
    let log = Arc::<MemoryLog>::default();
    script.publish_answer(PublishAnswer::UnknownNotDone);
    script.fail(Act::Stat, Fault::CUT);
    let attempt = |number| attempt_with(&script, &log, number, Some(path(&work)));
    assert_eq!(attempt(1).await.unwrap_err().retry(), Retry::Ambiguous);
    fs::rename(&work, root.path().join("away")).unwrap();
    assert_eq!(attempt(2).await.unwrap_err().retry(), Retry::Ambiguous);
    fs::create_dir(&work).unwrap();
    assert!(matches!(attempt(3).await, Ok(Sent::Delivered { .. })));
    assert_eq!(fs::read(out.join("a.edi")).unwrap(), b"ISA*00");
}

fn archiving(from: &Path, to: &Path) -> FolderSource {
    let flow = defined::flow(
        "flow",
        defined::polling(
            defined::poll(
                "place",
                After::Archive { directory: to.to_str().unwrap().into(), timestamp: false },
            ),
            |polling| {
                polling.temporary_suffix = ".part".into();
            },
        ),
    );
    let options = FolderSourceOptions {
        flow: Arc::new(flow),
        endpoint: "place".into(),
        directory: RemotePath::default(),
    };
    let local = LocalFolder::new(path(from), vec![path(from), path(to)]);
    FolderSource::new(Arc::new(local), options, services(Arc::new(Interlude::default()))).unwrap()
}

/// A file copied to an archive on another file system by a call that was cut off before it removed the original: the
/// next one removes it, and does not offer it a second time.
#[tokio::test]
async fn an_original_left_by_a_move_to_another_file_system_is_removed() {
    let root = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::write(root.path().join("a.edi"), b"ISA*00").unwrap();
    let source = archiving(root.path(), elsewhere.path());
    let discovery = Discovery::first(Arc::new(Known::default()));
    let found = source.discover(discovery).await.unwrap().next().await.unwrap().unwrap();
    let offer = Offer {
        id: OfferId::new(Uuid::from_u128(1)),
        identity: found.identity.clone(),
        state: OfferState::Settling,
        found_at: chrono::DateTime::from_timestamp(1_772_366_400, 0).unwrap(),
        failures: 0,
        source_data: found.source_data.clone(),
    };
    // What that call left.
    let aside = elsewhere.path().join(".a.edi.000000000001.moving.a");
    let copied = Command::new("cp").arg("-p").arg(root.path().join("a.edi")).arg(&aside).status().unwrap();
    assert!(copied.success());
    assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Done);
    assert!(!root.path().join("a.edi").exists());
    assert_eq!(fs::read(elsewhere.path().join("a.edi")).unwrap(), b"ISA*00");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
}
