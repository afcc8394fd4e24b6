//! TLS that begins on a stream, and sessions for further connections.

use crate::support::certificates::{Pair, authority, server};
use crate::support::{listener, net, to};
use model::{ConnectionId, ErrorKind, Retry, Security};
use net::{TlsOptions, TlsProfile, TlsSession, TlsVersion, Trust};
use openssl::ssl::{Ssl, SslAcceptor, SslMethod, SslVersion};
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_openssl::SslStream;

const LIMIT: Duration = Duration::from_secs(5);

/// Says `ready` in the clear, and under TLS whether the session was resumed.
async fn greeting(pair: &Pair) -> SocketAddr {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    builder.set_certificate(&pair.certificate).unwrap();
    builder.set_private_key(&pair.key).unwrap();
    builder.set_session_id_context(b"test").unwrap();
    builder.set_max_proto_version(Some(SslVersion::TLS1_3)).unwrap();
    let acceptor = builder.build();
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                socket.write_all(b"ready").await.unwrap();
                let mut stream = SslStream::new(Ssl::new(acceptor.context()).unwrap(), socket).unwrap();
                if Pin::new(&mut stream).accept().await.is_ok() {
                    let words = if stream.ssl().session_reused() { b"again" } else { b"first" };
                    stream.write_all(words).await.unwrap();
                    drop(stream.shutdown().await);
                }
            });
        }
    });
    address
}

fn profile(authority: &Pair, version: TlsVersion) -> TlsProfile {
    let trust = Trust::Authorities(vec![authority.certificate_pem()]);
    TlsProfile::new(&TlsOptions { trust, versions: (version, version), ..TlsOptions::default() }).unwrap()
}

#[tokio::test]
async fn tls_begins_on_a_stream_and_its_session_is_resumed() {
    let ca = authority("Test CA");
    let address = greeting(&server(&["127.0.0.1"], Some(&ca))).await;
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let (net, log) = net();
        let session = TlsSession::default();
        let control = ConnectionId::new(uuid::Uuid::from_u128(7));
        for expected in ["first", "again", "again", "again"] {
            let mut request = to(address);
            request.control = Some(control);
            let mut stream = net.dial_deferred(&request).await.unwrap();
            let mut words = [0; 5];
            stream.read_exact(&mut words).await.unwrap();
            assert_eq!(&words, b"ready");
            // A profile of its own: the session belongs to none.
            let profile = profile(&ca, version);
            let mut stream = stream.start_tls(&profile, "127.0.0.1", Some(&session), LIMIT).await.unwrap();
            let handle = stream.handle();
            handle.established(handle.security()).await.unwrap();
            stream.read_exact(&mut words).await.unwrap();
            assert_eq!(words, expected.as_bytes(), "{version:?}");
            assert!(session.is_kept());
            let opened = log.last_opened().record;
            assert!(matches!(opened.security, Security::Tls { .. }), "{opened:?}");
            assert_eq!(opened.control, Some(control));
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_trusted_ends_it_and_is_on_record() {
    let (net, log) = net();
    let address = greeting(&server(&["127.0.0.1"], Some(&authority("Another CA")))).await;
    let mut stream = net.dial_deferred(&to(address)).await.unwrap();
    stream.read_exact(&mut [0; 5]).await.unwrap();
    let id = stream.id();
    let profile = profile(&authority("Test CA"), TlsVersion::V1_3);
    let error = stream.start_tls(&profile, "127.0.0.1", None, LIMIT).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::TrustFailed, Retry::Permanent), "{error}");
    assert_eq!(error.connection(), Some(id));
    let closed = log.wait_closed(id).await;
    assert!(closed.failed && closed.reason.as_str().contains("trust the server"), "{closed:?}");
}
