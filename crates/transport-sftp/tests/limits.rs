//! What a server says that it takes: lengths, open files, sessions, room on its disk.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use futures::future::join_all;
use model::{ErrorKind, Retry};
use support::{Sshd, World, noise, partner, read, write};
use testkit::sftp::{Op, SftpServer};

const LIMITS: &str = "limits@openssh.com";
const STATVFS: &str = "statvfs@openssh.com";

/// Larger than any disk.
const HUGE: Option<u64> = Some(1 << 60);

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_longer_and_no_more_files_are_open_than_the_server_takes() {
    for limits in [[4096, 2000, 3000, 2], [0, 0, 0, 1], [2048, 0, 0, 0], [0, 1 << 40, 1 << 40, 1 << 40]] {
        let server = SftpServer::start().unwrap();
        server.greeting(|greeting| (greeting.extensions, greeting.limits) = (vec![LIMITS], limits));
        let content = noise(100_003);
        let world = World::new();
        let folder = world.folder(&partner(&server, "").set("connections", "1").done());
        // The server ends the connection of whoever goes beyond what it said.
        let names: Vec<String> = (0..6).map(|number| format!("a-{number}")).collect();
        let written = join_all(names.iter().map(|name| write(&folder, name, &content))).await;
        assert!(
            written.iter().all(|written| *written.as_ref().unwrap() == 100_003),
            "{limits:?}: {written:?}"
        );
        let read = join_all(names.iter().map(|name| read(&folder, name, 0))).await;
        assert!(read.iter().all(|read| *read.as_ref().unwrap() == content), "{limits:?}");
        assert_eq!((server.count(Op::Limits, "*"), world.records.opened.lock().unwrap().len()), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_files_stay_open_the_error_says_so() {
    let server = SftpServer::start().unwrap();
    server.greeting(|greeting| (greeting.extensions, greeting.limits) = (vec![LIMITS], [0, 0, 0, 1]));
    server.put("a", b"content");
    let world = World::new();
    let endpoint = partner(&server, "").set("connections", "1").set("timeout", "300ms").done();
    let folder = world.folder(&endpoint);
    let held = folder.begin_write(&"b".into(), None).await.unwrap();
    let error = folder.read(&"a".into(), 0).await.err().unwrap();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Busy, Retry::Transient), "{error}");
    assert!(error.to_string().contains("open files 1"), "{error}");
    held.abort().await;
    assert_eq!(read(&folder, "a", 0).await.unwrap(), b"content");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_room_is_refused_before_its_first_byte() {
    // OpenSSH tells the room of the file system that the directory is on.
    let sshd = Sshd::start();
    std::fs::create_dir(sshd.files().join("out")).unwrap();
    let world = World::new();
    let folder = world.folder(&sshd.endpoint().done());
    for path in ["a", "out/a"] {
        let error = folder.begin_write(&path.into(), HUGE).await.err().unwrap();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::StorageFull, Retry::Transient), "{error}");
        assert!(error.to_string().contains("free bytes") && error.to_string().contains("nothing was sent"));
        let error = folder.begin_new_write(&path.into(), HUGE).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert!(!sshd.files().join(path).exists());
    }
    folder.begin_write(&"a".into(), Some(8 << 20)).await.unwrap().abort().await;

    let server = SftpServer::start().unwrap();
    server.greeting(|greeting| (greeting.extensions, greeting.free) = (vec![STATVFS], 5 << 20));
    let folder = world.folder(&partner(&server, "").done());
    assert!(folder.begin_write(&"a".into(), Some(6 << 20)).await.is_err());
    assert_eq!(server.count(Op::OpenWrite, "*"), 0);
    write(&folder, "a", &noise(5 << 20)).await.unwrap();
    // Small files are not asked for.
    write(&folder, "b", b"content").await.unwrap();
    assert_eq!(server.count(Op::Statvfs, "*"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_server_does_not_tell_its_room_it_is_not_asked() {
    let server = SftpServer::start().unwrap();
    let world = World::new();
    let folder = world.folder(&partner(&server, "").done());
    folder.begin_write(&"a".into(), HUGE).await.unwrap().abort().await;
    assert_eq!(server.count(Op::Statvfs, "*"), 0);
    // Offered and refused, it keeps nothing from being written.
    let server = SftpServer::start().unwrap();
    server.greeting(|greeting| greeting.extensions = vec![STATVFS]);
    server.switch("*", testkit::sftp::Switch::Status(Op::Statvfs, 8, "Operation unsupported"));
    let folder = world.folder(&partner(&server, "").done());
    folder.begin_write(&"a".into(), HUGE).await.unwrap().abort().await;
    assert_eq!(server.count(Op::Statvfs, "*"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_one_session_to_a_connection_is_enough() {
    let server = Sshd::with(&["MaxSessions 1"]);
    let world = World::new();
    let folder = world.folder(&server.endpoint().done());
    let names: Vec<String> = (0..40).map(|number| format!("a-{number}")).collect();
    let written = join_all(names.iter().map(|name| write(&folder, name, b"content"))).await;
    assert!(written.iter().all(Result::is_ok), "{written:?}");
    assert!(world.records.opened.lock().unwrap().len() <= 4);
    assert!(!server.log().contains("no more sessions"), "{}", server.log());
    // One that lets nobody have a session says so, and is asked again as one that is busy.
    let server = Sshd::with(&["MaxSessions 0"]);
    let endpoint = server.endpoint().set("connect_retries", "1").done();
    let error = world.folder(&endpoint).stat(&"a".into()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Throttled, Retry::Transient), "{error}");
    assert!(server.logged("Accepted publickey", 2), "{}", server.log());
}
