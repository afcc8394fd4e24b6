//! What servers do that no good server does: endless banners and listings, silence, foreign addresses, other listings;
//! played by a script.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use model::{ErrorKind, Retry};
use std::time::Duration;
use support::script::{Script, Scripted};
use support::{Build, Server, World, list, noise, read, write};
use transport::Source;
use transport::folder::{EntryKind, FolderSource, FolderSourceOptions, Published};

async fn listed(
    script: Script,
    change: impl FnOnce(Build) -> Build,
) -> (model::Result<Vec<transport::folder::Entry>>, Scripted) {
    let server = Scripted::start(script).await;
    let world = World::new(model::definition::Definitions::default());
    let folder = world.folder(&change(Build::at(server.port).set("timeout", "2s")).done());
    (list(&folder, "in").await, server)
}

fn same(build: Build) -> Build {
    build
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_banner_lines_and_endless_replies_are_given_up() {
    for banner in
        [b"220-welcome\r\n".repeat(1_000_000), vec![b'x'; 10_000_000], b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()]
    {
        let (result, _) = listed(Script { banner: Some(banner), ..Script::default() }, same).await;
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Protocol, Retry::Transient), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_greeting_that_is_announced_again_and_again_is_given_up() {
    let at_once = Script { banner: Some(b"120 ready in 5 minutes\r\n".repeat(1_000)), ..Script::default() };
    let (result, _) = listed(at_once, same).await;
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Protocol, Retry::Transient), "{error}");
    // Slowly: each answer comes within the timeout, and their sum does not.
    let slowly = Script { delays: Some(Duration::from_millis(900)), ..Script::default() };
    let (result, _) = listed(slowly, same).await;
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Transient), "{error}");
    let few = [b"120 ready in 5 minutes\r\n".repeat(3), b"220 ready\r\n".to_vec()].concat();
    let (result, _) = listed(Script { banner: Some(few), ..Script::default() }, same).await;
    assert_eq!(result.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_after_any_command_ends_by_the_timeout() {
    for silent in [&["USER"][..], &["PASS"], &["FEAT"], &["TYPE"], &["OPTS"], &["PWD"], &["EPSV"], &["MLSD"]]
    {
        let (result, _) = listed(Script { silent, ..Script::default() }, same).await;
        let error = result.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::Timeout, Retry::Transient),
            "{silent:?}: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_line_without_end_is_given_up() {
    let script = Script { listing: vec![b'x'; 4096], endless: true, ..Script::default() };
    let error = listed(script, same).await.0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_ends_though_a_listing_without_end_names_nothing() {
    const NO_FEATURES: &[(&str, &str)] = &[("FEAT", "500 what?\r\n")];
    let same_name = b"drwxr-xr-x 2 u g 1 Jan 1 2026 .\r\n".repeat(100);
    for (answers, line) in [
        (&[][..], b"\r\n".repeat(10_000)),
        (NO_FEATURES, b"\r\n".repeat(10_000)),
        (NO_FEATURES, same_name),
        (&[][..], b"type=cdir; .\r\n".repeat(1_000)),
    ] {
        let script = Script { listing: line, endless: true, answers, ..Script::default() };
        let server = Scripted::start(script).await;
        let world = World::new(model::definition::Definitions::default());
        let endpoint = Build::at(server.port).set("timeout", "20s").done();
        let poll = testkit::defined::poll("acme", transport::folder::After::Keep);
        let flow = std::sync::Arc::new(testkit::defined::flow("flow", poll));
        let options = FolderSourceOptions { flow, endpoint: "acme".into(), directory: "in".into() };
        let source = FolderSource::new(world.folder(&endpoint), options, world.services.clone()).unwrap();
        let known = std::sync::Arc::new(testkit::fake::Known::default());
        let polled = source.discover(transport::Discovery::first(known)).await;
        let error = polled.err().unwrap();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Protocol, Retry::Transient), "{error}");
        assert!(error.to_string().contains("lines that name no file"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_connections_go_to_the_servers_own_address() {
    let script = Script {
        answers: &[("EPSV", "500 what?\r\n")],
        listing: b"type=file;size=1; a\r\n".to_vec(),
        ..Script::default()
    };
    let (result, server) = listed(script, same).await;
    assert_eq!(result.unwrap().len(), 1);
    assert_eq!(server.said().iter().filter(|line| *line == "PASV").count(), 1, "{:?}", server.said());
}

/// T5: a server behind address translation states where its data connections really are.
#[tokio::test(flavor = "multi_thread")]
async fn data_connections_go_to_the_stated_address_where_the_endpoint_says_so() {
    let script = |stated| Script {
        answers: &[("EPSV", "500 what?\r\n")],
        listing: b"type=file;size=1; a\r\n".to_vec(),
        stated: Some(stated),
        ..Script::default()
    };
    let follow = |build: Build| build.set("passive_address", "stated");
    let (result, server) = listed(script(([127, 0, 0, 2], 0)), follow).await;
    assert_eq!(result.unwrap().len(), 1);
    assert_eq!((server.count("EPSV"), server.count("PASV")), (0, 1), "{:?}", server.said());
    let (result, _) = listed(script(([127, 0, 0, 2], 0)), same).await;
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unreachable, Retry::Transient), "{error}");
}

/// RFC 2577, 3: a server that makes its clients connect to the ports of others.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_elses_port_is_connected_to_unless_the_endpoint_allows_it() {
    let victim = std::net::TcpListener::bind("127.0.0.3:0").unwrap();
    victim.set_nonblocking(true).unwrap();
    let port = victim.local_addr().unwrap().port();
    let script = || Script {
        answers: &[("EPSV", "500 what?\r\n")],
        stated: Some(([127, 0, 0, 3], port)),
        ..Script::default()
    };
    let (result, server) = listed(script(), same).await;
    result.unwrap_err();
    assert_eq!(server.count("PASV"), 1, "{:?}", server.said());
    let connected = victim.accept().map(drop);
    assert_eq!(connected.unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "the victim was connected to");
    let (result, _) = listed(script(), |build| build.set("passive_address", "stated")).await;
    result.unwrap_err();
    victim.accept().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_clear_refusal_of_a_look_or_the_listing_says_that_a_file_is_gone() {
    let there = b"type=file;size=7; a\r\n".to_vec();
    let not_there = b"type=file;size=7; b\r\n".to_vec();
    for (answer, listing, expected, listings) in [
        ("550 no such file\r\n", &there, Err(ErrorKind::NotFound), 0),
        ("530 not now\r\n", &not_there, Err(ErrorKind::Unauthenticated), 0),
        ("503 bad sequence\r\n", &not_there, Err(ErrorKind::Unsupported), 0),
        ("501 what name?\r\n", &not_there, Err(ErrorKind::Unsupported), 0),
        ("450 busy\r\n", &not_there, Err(ErrorKind::Rejected), 0),
        ("550 permission denied\r\n", &not_there, Err(ErrorKind::PermissionDenied), 0),
        ("550 it failed\r\n", &there, Ok(Some(7)), 1),
        ("550 it failed\r\n", &not_there, Err(ErrorKind::NotFound), 1),
    ] {
        let answers: &'static [(&str, &str)] = Box::leak(vec![("MLST", answer)].into_boxed_slice());
        let server = Scripted::start(Script { answers, listing: listing.clone(), ..Script::default() }).await;
        let world = World::new(model::definition::Definitions::default());
        let folder = world.folder(&Build::at(server.port).set("timeout", "5s").done());
        let looked = folder.stat(&"in/a".into()).await.map(|entry| entry.size);
        assert_eq!(looked.map_err(|error| error.kind()), expected, "{answer}");
        assert_eq!(server.count("MLSD"), listings, "{answer}");
    }
    // pure-ftpd: each delivery looks whether a name is free, and the directory may be long. Wildcards would list others.
    for (name, listings) in [("in/a", 0), ("in/[a]", 1)] {
        let answers =
            &[("MLST", "550 Can't check for file existence\r\n"), ("STAT", "213-STAT\r\n213 End.\r\n")];
        let server =
            Scripted::start(Script { answers, listing: not_there.clone(), ..Script::default() }).await;
        let world = World::new(model::definition::Definitions::default());
        let folder = world.folder(&Build::at(server.port).set("timeout", "5s").done());
        assert_eq!(folder.stat(&name.into()).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(server.count("MLSD"), listings, "{:?}", server.said());
    }
    // The directory of the file may be the one that may not be looked into.
    let answers = &[("MLST", "550 it failed\r\n"), ("CWD", "550 permission denied\r\n")];
    let server = Scripted::start(Script { answers, ..Script::default() }).await;
    let world = World::new(model::definition::Definitions::default());
    let folder = world.folder(&Build::at(server.port).set("timeout", "5s").done());
    let error = folder.stat(&"in/a".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_facts_a_file_that_size_and_cwd_do_not_find_is_missing_without_a_listing() {
    let answers = &[("FEAT", "500 what?\r\n"), ("CWD", "550 a: no such file or directory\r\n")];
    let server = Scripted::start(Script { answers, ..Script::default() }).await;
    let world = World::new(model::definition::Definitions::default());
    let folder = world.folder(&Build::at(server.port).set("timeout", "5s").done());
    let error = folder.stat(&"in/a".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!((server.count("LIST"), server.count("STAT")), (0, 0), "{:?}", server.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_without_mlsd_are_read_and_unknown_ones_refused() {
    const NO_FEATURES: &[(&str, &str)] = &[("FEAT", "500 what?\r\n")];
    let dos =
        b"11-26-26  11:22AM       <DIR>          sub\r\n11-26-26  11:22AM                 7 a b\r\n".to_vec();
    let (result, server) =
        listed(Script { answers: NO_FEATURES, listing: dos, ..Script::default() }, same).await;
    let entries = result.unwrap();
    let told: Vec<_> = entries.iter().map(|entry| (entry.path.to_text(), entry.kind, entry.size)).collect();
    let expected =
        [("sub".to_owned(), EntryKind::Directory, None), ("a b".to_owned(), EntryKind::File, Some(7))];
    assert_eq!(told, expected);
    assert!(server.said().contains(&"CWD /in".to_owned()), "{:?}", server.said());
    let odd = b"README 12 blocks\r\n".to_vec();
    let (result, _) = listed(Script { answers: NO_FEATURES, listing: odd, ..Script::default() }, same).await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("README 12 blocks"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_the_server_does_not_confirm_is_no_listing() {
    let script = Script {
        listing: b"type=file; a\r\n".to_vec(),
        answers: &[("MLSD", "426 broken off\r\n")],
        ..Script::default()
    };
    let error = listed(script, same).await.0.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unreachable, Retry::Transient), "{error}");
    assert!(error.to_string().contains("426 broken off"), "{error}");
}

/// The data connection ends as after a whole file: only the answer tells that it was not.
#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_the_server_does_not_confirm_is_an_error_however_its_data_ended() {
    for (most, answer) in [
        (3, "426 broken off\r\n"),
        (3, "451 disk error\r\n"),
        (3, "551 page type unknown\r\n"),
        (0, "426 broken off\r\n"),
        // All bytes came, and the server says that something was wrong with them.
        (7, "451 disk error\r\n"),
        // An answer that has no place here says nothing about the file.
        (7, "350 go on\r\n"),
    ] {
        let server = Scripted::start(Script { cuts: Some((most, answer)), ..Script::default() }).await;
        server.put(b"/a", b"content");
        let world = World::new(model::definition::Definitions::default());
        let folder = world.folder(&Build::at(server.port).set("timeout", "2s").done());
        let error = read(&folder, "/a", 0).await.unwrap_err();
        assert!(error.to_string().contains(answer.trim_end()), "{most} {answer}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_is_told_once_and_too_many_connections_come_again() {
    // A server that is busy is asked again `connect_retries` times.
    for (answer, kind, retry, logins) in [
        ("530 Login incorrect.\r\n", ErrorKind::Unauthenticated, Retry::Permanent, 1),
        ("421 Too many users\r\n", ErrorKind::Throttled, Retry::Transient, 4),
    ] {
        let answers: &'static [(&str, &str)] = Box::leak(vec![("PASS", answer)].into_boxed_slice());
        let (result, server) = listed(Script { answers, ..Script::default() }, same).await;
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{error}");
        assert!(error.connection().is_some() && error.to_string().contains(answer.trim_end()), "{error}");
        assert!(!error.chain().contains("\"p\""));
        assert_eq!(server.said().iter().filter(|line| line.starts_with("PASS")).count(), logins);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_name_the_login_is_anonymous() {
    let change = |build: Build| build.without("username").without("password");
    let (_, server) = listed(Script::default(), change).await;
    assert_eq!(server.said()[..2], ["USER anonymous", "PASS anonymous@"]);
    let server = Server::start("vsftpd", &[]);
    let world = World::new(server.definitions());
    let folder = world.folder(&server.endpoint().without("username").done());
    write(&folder, "files/a", b"content").await.unwrap();
    assert_eq!(read(&folder, "/files/a", 3).await.unwrap(), b"tent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_used_again_after_a_file_that_was_left_early() {
    let server = Server::start("proftpd", &[]);
    let world = World::new(server.definitions());
    let folder = world.folder(&server.endpoint().set("connections", "1").done());
    write(&folder, "files/a", &noise(8_000_000)).await.unwrap();
    drop(folder.read(&"files/a".into(), 0).await.unwrap());
    assert_eq!(list(&folder, "files").await.unwrap().len(), 1);
    drop(folder);
    world.settled().await;
    let controls = world.records.opened.lock().unwrap();
    assert_eq!(controls.iter().filter(|opened| opened.record.control.is_none()).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_ftp_cannot_carry_is_refused_for_good() {
    let server = Server::start("proftpd", &[]);
    let world = World::new(server.definitions());
    let folder = world.folder(&server.endpoint().done());
    let error = folder.begin_write(&"files/a\nDELE b".into(), None).await.err().unwrap();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Rejected, Retry::Permanent));
    assert!(error.to_string().contains("line break"), "{error}");
    assert!(list(&folder, "files").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_while_a_file_is_written_renamed_or_deleted_ends_by_the_timeout() {
    for silent in ["STOR", "RNFR", "DELE", "MLST", "RNTO"] {
        let silences: &'static [&str] = Box::leak(vec![silent].into_boxed_slice());
        let server = Scripted::start(Script { silent: silences, ..Script::default() }).await;
        server.put(b"/b", b"content");
        let world = World::new(model::definition::Definitions::default());
        let folder = world.folder(&Build::at(server.port).set("timeout", "1s").done());
        let (from, to) = ("b".into(), "c".into());
        let error = match silent {
            "STOR" => write(&folder, "a", b"content").await.unwrap_err(),
            "DELE" => folder.remove(&from).await.unwrap_err(),
            "MLST" => folder.stat(&from).await.unwrap_err(),
            _ => folder.rename(&from, &to).await.unwrap_err(),
        };
        // A rename may have been made.
        let retry = if silent == "RNTO" { Retry::Ambiguous } else { Retry::Transient };
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, retry), "{silent}: {error}");
    }
}

/// An account that may delete and not rename: what is to be replaced is not lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_replaced_stays() {
    for answer in ["502 not here\r\n", "550 permission denied\r\n", "553 the name is taken\r\n"] {
        let answers: &'static [(&str, &str)] = Box::leak(vec![("RNTO", answer)].into_boxed_slice());
        let server = Scripted::start(Script { answers, ..Script::default() }).await;
        server.put(b"/new", b"later");
        server.put(b"/a", b"earlier");
        let world = World::new(model::definition::Definitions::default());
        let folder = world.folder(&Build::at(server.port).done());
        folder.publish(&"new".into(), &"a".into(), true).await.unwrap_err();
        assert_eq!(server.content(b"/a").unwrap(), b"earlier", "{answer}");
        assert_eq!(server.content(b"/new").unwrap(), b"later", "{answer}");
    }
}

/// A server that replaces nothing: the old file goes when the new one has its name.
#[tokio::test(flavor = "multi_thread")]
async fn where_a_taken_name_is_refused_a_file_is_replaced_in_steps() {
    let server = Scripted::start(Script { replaces_nothing: true, ..Script::default() }).await;
    server.put(b"/.new.a", b"later");
    server.put(b"/a", b"earlier");
    // Left by an attempt that was cut off.
    server.put(b"/.old.new.a", b"earlier still");
    let world = World::new(model::definition::Definitions::default());
    let folder = world.folder(&Build::at(server.port).done());
    assert!(matches!(folder.publish(&".new.a".into(), &"a".into(), true).await, Ok(Published::Published)));
    assert_eq!(server.content(b"/a").unwrap(), b"later");
    assert_eq!((server.content(b"/.new.a"), server.content(b"/.old.new.a")), (None, None));
}

/// Some servers repeat a command that they do not take.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_the_server_repeats_is_not_shown() {
    for answer in ["500 'PASS hunter2-and-more': command not understood\r\n", "PASS hunter2-and-more?\r\n"] {
        let answers: &'static [(&str, &str)] = Box::leak(vec![("PASS", answer)].into_boxed_slice());
        let server = Scripted::start(Script { answers, ..Script::default() }).await;
        let world = World::new(model::definition::Definitions::default());
        let folder = world.folder(&Build::at(server.port).set("password", "hunter2-and-more").done());
        let error = folder.stat(&"a".into()).await.unwrap_err();
        let told = format!("{error} {error:?} {}", error.chain());
        assert!(!told.contains("hunter2"), "{told}");
        assert!(told.contains("PASS …"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_listing_is_read_as_far_as_it_is_wanted() {
    use futures::StreamExt;
    let listing = b"Modify=20260228150912;size=7;TYPE=file; a\r\n".repeat(1_000);
    let server = Scripted::start(Script { listing, endless: true, ..Script::default() }).await;
    let world = World::new(model::definition::Definitions::default());
    let folder = world.folder(&Build::at(server.port).set("timeout", "2s").done());
    let listing = folder.list(&"in".into()).await.unwrap();
    let count = listing.take(200_000).filter(|entry| std::future::ready(entry.is_ok())).count().await;
    assert_eq!(count, 200_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_quota_in_the_middle_of_a_file_is_told_and_leaves_nothing() {
    let server = Server::start("proftpd", &["--extra", "MaxStoreFileSize 1 Mb"]);
    let world = World::new(server.definitions());
    let folder = world.folder(&server.endpoint().done());
    let mut upload = folder.begin_write(&"files/.a.1.a".into(), Some(32_000_000)).await.unwrap();
    let chunk = bytes::Bytes::from(noise(1_000_000));
    let mut error = None;
    for _ in 0..32 {
        if let Err(refused) = upload.write(chunk.clone()).await {
            error = Some(refused);
            break;
        }
    }
    let error = error.expect("the server took everything");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::StorageFull, Retry::Transient), "{error}");
    upload.abort().await;
    assert!(list(&folder, "files").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_lead_elsewhere_are_passed_over() {
    use testkit::through::{HOSTILE_NAMES, hostile_names_are_passed_over};
    let long = "x".repeat(4096);
    let others = ["good.edi", r"a\..\b", &long];
    for kind in ["file", "dir"] {
        let mut listing = Vec::new();
        for name in HOSTILE_NAMES {
            listing.extend(format!("type={kind};size=1;modify=20260228150912; {name}\r\n").bytes());
        }
        for name in others {
            listing.extend(format!("type=file;size=1;modify=20260228150912; {name}\r\n").bytes());
        }
        let server = Scripted::start(Script { listing, ..Script::default() }).await;
        let world = World::new(model::definition::Definitions::default());
        let folder = world.folder(&Build::at(server.port).set("timeout", "2s").done());
        hostile_names_are_passed_over(&folder, "in", &world.services).await;
        assert_eq!(server.count("MLSD"), 1, "{kind}: another directory was listed: {:?}", server.said());
    }
}
