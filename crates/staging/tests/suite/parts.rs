//! Parts: written in order and out of order, dropped, resumed, copied, committed by many at once.

use crate::{bytes, content, hash, id, names, open, path_of, real, stage};
use model::{ErrorKind, PayloadId, Retry, Timestamp};
use proptest::prelude::*;
use staging::{Found, Rows};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use testkit::crash::{Death, Victim};

const MIB: usize = 1024 * 1024;

#[test]
fn a_committed_part_has_its_length_and_hash_and_is_the_only_thing_left() {
    let (directory, staging) = real();
    for (n, length) in [0, 1, 10_000, 3 * MIB + 7].into_iter().enumerate() {
        let given = bytes(n as u64, length);
        let payload = stage(&staging, id(n as u64), &given);
        assert_eq!((payload.length, payload.sha256), (length as u64, hash(&given)));
        assert_eq!(content(&staging, &payload), given);
    }
    assert!(names(directory.path(), "partial").is_empty());
}

#[test]
fn a_part_that_is_dropped_leaves_nothing() {
    let (directory, staging) = real();
    let mut part = staging.begin(id(1)).unwrap();
    part.append(b"never mind").unwrap();
    assert_eq!(names(directory.path(), "partial").len(), 1);
    drop(part);
    assert!(names(directory.path(), "partial").is_empty());
    assert!(!staging.holds(id(1)).unwrap());
}

#[test]
fn a_payload_is_never_replaced() {
    let (directory, staging) = real();
    let first = stage(&staging, id(1), b"first");
    let mut second = staging.begin(id(1)).unwrap();
    second.append(b"second").unwrap();
    assert!(staging.begin(id(1)).is_err(), "the part's own name is taken as well");
    assert_eq!(second.commit().unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(content(&staging, &first), b"first");
    assert!(names(directory.path(), "partial").is_empty());
}

#[test]
fn a_subdirectory_that_somebody_removed_is_made_again() {
    let (directory, staging) = real();
    fs::remove_dir_all(directory.path().join("payloads")).unwrap();
    assert!(staging.begin(id(1)).unwrap().commit().is_err(), "that was too much");
    fs::create_dir(directory.path().join("payloads")).unwrap();
    let payload = stage(&staging, id(2), b"x");
    assert_eq!(content(&staging, &payload), b"x");
}

#[test]
fn writing_in_any_order_commits_the_same_payload() {
    let (_directory, staging) = real();
    let given = bytes(5, 12_000);
    let places = Just((0..12_usize).collect::<Vec<_>>());
    proptest!(ProptestConfig::with_cases(40), |(
        order in places.prop_shuffle(),
        again in prop::collection::vec(0..12_usize, 0..4),
    )| {
        let mut part = staging.begin(id(1)).unwrap();
        for place in order.into_iter().chain(again) {
            part.write_at(place as u64 * 1000, &given[place * 1000..(place + 1) * 1000]).unwrap();
        }
        let payload = part.commit().unwrap();
        prop_assert_eq!((payload.length, payload.sha256), (12_000, hash(&given)));
        prop_assert!(content(&staging, &payload) == given);
        staging.remove(payload.id).unwrap();
    });
}

#[test]
fn a_part_with_a_gap_is_not_committed_and_says_where() {
    let (directory, staging) = real();
    let mut part = staging.begin(id(1)).unwrap();
    part.append(&[1; 10]).unwrap();
    part.write_at(20, &[1; 10]).unwrap();
    part.append(&[1; 10]).unwrap();
    assert_eq!(part.length(), 40);
    let error = part.commit().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IntegrityFailed);
    assert!(error.to_string().contains("missing_from 10, missing_to 20"), "{error}");
    assert!(names(directory.path(), "partial").is_empty());
}

#[test]
fn a_part_that_somebody_else_changes_is_not_committed() {
    let (directory, staging) = real();
    let mut part = staging.begin(id(1)).unwrap();
    part.append(b"mine").unwrap();
    let path = directory.path().join("partial").join(id(1).to_string());
    fs::write(path, b"not mine").unwrap();
    assert_eq!(part.commit().unwrap_err().kind(), ErrorKind::IntegrityFailed);
}

#[test]
fn a_named_part_goes_on_where_it_was_dropped() {
    let (directory, staging) = real();
    let given = bytes(1, 20 * MIB);
    let mut part = staging.begin_named(id(1), "../from a peer\0").unwrap();
    given[..9 * MIB + 5].chunks(MIB).for_each(|chunk| part.append(chunk).unwrap());
    drop(part);
    let staging = open(directory.path());
    let mut part = staging.begin_named(id(2), "../from a peer\0").unwrap();
    assert_eq!(part.length(), 9 * MIB as u64 + 5);
    part.append(&given[9 * MIB + 5..]).unwrap();
    let payload = part.commit().unwrap();
    assert_eq!((payload.id, payload.sha256), (id(2), hash(&given)));
    assert!(names(directory.path(), "partial").is_empty(), "the marks are gone too");
    assert_eq!(staging.begin_named(id(3), "../from a peer\0").unwrap().length(), 0);
}

