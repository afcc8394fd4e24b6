//! CMS in the forms that products send: attributes that mean nothing, signature parts under any label, bodies that say less
//! than they are. What we write ourselves avoids what some of them refuse.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::cell::Cell;
use std::io::{self, Read};
use std::slice::from_ref;

use openssl::hash::MessageDigest;
use openssl::sign::Signer;
use smime::{
    Cipher, EncryptedContentKey, Entity, Error, Headers, KeyTransport, Limits, Payload, ReadOptions,
};
use support::{OpenSsl, Party, all, content_type, noise, payload_entity, read, read_with};

const DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
const SIGNED_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
const SHA256: &[u8] = b"\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01";
const RSA: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
const CONTENT_TYPE: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03";
const MESSAGE_DIGEST: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04";
const SIGNING_TIME: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x05";
/// id-aa-CMSAlgorithmProtection, RFC 6211.
const ALGORITHM_PROTECTION: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x34";

fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let len = content.len();
    match len {
        0..0x80 => [&[tag, len as u8], &content[..]].concat(),
        0x80..0x100 => [&[tag, 0x81, len as u8], &content[..]].concat(),
        _ => [&[tag, 0x82, (len >> 8) as u8, len as u8], &content[..]].concat(),
    }
}

fn attribute(kind: &[u8], value: &[u8]) -> Vec<u8> {
    element(0x30, &[kind, &element(0x31, &[value])])
}

/// A SignedData by an RSA key whose signed attributes stand as they are given, in that order.
fn signed_with(party: &Party, attributes: &[Vec<u8>]) -> Vec<u8> {
    let attributes = attributes.concat();
    let mut signer = Signer::new(MessageDigest::sha256(), &party.key).unwrap();
    let signature = signer.sign_oneshot_to_vec(&element(0x31, &[&attributes])).unwrap();
    let mut serial = party.certificate.serial_number().to_bn().unwrap().to_vec();
    if serial[0] >= 0x80 {
        serial.insert(0, 0);
    }
    let issuer = party.certificate.issuer_name().to_der().unwrap();
    let named = element(0x30, &[&issuer, &element(0x02, &[&serial])]);
    let (attributes, signature) = (element(0xa0, &[&attributes]), element(0x04, &[&signature]));
    let info = element(0x30, &[&[2, 1, 1], &named, SHA256, &attributes, RSA, &signature]);
    let (digests, infos) = (element(0x31, &[SHA256]), element(0x31, &[&info]));
    let data = element(0x30, &[&[2, 1, 1], &digests, &element(0x30, &[DATA]), &infos]);
    element(0x30, &[SIGNED_DATA, &element(0xa0, &[&data])])
}

/// A `multipart/signed` with the fields of its signature part.
fn detached(content: &[u8], fields: &str, signature: &[u8]) -> Vec<u8> {
    let fields = format!("\r\n--b\r\n{fields}\r\n");
    [b"--b\r\n", content, fields.as_bytes(), signature, b"\r\n--b--\r\n"].concat()
}

fn plain(content: &[u8]) -> Vec<u8> {
    all(payload_entity(content).into_stream().unwrap())
}

