//! Signing as a stream: `multipart/signed` with a detached SignedData (RFC 8551 section 3.5.3,
//! RFC 5652 section 5). The digest is taken while the content goes out; the signature follows it.

use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::time::SystemTime;

use openssl::hash::Hasher;
use openssl::pkey::{Id, PKey, PKeyRef, Private};
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Signer};
use openssl::x509::X509;

use super::attributes;
use super::certificate::CertificateId;
use super::signature::{Covered, verifies};
use super::signer::{SignatureAlgorithm, SignatureScheme};
use crate::algorithm::{Digest, NameStyle, oid};
use crate::der;
use crate::error::{CryptoContext, Error, Result};
use crate::mic::{Mic, MicSlot};
use crate::mime::content_type::ContentType;
use crate::mime::entity::{Entity, EntityStream, Measured};
use crate::mime::headers::Headers;
use crate::mime::words::base64_text;

/// Limit of the tries to get an ECDSA signature of the usual length. A try succeeds with a probability of a sixth at
/// least.
const MOST_TRIES: usize = 256;

/// A signature over a content: what is kept so that a retry sends the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The signature value, without the CMS structure around it.
    pub bytes: Vec<u8>,
    /// The digest of the signed content: the MIC that a receipt must show.
    pub mic: Mic,
}

/// Called with a new signature before any byte of it leaves, on the thread that reads the stream. An error ends the
/// stream and comes out of it.
pub type OnSignature = Arc<dyn Fn(&Signature) -> io::Result<()> + Send + Sync>;

/// How to sign. The same inputs give the same bytes if the [scheme](Self::scheme)
/// [repeats](SignatureScheme::repeats), or with the signature of the first attempt in [`made`](Self::made).
#[derive(Clone)]
pub struct Signing {
    /// Our private key: RSA, EC or Ed25519.
    pub key: PKey<Private>,
    /// Its certificate, which names the signer.
    pub certificate: X509,
    /// Digest of content and signature: SHA-256 unless changed; for Ed25519 always SHA-512 (RFC 8419 section 3).
    pub digest: Digest,
    /// What the signingTime attribute says.
    pub signing_time: SystemTime,
    /// Boundary of the multipart: 1 to 70 characters, not to be found in the content; random is best.
    pub boundary: String,
    /// Whether the certificate travels with the signature (default: yes).
    pub embed_certificate: bool,
    /// Whether the signature part is base64 (default) or binary.
    pub base64: bool,
    /// Spelling of `micalg`.
    pub names: NameStyle,
    /// RSA-PSS in place of PKCS #1 v1.5: salted, so each pass gives other bytes. Keys of the type id-RSASSA-PSS
    /// always sign so.
    pub pss: bool,
    /// A signature that was made earlier, repeated in place of a new one. The stream ends with an error before any
    /// byte of it leaves if the content is not the one that was signed
    /// ([`IntegrityFailed`](Error::IntegrityFailed)), or if key, digest or signing time are others now
    /// ([`SignatureInvalid`](Error::SignatureInvalid)).
    pub made: Option<Signature>,
    /// Called once for a new signature; not called for one that was made earlier.
    pub on_signature: Option<OnSignature>,
}

impl Signing {
    /// The usual way: SHA-256 (SHA-512 for Ed25519), certificate embedded, base64, RFC 5751 names.
    pub fn new(key: PKey<Private>, certificate: X509, signing_time: SystemTime, boundary: &str) -> Self {
        Signing {
            digest: Signing::digest_for(&key, Digest::Sha256),
            key,
            certificate,
            signing_time,
            boundary: boundary.to_owned(),
            embed_certificate: true,
            base64: true,
            names: NameStyle::default(),
            pss: false,
            made: None,
            on_signature: None,
        }
    }

    /// The digest with which a key signs where `wanted` was agreed: for Ed25519 SHA-512, else `wanted`.
    pub fn digest_for(key: &PKeyRef<Private>, wanted: Digest) -> Digest {
        if key.id() == Id::ED25519 { Digest::Sha512 } else { wanted }
    }

