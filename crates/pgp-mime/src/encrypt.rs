//! Writing `multipart/encrypted` (RFC 3156 section 4), also signed in the same object (section 6.2).

use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::time::SystemTime;

use flate2::Compression;
use flate2::read::ZlibEncoder;
use pgp::packet::{PacketTrait as _, PublicKeyEncryptedSessionKey};
use pgp::types::{KeyDetails as _, Tag};
use rand::rngs::OsRng;
use smime::{ContentType, Digest, Entity, Error, Headers, Measured, MicSlot, Result};

use crate::armor::Armored;
use crate::cipher::Cipher;
use crate::error::OpenPgpContext as _;
use crate::keys::PartnerKey;
use crate::packet::Packet;
use crate::sign::{
    Body, Hashed, Hashing, SignatureSlot, Signed, Signing, check_boundary, finished, hashed, hashed_by,
    packet,
};

const PLACE: &str = "OpenPGP encryption";
/// zlib, in a compressed data packet (RFC 9580 section 9.4).
const ZLIB: u8 = 2;
/// A literal data packet of bytes, without a file name and a date: the MIME headers inside say that (section 5.9).
const LITERAL: [u8; 6] = [b'b', 0, 0, 0, 0, 0];
/// Encrypted data with a modification detection code (section 5.13.1).
const WITH_DETECTION_CODE: u8 = 1;

/// How an entity is encrypted.
#[derive(Debug, Clone)]
pub struct Encryption {
    /// For whom: of each key the newest valid component for that.
    pub recipients: Vec<Arc<PartnerKey>>,
    /// The cipher of the content.
    pub cipher: Cipher,
    /// Whether the content is compressed with zlib before it is encrypted.
    pub compress: bool,
    /// Signs the content in the same object; its boundary is not used.
    pub signing: Option<Signing>,
    /// The digest of the MIC over the encrypted entity.
    pub mic: Digest,
    /// Of the `multipart/encrypted`.
    pub boundary: String,
    /// When the keys of the recipients must be valid.
    pub at: SystemTime,
}

/// Wraps an entity in a `multipart/encrypted`. Errors: a key that cannot be encrypted for, or cannot sign.
pub fn encrypt(entity: Entity<Body>, encryption: &Encryption) -> Result<Signed> {
    check_boundary(&encryption.boundary)?;
    let headers = encrypted_headers(&encryption.boundary)?;
    let algorithm = encryption.cipher.algorithm();
    let session_key = algorithm.new_session_key(OsRng);
    let mut keys = Vec::new();
    for recipient in &encryption.recipients {
        encrypted_key(recipient, encryption, &session_key)?.to_writer_with_header(&mut keys).within(PLACE)?;
    }
    if keys.is_empty() {
        return Err(Error::Unsupported("encryption for no OpenPGP key".into()));
    }
    let mic = MicSlot::default();
    let signature = SignatureSlot::default();
    let mut plain = content(entity, encryption, (mic.clone(), signature.clone()))?;
    if encryption.compress {
        let compressed = ZlibEncoder::new(plain, Compression::default());
        plain = Box::new(Packet::new(Tag::CompressedData, Cursor::new([ZLIB]).chain(compressed)));
    }
    let encrypted = algorithm.stream_encryptor(OsRng, session_key.as_ref(), plain).within(PLACE)?;
    let data =
        Packet::new(Tag::SymEncryptedProtectedData, Cursor::new([WITH_DETECTION_CODE]).chain(encrypted));
    let armored = Armored::new(Cursor::new(keys).chain(data), "MESSAGE");
    let boundary = &encryption.boundary;
    let head = format!(
        "--{boundary}\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n--{boundary}\r\n\
         Content-Type: application/octet-stream; name=encrypted.asc\r\n\
         Content-Disposition: inline; filename=encrypted.asc\r\n\r\n"
    );
    let end = format!("\r\n--{boundary}--\r\n");
    let body = Cursor::new(head.into_bytes()).chain(armored).chain(Cursor::new(end.into_bytes()));
    Ok(Signed { entity: Entity::new(headers, Box::new(Unmeasured(Box::new(body)))), mic, signature })
}

