//! Reading one message: from the connection, through `smime`, into staging. How the sender is answered is not decided
//! here.

mod other_form;

use crate::admission::MORE_PARTS;
use crate::agreement::Partner;
use crate::coding::Coding;
use crate::diagnosis::Diagnosis;
use crate::disposition::{Disposition, DispositionError};
use crate::file_names::{safe_file_name, unlike};
use crate::legacy;
use crate::pgp_message::PgpReading;
use crate::receipt_form::{is_notification, is_protected, is_receipt};
use crate::rejection::Rejection;
use crate::related::{CONTENT_ID, CONTENT_TYPE};
use crate::root_part::RootPart;
use crate::signed_copy::SignedCopy;
use crate::staging_writer::StagingWriter;
use crate::streaming::BodyReader;
use model::{Error, ErrorKind, PeerText};
use openssl::x509::X509;
use serde_json::{Map, Value};
use smime::{
    ContentType, DecryptionKey, Digest, Headers, Keys, Limits, Mic, Part, PartReceiver, ReadOptions, Report,
    Wrapping,
};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use transport::{PartWriter, StagingArea};

/// Headers of the parts inside compressed content, on top of what the parts themselves may hold. Beyond
/// it expanding stops, also where nothing of it is kept.
const EXPANDED_HEADERS: u64 = 1024 * 1024;

/// Parts of one message. Each is a file that stays open until the message is proved.
pub(crate) const MOST_PARTS: usize = 50;
/// Bytes of a part's headers, which are kept until then as well.
const PART_HEADERS: usize = 16 * 1024;

/// The metadata of a part: its file name as the sender gave it.
const FILE_NAME: &str = "as2_file_name";

/// What is needed to read a message.
pub(crate) struct Reading {
    pub(crate) headers: Headers,
    pub(crate) body: BodyReader,
    /// How the body is coded.
    pub(crate) coding: Coding,
    pub(crate) keys: Vec<DecryptionKey>,
    pub(crate) certificates: Vec<X509>,
    /// OpenPGP keys, for a message by PGP/MIME.
    pub(crate) pgp: PgpReading,
    pub(crate) partner: Arc<Partner>,
    /// Digests for the MIC of an unsigned message, in the sender's order.
    pub(crate) digests: Vec<Digest>,
    pub(crate) now: SystemTime,
    pub(crate) staging: Arc<dyn StagingArea>,
    pub(crate) message_id: String,
    /// Places for parts, shared by all messages: [`MORE_PARTS`].
    pub(crate) more_parts: Arc<Semaphore>,
    /// Whether what was signed is kept, where it is not the head and the payload.
    pub(crate) keeps_signed: bool,
    /// Takes note of what is found wrong, for the operator.
    pub(crate) diagnosis: Arc<Diagnosis>,
}

/// A message that was read to its end and proved.
pub(crate) struct ReadMessage {
    pub(crate) report: Report,
    /// What OpenPGP protected around that; `None` of a message that is not packaged by PGP/MIME.
    pub(crate) pgp: Option<pgp_mime::Report>,
    pub(crate) parts: Vec<ReadPart>,
    /// A part of it is a receipt, or is protected by itself.
    pub(crate) is_composite: bool,
    /// What was signed, not yet committed, where that is not the head and the payload; with the place of its open file.
    pub(crate) signed_content: Option<(SignedCopy, OwnedSemaphorePermit)>,
}

impl ReadMessage {
    /// Whether S/MIME or OpenPGP has encrypted it.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.report.encrypted().is_some()
            || self.pgp.as_ref().is_some_and(|pgp| pgp.wrappings.contains(&Wrapping::Encrypted))
    }

    /// Whether S/MIME or OpenPGP has signed it.
    pub(crate) fn is_signed(&self) -> bool {
        self.report.signed().is_some() || self.pgp.as_ref().is_some_and(pgp_mime::Report::is_signed)
    }

    /// The digest of its outermost signature.
    pub(crate) fn signed_by(&self) -> Option<Digest> {
        match &self.pgp {
            // Inside an object that is encrypted as well, another digest than the one asked for may not have been computed.
            Some(pgp) => {
                let digest = pgp.signed.as_ref().map(|proof| proof.digest);
                digest.filter(|digest| pgp.mic(*digest).is_some())
            }
            None => self.report.signed().map(|proof| proof.digest),
        }
    }

    /// The MIC that its receipt carries; `None` when it was not computed with this algorithm.
    pub(crate) fn mic(&self, algorithm: Digest) -> Option<&Mic> {
        match &self.pgp {
            Some(pgp) => pgp.mic(algorithm),
            None => self.report.mic(algorithm),
        }
    }
}

