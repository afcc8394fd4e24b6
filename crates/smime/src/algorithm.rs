//! Digest and content-encryption algorithms: their names, object identifiers and sizes.

use openssl::hash::MessageDigest;

use crate::cms::content_cipher;
use crate::der;
use crate::error::Result;

/// Object identifiers as the content bytes of their DER form.
pub(crate) mod oid {
    pub(crate) const DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
    pub(crate) const SIGNED_DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
    pub(crate) const ENVELOPED_DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03";
    /// id-ct-authEnvelopedData, RFC 5083.
    pub(crate) const AUTH_ENVELOPED_DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17";
    /// id-ct-compressedData, RFC 3274.
    pub(crate) const COMPRESSED_DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x09";
    pub(crate) const ZLIB: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x03\x08";

    pub(crate) const CONTENT_TYPE: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03";
    pub(crate) const MESSAGE_DIGEST: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04";
    pub(crate) const SIGNING_TIME: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x05";
    /// id-aa-signingCertificate, RFC 2634.
    pub(crate) const SIGNING_CERTIFICATE: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x02\x0c";
    /// id-aa-signingCertificateV2, RFC 5035.
    pub(crate) const SIGNING_CERTIFICATE_V2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x02\x2f";

    /// id-ct-TSTInfo, RFC 3161.
    pub(crate) const TST_INFO: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x04";
    pub(crate) const EXTENDED_KEY_USAGE: &[u8] = b"\x55\x1d\x25";
    /// id-kp-timeStamping.
    pub(crate) const TIME_STAMPING: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x03\x08";

    /// Every RSA identifier of PKCS #1 begins so.
    pub(crate) const PKCS1: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01";
    pub(crate) const RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
    pub(crate) const RSA_OAEP: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x07";
    pub(crate) const MGF1: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08";
    pub(crate) const P_SPECIFIED: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x09";
    pub(crate) const RSA_PSS: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a";
    /// id-Ed25519, RFC 8410.
    pub(crate) const ED25519: &[u8] = b"\x2b\x65\x70";
    /// rc2CBC, RFC 2268: the parameters say how long the effective key is.
    pub(crate) const RC2_CBC: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x03\x02";
    pub(crate) const EC_PUBLIC_KEY: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";
    pub(crate) const ECDSA_SHA1: &[u8] = b"\x2a\x86\x48\xce\x3d\x04\x01";
    pub(crate) const ECDSA_SHA2: &[u8] = b"\x2a\x86\x48\xce\x3d\x04\x03";
}

