//! Finding our recipient in an encrypted message and taking the content key out of it.
//!
//! Nothing here tells a peer why a key did not come out: a block that is not what it should be
//! gives a random key of the right length, and the failure shows only at the end of the content
//! (RFC 3218 section 2.3.2). Where several keys may be right, the plaintext decides and never the block: see
//! [`super::open`].

use std::hint::black_box;

use openssl::encrypt::Decrypter;
use openssl::pkey::{Id, PKey, PKeyRef, Private};
use openssl::rand::rand_bytes;
use openssl::rsa::Padding;
use openssl::x509::X509;
use zeroize::Zeroizing;

use super::agreement::Agreement;
use super::certificate::{CertificateId, Named};
use crate::algorithm::{Digest, oid};
use crate::der::{self, Element};
use crate::error::{CryptoContext, Error, Result};

type ContentKey = Zeroizing<Vec<u8>>;

/// Limit of the operations with private keys for one message, so that a message cannot keep the gateway busy.
const MOST_CANDIDATES: usize = 32;
/// Limit of the recipients that an error names.
const MOST_NAMES: usize = 10;

/// One of our private keys with the certificate by which partners name it.
#[derive(Clone)]
pub struct DecryptionKey {
    /// The key: RSA or EC.
    pub key: PKey<Private>,
    /// Its certificate.
    pub certificate: X509,
}

/// A content key that may be the right one.
pub(crate) struct Candidate {
    /// The place of the key of ours that gave it.
    pub(crate) key: usize,
    pub(crate) content_key: ContentKey,
}

/// The content keys that our private keys give.
pub(crate) struct ContentKeys {
    /// One at least; several if the names in the message do not say which one is right.
    pub(crate) candidates: Vec<Candidate>,
    /// The recipients that the message names, if none of them is ours.
    pub(crate) others: Option<Vec<String>>,
}

/// Content keys of `key_len` bytes: from the first recipient that is one of `keys`. If there is none, from every
/// recipient by every key, because partners go on with a certificate that was renewed under the same key.
pub(crate) fn content_keys(infos: &[Vec<u8>], keys: &[DecryptionKey], key_len: usize) -> Result<ContentKeys> {
    let ids = keys.iter().map(|key| CertificateId::of(&key.certificate)).collect::<Result<Vec<_>>>()?;
    let recipients: Vec<Result<Recipient>> = infos.iter().map(|info| Recipient::parse(info)).collect();
    // What cannot be read of one recipient matters only when none of the others is ours.
    let mut fault = None;
    for recipient in recipients.iter().flatten() {
        match recipient.open(keys, key_len, MOST_CANDIDATES, &|place, named| ids[place].is_named(named)) {
            Ok(candidates) if candidates.is_empty() => {}
            Ok(candidates) => return Ok(ContentKeys { candidates, others: None }),
            Err(error) => fault = Some(error),
        }
    }
    let mut candidates = Vec::new();
    for recipient in recipients.iter().flatten() {
        let room = MOST_CANDIDATES.saturating_sub(candidates.len());
        if room == 0 {
            break;
        }
        // A key that does not fit this recipient says nothing about the next.
        let opened = recipient.open(keys, key_len, room, &|place, _| recipient.fits(&keys[place].key));
        candidates.extend(opened.into_iter().flatten());
    }
    let others = recipient_names(&recipients);
    if candidates.is_empty() {
        let unreadable = recipients.into_iter().find_map(Result::err);
        return Err(fault.or(unreadable).unwrap_or(Error::NoRecipient { recipients: others }));
    }
    Ok(ContentKeys { candidates, others: Some(others) })
}

