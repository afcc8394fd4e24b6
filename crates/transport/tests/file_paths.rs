//! Files whose metadata names where they go: under another name, or to an absolute path.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test program: a failed expectation is how it speaks"
)]

use model::{Claim, DeliveryId, ErrorKind, RemotePath, Result, Retry};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use testkit::conformance::Interlude;
use testkit::fake::{BytesPayload, MemoryFolder, MemoryLog, services};
use transport::folder::{Folder, FolderDestination, WriteOptions};
use transport::{Deliver, DeliveryLog, Destination, Sent};
use uuid::Uuid;

/// Delivers `a.edi` with this metadata to `out`, from where paths below `/archive` and `/in/deep` may be named.
async fn deliver(memory: &MemoryFolder, metadata: Value) -> Result<Map<String, Value>> {
    let services = services(Arc::new(Interlude::default()));
    let node = services.node.clone();
    let mut options = WriteOptions::new("place", "out".into());
    options.paths_below = vec!["/archive".into(), "/in/deep/".into()];
    let folder = Arc::new(memory.clone()) as Arc<dyn Folder>;
    let destination = FolderDestination::new(folder, options, services)?;
    let delivery = DeliveryId::new(Uuid::from_u128(0x0192_7000));
    let sent = destination.deliver(Deliver {
        attachments: Vec::new(),
        claim: Claim { delivery, node, epoch: 1, attempt: 1 },
        payload: BytesPayload::described("a.edi", *b"an order", metadata.as_object().unwrap().clone()),
        file_name: "a.edi".into(),
        received: model::Timestamp::UNIX_EPOCH,
        flow: "flow".into(),
        partner: None,
        notes: Default::default(),
        interrupted: false,
        is_last: false,
        log: Arc::new(MemoryLog::default()) as Arc<dyn DeliveryLog>,
    });
    match sent.await? {
        Sent::Delivered { receipt, .. } => Ok(receipt.detail),
        other => panic!("{other:?}"),
    }
}

fn ground() -> MemoryFolder {
    let memory = MemoryFolder::new();
    for directory in ["out", "/archive", "/in/deep"] {
        memory.put(RemotePath::from(directory).join(&".keep".into()), *b"");
    }
    memory
}

#[tokio::test]
async fn metadata_names_the_file_in_its_directory_or_by_an_absolute_path() {
    for (metadata, path) in [
        (json!({}), "out/a.edi"),
        (json!({ "file_name": "b.edi" }), "out/b.edi"),
        (json!({ "file_name": "b.edi", "is_file_path": false }), "out/b.edi"),
        (json!({ "is_file_path": true }), "out/a.edi"),
        (json!({ "file_name": "/archive/2026/b.edi", "is_file_path": true }), "/archive/2026/b.edi"),
        // Headers and forms carry texts.
        (json!({ "file_name": "/in/deep/b.edi", "is_file_path": "true" }), "/in/deep/b.edi"),
    ] {
        let memory = ground();
        let detail = deliver(&memory, metadata.clone()).await.unwrap();
        assert_eq!(detail["path"], path, "{metadata}");
        let absolute = path.starts_with('/').then(|| Value::from(path));
        assert_eq!(detail.get("file_path"), absolute.as_ref(), "{metadata}");
        let file = path.trim_start_matches('/').to_owned();
        assert!(memory.files().contains(&file), "{metadata}: {:?}", memory.files());
    }
}

#[tokio::test]
async fn a_path_that_is_not_allowed_is_refused_for_good_and_nothing_is_written() {
    for (name, is_file_path) in [
        ("/elsewhere/b.edi", true),
        ("/archived/b.edi", true),
        ("/in/b.edi", true),
        ("/archive/../elsewhere/b.edi", true),
        ("archive/b.edi", true),
        ("b.edi", true),
        ("/archive/", true),
        ("/", true),
        ("", true),
        // Without is_file_path it is a name, which leads nowhere else.
        ("/archive/b.edi", false),
        ("../b.edi", false),
        ("", false),
    ] {
        let memory = ground();
        let before = memory.files();
        let metadata = json!({ "file_name": name, "is_file_path": is_file_path });
        let error = deliver(&memory, metadata).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Rejected, Retry::Permanent), "{name}: {error}");
        assert_eq!(memory.files(), before, "{name}");
    }
}

#[test]
fn directories_for_paths_are_absolute() {
    let mut options = WriteOptions::new("place", "out".into());
    options.paths_below = vec!["/archive".into(), "archive".into(), "/a/../b".into()];
    let found = testkit::defined::findings(|findings| options.check(findings));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|text| text.contains("must be an absolute directory")), "{found:?}");
}
