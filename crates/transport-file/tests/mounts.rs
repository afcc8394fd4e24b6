//! A publication whose answer was lost, at a directory that may not be the one it was: a file system that
//! is not mounted, or another one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test program: a failed expectation is how it speaks"
)]

use model::{Claim, DeliveryId, RemotePath, Result, Retry};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use testkit::conformance::Interlude;
use testkit::fake::{Act, BytesPayload, Fault, MemoryLog, PublishAnswer, ScriptedFolder, services};
use transport::folder::{Folder, FolderDestination, WriteOptions};
use transport::{Deliver, DeliveryLog, Destination, Sent};
use transport_file::LocalFolder;
use uuid::Uuid;

fn path(path: &Path) -> RemotePath {
    RemotePath::from_bytes(path.as_os_str().as_bytes())
}

async fn attempt(script: &Arc<ScriptedFolder>, log: &Arc<MemoryLog>, number: u32) -> Result<Sent> {
    let services = services(Arc::new(Interlude::default()));
    let node = services.node.clone();
    let folder = Arc::clone(script) as Arc<dyn Folder>;
    let options = WriteOptions::new("warehouse", RemotePath::default());
    let deliver = Deliver {
        claim: Claim {
            delivery: DeliveryId::new(Uuid::from_u128(0x0192_7000)),
            node,
            epoch: 1,
            attempt: number,
        },
        payload: BytesPayload::shared("a.edi", *b"ISA*00"),
        file_name: "a.edi".into(),
        flow: "flow".into(),
        partner: None,
        notes: log.notes(),
        interrupted: number > 1,
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
