//! What a signature and a MIC cover: the bytes between two boundary lines, no byte more or less, and none of them changed.
//! The messages are composed here, with signatures over bytes that the test chose.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::Cursor;
use std::slice::from_ref;

use proptest::prelude::*;
use smime::{
    Cipher, Digest, EncryptedContentKey, Entity, Headers, KeyTransport, Measured, MicRule, Payload, Report,
};
use support::{OpenSsl, Parts, Party, all, content_type, payload_entity, read};

type Boxed = Entity<Box<dyn Measured>>;

fn boxed<B: Measured + 'static>(entity: Entity<B>) -> Boxed {
    let (headers, body) = entity.into_parts();
    Entity::new(headers, Box::new(body))
}

fn entity_of(headers: &Headers, body: &[u8]) -> Boxed {
    Entity::new(headers.clone(), Box::new(Cursor::new(body.to_vec())))
}

fn message<B: Measured>(entity: Entity<B>) -> (Headers, Vec<u8>) {
    let (headers, body) = entity.into_parts();
    (headers, all(body))
}

/// Every way in which an entity may be protected, with what its MIC covers by RFC 4130, section 7.3.1, and RFC 5402, section 4.
const PROTECTIONS: [(&str, MicRule); 8] = [
    ("none", MicRule::Content),
    ("compressed", MicRule::Entity),
    ("encrypted", MicRule::Entity),
    ("compressed encrypted", MicRule::Entity),
    ("signed", MicRule::Signed),
    ("opaque", MicRule::Signed),
    ("signed encrypted", MicRule::Signed),
    ("signed compressed encrypted", MicRule::Signed),
];

/// One party is both sides.
fn protected(entity: Boxed, protection: &str, party: &Party) -> (Headers, Vec<u8>) {
    let put_on = |entity: Boxed, layer: &str| match layer {
        "compressed" => boxed(entity.compress().unwrap()),
        "signed" => boxed(entity.sign(party.signing()).unwrap()),
        "opaque" => boxed(entity.sign_opaque(party.signing()).unwrap()),
        "encrypted" => {
            let recipient = from_ref(&party.certificate);
            let key = EncryptedContentKey::generate(Cipher::Aes256Cbc, recipient, KeyTransport::default());
            boxed(entity.encrypt(key.unwrap()).unwrap())
        }
        "none" => entity,
        other => panic!("{other}"),
    };
    message(protection.split(' ').fold(entity, put_on))
}

fn read_own(headers: &Headers, body: &[u8], party: &Party) -> (Report, Parts) {
    read(headers, body, &[party], &[party]).unwrap()
}

/// A multipart/related with a preamble, an epilogue and line ends of both kinds: RFC 6362, section 3.2, has the MIC cover it
/// whole, not one of its parts.
fn attachments() -> (Headers, Vec<u8>) {
    let body = "a preamble\r\n--inner\r\nContent-Type: application/edi-x12\r\n\r\nISA*00*\nGS*PO\r\n\r\n--inner\r\n\
        Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n--inner--\r\nan epilogue\r\n";
    (content_type("multipart/related; boundary=inner; type=\"application/edi-x12\""), body.into())
}

#[test]
fn the_mic_of_several_attachments_covers_the_whole_multipart() {
    let party = Party::rsa("Both");
    let (headers, body) = attachments();
    let whole = [headers.raw(), b"\r\n", &body].concat();
    for (protection, rule) in PROTECTIONS {
        let (outer, sent) = protected(entity_of(&headers, &body), protection, &party);
        let (report, parts) = read_own(&outer, &sent, &party);
        let found: Vec<&[u8]> = parts.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        assert_eq!(found, [&b"ISA*00*\nGS*PO\r\n"[..], &[0, 1, 2]], "{protection}");
        let covered = if rule == MicRule::Content { &body } else { &whole };
        assert_eq!(report.mic(Digest::Sha256).unwrap().digest, openssl::sha::sha256(covered), "{protection}");
        assert_eq!(report.rule(), rule, "{protection}");
    }
}

