//! Trading partners and our own side.

use crate::connection::words;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An AS2 name: 1 to 128 printable ASCII characters, compared exactly (RFC 4130, 6.2).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct As2Id(String);

impl As2Id {
    /// The name without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for As2Id {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let printable = text.bytes().all(|b| (0x20..0x7f).contains(&b));
        if (1..=128).contains(&text.len()) && printable {
            Ok(Self(text))
        } else {
            Err(format!("AS2 name {text:?}: use 1 to 128 printable ASCII characters (RFC 4130, 6.2)"))
        }
    }
}

impl From<As2Id> for String {
    fn from(id: As2Id) -> Self {
        id.0
    }
}

impl fmt::Display for As2Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Our own side of a partnership.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Our AS2 name.
    pub as2_id: As2Id,
    /// The name of the key that signs and decrypts.
    pub key: String,
}

/// A trading partner.
#[derive(Clone, Debug)]
pub struct Partner {
    /// Its name.
    pub name: String,
    /// Its AS2 name.
    pub as2_id: As2Id,
    /// The names of its certificates: the first encrypts, any verifies.
    pub certificates: Vec<String>,
    /// What was agreed with it.
    pub agreement: Agreement,
}

/// What was agreed with a partner.
#[derive(Clone, Debug)]
pub struct Agreement {
    /// How messages to it are protected.
    pub send_security: SendSecurity,
    /// The cipher of messages to it.
    pub cipher: Cipher,
    /// The digest of signatures to it.
    pub digest: DigestName,
    /// The receipt asked for.
    pub mdn: MdnRequest,
    /// Least protection of messages from it; less is answered `insufficient-message-security`.
    pub receive_security: SendSecurity,
    /// How a repeated Message-ID is answered.
    pub duplicates: DuplicatePolicy,
    /// Whether its certificates are used after they expired. One that is not valid yet never is.
    pub accept_expired: bool,
    /// Whether MD5, SHA-1 and keys under 2,048 bits are used with it. Each use is an event.
    pub legacy: bool,
    /// Largest message taken from it, in bytes.
    pub largest_message: u64,
}

words! {
    /// Which protections a message carries.
    SendSecurity {
        /// Signed and encrypted.
        SignedEncrypted = "signed_encrypted",
        /// Signed only.
        Signed = "signed",
        /// Encrypted only.
        Encrypted = "encrypted",
        /// Neither.
        None = "none",
    }
}

impl SendSecurity {
    /// Whether it includes a signature.
    #[must_use]
    pub const fn signs(self) -> bool {
        matches!(self, Self::SignedEncrypted | Self::Signed)
    }

    /// Whether it includes encryption.
    #[must_use]
    pub const fn encrypts(self) -> bool {
        matches!(self, Self::SignedEncrypted | Self::Encrypted)
    }
}

words! {
    /// Content encryption.
    Cipher {
        /// AES-128 in CBC mode.
        Aes128Cbc = "aes128-cbc",
        /// AES-192 in CBC mode.
        Aes192Cbc = "aes192-cbc",
        /// AES-256 in CBC mode.
        Aes256Cbc = "aes256-cbc",
        /// Triple DES; legacy.
        TripleDes = "3des",
    }
}

words! {
    /// Digest of signatures and MICs.
    DigestName {
        /// SHA-1; legacy.
        Sha1 = "sha1",
        /// SHA-256.
        Sha256 = "sha256",
        /// SHA-384.
        Sha384 = "sha384",
        /// SHA-512.
        Sha512 = "sha512",
    }
}

words! {
    /// The receipt a message asks for, synchronous.
    MdnRequest {
        /// None.
        None = "none",
        /// Unsigned.
        Unsigned = "unsigned",
        /// Signed.
        Signed = "signed",
    }
}

words! {
    /// The answer to a Message-ID that was answered before.
    DuplicatePolicy {
        /// The stored reply again.
        Repeat = "repeat",
        /// `processed/warning: duplicate-document`.
        Warn = "warn",
    }
}

impl Default for Agreement {
    fn default() -> Self {
        Self {
            send_security: SendSecurity::SignedEncrypted,
            cipher: Cipher::Aes256Cbc,
            digest: DigestName::Sha256,
            mdn: MdnRequest::Signed,
            receive_security: SendSecurity::SignedEncrypted,
            duplicates: DuplicatePolicy::Repeat,
            accept_expired: false,
            legacy: false,
            largest_message: 64 << 30,
        }
    }
}
