//! HTTPS: certificates by name, replaced while connections are open, and certificates of clients.

use super::{Talker, anywhere, get, route, send, talker};
use crate::support::certificates::{Pair, Spec, authority, make, server as certificate_for};
use crate::support::{MemoryLog, eventually, net, to};
use model::{ClientCertificates, ErrorKind, Secret, Security, TlsVersion};
use net::http::{HttpServers, ListenSpec, Route, RouteGuard, ServerLimits};
use net::{OwnCertificate, ServerCertificate, ServerTls, ServerTlsOptions, Stream, TlsOptions, Trust};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn tls(clients: ClientCertificates, authorities: &[&Pair]) -> ServerTls {
    let options = ServerTlsOptions {
        min: TlsVersion::V1_2,
        client_certificates: clients,
        client_authorities: authorities.iter().map(|pair| pair.certificate_pem()).collect(),
    };
    ServerTls::new(&options).unwrap()
}

/// An HTTPS server on loopback.
struct World {
    log: Arc<MemoryLog>,
    servers: HttpServers,
    listen: ListenSpec,
    tls: ServerTls,
}

fn world(tls: ServerTls) -> World {
    let (net, log) = net();
    let servers = HttpServers::new(&net, ServerLimits::default());
    let listen = ListenSpec { tls: Some(tls.clone()), ..anywhere() };
    World { log, servers, listen, tls }
}

impl World {
    fn serve(&self, host: Option<&str>, path: &str, pair: Option<&Pair>, talker: Arc<Talker>) -> RouteGuard {
        let route = Route { certificate: pair.map(Pair::served), ..route(host, path) };
        self.servers.route(&self.listen, route, talker).unwrap()
    }
}

/// Somebody else's connection: the name that it asks for, or none.
async fn connect(address: SocketAddr, name: Option<&str>, client: Option<&Pair>) -> (Stream, String) {
    let (net, log) = net();
    let options = TlsOptions {
        trust: Trust::Unverified,
        server_name: name.map(str::to_owned),
        client_certificate: client.map(Pair::own),
        ..TlsOptions::default()
    };
    let mut request = to(address);
    request.tls = Some(net.tls_profile(&options).unwrap());
    let stream = net.dial(&request).await.unwrap();
    let Security::Tls { peer, .. } = log.last_opened().record.security else { panic!("no TLS") };
    (stream, peer.unwrap().sha256)
}

async fn shown(address: SocketAddr, name: Option<&str>) -> String {
    connect(address, name, None).await.1
}

