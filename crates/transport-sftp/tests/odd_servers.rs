//! Servers of other makes: answers without reasons, listings without attributes, paths of Windows.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use futures::StreamExt;
use model::{ErrorKind, Outcome, Retry};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use support::{Build, World, deliver, flow, list, offer, partner};
use testkit::conformance::{Place, all};
use testkit::fake::{Known, MemoryLog};
use testkit::sftp::{Op, ReportedIn, SftpServer, Switch};
use tokio::io::AsyncReadExt;
use transport::folder::{After, EntryKind};
use transport::{Discovery, Settled, Transport};

/// Polls an endpoint's only file, reads it and has it deleted; its content.
async fn poll(world: &World, build: Build) -> Vec<u8> {
    let source = world.transport.source(build.done(), flow(After::Delete), world.services.clone()).unwrap();
    let discovery = Discovery::first(Arc::new(Known::default()));
    let mut offers: Vec<_> = source.discover(discovery).await.unwrap().map(Result::unwrap).collect().await;
    let mut found = offers.remove(0);
    assert!(offers.is_empty(), "{offers:?}");
    let mut opened = source.open(&found).await.unwrap();
    found.source_data.append(&mut opened.source_data);
    let mut content = Vec::new();
    opened.parts.next().await.unwrap().unwrap().reader.read_to_end(&mut content).await.unwrap();
    drop(opened.parts);
    source.look_again(&found).await.unwrap();
    assert_eq!(source.settle(&offer(&found), Outcome::Taken).await.unwrap(), Settled::Done);
    content
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_failure_for_everything_is_polled_and_delivered_to() {
    let server = SftpServer::start().unwrap();
    server.put("in/a.edi", b"an order");
    std::fs::create_dir(server.at("out")).unwrap();
    let failure = |op| Switch::Status(op, 4, "Failure");
    let everything = [Op::Realpath, Op::Setstat, Op::Fsync, Op::PosixRename, Op::Other].map(failure);
    for switch in everything.into_iter().chain([Switch::MissingIs(4, "Failure"), Switch::EndIs(4, "Failure")])
    {
        server.switch("*", switch);
    }
    let world = World::new();
    assert_eq!(poll(&world, partner(&server, "in")).await, b"an order");
    let log = Arc::new(MemoryLog::default());
    let build = || partner(&server, "out").set("permissions", "0640");
    deliver(&world, build(), &log, 1, b"an order").await.unwrap();
    assert_eq!(server.get("out/a.edi").unwrap(), b"an order");
    // A taken name is refused for good all the same.
    let error = deliver(&world, build(), &Arc::default(), 1, b"another").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert_eq!((server.names("out"), server.names("in").len()), (vec!["a.edi".to_owned()], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_ends_though_a_listing_without_end_names_nothing() {
    let server = SftpServer::start().unwrap();
    server.put("in/a.edi", b"an order");
    server.switch("*", Switch::DotPages);
    let world = World::new();
    let endpoint = partner(&server, "in").done();
    let source = world.transport.source(endpoint, flow(After::Keep), world.services.clone()).unwrap();
    let polled = source.discover(Discovery::first(Arc::new(Known::default()))).await;
    let error = polled.err().unwrap();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Protocol, Retry::Transient), "{error}");
    assert!(error.to_string().contains("10,000 pages without one"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_realpath_an_endpoint_works_and_its_test_too() {
    for code in [4, 8] {
        let server = SftpServer::start().unwrap();
        server.put("in/a.edi", b"an order");
        server.switch("*", Switch::Status(Op::Realpath, code, ""));
        let world = World::new();
        let endpoint = partner(&server, "in").set("keep_open", "1ms").done();
        let source = world.transport.source(endpoint, flow(After::Keep), world.services.clone()).unwrap();
        assert!(source.probe().await.passed());
        assert_eq!(poll(&world, partner(&server, "in")).await, b"an order");
        let receipt =
            deliver(&world, partner(&server, "in"), &Arc::default(), 1, b"an answer").await.unwrap();
        assert_eq!(
            (receipt.detail["path"].as_str(), receipt.detail.get("file_path")),
            (Some("in/a.edi"), None)
        );
    }
}

/// S11: the receipt has the absolute path, also where the endpoint's directory begins where the login does.
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_has_the_absolute_path() {
    let server = support::Sshd::start();
    std::fs::create_dir(server.files().join("out")).unwrap();
    let world = World::new();
    let build = || server.endpoint().url(&format!("sftp://127.0.0.1:{}/out", server.port()));
    let receipt = deliver(&world, build(), &Arc::default(), 1, b"an order").await.unwrap();
    let written = server.files().join("out/a.edi");
    assert_eq!(receipt.detail["path"], "out/a.edi");
    assert_eq!(receipt.detail["file_path"], written.to_str().unwrap());
    assert_eq!(std::fs::read(written).unwrap(), b"an order");
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_of_lines_alone_and_with_numbers_for_owners_are_understood() {
    let nothing = [
        Switch::NoSize(ReportedIn::LISTING),
        Switch::NoTime(ReportedIn::LISTING),
        Switch::NoMode(ReportedIn::LISTING),
    ];
    let windows = Switch::LineIs("07-24-26  10:20AM       8 a.edi");
    for switches in
        [&nothing[..], &[Switch::Owners(4_294_967_295, 1_000)], &[nothing.as_slice(), &[windows]].concat()]
    {
        let server = SftpServer::start().unwrap();
        server.put("in/a.edi", b"an order");
        server.put("in/below/b.edi", b"another");
        for switch in switches {
            server.switch("*", switch.clone());
        }
        let world = World::new();
        let folder = world.folder(&partner(&server, "").done());
        let mut entries = list(&folder, "in").await.unwrap();
        entries.sort_by_key(|entry| entry.path.to_text());
        let seen: Vec<_> = entries.iter().map(|entry| (entry.path.to_text(), entry.kind)).collect();
        let expected = [("a.edi".to_owned(), EntryKind::File), ("below".to_owned(), EntryKind::Directory)];
        assert_eq!(seen, expected, "{switches:?}");
        assert_eq!((entries[0].size, entries[0].modified.is_some()), (Some(8), true), "{switches:?}");
        assert_eq!(poll(&world, partner(&server, "in")).await, b"an order");
    }
}

/// Paths of Windows conform, but for names with the character that separates them.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_paths_of_windows_conforms() {
    let server = SftpServer::start().unwrap();
    server.greeting(|greeting| greeting.windows = true);
    server.switch("*", Switch::MissingIs(4, "The system cannot find the path specified."));
    let world = World::new();
    let folder = world.folder(&partner(&server, "").done());
    let number = AtomicU32::new(0);
    all(|| async {
        let number = number.fetch_add(1, Ordering::Relaxed);
        std::fs::create_dir(server.at(&format!("in-{number}"))).unwrap();
        let (base, beside) = (format!("C:\\in-{number}"), format!("/C:/beside-{number}"));
        let place = Place::new(Arc::clone(&folder), base.as_str(), beside.as_str()).connected();
        Place { keeps: |name| !name.contains(&b'\\'), long_listing: 1_000, ..place }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_of_windows_are_written_into_the_url() {
    let server = SftpServer::start().unwrap();
    server.greeting(|greeting| greeting.windows = true);
    let world = World::new();
    for directory in ["/C:/in", "C:/in", "C:%5Cin", "in"] {
        server.put("in/a.edi", b"an order");
        assert_eq!(poll(&world, partner(&server, directory)).await, b"an order", "{directory}");
        let receipt =
            deliver(&world, partner(&server, directory), &Arc::default(), 1, b"an answer").await.unwrap();
        let path = receipt.detail["file_path"].as_str().unwrap();
        assert!(path.contains("C:") && path.ends_with("in/a.edi"), "{path}");
        assert_eq!(server.get("in/a.edi").unwrap(), b"an answer", "{directory}");
    }
}

/// G12: only the server can tell that a directory from the root is inside one that begins at the login.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_inside_the_polled_directory_is_refused_before_a_file_is_taken() {
    let server = SftpServer::start().unwrap();
    server.put("in/a.edi", b"an order");
    let world = World::new();
    for (directory, is_inside) in [("/in/done", true), ("/in", true), ("/done", false), ("/inside", false)] {
        let after = After::Archive { directory: directory.into(), timestamp: false };
        let source = world
            .transport
            .source(partner(&server, "in").done(), flow(after), world.services.clone())
            .unwrap();
        let discovery = Discovery::first(Arc::new(Known::default()));
        match source.discover(discovery).await {
            Ok(offers) => {
                assert_eq!((is_inside, offers.count().await), (false, 1), "{directory}");
            }
            Err(error) => {
                assert_eq!((is_inside, error.kind()), (true, ErrorKind::ConfigInvalid), "{directory}");
                assert!(error.to_string().contains("inside the polled directory"), "{error}");
            }
        }
    }
}

/// S14: an existing file is replaced in one step where the server can, and in two where it cannot.
#[tokio::test(flavor = "multi_thread")]
async fn an_existing_file_is_replaced_in_one_step_or_in_two() {
    const POSIX: &str = "posix-rename@openssh.com";
    for (extensions, switches, (posix, removes, renames)) in [
        (vec![POSIX], vec![], (1, 0, 0)),
        // Offered, and forbidden by its operator.
        (vec![POSIX], vec![Switch::Status(Op::PosixRename, 8, "unsupported")], (1, 1, 2)),
        (vec![], vec![], (0, 1, 2)),
        // Its RENAME would replace as well.
        (vec![], vec![Switch::RenameReplaces], (0, 1, 2)),
    ] {
        let server = SftpServer::start().unwrap();
        server.greeting(|greeting| greeting.extensions = extensions.clone());
        for switch in &switches {
            server.switch("*", switch.clone());
        }
        server.put("out/a.edi", b"earlier");
        let world = World::new();
        let build = || partner(&server, "out").set("overwrite", "replace");
        deliver(&world, build(), &Arc::default(), 1, b"later").await.unwrap();
        assert_eq!(server.get("out/a.edi").unwrap(), b"later");
        assert_eq!(server.names("out"), ["a.edi"]);
        let counts = [Op::PosixRename, Op::Remove, Op::Rename].map(|op| server.count(op, "*"));
        assert_eq!(counts, [posix, removes, renames], "{extensions:?} {switches:?}");
        // Without being asked to, nothing is replaced.
        let refused = deliver(&world, partner(&server, "out"), &Arc::default(), 1, b"third").await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(server.get("out/a.edi").unwrap(), b"later");
    }
}

/// Between both steps there is no file of the name for a moment; what is cut off there is ended by the next attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_in_two_steps_that_is_cut_off_is_ended_by_the_next_attempt() {
    for switch in [
        Switch::Status(Op::Rename, 4, "Failure"),
        Switch::CutBefore(Op::Rename),
        Switch::CutAfter(Op::Rename),
    ] {
        let server = SftpServer::start().unwrap();
        server.put("out/a.edi", b"earlier");
        server.switch_times("*", 1, switch.clone());
        let world = World::new();
        let log = Arc::new(MemoryLog::default());
        let build = || partner(&server, "out").set("overwrite", "replace");
        let first = deliver(&world, build(), &log, 1, b"later").await;
        if first.is_err() {
            deliver(&world, build(), &log, 2, b"later").await.unwrap();
        }
        assert_eq!(server.get("out/a.edi").unwrap(), b"later", "{switch:?} {first:?}");
        assert_eq!(server.names("out"), ["a.edi"], "{switch:?}");
        assert_eq!(server.count(Op::OpenWrite, "*"), 1, "{switch:?}: it was sent twice");
    }
}

/// An account that may delete and not rename, as in some drop boxes: neither file is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_replaced_stays() {
    for (status, words) in [(3, "Permission denied"), (8, "Operation unsupported"), (4, "Failure")] {
        let server = SftpServer::start().unwrap();
        server.put("out/a.edi", b"earlier");
        server.switch("*", Switch::Status(Op::Rename, status, words));
        let world = World::new();
        let build = || partner(&server, "out").set("overwrite", "replace");
        let error = deliver(&world, build(), &Arc::default(), 1, b"later").await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(server.get("out/a.edi").unwrap(), b"earlier", "{words}");
    }
    // Its name was taken away, and then renaming stopped to work.
    let server = SftpServer::start().unwrap();
    server.put("out/a.edi", b"earlier");
    server.switch("out/a.edi", Switch::Status(Op::Rename, 3, "Permission denied"));
    let world = World::new();
    let build = || partner(&server, "out").set("overwrite", "replace");
    deliver(&world, build(), &Arc::default(), 1, b"later").await.unwrap_err();
    assert_eq!(server.get("out/a.edi").unwrap(), b"earlier");
}

/// S7: permissions that cannot be set are ignored, and the receipt says so.
#[tokio::test(flavor = "multi_thread")]
async fn permissions_that_the_server_does_not_set_are_in_the_receipt() {
    for (code, words) in [(8, "cannot"), (3, "does not let this user"), (4, "refused")] {
        for temporary in ["", "none"] {
            let server = SftpServer::start().unwrap();
            std::fs::create_dir(server.at("out")).unwrap();
            server.switch("*", Switch::Status(Op::Setstat, code, "no"));
            let world = World::new();
            let build = || partner(&server, "out").set("permissions", "0640").set("temporary", temporary);
            let receipt = deliver(&world, build(), &Arc::default(), 1, b"an order").await.unwrap();
            assert_eq!(server.get("out/a.edi").unwrap(), b"an order");
            let note = receipt.detail["permissions_not_set"].as_str().unwrap();
            assert!(note.contains(words), "{code} {temporary}: {note}");
            // Where they are set, and where none are asked for, there is no such note.
            for permissions in ["0640", ""] {
                server.unswitch("*");
                let build = build().set("permissions", permissions).set("overwrite", "replace");
                let receipt = deliver(&world, build, &Arc::default(), 1, b"an order").await.unwrap();
                assert_eq!(receipt.detail.get("permissions_not_set"), None);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_lead_elsewhere_are_passed_over() {
    use testkit::through::{HOSTILE_NAMES, hostile_names_are_passed_over};
    let long: &'static str = Box::leak("x".repeat(4096).into_boxed_str());
    let server = SftpServer::start().unwrap();
    server.put("in/good.edi", b"content");
    server.put(r"in/a\..\b", b"content");
    for (number, name) in HOSTILE_NAMES.into_iter().chain([long]).enumerate() {
        server.put(&format!("in/file-{number}"), b"content");
        server.switch(&format!("in/file-{number}"), Switch::ListedAs(name));
        std::fs::create_dir(server.at(&format!("in/directory-{number}"))).unwrap();
        server.switch(&format!("in/directory-{number}"), Switch::ListedAs(name));
    }
    let world = World::new();
    let folder = world.folder(&partner(&server, "").done());
    hostile_names_are_passed_over(&folder, "in", &world.services).await;
    assert_eq!(server.count(Op::Opendir, "*"), 1, "another directory was listed: {:?}", server.seen());
}
