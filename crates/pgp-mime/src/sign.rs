//! Writing `multipart/signed` with an OpenPGP signature (RFC 3156 section 5).

use std::io::{self, Cursor, Read, Write as _};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use openssl::hash::Hasher;
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{
    OnePassSignature, PacketTrait as _, Signature, SignatureConfig, SignatureHasher, SignatureType,
    SignatureVersionSpecific, Subpacket, SubpacketData,
};
use pgp::types::{Fingerprint, KeyDetails as _, KeyVersion, Password, SigningKey, Timestamp};
use rand::rngs::OsRng;
use smime::{ContentType, Digest, Entity, Error, Headers, Measured, Mic, MicSlot, Result};

use crate::armor::Armored;
use crate::cipher::micalg;
use crate::digests::{failed, hasher};
use crate::error::OpenPgpContext as _;
use crate::keys::OwnKey;

/// A body of any kind.
pub type Body = Box<dyn Measured + Send>;

const PLACE: &str = "OpenPGP signature";

/// How an entity is signed.
#[derive(Debug, Clone)]
pub struct Signing {
    /// Our key, whose newest valid component for that signs.
    pub key: Arc<OwnKey>,
    /// The digest of the signature, and of the MIC.
    pub digest: Digest,
    /// The time that the signature says, which is the time at which the key must be valid as well.
    pub time: SystemTime,
    /// Of the `multipart/signed`.
    pub boundary: String,
}

/// A wrapped entity.
pub struct Signed {
    /// It, whose body has no length that is known in advance.
    pub entity: Entity<Body>,
    /// Where the MIC over the wrapped entity appears when the stream has gone past it.
    pub mic: MicSlot,
    /// Where its signature appears when it was made; of one that is not signed it stays empty.
    pub signature: SignatureSlot,
}

/// The place of a signature that is made at the end of a stream: in armour where it is detached, else as its packet.
#[derive(Debug, Clone, Default)]
pub struct SignatureSlot(Arc<OnceLock<Vec<u8>>>);

impl SignatureSlot {
    /// The signature; none before it was made.
    #[must_use]
    pub fn get(&self) -> Option<&[u8]> {
        self.0.get().map(Vec::as_slice)
    }

    pub(crate) fn set(&self, signature: &[u8]) {
        // A stream ends once.
        let _ = self.0.set(signature.to_vec());
    }
}

/// Wraps an entity in a `multipart/signed`. Errors: a boundary that RFC 2046 does not allow, a key that cannot sign.
pub fn sign(entity: Entity<Body>, signing: Signing) -> Result<Signed> {
    check_boundary(&signing.boundary)?;
    let headers = signed_headers(signing.digest, &signing.boundary)?;
    let mic = MicSlot::default();
    let (content, hashing) = hashed(entity.into_stream()?, Some(&signing), signing.digest, mic.clone())?;
    let head = format!("--{}\r\n", signing.boundary).into_bytes();
    let signature = SignatureSlot::default();
    let (slot, state) = (signature.clone(), State::Content);
    let body = SignedBody { head: Cursor::new(head), content, hashing, signing, slot, state };
    Ok(Signed { entity: Entity::new(headers, Box::new(body)), mic, signature })
}

/// The header fields of what [`sign`] makes. Errors: a boundary that no header can carry.
pub fn signed_headers(digest: Digest, boundary: &str) -> Result<Headers> {
    let media = ContentType::new("multipart/signed")?
        .with("protocol", "application/pgp-signature")
        .with("micalg", micalg(digest))
        .with("boundary", boundary);
    Headers::new().with("Content-Type", media.to_string())
}

/// A detached signature over bytes, in armour.
pub fn sign_bytes(content: &[u8], signing: &Signing) -> Result<Vec<u8>> {
    let mut hasher = signing.hasher()?;
    hasher.write_all(content)?;
    armored(&signing.finish(hasher)?)
}

pub(crate) fn check_boundary(boundary: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
    if boundary.is_empty() || boundary.len() > 70 || !boundary.bytes().all(allowed) {
        let what = "it must be 1 to 70 of the characters that RFC 2046 allows".to_owned();
        return Err(Error::Malformed { what, place: "boundary" });
    }
    Ok(())
}

