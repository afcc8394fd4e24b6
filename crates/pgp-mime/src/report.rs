//! What reading a message has shown.

use smime::{Digest, Mic, MicRule, SignedContent, Weakness, Wrapping};

/// What a verified signature proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Digest of the content, as the signer chose it.
    pub digest: Digest,
    /// The fingerprint of the key that verified, in hexadecimal: that of its primary key.
    pub fingerprint: String,
    /// The fingerprint of the one in it that did, the primary key or a subkey, in hexadecimal.
    pub component: String,
    /// Its place in the list that was handed in.
    pub key: usize,
    /// What of it is too weak for today; empty unless that was allowed.
    pub weaknesses: Vec<Weakness>,
    /// The signature, as the packet of it or in the armour in which it came.
    pub signature: Vec<u8>,
}

/// The account of a message that was read to its end, decrypted and verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The OpenPGP layers that were taken off, from the outside in.
    pub wrappings: Vec<Wrapping>,
    /// The cipher of the outermost encryption, such as `pgp-aes256`.
    pub cipher: Option<&'static str>,
    /// What makes that cipher too weak for today; empty unless that was allowed.
    pub weak_cipher: Option<Weakness>,
    /// The place in [`Keys::decrypt`](crate::Keys::decrypt) of the key that decrypted the outermost encryption.
    pub decrypted_with: Option<usize>,
    /// What the outermost signature proves.
    pub signed: Option<Proof>,
    /// What the outermost signature of OpenPGP covers; none of a message without one.
    pub signed_content: Option<SignedContent>,
    /// What was found inside.
    pub inner: smime::Report,
    /// The MICs of what the outermost signature covers, or of what is encrypted where nothing is signed.
    pub(crate) mics: Vec<Mic>,
}

impl Report {
    /// Whether the message was signed: in OpenPGP, or in what was inside.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.signed.is_some() || self.inner.signed().is_some()
    }

    /// Whether OpenPGP protects nothing whose MIC a receipt carries: then it is the MIC of what is inside.
    fn has_mic_of_inner(&self) -> bool {
        // What S/MIME protects inside an OpenPGP encryption alone has the MIC of that.
        self.signed.is_none() && (self.wrappings.is_empty() || !self.inner.layers.is_empty())
    }

    /// Of what a receipt carries the MIC: always of the exact bytes, also where the signature is one over text.
    #[must_use]
    pub fn rule(&self) -> MicRule {
        match &self.signed {
            Some(_) => MicRule::Signed,
            None if self.has_mic_of_inner() => self.inner.rule(),
            None => MicRule::Entity,
        }
    }

    /// The MIC that a receipt carries (RFC 4130 section 7.3.1): over what is signed; of a message that is not, over what is
    /// encrypted. None when it was not computed with this algorithm.
    #[must_use]
    pub fn mic(&self, algorithm: Digest) -> Option<&Mic> {
        if self.has_mic_of_inner() {
            return self.inner.mic(algorithm);
        }
        self.mics.iter().find(|mic| mic.algorithm == algorithm)
    }
}
