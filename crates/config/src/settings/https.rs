//! `[listen.http.NAME]`: where an HTTP server listens, and how it does TLS.

use super::{HttpListener, address, beside};
use crate::reader::Reader;
use model::{ClientCertificates, Secret, TlsVersion};
use std::path::{Path, PathBuf};

/// How an HTTP server does TLS.
#[derive(Clone, Debug)]
pub struct HttpTls {
    /// The server's own certificate, if it has one.
    pub files: Option<TlsFiles>,
    /// The lowest version.
    pub min: TlsVersion,
    /// Whether clients are asked for certificates.
    pub client_certificates: ClientCertificates,
    /// The file of certificates (PEM) that a client's must lead to.
    pub client_authorities: Option<PathBuf>,
}

/// Where a server's own certificate lies.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate and the chain above it, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub private_key: PathBuf,
    /// The key's passphrase, when it is encrypted.
    pub passphrase: Option<Secret<String>>,
}

/// `None` with a problem told.
pub(super) fn http_server(reader: &Reader<'_>, base: &Path, proxy_protocol: bool) -> Option<HttpListener> {
    let mut addresses = Vec::new();
    for text in reader.list("address") {
        match address(&text.value) {
            Ok(address) => addresses.push(address),
            Err(message) => reader.context.error(text.place, &reader.key("address"), message),
        }
    }
    if addresses.is_empty() {
        if matches!(reader.value("address"), Some(model::schema::Value::List(list)) if list.is_empty()) {
            reader.error("address", "contains no address");
        }
        return None;
    }
    let tls = match reader.has("tls") {
        true => Some(reader.child("tls").and_then(|tls| http_tls(&tls, base))?),
        false => None,
    };
    Some(HttpListener { addresses, proxy_protocol, tls })
}

fn http_tls(reader: &Reader<'_>, base: &Path) -> Option<HttpTls> {
    let path = |name: &str| reader.text(name).map(|text| beside(base, &text.value));
    let passphrase = reader.secret("passphrase");
    let files = match (path("certificate"), path("private_key")) {
        (Some(certificate), Some(private_key)) => Some(TlsFiles { certificate, private_key, passphrase }),
        (None, None) => None,
        (Some(_), None) => {
            reader.error("certificate", "needs its 'private_key' as well");
            return None;
        }
        (None, Some(_)) => {
            reader.error("private_key", "needs its 'certificate' as well");
            return None;
        }
    };
    let client_certificates = reader.word("client_certificates", ClientCertificates::from_word)?;
    let client_authorities = path("client_authorities");
    if client_certificates != ClientCertificates::Off && client_authorities.is_none() {
        reader.error(
            "client_certificates",
            "needs 'client_authorities': the certificates of the authorities that issue client certificates",
        );
        return None;
    }
    let min = reader.word("min", TlsVersion::from_word)?;
    Some(HttpTls { files, min, client_certificates, client_authorities })
}
