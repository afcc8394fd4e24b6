//! Through a proxy's tunnel.

use crate::support::{eventually, listener, net, request};
use model::{ErrorKind, Retry, Secret};
use net::{HttpConnect, Proxy};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Takes one connection, reads the request's head, answers, echoes once. Gives the head.
async fn proxy(answer: &'static [u8]) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let (listener, address) = listener().await;
    let heard = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        socket.write_all(answer).await.unwrap();
        let mut word = [0; 4];
        if socket.read_exact(&mut word).await.is_ok() {
            socket.write_all(&word).await.unwrap();
        }
        String::from_utf8(head).unwrap()
    });
    (address, heard)
}

fn through(address: SocketAddr, credentials: Option<(&str, &str)>) -> net::DialRequest {
    let mut request = request("inside.example", 2222);
    request.proxy = Proxy::HttpConnect(HttpConnect {
        host: address.ip().to_string(),
        port: address.port(),
        credentials: credentials.map(|(user, word)| (user.to_owned(), Secret::new(word.to_owned()))),
    });
    request
}

#[tokio::test]
async fn the_tunnel_carries_bytes_and_the_record_names_both_ends() {
    let (net, log) = net();
    let (address, heard) = proxy(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nSSH-").await;
    let mut stream = net.dial(&through(address, Some(("ada", "lovelace")))).await.unwrap();
    let record = log.last_opened().record;
    assert_eq!(record.host.unwrap().as_str(), "inside.example:2222");
    assert_eq!((record.proxy, record.remote), (Some(address.to_string()), Some(address)));
    let mut early = [0; 4];
    stream.read_exact(&mut early).await.unwrap();
    assert_eq!(&early, b"SSH-");
    stream.write_all(b"ping").await.unwrap();
    let mut back = [0; 4];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"ping");
    let head = heard.await.unwrap();
    assert!(
        head.starts_with("CONNECT inside.example:2222 HTTP/1.1\r\nHost: inside.example:2222\r\n"),
        "{head}"
    );
    assert!(head.contains("Proxy-Authorization: Basic YWRhOmxvdmVsYWNl\r\n"), "{head}");
}

#[tokio::test]
async fn a_proxy_that_refuses_is_told_apart() {
    let cases: [(&'static [u8], ErrorKind, Retry); 4] = [
        (b"HTTP/1.1 407 Who are you\r\n\r\n", ErrorKind::Unauthenticated, Retry::Permanent),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", ErrorKind::PermissionDenied, Retry::Permanent),
        (b"HTTP/1.0 503 Unavailable\r\n\r\n", ErrorKind::Unreachable, Retry::Transient),
        (b"220 mail.example\r\n\r\n", ErrorKind::Protocol, Retry::Permanent),
    ];
    for (answer, kind, retry) in cases {
        let (net, log) = net();
        let (address, _heard) = proxy(answer).await;
        let error = net.dial(&through(address, None)).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{error}");
        assert!(error.to_string().contains("inside.example:2222"), "{error}");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        log.wait_pairs(1).await;
        assert!(log.closed.lock().unwrap()[0].failed);
    }
}

#[tokio::test]
async fn egress_rules_hold_for_the_proxy_and_for_the_address_behind_it() {
    let (net, log) = net();
    let (address, _heard) = proxy(b"HTTP/1.1 200 OK\r\n\r\n").await;
    let mut behind = through(address, None);
    behind.host = "169.254.169.254".to_owned();
    let mut at = through("169.254.1.1:3128".parse().unwrap(), None);
    at.host = "inside.example".to_owned();
    for request in [behind, at] {
        let error = net.dial(&request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    }
    eventually("the failures", || (log.counts() == (0, 0, 2)).then_some(())).await;
    assert!(log.last_failed().proxy.is_some());
}
