//! Servers that are reached through another SSH server: both real.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use futures::future::join_all;
use model::definition::{Definitions, Endpoint};
use model::{Error, ErrorKind, Retry, Step};
use std::sync::Arc;
use support::{Build, Sshd, World, read, read_text, write};
use testkit::sftp::SftpServer;
use transport::Transport;

/// The same endpoint under another name.
fn named(name: &str, endpoint: Arc<Endpoint>) -> Arc<Endpoint> {
    Arc::new(Endpoint { name: name.into(), ..Endpoint::clone(&endpoint) })
}

fn world(endpoints: &[&Arc<Endpoint>]) -> World {
    let mut definitions = Definitions::default();
    for endpoint in endpoints {
        definitions.endpoints.insert(endpoint.name.clone(), Arc::clone(endpoint));
    }
    World::new().defining(definitions)
}

async fn refused(world: &World, endpoint: &Arc<Endpoint>) -> Error {
    world.folder(endpoint).stat(&"a".into()).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_reached_through_another_and_both_connections_are_on_record() {
    let (jump, server) = (Sshd::with(&["Subsystem sftp /bin/false"]), Sshd::start());
    let bastion = named("bastion", jump.endpoint().done());
    let endpoint = server.endpoint().set("jump", "bastion").done();
    let world = world(&[&bastion]);
    let folder = world.folder(&endpoint);
    let content = support::noise(3 << 20);
    assert_eq!(write(&folder, "a", &content).await.unwrap(), content.len() as u64);
    assert!(read(&folder, "a", 0).await.unwrap() == content);
    let opened = world.records.opened.lock().unwrap().clone();
    let [over, through] = &opened[..] else { panic!("{opened:?}") };
    let at = |port| format!("127.0.0.1:{port}");
    let host = |opened: &net::Opened| opened.record.host.as_ref().unwrap().to_string();
    assert_eq!((over.record.endpoint.as_deref(), host(over)), (Some("bastion"), at(jump.port())));
    assert_eq!((through.record.endpoint.as_deref(), host(through)), (Some("acme"), at(server.port())));
    assert_eq!((over.record.through, through.record.through), (None, Some(over.record.id)));
    assert_eq!(through.record.proxy, Some(at(jump.port())));
    let fingerprints = [jump.field("fingerprint"), server.field("fingerprint")];
    for (opened, fingerprint) in opened.iter().zip(fingerprints) {
        let security = format!("{:?}", opened.record.security);
        assert!(security.contains(fingerprint), "{security}");
    }
    drop(folder);
    world.net.drain(std::time::Duration::from_secs(10)).await;
    world.settled().await;
    let closed = world.records.closed.lock().unwrap().clone();
    assert!(closed.iter().all(|closed| !closed.failed && closed.bytes_in > 3 << 20), "{closed:?}");
    // No agent was asked for, on either of them.
    for sshd in [&jump, &server] {
        assert!(!sshd.log().contains("auth-agent"), "{}", sshd.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_behind_one_jump_host_share_few_connections_to_it() {
    let (jump, server) = (Sshd::with(&["MaxStartups 10:30:100"]), Sshd::start());
    let bastion = named("bastion", jump.endpoint().done());
    let world = world(&[&bastion]);
    std::fs::write(server.files().join("a"), "content").unwrap();
    // Another timeout stands for another account at the same server: they share nothing there.
    let endpoints: Vec<_> = (0..24)
        .map(|number| {
            server.endpoint().set("jump", "bastion").set("timeout", &format!("{}s", 60 + number)).done()
        })
        .collect();
    let folders: Vec<_> = endpoints.iter().map(|endpoint| world.folder(endpoint)).collect();
    let read = join_all(folders.iter().map(|folder| read(folder, "a", 0))).await;
    assert!(read.iter().all(|read| read.as_ref().unwrap() == b"content"));
    let opened = world.records.opened.lock().unwrap().clone();
    let to_jump = opened.iter().filter(|opened| opened.record.endpoint.as_deref() == Some("bastion")).count();
    assert!((1..=4).contains(&to_jump), "{to_jump} connections to the jump host");
    assert_eq!(opened.len() - to_jump, 24);
    assert!(!jump.log().contains("MaxStartups"), "{}", jump.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_host_may_be_behind_another() {
    let (outer, inner, server) = (Sshd::start(), Sshd::start(), Sshd::start());
    let outermost = named("outer", outer.endpoint().done());
    let bastion = named("inner", inner.endpoint().set("jump", "outer").done());
    let endpoint = server.endpoint().set("jump", "inner").done();
    let world = world(&[&outermost, &bastion]);
    std::fs::write(server.files().join("a"), "content").unwrap();
    assert_eq!(read(&world.folder(&endpoint), "a", 0).await.unwrap(), b"content");
    let opened = world.records.opened.lock().unwrap().clone();
    let way: Vec<_> = opened.iter().map(|opened| opened.record.endpoint.clone().unwrap()).collect();
    assert_eq!(way, ["outer", "inner", "acme"]);
    assert_eq!(opened[1].record.through, Some(opened[0].record.id));
    assert_eq!(opened[2].record.through, Some(opened[1].record.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_says_which_of_both_failed() {
    let (jump, server) = (Sshd::start(), Sshd::start());
    let stranger = read_text(jump.field("key_stranger"));
    let endpoint = || server.endpoint().set("jump", "bastion");
    let through = |bastion: Build| {
        let bastion = named("bastion", bastion.done());
        let (world, endpoint) = (world(&[&bastion]), endpoint().done());
        async move { (refused(&world, &endpoint).await, world) }
    };
    // The jump host is another machine.
    let (error, behind) = through(jump.endpoint().set("host_key", server.field("fingerprint"))).await;
    assert_eq!((error.kind(), error.step()), (ErrorKind::TrustFailed, Some(Step::Jump)), "{}", error.chain());
    let text = error.chain();
    for part in ["jump host bastion", server.field("fingerprint"), jump.field("fingerprint")] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(behind.records.opened.lock().unwrap().iter().all(|opened| opened.record.through.is_none()));
    // It does not know us.
    let (error, _) = through(jump.endpoint().set("private_key", &stranger)).await;
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unauthenticated, Retry::Permanent), "{error}");
    assert!(error.chain().contains(&format!("host 127.0.0.1:{}", jump.port())), "{}", error.chain());
    // It is not there.
    let gone = testkit::sftp::SftpServer::start().unwrap().address().port();
    let (error, _) = through(jump.endpoint().port(gone).set("connect_retries", "0")).await;
    assert_eq!((error.kind(), error.step()), (ErrorKind::Unreachable, Some(Step::Jump)));

    // The jump host lets us in, and the server is not there, is another one, or does not know us.
    let bastion = named("bastion", jump.endpoint().done());
    let world = world(&[&bastion]);
    let error = refused(&world, &endpoint().port(gone).set("connect_retries", "0").done()).await;
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unreachable, Retry::Transient), "{error}");
    let text = error.chain();
    assert!(text.contains("does not reach the server") && text.contains(&gone.to_string()), "{text}");
    // The record is written beside the work.
    let begun = std::time::Instant::now();
    let failed = loop {
        let failed = world.records.failed.lock().unwrap().clone();
        if !failed.is_empty() || begun.elapsed() > std::time::Duration::from_secs(10) {
            break failed;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!(failed.last().unwrap().host.to_string(), format!("127.0.0.1:{gone}"));
    let error = refused(&world, &endpoint().set("host_key", jump.field("fingerprint")).done()).await;
    assert_eq!(error.kind(), ErrorKind::TrustFailed);
    assert!(error.to_string().contains(&server.port().to_string()), "{error}");
    assert!(!server.log().contains("Accepted"), "{}", server.log());
    let error = refused(&world, &endpoint().set("private_key", &stranger).done()).await;
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.to_string().contains(&server.port().to_string()), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_host_that_forwards_nothing_says_so_for_good() {
    let (jump, server) = (Sshd::with(&["AllowTcpForwarding no"]), Sshd::start());
    let bastion = named("bastion", jump.endpoint().done());
    let world_with = world(&[&bastion]);
    let error = refused(&world_with, &server.endpoint().set("jump", "bastion").done()).await;
    assert_eq!((error.kind(), error.retry()), (ErrorKind::PermissionDenied, Retry::Permanent), "{error}");
    assert!(error.to_string().contains("AllowTcpForwarding"), "{error}");
    // A server with SFTP alone.
    let other = SftpServer::start().unwrap();
    let bastion = named("bastion", support::partner(&other, "").done());
    let error = refused(&world(&[&bastion]), &server.endpoint().set("jump", "bastion").done()).await;
    assert_eq!(error.retry(), Retry::Permanent, "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_shows_the_jump_host_as_a_step() {
    let (jump, server) = (Sshd::start(), Sshd::start());
    let bastion = named("bastion", jump.endpoint().done());
    let world = world(&[&bastion]);
    let endpoint = server.endpoint().set("jump", "bastion").done();
    let source = world
        .transport
        .source(endpoint, support::flow(transport::folder::After::Keep), world.services.clone())
        .unwrap();
    let probe = source.probe().await;
    assert!(probe.passed(), "{probe:?}");
    let steps: Vec<_> = probe.steps.iter().map(|step| step.step).collect();
    assert_eq!(steps[..4], [Step::Jump, Step::Tcp, Step::HostKey, Step::Login], "{probe:?}");
    drop(source);
    world.settled().await;
}

#[test]
fn a_jump_host_that_leads_nowhere_is_refused_when_it_is_defined() {
    let build = || {
        Build::new("sftp://a.example".into(), "acme")
            .set("password", "secret")
            .set("host_key", "SHA256:gGQZHBHcGZq4cRUVqDmiaRiBTRqlmFRJeiWJoCVWGFE")
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _within = runtime.enter();
    let world = World::new();
    let check = |endpoint: &Endpoint, others: &[Arc<Endpoint>]| {
        let mut definitions = Definitions::default();
        for other in others {
            definitions.endpoints.insert(other.name.clone(), Arc::clone(other));
        }
        testkit::defined::findings(|findings| {
            model::Declaration::check_endpoint(&world.transport, endpoint, &definitions, findings);
        })
    };
    let first = named("first", build().set("jump", "second").done());
    let second = named("second", build().set("jump", "first").done());
    let found = check(&first, &[Arc::clone(&first), second]);
    assert!(found.iter().any(|text| text.contains("circle")), "{found:?}");
    let other = Endpoint { transport: "ftp".into(), ..Endpoint::clone(&named("second", build().done())) };
    let found = check(&first, &[Arc::new(other)]);
    assert!(found.iter().any(|text| text.contains("no SSH server")), "{found:?}");
    let found = check(&build().set("jump", "second").set("proxy", "none").done(), &[]);
    assert!(found.iter().any(|text| text.contains("behind a jump host")), "{found:?}");
    let found = check(&first, &[named("second", build().done())]);
    assert!(found.is_empty(), "{found:?}");
}