#[test]
fn attributes_that_mean_nothing_spoil_no_signature() {
    let party = Party::rsa("Signer");
    let headers = content_type("multipart/signed; micalg=sha-256; boundary=b");
    let content = plain(b"an order");
    let needed = [
        attribute(CONTENT_TYPE, DATA),
        attribute(MESSAGE_DIGEST, &element(0x04, &[&openssl::sha::sha256(&content)])),
    ];
    let odd: [(&str, Vec<u8>); 8] = [
        ("algorithm protection", {
            let used = element(0x30, &[SHA256, &element(0xa1, &[&RSA[2..]])]);
            attribute(ALGORITHM_PROTECTION, &used)
        }),
        ("a value that ends too early", attribute(b"\x06\x02\x2a\x03", b"\x30\x03\x04\x7f\x00")),
        ("a value of no form", attribute(b"\x06\x02\x2a\x03", &[0xff; 40])),
        ("no values", element(0x30, &[b"\x06\x02\x2a\x03"])),
        ("nothing at all", element(0x30, &[])),
        ("no identifier", element(0x30, &[b"\x04\x01\x00", b"\x31\x00"])),
        ("no attribute", element(0x04, &[b"an octet string"])),
        ("a time that cannot be read", attribute(SIGNING_TIME, &element(0x0c, &[b"yesterday"]))),
    ];
    for (what, odd) in odd {
        for attributes in [
            vec![odd.clone(), needed[0].clone(), needed[1].clone()],
            // Not in the order of DER: the signature covers them as they came.
            vec![needed[1].clone(), odd.clone(), needed[0].clone()],
            vec![needed[1].clone(), needed[0].clone(), odd.clone()],
        ] {
            let signature = signed_with(&party, &attributes);
            let body = detached(&content, "Content-Type: application/pkcs7-signature\r\n", &signature);
            let (report, parts) =
                read(&headers, &body, &[], &[&party]).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert!(parts[0].1 == b"an order" && report.signed().is_some(), "{what}");
            // A byte of them is no more free to change than any other.
            let mut forged = body.clone();
            let whole = attributes.concat();
            let at = forged.windows(whole.len()).position(|window| window == whole).unwrap();
            let before =
                attributes.iter().take_while(|attribute| **attribute != odd).map(Vec::len).sum::<usize>();
            forged[at + before + odd.len() - 1] ^= 1;
            assert!(read(&headers, &forged, &[], &[&party]).is_err(), "{what}");
        }
    }
    // Without the digest of the content a signature says nothing of it.
    for attributes in [vec![needed[0].clone()], vec![attribute(MESSAGE_DIGEST, DATA)]] {
        let signature = signed_with(&party, &attributes);
        let body = detached(&content, "Content-Type: application/pkcs7-signature\r\n", &signature);
        let fault = read(&headers, &body, &[], &[&party]).unwrap_err();
        assert!(matches!(fault, Error::IntegrityFailed { .. }), "{fault:?}");
    }
}

/// Some receivers refuse CMSAlgorithmProtection, and others cannot find a signer or a recipient by its key identifier: we write issuer and serial number, and the three attributes that everybody reads.
#[test]
fn what_we_write_names_parties_by_issuer_and_serial_number_and_protects_no_algorithms() {
    let folder = OpenSsl::new();
    let printed = |bytes: &[u8]| {
        folder.put("message", bytes);
        String::from_utf8_lossy(&folder.cms("-cmsout -print -noout -inform DER -in message")).into_owned()
    };
    let content = noise(100);
    for party in [Party::rsa("Signer"), Party::ec("Signer"), Party::ed25519("Signer")] {
        let block = party.signing().signature_block(&vec![7; party.signing().digest.len()]).unwrap();
        let opaque = all(payload_entity(&content).sign_opaque(party.signing()).unwrap().into_parts().1);
        for bytes in [block, opaque] {
            let text = printed(&bytes);
            assert!(text.contains("d.issuerAndSerialNumber"), "{text}");
            assert!(!text.contains("d.subjectKeyIdentifier"), "{text}");
            let has = |what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
            assert!(!has(ALGORITHM_PROTECTION) && has(SIGNING_TIME) && has(MESSAGE_DIGEST));
        }
    }
    for party in [Party::rsa("Recipient"), Party::ec("Recipient")] {
        for cipher in [Cipher::Aes256Cbc, Cipher::Aes256Gcm] {
            let recipient = from_ref(&party.certificate);
            let key = EncryptedContentKey::generate(cipher, recipient, KeyTransport::default()).unwrap();
            let text = printed(&all(payload_entity(&content).encrypt(key).unwrap().into_parts().1));
            assert!(text.contains("d.issuerAndSerialNumber"), "{text}");
            assert!(!text.contains("d.subjectKeyIdentifier") && !text.contains("d.rKeyId"), "{text}");
            // GCM in the structure that RFC 5084 gives it, and in no other.
            let authenticated = text.contains("authEnvelopedData");
            assert_eq!(authenticated, cipher == Cipher::Aes256Gcm, "{text}");
        }
    }
}

