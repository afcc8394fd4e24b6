//! Through proxies: real ones, and ones that do as they are told.

mod real;

use crate::support::{eventually, listener, names, net, net_with, refusing, request};
use model::{ErrorKind, Proxy, Retry, Secret};
use net::{DialRequest, EgressRules, Net, ProxyChoice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
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
        if !answer.is_empty() && socket.read_exact(&mut word).await.is_ok() {
            socket.write_all(&word).await.unwrap();
        }
        String::from_utf8(head).unwrap()
    });
    (address, heard)
}

/// A SOCKS5 proxy that asks for no login and gives this reply.
async fn socks(reply: u8) -> SocketAddr {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut hello = [0; 3];
        socket.read_exact(&mut hello).await.unwrap();
        socket.write_all(&[5, 0]).await.unwrap();
        let mut head = [0; 5];
        socket.read_exact(&mut head).await.unwrap();
        let mut rest = vec![0; usize::from(head[4]) + 2];
        socket.read_exact(&mut rest).await.unwrap();
        socket.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        let _ = socket.read_u8().await;
    });
    address
}

fn choice(url: &str, login: Option<(&str, &str)>) -> ProxyChoice {
    let login = login.map(|(user, word)| (user.to_owned(), Secret::new(word.to_owned())));
    ProxyChoice::Through(Arc::new(Proxy::new(url, login).unwrap()))
}

fn through(address: SocketAddr, credentials: Option<(&str, &str)>) -> DialRequest {
    let mut request = request("inside.example", 2222);
    request.proxy = choice(&format!("http://{address}"), credentials);
    request
}

