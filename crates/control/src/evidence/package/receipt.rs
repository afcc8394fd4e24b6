//! A signed receipt taken apart, so that OpenSSL or GnuPG checks it as it checks a message.

use super::{RECEIPT_PGP_SIGNATURE, RECEIPT_SIGNATURE, ReceiptParts};
use crate::evidence::crlf::CrlfReader;
use openssl::x509::X509;
use smime::{Headers, Limits, Multipart, ReadOptions, TransferEncoding, verify_detached};
use std::io::Read;

/// Takes a receipt apart; none if it is not multipart/signed, or is not as it should be. With its signers' certificates
/// (DER) it is found out whether the signature reads bare line feeds as CRLF: then what was signed has them so.
pub(super) fn split(entity: &[u8], signers: &[&[u8]]) -> Option<ReceiptParts> {
    let limits = Limits::default();
    let (outer, body) = Headers::parse(entity, &limits).ok()?;
    let media = outer.content_type()?;
    if !media.essence().eq_ignore_ascii_case("multipart/signed") {
        return None;
    }
    let mut parts = Multipart::new(body, &media.parameter("boundary")?).ok()?;
    let mut part = || {
        let mut bytes = Vec::new();
        parts.next_part().ok()??.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    };
    let (signed, second) = (part()?, part()?);
    let (headers, body) = Headers::parse(&second, &limits).ok()?;
    let encoding = headers.transfer_encoding().ok()?.unwrap_or(TransferEncoding::Binary);
    let mut signature = Vec::new();
    encoding.decoder(Box::new(body)).read_to_end(&mut signature).ok()?;
    if pgp_mime::is_pgp(&outer) {
        // A signature over text says so itself, and whoever verifies it reads the line ends accordingly.
        return Some(ReceiptParts { signed, signature, path: RECEIPT_PGP_SIGNATURE });
    }
    let path = RECEIPT_SIGNATURE;
    let signers: Vec<X509> = signers.iter().filter_map(|der| X509::from_der(der).ok()).collect();
    let options = ReadOptions { accept_weak: true, accept_expired: true, ..ReadOptions::default() };
    let verified = verify_detached(&signed[..], &signature, &signers, &options);
    let is_canonical = verified.is_ok_and(|verified| verified.proof.canonical);
    if !is_canonical {
        return Some(ReceiptParts { signed, signature, path });
    }
    let mut canonical = Vec::new();
    CrlfReader::new(&signed[..]).read_to_end(&mut canonical).ok()?;
    Some(ReceiptParts { signed: canonical, signature, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_receipt_has_two_parts() {
        let entity =
            b"Content-Type: multipart/signed; boundary=x\r\n\r\n--x\r\nA: b\r\n\r\nsigned\r\n--x\r\n\
                       Content-Transfer-Encoding: base64\r\n\r\nMAA=\r\n--x--\r\n";
        let found = split(entity, &[]).unwrap();
        assert_eq!((&found.signed[..], &found.signature[..]), (&b"A: b\r\n\r\nsigned"[..], &b"0\0"[..]));
        let as_it_is = b"Content-Type: multipart/signed; boundary=x\n\n--x\nA: b\n\nsigned\n--x\n\
                         Content-Type: application/pkcs7-signature\n\n0\0\n--x--\n";
        let found = split(as_it_is, &[]).unwrap();
        assert_eq!((&found.signed[..], &found.signature[..]), (&b"A: b\n\nsigned"[..], &b"0\0"[..]));
        let by_pgp = b"Content-Type: multipart/signed; boundary=x; protocol=\"application/pgp-signature\"\r\n\r\n--x\r\nA: b\r\n\r\n\
                       signed\r\n--x\r\nContent-Type: application/pgp-signature\r\n\r\narmour\r\n--x--\r\n";
        let found = split(by_pgp, &[]).unwrap();
        assert_eq!((&found.signature[..], found.path), (&b"armour"[..], RECEIPT_PGP_SIGNATURE));
        assert!(split(b"Content-Type: multipart/report; boundary=x\r\n\r\n--x--\r\n", &[]).is_none());
    }
}
