//! Whom we believe, who we are, and what is recorded of it.

use crate::support::certificates::{Pair, Spec, authority, make, server};
use crate::support::{MemoryLog, eventually, listener, net, to};
use model::{Error, ErrorKind, Result, Retry, Secret, Security};
use net::{Net, OwnCertificate, TlsOptions, TlsProfile, TlsVersion, Trust};
use openssl::ssl::{Ssl, SslAcceptor, SslAcceptorBuilder, SslMethod, SslVerifyMode, SslVersion};
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_openssl::SslStream;

/// Echoes over TLS.
pub(crate) async fn echo(pair: &Pair, change: impl FnOnce(&mut SslAcceptorBuilder)) -> SocketAddr {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    builder.set_certificate(&pair.certificate).unwrap();
    builder.set_private_key(&pair.key).unwrap();
    change(&mut builder);
    let acceptor = builder.build();
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let mut stream = SslStream::new(Ssl::new(acceptor.context()).unwrap(), socket).unwrap();
            tokio::spawn(async move {
                if Pin::new(&mut stream).accept().await.is_err() {
                    return;
                }
                let mut buffer = [0; 16_384];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..count]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

fn profile(trust: Trust) -> TlsProfile {
    TlsProfile::new(&TlsOptions { trust, ..TlsOptions::default() }).unwrap()
}

async fn dial(net: &Net, address: SocketAddr, host: &str, tls: TlsProfile) -> Result<net::Stream> {
    let mut request = to(address);
    request.host = host.to_owned();
    request.tls = Some(tls);
    net.dial(&request).await
}

/// Dials a server that must not be believed; checks that the record says so.
async fn refused(net: &Net, log: &MemoryLog, address: SocketAddr, trust: Trust) -> Error {
    let known = log.counts().0;
    let error = dial(net, address, "127.0.0.1", profile(trust)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::TrustFailed, Retry::Permanent), "{error}");
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
    let opened = eventually("the record", || log.opened.lock().unwrap().get(known).cloned()).await;
    let closed = log.wait_closed(opened.record.id).await;
    assert!(closed.failed && closed.reason.as_str().contains("trust the server"), "{closed:?}");
    error
}

#[tokio::test]
async fn a_believed_server_is_recorded_with_its_certificate() {
    let (net, log) = net();
    let ca = authority("Test CA");
    let pair = server(&["127.0.0.1", "localhost"], Some(&ca));
    let address = echo(&pair, |_| {}).await;
    let trust = Trust::Authorities(vec![ca.certificate_pem()]);
    for host in ["127.0.0.1", "localhost"] {
        let mut stream = dial(&net, address, host, profile(trust.clone())).await.unwrap();
        let record = log.last_opened().record;
        let Security::Tls { version, cipher, peer } = record.security else { panic!("no TLS recorded") };
        let peer = peer.unwrap();
        assert_eq!((version.as_str(), cipher.starts_with("TLS_")), ("TLSv1.3", true));
        assert_eq!(peer.subject.as_str(), "CN=server,O=Waybill\\, tests");
        assert_eq!(peer.issuer.as_str(), "CN=Test CA,O=Waybill\\, tests");
        assert_eq!((peer.serial.as_str(), peer.sha256), ("0123456789abcdef", pair.sha256()));
        let now = chrono::Utc::now();
        assert_eq!((now - peer.not_before).num_minutes(), 60);
        assert_eq!((peer.not_after - now + chrono::Duration::minutes(1)).num_hours(), 24);
        assert!(log.last_opened().weakened.is_empty());

        stream.write_all(&[9; 100_000]).await.unwrap();
        let mut back = vec![0; 100_000];
        stream.read_exact(&mut back).await.unwrap();
        let id = stream.id();
        drop(stream);
        let closed = log.wait_closed(id).await;
        // Below TLS: what passed the socket, with records and handshake.
        assert!((100_001..110_000).contains(&closed.bytes_out), "{closed:?}");
        assert!((100_001..110_000).contains(&closed.bytes_in), "{closed:?}");
    }
}

#[tokio::test]
async fn untrusted_wrong_name_and_expired() {
    let (net, log) = net();
    let (ca, other) = (authority("Test CA"), authority("Other CA"));
    let trust = || Trust::Authorities(vec![ca.certificate_pem()]);

    let foreign = server(&["127.0.0.1"], Some(&other));
    let error = refused(&net, &log, echo(&foreign, |_| {}).await, trust()).await;
    assert!(error.to_string().contains(&foreign.sha256()), "{error}");
    assert!(error.to_string().contains("Other CA"), "{error}");
    assert!(error.to_string().contains("unable to get local issuer certificate"), "{error}");

    let own = server(&["127.0.0.1"], None);
    let error = refused(&net, &log, echo(&own, |_| {}).await, Trust::System).await;
    assert!(
        error.to_string().contains("self-signed") || error.to_string().contains("self signed"),
        "{error}"
    );

    let elsewhere = server(&["elsewhere.example"], Some(&ca));
    let error = refused(&net, &log, echo(&elsewhere, |_| {}).await, trust()).await;
    assert!(error.to_string().contains("for another host name"), "{error}");

    let spec = Spec { name: "old", names: &["127.0.0.1"], authority: false, valid: (-7200, -3600) };
    let expired = make(&spec, Some(&ca));
    let error = refused(&net, &log, echo(&expired, |_| {}).await, trust()).await;
    assert!(error.to_string().contains("has expired"), "{error}");
    assert!(error.to_string().contains("to renew it"), "{error}");
    log.wait_pairs(4).await;

    // The name can be set apart from the host.
    let options = TlsOptions {
        trust: trust(),
        server_name: Some("elsewhere.example".to_owned()),
        ..TlsOptions::default()
    };
    let address = echo(&elsewhere, |_| {}).await;
    dial(&net, address, "127.0.0.1", TlsProfile::new(&options).unwrap()).await.unwrap();
}

#[tokio::test]
async fn pins_accept_exactly_one_certificate() {
    let (net, log) = net();
    let (pair, other) = (server(&["elsewhere.example"], None), server(&["127.0.0.1"], None));
    let (address, wrong) = (echo(&pair, |_| {}).await, echo(&other, |_| {}).await);
    let pin =
        |sha256: String| Trust::Pinned { pins: vec![sha256], authorities: Vec::new(), accept_expired: false };
    let spelled = format!("SHA256:{}", pair.sha256().to_uppercase());
    for text in [pair.sha256(), spelled] {
        dial(&net, address, "127.0.0.1", profile(pin(text))).await.unwrap();
    }
    let error = refused(&net, &log, wrong, pin(pair.sha256())).await;
    assert!(error.to_string().contains(&other.sha256()), "{error}");
    assert!(error.to_string().contains("pinned"), "{error}");

    // A chain to a pinned server's authority does not make another certificate the pinned one.
    let ca = authority("Test CA");
    let issued = server(&["127.0.0.1"], Some(&ca));
    let address =
        echo(&issued, |builder| builder.add_extra_chain_cert(ca.certificate.clone()).unwrap()).await;
    refused(&net, &log, address, pin(ca.sha256())).await;
    dial(&net, address, "127.0.0.1", profile(pin(issued.sha256()))).await.unwrap();

    let spec = Spec { name: "old", names: &[], authority: false, valid: (-7200, -3600) };
    let expired = make(&spec, None);
    let address = echo(&expired, |_| {}).await;
    refused(&net, &log, address, pin(expired.sha256())).await;
    let lenient =
        |sha256| Trust::Pinned { pins: vec![sha256], authorities: Vec::new(), accept_expired: true };
    dial(&net, address, "127.0.0.1", profile(lenient(expired.sha256()))).await.unwrap();

    // One that is not valid yet is no old one.
    let early = make(&Spec { name: "early", names: &[], authority: false, valid: (3600, 7200) }, None);
    let address = echo(&early, |_| {}).await;
    refused(&net, &log, address, pin(early.sha256())).await;
    refused(&net, &log, address, lenient(early.sha256())).await;
}

#[tokio::test]
async fn not_verifying_is_marked() {
    let (net, log) = net();
    let pair = server(&["elsewhere.example"], None);
    let address = echo(&pair, |_| {}).await;
    dial(&net, address, "127.0.0.1", profile(Trust::Unverified)).await.unwrap();
    assert_eq!(log.last_opened().weakened, ["the server's certificate is not verified"]);
    assert!(matches!(log.last_opened().record.security, Security::Tls { peer: Some(_), .. }));
}

#[tokio::test]
async fn old_tls_and_no_tls_are_refused() {
    let (net, log) = net();
    let pair = server(&["127.0.0.1"], None);
    let address = echo(&pair, |builder| {
        builder.set_security_level(0);
        builder.set_min_proto_version(Some(SslVersion::TLS1)).unwrap();
        builder.set_max_proto_version(Some(SslVersion::TLS1_1)).unwrap();
        builder.clear_options(openssl::ssl::SslOptions::NO_TLSV1 | openssl::ssl::SslOptions::NO_TLSV1_1);
        builder.set_cipher_list("ALL:@SECLEVEL=0").unwrap();
    })
    .await;
    let error = dial(&net, address, "127.0.0.1", profile(Trust::Unverified)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Protocol, Retry::Permanent), "{error}");

    let (listener, address) = listener().await;
    tokio::spawn(async move {
        for answer in [&b"220 mail.example ready\r\n"[..], b""] {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.write_all(answer).await.unwrap();
            let _ = socket.shutdown().await;
            let _ = socket.read_to_end(&mut Vec::new()).await;
        }
    });
    let error = dial(&net, address, "127.0.0.1", profile(Trust::System)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    let error = dial(&net, address, "127.0.0.1", profile(Trust::System)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unreachable, Retry::Transient), "{error}");
    assert!(
        error.to_string().contains("closed the connection") || error.to_string().contains("ended"),
        "{error}"
    );
    log.wait_pairs(3).await;
}