    /// How this key signs. Errors: [`Unsupported`](Error::Unsupported), a key that cannot sign, or not with this
    /// digest.
    pub fn scheme(&self) -> Result<SignatureScheme> {
        match (self.key.id(), self.digest) {
            (Id::RSA, _) if !self.pss => Ok(SignatureScheme::RsaPkcs1v15),
            (Id::RSA | Id::RSA_PSS, _) => Ok(SignatureScheme::RsaPss),
            (Id::EC, Digest::Md5) => Err(Error::unsupported("ECDSA with MD5")),
            (Id::EC, _) => Ok(SignatureScheme::Ecdsa),
            (Id::ED25519, Digest::Sha512) => Ok(SignatureScheme::Ed25519),
            (Id::ED25519, digest) => {
                let digest = digest.name(NameStyle::Rfc5751);
                Err(Error::unsupported(format!("Ed25519 with {digest} (RFC 8419 allows sha-512 alone)")))
            }
            _ => Err(Error::unsupported("signing with a key that is not RSA, EC or Ed25519")),
        }
    }

    /// A DER SignedData without content over content of this digest, signed as a stream would be.
    pub fn signature_block(&self, digest: &[u8]) -> Result<Vec<u8>> {
        self.detached(&self.closing(digest)?)
    }

    /// Length of the block.
    fn block_len(&self) -> Result<usize> {
        Ok(self.detached(&vec![0; self.closing_len()?])?.len())
    }

    fn detached(&self, closing: &[u8]) -> Result<Vec<u8>> {
        let signed_data = der::sequence(&[&self.opening(), &der::sequence(&[&der::oid(oid::DATA)]), closing]);
        Ok(der::sequence(&[&der::oid(oid::SIGNED_DATA), &der::element(der::context(0), &[&signed_data])]))
    }

    /// What stands in a SignedData before its content: version and digest algorithms.
    pub(crate) fn opening(&self) -> Vec<u8> {
        [der::integer(1), der::element(der::SET, &[&self.digest.identifier()])].concat()
    }

    /// What stands in a SignedData after its content: certificates and the signer.
    pub(crate) fn closing(&self, digest: &[u8]) -> Result<Vec<u8>> {
        let attributes = attributes::encode(self.signing_time, digest);
        let mic = Mic { algorithm: self.digest, digest: digest.to_vec() };
        let signature = match &self.made {
            Some(made) => self.repeated(made, &mic, &attributes)?.clone(),
            None => {
                let signature = Signature { bytes: self.sign_attributes(&attributes)?, mic };
                if let Some(on_signature) = &self.on_signature {
                    on_signature(&signature)?;
                }
                signature
            }
        };
        self.encode_closing(attributes, &signature.bytes)
    }

    /// Length of [`closing`](Self::closing).
    pub(crate) fn closing_len(&self) -> Result<usize> {
        let attributes = attributes::encode(self.signing_time, &vec![0; self.digest.len()]);
        let signature = match &self.made {
            Some(made) => made.bytes.len(),
            None => self.signature_len()?,
        };
        Ok(self.encode_closing(attributes, &vec![0; signature])?.len())
    }

