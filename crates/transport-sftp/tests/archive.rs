//! Archiving where the server does not rename: an archive on another file system.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use futures::StreamExt;
use model::Outcome;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use support::{Sshd, World, flow, is_archived, noise, note_content, offer, partner};
use testkit::fake::Known;
use testkit::sftp::{Op, SftpServer, Switch};
use transport::folder::After;
use transport::{Discovery, Settled, Source, Transport};

const FOUND: &str = "in/a.edi";

/// A server with one file that is an hour old, what the file holds, and a source that archives it.
fn archiving(world: &World) -> (SftpServer, Vec<u8>, Arc<dyn Source>) {
    let server = SftpServer::start().unwrap();
    let content = noise(150_001);
    server.put(FOUND, &content);
    set_hour_back(&server, FOUND);
    // Directories must list before they can be looked at.
    let flow = flow(After::Archive { directory: "/done".into(), timestamp: false });
    let endpoint = partner(&server, "in").done();
    let source = world.transport.source(endpoint, flow, world.services.clone()).unwrap();
    (server, content, source)
}

fn set_hour_back(server: &SftpServer, path: &str) {
    let at = SystemTime::now() - Duration::from_secs(3600);
    std::fs::File::options().write(true).open(server.at(path)).unwrap().set_modified(at).unwrap();
}

/// Refused wherever renames begin or end.
const EVERYWHERE: &str = "*";

