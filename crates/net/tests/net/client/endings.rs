//! How the end of an answer and the end of its connection meet: a connection whose answers all came is no
//! failed one, in whatever order the two are seen.

use super::{meta, post, profile, request};
use crate::support::certificates::{Pair, authority, server};
use crate::support::{MemoryLog, listener, names, net, net_with};
use bytes::Bytes;
use http::Method;
use model::{ConnectionClosed, ErrorKind, Retry};
use net::http::{Body, HttpProfile};
use net::{TlsOptions, TlsProfile, Trust};
use openssl::ssl::{Ssl, SslAcceptor, SslMethod};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// How a server ends its connection.
#[derive(Clone, Copy, PartialEq, Debug)]
enum End {
    /// In order, TLS first.
    Closed,
    /// Without TLS's goodbye.
    Abrupt,
    /// By a reset.
    Reset,
    /// Not at all: the client is to do it.
    Open,
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Reads the head of a request, and the one byte that is its body.
async fn read_request(wire: &mut dyn Wire) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match wire.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return false,
        }
    }
    let body = head.windows(17).any(|line| line.eq_ignore_ascii_case(b"content-length: 1"));
    !body || wire.read_u8().await.is_ok()
}

struct Partner {
    address: SocketAddr,
    /// The authority of its certificate, where it speaks TLS.
    authority: Option<Pair>,
}

/// Answers the first request of each connection with these pieces, and ends it so.
async fn partner(pieces: &'static [&'static str], end: End, tls: bool) -> Partner {
    let (listener, address) = listener().await;
    let authority = tls.then(|| authority("partners"));
    let acceptor =
        authority.as_ref().map(|authority| acceptor(&server(&["partner.example"], Some(authority))));
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            socket.set_nodelay(true).unwrap();
            tokio::spawn(serve(socket, acceptor.clone(), pieces, end));
        }
    });
    Partner { address, authority }
}

fn acceptor(pair: &Pair) -> SslAcceptor {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    builder.set_certificate(&pair.certificate).unwrap();
    builder.set_private_key(&pair.key).unwrap();
    builder.build()
}

async fn serve(
    mut socket: TcpStream,
    acceptor: Option<SslAcceptor>,
    pieces: &'static [&'static str],
    end: End,
) {
    let Some(acceptor) = acceptor else {
        answer(&mut socket, pieces).await;
        return leave(socket, end).await;
    };
    let ssl = Ssl::new(acceptor.context()).unwrap();
    let mut session = tokio_openssl::SslStream::new(ssl, &mut socket).unwrap();
    Pin::new(&mut session).accept().await.unwrap();
    answer(&mut session, pieces).await;
    if end == End::Closed {
        let _ = session.shutdown().await;
    }
    drop(session);
    leave(socket, end).await;
}

