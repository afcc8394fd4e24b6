//! Encryption as a stream: EnvelopedData for CBC ciphers, AuthEnvelopedData for those with a tag (RFC 5652
//! section 6, RFC 5083). DER of definite length when the content's length is known, else BER.

use std::io::{self, Read};

use openssl::encrypt::Encrypter;
use openssl::pkey::Id;
use openssl::rand::rand_bytes;
use openssl::rsa::Padding;
use openssl::x509::{X509, X509Ref};
use zeroize::Zeroizing;

use super::agreement;
use super::certificate::CertificateId;
use super::content_cipher::{self, ContentCipher, LONGEST_TAG as TAG};
use crate::algorithm::{Cipher, Digest, oid};
use crate::der::{self, Element};
use crate::error::{CryptoContext, Error, Result};
use crate::mime::content_type::ContentType;
use crate::mime::entity::{Entity, EntityStream, Measured, read_full};
use crate::mime::headers::Headers;

const CHUNK: usize = 128 * 1024;
/// One key and nonce may not encrypt more with GCM (NIST SP 800-38D section 5.2.1.1).
const GCM_LIMIT: u64 = (1 << 36) - 32;

/// How the content key is encrypted for an RSA recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyTransport {
    /// PKCS #1 v1.5: what every partner can read.
    #[default]
    Pkcs1v15,
    /// RSA-OAEP with this digest, also in its mask function.
    Oaep(Digest),
}

/// A content-encryption key with its IV, encrypted for the recipients.
///
/// Key transport is randomised: kept (see [`to_bytes`](Self::to_bytes)), the block makes a second
/// attempt send the same bytes. It must never encrypt anything but the same content: with GCM a
/// second content under one nonce gives both away. A signature is content too: one that is not the same
/// each time must be repeated with [`Signing::made`](crate::Signing::made).
#[derive(Clone)]
pub struct EncryptedContentKey {
    cipher: Cipher,
    key: Zeroizing<Vec<u8>>,
    iv: Vec<u8>,
    /// RecipientInfos, the whole SET.
    recipient_infos: Vec<u8>,
}

impl std::fmt::Debug for EncryptedContentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncryptedContentKey").field("cipher", &self.cipher).finish_non_exhaustive()
    }
}

impl EncryptedContentKey {
    /// Draws key and IV from the library's generator.
    pub fn generate(cipher: Cipher, recipients: &[X509], transport: KeyTransport) -> Result<Self> {
        let mut key = Zeroizing::new(vec![0; cipher.key_len()]);
        let mut iv = vec![0; cipher.iv_len()];
        rand_bytes(&mut key).during("draw a key")?;
        rand_bytes(&mut iv).during("draw an IV")?;
        Self::new(cipher, key, iv, recipients, transport)
    }

    /// Takes key and IV as given. Errors: their lengths do not fit, no recipient, a recipient
    /// whose key is neither RSA nor EC. `transport` is for RSA keys; EC keys agree on one.
    pub fn new(
        cipher: Cipher,
        key: Zeroizing<Vec<u8>>,
        iv: Vec<u8>,
        recipients: &[X509],
        transport: KeyTransport,
    ) -> Result<Self> {
        if key.len() != cipher.key_len() || iv.len() != cipher.iv_len() {
            return Err(Error::malformed("content key", "the key or IV does not have the cipher's length"));
        }
        if recipients.is_empty() {
            return Err(Error::malformed("content key", "no recipient"));
        }
        let infos = recipients
            .iter()
            .map(|recipient| recipient_info(recipient, &key, transport))
            .collect::<Result<Vec<_>>>()?;
        Ok(EncryptedContentKey { cipher, key, iv, recipient_infos: der::set_of(der::SET, infos) })
    }

