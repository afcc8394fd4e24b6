//! Nothing leads out of a file endpoint's directory, and only regular files are touched.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test program: a failed expectation is how it speaks"
)]

use bytes::Bytes;
use futures::StreamExt;
use model::{ErrorKind, RemotePath, Retry};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use transport::folder::{EntryKind, Folder, Published};
use transport_file::LocalFolder;

fn path(path: impl AsRef<Path>) -> RemotePath {
    RemotePath::from_bytes(path.as_ref().as_os_str().as_bytes())
}

/// A root with `in` (the endpoint's directory) and `secret`, and a folder over it.
struct Ground {
    root: TempDir,
    folder: LocalFolder,
}

impl Ground {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("in")).unwrap();
        fs::create_dir(root.path().join("secret")).unwrap();
        fs::write(root.path().join("secret/key"), "secret").unwrap();
        let folder = LocalFolder::new(path(root.path().join("in")), vec![path(root.path())]);
        Self { root, folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }
}

async fn refused(folder: &LocalFolder, at: &RemotePath) {
    let denied = |error: model::Error| {
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::PermissionDenied, Retry::Permanent),
            "{at}: {error:?}"
        );
    };
    denied(folder.read(at, 0).await.err().expect("no reading"));
    denied(folder.begin_write(&at.join(&"new".into()), None).await.err().expect("no writing"));
}

#[tokio::test]
async fn links_that_lead_out_are_refused_and_never_listed_as_files() {
    let ground = Ground::new();
    symlink(ground.at("secret"), ground.at("in/out")).unwrap();
    symlink("../secret", ground.at("in/relative")).unwrap();
    symlink("/etc", ground.at("in/etc")).unwrap();
    symlink(ground.at("secret/key"), ground.at("in/file")).unwrap();
    symlink(".", ground.at("in/loop")).unwrap();
    let entries: Vec<_> = ground.folder.list(&path(ground.at("in"))).await.unwrap().collect().await;
    assert_eq!(entries.len(), 5);
    assert!(entries.into_iter().all(|entry| entry.unwrap().kind == EntryKind::Link));
    for name in ["in/out/key", "in/relative/key", "in/etc/hostname"] {
        refused(&ground.folder, &path(ground.at(name))).await;
    }
    let file = path(ground.at("in/file"));
    assert_eq!(ground.folder.stat(&file).await.unwrap().kind, EntryKind::Link);
    let error = ground.folder.read(&file, 0).await.err().expect("no reading through a link");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(ground.folder.list(&path(ground.at("in/out"))).await.is_err());
}

