//! What a message is read with: keys, options, and who takes its parts.

use std::io::{self, Read, Write};
use std::time::SystemTime;

use openssl::x509::X509;

use super::limits::Limits;
use super::report::{Part, Wrapping};
use crate::algorithm::Digest;
use crate::cms::recipient::DecryptionKey;
use crate::mime::headers::Headers;

/// Our keys and the partner's.
#[derive(Clone, Copy, Default)]
pub struct Keys<'a> {
    /// Our keys, any of which may be the recipient's. If the message names the certificate of none of them, all are
    /// tried: the partner may go on with a certificate that was renewed under the same key.
    pub decrypt: &'a [DecryptionKey],
    /// The partner's pinned certificates, any of which may verify.
    pub verify: &'a [X509],
}

/// How to read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Caps.
    pub limits: Limits,
    /// Digests computed over signed content besides those that the message announces, because
    /// the signature may use another (SHA-256 and SHA-1, the latter where weak ones are accepted).
    pub digests: Vec<Digest>,
    /// Further such digests (SHA-384 and SHA-512): where that is likely, as the message announces none
    /// that is known or SHA-1, which some products always say; where it costs little, as the content is
    /// no longer than 1 MiB; and where else the message could not be verified, see
    /// [`once`](Self::once).
    pub doubtful_digests: Vec<Digest>,
    /// The message can be read only once, so it must be verified with whatever digest its signer used. Content that
    /// the receiver can read back ([`PartReceiver::read_back`]) is digested again if needed; for signed content that
    /// differs from what the receiver gets (several parts, a compressed or encoded one), all plausible digests are
    /// computed, which takes about three times as long as one.
    pub once: bool,
    /// Digests of the MICs of unsigned content, and of the alternatives (SHA-256).
    pub mic: Vec<Digest>,
    /// Whether MICs under the other rules are computed too, for one more pass of each digest.
    pub alternatives: bool,
    /// The time at which the signer's certificate must be valid; none does not ask.
    pub valid_at: Option<SystemTime>,
    /// Whether it may have expired by then. Not valid yet is never accepted.
    pub accept_expired: bool,
    /// Whether signatures by MD5, SHA-1 and short keys count, and triple DES and RC2 are decrypted;
    /// [`Proof`](crate::Proof) and [`Layer`](crate::Layer) name what was weak.
    pub accept_weak: bool,
}

impl Default for ReadOptions {
    fn default() -> Self {
        ReadOptions {
            limits: Limits::default(),
            digests: vec![Digest::Sha256, Digest::Sha1],
            doubtful_digests: vec![Digest::Sha384, Digest::Sha512],
            once: false,
            mic: vec![Digest::Sha256],
            alternatives: true,
            valid_at: None,
            accept_expired: false,
            accept_weak: false,
        }
    }
}

/// Takes the leaves of a message as they stream. They are **not proved yet**: signature, padding
/// and tag come last, so nothing may be published before [`read_message`](crate::read_message) has returned a report.
pub trait PartReceiver {
    /// The innermost entity is reached, inside these layers from the outside in. Called once, before the first leaf:
    /// a message that lacks a layer can be refused here, before any byte of it is kept. None of the layers is proved
    /// yet; only the [`Report`](super::report::Report) is.
    fn unwrapped(&mut self, _: &[Wrapping]) -> io::Result<()> {
        Ok(())
    }

    /// Whether a multipart with these headers, inside another one or a layer, is handed out whole as one leaf, in place of its
    /// parts one by one. Asked for each multipart of the innermost entity.
    fn whole(&mut self, _: &Headers) -> bool {
        false
    }

    /// A leaf begins. Its decoded bytes are written to the returned writer, which is flushed at its end.
    fn begin(&mut self, part: &Part) -> io::Result<Box<dyn Write + '_>>;

    /// Signed content begins that is not one leaf as it is handed out (several parts, a transfer encoding, another layer
    /// inside): all of it, its header section first, is written to the returned writer too, if there is one, byte for byte.
    /// Called for the outermost signature alone, before its first leaf.
    fn signed_content(&mut self) -> io::Result<Option<Box<dyn Write + Send>>> {
        Ok(None)
    }

    /// The bytes of the last leaf again, from their beginning; `None` if they were not kept. Called if a signature
    /// uses a digest that was not computed: the message itself can no longer be read.
    fn read_back(&mut self) -> io::Result<Option<Box<dyn Read + '_>>> {
        Ok(None)
    }
}