#[tokio::test]
async fn the_tunnel_carries_bytes_and_the_record_names_both_ends() {
    let (net, log) = net();
    let (address, heard) = proxy(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nSSH-").await;
    let mut stream = net.dial(&through(address, Some(("ada", "lovelace")))).await.unwrap();
    let record = log.last_opened().record;
    assert_eq!(record.host.unwrap().as_str(), "inside.example:2222");
    assert_eq!((record.proxy, record.remote), (Some(format!("http://{address}")), Some(address)));
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
    let cases: [(&'static [u8], ErrorKind, Retry, &str); 6] = [
        (
            b"HTTP/1.1 407 Who are you\r\nProxy-Authenticate: NTLM\r\n\r\n",
            ErrorKind::Unauthenticated,
            Retry::Permanent,
            "with NTLM, but Waybill supports Basic authentication only",
        ),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", ErrorKind::PermissionDenied, Retry::Permanent, "403 Forbidden"),
        (
            b"HTTP/1.0 503 Unavailable\r\nProxy-Status: p; error=dns_error\r\n\r\n",
            ErrorKind::Unreachable,
            Retry::Transient,
            "503 Unavailable; p; error=dns_error",
        ),
        (b"HTTP/1.1 400 Bad\r\n\r\n", ErrorKind::Rejected, Retry::Permanent, "400 Bad"),
        (b"220 mail.example\r\n\r\n", ErrorKind::Protocol, Retry::Permanent, "220 mail.example"),
        (b"", ErrorKind::Unreachable, Retry::Transient, "closed the connection without an answer"),
    ];
    for (answer, kind, retry, words) in cases {
        let (net, log) = net();
        let (address, _heard) = proxy(answer).await;
        let error = net.dial(&through(address, None)).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{error}");
        for part in ["inside.example:2222", &address.to_string(), words, "through the proxy"] {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
        log.wait_pairs(1).await;
        assert!(log.closed.lock().unwrap()[0].failed);
    }
}

#[tokio::test]
async fn replies_of_socks5_are_told_apart() {
    for (reply, kind, retry, words) in [
        (1, ErrorKind::Unreachable, Retry::Transient, "General SOCKS server failure"),
        (2, ErrorKind::PermissionDenied, Retry::Permanent, "not allowed by ruleset"),
        (4, ErrorKind::Unreachable, Retry::Transient, "Host unreachable"),
        (8, ErrorKind::Unsupported, Retry::Permanent, "Address type not supported"),
    ] {
        let (net, _log) = net();
        let mut request = request("inside.example", 2222);
        request.proxy = choice(&format!("socks5://{}", socks(reply).await), None);
        let error = net.dial(&request).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_proxy_that_never_answers_is_named_in_the_end() {
    for scheme in ["http", "socks5"] {
        let (net, log) = net();
        let (listener, address) = listener().await;
        let mut request = request("inside.example", 2222);
        request.proxy = choice(&format!("{scheme}://{address}"), None);
        request.timeout = Duration::from_millis(300);
        let error = net.dial(&request).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Transient), "{error}");
        assert_eq!(error.operation(), "open a tunnel through the proxy");
        assert!(
            error.to_string().contains("the proxy accepted the connection but did not answer"),
            "{error}"
        );
        log.wait_pairs(1).await;
        drop(listener);
    }
}

#[tokio::test]
async fn a_proxy_that_cannot_be_reached_is_not_taken_for_the_host() {
    let (net, log) = net();
    let address = refusing().await;
    let error = net.dial(&through(address, None)).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.operation()),
        (ErrorKind::Unreachable, "connect to the proxy"),
        "{error}"
    );
    assert!(error.to_string().contains("the proxy refused the connection"), "{error}");
    let mut unknown = through(address, None);
    unknown.proxy = choice("socks5://no-such-proxy.example:1080", None);
    let error = net.dial(&unknown).await.unwrap_err();
    assert_eq!(error.operation(), "find the proxy's address", "{error}");
    eventually("the failures", || (log.counts() == (0, 0, 2)).then_some(())).await;
    let failed = log.last_failed();
    assert_eq!(failed.proxy.as_deref(), Some("socks5://no-such-proxy.example:1080"));
    assert_eq!(failed.host.as_str(), "inside.example:2222");
}

#[tokio::test]
async fn egress_rules_hold_for_the_proxy_and_for_the_address_behind_it() {
    let (net, log) = net();
    let (address, _heard) = proxy(b"HTTP/1.1 200 OK\r\n\r\n").await;
    let mut requests = vec![through("169.254.1.1:3128".parse().unwrap(), None)];
    // Resolvers take addresses in all of these forms, and a proxy hands them to its resolver.
    for host in [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "169.254.43518",
        "0251.0376.0251.0376",
        "[::ffff:169.254.169.254]",
        "fd00:ec2::254",
        "metadata.google.internal",
        "Metadata.Google.Internal.",
    ] {
        let mut behind = through(address, None);
        behind.host = host.to_owned();
        requests.push(behind);
    }
    let count = requests.len();
    for request in requests {
        let error = net.dial(&request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{}: {error}", request.host);
    }
    eventually("the failures", || (log.counts() == (0, 0, count)).then_some(())).await;
    assert!(log.last_failed().proxy.is_some());
}

/// A net whose owner named a proxy, and forbade loopback.
fn owned(proxy: SocketAddr) -> Net {
    let (net, _log) = net_with(|settings| {
        settings.proxy = Some(Arc::new(Proxy::new(&format!("http://{proxy}"), None).unwrap()));
        settings.egress = EgressRules { allow_loopback: false, allow: Vec::new() };
        settings.resolver = names(&[]);
    });
    net
}

#[tokio::test]
async fn the_owners_proxy_is_used_where_no_other_is_named_and_may_be_local() {
    let (address, heard) = proxy(b"HTTP/1.1 200 OK\r\n\r\n").await;
    let net = owned(address);
    let mut asked = request("inside.example", 2222);
    asked.proxy = ProxyChoice::Process;
    drop(net.dial(&asked).await.unwrap());
    assert!(heard.await.unwrap().starts_with("CONNECT inside.example:2222"));
    // Who edits endpoints may not reach this machine by naming the same proxy.
    asked.proxy = choice(&format!("http://{address}"), None);
    assert_eq!(net.dial(&asked).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    // Behind it, loopback stays forbidden: it would be the proxy's, but nobody can tell.
    asked.proxy = ProxyChoice::Process;
    for host in ["127.0.0.1", "127.1", "localhost", "A.localhost."] {
        asked.host = host.to_owned();
        assert_eq!(net.dial(&asked).await.unwrap_err().kind(), ErrorKind::PermissionDenied, "{host}");
    }
    // Without a proxy the name is looked up here.
    asked.proxy = ProxyChoice::Disabled;
    asked.host = "inside.example".to_owned();
    let error = net.dial(&asked).await.unwrap_err();
    assert_eq!(error.operation(), "find the host's address", "{error}");
}
