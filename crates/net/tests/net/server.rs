//! HTTP in: routes, limits, bad clients, shutting down.

use crate::support::certificates::server as server_certificate;
use crate::support::{MemoryLog, eventually, net};
use http::{Request, Response, StatusCode};
use model::{Direction, Error, ErrorKind, Protocol, Purpose, Result, Secret, Security};
use net::http::{
    Body, Handler, HttpServers, ListenSpec, PeerInfo, Route, RouteGuard, ServerLimits, TowerHandler,
};
use net::{Net, ServerTls, ServerTlsOptions};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Says its name and how many bytes it got; does what the path says.
struct Talker {
    name: &'static str,
    finished: AtomicUsize,
    errors: Mutex<Vec<Error>>,
    peers: Mutex<Vec<PeerInfo>>,
}

fn talker(name: &'static str) -> Arc<Talker> {
    Arc::new(Talker {
        name,
        finished: AtomicUsize::new(0),
        errors: Mutex::default(),
        peers: Mutex::default(),
    })
}

#[async_trait::async_trait]
impl Handler for Talker {
    async fn handle(&self, request: Request<Body>, peer: PeerInfo) -> Result<Response<Body>> {
        assert_eq!(request.extensions().get::<PeerInfo>().unwrap().connection, peer.connection);
        self.peers.lock().unwrap().push(peer);
        let path = request.uri().path().to_owned();
        let seen = request.headers().get("x-seen").map(|value| value.as_bytes().to_vec());
        match path.rsplit('/').next().unwrap_or_default() {
            "refuse" => {
                let mut answer = Response::new(Body::bytes("no"));
                *answer.status_mut() = StatusCode::FORBIDDEN;
                return Ok(answer);
            }
            "panic" => panic!("as the test wants"),
            "silence" => return Err(Error::ambiguous(ErrorKind::Internal, "commit the message")),
            "seen" => return Ok(Response::new(Body::bytes(seen.unwrap_or_default()))),
            "flood" => {
                let pieces = futures::stream::unfold((), |()| async {
                    Some((Ok(bytes::Bytes::from_static(&[0; 65_536])), ()))
                });
                return Ok(Response::new(Body::stream(pieces, None)));
            }
            _ => {}
        }
        let body = request.into_body().collect(1 << 20).await;
        let body = body.inspect_err(|error| {
            let copy = Error::new(error.kind(), error.retry(), error.operation().to_owned());
            self.errors.lock().unwrap().push(copy);
        })?;
        if path.ends_with("slow") {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        self.finished.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(Body::bytes(format!("{}:{}", self.name, body.len()))))
    }
}

fn route(host: Option<&str>, path: &str) -> Route {
    Route {
        host: host.map(str::to_owned),
        path: path.to_owned(),
        protocol: Protocol::As2,
        purpose: Purpose::Receive,
        endpoint: Some("as2-in".to_owned()),
    }
}

fn anywhere() -> ListenSpec {
    ListenSpec { address: "127.0.0.1:0".parse().unwrap(), tls: None }
}

struct Fixture {
    net: Net,
    log: Arc<MemoryLog>,
    servers: HttpServers,
    guard: Option<RouteGuard>,
    talker: Arc<Talker>,
    address: SocketAddr,
}

fn fixture(change: impl FnOnce(&mut ServerLimits)) -> Fixture {
    let (net, log) = net();
    let mut limits = ServerLimits::default();
    change(&mut limits);
    let servers = HttpServers::new(&net, limits);
    let talker = talker("one");
    let guard = servers.route(&anywhere(), route(None, "/"), talker.clone()).unwrap();
    let address = guard.local_addr();
    Fixture { net, log, servers, guard: Some(guard), talker, address }
}

