//! Files are read to the end of their data, and taken whatever else is told of them: over a server that misbehaves on
//! command.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use futures::StreamExt;
use model::definition::{Flow, FlowSource};
use model::{ErrorKind, Offer, OfferId, OfferState, Outcome};
use std::sync::Arc;
use std::time::Duration;
use support::{World, inner, noise, partner, read};
use testkit::conformance::Interlude;
use testkit::defined;
use testkit::fake::Known;
use testkit::polls::discover_stable;
use testkit::sftp::{Op, ReportedIn, SftpServer, Switch};
use tokio::io::AsyncReadExt;
use transport::OfferNotes;
use transport::folder::After;
use transport::{AfterRead, Discovery, FoundOffer, Settled, Source, Transport};

const LENGTH: usize = 300_001;

fn flow(after: After) -> Arc<Flow> {
    let poll =
        defined::polling(defined::poll("acme", after), |polling| polling.temporary_suffix = "_tmp".into());
    Arc::new(defined::flow("orders", poll))
}

/// A source over a server's directory `in`.
fn source(world: &World, server: &SftpServer, after: After) -> Arc<dyn Source> {
    let endpoint = partner(server, "in").done();
    world.transport.source(endpoint, flow(after), world.services.clone()).unwrap()
}

async fn discover(source: &Arc<dyn Source>) -> Vec<FoundOffer> {
    let offers = source.discover(Discovery::first(Arc::new(Known::default()))).await.unwrap();
    offers.map(Result::unwrap).collect().await
}

/// Reads an offer as the engine does: the stated size, what came, and what was seen afterwards.
async fn take(source: &Arc<dyn Source>, found: &mut FoundOffer) -> (Option<u64>, Vec<u8>, AfterRead) {
    let mut opened = source.open(found).await.unwrap();
    found.source_data.append(&mut opened.source_data);
    let mut content = Vec::new();
    opened.parts.next().await.unwrap().unwrap().reader.read_to_end(&mut content).await.unwrap();
    drop(opened.parts);
    (opened.size, content, source.look_again(found).await.unwrap())
}

fn offer(found: &FoundOffer) -> Offer {
    Offer {
        id: OfferId::new(uuid::Uuid::from_u128(1)),
        identity: found.identity.clone(),
        state: OfferState::Settling,
        found_at: chrono::DateTime::from_timestamp(1_772_366_400, 0).unwrap(),
        failures: 0,
        source_data: found.source_data.clone(),
    }
}