#[tokio::test]
async fn paths_outside_the_roots_are_refused_before_anything_is_opened() {
    let ground = Ground::new();
    for outside in ["/etc/hostname", "/", "/tmp/../etc/hostname"] {
        refused(&ground.folder, &outside.into()).await;
    }
    refused(&ground.folder, &path(ground.at("in/../secret/key"))).await;
    // What lies below a root, if not below the endpoint's directory, is reached: archives lie there.
    assert!(ground.folder.stat(&path(ground.at("secret/key"))).await.is_ok());
    let made = ground.folder.make_directory(&"/var/outside".into()).await;
    assert_eq!(made.unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn no_directory_is_made_through_a_link() {
    let ground = Ground::new();
    symlink(ground.at("secret"), ground.at("in/out")).unwrap();
    let made = ground.folder.make_directory(&path(ground.at("in/out/new"))).await;
    assert_eq!(made.unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert!(!ground.at("secret/new").exists());
    let missing = LocalFolder::new(path(ground.at("not/yet")), vec![path(ground.root.path())]);
    missing.make_directory(&path(ground.at("not/yet/there"))).await.unwrap();
    assert!(ground.at("not/yet/there").is_dir());
}

#[tokio::test]
async fn an_endpoint_may_name_one_file() {
    let ground = Ground::new();
    let file = path(ground.at("secret/key"));
    let folder = LocalFolder::new(file.clone(), vec![path(ground.root.path())]);
    assert!(folder.list(&file).await.is_err());
    assert_eq!(folder.stat(&file).await.unwrap().size, Some(6));
    assert!(folder.read(&file, 0).await.is_ok());
    folder.rename(&file, &path(ground.at("in/done"))).await.unwrap();
    assert_eq!(folder.stat(&file).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_publication_writes_through_no_link() {
    let ground = Ground::new();
    let (temporary, name) = (ground.at("in/.a.a"), ground.at("in/a"));
    for overwrite in [false, true] {
        symlink(ground.at("secret/key"), &temporary).unwrap();
        let _ = fs::remove_file(&name);
        symlink(ground.at("secret/key"), &name).unwrap();
        let mut upload = ground.folder.begin_write(&path(&temporary), None).await.unwrap();
        upload.write(Bytes::from_static(b"payload")).await.unwrap();
        upload.finish().await.unwrap();
        let published = ground.folder.publish(&path(&temporary), &path(&name), overwrite).await.unwrap();
        assert_eq!(published, if overwrite { Published::Published } else { Published::Exists });
        assert_eq!(fs::read_to_string(ground.at("secret/key")).unwrap(), "secret");
        let _ = fs::remove_file(&temporary);
    }
    assert_eq!(fs::read_to_string(&name).unwrap(), "payload");
}

#[tokio::test]
async fn a_write_that_is_given_up_leaves_nothing() {
    let ground = Ground::new();
    let there = || fs::read_dir(ground.at("in")).unwrap().count();
    let mut upload = ground.folder.begin_write(&".a.part".into(), None).await.unwrap();
    upload.write(Bytes::from_static(b"half")).await.unwrap();
    assert_eq!(there(), 1);
    drop(upload);
    let begun = std::time::Instant::now();
    while there() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the temporary file stays");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // A finished one waits for its name.
    let mut upload = ground.folder.begin_write(&".b.part".into(), None).await.unwrap();
    upload.write(Bytes::from_static(b"whole")).await.unwrap();
    assert_eq!(upload.finish().await.unwrap().size, Some(5));
    assert_eq!(there(), 1);
    // Another node has written under the name meanwhile.
    let mut upload = ground.folder.begin_new_write(&"c".into(), None).await.unwrap().unwrap();
    upload.write(Bytes::from_static(b"half")).await.unwrap();
    let theirs = ground.folder.begin_write(&"c".into(), None).await.unwrap();
    theirs.finish().await.unwrap();
    upload.abort().await;
    assert!(ground.at("in/c").exists());
}

#[tokio::test]
async fn a_fifo_is_never_opened() {
    let ground = Ground::new();
    let fifo = ground.at("in/fifo");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).unwrap();
    let at = path(&fifo);
    assert_eq!(ground.folder.stat(&at).await.unwrap().kind, EntryKind::Other);
    let read = tokio::time::timeout(Duration::from_secs(5), ground.folder.read(&at, 0)).await;
    assert!(read.expect("does not wait for a writer").is_err());
}

#[tokio::test]
async fn a_file_moves_to_another_file_system_whole_and_with_its_time() {
    let ground = Ground::new();
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else {
        panic!("this test needs a second file system at /dev/shm");
    };
    let roots = vec![path(ground.root.path()), path(other.path())];
    let folder = LocalFolder::new(path(ground.at("in")), roots);
    let (from, to) = (ground.at("in/a"), other.path().join("a"));
    fs::write(&from, "content").unwrap();
    let before = folder.stat(&path(&from)).await.unwrap();
    folder.rename(&path(&from), &path(&to)).await.unwrap();
    let after = folder.stat(&path(&to)).await.unwrap();
    assert_eq!((before.size, before.modified), (after.size, after.modified));
    assert!(!from.exists());
    fs::write(&from, "another").unwrap();
    let error = folder.rename(&path(&from), &path(&to)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&from).unwrap(), "another");
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn written_files_get_the_permissions_that_are_given_whatever_the_umask() {
    let ground = Ground::new();
    let in_directory = path(ground.at("in"));
    let folder = LocalFolder::new(in_directory.clone(), vec![path(ground.root.path())]);
    for (mode, name) in [(0o640, "a"), (0o666, "b"), (0o400, "c")] {
        let folder = folder.clone().giving(Some(mode), None);
        let file = in_directory.join(&name.into());
        let mut upload = folder.begin_write(&file, None).await.unwrap();
        upload.write(bytes::Bytes::from_static(b"ISA")).await.unwrap();
        upload.finish().await.unwrap();
        let found = fs::metadata(ground.at("in").join(name)).unwrap().permissions().mode();
        assert_eq!(found & 0o7777, mode, "{name}");
    }
}
