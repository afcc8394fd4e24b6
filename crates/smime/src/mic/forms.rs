//! Digests of a stream in its exact form and with every bare LF read as CRLF.

use super::{Mic, MicRule, RuledMic};
use crate::algorithm::Digest;
use crate::error::{CryptoContext, Result};
use crate::threads::Sink;
use openssl::hash::Hasher;
use std::io::{self, Write};
use std::thread::JoinHandle;

/// One digest in both forms. The canonical state is split off at the first bare LF; until then
/// both are the same, so text with CRLF and bodies that need no canonical form cost one digest.
struct Twin {
    algorithm: Digest,
    exact: Hasher,
    canonical: Option<Hasher>,
    /// Given up when the stream turns out longer than [`SHORT`], unless told to keep all.
    only_short: bool,
}

/// Digests of a stream, several algorithms at once.
pub(crate) struct Forms {
    twins: Vec<Twin>,
    wants_canonical: bool,
    after_cr: bool,
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

impl Forms {
    /// Algorithms that are not available are left out, unless none is left; those of `short` serve while the stream is short.
    pub(crate) fn new(algorithms: &[Digest], short: &[Digest], wants_canonical: bool) -> Result<Self> {
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
            _ => Ok(Self { twins, wants_canonical, after_cr: false, scratch: Vec::new() }),
        }
    }

    /// The canonical form makes no sense for this content.
    pub(crate) fn exact_only(&mut self) {
        self.wants_canonical = false;
        for twin in &mut self.twins {
            twin.canonical = None;
        }
    }

    /// The stream may be long: all algorithms are kept.
    pub(crate) fn keep_all(&mut self) {
        for twin in &mut self.twins {
            twin.only_short = false;
        }
    }

    /// The stream is long.
    pub(crate) fn drop_short(&mut self) {
        self.twins.retain(|twin| !twin.only_short);
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) -> Result<()> {
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

impl Write for Forms {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Forms {
    fn sync(&self) -> io::Result<Option<JoinHandle<io::Result<()>>>> {
        Ok(None)
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
