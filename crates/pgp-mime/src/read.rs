//! Removing the OpenPGP layers of a message, in any nesting.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::SystemTime;

use pgp::composed::{Deserializable as _, DetachedSignature};
use pgp::packet::{Signature, SignatureType};
use pgp::ser::Serialize as _;
use smime::{
    Base64Reader, ContentType, Digest, Error, Headers, Limits, Mic, Multipart, Part, PartReceiver,
    QuotedPrintableReader, Result, SignedContent, Teed, TransferEncoding, Weakness, Wrapping, drain,
    is_one_plain_leaf,
};

use crate::cipher::announced;
use crate::digests::{Digests, Tapped};
use crate::error::{OpenPgpContext as _, limit, malformed};
use crate::keys::{OwnKey, PartnerKey};
use crate::report::{Proof, Report};
use crate::verify::{Demands, digest_of, salt, trailer, verify};

pub(crate) const CHUNK: usize = 64 * 1024;
const SIGNED: &str = "multipart/signed";
const ENCRYPTED: &str = "multipart/encrypted";
const SIGNATURE: &str = "OpenPGP signature";
/// Bytes of the part that says the version.
const LONGEST_VERSION: u64 = 16 * 1024;

/// Our keys and the partner's.
#[derive(Clone, Copy, Default)]
pub struct Keys<'a> {
    /// Our keys, any of which may be the recipient's.
    pub decrypt: &'a [&'a OwnKey],
    /// The partner's keys, any of which may verify.
    pub verify: &'a [&'a PartnerKey],
    /// For what is protected by S/MIME inside.
    pub smime: smime::Keys<'a>,
}

/// How to read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Caps.
    pub limits: Limits,
    /// Digests computed over signed content besides the one that the message announces, because the signature may use another.
    pub digests: Vec<Digest>,
    /// Digests of the MIC.
    pub mic: Vec<Digest>,
    /// The time at which the signer's key must be valid; none does not ask.
    pub valid_at: Option<SystemTime>,
    /// Whether it may have expired by then. Not valid yet is never accepted.
    pub accept_expired: bool,
    /// Whether MD5, SHA-1, short keys, ciphers with short blocks, and encryption without a modification detection code are
    /// accepted.
    pub accept_weak: bool,
    /// How what is inside is read.
    pub smime: smime::ReadOptions,
}

impl Default for ReadOptions {
    fn default() -> Self {
        ReadOptions {
            limits: Limits::default(),
            digests: vec![Digest::Sha256, Digest::Sha384, Digest::Sha512],
            mic: vec![Digest::Sha256],
            valid_at: None,
            accept_expired: false,
            accept_weak: false,
            smime: smime::ReadOptions::default(),
        }
    }
}

/// Whether a message with these headers is packaged by PGP/MIME.
#[must_use]
pub fn is_pgp(headers: &Headers) -> bool {
    headers.content_type().is_some_and(|media| is_layer(&media))
}

fn is_layer(media: &ContentType) -> bool {
    let by_pgp = || media.parameter("protocol").is_some_and(|name| name.to_ascii_lowercase().contains("pgp"));
    match media.essence() {
        // Only OpenPGP is known to use it, and some leave the protocol out.
        ENCRYPTED => by_pgp() || media.parameter("protocol").is_none(),
        SIGNED => by_pgp(),
        _ => false,
    }
}

/// Reads a message: removes every OpenPGP layer, hands what is inside to [`smime::read_message`], and verifies everything.
///
/// `headers` are those that came with the body. The body is read to its end unless an error stops it. Signed or encrypted
/// parts *inside* a plain multipart are handed out as they are: a signature over one part must not seem to cover the others.
/// In constant memory.
pub fn read_message(
    headers: &Headers,
    body: impl Read + Send,
    keys: Keys<'_>,
    options: &ReadOptions,
    receiver: &mut dyn PartReceiver,
) -> Result<Report> {
    let mut body = BufReader::with_capacity(CHUNK, body);
    let mut reader = Reader { keys, options, receiver, report: Report::default(), signed: false, depth: 0 };
    reader.entity(headers, &mut body)?;
    drain(&mut body)?;
    Ok(reader.report)
}

pub(crate) struct Reader<'a> {
    pub(crate) keys: Keys<'a>,
    pub(crate) options: &'a ReadOptions,
    pub(crate) receiver: &'a mut dyn PartReceiver,
    pub(crate) report: Report,
    /// Inside a signature, which is verified later.
    signed: bool,
    depth: usize,
}