#[test]
fn several_attachments_signed_by_openssl_have_that_mic_too() {
    let party = Party::rsa("Signer");
    let (headers, body) = attachments();
    let whole = [headers.raw(), b"\r\n", &body].concat();
    let folder = OpenSsl::new();
    folder.put("plain", &whole).party("signer", &party);
    let opaque = folder.cms(
        "-sign -binary -nodetach -md sha512 -in plain -outform DER -signer signer.pem -inkey signer.key",
    );
    let outer = content_type("application/pkcs7-mime; smime-type=signed-data");
    let (report, parts) = read_own(&outer, &opaque, &party);
    assert_eq!(parts.len(), 2);
    // The signer's digest is the MIC's.
    assert_eq!(report.mic(Digest::Sha512).unwrap().digest, openssl::sha::sha512(&whole));
}

/// Content that a careless reader would decode or turn, under headers that name no transfer encoding: that means binary in
/// AS2, whatever the media type (RFC 4130, section 5.2.1).
#[test]
fn content_without_a_transfer_encoding_is_binary() {
    let party = Party::rsa("Both");
    let kinds = [
        Some("text/plain"),
        Some("application/edi-x12"),
        Some("application/octet-stream"),
        Some("x/y"),
        None,
    ];
    for kind in kinds {
        let headers = kind.map_or_else(Headers::new, content_type);
        for content in [
            &b"TWFueSBoYW5kcw==\r\n"[..],
            b"a=3Db=\r\nc=0A",
            b"line\nline\r\nline\rline\n\n",
            b"From here\n.\n..\n>From there\n",
            b"nul\0 \xef\xbb\xbf\x1a \xff\xfe",
            b" trailing \t\n \n",
        ] {
            for (protection, rule) in PROTECTIONS {
                // An entity without any header cannot stand inside an encrypted one: nothing tells it from noise.
                if kind.is_none() && protection.ends_with("encrypted") && !protection.starts_with("signed") {
                    continue;
                }
                let (outer, sent) = protected(entity_of(&headers, content), protection, &party);
                let (report, parts) = read_own(&outer, &sent, &party);
                assert_eq!(parts[0].1, content, "{kind:?} {protection}");
                let whole = [headers.raw(), b"\r\n", content].concat();
                let covered = if rule == MicRule::Content { content } else { &whole };
                let mic = report.mic(Digest::Sha256).unwrap();
                assert_eq!(mic.digest, openssl::sha::sha256(covered), "{kind:?} {protection}");
            }
        }
    }
}

/// A `multipart/signed` by hand. Its boundary is `b`.
fn around(signed: &[u8], signature: &[u8], before: &str, padding: &str, after: &str) -> Vec<u8> {
    let line = format!("--b{padding}\r\n");
    [
        before.as_bytes(),
        line.as_bytes(),
        signed,
        b"\r\n",
        line.as_bytes(),
        b"Content-Type: application/pkcs7-signature\r\n\r\n",
        signature,
        b"\r\n--b--",
        after.as_bytes(),
    ]
    .concat()
}

#[test]
fn what_is_signed_lies_strictly_between_the_boundary_lines() {
    let party = Party::rsa("Signer");
    let headers = content_type("multipart/signed; micalg=sha-256; boundary=b");
    for content in [&b""[..], b"\r\n", b"an order\r\n\r\n", b"\n", b"\r", b"--b-\r\n --b\r\n--bb"] {
        let signed = [b"Content-Type: text/plain\r\n\r\n", content].concat();
        let digest = openssl::sha::sha256(&signed);
        let signature = party.signing().signature_block(&digest).unwrap();
        for before in [
            "",
            "\r\n",
            "\r\n\r\n",
            "Content-Type: multipart/signed; micalg=sha-256; boundary=b\r\n\r\n",
            "This is a preamble, which mentions --b\n",
        ] {
            for padding in ["", " ", "\t \t"] {
                for after in
                    ["", "\r\n", "\r\n\r\n\r\n", "\n", "\r\nan epilogue\r\n--b\r\n\r\nmore of it\r\n"]
                {
                    let body = around(&signed, &signature, before, padding, after);
                    let (report, parts) = read_own(&headers, &body, &party);
                    let what = format!("{content:?} {before:?} {padding:?} {after:?}");
                    assert_eq!(parts[0].1, content, "{what}");
                    assert_eq!(report.mic(Digest::Sha256).unwrap().digest, digest, "{what}");
                }
            }
        }
    }
}