#[tokio::test]
async fn a_silent_server_times_out_in_the_handshake() {
    let (net, log) = net();
    let (_listener, address) = listener().await;
    let mut request = to(address);
    request.tls = Some(profile(Trust::System));
    request.timeout = Duration::from_millis(200);
    let error = net.dial(&request).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Transient));
    log.wait_pairs(1).await;
    assert!(log.closed.lock().unwrap()[0].reason.as_str().contains("handshake"));
}

#[tokio::test]
async fn a_client_certificate_is_shown_when_asked_for() {
    let (net, _log) = net();
    let ca = authority("Test CA");
    let pair = server(&["127.0.0.1"], Some(&ca));
    let client = server(&["waybill"], Some(&ca));
    let address = echo(&pair, |builder| {
        let mut store = openssl::x509::store::X509StoreBuilder::new().unwrap();
        store.add_cert(ca.certificate.clone()).unwrap();
        builder.set_verify_cert_store(store.build()).unwrap();
        builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    })
    .await;
    let trust = Trust::Authorities(vec![ca.certificate_pem()]);
    let encrypted = client
        .key
        .private_key_to_pem_pkcs8_passphrase(openssl::symm::Cipher::aes_256_cbc(), b"correct horse");
    let own = OwnCertificate {
        certificates: client.certificate_pem(),
        private_key: Secret::new(String::from_utf8(encrypted.unwrap()).unwrap()),
        passphrase: Some(Secret::new("correct horse".to_owned())),
    };
    let options =
        TlsOptions { trust: trust.clone(), client_certificate: Some(own.clone()), ..TlsOptions::default() };
    let with = TlsProfile::new(&options).unwrap();
    assert!(with != profile(trust.clone()));
    let mut stream = dial(&net, address, "127.0.0.1", with).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.unwrap();

    // Without: TLS 1.3 tells only on the first read.
    let mut stream = dial(&net, address, "127.0.0.1", profile(trust.clone())).await.unwrap();
    assert!(stream.read_u8().await.is_err());

    // A wrong passphrase, or a key of another certificate, is a fault of configuration.
    let wrong = OwnCertificate { passphrase: Some(Secret::new("wrong".to_owned())), ..own.clone() };
    let foreign = OwnCertificate { private_key: Secret::new(pair.key_pem()), passphrase: None, ..own };
    for bad in [wrong, foreign] {
        let options = TlsOptions { client_certificate: Some(bad), ..TlsOptions::default() };
        assert_eq!(TlsProfile::new(&options).unwrap_err().kind(), ErrorKind::ConfigInvalid);
    }
}

