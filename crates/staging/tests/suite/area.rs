//! Opening an area, and what can be asked of it.

use crate::{SETTINGS, bytes, content, id, names, open, path_of, real, stage};
use model::{ErrorKind, Retry};
use staging::{RealDisk, Settings, Staging};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;

#[test]
fn an_area_is_made_with_what_is_missing_above_it_and_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("var/waybill/staging");
    assert!(!Staging::is_made(&root, &RealDisk).unwrap() && !root.exists());
    let first = open(&root);
    assert!(Staging::is_made(&root, &RealDisk).unwrap());
    let payload = stage(&first, id(1), b"hello");
    let again = open(&root);
    assert_eq!(content(&again, &payload), b"hello");
    assert_eq!(names(&root, ""), ["partial", "payloads", "quarantine"]);
    assert!(names(&root, "partial").is_empty(), "the probe is gone");
    for (path, mode) in [("partial".to_owned(), 0o700), (path_of(id(1)), 0o600)] {
        assert_eq!(fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o777, mode);
    }
}

#[test]
fn payloads_of_one_moment_lie_in_many_directories() {
    let (directory, staging) = real();
    for n in 0..300 {
        stage(&staging, id(n), b"x");
    }
    let used = names(directory.path(), "payloads").into_iter();
    let used = used.filter(|fan| !names(directory.path(), &format!("payloads/{fan}")).is_empty());
    assert!(used.count() > 150);
}

#[test]
fn a_root_that_is_a_file_or_linked_inside_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(Staging::open(&file, Arc::new(RealDisk), SETTINGS).is_err());

    let root = directory.path().join("staging");
    drop(open(&root));
    fs::remove_dir(root.join("quarantine")).unwrap();
    symlink(directory.path(), root.join("quarantine")).unwrap();
    let error = Staging::open(&root, Arc::new(RealDisk), SETTINGS).err().unwrap();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::ConfigInvalid, Retry::Permanent));
}

#[test]
fn less_room_than_is_kept_free_refuses_early_and_says_where_and_how_much() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings { min_free: u64::MAX / 2, ..SETTINGS };
    let staging = Staging::open(directory.path(), Arc::new(RealDisk), settings).unwrap();
    let error = staging.begin(id(1)).err().unwrap();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::StorageFull, Retry::Transient));
    let space = staging.space().unwrap();
    assert!(space.free > 0 && space.total >= space.free);
    let message = error.to_string();
    assert!(
        message.contains(directory.path().to_str().unwrap()) && message.contains("free_bytes"),
        "{message}"
    );
    assert!(names(directory.path(), "partial").is_empty());

    let roomy = open(directory.path());
    roomy.check_room(1).unwrap();
    assert_eq!(roomy.check_room(u64::MAX).unwrap_err().kind(), ErrorKind::StorageFull);
}

#[test]
fn removing_is_idempotent_and_what_is_gone_is_not_found() {
    let (_directory, staging) = real();
    let payload = stage(&staging, id(1), &bytes(1, 100));
    assert!(staging.holds(payload.id).unwrap());
    for _ in 0..2 {
        staging.remove(payload.id).unwrap();
    }
    assert!(!staging.holds(payload.id).unwrap());
    let error = staging.read(&payload, 0..1).err().unwrap();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Permanent));
}

#[test]
fn a_reader_goes_on_when_its_payload_is_removed() {
    let (_directory, staging) = real();
    let payload = stage(&staging, id(1), b"still here");
    let mut reader = staging.read(&payload, 0..10).unwrap();
    staging.remove(payload.id).unwrap();
    assert_eq!(std::io::read_to_string(&mut reader).unwrap(), "still here");
}
