//! Permissions and owner of delivered files.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test program: a failed expectation is how it speaks"
)]

use model::{Claim, DeliveryId, Receipt, RemotePath};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use testkit::conformance::Interlude;
use testkit::fake::{BytesPayload, MemoryLog, services};
use transport::folder::{FolderDestination, Overwrite, Owner, WriteOptions};
use transport::{Deliver, DeliveryLog, Destination, Sent};
use transport_file::LocalFolder;
use uuid::Uuid;

async fn deliver(directory: &Path, owner: &str, options: WriteOptions) -> Receipt {
    let directory = RemotePath::from_bytes(directory.as_os_str().as_bytes());
    let folder = LocalFolder::new(directory.clone(), vec![directory]);
    let folder = folder.giving(Some(0o640), Some(Owner::parse(owner).unwrap()));
    let log = Arc::<MemoryLog>::default();
    let services = services(Arc::new(Interlude::default()));
    let claim = Claim {
        delivery: DeliveryId::new(Uuid::from_u128(0x0192_7000)),
        node: services.node.clone(),
        epoch: 1,
        attempt: 1,
    };
    let deliver = Deliver {
        attachments: Vec::new(),
        claim,
        payload: BytesPayload::shared("a.edi", *b"ISA*00"),
        file_name: "a.edi".into(),
        received: model::Timestamp::UNIX_EPOCH,
        flow: "flow".into(),
        partner: None,
        notes: log.notes(),
        interrupted: false,
        is_last: false,
        log: Arc::clone(&log) as Arc<dyn DeliveryLog>,
    };
    let sent = FolderDestination::new(Arc::new(folder), options, services).unwrap().deliver(deliver).await;
    match sent.unwrap() {
        Sent::Delivered { receipt, .. } => receipt,
        other => panic!("{other:?}"),
    }
}

/// The tests run as root, who may give files away.
#[tokio::test]
async fn files_get_the_user_and_group_that_are_given() {
    let root = tempfile::tempdir().unwrap();
    let own = fs::metadata(root.path()).unwrap();
    for (owner, user, group) in
        [("12345:54321", 12_345, 54_321), ("12346", 12_346, own.gid()), (":54322", own.uid(), 54_322)]
    {
        for temporary_name in [true, false] {
            let options = WriteOptions {
                temporary_name,
                overwrite: Overwrite::Replace,
                ..WriteOptions::new("warehouse", RemotePath::default())
            };
            let receipt = deliver(root.path(), owner, options).await;
            assert_eq!(receipt.detail.get("owner_not_set"), None);
            let found = fs::metadata(root.path().join("a.edi")).unwrap();
            assert_eq!((found.uid(), found.gid()), (user, group), "{owner}");
            assert_eq!(found.mode() & 0o7777, 0o640, "{owner}");
        }
    }
}

#[tokio::test]
async fn users_of_the_machine_are_known_by_name_and_others_are_told_in_the_receipt() {
    let root = tempfile::tempdir().unwrap();
    let options = || WriteOptions {
        overwrite: Overwrite::Replace,
        ..WriteOptions::new("warehouse", RemotePath::default())
    };
    assert_eq!(deliver(root.path(), "daemon:bin", options()).await.detail.get("owner_not_set"), None);
    let found = fs::metadata(root.path().join("a.edi")).unwrap();
    // The numbers that Debian gives to them (base-passwd).
    assert_eq!((found.uid(), found.gid()), (1, 2));
    let receipt = deliver(root.path(), "nobody-of-that-name", options()).await;
    let why = receipt.detail["owner_not_set"].as_str().unwrap();
    assert!(why.contains("no such user in /etc/passwd"), "{why}");
    assert_eq!(fs::read(root.path().join("a.edi")).unwrap(), b"ISA*00");
    let own = fs::metadata(root.path()).unwrap();
    assert_eq!(fs::metadata(root.path().join("a.edi")).unwrap().uid(), own.uid());
}