/// The recipients for an operator.
fn recipient_names(recipients: &[Result<Recipient>]) -> Vec<String> {
    let (mut names, mut more) = (Vec::new(), 0);
    let mut add = |name: &dyn Fn() -> String| {
        if names.len() < MOST_NAMES { names.push(name()) } else { more += 1 }
    };
    for recipient in recipients {
        match recipient {
            Ok(Recipient::Transport { named, .. }) => add(&|| named.describe()),
            Ok(Recipient::Agreement(agreement)) => {
                agreement.keys.iter().for_each(|(named, _)| add(&|| named.describe()));
            }
            Ok(Recipient::Other) => add(&|| "a shared key or a password".to_owned()),
            Err(error) => add(&|| format!("a recipient that cannot be read ({error})")),
        }
    }
    if more > 0 {
        names.push(format!("{more} more"));
    }
    names
}

/// A RecipientInfo with what is needed of it.
enum Recipient {
    Transport {
        named: Named,
        /// The key transport's AlgorithmIdentifier.
        algorithm: Vec<u8>,
        encrypted: Vec<u8>,
    },
    Agreement(Agreement),
    /// A shared key or a password: for nobody here.
    Other,
}

impl Recipient {
    fn parse(info: &[u8]) -> Result<Recipient> {
        let info = Element::parse(info)?;
        if info.tag == der::context(1) {
            return Agreement::parse(&info).map(Recipient::Agreement);
        }
        if info.tag != der::SEQUENCE {
            return Ok(Recipient::Other);
        }
        let mut fields = info.children();
        fields.required("version")?;
        let named = Named::parse(&fields.required("recipient identifier")?)?;
        let algorithm = fields.required("keyEncryptionAlgorithm")?.raw.to_vec();
        let encrypted = fields.required("encryptedKey")?.octets()?.into_owned();
        Ok(Recipient::Transport { named, algorithm, encrypted })
    }

    /// Whether a key could be the one for which this is encrypted, by its kind and size.
    fn fits(&self, key: &PKeyRef<Private>) -> bool {
        match self {
            // Leading zeros may have been lost, or added, by a sloppy encoder.
            Recipient::Transport { encrypted, .. } => {
                key.id() == Id::RSA && encrypted.len().abs_diff(key.size()) <= 8
            }
            Recipient::Agreement(_) => key.id() == Id::EC,
            Recipient::Other => false,
        }
    }

    /// The content keys by those of our keys that are `wanted`, at most `most` of them.
    fn open(
        &self,
        keys: &[DecryptionKey],
        key_len: usize,
        most: usize,
        wanted: &dyn Fn(usize, &Named) -> bool,
    ) -> Result<Vec<Candidate>> {
        let mut candidates = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            let room = most.saturating_sub(candidates.len());
            if room == 0 {
                break;
            }
            let mut add = |content_key| candidates.push(Candidate { key: place, content_key });
            match self {
                Recipient::Transport { named, algorithm, encrypted } if wanted(place, named) => {
                    add(transported_key(&key.key, &Element::parse(algorithm)?, encrypted, key_len)?);
                }
                Recipient::Agreement(agreement) => {
                    let wrapped = agreement.keys.iter().filter(|(named, _)| wanted(place, named));
                    for (_, wrapped) in wrapped.take(room) {
                        add(agreed_key(&key.key, agreement, wrapped, key_len)?);
                    }
                }
                Recipient::Transport { .. } | Recipient::Other => {}
            }
        }
        Ok(candidates)
    }
}

fn agreed_key(
    key: &PKeyRef<Private>,
    agreement: &Agreement,
    wrapped: &[u8],
    key_len: usize,
) -> Result<ContentKey> {
    if key.id() != Id::EC {
        return Err(Error::unsupported("key agreement with a key that is not EC"));
    }
    let random = random_key(key_len)?;
    Ok(match agreement.open(key, wrapped) {
        Ok(plain) if plain.len() == key_len => plain,
        _ => random,
    })
}

fn random_key(key_len: usize) -> Result<ContentKey> {
    let mut random = Zeroizing::new(vec![0; key_len]);
    rand_bytes(&mut random).during("draw a key")?;
    Ok(random)
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
    let random = random_key(key_len)?;
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
