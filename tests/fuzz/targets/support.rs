//! What the targets share: keys of this process, and reading a message as a listener does.
#![allow(dead_code, reason = "each target uses its part")]

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509NameBuilder};
use smime::{DecryptionKey, Headers, Keys, Limits, Part, PartReceiver, ReadOptions};
use std::io::{self, Write};
use std::sync::LazyLock;

/// An RSA and an EC key. The serial numbers are those that the seeds name (run.sh).
pub static KEYS: LazyLock<Vec<DecryptionKey>> = LazyLock::new(|| {
    let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    vec![
        pair(PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()),
        pair(PKey::from_ec_key(EcKey::generate(&curve).unwrap()).unwrap()),
    ]
});

fn pair(key: PKey<Private>) -> DecryptionKey {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "fuzz").unwrap();
    let name = name.build();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(2).unwrap();
    certificate.set_subject_name(&name).unwrap();
    certificate.set_issuer_name(&name).unwrap();
    certificate.set_pubkey(&key).unwrap();
    certificate.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(30).unwrap()).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    DecryptionKey { key, certificate: certificate.build() }
}

/// Takes parts and keeps nothing.
struct Nowhere;

impl PartReceiver for Nowhere {
    fn begin(&mut self, part: &Part) -> io::Result<Box<dyn Write + '_>> {
        let _ = part.file_name();
        Ok(Box::new(io::sink()))
    }

    fn signed_content(&mut self) -> io::Result<Option<Box<dyn Write>>> {
        Ok(Some(Box::new(io::sink())))
    }
}

/// Reads a message as a listener does, once and again with weak algorithms.
pub fn read(headers: &Headers, body: &[u8]) {
    let certificates: Vec<X509> = KEYS.iter().map(|key| key.certificate.clone()).collect();
    let keys = Keys { decrypt: &KEYS, verify: &certificates };
    for accept_weak in [false, true] {
        let options =
            ReadOptions { limits: limits(), accept_weak, once: accept_weak, ..ReadOptions::default() };
        let _ = smime::read_message(headers, body, keys, &options, &mut Nowhere);
    }
}

/// The usual limits, but for what is expanded: more takes time and finds nothing else.
pub fn limits() -> Limits {
    Limits { expanded_bytes: 16 << 20, ..Limits::default() }
}
