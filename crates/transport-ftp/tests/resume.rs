//! Transfers whose data connections are cut in the middle go on where they were, at real servers; so do files that are
//! appended to others.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use model::Retry;
use std::time::Duration;
use support::{Server, World, noise};
use testkit::clock::SeededRandom;
use testkit::proxy::ftp::FtpProxy;
use testkit::proxy::{Behaviour, Direction, Ending, FaultProxy};
use testkit::through::{Attempt, take};
use transport::folder::Overwrite;

const MIB: u64 = 1 << 20;

/// A server behind a proxy that cuts each data connection after so many bytes.
async fn cut(server: &Server, direction: Direction, after: u64, how: Ending) -> FtpProxy {
    let proxy = FtpProxy::before(server.port()).await.unwrap();
    proxy.set_data(Behaviour::Cut { direction, after, how });
    proxy
}

fn content() -> Vec<u8> {
    noise(12 * MIB as usize + 4321)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_cut_goes_on_at_what_has_arrived() {
    let content = content();
    for (number, server) in ["proftpd", "vsftpd", "pureftpd", "pyftpdlib"].into_iter().enumerate() {
        let server = Server::start(server, &[]);
        server.make("out");
        let world = World::new(server.definitions());
        for how in [Ending::Reset, Ending::Close] {
            let random = SeededRandom::new(number as u64);
            let after = 4 * MIB + random.below(MIB as usize) as u64;
            let proxy = cut(&server, Direction::Up, after, how).await;
            let url = format!("ftp://127.0.0.1:{}", proxy.address().port());
            let folder = world.folder(&server.endpoint().url(&url).done());
            let name = format!("{how:?}.edi");
            let context = format!("{} {how:?} cut after {after}", server.field("server"));
            let mut attempt = Attempt::into("files/out");
            attempt.options.resume_from = 1;
            let receipt = attempt.deliver(&folder, &name, &content, &world.services).await;
            let receipt = receipt.unwrap_or_else(|error| panic!("{context}: {error:?}"));
            let resumed = receipt["resumed"].as_array().unwrap();
            assert!(resumed.len() >= 2, "{context}: {receipt:?}");
            let from: Vec<_> = resumed.iter().map(|one| one["from_byte"].as_u64().unwrap()).collect();
            assert!(from.is_sorted() && from[0] > 0, "{context}: {from:?}");
            assert!(std::fs::read(server.files().join("out").join(&name)).unwrap() == content, "{context}");
            // Each connection carries less than the file: sent from its beginning it would never have arrived. A reset
            // takes along what lies in buffers.
            let sent = proxy.data_bytes(Direction::Up);
            assert!(how == Ending::Reset || sent < 2 * content.len() as u64, "{context}: {sent} bytes");
        }
        let left: Vec<_> = std::fs::read_dir(server.files().join("out")).unwrap().collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_cut_goes_on_at_what_has_arrived() {
    let content = content();
    for (number, server) in ["proftpd", "vsftpd", "pureftpd", "pyftpdlib"].into_iter().enumerate() {
        let server = Server::start(server, &[]);
        server.make("in");
        std::fs::write(server.files().join("in/large.edi"), &content).unwrap();
        let world = World::new(server.definitions());
        // Not closed in order: then the server may say that all was sent, and only the size tells the engine otherwise.
        let random = SeededRandom::new(number as u64 + 100);
        let after = 4 * MIB + random.below(MIB as usize) as u64;
        let proxy = cut(&server, Direction::Down, after, Ending::Reset).await;
        let url = format!("ftp://127.0.0.1:{}", proxy.address().port());
        let folder = world.folder(&server.endpoint().url(&url).done());
        let context = format!("{} cut after {after}", server.field("server"));
        let (read, resumptions) = take(&folder, "files/in", &world.services).await.unwrap();
        assert!(read == content, "{context}");
        assert!(resumptions.len() >= 2, "{context}: {resumptions:?}");
    }
}

/// Servers that are killed in the middle of a file, and are back after some seconds.
#[tokio::test(flavor = "multi_thread")]
async fn transfers_go_on_when_a_server_is_back_after_seconds() {
    let content = content();
    for name in ["proftpd", "vsftpd"] {
        let server = Server::start(name, &[]);
        for directory in ["in", "out"] {
            server.make(directory);
        }
        std::fs::write(server.files().join("in/large.edi"), &content).unwrap();
        for direction in [Direction::Up, Direction::Down] {
            let world = World::new(server.definitions());
            let data = FtpProxy::before(server.port()).await.unwrap();
            data.set_data(Behaviour::Slow(8 * MIB));
            let control = FaultProxy::before(data.address()).await.unwrap();
            let url = format!("ftp://127.0.0.1:{}", control.address().port());
            let folder = world.folder(&server.endpoint().url(&url).done());
            let transferred = async {
                if direction == Direction::Up {
                    let attempt = Attempt::into("files/out");
                    let receipt = attempt.deliver(&folder, "a.edi", &content, &world.services).await.unwrap();
                    receipt["resumed"].as_array().map_or(0, Vec::len)
                } else {
                    let (read, resumptions) = take(&folder, "files/in", &world.services).await.unwrap();
                    assert!(read == content, "{name}");
                    resumptions.len()
                }
            };
            let away = async {
                while data.data_bytes(direction) < 4 * MIB {
                    tokio::task::yield_now().await;
                }
                control.set(Behaviour::Refuse).await.unwrap();
                tokio::task::block_in_place(|| server.control("kill"));
                tokio::time::sleep(Duration::from_millis(1500)).await;
                tokio::task::block_in_place(|| server.control("restart"));
                control.set(Behaviour::Pass).await.unwrap();
            };
            let (resumed, ()) = tokio::join!(transferred, away);
            assert_eq!(resumed, 1, "{name} {direction:?}");
            assert!(
                !world.records.failed.lock().unwrap().is_empty(),
                "{name} {direction:?}: it was never away"
            );
        }
        assert!(std::fs::read(server.files().join("out/a.edi")).unwrap() == content, "{name}");
        assert_eq!(std::fs::read_dir(server.files().join("out")).unwrap().count(), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_removes_what_broke_off_gets_the_file_again_from_the_next_attempt() {
    let server = Server::start("proftpd", &["--extra", "HiddenStores on"]);
    server.make("out");
    let world = World::new(server.definitions());
    let proxy = cut(&server, Direction::Up, 4 * MIB, Ending::Reset).await;
    let url = format!("ftp://127.0.0.1:{}", proxy.address().port());
    let folder = world.folder(&server.endpoint().url(&url).done());
    let mut attempt = Attempt::into("files/out");
    let error = attempt.deliver(&folder, "a.edi", &content(), &world.services).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Transient, "{error:?}");
    proxy.set_data(Behaviour::Pass);
    attempt.number = 2;
    let receipt = attempt.deliver(&folder, "a.edi", &content(), &world.services).await.unwrap();
    assert!(!receipt.contains_key("resumed"), "{receipt:?}");
    assert_eq!(std::fs::read_dir(server.files().join("out")).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_appended_goes_on_at_what_has_arrived() {
    let content = content();
    for server in ["proftpd", "vsftpd", "pureftpd", "pyftpdlib"] {
        let server = Server::start(server, &[]);
        server.make("out");
        let world = World::new(server.definitions());
        let proxy = cut(&server, Direction::Up, 4 * MIB, Ending::Reset).await;
        let url = format!("ftp://127.0.0.1:{}", proxy.address().port());
        let folder = world.folder(&server.endpoint().url(&url).done());
        let mut first = Attempt::into("files/out");
        first.options.overwrite = Overwrite::Append;
        let direct = world.folder(&server.endpoint().done());
        first.deliver(&direct, "all.edi", b"earlier", &world.services).await.unwrap();
        let mut attempt = Attempt::into("files/out");
        attempt.options.overwrite = Overwrite::Append;
        let context = server.field("server");
        let error = attempt.deliver(&folder, "all.edi", &content, &world.services).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Ambiguous, "{context}: {error:?}");
        proxy.set_data(Behaviour::Pass);
        attempt.number = 2;
        let receipt = attempt.deliver(&folder, "all.edi", &content, &world.services).await;
        let receipt = receipt.unwrap_or_else(|error| panic!("{context}: {error:?}"));
        assert_eq!(receipt["appended_at_byte"], 7, "{context}");
        let there = std::fs::read(server.files().join("out/all.edi")).unwrap();
        assert!(there == [b"earlier", &content[..]].concat(), "{context}: {} bytes", there.len());
    }
}
