//! What strangers may take, and who they are behind proxies.

use super::{Fixture, anywhere, fixture, get, route, send, talker};
use crate::support::{eventually, net};
use net::http::{ForwardedHeader, HttpServers, ListenSpec, ServerLimits, TrustedProxies};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Connects from an address of this machine's own.
pub(super) async fn connect_from(from: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Whether the server has closed a connection: by then it has nothing to say on it.
async fn is_closed(socket: &mut TcpStream) -> bool {
    let mut byte = [0; 1];
    let read = tokio::time::timeout(Duration::from_millis(300), socket.read(&mut byte)).await;
    !matches!(read, Err(_) | Ok(Ok(1)))
}

pub(super) async fn exchange(socket: &mut TcpStream, request: &str) -> String {
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 64 * 1024];
    let mut length = 0;
    while !String::from_utf8_lossy(&answer[..length]).contains("\r\n\r\n") {
        match tokio::time::timeout(Duration::from_secs(10), socket.read(&mut answer[length..])).await.unwrap()
        {
            Ok(count) if count > 0 => length += count,
            _ => break,
        }
    }
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

const KEPT: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// A thousand idle connections of one client, renewed as they are closed: others go on, and the record has one
/// line for all that were refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_of_one_client_leave_room_for_others() {
    let f = fixture(|limits| {
        limits.connections = 64;
        limits.connections_per_client = 16;
        limits.report_every = Duration::from_millis(200);
    });
    let mut partner = connect_from("127.0.0.2", f.address).await;
    assert!(exchange(&mut partner, KEPT).await.contains("200 OK"));
    let mut idle = Vec::new();
    for _ in 0..1000 {
        idle.push(connect_from("127.0.0.9", f.address).await);
    }
    eventually("the refusals", || (f.servers.numbers()[0].refused_client == 984).then_some(())).await;
    let numbers = f.servers.numbers().remove(0);
    assert_eq!((numbers.accepted, numbers.open, numbers.refused_listener), (1001, 17, 0), "{numbers:?}");
    assert!(exchange(&mut partner, KEPT).await.contains("200 OK"));
    for from in ["127.0.0.3", "127.0.0.4"] {
        let mut other = connect_from(from, f.address).await;
        assert!(exchange(&mut other, KEPT).await.contains("200 OK"));
    }
    // A little later the client's own oldest goes for its newest.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let mut newest = connect_from("127.0.0.9", f.address).await;
    assert!(exchange(&mut newest, KEPT).await.contains("200 OK"));
    let numbers = f.servers.numbers().remove(0);
    assert_eq!((numbers.closed_for_others, numbers.refused_client), (1, 984));
    assert!(!is_closed(&mut partner).await);
    eventually("the report", || {
        let reports = f.log.turned_away.lock().unwrap();
        let (refused, closed) = reports.iter().fold((0, 0), |(r, c), sum| (r + sum.refused, c + sum.closed));
        ((refused, closed) == (984, 1) && reports.len() < 20).then_some(())
    })
    .await;
    // Only those that were let in are connections on record.
    drop((idle, newest, partner));
    eventually("the ends", || (f.net.connections() == 0).then_some(())).await;
    f.log.wait_pairs(20).await;
}

/// All places taken from many addresses: the longest idle one goes, and never one at work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_idle_connection_of_a_full_address_goes() {
    let f = fixture(|limits| {
        limits.connections = 8;
        limits.idle_before_closed = Duration::ZERO;
    });
    let mut held = Vec::new();
    for last in 10..18 {
        held.push(connect_from(&format!("127.0.0.{last}"), f.address).await);
        eventually("the place", || (f.servers.numbers()[0].open == held.len() as u64).then_some(())).await;
    }
    // The first is at work, so the second goes; then the third, which has asked and is idle again, stays.
    held[0].write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe").await.unwrap();
    assert!(exchange(&mut held[2], KEPT).await.contains("200 OK"));
    let mut newcomers = Vec::new();
    for last in [30, 31] {
        let mut newcomer = connect_from(&format!("127.0.0.{last}"), f.address).await;
        assert!(exchange(&mut newcomer, KEPT).await.contains("200 OK"));
        newcomers.push(newcomer);
    }
    let mut closed = Vec::new();
    for (place, socket) in held.iter_mut().enumerate().skip(1) {
        if is_closed(socket).await {
            closed.push(place);
        }
    }
    assert_eq!(closed, [1, 3]);
    assert!(exchange(&mut held[0], "llo").await.contains("200 OK"));
    let reason = "closed while idle, to make room for another connection before it was established";
    eventually("the records", || {
        let records = f.log.closed.lock().unwrap();
        (records.iter().filter(|record| record.reason.as_str() == reason).count() == 2).then_some(())
    })
    .await;
}

