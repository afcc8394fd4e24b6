//! What clients do to the server, and what they may not.

use super::{anywhere, fixture, get, route, send};
use crate::support::eventually;
use model::{Error, ErrorKind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn connections_without_a_request_are_recorded_too() {
    let f = fixture(|limits| limits.header_timeout = Duration::from_millis(200));
    // Closed at once.
    drop(TcpStream::connect(f.address).await.unwrap());
    f.log.wait_pairs(1).await;
    // Headers that come byte by byte and never end.
    let begun = Instant::now();
    let mut slow = TcpStream::connect(f.address).await.unwrap();
    let mut cut = false;
    for byte in b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: abcdefghijklmnopqrstuvwxyz".iter() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if slow.write_all(&[*byte]).await.is_err() {
            cut = true;
            break;
        }
    }
    assert!(cut || slow.read_u8().await.is_err());
    assert!(begun.elapsed() < Duration::from_secs(3));
    f.log.wait_pairs(2).await;
    assert!(f.log.closed.lock().unwrap()[1].reason.as_str().contains("head"));
    // Something that is no HTTP.
    assert!(send(f.address, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    f.log.wait_pairs(3).await;
    assert!(f.log.closed.lock().unwrap().iter().all(|closed| closed.failed));
}

#[tokio::test]
async fn headers_have_bounds() {
    let f = fixture(|limits| limits.header_bytes = 16 * 1024);
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "a".repeat(17 * 1024));
    assert!(send(f.address, long).await.starts_with("HTTP/1.1 431 "));
    let endless = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}", "a".repeat(400 * 1024));
    let answer = send(f.address, endless).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let many: String = (0..201).map(|number| format!("X-{number}: y\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n");
    assert!(send(f.address, many).await.starts_with("HTTP/1.1 431 "));
    let allowed = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Long: {}\r\n\r\n",
        "a".repeat(15 * 1024)
    );
    assert!(send(f.address, allowed).await.ends_with("one:0"));
    f.log.wait_pairs(4).await;
    assert_eq!(f.talker.finished.load(Ordering::Relaxed), 1);
    let closed = f.log.closed.lock().unwrap().clone();
    let refused = closed.iter().filter(|closed| closed.reason.as_str().ends_with("answered 431"));
    assert_eq!(refused.count(), 3, "{closed:?}");
}

