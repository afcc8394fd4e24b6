//! Archiving by copying: what may never be lost or touched, whatever is told wrongly, refused or cut off.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use futures::StreamExt;
use model::Outcome;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use support::{World, is_archived, noise, note_content, offer, partner};
use testkit::fake::Known;
use testkit::sftp::{Op, ReportedIn, SftpServer, Switch};
use transport::folder::After;
use transport::{Discovery, Settled, Source, Transport};

const FOUND: &str = "in/a.edi";

/// Refused wherever renames begin or end.
const EVERYWHERE: &str = "*";

/// Refused from the polled directory; names in the archive are given and changed.
const OUT: &str = "in/*";

/// A server with one file that is an hour old, what the file holds, and a source that archives it, or puts it there when it
/// is given up.
fn archiving(world: &World, outcome: Outcome) -> (SftpServer, Vec<u8>, Arc<dyn Source>) {
    let server = SftpServer::start().unwrap();
    let content = noise(150_001);
    server.put(FOUND, &content);
    let at = SystemTime::now() - Duration::from_secs(3600);
    std::fs::File::options().write(true).open(server.at(FOUND)).unwrap().set_modified(at).unwrap();
    let flow = match outcome {
        Outcome::Taken => support::flow(After::Archive { directory: "/done".into(), timestamp: false }),
        Outcome::Refused => support::refusing("/done"),
    };
    let endpoint = partner(&server, "in").done();
    let source = world.transport.source(endpoint, flow, world.services.clone()).unwrap();
    (server, content, source)
}

async fn first(source: &Arc<dyn Source>) -> model::Offer {
    let discovery = Discovery::first(Arc::new(Known::default()));
    offer(&source.discover(discovery).await.unwrap().next().await.unwrap().unwrap())
}

/// Nothing but the digest of what was read, or a size, tells a whole file from a reading that ended early.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_reading_ends_early_is_never_removed_for_its_copy() {
    let empty = [Switch::EmptyFrom(100), Switch::SizeIs(ReportedIn::FSTAT, 0)];
    for pattern in [OUT, EVERYWHERE] {
        for early in [&[Switch::EndsAt(100)][..], &empty] {
            for outcome in [Outcome::Taken, Outcome::Refused] {
                for cut in [None, Some(Switch::CutBefore(Op::Remove)), Some(Switch::CutAfter(Op::CloseWrite))]
                {
                    let play = format!("{pattern} {early:?} {outcome:?} {cut:?}");
                    let world = World::new();
                    let (server, content, source) = archiving(&world, outcome);
                    server.switch(pattern, Switch::Status(Op::Rename, 8, ""));
                    early.iter().for_each(|switch| server.switch(FOUND, switch.clone()));
                    let mut offer = first(&source).await;
                    match outcome {
                        Outcome::Taken => note_content(&mut offer, &content),
                        Outcome::Refused => given_up(&mut offer),
                    }
                    cut.iter().for_each(|cut| server.switch_times("done/*", 1, cut.clone()));
                    for _ in 0..3 {
                        let error = source.settle(&offer, outcome).await.map(|_| ()).unwrap_err();
                        assert!(server.get(FOUND).unwrap() == content, "{play}: {error}");
                        let visible: Vec<_> =
                            server.names("done").into_iter().filter(|name| is_shown(name)).collect();
                        assert!(visible.iter().all(|name| name == "a.edi"), "{play}: {visible:?}");
                    }
                    let error = source.settle(&offer, outcome).await.map(|_| ()).unwrap_err().chain();
                    assert!(error.contains("read bytes") && error.contains("150001"), "{play}: {error}");
                    // Once it reads to its end it goes.
                    server.unswitch(FOUND);
                    assert_eq!(source.settle(&offer, outcome).await.unwrap(), Settled::Done, "{play}");
                    assert!(server.names("in").is_empty(), "{play}");
                    assert!(server.get("done/a.edi").unwrap() == content, "{play}");
                    assert!(
                        server.names("done").iter().all(|name| is_shown(name)),
                        "{play}: {:?}",
                        server.names("done")
                    );
                }
            }
        }
    }
}

