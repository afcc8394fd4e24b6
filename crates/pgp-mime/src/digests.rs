//! The digests of signed content as it streams past: of its exact bytes, and of its text with every bare LF read as CRLF.
//!
//! Only the signature, which comes last, says by which algorithm and in which form the content is signed (RFC 9580 section
//! 5.2.4). Both forms are one until the first bare LF.

use std::io::{self, Read};

use openssl::hash::Hasher;
use smime::{Digest, Error, Mic, Result};

pub(crate) struct Digests {
    exact: Vec<(Digest, Hasher)>,
    /// Empty until the forms differ.
    text: Vec<(Digest, Hasher)>,
    has_text: bool,
    after_return: bool,
}

impl Digests {
    /// `has_text` is whether the second form is computed as well.
    pub(crate) fn new(algorithms: &[Digest], has_text: bool) -> Result<Digests> {
        let mut exact: Vec<(Digest, Hasher)> = Vec::with_capacity(algorithms.len());
        for algorithm in algorithms {
            if exact.iter().all(|(known, _)| known != algorithm) {
                exact.push((*algorithm, hasher(*algorithm)?));
            }
        }
        Ok(Digests { exact, text: Vec::new(), has_text, after_return: false })
    }

    /// What is digested before the content in either form, as it is.
    pub(crate) fn salt(&mut self, salt: &[u8]) -> Result<()> {
        feed(&mut self.exact, salt)
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(last) = bytes.last() else { return Ok(()) };
        let bare = if self.has_text { self.first_bare(bytes) } else { None };
        match bare {
            Some(at) if self.text.is_empty() => {
                feed(&mut self.exact, &bytes[..at])?;
                self.text.clone_from(&self.exact);
                feed(&mut self.exact, &bytes[at..])?;
                self.feed_text(&bytes[at..], false)?;
            }
            _ => {
                feed(&mut self.exact, bytes)?;
                if !self.text.is_empty() {
                    self.feed_text(bytes, self.after_return)?;
                }
            }
        }
        self.after_return = *last == b'\r';
        Ok(())
    }

    /// The place of the first LF without a CR before it.
    fn first_bare(&self, bytes: &[u8]) -> Option<usize> {
        let mut before = self.after_return;
        bytes.iter().position(|byte| {
            let bare = *byte == b'\n' && !before;
            before = *byte == b'\r';
            bare
        })
    }

    fn feed_text(&mut self, bytes: &[u8], after_return: bool) -> Result<()> {
        let (mut start, mut before) = (0, after_return);
        for (at, byte) in bytes.iter().enumerate() {
            if *byte == b'\n' && !before {
                feed(&mut self.text, &bytes[start..at])?;
                feed(&mut self.text, b"\r")?;
                start = at;
            }
            before = *byte == b'\r';
        }
        feed(&mut self.text, &bytes[start..])
    }

    /// The digest of the content and what a signature adds to it; none by an algorithm that was not computed.
    pub(crate) fn with(&self, algorithm: Digest, is_text: bool, trailer: &[u8]) -> Result<Option<Vec<u8>>> {
        let hashers = if is_text && !self.text.is_empty() { &self.text } else { &self.exact };
        let Some((_, hasher)) = hashers.iter().find(|(known, _)| *known == algorithm) else {
            return Ok(None);
        };
        let mut hasher = hasher.clone();
        hasher.update(trailer).map_err(failed)?;
        Ok(Some(hasher.finish().map_err(failed)?.to_vec()))
    }

    /// The MICs of the exact bytes.
    pub(crate) fn mics(&self) -> Result<Vec<Mic>> {
        let mic = |(algorithm, hasher): &(Digest, Hasher)| {
            let digest = hasher.clone().finish().map_err(failed)?.to_vec();
            Ok(Mic { algorithm: *algorithm, digest })
        };
        self.exact.iter().map(mic).collect()
    }
}

fn feed(hashers: &mut [(Digest, Hasher)], bytes: &[u8]) -> Result<()> {
    hashers.iter_mut().try_for_each(|(_, hasher)| hasher.update(bytes).map_err(failed))
}

pub(crate) fn hasher(algorithm: Digest) -> Result<Hasher> {
    Hasher::new(algorithm.md()).map_err(failed)
}

pub(crate) fn failed(source: openssl::error::ErrorStack) -> Error {
    Error::Crypto { operation: "digest", source }
}

/// A reader whose bytes go through digests.
pub(crate) struct Tapped<'d, R> {
    pub(crate) inner: R,
    pub(crate) digests: &'d mut Digests,
}

impl<R: Read> Read for Tapped<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(out)?;
        self.digests.update(&out[..count])?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text_of(bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        for (at, byte) in bytes.iter().enumerate() {
            if *byte == b'\n' && (at == 0 || bytes[at - 1] != b'\r') {
                text.push(b'\r');
            }
            text.push(*byte);
        }
        text
    }

    fn sha256(bytes: &[u8]) -> Vec<u8> {
        openssl::sha::sha256(bytes).to_vec()
    }

    proptest! {
        #[test]
        fn both_forms_are_those_of_the_whole(
            pieces in prop::collection::vec("[a\r\n]{0,6}", 0..6),
        ) {
            let whole: Vec<u8> = pieces.concat().into_bytes();
            let mut digests = Digests::new(&[Digest::Sha256, Digest::Sha256], true).unwrap();
            for piece in &pieces {
                digests.update(piece.as_bytes()).unwrap();
            }
            let trailer = b"trailer";
            let exact = digests.with(Digest::Sha256, false, trailer).unwrap().unwrap();
            prop_assert_eq!(exact, sha256(&[&whole, &trailer[..]].concat()));
            let text = digests.with(Digest::Sha256, true, trailer).unwrap().unwrap();
            prop_assert_eq!(text, sha256(&[&text_of(&whole), &trailer[..]].concat()));
            prop_assert_eq!(&digests.mics().unwrap()[0].digest, &sha256(&whole));
            prop_assert!(digests.with(Digest::Sha512, false, trailer).unwrap().is_none());
        }
    }
}