/// A message digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Digest {
    /// MD5: for partners that know nothing better.
    Md5,
    /// SHA-1: likewise.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256, the default.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Digest {
    const ALL: [Digest; 6] =
        [Digest::Md5, Digest::Sha1, Digest::Sha224, Digest::Sha256, Digest::Sha384, Digest::Sha512];

    /// The digest that a peer's name means, in any case and spelling: `sha1`, `SHA-1`,
    /// `sha2_256`, `rsa-md5`, `"sha-256"`.
    pub fn parse(name: &str) -> Option<Digest> {
        let mut plain: String =
            name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        if let Some(rest) = plain.strip_prefix("rsa") {
            plain = rest.to_owned();
        }
        Some(match plain.as_str() {
            "md5" => Digest::Md5,
            "sha" | "sha1" => Digest::Sha1,
            "sha224" | "sha2224" => Digest::Sha224,
            "sha256" | "sha2256" | "sha2" => Digest::Sha256,
            "sha384" | "sha2384" => Digest::Sha384,
            "sha512" | "sha2512" => Digest::Sha512,
            _ => return None,
        })
    }

    /// The name for `micalg` and for a MIC.
    pub fn name(self, style: NameStyle) -> &'static str {
        match (self, style) {
            (Digest::Md5, _) => "md5",
            (Digest::Sha1, NameStyle::Rfc5751) => "sha-1",
            (Digest::Sha1, NameStyle::Rfc3851) => "sha1",
            (Digest::Sha224, NameStyle::Rfc5751) => "sha-224",
            (Digest::Sha224, NameStyle::Rfc3851) => "sha224",
            (Digest::Sha256, NameStyle::Rfc5751) => "sha-256",
            (Digest::Sha256, NameStyle::Rfc3851) => "sha256",
            (Digest::Sha384, NameStyle::Rfc5751) => "sha-384",
            (Digest::Sha384, NameStyle::Rfc3851) => "sha384",
            (Digest::Sha512, NameStyle::Rfc5751) => "sha-512",
            (Digest::Sha512, NameStyle::Rfc3851) => "sha512",
        }
    }

    /// As OpenSSL names it.
    pub fn md(self) -> MessageDigest {
        match self {
            Digest::Md5 => MessageDigest::md5(),
            Digest::Sha1 => MessageDigest::sha1(),
            Digest::Sha224 => MessageDigest::sha224(),
            Digest::Sha256 => MessageDigest::sha256(),
            Digest::Sha384 => MessageDigest::sha384(),
            Digest::Sha512 => MessageDigest::sha512(),
        }
    }

    pub(crate) fn md_ref(self) -> &'static openssl::md::MdRef {
        use openssl::md::Md;
        match self {
            Digest::Md5 => Md::md5(),
            Digest::Sha1 => Md::sha1(),
            Digest::Sha224 => Md::sha224(),
            Digest::Sha256 => Md::sha256(),
            Digest::Sha384 => Md::sha384(),
            Digest::Sha512 => Md::sha512(),
        }
    }

    /// Length of the digest in bytes.
    pub fn len(self) -> usize {
        match self {
            Digest::Md5 => 16,
            Digest::Sha1 => 20,
            Digest::Sha224 => 28,
            Digest::Sha256 => 32,
            Digest::Sha384 => 48,
            Digest::Sha512 => 64,
        }
    }

    /// The digest of this length in bytes.
    pub(crate) fn of_len(len: usize) -> Option<Digest> {
        Digest::ALL.into_iter().find(|digest| digest.len() == len)
    }

    /// Never: every digest has a length.
    pub fn is_empty(self) -> bool {
        false
    }

    pub(crate) fn oid(self) -> &'static [u8] {
        match self {
            Digest::Md5 => b"\x2a\x86\x48\x86\xf7\x0d\x02\x05",
            Digest::Sha1 => b"\x2b\x0e\x03\x02\x1a",
            Digest::Sha256 => b"\x60\x86\x48\x01\x65\x03\x04\x02\x01",
            Digest::Sha384 => b"\x60\x86\x48\x01\x65\x03\x04\x02\x02",
            Digest::Sha512 => b"\x60\x86\x48\x01\x65\x03\x04\x02\x03",
            Digest::Sha224 => b"\x60\x86\x48\x01\x65\x03\x04\x02\x04",
        }
    }

    pub(crate) fn from_oid(oid: &[u8]) -> Option<Digest> {
        Digest::ALL.into_iter().find(|digest| digest.oid() == oid).or_else(|| {
            // Some products put the signature algorithm where the digest belongs.
            Digest::from_signature_oid(oid)
        })
    }

    /// The digest inside a combined signature algorithm such as sha256WithRSAEncryption.
    pub(crate) fn from_signature_oid(oid: &[u8]) -> Option<Digest> {
        if let Some([last]) = oid.strip_prefix(oid::PKCS1) {
            return Some(match last {
                4 => Digest::Md5,
                5 => Digest::Sha1,
                11 => Digest::Sha256,
                12 => Digest::Sha384,
                13 => Digest::Sha512,
                14 => Digest::Sha224,
                _ => return None,
            });
        }
        if oid == oid::ECDSA_SHA1 {
            return Some(Digest::Sha1);
        }
        match oid.strip_prefix(oid::ECDSA_SHA2) {
            Some([1]) => Some(Digest::Sha224),
            Some([2]) => Some(Digest::Sha256),
            Some([3]) => Some(Digest::Sha384),
            Some([4]) => Some(Digest::Sha512),
            _ => None,
        }
    }

    /// AlgorithmIdentifier without parameters, as RFC 5754 section 2 asks.
    pub(crate) fn identifier(self) -> Vec<u8> {
        der::sequence(&[&der::oid(self.oid())])
    }
}

/// How digest names are spelled on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NameStyle {
    /// `sha-256`: RFC 5751.
    #[default]
    Rfc5751,
    /// `sha256`: RFC 3851, for partners that know only these.
    Rfc3851,
}