/// Refused from the polled directory; names in the archive are given and changed.
const OUT: &str = "in/*";

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_copied_whatever_a_rename_is_refused_with() {
    for pattern in [OUT, EVERYWHERE] {
        for (code, words) in
            [(3, "Permission denied"), (4, "Failure"), (5, "Bad message"), (8, ""), (99, "EXDEV")]
        {
            for blind in [
                None,
                Some(Switch::MissingIs(3, "Permission denied")),
                Some(Switch::Status(Op::Stat, 3, "Permission denied")),
                Some(Switch::Status(Op::Setstat, 8, "")),
            ] {
                let play = format!("{pattern} {code} {blind:?}");
                let world = World::new();
                let (server, content, source) = archiving(&world);
                server.switch(pattern, Switch::Status(Op::Rename, code, words));
                if let Some(switch) = &blind {
                    server.switch("*", switch.clone());
                }
                let mut offer = first(&source).await;
                note_content(&mut offer, &content);
                // Again, as after a crash before it was recorded.
                for _ in 0..3 {
                    let settled = source.settle(&offer, Outcome::Taken).await;
                    assert_eq!(settled.unwrap(), Settled::Done, "{play}");
                    is_archived(&server, &content, &play);
                }
                let kept = std::fs::metadata(server.at("done/a.edi")).unwrap().modified().unwrap();
                let is_kept = kept.elapsed().unwrap() > Duration::from_secs(3000);
                assert_eq!(is_kept, !matches!(blind, Some(Switch::Status(Op::Setstat, ..))), "{play}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_off_while_it_was_copied_is_found_out() {
    let ops = [
        Op::OpenRead,
        Op::Read,
        Op::OpenWrite,
        Op::Write,
        Op::CloseWrite,
        Op::Setstat,
        Op::Remove,
        Op::Stat,
        Op::Rename,
    ];
    for pattern in [OUT, EVERYWHERE] {
        for op in ops {
            for nth in 1..=4 {
                for cut in [Switch::CutBefore(op), Switch::CutAfter(op)] {
                    let play = format!("{pattern} {op:?} {nth} {cut:?}");
                    let world = World::new();
                    let (server, content, source) = archiving(&world);
                    let mut offer = first(&source).await;
                    note_content(&mut offer, &content);
                    if op != Op::Rename {
                        server.switch(pattern, Switch::Status(Op::Rename, 8, ""));
                    } else if pattern == OUT {
                        server.switch("in/*", Switch::Status(Op::Rename, 3, ""));
                    }
                    server.switch_times("*", nth, cut.clone());
                    let mut calls = 0;
                    while source.settle(&offer, Outcome::Taken).await.is_err() {
                        calls += 1;
                        assert!(calls < 20, "{play}: never settled");
                    }
                    is_archived(&server, &content, &play);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_renames_change_the_time_a_file_is_archived_and_not_offered_again() {
    for times_can_be_set in [true, false] {
        let world = World::new();
        let (server, content, source) = archiving(&world);
        server.switch("*", Switch::RenameTouches);
        if !times_can_be_set {
            server.switch("*", Switch::Status(Op::Setstat, 8, ""));
        }
        let mut offer = first(&source).await;
        note_content(&mut offer, &content);
        for _ in 0..2 {
            assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Done);
            is_archived(&server, &content, "touched");
        }
        // One of the same size that took its name in the meantime goes back, and is offered.
        server.put(FOUND, &content);
        set_hour_back(&server, FOUND);
        let mut offer = first(&source).await;
        note_content(&mut offer, &[&content[1..], b"x"].concat());
        assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Changed);
        assert_eq!(server.names("in"), ["a.edi"]);
        // Of one that was given up nobody knows the content.
        let flow = support::refusing("/bad");
        let refusing =
            world.transport.source(partner(&server, "in").done(), flow, world.services.clone()).unwrap();
        set_hour_back(&server, FOUND);
        let mut offer = first(&refusing).await;
        transport::OfferNotes::change(&mut offer.source_data, |notes| {
            notes.cause = Some("could not be read".into())
        });
        for _ in 0..2 {
            assert_eq!(refusing.settle(&offer, Outcome::Refused).await.unwrap(), Settled::Done);
            assert_eq!(server.names("bad"), ["a.edi", "a.edi.error.json"]);
        }
        assert!(server.names("in").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_is_set_aside_where_nothing_is_renamed() {
    let world = World::new();
    let (server, content, _) = archiving(&world);
    server.switch("*", Switch::Status(Op::Rename, 8, ""));
    let flow = support::refusing("/bad");
    let source = world.transport.source(partner(&server, "in").done(), flow, world.services.clone()).unwrap();
    let mut offer = first(&source).await;
    transport::OfferNotes::change(&mut offer.source_data, |notes| {
        notes.cause = Some("could not be read".into())
    });
    for _ in 0..2 {
        assert_eq!(source.settle(&offer, Outcome::Refused).await.unwrap(), Settled::Done);
        assert_eq!(server.names("bad"), ["a.edi", "a.edi.error.json"]);
        assert!(server.get("bad/a.edi").unwrap() == content);
        let words: serde_json::Value =
            serde_json::from_slice(&server.get("bad/a.edi.error.json").unwrap()).unwrap();
        assert_eq!(words["error"], "could not be read");
    }
    assert!(server.names("in").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_taken_in_an_archive_are_left_where_nothing_is_renamed() {
    let world = World::new();
    let (server, content, source) = archiving(&world);
    server.switch("*", Switch::Status(Op::Rename, 8, ""));
    // The beginning of the very file, but not written by this offer; and another one of its size.
    server.put("done/a.edi", &content[..70_000]);
    server.put("done/a-2.edi", &noise(150_002)[1..]);
    let mut offer = first(&source).await;
    note_content(&mut offer, &content);
    for _ in 0..2 {
        assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Done);
        assert_eq!(server.names("done"), ["a-2.edi", "a-3.edi", "a.edi"]);
        assert!(server.get("done/a-3.edi").unwrap() == content);
        assert_eq!(server.get("done/a.edi").unwrap().len(), 70_000);
    }
}

async fn first(source: &Arc<dyn Source>) -> model::Offer {
    let discovery = Discovery::first(Arc::new(Known::default()));
    offer(&source.discover(discovery).await.unwrap().next().await.unwrap().unwrap())
}

/// `/dev/shm` is a file system of its own on every Linux.
#[tokio::test(flavor = "multi_thread")]
async fn openssh_archives_to_another_file_system() {
    let server = Sshd::start();
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let content = noise(400_003);
    let found = server.files().join("a.edi");
    std::fs::write(&found, &content).unwrap();
    let an_hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    std::fs::File::options().write(true).open(&found).unwrap().set_modified(an_hour_ago).unwrap();
    let world = World::new();
    let directory = elsewhere.path().join("done").to_str().unwrap().to_owned();
    let flow = flow(After::Archive { directory, timestamp: false });
    let source = world.transport.source(server.endpoint().done(), flow, world.services.clone()).unwrap();
    let offer = first(&source).await;
    assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Done);
    assert_eq!(std::fs::read(elsewhere.path().join("done/a.edi")).unwrap(), content);
    assert!(!server.files().join("a.edi").exists());
    let modified = std::fs::metadata(elsewhere.path().join("done/a.edi")).unwrap().modified().unwrap();
    let age = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(
        age,
        an_hour_ago.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(),
        "it keeps its time"
    );
    let left: Vec<_> = std::fs::read_dir(elsewhere.path().join("done")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    // Again, as after a crash before it was recorded.
    assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_cannot_be_copied_either_the_refusal_says_what_is_likely() {
    let server = SftpServer::start().unwrap();
    server.put("in/a.edi", b"content");
    server.switch("done/*", Switch::Status(Op::Rename, 4, "Failure"));
    server.switch("done/*", Switch::Status(Op::OpenWrite, 3, "Permission denied"));
    let world = World::new();
    let flow = flow(After::Archive { directory: "/done".into(), timestamp: false });
    let source = world.transport.source(partner(&server, "in").done(), flow, world.services.clone()).unwrap();
    let error = source.settle(&first(&source).await, Outcome::Taken).await.unwrap_err();
    let text = error.chain();
    for part in
        ["rename a file", "status 4", "copying it instead", "Permission denied", "another file system"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(server.names("in"), ["a.edi"]);
    assert!(server.names("done").is_empty());
}
