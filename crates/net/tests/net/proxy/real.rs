//! Squid and microsocks.

use super::choice;
use crate::support::certificates::{authority, server};
use crate::support::{MemoryLog, eventually, listener, net, refusing, request};
use crate::tls;
use http::Request;
use model::{Error, ErrorKind, Protocol, Purpose, Retry, Security};
use net::http::{Body, HttpProfile, RequestMeta};
use net::{Net, TlsOptions, Trust};
use std::net::SocketAddr;
use std::sync::Arc;
use testkit::server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LOGIN: (&str, &str) = ("ada", "lovelace");

/// Echoes.
async fn echo() -> SocketAddr {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = socket.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

struct World {
    net: Net,
    log: Arc<MemoryLog>,
    proxy: Server,
    /// A name that only the proxy can resolve.
    name: &'static str,
}

/// Squid, and microsocks, each with and without a password. microsocks resolves as this machine does.
fn worlds(password: bool) -> [World; 2] {
    let login = if password { vec!["--password", "ada:lovelace"] } else { Vec::new() };
    let squid = [&login[..], &["--host", "inside.example=127.0.0.1", "--refuse-port", "9"]].concat();
    let world = |proxy, name| {
        let (net, log) = crate::support::net_with(|settings| settings.resolver = crate::support::names(&[]));
        World { net, log, proxy, name }
    };
    [
        world(Server::start("squid", &squid), "inside.example"),
        world(Server::start("socks", &login), "localhost"),
    ]
}

impl World {
    fn request(&self, port: u16, login: Option<(&str, &str)>) -> net::DialRequest {
        let mut request = request(self.name, port);
        request.proxy = choice(self.proxy.text("url"), login);
        request
    }

    async fn refused(&self, port: u16, login: Option<(&str, &str)>) -> Error {
        let error = self.net.dial(&self.request(port, login)).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(self.proxy.text("url")) && text.contains(self.name), "{text}");
        assert!(!format!("{text}{error:?}{}", error.chain()).contains("lovelace"), "{text}");
        error
    }
}

#[tokio::test]
async fn bytes_go_through_with_and_without_a_password_and_names_are_resolved_behind() {
    for password in [true, false] {
        for world in worlds(password) {
            let address = echo().await;
            let request = world.request(address.port(), password.then_some(LOGIN));
            let mut stream = world.net.dial(&request).await.unwrap();
            let sent = vec![7; 300_000];
            let (mut from, mut to) = tokio::io::split(&mut stream);
            let mut back = vec![0; sent.len()];
            let (written, read) = tokio::join!(to.write_all(&sent), from.read_exact(&mut back));
            assert!(written.is_ok() && read.is_ok() && back == sent);
            let record = world.log.last_opened().record;
            assert_eq!(record.proxy.as_deref(), Some(world.proxy.text("url")));
            assert_eq!(record.remote.unwrap().port(), world.proxy.port());
            assert_eq!(record.host.unwrap().as_str(), format!("{}:{}", world.name, address.port()));
        }
    }
}

#[tokio::test]
async fn tls_is_done_with_the_host_behind() {
    let ca = authority("Test CA");
    for world in worlds(true) {
        let pair = server(&[world.name], Some(&ca));
        let address = tls::echo(&pair, |_| {}).await;
        let mut request = world.request(address.port(), Some(LOGIN));
        let trust = Trust::Authorities(vec![ca.certificate_pem()]);
        request.tls = Some(world.net.tls_profile(&TlsOptions { trust, ..TlsOptions::default() }).unwrap());
        let mut stream = world.net.dial(&request).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        let mut back = [0; 4];
        stream.read_exact(&mut back).await.unwrap();
        let Security::Tls { peer, .. } = world.log.last_opened().record.security else { panic!("no TLS") };
        assert_eq!(peer.unwrap().sha256, pair.sha256());
    }
}

#[tokio::test]
async fn a_login_that_is_missing_or_wrong_is_told_apart() {
    for world in worlds(true) {
        for (login, words) in
            [(None, "asks for a"), (Some(("ada", "byron")), "does not accept this user and password")]
        {
            let error = world.refused(2222, login).await;
            assert_eq!(
                (error.kind(), error.retry()),
                (ErrorKind::Unauthenticated, Retry::Permanent),
                "{error}"
            );
            assert!(error.to_string().contains(words), "{error}");
        }
        world.log.wait_pairs(2).await;
    }
}

#[tokio::test]
async fn what_the_proxy_cannot_reach_or_does_not_allow_is_told_with_its_words() {
    let [squid, socks] = worlds(true);
    let closed = refusing().await.port();
    for (world, words) in
        [(&squid, "503 Service Unavailable; ERR_CONNECT_FAIL 111"), (&socks, "Connection refused")]
    {
        let error = world.refused(closed, Some(LOGIN)).await;
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unreachable, Retry::Transient), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.to_string().contains("the proxy could not reach the host"), "{error}");
    }
    let error = squid.refused(9, Some(LOGIN)).await;
    assert_eq!((error.kind(), error.retry()), (ErrorKind::PermissionDenied, Retry::Permanent), "{error}");
    assert!(error.to_string().contains("403 Forbidden"), "{error}");
    // A name that nobody knows.
    let mut unknown = socks.request(2222, Some(LOGIN));
    unknown.host = "no-such-host.invalid".to_owned();
    let error = socks.net.dial(&unknown).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unreachable, Retry::Transient), "{error}");
}

#[tokio::test]
async fn http_requests_share_one_tunnel() {
    for world in worlds(true) {
        let (inner, inner_log) = net();
        let servers = net::http::HttpServers::new(&inner, net::http::ServerLimits::default());
        let here = net::http::ListenSpec::plain("inside", "127.0.0.1:0".parse().unwrap());
        let route = net::http::Route {
            host: None,
            path: "/".to_owned(),
            protocol: Protocol::Http,
            purpose: Purpose::Receive,
            endpoint: None,
            certificate: None,
        };
        let service = axum::Router::new().route("/hello", axum::routing::get(|| async { "hello" }));
        let handler = Arc::new(net::http::TowerHandler::new(service));
        let guard = servers.route(&here, route, handler).unwrap();
        let mut profile = HttpProfile::new(Some("acme".into()), Protocol::As2, Purpose::Deliver);
        profile.proxy = choice(world.proxy.text("url"), Some(LOGIN));
        let client = world.net.http_client(&profile);
        for _ in 0..3 {
            let url = format!("http://{}:{}/hello", world.name, guard.local_addr().port());
            let request = Request::get(url).body(Body::empty()).unwrap();
            let answer = client.request(request, &RequestMeta::default()).await.unwrap();
            assert_eq!(answer.into_body().collect(100).await.unwrap(), "hello");
        }
        assert_eq!(world.log.opened.lock().unwrap().len(), 1);
        assert_eq!(world.log.last_opened().record.proxy.as_deref(), Some(world.proxy.text("url")));
        eventually("the server's record", || (inner_log.counts().0 == 1).then_some(())).await;
    }
}