/// A content-encryption algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Cipher {
    /// AES-128 in CBC mode.
    Aes128Cbc,
    /// AES-192 in CBC mode.
    Aes192Cbc,
    /// AES-256 in CBC mode: the default.
    #[default]
    Aes256Cbc,
    /// Triple DES in CBC mode: for partners that know nothing better.
    TripleDesCbc,
    /// AES-128 in GCM mode, sent as AuthEnvelopedData.
    Aes128Gcm,
    /// AES-192 in GCM mode, sent as AuthEnvelopedData.
    Aes192Gcm,
    /// AES-256 in GCM mode, sent as AuthEnvelopedData.
    Aes256Gcm,
    /// ChaCha20 with Poly1305, sent as AuthEnvelopedData (RFC 8103).
    ChaCha20Poly1305,
    /// RC2 in CBC mode with a key of 128 bits: for partners that know nothing better, and only where OpenSSL has its
    /// legacy provider ([`check_available`](Self::check_available)).
    Rc2Cbc128,
    /// The same with a key of 64 bits.
    Rc2Cbc64,
    /// The same with a key of 40 bits, which anybody can find by trying.
    Rc2Cbc40,
}

impl Cipher {
    pub(crate) const ALL: [Cipher; 11] = [
        Cipher::Aes128Cbc,
        Cipher::Aes192Cbc,
        Cipher::Aes256Cbc,
        Cipher::TripleDesCbc,
        Cipher::Aes128Gcm,
        Cipher::Aes192Gcm,
        Cipher::Aes256Gcm,
        Cipher::ChaCha20Poly1305,
        Cipher::Rc2Cbc128,
        Cipher::Rc2Cbc64,
        Cipher::Rc2Cbc40,
    ];

