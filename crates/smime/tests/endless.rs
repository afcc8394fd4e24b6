//! Structures that never end, and structures nested a thousand times: each is refused after a bounded number of bytes.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::cell::Cell;
use std::io::{self, Cursor, Read};

use smime::{Entity, Error, Headers, Payload, ReadOptions};
use support::{all, content_type, payload_entity, read, read_with};

const DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
const SIGNED_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
const ENVELOPED_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03";
const COMPRESSED_DATA: &[u8] = b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x09";

/// A ContentInfo of indefinite length, as far as its version.
fn opened(kind: &[u8], version: u8) -> Vec<u8> {
    [&[0x30, 0x80][..], kind, &[0xa0, 0x80, 0x30, 0x80, 0x02, 0x01, version]].concat()
}

/// Bytes of a body, then the same ones again and again.
struct Endless<'a> {
    begin: &'a [u8],
    repeat: &'a [u8],
    at: usize,
    given: &'a Cell<usize>,
}

/// Bytes by which a reader must have given up.
const PATIENCE: usize = 8 << 20;

impl Read for Endless<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        assert!(self.given.get() < PATIENCE, "it is read on and on");
        let count = if self.begin.is_empty() {
            let count = out.len().min(4096);
            for byte in &mut out[..count] {
                *byte = self.repeat[self.at % self.repeat.len()];
                self.at += 1;
            }
            count
        } else {
            let count = out.len().min(self.begin.len());
            out[..count].copy_from_slice(&self.begin[..count]);
            self.begin = &self.begin[count..];
            count
        };
        self.given.set(self.given.get() + count);
        Ok(count)
    }
}

#[test]
fn what_never_ends_is_refused_after_a_bounded_number_of_bytes() {
    let mime = content_type("application/pkcs7-mime");
    let signed = content_type("multipart/signed; micalg=sha-256; boundary=b");
    let mixed = content_type("multipart/mixed; boundary=b");
    let enveloped = opened(ENVELOPED_DATA, 0);
    let recipients = [&enveloped[..], &[0x31, 0x80]].concat();
    let algorithm = [&recipients[..], &[0x30, 0x00, 0x00, 0x00, 0x30, 0x80], DATA, &[0x30, 0x80]].concat();
    let opaque = opened(SIGNED_DATA, 1);
    let content = b"\xa0\x80\x24\x80\x04\x03\r\nx\x00\x00\x00\x00\x00\x00";
    let content = [&opaque[..], &[0x31, 0x00, 0x30, 0x80], DATA, content].concat();
    // 32 KiB each.
    let large = [&[0x30, 0x82, 0x7f, 0xff][..], &[0; 0x7fff]].concat();
    let (one, small, deep): (&[u8], &[u8], &[u8]) = (&[0x04, 0x01, 0x00], &[0x30, 0x00], &[0x30, 0x80]);
    let cases: [(&str, &Headers, Vec<u8>, &[u8]); 18] = [
        ("recipients", &mime, recipients.clone(), small),
        ("large recipients", &mime, recipients.clone(), &large),
        ("one recipient", &mime, [&recipients[..], deep].concat(), one),
        ("a recipient nested in itself", &mime, recipients.clone(), deep),
        ("an originator", &mime, [&enveloped[..], &[0xa0, 0x80]].concat(), small),
        ("an algorithm", &mime, algorithm, one),
        ("digest algorithms", &mime, [&opaque[..], &[0x31, 0x80]].concat(), small),
        ("digest algorithms nested in themselves", &mime, [&opaque[..], &[0x31, 0x80]].concat(), deep),
        ("certificates", &mime, [&content[..], &[0xa0, 0x80]].concat(), small),
        ("revocations", &mime, [&content[..], &[0xa1, 0x80]].concat(), &large),
        ("signers", &mime, [&content[..], &[0x31, 0x80]].concat(), small),
        ("compression", &mime, [&opened(COMPRESSED_DATA, 0)[..], deep].concat(), one),
        ("a signature in base64", &signed, b"--b\r\n\r\nx\r\n--b\r\n\r\n".to_vec(), b"M"),
        ("a signature", &signed, b"--b\r\n\r\nx\r\n--b\r\n\r\n".to_vec(), b"0"),
        ("a header line", &signed, b"--b\r\nA: ".to_vec(), b"a"),
        ("header fields", &signed, b"--b\r\n".to_vec(), b"A: b\r\n"),
        ("a folded field", &signed, b"--b\r\nA: b\r\n".to_vec(), b"\tand more\r\n"),
        ("parts", &mixed, Vec::new(), b"--b\r\n\r\nx\r\n"),
    ];
    for (what, headers, begin, repeat) in cases {
        let given = Cell::new(0);
        let body = Endless { begin: &begin, repeat, at: 0, given: &given };
        let fault = read_with(headers, body, &[], &[], &ReadOptions::default()).unwrap_err();
        assert!(matches!(fault, Error::LimitExceeded { .. }), "{what}: {fault:?}");
        assert!(given.get() < PATIENCE, "{what}: {} bytes were read", given.get());
    }
}

