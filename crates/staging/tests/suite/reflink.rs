//! Staging on a file system that lets files share blocks (xfs), in a mount namespace of its own.

use super::{bytes, content, hash, id, open, path_of};
use staging::{RealDisk, Settings, StagedPayload, Staging};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use testkit::xfs::{Xfs, is_inside, is_shared};

const MIB: usize = 1 << 20;

fn free_of(staging: &Staging) -> u64 {
    staging.space().unwrap().free
}

/// Stages a file as the engine does: shares its blocks, then reads what staging holds. `meanwhile` happens in between.
fn share(staging: &Staging, n: u64, source: &Path, meanwhile: impl FnOnce()) -> Option<StagedPayload> {
    let mut part = staging.begin(id(n)).unwrap();
    let shared = part.share_blocks(&File::open(source).unwrap()).unwrap();
    meanwhile();
    let mut shared = shared?;
    let mut block = vec![0; 100_000];
    loop {
        match shared.read(&mut block).unwrap() {
            0 => break,
            read => part.append(&block[..read]).unwrap(),
        }
    }
    Some(part.commit().unwrap())
}

#[test]
fn a_file_of_the_same_file_system_is_staged_without_writing_its_bytes() {
    if !is_inside("reflink::a_file_of_the_same_file_system_is_staged_without_writing_its_bytes") {
        return;
    }
    let xfs = Xfs::new(400);
    let (area, source) = (xfs.path().join("staging"), xfs.path().join("source"));
    let staging = open(&area);
    let given = bytes(1, 32 * MIB + 17);
    fs::write(&source, &given).unwrap();
    File::open(&source).unwrap().sync_all().unwrap();
    let payload = share(&staging, 1, &source, || ()).unwrap();
    assert_eq!((payload.length, payload.sha256), (given.len() as u64, hash(&given)));
    assert_eq!(content(&staging, &payload), given);
    let staged = area.join(path_of(id(1)));
    assert!(is_shared(&source) && is_shared(&staged));
    // What is written into the file from now on does not reach the payload, and its removal neither.
    let file = File::options().write(true).open(&source).unwrap();
    file.write_all_at(b"changed", 5).unwrap();
    file.sync_all().unwrap();
    assert_eq!(content(&staging, &payload), given);
    fs::remove_file(&source).unwrap();
    assert_eq!(content(&staging, &payload), given);
    assert!(!is_shared(&staged));
}

#[test]
fn a_file_system_that_could_not_hold_a_second_copy_takes_it() {
    if !is_inside("reflink::a_file_system_that_could_not_hold_a_second_copy_takes_it") {
        return;
    }
    let xfs = Xfs::new(400);
    let staging = open(&xfs.path().join("staging"));
    let source = xfs.path().join("source");
    let mut file = File::create(&source).unwrap();
    let (block, before) = (bytes(2, 8 * MIB), free_of(&staging));
    let mut given = Vec::new();
    while (given.len() as u64) < before / 10 * 6 {
        file.write_all(&block).unwrap();
        given.extend_from_slice(&block);
    }
    file.sync_all().unwrap();
    let free = free_of(&staging);
    assert!(free < given.len() as u64, "{free} bytes are free");
    let payload = share(&staging, 1, &source, || ()).unwrap();
    assert_eq!((payload.length, payload.sha256), (given.len() as u64, hash(&given)));
    assert!(free - free_of(&staging) < MIB as u64, "{free} bytes were free, now {}", free_of(&staging));
    // Room that staging is to leave is left.
    let settings = Settings { min_free: u64::MAX / 2, ..super::SETTINGS };
    let full = Staging::open(&xfs.path().join("staging"), Arc::new(RealDisk), settings).unwrap();
    assert!(full.begin(id(2)).is_err());
}

#[test]
fn what_changes_after_its_blocks_were_shared_stays_as_it_was_at_that_moment() {
    if !is_inside("reflink::what_changes_after_its_blocks_were_shared_stays_as_it_was_at_that_moment") {
        return;
    }
    let xfs = Xfs::new(400);
    let staging = open(&xfs.path().join("staging"));
    let source = xfs.path().join("source");
    let given = bytes(3, 4 * MIB);
    // Not synced: what is still in memory belongs to it as well.
    fs::write(&source, &given).unwrap();
    let changed = || {
        let mut file = File::options().append(true).open(&source).unwrap();
        file.write_all(b"and more").unwrap();
        file.write_all_at(&bytes(4, MIB), 0).unwrap_or_else(|_| fs::write(&source, bytes(4, MIB)).unwrap());
    };
    let payload = share(&staging, 1, &source, changed).unwrap();
    assert_eq!((payload.length, payload.sha256), (given.len() as u64, hash(&given)));
    assert_eq!(content(&staging, &payload), given);
}

#[test]
fn shared_bytes_survive_the_loss_of_power_after_their_commit_and_nothing_stays_before() {
    if !is_inside(
        "reflink::shared_bytes_survive_the_loss_of_power_after_their_commit_and_nothing_stays_before",
    ) {
        return;
    }
    let xfs = Xfs::new(400);
    let (area, source) = (xfs.path().join("staging"), xfs.path().join("source"));
    let given = bytes(5, 16 * MIB);
    let payload = {
        let staging = open(&area);
        fs::write(&source, &given).unwrap();
        let payload = share(&staging, 1, &source, || ()).unwrap();
        let mut begun = staging.begin(id(2)).unwrap();
        let shared = begun.share_blocks(&File::open(&source).unwrap()).unwrap();
        assert!(shared.is_some());
        // Nothing is written out any more, as when power fails; the log is not flushed before.
        xfs.lose_power();
        drop(shared);
        payload
    };
    xfs.mount_again();
    let staging = open(&area);
    assert_eq!(content(&staging, &payload), given);
    assert!(!area.join(path_of(id(2))).exists());
}

