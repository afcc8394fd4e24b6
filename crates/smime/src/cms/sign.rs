//! Signing as a stream: `multipart/signed` with a detached SignedData (RFC 8551 section 3.5.3,
//! RFC 5652 section 5). The digest is taken while the content goes out; the signature follows it.

use std::io::{self, Cursor, Read};
use std::time::SystemTime;

use openssl::hash::Hasher;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Signer};
use openssl::x509::X509;

use super::attributes;
use super::certificate::CertificateId;
use crate::algorithm::{Digest, NameStyle, oid};
use crate::der;
use crate::error::{CryptoContext, Error, Result};
use crate::mic::{Mic, MicSlot};
use crate::mime::content_type::ContentType;
use crate::mime::entity::{Entity, EntityStream, Measured};
use crate::mime::headers::Headers;
use crate::mime::words::base64_text;

/// How to sign. With an RSA key and PKCS #1 v1.5 the same inputs give the same bytes.
#[derive(Clone)]
pub struct Signing {
    /// Our private key: RSA or EC.
    pub key: PKey<Private>,
    /// Its certificate, which names the signer.
    pub certificate: X509,
    /// Digest of content and signature; SHA-256 unless changed.
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
    /// RSA-PSS in place of PKCS #1 v1.5: salted, so each pass gives other bytes.
    pub pss: bool,
}

impl Signing {
    /// The usual way: SHA-256, certificate embedded, base64, RFC 5751 names.
    pub fn new(key: PKey<Private>, certificate: X509, signing_time: SystemTime, boundary: &str) -> Self {
        Signing {
            key,
            certificate,
            digest: Digest::Sha256,
            signing_time,
            boundary: boundary.to_owned(),
            embed_certificate: true,
            base64: true,
            names: NameStyle::default(),
            pss: false,
        }
    }

    /// A DER SignedData without content over content of this digest.
    pub fn signature_block(&self, digest: &[u8]) -> Result<Vec<u8>> {
        self.detached(&self.closing(digest)?)
    }

    /// Length of the block where it does not depend on the content: RSA signatures.
    fn block_len(&self) -> Result<Option<usize>> {
        let closing = self.closing_len()?.map(|len| self.detached(&vec![0; len])).transpose()?;
        Ok(closing.map(|block| block.len()))
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
        let mut signer = Signer::new(self.digest.md(), &self.key).during("sign")?;
        if self.pss {
            signer.set_rsa_padding(Padding::PKCS1_PSS).during("sign with RSA-PSS")?;
            signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH).during("sign with RSA-PSS")?;
            signer.set_rsa_mgf1_md(self.digest.md()).during("sign with RSA-PSS")?;
        }
        let signature = signer.sign_oneshot_to_vec(&attributes).during("sign")?;
        self.encode_closing(attributes, &signature)
    }

    /// Length of [`closing`](Self::closing) where it can be known: RSA signatures.
    pub(crate) fn closing_len(&self) -> Result<Option<usize>> {
        if self.key.id() != Id::RSA {
            return Ok(None);
        }
        let attributes = attributes::encode(self.signing_time, &vec![0; self.digest.len()]);
        Ok(Some(self.encode_closing(attributes, &vec![0; self.key.size()])?.len()))
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
        match self.key.id() {
            Id::RSA if self.pss => {
                let hash = self.digest.identifier();
                let mgf = der::sequence(&[&der::oid(oid::MGF1), &hash]);
                let parameters = der::sequence(&[
                    &der::element(der::context(0), &[&hash]),
                    &der::element(der::context(1), &[&mgf]),
                    &der::element(der::context(2), &[&der::integer(self.digest.len() as u8)]),
                ]);
                Ok(der::sequence(&[&der::oid(oid::RSA_PSS), &parameters]))
            }
            Id::RSA => Ok(der::sequence(&[&der::oid(oid::RSA), &[der::NULL, 0]])),
            Id::EC => {
                let combined = match self.digest {
                    Digest::Sha1 => oid::ECDSA_SHA1.to_vec(),
                    Digest::Sha224 => [oid::ECDSA_SHA2, &[1]].concat(),
                    Digest::Sha256 => [oid::ECDSA_SHA2, &[2]].concat(),
                    Digest::Sha384 => [oid::ECDSA_SHA2, &[3]].concat(),
                    Digest::Sha512 => [oid::ECDSA_SHA2, &[4]].concat(),
                    Digest::Md5 => return Err(Error::unsupported("ECDSA with MD5")),
                };
                Ok(der::sequence(&[&der::oid(&combined)]))
            }
            _ => Err(Error::unsupported("signing with a key that is neither RSA nor EC")),
        }
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
        let tail_len = signing.block_len()?.map(|len| signing.tail(&vec![0; len]).len() as u64);
        let head = format!("--{}\r\n", signing.boundary).into_bytes();
        let body = SignedBody {
            head: Cursor::new(head),
            content: self.into_stream()?,
            tail: None,
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
    tail: Option<Cursor<Vec<u8>>>,
    tail_len: Option<u64>,
    slot: MicSlot,
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
        if let Some(tail) = &mut self.tail {
            return tail.read(out);
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
        let tail = self.close()?;
        self.tail.insert(tail).read(out)
    }
}

impl<B: Measured> Measured for SignedBody<B> {
    fn total_len(&self) -> Option<u64> {
        let head = self.head.get_ref().len() as u64;
        self.content.total_len()?.checked_add(head)?.checked_add(self.tail_len?)
    }
}