/// The header fields of what [`encrypt`] makes. Errors: a boundary that no header can carry.
pub fn encrypted_headers(boundary: &str) -> Result<Headers> {
    let media = ContentType::new("multipart/encrypted")?
        .with("protocol", "application/pgp-encrypted")
        .with("boundary", boundary);
    Headers::new().with("Content-Type", media.to_string())
}

/// The content key, encrypted for one recipient.
fn encrypted_key(
    recipient: &PartnerKey,
    encryption: &Encryption,
    session_key: &pgp::composed::RawSessionKey,
) -> Result<PublicKeyEncryptedSessionKey> {
    let unfit = || {
        Error::Unsupported(format!(
            "encryption for the OpenPGP key {}: it is revoked, has expired, or has no component for that",
            recipient.fingerprint()
        ))
    };
    let component = recipient.description.encrypting(encryption.at).ok_or_else(unfit)?;
    let (key, algorithm) = (&recipient.key, encryption.cipher.algorithm());
    let encrypted = if key.primary_key.fingerprint() == component.fingerprint {
        PublicKeyEncryptedSessionKey::from_session_key_v3(OsRng, session_key, algorithm, &key.primary_key)
    } else {
        let mut subkeys = key.public_subkeys.iter().map(|subkey| &subkey.key);
        let subkey =
            subkeys.find(|subkey| subkey.fingerprint() == component.fingerprint).ok_or_else(unfit)?;
        PublicKeyEncryptedSessionKey::from_session_key_v3(OsRng, session_key, algorithm, subkey)
    };
    encrypted.within(PLACE)
}

/// The entity as a literal, between the packets of a signature if it is signed.
fn content(
    entity: Entity<Body>,
    encryption: &Encryption,
    (mic, slot): (MicSlot, SignatureSlot),
) -> Result<Box<dyn Read + Send>> {
    let stream = entity.into_stream()?;
    let Some(signing) = &encryption.signing else {
        let (content, hashing) = hashed(stream, None, encryption.mic, mic)?;
        return Ok(Box::new(Object {
            head: Cursor::new(Vec::new()),
            literal: literal(content),
            hashing,
            slot,
            tail: Tail::To(None),
        }));
    };
    let (hasher, announcement) = signing.one_pass()?;
    let (content, hashing) = hashed_by(stream, Some(hasher), encryption.mic, mic)?;
    let tail = Tail::To(Some(signing.clone()));
    Ok(Box::new(Object { head: Cursor::new(announcement), literal: literal(content), hashing, slot, tail }))
}

type Literal<R> = Packet<io::Chain<Cursor<[u8; 6]>, Hashed<R>>>;

fn literal<R: Read>(content: Hashed<R>) -> Literal<R> {
    Packet::new(Tag::LiteralData, Cursor::new(LITERAL).chain(content))
}

/// The announcement of a signature, a literal, and the signature.
struct Object<R> {
    head: Cursor<Vec<u8>>,
    literal: Literal<R>,
    hashing: Hashing,
    slot: SignatureSlot,
    tail: Tail,
}

enum Tail {
    /// It is made when the literal has ended.
    To(Option<Signing>),
    Made(Cursor<Vec<u8>>),
}

impl<R: Read> Read for Object<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if let Tail::Made(tail) = &mut self.tail {
            return tail.read(out);
        }
        let count = self.head.read(out)?;
        if count > 0 {
            return Ok(count);
        }
        let count = self.literal.read(out)?;
        if count > 0 {
            return Ok(count);
        }
        let hasher = finished(&self.hashing)?;
        let made = match (&self.tail, hasher) {
            (Tail::To(Some(signing)), Some(hasher)) => {
                let signature = packet(&signing.finish(hasher)?)?;
                self.slot.set(&signature);
                signature
            }
            (Tail::To(Some(_)), None) => return Err(io::Error::other("the message could not be signed")),
            _ => Vec::new(),
        };
        let mut tail = Cursor::new(made);
        let count = tail.read(out)?;
        self.tail = Tail::Made(tail);
        Ok(count)
    }
}

/// A stream whose length is not known in advance.
struct Unmeasured(Box<dyn Read + Send>);

impl Read for Unmeasured {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl Measured for Unmeasured {
    fn total_len(&self) -> Option<u64> {
        None
    }
}
