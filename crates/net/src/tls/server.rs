//! TLS towards clients that connect to us: one certificate for each listen address.

use super::shown::security;
use super::{private_key, unusable};
use crate::stream::Counted;
use model::{Error, ErrorKind, Result, Retry, Secret, Security};
use openssl::ssl::{Ssl, SslAcceptor, SslMethod, SslVersion};
use openssl::x509::X509;
use std::pin::Pin;
use std::sync::Arc;
use tokio_openssl::SslStream;

/// A listen address's own certificate, as configured.
#[derive(Clone, Debug)]
pub struct ServerTlsOptions {
    /// Our certificate and the chain above it, PEM.
    pub certificates: String,
    /// Its private key, PEM.
    pub private_key: Secret<String>,
    /// The key's passphrase, when it is encrypted.
    pub passphrase: Option<Secret<String>>,
}

/// A listen address's own certificate, checked and ready: TLS 1.2 and 1.3. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls {
    acceptor: Arc<SslAcceptor>,
    identity: [u8; 32],
}

impl ServerTls {
    /// Checks options and prepares them.
    ///
    /// # Errors
    /// `ConfigInvalid`: certificate or key cannot be read, or do not belong together.
    pub fn new(options: &ServerTlsOptions) -> Result<Self> {
        let broken = unusable("prepare TLS for a listener");
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).map_err(&broken)?;
        builder.set_min_proto_version(Some(SslVersion::TLS1_2)).map_err(&broken)?;
        let chain = X509::stack_from_pem(options.certificates.as_bytes()).map_err(&broken)?;
        let Some((leaf, above)) = chain.split_first() else {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "prepare TLS for a listener")
                .advice("give the listener's certificate in PEM form"));
        };
        builder.set_certificate(leaf).map_err(&broken)?;
        for certificate in above {
            builder.add_extra_chain_cert(certificate.clone()).map_err(&broken)?;
        }
        let key = private_key(&options.private_key, options.passphrase.as_ref())?;
        builder.set_private_key(&key).map_err(&broken)?;
        builder.check_private_key().map_err(|cause| {
            Error::permanent(ErrorKind::ConfigInvalid, "prepare TLS for a listener")
                .advice("certificate and private key do not belong together")
                .caused_by(cause)
        })?;
        // The key belongs to the certificate: the certificates alone tell two apart.
        let identity = openssl::sha::sha256(options.certificates.as_bytes());
        Ok(Self { acceptor: Arc::new(builder.build()), identity })
    }
}

impl PartialEq for ServerTls {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Eq for ServerTls {}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerTls")
    }
}

/// What a handshake gave: the session, how it is protected, and the name the client asked for.
pub(crate) type Accepted = (Pin<Box<SslStream<Counted>>>, Security, Option<String>);

/// Does the handshake with a client. The caller's deadline bounds it.
///
/// # Errors
/// `Protocol`: the client does not speak TLS as we do. `Unreachable`: it hung up.
pub(crate) async fn accept(tls: &ServerTls, socket: Counted) -> Result<Accepted> {
    let broken = unusable("begin TLS");
    let ssl = Ssl::new(tls.acceptor.context()).map_err(&broken)?;
    let mut session = Box::pin(SslStream::new(ssl, socket).map_err(&broken)?);
    match session.as_mut().accept().await {
        Ok(()) => {
            let security = security(session.ssl());
            let name = session.ssl().servername(openssl::ssl::NameType::HOST_NAME).map(str::to_owned);
            Ok((session, security, name))
        }
        Err(error) => {
            let reason = error
                .ssl_error()
                .and_then(|stack| stack.errors().first())
                .and_then(|first| first.reason())
                .map(str::to_owned);
            Err(match reason {
                Some(reason) => {
                    Error::new(ErrorKind::Protocol, Retry::Permanent, "agree on TLS with the client")
                        .said(reason)
                }
                None => Error::new(ErrorKind::Unreachable, Retry::Transient, "agree on TLS with the client"),
            }
            .caused_by(error))
        }
    }
}
