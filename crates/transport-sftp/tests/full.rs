//! A server whose disk is full in the middle of a file: nothing of it stays, the error says what may be wrong, and the next
//! attempt delivers it once there is room. OpenSSH over a small file system.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use model::{ErrorKind, Retry};
use std::sync::Arc;
use support::{Sshd, World, deliver, noise};
use testkit::fake::MemoryLog;
use testkit::mounts::{SmallDisk, is_inside};

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_in_mid_file_keeps_nothing_of_it() {
    if !is_inside("a_disk_that_is_full_in_mid_file_keeps_nothing_of_it") {
        return;
    }
    let server = Sshd::start();
    let small = server.files().join("small");
    std::fs::create_dir(&small).unwrap();
    let _disk = SmallDisk::over(&small, "6m");
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(&small).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let world = World::new();
    // Below the size from which the server is asked for its free bytes, and above it.
    for (length, kind, words) in [
        (3 << 20, ErrorKind::Rejected, "check for a full disk or quota"),
        (5 << 20, ErrorKind::StorageFull, "the destination's disk is full"),
    ] {
        let content = noise(length);
        std::fs::write(small.join("filler"), vec![1; 4 << 20]).unwrap();
        let build = || {
            let url = format!("sftp://127.0.0.1:{}/{}", server.port(), small.display());
            server.endpoint().url(&url).set("overwrite", "replace")
        };
        let log = Arc::new(MemoryLog::default());
        let error = deliver(&world, build(), &log, 1, &content).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (kind, Retry::Transient), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(names(), ["filler"], "{error}");
        std::fs::remove_file(small.join("filler")).unwrap();
        deliver(&world, build(), &log, 2, &content).await.unwrap();
        assert_eq!(names(), ["a.edi"]);
        assert!(std::fs::read(small.join("a.edi")).unwrap() == content);
        std::fs::remove_file(small.join("a.edi")).unwrap();
    }
}
