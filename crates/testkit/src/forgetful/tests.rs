use super::*;
use crate::clock::SeededRandom;

fn content(disk: &ForgetfulDisk, path: &str) -> io::Result<Vec<u8>> {
    let file = disk.open_read(Path::new(path))?;
    let mut bytes = vec![0; 4096];
    let n = file.read_at(&mut bytes, 0)?;
    bytes.truncate(n);
    Ok(bytes)
}

fn write(disk: &ForgetfulDisk, path: &str, bytes: &[u8]) -> Box<dyn DiskFile> {
    let file = disk.create(Path::new(path), 0o600).unwrap();
    assert_eq!(file.write_at(bytes, 0).unwrap(), bytes.len());
    file
}

#[test]
fn what_was_synced_stays_whatever_is_chosen() {
    let disk = ForgetfulDisk::new();
    write(&disk, "/a", b"kept").sync().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    for seed in 0..200 {
        let random = SeededRandom::new(seed);
        let found = disk.lose_power(&mut |n| random.below(n));
        assert_eq!(content(&found, "/a").unwrap(), b"kept");
    }
}

#[test]
fn a_name_or_content_that_was_not_synced_can_be_lost_kept_or_torn() {
    let disk = ForgetfulDisk::new();
    write(&disk, "/named", &[7; 1200]);
    disk.sync_dir(Path::new("/")).unwrap();
    write(&disk, "/nameless", b"synced").sync().unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let random = SeededRandom::new(seed);
        let found = disk.lose_power(&mut |n| random.below(n));
        let named = content(&found, "/named").unwrap();
        seen.insert(match named.len() {
            0 => "empty",
            1200 if named == [7; 1200] => "whole",
            1200 => "torn",
            _ => "short",
        });
        seen.insert(if content(&found, "/nameless").is_ok() { "name kept" } else { "name lost" });
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        ["empty", "name kept", "name lost", "short", "torn", "whole"]
    );
    assert_eq!(content(&disk, "/named").unwrap(), [7; 1200], "the history is left as it was");
}

#[test]
fn a_rename_between_directories_can_leave_both_names_one_or_none() {
    let disk = ForgetfulDisk::new();
    for directory in ["/from", "/to"] {
        disk.create_dir(Path::new(directory), 0o700).unwrap();
    }
    disk.sync_dir(Path::new("/")).unwrap();
    write(&disk, "/from/a", b"x").sync().unwrap();
    disk.sync_dir(Path::new("/from")).unwrap();
    disk.rename_new(Path::new("/from/a"), Path::new("/to/a")).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let random = SeededRandom::new(seed);
        let found = disk.lose_power(&mut |n| random.below(n));
        let there = |path: &str| found.stat(Path::new(path)).is_ok();
        seen.insert((there("/from/a"), there("/to/a")));
    }
    assert_eq!(seen.len(), 4);
}

#[test]
fn it_fails_once_or_for_good_and_when_it_is_full() {
    let disk = ForgetfulDisk::new();
    disk.fail_once_after(2, io::ErrorKind::TimedOut);
    let file = write(&disk, "/a", b"12345");
    assert_eq!(file.sync().unwrap_err().kind(), io::ErrorKind::TimedOut);
    file.sync().unwrap();

    disk.set_capacity(Some(8));
    assert_eq!(file.write_at(b"6789", 5).unwrap(), 3);
    assert_eq!(file.write_at(b"9", 8).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.space(Path::new("/")).unwrap(), Space { free: 0, total: 8 });
    file.write_at(b"over", 0).unwrap();

    disk.fail_after(0);
    assert!(file.sync().is_err() && file.stat().is_err() && disk.list(Path::new("/")).is_err());
    assert_eq!(disk.calls().last().unwrap(), "sync /a");
}

#[test]
fn locks_hold_until_their_handle_is_dropped() {
    let disk = ForgetfulDisk::new();
    let one = write(&disk, "/a", b"");
    let other = disk.open_write(Path::new("/a")).unwrap();
    assert!(one.try_lock().unwrap() && !other.try_lock().unwrap());
    drop(one);
    assert!(other.try_lock().unwrap());
}