impl Reader<'_> {
    pub(crate) fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        let most = self.options.limits.nesting;
        if self.depth > most { Err(limit("nested layers", most as u64)) } else { Ok(()) }
    }

    pub(crate) fn wrapped(&mut self, wrapping: Wrapping) -> Result<()> {
        self.report.wrappings.push(wrapping);
        self.deeper()
    }

    pub(crate) fn entity(&mut self, headers: &Headers, body: &mut (dyn BufRead + Send)) -> Result<()> {
        match headers.content_type() {
            Some(media) if is_layer(&media) && media.essence() == ENCRYPTED => {
                self.multipart_encrypted(&media, body)
            }
            Some(media) if is_layer(&media) => self.multipart_signed(&media, body),
            _ => {
                let around = self.report.wrappings.clone();
                let mut receiver = Around { receiver: &mut *self.receiver, around, signed: self.signed };
                let (keys, options) = (self.keys.smime, &self.options.smime);
                self.report.inner = smime::read_message(headers, body, keys, options, &mut receiver)?;
                Ok(())
            }
        }
    }

    /// RFC 3156 section 4.
    fn multipart_encrypted(&mut self, media: &ContentType, body: &mut (dyn BufRead + Send)) -> Result<()> {
        let missing = |what: &str| malformed(ENCRYPTED, format!("{what} is missing"));
        let boundary = media.parameter("boundary").ok_or_else(|| missing("its parameter 'boundary'"))?;
        let mut parts = Multipart::new(body, &boundary)?;
        let version = parts.next_part()?.ok_or_else(|| missing("the part with the version"))?;
        let mut version = BufReader::new(version.take(LONGEST_VERSION));
        let (headers, _) = Headers::read(&mut version, &self.options.limits)?;
        drop(version);
        let kind = headers.content_type();
        if kind.is_none_or(|kind| kind.essence() != "application/pgp-encrypted") {
            return Err(malformed(ENCRYPTED, "its first part is not application/pgp-encrypted"));
        }
        let mut part = parts.next_part()?.ok_or_else(|| missing("the encrypted part"))?;
        let (headers, pushed_back) = Headers::read(&mut part, &self.options.limits)?;
        let content = io::Cursor::new(pushed_back).chain(part);
        self.decoded(&headers, content)?;
        parts.finish()
    }

    /// The object in a part, with its transfer encoding off.
    fn decoded(&mut self, headers: &Headers, content: impl BufRead + Send) -> Result<()> {
        match headers.transfer_encoding()? {
            Some(TransferEncoding::Base64) => {
                self.object(&mut BufReader::with_capacity(CHUNK, Base64Reader::new(content)))
            }
            Some(TransferEncoding::QuotedPrintable) => {
                self.object(&mut BufReader::with_capacity(CHUNK, QuotedPrintableReader::new(content)))
            }
            _ => {
                let mut content = content;
                let result = self.object(&mut content);
                if result.is_ok() { drain(&mut content) } else { result }
            }
        }
    }

    /// RFC 3156 section 5.
    fn multipart_signed(&mut self, media: &ContentType, body: &mut (dyn BufRead + Send)) -> Result<()> {
        let missing = |what: &str| malformed(SIGNED, format!("{what} is missing"));
        let boundary = media.parameter("boundary").ok_or_else(|| missing("its parameter 'boundary'"))?;
        let named = media.parameter("micalg").unwrap_or_default();
        let mut algorithms: Vec<Digest> = named.split(',').filter_map(announced).collect();
        algorithms.extend(&self.options.digests);
        if !self.options.accept_weak {
            // A signature by one of these is refused whatever it says.
            algorithms.retain(|digest| Weakness::of_digest(*digest).is_none());
        }
        algorithms.extend(&self.options.mic);
        let mut digests = Digests::new(&algorithms, true)?;
        self.wrapped(Wrapping::Signed)?;
        let mut parts = Multipart::new(body, &boundary)?;
        let part = parts.next_part()?.ok_or_else(|| missing("the signed part"))?;
        let covered = {
            let tapped = Tapped { inner: part, digests: &mut digests };
            let mut tapped = BufReader::with_capacity(CHUNK, tapped);
            let (headers, pushed_back) = Headers::read(&mut tapped, &self.options.limits)?;
            self.signed_entity(&headers, io::Cursor::new(pushed_back).chain(tapped))?
        };
        let part = parts.next_part()?.ok_or_else(|| missing("the signature"))?;
        let signature = self.signature_bytes(part)?;
        parts.finish()?;
        let digest = |one: &Signature, algorithm, is_text| {
            if salt(one).is_some() {
                // It stands in the signature, and belongs before the content, which has passed.
                return Err(Error::Unsupported("a detached OpenPGP signature of version 6".into()));
            }
            digests.with(algorithm, is_text, &trailer(&one.to_bytes().within(SIGNATURE)?)?)
        };
        let signatures = signatures(&signature, self.options)?;
        let proof = prove((&signature, signatures), digest, self.keys.verify, self.options)?;
        let mics = digests.mics()?;
        self.proved(proof, mics, covered);
        Ok(())
    }

    /// Reads the entity that a signature covers. Of the outermost one, what it covers is returned, still without the
    /// signature.
    pub(crate) fn signed_entity(
        &mut self,
        headers: &Headers,
        mut body: impl BufRead + Send,
    ) -> Result<Option<SignedContent>> {
        if self.signed {
            self.entity(headers, &mut body)?;
            drain(&mut body)?;
            return Ok(None);
        }
        self.signed = true;
        let head = [headers.raw(), headers.end()];
        let is_leaf = is_one_plain_leaf(headers);
        let kept = if is_leaf { None } else { self.receiver.signed_content()? };
        let mut body = Teed::begin(body, kept, head)?;
        self.entity(headers, &mut body)?;
        drain(&mut body)?;
        body.end()?;
        self.signed = false;
        Ok(Some(SignedContent { head: head.concat(), is_leaf, signature: Vec::new() }))
    }

    /// A signature was proved. The outermost one is the last of them.
    pub(crate) fn proved(&mut self, proof: Proof, mics: Vec<Mic>, covered: Option<SignedContent>) {
        let signature = || proof.signature.clone();
        self.report.signed_content =
            covered.map(|covered| SignedContent { signature: signature(), ..covered });
        self.report.mics = mics;
        self.report.signed = Some(proof);
    }

    fn signature_bytes(&self, mut part: impl BufRead) -> Result<Vec<u8>> {
        let (headers, pushed_back) = Headers::read(&mut part, &self.options.limits)?;
        let content: Box<dyn BufRead + '_> = Box::new(io::Cursor::new(pushed_back).chain(part));
        let encoding = headers.transfer_encoding()?.unwrap_or(TransferEncoding::Binary);
        let most = self.options.limits.element_bytes.min(LARGEST_SIGNATURE);
        let mut bytes = Vec::new();
        encoding.decoder(content).take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            return Err(limit("signature part in bytes", most));
        }
        Ok(bytes)
    }
}

