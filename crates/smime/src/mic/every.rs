//! The digests that a partner may have computed instead of the correct one, for a receipt or a signature that does not match.

use super::{Mic, MicRule, RuledMic};
use crate::algorithm::Digest;
use crate::error::{CryptoContext, Error, Result};
use openssl::hash::Hasher;
use std::io::{BufRead, BufReader, Read};

/// Bytes read at once. Each form has a buffer for up to twice as many.
const CHUNK: usize = 16 * 1024;

/// The line end behind the last line of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LastLineEnd {
    /// As it is.
    Kept,
    /// Left out.
    Without,
    /// One more was added.
    Added,
}

impl LastLineEnd {
    /// Words for an operator, behind those of a rule.
    pub(super) fn describe(self) -> &'static str {
        match self {
            LastLineEnd::Kept => "",
            LastLineEnd::Without => ", without the last line end",
            LastLineEnd::Added => ", with one more line end",
        }
    }
}

/// Every MIC that a partner might make of an entity that we sent, for the operator who asks why
/// its receipt does not match: with and without headers, exact and with the line ends of other systems. Those that are the
/// same as one before are left out.
///
/// Reads `body` to its end in constant memory.
pub fn every_mic(header: &[u8], body: impl Read, algorithm: Digest) -> Result<Vec<RuledMic>> {
    let mut mics: Vec<RuledMic> = Vec::new();
    for (end, ruled) in every_form([header, b"\r\n"], body, algorithm)? {
        if end == LastLineEnd::Kept && mics.iter().all(|known| known.mic != ruled.mic) {
            mics.push(ruled);
        }
    }
    Ok(mics)
}

/// The digest of an entity in every form in which a product may have digested it. `head` is its header section with the empty
/// line behind it.
///
/// Reads `body` to its end in constant memory.
pub(super) fn every_form(
    head: [&[u8]; 2],
    body: impl Read,
    algorithm: Digest,
) -> Result<Vec<(LastLineEnd, RuledMic)>> {
    let mut forms = FORMS.map(|form| Form::new(form, algorithm)).into_iter().collect::<Result<Vec<_>>>()?;
    for form in &mut forms {
        for part in head {
            form.head(part)?;
        }
    }
    let mut source = BufReader::with_capacity(CHUNK, body);
    loop {
        let chunk = source.fill_buf().map_err(Error::from)?;
        if chunk.is_empty() {
            break;
        }
        for form in &mut forms {
            form.update(chunk, form.line_ends)?;
        }
        let count = chunk.len();
        source.consume(count);
    }
    let mut all = Vec::new();
    for form in forms {
        all.extend(form.finish(algorithm)?);
    }
    Ok(all)
}

/// How line ends are written.
#[derive(Debug, Clone, Copy)]
enum LineEnds {
    /// As they are.
    Exact,
    /// A bare LF as CRLF.
    BareLf,
    /// Every one (CRLF, bare LF, bare CR) in this way.
    All(&'static [u8]),
}

/// The forms, in the order in which they are named.
const FORMS: [(MicRule, LineEnds); 9] = [
    (MicRule::Entity, LineEnds::Exact),
    (MicRule::EntityCanonical, LineEnds::BareLf),
    (MicRule::Content, LineEnds::Exact),
    (MicRule::ContentCanonical, LineEnds::BareLf),
    (MicRule::EntityAllCrlf, LineEnds::All(b"\r\n")),
    (MicRule::ContentAllCrlf, LineEnds::All(b"\r\n")),
    (MicRule::EntityAllLf, LineEnds::All(b"\n")),
    (MicRule::ContentAllLf, LineEnds::All(b"\n")),
    (MicRule::EntityContentLf, LineEnds::All(b"\n")),
];

/// The digest of one form of a stream.
struct Form {
    rule: MicRule,
    line_ends: LineEnds,
    hasher: Hasher,
    after_cr: bool,
    scratch: Vec<u8>,
    /// The line end that may be the last one, which is not digested yet.
    held: Vec<u8>,
}

impl Form {
    fn new((rule, line_ends): (MicRule, LineEnds), algorithm: Digest) -> Result<Self> {
        let hasher = Hasher::new(algorithm.md()).during("digest")?;
        Ok(Self { rule, line_ends, hasher, after_cr: false, scratch: Vec::new(), held: Vec::new() })
    }

