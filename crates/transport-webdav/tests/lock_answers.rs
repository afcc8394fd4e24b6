//! Locks whose answers are refused, lost or late, and files that come and go while they are locked. Servers that answer by a script,
//! and real ones behind a proxy.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use bytes::Bytes;
use model::{ErrorKind, Retry};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{
    DavServer, Scripted, Silence, SilentProxy, WatchedProxy, World, answer, directory, file, multistatus,
    read, write,
};
use testkit::clock::FixedClock;
use testkit::through::Attempt;
use transport::DeliveryLog;
use transport::folder::{LOCKED, Overwrite, Published};

const TOKEN: &str = "Lock-Token: <urn:uuid:1>\r\n";

fn method(head: &str) -> &str {
    head.split(' ').next().unwrap_or_default()
}

fn count(server: &Scripted, name: &str) -> usize {
    server.heads().iter().filter(|head| method(head) == name).count()
}

/// A server that does all that it is asked for, but what the test answers itself.
fn willing(other: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Scripted {
    Scripted::start(move |_, head| {
        other(head).unwrap_or_else(|| match method(head) {
            "PROPFIND" if head.starts_with("PROPFIND /in/ ") || head.starts_with("PROPFIND /in ") => {
                multistatus(&directory("/in/"))
            }
            "PROPFIND" => multistatus(&file("/in/a.edi", 7)),
            "LOCK" => answer("200 OK", TOKEN, ""),
            "PUT" | "MOVE" => answer("201 Created", "", ""),
            _ => answer("204 No Content", "", ""),
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_not_given_back_ends_no_delivery() {
    // The status of each UNLOCK; whether the attempt delivers, and whether the lock's note stays.
    for (status, is_delivered, is_kept) in [
        ("204 No Content", true, false),
        ("409 Conflict", true, false),
        ("403 Forbidden", true, false),
        ("405 Method Not Allowed", true, false),
        ("501 Not Implemented", true, false),
        // These say nothing of the lock.
        ("401 Unauthorized", true, true),
        ("500 Internal Server Error", true, true),
        ("503 Service Unavailable", false, true),
    ] {
        let server = willing(move |head| (method(head) == "UNLOCK").then(|| answer(status, "", "")));
        let world = World::new();
        // An endpoint that locks, whose attempt notes its own lock then, and one that does not any more.
        for lock in ["true", "false"] {
            let folder = world.folder(&server.endpoint(&[("lock", lock)]));
            let attempt = Attempt { number: 2, log: Arc::default(), ..Attempt::into("/in") };
            let note = json!({ "path": "/in/.a.edi.old.a", "lock": "urn:uuid:0", "address": attempt.options.address });
            attempt.log.note(LOCKED, note.clone()).await.unwrap();
            let delivered = attempt.deliver(&folder, "a.edi", b"content", &world.services).await;
            if let Err(error) = &delivered {
                assert_eq!(error.retry(), Retry::Transient, "{status}: {error}");
            }
            assert_eq!(delivered.is_ok(), is_delivered, "{status}, lock = {lock}: {delivered:?}");
            let noted = attempt.log.notes().get(LOCKED).cloned();
            if lock == "false" {
                assert_eq!(noted == Some(note), is_kept, "{status}: {noted:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_a_server_does_not_give_back_is_named_by_what_follows() {
    for lock in ["true", "false"] {
        let server = willing(|head| (method(head) == "UNLOCK").then(|| answer("403 Forbidden", "", "")));
        let folder = World::new().folder(&server.endpoint(&[("lock", lock)]));
        let released = folder.release_lock(&"/in/a.edi".into(), "urn:uuid:0").await;
        assert_eq!(released.is_err(), lock == "true", "{released:?}");
        folder.remove(&"/in/a.edi".into()).await.unwrap();
        let last = server.heads().pop().unwrap();
        assert!(last.starts_with("DELETE ") && last.contains("if: (<urn:uuid:0>)"), "{last}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unlock_that_failed_in_the_server_is_repeated() {
    let unlocks = AtomicU32::new(0);
    let server = willing(move |head| {
        let is_first = method(head) == "UNLOCK" && unlocks.fetch_add(1, Ordering::Relaxed) == 0;
        is_first.then(|| answer("500 Internal Server Error", "", ""))
    });
    let folder = World::new().folder(&server.endpoint(&[("lock", "true")]));
    write(&folder, "/in/a.edi", b"content").await.unwrap();
    assert_eq!(count(&server, "UNLOCK"), 2, "{:#?}", server.heads());
    // Nothing is left in memory.
    folder.remove(&"/in/a.edi".into()).await.unwrap();
    assert!(!server.heads().pop().unwrap().contains("\r\nif: "));
}

/// No answer to an UNLOCK arrives, though it is done: the lock is gone, and a request that names it is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_gone_keeps_no_file_from_being_published_or_deleted() {
    let server = willing(|head| match method(head) {
        "UNLOCK" => Some(Vec::new()),
        "MOVE" | "DELETE" if head.contains("\r\nif: ") => Some(answer("412 Precondition Failed", "", "")),
        _ => None,
    });
    let folder = World::new().folder(&server.endpoint(&[("lock", "true")]));
    write(&folder, "/in/.a.edi.a", b"content").await.unwrap();
    let published = folder.publish(&"/in/.a.edi.a".into(), &"/in/a.edi".into(), false).await.unwrap();
    assert_eq!(published, Published::Published, "{:#?}", server.heads());
    write(&folder, "/in/b.edi", b"content").await.unwrap();
    folder.remove(&"/in/b.edi".into()).await.unwrap();
    // A condition on the version stays.
    write(&folder, "/in/c.edi", b"content").await.unwrap();
    assert!(folder.remove_version(&"/in/c.edi".into(), Some("v1")).await.unwrap());
    let last = server.heads().pop().unwrap();
    assert!(last.contains("if-match: \"v1\"") && !last.contains("\r\nif: "), "{last}");
}

/// The same with Apache, and a token that the next attempt gives back: it is named no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_given_back_is_forgotten() {
    let server = DavServer::apache(&[]);
    for is_released in [true, false] {
        let proxy = SilentProxy::before(&server, Silence { method: "UNLOCK", after: 0, is_done: true });
        let world = World::new();
        let set = [("timeout", "2s"), ("lock", "true"), ("connections", "2")];
        let folder = world.folder(&proxy.endpoint(&server, &set));
        let path = format!("/{is_released}.edi");
        let mut upload = folder.begin_write(&path.as_str().into(), Some(7)).await.unwrap();
        let lock = upload.lock().unwrap();
        upload.write(Bytes::from_static(b"content")).await.unwrap();
        upload.finish().await.unwrap();
        assert!(proxy.is_used());
        if is_released {
            folder.release_lock(&path.as_str().into(), &lock).await.unwrap();
        }
        folder.remove(&path.as_str().into()).await.unwrap();
        assert_eq!(folder.stat(&path.as_str().into()).await.unwrap_err().kind(), ErrorKind::NotFound);
        let refused = format!(" 412 DELETE {path}");
        let refused = server.requests().iter().filter(|line| line.contains(&refused)).count();
        assert_eq!(refused, usize::from(!is_released), "{:#?}", server.requests());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_empty_file_of_a_lock_is_removed_where_nothing_is_written() {
    let server = willing(|head| match method(head) {
        "PROPFIND" if head.starts_with("PROPFIND /in/a.edi ") => Some(answer("404 Not Found", "", "")),
        "LOCK" => Some(answer("201 Created", TOKEN, "")),
        "PUT" => Some(answer("507 Insufficient Storage", "", "")),
        _ => None,
    });
    let folder = World::new().folder(&server.endpoint(&[("lock", "true")]));
    let error = folder.begin_new_write(&"/in/a.edi".into(), Some(0)).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    let last = server.heads().pop().unwrap();
    assert!(last.starts_with("DELETE /in/a.edi ") && last.contains("if: (<urn:uuid:1>)"), "{last}");
}

/// A file that is refused because its lock is gone was not written: what has the name may be another client's.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_the_name_of_a_file_whose_lock_is_gone_stays() {
    let server = willing(|head| (method(head) == "PUT").then(|| answer("412 Precondition Failed", "", "")));
    let folder = World::new().folder(&server.endpoint(&[("lock", "true")]));
    let mut upload = folder.begin_write(&"/in/a.edi".into(), Some(7)).await.unwrap();
    let written = upload.write(Bytes::from_static(b"content")).await;
    let error = match written {
        Ok(()) => upload.flush().await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Rejected, Retry::Transient), "{error}");
    upload.abort().await;
    assert_eq!((count(&server, "DELETE"), count(&server, "UNLOCK")), (0, 1), "{:#?}", server.heads());
}

/// A server that never answers the request to keep a lock: the file goes on without. The guard is far longer than the wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_does_not_wait_for_its_lock_to_be_kept() {
    let server = willing(|head| {
        if method(head) == "LOCK" && head.contains("\r\nif: ") {
            loop {
                std::thread::park();
            }
        }
        None
    });
    let clock = Arc::new(FixedClock::default());
    let mut world = World::new();
    world.services.clock = Arc::clone(&clock) as _;
    let folder = world.folder(&server.endpoint(&[("lock", "true"), ("connections", "4"), ("timeout", "1h")]));
    let sending = async {
        let mut upload = folder.begin_write(&"/in/a.edi".into(), Some(7)).await.unwrap();
        upload.write(Bytes::from_static(b"con")).await.unwrap();
        clock.advance(Duration::from_secs(400));
        upload.write(Bytes::from_static(b"tent")).await.unwrap();
        upload.finish().await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(120), sending).await.unwrap();
    assert_eq!(count(&server, "LOCK"), 2, "{:#?}", server.heads());
}

/// The file that is to be replaced goes before it is looked at, or before it is locked. The lock of a free name makes an empty
/// file on some servers, which nobody may find: it is gone before the next MOVE.
#[tokio::test(flavor = "multi_thread")]
async fn no_empty_file_is_left_where_the_replaced_file_went_before_its_lock() {
    for name in ["apache", "nginx", "wsgidav"] {
        for goes_before in ["PROPFIND /a.edi ", "LOCK /a.edi "] {
            let server = if name == "apache" { DavServer::apache(&[]) } else { DavServer::other(name) };
            let path = server.files().join("a.edi");
            let play = format!("{name}, gone before {goes_before}");
            std::fs::write(&path, "earlier").unwrap();
            let (is_gone, seen) = (AtomicBool::new(false), Arc::new(Mutex::new(Vec::new())));
            let requests = Arc::clone(&seen);
            let proxy = WatchedProxy::before(&server, move |request| {
                let line = request.lines().next().unwrap_or_default().to_owned();
                if request.starts_with(goes_before) && !is_gone.swap(true, Ordering::SeqCst) {
                    std::fs::remove_file(&path).unwrap();
                }
                let is_there = is_gone.load(Ordering::SeqCst) && path.exists();
                if line.contains("HTTP/1.1") {
                    requests.lock().unwrap().push((line, is_there));
                }
            });
            let world = World::new();
            let folder = world.folder(&proxy.endpoint(&server, &[("lock", "true"), ("connections", "2")]));
            let mut attempt = Attempt::into("/");
            attempt.options.overwrite = Overwrite::Replace;
            attempt.deliver(&folder, "a.edi", b"later", &world.services).await.unwrap();
            assert_eq!(read(&folder, "/a.edi", 0).await.unwrap(), b"later", "{play}");
            let seen = seen.lock().unwrap().clone();
            let moves: Vec<_> = seen.iter().filter(|(line, _)| line.starts_with("MOVE ")).collect();
            assert!(moves.len() >= 2 && moves.iter().all(|(_, is_there)| !is_there), "{play}: {seen:#?}");
            let locks = seen.iter().filter(|(line, _)| line.starts_with("LOCK /a.edi ")).count();
            assert_eq!(locks, usize::from(goes_before.starts_with("LOCK")), "{play}: {seen:#?}");
            // Apache makes no file for a lock.
            let is_made = name != "apache" && goes_before.starts_with("LOCK");
            let is_deleted = seen.iter().any(|(line, _)| line.starts_with("DELETE /a.edi "));
            assert_eq!(is_deleted, is_made, "{play}: {seen:#?}");
            // No lock is left behind.
            write(&world.folder(&server.endpoint("", &[])), "/a.edi", b"by hand").await.unwrap();
        }
    }
}

/// What happened to a file whose MOVE failed in the server is told once.
#[tokio::test(flavor = "multi_thread")]
async fn the_error_of_a_move_names_its_target_once() {
    for reply in [answer("500 Internal Server Error", "", ""), Vec::new()] {
        let server = willing(move |head| match method(head) {
            "MOVE" => Some(reply.clone()),
            "PROPFIND" => Some(answer("404 Not Found", "", "")),
            _ => None,
        });
        let folder = World::new().folder(&server.endpoint(&[]));
        let error = folder.rename(&"/in/a".into(), &"/in/b".into()).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Ambiguous, "{error}");
        assert_eq!(error.to_string().matches("/in/b").count(), 1, "{error}");
    }
}