/// The largest detached signature, in bytes: it is kept as evidence.
const LARGEST_SIGNATURE: u64 = 64 * 1024;

/// The signatures of a detached one, in armour or not. Errors: it is none.
pub(crate) fn signatures(bytes: &[u8], options: &ReadOptions) -> Result<Vec<Result<Signature>>> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    let parsed = if first.is_some_and(|byte| byte & 0x80 != 0) {
        DetachedSignature::from_bytes_many(bytes)
    } else {
        DetachedSignature::from_armor_many(bytes).map(|(signatures, _)| signatures)
    };
    let signature = |one: pgp::errors::Result<DetachedSignature>| Ok(one.within(SIGNATURE)?.signature);
    Ok(parsed.within(SIGNATURE)?.take(options.limits.signers).map(signature).collect())
}

/// Verifies a detached signature: any of those in it will do. `digest_of_content` is asked for the digest of the content, as
/// exact bytes or as text, with what the signature adds to it; none by an algorithm that was not computed.
pub(crate) fn prove(
    (bytes, signatures): (&[u8], Vec<Result<Signature>>),
    digest_of_content: impl Fn(&Signature, Digest, bool) -> Result<Option<Vec<u8>>>,
    keys: &[&PartnerKey],
    options: &ReadOptions,
) -> Result<Proof> {
    let demands = Demands {
        valid_at: options.valid_at,
        accept_expired: options.accept_expired,
        accept_weak: options.accept_weak,
    };
    let proof = |one: Result<Signature>| {
        let one = one?;
        let (is_text, algorithm) = (is_text(&one)?, digest_of(&one)?);
        if let Some(weakness) = Weakness::of_digest(algorithm).filter(|_| !options.accept_weak) {
            return Err(Error::WeakSignature(weakness));
        }
        let digest = digest_of_content(&one, algorithm, is_text)?;
        verify(&one, &digest.ok_or(Error::DigestUnannounced { digest: algorithm })?, keys, demands)
    };
    let mut result = Err(malformed(SIGNATURE, "there is none"));
    for one in signatures {
        match proof(one) {
            Ok(proof) => return Ok(Proof { signature: bytes.to_vec(), ..proof }),
            Err(error) => result = Err(error),
        }
    }
    result
}

/// Whether a signature is one over text, whose line ends count as CRLF. Errors: it is not one over a document.
pub(crate) fn is_text(signature: &Signature) -> Result<bool> {
    match signature.typ() {
        Some(SignatureType::Binary) => Ok(false),
        Some(SignatureType::Text) => Ok(true),
        _ => Err(malformed(SIGNATURE, "it is not one over a document")),
    }
}

/// A receiver that is also told of the layers around.
struct Around<'r> {
    receiver: &'r mut dyn PartReceiver,
    around: Vec<Wrapping>,
    /// One of them is a signature, and what the outermost one covers is kept.
    signed: bool,
}

impl PartReceiver for Around<'_> {
    fn unwrapped(&mut self, wrappings: &[Wrapping]) -> io::Result<()> {
        let all = [self.around.as_slice(), wrappings].concat();
        self.receiver.unwrapped(&all)
    }

    fn whole(&mut self, headers: &Headers) -> bool {
        self.receiver.whole(headers)
    }

    fn begin(&mut self, part: &Part) -> io::Result<Box<dyn Write + '_>> {
        self.receiver.begin(part)
    }

    fn signed_content(&mut self) -> io::Result<Option<Box<dyn Write + Send>>> {
        if self.signed { Ok(None) } else { self.receiver.signed_content() }
    }

    fn read_back(&mut self) -> io::Result<Option<Box<dyn Read + '_>>> {
        self.receiver.read_back()
    }
}
