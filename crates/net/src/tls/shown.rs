//! A peer's certificate and protection, for the record and for error messages.

use chrono::DateTime;
use model::{Certificate, PeerText, Security, Timestamp, distinguished_name};
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::hash::MessageDigest;
use openssl::ssl::SslRef;
use openssl::x509::{X509NameRef, X509Ref};

/// How a finished handshake protects its connection.
pub(crate) fn security(ssl: &SslRef) -> Security {
    Security::Tls {
        version: ssl.version_str().to_owned(),
        cipher: ssl.current_cipher().map(|cipher| cipher.name().to_owned()).unwrap_or_default(),
        peer: ssl.peer_certificate().map(|certificate| Box::new(certificate_record(&certificate))),
    }
}

/// The recorded data of a certificate.
pub(crate) fn certificate_record(certificate: &X509Ref) -> Certificate {
    Certificate {
        subject: name(certificate.subject_name()),
        issuer: name(certificate.issuer_name()),
        serial: certificate
            .serial_number()
            .to_bn()
            .and_then(|number| number.to_hex_str().map(|hex| hex.to_ascii_lowercase()))
            .unwrap_or_default(),
        sha256: fingerprint(certificate).map(|digest| hex(&digest)).unwrap_or_default(),
        not_before: time(certificate.not_before()),
        not_after: time(certificate.not_after()),
    }
}

/// SHA-256 of the DER.
pub(crate) fn fingerprint(certificate: &X509Ref) -> Option<[u8; 32]> {
    certificate.digest(MessageDigest::sha256()).ok().and_then(|digest| (*digest).try_into().ok())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn name(name: &X509NameRef) -> PeerText {
    let attributes: Vec<_> = name
        .entries()
        .map(|entry| {
            let value = entry.data().to_string().map(String::into_bytes);
            let value = value.unwrap_or_else(|_| entry.data().as_slice().to_vec());
            (entry.object().nid().short_name().unwrap_or("OID"), value)
        })
        .collect();
    distinguished_name(attributes)
}

/// A certificate's time; the epoch if it cannot be read.
pub(super) fn time(time: &Asn1TimeRef) -> Timestamp {
    Asn1Time::from_unix(0)
        .and_then(|epoch| epoch.diff(time))
        .ok()
        .and_then(|diff| DateTime::from_timestamp(i64::from(diff.days) * 86_400 + i64::from(diff.secs), 0))
        .unwrap_or_default()
}
