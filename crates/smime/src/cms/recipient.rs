//! Finding our recipient in an encrypted message and taking the content key out of it.
//!
//! Nothing here tells a peer why a key did not come out: a block that is not what it should be
//! gives a random key of the right length, and the failure shows only at the end of the content
//! (RFC 3218 section 2.3.2).

use std::hint::black_box;

use openssl::encrypt::Decrypter;
use openssl::pkey::{Id, PKey, PKeyRef, Private};
use openssl::rand::rand_bytes;
use openssl::rsa::Padding;
use openssl::x509::X509;
use zeroize::Zeroizing;

use super::certificate::{CertificateId, Named};
use crate::algorithm::{Digest, oid};
use crate::der::{self, Element};
use crate::error::{CryptoContext, Error, Result};

type ContentKey = Zeroizing<Vec<u8>>;

/// One of our private keys with the certificate by which partners name it.
#[derive(Clone)]
pub struct DecryptionKey {
    /// The RSA key.
    pub key: PKey<Private>,
    /// Its certificate.
    pub certificate: X509,
}

/// The content key of `key_len` bytes, from the first recipient that is one of `keys`.
pub(crate) fn content_key(infos: &[Vec<u8>], keys: &[DecryptionKey], key_len: usize) -> Result<ContentKey> {
    let ours =
        keys.iter().map(|key| Ok((CertificateId::of(&key.certificate)?, key))).collect::<Result<Vec<_>>>()?;
    let mut other_kinds = 0;
    for info in infos {
        let info = Element::parse(info)?;
        if info.tag != der::SEQUENCE {
            // Key agreement, shared keys, passwords.
            other_kinds += 1;
            continue;
        }
        let mut fields = info.children();
        fields.required("version")?;
        let named = Named::parse(&fields.required("recipient identifier")?)?;
        let algorithm = fields.required("keyEncryptionAlgorithm")?;
        let encrypted = fields.required("encryptedKey")?.octets()?;
        if let Some((_, key)) = ours.iter().find(|(id, _)| id.is_named(&named)) {
            return transported_key(&key.key, &algorithm, &encrypted, key_len);
        }
    }
    if other_kinds == infos.len() && other_kinds > 0 {
        return Err(Error::unsupported("recipients by other means than RSA key transport"));
    }
    Err(Error::NoRecipient { recipients: infos.len() })
}

fn transported_key(
    key: &PKeyRef<Private>,
    algorithm: &Element<'_>,
    encrypted: &[u8],
    key_len: usize,
) -> Result<ContentKey> {
    if key.id() != Id::RSA {
        return Err(Error::unsupported("key transport to a key that is not RSA"));
    }
    let mut random = Zeroizing::new(vec![0; key_len]);
    rand_bytes(&mut random).during("draw a key")?;
    let mut fields = algorithm.children();
    let kind = fields.required("algorithm")?.content;
    if kind == oid::RSA {
        Ok(pkcs1_key(key, encrypted, random))
    } else if kind == oid::RSA_OAEP {
        let oaep = Oaep::parse(fields.next()?)?;
        // OAEP is sound against chosen ciphertexts; the random key keeps the answer uniform.
        Ok(match oaep.decrypt(key, encrypted) {
            Ok(plain) if plain.len() == key_len => plain,
            _ => random,
        })
    } else {
        Err(Error::unsupported(format!("key transport algorithm {}", der::dotted(kind))))
    }
}

/// PKCS #1 v1.5 with the padding checked in constant time; the library's own check tells by an
/// error what it found.
fn pkcs1_key(key: &PKeyRef<Private>, encrypted: &[u8], random: ContentKey) -> ContentKey {
    let Ok(rsa) = key.rsa() else { return random };
    let size = rsa.size() as usize;
    let mut block = Zeroizing::new(vec![0; size]);
    // Leading zeros may have been lost, or added, by a sloppy encoder.
    let significant = &encrypted[encrypted.iter().take_while(|byte| **byte == 0).count()..];
    if significant.len() > size {
        return random;
    }
    let mut input = vec![0; size - significant.len()];
    input.extend_from_slice(significant);
    // Fails only for a number not below the modulus, which anyone can see.
    match rsa.private_decrypt(&input, &mut block, Padding::NONE) {
        Ok(len) if len == size => unpad(&block, random),
        _ => random,
    }
}

