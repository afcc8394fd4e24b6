//! Active data connections: the server connects to Waybill.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use model::definition::Definitions;
use model::{Direction, ErrorKind, Purpose, Retry, Security};
use support::script::{Script, Scripted};
use support::{Build, Server, World, list, noise, read, write};

/// Uploads, downloads and lists; every data connection comes from the server, to a port of the range.
async fn goes_round(server: &Server, endpoint: Build, has_tls: bool) {
    let world = World::new(server.definitions());
    let ports = free_ports();
    let range = format!("{}-{}", ports.start(), ports.end());
    let endpoint = endpoint.set("data_connection", "active").set("active_ports", &range);
    let folder = world.folder(&endpoint.done());
    let content = noise(1_000_000);
    for number in 0..3 {
        let name = format!("files/{number}.bin");
        assert_eq!(write(&folder, &name, &content).await.unwrap(), 1_000_000);
        assert!(read(&folder, &name, 0).await.unwrap() == content);
    }
    assert!(read(&folder, "files/2.bin", 999_990).await.unwrap() == content[999_990..]);
    assert_eq!(list(&folder, "files").await.unwrap().len(), 3);
    drop(folder);
    world.settled().await;
    let opened = world.records.opened.lock().unwrap();
    let control = opened.iter().find(|opened| opened.record.control.is_none()).unwrap().record.id;
    let data: Vec<_> = opened.iter().filter(|opened| opened.record.control == Some(control)).collect();
    assert_eq!(data.len(), 8);
    for opened in data {
        let record = &opened.record;
        assert_eq!((record.direction, record.purpose), (Direction::Inbound, Purpose::Data));
        assert_eq!(record.endpoint.as_deref(), Some("acme"));
        assert!(record.remote.unwrap().ip().is_loopback() && ports.contains(&record.local.unwrap().port()));
        assert_eq!(matches!(record.security, Security::Tls { .. }), has_tls, "{record:?}");
    }
    let closed = world.records.closed.lock().unwrap();
    assert!(closed.iter().all(|closed| !closed.failed), "{closed:?}");
}

/// Ports below those that the system gives out, other ones for each test's process.
fn free_ports() -> std::ops::RangeInclusive<u16> {
    let first = 10_000 + u16::try_from(std::process::id() % 900).unwrap() * 10;
    first..=first + 9
}

#[tokio::test(flavor = "multi_thread")]
async fn both_servers_connect_in_the_clear() {
    for name in ["proftpd", "vsftpd"] {
        let server = Server::start(name, &[]);
        goes_round(&server, server.endpoint(), false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_servers_connect_and_get_tls_by_the_session_of_the_control_connection() {
    for (name, version) in [("proftpd", "1.3"), ("vsftpd", "1.2")] {
        let server = Server::start(name, &["--tls", "explicit"]);
        goes_round(&server, server.explicit().tls("min", version).tls("max", version), true).await;
    }
}

async fn scripted(script: Script, build: impl FnOnce(Build) -> Build) -> (World, Scripted, Build) {
    let server = Scripted::start(script).await;
    let endpoint =
        build(Build::at(server.port).set("data_connection", "active").set("connect_timeout", "1s"));
    (World::new(Definitions::default()), server, endpoint)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_from_elsewhere_is_refused_and_on_record() {
    let listing = b"type=file;size=1; a\r\n".to_vec();
    let script = Script { strangers: 3, listing, ..Script::default() };
    let (world, _server, endpoint) = scripted(script, |build| build).await;
    let folder = world.folder(&endpoint.done());
    let entries = list(&folder, "in").await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.path.to_text()).collect::<Vec<_>>(), ["a"]);
    drop(folder);
    world.settled().await;
    let closed = world.records.closed.lock().unwrap();
    let refused: Vec<_> = closed.iter().filter(|closed| closed.failed).collect();
    assert_eq!(refused.len(), 3, "{closed:?}");
    assert!(refused.iter().all(|closed| closed.reason.to_string().contains("did not come from the server")));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_from_elsewhere_end_the_wait() {
    let script = Script { strangers: 40, ..Script::default() };
    let (world, _server, endpoint) = scripted(script, |build| build.set("connect_timeout", "30s")).await;
    let error = list(&world.folder(&endpoint.done()), "in").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::PermissionDenied, Retry::Transient), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_connect_is_on_record() {
    let script = Script { answers: &[("MLSD", "150 coming\r\n")], ..Script::default() };
    let (world, _server, endpoint) = scripted(script, |build| build).await;
    let error = list(&world.folder(&endpoint.done()), "in").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unreachable, Retry::Transient), "{error}");
    assert!(error.to_string().contains("passive"), "{error}");
    world.settled().await;
    let failed = world.records.failed.lock().unwrap();
    assert_eq!((failed.len(), failed[0].purpose), (1, Purpose::Data), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_connect_says_so() {
    let refusal = "150 coming\r\n425 cannot connect to you\r\n";
    let answers: &'static [(&str, &str)] = Box::leak(vec![("MLSD", refusal)].into_boxed_slice());
    let (world, _server, endpoint) =
        scripted(Script { answers, ..Script::default() }, |build| build.set("connect_timeout", "30s")).await;
    let error = list(&world.folder(&endpoint.done()), "in").await.unwrap_err();
    assert!(error.to_string().contains("425 cannot connect to you"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_eprt_is_asked_by_port() {
    let listing = b"type=file;size=1; a\r\n".to_vec();
    let script = Script { answers: &[("EPRT", "500 what?\r\n")], listing, ..Script::default() };
    let (world, server, endpoint) = scripted(script, |build| build).await;
    let folder = world.folder(&endpoint.done());
    assert_eq!(list(&folder, "in").await.unwrap().len(), 1);
    assert_eq!(list(&folder, "in").await.unwrap().len(), 1);
    assert_eq!((server.count("EPRT"), server.count("PORT")), (1, 2), "{:?}", server.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_that_are_all_taken_are_told() {
    let (world, _server, endpoint) = scripted(Script::default(), |build| build).await;
    // The server's own port is surely taken.
    let port = _server.port.to_string();
    let error = list(&world.folder(&endpoint.set("active_ports", &port).done()), "in").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Busy, Retry::Transient), "{error}");
}

/// Behind address translation the server is told the address outside, and connects to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_told_the_address_outside() {
    for (refusal, said) in
        [(None, "EPRT |1|127.0.0.2|"), (Some(("EPRT", "500 unknown\r\n")), "PORT 127,0,0,2,")]
    {
        let answers: &'static [(&str, &str)] =
            Box::leak(refusal.into_iter().collect::<Vec<_>>().into_boxed_slice());
        let (world, server, endpoint) = scripted(Script { answers, ..Script::default() }, |build| {
            build.set("active_address", "127.0.0.2")
        })
        .await;
        // Nobody forwards the port here, so the server does not get through.
        let error = list(&world.folder(&endpoint.done()), "in").await.unwrap_err();
        assert_eq!(error.retry(), Retry::Transient, "{error}");
        assert!(server.said().iter().any(|line| line.starts_with(said)), "{:?}", server.said());
    }
    // The address that this machine has anyway changes nothing.
    let server = Server::start("proftpd", &[]);
    goes_round(&server, server.endpoint().set("active_address", "127.0.0.1"), false).await;
}