/// Sends bytes on a new connection and reads to its end.
async fn send(address: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    // The server may have refused and closed before it took everything.
    let _ = socket.write_all(bytes.as_ref()).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn requests_go_by_host_and_path_and_routes_come_and_go() {
    let f = fixture(|_| {});
    let host = talker("host");
    let named = f.servers.route(&anywhere(), route(Some("AS2.example"), "/"), host.clone()).unwrap();
    let deep = f.servers.route(&anywhere(), route(None, "/as2/"), talker("as2")).unwrap();
    assert_eq!((named.local_addr(), deep.local_addr()), (f.address, f.address));
    let cases = [
        ("/", "x", "one:0"),
        ("/as2", "x", "as2:0"),
        ("/as2/deep?q=1", "x:80", "as2:0"),
        ("/as2x", "x", "one:0"),
        ("/as2", "as2.EXAMPLE", "host:0"),
        ("/", "as2.example:8080", "host:0"),
        ("http://as2.example/", "x", "host:0"),
    ];
    for (path, host, wanted) in cases {
        let answer = send(f.address, get(path, host)).await;
        assert!(answer.ends_with(wanted), "{path} on {host}: {answer}");
    }
    // The same place twice is refused, and so is another way of listening on the address.
    let error = f.servers.route(&anywhere(), route(None, "/as2"), talker("x")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    let error = f.servers.route(&anywhere(), route(None, "as2"), talker("x")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
    let tls = ListenSpec { tls: Some(certificate()), ..anywhere() };
    let error = f.servers.route(&tls, route(None, "/tls"), talker("x")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");

    drop(deep);
    assert!(send(f.address, get("/as2", "x")).await.ends_with("one:0"));
    let guard = f.guard;
    drop(guard);
    assert!(send(f.address, get("/as2", "x")).await.starts_with("HTTP/1.1 404 "));
    drop(named);
    // The last route gone, the address is free for others.
    eventually("the address to be given up", || std::net::TcpListener::bind(f.address).ok()).await;
}

#[tokio::test]
async fn a_bind_failure_is_that_routes_own() {
    let f = fixture(|_| {});
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = ListenSpec { address: taken.local_addr().unwrap(), tls: None };
    let error = f.servers.route(&listen, route(None, "/"), talker("x")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert!(error.to_string().contains(&listen.address.to_string()), "{error}");
    let elsewhere = ListenSpec { address: "203.0.113.7:0".parse().unwrap(), tls: None };
    let error = f.servers.route(&elsewhere, route(None, "/"), talker("x")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
    assert!(send(f.address, get("/", "x")).await.ends_with("one:0"));
    drop(taken);
    f.servers.route(&listen, route(None, "/"), talker("x")).unwrap();
}

#[tokio::test]
async fn a_connection_is_recorded_with_what_its_first_request_showed() {
    let f = fixture(|_| {});
    let mut socket = TcpStream::connect(f.address).await.unwrap();
    let request = "POST /in HTTP/1.1\r\nHost: as2.example:8080\r\nContent-Length: 5\r\n\r\nhello";
    let mut answer = vec![0; 4096];
    for _ in 0..3 {
        socket.write_all(request.as_bytes()).await.unwrap();
        let count = socket.read(&mut answer).await.unwrap();
        assert!(answer[..count].ends_with(b"one:5"));
    }
    let record = f.log.last_opened().record;
    assert_eq!((record.protocol, record.purpose), (Protocol::As2, Purpose::Receive));
    assert_eq!((record.direction, record.endpoint.as_deref()), (Direction::Inbound, Some("as2-in")));
    assert_eq!(record.host.unwrap().as_str(), "as2.example:8080");
    assert_eq!(record.remote, Some(socket.local_addr().unwrap()));
    assert_eq!(record.local, Some(f.address));
    let peers: Vec<_> = f.talker.peers.lock().unwrap().iter().map(|peer| peer.connection).collect();
    assert_eq!(peers, [record.id; 3]);
    drop(socket);
    let closed = f.log.wait_closed(record.id).await;
    assert_eq!((closed.requests, closed.bytes_in), (3, 3 * request.len() as u64));
    assert_eq!((closed.reason.as_str(), closed.failed), ("closed by the peer", false));
    f.log.wait_pairs(1).await;
}

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
async fn handlers_that_panic_or_must_not_answer() {
    let f = fixture(|_| {});
    assert!(send(f.address, get("/panic", "x")).await.starts_with("HTTP/1.1 500 "));
    assert_eq!(send(f.address, get("/silence", "x")).await, "");
    assert!(send(f.address, get("/", "x")).await.ends_with("one:0"));
    f.log.wait_pairs(3).await;
    let closed = f.log.closed.lock().unwrap().iter().find(|closed| closed.failed).cloned().unwrap();
    assert!(closed.reason.as_str().contains("commit the message"), "{closed:?}");
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
    assert!(closed.failed && closed.reason.as_str().contains("does not take"), "{closed:?}");
    drop(socket);
}

#[tokio::test]
async fn more_clients_than_places_wait_their_turn() {
    let f = fixture(|limits| limits.connections = 2);
    let held = [TcpStream::connect(f.address).await.unwrap(), TcpStream::connect(f.address).await.unwrap()];
    let third = tokio::spawn(send(f.address, get("/", "x")));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!third.is_finished());
    drop(held);
    assert!(third.await.unwrap().ends_with("one:0"));
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
    assert!(closed.failed && closed.reason.as_str().contains("cut"), "{closed:?}");
}

#[tokio::test]
async fn an_unrecordable_connection_is_not_served() {
    let f = fixture(|_| {});
    f.log.refuse.store(true, Ordering::Relaxed);
    assert_eq!(send(f.address, get("/", "x")).await, "");
    assert_eq!(f.talker.finished.load(Ordering::Relaxed), 0);
    f.log.refuse.store(false, Ordering::Relaxed);
    f.log.wait_pairs(1).await;
}

fn certificate() -> ServerTls {
    let pair = server_certificate(&["localhost"], None);
    let private_key = Secret::new(pair.key_pem());
    let certificates = pair.certificate_pem();
    ServerTls::new(&ServerTlsOptions { certificates, private_key, passphrase: None }).unwrap()
}

/// What a real client, `openssl s_client`, makes of the server.
async fn s_client(address: SocketAddr, arguments: &[&str]) -> (bool, String) {
    let mut client = tokio::process::Command::new("openssl")
        .args(["s_client", "-quiet", "-no_ign_eof", "-connect", &address.to_string()])
        .args(arguments)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = client.stdin.take().unwrap();
    let _ = stdin.write_all(get("/", "localhost").as_bytes()).await;
    let output =
        tokio::time::timeout(Duration::from_secs(20), client.wait_with_output()).await.unwrap().unwrap();
    drop(stdin);
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn tls_of_today_is_served_and_old_tls_refused() {
    let (net, log) = net();
    let servers = HttpServers::new(&net, ServerLimits::default());
    let listen = ListenSpec { tls: Some(certificate()), ..anywhere() };
    let talker = talker("tls");
    let guard = servers.route(&listen, route(None, "/"), talker.clone()).unwrap();
    let address = guard.local_addr();
    for (version, recorded) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let (_, answer) = s_client(address, &[version, "-servername", "localhost"]).await;
        assert!(answer.contains("tls:0"), "{answer}");
        let record = log.last_opened().record;
        assert!(matches!(&record.security, Security::Tls { version, .. } if version == recorded));
        assert!(talker.peers.lock().unwrap().last().unwrap().is_tls());
    }
    for version in ["-tls1", "-tls1_1"] {
        let (success, answer) = s_client(address, &[version, "-cipher", "ALL:@SECLEVEL=0"]).await;
        assert!(!success && answer.is_empty(), "{answer}");
    }
    // Plain HTTP to a TLS port.
    assert!(!send(address, get("/", "x")).await.contains("200 OK"));
    log.wait_pairs(5).await;
    let failed: Vec<_> = log.closed.lock().unwrap().iter().filter(|closed| closed.failed).cloned().collect();
    assert_eq!(failed.len(), 3, "{failed:?}");
    assert!(failed.iter().all(|closed| closed.reason.as_str().contains("TLS")), "{failed:?}");
}

#[tokio::test]
async fn a_silent_tls_client_is_given_up() {
    let (net, log) = net();
    let limits = ServerLimits { handshake_timeout: Duration::from_millis(100), ..ServerLimits::default() };
    let servers = HttpServers::new(&net, limits);
    let listen = ListenSpec { tls: Some(certificate()), ..anywhere() };
    let guard = servers.route(&listen, route(None, "/"), talker("tls")).unwrap();
    assert_eq!(send(guard.local_addr(), "").await, "");
    log.wait_pairs(1).await;
}

#[tokio::test]
async fn axum_can_be_mounted() {
    use axum::Extension;
    use axum::routing::get as on_get;
    let (net, _log) = net();
    let servers = HttpServers::new(&net, ServerLimits::default());
    let router = axum::Router::new().route(
        "/who",
        on_get(|Extension(peer): Extension<PeerInfo>| async move { format!("you are {}", peer.remote.ip()) }),
    );
    let guard = servers.route(&anywhere(), route(None, "/"), Arc::new(TowerHandler::new(router))).unwrap();
    assert!(send(guard.local_addr(), get("/who", "x")).await.ends_with("you are 127.0.0.1"));
    assert!(send(guard.local_addr(), get("/else", "x")).await.starts_with("HTTP/1.1 404 "));
}