/// Base64 in lines that end with LF alone.
fn lines(bytes: &[u8]) -> Vec<u8> {
    let text = openssl::base64::encode_block(bytes).replace('\n', "");
    text.as_bytes().chunks(60).flat_map(|line| [line, b"\n"].concat()).collect()
}

#[test]
fn signature_parts_are_read_under_any_label() {
    let party = Party::rsa("Signer");
    let content = plain(b"an order");
    let signature = party.signing().signature_block(&openssl::sha::sha256(&content)).unwrap();
    let base64 = lines(&signature);
    let folded = base64.iter().flat_map(|byte| match byte {
        b'\n' => b"\r\n ".to_vec(),
        other => vec![*other],
    });
    let folded: Vec<u8> = folded.collect();
    for protocol in [
        "; protocol=\"application/pkcs7-signature\"",
        "; protocol=\"application/x-pkcs7-signature\"",
        "; protocol=application/pkcs7-signature",
        "; protocol=\"something else\"",
        "",
    ] {
        let headers = content_type(&format!("multipart/signed{protocol}; micalg=sha-256; boundary=b"));
        for label in [
            "Content-Type: application/pkcs7-signature; name=smime.p7s\r\n",
            "Content-Type: application/x-pkcs7-signature; name=\"smime.p7s\"\r\n",
            "Content-Type: Application/X-PKCS7-Signature; smime-type=signed-data\r\n",
            "Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n",
            "Content-Disposition: attachment; filename=smime.p7s\r\n",
            "",
        ] {
            for (encoding, form) in [
                ("Content-Transfer-Encoding: base64\r\n", &base64),
                ("Content-Transfer-Encoding: base64\r\n", &folded),
                ("Content-Transfer-Encoding: binary\r\n", &signature),
                // Some announce nothing, and some what they do not send.
                ("", &base64),
                ("", &signature),
                ("Content-Transfer-Encoding: base64\r\n", &signature),
                ("Content-Transfer-Encoding: binary\r\n", &base64),
                ("Content-Transfer-Encoding: 7bit\r\n", &base64),
            ] {
                let body = detached(&content, &format!("{label}{encoding}"), form);
                let what = format!("{protocol:?} {label:?} {encoding:?}");
                let (report, _) =
                    read(&headers, &body, &[], &[&party]).unwrap_or_else(|e| panic!("{what}: {e}"));
                assert!(report.signed().is_some(), "{what}");
            }
        }
    }
}

/// As OpenSSL writes a message for e-mail; asx-rs posts it so, with HTTP's headers besides.
#[test]
fn headers_that_the_body_repeats_are_left_out() {
    let party = Party::rsa("Ours");
    let content = noise(5000);
    let recipient = from_ref(&party.certificate);
    let key = EncryptedContentKey::generate(Cipher::Aes256Cbc, recipient, KeyTransport::default()).unwrap();
    let (_, cms) = payload_entity(&content).encrypt(key).unwrap().into_parts();
    let cms = all(cms);
    let base64 = lines(&cms);
    let headers = content_type("application/pkcs7-mime; smime-type=enveloped-data");
    let repeated = "MIME-Version: 1.0\nContent-Disposition: attachment; filename=\"smime.p7m\"\n\
                    Content-Type: application/x-pkcs7-mime; smime-type=enveloped-data; name=\"smime.p7m\"\n\
                    Content-Transfer-Encoding: base64\n\n";
    for (front, form) in [
        (repeated.to_owned(), &base64),
        (repeated.replace('\n', "\r\n"), &base64),
        ("Content-Type: application/pkcs7-mime;\r\n smime-type=enveloped-data\r\n\r\n".to_owned(), &cms),
    ] {
        let body = [front.as_bytes(), form].concat();
        let (report, parts) =
            read(&headers, &body, &[&party], &[]).unwrap_or_else(|e| panic!("{front}: {e}"));
        assert!(parts[0].1 == content && report.encrypted().is_some(), "{front}");
    }
    // In front of nothing, or without an end.
    for body in [repeated.to_owned(), "MIME-Version: 1.0".to_owned(), "x:".repeat(100_000)] {
        assert!(read(&headers, body.as_bytes(), &[&party], &[]).is_err());
    }
}

