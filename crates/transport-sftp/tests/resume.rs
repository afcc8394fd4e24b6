//! Transfers whose connections are cut in the middle go on where they were, at OpenSSH.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use model::Retry;
use std::time::Duration;
use support::{Sshd, World, noise};
use testkit::clock::SeededRandom;
use testkit::proxy::{Behaviour, Direction, Ending, FaultProxy};
use testkit::through::{Attempt, take};
use transport::folder::Overwrite;

const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn transfers_that_are_cut_go_on_at_what_has_arrived() {
    let server = Sshd::start();
    for directory in ["in", "out"] {
        std::fs::create_dir(server.files().join(directory)).unwrap();
    }
    let content = noise(20 * MIB as usize + 4321);
    std::fs::write(server.files().join("in/large.edi"), &content).unwrap();
    let random = SeededRandom::new(7);
    for how in [Ending::Reset, Ending::Close] {
        for direction in [Direction::Up, Direction::Down] {
            // More than what is on its way unconfirmed, so that each connection brings the file further.
            let after = 8 * MIB + random.below(MIB as usize) as u64;
            let proxy = FaultProxy::before(([127, 0, 0, 1], server.port()).into()).await.unwrap();
            proxy.set(Behaviour::Cut { direction, after, how }).await.unwrap();
            let world = World::new();
            let folder = world.folder(&server.endpoint().port(proxy.address().port()).done());
            let context = format!("{how:?} {direction:?} cut after {after}");
            if direction == Direction::Up {
                let name = format!("{how:?}.edi");
                let attempt = Attempt::into("out");
                let receipt = attempt.deliver(&folder, &name, &content, &world.services).await;
                let receipt = receipt.unwrap_or_else(|error| panic!("{context}: {error:?}"));
                assert!(receipt["resumed"].as_array().unwrap().len() >= 2, "{context}: {receipt:?}");
                assert!(
                    std::fs::read(server.files().join("out").join(&name)).unwrap() == content,
                    "{context}"
                );
            } else {
                let (read, resumptions) = take(&folder, "in", &world.services).await.unwrap();
                assert!(read == content, "{context}");
                assert!(resumptions.len() >= 2, "{context}: {resumptions:?}");
            }
            let sent = proxy.bytes(direction);
            assert!(how == Ending::Reset || sent < 2 * content.len() as u64, "{context}: {sent} bytes");
        }
    }
    let left: Vec<_> = std::fs::read_dir(server.files().join("out")).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

/// A server that is restarted, or a line that is down, for some seconds in the middle of a file.
#[tokio::test(flavor = "multi_thread")]
async fn transfers_go_on_when_a_server_is_back_after_seconds() {
    let server = Sshd::start();
    for directory in ["in", "out"] {
        std::fs::create_dir(server.files().join(directory)).unwrap();
    }
    let content = noise(20 * MIB as usize + 4321);
    std::fs::write(server.files().join("in/large.edi"), &content).unwrap();
    for direction in [Direction::Up, Direction::Down] {
        let proxy = FaultProxy::before(([127, 0, 0, 1], server.port()).into()).await.unwrap();
        proxy.set(Behaviour::Slow(16 * MIB)).await.unwrap();
        let world = World::new();
        let folder = world.folder(&server.endpoint().port(proxy.address().port()).done());
        let transferred = async {
            if direction == Direction::Up {
                let receipt =
                    Attempt::into("out").deliver(&folder, "a.edi", &content, &world.services).await.unwrap();
                receipt["resumed"].as_array().unwrap().len()
            } else {
                let (read, resumptions) = take(&folder, "in", &world.services).await.unwrap();
                assert!(read == content);
                resumptions.len()
            }
        };
        let away = async {
            while proxy.bytes(direction) < 8 * MIB {
                tokio::task::yield_now().await;
            }
            let cut = Behaviour::Cut { direction, after: 0, how: Ending::Reset };
            proxy.set(cut).await.unwrap();
            while proxy.open() > 0 {
                tokio::task::yield_now().await;
            }
            proxy.set(Behaviour::Refuse).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2500)).await;
            proxy.set(Behaviour::Pass).await.unwrap();
        };
        let (resumed, ()) = tokio::join!(transferred, away);
        assert_eq!(resumed, 1, "{direction:?}");
    }
    assert!(std::fs::read(server.files().join("out/a.edi")).unwrap() == content);
}

