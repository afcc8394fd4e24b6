//! A disk that is full in the middle of a file: nothing of it stays, the error says why, and the next attempt delivers it
//! once there is room. Permissions that a file system does not set are in the receipt.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use model::{ErrorKind, RemotePath, Retry};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use testkit::conformance::Interlude;
use testkit::fake::services;
use testkit::mounts::{SmallDisk, is_inside};
use testkit::through::Attempt;
use transport::folder::Folder;
use transport_file::LocalFolder;

/// In the process whose permissions cannot be set: the directory.
const DIRECTORY: &str = "WAYBILL_TEST_DIRECTORY";

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn folder(directory: &Path, permissions: Option<u32>) -> Arc<dyn Folder> {
    let path = RemotePath::from_bytes(directory.as_os_str().as_bytes());
    Arc::new(LocalFolder::new(path.clone(), vec![path]).giving(permissions, None))
}

#[tokio::test]
async fn a_disk_that_is_full_in_mid_file_keeps_nothing_of_it() {
    if !is_inside("a_disk_that_is_full_in_mid_file_keeps_nothing_of_it") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let _disk = SmallDisk::over(root.path(), "3m");
    std::fs::write(root.path().join("filler"), vec![1; 2 << 20]).unwrap();
    let folder = folder(root.path(), None);
    let services = services(Arc::new(Interlude::default()));
    let content = vec![7; 2 << 20];
    for temporary_name in [true, false] {
        let mut attempt = Attempt::into("");
        attempt.options.temporary_name = temporary_name;
        let error = attempt.deliver(&folder, "a.edi", &content, &services).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::StorageFull, Retry::Transient), "{error}");
        assert!(error.chain().contains("a.edi"), "{}", error.chain());
        assert_eq!(names(root.path()), ["filler"], "{temporary_name}");
        std::fs::remove_file(root.path().join("filler")).unwrap();
        attempt.number = 2;
        attempt.deliver(&folder, "a.edi", &content, &services).await.unwrap();
        assert_eq!(names(root.path()), ["a.edi"]);
        assert!(std::fs::read(root.path().join("a.edi")).unwrap() == content);
        std::fs::rename(root.path().join("a.edi"), root.path().join("filler")).unwrap();
    }
}

#[tokio::test]
async fn permissions_that_cannot_be_set_are_in_the_receipt() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        let folder = folder(Path::new(&directory), Some(0o640));
        let services = services(Arc::new(Interlude::default()));
        let receipt = Attempt::into("").deliver(&folder, "a.edi", b"ISA*00", &services).await.unwrap();
        let why = receipt["permissions_not_set"].as_str().unwrap();
        assert!(why.contains("does not let this user set permissions"), "{why}");
        return;
    }
    // A file system without permissions (FAT, many network file systems) answers so.
    let root = tempfile::tempdir().unwrap();
    let log = root.path().join("strace");
    let output = Command::new("strace")
        .args(["-f", "-e", "trace=fchmod", "-e", "inject=fchmod:error=EPERM", "-o"])
        .arg(&log)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "permissions_that_cannot_be_set_are_in_the_receipt", "--nocapture"])
        .env(DIRECTORY, root.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(std::fs::read(root.path().join("a.edi")).unwrap(), b"ISA*00");
}

#[tokio::test]
async fn files_of_any_time_are_taken() {
    let root = tempfile::tempdir().unwrap();
    let services = services(Arc::new(Interlude::default()));
    testkit::through::files_of_any_time_are_taken(&folder(root.path(), None), "", root.path(), &services)
        .await;
}
