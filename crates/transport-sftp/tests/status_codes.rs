//! Servers that tell things in other codes, words and flags than the draft's.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use model::{ErrorKind, Retry};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use support::{World, list, partner, read, write};
use testkit::conformance::{Place, all};
use testkit::sftp::{Op, ReportedIn, SftpServer, Switch};
use transport::folder::{EntryKind, Published};

/// The whole suite, with names that are not there answered like this.
async fn conforms(switches: &[Switch]) {
    let server = SftpServer::start().unwrap();
    for switch in switches {
        server.switch("*", switch.clone());
    }
    let world = World::new();
    let folder = world.folder(&partner(&server, "").done());
    let number = AtomicU32::new(0);
    all(|| async {
        let number = number.fetch_add(1, Ordering::Relaxed);
        std::fs::create_dir(server.at(&format!("in-{number}"))).unwrap();
        let (base, beside) = (format!("in-{number}"), format!("beside-{number}"));
        Place::new(Arc::clone(&folder), base.as_str(), beside.as_str()).connected()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_missing_names_are_failures_conforms() {
    conforms(&[Switch::MissingIs(4, "Failure")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_missing_in_words_alone_conforms() {
    conforms(&[Switch::MissingIs(4, "The system cannot find the file specified.")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_codes_of_its_own_conforms() {
    conforms(&[Switch::MissingIs(10_004, "")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_with_later_flags_conform() {
    conforms(&[Switch::LaterTimes(0x30)]).await;
    conforms(&[Switch::EmptyFlags(0x20)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_of_later_versions_shift_nothing() {
    let server = SftpServer::start().unwrap();
    for number in 0..45 {
        server.put(&format!("in/{number:02}.edi"), &vec![7; 1000 + number]);
    }
    let world = World::new();
    let folder = world.folder(&partner(&server, "").done());
    let plain = list(&folder, "in").await.unwrap();
    for switch in [0x10, 0x20, 0x30].into_iter().flat_map(|f| [Switch::LaterTimes(f), Switch::EmptyFlags(f)])
    {
        server.unswitch("*");
        server.switch("*", switch.clone());
        assert_eq!(list(&folder, "in").await.unwrap(), plain, "{switch:?}");
        let entry = folder.stat(&"in/07.edi".into()).await.unwrap();
        assert_eq!(
            (entry.kind, entry.size, entry.modified),
            (EntryKind::File, Some(1007), plain[7].modified)
        );
        assert_eq!(read(&folder, "in/07.edi", 0).await.unwrap(), vec![7; 1007], "{switch:?}");
    }
    // The time of the later flag counts where there is no other.
    server.unswitch("*");
    server.switch("*", Switch::NoTime(ReportedIn::EVERYWHERE));
    server.switch("*", Switch::LaterTimes(0x20));
    assert_eq!(folder.stat(&"in/07.edi".into()).await.unwrap().modified.unwrap().timestamp(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_may_look_at_is_published_all_the_same() {
    for code in [3, 4, 8] {
        let server = SftpServer::start().unwrap();
        server.put("taken.edi", b"earlier");
        server.switch("*", Switch::Status(Op::Stat, code, ""));
        let world = World::new();
        let folder = world.folder(&partner(&server, "").done());
        std::fs::write(server.at(".a_tmp"), "content").unwrap();
        // RENAME itself refuses what is taken.
        assert!(folder.publish(&".a_tmp".into(), &"taken.edi".into(), false).await.is_err());
        assert_eq!(server.get("taken.edi").unwrap(), b"earlier");
        let published = folder.publish(&".a_tmp".into(), &"a.edi".into(), false).await.unwrap();
        assert_eq!((published, server.get("a.edi").unwrap()), (Published::Published, b"content".to_vec()));
        // What is not shown is not missing: nothing may be taken for gone.
        let error = folder.stat(&"a.edi".into()).await.unwrap_err();
        assert_ne!(error.kind(), ErrorKind::NotFound, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_tell_what_a_failure_means() {
    let server = SftpServer::start().unwrap();
    server.put("a.edi", b"content");
    let world = World::new();
    let folder = world.folder(&partner(&server, "").done());
    server.switch_times("*", 1, Switch::Status(Op::Rename, 4, "target already exists"));
    let error = folder.rename(&"a.edi".into(), &"b.edi".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    server.switch_times("*", 1, Switch::Status(Op::Remove, 4, "Access denied"));
    let error = folder.remove(&"a.edi".into()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::PermissionDenied, Retry::Permanent), "{error}");
    // A directory that cannot be opened to be looked into, and is there.
    server.switch("done", Switch::Status(Op::Opendir, 3, "Permission denied"));
    std::fs::create_dir(server.at("done")).unwrap();
    folder.make_directory(&"done".into()).await.unwrap();
    write(&folder, "done/x", b"x").await.unwrap();
}
