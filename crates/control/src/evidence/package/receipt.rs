//! A signed receipt taken apart, so that OpenSSL checks it as it checks a message.

use crate::evidence::crlf::CrlfReader;
use openssl::x509::X509;
use smime::{Headers, Limits, Multipart, ReadOptions, TransferEncoding, verify_detached};
use std::io::Read;

/// What was signed of a receipt, and the signature over it.
pub(super) struct Split {
    pub(super) signed: Vec<u8>,
    /// DER or BER.
    pub(super) signature: Vec<u8>,
}

/// Takes a receipt apart; none if it is not multipart/signed, or is not as it should be. With its signers' certificates
/// (DER) it is found out whether the signature reads bare line feeds as CRLF: then what was signed has them so.
pub(super) fn split(entity: &[u8], signers: &[&[u8]]) -> Option<Split> {
    let limits = Limits::default();
    let (headers, body) = Headers::parse(entity, &limits).ok()?;
    let media = headers.content_type()?;
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
    let signers: Vec<X509> = signers.iter().filter_map(|der| X509::from_der(der).ok()).collect();
    let options = ReadOptions { accept_weak: true, accept_expired: true, ..ReadOptions::default() };
    let verified = verify_detached(&signed[..], &signature, &signers, &options);
    let is_canonical = verified.is_ok_and(|verified| verified.proof.canonical);
    if !is_canonical {
        return Some(Split { signed, signature });
    }
    let mut canonical = Vec::new();
    CrlfReader::new(&signed[..]).read_to_end(&mut canonical).ok()?;
    Some(Split { signed: canonical, signature })
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
        assert!(split(b"Content-Type: multipart/report; boundary=x\r\n\r\n--x--\r\n", &[]).is_none());
    }
}