impl Signing {
    /// The component that signs.
    fn component(&self) -> Result<&dyn SigningKey> {
        let component = self.key.signing(self.time)?;
        let key = &self.key.key;
        if key.primary_key.public_key().fingerprint() == component.fingerprint {
            return Ok(&key.primary_key);
        }
        let mut subkeys = key.secret_subkeys.iter().map(|subkey| &subkey.key);
        let found = subkeys.find(|subkey| subkey.public_key().fingerprint() == component.fingerprint);
        found.map(|subkey| subkey as &dyn SigningKey).ok_or_else(|| {
            Error::Unsupported("signing with an OpenPGP key whose secret half is kept elsewhere".into())
        })
    }

    fn config(&self) -> Result<SignatureConfig> {
        let key = self.component()?;
        let hash = hash_algorithm(self.digest);
        let typ = SignatureType::Binary;
        let mut config = match key.version() {
            KeyVersion::V4 => SignatureConfig::v4(typ, key.algorithm(), hash),
            KeyVersion::V6 => SignatureConfig::v6(OsRng, typ, key.algorithm(), hash).within(PLACE)?,
            other => {
                return Err(Error::Unsupported(format!("signing with an OpenPGP key of version {other:?}")));
            }
        };
        let time = Timestamp::try_from(self.time)
            .map_err(|_| Error::Unsupported("the time of an OpenPGP signature".into()))?;
        let packet = |data| Subpacket::regular(data).within(PLACE);
        config.hashed_subpackets = vec![
            packet(SubpacketData::SignatureCreationTime(time))?,
            packet(SubpacketData::IssuerFingerprint(key.fingerprint()))?,
        ];
        if key.version() == KeyVersion::V4 {
            config.unhashed_subpackets = vec![packet(SubpacketData::IssuerKeyId(key.legacy_key_id()))?];
        }
        Ok(config)
    }

    pub(crate) fn hasher(&self) -> Result<SignatureHasher> {
        self.config()?.into_hasher().within(PLACE)
    }

    /// A hasher, and the packet that announces its signature before the content.
    pub(crate) fn one_pass(&self) -> Result<(SignatureHasher, Vec<u8>)> {
        let (key, config) = (self.component()?, self.config()?);
        let (typ, hash, algorithm) = (config.typ, config.hash_alg, config.pub_alg);
        let packet = match (&config.version_specific, key.fingerprint()) {
            (SignatureVersionSpecific::V6 { salt }, Fingerprint::V6(fingerprint)) => {
                OnePassSignature::v6(typ, hash, algorithm, salt.clone(), fingerprint)
            }
            _ => OnePassSignature::v3(typ, hash, algorithm, key.legacy_key_id()),
        };
        let mut written = Vec::new();
        packet.to_writer_with_header(&mut written).within(PLACE)?;
        Ok((config.into_hasher().within(PLACE)?, written))
    }

    pub(crate) fn finish(&self, hasher: SignatureHasher) -> Result<Signature> {
        hasher.sign(self.component()?, &Password::empty()).within(PLACE)
    }
}

fn hash_algorithm(digest: Digest) -> HashAlgorithm {
    match digest {
        Digest::Md5 => HashAlgorithm::Md5,
        Digest::Sha1 => HashAlgorithm::Sha1,
        Digest::Sha224 => HashAlgorithm::Sha224,
        Digest::Sha256 => HashAlgorithm::Sha256,
        Digest::Sha384 => HashAlgorithm::Sha384,
        Digest::Sha512 => HashAlgorithm::Sha512,
    }
}

/// A signature as a packet.
pub(crate) fn packet(signature: &Signature) -> Result<Vec<u8>> {
    let mut written = Vec::new();
    signature.to_writer_with_header(&mut written).within(PLACE)?;
    Ok(written)
}

fn armored(signature: &Signature) -> Result<Vec<u8>> {
    let packet = packet(signature)?;
    let mut text = Vec::new();
    Armored::new(packet.as_slice(), "SIGNATURE").read_to_end(&mut text)?;
    Ok(text)
}

/// What is computed of content while it streams.
pub(crate) type Hashing = Arc<Mutex<Hashes>>;

