//! OpenPGP objects. By the first byte: as they are, or as what is inside an encrypted one.

use crate::support;
use pgp::composed::{Deserializable as _, RawSessionKey, SignedPublicKey};
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::{PacketTrait as _, PublicKeyEncryptedSessionKey};
use pgp_mime::{Keys, OwnKey, PartnerKey, ReadOptions, read_message, verify_detached};
use rand::rngs::OsRng;
use smime::{Headers, Limits, Part, PartReceiver};
use std::io::{self, Read as _, Write};
use std::sync::LazyLock;

/// A key pair that stands among the seeds.
struct Pair {
    own: OwnKey,
    partner: PartnerKey,
    session: RawSessionKey,
    /// The session key, encrypted for the pair.
    head: Vec<u8>,
}

const CIPHER: SymmetricKeyAlgorithm = SymmetricKeyAlgorithm::AES256;

static PAIR: LazyLock<Pair> = LazyLock::new(|| {
    let text = String::from_utf8(support::seed("pgp.private.asc")).expect("armour");
    let own = OwnKey::read(&text, None).expect("a private key");
    let partner = PartnerKey::of_private(&text).expect("a key pair");
    let public = partner.to_armoured().expect("a public key");
    let (public, _) = SignedPublicKey::from_string(&public).expect("a public key");
    let session = CIPHER.new_session_key(OsRng);
    let subkey = &public.public_subkeys[0].key;
    let key = PublicKeyEncryptedSessionKey::from_session_key_v3(OsRng, &session, CIPHER, subkey);
    let mut head = Vec::new();
    key.expect("an encrypted key").to_writer_with_header(&mut head).expect("a packet");
    Pair { own, partner, session, head }
});

struct Nowhere;

impl PartReceiver for Nowhere {
    fn begin(&mut self, _: &Part) -> io::Result<Box<dyn Write + '_>> {
        Ok(Box::new(io::sink()))
    }
}

fn encrypted(plaintext: &[u8]) -> Vec<u8> {
    let Pair { session, head, .. } = &*PAIR;
    let mut body = vec![1];
    let mut stream = CIPHER.stream_encryptor(OsRng, session.as_ref(), plaintext).expect("a cipher");
    stream.read_to_end(&mut body).expect("bytes in memory");
    let length = u32::try_from(body.len()).expect("a short input").to_be_bytes();
    [head.as_slice(), &[0xC0 | 18, 0xFF], &length, &body].concat()
}

/// Reads one input.
pub fn run(data: &[u8]) {
    let Some((first, object)) = data.split_first() else { return };
    let options = ReadOptions {
        limits: Limits { expanded_bytes: 64 * 1024 * 1024, ..Limits::default() },
        accept_weak: first & 2 == 0,
        ..ReadOptions::default()
    };
    let _ = verify_detached(&b"content"[..], object, &[&PAIR.partner], &options);
    let object = if first & 1 == 0 { object.to_vec() } else { encrypted(object) };
    let body = [
        b"--b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n--b\r\n\
          Content-Type: application/octet-stream\r\n\r\n",
        object.as_slice(),
        b"\r\n--b--\r\n",
    ]
    .concat();
    let media = "multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b";
    let headers = Headers::new().with("Content-Type", media).expect("a media type");
    let keys = Keys { decrypt: &[&PAIR.own], verify: &[&PAIR.partner], ..Keys::default() };
    let _ = read_message(&headers, body.as_slice(), keys, &options, &mut Nowhere);
}
