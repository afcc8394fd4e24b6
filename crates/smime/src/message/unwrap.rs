//! Removing the layers of a message: encryption, both kinds of signature, compression, in any nesting.

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Read};

use super::leaf::{is_one_plain_leaf, with_signed_bytes};
use super::options::{Keys, PartReceiver, ReadOptions};
use super::payload;
use super::repeated;
use super::report::{Layer, Report, SignedContent, Wrapping};
use super::teed::Teed;
use crate::algorithm::{Digest, oid};
use crate::ber::BerReader;
use crate::cms::expand::Expander;
use crate::cms::open::Decryptor;
use crate::cms::signer::SignerInfo;
use crate::cms::verify::{SignatureRequirements, Signers, Weakness};
use crate::cms::{self, Octets, block};
use crate::der::{self, Element};
use crate::error::{Error, Result};
use crate::mic::{Digests, Finished, MicRule, Tapped};
use crate::mime::content_type::ContentType;
use crate::mime::headers::{self, Headers};
use crate::mime::multipart::Multipart;
use crate::mime::transfer::{Base64Reader, TransferEncoding};

pub(crate) const CHUNK: usize = 64 * 1024;

/// Reads a message: removes every layer, passes the leaves to `receiver`, and verifies everything.
///
/// `headers` are those that came with the body (from HTTP: at least `Content-Type`, and
/// `Content-Transfer-Encoding` where it was sent). The body is read to its end unless an error
/// stops it. Signed or encrypted parts *inside* a plain multipart are handed out as they are:
/// a signature over one part must not seem to cover the others.
///
/// Errors distinguish what a receipt must distinguish: see [`Error`]. In constant memory.
pub fn read_message(
    headers: &Headers,
    body: impl Read,
    keys: Keys<'_>,
    options: &ReadOptions,
    receiver: &mut dyn PartReceiver,
) -> Result<Report> {
    let mut body = BufReader::with_capacity(CHUNK, body);
    let mut reader = Reader {
        keys,
        options,
        receiver,
        report: Report::default(),
        wrappings: Vec::new(),
        depth: 0,
        signed: false,
        malleable: false,
        signed_head: None,
        covered: None,
    };
    reader.entity(headers, &mut body)?;
    drain(&mut body)?;
    Ok(reader.report)
}

pub(crate) struct Reader<'a> {
    pub(crate) keys: Keys<'a>,
    pub(crate) options: &'a ReadOptions,
    pub(crate) receiver: &'a mut dyn PartReceiver,
    pub(crate) report: Report,
    /// The layers around the present entity, from the outside in.
    pub(crate) wrappings: Vec<Wrapping>,
    pub(crate) depth: usize,
    /// Inside a signature, which is verified later.
    pub(crate) signed: bool,
    /// Inside a cipher that does not authenticate its content: a person who has a message that was sent to us can
    /// change the plaintext and observe our answer.
    malleable: bool,
    /// The header section, with its end, of the signed entity whose body is the last leaf, byte for byte:
    /// with [`PartReceiver::read_back`] that is the signed content once more.
    signed_head: Option<Vec<u8>>,
    /// What the outermost signature covers, until the signature itself is read.
    covered: Option<SignedContent>,
}

