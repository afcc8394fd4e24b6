//! The suite that every folder passes, over a real directory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test program: a failed expectation is how it speaks"
)]

use model::RemotePath;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use testkit::conformance::{Place, all};
use transport_file::LocalFolder;

fn path(path: &Path) -> RemotePath {
    RemotePath::from_bytes(path.as_os_str().as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_directory_conforms() {
    all(|| async {
        let root = tempfile::tempdir().unwrap();
        let (directory, beside) = (root.path().join("in"), root.path().join("beside"));
        std::fs::create_dir(&directory).unwrap();
        let folder = LocalFolder::new(path(&directory), vec![path(root.path())]);
        Place::new(Arc::new(folder), path(&directory), path(&beside)).resuming().keeping(root)
    })
    .await;
}