/// Also under its final name: the server confirms each piece, and a file that is gone on with is not created.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_a_temporary_name_goes_on_too() {
    let server = Sshd::start();
    std::fs::create_dir(server.files().join("out")).unwrap();
    let content = noise(20 * MIB as usize + 4321);
    let proxy = FaultProxy::before(([127, 0, 0, 1], server.port()).into()).await.unwrap();
    let cut = Behaviour::Cut { direction: Direction::Up, after: 8 * MIB, how: Ending::Reset };
    proxy.set(cut).await.unwrap();
    let world = World::new();
    let folder = world.folder(&server.endpoint().port(proxy.address().port()).done());
    let attempt = || {
        let mut attempt = Attempt::into("out");
        attempt.options.temporary_name = false;
        attempt
    };
    let receipt = attempt().deliver(&folder, "a.edi", &content, &world.services).await.unwrap();
    assert!(receipt["resumed"].as_array().unwrap().len() >= 2, "{receipt:?}");
    assert!(std::fs::read(server.files().join("out/a.edi")).unwrap() == content);
    // The receiver takes the part that is there: nothing of the name is made again, and the next attempt sends all.
    let taker = {
        let path = server.files().join("out/b.edi");
        let taken = server.files().join("taken");
        std::thread::spawn(move || {
            let begun = std::time::Instant::now();
            while begun.elapsed() < Duration::from_secs(60) {
                if std::fs::metadata(&path).is_ok_and(|found| found.len() >= MIB) {
                    return std::fs::rename(&path, &taken).is_ok();
                }
                std::thread::yield_now();
            }
            false
        })
    };
    // Over connections of its own, each of which carries as much before it is cut.
    let world = World::new();
    let folder = world.folder(&server.endpoint().port(proxy.address().port()).done());
    let mut second = attempt();
    let error = second.deliver(&folder, "b.edi", &content, &world.services).await.unwrap_err();
    assert!(taker.join().unwrap(), "{error:?}");
    assert_eq!(error.retry(), Retry::Transient, "{error:?}");
    assert!(!server.files().join("out/b.edi").exists());
    proxy.set(Behaviour::Pass).await.unwrap();
    second.number = 2;
    second.deliver(&folder, "b.edi", &content, &world.services).await.unwrap();
    assert!(std::fs::read(server.files().join("out/b.edi")).unwrap() == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_appended_goes_on_at_what_has_arrived() {
    let server = Sshd::start();
    std::fs::create_dir(server.files().join("out")).unwrap();
    let content = noise(12 * MIB as usize + 4321);
    let proxy = FaultProxy::before(([127, 0, 0, 1], server.port()).into()).await.unwrap();
    let world = World::new();
    let folder = world.folder(&server.endpoint().port(proxy.address().port()).done());
    let attempt = || {
        let mut attempt = Attempt::into("out");
        attempt.options.overwrite = Overwrite::Append;
        attempt
    };
    attempt().deliver(&folder, "all.edi", b"earlier", &world.services).await.unwrap();
    proxy.set(Behaviour::Cut { direction: Direction::Up, after: 6 * MIB, how: Ending::Reset }).await.unwrap();
    let mut attempt = attempt();
    let error = attempt.deliver(&folder, "all.edi", &content, &world.services).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Ambiguous, "{error:?}");
    proxy.set(Behaviour::Pass).await.unwrap();
    attempt.number = 2;
    let receipt = attempt.deliver(&folder, "all.edi", &content, &world.services).await.unwrap();
    assert_eq!(receipt["appended_at_byte"], 7);
    let there = std::fs::read(server.files().join("out/all.edi")).unwrap();
    assert!(there == [b"earlier", &content[..]].concat(), "{} bytes", there.len());
}
