//! The words of an agreement, as definitions and notes have them.

use model::words;

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

impl MdnRequest {
    /// The one of both that asks for less.
    #[must_use]
    pub const fn weaker(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, _) | (_, Self::None) => Self::None,
            (Self::Unsigned, _) | (_, Self::Unsigned) => Self::Unsigned,
            (Self::Signed, Self::Signed) => Self::Signed,
        }
    }

    /// The same, and an unsigned one rather than none.
    #[must_use]
    pub const fn or_unsigned(self) -> Self {
        match self {
            Self::None => Self::Unsigned,
            asked => asked,
        }
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
    /// By which standard messages are signed and encrypted.
    Packaging {
        /// S/MIME (RFC 8551).
        Smime = "smime",
        /// PGP/MIME (RFC 3156).
        Pgp = "pgp",
    }
}

words! {
    /// The cipher.
    Cipher {
        /// AES-128 in CBC mode.
        Aes128Cbc = "aes128-cbc",
        /// AES-192 in CBC mode.
        Aes192Cbc = "aes192-cbc",
        /// AES-256 in CBC mode.
        Aes256Cbc = "aes256-cbc",
        /// AES-128 in GCM mode.
        Aes128Gcm = "aes128-gcm",
        /// AES-192 in GCM mode.
        Aes192Gcm = "aes192-gcm",
        /// AES-256 in GCM mode.
        Aes256Gcm = "aes256-gcm",
        /// Triple DES; legacy.
        TripleDes = "3des",
    }
}

words! {
    /// Digest of signatures and MICs.
    DigestName {
        /// MD5; legacy.
        Md5 = "md5",
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
    /// Whether messages are compressed (RFC 5402, by zlib), and when.
    Compression {
        /// Never.
        No = "no",
        /// The payload, before it is signed.
        BeforeSigning = "before_signing",
        /// The signed message.
        AfterSigning = "after_signing",
    }
}

words! {
    /// What is done first to messages that are both signed and encrypted.
    Order {
        /// They are signed, and then encrypted.
        SignThenEncrypt = "sign_then_encrypt",
        /// They are encrypted, and then signed.
        EncryptThenSign = "encrypt_then_sign",
    }
}

words! {
    /// Where a message's signature is.
    SignatureForm {
        /// Beside the content (`multipart/signed`).
        Detached = "detached",
        /// Around the content (`application/pkcs7-mime; smime-type=signed-data`).
        Opaque = "opaque",
    }
}

words! {
    /// How RSA keys sign; EC keys sign by ECDSA, Ed25519 keys by EdDSA.
    RsaSignature {
        /// PKCS #1 v1.5: the same bytes each time.
        Pkcs1 = "pkcs1",
        /// PSS (RFC 4056): other bytes each time.
        Pss = "pss",
    }
}

words! {
    /// How the content key is encrypted for RSA keys. EC keys agree on one (RFC 5753).
    KeyTransport {
        /// PKCS #1 v1.5.
        Pkcs1 = "pkcs1",
        /// OAEP with SHA-1, the default of RFC 8017.
        OaepSha1 = "oaep-sha1",
        /// OAEP with SHA-256.
        OaepSha256 = "oaep-sha256",
        /// OAEP with SHA-384.
        OaepSha384 = "oaep-sha384",
        /// OAEP with SHA-512.
        OaepSha512 = "oaep-sha512",
    }
}

words! {
    /// The receipt a message asks for.
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
        /// `processed/error: duplicate-document`.
        Error = "error",
    }
}

words! {
    /// Whether a message that the partner could not decrypt or verify is sent with another certificate or key.
    Fallback {
        /// No.
        No = "no",
        /// Once, as a new message.
        Once = "once",
    }
}
