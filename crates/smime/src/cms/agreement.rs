//! Recipients with EC keys: ephemeral-static Diffie-Hellman and AES key wrap (RFC 5753).

use openssl::aes::{AesKey, unwrap_key, wrap_key};
use openssl::bn::BigNumContext;
use openssl::cipher::Cipher;
use openssl::cipher_ctx::{CipherCtx, CipherCtxFlags};
use openssl::derive::Deriver;
use openssl::ec::{EcKey, EcPoint, PointConversionForm};
use openssl::hash::hash;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, PKey, PKeyRef, Private};
use openssl::x509::X509Ref;
use zeroize::Zeroizing;

use super::certificate::{CertificateId, Named};
use crate::algorithm::{Digest, oid};
use crate::der::{self, Element};
use crate::error::{CryptoContext, Error, Result};

const CONTEXT: &str = "agree on a key";
/// dhSinglePass-stdDH-sha1kdf-scheme.
const SHA1_KDF: &[u8] = b"\x2b\x81\x05\x10\x86\x48\x3f\x00\x02";
/// dhSinglePass-cofactorDH-sha1kdf-scheme: the same secret, as the cofactor of our curves is 1.
const SHA1_COFACTOR_KDF: &[u8] = b"\x2b\x81\x05\x10\x86\x48\x3f\x00\x03";
/// dhSinglePass-stdDH-sha2 schemes, but for the last arc.
const SHA2_KDF: &[u8] = b"\x2b\x81\x04\x01\x0b";
/// dhSinglePass-cofactorDH-sha2 schemes, likewise.
const SHA2_COFACTOR_KDF: &[u8] = b"\x2b\x81\x04\x01\x0e";
/// id-alg-CMS3DESwrap (RFC 3370, 4.3.1).
const TRIPLE_DES: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x03\x06";
/// AES key wrap of RFC 3394, but for the last arc.
const AES: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01";

/// KeyAgreeRecipientInfo with what is needed of it.
pub(crate) struct Agreement {
    originator: Vec<u8>,
    user_material: Option<Vec<u8>>,
    digest: Digest,
    /// The key wrap's AlgorithmIdentifier as received: it goes into the derivation.
    wrap: Vec<u8>,
    wrapping: Wrapping,
    /// Recipients and their wrapped keys.
    pub(crate) keys: Vec<(Named, Vec<u8>)>,
}

/// The key wrap.
#[derive(Clone, Copy)]
enum Wrapping {
    /// AES with a key of so many bytes (RFC 3394).
    Aes(usize),
    TripleDes,
}

impl Wrapping {
    fn of(algorithm: &[u8]) -> Result<Self> {
        if algorithm == TRIPLE_DES {
            return Ok(Self::TripleDes);
        }
        match algorithm.strip_prefix(AES) {
            Some([0x05]) => Ok(Self::Aes(16)),
            Some([0x19]) => Ok(Self::Aes(24)),
            Some([0x2d]) => Ok(Self::Aes(32)),
            _ => Err(Error::unsupported(format!("key wrap {}", der::dotted(algorithm)))),
        }
    }

    /// The length of its key in bytes.
    fn key_len(self) -> usize {
        match self {
            Self::Aes(len) => len,
            Self::TripleDes => 24,
        }
    }

    /// The content key. Errors must not be told apart by a peer.
    fn unwrap(self, key: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        if wrapped.len() < 24 || !wrapped.len().is_multiple_of(8) {
            return Err(Error::DecryptionFailed);
        }
        match self {
            Self::Aes(_) => {
                let key = AesKey::new_decrypt(key).map_err(|_| Error::DecryptionFailed)?;
                let mut plain = Zeroizing::new(vec![0; wrapped.len() - 8]);
                unwrap_key(&key, None, &mut plain, wrapped).map_err(|_| Error::DecryptionFailed)?;
                Ok(plain)
            }
            Self::TripleDes => {
                let cipher = Cipher::from_nid(Nid::ID_SMIME_ALG_CMS3DESWRAP)
                    .ok_or_else(|| Error::unsupported("triple DES key wrap"))?;
                let mut context = CipherCtx::new().during(CONTEXT)?;
                context.set_flags(CipherCtxFlags::FLAG_WRAP_ALLOW);
                context.decrypt_init(Some(cipher), Some(key), None).during(CONTEXT)?;
                let mut plain = Zeroizing::new(Vec::new());
                context.cipher_update_vec(wrapped, &mut plain).map_err(|_| Error::DecryptionFailed)?;
                Ok(plain)
            }
        }
    }
}

impl Agreement {
    /// Reads the fields of `[1] KeyAgreeRecipientInfo`.
    pub(crate) fn parse(info: &Element<'_>) -> Result<Agreement> {
        let mut fields = info.children();
        fields.required("version")?;
        let originator = fields.required("originator")?.children().required("originator")?;
        if originator.tag != der::context(1) {
            return Err(Error::unsupported("key agreement with a static originator key"));
        }
        let mut public = originator.children();
        public.required("algorithm")?;
        let point = public.required("publicKey")?.content;
        // The first byte of a BIT STRING counts its unused bits.
        let originator = point.get(1..).unwrap_or_default().to_vec();
        let user_material = match fields.optional(der::context(1))? {
            Some(material) => Some(material.children().required("ukm")?.octets()?.into_owned()),
            None => None,
        };
        let mut algorithm = fields.required("keyEncryptionAlgorithm")?.children();
        let scheme = algorithm.required("algorithm")?.content;
        let digest = kdf_digest(scheme)
            .ok_or_else(|| Error::unsupported(format!("key agreement {}", der::dotted(scheme))))?;
        let wrap = algorithm.required("key wrap")?;
        let wrapping = Wrapping::of(wrap.children().required("algorithm")?.content)?;
        let mut keys = Vec::new();
        let mut encrypted = fields.required("recipientEncryptedKeys")?.children();
        while let Some(key) = encrypted.next()? {
            let mut key = key.children();
            let named = recipient(&key.required("rid")?)?;
            keys.push((named, key.required("encryptedKey")?.octets()?.into_owned()));
        }
        Ok(Agreement { originator, user_material, digest, wrap: wrap.raw.to_vec(), wrapping, keys })
    }