async fn settle(source: &Arc<dyn Source>, found: &FoundOffer) -> Settled {
    source.settle(&offer(found), Outcome::Taken).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stated_size_neither_cuts_a_file_nor_ends_a_resumed_read() {
    let server = SftpServer::start().unwrap();
    let world = World::new();
    let content = noise(LENGTH);
    let folder = world.folder(&partner(&server, "in").done());
    let chunk = 64 * 1024_u64;
    // Too small, at and around what one request asks for; 0; too large; not told.
    let sizes = [60_000, chunk - 1, chunk, chunk + 1, 4 * chunk, 300_000, 300_001, 1, 0, 300_017, 1 << 40];
    for size in sizes.map(Some).into_iter().chain([None]) {
        for short in [None, Some(1_000), Some(60_000)] {
            server.put("in/a", &content);
            server.unswitch("in/*");
            server.switch(
                "in/*",
                size.map_or(Switch::NoSize(ReportedIn::EVERYWHERE), |size| {
                    Switch::SizeIs(ReportedIn::EVERYWHERE, size)
                }),
            );
            if let Some(most) = short {
                server.switch("in/*", Switch::ShortReads(most));
            }
            let came = read(&folder, "in/a", 0).await.unwrap();
            assert!(came == content, "{size:?} {short:?}: {} bytes", came.len());
            for offset in [59_999, 60_000, 299_999, LENGTH, LENGTH + 10] {
                let came = read(&folder, "in/a", offset as u64).await.unwrap();
                assert!(
                    came == content[offset.min(LENGTH)..],
                    "{size:?} {short:?} from {offset}: {}",
                    came.len()
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_file_may_be_told_in_other_words() {
    let server = SftpServer::start().unwrap();
    let world = World::new();
    let folder = world.folder(&partner(&server, "in").done());
    for length in [1_usize, 65_535, 65_536, 200_000] {
        for switch in [Switch::EndIs(4, "Failure"), Switch::EndIs(8, ""), Switch::EndIsEmpty] {
            let content = noise(length);
            server.put("in/a", &content);
            server.unswitch("in/*");
            server.switch("in/*", switch.clone());
            assert!(read(&folder, "in/a", 0).await.unwrap() == content, "{length} {switch:?}");
        }
    }
    // In the middle of a file such an answer is no end.
    server.put("in/a", &noise(200_000));
    server.unswitch("in/*");
    server.switch_times("in/*", 1, Switch::Status(Op::Read, 4, "Failure"));
    let error = read(&folder, "in/a", 0).await.unwrap_err();
    assert_eq!(inner(&error).kind(), ErrorKind::Rejected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_data_before_the_stated_end_is_no_end() {
    let server = SftpServer::start().unwrap();
    let world = World::new();
    let folder = world.folder(&partner(&server, "in").done());
    let content = noise(200_000);
    server.put("in/a", &content);
    // Once, at the beginning and in the middle: what it stands before comes when it is asked for again.
    for from in [0, 1, 65_536, 100_000] {
        for times in [1, 2] {
            server.unswitch("in/*");
            server.switch("in/*", Switch::ShortReads(20_000));
            server.switch_times("in/*", times, Switch::EmptyFrom(from));
            let came = read(&folder, "in/a", 0).await;
            match came {
                Ok(came) => assert!(came == content, "{from} {times}: {} bytes", came.len()),
                // Both may have been for one place.
                Err(error) => assert!(times == 2 && inner(&error).kind() == ErrorKind::Protocol, "{error}"),
            }
        }
    }
    // Always: nothing is taken for whole, whatever is stated.
    for size in [Some(200_000), Some(200_016), Some(1 << 40), None] {
        for from in [0, 1, 65_536, 196_608] {
            server.unswitch("in/*");
            server.switch("in/*", Switch::EmptyFrom(from));
            server.switch(
                "in/*",
                size.map_or(Switch::NoSize(ReportedIn::EVERYWHERE), |size| {
                    Switch::SizeIs(ReportedIn::EVERYWHERE, size)
                }),
            );
            let error = read(&folder, "in/a", 0).await.map(|came| came.len()).unwrap_err();
            assert_eq!(inner(&error).kind(), ErrorKind::Protocol, "{size:?} {from}");
            assert!(error.to_string().contains("without reporting the end of the file"), "{error}");
        }
    }
    // At the stated end, or beyond it, it says that there is no more.
    for size in [0, 60_000, 65_536, 199_999, 200_000] {
        server.unswitch("in/*");
        server.switch("in/*", Switch::EndIsEmpty);
        server.switch("in/*", Switch::SizeIs(ReportedIn::EVERYWHERE, size));
        assert!(read(&folder, "in/a", 0).await.unwrap() == content, "{size}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_can_be_read_once_is_whole_and_gone() {
    for switch in [Switch::GoneWhenOpened, Switch::GoneWhenRead] {
        for missing in [None, Some(Switch::MissingIs(4, "Failure"))] {
            let server = SftpServer::start().unwrap();
            let world = World::new();
            let content = noise(LENGTH);
            server.put("in/a", &content);
            server.switch("in/a", switch.clone());
            if let Some(missing) = &missing {
                server.switch("in/a", missing.clone());
            }
            let source = source(&world, &server, After::Delete);
            let mut found = discover(&source).await.remove(0);
            let (size, came, seen) = take(&source, &mut found).await;
            assert!(came == content, "{switch:?}");
            assert_eq!((size, seen), (Some(LENGTH as u64), AfterRead::Gone), "{switch:?} {missing:?}");
            assert!(matches!(settle(&source, &found).await, Settled::Done | Settled::Gone));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_listing_and_look_tell_differently_keeps_no_file_from_being_taken() {
    let file = "01-02-26 10:00 a";
    let plays: [&[Switch]; 13] = [
        &[Switch::NoType(ReportedIn::EVERYWHERE)],
        &[Switch::NoType(ReportedIn::STAT)],
        &[Switch::NoType(ReportedIn::LISTING), Switch::LineIs(file)],
        &[Switch::NoMode(ReportedIn::EVERYWHERE)],
        &[Switch::NoMode(ReportedIn::EVERYWHERE), Switch::LineIs(file)],
        &[Switch::NoType(ReportedIn::EVERYWHERE), Switch::LineIs("")],
        &[Switch::NoTime(ReportedIn::STAT)],
        &[Switch::NoTime(ReportedIn::LISTING), Switch::NoSize(ReportedIn::STAT)],
        &[
            Switch::NoSize(ReportedIn::EVERYWHERE),
            Switch::NoTime(ReportedIn::EVERYWHERE),
            Switch::NoMode(ReportedIn::EVERYWHERE),
        ],
        &[Switch::TimeOff(ReportedIn::LISTING, 3600)],
        &[Switch::TimeOff(ReportedIn::STAT, -3600), Switch::NoType(ReportedIn::STAT)],
        &[Switch::SizeIs(ReportedIn::STAT, 0)],
        &[Switch::Status(Op::Stat, 3, "Permission denied")],
    ];
    for switches in plays {
        let archive = After::Archive { directory: "done".into(), timestamp: false };
        for after in [After::Delete, archive] {
            let server = SftpServer::start().unwrap();
            let world = World::new();
            server.put("in/a", b"content");
            std::fs::create_dir(server.at("in/directory")).unwrap();
            // Files are told so wherever they lie, also once they are archived.
            for (switch, pattern) in
                switches.iter().flat_map(|switch| [(switch, "in/a*"), (switch, "done/*")])
            {
                // What may not be looked at cannot be moved without replacing either.
                if after == After::Delete || !matches!(switch, Switch::Status(Op::Stat, ..)) {
                    server.switch(pattern, switch.clone());
                }
            }
            let source = source(&world, &server, after.clone());
            let mut found = discover(&source).await;
            assert_eq!(found.len(), 1, "{switches:?}");
            let (_, came, seen) = take(&source, &mut found[0]).await;
            assert_eq!((came.as_slice(), seen), (&b"content"[..], AfterRead::Unchanged), "{switches:?}");
            assert_eq!(settle(&source, &found[0]).await, Settled::Done, "{switches:?} {after:?}");
            assert_eq!(server.names("in"), ["directory"], "{switches:?} {after:?}");
            if after != After::Delete {
                assert_eq!(server.names("done"), ["a"], "{switches:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_another_time_at_each_look_is_taken_where_times_are_left_out() {
    let archive = After::Archive { directory: "done".into(), timestamp: false };
    for after in [After::Delete, archive] {
        let server = SftpServer::start().unwrap();
        let world = World::new();
        server.put("in/a", b"content");
        server.switch("*", Switch::TimeRuns(ReportedIn::EVERYWHERE));
        let mut services = world.services.clone();
        services.clock = Arc::new(Interlude::default());
        let source_with = |ignore_times| {
            let mut flow = Flow::clone(&flow(after.clone()));
            if let FlowSource::Poll(poll) = &mut flow.source {
                *poll = defined::polling(poll.clone(), |polling| {
                    (polling.stable_for, polling.ignore_times) = (Duration::from_millis(10), ignore_times);
                });
            }
            world.transport.source(partner(&server, "in").done(), Arc::new(flow), services.clone()).unwrap()
        };
        let stable = async |source: &Arc<dyn Source>, known: &Arc<Known>| {
            let (pending, clock) = (Arc::default(), services.clock.as_ref());
            discover_stable(source.as_ref(), Arc::clone(known) as _, &pending, clock).await.unwrap()
        };
        let source = source_with(false);
        let known = Arc::new(Known::default());
        assert!(stable(&source, &known).await.is_empty());
        let told = known.unstable();
        assert_eq!((told.len(), told[0].path.to_text().as_str(), told[0].size), (1, "in/a", Some(7)));
        assert!(told[0].was < told[0].is, "{told:?}");
        assert_eq!(server.count(Op::OpenRead, "*"), 0);

        let source = source_with(true);
        let mut found = stable(&source, &Arc::default()).await.remove(0);
        let (_, came, seen) = take(&source, &mut found).await;
        assert_eq!((came.as_slice(), seen), (&b"content"[..], AfterRead::Unchanged));
        let digest = model::Sha256(openssl::sha::sha256(&came));
        OfferNotes::change(&mut found.source_data, |notes| notes.sha256 = Some(digest));
        // Another file of as many bytes took its name.
        server.put("in/a", b"another");
        assert_eq!(settle(&source, &found).await, Settled::Changed);
        assert_eq!(server.get("in/a").as_deref(), Some(&b"another"[..]));
        server.put("in/a", b"content");
        assert_eq!(settle(&source, &found).await, Settled::Done);
        assert!(server.names("in").is_empty());
        if after != After::Delete {
            assert_eq!(server.get("done/a").as_deref(), Some(&b"content"[..]));
            // Called again, it finds what it did.
            assert_eq!(settle(&source, &found).await, Settled::Done);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_time_what_breaks_off_where_it_did_is_the_same_file() {
    let server = SftpServer::start().unwrap();
    let world = World::new();
    let content = noise(200_000);
    server.put("in/a", &content);
    server.switch("in/a", Switch::NoTime(ReportedIn::EVERYWHERE));
    server.switch("in/a", Switch::EndIs(4, "Failure"));
    server.switch("in/a", Switch::NoSize(ReportedIn::EVERYWHERE));
    let source = source(&world, &server, After::Delete);
    let mut found = discover(&source).await.remove(0);
    let digest = model::Sha256(openssl::sha::sha256(&content));
    OfferNotes::change(&mut found.source_data, |notes| notes.sha256 = Some(digest));
    // Whether it is another one, nobody can tell: it stays.
    server.put("in/a", &content[..100_000]);
    let offer = offer(&found);
    assert!(source.settle(&offer, Outcome::Taken).await.is_err());
    server.put("in/a", &content);
    assert_eq!(settle(&source, &found).await, Settled::Done);
    assert!(server.get("in/a").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_no_told_kind_is_no_file() {
    let server = SftpServer::start().unwrap();
    let world = World::new();
    server.put("in/a", b"content");
    server.put("in/directory/b", b"below");
    server.switch("*", Switch::NoMode(ReportedIn::EVERYWHERE));
    server.switch("*", Switch::LineIs("no words about it"));
    let source = source(&world, &server, After::Keep);
    let found = discover(&source).await;
    assert_eq!(found.iter().map(|offer| offer.identity.path.to_text()).collect::<Vec<_>>(), ["in/a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_of_an_endpoint_opens_as_a_poll_does_and_reads_nothing() {
    let server = SftpServer::start().unwrap();
    let world = World::new();
    server.put("in/a", b"content");
    server.put("in/directory/b", b"below");
    std::os::unix::fs::symlink("a", server.at("in/link")).unwrap();
    server.switch("in/a", Switch::GoneAfterReading);
    let probe = source(&world, &server, After::Keep).probe().await;
    assert!(probe.passed(), "{probe:?}");
    let said = format!("{probe:?}");
    for words in [
        "1 file for this flow",
        "directories (the flow is not recursive): directory",
        "symbolic links: link",
        "opened, not read",
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }
    assert_eq!(server.count(Op::Read, "*"), 0);
    assert!(server.get("in/a").is_some());
    // What a poll could not do, the test says.
    server.switch("in/a", Switch::Status(Op::OpenRead, 3, "Permission denied"));
    let probe = source(&world, &server, After::Keep).probe().await;
    assert!(!probe.passed(), "{probe:?}");
}