impl Reader<'_> {
    pub(crate) fn descend(&mut self) -> Result<()> {
        self.depth += 1;
        let limit = self.options.limits.nesting;
        if self.depth > limit { Err(Error::limit("nested layers", limit as u64)) } else { Ok(()) }
    }

    /// Whether somebody may have put other content in the place of what is read, which nothing proves yet.
    pub(crate) fn is_open_to_change(&self) -> bool {
        self.malleable && !self.signed
    }

    fn entity(&mut self, headers: &Headers, body: &mut dyn BufRead) -> Result<()> {
        self.descend()?;
        let media = headers.content_type();
        let result = match media.as_ref().map(ContentType::essence) {
            Some("multipart/signed") => self.multipart_signed(media.as_ref(), body),
            Some("application/pkcs7-mime" | "application/x-pkcs7-mime") => {
                let mut body: Box<dyn BufRead + '_> = if self.depth == 1 {
                    repeated::without_headers(body, &self.options.limits)?
                } else {
                    Box::new(body)
                };
                let mut source = cms_bytes(headers, &mut body)?;
                self.cms(&mut source)
            }
            _ => payload::read(self, headers, body),
        };
        self.depth -= 1;
        result
    }

    /// An entity inside a layer, headers first.
    fn inner_entity(&mut self, source: &mut dyn BufRead) -> Result<()> {
        let (headers, mut body) = headers::split(source, &self.options.limits)?;
        self.entity(&headers, &mut body)?;
        drain(&mut body)
    }

    /// RFC 8551 section 3.5.3.
    fn multipart_signed(&mut self, media: Option<&ContentType>, body: &mut dyn BufRead) -> Result<()> {
        let parameter = |name| media.and_then(|media| media.parameter(name));
        let boundary = parameter("boundary")
            .ok_or_else(|| Error::malformed("multipart/signed", "it has no boundary parameter"))?;
        if let Some(other) = parameter("protocol").filter(|name| name.contains("pgp")) {
            return Err(Error::unsupported(format!("multipart/signed by {other}")));
        }
        let announced = parameter("micalg").unwrap_or_default();
        let announced = announced.split(',').filter_map(Digest::parse);
        let digests = RefCell::new(self.digests(announced)?);
        let missing = |what: &str| Error::malformed("multipart/signed", format!("{what} is missing"));

        let mut parts = Multipart::new(body, &boundary)?;
        let place = self.report.layers.len();
        let part = parts.next_part()?.ok_or_else(|| missing("the signed part"))?;
        self.digested_entity(part, &digests)?;

        let part = parts.next_part()?.ok_or_else(|| missing("the signature"))?;
        let signature = self.signature_bytes(part)?;
        let signers = Signers::parse(&signature, self.options.limits.signers)?;
        if !self.malleable {
            parts.finish()?;
        } else if !parts.finish_blank()? {
            return Err(Error::malformed("multipart/signed", "there is data after its last boundary"));
        }
        self.prove(place, &signers, digests.into_inner())?;
        self.keep_signature(|| signature);
        Ok(())
    }

    /// Completes what the outermost signature covers with the signature; of an inner one nothing is kept.
    fn keep_signature(&mut self, signature: impl FnOnce() -> Vec<u8>) {
        if !self.signed {
            let covered = self.covered.take();
            self.report.signed_content =
                covered.map(|covered| SignedContent { signature: signature(), ..covered });
        }
    }

    /// Reads the entity that is signed, every byte of it through the digests.
    fn digested_entity(&mut self, source: impl Read, digests: &RefCell<Digests>) -> Result<()> {
        let tapped = Tapped { inner: source, digests };
        let buffered = BufReader::with_capacity(CHUNK, tapped);
        let (headers, body) = headers::split(buffered, &self.options.limits)?;
        if !may_be_canonicalised(&headers) {
            digests.borrow_mut().exact_only();
        }
        let readable = self.options.once && is_one_plain_leaf(&headers);
        if self.options.once && !readable {
            digests.borrow_mut().keep_all();
        }
        digests.borrow_mut().settle();
        self.wrappings.push(Wrapping::Signed);
        let outside = std::mem::replace(&mut self.signed, true);
        let head = [headers.raw(), headers.end()];
        let mut kept = None;
        if !outside {
            let is_leaf = is_one_plain_leaf(&headers);
            self.covered = Some(SignedContent { head: head.concat(), is_leaf, signature: Vec::new() });
            kept = if is_leaf { None } else { self.receiver.signed_content()? };
        }
        let mut body = Teed::begin(body, kept, head)?;
        self.entity(&headers, &mut body)?;
        self.signed = outside;
        self.signed_head = readable.then(|| head.concat());
        drain(&mut body)?;
        body.end().map_err(Error::from)
    }

    fn signature_bytes(&self, part: impl BufRead) -> Result<Vec<u8>> {
        let (headers, mut body) = headers::split(part, &self.options.limits)?;
        let limit = self.options.limits.element_bytes;
        let mut bytes = Vec::new();
        cms_bytes(&headers, &mut body)?.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(Error::limit("signature part in bytes", limit));
        }
        Ok(bytes)
    }

    fn digests(&self, announced: impl Iterator<Item = Digest>) -> Result<Digests> {
        let mut algorithms: Vec<Digest> = announced.collect();
        if algorithms.iter().all(|digest| matches!(digest, Digest::Sha1 | Digest::Md5)) {
            algorithms.extend(&self.options.doubtful_digests);
        }
        algorithms.extend(&self.options.digests);
        if !self.options.accept_weak {
            // A signature by one of these is refused whatever it says.
            algorithms.retain(|digest| Weakness::of_digest(*digest).is_none());
        }
        Digests::with_short(&algorithms, &self.options.doubtful_digests, true)
    }

    fn demands(&self) -> SignatureRequirements {
        let ReadOptions { valid_at, accept_expired, accept_weak, .. } = *self.options;
        SignatureRequirements { valid_at, accept_expired, accept_weak }
    }

    fn prove(&mut self, place: usize, signers: &Signers, digests: Digests) -> Result<()> {
        let first = digests.first_bytes().to_vec();
        let canonical = digests.wants_canonical();
        let mut finished = digests.finish()?;
        let head = self.signed_head.take();
        let mut proof = signers.verify(&finished, &first, self.keys.verify, self.demands());
        if let (Err(Error::DigestUnannounced { digest }), Some(head)) = (&proof, &head)
            && let Some(again) = self.digest_again(*digest, head, canonical)?
        {
            finished.extend(again);
            proof = signers.verify(&finished, &first, self.keys.verify, self.demands());
        }
        let proof = proof.map_err(|error| {
            let error = signers.what_would_verify(error, &finished, &first, self.keys.verify);
            let outermost = self.covered.as_ref().filter(|_| !self.signed);
            with_signed_bytes(error, outermost, head, &self.options.limits)
        })?;
        self.report.layers.insert(place, Layer::Signed(proof));
        if !self.signed {
            // MICs of an inner signature are not what a receipt speaks of.
            let mics =
                finished.iter().flat_map(|digest| digest.mics(MicRule::Signed, MicRule::SignedCanonical));
            self.report.mics.extend(mics);
        }
        Ok(())
    }

    /// Digests the signed content again, from the bytes that the receiver kept.
    fn digest_again(
        &mut self,
        digest: Digest,
        head: &[u8],
        canonical: bool,
    ) -> Result<Option<Vec<Finished>>> {
        let Some(kept) = self.receiver.read_back()? else { return Ok(None) };
        let digests = RefCell::new(Digests::new(&[digest], canonical)?);
        digests.borrow_mut().update(head)?;
        drain_read(&mut Tapped { inner: kept, digests: &digests })?;
        digests.into_inner().finish().map(Some)
    }

    /// The content type of the CMS overrides `smime-type`.
    fn cms(&mut self, source: &mut dyn BufRead) -> Result<()> {
        let (kind, mut ber) = cms::begin(source, &self.options.limits)?;
        let outside = self.malleable;
        let result = match kind.as_slice() {
            oid::ENVELOPED_DATA => self.enveloped(&mut ber, false),
            oid::AUTH_ENVELOPED_DATA => self.enveloped(&mut ber, true),
            oid::SIGNED_DATA => self.opaque_signed(&mut ber),
            oid::COMPRESSED_DATA => self.compressed(&mut ber),
            other => Err(Error::unsupported(format!("CMS content type {}", der::dotted(other)))),
        };
        self.malleable = outside;
        // A proof covers nothing after the structure.
        let told = result.is_ok() || result.as_ref().is_err_and(speaks_of_a_signature);
        if self.malleable && told && !ber.is_blank_to_end()? {
            return Err(Error::malformed("CMS structure", "there is data after it"));
        }
        result
    }

    fn enveloped(&mut self, ber: &mut BerReader<&mut dyn BufRead>, authenticated: bool) -> Result<()> {
        let ReadOptions { limits, accept_weak, .. } = self.options;
        let mut decryptor = Decryptor::open(ber, authenticated, self.keys.decrypt, *accept_weak, limits)?;
        self.report.layers.push(Layer::Encrypted { cipher: decryptor.cipher(), key: decryptor.key() });
        self.wrappings.push(Wrapping::Encrypted);
        let proves_content = decryptor.cipher().is_authenticated();
        self.malleable |= !proves_content;
        let inner = self.decrypted_entity(&mut decryptor);
        if let Err(Error::Io(_)) = inner {
            return inner;
        }
        // Whatever the plaintext is, the ciphertext is first read to its end, so that neither the answer nor its
        // timing shows how much of it was valid.
        let result = match drain_read(&mut decryptor) {
            Ok(()) if proves_content => inner,
            Ok(()) => inner.map_err(veiled),
            Err(error) => Err(error),
        };
        result.map_err(|error| decryptor.failure(error))
    }

    fn decrypted_entity(&mut self, decryptor: &mut dyn Read) -> Result<()> {
        let buffered = BufReader::with_capacity(CHUNK, decryptor);
        match headers::split(buffered, &self.options.limits) {
            Ok((headers, mut body)) if !headers.is_empty() => {
                self.entity(&headers, &mut body)?;
                drain(&mut body)
            }
            Err(Error::Io(error)) => Err(Error::Io(error)),
            // Not MIME at all: the key was wrong and the padding valid by chance.
            _ => Err(Error::DecryptionFailed),
        }
    }

    /// RFC 8551 section 3.5.2.
    fn opaque_signed(&mut self, ber: &mut BerReader<&mut dyn BufRead>) -> Result<()> {
        let data = ber.expect(der::SEQUENCE, "SignedData")?;
        ber.enter(data)?;
        let version = ber.expect(der::INTEGER, "version")?;
        let version = ber.collect(version)?;
        let algorithms = ber.expect(der::SET, "digestAlgorithms")?;
        let algorithms = ber.collect(algorithms)?;
        let digests = RefCell::new(self.digests(announced(&algorithms).into_iter())?);
        let info = ber.expect(der::SEQUENCE, "EncapsulatedContentInfo")?;
        ber.enter(info)?;
        let kind = ber.expect(der::OID, "contentType")?;
        let kind = ber.collect(kind)?;
        let content_type = Element::parse(&kind)?.content.to_vec();
        cms::enter_content(ber)?;

        let place = self.report.layers.len();
        self.digested_entity(Octets(ber), &digests)?;
        // The explicit tag and EncapsulatedContentInfo.
        ber.leave()?;
        ber.leave()?;
        let carried = match ber.optional(der::context(0))? {
            Some(header) => ber.collect(header)?,
            None => Vec::new(),
        };
        let revoked = match ber.optional(der::context(1))? {
            Some(header) => ber.collect(header)?,
            None => Vec::new(),
        };
        let set = ber.expect(der::SET, "signerInfos")?;
        let set = ber.collect(set)?;
        for _ in 0..3 {
            ber.leave()?;
        }
        let infos = SignerInfo::parse_all(&Element::parse(&set)?, self.options.limits.signers)?;
        let signers = Signers { content_type, infos, carried };
        let proved = self.prove(place, &signers, digests.into_inner());
        proved.map_err(|error| if self.malleable { unverified(error) } else { error })?;
        let beside = [signers.carried.as_slice(), &revoked];
        self.keep_signature(|| block::without_content(&version, &algorithms, &kind, beside, &set));
        Ok(())
    }

    fn compressed(&mut self, ber: &mut BerReader<&mut dyn BufRead>) -> Result<()> {
        let expander = Expander::open(ber, &self.options.limits)?;
        self.report.layers.push(Layer::Compressed);
        self.wrappings.push(Wrapping::Compressed);
        self.inner_entity(&mut BufReader::with_capacity(CHUNK, expander))
    }
}

