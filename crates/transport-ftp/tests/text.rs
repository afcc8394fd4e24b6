//! Texts with converted line ends, names in other encodings than UTF-8, and commands that some servers ask for.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use bytes::Bytes;
use model::definition::Definitions;
use model::{ErrorKind, RemotePath, Retry};
use std::sync::Arc;
use support::script::{Script, Scripted};
use support::{Build, Server, World, list, read};
use transport::folder::{Evidence, Folder, Written};

async fn scripted(script: Script) -> (World, Scripted, Build) {
    let server = Scripted::start(script).await;
    let endpoint = Build::at(server.port).set("timeout", "5s");
    (World::new(Definitions::default()), server, endpoint)
}

async fn written(folder: &Arc<dyn Folder>, path: &str, parts: &[&[u8]]) -> Written {
    let length = parts.iter().map(|part| part.len() as u64).sum();
    let mut upload = folder.begin_write(&path.into(), Some(length)).await.unwrap();
    for part in parts {
        upload.write(Bytes::copy_from_slice(part)).await.unwrap();
    }
    upload.finish().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn line_ends_are_converted_on_the_way_and_sizes_not_compared() {
    let (world, server, endpoint) = scripted(Script::default()).await;
    let folder = world.folder(&endpoint.set("type", "ascii").done());
    let Written { size, evidence, gone, .. } = written(&folder, "a", &[b"one\ntwo\r", b"\nthree\r"]).await;
    assert_eq!((size, evidence, gone), (None, Evidence::Acknowledged, false));
    assert_eq!(server.content(b"/a").unwrap(), b"one\r\ntwo\r\nthree\r");
    assert_eq!(read(&folder, "a", 0).await.unwrap(), b"one\ntwo\nthree\r");
    // A place in the converted text.
    assert_eq!(read(&folder, "a", 4).await.unwrap(), b"two\nthree\r");
    assert_eq!(read(&folder, "a", 13).await.unwrap(), b"\r");
    assert_eq!((server.count("REST"), server.said().contains(&"TYPE A".to_owned())), (0, true));
    let entry = folder.stat(&"a".into()).await.unwrap();
    assert_eq!((entry.size, entry.version.as_deref()), (None, Some("16 bytes")));
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_go_to_real_servers_and_back() {
    for (name, extra) in [("proftpd", ""), ("vsftpd", "ascii_upload_enable=YES\nascii_download_enable=YES")] {
        let extras: &[&str] = if extra.is_empty() { &[] } else { &["--extra", extra] };
        let server = Server::start(name, extras);
        let world = World::new(server.definitions());
        let folder = world.folder(&server.endpoint().set("type", "ascii").done());
        written(&folder, "files/a", &[b"one\r\ntwo\n"]).await;
        // Both run on Unix.
        assert_eq!(std::fs::read(server.files().join("a")).unwrap(), b"one\ntwo\n", "{name}");
        assert_eq!(read(&folder, "files/a", 0).await.unwrap(), b"one\ntwo\n", "{name}");
        let listed = list(&folder, "files").await.unwrap().remove(0);
        let looked = folder.stat(&"files/a".into()).await.unwrap();
        assert_eq!((listed.size, &listed.version), (None, &Some("8 bytes".to_owned())), "{name}");
        assert!(looked.version.is_none() || looked.version == listed.version, "{name}: {looked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_written_in_the_servers_encoding() {
    let server = Server::start("proftpd", &[]);
    let world = World::new(server.definitions());
    let folder = world.folder(&server.endpoint().set("encoding", "ISO-8859-1").done());
    written(&folder, "files/caf\u{e9}", &[b"content"]).await;
    let file = {
        use std::os::unix::ffi::OsStringExt;
        std::ffi::OsString::from_vec(b"caf\xe9".to_vec())
    };
    assert_eq!(std::fs::read(server.files().join(&file)).unwrap(), b"content");
    assert_eq!(list(&folder, "files").await.unwrap()[0].path, RemotePath::from("caf\u{e9}"));
    assert_eq!(folder.stat(&"files/caf\u{e9}".into()).await.unwrap().size, Some(7));
    let error = folder.begin_write(&"files/\u{65e5}".into(), None).await.err().unwrap();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Rejected, Retry::Permanent));
    assert!(error.to_string().contains("encoding"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_latin_1_are_looked_at_without_mlsd() {
    let server = Server::start("vsftpd", &[]);
    let world = World::new(server.definitions());
    let folder = world.folder(&server.endpoint().set("encoding", "ISO-8859-1").done());
    written(&folder, "files/caf\u{e9}", &[b"content"]).await;
    let listed = list(&folder, "files").await.unwrap().remove(0);
    let looked = folder.stat(&"files/caf\u{e9}".into()).await.unwrap();
    assert_eq!((listed.path, listed.size, listed.modified), ("caf\u{e9}".into(), Some(7), looked.modified));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_some_servers_ask_for_is_sent() {
    let (world, server, endpoint) = scripted(Script::default()).await;
    let endpoint = endpoint.set("allocate", "true").set("site_commands", "UMASK 022");
    let folder = world.folder(&endpoint.done());
    written(&folder, "a", &[b"content"]).await;
    let said = server.said();
    let place = |line: &str| said.iter().position(|other| other == line).unwrap();
    assert!(place("SITE UMASK 022") < place("PWD") && place("ALLO 7") < place("STOR /a"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_room_or_with_other_commands_says_so() {
    let answers: &[(&str, &str)] = &[("ALLO", "552 quota exceeded\r\n")];
    let (world, server, endpoint) = scripted(Script { answers, ..Script::default() }).await;
    let folder = world.folder(&endpoint.set("allocate", "true").done());
    let error = folder.begin_write(&"a".into(), Some(7)).await.err().unwrap();
    assert_eq!((error.kind(), server.count("STOR")), (ErrorKind::StorageFull, 0), "{error}");
    let answers: &[(&str, &str)] = &[("SITE", "500 what?\r\n")];
    let (world, _server, endpoint) = scripted(Script { answers, ..Script::default() }).await;
    let error = list(&world.folder(&endpoint.set("site_commands", "X").done()), "").await.unwrap_err();
    assert_eq!(error.retry(), Retry::Permanent);
    assert!(error.to_string().contains("SITE X") && error.to_string().contains("site_commands"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_openvms_is_joined_and_shows_the_newest_versions() {
    let listing =
        b"Directory DISK$EDI:[ACME.IN]\r\n\r\nA.EDI;3  2/3  28-FEB-2026 15:09:12  [A,B]  (R,R,,)\r\n\
        A.EDI;2  2/3  27-FEB-2026 15:09:12  [A,B]  (R,R,,)\r\nA_LONGER_NAME_THAN_ITS_COLUMN.EDI;1\r\n   \
        2/3  28-FEB-2026 15:09:12  [A,B]  (R,R,,)\r\nTotal of 3 files, 6/9 blocks.\r\n"
            .to_vec();
    let answers: &[(&str, &str)] = &[("FEAT", "500 what?\r\n")];
    let (world, _server, endpoint) = scripted(Script { listing, answers, ..Script::default() }).await;
    let entries = list(&world.folder(&endpoint.done()), "in").await.unwrap();
    let names: Vec<_> = entries.iter().map(|entry| entry.path.to_text()).collect();
    assert_eq!(names, ["A.EDI", "A_LONGER_NAME_THAN_ITS_COLUMN.EDI"]);
}