    /// The signature that was made earlier, if it is one over this content by our key.
    fn repeated<'m>(&self, made: &'m Signature, mic: &Mic, attributes: &[u8]) -> Result<&'m Signature> {
        if made.mic != *mic {
            let algorithm = format!("{:?}", made.mic.algorithm);
            return Err(Error::IntegrityFailed { algorithm, signed: None });
        }
        let algorithm = SignatureAlgorithm {
            scheme: self.scheme()?,
            digest: Some(self.digest),
            mask_digest: self.digest,
            salt_len: i32::try_from(self.digest.len()).unwrap_or_default(),
        };
        let covered = Covered::Attributes(attributes);
        match verifies(&self.key, &algorithm, self.digest, covered, &made.bytes)? {
            true => Ok(made),
            false => Err(Error::SignatureInvalid),
        }
    }

    fn sign_attributes(&self, attributes: &[u8]) -> Result<Vec<u8>> {
        let scheme = self.scheme()?;
        let len = self.signature_len()?;
        for _ in 0..MOST_TRIES {
            let mut signer = match scheme {
                SignatureScheme::Ed25519 => Signer::new_without_digest(&self.key),
                _ => Signer::new(self.digest.md(), &self.key),
            }
            .during("sign")?;
            if scheme == SignatureScheme::RsaPss {
                signer.set_rsa_padding(Padding::PKCS1_PSS).during("sign with RSA-PSS")?;
                signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH).during("sign with RSA-PSS")?;
                signer.set_rsa_mgf1_md(self.digest.md()).during("sign with RSA-PSS")?;
            }
            let signature = signer.sign_oneshot_to_vec(attributes).during("sign")?;
            if signature.len() == len {
                return Ok(signature);
            }
        }
        Err(Error::unsupported(format!("{} signatures of {len} bytes by this key", scheme.name())))
    }

    /// Length of a signature. Those by EC keys vary by some bytes; only ones of the usual length are used, so that
    /// the length of a message is known before its first byte.
    fn signature_len(&self) -> Result<usize> {
        match self.scheme()? {
            SignatureScheme::Ecdsa => {
                let key = self.key.ec_key().during("read an EC key")?;
                Ok(usual_ecdsa_len(key.group().order_bits() as usize))
            }
            _ => Ok(self.key.size()),
        }
    }

    fn encode_closing(&self, mut attributes: Vec<u8>, signature: &[u8]) -> Result<Vec<u8>> {
        // In SignerInfo the SET's tag is the implicit [0] (section 5.4).
        if let Some(tag) = attributes.first_mut() {
            *tag = der::context(0);
        }
        let signer_info = der::sequence(&[
            &der::integer(1),
            &CertificateId::of(&self.certificate)?.issuer_and_serial(),
            &self.digest.identifier(),
            &attributes,
            &self.signature_algorithm()?,
            &der::octet_string(signature),
        ]);
        let mut closing = Vec::new();
        if self.embed_certificate {
            let certificate = self.certificate.to_der().during("encode a certificate")?;
            closing = der::element(der::context(0), &[&certificate]);
        }
        closing.extend(der::element(der::SET, &[&signer_info]));
        Ok(closing)
    }

    fn signature_algorithm(&self) -> Result<Vec<u8>> {
        Ok(match self.scheme()? {
            SignatureScheme::RsaPkcs1v15 => der::sequence(&[&der::oid(oid::RSA), &[der::NULL, 0]]),
            SignatureScheme::RsaPss => {
                let hash = self.digest.identifier();
                let mgf = der::sequence(&[&der::oid(oid::MGF1), &hash]);
                let parameters = der::sequence(&[
                    &der::element(der::context(0), &[&hash]),
                    &der::element(der::context(1), &[&mgf]),
                    &der::element(der::context(2), &[&der::integer(self.digest.len() as u8)]),
                ]);
                der::sequence(&[&der::oid(oid::RSA_PSS), &parameters])
            }
            SignatureScheme::Ecdsa => {
                let combined = match self.digest {
                    Digest::Sha1 => oid::ECDSA_SHA1.to_vec(),
                    Digest::Sha224 => [oid::ECDSA_SHA2, &[1]].concat(),
                    Digest::Sha256 => [oid::ECDSA_SHA2, &[2]].concat(),
                    Digest::Sha384 => [oid::ECDSA_SHA2, &[3]].concat(),
                    Digest::Sha512 => [oid::ECDSA_SHA2, &[4]].concat(),
                    Digest::Md5 => return Err(Error::unsupported("ECDSA with MD5")),
                };
                der::sequence(&[&der::oid(&combined)])
            }
            SignatureScheme::Ed25519 => der::sequence(&[&der::oid(oid::ED25519)]),
        })
    }

    /// What follows the signed part: boundary, signature part, closing boundary.
    fn tail(&self, block: &[u8]) -> Vec<u8> {
        let mut tail = self.tail_head();
        if self.base64 {
            for line in base64_text(block).as_bytes().chunks(76) {
                tail.extend_from_slice(line);
                tail.extend_from_slice(b"\r\n");
            }
        } else {
            tail.extend_from_slice(block);
            tail.extend_from_slice(b"\r\n");
        }
        tail.extend_from_slice(format!("--{}--\r\n", self.boundary).as_bytes());
        tail
    }

    fn tail_head(&self) -> Vec<u8> {
        let encoding = if self.base64 { "base64" } else { "binary" };
        format!(
            "\r\n--{}\r\nContent-Type: application/pkcs7-signature; name=smime.p7s\r\n\
             Content-Transfer-Encoding: {encoding}\r\n\
             Content-Disposition: attachment; filename=smime.p7s\r\n\r\n",
            self.boundary
        )
        .into_bytes()
    }
}

