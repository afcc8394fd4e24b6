//! What a message announces as its digest, and what its signer really used.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use smime::{Digest, Error, Headers, ReadOptions};
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

#[test]
fn the_signers_digest_wins_over_the_announced_one() {
    let partner = Party::rsa("Partner");
    for announced in ANNOUNCED {
        for used in USED {
            let (headers, body) = signed(&partner, used, announced, b"an order");
            let (report, _) =
                read_with(&headers, &body[..], &[], &[&partner], &ReadOptions::default()).unwrap();
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
            match read(&ReadOptions::default()) {
                Ok((report, _)) => {
                    assert!(!unlikely, "{announced:?} {used:?}");
                    assert_eq!(report.signed().unwrap().digest, used);
                }
                Err(Error::DigestUnannounced { digest }) => {
                    assert!(unlikely && digest == used, "{announced:?} {used:?}");
                    // Read again with that digest, it is.
                    let options = ReadOptions { digests: vec![digest], ..ReadOptions::default() };
                    assert_eq!(read(&options).unwrap().0.signed().unwrap().digest, used);
                }
                Err(other) => panic!("{announced:?} {used:?}: {other}"),
            }
        }
    }
}