async fn answer(wire: &mut dyn Wire, pieces: &[&str]) {
    if read_request(wire).await {
        for piece in pieces {
            wire.write_all(piece.as_bytes()).await.unwrap();
            wire.flush().await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn leave(mut socket: TcpStream, end: End) {
    match end {
        // What was sent must arrive before the reset does.
        End::Reset => {
            tokio::time::sleep(Duration::from_millis(50)).await;
            socket.set_zero_linger().unwrap();
        }
        End::Open => {
            let mut rest = Vec::new();
            let _ = socket.read_to_end(&mut rest).await;
        }
        End::Closed | End::Abrupt => {}
    }
}

fn client_profile(authority: Option<&Pair>) -> HttpProfile {
    let tls = authority.map(|authority| {
        let trust = Trust::Authorities(vec![authority.certificate_pem()]);
        TlsProfile::new(&TlsOptions { trust, ..TlsOptions::default() }).unwrap()
    });
    HttpProfile { tls, ..profile() }
}

/// One exchange, the answer read to its end after a pause; how its connection is on record.
async fn exchange(partner: &Partner, pause: u64) -> (model::Result<Bytes>, ConnectionClosed) {
    let address = partner.address;
    let (net, log) = net_with(|settings| settings.resolver = names(&[("partner.example", &[address])]));
    let client = net.http_client(&client_profile(partner.authority.as_ref()));
    let url = match partner.authority {
        Some(_) => format!("https://partner.example:{}/in", address.port()),
        None => format!("http://{address}/in"),
    };
    let answer = client.request(request(Method::POST, &url, Body::bytes("x")), &meta()).await;
    let body = match answer {
        Ok(answer) => {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            answer.into_body().collect(1 << 20).await
        }
        Err(error) => Err(error),
    };
    (body, ended(&net, &log, client).await)
}

async fn ended(net: &net::Net, log: &Arc<MemoryLog>, client: net::http::HttpClient) -> ConnectionClosed {
    // A connection that is kept ends when it is no longer needed; the others have ended by then.
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(client);
    assert_eq!(net.drain(Duration::from_secs(10)).await, 0);
    log.wait_pairs(1).await;
    log.closed.lock().unwrap()[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_came_whole_leaves_no_failed_connection() {
    let close: &[&str] = &["HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"];
    let in_pieces: &[&str] = &["HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n", "o", "k"];
    let chunked: &[&str] = &[
        "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
        "2\r\nok\r\n",
        "0\r\n\r\n",
    ];
    let empty: &[&str] = &["HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"];
    let old: &[&str] = &["HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"];
    let until_close: &[&str] = &["HTTP/1.0 200 OK\r\n\r\n", "ok"];
    let until_close_11: &[&str] = &["HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok"];
    let kept: &[&str] = &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"];
    for tls in [false, true] {
        for pieces in [close, in_pieces, chunked, empty, old, until_close, until_close_11, kept] {
            for end in [End::Closed, End::Abrupt, End::Reset, End::Open] {
                let by_close = pieces == until_close || pieces == until_close_11;
                // Whose end is the body's end has to end in order.
                if by_close && !(end == End::Closed || (end == End::Abrupt && !tls)) {
                    continue;
                }
                for pause in [0, 20] {
                    let partner = partner(pieces, end, tls).await;
                    let (body, closed) = exchange(&partner, pause).await;
                    let case = format!("{pieces:?}, {end:?}, tls {tls}, pause {pause}: {closed:?}");
                    let body = body.unwrap_or_else(|error| panic!("{case}: {}", error.chain()));
                    assert_eq!(body, if pieces == empty { "" } else { "ok" }, "{case}");
                    assert!(!closed.failed, "{case}");
                    assert_eq!(closed.requests, 1, "{case}");
                }
            }
        }
    }
}

/// The same a few hundred times side by side, where every order of the two ends occurs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hundreds_of_closed_connections_are_all_in_order() {
    let pieces: &[&str] = &["HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"];
    let address = partner(pieces, End::Closed, false).await.address;
    let (net, log) = net();
    let client = net.http_client(&profile());
    for _ in 0..10 {
        let exchanges = (0..30).map(|_| async {
            let answer = post(&client, address, Body::bytes("x")).await.unwrap();
            assert_eq!(answer.into_body().collect(10).await.unwrap(), "ok");
        });
        futures::future::join_all(exchanges).await;
    }
    drop(client);
    assert_eq!(net.drain(Duration::from_secs(10)).await, 0);
    log.wait_pairs(300).await;
    let failed: Vec<_> = log.closed.lock().unwrap().iter().filter(|closed| closed.failed).cloned().collect();
    assert!(failed.is_empty(), "{} failed, such as {:?}", failed.len(), failed[0]);
}

/// What did not come whole stays a failure, also where the end of the connection is the end of the body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_was_cut_is_a_failed_connection() {
    let short: &[&str] = &["HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nok"];
    let unended: &[&str] =
        &["HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"];
    let until_close: &[&str] = &["HTTP/1.0 200 OK\r\n\r\n", "ok"];
    for (pieces, end, tls) in [
        (short, End::Closed, false),
        (short, End::Closed, true),
        (short, End::Abrupt, true),
        (unended, End::Closed, false),
        (unended, End::Reset, false),
        (until_close, End::Reset, false),
        // Nobody can tell this from a truncated answer (RFC 9112, section 9.8).
        (until_close, End::Abrupt, true),
    ] {
        let partner = partner(pieces, end, tls).await;
        let (body, closed) = exchange(&partner, 20).await;
        let error = body.expect_err(&format!("{pieces:?}, {end:?}, tls {tls}"));
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unreachable, Retry::Transient), "{error}");
        assert!(closed.failed, "{pieces:?}, {end:?}, tls {tls}: {closed:?}");
        assert_eq!(closed.requests, 1);
    }
}

/// The connection is gone before anybody reads the answer, or although nobody ever does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_read_late_decides_and_one_never_read_is_a_failure() {
    let pieces: &[&str] = &["HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"];
    let address = partner(pieces, End::Closed, false).await.address;
    let (net, log) = net();
    let client = net.http_client(&profile());
    let late = post(&client, address, Body::bytes("x")).await.unwrap();
    let never = post(&client, address, Body::bytes("x")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(log.counts().1, 0, "what became of the answers is not known yet");
    let id =
        |answer: &http::Response<Body>| answer.extensions().get::<net::http::ConnectionInfo>().unwrap().id;
    let (read, dropped) = (id(&late), id(&never));
    assert_eq!(late.into_body().collect(10).await.unwrap(), "ok");
    assert!(!log.wait_closed(read).await.failed);
    drop(never);
    assert!(log.wait_closed(dropped).await.failed);
}

/// A request that finds its kept connection closed is sent again by the engine; the connection it did not
/// use had ended in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_that_the_server_closed_while_idle_is_in_order() {
    let pieces: &[&str] = &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"];
    for end in [End::Closed, End::Reset] {
        let address = partner(pieces, end, false).await.address;
        let (net, log) = net();
        let client = net.http_client(&profile());
        for _ in 0..20 {
            // Closed at any moment around the next request.
            if let Ok(answer) = post(&client, address, Body::bytes("x")).await {
                let _ = answer.into_body().collect(10).await;
            }
        }
        drop(client);
        assert_eq!(net.drain(Duration::from_secs(10)).await, 0);
        for closed in log.closed.lock().unwrap().iter().filter(|closed| closed.failed) {
            assert_ne!(closed.requests, 1, "nothing else was asked of it: {closed:?}");
        }
    }
}