#[test]
fn encrypted_bodies_are_read_under_any_label() {
    let party = Party::rsa("Ours");
    let content = noise(5000);
    let key = || {
        let recipient = from_ref(&party.certificate);
        EncryptedContentKey::generate(Cipher::Aes256Cbc, recipient, KeyTransport::default()).unwrap()
    };
    let (_, body) = payload_entity(&content).encrypt(key()).unwrap().into_parts();
    let body = all(body);
    let base64 = lines(&body);
    for kind in [
        "application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m",
        "application/x-pkcs7-mime",
        "Application/PKCS7-MIME;smime-type=\"signed-data\"",
        "\"application/pkcs7-mime; smime-type=enveloped-data\"",
    ] {
        for encoding in [None, Some("base64"), Some("Base64 "), Some("binary"), Some("8bit")] {
            for form in [&body, &base64] {
                let mut headers = content_type(kind);
                if let Some(encoding) = encoding {
                    headers = headers.with("Content-Transfer-Encoding", encoding).unwrap();
                }
                let read = read(&headers, form, &[&party], &[]);
                let (report, parts) = read.unwrap_or_else(|e| panic!("{kind} {encoding:?}: {e}"));
                assert!(parts[0].1 == content && report.encrypted().is_some(), "{kind} {encoding:?}");
            }
        }
    }
}

/// How far a message was read.
struct Counted<'a>(&'a [u8], &'a Cell<usize>);

impl Read for Counted<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        // In pieces, so that a reader that gives up early has not seen all of it.
        let count = out.len().min(self.0.len()).min(1000);
        out[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        self.1.set(self.1.get() + count);
        Ok(count)
    }
}

/// Whatever it is that fails a decryption, the answer is the same and comes after the same work: the ciphertext is read to
/// its end, so that neither the words nor the time say which block was bad (RFC 3218).
#[test]
fn every_failed_decryption_reads_the_whole_message_and_says_the_same() {
    let (ours, other) = (Party::rsa("Ours"), Party::rsa("Other"));
    // Our certificate, another key: its block decrypts to nothing.
    let impostor = Party { key: other.key.clone(), certificate: ours.certificate.clone() };
    let head = plain(b"").len();
    // A full block of padding ends it.
    let content = noise(400_000 - head % 16);
    for cipher in [Cipher::Aes256Cbc, Cipher::Aes128Cbc, Cipher::Aes256Gcm] {
        let recipient = from_ref(&ours.certificate);
        let key = EncryptedContentKey::generate(cipher, recipient, KeyTransport::default()).unwrap();
        let (headers, body) = payload_entity(&content).encrypt(key).unwrap().into_parts();
        let body = all(body);
        let block = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x04\x82\x01\x00";
        let block = body.windows(block.len()).position(|window| window == block).unwrap() + block.len();
        let aes = b"\x60\x86\x48\x01\x65\x03\x04\x01";
        let aes = body.windows(aes.len()).position(|window| window == aes).unwrap();
        // The last byte of the last block but one turns the last byte of the padding into one that is too large.
        let last = if cipher.is_authenticated() { body.len() - 1 } else { body.len() - 17 };
        let changed = |at: usize| {
            let mut bad = body.clone();
            bad[at] ^= 0x80;
            bad
        };
        for (what, party, bad) in [
            ("another key", &impostor, body.clone()),
            ("a bad RSA block", &ours, changed(block + 255)),
            ("another bad RSA block", &ours, changed(block + 1)),
            ("bad padding or a bad tag", &ours, changed(last)),
            // The initialisation vector changes the first block of the plaintext, which holds the first header's name.
            ("no header at the beginning", &ours, changed(aes + 23)),
        ] {
            let seen = Cell::new(0);
            let fault = read_with(&headers, Counted(&bad, &seen), &[party], &[], &ReadOptions::default())
                .unwrap_err();
            assert_eq!(fault.to_string(), "the message could not be decrypted", "{cipher:?} {what}");
            assert_eq!(seen.get(), bad.len(), "{cipher:?} {what}: not read to its end");
        }
    }
}

