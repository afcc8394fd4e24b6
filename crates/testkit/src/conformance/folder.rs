//! What every folder does.

use super::Place;
use super::scene::{names, put, read, write};
use bytes::Bytes;
use chrono::DateTime;
use futures::StreamExt;
use model::{Error, ErrorKind, RemotePath, Result};
use std::collections::BTreeSet;
use std::fmt::Debug;
use transport::folder::{EntryKind, Published};

/// Files written at a time for the long listing.
const AT_ONCE: usize = 16;

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().as_ref().map(Error::kind)
}

fn equal<T: PartialEq + Debug>(left: T, right: T, what: &str) {
    assert_eq!(left, right, "{what}");
}

pub(super) async fn what_is_written_reads_back_from_any_offset(place: Place) {
    let content: Vec<u8> = (0..700_003_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let path = place.directory.join(&"data.bin".into());
    write(&place.folder, &path, &content).await;
    let entry = place.folder.stat(&path).await.unwrap();
    assert_eq!((entry.kind, entry.size), (EntryKind::File, Some(content.len() as u64)));
    for offset in [0, 1, 300_000, content.len() - 1, content.len()] {
        let read = read(&place.folder, &path, offset as u64).await.unwrap();
        assert!(read == content[offset..], "content from offset {offset}: {} bytes", read.len());
    }
}

pub(super) async fn the_absolute_path_of_a_file_leads_to_it(place: Place) {
    let path = place.directory.join(&"data.bin".into());
    write(&place.folder, &path, b"content").await;
    let temporary = place.directory.join(&"other.bin".into());
    place.folder.publish(&path, &temporary, false).await.unwrap();
    if let Some(absolute) = place.folder.absolute(&temporary).await.unwrap() {
        assert_eq!(read(&place.folder, &absolute, 0).await.unwrap(), b"content", "{absolute}");
        assert_eq!(place.folder.absolute(&absolute).await.unwrap(), Some(absolute));
    }
}

pub(super) async fn an_empty_file_is_a_file(place: Place) {
    let path = place.directory.join(&"empty".into());
    write(&place.folder, &path, b"").await;
    let entry = place.folder.stat(&path).await.unwrap();
    assert_eq!((entry.kind, entry.size), (EntryKind::File, Some(0)));
    assert_eq!(read(&place.folder, &path, 0).await.unwrap(), b"");
}

pub(super) async fn an_aborted_upload_leaves_nothing(place: Place) {
    let path = place.directory.join(&"aborted".into());
    let mut upload = place.folder.begin_write(&path, None).await.unwrap();
    upload.write(Bytes::from_static(b"half")).await.unwrap();
    upload.abort().await;
    assert_eq!(kind(place.folder.stat(&path).await), Some(ErrorKind::NotFound));
}

pub(super) async fn an_upload_that_is_left_goes_on_at_an_offset(place: Place) {
    if !place.resumes {
        return;
    }
    let content: Vec<u8> = (0..600_007_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let path = place.directory.join(&"left".into());
    let (length, half) = (content.len() as u64, content.len() / 2);
    let mut upload = place.folder.begin_write(&path, Some(length)).await.unwrap();
    upload.write(Bytes::copy_from_slice(&content[..half])).await.unwrap();
    assert!(upload.suspend().await, "what has arrived is left");
    // How much that is, the server tells; it may still be writing.
    let size = place.folder.stat(&path).await.unwrap().size.unwrap();
    assert!(size <= half as u64, "{size}");
    for from in [size, size / 2] {
        let mut upload = place.folder.resume_write(&path, from, Some(length)).await.unwrap().unwrap();
        assert!(upload.acknowledged().is_none_or(|acknowledged| acknowledged == from));
        upload.write(Bytes::copy_from_slice(&content[from as usize..])).await.unwrap();
        assert_eq!(upload.finish().await.unwrap().size, Some(length));
        assert!(read(&place.folder, &path, 0).await.unwrap() == content, "the content, resumed at {from}");
    }
}

pub(super) async fn begin_write_replaces_what_was_there(place: Place) {
    let path = place.directory.join(&"again".into());
    write(&place.folder, &path, b"a long first content").await;
    write(&place.folder, &path, b"short").await;
    assert_eq!(read(&place.folder, &path, 0).await.unwrap(), b"short");
}

pub(super) async fn publish_gives_the_name_and_takes_the_temporary_one(place: Place) {
    let (temporary, name) = (place.directory.join(&".a.part".into()), place.directory.join(&"a".into()));
    write(&place.folder, &temporary, b"content").await;
    let published = place.folder.publish(&temporary, &name, false).await.unwrap();
    assert_eq!(published, Published::Published);
    assert_eq!(names(&place.folder, &place.directory).await, ["a"]);
    assert_eq!(read(&place.folder, &name, 0).await.unwrap(), b"content");
}

pub(super) async fn publish_without_replacing_touches_nothing(place: Place) {
    let (temporary, name) = (place.directory.join(&".a.part".into()), place.directory.join(&"a".into()));
    write(&place.folder, &name, b"earlier").await;
    write(&place.folder, &temporary, b"later").await;
    let published = place.folder.publish(&temporary, &name, false).await.unwrap();
    assert_eq!(published, Published::Exists);
    assert_eq!(read(&place.folder, &name, 0).await.unwrap(), b"earlier");
    assert_eq!(read(&place.folder, &temporary, 0).await.unwrap(), b"later");
}

pub(super) async fn publish_replaces_when_asked(place: Place) {
    let (temporary, name) = (place.directory.join(&".a.part".into()), place.directory.join(&"a".into()));
    write(&place.folder, &name, b"earlier").await;
    write(&place.folder, &temporary, b"later").await;
    let published = place.folder.publish(&temporary, &name, true).await.unwrap();
    assert_eq!(published, Published::Published);
    assert_eq!(names(&place.folder, &place.directory).await, ["a"]);
    assert_eq!(read(&place.folder, &name, 0).await.unwrap(), b"later");
}

pub(super) async fn rename_moves_and_keeps_size_and_time(place: Place) {
    place.folder.make_directory(&place.beside).await.unwrap();
    let (from, to) = (place.directory.join(&"a".into()), place.beside.join(&"b".into()));
    write(&place.folder, &from, b"content").await;
    let before = place.folder.stat(&from).await.unwrap();
    place.folder.rename(&from, &to).await.unwrap();
    let after = place.folder.stat(&to).await.unwrap();
    assert_eq!((before.size, before.modified), (after.size, after.modified));
    assert_eq!(kind(place.folder.stat(&from).await), Some(ErrorKind::NotFound));
    assert_eq!(read(&place.folder, &to, 0).await.unwrap(), b"content");
}

pub(super) async fn rename_replaces_nothing(place: Place) {
    if !place.folder.capabilities().await.unwrap().rename_no_replace {
        return;
    }
    let (from, to) = (place.directory.join(&"a".into()), place.directory.join(&"b".into()));
    write(&place.folder, &from, b"from").await;
    write(&place.folder, &to, b"to").await;
    assert_eq!(kind(place.folder.rename(&from, &to).await), Some(ErrorKind::AlreadyExists));
    assert_eq!(read(&place.folder, &from, 0).await.unwrap(), b"from");
    assert_eq!(read(&place.folder, &to, 0).await.unwrap(), b"to");
}

pub(super) async fn a_time_that_is_set_is_told_and_kept_by_a_rename(place: Place) {
    if !place.folder.capabilities().await.unwrap().set_modified {
        return;
    }
    let (from, to) = (place.directory.join(&"a".into()), place.directory.join(&"b".into()));
    write(&place.folder, &from, b"content").await;
    let at = DateTime::from_timestamp(1_500_000_000, 0).unwrap();
    place.folder.set_modified(&from, at).await.unwrap();
    let listed = place.folder.list(&place.directory).await.unwrap().next().await.unwrap().unwrap();
    let looked = place.folder.stat(&from).await.unwrap();
    assert_eq!((listed.modified, looked.modified, looked.size), (Some(at), Some(at), Some(7)));
    assert_eq!(read(&place.folder, &from, 0).await.unwrap(), b"content");
    place.folder.rename(&from, &to).await.unwrap();
    assert_eq!(place.folder.stat(&to).await.unwrap().modified, Some(at));
    let missing = place.folder.set_modified(&from, at).await;
    assert_eq!(kind(missing), Some(ErrorKind::NotFound));
}

pub(super) async fn what_is_not_there_is_not_found(place: Place) {
    let folder = &place.folder;
    let (gone, other) = (place.directory.join(&"gone".into()), place.directory.join(&"other".into()));
    let below = place.directory.join(&"missing/file".into());
    let not_found = Some(ErrorKind::NotFound);
    equal(kind(folder.stat(&gone).await), not_found, "stat");
    equal(kind(folder.read(&gone, 0).await), not_found, "read");
    equal(kind(folder.list(&gone).await), not_found, "list");
    equal(kind(folder.remove(&gone).await), not_found, "remove");
    equal(kind(folder.rename(&gone, &other).await), not_found, "rename");
    equal(kind(folder.publish(&gone, &other, false).await), not_found, "publish");
    equal(kind(folder.begin_write(&below, None).await), not_found, "begin_write in no directory");
    write(folder, &other, b"x").await;
    folder.remove(&other).await.unwrap();
    equal(kind(folder.remove(&other).await), not_found, "second remove");
}

pub(super) async fn directories_are_made_once_and_list_empty(place: Place) {
    let deep = place.beside.join(&"one/two".into());
    place.folder.make_directory(&deep).await.unwrap();
    place.folder.make_directory(&deep).await.unwrap();
    assert_eq!(place.folder.stat(&deep).await.unwrap().kind, EntryKind::Directory);
    let entries: Vec<_> = place.folder.list(&deep).await.unwrap().collect().await;
    assert!(entries.is_empty(), "an empty directory lists {entries:?}");
    let above = place.folder.list(&place.beside).await.unwrap().next().await.unwrap().unwrap();
    assert_eq!((above.path, above.kind), (RemotePath::from("one"), EntryKind::Directory));
}

pub(super) async fn listing_and_stat_agree(place: Place) {
    put(&place.folder, &place.directory.join(&"a.edi".into()), b"content").await;
    let listed = place.folder.list(&place.directory).await.unwrap().next().await.unwrap().unwrap();
    let seen = place.folder.stat(&place.directory.join(&listed.path)).await.unwrap();
    assert_eq!(
        (listed.kind, listed.size, listed.modified, &listed.version),
        (seen.kind, seen.size, seen.modified, &seen.version)
    );
}

pub(super) async fn another_file_of_the_name_has_another_version(place: Place) {
    let path = place.directory.join(&"a".into());
    put(&place.folder, &path, b"first").await;
    let first = place.folder.stat(&path).await.unwrap();
    put(&place.folder, &path, b"other").await;
    let second = place.folder.stat(&path).await.unwrap();
    if first.version.is_some() || second.version.is_some() {
        assert_ne!(first.version, second.version);
    }
}

pub(super) async fn a_file_is_removed_by_its_version(place: Place) {
    let path = place.directory.join(&"a".into());
    let version = async || place.folder.stat(&path).await.unwrap().version;
    put(&place.folder, &path, b"first").await;
    let first = version().await;
    assert!(place.folder.remove_version(&path, first.as_deref()).await.unwrap());
    let again = place.folder.remove_version(&path, first.as_deref()).await;
    assert_eq!(kind(again), Some(ErrorKind::NotFound));
    // What a server without versions removes is not known to be another file: there the caller's last look decides.
    put(&place.folder, &path, b"other").await;
    if place.folder.remove_version(&path, first.as_deref()).await.unwrap() {
        assert_eq!(kind(place.folder.stat(&path).await), Some(ErrorKind::NotFound));
        put(&place.folder, &path, b"other").await;
    } else {
        assert_ne!(version().await, first);
        assert_eq!(read(&place.folder, &path, 0).await.unwrap(), b"other");
    }
    assert!(place.folder.remove_version(&path, None).await.unwrap());
    assert_eq!(kind(place.folder.stat(&path).await), Some(ErrorKind::NotFound));
}

pub(super) async fn a_lock_that_is_given_back_is_no_hindrance(place: Place) {
    let path = place.directory.join(&"a".into());
    let mut upload = place.folder.begin_write(&path, Some(5)).await.unwrap();
    let lock = upload.lock().unwrap_or_else(|| "opaquelocktoken:none".to_owned());
    upload.write(Bytes::from_static(b"whole")).await.unwrap();
    upload.finish().await.unwrap();
    // Given back by the upload itself, and by an attempt that does not know of it.
    for _ in 0..2 {
        place.folder.release_lock(&path, &lock).await.unwrap();
    }
    assert_eq!(read(&place.folder, &path, 0).await.unwrap(), b"whole");
    put(&place.folder, &path, b"other").await;
    place.folder.remove(&path).await.unwrap();
    place.folder.release_lock(&path, &lock).await.unwrap();
}

pub(super) async fn a_long_listing_comes_whole_and_may_be_left_early(place: Place) {
    let expected: BTreeSet<String> = (0..place.long_listing).map(|n| format!("file-{n:05}")).collect();
    futures::stream::iter(expected.iter())
        .for_each_concurrent(AT_ONCE, |name| {
            let path = place.directory.join(&name.as_str().into());
            let folder = &place.folder;
            async move { write(folder, &path, b"").await }
        })
        .await;
    let mut early = place.folder.list(&place.directory).await.unwrap();
    early.next().await.unwrap().unwrap();
    drop(early);
    let listed = names(&place.folder, &place.directory).await;
    assert_eq!(listed.len(), expected.len(), "each name once");
    assert!(listed.iter().eq(expected.iter()), "the same names");
}
