//! Certificates in the forms in which partners send them: PEM, DER, and PKCS #7 (RFC 2315, files named `.p7b`) as DER,
//! as PEM, or as base64 without any lines around it.

use crate::public::holds_private_key;
use openssl::base64::decode_block;
use openssl::pkcs7::Pkcs7;
use openssl::x509::X509;
use std::cmp::Ordering;

/// Files with more are left in their own order.
const MOST_ORDERED: usize = 100;

/// The certificates of a file; `None` when it holds none in a known form.
#[must_use]
pub fn certificates_in(bytes: &[u8]) -> Option<Vec<X509>> {
    from_pem(bytes).or_else(|| from_der(bytes)).or_else(|| from_base64(bytes))
}

fn from_pem(bytes: &[u8]) -> Option<Vec<X509>> {
    plain_pem(bytes).or_else(|| of_pkcs7(&Pkcs7::from_pem(bytes).ok()?))
}

fn plain_pem(bytes: &[u8]) -> Option<Vec<X509>> {
    X509::stack_from_pem(bytes).ok().filter(|stack| !stack.is_empty())
}

fn from_der(bytes: &[u8]) -> Option<Vec<X509>> {
    match X509::from_der(bytes) {
        Ok(certificate) => Some(vec![certificate]),
        Err(_) => of_pkcs7(&Pkcs7::from_der(bytes).ok()?),
    }
}

fn from_base64(bytes: &[u8]) -> Option<Vec<X509>> {
    let text: String = std::str::from_utf8(bytes).ok()?.split_whitespace().collect();
    from_der(&decode_block(&text).ok().filter(|der| !der.is_empty())?)
}

fn of_pkcs7(file: &Pkcs7) -> Option<Vec<X509>> {
    let found: Vec<X509> = file.signed()?.certificates()?.iter().map(ToOwned::to_owned).collect();
    (!found.is_empty()).then_some(found)
}

/// Each certificate before the one that issued it, which PKCS #7 and PKCS #12 files do not promise.
#[must_use]
pub fn leaf_first(mut left: Vec<X509>) -> Vec<X509> {
    if left.len() > MOST_ORDERED {
        return left;
    }
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let issues = |at: usize| {
            let mut others = left.iter().enumerate().filter(|(other, _)| *other != at);
            others.any(|(_, other)| issued(&left[at], other))
        };
        let next = (0..left.len()).find(|at| !issues(*at)).unwrap_or(0);
        ordered.push(left.remove(next));
    }
    ordered
}

fn issued(issuer: &X509, certificate: &X509) -> bool {
    issuer.subject_name().try_cmp(certificate.issuer_name()).is_ok_and(Ordering::is_eq)
        && issuer.public_key().is_ok_and(|key| certificate.verify(&key).unwrap_or(false))
}

/// A file's certificates as PEM, where the file holds them in another form and holds no private key.
pub(crate) fn as_pem(bytes: &[u8]) -> Option<String> {
    if plain_pem(bytes).is_some() || holds_private_key(&String::from_utf8_lossy(bytes)) {
        return None;
    }
    let found = leaf_first(certificates_in(bytes)?);
    let pem = found.iter().map(|certificate| String::from_utf8(certificate.to_pem().ok()?).ok());
    pem.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::certificate;
    use openssl::asn1::Asn1Time;
    use openssl::hash::MessageDigest;
    use openssl::pkey::{PKey, Private};
    use openssl::x509::{X509Name, X509NameBuilder};

    fn name(text: &str) -> X509Name {
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", text).unwrap();
        name.build()
    }

    fn signed(subject: &str, key: &PKey<Private>, issuer: &str, by: &PKey<Private>) -> X509 {
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder.set_subject_name(&name(subject)).unwrap();
        builder.set_issuer_name(&name(issuer)).unwrap();
        builder.set_pubkey(key).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(9).unwrap()).unwrap();
        builder.sign(by, MessageDigest::null()).unwrap();
        builder.build()
    }

    #[test]
    fn each_certificate_stands_before_its_issuer() {
        let keys = [(); 3].map(|()| PKey::generate_ed25519().unwrap());
        let root = signed("root", &keys[0], "root", &keys[0]);
        let middle = signed("middle", &keys[1], "root", &keys[0]);
        let leaf = signed("leaf", &keys[2], "middle", &keys[1]);
        for mixed in [
            vec![root.clone(), middle.clone(), leaf.clone()],
            vec![middle.clone(), leaf.clone(), root.clone()],
        ] {
            assert!(leaf_first(mixed) == [leaf.clone(), middle.clone(), root.clone()]);
        }
        // Two that name each other's subject as issuer, and did not sign each other, keep their order.
        let same = [signed("same", &keys[0], "same", &keys[0]), signed("same", &keys[1], "same", &keys[1])];
        assert!(leaf_first(same.to_vec()) == same);
    }

    #[test]
    fn der_and_base64_are_read_and_other_bytes_are_not() {
        let key = PKey::generate_ed25519().unwrap();
        let made = signed("acme", &key, "acme", &key);
        let der = made.to_der().unwrap();
        let base64 = openssl::base64::encode_block(&der);
        for bytes in [made.to_pem().unwrap(), der, format!("{base64}\r\n").into_bytes()] {
            assert!(certificates_in(&bytes).unwrap() == [made.clone()]);
        }
        for bytes in
            [&b""[..], b"hunter2", b"aHVudGVyMg==", b"\x30\x82\x01", b"-----BEGIN CERTIFICATE-----\nxx\n"]
        {
            assert!(certificates_in(bytes).is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn only_other_forms_are_converted_and_never_a_file_with_a_private_key() {
        let rsa = PKey::from_rsa(openssl::rsa::Rsa::generate(2048).unwrap()).unwrap();
        let pem = certificate(&rsa, 0, 4_000_000_000);
        assert_eq!(as_pem(&pem), None);
        let der = X509::from_pem(&pem).unwrap().to_der().unwrap();
        assert_eq!(as_pem(&der).unwrap().into_bytes(), pem);
        let beside = [&der[..], b"-----BEGIN PRIVATE KEY-----"].concat();
        assert_eq!(as_pem(&beside), None);
    }
}
