//! HTTP in: routes, records, handlers, TLS.

mod clients;
mod haproxy;
mod https;
mod strangers;

use crate::support::{MemoryLog, eventually, net};
use http::{Request, Response, StatusCode};
use model::{Direction, Error, ErrorKind, Protocol, Purpose, Result};
use net::http::{
    Body, Handler, HttpServers, ListenSpec, PeerInfo, Route, RouteGuard, ServerLimits, Standby, TowerHandler,
};
use net::{Net, ServerTls, ServerTlsOptions};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
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
            "waits" => {
                let _waits = request.extensions().get::<Standby>().unwrap().waits();
                std::future::pending::<()>().await;
            }
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
        certificate: None,
    }
}

fn anywhere() -> ListenSpec {
    ListenSpec::plain("test", "127.0.0.1:0".parse().unwrap())
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
    let tls = ServerTls::new(&ServerTlsOptions::default()).unwrap();
    let tls = ListenSpec { tls: Some(tls), ..anywhere() };
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
    let listen = ListenSpec::plain("test", taken.local_addr().unwrap());
    let error = f.servers.route(&listen, route(None, "/"), talker("x")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert!(error.to_string().contains(&listen.address.to_string()), "{error}");
    let elsewhere = ListenSpec::plain("test", "203.0.113.7:0".parse().unwrap());
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
async fn an_unrecordable_connection_is_not_served() {
    let f = fixture(|_| {});
    f.log.refuse.store(true, Ordering::Relaxed);
    assert_eq!(send(f.address, get("/", "x")).await, "");
    assert_eq!(f.talker.finished.load(Ordering::Relaxed), 0);
    f.log.refuse.store(false, Ordering::Relaxed);
    f.log.wait_pairs(1).await;
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
