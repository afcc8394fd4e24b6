//! File names are bytes.

use super::Place;
use super::scene::{names, read, write};
use futures::StreamExt;
use model::{ErrorKind, RemotePath, Retry};

/// Names that have tripped programs: by shell, by URL, by locale, by listing.
const AWKWARD: [&str; 16] = [
    "with space",
    " leading and trailing ",
    ".hidden",
    "..double",
    "-rf",
    "100%",
    "%41",
    "a+b&c=d?e#f",
    "'quoted\" `name`",
    "semi;colon|pipe",
    "[glob]*{a,b}",
    "back\\slash",
    "line\nbreak",
    "tab\there",
    "käse-日本語-🚚",
    "cafe\u{301}",
];

async fn goes_round(place: &Place, name: &[u8]) {
    let shown = RemotePath::from_bytes(name);
    let path = place.directory.join(&shown);
    if !(place.carries)(name) {
        let error = place.folder.begin_write(&path, None).await.err().expect("a name that cannot be carried");
        let foretold = place.folder.check_path(&path).expect_err("a name that cannot be carried");
        for error in [error, foretold] {
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Rejected, Retry::Permanent), "{error:?}");
        }
        return;
    }
    place.folder.check_path(&path).unwrap();
    if !(place.keeps)(name) {
        return;
    }
    let temporary = place.directory.join(&".round.part".into());
    write(&place.folder, &temporary, name).await;
    place.folder.publish(&temporary, &path, false).await.unwrap();
    let listed: Vec<_> = place.folder.list(&place.directory).await.unwrap().collect().await;
    let listed: Vec<_> = listed.into_iter().map(|entry| entry.unwrap().path).collect();
    assert_eq!(listed, std::slice::from_ref(&shown), "listed");
    assert_eq!(place.folder.stat(&path).await.unwrap().size, Some(name.len() as u64), "stat of {shown}");
    assert_eq!(read(&place.folder, &path, 0).await.unwrap(), name, "content of {shown}");
    place.folder.remove(&path).await.unwrap();
    assert!(names(&place.folder, &place.directory).await.is_empty(), "{shown} is removed");
}

pub(super) async fn names_come_back_byte_for_byte(place: Place) {
    for name in AWKWARD {
        goes_round(&place, name.as_bytes()).await;
    }
}

pub(super) async fn names_that_are_no_text_work(place: Place) {
    if place.any_bytes {
        goes_round(&place, b"caf\xe9 in Latin-1.txt").await;
        goes_round(&place, b"\xff\xfe\x80").await;
    }
}

pub(super) async fn a_name_of_full_length_works_and_a_longer_one_is_refused(place: Place) {
    goes_round(&place, &vec![b'n'; place.name_limit]).await;
    let longer = place.directory.join(&RemotePath::from_bytes(vec![b'n'; place.name_limit + 1]));
    let error = place.folder.begin_write(&longer, None).await.err().expect("a name too long");
    // Not every server says why it refuses; `NotFound` would make directories be made for it.
    assert_ne!(error.kind(), ErrorKind::NotFound, "{error:?}");
}
