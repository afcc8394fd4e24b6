//! Reading, listing and writing at a real server, and what becomes of it when the server does not play along.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::try_join_all;
use model::{ErrorKind, RemotePath, Retry};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Sshd, World, flow, inner, list, noise, read, write};
use testkit::fake::Known;
use testkit::proxy::{Behaviour, Direction, Ending, FaultProxy};
use tokio::io::AsyncReadExt;
use transport::folder::After;
use transport::folder::{EntryKind, FolderUse};
use transport::{AfterRead, BufferBudget, Discovery, Transport};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn only_regular_files_are_offered_under_their_own_bytes() {
    let server = Sshd::start();
    let files = server.files();
    let latin1 = std::ffi::OsStr::from_bytes(b"caf\xe9.txt");
    std::fs::write(files.join(latin1), "latin").unwrap();
    std::fs::write(files.join("plain.txt"), "plain").unwrap();
    std::fs::write(files.join("half.txt_tmp"), "half").unwrap();
    std::fs::create_dir(files.join("directory")).unwrap();
    std::os::unix::fs::symlink("plain.txt", files.join("link.txt")).unwrap();
    let fifo = std::process::Command::new("mkfifo").arg(files.join("fifo")).status().unwrap();
    assert!(fifo.success());
    let world = World::new();
    let endpoint = server.endpoint().done();
    assert_eq!(world.found(&endpoint), [""; 0]);
    let source = world.transport.source(endpoint.clone(), flow(After::Keep), world.services.clone()).unwrap();
    let offers = source.discover(Discovery::first(Arc::new(Known::default()))).await.unwrap();
    let offers: Vec<_> = offers.map(Result::unwrap).collect().await;
    let names: Vec<_> = offers.iter().map(|offer| offer.identity.path.to_text()).collect();
    assert_eq!(names, ["caf%E9.txt", "plain.txt"]);
    let mut opened = source.open(&offers[0]).await.unwrap();
    let mut part = opened.parts.next().await.unwrap().unwrap();
    let mut text = String::new();
    part.reader.read_to_string(&mut text).await.unwrap();
    assert_eq!((part.file_name.as_bytes(), text.as_str()), (&b"caf\xe9.txt"[..], "latin"));
    assert_eq!(source.look_again(&offers[0]).await.unwrap(), AfterRead::Unchanged);

    let folder = world.folder(&endpoint);
    for (name, kind) in
        [("link.txt", EntryKind::Link), ("fifo", EntryKind::Other), ("directory", EntryKind::Directory)]
    {
        assert_eq!(folder.stat(&name.into()).await.unwrap().kind, kind, "{name}");
    }
    let error = read(&folder, "directory", 0).await.unwrap_err();
    assert!(
        inner(&error).retry() == Retry::Permanent || inner(&error).kind() == ErrorKind::Rejected,
        "{error:?}"
    );
    let from = RemotePath::from_bytes(*b"caf\xe9.txt");
    folder.rename(&from, &RemotePath::from_bytes(*b"\xe9t\xe9")).await.unwrap();
    assert!(files.join(std::ffi::OsStr::from_bytes(b"\xe9t\xe9")).exists());
    folder.remove(&RemotePath::from_bytes(*b"\xe9t\xe9")).await.unwrap();
    assert!(!files.join(std::ffi::OsStr::from_bytes(b"\xe9t\xe9")).exists());
    // One for the poll and its reads, one for all the rest.
    assert_eq!(world.records.opened.lock().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_names_come_whole() {
    let server = Sshd::start();
    let files = server.files();
    for number in 0..10_000 {
        std::fs::write(files.join(format!("file-{number:05}.edi")), "x").unwrap();
    }
    let world = World::new();
    let folder = world.folder(&server.endpoint().done());
    let began = Instant::now();
    let listed = list(&folder, "").await.unwrap();
    println!("10,000 names in {:?}", began.elapsed());
    let mut names: Vec<_> = listed.iter().map(|entry| entry.path.to_text()).collect();
    names.sort();
    names.dedup();
    assert_eq!((listed.len(), names.len()), (10_000, 10_000));
    assert!(listed.iter().all(|entry| entry.kind == EntryKind::File && entry.size == Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files_come_and_go_whole_through_changes_of_keys() {
    // The server asks for new keys after every 4 MiB.
    let server = Sshd::with(&["RekeyLimit 4M"]);
    let content = noise(64 * MIB + 4321);
    std::fs::write(server.files().join("large"), &content).unwrap();
    let world = World::new();
    let endpoint = server.endpoint().done();
    let opened = FolderUse { permissions: Some(0o640), ..FolderUse::of(model::Purpose::Deliver) };
    let folder = world.transport.folder(&endpoint, opened, &world.services).unwrap();
    assert!(read(&folder, "large", 0).await.unwrap() == content);
    assert!(read(&folder, "large", 60 * MIB as u64 + 7).await.unwrap() == content[60 * MIB + 7..]);
    assert_eq!(write(&folder, "copy", &content).await.unwrap(), content.len() as u64);
    let copy = server.files().join("copy");
    assert!(std::fs::read(&copy).unwrap() == content);
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o7777, 0o640);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_reads_share_few_connections_and_a_small_budget() {
    let server = Sshd::start();
    let contents: Vec<_> = (0..64).map(|number| noise(MIB + number)).collect();
    for (number, content) in contents.iter().enumerate() {
        std::fs::write(server.files().join(number.to_string()), content).unwrap();
    }
    for budget in [256 << 20, 1 << 20] {
        let mut world = World::new();
        world.services.budget = BufferBudget::new(budget);
        let folder = world.folder(&server.endpoint().set("connections", "2").done());
        let names: Vec<_> = (0..contents.len()).map(|number| number.to_string()).collect();
        let all = try_join_all(names.iter().map(|name| read(&folder, name, 0))).await.unwrap();
        assert!(all == contents);
        assert!(world.records.opened.lock().unwrap().len() <= 2);
        drop(all);
        assert_eq!(world.services.budget.free(), budget);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_left_early_disturbs_nobody() {
    let server = Sshd::start();
    let content = noise(8 * MIB);
    std::fs::write(server.files().join("large"), &content).unwrap();
    let world = World::new();
    let folder = world.folder(&server.endpoint().done());
    for _ in 0..50 {
        let mut reader = folder.read(&"large".into(), 0).await.unwrap();
        let mut first = [0; 100];
        reader.read_exact(&mut first).await.unwrap();
        assert_eq!(first, content[..100]);
    }
    assert!(read(&folder, "large", 0).await.unwrap() == content);
    assert_eq!(world.records.opened.lock().unwrap().len(), 1);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.services.budget.free(), world.services.budget.total());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_in_mid_file_is_transient_and_the_rest_follows_from_the_offset() {
    let server = Sshd::start();
    let content = noise(64 * MIB);
    std::fs::write(server.files().join("large"), &content).unwrap();
    let world = World::new();
    let folder = world.folder(&server.endpoint().done());
    let mut reader = folder.read(&"large".into(), 0).await.unwrap();
    let mut got = vec![0; 3 * MIB + 17];
    reader.read_exact(&mut got).await.unwrap();
    server.kill();
    let error = loop {
        let mut more = vec![0; 65_536];
        match reader.read(&mut more).await {
            Ok(0) => panic!("a cut file must not end well"),
            Ok(count) => got.extend_from_slice(&more[..count]),
            Err(error) => break error,
        }
    };
    assert_eq!(
        (inner(&error).kind(), inner(&error).retry()),
        (ErrorKind::Unreachable, Retry::Transient),
        "{error:?}"
    );
    let error = list(&folder, "").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unreachable, Retry::Transient), "{error:?}");
    server.restart();
    let offset = got.len() as u64;
    got.extend(read(&folder, "large", offset).await.unwrap());
    assert!(got == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_found_dead_is_replaced() {
    let server = Sshd::start();
    std::fs::write(server.files().join("a"), "content").unwrap();
    let proxy = FaultProxy::before(([127, 0, 0, 1], server.port()).into()).await.unwrap();
    let world = World::new();
    let endpoint = server.endpoint().port(proxy.address().port()).set("timeout", "1s").done();
    let folder = world.folder(&endpoint);
    assert_eq!(read(&folder, "a", 0).await.unwrap(), b"content");
    // A router forgot the connection: nobody tells us.
    proxy.set(Behaviour::HalfOpen).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let reading = read(&folder, "a", 0);
    let passing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        proxy.set(Behaviour::Pass).await.unwrap();
    };
    let (read, ()) = tokio::join!(reading, passing);
    assert_eq!(read.unwrap(), b"content");
    assert_eq!(world.records.opened.lock().unwrap().len(), 2);
    // The server went and came back, and the connection with it.
    server.kill();
    server.restart();
    assert_eq!(support::read(&folder, "a", 0).await.unwrap(), b"content");
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_and_silence_in_mid_file_are_transient() {
    let server = Sshd::start();
    let content = noise(4 * MIB);
    std::fs::write(server.files().join("large"), &content).unwrap();
    let proxy = FaultProxy::before(([127, 0, 0, 1], server.port()).into()).await.unwrap();
    let world = World::new();
    let folder = world.folder(&server.endpoint().port(proxy.address().port()).set("timeout", "1s").done());
    for how in [Ending::Reset, Ending::Close] {
        let cut = Behaviour::Cut { direction: Direction::Down, after: 2 * MIB as u64, how };
        proxy.set(cut).await.unwrap();
        let error = read(&folder, "large", 0).await.unwrap_err();
        let error = inner(&error);
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unreachable, Retry::Transient), "{error:?}");
        proxy.set(Behaviour::Pass).await.unwrap();
    }
    let mut reader = folder.read(&"large".into(), 0).await.unwrap();
    reader.read_u8().await.unwrap();
    proxy.set(Behaviour::BlackHole).await.unwrap();
    let mut rest = Vec::new();
    let error = reader.read_to_end(&mut rest).await.unwrap_err();
    assert_eq!(
        (inner(&error).kind(), inner(&error).retry()),
        (ErrorKind::Timeout, Retry::Transient),
        "{error:?}"
    );
    proxy.set(Behaviour::Pass).await.unwrap();
    // A slow line is no dead one: the whole takes longer than the time limit.
    proxy.set(Behaviour::Slow(2 * MIB as u64)).await.unwrap();
    assert!(read(&folder, "large", 0).await.unwrap() == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_to_a_server_that_takes_nothing_times_out_and_is_let_go() {
    let server = Sshd::start();
    let proxy = FaultProxy::before(([127, 0, 0, 1], server.port()).into()).await.unwrap();
    let world = World::new();
    let folder = world.folder(&server.endpoint().port(proxy.address().port()).set("timeout", "1s").done());
    let mut upload = folder.begin_write(&"large".into(), None).await.unwrap();
    proxy.set(Behaviour::BlackHole).await.unwrap();
    let block = Bytes::from(noise(MIB));
    let error = loop {
        if let Err(error) = upload.write(block.clone()).await {
            break error;
        }
    };
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Transient), "{error:?}");
    drop(upload);
    drop(folder);
    world.settled().await;
    let closed = world.records.closed.lock().unwrap();
    assert!(closed[0].failed && closed[0].reason.as_str().contains("no answer for 1.0 s"), "{closed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_of_an_endpoint_tells_each_step() {
    let server = Sshd::start();
    std::fs::write(server.files().join("a"), "content").unwrap();
    let world = World::new();
    let names = |probe: &transport::Probe| -> Vec<&str> {
        probe.steps.iter().map(|step| step.step.as_str()).collect()
    };
    let endpoint = server.endpoint().done();
    let source = world.transport.source(endpoint.clone(), flow(After::Keep), world.services.clone()).unwrap();
    let probe = source.probe().await;
    assert!(probe.passed(), "{probe:?}");
    assert_eq!(names(&probe), ["name", "tcp", "host key", "login", "list", "open"]);
    let destination = world.destination(server.endpoint());
    let probe = destination.probe().await;
    assert!(probe.passed(), "{probe:?}");
    assert_eq!(names(&probe), ["name", "tcp", "host key", "login", "write", "publish", "delete"]);
    assert_eq!(std::fs::read_dir(server.files()).unwrap().count(), 1);

    for (build, last) in [
        (server.endpoint().url("sftp://no.such.host.invalid"), "name"),
        (server.endpoint().port(1), "tcp"),
        (server.endpoint().set("host_key", server.field("host_keys.rsa.fingerprint")), "host key"),
        (server.endpoint().user("nobody-here"), "login"),
        (server.endpoint().url(&format!("sftp://127.0.0.1:{}/missing", server.port())), "list"),
    ] {
        let source = world.transport.source(build.done(), flow(After::Keep), world.services.clone()).unwrap();
        let probe = source.probe().await;
        assert_eq!(names(&probe).last(), Some(&last), "{probe:?}");
        assert!(probe.steps.last().unwrap().result.is_err(), "{probe:?}");
    }
    drop(source);
    drop(destination);
    world.settled().await;
    let opened = world.records.opened.lock().unwrap();
    assert!(opened.iter().all(|opened| opened.record.purpose == model::Purpose::Test));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_any_time_are_taken() {
    let server = Sshd::start();
    let world = World::new();
    let directory = server.files().join("times");
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let folder = world.folder(&server.endpoint().done());
    let path = directory.to_str().unwrap();
    testkit::through::files_of_any_time_are_taken(&folder, path, &directory, &world.services).await;
}
