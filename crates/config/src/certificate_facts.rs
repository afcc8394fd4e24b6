//! What a person wants to know of a certificate.

use crate::certificates::certificates_in;
use model::{PeerText, Timestamp, distinguished_name};
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, Id, PKeyRef};
use openssl::x509::{X509KeyUsage, X509NameRef, X509Ref};
use serde::Serialize;
use std::cmp::Ordering;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The data of a certificate, as text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CertificateFacts {
    /// The subject (RFC 4514).
    pub subject: String,
    /// The issuer (RFC 4514).
    pub issuer: String,
    /// Whether subject and issuer are the same.
    pub self_signed: bool,
    /// The serial number, in hexadecimal.
    pub serial: String,
    /// SHA-256 of its DER, in hexadecimal.
    pub sha256: String,
    /// SHA-1 of its DER, in hexadecimal: many partners compare this one.
    pub sha1: String,
    /// The begin of its validity.
    pub not_before: Timestamp,
    /// The end of its validity.
    pub not_after: Timestamp,
    /// Type and size of its key, such as `RSA 3072` or `EC P-256`.
    pub key: String,
    /// The algorithm of its signature, such as `sha256WithRSAEncryption`.
    pub signature: String,
    /// What its key may be used for; empty when the certificate does not say, which means anything.
    pub uses: Vec<String>,
    /// Host names, addresses, e-mail addresses and URIs of the subject.
    pub names: Vec<String>,
}

impl CertificateFacts {
    /// The data of a certificate. A time that cannot be read is the epoch.
    #[must_use]
    pub fn of(certificate: &X509Ref) -> Self {
        let serial = certificate.serial_number().to_bn().and_then(|number| number.to_hex_str());
        let algorithm = certificate.signature_algorithm().object().nid();
        Self {
            subject: name(certificate.subject_name()),
            issuer: name(certificate.issuer_name()),
            self_signed: certificate
                .subject_name()
                .try_cmp(certificate.issuer_name())
                .is_ok_and(Ordering::is_eq),
            serial: serial.map(|hex| hex.to_ascii_lowercase()).unwrap_or_default(),
            sha256: fingerprint(certificate, MessageDigest::sha256()),
            sha1: fingerprint(certificate, MessageDigest::sha1()),
            not_before: moment(certificate.not_before()).unwrap_or_default(),
            not_after: moment(certificate.not_after()).unwrap_or_default(),
            key: certificate.public_key().map_or_else(|_| "unknown".to_owned(), |key| key_name(&key)),
            signature: algorithm.long_name().unwrap_or("unknown").to_owned(),
            uses: uses(certificate),
            names: names(certificate),
        }
    }
}

/// A certificate of a file or of the definitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadCertificate {
    /// Its data.
    pub facts: CertificateFacts,
    /// The certificate alone, PEM.
    pub pem: String,
}

/// The certificates of a file in its order; `None` when it holds none in a form that [`certificates_in`] knows.
#[must_use]
pub fn read_certificates(bytes: &[u8]) -> Option<Vec<ReadCertificate>> {
    let read = certificates_in(bytes)?.into_iter().map(|certificate| {
        let pem = String::from_utf8(certificate.to_pem().ok()?).ok()?;
        Some(ReadCertificate { facts: CertificateFacts::of(&certificate), pem })
    });
    read.collect()
}

/// A certificate's time.
pub(crate) fn moment(time: &Asn1TimeRef) -> Option<Timestamp> {
    let epoch = Asn1Time::from_unix(0).ok()?;
    let since = epoch.diff(time).ok()?;
    Timestamp::from_timestamp(i64::from(since.days) * 86_400 + i64::from(since.secs), 0)
}

fn fingerprint(certificate: &X509Ref, digest: MessageDigest) -> String {
    let digest = certificate.digest(digest);
    digest.map(|digest| digest.iter().map(|byte| format!("{byte:02x}")).collect()).unwrap_or_default()
}

fn name(name: &X509NameRef) -> String {
    let attributes: Vec<_> = name
        .entries()
        .map(|entry| {
            let value = entry.data().to_string().map(String::into_bytes);
            let value = value.unwrap_or_else(|_| entry.data().as_slice().to_vec());
            (entry.object().nid().short_name().unwrap_or("OID"), value)
        })
        .collect();
    distinguished_name(attributes).to_string()
}

/// Type and size of a key, such as `RSA 3072` or `EC P-256`.
pub fn key_name<T: HasPublic>(key: &PKeyRef<T>) -> String {
    match key.id() {
        Id::RSA => format!("RSA {}", key.bits()),
        Id::RSA_PSS => format!("RSA-PSS {}", key.bits()),
        Id::DSA => format!("DSA {}", key.bits()),
        Id::ED25519 => "Ed25519".to_owned(),
        Id::ED448 => "Ed448".to_owned(),
        Id::EC => match key.ec_key().ok().and_then(|key| key.group().curve_name()) {
            Some(Nid::X9_62_PRIME256V1) => "EC P-256".to_owned(),
            Some(Nid::SECP384R1) => "EC P-384".to_owned(),
            Some(Nid::SECP521R1) => "EC P-521".to_owned(),
            curve => format!("EC {}", curve.and_then(|nid| nid.short_name().ok()).unwrap_or("unknown")),
        },
        _ => "unknown".to_owned(),
    }
}

fn uses(certificate: &X509Ref) -> Vec<String> {
    const WORDS: [(X509KeyUsage, &str); 9] = [
        (X509KeyUsage::DIGITAL_SIGNATURE, "digital signature"),
        (X509KeyUsage::NON_REPUDIATION, "non-repudiation"),
        (X509KeyUsage::KEY_ENCIPHERMENT, "key encipherment"),
        (X509KeyUsage::DATA_ENCIPHERMENT, "data encipherment"),
        (X509KeyUsage::KEY_AGREEMENT, "key agreement"),
        (X509KeyUsage::KEY_CERT_SIGN, "certificate signing"),
        (X509KeyUsage::CRL_SIGN, "CRL signing"),
        (X509KeyUsage::ENCIPHER_ONLY, "encipher only"),
        (X509KeyUsage::DECIPHER_ONLY, "decipher only"),
    ];
    let Some(bits) = certificate.key_usage() else { return Vec::new() };
    let said = WORDS.iter().filter(|(bit, _)| bits.contains(*bit));
    said.map(|(_, word)| (*word).to_owned()).collect()
}

fn names(certificate: &X509Ref) -> Vec<String> {
    let mut found = Vec::new();
    for name in certificate.subject_alt_names().into_iter().flatten() {
        let text = name.dnsname().or_else(|| name.email()).or_else(|| name.uri());
        let address = || {
            let bytes = name.ipaddress()?;
            let four = <[u8; 4]>::try_from(bytes).map(|bytes| Ipv4Addr::from(bytes).to_string());
            four.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| Ipv6Addr::from(bytes).to_string())).ok()
        };
        found.extend(text.map(|text| PeerText::new(text.as_bytes()).to_string()).or_else(address));
    }
    found
}