#[test]
fn unusable_options_are_faults_of_configuration() {
    let bad = [
        Trust::Authorities(vec!["nothing".to_owned()]),
        Trust::Pinned { pins: vec![], authorities: Vec::new(), accept_expired: false },
        Trust::Pinned { pins: vec!["abcd".to_owned()], authorities: Vec::new(), accept_expired: false },
        Trust::Pinned { pins: vec!["z".repeat(64)], authorities: Vec::new(), accept_expired: false },
        Trust::Pinned { pins: vec!["a".repeat(65)], authorities: Vec::new(), accept_expired: false },
    ];
    for trust in bad {
        let error = TlsProfile::new(&TlsOptions { trust, ..TlsOptions::default() }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
    }
}

#[tokio::test]
async fn a_public_key_is_pinned_and_stays_so_when_its_certificate_is_renewed() {
    let (net, log) = net();
    let (pair, other) = (server(&["elsewhere.example"], None), server(&["elsewhere.example"], None));
    let key = pair.key.public_key_to_der().unwrap();
    let pin = format!("sha256//{}", base64(&openssl::sha::sha256(&key)));
    let trust = || Trust::Pinned { pins: vec![pin.clone()], authorities: Vec::new(), accept_expired: false };
    let address = echo(&pair, |_| {}).await;
    drop(dial(&net, address, "127.0.0.1", profile(trust())).await.unwrap());
    let error = refused(&net, &log, echo(&other, |_| {}).await, trust()).await;
    assert!(error.to_string().contains(&other.sha256()), "{error}");
}

fn base64(bytes: &[u8]) -> String {
    openssl::base64::encode_block(bytes)
}

#[tokio::test]
async fn a_pin_beside_authorities_must_be_right_as_well() {
    let (net, log) = net();
    let ca = authority("Test CA");
    let trust = |pair: &Pair, ca: &Pair| Trust::Pinned {
        pins: vec![pair.sha256()],
        authorities: vec![ca.certificate_pem()],
        accept_expired: false,
    };
    let pair = server(&["127.0.0.1"], Some(&ca));
    let address = echo(&pair, |_| {}).await;
    drop(dial(&net, address, "127.0.0.1", profile(trust(&pair, &ca))).await.unwrap());
    // The pin alone is not enough: wrong issuer, wrong name.
    let error = refused(&net, &log, address, trust(&pair, &authority("Other CA"))).await;
    assert!(error.to_string().contains("unable to get local issuer certificate"), "{error}");
    let elsewhere = server(&["elsewhere.example"], Some(&ca));
    let error = refused(&net, &log, echo(&elsewhere, |_| {}).await, trust(&elsewhere, &ca)).await;
    assert!(error.to_string().contains("for another host name"), "{error}");
    // Nor is the chain.
    let error = refused(&net, &log, address, trust(&elsewhere, &ca)).await;
    assert!(error.to_string().contains("not one of the pinned ones"), "{error}");
}

#[tokio::test]
async fn versions_and_ciphers_are_those_that_were_chosen() {
    let (net, log) = net();
    let pair = server(&["127.0.0.1"], None);
    let open = echo(&pair, |_| {}).await;
    let old = echo(&pair, |builder| {
        builder.set_max_proto_version(Some(SslVersion::TLS1_2)).unwrap();
    })
    .await;
    let options = |versions, ciphers: &[&str]| {
        let trust = Trust::Authorities(vec![pair.certificate_pem()]);
        let ciphers = ciphers.iter().map(|name| (*name).to_owned()).collect();
        TlsProfile::new(&TlsOptions { trust, versions, ciphers, ..TlsOptions::default() }).unwrap()
    };
    let (v2, v3) = (TlsVersion::V1_2, TlsVersion::V1_3);
    for (address, versions, ciphers, version, cipher) in [
        (open, (v2, v2), &["ECDHE-ECDSA-AES128-GCM-SHA256"][..], "TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (
            open,
            (v2, v2),
            &["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"],
            "TLSv1.2",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
        ),
        (open, (v2, v3), &["TLS_AES_128_GCM_SHA256"], "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
        (open, (v3, v3), &[], "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
        (old, (v2, v3), &["ECDHE-ECDSA-AES256-GCM-SHA384"], "TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ] {
        drop(dial(&net, address, "127.0.0.1", options(versions, ciphers)).await.unwrap());
        let Security::Tls { version: v, cipher: c, .. } = log.last_opened().record.security else { panic!() };
        assert_eq!((v.as_str(), c.as_str()), (version, cipher));
    }
    let error = dial(&net, old, "127.0.0.1", options((v3, v3), &[])).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Protocol, Retry::Permanent), "{error}");
}

#[tokio::test]
async fn the_same_options_give_the_same_profile() {
    let (net, _log) = net();
    let options = TlsOptions::default();
    let first = net.tls_profile(&options).unwrap();
    assert_eq!(first, net.tls_profile(&options).unwrap());
    let other = TlsOptions { versions: (TlsVersion::V1_3, TlsVersion::V1_3), ..options };
    assert_ne!(first, net.tls_profile(&other).unwrap());
}