const LEVELS: usize = 1000;

/// That reading stops at a limit and says which.
fn stops(what: &str, headers: &Headers, body: &[u8], limit: &str) {
    let fault = read(headers, body, &[], &[]).unwrap_err();
    let Error::LimitExceeded { what: found, .. } = &fault else { panic!("{what}: {fault:?}") };
    assert_eq!(*found, limit, "{what}");
}

fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let len = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x84][..], &len, &content].concat()
}

/// An opaque SignedData around an entity, without a signer: its content is read before its signers.
fn opaque(entity: &[u8]) -> Vec<u8> {
    let content = element(0xa0, &[&element(0x04, &[entity])]);
    let info = element(0x30, &[DATA, &content]);
    let data = element(0x30, &[b"\x02\x01\x01", b"\x31\x00", &info, b"\x31\x00"]);
    element(0x30, &[SIGNED_DATA, &element(0xa0, &[&data])])
}

#[test]
fn layers_a_thousand_deep_are_refused_in_every_kind() {
    for kind in ["multipart/mixed", "multipart/related", "multipart/signed", "multipart/report"] {
        let levels =
            (1..=LEVELS).map(|at| format!("--b{}x\r\nContent-Type: {kind}; boundary=b{at}x\r\n\r\n", at - 1));
        let body = levels.collect::<String>();
        stops(kind, &content_type(&format!("{kind}; boundary=b0x")), body.as_bytes(), "nested layers");
    }

    let (mut headers, body) = payload_entity(b"an order").into_parts();
    let mut body = all(body);
    for _ in 0..LEVELS {
        let len = body.len() as u64;
        let entity = Entity::new(headers, Payload::new(Cursor::new(body), len));
        let (outer, compressed) = entity.compress().unwrap().into_parts();
        (headers, body) = (outer, all(compressed));
    }
    stops("compression", &headers, &body, "nested layers");

    let mime = content_type("application/pkcs7-mime");
    let fields: &[u8] = b"Content-Type: application/pkcs7-mime\r\n\r\n";
    let body = (0..LEVELS).fold(opaque(b"\r\nx"), |inner, _| opaque(&[fields, &inner].concat()));
    stops("opaque signatures", &mime, &body, "nested layers");
}

#[test]
fn asn1_a_thousand_deep_is_refused_wherever_it_stands() {
    let mime = content_type("application/pkcs7-mime");
    let signed = content_type("multipart/signed; micalg=sha-256; boundary=b");
    let indefinite = [0x24, 0x80].repeat(LEVELS);
    let definite = (0..LEVELS).fold(b"\x04\x01x".to_vec(), |inner, _| element(0x24, &[&inner]));
    for (what, segments) in [("indefinite", &indefinite), ("definite", &definite)] {
        let info = [&opened(SIGNED_DATA, 1)[..], &[0x31, 0x00, 0x30, 0x80], DATA, &[0xa0, 0x80]].concat();
        stops(what, &mime, &[&info[..], segments].concat(), "ASN.1 nesting");
    }
    let part = [&b"--b\r\n\r\nx\r\n--b\r\n\r\n"[..], &[0x30, 0x80].repeat(LEVELS), b"\r\n--b--\r\n"].concat();
    stops("a signature part", &signed, &part, "ASN.1 nesting");
}

#[test]
fn a_boundary_that_no_line_can_hold_is_refused() {
    for kind in ["multipart/signed", "multipart/mixed"] {
        for boundary in [String::new(), "b".repeat(257), "b".repeat(60_000)] {
            let headers = content_type(&format!("{kind}; boundary=\"{boundary}\""));
            let body = format!("--{boundary}\r\n\r\nx\r\n--{boundary}--\r\n");
            let fault = read(&headers, body.as_bytes(), &[], &[]).unwrap_err();
            assert!(matches!(fault, Error::Malformed { .. }), "{kind}: {fault:?}");
        }
    }
}
