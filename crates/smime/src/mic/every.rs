//! The digests that a partner may have computed instead of the correct one, for a receipt that does not match.

use super::{Digests, Mic, MicRule, RuledMic};
use crate::algorithm::Digest;
use crate::error::{CryptoContext, Error, Result};
use openssl::hash::Hasher;
use std::io::{BufRead, BufReader, Read};

/// Every MIC that a partner might make of an entity that we sent, for the operator who asks why
/// its receipt does not match: with and without headers, exact and with the line ends of other systems. The last
/// ones are left out where they are the same as one before.
///
/// Reads `body` to its end in constant memory.
pub fn every_mic(header: &[u8], mut body: impl Read, algorithm: Digest) -> Result<Vec<RuledMic>> {
    let mut entity = Digests::new(&[algorithm], true)?;
    let mut content = Digests::new(&[algorithm], true)?;
    let mut rewritten = [
        Rewritten::new(MicRule::EntityAllCrlf, algorithm, b"\r\n")?,
        Rewritten::new(MicRule::ContentAllCrlf, algorithm, b"\r\n")?,
        Rewritten::new(MicRule::EntityAllLf, algorithm, b"\n")?,
        Rewritten::new(MicRule::ContentAllLf, algorithm, b"\n")?,
    ];
    for part in [header, b"\r\n"] {
        entity.update(part)?;
        for form in rewritten.iter_mut().filter(|form| form.has_headers()) {
            form.update(part)?;
        }
    }
    let mut source = BufReader::with_capacity(64 * 1024, &mut body);
    loop {
        let chunk = source.fill_buf().map_err(Error::from)?;
        if chunk.is_empty() {
            break;
        }
        entity.update(chunk)?;
        content.update(chunk)?;
        for form in &mut rewritten {
            form.update(chunk)?;
        }
        let count = chunk.len();
        source.consume(count);
    }
    let mut mics = Vec::new();
    for finished in entity.finish()? {
        mics.extend(finished.mics(MicRule::Entity, MicRule::EntityCanonical));
    }
    for finished in content.finish()? {
        mics.extend(finished.mics(MicRule::Content, MicRule::ContentCanonical));
    }
    for form in rewritten {
        let last = form.finish(algorithm)?;
        if mics.iter().all(|known| known.mic != last.mic) {
            mics.push(last);
        }
    }
    Ok(mics)
}

/// A digest of a stream with every line end (CRLF, bare LF, bare CR) written in one way.
struct Rewritten {
    rule: MicRule,
    hasher: Hasher,
    line_end: &'static [u8],
    after_cr: bool,
    scratch: Vec<u8>,
}

impl Rewritten {
    fn new(rule: MicRule, algorithm: Digest, line_end: &'static [u8]) -> Result<Self> {
        let hasher = Hasher::new(algorithm.md()).during("digest")?;
        Ok(Self { rule, hasher, line_end, after_cr: false, scratch: Vec::new() })
    }

    fn has_headers(&self) -> bool {
        matches!(self.rule, MicRule::EntityAllCrlf | MicRule::EntityAllLf)
    }

    fn update(&mut self, bytes: &[u8]) -> Result<()> {
        self.scratch.clear();
        for &byte in bytes {
            match byte {
                b'\n' if self.after_cr => {}
                b'\r' | b'\n' => self.scratch.extend_from_slice(self.line_end),
                other => self.scratch.push(other),
            }
            self.after_cr = byte == b'\r';
        }
        self.hasher.update(&self.scratch).during("digest")
    }

    fn finish(mut self, algorithm: Digest) -> Result<RuledMic> {
        let digest = self.hasher.finish().during("digest")?.to_vec();
        Ok(RuledMic { rule: self.rule, mic: Mic { algorithm, digest } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::hash::{MessageDigest, hash};

    #[test]
    fn every_form_of_the_line_ends_is_among_them() {
        let content = b"a\r\nb\nc\rd\r\r\n\n\r";
        let header = b"Content-Type: text/plain\r\n";
        let forms: [(&[u8], &[u8], MicRule, MicRule); 4] = [
            (header, content, MicRule::Entity, MicRule::Content),
            (header, b"a\r\nb\r\nc\rd\r\r\n\r\n\r", MicRule::EntityCanonical, MicRule::ContentCanonical),
            (header, b"a\r\nb\r\nc\r\nd\r\n\r\n\r\n\r\n", MicRule::EntityAllCrlf, MicRule::ContentAllCrlf),
            (
                b"Content-Type: text/plain\n",
                b"a\nb\nc\nd\n\n\n\n",
                MicRule::EntityAllLf,
                MicRule::ContentAllLf,
            ),
        ];
        for size in 1..=content.len() {
            // Line ends fall between two reads of the body.
            let pieces = content.chunks(size).map(std::io::Cursor::new);
            let body = pieces
                .fold(Box::new(std::io::empty()) as Box<dyn Read>, |body, piece| Box::new(body.chain(piece)));
            let every = every_mic(header, body, Digest::Sha256).unwrap();
            assert_eq!(every.len(), 8);
            let digest_of = |rule| &every.iter().find(|ruled| ruled.rule == rule).unwrap().mic.digest;
            for (header, body, entity, alone) in forms {
                let blank: &[u8] = if header.ends_with(b"\r\n") { b"\r\n" } else { b"\n" };
                let whole = [header, blank, body].concat();
                for (rule, bytes) in [(entity, &whole[..]), (alone, body)] {
                    let wanted = hash(MessageDigest::sha256(), bytes).unwrap();
                    assert_eq!(digest_of(rule)[..], wanted[..], "{rule:?} in pieces of {size}");
                }
            }
        }
    }

    #[test]
    fn forms_that_are_the_same_are_not_told_twice() {
        let every = every_mic(b"A: b\r\n", &b"\0\x01 binary"[..], Digest::Sha256).unwrap();
        let rules: Vec<MicRule> = every.iter().map(|ruled| ruled.rule).collect();
        assert_eq!(rules, [MicRule::Entity, MicRule::Content, MicRule::EntityAllLf]);
    }
}
