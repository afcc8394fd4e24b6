//! HTTP out: pooling, bodies, TLS.

mod endings;
mod outcome;

use crate::support::certificates::{authority, server};
use crate::support::{MemoryLog, eventually, net, refusing};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use model::{DeliveryId, Error, ErrorKind, Protocol, Purpose, Result, Retry, Security};
use net::http::{
    Body, ConnectionInfo, Handler, HttpClient, HttpProfile, HttpServers, ListenSpec, PeerInfo, RequestMeta,
    Route, RouteGuard, ServerLimits,
};
use net::{Net, ServerTls, ServerTlsOptions, TlsOptions, TlsProfile, Trust};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;

struct Echo;

#[async_trait::async_trait]
impl Handler for Echo {
    async fn handle(&self, request: Request<Body>, _: PeerInfo) -> Result<http::Response<Body>> {
        let text = |name| {
            let value = request.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or("none").to_owned()
        };
        let (length, coding) = (text("content-length"), text("transfer-encoding"));
        let pause = request.uri().path().strip_prefix("/pause/").and_then(|text| text.parse().ok());
        let body = request.into_body().collect(16 << 20).await?;
        tokio::time::sleep(Duration::from_millis(pause.unwrap_or(0))).await;
        let answer = http::Response::builder().header("x-length", length).header("x-coding", coding);
        Ok(answer.body(Body::bytes(body)).unwrap())
    }
}

fn start(net: &Net, tls: Option<ServerTls>) -> (HttpServers, RouteGuard) {
    let servers = HttpServers::new(net, ServerLimits::default());
    let route = Route {
        host: None,
        path: "/".to_owned(),
        protocol: Protocol::Http,
        purpose: Purpose::Receive,
        endpoint: None,
        certificate: None,
    };
    let listen = ListenSpec { tls, ..ListenSpec::plain("test", "127.0.0.1:0".parse().unwrap()) };
    let guard = servers.route(&listen, route, Arc::new(Echo)).unwrap();
    (servers, guard)
}

fn profile() -> HttpProfile {
    HttpProfile::new(Some("globex".to_owned()), Protocol::As2, Purpose::Deliver)
}

fn request(method: Method, url: &str, body: Body) -> Request<Body> {
    Request::builder().method(method).uri(url).body(body).unwrap()
}

async fn post(client: &HttpClient, address: SocketAddr, body: Body) -> Result<http::Response<Body>> {
    let url = format!("http://{address}/in");
    client.request(request(Method::POST, &url, body), &meta()).await
}

fn meta() -> RequestMeta {
    RequestMeta {
        flow: Some("orders".to_owned()),
        delivery: Some(DeliveryId::new(uuid::Uuid::now_v7())),
        idle_timeout: Duration::from_millis(400),
        answer_timeout: Duration::from_millis(400),
        whole_timeout: None,
    }
}

/// Outbound connections recorded.
fn outbound(log: &MemoryLog) -> usize {
    let opened = log.opened.lock().unwrap();
    opened.iter().filter(|o| o.record.direction == model::Direction::Outbound).count()
}