/// Whether the message was read as far as its signature.
fn speaks_of_a_signature(error: &Error) -> bool {
    matches!(
        error,
        Error::SignatureInvalid
            | Error::SignerUnknown { .. }
            | Error::CertificateExpired
            | Error::CertificateNotYetValid
            | Error::WeakSignature(_)
            | Error::IntegrityFailed { .. }
            | Error::DigestUnannounced { .. }
    )
}

/// The error of a plaintext that anybody may have changed. Only what a signature says about content that was complete
/// to its end is reported; everything else could depend on whether the padding was valid, and must look the same as
/// invalid padding.
fn veiled(error: Error) -> Error {
    match error {
        Error::Io(_) | Error::DecryptionFailed | Error::Undecipherable { .. } | Error::NoRecipient { .. } => {
            error
        }
        error if speaks_of_a_signature(&error) => error,
        error => Error::Undecipherable { cause: Box::new(error) },
    }
}

/// The same of an opaque signature, whose value ends the structure: with other bytes at its end the structure is as whole as
/// with its own. Only what was found by a signature that did verify is reported.
fn unverified(error: Error) -> Error {
    match error {
        Error::SignatureInvalid
        | Error::SignerUnknown { carried: None, .. }
        | Error::WeakSignature(_)
        | Error::DigestUnannounced { .. } => Error::Undecipherable { cause: Box::new(error) },
        error => error,
    }
}

