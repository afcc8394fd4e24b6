//! What servers send before and around the login, as OpenSSH's client takes it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use model::{ErrorKind, Retry, Security};
use support::{Sshd, World, list, partner};
use testkit::sftp::SftpServer;

#[tokio::test(flavor = "multi_thread")]
async fn lines_before_the_identification_keep_nobody_out() {
    let server = SftpServer::start().unwrap();
    server.put("a.edi", b"content");
    let long = [vec![b'='; 8191], b"\n".to_vec()].concat();
    for before in [
        b"\n".to_vec(),
        b"\r\n".to_vec(),
        b"Welcome to ACME\r\n\r\nAll access is recorded.\r\n".to_vec(),
        "a line of a notice\r\n".repeat(100).into_bytes(),
        b"caf\xe9 \0\x1b[1m\n".to_vec(),
        long.repeat(1024),
    ] {
        server.greeting(|greeting| greeting.before = before.clone());
        let world = World::new();
        let listed = list(&world.folder(&partner(&server, "").done()), "").await;
        assert_eq!(listed.unwrap_or_else(|error| panic!("{} bytes: {error:?}", before.len())).len(), 1);
        let opened = world.records.opened.lock().unwrap();
        let Security::Ssh { server, .. } = &opened[0].record.security else { panic!() };
        assert!(server.as_str().starts_with("SSH-2.0-"), "{server}");
    }
    server.greeting(|greeting| {
        greeting.before = Vec::new();
        greeting.identification = "SSH-2.0-".to_owned() + &"x".repeat(245);
        greeting.banner = Some("Grüße\nüber mehrere Zeilen\n".into());
    });
    list(&World::new().folder(&partner(&server, "").done()), "").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_instead_of_an_identification_is_told_as_it_is() {
    let server = SftpServer::start().unwrap();
    for (before, retry, words) in [
        (b"x\n".repeat(1025), Retry::Transient, "not an SSH server"),
        (vec![b'x'; 9000], Retry::Transient, "8 KiB"),
        ([b"SSH-2.0-", &[b'x'; 300][..], b"\n"].concat(), Retry::Permanent, "255 bytes"),
        (b"SSH-2.0-caf\xe9\r\n".to_vec(), Retry::Permanent, "not text"),
        (b"SSH-1.5-old\r\n".to_vec(), Retry::Permanent, "old version"),
    ] {
        server.greeting(|greeting| greeting.before = before.clone());
        let error = list(&World::new().folder(&partner(&server, "").done()), "").await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Protocol, retry), "{error:?}");
        assert!(error.chain().contains(words), "{words} in {}", error.chain());
    }
}

/// The library reads a banner as UTF-8 inside its encrypted packet (docs/decisions/0005): the error tells that.
#[tokio::test(flavor = "multi_thread")]
async fn a_banner_that_is_not_utf_8_is_told_as_that() {
    let directory = tempfile::tempdir().unwrap();
    let banner = directory.path().join("banner");
    std::fs::write(&banner, b"Zugang f\xfcr Partner\n").unwrap();
    let server = Sshd::with(&[&format!("Banner {}", banner.display())]);
    let error = list(&World::new().folder(&server.endpoint().done()), "").await.unwrap_err();
    // It cannot be told from a reason for closing the connection in another character set, which may pass.
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unsupported, Retry::Transient), "{error:?}");
    let text = error.chain();
    assert!(text.contains("login banner") && text.contains("UTF-8") && !text.contains("peer said"), "{text}");
}