pub(crate) struct Hashes {
    signature: Option<SignatureHasher>,
    mic: Option<Hasher>,
    algorithm: Digest,
    slot: MicSlot,
}

impl Hashes {
    fn update(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(mic) = &mut self.mic {
            mic.update(bytes).map_err(failed)?;
        }
        match &mut self.signature {
            Some(signature) => Ok(signature.write_all(bytes)?),
            None => Ok(()),
        }
    }

    /// At the end of the content; what made the signature is handed out once.
    fn finish(&mut self) -> Result<Option<SignatureHasher>> {
        if let Some(mut mic) = self.mic.take() {
            let digest = mic.finish().map_err(failed)?.to_vec();
            self.slot.set(Mic { algorithm: self.algorithm, digest });
        }
        Ok(self.signature.take())
    }
}

/// Content whose bytes are hashed as they are read.
pub(crate) struct Hashed<R> {
    inner: R,
    hashing: Hashing,
}

/// Hashes content for its MIC, and for a signature.
pub(crate) fn hashed<R: Read>(
    inner: R,
    signing: Option<&Signing>,
    mic: Digest,
    slot: MicSlot,
) -> Result<(Hashed<R>, Hashing)> {
    let signature = signing.map(Signing::hasher).transpose()?;
    hashed_by(inner, signature, mic, slot)
}

pub(crate) fn hashed_by<R: Read>(
    inner: R,
    signature: Option<SignatureHasher>,
    algorithm: Digest,
    slot: MicSlot,
) -> Result<(Hashed<R>, Hashing)> {
    let hashes = Hashes { signature, mic: Some(hasher(algorithm)?), algorithm, slot };
    let hashing = Arc::new(Mutex::new(hashes));
    Ok((Hashed { inner, hashing: Arc::clone(&hashing) }, hashing))
}

/// The end of hashed content: its MIC is set, and its signature can be made.
pub(crate) fn finished(hashing: &Hashing) -> Result<Option<SignatureHasher>> {
    hashing.lock().unwrap_or_else(PoisonError::into_inner).finish()
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(out)?;
        self.hashing.lock().unwrap_or_else(PoisonError::into_inner).update(&out[..count])?;
        Ok(count)
    }
}

/// The body of a `multipart/signed`, pulled from its content.
struct SignedBody<R> {
    head: Cursor<Vec<u8>>,
    content: Hashed<R>,
    hashing: Hashing,
    signing: Signing,
    slot: SignatureSlot,
    state: State,
}

enum State {
    Content,
    /// Signing failed. It cannot be tried again: the digest's state is gone.
    Failed,
    Tail(Cursor<Vec<u8>>),
}

impl<R> SignedBody<R> {
    /// What follows the signed part.
    fn close(&self) -> Result<Cursor<Vec<u8>>> {
        let hasher = finished(&self.hashing)?.ok_or_else(|| Error::from(signing_failed()))?;
        let signature = armored(&self.signing.finish(hasher)?)?;
        self.slot.set(&signature);
        let boundary = &self.signing.boundary;
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: application/pgp-signature; name=signature.asc\r\n\
             Content-Disposition: attachment; filename=signature.asc\r\n\r\n"
        );
        let end = format!("\r\n--{boundary}--\r\n");
        Ok(Cursor::new([head.as_bytes(), &signature, end.as_bytes()].concat()))
    }
}

impl<R: Read> Read for SignedBody<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        match &mut self.state {
            State::Content => {}
            State::Failed => return Err(signing_failed()),
            State::Tail(tail) => return tail.read(out),
        }
        let count = self.head.read(out)?;
        if count > 0 {
            return Ok(count);
        }
        let count = self.content.read(out)?;
        if count > 0 {
            return Ok(count);
        }
        self.state = State::Failed;
        let mut tail = self.close()?;
        let count = tail.read(out)?;
        self.state = State::Tail(tail);
        Ok(count)
    }
}

impl<R: Read> Measured for SignedBody<R> {
    /// Signatures vary in length.
    fn total_len(&self) -> Option<u64> {
        None
    }
}

fn signing_failed() -> io::Error {
    io::Error::other("the message could not be signed")
}
