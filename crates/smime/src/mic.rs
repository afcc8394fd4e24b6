//! Message integrity checks: digests of a stream in its exact form and, beside it, with every
//! bare LF read as CRLF (the canonical form that some products sign).

mod every;

pub use every::every_mic;

use std::fmt;
use std::io::{self, Read};
use std::sync::{Arc, OnceLock};

use openssl::hash::Hasher;

use crate::algorithm::{Digest, NameStyle};
use crate::error::{CryptoContext, Result};
use crate::mime::words::base64_text;

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

/// One digest in both forms. The canonical state is split off at the first bare LF; until then
/// both are the same, so text with CRLF and bodies that need no canonical form cost one digest.
struct Twin {
    algorithm: Digest,
    exact: Hasher,
    canonical: Option<Hasher>,
    /// Given up when the stream turns out longer than [`SHORT`], unless told to keep all.
    only_short: bool,
}

/// Bytes up to which a digest that is hardly ever asked for costs too little to be missed.
const SHORT: u64 = 1024 * 1024;

/// Digests of a stream, several algorithms at once.
pub(crate) struct Digests {
    twins: Vec<Twin>,
    wants_canonical: bool,
    after_cr: bool,
    first: Vec<u8>,
    seen: u64,
    /// A chunk in canonical form.
    scratch: Vec<u8>,
}

/// The finished digests of one algorithm.
#[derive(Debug, Clone)]
pub(crate) struct Finished {
    pub(crate) algorithm: Digest,
    pub(crate) exact: Vec<u8>,
    /// Present when a bare LF made it differ.
    pub(crate) canonical: Option<Vec<u8>>,
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
        let mut twins: Vec<Twin> = Vec::new();
        let mut refused = None;
        let all = algorithms.iter().map(|a| (*a, false)).chain(short.iter().map(|a| (*a, true)));
        for (algorithm, only_short) in all {
            if twins.iter().any(|twin| twin.algorithm == algorithm) {
                continue;
            }
            match Hasher::new(algorithm.md()).during("digest") {
                Ok(exact) => twins.push(Twin { algorithm, exact, canonical: None, only_short }),
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) if twins.is_empty() => Err(error),
            _ => Ok(Digests {
                twins,
                wants_canonical,
                after_cr: false,
                first: Vec::new(),
                seen: 0,
                scratch: Vec::new(),
            }),
        }
    }

    /// The canonical form makes no sense for this content: drop it.
    pub(crate) fn exact_only(&mut self) {
        self.wants_canonical = false;
        for twin in &mut self.twins {
            twin.canonical = None;
        }
    }

    /// Keeps all algorithms, however long the stream turns out: what was not computed is lost.
    pub(crate) fn keep_all(&mut self) {
        for twin in &mut self.twins {
            twin.only_short = false;
        }
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
        if self.seen > SHORT {
            self.twins.retain(|twin| !twin.only_short);
        }
        if self.wants_canonical {
            self.update_canonical(bytes)?;
        }
        for twin in &mut self.twins {
            twin.exact.update(bytes).during("digest")?;
        }
        Ok(())
    }

    fn update_canonical(&mut self, bytes: &[u8]) -> Result<()> {
        let split = self.twins.first().is_some_and(|twin| twin.canonical.is_some());
        let bare = match bytes.first() {
            Some(b'\n') if self.after_cr => next_bare_lf(bytes, 1),
            _ => next_bare_lf(bytes, 0),
        };
        if !split && bare.is_some() {
            for twin in &mut self.twins {
                // `exact` has not seen these bytes yet: the states are still one.
                twin.canonical = Some(twin.exact.clone());
            }
        }
        if split || bare.is_some() {
            // Joined first: many small updates would cost more than the copy.
            self.scratch.clear();
            let mut from = 0;
            let mut next = bare;
            while let Some(at) = next {
                self.scratch.extend_from_slice(&bytes[from..at]);
                self.scratch.extend_from_slice(b"\r\n");
                from = at + 1;
                next = next_bare_lf(bytes, from);
            }
            self.scratch.extend_from_slice(&bytes[from..]);
            for canonical in self.twins.iter_mut().filter_map(|twin| twin.canonical.as_mut()) {
                canonical.update(&self.scratch).during("digest")?;
            }
        }
        if let Some(last) = bytes.last() {
            self.after_cr = *last == b'\r';
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Vec<Finished>> {
        self.twins
            .into_iter()
            .map(|mut twin| {
                let exact = twin.exact.finish().during("digest")?.to_vec();
                let canonical = match &mut twin.canonical {
                    Some(canonical) => Some(canonical.finish().during("digest")?.to_vec()),
                    None => None,
                };
                Ok(Finished { algorithm: twin.algorithm, exact, canonical })
            })
            .collect()
    }
}

/// Position of the next LF at or after `from` that no CR precedes.
fn next_bare_lf(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memchr_iter(b'\n', &bytes[from..])
        .map(|at| from + at)
        .find(|at| *at == 0 || bytes[at - 1] != b'\r')
}

impl Finished {
    /// The digests as MICs under a rule and its canonical counterpart.
    pub(crate) fn mics(&self, exact: MicRule, canonical: MicRule) -> Vec<RuledMic> {
        let mic = |rule, digest: &Vec<u8>| RuledMic {
            rule,
            mic: Mic { algorithm: self.algorithm, digest: digest.clone() },
        };
        let mut mics = vec![mic(exact, &self.exact)];
        mics.extend(self.canonical.iter().map(|digest| mic(canonical, digest)));
        mics
    }
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
