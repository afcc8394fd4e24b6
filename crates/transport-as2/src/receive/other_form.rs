//! Which form of its content the signature of a received message fits, where it does not fit the content as it came. Looked for
//! when the message has failed, and in what was kept of it: a good message costs nothing.
//!
//! The answer to the sender waits for it, but says nothing of it. A failed decryption never comes here, so that it takes as long
//! whatever the content was.

use super::Receiver;
use smime::{SignedDigest, SignedForm};

/// Most bytes that are read again, so that the answer waits for some seconds only.
const MOST: u64 = 128 * 1024 * 1024;

impl Receiver<'_> {
    /// The form that the signature fits; none if it fits no form that is known, or nothing of the content can be read again.
    pub(super) fn other_form(&self, error: &smime::Error) -> Option<SignedForm> {
        let smime::Error::IntegrityFailed { signed: Some(signed), .. } = error else { return None };
        let found = match self.in_copy(signed) {
            Ok(None) => self.in_last_part(signed),
            found => found,
        };
        found.unwrap_or_else(|error| {
            tracing::warn!(
                error = %super::chain(&error),
                "signed content could not be read again: it is not known whether its signature fits another form of it"
            );
            None
        })
    }

    /// Looks in the copy of what the outermost signature covers.
    fn in_copy(&self, signed: &SignedDigest) -> smime::Result<Option<SignedForm>> {
        let Some((copy, _)) = self.signed.as_ref().filter(|_| signed.is_outermost) else { return Ok(None) };
        match copy.length() {
            Some(length) if length <= MOST => signed.form_of_signed(copy.reader()),
            _ => Ok(None),
        }
    }

    /// Looks in the last part, if that is what was signed.
    fn in_last_part(&self, signed: &SignedDigest) -> smime::Result<Option<SignedForm>> {
        let Some(part) = self.parts.last() else { return Ok(None) };
        match part.writer.length() {
            Some(length) if length <= MOST => signed.form_of_leaf(part.writer.read_back()?),
            _ => Ok(None),
        }
    }
}
