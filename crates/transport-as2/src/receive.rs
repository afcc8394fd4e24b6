//! Reading one message: off the wire, through `smime`, into staging. Nothing is decided here about
//! what the sender is told.

use crate::disposition::{Disposition, DispositionError};
use crate::request::safe_file_name;
use crate::streaming::BodyReader;
use model::definition::{Partner, SendSecurity};
use model::{Error, PeerText};
use openssl::x509::X509;
use smime::{DecryptionKey, Digest, Headers, Keys, Part, PartReceiver, ReadOptions, Report};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::SystemTime;
use transport::{PartWriter, StagingArea};

/// What is needed to read a message.
pub(crate) struct Reading {
    pub(crate) headers: Headers,
    pub(crate) body: BodyReader,
    pub(crate) keys: Vec<DecryptionKey>,
    pub(crate) certificates: Vec<X509>,
    pub(crate) partner: Arc<Partner>,
    /// Digests for the MIC of an unsigned message, in the sender's order.
    pub(crate) digests: Vec<Digest>,
    pub(crate) now: SystemTime,
    pub(crate) staging: Arc<dyn StagingArea>,
    pub(crate) message_id: String,
}

/// A message that was read to its end and proved.
pub(crate) struct ReadMessage {
    pub(crate) report: Report,
    pub(crate) parts: Vec<ReadPart>,
    /// It holds a receipt, and no payload.
    pub(crate) is_receipt: bool,
}

/// A payload of it, not yet sealed.
pub(crate) struct ReadPart {
    pub(crate) writer: Box<dyn PartWriter>,
    pub(crate) file_name: String,
    /// The name as the sender gave it.
    pub(crate) raw_name: Option<PeerText>,
    pub(crate) media_type: Option<String>,
}

/// Why a message was not taken.
pub(crate) enum Unread {
    /// It is to blame: the sender is told so.
    Message {
        disposition: Disposition,
        /// For the operator; the sender sees the disposition alone.
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
        // The digests that a signature announces are computed anyway; this one covers signatures that
        // announce none. Each further one would cost a pass over the whole message.
        digests: vec![Digest::Sha256],
        alternatives: false,
        valid_at: (!agreement.accept_expired).then_some(reading.now),
        ..ReadOptions::default()
    };
    let keys = Keys { decrypt: &reading.keys, verify: &reading.certificates };
    let mut receiver = Receiver {
        staging: &reading.staging,
        message_id: &reading.message_id,
        parts: Vec::new(),
        is_receipt: false,
    };
    let report =
        smime::read_message(&reading.headers, reading.body, keys, &options, &mut receiver).map_err(why)?;
    let message = ReadMessage { report, parts: receiver.parts, is_receipt: receiver.is_receipt };
    enough(agreement.receive_security, &message.report)?;
    Ok(message)
}

/// Whether the message is protected as agreed.
fn enough(agreed: SendSecurity, report: &Report) -> Result<(), Unread> {
    let lacks = [
        (agreed.encrypts() && report.encrypted().is_none(), "encrypted"),
        (agreed.signs() && report.signed().is_none(), "signed"),
    ];
    match lacks.iter().find(|(lacks, _)| *lacks) {
        None => Ok(()),
        Some((_, what)) => Err(Unread::Message {
            disposition: Disposition::Error(DispositionError::InsufficientMessageSecurity),
            cause: format!("the message is not {what}, as receive_security = \"{agreed}\" asks"),
        }),
    }
}

fn why(error: smime::Error) -> Unread {
    if matches!(error, smime::Error::Io(_)) {
        return Unread::Ours(stream_fault(error));
    }
    Unread::Message { disposition: disposition_of(&error), cause: chain(&error) }
}

/// The disposition that each fault of a message deserves (RFC 4130, 7.5).
#[must_use]
pub fn disposition_of(error: &smime::Error) -> Disposition {
    use DispositionError as E;
    Disposition::Error(match error {
        smime::Error::DecryptionFailed | smime::Error::NoRecipient { .. } => E::DecryptionFailed,
        smime::Error::SignatureInvalid
        | smime::Error::SignerUnknown { .. }
        | smime::Error::CertificateExpired => E::AuthenticationFailed,
        smime::Error::IntegrityFailed { .. } => E::IntegrityCheckFailed,
        smime::Error::DecompressionFailed => E::DecompressionFailed,
        smime::Error::Unsupported(_) => return Disposition::Failure("unsupported format".into()),
        _ => E::UnexpectedProcessingError,
    })
}

/// The error of staging or of the connection that came up through `smime`.
fn stream_fault(error: smime::Error) -> Error {
    match error {
        smime::Error::Io(io) => match io.downcast::<Error>() {
            Ok(own) => own,
            Err(io) => Error::local_io("receive a message into staging", io),
        },
        other => Error::transient(model::ErrorKind::Internal, "receive a message").caused_by(other),
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
    parts: Vec<ReadPart>,
    is_receipt: bool,
}

impl PartReceiver for Receiver<'_> {
    fn begin(&mut self, part: &Part) -> io::Result<Box<dyn Write + '_>> {
        let media_type = part.content_type();
        self.is_receipt |=
            media_type.as_ref().is_some_and(|t| t.essence() == "message/disposition-notification");
        let raw = part.file_name_raw();
        let decoded = part.file_name();
        let writer = self.staging.begin().map_err(io::Error::other)?;
        self.parts.push(ReadPart {
            writer,
            file_name: safe_file_name(decoded.as_deref(), self.message_id),
            raw_name: raw.map(|raw| PeerText::new(&raw)),
            media_type: media_type.map(|t| t.essence().to_owned()),
        });
        match self.parts.last_mut() {
            Some(part) => Ok(Box::new(Staged(&mut *part.writer))),
            None => Err(io::Error::other("no part was begun")),
        }
    }
}

struct Staged<'a>(&'a mut dyn PartWriter);

impl Write for Staged<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
