//! Control connections that are kept alive during a transfer, or are lost all the same.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use model::definition::Definitions;
use model::{ErrorKind, Retry};
use support::script::{Noop, Script, Scripted};
use support::{Build, World, read, write};

async fn scripted(script: Script) -> (World, Scripted, Build) {
    let server = Scripted::start(script).await;
    let endpoint = Build::at(server.port).set("timeout", "5s").set("connections", "1");
    (World::new(Definitions::default()), server, endpoint)
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_of_life_are_sent_whenever_the_server_answers_them() {
    for noop in [Noop::AtOnce, Noop::AfterTheTransfer, Noop::Unknown] {
        let (world, server, endpoint) = scripted(Script { waits_for: 2, noop, ..Script::default() }).await;
        server.put(b"/a", b"content");
        let folder = world.folder(&endpoint.set("keepalive", "1s").done());
        assert_eq!(read(&folder, "a", 0).await.unwrap(), b"content", "{noop:?}");
        // The connection's answers are in step: it is used again.
        assert_eq!(folder.stat(&"a".into()).await.unwrap().size, Some(7), "{noop:?}");
        assert_eq!((server.count("NOOP"), server.count("USER")), (2, 1), "{noop:?}: {:?}", server.said());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_swallows_signs_of_life_loses_its_connection_and_not_the_file() {
    let script = Script { waits_for: 1, noop: Noop::Never, ..Script::default() };
    let (world, server, endpoint) = scripted(script).await;
    server.put(b"/a", b"content");
    let folder = world.folder(&endpoint.set("keepalive", "1s").done());
    assert_eq!(read(&folder, "a", 0).await.unwrap(), b"content");
    assert_eq!(folder.stat(&"a".into()).await.unwrap().size, Some(7));
    assert_eq!(server.count("USER"), 2, "{:?}", server.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_whole_though_the_control_connection_was_lost() {
    let (world, server, endpoint) = scripted(Script { drops: &["STOR", "RETR"], ..Script::default() }).await;
    let folder = world.folder(&endpoint.done());
    assert_eq!(write(&folder, "a", b"content").await.unwrap(), 7);
    assert_eq!(server.content(b"/a").unwrap(), b"content");
    assert_eq!(read(&folder, "a", 0).await.unwrap(), b"content");
    assert_eq!(read(&folder, "a", 3).await.unwrap(), b"tent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_short_is_not_taken_for_whole() {
    let (world, _server, endpoint) =
        scripted(Script { drops: &["STOR"], keeps: Some(3), ..Script::default() }).await;
    let folder = world.folder(&endpoint.done());
    let error = write(&folder, "a", b"content").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unreachable, Retry::Transient), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_same_size_that_was_there_before_is_not_taken_for_the_new_one() {
    for hides in [true, false] {
        let (world, server, endpoint) =
            scripted(Script { drops: &["STOR"], hides, ..Script::default() }).await;
        server.put(b"/a", b"earlier");
        let folder = world.folder(&endpoint.done());
        let earlier = folder.stat(&"a".into()).await.unwrap();
        let mut upload = folder.begin_write(&"a".into(), None).await.unwrap();
        upload.replaces(earlier);
        upload.write(bytes::Bytes::from_static(b"content")).await.unwrap();
        // The server tells sizes alone, so both files look the same.
        let error = upload.finish().await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unreachable, Retry::Transient), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_never_overruled_by_a_look() {
    let script = Script { answers: &[], ..Script::default() };
    let (world, server, endpoint) = scripted(Script { noop: Noop::AtOnce, ..script }).await;
    server.put(b"/a", b"content");
    let folder = world.folder(&endpoint.done());
    let error = read(&folder, "b", 0).await.unwrap_err();
    assert!(error.to_string().contains("no such file"), "{error}");
    assert_eq!(server.count("USER"), 1);
}
