//! What a signature says of content that is not what arrived, and the form of that content that it fits.

use super::MicRule;
use super::every::{LastLineEnd, every_form};
use crate::algorithm::Digest;
use crate::error::Result;
use std::io::Read;

/// The digest that a genuine signature states for content which has another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedDigest {
    /// The digest algorithm that the signature names.
    pub stated: Digest,
    /// The digest (attribute messageDigest, RFC 5652 section 11.2).
    pub digest: Vec<u8>,
    /// Whether the signature is the outermost one of its message, whose content
    /// [`PartReceiver::signed_content`](crate::PartReceiver::signed_content) got if it is not one leaf.
    pub is_outermost: bool,
    /// The header section of the signed entity with the empty line behind it.
    pub(crate) head: Vec<u8>,
    pub(crate) leaf: SignedLeaf,
}

/// What the last leaf that was handed out has to do with the signed content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignedLeaf {
    /// It is all that follows the header section, as it was signed.
    AsSigned,
    /// The same, but without its transfer encoding.
    Decoded,
    /// Nothing that is known.
    Other,
}

/// A form of signed content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedForm {
    /// The digest algorithm that the signature names.
    pub stated: Digest,
    /// The one by which it was made.
    pub algorithm: Digest,
    /// Which bytes.
    pub rule: MicRule,
    /// With which last line end.
    pub last_line_end: LastLineEnd,
    /// Whether its transfer encoding was taken off.
    pub is_decoded: bool,
}

impl SignedForm {
    /// Words for an operator.
    pub fn describe(self) -> String {
        let encoding = if self.is_decoded { ", transfer encoding taken off" } else { "" };
        format!("{}{encoding}{}", self.rule.describe(), self.last_line_end.describe())
    }
}

impl SignedDigest {
    pub(crate) fn new(stated: Digest, digest: Vec<u8>) -> Self {
        Self { stated, digest, is_outermost: false, head: Vec::new(), leaf: SignedLeaf::Other }
    }

    /// The form of the content that the signature fits, from the last leaf as it was handed out. None if it fits no form that is
    /// known, or the leaf is not what was signed; then nothing is read.
    ///
    /// Reads to the end in constant memory. Errors: those of the source.
    pub fn form_of_leaf(&self, leaf: impl Read) -> Result<Option<SignedForm>> {
        match self.leaf {
            SignedLeaf::AsSigned => self.form(leaf, false),
            SignedLeaf::Decoded => self.form(leaf, true),
            SignedLeaf::Other => Ok(None),
        }
    }

    /// The same, from all that was signed, its header section first.
    pub fn form_of_signed(&self, mut signed: impl Read) -> Result<Option<SignedForm>> {
        let mut head = Vec::new();
        signed.by_ref().take(self.head.len() as u64).read_to_end(&mut head)?;
        // Otherwise it is what another signature covers.
        if head == self.head { self.form(signed, false) } else { Ok(None) }
    }

    fn form(&self, body: impl Read, is_decoded: bool) -> Result<Option<SignedForm>> {
        // No two algorithms have digests of the same length.
        let Some(algorithm) = Digest::of_len(self.digest.len()) else { return Ok(None) };
        let all = every_form([self.head.as_slice(), b""], body, algorithm)?;
        let fits = all.into_iter().filter(|(_, ruled)| ruled.mic.digest == self.digest);
        let found = fits.min_by_key(|(end, _)| *end);
        Ok(found.map(|(last_line_end, ruled)| {
            let rule = ruled.rule;
            SignedForm { stated: self.stated, algorithm, rule, last_line_end, is_decoded }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::hash::hash;

    const HEAD: &[u8] = b"Content-Type: text/plain\r\n\r\n";

    fn signed(algorithm: Digest, covered: &[u8]) -> SignedDigest {
        let digest = hash(algorithm.md(), covered).unwrap().to_vec();
        SignedDigest {
            head: HEAD.to_vec(),
            leaf: SignedLeaf::AsSigned,
            ..SignedDigest::new(Digest::Sha256, digest)
        }
    }

    #[test]
    fn the_form_that_was_signed_is_found_however_it_is_read() {
        let arrived = b"a\r\nb\nc\r\n";
        let forms: [(&[u8], &str); 7] = [
            (b"Content-Type: text/plain\n\na\nb\nc\n", "entity with headers, LF line ends"),
            (
                b"Content-Type: text/plain\r\n\r\na\nb\nc\n",
                "entity with headers, LF line ends in its content",
            ),
            (b"Content-Type: text/plain\r\n\r\na\r\nb\r\nc\r\n", "entity with headers, CRLF line ends"),
            (b"a\r\nb\nc\r\n", "content without headers, exact bytes"),
            (b"a\nb\nc", "content without headers, LF line ends, without the last line end"),
            (
                b"Content-Type: text/plain\r\n\r\na\r\nb\nc",
                "entity with headers, exact bytes, without the last line end",
            ),
            (
                b"Content-Type: text/plain\r\n\r\na\r\nb\nc\r\n\r\n",
                "entity with headers, exact bytes, with one more line end",
            ),
        ];
        for (covered, described) in forms {
            for algorithm in [Digest::Md5, Digest::Sha1, Digest::Sha256, Digest::Sha384, Digest::Sha512] {
                let signed = signed(algorithm, covered);
                for size in 1..=arrived.len() {
                    let pieces = arrived.chunks(size).map(std::io::Cursor::new);
                    let body = pieces.fold(Box::new(std::io::empty()) as Box<dyn Read>, |body, piece| {
                        Box::new(body.chain(piece))
                    });
                    let form = signed.form_of_leaf(body).unwrap().unwrap_or_else(|| panic!("{described}"));
                    assert_eq!(form.describe(), described, "in pieces of {size}");
                    assert_eq!((form.algorithm, form.stated), (algorithm, Digest::Sha256));
                }
            }
        }
    }

    #[test]
    fn nothing_is_said_of_what_fits_no_form_or_is_not_what_was_signed() {
        let plain = signed(Digest::Sha256, b"something else");
        assert_eq!(plain.form_of_leaf(&b"a\r\n"[..]).unwrap(), None);
        let odd = SignedDigest { digest: vec![1; 7], ..plain };
        assert_eq!(odd.form_of_leaf(&b"a\r\n"[..]).unwrap(), None);
        let lines = signed(Digest::Sha256, &[HEAD, b"a\n"].concat());
        let whole = [HEAD, b"a\r\n"].concat();
        let found = lines.form_of_signed(&whole[..]).unwrap().unwrap();
        assert_eq!(found.rule, MicRule::EntityContentLf);
        assert_eq!(lines.form_of_signed(&b"Content-Type: text/html\r\n\r\na\r\n"[..]).unwrap(), None);
        let decoded = SignedDigest { leaf: SignedLeaf::Decoded, ..lines.clone() };
        assert!(decoded.form_of_leaf(&b"a\r\n"[..]).unwrap().unwrap().is_decoded);
        let other = SignedDigest { leaf: SignedLeaf::Other, ..lines };
        assert_eq!(other.form_of_leaf(&b"a\r\n"[..]).unwrap(), None);
    }
}