#[tokio::test]
async fn serial_requests_share_one_connection_and_parallel_ones_open_more() {
    let (there, _) = net();
    let (_servers, guard) = start(&there, None);
    let (net, log) = net();
    let mut ids = Vec::new();
    for round in 0..20_u8 {
        // A client asked for again is the same pool.
        let client = net.http_client(&profile());
        let answer = post(&client, guard.local_addr(), Body::bytes(vec![round; 1000])).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let info = answer.extensions().get::<ConnectionInfo>().unwrap().clone();
        assert_eq!((info.remote, info.security), (Some(guard.local_addr()), Security::None));
        ids.push(info.id);
        assert_eq!(answer.into_body().collect(1000).await.unwrap(), vec![round; 1000]);
    }
    ids.dedup();
    assert_eq!((ids.len(), outbound(&log)), (1, 1));
    let record = log.last_opened().record;
    assert_eq!((record.protocol, record.endpoint.as_deref()), (Protocol::As2, Some("globex")));

    let client = net.http_client(&profile());
    let url = format!("http://{}/pause/100", guard.local_addr());
    let parallel = (0..5).map(|_| {
        let (client, url) = (client.clone(), url.clone());
        async move {
            let answer = client.request(request(Method::GET, &url, Body::empty()), &meta()).await.unwrap();
            answer.into_body().collect(10).await.unwrap();
        }
    });
    futures::future::join_all(parallel).await;
    assert_eq!(outbound(&log), 5);

    // Another profile, another pool.
    let other = net.http_client(&HttpProfile { endpoint: Some("initech".to_owned()), ..profile() });
    post(&other, guard.local_addr(), Body::empty()).await.unwrap();
    assert_eq!(outbound(&log), 6);

    drop((client, other));
    assert_eq!(net.drain(Duration::from_secs(5)).await, 0);
    let first = log.closed_of(ids[0]).unwrap();
    assert!(first.requests >= 20, "{first:?}");
    let requests: u64 = log.closed.lock().unwrap().iter().map(|closed| closed.requests).sum();
    assert_eq!(requests, 26);
    log.wait_pairs(6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_requests_at_once() {
    let (net, log) = net();
    let (servers, guard) = start(&net, None);
    let client = net.http_client(&profile());
    let patient = RequestMeta { answer_timeout: Duration::from_secs(20), ..RequestMeta::default() };
    let url = format!("http://{}/pause/20", guard.local_addr());
    let all = (0..200_u32).map(|number| {
        let (client, url, patient) = (client.clone(), url.clone(), patient.clone());
        tokio::spawn(async move {
            let sent = number.to_be_bytes().repeat(1000);
            let answer = client
                .request(request(Method::POST, &url, Body::bytes(sent.clone())), &patient)
                .await
                .unwrap();
            assert_eq!(answer.into_body().collect(4000).await.unwrap(), sent);
        })
    });
    for one in futures::future::join_all(all).await {
        one.unwrap();
    }
    drop(client);
    drop(guard);
    assert_eq!(servers.shutdown(Duration::from_secs(5)).await, 0);
    assert_eq!(net.drain(Duration::from_secs(5)).await, 0);
    let out: u64 = outbound(&log) as u64;
    log.wait_pairs(usize::try_from(out * 2).unwrap()).await;
    let requests: u64 = log.closed.lock().unwrap().iter().map(|closed| closed.requests).sum();
    assert_eq!(requests, 400);
}

#[tokio::test]
async fn a_known_length_is_announced_and_an_unknown_one_is_chunked() {
    let (net, _log) = net();
    let (_servers, guard) = start(&net, None);
    let client = net.http_client(&profile());
    let pieces = |count: usize| {
        futures::stream::iter((0..count).map(|_| Ok(Bytes::from_static(&[5; 1000])))).boxed_stream()
    };
    let cases = [
        (Body::stream(pieces(300), Some(300_000)), "300000", "none", 300_000),
        (Body::stream(pieces(300), None), "none", "chunked", 300_000),
        (Body::reader(std::io::Cursor::new(vec![5; 77_777]), Some(77_777)), "77777", "none", 77_777),
        (Body::stream(pieces(0), Some(0)), "0", "none", 0),
        (Body::bytes(Bytes::new()), "0", "none", 0),
    ];
    for (body, length, coding, bytes) in cases {
        let answer = post(&client, guard.local_addr(), body).await.unwrap();
        assert_eq!(answer.headers()["x-length"], length);
        assert_eq!(answer.headers()["x-coding"], coding);
        assert_eq!(answer.headers()["content-length"], bytes.to_string());
        assert_eq!(answer.into_body().collect(300_000).await.unwrap(), vec![5; bytes]);
    }
    // A stream that is not as long as was said breaks the exchange, and says why.
    for (count, length) in [(2, 2500), (3, 2500)] {
        let error =
            post(&client, guard.local_addr(), Body::stream(pieces(count), Some(length))).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::IntegrityFailed, Retry::Transient), "{error}");
    }
    // A source that fails gives its own error.
    let failing = futures::stream::iter([
        Ok(Bytes::from_static(b"some")),
        Err(Error::permanent(ErrorKind::NotFound, "read the payload")),
    ]);
    let error = post(&client, guard.local_addr(), Body::stream(failing, None)).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::NotFound, "read the payload"));
    // An answer longer than expected is not held in memory.
    let answer = post(&client, guard.local_addr(), Body::bytes(vec![1; 5000])).await.unwrap();
    assert_eq!(answer.into_body().collect(4999).await.unwrap_err().kind(), ErrorKind::Rejected);
    let answer = post(&client, guard.local_addr(), Body::bytes(vec![1; 5000])).await.unwrap();
    let mut read = Vec::new();
    Box::pin(answer.into_body().into_reader()).read_to_end(&mut read).await.unwrap();
    assert_eq!(read, vec![1; 5000]);
}

trait BoxedStream: futures::Stream + Sized + Send + 'static {
    fn boxed_stream(self) -> std::pin::Pin<Box<dyn futures::Stream<Item = Self::Item> + Send>> {
        Box::pin(self)
    }
}

impl<S: futures::Stream + Sized + Send + 'static> BoxedStream for S {}