/// `00 02 nonzero… 00 key`: the key where all of it holds, else the random one; no branch tells.
fn unpad(block: &[u8], mut random: ContentKey) -> ContentKey {
    let Some(split) = block.len().checked_sub(random.len()).filter(|split| *split >= 11) else {
        return random;
    };
    let (padding, key) = block.split_at(split);
    let mut wrong = padding[0] | (padding[1] ^ 2) | padding[split - 1];
    for byte in &padding[2..split - 1] {
        wrong |= is_zero(*byte);
    }
    let keep = black_box(is_zero(black_box(wrong)).wrapping_neg());
    for (out, byte) in random.iter_mut().zip(key) {
        *out ^= keep & (*out ^ byte);
    }
    random
}

/// 1 for zero, 0 for anything else, without a branch.
fn is_zero(byte: u8) -> u8 {
    (u16::from(byte).wrapping_sub(1) >> 15) as u8
}

/// RSAES-OAEP-params (RFC 8017 appendix A.2.1).
struct Oaep {
    digest: Digest,
    mask_digest: Digest,
    label: Vec<u8>,
}

impl Oaep {
    fn parse(parameters: Option<Element<'_>>) -> Result<Oaep> {
        let mut oaep = Oaep { digest: Digest::Sha1, mask_digest: Digest::Sha1, label: Vec::new() };
        let Some(parameters) = parameters.filter(|element| element.tag == der::SEQUENCE) else {
            return Ok(oaep);
        };
        let mut fields = parameters.children();
        if let Some(hash) = fields.optional(der::context(0))? {
            oaep.digest = digest_of(&hash.children().required("hashAlgorithm")?)?;
        }
        if let Some(mask) = fields.optional(der::context(1))? {
            oaep.mask_digest = mask_digest_of(&mask.children().required("maskGenAlgorithm")?)?;
        }
        if let Some(source) = fields.optional(der::context(2))? {
            let mut source = source.children().required("pSourceAlgorithm")?.children();
            let kind = source.required("algorithm")?.content;
            if kind != oid::P_SPECIFIED {
                return Err(Error::unsupported(format!("OAEP label source {}", der::dotted(kind))));
            }
            oaep.label = source.required("label")?.octets()?.into_owned();
        }
        Ok(oaep)
    }

    fn decrypt(&self, key: &PKeyRef<Private>, encrypted: &[u8]) -> Result<ContentKey> {
        let context = "decrypt a content key";
        let mut decrypter = Decrypter::new(key).during(context)?;
        decrypter.set_rsa_padding(Padding::PKCS1_OAEP).during(context)?;
        decrypter.set_rsa_oaep_md(self.digest.md()).during(context)?;
        decrypter.set_rsa_mgf1_md(self.mask_digest.md()).during(context)?;
        if !self.label.is_empty() {
            decrypter.set_rsa_oaep_label(&self.label).during(context)?;
        }
        let room = decrypter.decrypt_len(encrypted).during(context)?;
        let mut plain = Zeroizing::new(vec![0; room]);
        let len = decrypter.decrypt(encrypted, &mut plain).during(context)?;
        plain.truncate(len);
        Ok(plain)
    }
}

/// The digest that an AlgorithmIdentifier names.
pub(crate) fn digest_of(algorithm: &Element<'_>) -> Result<Digest> {
    let kind = algorithm.children().required("algorithm")?.content;
    Digest::from_oid(kind)
        .ok_or_else(|| Error::unsupported(format!("digest algorithm {}", der::dotted(kind))))
}

/// The digest inside an MGF1 AlgorithmIdentifier.
pub(crate) fn mask_digest_of(algorithm: &Element<'_>) -> Result<Digest> {
    let mut fields = algorithm.children();
    let kind = fields.required("algorithm")?.content;
    if kind != oid::MGF1 {
        return Err(Error::unsupported(format!("mask generation {}", der::dotted(kind))));
    }
    fields.next()?.map_or(Ok(Digest::Sha1), |digest| digest_of(&digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_perfect_block_gives_its_key() {
        let random = || Zeroizing::new(vec![7; 16]);
        let mut block = vec![0, 2];
        block.extend([9; 109]);
        block.push(0);
        block.extend([1; 16]);
        assert_eq!(*unpad(&block, random()), [1; 16]);
        for (at, value) in [(0, 1), (1, 1), (2, 0), (60, 0), (110, 0), (111, 4)] {
            let mut bad = block.clone();
            bad[at] = value;
            assert_eq!(*unpad(&bad, random()), [7; 16], "{at}");
        }
        assert_eq!(*unpad(&block[..20], random()), [7; 16]);
    }
}
