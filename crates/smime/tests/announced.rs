//! What a message announces as its digest, and what its signer really used.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use smime::{Digest, Error, Headers, Keys, Part, PartReceiver, ReadOptions, Signing, Weakness, read_message};
use std::io::{self, Read, Write};
use support::{Party, all, content_type, noise, payload_entity, read_with};

/// A message signed with `digest` that announces something else.
fn signed(partner: &Party, digest: Digest, announced: Option<&str>, content: &[u8]) -> (Headers, Vec<u8>) {
    let mut signing = partner.signing();
    signing.digest = digest;
    let (_, body) = payload_entity(content).sign(signing).unwrap().into_parts();
    let micalg = announced.map(|name| format!("; micalg={name}")).unwrap_or_default();
    (content_type(&format!("multipart/signed; boundary=\"=_waybill_0001\"{micalg}")), all(body))
}

const ANNOUNCED: [Option<&str>; 6] =
    [None, Some("sha-999"), Some("sha1"), Some("md5"), Some("sha-256"), Some("sha-512")];
const USED: [Digest; 4] = [Digest::Sha1, Digest::Sha256, Digest::Sha384, Digest::Sha512];

/// SHA-1 counts as well.
fn weak() -> ReadOptions {
    ReadOptions { accept_weak: true, ..ReadOptions::default() }
}

#[test]
fn the_signers_digest_wins_over_the_announced_one() {
    let partner = Party::rsa("Partner");
    for announced in ANNOUNCED {
        for used in USED {
            let (headers, body) = signed(&partner, used, announced, b"an order");
            let (report, _) = read_with(&headers, &body[..], &[], &[&partner], &weak()).unwrap();
            assert_eq!(report.signed().unwrap().digest, used, "{announced:?}");
            assert_eq!(report.mic(used).unwrap().algorithm, used, "{announced:?}");
        }
    }
}

#[test]
fn of_long_content_only_unlikely_pairs_are_not_verified_at_once() {
    let partner = Party::rsa("Partner");
    let content = noise(1_500_000);
    for announced in ANNOUNCED {
        for used in USED {
            let (headers, body) = signed(&partner, used, announced, &content);
            let read = |options: &ReadOptions| read_with(&headers, &body[..], &[], &[&partner], options);
            let unlikely = match announced {
                Some("sha-256") => used == Digest::Sha384 || used == Digest::Sha512,
                Some("sha-512") => used == Digest::Sha384,
                _ => false,
            };
            match read(&weak()) {
                Ok((report, _)) => {
                    assert!(!unlikely, "{announced:?} {used:?}");
                    assert_eq!(report.signed().unwrap().digest, used);
                }
                Err(Error::DigestUnannounced { digest }) => {
                    assert!(unlikely && digest == used, "{announced:?} {used:?}");
                    // Read again with that digest, it is.
                    let options = ReadOptions { digests: vec![digest], ..weak() };
                    assert_eq!(read(&options).unwrap().0.signed().unwrap().digest, used);
                }
                Err(other) => panic!("{announced:?} {used:?}: {other}"),
            }
        }
    }
}

/// Keeps the last leaf and gives it once more.
#[derive(Default)]
struct Kept {
    last: Vec<u8>,
    read_back: usize,
}

impl PartReceiver for Kept {
    fn begin(&mut self, _: &Part) -> io::Result<Box<dyn Write + '_>> {
        self.last.clear();
        Ok(Box::new(&mut self.last))
    }

    fn read_back(&mut self) -> io::Result<Option<Box<dyn Read + '_>>> {
        self.read_back += 1;
        Ok(Some(Box::new(&self.last[..])))
    }
}

#[test]
fn a_message_that_passes_once_is_verified_whatever_its_signer_used() {
    let partner = Party::rsa("Partner");
    let once = ReadOptions { once: true, ..ReadOptions::default() };
    let pinned = [partner.certificate.clone()];
    let content = noise(1_500_000);
    let lines = b"a line\n".repeat(300_000);
    for announced in ANNOUNCED {
        for used in [Digest::Sha256, Digest::Sha384, Digest::Sha512] {
            for content in [&content, &lines] {
                let (headers, body) = signed(&partner, used, announced, content);
                let mut kept = Kept::default();
                let keys = Keys { decrypt: &[], verify: &pinned };
                let report = read_message(&headers, &body[..], keys, &once, &mut kept).unwrap();
                assert_eq!(report.signed().unwrap().digest, used, "{announced:?}");
                assert!(kept.last == *content && report.mic(used).is_some(), "{announced:?} {used:?}");
                let unlikely =
                    matches!((announced, used), (Some("sha-256"), Digest::Sha384 | Digest::Sha512));
                assert_eq!(
                    kept.read_back > 0,
                    unlikely || matches!((announced, used), (Some("sha-512"), Digest::Sha384))
                );
                // One bit elsewhere is noticed by the second look too.
                let mut forged = body.clone();
                forged[1_000_000] ^= 1;
                let error =
                    read_message(&headers, &forged[..], keys, &once, &mut Kept::default()).unwrap_err();
                assert!(matches!(error, Error::IntegrityFailed { .. }), "{announced:?} {used:?}: {error}");
                // What cannot be read back is verified as well.
                if unlikely {
                    let (headers, body) = compressed(&partner, used, announced, content);
                    let (report, _) = read_with(&headers, &body[..], &[], &[&partner], &once).unwrap();
                    assert_eq!(report.signed().unwrap().digest, used);
                }
            }
        }
    }
}

/// Compressed and then signed: what was signed is not what is handed out.
fn compressed(
    partner: &Party,
    digest: Digest,
    announced: Option<&str>,
    content: &[u8],
) -> (Headers, Vec<u8>) {
    let signing = Signing { digest, ..partner.signing() };
    let (_, body) = payload_entity(content).compress().unwrap().sign(signing).unwrap().into_parts();
    let micalg = announced.map(|name| format!("; micalg={name}")).unwrap_or_default();
    (content_type(&format!("multipart/signed; boundary=\"=_waybill_0001\"{micalg}")), all(body))
}

#[test]
fn weak_signatures_prove_nothing_unless_that_is_allowed() {
    let partner = Party::rsa("Partner");
    let short = Party::short("Partner", 1024);
    for (party, digest, weakness) in [
        (&partner, Digest::Sha1, "SHA-1"),
        (&partner, Digest::Md5, "MD5"),
        (&short, Digest::Sha256, "a key of 1024 bits"),
        (&short, Digest::Sha1, "SHA-1"),
    ] {
        let (headers, body) = signed(party, digest, Some("sha-256"), b"an order");
        let read = |options: &ReadOptions| read_with(&headers, &body[..], &[], &[party], options);
        match read(&ReadOptions::default()) {
            Err(Error::WeakSignature(weak)) => assert_eq!(weak.to_string(), weakness),
            other => panic!("{weakness}: {other:?}"),
        }
        let allowed = ReadOptions { digests: vec![Digest::Sha1, Digest::Md5], ..weak() };
        let (report, _) = read(&allowed).unwrap();
        let found: Vec<String> =
            report.signed().unwrap().weaknesses.iter().map(Weakness::to_string).collect();
        assert!(found.contains(&weakness.to_owned()), "{found:?}");
    }
    let (headers, body) = signed(&partner, Digest::Sha256, None, b"an order");
    let (report, _) = read_with(&headers, &body[..], &[], &[&partner], &weak()).unwrap();
    assert!(report.signed().unwrap().weaknesses.is_empty());
}
