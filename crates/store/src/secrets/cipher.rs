//! Encrypting secrets: AES-256-GCM (NIST SP 800-38D) with random nonces, by the master key.

use super::{EncryptedSecret, KeyCheck, missing_key};
use model::{Error, ErrorKind, Result, Secret, canonical_json};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use serde_json::json;
use uuid::Uuid;

/// Bytes of a nonce. At random, a key serves for 2³² encryptions (SP 800-38D, 8.3).
const NONCE: usize = 12;
/// Bytes of a tag.
const TAG: usize = 16;

/// A master key.
#[derive(Clone, Debug)]
pub struct MasterKey {
    /// Names the key in what it has encrypted.
    pub id: String,
    /// 32 bytes.
    pub key: Secret<Vec<u8>>,
}

/// The master keys of a host. The first encrypts; all decrypt.
#[derive(Clone, Debug, Default)]
pub struct MasterKeys(Vec<MasterKey>);

impl MasterKeys {
    /// Bytes of a key.
    pub const LENGTH: usize = 32;

    /// Keys of [`Self::LENGTH`] bytes, the newest first.
    #[must_use]
    pub const fn new(keys: Vec<MasterKey>) -> Self {
        Self(keys)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ids, the newest first.
    #[must_use]
    pub fn ids(&self) -> Vec<&str> {
        self.0.iter().map(|key| key.id.as_str()).collect()
    }

    /// The id of the key that encrypts.
    #[must_use]
    pub fn newest(&self) -> Option<&str> {
        self.0.first().map(|key| key.id.as_str())
    }

    /// The same keys, of which the first that is in use encrypts; the newest while none is.
    #[must_use]
    pub fn by_use(&self, in_use: &[String]) -> Self {
        let mut keys = self.0.clone();
        if let Some(at) = keys.iter().position(|key| in_use.contains(&key.id)) {
            let key = keys.remove(at);
            keys.insert(0, key);
        }
        Self(keys)
    }

    fn key(&self, id: &str) -> Option<&MasterKey> {
        self.0.iter().find(|key| key.id == id)
    }

    /// What is stored of a key; `None` when it is not among these.
    #[must_use]
    pub fn check(&self, id: &str) -> Option<KeyCheck> {
        let check_value = check_value(self.key(id)?).ok()?;
        Some(KeyCheck { key_id: id.to_owned(), check_value })
    }

    /// Encrypts a secret with the newest key.
    ///
    /// # Errors
    /// There is no key.
    pub fn encrypt(&self, id: Uuid, place: (&str, &str, &str), plaintext: &str) -> Result<EncryptedSecret> {
        let key = self.0.first().ok_or_else(|| {
            Error::permanent(ErrorKind::ConfigInvalid, "encrypt a secret")
                .advice("set secrets.master_key in waybill.toml; `waybill key generate` creates one")
        })?;
        let (section, name, field) = place;
        let mut secret = EncryptedSecret {
            id,
            section: section.to_owned(),
            name: name.to_owned(),
            field: field.to_owned(),
            key_id: key.id.clone(),
            ciphertext: Vec::new(),
        };
        let failed = |error: openssl::error::ErrorStack| {
            Error::permanent(ErrorKind::Internal, "encrypt a secret").caused_by(error)
        };
        let (mut nonce, mut tag) = ([0; NONCE], [0; TAG]);
        openssl::rand::rand_bytes(&mut nonce).map_err(failed)?;
        let cipher = Cipher::aes_256_gcm();
        let aad = associated(&secret);
        let encrypted = encrypt_aead(
            cipher,
            key.key.reveal(),
            Some(&nonce),
            aad.as_bytes(),
            plaintext.as_bytes(),
            &mut tag,
        );
        secret.ciphertext = [nonce.as_slice(), &encrypted.map_err(failed)?, &tag].concat();
        Ok(secret)
    }

    /// Decrypts a secret.
    ///
    /// # Errors
    /// `ConfigInvalid` when its key is not among these; `IntegrityFailed` when it was altered, moved to another
    /// place, or encrypted with another key of the same id.
    pub fn decrypt(&self, secret: &EncryptedSecret) -> Result<Secret<String>> {
        let key = self.key(&secret.key_id).ok_or_else(|| missing_key(&secret.key_id, &self.ids()))?;
        let failed = || {
            Error::permanent(ErrorKind::IntegrityFailed, "decrypt a secret")
                .with("field", format_args!("{}.{}.{}", secret.section, secret.name, secret.field))
                .with("key", &secret.key_id)
                .advice("the master key with this id is not the one that encrypted the secret, or the database was altered")
        };
        let body = secret.ciphertext.len().checked_sub(NONCE + TAG).ok_or_else(failed)?;
        let (nonce, rest) = secret.ciphertext.split_at(NONCE);
        let (encrypted, tag) = rest.split_at(body);
        let aad = associated(secret);
        let plain = decrypt_aead(
            Cipher::aes_256_gcm(),
            key.key.reveal(),
            Some(nonce),
            aad.as_bytes(),
            encrypted,
            tag,
        );
        let plain = Secret::new(plain.map_err(|error| failed().caused_by(error))?);
        let text = std::str::from_utf8(plain.reveal()).map_err(|_| failed())?;
        Ok(Secret::new(text.to_owned()))
    }
}

/// What is authenticated with a secret: where it stands, and the key.
fn associated(secret: &EncryptedSecret) -> String {
    canonical_json(&json!({
        "purpose": "waybill definition secret",
        "id": secret.id,
        "section": secret.section,
        "name": secret.name,
        "field": secret.field,
        "key": secret.key_id,
    }))
}

/// Tells a key from others of its id, and nothing else of it.
fn check_value(key: &MasterKey) -> std::result::Result<Vec<u8>, openssl::error::ErrorStack> {
    let hmac = PKey::hmac(key.key.reveal())?;
    let mut signer = Signer::new(MessageDigest::sha256(), &hmac)?;
    signer.update(b"waybill master key check:")?;
    signer.update(key.id.as_bytes())?;
    signer.sign_to_vec()
}