    /// The cipher.
    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// Everything, **the key in the clear included**: to be stored as the secret that it is.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(der::sequence(&[
            &der::integer(1),
            &der::oid(self.cipher.oid()),
            &der::octet_string(&self.key),
            &der::octet_string(&self.iv),
            &self.recipient_infos,
        ]))
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut fields = Element::parse(bytes)?.expect(der::SEQUENCE, "a stored content key")?.children();
        if fields.required("version")?.small_integer()? != 1 {
            return Err(Error::unsupported("a stored content key of an unknown version"));
        }
        let kind = fields.required("cipher")?.content;
        let cipher = Cipher::from_oid(kind).ok_or_else(|| Error::unsupported(der::dotted(kind)))?;
        let key = Zeroizing::new(fields.required("key")?.content.to_vec());
        let cipher = Cipher::with_key_len(kind, key.len()).unwrap_or(cipher);
        let iv = fields.required("IV")?.content.to_vec();
        let recipient_infos = fields.required("recipients")?.expect(der::SET, "recipients")?.raw.to_vec();
        if key.len() != cipher.key_len() || iv.len() != cipher.iv_len() {
            return Err(Error::malformed("content key", "the key or IV does not have the cipher's length"));
        }
        Ok(EncryptedContentKey { cipher, key, iv, recipient_infos })
    }

    fn algorithm(&self) -> Vec<u8> {
        content_cipher::identifier(self.cipher, &self.iv)
    }

    fn content_kind(&self) -> &'static [u8] {
        if self.cipher.is_authenticated() { oid::AUTH_ENVELOPED_DATA } else { oid::ENVELOPED_DATA }
    }

    /// EnvelopedData is version 2 when a recipient is by key agreement (RFC 5652 section 6.1).
    fn version(&self) -> Vec<u8> {
        let mut agrees = false;
        if let Ok(set) = Element::parse(&self.recipient_infos) {
            let mut infos = set.children();
            while let Ok(Some(info)) = infos.next() {
                agrees |= info.tag == der::context(1);
            }
        }
        der::integer(if agrees && !self.cipher.is_authenticated() { 2 } else { 0 })
    }

    /// What stands before the ciphertext of a known length.
    fn definite_head(&self, encrypted: u64) -> Option<Vec<u8>> {
        let info = [der::oid(oid::DATA), self.algorithm()].concat();
        let content = der::header(0x80, encrypted);
        let info_len = ((info.len() + content.len()) as u64).checked_add(encrypted)?;
        let mac_len = if self.cipher.is_authenticated() { 2 + TAG as u64 } else { 0 };

        let info_header = der::header(der::SEQUENCE, info_len);
        let version = self.version();
        let before = version.len() + self.recipient_infos.len() + info_header.len();
        let data_len = info_len.checked_add(before as u64 + mac_len)?;
        let data_header = der::header(der::SEQUENCE, data_len);
        let explicit_len = data_len.checked_add(data_header.len() as u64)?;
        let explicit = der::header(der::context(0), explicit_len);
        let kind = der::oid(self.content_kind());
        let whole = explicit_len.checked_add((explicit.len() + kind.len()) as u64)?;

        Some(
            [
                der::header(der::SEQUENCE, whole),
                kind,
                explicit,
                data_header,
                version,
                self.recipient_infos.clone(),
                info_header,
                info,
                content,
            ]
            .concat(),
        )
    }

    /// The same for content whose end is not known: each level indefinite.
    fn indefinite_head(&self) -> Vec<u8> {
        [
            &[der::SEQUENCE, 0x80][..],
            &der::oid(self.content_kind()),
            &[der::context(0), 0x80, der::SEQUENCE, 0x80],
            &self.version(),
            &self.recipient_infos,
            &[der::SEQUENCE, 0x80],
            &der::oid(oid::DATA),
            &self.algorithm(),
            &[der::context(0), 0x80],
        ]
        .concat()
    }
}

/// KeyTransRecipientInfo with issuer and serial number (RFC 5652 section 6.2.1); for EC keys
/// KeyAgreeRecipientInfo.
fn recipient_info(recipient: &X509Ref, key: &[u8], transport: KeyTransport) -> Result<Vec<u8>> {
    let public = recipient.public_key().during("read a recipient's key")?;
    match public.id() {
        Id::RSA => {}
        Id::EC => return agreement::recipient_info(recipient, key),
        _ => return Err(Error::unsupported("encryption for a key that is neither RSA nor EC")),
    }
    let mut encrypter = Encrypter::new(&public).during("encrypt a content key")?;
    let algorithm = match transport {
        KeyTransport::Pkcs1v15 => {
            encrypter.set_rsa_padding(Padding::PKCS1).during("encrypt a content key")?;
            der::sequence(&[&der::oid(oid::RSA), &[der::NULL, 0]])
        }
        KeyTransport::Oaep(digest) => {
            encrypter.set_rsa_padding(Padding::PKCS1_OAEP).during("encrypt a content key")?;
            encrypter.set_rsa_oaep_md(digest.md()).during("encrypt a content key")?;
            encrypter.set_rsa_mgf1_md(digest.md()).during("encrypt a content key")?;
            let hash = digest.identifier();
            let mgf = der::sequence(&[&der::oid(oid::MGF1), &hash]);
            let parameters = der::sequence(&[
                &der::element(der::context(0), &[&hash]),
                &der::element(der::context(1), &[&mgf]),
            ]);
            der::sequence(&[&der::oid(oid::RSA_OAEP), &parameters])
        }
    };
    let room = encrypter.encrypt_len(key).during("encrypt a content key")?;
    let mut encrypted = vec![0; room];
    let len = encrypter.encrypt(key, &mut encrypted).during("encrypt a content key")?;
    encrypted.truncate(len);
    Ok(der::sequence(&[
        &der::integer(0),
        &CertificateId::of(recipient)?.issuer_and_serial(),
        &algorithm,
        &der::octet_string(&encrypted),
    ]))
}

impl<B: Measured> Entity<B> {
    /// Wraps this entity in an `application/pkcs7-mime` that only the recipients can read.
    /// Errors: content longer than one GCM key may encrypt; a cipher that OpenSSL does not have here.
    pub fn encrypt(self, key: EncryptedContentKey) -> Result<Entity<EnvelopedBody<B>>> {
        let kind = if key.cipher.is_authenticated() { "authEnveloped-data" } else { "enveloped-data" };
        let media =
            ContentType::new("application/pkcs7-mime")?.with("smime-type", kind).with("name", "smime.p7m");
        let headers = Headers::new()
            .with("Content-Type", media.to_string())?
            .with("Content-Disposition", "attachment; filename=smime.p7m")?;
        Ok(Entity::new(headers, EnvelopedBody::new(self.into_stream()?, key)?))
    }
}

