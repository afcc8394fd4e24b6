//! Ciphers of the content.

use pgp::crypto::sym::SymmetricKeyAlgorithm;
use smime::{Digest, Weakness};

/// A cipher that messages are encrypted with, in OpenPGP's own mode (CFB with a modification detection code).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    /// AES with a key of 128 bits.
    Aes128,
    /// AES with a key of 192 bits.
    Aes192,
    /// AES with a key of 256 bits.
    Aes256,
    /// Triple DES; legacy.
    TripleDes,
}

impl Cipher {
    pub(crate) fn algorithm(self) -> SymmetricKeyAlgorithm {
        match self {
            Cipher::Aes128 => SymmetricKeyAlgorithm::AES128,
            Cipher::Aes192 => SymmetricKeyAlgorithm::AES192,
            Cipher::Aes256 => SymmetricKeyAlgorithm::AES256,
            Cipher::TripleDes => SymmetricKeyAlgorithm::TripleDES,
        }
    }

    /// Its name, such as `pgp-aes256`.
    #[must_use]
    pub fn name(self) -> &'static str {
        name(self.algorithm())
    }

    /// What makes it too weak for today.
    #[must_use]
    pub fn weakness(self) -> Option<Weakness> {
        weakness(self.algorithm())
    }
}

pub(crate) fn name(algorithm: SymmetricKeyAlgorithm) -> &'static str {
    match algorithm {
        SymmetricKeyAlgorithm::IDEA => "pgp-idea",
        SymmetricKeyAlgorithm::TripleDES => "pgp-3des",
        SymmetricKeyAlgorithm::CAST5 => "pgp-cast5",
        SymmetricKeyAlgorithm::Blowfish => "pgp-blowfish",
        SymmetricKeyAlgorithm::AES128 => "pgp-aes128",
        SymmetricKeyAlgorithm::AES192 => "pgp-aes192",
        SymmetricKeyAlgorithm::AES256 => "pgp-aes256",
        SymmetricKeyAlgorithm::Twofish => "pgp-twofish",
        SymmetricKeyAlgorithm::Camellia128 => "pgp-camellia128",
        SymmetricKeyAlgorithm::Camellia192 => "pgp-camellia192",
        SymmetricKeyAlgorithm::Camellia256 => "pgp-camellia256",
        _ => "pgp-unknown",
    }
}

/// Blocks of 64 bits: after some gigabytes under one key, blocks repeat and tell of the content.
pub(crate) fn weakness(algorithm: SymmetricKeyAlgorithm) -> Option<Weakness> {
    match algorithm {
        SymmetricKeyAlgorithm::IDEA => Some(Weakness::Named("IDEA")),
        SymmetricKeyAlgorithm::TripleDES => Some(Weakness::Named("triple DES")),
        SymmetricKeyAlgorithm::CAST5 => Some(Weakness::Named("CAST5")),
        SymmetricKeyAlgorithm::Blowfish => Some(Weakness::Named("Blowfish")),
        _ => None,
    }
}

/// The parameter `micalg` of a signature by a digest (RFC 3156 section 5).
pub(crate) fn micalg(digest: Digest) -> &'static str {
    match digest {
        Digest::Md5 => "pgp-md5",
        Digest::Sha1 => "pgp-sha1",
        Digest::Sha224 => "pgp-sha224",
        Digest::Sha256 => "pgp-sha256",
        Digest::Sha384 => "pgp-sha384",
        Digest::Sha512 => "pgp-sha512",
    }
}

/// The digest that a `micalg` announces.
pub(crate) fn announced(micalg: &str) -> Option<Digest> {
    let name = micalg.trim().to_ascii_lowercase();
    Digest::parse(name.strip_prefix("pgp-").unwrap_or(&name))
}