/// The length that the DER of an ECDSA signature most likely has, for a curve whose order has so many bits.
fn usual_ecdsa_len(order_bits: usize) -> usize {
    // Two INTEGERs, each with a byte more when its first bit is set. If the order fills its bytes, about half of all
    // numbers have that bit, so one of two; else hardly any.
    let integers = 2 * order_bits.div_ceil(8) + usize::from(order_bits.is_multiple_of(8));
    let content = integers + 4;
    content + der::header(der::SEQUENCE, content as u64).len()
}

impl<B: Measured> Entity<B> {
    /// Wraps this entity in a `multipart/signed`. The MIC of the signed part appears in the slot
    /// when the stream has gone past it. Errors: a boundary that RFC 2046 does not allow, a key
    /// that cannot sign.
    pub fn sign(self, signing: Signing) -> Result<Entity<SignedBody<B>>> {
        let boundary = signing.boundary.as_bytes();
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(byte);
        if boundary.is_empty() || boundary.len() > 70 || !boundary.iter().all(allowed) {
            return Err(Error::malformed(
                "boundary",
                "it must be 1 to 70 of the characters that RFC 2046 allows",
            ));
        }
        let media = ContentType::new("multipart/signed")?
            .with("protocol", "application/pkcs7-signature")
            .with("micalg", signing.digest.name(signing.names))
            .with("boundary", &signing.boundary);
        let headers = Headers::new().with("Content-Type", media.to_string())?;
        let tail_len = signing.tail(&vec![0; signing.block_len()?]).len() as u64;
        let head = format!("--{}\r\n", signing.boundary).into_bytes();
        let body = SignedBody {
            head: Cursor::new(head),
            content: self.into_stream()?,
            state: State::Content,
            tail_len,
            hasher: Hasher::new(signing.digest.md()).during("digest")?,
            signing,
            slot: MicSlot::default(),
        };
        Ok(Entity::new(headers, body))
    }
}

/// The body of a `multipart/signed`, pulled from its content.
pub struct SignedBody<B> {
    signing: Signing,
    head: Cursor<Vec<u8>>,
    content: EntityStream<B>,
    hasher: Hasher,
    state: State,
    tail_len: u64,
    slot: MicSlot,
}

enum State {
    Content,
    /// Signing failed. It cannot be tried again: the digest's state is gone.
    Failed,
    Tail(Cursor<Vec<u8>>),
}

impl<B> SignedBody<B> {
    fn close(&mut self) -> Result<Cursor<Vec<u8>>> {
        let digest = self.hasher.finish().during("digest")?.to_vec();
        let block = self.signing.signature_block(&digest)?;
        self.slot.set(Mic { algorithm: self.signing.digest, digest });
        Ok(Cursor::new(self.signing.tail(&block)))
    }
}

impl<B: Measured> Entity<SignedBody<B>> {
    /// Where the MIC over the signed part appears; ask before wrapping or reading.
    pub fn signed_mic(&self) -> MicSlot {
        self.body().slot.clone()
    }
}

impl<B: Measured> Read for SignedBody<B> {
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
            self.hasher.update(&out[..count]).during("digest")?;
            return Ok(count);
        }
        self.state = State::Failed;
        let mut tail = self.close()?;
        let count = tail.read(out)?;
        self.state = State::Tail(tail);
        Ok(count)
    }
}

/// The error of reads after the one that reported why signing failed.
pub(crate) fn signing_failed() -> io::Error {
    io::Error::other("the message could not be signed")
}

impl<B: Measured> Measured for SignedBody<B> {
    fn total_len(&self) -> Option<u64> {
        let head = self.head.get_ref().len() as u64;
        self.content.total_len()?.checked_add(head)?.checked_add(self.tail_len)
    }
}