#[tokio::test]
async fn requests_that_are_refused_are_on_record_with_their_status() {
    let mut f = fixture(|_| {});
    let guard = f.servers.route(&anywhere(), route(None, "/as2"), f.talker.clone()).unwrap();
    // Nothing answers for all paths any more.
    f.guard = Some(guard);
    assert!(send(f.address, get("/elsewhere", "x")).await.starts_with("HTTP/1.1 404 "));
    f.log.wait_pairs(1).await;
    assert!(send(f.address, get("/as2/refuse", "x")).await.starts_with("HTTP/1.1 403 "));
    f.log.wait_pairs(2).await;
    assert!(send(f.address, "no HTTP at all\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    f.log.wait_pairs(3).await;
    assert!(send(f.address, get("/as2", "x")).await.starts_with("HTTP/1.1 200 "));
    f.log.wait_pairs(4).await;
    let closed = f.log.closed.lock().unwrap().clone();
    let reasons: Vec<_> = closed.iter().map(|closed| closed.reason.as_str()).collect();
    for (reason, status) in reasons.iter().zip(["404", "403", "400"]) {
        assert!(reason.ends_with(&format!("; a request was answered {status}")), "{reasons:?}");
    }
    assert!(!reasons[3].contains("answered"), "{reasons:?}");
}

#[tokio::test]
async fn folded_headers_are_read_and_bare_line_feeds_too() {
    let f = fixture(|_| {});
    let folded = "GET /seen HTTP/1.1\r\nHost: x\r\nX-Seen: one;\r\n\ttwo;\r\n  three\r\n\r\n";
    let mut socket = TcpStream::connect(f.address).await.unwrap();
    for piece in folded.as_bytes().chunks(7) {
        socket.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("one;  \ttwo;    three"), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    // A body that looks like a fold stays as it is.
    let body = "POST /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 6\r\n\r\n\r\n x\r\n";
    assert!(send(f.address, body).await.ends_with("one:6"));
    let bare = "GET /seen HTTP/1.1\nHost: x\nConnection: close\nX-Seen: lf\n\n";
    assert!(send(f.address, bare).await.ends_with("lf"));
}

#[tokio::test]
async fn bodies_chunked_counted_stalled_and_broken_off() {
    let f = fixture(|limits| limits.body_idle_timeout = Duration::from_millis(200));
    let head = "POST /in HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
    assert!(send(f.address, chunked).await.ends_with("one:7"));
    assert!(send(f.address, format!("{head}Content-Length: 3\r\n\r\nabc")).await.ends_with("one:3"));

    // Broken off in the middle, closed or reset.
    for reset in [false, true] {
        let mut socket = TcpStream::connect(f.address).await.unwrap();
        socket.write_all(format!("{head}Content-Length: 1000\r\n\r\nabc").as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        if reset {
            socket.set_zero_linger().unwrap();
        }
        drop(socket);
    }
    eventually("the handler to notice", || (f.talker.errors.lock().unwrap().len() == 2).then_some(())).await;
    // Silent in the middle.
    let answer = send(f.address, format!("{head}Content-Length: 1000\r\n\r\nabc")).await;
    assert_eq!(answer, "");
    let kinds: Vec<_> = f.talker.errors.lock().unwrap().iter().map(Error::kind).collect();
    assert_eq!(kinds, [ErrorKind::Unreachable, ErrorKind::Unreachable, ErrorKind::Timeout]);
    f.log.wait_pairs(5).await;
    let failed = f.log.closed.lock().unwrap().iter().filter(|closed| closed.failed).count();
    assert_eq!((failed, f.talker.finished.load(Ordering::Relaxed)), (3, 2));
}

#[tokio::test]
async fn a_body_that_trickles_is_not_waited_for_for_ever() {
    let f = fixture(|limits| {
        limits.body_grace = Duration::from_millis(300);
        limits.body_bytes_per_second = 100_000;
    });
    let mut socket = TcpStream::connect(f.address).await.unwrap();
    socket.write_all(b"POST /in HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n").await.unwrap();
    let (mut answer, mut trickle) = socket.into_split();
    // Never silent.
    let trickling = tokio::spawn(async move {
        while trickle.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    // The end of the connection, or its reset.
    let _ = answer.read_u8().await.unwrap_err();
    trickling.await.unwrap();
    let errors: Vec<String> = f.talker.errors.lock().unwrap().iter().map(|e| e.kind().to_string()).collect();
    assert_eq!(errors, [ErrorKind::Timeout.to_string()]);
    f.log.wait_pairs(1).await;
    let closed = f.log.closed.lock().unwrap()[0].clone();
    assert!(closed.failed && closed.reason.as_str().contains("too slowly"), "{closed:?}");
}

#[tokio::test]
async fn a_client_that_expects_is_told_before_it_sends() {
    let f = fixture(|_| {});
    let head = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    };
    let answer = send(f.address, head("/refuse")).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.ends_with("no"), "{answer}");

    let mut socket = TcpStream::connect(f.address).await.unwrap();
    socket.write_all(head("/in").as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let count = socket.read(&mut answer).await.unwrap();
    assert!(answer[..count].starts_with(b"HTTP/1.1 100 "));
    socket.write_all(b"hello").await.unwrap();
    let count = socket.read(&mut answer).await.unwrap();
    assert!(answer[..count].ends_with(b"one:5"));
}

#[tokio::test]
async fn a_client_that_closed_its_side_gets_its_answer() {
    let f = fixture(|_| {});
    let mut socket = TcpStream::connect(f.address).await.unwrap();
    socket.write_all(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi").await.unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("one:2"), "{answer}");
}

#[tokio::test]
async fn idle_and_unread_connections_end() {
    let f = fixture(|limits| {
        limits.idle_timeout = Duration::from_millis(200);
        limits.write_timeout = Duration::from_millis(200);
    });
    let mut socket = TcpStream::connect(f.address).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("one:0"), "{answer}");
    f.log.wait_pairs(1).await;
    let closed = f.log.closed.lock().unwrap()[0].clone();
    assert_eq!((closed.reason.as_str(), closed.failed), ("idle for too long", false));

    let mut socket = TcpStream::connect(f.address).await.unwrap();
    socket.write_all(get("/flood", "x").as_bytes()).await.unwrap();
    f.log.wait_pairs(2).await;
    let closed = f.log.closed.lock().unwrap()[1].clone();
    assert!(closed.failed && closed.reason.as_str().contains("does not read its answer"), "{closed:?}");
    drop(socket);
}

#[tokio::test]
async fn shutting_down_lets_requests_end_and_cuts_what_is_left() {
    let f = fixture(|_| {});
    let idle = TcpStream::connect(f.address).await.unwrap();
    let in_flight = tokio::spawn(send(f.address, get("/slow", "x")));
    eventually("the request to begin", || (!f.talker.peers.lock().unwrap().is_empty()).then_some(())).await;
    assert_eq!(f.servers.shutdown(Duration::from_secs(5)).await, 0);
    assert!(in_flight.await.unwrap().ends_with("one:0"));
    assert!(TcpStream::connect(f.address).await.is_err());
    drop(idle);
    assert_eq!(f.net.drain(Duration::from_secs(5)).await, 0);
    f.log.wait_pairs(2).await;

    let f = fixture(|_| {});
    let stuck = tokio::spawn(send(f.address, "POST /in HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"));
    eventually("the request to begin", || (!f.talker.peers.lock().unwrap().is_empty()).then_some(())).await;
    assert_eq!(f.servers.shutdown(Duration::from_millis(100)).await, 1);
    assert_eq!(stuck.await.unwrap(), "");
    f.log.wait_pairs(1).await;
    let closed = f.log.closed.lock().unwrap()[0].clone();
    assert!(closed.failed && closed.reason.as_str().contains("the server was stopping"), "{closed:?}");
}

#[tokio::test]
async fn shutting_down_waits_for_requests_of_routes_that_are_gone() {
    let mut f = fixture(|_| {});
    let in_flight = tokio::spawn(send(f.address, get("/slow", "x")));
    eventually("the request to begin", || (!f.talker.peers.lock().unwrap().is_empty()).then_some(())).await;
    drop(f.guard.take());
    assert_eq!(f.servers.shutdown(Duration::from_secs(5)).await, 0);
    assert_eq!(f.talker.finished.load(Ordering::Relaxed), 1);
    assert!(in_flight.await.unwrap().ends_with("one:0"));
}