    /// Takes a piece of the header section, if this form has it.
    fn head(&mut self, bytes: &[u8]) -> Result<()> {
        match self.rule {
            MicRule::Entity | MicRule::EntityCanonical | MicRule::EntityAllCrlf | MicRule::EntityAllLf => {
                self.update(bytes, self.line_ends)
            }
            MicRule::EntityContentLf => self.update(bytes, LineEnds::Exact),
            _ => Ok(()),
        }
    }

    fn update(&mut self, bytes: &[u8], line_ends: LineEnds) -> Result<()> {
        self.scratch.clear();
        self.scratch.append(&mut self.held);
        match line_ends {
            LineEnds::Exact => self.scratch.extend_from_slice(bytes),
            LineEnds::BareLf => {
                for &byte in bytes {
                    if byte == b'\n' && !self.after_cr {
                        self.scratch.push(b'\r');
                    }
                    self.scratch.push(byte);
                    self.after_cr = byte == b'\r';
                }
            }
            LineEnds::All(line_end) => {
                for &byte in bytes {
                    match byte {
                        b'\n' if self.after_cr => {}
                        b'\r' | b'\n' => self.scratch.extend_from_slice(line_end),
                        other => self.scratch.push(other),
                    }
                    self.after_cr = byte == b'\r';
                }
            }
        }
        let (settled, held) = self.scratch.split_at(self.scratch.len() - last_line_end(&self.scratch));
        self.held.extend_from_slice(held);
        self.hasher.update(settled).during("digest")
    }

    /// The digest as the stream ends, and with other last line ends.
    fn finish(self, algorithm: Digest) -> Result<Vec<(LastLineEnd, RuledMic)>> {
        let Self { rule, line_ends, mut hasher, held, .. } = self;
        let ruled = |end: LastLineEnd, hasher: &Hasher| -> Result<(LastLineEnd, RuledMic)> {
            let digest = hasher.clone().finish().during("digest")?.to_vec();
            Ok((end, RuledMic { rule, mic: Mic { algorithm, digest } }))
        };
        let mut all = Vec::new();
        if !held.is_empty() {
            all.push(ruled(LastLineEnd::Without, &hasher)?);
            hasher.update(&held).during("digest")?;
        }
        all.push(ruled(LastLineEnd::Kept, &hasher)?);
        let one_more: &[u8] = match line_ends {
            LineEnds::All(line_end) => line_end,
            LineEnds::Exact | LineEnds::BareLf => b"\r\n",
        };
        hasher.update(one_more).during("digest")?;
        all.push(ruled(LastLineEnd::Added, &hasher)?);
        Ok(all)
    }
}

/// Length of the line end with which some bytes end.
fn last_line_end(bytes: &[u8]) -> usize {
    match bytes {
        [.., b'\r', b'\n'] => 2,
        [.., b'\r' | b'\n'] => 1,
        _ => 0,
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
            assert_eq!(every.len(), 9);
            let digest_of = |rule| &every.iter().find(|ruled| ruled.rule == rule).unwrap().mic.digest;
            for (header, body, entity, alone) in forms {
                let blank: &[u8] = if header.ends_with(b"\r\n") { b"\r\n" } else { b"\n" };
                let whole = [header, blank, body].concat();
                for (rule, bytes) in [(entity, &whole[..]), (alone, body)] {
                    let wanted = hash(MessageDigest::sha256(), bytes).unwrap();
                    assert_eq!(digest_of(rule)[..], wanted[..], "{rule:?} in pieces of {size}");
                }
            }
            let bytes = [&header[..], b"\r\n", forms[3].1].concat();
            let wanted = hash(MessageDigest::sha256(), &bytes).unwrap();
            assert_eq!(digest_of(MicRule::EntityContentLf)[..], wanted[..], "in pieces of {size}");
        }
    }

    #[test]
    fn forms_that_are_the_same_are_not_told_twice() {
        let every = every_mic(b"A: b\r\n", &b"\0\x01 binary"[..], Digest::Sha256).unwrap();
        let rules: Vec<MicRule> = every.iter().map(|ruled| ruled.rule).collect();
        assert_eq!(rules, [MicRule::Entity, MicRule::Content, MicRule::EntityAllLf]);
    }
}
