//! Keys, ours and those of partners, from their armoured text.

use std::fmt;
use std::time::SystemTime;

use pgp::composed::{ArmorOptions, Deserializable as _, SignedPublicKey, SignedSecretKey};
use pgp::types::{KeyDetails as _, KeyVersion, Password};
use smime::{Error, Result, Weakness};

use crate::component::{Component, Description, Validity};
use crate::error::{OpenPgpContext as _, malformed};

const OWN: &str = "OpenPGP private key";
const PARTNER: &str = "OpenPGP public key";

/// Whether a text is an OpenPGP key in armour.
#[must_use]
pub fn is_armoured(text: &str) -> bool {
    text.contains("-----BEGIN PGP PRIVATE KEY BLOCK-----")
        || text.contains("-----BEGIN PGP PUBLIC KEY BLOCK-----")
}

/// A private key of ours, unlocked.
#[derive(Clone)]
pub struct OwnKey {
    pub(crate) key: SignedSecretKey,
    public: PartnerKey,
}

/// Its secret parts are never shown.
impl fmt::Debug for OwnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnKey({})", self.fingerprint())
    }
}

impl OwnKey {
    /// Reads a private key (`gpg --export-secret-keys --armor`), and unlocks it. Errors: it is none, its passphrase is wrong
    /// or missing, or it holds no secret (a key on a card).
    pub fn read(armoured: &str, passphrase: Option<&str>) -> Result<OwnKey> {
        let (mut key, _) = SignedSecretKey::from_string(armoured).within(OWN)?;
        let passphrase = passphrase.map_or_else(Password::empty, Password::from);
        let locked = |_| {
            malformed(OWN, "it cannot be unlocked: the passphrase is wrong or missing, or it holds no secret")
        };
        let mut unlocked = key.primary_key.remove_password(&passphrase).map_err(locked);
        for subkey in &mut key.secret_subkeys {
            let result = subkey.key.remove_password(&passphrase).map_err(locked);
            // The primary key is often kept elsewhere; its subkeys do the work.
            unlocked = unlocked.or(result);
        }
        unlocked?;
        let public = PartnerKey::of(key.to_public_key());
        Ok(OwnKey { key, public })
    }

    /// Its public half, which partners have.
    #[must_use]
    pub const fn public(&self) -> &PartnerKey {
        &self.public
    }

    /// The fingerprint of its primary key, in hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.public.fingerprint()
    }

    /// Whether one of its components signs at a time.
    #[must_use]
    pub fn can_sign(&self, at: SystemTime) -> bool {
        self.public.description.signing(at).is_some()
    }

    /// Whether others can encrypt for it at a time.
    #[must_use]
    pub fn can_decrypt(&self, at: SystemTime) -> bool {
        self.public.can_encrypt(at)
    }

    /// What makes its signatures too weak for today.
    #[must_use]
    pub fn weakness(&self, at: SystemTime) -> Option<Weakness> {
        self.public.description.signing(at)?.weakness
    }

    pub(crate) fn signing(&self, at: SystemTime) -> Result<&Component> {
        let unfit =
            || Error::Unsupported("signing with an OpenPGP key that has no valid component for it".into());
        self.public.description.signing(at).ok_or_else(unfit)
    }
}

/// A public key of a partner.
#[derive(Debug, Clone)]
pub struct PartnerKey {
    pub(crate) key: SignedPublicKey,
    pub(crate) description: Description,
}

impl PartnerKey {
    /// Reads a public key (`gpg --export --armor`). Errors: it is none.
    pub fn read(armoured: &str) -> Result<PartnerKey> {
        let (key, _) = SignedPublicKey::from_string(armoured).within(PARTNER)?;
        Ok(PartnerKey::of(key))
    }

    /// Reads all public keys of an armour, as `gpg --export --armor` writes them of several users. Errors: one of them is none.
    pub fn read_all(armoured: &str) -> Result<Vec<PartnerKey>> {
        let (keys, _) = SignedPublicKey::from_string_many(armoured).within(PARTNER)?;
        keys.map(|key| Ok(PartnerKey::of(key.within(PARTNER)?))).collect()
    }

    /// The public half of a private key, which need not be unlocked for that. Errors: it is none.
    pub fn of_private(armoured: &str) -> Result<PartnerKey> {
        let (key, _) = SignedSecretKey::from_string(armoured).within(OWN)?;
        Ok(PartnerKey::of(key.to_public_key()))
    }

    fn of(key: SignedPublicKey) -> PartnerKey {
        let description = Description::of(&key);
        PartnerKey { key, description }
    }

    /// The key in armour, as partners take it. Errors: it cannot be written.
    pub fn to_armoured(&self) -> Result<String> {
        self.key.to_armored_string(ArmorOptions::default()).within(PARTNER)
    }

    /// The algorithm of its primary key, such as `RSA`.
    #[must_use]
    pub fn algorithm(&self) -> String {
        format!("{:?}", self.key.primary_key.algorithm())
    }

    /// The fingerprint of its primary key, in hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hexadecimal(self.key.primary_key.fingerprint().as_bytes())
    }

    /// The time in which it serves all its purposes: until its primary key expires, or the last component for one of them.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.description.service()
    }

    /// Its user, as it says.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.description.user
    }

    /// Whether it is of version 6 (RFC 9580): its signatures hash a salt before the content. In a `multipart/signed` they stand
    /// behind the content, so that who reads that as a stream cannot verify them, and GnuPG knows none.
    #[must_use]
    pub fn is_version_6(&self) -> bool {
        self.key.primary_key.version() == KeyVersion::V6
    }

    /// Whether it is revoked.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.description.is_revoked
    }

    /// Whether messages can be encrypted for it at a time.
    #[must_use]
    pub fn can_encrypt(&self, at: SystemTime) -> bool {
        self.description.encrypting(at).is_some()
    }

    /// The time in which its owner signs with the one of its keys that has this fingerprint, in hexadecimal
    /// ([`Proof::component`](crate::Proof)); `None` where there is none, or it is revoked.
    #[must_use]
    pub fn signing_validity(&self, component: &str) -> Option<Validity> {
        let is = |one: &&Component| one.signs && hexadecimal(one.fingerprint.as_bytes()) == component;
        self.description.components.iter().find(is).map(|one| one.validity)
    }

    /// Whether it has components that verify signatures.
    #[must_use]
    pub fn can_verify(&self) -> bool {
        self.description.components.iter().any(|component| component.signs)
    }

    /// What makes encryption for it too weak for today.
    #[must_use]
    pub fn weakness(&self, at: SystemTime) -> Option<Weakness> {
        self.description.encrypting(at)?.weakness
    }
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