/// A payload of it, not yet committed.
pub(crate) struct ReadPart<W = Box<dyn PartWriter>> {
    pub(crate) writer: W,
    /// As no other part of the message has it.
    pub(crate) file_name: String,
    pub(crate) media_type: Option<String>,
    /// What its headers say of it: its name as the sender gave it, its Content-ID, and its Content-Type where that has
    /// parameters.
    pub(crate) metadata: Map<String, Value>,
    pub(crate) headers: Headers,
    /// Held while the file is open.
    pub(crate) _place: Option<OwnedSemaphorePermit>,
}

/// What its sender is told of a message that cannot be read, where more would help nobody, or the wrong one.
pub(crate) const UNREAD: &str = "The message could not be processed.";

/// Why a message was not taken.
pub(crate) enum Unread {
    /// The message is at fault: the answer to the sender says so.
    Message {
        disposition: Disposition,
        /// The same in words, for the sender.
        text: String,
        /// For the operator alone.
        cause: String,
    },
    /// We are, or the connection: the sender gets no receipt and comes again.
    Ours(Error),
}

/// Reads a message. Blocks; the parts it began are dropped, and so removed, when it fails.
pub(crate) fn read(reading: Reading) -> Result<ReadMessage, Unread> {
    let agreement = &reading.partner.agreement;
    let options = ReadOptions {
        mic: match reading.digests.as_slice() {
            [] => vec![Digest::Sha256],
            [first, ..] => vec![*first],
        },
        // What the signer used counts, whatever the message announces: it passes but once. The usual
        // message costs one digest, and is read back from staging if its signer used another.
        digests: match agreement.legacy {
            true => vec![Digest::Sha256, Digest::Sha1, Digest::Md5],
            false => vec![Digest::Sha256],
        },
        once: true,
        alternatives: false,
        valid_at: Some(reading.now),
        accept_expired: agreement.accept_expired,
        accept_weak: agreement.legacy,
        limits: Limits {
            header_bytes: PART_HEADERS,
            expanded_bytes: agreement.largest_message.saturating_add(EXPANDED_HEADERS),
            ..Limits::default()
        },
        ..ReadOptions::default()
    };
    let keys = Keys { decrypt: &reading.keys, verify: &reading.certificates };
    let mut receiver = Receiver {
        staging: &reading.staging,
        message_id: &reading.message_id,
        partner: &reading.partner,
        more_parts: &reading.more_parts,
        room: agreement.largest_message,
        parts: Vec::new(),
        root: RootPart::default(),
        is_composite: false,
        has_payload: false,
        lacks: None,
        keeps_signed: reading.keeps_signed,
        signed: None,
    };
    let body = reading.coding.decoder(reading.body, agreement.largest_message);
    let report = match pgp_mime::is_pgp(&reading.headers) {
        true => {
            let read = reading.pgp.read(&reading.headers, body, (keys, &options), &mut receiver);
            read.map(|pgp| (pgp.inner.clone(), Some(pgp)))
        }
        false => {
            let read = smime::read_message(&reading.headers, body, keys, &options, &mut receiver);
            read.map(|report| (report, None))
        }
    };
    let (report, pgp) = match report {
        Ok(read) => read,
        Err(error) => {
            reading.diagnosis.note(&error, receiver.other_form(&error));
            return Err(why(error));
        }
    };
    let parts = receiver.parts.into_iter().map(ReadPart::written).collect::<io::Result<Vec<_>>>();
    let mut parts = parts.map_err(|error| Unread::Ours(stream_fault(error)))?;
    if let Some(up_to_root) = parts.get_mut(..=receiver.root.place()) {
        up_to_root.rotate_right(1);
    }
    let Receiver { is_composite, has_payload, signed: signed_content, .. } = receiver;
    let message = ReadMessage { report, pgp, parts, is_composite, signed_content };
    // By what is proved now, where `Receiver::unwrapped` went by what was claimed.
    let (encrypted, signed) = (message.is_encrypted(), message.is_signed());
    let lacks = Rejection::unprotected(agreement.receive_security, encrypted, signed);
    match lacks.filter(|_| has_payload) {
        Some(rejection) => Err(rejection.into()),
        None => Ok(message),
    }
}