/// The CMS message of an encrypted entity, pulled from its content.
pub struct EnvelopedBody<B> {
    content: EntityStream<B>,
    key: EncryptedContentKey,
    crypter: ContentCipher,
    plain: Zeroizing<Vec<u8>>,
    /// Bytes made but not handed out yet.
    ready: Vec<u8>,
    at: usize,
    /// Content length announced; none writes segments of an indefinite length.
    plain_len: Option<u64>,
    taken: u64,
    total: Option<u64>,
    ended: bool,
}

impl<B: Measured> EnvelopedBody<B> {
    fn new(content: EntityStream<B>, key: EncryptedContentKey) -> Result<Self> {
        let crypter = ContentCipher::encrypting(key.cipher, &key.key, &key.iv)?;
        let plain_len = content.total_len();
        let too_long = || Error::limit("content in bytes", GCM_LIMIT);
        if key.cipher.is_authenticated() && plain_len.is_some_and(|len| len > GCM_LIMIT) {
            return Err(too_long());
        }
        let (ready, total) = match plain_len {
            Some(len) => {
                let encrypted = key.cipher.encrypted_len(len).ok_or_else(too_long)?;
                let head = key.definite_head(encrypted).ok_or_else(too_long)?;
                let mac = if key.cipher.is_authenticated() { 2 + TAG as u64 } else { 0 };
                let total = encrypted.checked_add(head.len() as u64 + mac).ok_or_else(too_long)?;
                (head, Some(total))
            }
            None => (key.indefinite_head(), None),
        };
        Ok(EnvelopedBody {
            content,
            crypter,
            plain: Zeroizing::new(vec![0; CHUNK]),
            ready,
            at: 0,
            plain_len,
            taken: 0,
            total,
            ended: false,
            key,
        })
    }

    /// Reads up to `room` bytes of content into `plain`.
    fn take(&mut self, room: usize) -> Result<usize> {
        let room = room.min(self.plain.len());
        let count = read_full(&mut self.content, &mut self.plain[..room])?;
        self.taken += count as u64;
        let wrong = match self.plain_len {
            Some(len) => self.taken > len || (count == 0 && self.taken != len),
            None => self.key.cipher.is_authenticated() && self.taken > GCM_LIMIT,
        };
        if wrong {
            return Err(Error::malformed("content", "it does not have the announced length"));
        }
        Ok(count)
    }

    /// Encrypts one chunk into `ready`, as a segment where the length is indefinite.
    fn make_ready(&mut self) -> Result<()> {
        let block = self.key.cipher.block_len();
        let count = self.take(CHUNK)?;
        let mut encrypted = vec![0; count + 2 * block];
        let mut len = 0;
        if count > 0 {
            len = self.crypter.update(&self.plain[..count], &mut encrypted).during("encrypt")?;
        } else {
            len += self.crypter.finish(&mut encrypted).during("encrypt")?;
            self.ended = true;
        }
        self.ready.clear();
        self.at = 0;
        if self.plain_len.is_none() && len > 0 {
            self.ready.extend(der::header(der::OCTET_STRING, len as u64));
        }
        self.ready.extend_from_slice(&encrypted[..len]);
        if self.ended {
            self.finish_structure()?;
        }
        Ok(())
    }

    fn finish_structure(&mut self) -> Result<()> {
        let indefinite = self.plain_len.is_none();
        if indefinite {
            // The content and EncryptedContentInfo.
            self.ready.extend_from_slice(&[0; 4]);
        }
        if self.key.cipher.is_authenticated() {
            let mut tag = [0; TAG];
            self.crypter.tag(&mut tag).during("encrypt")?;
            self.ready.extend(der::octet_string(&tag));
        }
        if indefinite {
            // The data, its explicit tag, ContentInfo.
            self.ready.extend_from_slice(&[0; 6]);
        }
        Ok(())
    }
}

impl<B: Measured> Read for EnvelopedBody<B> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            if self.at < self.ready.len() {
                let count = out.len().min(self.ready.len() - self.at);
                out[..count].copy_from_slice(&self.ready[self.at..self.at + count]);
                self.at += count;
                return Ok(count);
            }
            if self.ended {
                return Ok(0);
            }
            let block = self.key.cipher.block_len();
            // Straight into the caller's buffer where it is worth while.
            if self.plain_len.is_some() && out.len() >= 4096 {
                let count = self.take(out.len() - block)?;
                if count > 0 {
                    let len = self.crypter.update(&self.plain[..count], out).during("encrypt")?;
                    if len > 0 {
                        return Ok(len);
                    }
                    continue;
                }
            }
            self.make_ready()?;
        }
    }
}

impl<B: Measured> Measured for EnvelopedBody<B> {
    fn total_len(&self) -> Option<u64> {
        self.total
    }
}
