//! What goes wrong before there is a connection, and how it is told.

use crate::support::{eventually, listener, names, net, net_with, refusing, request, to};
use model::{ErrorKind, Retry};
use net::EgressRules;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::{TcpSocket, TcpStream};

/// An address where connections are neither taken nor refused: the queue of its listener is full.
/// What it returns must be held.
async fn black_hole() -> (SocketAddr, impl Sized) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        held.push(stream.unwrap());
    }
    (address, (listener, held))
}

#[tokio::test]
async fn a_refused_connection_names_host_and_address() {
    let (net, log) = net();
    let address = refusing().await;
    let mut request = to(address);
    request.host = "localhost".to_owned();
    let error = net.dial(&request).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unreachable, Retry::Transient));
    let text = error.to_string();
    assert!(text.contains(&format!("localhost:{}", address.port())), "{text}");
    assert!(text.contains("127.0.0.1") || text.contains("[::1]"), "{text}");
    assert!(text.contains("the host refused"), "{text}");
    let failed = eventually("the failure", || log.failed.lock().unwrap().first().cloned()).await;
    assert_eq!(failed.host.as_str(), format!("localhost:{}", address.port()));
    assert!(failed.remote.is_some() && failed.error.as_str().contains("refused"), "{failed:?}");
    assert!(error.to_string().contains(&format!("connection {}", failed.id)), "{error}");
    assert_eq!(log.counts(), (0, 0, 1));
}

#[tokio::test]
async fn an_unknown_name() {
    // The system's own resolver, and one that surely answers.
    for (net, log) in [net(), net_with(|s| s.resolver = names(&[]))] {
        let error = net.dial(&request("no-such-host.invalid", 22)).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unreachable, Retry::Transient));
        assert_eq!(error.operation(), "find the host's address");
        assert!(error.to_string().contains("no-such-host.invalid:22"), "{error}");
        let failed = eventually("the failure", || log.failed.lock().unwrap().first().cloned()).await;
        assert_eq!(failed.remote, None);
    }
}

#[tokio::test]
async fn a_black_hole_times_out_and_the_next_address_is_tried() {
    let (hole, _held) = black_hole().await;
    let (net, log) = net();
    let mut patient = to(hole);
    patient.timeout = Duration::from_millis(300);
    let begun = Instant::now();
    let error = net.dial(&patient).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Transient));
    assert!(error.to_string().contains(&hole.to_string()), "{error}");
    eventually("the failure", || (log.counts() == (0, 0, 1)).then_some(())).await;

    let (_listener, good) = listener().await;
    let refusing = refusing().await;
    let (net, log) = net_with(|s| s.resolver = names(&[("many.example", &[refusing, hole, good])]));
    let mut request = request("many.example", 22);
    request.timeout = Duration::from_millis(900);
    let stream = net.dial(&request).await.unwrap();
    assert_eq!(stream.handle().remote(), Some(good));
    assert_eq!(log.last_opened().record.host.unwrap().as_str(), "many.example:22");
}

#[tokio::test]
async fn forbidden_addresses_are_refused_also_behind_a_name() {
    let (_listener, good) = listener().await;
    let metadata: SocketAddr = "169.254.169.254:80".parse().unwrap();
    let mapped: SocketAddr = "[::ffff:169.254.169.254]:80".parse().unwrap();
    let resolver = names(&[("meta.example", &[metadata, mapped]), ("mixed.example", &[metadata, good])]);
    let (net, log) = net_with(|s| s.resolver = resolver);
    for host in ["169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "0.0.0.0", "224.0.0.1", "meta.example"] {
        let error = net.dial(&request(host, 80)).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::PermissionDenied, Retry::Permanent), "{error}");
        assert!(error.to_string().contains("egress"), "{error}");
    }
    eventually("the failures", || (log.counts() == (0, 0, 6)).then_some(())).await;
    assert!(log.last_failed().remote.is_some());
    // Of several addresses, those that may be used are.
    let stream = net.dial(&request("mixed.example", 80)).await.unwrap();
    assert_eq!(stream.handle().remote(), Some(good));

    let rules = EgressRules { allow_loopback: false, allow: Vec::new() };
    let (net, _log) = net_with(|s| s.egress = rules);
    let error = net.dial(&to(good)).await.unwrap_err();
    assert!(error.to_string().contains("loopback"), "{error}");
}

#[tokio::test]
async fn an_attempt_that_is_given_up_is_recorded() {
    let (hole, _held) = black_hole().await;
    let (net, log) = net();
    let given_up = tokio::time::timeout(Duration::from_millis(50), net.dial(&to(hole))).await;
    assert!(given_up.is_err());
    let failed = eventually("the failure", || log.failed.lock().unwrap().first().cloned()).await;
    assert_eq!(failed.remote, Some(hole));
    assert!(failed.error.as_str().contains("cancelled before"), "{failed:?}");
}

#[tokio::test]
async fn ipv6_in_brackets() {
    let Ok(listener) = tokio::net::TcpListener::bind("[::1]:0").await else { return };
    let address = listener.local_addr().unwrap();
    let (net, log) = net();
    let stream = net.dial(&request("[::1]", address.port())).await.unwrap();
    assert_eq!(stream.handle().remote(), Some(address));
    assert_eq!(log.last_opened().record.host.unwrap().as_str(), format!("[::1]:{}", address.port()));
}
