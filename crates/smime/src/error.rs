//! What can go wrong, in kinds that let a caller choose its answer to the peer.
//!
//! Stream adapters speak `std::io::Error`; an [`Error`] travels inside one and comes out again
//! through [`From`], so that a fault deep in a chain of readers keeps its kind.

use std::fmt;
use std::io;

use crate::algorithm::Digest;
use crate::cms::verify::Weakness;
use crate::mic::SignedDigest;

/// The result of anything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A fault in a message, in its proof, or in the stream that carries it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The message could not be decrypted. One text for a wrong key, a bad RSA block, bad
    /// padding, a wrong tag or a cut ciphertext: a peer must not learn which it was (RFC 3218).
    #[error("the message could not be decrypted")]
    DecryptionFailed,
    /// It was decrypted by a cipher that does not prove its content, and the plaintext is not as it
    /// should be. To the peer this is [`DecryptionFailed`](Self::DecryptionFailed), word for word: if
    /// it could tell good padding from bad, it could decrypt messages of others by asking us often
    /// enough. The cause is for the operator alone.
    #[error("the message could not be decrypted")]
    Undecipherable {
        /// What is wrong with the plaintext.
        #[source]
        cause: Box<Error>,
    },
    /// The message names none of our certificates, and none of our keys could decrypt it. To the peer this is a
    /// failed decryption.
    #[error(
        "the message is encrypted for none of our certificates, and none of our keys decrypts it; its recipients: {}",
        .recipients.join("; ")
    )]
    NoRecipient {
        /// Whom the message names, for an operator: `serial 0a1b of CN=Globex CA`, `key identifier 3f20`; the first
        /// ten.
        recipients: Vec<String>,
    },
    /// A pinned certificate was named as the signer, but the signature does not verify.
    #[error("the signature is not valid for the certificate that it names")]
    SignatureInvalid,
    /// No pinned certificate made this signature.
    #[error(
        "the signature is from {signer}, which is not one of the {pinned} known certificate(s){}",
        made_by(.carried.as_ref())
    )]
    SignerUnknown {
        /// Issuer and serial number, or key identifier, that the message names.
        signer: String,
        /// How many certificates were tried.
        pinned: usize,
        /// The certificate inside the message that made the signature. It proves nothing: anybody can make one with
        /// any name.
        carried: Option<CarriedCertificate>,
    },
    /// The certificate that verified had expired at the time given.
    #[error("the signer's certificate has expired")]
    CertificateExpired,
    /// The certificate that verified was not valid yet at the time given.
    #[error("the signer's certificate is not valid yet")]
    CertificateNotYetValid,
    /// The signature is made with what is too weak today, and that was not allowed
    /// ([`ReadOptions::accept_weak`](crate::ReadOptions)).
    #[error("the signature uses {0}, which is too weak")]
    WeakSignature(Weakness),
    /// The message is encrypted with what is too weak today, and that was not allowed
    /// ([`ReadOptions::accept_weak`](crate::ReadOptions)). Nothing of it was decrypted.
    #[error("the message is encrypted with {0}, which is too weak")]
    WeakEncryption(Weakness),
    /// The signature is genuine, but the content is not what was signed.
    #[error("the content does not match its signed digest ({algorithm})")]
    IntegrityFailed {
        /// The digest algorithm that the signer used.
        algorithm: String,
        /// What the signature says of the content, for whoever can read the content again; none where it says it in
        /// no attribute.
        signed: Option<Box<SignedDigest>>,
    },
    /// The compressed content could not be expanded.
    #[error("the message could not be decompressed")]
    DecompressionFailed,
    /// An algorithm or a form that is not supported, by name or object identifier.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// The signature uses a digest that was not computed: the message announces another, and its
    /// content is too long for computing all of them. Read again with this one in
    /// [`ReadOptions::digests`](crate::ReadOptions), the message can be verified.
    #[error("the signature uses {digest:?}, but the message announces another digest")]
    DigestUnannounced {
        /// What the signature uses.
        digest: Digest,
    },
    /// The authority answered a request for a time stamp with a refusal.
    #[error("the time-stamping authority refused: {0}")]
    TimestampRefused(String),
    /// A time stamp that is not what was asked for, or by nobody who is trusted for it.
    #[error("the time stamp is not valid: {0}")]
    TimestampInvalid(String),
    /// The message breaks its format.
    #[error("malformed {place}: {what}")]
    Malformed {
        /// What is wrong.
        what: String,
        /// The structure in which it was found.
        place: &'static str,
    },
    /// The message goes beyond a limit of the reader.
    #[error("{what} exceeds the limit of {limit}")]
    LimitExceeded {
        /// What was counted.
        what: &'static str,
        /// The limit, in the unit of what was counted.
        limit: u64,
    },
    /// The library refused an operation that does not depend on the peer's bytes (a key of the
    /// wrong kind, no memory).
    #[error("cryptographic operation failed: {operation}")]
    Crypto {
        /// What was tried.
        operation: &'static str,
        /// The library's own words.
        #[source]
        source: openssl::error::ErrorStack,
    },
    /// The receiver refuses what was found inside, such as a payload that is not signed. It passes inside an I/O error, and is a
    /// fault of the message: behind a cipher that does not prove its content it looks to the peer like a failed decryption, and
    /// behind one that does it is told once the content is proved.
    #[error(transparent)]
    Refused(Box<dyn std::error::Error + Send + Sync>),
    /// The stream below failed.
    #[error("reading or writing the message failed")]
    Io(#[source] io::Error),
}

/// A certificate that came with a message: information for an operator, and never a reason to trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedCertificate {
    /// Its subject, as the message claims: `CN=Globex, O=Globex Inc.`
    pub subject: String,
    /// SHA-256 of it.
    pub fingerprint: Vec<u8>,
}

impl fmt::Display for CarriedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, SHA-256 ", self.subject)?;
        self.fingerprint.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn made_by(carried: Option<&CarriedCertificate>) -> String {
    carried.map_or_else(String::new, |carried| {
        format!("; the message carries a certificate that made it, which proves nothing by itself: {carried}")
    })
}

impl Error {
    pub(crate) fn malformed(place: &'static str, what: impl Into<String>) -> Self {
        Error::Malformed { what: what.into(), place }
    }

    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        Error::Unsupported(what.into())
    }

    pub(crate) fn limit(what: &'static str, limit: u64) -> Self {
        Error::LimitExceeded { what, limit }
    }

    pub(crate) fn ended(place: &'static str) -> Self {
        Error::malformed(place, "it ends too early")
    }
}

/// Names the operation that the library refused.
pub(crate) trait CryptoContext<T> {
    fn during(self, operation: &'static str) -> Result<T>;
}

impl<T> CryptoContext<T> for std::result::Result<T, openssl::error::ErrorStack> {
    fn during(self, operation: &'static str) -> Result<T> {
        self.map_err(|source| Error::Crypto { operation, source })
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Error>() {
            Ok(inner) => inner,
            Err(error) => Error::Io(error),
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(inner) => inner,
            other => io::Error::new(io::ErrorKind::InvalidData, other),
        }
    }
}