/// The digests that an opaque signature announces; unknown ones are left for the signer.
fn announced(set: &[u8]) -> Vec<Digest> {
    let mut found = Vec::new();
    let Ok(set) = Element::parse(set) else { return found };
    let mut algorithms = set.children();
    while let Ok(Some(algorithm)) = algorithms.next() {
        if let Ok(Some(kind)) = algorithm.children().next() {
            found.extend(Digest::from_oid(kind.content));
        }
    }
    found
}

/// Some products sign text with CRLF line ends and send it with LF. Where the entity says that
/// it is no text, computing that form as well would be wasted work.
pub(crate) fn may_be_canonicalised(headers: &Headers) -> bool {
    match headers.transfer_encoding() {
        Ok(Some(TransferEncoding::SevenBit | TransferEncoding::EightBit)) => return true,
        Ok(Some(TransferEncoding::Binary)) => return false,
        _ => {}
    }
    let Some(media) = headers.content_type() else { return true };
    let is_binary = ["image", "audio", "video"].iter().any(|kind| media.is_kind(kind))
        || matches!(
            media.essence(),
            "application/octet-stream"
                | "application/zip"
                | "application/gzip"
                | "application/pdf"
                | "application/pkcs7-mime"
                | "application/x-pkcs7-mime"
        );
    !is_binary
}

