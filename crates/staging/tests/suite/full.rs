//! Disks that are full, or fail: nothing half is committed, and all goes on when there is room again.

use crate::{SETTINGS, bytes, content, hash, id, names, open, stage};
use model::{ErrorKind, Retry};
use staging::{Disk, Settings, Staging};
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use testkit::forgetful::ForgetfulDisk;

fn on(disk: &ForgetfulDisk, min_free: u64) -> Staging {
    Staging::open(Path::new("/s"), Arc::new(disk.clone()), Settings { min_free, ..SETTINGS }).unwrap()
}

fn list(disk: &ForgetfulDisk, directory: &str) -> usize {
    disk.list(&Path::new("/s").join(directory)).unwrap().count()
}

#[test]
fn full_at_any_byte_and_then_not_full() {
    let disk = ForgetfulDisk::new();
    let staging = on(&disk, 0);
    let given = bytes(1, 3000);
    for (n, capacity) in (0..3000).step_by(199).enumerate() {
        disk.set_capacity(Some(capacity));
        let mut part = staging.begin(id(n as u64)).unwrap();
        let error = given.chunks(500).find_map(|chunk| part.append(chunk).err()).unwrap();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::StorageFull, Retry::Transient), "{error}");
        assert!(error.to_string().contains("free_bytes 0"), "{error}");
        assert!(part.append(b"").is_err(), "a part that failed stays failed");
        disk.set_capacity(None);
        assert!(part.commit().is_err());
        assert_eq!(list(&disk, "partial"), 0);
    }
    let payload = stage(&staging, id(100), &given);
    assert_eq!((payload.sha256, content(&staging, &payload)), (hash(&given), given));
}

#[test]
fn what_is_kept_free_stops_a_long_part_on_its_way_and_new_ones_at_once() {
    let disk = ForgetfulDisk::new();
    disk.set_capacity(Some(10 << 20));
    let staging = on(&disk, 4 << 20);
    let mut part = staging.begin(id(1)).unwrap();
    let error = (0..100).find_map(|n| part.append(&bytes(n, 100_000)).err()).unwrap();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert!((5 << 20..8 << 20).contains(&part.length()), "stopped after {}", part.length());
    disk.set_capacity(Some(9 << 20));
    assert_eq!(staging.begin(id(2)).err().unwrap().kind(), ErrorKind::StorageFull);
    assert_eq!(staging.begin_named(id(2), "a").err().unwrap().kind(), ErrorKind::StorageFull);
    drop(part);
    stage(&staging, id(3), b"room again");
}

/// A call that fails, of each that committing makes: nothing is committed, nothing is left behind, and the
/// same id can be used again.
#[test]
fn any_call_can_fail_once() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::PermissionDenied, io::ErrorKind::Other] {
        let disk = ForgetfulDisk::new();
        let staging = on(&disk, 0);
        let before = disk.calls().len();
        stage(&staging, id(1), &bytes(1, 1000));
        let calls = disk.calls().len() - before;
        assert_eq!(calls, 5, "create, write, sync, rename, sync_dir: {:?}", &disk.calls()[before..]);
        for failing in 0..calls {
            disk.fail_once_after(failing, kind);
            let try_once = || {
                let mut part = staging.begin(id(2))?;
                part.append(&bytes(2, 1000))?;
                part.commit()
            };
            let error = try_once().unwrap_err();
            assert_eq!(error.kind() == ErrorKind::StorageFull, kind == io::ErrorKind::StorageFull);
            assert_eq!(list(&disk, "partial"), 0, "after call {failing}");
            assert!(!staging.holds(id(2)).unwrap(), "after call {failing}");
            let payload = try_once().unwrap();
            assert_eq!(content(&staging, &payload), bytes(2, 1000));
            staging.remove(payload.id).unwrap();
        }
    }
}

const LIMITED: &str = "WAYBILL_TEST_LIMITED_ROOT";

/// The operating system's own refusal, by a limit on the size of files: this test runs itself with
/// the limit of 64 KiB set, and the signal that comes with it ignored.
#[test]
fn the_operating_system_refuses_to_write_more() {
    let directory = tempfile::tempdir().unwrap();
    let status = Command::new("bash")
        .args(["-c", r#"trap '' XFSZ; ulimit -f 64; exec "$0" --exact full::limited_child"#])
        .arg(std::env::current_exe().unwrap())
        .env(LIMITED, directory.path())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(names(directory.path(), "partial"), Vec::<String>::new());
}

#[test]
fn limited_child() {
    let Some(root) = std::env::var_os(LIMITED) else { return };
    let staging = open(Path::new(&root));
    let mut part = staging.begin(id(1)).unwrap();
    let error = (0..20).find_map(|n| part.append(&bytes(n, 10_000)).err()).unwrap();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::StorageFull, Retry::Transient), "{error}");
    assert_eq!(part.length(), 60_000);
    drop(part);
    let given = bytes(1, 65_536);
    assert_eq!(content(&staging, &stage(&staging, id(2), &given)), given);
}
