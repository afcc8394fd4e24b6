//! Time stamps by an authority (RFC 3161): the request, and what an answer and its token prove.
//!
//! Other than with messages, the signer's certificate is found by a chain to configured authorities: a token
//! brings it along. It counts when it is for time stamping and nothing else, and was valid when it signed; so a
//! token proves the same years later, after every certificate has expired.

mod token;

use std::time::SystemTime;

use openssl::x509::X509;

use crate::der::{self, Element};
use crate::error::{CryptoContext, Error, Result};

/// DER of id-sha256 with its absent parameters written as NULL, as most authorities do.
const SHA256: &[u8] = b"\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00";
/// `PKIFailureInfo` of RFC 3161 section 2.4.2.
const FAILURES: [(usize, &str); 8] = [
    (0, "it does not accept SHA-256"),
    (2, "the request is not permitted or supported"),
    (5, "the request had the wrong format"),
    (14, "its time source is not available"),
    (15, "it does not support the policy"),
    (16, "it does not support the extension"),
    (17, "it does not have the additional information"),
    (25, "its system failed"),
];
/// Characters of an authority's own words that are repeated.
const WORDS: usize = 200;

/// The trusted authorities: the certificates in which a signer's chain may end.
#[derive(Debug, Clone)]
pub struct TimestampAuthorities(Vec<X509>);

/// What a token proves: that a digest existed at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimestampProof {
    /// The time, by the authority's clock.
    pub at: SystemTime,
    /// The subject of the certificate that signed it, such as `CN=…, O=…`.
    pub authority: String,
    /// The token's serial number in hexadecimal; with the authority it names the token.
    pub serial: String,
}

/// A request for a stamp over a SHA-256 digest.
#[derive(Debug, Clone)]
pub struct TimestampRequest {
    digest: [u8; 32],
    nonce: [u8; 16],
}

impl TimestampAuthorities {
    /// Reads certificates (PEM, any number of them, at least one).
    ///
    /// # Errors
    /// There is none in it, or one that cannot be read.
    pub fn from_pem(pem: &[u8]) -> Result<Self> {
        let certificates = X509::stack_from_pem(pem).during("read the authority's certificates")?;
        if certificates.is_empty() {
            return Err(Error::malformed("PEM file", "it contains no certificate"));
        }
        Ok(Self(certificates))
    }

    /// Checks that a token (DER of a `TimeStampToken`) was made over this digest by one of the authorities.
    ///
    /// # Errors
    /// [`Error::TimestampInvalid`] and others: it proves nothing.
    pub fn check(&self, token: &[u8], digest: &[u8; 32]) -> Result<TimestampProof> {
        token::check(token, digest, None, &self.0)
    }
}

impl TimestampRequest {
    /// A request; `random` must never have been used before: it ties the answer to this request.
    pub fn new(digest: [u8; 32], random: [u8; 16]) -> Self {
        let mut nonce = random;
        // A positive INTEGER in its shortest form, whatever was drawn.
        nonce[0] = nonce[0] & 0x3f | 0x40;
        Self { digest, nonce }
    }

    /// DER of the `TimeStampReq` (RFC 3161 section 2.4.1): version 1, imprint, nonce, certReq.
    pub fn encode(&self) -> Vec<u8> {
        der::sequence(&[
            &der::integer(1),
            &der::sequence(&[SHA256, &der::octet_string(&self.digest)]),
            &der::element(der::INTEGER, &[&self.nonce]),
            &der::element(der::BOOLEAN, &[&[0xff]]),
        ])
    }

    /// Opens the answer (DER of a `TimeStampResp`, already bounded): the token, to be kept, and what it proves.
    ///
    /// # Errors
    /// [`Error::TimestampRefused`] with the authority's words, or the token does not hold for this request.
    pub fn open(
        &self,
        answer: &[u8],
        authorities: &TimestampAuthorities,
    ) -> Result<(Vec<u8>, TimestampProof)> {
        let mut answer = Element::parse(answer)?.expect(der::SEQUENCE, "TimeStampResp")?.children();
        let status = answer.required("status")?.expect(der::SEQUENCE, "PKIStatusInfo")?;
        let mut fields = status.children();
        let code = fields.required("status")?.expect(der::INTEGER, "status")?.small_integer()?;
        // granted (0) and grantedWithMods (1) alone come with a token.
        if code > 1 {
            return Err(refusal(code, fields)?);
        }
        let token = answer.required("timeStampToken")?.expect(der::SEQUENCE, "timeStampToken")?.raw;
        let proof = token::check(token, &self.digest, Some(&self.nonce), &authorities.0)?;
        Ok((token.to_vec(), proof))
    }
}

/// A refusal as text: the status, the authority's own text, and the reasons that it names.
fn refusal(code: u64, mut fields: der::Elements<'_>) -> Result<Error> {
    let mut words = vec![format!("status {code}")];
    if let Some(texts) = fields.optional(der::SEQUENCE)? {
        let mut texts = texts.children();
        while let Some(text) = texts.next()? {
            let text = String::from_utf8_lossy(text.content);
            words.push(text.chars().filter(|sign| !sign.is_control()).take(WORDS).collect());
        }
        words.truncate(4);
    }
    if let Some(bits) = fields.optional(der::BIT_STRING)? {
        // The first byte counts the unused bits of the last.
        let bits = bits.content.get(1..).unwrap_or_default();
        let set = |bit: usize| bits.get(bit / 8).is_some_and(|byte| byte & (0x80 >> (bit % 8)) != 0);
        words.extend(FAILURES.iter().filter(|(bit, _)| set(*bit)).map(|(_, words)| (*words).to_owned()));
    }
    Ok(Error::TimestampRefused(words.join(": ")))
}

#[cfg(test)]
mod tests;