async fn ask(mut stream: Stream, path: &str, host: &str) -> String {
    stream.write_all(get(path, host).as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn each_name_is_shown_its_own_certificate_and_goes_by_host_and_path() {
    let world = world(tls(ClientCertificates::Off, &[]));
    let fallback = certificate_for(&["gateway.example"], None);
    let (one, two) = (certificate_for(&["one.example"], None), certificate_for(&["two.example"], None));
    let any = certificate_for(&["*.third.example", "also.example"], None);
    world.tls.set_certificate(&fallback.served()).unwrap();
    let guard = world.serve(Some("one.example"), "/as2", Some(&one), talker("one"));
    let _two = world.serve(Some("Two.example"), "/as2", Some(&two), talker("two"));
    let _any = world.serve(None, "/any", Some(&any), talker("any"));
    let _bare = world.serve(None, "/bare", None, talker("bare"));
    let address = guard.local_addr();
    for (name, pair) in [
        (Some("one.example"), &one),
        (Some("ONE.example"), &one),
        (Some("two.example"), &two),
        (Some("a.third.example"), &any),
        (Some("also.example"), &any),
        (Some("a.b.third.example"), &fallback),
        (Some("third.example"), &fallback),
        (Some("unknown.example"), &fallback),
        (None, &fallback),
    ] {
        assert_eq!(shown(address, name).await, pair.sha256(), "{name:?}");
    }
    for (name, path, wanted) in [
        ("one.example", "/as2", "one:0"),
        ("two.example", "/as2/x", "two:0"),
        ("a.third.example", "/any", "any:0"),
        ("one.example", "/bare", "bare:0"),
    ] {
        let (stream, _) = connect(address, Some(name), None).await;
        let answer = ask(stream, path, name).await;
        assert!(answer.ends_with(wanted), "{name}{path}: {answer}");
    }
    let (stream, _) = connect(address, Some("a.third.example"), None).await;
    assert!(ask(stream, "/as2", "a.third.example").await.starts_with("HTTP/1.1 404 "));
    // With its route a certificate goes.
    drop(guard);
    assert_eq!(shown(address, Some("one.example")).await, fallback.sha256());
}

#[tokio::test]
async fn without_one_of_the_servers_own_the_first_routes_certificate_is_for_all() {
    let world = world(tls(ClientCertificates::Off, &[]));
    let (one, two) = (certificate_for(&["one.example"], None), certificate_for(&["two.example"], None));
    let first = world.serve(Some("one.example"), "/", Some(&one), talker("one"));
    let second = world.serve(Some("two.example"), "/", Some(&two), talker("two"));
    let address = first.local_addr();
    for name in [None, Some("unknown.example")] {
        assert_eq!(shown(address, name).await, one.sha256(), "{name:?}");
    }
    drop(first);
    assert_eq!(shown(address, None).await, two.sha256());
    drop(second);
}

#[tokio::test]
async fn a_certificate_is_replaced_while_a_body_is_received() {
    let world = world(tls(ClientCertificates::Off, &[]));
    let (own, new_own) = (certificate_for(&["a.example"], None), certificate_for(&["a.example"], None));
    let (old, new) = (certificate_for(&["b.example"], None), certificate_for(&["b.example"], None));
    world.tls.set_certificate(&own.served()).unwrap();
    let guard = world.serve(Some("b.example"), "/", Some(&old), talker("b"));
    let _bare = world.serve(None, "/", None, talker("a"));
    let address = guard.local_addr();
    let mut under_way = Vec::new();
    for (name, pair) in [("a.example", &own), ("b.example", &old)] {
        let (mut stream, sha256) = connect(address, Some(name), None).await;
        assert_eq!(sha256, pair.sha256());
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&[7; 400_000]).await.unwrap();
        under_way.push(stream);
    }
    world.tls.set_certificate(&new_own.served()).unwrap();
    guard.replace_certificate(&new.served()).unwrap();
    for (name, pair) in [("a.example", &new_own), ("b.example", &new)] {
        assert_eq!(shown(address, Some(name)).await, pair.sha256());
    }
    for (mut stream, wanted) in under_way.into_iter().zip(["a:1000000", "b:1000000"]) {
        stream.write_all(&[7; 600_000]).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(wanted), "{answer}");
    }
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_before_it_is_in_force() {
    let now = chrono::Utc::now();
    let (pair, other) = (certificate_for(&["a.example"], None), certificate_for(&["a.example"], None));
    let dated = |valid| make(&Spec { name: "dated", names: &["a.example"], authority: false, valid }, None);
    let mixed = OwnCertificate { private_key: Secret::new(other.key_pem()), ..pair.own() };
    let empty = OwnCertificate { certificates: String::new(), ..pair.own() };
    for (wrong, words) in [
        (mixed, "the certificate does not belong to the private key: give the key's own certificate"),
        (empty, "-----BEGIN CERTIFICATE-----"),
        (dated((-7200, -3600)).own(), "it has expired: renew it"),
        (dated((3600, 7200)).own(), "it is not valid yet"),
    ] {
        let error = ServerCertificate::new(&wrong, now).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }

    let world = world(tls(ClientCertificates::Off, &[]));
    let refused =
        |listen: &ListenSpec, route: Route| world.servers.route(listen, route, talker("x")).err().unwrap();
    let error = refused(&world.listen, route(None, "/"));
    assert!(error.to_string().contains("give the listener a certificate"), "{error}");
    world.tls.certificate_failed(&error.advice("because"));
    let error = refused(&world.listen, route(None, "/"));
    assert!(error.to_string().contains("correct the server's certificate"), "{error}");
    let plain = anywhere();
    let error = refused(&plain, Route { certificate: Some(pair.served()), ..route(None, "/") });
    assert!(error.to_string().contains("does not use TLS"), "{error}");
    let options =
        ServerTlsOptions { client_certificates: ClientCertificates::Required, ..Default::default() };
    let error = ServerTls::new(&options).unwrap_err();
    assert!(error.to_string().contains("set the authorities"), "{error}");
}

/// Whether a client is served, and its subject on record.
async fn recorded(world: &World, address: SocketAddr, client: Option<&Pair>) -> Option<String> {
    let (stream, _) = connect(address, Some("a.example"), client).await;
    let answer = ask(stream, "/", "a.example").await;
    assert!(answer.ends_with("a:0"), "{answer}");
    let Security::Tls { peer, .. } = world.log.last_opened().record.security else { panic!("no TLS") };
    peer.map(|peer| peer.subject.as_str().to_owned())
}

/// That a client is not served, and why.
async fn refused(world: &World, address: SocketAddr, client: Option<&Pair>) -> String {
    let known = world.log.counts().1;
    let (stream, _) = connect(address, Some("a.example"), client).await;
    // In TLS 1.3 a client learns of it with its first read.
    let answer = tokio::time::timeout(Duration::from_secs(10), async move {
        let mut stream = stream;
        let _ = stream.write_all(get("/", "a.example").as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    });
    assert_eq!(answer.await.unwrap(), b"");
    let closed = eventually("the record", || world.log.closed.lock().unwrap().get(known).cloned()).await;
    assert!(closed.failed, "{closed:?}");
    closed.reason.as_str().to_owned()
}

#[tokio::test]
async fn clients_show_certificates_that_are_put_on_record_or_are_refused() {
    let (ca, other_ca) = (authority("Partners CA"), authority("Other CA"));
    let client =
        |name, valid, issuer| make(&Spec { name, names: &[], authority: false, valid }, Some(issuer));
    let good = client("globex", (-3600, 86_400), &ca);
    let stranger = client("stranger", (-3600, 86_400), &other_ca);
    let expired = client("expired", (-7200, -3600), &ca);
    // A partner without an authority: its own certificate is the authority.
    let alone = certificate_for(&["alone.example"], None);
    let pair = certificate_for(&["a.example"], None);
    for clients in [ClientCertificates::Optional, ClientCertificates::Required] {
        let world = world(tls(clients, &[&ca, &alone]));
        let guard = world.serve(None, "/", Some(&pair), talker("a"));
        let address = guard.local_addr();
        let subject = recorded(&world, address, Some(&good)).await;
        assert_eq!(subject.as_deref(), Some("CN=globex,O=Waybill\\, tests"));
        assert!(recorded(&world, address, Some(&alone)).await.is_some());
        for (client, words) in [(&stranger, "CN=stranger"), (&expired, "certificate has expired")] {
            let why = refused(&world, address, Some(client)).await;
            assert!(why.contains("trust the client's certificate") && why.contains(words), "{why}");
        }
        if clients == ClientCertificates::Optional {
            assert_eq!(recorded(&world, address, None).await, None);
        } else {
            let why = refused(&world, address, None).await;
            assert!(why.contains("requires a client certificate"), "{why}");
        }
    }
    // Not asked for, it is not shown.
    let world = world(tls(ClientCertificates::Off, &[]));
    let guard = world.serve(None, "/", Some(&pair), talker("a"));
    assert_eq!(recorded(&world, guard.local_addr(), Some(&good)).await, None);
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
    let world = world(tls(ClientCertificates::Off, &[]));
    let talker = talker("tls");
    let pair = certificate_for(&["localhost"], None);
    let guard = world.serve(None, "/", Some(&pair), talker.clone());
    let address = guard.local_addr();
    for (version, recorded) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let (_, answer) = s_client(address, &[version, "-servername", "localhost"]).await;
        assert!(answer.contains("tls:0"), "{answer}");
        let record = world.log.last_opened().record;
        assert!(matches!(&record.security, Security::Tls { version, .. } if version == recorded));
        assert!(talker.peers.lock().unwrap().last().unwrap().is_tls());
    }
    for version in ["-tls1", "-tls1_1"] {
        let (success, answer) = s_client(address, &[version, "-cipher", "ALL:@SECLEVEL=0"]).await;
        assert!(!success && answer.is_empty(), "{answer}");
    }
    // Plain HTTP to a TLS port.
    assert!(!send(address, get("/", "x")).await.contains("200 OK"));
    world.log.wait_pairs(5).await;
    let failed: Vec<_> =
        world.log.closed.lock().unwrap().iter().filter(|closed| closed.failed).cloned().collect();
    assert_eq!(failed.len(), 3, "{failed:?}");
    assert!(failed.iter().all(|closed| closed.reason.as_str().contains("TLS")), "{failed:?}");
    assert!(failed.iter().any(|closed| closed.reason.as_str().contains("uses plain HTTP")), "{failed:?}");
}

#[tokio::test]
async fn the_lowest_version_can_be_raised() {
    let options = ServerTlsOptions { min: TlsVersion::V1_3, ..ServerTlsOptions::default() };
    let world = world(ServerTls::new(&options).unwrap());
    let guard = world.serve(None, "/", Some(&certificate_for(&["localhost"], None)), talker("tls"));
    let (_, answer) = s_client(guard.local_addr(), &["-tls1_3"]).await;
    assert!(answer.contains("tls:0"), "{answer}");
    let (success, answer) = s_client(guard.local_addr(), &["-tls1_2"]).await;
    assert!(!success && answer.is_empty(), "{answer}");
}

#[tokio::test]
async fn a_silent_tls_client_is_given_up() {
    let (net, log) = net();
    let limits = ServerLimits { handshake_timeout: Duration::from_millis(100), ..ServerLimits::default() };
    let servers = HttpServers::new(&net, limits);
    let listen = ListenSpec { tls: Some(tls(ClientCertificates::Off, &[])), ..anywhere() };
    let route =
        Route { certificate: Some(certificate_for(&["a.example"], None).served()), ..route(None, "/") };
    let guard = servers.route(&listen, route, talker("tls")).unwrap();
    assert_eq!(send(guard.local_addr(), "").await, "");
    log.wait_pairs(1).await;
}