impl From<Rejection> for Unread {
    fn from(rejection: Rejection) -> Self {
        Self::Message {
            disposition: rejection.disposition(),
            text: rejection.text(),
            cause: rejection.to_string(),
        }
    }
}

/// Who is at fault where a message cannot be read.
pub(crate) fn why(error: smime::Error) -> Unread {
    match error {
        smime::Error::Io(io) => match io.downcast::<Rejection>() {
            Ok(rejection) => rejection.into(),
            Err(io) => Unread::Ours(stream_fault(io)),
        },
        smime::Error::Refused(reason) => match reason.downcast::<Rejection>() {
            Ok(rejection) => (*rejection).into(),
            Err(reason) => Unread::Message {
                disposition: Disposition::Error(DispositionError::UnexpectedProcessingError),
                text: UNREAD.to_owned(),
                cause: chain(&*reason),
            },
        },
        error => Unread::Message {
            disposition: disposition_of(&error),
            text: match &error {
                smime::Error::WeakSignature(weakness) => {
                    format!("The signature uses {weakness}, which is not accepted.")
                }
                smime::Error::WeakEncryption(weakness) => {
                    format!("The message is encrypted with {weakness}, which is not accepted.")
                }
                _ => UNREAD.to_owned(),
            },
            cause: match &error {
                smime::Error::WeakSignature(_) | smime::Error::WeakEncryption(_) => {
                    format!("{}; {}", chain(&error), legacy::ADVICE)
                }
                _ => chain(&error),
            },
        },
    }
}

/// The disposition that each fault of a message deserves (RFC 4130, 7.5).
#[must_use]
pub fn disposition_of(error: &smime::Error) -> Disposition {
    use DispositionError as E;
    Disposition::Error(match error {
        smime::Error::DecryptionFailed
        | smime::Error::Undecipherable { .. }
        | smime::Error::NoRecipient { .. } => E::DecryptionFailed,
        smime::Error::SignatureInvalid
        | smime::Error::SignerUnknown { .. }
        | smime::Error::CertificateExpired
        | smime::Error::CertificateNotYetValid => E::AuthenticationFailed,
        smime::Error::WeakSignature(_) | smime::Error::WeakEncryption(_) => E::InsufficientMessageSecurity,
        smime::Error::IntegrityFailed { .. } => E::IntegrityCheckFailed,
        smime::Error::DecompressionFailed => E::DecompressionFailed,
        smime::Error::DigestUnannounced { .. } => {
            return Disposition::Failure("unsupported MIC-algorithms".into());
        }
        smime::Error::Unsupported(_) => return Disposition::Failure("unsupported format".into()),
        _ => E::UnexpectedProcessingError,
    })
}

/// The error of staging or of the connection that came up through `smime`.
fn stream_fault(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(io) => Error::local_io("receive a message into staging", io),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

struct Receiver<'a> {
    staging: &'a Arc<dyn StagingArea>,
    message_id: &'a str,
    partner: &'a Partner,
    more_parts: &'a Arc<Semaphore>,
    /// Bytes that all parts together may still take.
    room: u64,
    parts: Vec<ReadPart<StagingWriter>>,
    /// Which of them is the first file.
    root: RootPart,
    is_composite: bool,
    /// Whether one of them is a payload as it stands.
    has_payload: bool,
    /// What is missing of the agreed protection around all of them.
    lacks: Option<Rejection>,
    keeps_signed: bool,
    /// The copy of what is signed, with the place that its file takes while it is open.
    signed: Option<(SignedCopy, OwnedSemaphorePermit)>,
}