/// Of text that came with bare LF the bytes as they came are tried first, and then the form with CRLF; the signature says
/// which of the two was signed. No third form passes.
#[test]
fn text_with_bare_lf_is_proved_by_either_of_its_two_forms() {
    let party = Party::rsa("Signer");
    let headers = content_type("multipart/signed; micalg=sha-256; boundary=b");
    let sent = b"Content-Type: text/plain\n\nISA*00*\nGS*PO\r\nend\rof it\n";
    let crlf = b"Content-Type: text/plain\r\n\r\nISA*00*\r\nGS*PO\r\nend\rof it\r\n";
    let lf = b"Content-Type: text/plain\n\nISA*00*\nGS*PO\nend\rof it\n";
    for (signed, rule) in
        [(&sent[..], Some(MicRule::Signed)), (crlf, Some(MicRule::SignedCanonical)), (lf, None)]
    {
        let digest = openssl::sha::sha256(signed);
        let signature = party.signing().signature_block(&digest).unwrap();
        let body = around(sent, &signature, "", "", "\r\n");
        match (read(&headers, &body, &[], &[&party]), rule) {
            (Ok((report, parts)), Some(rule)) => {
                assert_eq!(report.rule(), rule);
                assert_eq!(report.mic(Digest::Sha256).unwrap().digest, digest);
                assert_eq!(parts[0].1, b"ISA*00*\nGS*PO\r\nend\rof it\n");
                // The report has the digests of both forms, so that an operator can compare them.
                assert!(report.mics.iter().any(|ruled| ruled.rule == MicRule::Signed));
                assert!(report.mics.iter().any(|ruled| ruled.rule == MicRule::SignedCanonical));
            }
            (Err(smime::Error::IntegrityFailed { .. }), None) => {}
            (other, _) => panic!("{rule:?}: {other:?}"),
        }
    }
    // Where the content is no text, there is no second form.
    let sent = b"Content-Type: application/octet-stream\n\nISA*00*\n";
    let crlf = b"Content-Type: application/octet-stream\r\n\r\nISA*00*\r\n";
    let signature = party.signing().signature_block(&openssl::sha::sha256(crlf)).unwrap();
    let fault = read(&headers, &around(sent, &signature, "", "", ""), &[], &[&party]).unwrap_err();
    assert!(matches!(fault, smime::Error::IntegrityFailed { .. }), "{fault:?}");
}

/// Compression on either side of the signature.
#[test]
fn a_signature_inside_compression_covers_the_bytes_before_it() {
    let party = Party::rsa("Both");
    let content = b"an order that is compressed\n".repeat(100);
    let plain = all(payload_entity(&content).into_stream().unwrap());
    let after = payload_entity(&content).sign(party.signing()).unwrap().compress().unwrap();
    let (headers, body) = message(after);
    let (report, _) = read_own(&headers, &body, &party);
    assert_eq!(report.mic(Digest::Sha256).unwrap().digest, openssl::sha::sha256(&plain));
    // Compressed before: what is signed is the compressed entity, byte for byte.
    let compressed = all(payload_entity(&content).compress().unwrap().into_stream().unwrap());
    let before = payload_entity(&content).compress().unwrap().sign(party.signing()).unwrap();
    let (headers, body) = message(before);
    let (report, parts) = read_own(&headers, &body, &party);
    assert_eq!(report.mic(Digest::Sha256).unwrap().digest, openssl::sha::sha256(&compressed));
    assert_eq!(parts[0].1, content);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// A product is known that turns line ends of binary files while its MIC still matches: here the payload is equal to the
    /// last byte under every encoding that names no encoding.
    #[test]
    fn line_ends_are_never_turned(
        content in proptest::collection::vec(prop::sample::select(b"\r\n\na\0\xff ".to_vec()), 0..300),
        encoding in prop::sample::select(vec![None, Some("7bit"), Some("8bit"), Some("binary"), Some("BINARY")]),
        kind in prop::sample::select(vec!["text/plain", "text/xml; charset=utf-8", "application/edifact"]),
        protection in 0..PROTECTIONS.len(),
    ) {
        thread_local!(static PARTY: Party = Party::rsa("Both"));
        PARTY.with(|party| {
            let mut headers = content_type(kind);
            if let Some(encoding) = encoding {
                headers = headers.with("Content-Transfer-Encoding", encoding).unwrap();
            }
            let entity = Entity::new(headers, Payload::new(Cursor::new(content.clone()), content.len() as u64));
            let (protection, rule) = PROTECTIONS[protection];
            let (outer, body) = protected(boxed(entity), protection, party);
            let (report, parts) = read_own(&outer, &body, party);
            assert_eq!(parts[0].1, content, "{protection}");
            assert_eq!(report.rule(), rule, "{protection}");
        });
    }
}
