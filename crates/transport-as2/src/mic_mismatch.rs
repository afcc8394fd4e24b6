//! A receipt whose MIC is not the one of the message: what else the partner may have digested. Products
//! differ in which headers and line ends they take in, and in the digest that they use.

use crate::mdn::mic_matches;
use crate::receipt::Proof;
use crate::tell;
use model::{Error, ErrorKind, PeerText, Result};
use smime::{Digest, Mic, MicRule, RuledMic, Weakness, every_mic};
use std::sync::Arc;
use transport::Payload;

/// A receipt that says all it should, but for its MIC.
pub(crate) struct MicMismatch {
    pub(crate) theirs: String,
    pub(crate) ours: Mic,
    pub(crate) message_id: String,
    /// The message was neither signed nor encrypted.
    pub(crate) unprotected: bool,
    /// MD5 and SHA-1 count.
    pub(crate) legacy: bool,
    /// What the receipt proves if its MIC may stand.
    pub(crate) proof: Proof,
    /// What it comes to if not.
    pub(crate) error: Error,
}

impl MicMismatch {
    /// The digest that the partner used.
    pub(crate) fn digest(&self) -> Digest {
        Mic::parse(&self.theirs).map_or(self.ours.algorithm, |theirs| theirs.algorithm)
    }

    /// Decides whether the MIC is acceptable, given the MIC by every rule.
    ///
    /// # Errors
    /// It is not acceptable. The error lists the MIC by every rule, and which rule the partner used.
    pub(crate) fn judge(self, every: Result<Vec<RuledMic>>) -> Result<Proof> {
        let every = match every {
            Ok(every) => every,
            Err(failed) => return Err(self.error.with("computing the MIC by other rules", failed.chain())),
        };
        let found = every.iter().find(|ruled| mic_matches(&self.theirs, &ruled.mic));
        let Some(found) = found else {
            let words = self.tell(None);
            let error = with_each(self.error, &every).tell_partner(words);
            return Err(error.advice(
                "no known rule gives the partner's MIC: either the partner received other bytes than were \
                sent, or it computes the MIC in an unusual way (line ends, headers); compare the file with \
                the partner's copy before you send it again",
            ));
        };
        // RFC 4130, 7.3.1 leaves the headers of an unprotected message out of its MIC, RFC 5402, 4.3 puts
        // them in; receivers do either. Whatever is protected has its headers in.
        let right_form = match found.rule {
            MicRule::Entity => true,
            MicRule::EntityCanonical | MicRule::Content => self.unprotected,
            _ => false,
        };
        // The digest that was asked for is optional (7.3): another one proves the same bytes, if it can.
        let weakness = Weakness::of_digest(found.mic.algorithm);
        let same_digest = found.mic.algorithm == self.ours.algorithm;
        if right_form && (same_digest || weakness.is_none() || self.legacy) {
            let mut proof = self.proof.by_rule(found);
            proof
                .legacy
                .extend(weakness.filter(|_| !same_digest).map(|weak| format!("the receipt's MIC: {weak}")));
            return Ok(proof);
        }
        let advice = match (right_form, same_digest) {
            (false, _) => {
                "the partner has the same text, but computes the MIC over a different form of it (line \
                ends, headers); ask it to follow RFC 4130, section 7.3.1"
            }
            (true, _) => {
                "the partner has the same bytes, but computes the MIC with a digest that is too weak to \
                prove it; ask it to use the requested digest, or allow weak ones for this partner (legacy = \
                true)"
            }
        };
        let (rule, words) = (found.rule.describe(), self.tell(Some(found.rule)));
        let error = with_each(self.error, &every).with("the partner's rule", rule);
        Err(error.advice(advice).tell_partner(words))
    }

    /// What the operator can tell the partner.
    fn tell(&self, rule: Option<MicRule>) -> String {
        let theirs = PeerText::from(self.theirs.as_str());
        tell::other_mic(&self.message_id, &self.ours, theirs.as_str(), rule)
    }
}

fn with_each(error: Error, every: &[RuledMic]) -> Error {
    every.iter().fold(error, |error, ruled| error.with(ruled.rule.describe(), &ruled.mic))
}

/// Computes the MIC under every rule from the payload and the headers it was sent with, reading it again.
///
/// # Errors
/// The payload cannot be read.
pub(crate) async fn of_payload(
    payload: Arc<dyn Payload>,
    headers: Vec<u8>,
    digest: Digest,
) -> Result<Vec<RuledMic>> {
    let failed = |what: &'static str| Error::transient(ErrorKind::Internal, what);
    let compute = move || {
        let reader = payload.open_blocking(0..payload.length())?;
        every_mic(&headers, reader, digest)
            .map_err(|error| failed("compute the MIC by other rules").caused_by(error))
    };
    tokio::task::spawn_blocking(compute)
        .await
        .map_err(|error| failed("compute the MIC by other rules").caused_by(error))?
}
