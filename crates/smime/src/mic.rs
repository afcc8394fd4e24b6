//! Message integrity checks: digests of a stream in its exact form and, beside it, with every
//! bare LF read as CRLF (the canonical form that some products sign).

mod every;
mod forms;
mod signed;

pub use every::{LastLineEnd, every_mic};
pub(crate) use forms::Finished;
pub(crate) use signed::SignedLeaf;
pub use signed::{SignedDigest, SignedForm};

use std::fmt;
use std::io::{self, Read, Write as _};
use std::sync::{Arc, OnceLock};

use openssl::hash::Hasher;

use crate::algorithm::{Digest, NameStyle};
use crate::error::{CryptoContext, Error, Result};
use crate::mime::words::base64_text;
use crate::threads::{Queue, WriteBehind};
use forms::Forms;

/// A digest of some form of a message, as AS2 receipts carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mic {
    /// The algorithm.
    pub algorithm: Digest,
    /// The digest itself.
    pub digest: Vec<u8>,
}

impl Mic {
    /// The digest in base64.
    pub fn base64(&self) -> String {
        base64_text(&self.digest)
    }

    /// `base64, name`: the value of Received-content-MIC (RFC 4130 section 7.4.3).
    pub fn to_text(&self, style: NameStyle) -> String {
        format!("{}, {}", self.base64(), self.algorithm.name(style))
    }

    /// Reads `base64, name`; spaces as they come, the name in any spelling. None when either half
    /// is missing or no algorithm has that name.
    pub fn parse(text: &str) -> Option<Mic> {
        use base64::Engine;
        let (digest, name) = text.split_once(',')?;
        let digest: String = digest.split_ascii_whitespace().collect();
        let digest = base64::engine::general_purpose::STANDARD.decode(digest).ok()?;
        Some(Mic { algorithm: Digest::parse(name)?, digest })
    }
}

impl fmt::Display for Mic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text(NameStyle::default()))
    }
}

/// Which bytes a MIC covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MicRule {
    /// The signed bytes exactly: headers and body of the signed part (RFC 4130 section 7.3.1).
    Signed,
    /// The signed bytes with bare LF read as CRLF.
    SignedCanonical,
    /// The innermost MIME entity with its headers, expanded and decrypted.
    Entity,
    /// The same with bare LF read as CRLF.
    EntityCanonical,
    /// The innermost entity's body without its headers, transfer encoding left on.
    Content,
    /// The same with bare LF read as CRLF.
    ContentCanonical,
    /// The innermost entity with its headers, every line end (CRLF, bare LF, bare CR) read as CRLF.
    EntityAllCrlf,
    /// Its body alone, the same way.
    ContentAllCrlf,
    /// The innermost entity with its headers, every line end read as LF.
    EntityAllLf,
    /// Its body alone, the same way.
    ContentAllLf,
    /// The innermost entity with its headers as they are, every line end of its body read as LF.
    EntityContentLf,
}

impl MicRule {
    /// Words for an operator.
    pub fn describe(self) -> &'static str {
        match self {
            MicRule::Signed => "signed part, exact bytes",
            MicRule::SignedCanonical => "signed part, CRLF line ends",
            MicRule::Entity => "entity with headers, exact bytes",
            MicRule::EntityCanonical => "entity with headers, CRLF line ends",
            MicRule::Content => "content without headers, exact bytes",
            MicRule::ContentCanonical => "content without headers, CRLF line ends",
            MicRule::EntityAllCrlf => "entity with headers, CRLF line ends also for bare CR",
            MicRule::ContentAllCrlf => "content without headers, CRLF line ends also for bare CR",
            MicRule::EntityAllLf => "entity with headers, LF line ends",
            MicRule::ContentAllLf => "content without headers, LF line ends",
            MicRule::EntityContentLf => "entity with headers, LF line ends in its content",
        }
    }
}

/// A MIC and the rule by which it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuledMic {
    /// What the digest covers.
    pub rule: MicRule,
    /// The digest.
    pub mic: Mic,
}

/// Bytes up to which a digest that is hardly ever asked for costs too little to be missed, and a thread more than it gains.
const SHORT: u64 = 1024 * 1024;

/// Between the thread that has a stream and the one that computes its digests.
const QUEUE: Queue = Queue { chunk: 128 * 1024, chunks: 4 };

/// What the digests of one long stream hold in memory, in bytes.
pub const DIGEST_BUFFERS: usize = QUEUE.chunk * QUEUE.chunks;

/// Digests of a stream, several algorithms at once. Those of a long stream are computed on a thread of their own, while its
/// next bytes are made or read.
pub(crate) struct Digests {
    state: State,
    wants_canonical: bool,
    first: Vec<u8>,
    seen: u64,
    /// Whether algorithms and forms no longer change, so that a thread may have them.
    settled: bool,
}

enum State {
    /// On the thread that has the stream.
    Here(Forms),
    /// On a thread of their own.
    Behind(WriteBehind<Forms>),
    /// Nowhere: the thread could not be started.
    Lost,
}

