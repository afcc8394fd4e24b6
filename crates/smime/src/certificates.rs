//! Certificates as a PKCS #7 file: a SignedData that carries certificates only.

use openssl::x509::X509;

use crate::algorithm::oid;
use crate::der;
use crate::error::{CryptoContext, Result};

/// Certificates as PKCS #7 in DER (`.p7b`, `.p7c`): a SignedData without content and without signers
/// (RFC 5652 section 5.1, RFC 8551 section 3.8). Errors: a certificate that cannot be encoded.
pub fn pkcs7_certificates(certificates: &[X509]) -> Result<Vec<u8>> {
    let encoded = certificates
        .iter()
        .map(|certificate| certificate.to_der().during("encode a certificate"))
        .collect::<Result<Vec<_>>>()?;
    let signed_data = der::sequence(&[
        &der::integer(1),
        &der::element(der::SET, &[]),
        &der::sequence(&[&der::oid(oid::DATA)]),
        &der::set_of(der::context(0), encoded),
        &der::element(der::SET, &[]),
    ]);
    Ok(der::sequence(&[&der::oid(oid::SIGNED_DATA), &der::element(der::context(0), &[&signed_data])]))
}

#[cfg(test)]
mod tests {
    use openssl::asn1::Asn1Time;
    use openssl::hash::MessageDigest;
    use openssl::nid::Nid;
    use openssl::pkcs7::Pkcs7;
    use openssl::pkey::PKey;
    use openssl::x509::X509NameBuilder;

    use super::*;

    fn certificate(name: &str) -> X509 {
        let key = PKey::generate_ed25519().unwrap();
        let mut subject = X509NameBuilder::new().unwrap();
        subject.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
        let mut builder = X509::builder().unwrap();
        builder.set_subject_name(&subject.build()).unwrap();
        builder.set_not_before(&Asn1Time::from_unix(1_600_000_000).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::from_unix(4_000_000_000).unwrap()).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.sign(&key, MessageDigest::null()).unwrap();
        builder.build()
    }

    #[test]
    fn the_library_reads_back_all_certificates() {
        let certificates = [certificate("Globex"), certificate("Acme"), certificate("Initech")];
        let read = Pkcs7::from_der(&pkcs7_certificates(&certificates).unwrap()).unwrap();
        let read = read.signed().and_then(|signed| signed.certificates()).unwrap();
        let mut found: Vec<_> = read.iter().map(|certificate| certificate.to_der().unwrap()).collect();
        let mut expected: Vec<_> = certificates.iter().map(|one| one.to_der().unwrap()).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
}