/// A request that only waits for others makes room like an idle connection; one at work does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_whose_request_waits_goes_for_a_new_one() {
    let f = fixture(|limits| {
        limits.connections = 2;
        limits.idle_before_closed = Duration::ZERO;
    });
    let mut waiting = connect_from("127.0.0.10", f.address).await;
    waiting.write_all(b"GET /waits HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    eventually("the waiting one", || (f.talker.peers.lock().unwrap().len() == 1).then_some(())).await;
    let mut working = connect_from("127.0.0.11", f.address).await;
    working.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe").await.unwrap();
    eventually("the one at work", || (f.talker.peers.lock().unwrap().len() == 2).then_some(())).await;
    let mut newcomer = connect_from("127.0.0.12", f.address).await;
    assert!(exchange(&mut newcomer, KEPT).await.contains("200 OK"));
    assert!(is_closed(&mut waiting).await);
    assert!(exchange(&mut working, "llo").await.contains("200 OK"));
    let reason = "closed while its request waited, to make room for another connection";
    eventually("the record", || {
        let records = f.log.closed.lock().unwrap();
        records.iter().any(|record| record.failed && record.reason.as_str() == reason).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_says_nothing_or_speaks_slowly_is_not_waited_for() {
    let f = fixture(|limits| {
        limits.first_byte_timeout = Duration::from_millis(100);
        limits.header_timeout = Duration::from_millis(400);
    });
    assert_eq!(send(f.address, "").await, "");
    let closed = eventually("the end", || f.log.closed.lock().unwrap().first().cloned()).await;
    assert!(closed.failed && closed.reason.as_str().starts_with("nothing was sent"), "{closed:?}");
    let mut slow = TcpStream::connect(f.address).await.unwrap();
    for byte in KEPT.bytes().take(KEPT.len() - 1) {
        tokio::time::sleep(Duration::from_millis(40)).await;
        if slow.write_all(&[byte]).await.is_err() {
            break;
        }
    }
    f.log.wait_pairs(2).await;
    let closed = f.log.closed.lock().unwrap()[1].clone();
    assert!(closed.reason.as_str().starts_with("the request's header did not arrive in time"), "{closed:?}");
}

pub(super) fn behind(proxies: &[&str], header: ForwardedHeader, spec: ListenSpec) -> Fixture {
    behind_within(ServerLimits::default(), proxies, header, spec)
}

fn behind_within(
    limits: ServerLimits,
    proxies: &[&str],
    header: ForwardedHeader,
    spec: ListenSpec,
) -> Fixture {
    let (net, log) = net();
    let networks = proxies.iter().map(|network| network.parse().unwrap()).collect();
    let servers = HttpServers::behind(&net, limits, TrustedProxies { networks, header });
    let talker = talker("one");
    let guard = servers.route(&spec, route(None, "/"), talker.clone()).unwrap();
    let address = guard.local_addr();
    Fixture { net, log, servers, guard: Some(guard), talker, address }
}

fn with_header(header: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n\r\n")
}

#[tokio::test]
async fn the_last_address_that_is_no_trusted_proxys_is_on_record() {
    let f = behind(&["127.0.0.0/8", "10.0.0.0/8"], ForwardedHeader::Either, anywhere());
    for (header, client) in [
        ("X-Forwarded-For: 198.51.100.66, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("Forwarded: for=198.51.100.66, for=\"[2001:db8::7]:4711\";proto=https", "[2001:db8::7]:4711"),
        ("x-forwarded-for: [2001:db8::8]:1", "[2001:db8::8]:1"),
        ("x-forwarded-for: ::ffff:203.0.113.7", "203.0.113.7"),
    ] {
        assert!(send(f.address, with_header(header)).await.contains("200 OK"));
        let record = f.log.last_opened().record;
        assert_eq!(record.remote.map(model::address_text).as_deref(), Some(client), "{header}");
        assert!(record.proxy.unwrap().starts_with("127.0.0.1:"));
        let peer = f.talker.peers.lock().unwrap().pop().unwrap();
        assert_eq!((peer.address().as_str(), peer.proxy.is_some()), (client, true));
    }
    // Who is not named leaves the proxy's own address.
    for header in ["X-Forwarded-For: me", "Forwarded: for=_secret"] {
        assert!(send(f.address, with_header(header)).await.contains("200 OK"));
        let record = f.log.last_opened().record;
        assert!(record.remote.unwrap().ip().is_loopback() && record.proxy.is_none(), "{header}: {record:?}");
    }
    // One kept connection of a proxy carries requests of several clients: each counts as its own.
    let mut kept = TcpStream::connect(f.address).await.unwrap();
    f.talker.peers.lock().unwrap().clear();
    for client in ["203.0.113.1", "203.0.113.2"] {
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\n\r\n");
        assert!(exchange(&mut kept, &request).await.contains("200 OK"));
    }
    let peers: Vec<String> =
        f.talker.peers.lock().unwrap().iter().map(net::http::PeerInfo::address).collect();
    assert_eq!(peers, ["203.0.113.1", "203.0.113.2"]);
}

/// Whoever adds a header of its own to those of its proxy does not get the proxy's address on record instead of
/// its own; and one client behind a proxy does not take what all of them have.
#[tokio::test]
async fn one_client_behind_a_proxy_neither_hides_nor_takes_all() {
    let f = behind(&["127.0.0.0/8"], ForwardedHeader::Either, anywhere());
    for header in [
        "X-Forwarded-For: 203.0.113.9\r\nForwarded: for=1.2.3.4",
        "X-Forwarded-For: 203.0.113.9\r\nForwarded: for=unknown",
        "Forwarded: for=\"x, for=203.0.113.9",
    ] {
        let answer = send(f.address, with_header(header)).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("Forwarded"), "{header}: {answer}");
    }
    assert!(f.talker.peers.lock().unwrap().is_empty());
    // Where it is said which header counts, the other is not looked at.
    let named = behind(&["127.0.0.0/8"], ForwardedHeader::XForwardedFor, anywhere());
    let both = with_header("X-Forwarded-For: 203.0.113.9\r\nForwarded: for=\"1.2.3.4");
    assert!(send(named.address, both).await.contains("200 OK"));

    let limits = ServerLimits { connections_per_client: 2, ..ServerLimits::default() };
    let f = behind_within(limits, &["127.0.0.0/8"], ForwardedHeader::Either, anywhere());
    let request = |client: &str| {
        format!("POST / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\nContent-Length: 2\r\n\r\n")
    };
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut socket = TcpStream::connect(f.address).await.unwrap();
        socket.write_all(request("203.0.113.9").as_bytes()).await.unwrap();
        held.push(socket);
        eventually("the request", || (f.talker.peers.lock().unwrap().len() == held.len()).then_some(()))
            .await;
    }
    let third = send(f.address, request("203.0.113.9") + "ok").await;
    assert!(
        third.starts_with("HTTP/1.1 429 ") && third.to_lowercase().contains("retry-after: 10"),
        "{third}"
    );
    let mut other = TcpStream::connect(f.address).await.unwrap();
    assert!(exchange(&mut other, &(request("203.0.113.10") + "ok")).await.contains("200 OK"));
    // A proxy in front that names nobody stands for all of its clients.
    let mut nameless = Vec::new();
    for _ in 0..3 {
        let mut socket = TcpStream::connect(f.address).await.unwrap();
        socket.write_all((request("127.0.0.7") + "o").as_bytes()).await.unwrap();
        nameless.push(socket);
    }
    for socket in &mut nameless {
        assert!(exchange(socket, "k").await.contains("200 OK"));
    }
    // When one is answered there is room again, on a connection that carried another client's before.
    assert!(exchange(&mut held[0], "ok").await.contains("200 OK"));
    eventually("the place", || (f.servers.numbers()[0].requests >= 7).then_some(())).await;
    assert!(exchange(&mut other, &(request("203.0.113.9") + "ok")).await.contains("200 OK"));
}

#[tokio::test]
async fn headers_of_strangers_are_ignored() {
    for proxies in [&[][..], &["10.0.0.0/8"]] {
        let f = behind(proxies, ForwardedHeader::Either, anywhere());
        let request = with_header("X-Forwarded-For: 203.0.113.9\r\nForwarded: for=203.0.113.9");
        assert!(send(f.address, request).await.contains("200 OK"));
        let record = f.log.last_opened().record;
        assert!(record.remote.unwrap().ip().is_loopback() && record.proxy.is_none());
        assert!(f.talker.peers.lock().unwrap()[0].remote.ip().is_loopback());
        // Nor is a PROXY header guessed.
        let answer =
            send(f.address, format!("PROXY TCP4 203.0.113.9 127.0.0.1 1 2\r\n{}", get("/", "x"))).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") || answer.is_empty(), "{answer}");
    }
}

#[tokio::test]
async fn a_proxy_header_comes_first_where_it_is_switched_on() {
    let spec = ListenSpec { proxy_protocol: true, ..anywhere() };
    let f = behind(&["127.0.0.1", "10.0.0.0/8"], ForwardedHeader::Either, spec.clone());
    let answer =
        send(f.address, format!("PROXY TCP4 203.0.113.9 127.0.0.1 4711 80\r\n{}", get("/", "x"))).await;
    assert!(answer.contains("200 OK"), "{answer}");
    let record = f.log.last_opened().record;
    assert_eq!(record.remote, Some("203.0.113.9:4711".parse().unwrap()));
    assert!(record.proxy.unwrap().starts_with("127.0.0.1:"));
    // A client behind the load balancer is no trusted proxy: its headers are its own invention.
    let request = with_header("X-Forwarded-For: 198.51.100.66");
    send(f.address, format!("PROXY TCP6 2001:db8::9 ::1 4711 80\r\n{request}")).await;
    assert_eq!(f.log.last_opened().record.remote, Some("[2001:db8::9]:4711".parse().unwrap()));
    // One that is: its word counts.
    send(f.address, format!("PROXY TCP4 10.0.0.5 127.0.0.1 4711 80\r\n{request}")).await;
    assert_eq!(f.log.last_opened().record.remote, Some("198.51.100.66:0".parse().unwrap()));
    // Health checks speak for the load balancer itself.
    assert!(send(f.address, format!("PROXY UNKNOWN\r\n{}", get("/", "x"))).await.contains("200 OK"));
    assert!(f.log.last_opened().record.remote.unwrap().ip().is_loopback());
    let finished = f.talker.finished.load(Ordering::Relaxed);
    // Without the header, with a broken one, or from elsewhere nothing is answered.
    assert_eq!(send(f.address, get("/", "x")).await, "");
    assert_eq!(send(f.address, "PROXY TCP4 203.0.113.9\r\n").await, "");
    let mut stranger = connect_from("127.0.0.2", f.address).await;
    let header = format!("PROXY TCP4 203.0.113.9 127.0.0.1 4711 80\r\n{}", get("/", "x"));
    let _ = stranger.write_all(header.as_bytes()).await;
    assert!(is_closed(&mut stranger).await);
    assert_eq!(f.talker.finished.load(Ordering::Relaxed), finished);
    f.log.wait_pairs(7).await;
    let failed: Vec<_> =
        f.log.closed.lock().unwrap().iter().filter(|closed| closed.failed).cloned().collect();
    assert_eq!(failed.len(), 3, "{failed:?}");
    assert!(
        failed.iter().any(|closed| closed.reason.as_str().contains("trusted proxies only")),
        "{failed:?}"
    );
}

/// A large POST to a path where nothing is, by a client that looks for the answer only when all is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_request_to_nobody_is_read_on_for_its_answer_to_be_seen() {
    let f = fixture(|_| {});
    let guard = f.guard;
    let elsewhere = f.servers.route(&anywhere(), route(None, "/as2"), talker("as2")).unwrap();
    drop(guard);
    let body = vec![b'x'; 40 << 20];
    for (path, status) in [("/wrong", "404"), ("/as2/refuse", "403")] {
        for chunked in [false, true] {
            let mut socket = TcpStream::connect(f.address).await.unwrap();
            let length = match chunked {
                true => "Transfer-Encoding: chunked".to_owned(),
                false => format!("Content-Length: {}", body.len()),
            };
            let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{length}\r\n\r\n");
            socket.write_all(head.as_bytes()).await.unwrap();
            if chunked {
                socket.write_all(format!("{:x}\r\n", body.len()).as_bytes()).await.unwrap();
            }
            socket.write_all(&body).await.expect("the server must read on");
            if chunked {
                socket.write_all(b"\r\n0\r\n\r\n").await.unwrap();
            }
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        }
    }
    // Who waits for a word before the body gets the answer instead, and no go-ahead.
    let head = "POST /wrong HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    let answer = send(f.address, head).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    // Who announces a body and sends none gets it after a while.
    let answer = send(f.address, "POST /wrong HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    drop(elsewhere);
}

/// Requests that two servers may read in two ways, each with a second request behind that must not be served.
#[tokio::test]
async fn requests_of_two_meanings_are_refused() {
    let f = fixture(|_| {});
    let hidden = "GET /seen HTTP/1.1\r\nHost: x\r\nX-Seen: smuggled\r\n\r\n";
    for head in [
        "POST / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "POST http://x/ HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2, 3\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\n Content-Length: 2\r\nno header line\r\n\r\n",
        "POST / HTTP/1.1\r\n Host: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
    ] {
        let answer = send(f.address, format!("{head}{hidden}")).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.0 400 "),
            "{head}: {answer}"
        );
        assert!(!answer.contains("smuggled"), "{head}: {answer}");
    }
    // With both, the coding counts, and the connection ends: what follows is no request.
    for (one, other) in [
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 5"),
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\n{one}\r\n{other}\r\n\r\n0\r\n\r\n");
        let answer = send(f.address, format!("{head}{hidden}")).await;
        assert!(answer.contains("connection: close") && answer.ends_with("one:0"), "{head}: {answer}");
    }
    // Bodies whose end cannot be found end the connection.
    for chunks in [
        "zz\r\nab\r\n0\r\n\r\n",
        "2\r\nabc\r\n0\r\n\r\n",
        "2;\nab\r\n0\r\n\r\n",
        "-1\r\n",
        "11111111111111111\r\n",
        "2 2\r\nab\r\n0\r\n\r\n",
    ] {
        let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = send(f.address, format!("{head}{chunks}{hidden}")).await;
        assert!(!answer.contains("smuggled") && !answer.contains("200 OK"), "{chunks}: {answer}");
    }
    // What is plain stays plain: HTTP/1.0 without a Host, an empty Host, one length said twice alike.
    for fine in [
        "POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost:\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: [::1]:8080\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab",
    ] {
        let answer = send(f.address, fine).await;
        assert!(answer.ends_with("one:2"), "{fine}: {answer}");
    }
}

#[tokio::test]
async fn a_listeners_numbers_add_up() {
    let f = fixture(|_| {});
    let request = get("/", "x");
    assert!(send(f.address, &request).await.ends_with("one:0"));
    assert!(send(f.address, get("/refuse", "x")).await.starts_with("HTTP/1.1 403 "));
    f.log.wait_pairs(2).await;
    let numbers = f.servers.numbers().remove(0);
    assert_eq!((numbers.listener.as_str(), numbers.address), ("test", f.address));
    assert_eq!((numbers.accepted, numbers.open, numbers.requests, numbers.requests_refused), (2, 0, 2, 1));
    let closed = f.log.closed.lock().unwrap();
    assert_eq!(numbers.bytes_in, closed.iter().map(|closed| closed.bytes_in).sum::<u64>());
    assert_eq!(numbers.bytes_out, closed.iter().map(|closed| closed.bytes_out).sum::<u64>());
}
