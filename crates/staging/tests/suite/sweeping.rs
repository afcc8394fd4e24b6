//! The sweep: orphans to quarantine, abandoned_parts away, everything else left alone.

use crate::{SETTINGS, bytes, content, id, names, open, path_of, real, stage};
use model::{Error, ErrorKind, PayloadId, Timestamp};
use staging::{Found, Rows, Staging, Swept};
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use testkit::clock::FixedClock;
use testkit::forgetful::ForgetfulDisk;
use transport::Clock;

/// A moment after everything here was written.
fn later() -> Timestamp {
    Timestamp::MAX_UTC
}

fn sweep(staging: &Staging, known: &[PayloadId]) -> (Swept, Vec<Found>) {
    let mut found = Vec::new();
    let known: HashSet<_> = known.iter().copied().collect();
    let swept = staging.sweep(later(), |_| Ok(known.clone().into()), |find| found.push(find)).unwrap();
    (swept, found)
}

#[test]
fn orphans_go_to_quarantine_whole_and_come_back_when_they_are_known() {
    let (directory, staging) = real();
    let (known, orphan) = (stage(&staging, id(1), b"known"), stage(&staging, id(2), b"orphaned"));
    let (swept, found) = sweep(&staging, &[known.id]);
    assert_eq!(found, [Found::Orphan { id: orphan.id, length: 8 }]);
    assert_eq!((swept.payloads, swept.bytes, swept.orphans), (2, 13, 1));
    assert_eq!(names(directory.path(), "quarantine"), [orphan.id.to_string()]);
    assert_eq!(content(&staging, &known), b"known");

    let (swept, found) = sweep(&staging, &[known.id, orphan.id]);
    assert_eq!((found, swept.restored), (vec![Found::Restored { id: orphan.id }], 1));
    assert_eq!(content(&staging, &orphan), b"orphaned");
    assert!(names(directory.path(), "quarantine").is_empty());
}

#[test]
fn what_was_removed_by_its_row_is_removed_and_not_set_aside() {
    let (directory, staging) = real();
    let (gone, known) = (stage(&staging, id(1), b"gone"), stage(&staging, id(2), b"known"));
    // A sweep before could not tell, or its row was written since.
    let aside = stage(&staging, id(3), b"aside");
    staging.quarantine(aside.id).unwrap();
    // A directory cannot be unlinked as a file is; nothing waits for it.
    let stuck = directory.path().join(path_of(id(0)));
    fs::create_dir_all(&stuck).unwrap();
    let removed = HashSet::from([gone.id, aside.id, id(0)]);
    let rows = Rows { needed: HashSet::from([known.id]), removed };
    let mut found = Vec::new();
    let swept = staging.sweep(later(), |_| Ok(rows.clone()), |find| found.push(find)).unwrap();
    let [Found::Expired { id: first }, Found::Stuck { path, .. }, Found::Expired { id: second }] = &found[..]
    else {
        panic!("{found:?}")
    };
    assert_eq!((*first, path, *second), (aside.id, &stuck, gone.id));
    assert_eq!((swept.expired, swept.orphans, swept.restored), (2, 0, 0));
    assert!(
        names(directory.path(), "quarantine").is_empty() && !directory.path().join(path_of(gone.id)).exists()
    );
    assert_eq!(content(&staging, &known), b"known");
}

#[test]
fn what_changed_lately_is_not_asked_about() {
    let disk = ForgetfulDisk::new();
    let now = FixedClock::default().now();
    disk.set_now(now.timestamp_micros());
    let staging = Staging::open(Path::new("/s"), Arc::new(disk.clone()), SETTINGS).unwrap();
    stage(&staging, id(1), b"old");
    std::mem::forget(staging.begin(id(3)).unwrap());
    disk.set_now(now.timestamp_micros() + 1);
    stage(&staging, id(2), b"new");
    let mut asked = Vec::new();
    let moment = now + chrono::TimeDelta::microseconds(1);
    let ask = |ids: &[PayloadId]| {
        asked.extend_from_slice(ids);
        Ok(ids.iter().copied().collect::<HashSet<_>>().into())
    };
    let swept = staging.sweep(moment, ask, |found| panic!("{found:?}")).unwrap();
    assert_eq!((asked, swept.payloads), (vec![id(1)], 2));
}

#[test]
fn a_row_committed_while_its_payload_is_moved_brings_it_back() {
    let (_directory, staging) = real();
    let payload = stage(&staging, id(1), b"just in time");
    let mut asked = 0;
    let known = |ids: &[PayloadId]| {
        asked += 1;
        Ok(if asked == 1 { Rows::default() } else { ids.iter().copied().collect::<HashSet<_>>().into() })
    };
    let swept = staging.sweep(later(), known, |found| panic!("{found:?}")).unwrap();
    assert_eq!((asked, swept.orphans), (2, 0));
    assert_eq!(content(&staging, &payload), b"just in time");
}

