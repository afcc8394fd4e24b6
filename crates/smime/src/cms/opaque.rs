//! Opaque signing as a stream: the content inside the SignedData (RFC 8551 section 3.5.2), for
//! partners that want `application/pkcs7-mime; smime-type=signed-data`.

use std::io::{self, Read};

use openssl::hash::Hasher;

use super::sign::{Signing, signing_failed};
use crate::algorithm::oid;
use crate::der;
use crate::error::{CryptoContext, Error, Result};
use crate::mic::{Mic, MicSlot};
use crate::mime::content_type::ContentType;
use crate::mime::entity::{Entity, EntityStream, Measured, read_full};
use crate::mime::headers::Headers;

const CHUNK: usize = 64 * 1024;

impl<B: Measured> Entity<B> {
    /// Wraps this entity in a SignedData together with its signature. The boundary of `signing`
    /// is not used. The MIC appears in the slot as for [`sign`](Entity::sign).
    pub fn sign_opaque(self, signing: Signing) -> Result<Entity<OpaqueBody<B>>> {
        let media = ContentType::new("application/pkcs7-mime")?
            .with("smime-type", "signed-data")
            .with("name", "smime.p7m");
        let headers = Headers::new()
            .with("Content-Type", media.to_string())?
            .with("Content-Disposition", "attachment; filename=smime.p7m")?;
        Ok(Entity::new(headers, OpaqueBody::new(self.into_stream()?, signing)?))
    }
}

impl<B: Measured> Entity<OpaqueBody<B>> {
    /// Where the MIC over the signed entity appears; ask before wrapping or reading.
    pub fn signed_mic(&self) -> MicSlot {
        self.body().slot.clone()
    }
}

/// The CMS message of an opaquely signed entity, pulled from its content.
pub struct OpaqueBody<B> {
    content: EntityStream<B>,
    signing: Signing,
    hasher: Hasher,
    chunk: Vec<u8>,
    ready: Vec<u8>,
    at: usize,
    /// Content and closing lengths; none writes segments of an indefinite length.
    lengths: Option<(u64, u64)>,
    total: Option<u64>,
    taken: u64,
    ended: bool,
    /// Signing failed. It cannot be tried again: the digest's state is gone.
    failed: bool,
    slot: MicSlot,
}

impl<B: Measured> OpaqueBody<B> {
    fn new(content: EntityStream<B>, signing: Signing) -> Result<Self> {
        let closing = signing.closing_len()? as u64;
        let lengths = content.total_len().map(|content| (content, closing));
        let too_long = || Error::limit("content in bytes", u64::MAX);
        let (head, total) = match lengths {
            Some((content, closing)) => {
                let head = definite_head(&signing, content, closing).ok_or_else(too_long)?;
                let total = (head.len() as u64 + closing).checked_add(content);
                (head, Some(total.ok_or_else(too_long)?))
            }
            None => (indefinite_head(&signing), None),
        };
        Ok(OpaqueBody {
            content,
            hasher: Hasher::new(signing.digest.md()).during("digest")?,
            signing,
            chunk: vec![0; CHUNK],
            ready: head,
            at: 0,
            lengths,
            total,
            taken: 0,
            ended: false,
            failed: false,
            slot: MicSlot::default(),
        })
    }

    fn make_ready(&mut self) -> Result<()> {
        let count = read_full(&mut self.content, &mut self.chunk)?;
        self.taken += count as u64;
        if self.lengths.is_some_and(|(len, _)| self.taken > len || count == 0 && self.taken < len) {
            return Err(Error::malformed("content", "it does not have the announced length"));
        }
        self.ready.clear();
        self.at = 0;
        if count > 0 {
            self.hasher.update(&self.chunk[..count]).during("digest")?;
            if self.lengths.is_none() {
                self.ready.extend(der::header(der::OCTET_STRING, count as u64));
            }
            self.ready.extend_from_slice(&self.chunk[..count]);
            return Ok(());
        }
        self.failed = true;
        let digest = self.hasher.finish().during("digest")?.to_vec();
        let closing = self.signing.closing(&digest)?;
        if self.lengths.is_none() {
            // The OCTET STRING, its explicit tag, EncapsulatedContentInfo.
            self.ready.extend_from_slice(&[0; 6]);
        }
        self.ready.extend(closing);
        if self.lengths.is_none() {
            // SignedData, its explicit tag, ContentInfo.
            self.ready.extend_from_slice(&[0; 6]);
        }
        self.slot.set(Mic { algorithm: self.signing.digest, digest });
        self.failed = false;
        self.ended = true;
        Ok(())
    }
}

fn definite_head(signing: &Signing, content: u64, closing: u64) -> Option<Vec<u8>> {
    // From the inside out: each header is counted in the length of the one around it.
    let mut head = Vec::new();
    let mut len = content;
    let mut surround = |tag: u8, before: &[u8], after: u64| -> Option<()> {
        len = len.checked_add(before.len() as u64)?.checked_add(after)?;
        let header = der::header(tag, len);
        len = len.checked_add(header.len() as u64)?;
        head = [header.as_slice(), before, head.as_slice()].concat();
        Some(())
    };
    surround(der::OCTET_STRING, &[], 0)?;
    surround(der::context(0), &[], 0)?;
    surround(der::SEQUENCE, &der::oid(oid::DATA), 0)?;
    surround(der::SEQUENCE, &signing.opening(), closing)?;
    surround(der::context(0), &[], 0)?;
    surround(der::SEQUENCE, &der::oid(oid::SIGNED_DATA), 0)?;
    Some(head)
}

fn indefinite_head(signing: &Signing) -> Vec<u8> {
    [
        &[der::SEQUENCE, 0x80][..],
        &der::oid(oid::SIGNED_DATA),
        &[der::context(0), 0x80, der::SEQUENCE, 0x80],
        &signing.opening(),
        &[der::SEQUENCE, 0x80],
        &der::oid(oid::DATA),
        &[der::context(0), 0x80, der::OCTET_STRING | der::CONSTRUCTED, 0x80],
    ]
    .concat()
}

impl<B: Measured> Read for OpaqueBody<B> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.ready.len() && !self.ended && !out.is_empty() {
            if self.failed {
                return Err(signing_failed());
            }
            self.make_ready()?;
        }
        let count = out.len().min(self.ready.len() - self.at);
        out[..count].copy_from_slice(&self.ready[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

impl<B: Measured> Measured for OpaqueBody<B> {
    fn total_len(&self) -> Option<u64> {
        self.total
    }
}