/// An encoding that is not supported is named only where the plaintext is proved to be the sender's. Otherwise an attacker could
/// change the plaintext and learn from the answer what is in it.
#[test]
fn what_is_not_supported_inside_is_named_only_where_the_plaintext_is_proved() {
    let ours = Party::rsa("Ours");
    let content = noise(200_000);
    for cipher in [Cipher::Aes256Cbc, Cipher::Aes256Gcm] {
        let headers =
            content_type("application/edi-x12").with("Content-Transfer-Encoding", "x-unknown").unwrap();
        let entity = Entity::new(headers, Payload::new(&content[..], content.len() as u64));
        let recipient = from_ref(&ours.certificate);
        let key = EncryptedContentKey::generate(cipher, recipient, KeyTransport::default()).unwrap();
        let (headers, body) = entity.encrypt(key).unwrap().into_parts();
        let body = all(body);
        let mut changed = body.clone();
        let last = changed.len() - 1;
        changed[last] ^= 1;
        for (body, is_proved) in [(body, cipher.is_authenticated()), (changed, false)] {
            let seen = Cell::new(0);
            let fault = read_with(&headers, Counted(&body, &seen), &[&ours], &[], &ReadOptions::default());
            let said = if is_proved {
                "not supported: Content-Transfer-Encoding 'x-unknown'"
            } else {
                "the message could not be decrypted"
            };
            assert_eq!(fault.unwrap_err().to_string(), said, "{cipher:?}");
            assert_eq!(seen.get(), body.len(), "{cipher:?}: not read to its end");
        }
    }
}

/// `Headers::parse` keeps what HTTP brings: names and values of any form that a product writes.
#[test]
fn header_sections_of_products_are_read() {
    let limits = Limits::default();
    for (section, kind, boundary) in [
        ("Content-Type:\tmultipart/signed;\tboundary=\"a b\"\r\n\r\n", "multipart/signed", "a b"),
        ("Content-Type: multipart/signed;\r\n\tprotocol=x;\r\n\tboundary=a\r\n\r\n", "multipart/signed", "a"),
        ("content-type : Multipart / Signed ; Boundary = a\n\n", "multipart/signed", "a"),
        ("CONTENT-TYPE:multipart/signed;boundary=a;\r\n\r\n", "multipart/signed", "a"),
        ("Content-Type: \"multipart/signed; boundary=\\\"a\\\"\"\r\n\r\n", "multipart/signed", "a"),
        ("X-Odd\r\n\r\n", "", ""),
        (
            "Date: \u{41f}\u{442}, 27 \u{43d}\u{43e}\u{44f}\r\nContent-Type: a/b; boundary=c\r\n\r\n",
            "a/b",
            "c",
        ),
    ] {
        let (headers, _) = Headers::parse(section.as_bytes(), &limits).unwrap();
        let media = headers.content_type();
        let found = media.as_ref().map(|media| (media.essence(), media.parameter("boundary").unwrap()));
        let found = found.unwrap_or(("", String::new()));
        assert_eq!((found.0, found.1.as_str()), (kind, boundary), "{section:?}");
    }
}