impl Digests {
    /// Algorithms that are not available are left out, unless none is left.
    pub(crate) fn new(algorithms: &[Digest], wants_canonical: bool) -> Result<Digests> {
        Digests::with_short(algorithms, &[], wants_canonical)
    }

    /// The same, with further algorithms for as long as the stream is short.
    pub(crate) fn with_short(
        algorithms: &[Digest],
        short: &[Digest],
        wants_canonical: bool,
    ) -> Result<Digests> {
        let forms = Forms::new(algorithms, short, wants_canonical)?;
        Ok(Digests { state: State::Here(forms), wants_canonical, first: Vec::new(), seen: 0, settled: false })
    }

    /// The canonical form makes no sense for this content: drop it. Before [`Digests::settle`].
    pub(crate) fn exact_only(&mut self) {
        self.wants_canonical = false;
        if let State::Here(forms) = &mut self.state {
            forms.exact_only();
        }
    }

    /// Keeps all algorithms, however long the stream turns out: what was not computed is lost. Before
    /// [`Digests::settle`].
    pub(crate) fn keep_all(&mut self) {
        if let State::Here(forms) = &mut self.state {
            forms.keep_all();
        }
    }

    /// Nothing is changed any more: if the stream turns out long, a thread of its own computes the rest.
    pub(crate) fn settle(&mut self) {
        self.settled = true;
    }

    /// Whether the canonical form is computed too.
    pub(crate) fn wants_canonical(&self) -> bool {
        self.wants_canonical
    }

    /// The first two bytes of the stream, as far as seen.
    pub(crate) fn first_bytes(&self) -> &[u8] {
        &self.first
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) -> Result<()> {
        if self.first.len() < 2 {
            let missing = 2 - self.first.len();
            self.first.extend_from_slice(&bytes[..bytes.len().min(missing)]);
        }
        self.seen = self.seen.saturating_add(bytes.len() as u64);
        if self.settled
            && self.seen > SHORT
            && let State::Here(_) = &self.state
            && let State::Here(mut forms) = std::mem::replace(&mut self.state, State::Lost)
        {
            forms.drop_short();
            self.state = State::Behind(WriteBehind::new(forms, QUEUE)?);
        }
        match &mut self.state {
            State::Here(forms) => {
                if self.seen > SHORT {
                    forms.drop_short();
                }
                forms.update(bytes)
            }
            State::Behind(forms) => forms.write_all(bytes).map_err(Error::from),
            State::Lost => Err(lost()),
        }
    }

    pub(crate) fn finish(self) -> Result<Vec<Finished>> {
        match self.state {
            State::Here(forms) => forms.finish(),
            State::Behind(mut forms) => forms.finish()?.finish(),
            State::Lost => Err(lost()),
        }
    }
}

fn lost() -> Error {
    io::Error::other("the thread that computes digests was not started").into()
}

/// A reader that digests what passes through it.
pub(crate) struct Tapped<'d, R> {
    pub(crate) inner: R,
    pub(crate) digests: &'d std::cell::RefCell<Digests>,
}

impl<R: Read> Read for Tapped<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(out)?;
        self.digests.borrow_mut().update(&out[..count])?;
        Ok(count)
    }
}

/// Where a MIC appears once its stream has been read to the end.
#[derive(Debug, Clone, Default)]
pub struct MicSlot(Arc<OnceLock<Mic>>);

impl MicSlot {
    /// The MIC; none before the stream has ended.
    pub fn get(&self) -> Option<&Mic> {
        self.0.get()
    }

    /// Tells the MIC, at the end of a stream whose MIC is known already.
    pub fn set(&self, mic: Mic) {
        // A stream ends once; a second answer could only be the same.
        let _ = self.0.set(mic);
    }
}

/// A reader that computes the MIC of what passes through it and leaves it in a [`MicSlot`].
pub struct MicReader<R> {
    inner: R,
    algorithm: Digest,
    hasher: Option<Hasher>,
    slot: MicSlot,
}

impl<R> MicReader<R> {
    /// A tap on `inner`. Errors when the algorithm is not available.
    pub fn new(inner: R, algorithm: Digest) -> Result<Self> {
        MicReader::with_slot(inner, algorithm, MicSlot::default())
    }

    pub(crate) fn with_slot(inner: R, algorithm: Digest, slot: MicSlot) -> Result<Self> {
        let hasher = Some(Hasher::new(algorithm.md()).during("digest")?);
        Ok(MicReader { inner, algorithm, hasher, slot })
    }

    /// Where the MIC will appear.
    pub fn slot(&self) -> MicSlot {
        self.slot.clone()
    }
}

impl<R: Read> Read for MicReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(out)?;
        if count > 0 {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&out[..count]).during("digest")?;
            }
        } else if !out.is_empty()
            && let Some(mut hasher) = self.hasher.take()
        {
            let digest = hasher.finish().during("digest")?.to_vec();
            self.slot.set(Mic { algorithm: self.algorithm, digest });
        }
        Ok(count)
    }
}

impl<R: crate::mime::entity::Measured> crate::mime::entity::Measured for MicReader<R> {
    fn total_len(&self) -> Option<u64> {
        self.inner.total_len()
    }
}

#[cfg(test)]
mod tests;