/// The CMS bytes of a body. Its first byte tells base64 (`M`) from BER (`0`) better than the
/// headers do: some announce what they do not send, some send what they do not announce.
fn cms_bytes<'b>(headers: &Headers, body: &'b mut dyn BufRead) -> Result<Box<dyn BufRead + 'b>> {
    if headers.transfer_encoding()? == Some(TransferEncoding::QuotedPrintable) {
        return Ok(TransferEncoding::QuotedPrintable.decoder(Box::new(body)));
    }
    loop {
        let available = body.fill_buf()?;
        let blank = available.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let ended = available.is_empty();
        let base64 = available.get(blank) == Some(&b'M');
        let decided = blank < available.len();
        body.consume(blank);
        if base64 {
            let decoder = Base64Reader::new(body);
            return Ok(Box::new(BufReader::with_capacity(CHUNK, decoder)));
        }
        if decided || ended {
            return Ok(Box::new(body));
        }
    }
}

/// Reads the rest of a source, so that every digest and check below it gets its end. Errors: those of the source.
pub fn drain(source: &mut (impl BufRead + ?Sized)) -> Result<()> {
    loop {
        let count = match source.fill_buf() {
            Ok(available) => available.len(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        if count == 0 {
            return Ok(());
        }
        source.consume(count);
    }
}

fn drain_read(source: &mut dyn Read) -> Result<()> {
    drain(&mut BufReader::with_capacity(CHUNK, source))
}