#[test]
fn nothing_is_moved_when_the_database_cannot_be_asked() {
    let (_directory, staging) = real();
    let payload = stage(&staging, id(1), b"x");
    let away = |_: &[PayloadId]| Err(Error::transient(ErrorKind::Unreachable, "ask the database"));
    assert_eq!(staging.sweep(later(), away, |_| {}).unwrap_err().kind(), ErrorKind::Unreachable);
    assert_eq!(content(&staging, &payload), b"x");
}

#[test]
fn parts_of_the_dead_are_removed_and_parts_of_the_living_are_not() {
    let (directory, staging) = real();
    let other_node = open(directory.path());
    let mut alive = other_node.begin(id(1)).unwrap();
    alive.append(b"at work").unwrap();
    let mut named = other_node.begin_named(id(2), "at work").unwrap();
    named.append(b"at work").unwrap();
    // A process that dies drops nothing, and its locks are let go.
    let dead = directory.path().join("partial").join(id(3).to_string());
    fs::write(&dead, "dead").unwrap();
    drop(staging.begin_named(id(4), "given up").unwrap());
    fs::write(directory.path().join("partial/README"), "mine").unwrap();
    fs::write(directory.path().join("payloads/00/README"), "mine").unwrap();

    let (swept, found) = sweep(&staging, &[]);
    let abandoned_parts: Vec<_> = found.iter().filter(|f| matches!(f, Found::AbandonedPart { .. })).collect();
    let foreign = found.iter().filter(|f| matches!(f, Found::Foreign { .. })).count();
    assert_eq!((abandoned_parts.len(), foreign), (swept.abandoned_parts as usize, 2));
    assert!(abandoned_parts.contains(&&Found::AbandonedPart { name: id(3).to_string(), length: 4 }));
    assert!(!dead.exists() && directory.path().join("partial/README").exists());
    assert_eq!(content(&staging, &alive.commit().unwrap()), b"at work");
    assert_eq!(content(&staging, &named.commit().unwrap()), b"at work");
}

#[test]
fn many_payloads_are_asked_about_in_batches() {
    let disk = ForgetfulDisk::new();
    let staging = Staging::open(Path::new("/s"), Arc::new(disk), SETTINGS).unwrap();
    let all: HashSet<_> = (0..1500_u64)
        .map(|n| {
            // All in one subdirectory, which is where a batch fills up.
            let mut uuid = *id(n).uuid().as_bytes();
            uuid[15] = 7;
            let id = PayloadId::new(uuid::Uuid::from_bytes(uuid));
            staging.begin(id).unwrap().commit().unwrap().id
        })
        .collect();
    let (mut most, mut asked) = (0, HashSet::new());
    let known = |ids: &[PayloadId]| {
        most = most.max(ids.len());
        asked.extend(ids.iter().copied());
        Ok(all.clone().into())
    };
    let swept = staging.sweep(later(), known, |found| panic!("{found:?}")).unwrap();
    assert_eq!((swept.payloads, most), (1500, 500));
    assert_eq!(asked, all);
}

/// Sweeps on several nodes, while rows are committed between their questions: whatever one moves away
/// and another brings back, each payload stays in one place, and those with a row come home.
#[test]
fn sweeps_at_once_lose_nothing() {
    let (directory, staging) = real();
    let payloads: Vec<_> = (0..200).map(|n| stage(&staging, id(n), &bytes(n, 100))).collect();
    let known: HashSet<_> = payloads.iter().step_by(2).map(|payload| payload.id).collect();
    let questions = AtomicUsize::new(0);
    let answer = |_: &[PayloadId]| {
        let committed = !questions.fetch_add(1, Ordering::Relaxed).is_multiple_of(3);
        Ok(if committed { known.clone().into() } else { Rows::default() })
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let node = open(directory.path());
            scope.spawn(move || node.sweep(later(), answer, |_| {}).unwrap());
        }
    });
    staging.sweep(later(), |_| Ok(known.clone().into()), |_| {}).unwrap();
    for (n, payload) in payloads.iter().enumerate() {
        let path = if n % 2 == 0 { path_of(payload.id) } else { format!("quarantine/{}", payload.id) };
        assert_eq!(fs::read(directory.path().join(path)).unwrap(), bytes(n as u64, 100));
    }
}

#[test]
fn a_second_file_of_one_id_is_reported_and_stops_nothing() {
    let (directory, staging) = real();
    let twice = stage(&staging, id(1), b"in its place");
    let other = directory.path().join(format!("quarantine/{}", twice.id));
    fs::write(&other, "another").unwrap();
    let orphan = stage(&staging, id(2), b"orphaned");
    let (swept, found) = sweep(&staging, &[twice.id]);
    assert_eq!((swept.restored, swept.orphans), (0, 1));
    assert_eq!(found, [Found::Foreign { path: other.clone() }, Found::Orphan { id: orphan.id, length: 8 }]);
    let (_, found) = sweep(&staging, &[]);
    assert_eq!(found, [Found::Foreign { path: directory.path().join(path_of(twice.id)) }]);
    assert_eq!(content(&staging, &twice), b"in its place");
    assert_eq!(fs::read(other).unwrap(), b"another");
}
