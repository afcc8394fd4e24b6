//! Deliveries that are dropped in the middle, as when their node loses its lease: nothing of them stays.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test program: a failed expectation is how it speaks"
)]

use model::{Claim, DeliveryId, ErrorKind, RemotePath};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use testkit::conformance::Interlude;
use testkit::fake::{BytesPayload, MemoryLog, services};
use transport::folder::{Folder, FolderDestination, WriteOptions};
use transport::{Deliver, DeliveryLog, Destination};
use transport_file::LocalFolder;
use uuid::Uuid;

fn path(path: &Path) -> RemotePath {
    RemotePath::from_bytes(path.as_os_str().as_bytes())
}

/// Polls until the work has waited so many times, and drops it; its end, if it came before.
async fn drop_after<T>(waits: usize, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut waited) = (pin!(work), 0);
    std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(end) => Poll::Ready(Some(end)),
        Poll::Pending if waited == waits => Poll::Ready(None),
        Poll::Pending => {
            waited += 1;
            Poll::Pending
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_delivery_wrote_goes_wherever_it_is_dropped_before_its_note() {
    let root = tempfile::tempdir().unwrap();
    let log = Arc::new(MemoryLog::default());
    log.lose_claim(true);
    // On a busy machine work on the disk may be done before it is waited for: then all of it is tried again.
    let (mut waits, mut ends) = (0, 0);
    loop {
        let folder = LocalFolder::new(path(root.path()), vec![path(root.path())]);
        let services = services(Arc::new(Interlude::default()));
        let deliver = Deliver {
            attachments: Vec::new(),
            claim: Claim {
                delivery: DeliveryId::new(Uuid::from_u128(0x0192_7000)),
                node: services.node.clone(),
                epoch: 1,
                attempt: 1,
            },
            payload: BytesPayload::shared("a.edi", &b"the payload"[..]),
            file_name: "a.edi".into(),
            received: model::Timestamp::UNIX_EPOCH,
            flow: "flow".into(),
            partner: None,
            notes: log.notes(),
            interrupted: false,
            is_last: false,
            log: Arc::clone(&log) as Arc<dyn DeliveryLog>,
        };
        let options = WriteOptions::new("place", path(root.path()));
        let destination =
            FolderDestination::new(Arc::new(folder) as Arc<dyn Folder>, options, services).unwrap();
        let end = drop_after(waits, destination.deliver(deliver)).await;
        let names = || -> Vec<_> {
            std::fs::read_dir(root.path()).unwrap().map(|e| e.unwrap().file_name()).collect()
        };
        let mut looks = 0;
        // What was begun goes a moment later, whether its making had ended or not.
        tokio::time::sleep(Duration::from_millis(20)).await;
        while !names().is_empty() {
            looks += 1;
            assert!(looks < 250, "dropped after {waits} waits: {:?}", names());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        waits += 1;
        if let Some(end) = end {
            assert_eq!(end.unwrap_err().kind(), ErrorKind::ClaimLost);
            if waits > 4 {
                return;
            }
            (waits, ends) = (0, ends + 1);
            assert!(ends < 200, "it never waited");
        }
    }
}