    /// The name that people and audit records use: `AES-256-CBC`.
    pub fn name(self) -> &'static str {
        match self {
            Cipher::Aes128Cbc => "AES-128-CBC",
            Cipher::Aes192Cbc => "AES-192-CBC",
            Cipher::Aes256Cbc => "AES-256-CBC",
            Cipher::TripleDesCbc => "DES-EDE3-CBC",
            Cipher::Aes128Gcm => "AES-128-GCM",
            Cipher::Aes192Gcm => "AES-192-GCM",
            Cipher::Aes256Gcm => "AES-256-GCM",
            Cipher::ChaCha20Poly1305 => "CHACHA20-POLY1305",
            Cipher::Rc2Cbc128 => "RC2-128-CBC",
            Cipher::Rc2Cbc64 => "RC2-64-CBC",
            Cipher::Rc2Cbc40 => "RC2-40-CBC",
        }
    }

    /// The cipher that a name means: `AES-256-CBC`, `aes256_cbc`, `3des`, `des-ede3-cbc`.
    pub fn parse(name: &str) -> Option<Cipher> {
        let plain: String =
            name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        Some(match plain.as_str() {
            "aes128cbc" | "aes128" => Cipher::Aes128Cbc,
            "aes192cbc" | "aes192" => Cipher::Aes192Cbc,
            "aes256cbc" | "aes256" => Cipher::Aes256Cbc,
            "3des" | "3descbc" | "tripledes" | "des3" | "desede3cbc" => Cipher::TripleDesCbc,
            "aes128gcm" => Cipher::Aes128Gcm,
            "aes192gcm" => Cipher::Aes192Gcm,
            "aes256gcm" => Cipher::Aes256Gcm,
            "chacha20poly1305" | "chacha20" => Cipher::ChaCha20Poly1305,
            "rc2" | "rc2cbc" | "rc2128" | "rc2128cbc" => Cipher::Rc2Cbc128,
            "rc264" | "rc264cbc" => Cipher::Rc2Cbc64,
            "rc240" | "rc240cbc" => Cipher::Rc2Cbc40,
            _ => return None,
        })
    }

    /// Whether the cipher authenticates what it encrypts.
    pub fn is_authenticated(self) -> bool {
        use Cipher::{Aes128Gcm, Aes192Gcm, Aes256Gcm, ChaCha20Poly1305};
        matches!(self, Aes128Gcm | Aes192Gcm | Aes256Gcm | ChaCha20Poly1305)
    }

    /// Whether OpenSSL on this machine has the cipher. Errors: [`Unsupported`](crate::Error::Unsupported), for RC2
    /// where the legacy provider is missing.
    pub fn check_available(self) -> Result<()> {
        content_cipher::implementation(self).map(drop)
    }

    /// Length of the key in bytes.
    pub fn key_len(self) -> usize {
        match self {
            Cipher::Aes128Cbc | Cipher::Aes128Gcm | Cipher::Rc2Cbc128 => 16,
            Cipher::Aes192Cbc | Cipher::Aes192Gcm | Cipher::TripleDesCbc => 24,
            Cipher::Aes256Cbc | Cipher::Aes256Gcm | Cipher::ChaCha20Poly1305 => 32,
            Cipher::Rc2Cbc64 => 8,
            Cipher::Rc2Cbc40 => 5,
        }
    }

    /// Length of the initialisation vector or nonce in bytes.
    pub fn iv_len(self) -> usize {
        if self.has_short_blocks() {
            8
        } else if self.is_authenticated() {
            12
        } else {
            16
        }
    }

    pub(crate) fn block_len(self) -> usize {
        if self.has_short_blocks() {
            8
        } else if self.is_authenticated() {
            1
        } else {
            16
        }
    }

    /// Blocks of 64 bits: after some gigabytes under one key they repeat.
    pub(crate) fn has_short_blocks(self) -> bool {
        use Cipher::{Rc2Cbc40, Rc2Cbc64, Rc2Cbc128, TripleDesCbc};
        matches!(self, TripleDesCbc | Rc2Cbc128 | Rc2Cbc64 | Rc2Cbc40)
    }

    pub(crate) fn oid(self) -> &'static [u8] {
        match self {
            Cipher::Aes128Cbc => b"\x60\x86\x48\x01\x65\x03\x04\x01\x02",
            Cipher::Aes192Cbc => b"\x60\x86\x48\x01\x65\x03\x04\x01\x16",
            Cipher::Aes256Cbc => b"\x60\x86\x48\x01\x65\x03\x04\x01\x2a",
            Cipher::TripleDesCbc => b"\x2a\x86\x48\x86\xf7\x0d\x03\x07",
            Cipher::Aes128Gcm => b"\x60\x86\x48\x01\x65\x03\x04\x01\x06",
            Cipher::Aes192Gcm => b"\x60\x86\x48\x01\x65\x03\x04\x01\x1a",
            Cipher::Aes256Gcm => b"\x60\x86\x48\x01\x65\x03\x04\x01\x2e",
            // id-alg-AEADChaCha20Poly1305.
            Cipher::ChaCha20Poly1305 => b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x03\x12",
            Cipher::Rc2Cbc128 | Cipher::Rc2Cbc64 | Cipher::Rc2Cbc40 => oid::RC2_CBC,
        }
    }

    /// RC2 has one identifier for all its key lengths: it is found as that of 128 bits.
    pub(crate) fn from_oid(oid: &[u8]) -> Option<Cipher> {
        Cipher::ALL.into_iter().find(|cipher| cipher.oid() == oid)
    }

    /// The cipher with this identifier whose keys are so many bytes long.
    pub(crate) fn with_key_len(oid: &[u8], key_len: usize) -> Option<Cipher> {
        Cipher::ALL.into_iter().find(|cipher| cipher.oid() == oid && cipher.key_len() == key_len)
    }

    /// Length of the ciphertext of `plain` bytes, without any tag; none when it overflows.
    pub(crate) fn encrypted_len(self, plain: u64) -> Option<u64> {
        if self.is_authenticated() {
            return Some(plain);
        }
        let block = self.block_len() as u64;
        (plain / block).checked_add(1)?.checked_mul(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_names_are_read_in_any_spelling() {
        for name in ["sha256", "SHA-256", "sha2_256", "Sha 256", "\"sha-256\"", "rsa-sha256"] {
            assert_eq!(Digest::parse(name), Some(Digest::Sha256), "{name}");
        }
        assert_eq!(Digest::parse("rsa-md5"), Some(Digest::Md5));
        assert_eq!(Digest::parse("sha"), Some(Digest::Sha1));
        assert_eq!(Digest::parse("whirlpool"), None);
        assert_eq!(Digest::Sha256.name(NameStyle::Rfc3851), "sha256");
    }

    #[test]
    fn padded_length_always_adds_a_block() {
        assert_eq!(Cipher::Aes256Cbc.encrypted_len(0), Some(16));
        assert_eq!(Cipher::Aes256Cbc.encrypted_len(15), Some(16));
        assert_eq!(Cipher::Aes256Cbc.encrypted_len(16), Some(32));
        assert_eq!(Cipher::TripleDesCbc.encrypted_len(8), Some(16));
        assert_eq!(Cipher::Aes128Gcm.encrypted_len(17), Some(17));
        assert_eq!(Cipher::Aes256Cbc.encrypted_len(u64::MAX), None);
    }
}