    /// The content key out of `wrapped`. Errors must not be told apart by a peer.
    pub(crate) fn open(&self, key: &PKeyRef<Private>, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let own = key.ec_key().during(CONTEXT)?;
        let mut numbers = BigNumContext::new().during(CONTEXT)?;
        let point = EcPoint::from_bytes(own.group(), &self.originator, &mut numbers).during(CONTEXT)?;
        let peer = EcKey::from_public_key(own.group(), &point).during(CONTEXT)?;
        // A point off the curve would give our key away bit by bit.
        peer.check_key().during(CONTEXT)?;
        let peer = PKey::from_ec_key(peer).during(CONTEXT)?;
        let material = self.user_material.as_deref();
        let kek = derive(key, &peer, self.digest, &self.wrap, material, self.wrapping.key_len())?;
        self.wrapping.unwrap(&kek, wrapped)
    }
}

/// KeyAgreeRecipientIdentifier: a key identifier stands in a sequence here.
fn recipient(element: &Element<'_>) -> Result<Named> {
    if element.tag == der::context(0) {
        let identifier = element.children().required("subjectKeyIdentifier")?.octets()?;
        return Ok(Named::KeyIdentifier(identifier.into_owned()));
    }
    Named::parse(element)
}

fn kdf_digest(scheme: &[u8]) -> Option<Digest> {
    if scheme == SHA1_KDF || scheme == SHA1_COFACTOR_KDF {
        return Some(Digest::Sha1);
    }
    match scheme.strip_prefix(SHA2_KDF).or_else(|| scheme.strip_prefix(SHA2_COFACTOR_KDF))? {
        [0] => Some(Digest::Sha224),
        [1] => Some(Digest::Sha256),
        [2] => Some(Digest::Sha384),
        [3] => Some(Digest::Sha512),
        _ => None,
    }
}

/// Key encryption key by ANSI X9.63's derivation over ECC-CMS-SharedInfo (RFC 5753 section 7.2).
fn derive<P: HasPublic>(
    own: &PKeyRef<Private>,
    peer: &PKeyRef<P>,
    digest: Digest,
    wrap: &[u8],
    material: Option<&[u8]>,
    len: usize,
) -> Result<Zeroizing<Vec<u8>>> {
    let mut deriver = Deriver::new(own).during(CONTEXT)?;
    deriver.set_peer(peer).during(CONTEXT)?;
    let secret = Zeroizing::new(deriver.derive_to_vec().during(CONTEXT)?);
    let material = material
        .map(|material| der::element(der::context(0), &[&der::octet_string(material)]))
        .unwrap_or_default();
    let bits = (len as u32 * 8).to_be_bytes();
    let info =
        der::sequence(&[wrap, &material, &der::element(der::context(2), &[&der::octet_string(&bits)])]);
    let mut derived = Zeroizing::new(Vec::new());
    for counter in 1u32.. {
        if derived.len() >= len {
            break;
        }
        let input = Zeroizing::new([&secret[..], &counter.to_be_bytes(), &info].concat());
        derived.extend_from_slice(&hash(digest.md(), &input).during(CONTEXT)?);
    }
    derived.truncate(len);
    Ok(derived)
}

/// KeyAgreeRecipientInfo for a recipient: a key of our own for this message, SHA-256, and AES key
/// wrap of the content key's strength.
pub(crate) fn recipient_info(recipient: &X509Ref, content_key: &[u8]) -> Result<Vec<u8>> {
    let public = recipient.public_key().during("read a recipient's key")?;
    let theirs = public.ec_key().during("read a recipient's key")?;
    let ours = EcKey::generate(theirs.group()).during(CONTEXT)?;
    let mut numbers = BigNumContext::new().during(CONTEXT)?;
    let point = ours
        .public_key()
        .to_bytes(theirs.group(), PointConversionForm::UNCOMPRESSED, &mut numbers)
        .during(CONTEXT)?;
    let ours = PKey::from_ec_key(ours).during(CONTEXT)?;
    let (arc, wrap_len) = match content_key.len() {
        16 => (0x05, 16),
        24 => (0x19, 24),
        _ => (0x2d, 32),
    };
    let wrap = der::sequence(&[&der::oid(&[AES, &[arc]].concat())]);
    let kek = derive(&ours, &public, Digest::Sha256, &wrap, None, wrap_len)?;
    let kek = AesKey::new_encrypt(&kek).map_err(|_| Error::unsupported("AES key wrap"))?;
    let mut wrapped = vec![0; content_key.len() + 8];
    wrap_key(&kek, None, &mut wrapped, content_key).map_err(|_| Error::unsupported("AES key wrap"))?;

    let originator = der::element(
        der::context(1),
        &[&der::sequence(&[&der::oid(oid::EC_PUBLIC_KEY)]), &der::element(der::BIT_STRING, &[&[0], &point])],
    );
    let scheme = [SHA2_KDF, &[1]].concat();
    let encrypted =
        der::sequence(&[&CertificateId::of(recipient)?.issuer_and_serial(), &der::octet_string(&wrapped)]);
    Ok(der::element(
        der::context(1),
        &[
            &der::integer(3),
            &der::element(der::context(0), &[&originator]),
            &der::sequence(&[&der::oid(&scheme), &wrap]),
            &der::sequence(&[&encrypted]),
        ],
    ))
}