#[tokio::test]
async fn no_connection_is_transient_and_tells_why() {
    let (net, _log) = net();
    let client = net.http_client(&profile());
    let refused = refusing().await;
    let error = post(&client, refused, Body::bytes("x")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unreachable, Retry::Transient));
    assert!(error.to_string().contains("the host refused"), "{error}");
    for url in ["https://127.0.0.1/", "ftp://127.0.0.1/"] {
        let error = client.request(request(Method::GET, url, Body::empty()), &meta()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
    }
    let url = "http://169.254.169.254/latest/meta-data";
    let error = client.request(request(Method::GET, url, Body::empty()), &meta()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
}

#[tokio::test]
async fn https_with_its_own_authority() {
    let (net, log) = net();
    let ca = authority("Test CA");
    let pair = server(&["127.0.0.1"], Some(&ca));
    let tls = ServerTls::new(&ServerTlsOptions::default()).unwrap();
    tls.set_certificate(&pair.served()).unwrap();
    let (_servers, guard) = start(&net, Some(tls));
    let trust = Trust::Authorities(vec![ca.certificate_pem()]);
    let options = TlsOptions { trust, ..TlsOptions::default() };
    let tls = Some(TlsProfile::new(&options).unwrap());
    let client = net.http_client(&HttpProfile { tls, ..profile() });
    let url = format!("https://{}/in", guard.local_addr());
    for _ in 0..3 {
        let answer = client
            .request(request(Method::POST, &url, Body::bytes(vec![3; 500_000])), &meta())
            .await
            .unwrap();
        let info = answer.extensions().get::<ConnectionInfo>().unwrap();
        assert!(matches!(&info.security, Security::Tls { version, .. } if version == "TLSv1.3"));
        assert_eq!(answer.into_body().collect(500_000).await.unwrap().len(), 500_000);
    }
    assert_eq!(outbound(&log), 1);

    let untrusting = TlsProfile::new(&TlsOptions::default()).unwrap();
    let client = net.http_client(&HttpProfile { tls: Some(untrusting), ..profile() });
    let error = client.request(request(Method::GET, &url, Body::empty()), &meta()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::TrustFailed, Retry::Permanent), "{error}");
    eventually("the refused connection's record", || (outbound(&log) == 2).then_some(())).await;
}

#[tokio::test]
async fn idle_connections_are_given_up() {
    let (there, _) = net();
    let (_servers, guard) = start(&there, None);
    let (net, log) = net();
    let client = net.http_client(&HttpProfile { idle_timeout: Duration::from_millis(100), ..profile() });
    post(&client, guard.local_addr(), Body::empty()).await.unwrap().into_body().collect(10).await.unwrap();
    eventually("the idle connection's end", || (log.counts() == (1, 1, 0)).then_some(())).await;
}

#[tokio::test]
async fn a_server_that_wants_another_client_certificate_says_so_for_good() {
    let ca = authority("Test CA");
    let pair = server(&["127.0.0.1"], Some(&ca));
    let address = crate::tls::echo(&pair, |builder| {
        builder.set_verify(
            openssl::ssl::SslVerifyMode::PEER | openssl::ssl::SslVerifyMode::FAIL_IF_NO_PEER_CERT,
        );
    })
    .await;
    let (net, _log) = net();
    let options =
        TlsOptions { trust: Trust::Authorities(vec![ca.certificate_pem()]), ..TlsOptions::default() };
    let client = net.http_client(&HttpProfile { tls: Some(TlsProfile::new(&options).unwrap()), ..profile() });
    let url = format!("https://{address}/in");
    let error = client.request(request(Method::POST, &url, Body::bytes("x")), &meta()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Unauthenticated, Retry::Permanent),
        "{}",
        error.chain()
    );
}

#[tokio::test]
async fn a_garbled_line_in_an_answers_head_does_not_lose_the_answer() {
    let (net, _log) = net();
    for line in [
        "no colon at all",
        "Two words: x",
        ": no name",
        "X-Spaced : x",
        "X-Control: a\u{1}b",
        "X-Größe: x",
        "X-Tab\t: x",
        "@odd(name): x",
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            let head = format!(
                "HTTP/1.1 200 OK\r\nX-Before: 1\r\n{line}\r\nContent-Length: 7\r\nX-After: 2\r\n\r\nreceipt"
            );
            tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.unwrap();
        });
        let answer = post(&net.http_client(&profile()), address, Body::bytes("x")).await;
        let answer = answer.unwrap_or_else(|error| panic!("{line:?}: {error}"));
        assert!(answer.headers()["x-before"] == "1" && answer.headers()["x-after"] == "2", "{line:?}");
        assert_eq!(answer.into_body().collect(100).await.unwrap(), "receipt", "{line:?}");
        server.await.unwrap();
    }
}