const KILLED: &str = "WAYBILL_TEST_KILLED_ROOT";

#[test]
fn what_a_killed_process_leaves_is_resumed_by_name_or_swept() {
    let (directory, staging) = real();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "parts::killed_child"]).env(KILLED, directory.path());
    let mut victim = Victim::start(&mut command, &directory.path().join("log")).unwrap();
    assert_eq!(victim.wait(Duration::from_secs(60)).unwrap(), Death::Killed);
    assert_eq!(names(directory.path(), "partial").len(), 3, "a part, a named part, its marks");

    let part = staging.begin_named(id(3), "a").unwrap();
    assert_eq!(part.length(), 16 * MIB as u64, "from the last mark");
    let none_known = |_: &[PayloadId]| Ok(Rows::default());
    let mut left = Vec::new();
    staging.sweep(Timestamp::MAX_UTC, none_known, |found| left.push(found)).unwrap();
    assert!(left.contains(&Found::AbandonedPart { name: id(1).to_string(), length: 4 }));
    assert_eq!(part.commit().unwrap().length, 16 * MIB as u64);
}

#[test]
fn killed_child() {
    let Some(root) = std::env::var_os(KILLED) else { return };
    let staging = open(Path::new(&root));
    let mut lost = staging.begin(id(1)).unwrap();
    lost.append(b"lost").unwrap();
    let mut named = staging.begin_named(id(2), "a").unwrap();
    (0..19).for_each(|n| named.append(&bytes(n, MIB)).unwrap());
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_named_part_that_was_changed_or_has_bad_marks_is_cut_to_what_is_proved() {
    let (_directory, staging) = real();
    let mut part = staging.begin_named(id(1), "a").unwrap();
    (0..17).for_each(|n| part.append(&bytes(n, MIB)).unwrap());
    drop(part);
    let path = |marks: bool| {
        let mut found = names(staging.root(), "partial").into_iter();
        staging.root().join("partial").join(found.find(|name| name.ends_with(".marks") == marks).unwrap())
    };
    let mut changed = fs::read(path(false)).unwrap();
    changed[12 * MIB] ^= 1;
    fs::write(path(false), changed).unwrap();
    assert_eq!(staging.begin_named(id(2), "a").unwrap().length(), 8 * MIB as u64);
    fs::write(path(true), [7; 1000]).unwrap();
    assert_eq!(staging.begin_named(id(2), "a").unwrap().length(), 0);
}

#[test]
fn a_named_part_has_one_writer_and_can_be_forgotten() {
    let (directory, staging) = real();
    let mut part = staging.begin_named(id(1), "a").unwrap();
    part.append(b"x").unwrap();
    let error = open(directory.path()).begin_named(id(2), "a").err().unwrap();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::AlreadyExists, Retry::Transient));
    assert_eq!(staging.begin_named(id(2), "b").unwrap().length(), 0);
    drop(part);
    assert_eq!(staging.begin_named(id(2), "a").unwrap().length(), 1);
    for _ in 0..2 {
        staging.forget_named("a").unwrap();
        staging.forget_named("b").unwrap();
    }
    assert!(names(directory.path(), "partial").is_empty());
}

#[test]
fn a_named_part_that_is_a_payload_already_begins_anew() {
    let (directory, staging) = real();
    let payload = stage(&staging, id(1), b"committed");
    drop(staging.begin_named(id(2), "a").unwrap());
    let name = names(directory.path(), "partial").into_iter().find(|name| !name.contains('.')).unwrap();
    let part = directory.path().join("partial").join(name);
    fs::remove_file(&part).unwrap();
    fs::hard_link(directory.path().join(path_of(id(1))), &part).unwrap();
    let mut anew = staging.begin_named(id(2), "a").unwrap();
    assert_eq!(anew.length(), 0);
    anew.append(b"other").unwrap();
    assert_eq!(content(&staging, &anew.commit().unwrap()), b"other");
    assert_eq!(content(&staging, &payload), b"committed");
}

#[test]
fn sixty_four_writers_at_once_on_two_nodes() {
    let (directory, staging) = real();
    let other = open(directory.path());
    let payloads: Vec<_> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..64_u64)
            .map(|n| {
                let staging = if n % 2 == 0 { &staging } else { &other };
                scope.spawn(move || {
                    let each = |k| (stage(staging, id(n * 100 + k), &bytes(n + k, 50_000)), n + k);
                    (0..4).map(each).collect::<Vec<_>>()
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    assert_eq!(payloads.len(), 256);
    for (payload, seed) in payloads {
        assert_eq!(content(&staging, &payload), bytes(seed, 50_000));
    }
    assert!(names(directory.path(), "partial").is_empty());
}