impl PartReceiver for Receiver<'_> {
    fn unwrapped(&mut self, wrappings: &[Wrapping]) -> io::Result<()> {
        self.lacks = Rejection::by_wrappings(self.partner.agreement.receive_security, wrappings);
        Ok(())
    }

    fn whole(&mut self, headers: &Headers) -> bool {
        self.root.multipart(headers);
        is_receipt(headers)
    }

    fn begin(&mut self, part: &Part) -> io::Result<Box<dyn Write + '_>> {
        let media_type = part.content_type();
        let kind = media_type.as_ref().map(ContentType::essence).unwrap_or_default();
        // A receipt needs no protection, and a part that is protected by itself may have what is missing around it.
        match is_receipt(&part.headers) || is_notification(kind) || is_protected(kind) {
            true => self.is_composite = true,
            false => {
                self.has_payload = true;
                if let Some(rejection) = self.lacks {
                    return Err(rejection.of_content());
                }
            }
        }
        let place = self.place()?;
        self.root.leaf(self.parts.len(), &part.headers);
        let file_name = safe_file_name(part.file_name().as_deref(), self.message_id);
        let others: Vec<&str> = self.parts.iter().map(|part| part.file_name.as_str()).collect();
        let file_name = unlike(file_name, &others);
        let writer = self.staging.begin().map_err(io::Error::other)?;
        self.parts.push(ReadPart {
            writer: StagingWriter::new(writer),
            file_name,
            metadata: metadata_of(part),
            headers: part.headers.clone(),
            media_type: media_type.map(|t| t.essence().to_owned()),
            _place: place,
        });
        match self.parts.last_mut() {
            Some(part) => Ok(Box::new(Staged {
                writer: &mut part.writer,
                room: &mut self.room,
                most: self.partner.agreement.largest_message,
            })),
            None => Err(io::Error::other("a part has no beginning")),
        }
    }

    fn signed_content(&mut self) -> io::Result<Option<Box<dyn Write + Send>>> {
        if !self.keeps_signed {
            return Ok(None);
        }
        // The message is not given up for what its evidence would have besides.
        let Ok(place) = self.further_place() else {
            let message_id = PeerText::from(self.message_id);
            tracing::warn!(%message_id, "what was signed of a message is not copied: too many messages with many parts arrive at the same time; its evidence has the signature and the payload");
            return Ok(None);
        };
        let copy = SignedCopy::new(self.staging.begin().map_err(io::Error::other)?);
        let writer = copy.writer(self.partner.agreement.largest_message);
        self.signed = Some((copy, place));
        Ok(Some(Box::new(writer)))
    }

    fn read_back(&mut self) -> io::Result<Option<Box<dyn Read + '_>>> {
        let Some(part) = self.parts.last() else { return Ok(None) };
        Ok(Some(Box::new(part.writer.read_back()?)))
    }
}

/// What is known of a part besides its bytes, name and media type.
pub(crate) fn metadata_of(part: &Part) -> Map<String, Value> {
    let safe = |raw: &[u8]| PeerText::new(raw).as_str().to_owned();
    [
        (FILE_NAME, part.file_name_raw().map(|raw| safe(&raw))),
        (CONTENT_ID, part.headers.get("Content-ID").map(safe)),
        (CONTENT_TYPE, part.content_type().map(|media| safe(media.to_string().as_bytes()))),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), Value::from(value?))))
    .collect()
}

impl ReadPart<StagingWriter> {
    /// The part with everything that was written to it.
    fn written(self) -> io::Result<ReadPart> {
        let Self { writer, file_name, media_type, metadata, headers, _place } = self;
        Ok(ReadPart { writer: writer.into_part()?, file_name, media_type, metadata, headers, _place })
    }
}

impl Receiver<'_> {
    /// A place for one more part; the first needs none.
    fn place(&self) -> io::Result<Option<OwnedSemaphorePermit>> {
        match self.parts.len() {
            0 => Ok(None),
            MOST_PARTS.. => Err(Rejection::TooManyParts { most: MOST_PARTS }.of_content()),
            _ => self.further_place().map(Some),
        }
    }

    /// A place for a file beside that of the first part.
    fn further_place(&self) -> io::Result<OwnedSemaphorePermit> {
        Arc::clone(self.more_parts).try_acquire_owned().map_err(|_| {
            io::Error::other(
                Error::transient(ErrorKind::Throttled, "receive one more part of a message")
                    .with("parts open", MORE_PARTS)
                    .advice(
                        "too many messages with many parts arrived at the same time; the sender may try again",
                    ),
            )
        })
    }
}

struct Staged<'a> {
    writer: &'a mut StagingWriter,
    room: &'a mut u64,
    most: u64,
}

impl Write for Staged<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.room.checked_sub(bytes.len() as u64) {
            Some(left) => *self.room = left,
            None => return Err(Rejection::TooLarge { most: self.most }.of_content()),
        }
        self.writer.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests;