/// There are mailboxes whose files go when they are read.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_all_that_is_left_is_never_removed_for_its_size() {
    for pattern in [OUT, EVERYWHERE] {
        for told in [
            None,
            Some(Switch::SizeOff(ReportedIn::EVERYWHERE, 7)),
            Some(Switch::NoSize(ReportedIn::EVERYWHERE)),
        ] {
            for late in [None, Some(Switch::SizeIs(ReportedIn::STAT, 0))] {
                for digest in [true, false] {
                    let play = format!("{pattern} {told:?} {late:?} {digest}");
                    let world = World::new();
                    let (server, content, source) = archiving(&world, Outcome::Taken);
                    server.switch(pattern, Switch::Status(Op::Rename, 8, ""));
                    server.switch(FOUND, Switch::GoneWhenRead);
                    told.iter().for_each(|switch| server.switch(FOUND, switch.clone()));
                    late.iter().for_each(|switch| server.switch("done/*", switch.clone()));
                    let mut offer = first(&source).await;
                    if digest {
                        note_content(&mut offer, &content);
                    }
                    server.switch_times("*.copied.a", 1, Switch::CutBefore(Op::Rename));
                    server.switch_times("*.naming.a", 1, Switch::CutBefore(Op::Remove));
                    let mut errors = Vec::new();
                    let settled = loop {
                        match source.settle(&offer, Outcome::Taken).await {
                            Ok(settled) => break settled,
                            Err(error) => errors.push(error.chain()),
                        }
                        assert!(errors.len() < 5, "{play}: {errors:?}");
                    };
                    let whole: Vec<_> = server
                        .names("done")
                        .into_iter()
                        .filter(|name| server.get(&format!("done/{name}")).unwrap() == content)
                        .collect();
                    assert_eq!(
                        (whole.len(), server.names("done").len()),
                        (1, 1),
                        "{play} {:?}",
                        server.names("done")
                    );
                    assert!(is_shown(&whole[0]), "{play}: {whole:?}");
                    if digest || told.is_none() {
                        assert_eq!(
                            (settled, whole[0].as_str()),
                            (Settled::Done, "a.edi"),
                            "{play} {errors:?}"
                        );
                    } else {
                        assert!(
                            errors.iter().any(|error| error.contains(&whole[0])),
                            "{play}: {whole:?} {errors:?}"
                        );
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_nobody_may_read_is_not_stuck_after_a_cut() {
    let ops = [Op::OpenWrite, Op::Write, Op::CloseWrite, Op::Remove, Op::Read, Op::Setstat];
    for op in ops {
        for nth in 1..=4 {
            for cut in [Switch::CutBefore(op), Switch::CutAfter(op)] {
                let play = format!("{op:?} {nth} {cut:?}");
                let world = World::new();
                let (server, content, source) = archiving(&world, Outcome::Taken);
                server.switch(EVERYWHERE, Switch::Status(Op::Rename, 8, ""));
                server.switch("done/*", Switch::Status(Op::OpenRead, 3, "Permission denied"));
                let mut offer = first(&source).await;
                note_content(&mut offer, &content);
                server.switch_times("*", nth, cut.clone());
                let mut calls = 0;
                while let Err(error) = source.settle(&offer, Outcome::Taken).await {
                    calls += 1;
                    assert!(calls < 20, "{play}: {}", error.chain());
                }
                assert!(calls > 0 || nth > 1 || op == Op::Setstat, "{play}: nothing was cut off");
                is_archived(&server, &content, &play);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_put_under_a_noted_name_is_left() {
    for before in [Switch::Status(Op::OpenWrite, 4, "Failure"), Switch::CutBefore(Op::OpenWrite)] {
        for theirs in [0, 1, 70_000] {
            if theirs == 0 && before == Switch::CutBefore(Op::OpenWrite) {
                // An empty one may be ours.
                continue;
            }
            let play = format!("{before:?} {theirs}");
            let world = World::new();
            let (server, content, source) = archiving(&world, Outcome::Taken);
            server.switch(EVERYWHERE, Switch::Status(Op::Rename, 8, ""));
            let mut offer = first(&source).await;
            note_content(&mut offer, &content);
            server.switch_times("done/a.edi", 1, before.clone());
            source.settle(&offer, Outcome::Taken).await.unwrap_err();
            server.put("done/a.edi", &content[..theirs]);
            assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Done, "{play}");
            assert_eq!(server.get("done/a.edi").unwrap().len(), theirs, "{play}");
            assert!(server.get("done/a-2.edi").unwrap() == content, "{play}");
            assert_eq!(server.names("done"), ["a-2.edi", "a.edi"], "{play}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_only_deleting_is_refused_the_error_says_that_the_copy_is_whole() {
    for pattern in [OUT, EVERYWHERE] {
        let world = World::new();
        let (server, content, source) = archiving(&world, Outcome::Taken);
        server.switch(pattern, Switch::Status(Op::Rename, 3, "Permission denied"));
        server.switch(FOUND, Switch::Status(Op::Remove, 3, "Permission denied"));
        let mut offer = first(&source).await;
        note_content(&mut offer, &content);
        for _ in 0..2 {
            let error = source.settle(&offer, Outcome::Taken).await.unwrap_err().chain();
            for part in ["remove a file", FOUND, "is complete", "right to delete", "after = \"keep\""] {
                assert!(error.contains(part), "{part} in {error}");
            }
            assert!(!error.contains("takes files"), "{error}");
            assert_eq!(server.names("in"), ["a.edi"]);
        }
        server.unswitch(FOUND);
        assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Done);
        is_archived(&server, &content, pattern);
    }
}

fn is_shown(name: &str) -> bool {
    !name.starts_with('.')
}

fn given_up(offer: &mut model::Offer) {
    transport::OfferNotes::change(&mut offer.source_data, |notes| {
        notes.cause = Some("could not be read".into())
    });
}