#[test]
fn what_cannot_be_shared_is_left_to_be_copied() {
    if !is_inside("reflink::what_cannot_be_shared_is_left_to_be_copied") {
        return;
    }
    let xfs = Xfs::new(400);
    let staging = open(&xfs.path().join("staging"));
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let (other, small) = (elsewhere.path().join("other"), xfs.path().join("small"));
    fs::write(&other, bytes(6, 4 * MIB)).unwrap();
    fs::write(&small, bytes(7, 10_000)).unwrap();
    // Of another file system; and so small that sharing is no gain.
    for (n, source) in [(1, &other), (2, &small)] {
        let mut part = staging.begin(id(n)).unwrap();
        assert!(part.share_blocks(&File::open(source).unwrap()).unwrap().is_none());
        let given = fs::read(source).unwrap();
        part.append(&given).unwrap();
        let payload = part.commit().unwrap();
        assert_eq!(content(&staging, &payload), given);
    }
    // A file system without it.
    let plain = open(&elsewhere.path().join("staging"));
    let mut part = plain.begin(id(3)).unwrap();
    assert!(part.share_blocks(&File::open(&other).unwrap()).unwrap().is_none());
}

#[test]
fn shared_bytes_that_were_not_all_hashed_cannot_be_committed() {
    if !is_inside("reflink::shared_bytes_that_were_not_all_hashed_cannot_be_committed") {
        return;
    }
    let xfs = Xfs::new(400);
    let staging = open(&xfs.path().join("staging"));
    let source = xfs.path().join("source");
    fs::write(&source, bytes(8, MIB)).unwrap();
    let mut part = staging.begin(id(1)).unwrap();
    let mut shared = part.share_blocks(&File::open(&source).unwrap()).unwrap().unwrap();
    let mut block = vec![0; MIB / 2];
    shared.read_exact(&mut block).unwrap();
    part.append(&block).unwrap();
    assert_eq!(part.commit().unwrap_err().kind(), model::ErrorKind::IntegrityFailed);
    let mut part = staging.begin(id(2)).unwrap();
    assert!(part.share_blocks(&File::open(&source).unwrap()).unwrap().is_some());
    assert!(part.write_at(7, b"elsewhere").is_err());
    assert!(part.commit().is_err());
    assert!(fs::read_dir(xfs.path().join("staging/partial")).unwrap().next().is_none());
}

/// `WAYBILL_MEASURE=1`: a file of 1 GiB into staging, both ways, on one xfs.
#[test]
fn a_gibibyte_is_staged_both_ways() {
    if std::env::var_os("WAYBILL_MEASURE").is_none() || !is_inside("reflink::a_gibibyte_is_staged_both_ways")
    {
        return;
    }
    let xfs = Xfs::new(6 << 10);
    let staging = open(&xfs.path().join("staging"));
    let source = xfs.path().join("source");
    let block = bytes(9, 8 * MIB);
    let mut file = File::create(&source).unwrap();
    (0..128).for_each(|_| file.write_all(&block).unwrap());
    file.sync_all().unwrap();
    for (n, cold) in [(1_u64, false), (3, true), (5, false), (7, true)] {
        let forget = || {
            if cold {
                fs::write("/proc/sys/vm/drop_caches", "1").unwrap();
            }
        };
        forget();
        let began = std::time::Instant::now();
        share(&staging, n, &source, || ()).unwrap();
        let shared = began.elapsed();
        forget();
        let began = std::time::Instant::now();
        let (mut part, mut reader) = (staging.begin(id(n + 1)).unwrap(), File::open(&source).unwrap());
        let mut buffer = vec![0; 128 << 10];
        loop {
            match reader.read(&mut buffer).unwrap() {
                0 => break,
                read => part.append(&buffer[..read]).unwrap(),
            }
        }
        part.commit().unwrap();
        println!("1 GiB, source in memory: {}; shared in {shared:?}, copied in {:?}", !cold, began.elapsed());
    }
    let small = xfs.path().join("small");
    for (size, count) in [(256 << 10, 200), (1 << 20, 100), (4 << 20, 50)] {
        let mut took = [std::time::Duration::ZERO; 2];
        for n in 0..count {
            for (way, took) in took.iter_mut().enumerate() {
                fs::write(&small, bytes(n, size)).unwrap();
                let began = std::time::Instant::now();
                let number = 100_000 + size as u64 * 1000 + n * 2 + way as u64;
                if way == 0 {
                    share(&staging, number, &small, || ());
                } else {
                    let mut part = staging.begin(id(number)).unwrap();
                    fs::read(&small).unwrap().chunks(128 << 10).for_each(|chunk| part.append(chunk).unwrap());
                    part.commit().unwrap();
                }
                *took += began.elapsed();
            }
        }
        println!("{count} of {size} bytes, just written: shared in {:?}, copied in {:?}", took[0], took[1]);
    }
}
