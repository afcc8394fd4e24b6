//! Reading what may hold several things: a receipt beside payloads (the document "HTTP Transport for Secure EDI", 2.6 and 2.7), in the
//! answer to a message of ours or in a message of a partner.
//!
//! Each part may be protected by itself, or all of them together. `smime` hands out a protected part inside a plain multipart
//! as it is, because its signature covers nothing beside it; here it is read in its turn. A payload counts as protected by its
//! own layers and by those around it.

mod around;
mod collecting;
mod entity;

use crate::agreement::Agreement;
use crate::disposition::{Disposition, DispositionError};
use crate::mdn::{self, ReadMdn, SignatureState, Trust, Unproved};
use crate::pgp_message::PgpReading;
use crate::receive::{MOST_PARTS, UNREAD, Unread, disposition_of, why};
use crate::rejection::Rejection;
use crate::staging_writer::{ReadAlone, StagingWriter};
use collecting::{Collector, Leaf, Rooms};
use model::Result;
use openssl::x509::X509;
use serde_json::{Map, Value};
use smime::{ContentType, DecryptionKey, Digest, Headers, Keys, Limits, ReadOptions, Report};
use std::io::{self, Read};
use std::sync::Arc;
use std::time::SystemTime;
use transport::{PartWriter, StagingArea};

pub(crate) use around::{Around, ByPgp, Proved};

/// How many protected parts may be inside each other.
const DEEPEST: usize = 3;

/// What is needed to read it.
pub(crate) struct CompositeReader {
    /// Our keys that decrypt.
    pub(crate) keys: Vec<DecryptionKey>,
    /// The partner's certificates that verify.
    pub(crate) certificates: Vec<X509>,
    /// The OpenPGP keys of both sides, for what is packaged by PGP/MIME.
    pub(crate) pgp: PgpReading,
    /// When these must be valid.
    pub(crate) now: SystemTime,
    pub(crate) agreement: Agreement,
    /// The digest of the MIC of what is not signed.
    pub(crate) digest: Digest,
    pub(crate) staging: Arc<dyn StagingArea>,
    /// Names files without a name.
    pub(crate) message_id: String,
    /// Whether what is signed is copied to staging where that is not a head and a payload: it is evidence.
    pub(crate) keeps_signed: bool,
}

/// What was found.
#[derive(Default)]
pub(crate) struct Composite {
    pub(crate) receipts: Vec<FoundReceipt>,
    /// All of them proved, and protected as agreed.
    pub(crate) payloads: Vec<FoundPayload>,
    /// Parts that are not taken.
    pub(crate) refused: Vec<Refused>,
    /// The account of the entity that has the first payload.
    pub(crate) report: Option<Report>,
    /// What OpenPGP protected around that entity.
    pub(crate) pgp: Option<pgp_mime::Report>,
    /// What proves the whole.
    whole: Option<Proved>,
    /// What the parts of one message may still take, together.
    rooms: Option<Rooms>,
}

impl Composite {
    /// What proves all payloads: what is around them, or the whole where they are protected one by one.
    pub(crate) fn proved(&self) -> Option<Proved> {
        let mut proofs = self.payloads.iter().map(|payload| payload.around.proved.as_ref());
        let first = proofs.next()??;
        match proofs.all(|other| other.is_some_and(|other| Arc::ptr_eq(&other.report, &first.report))) {
            true => Some(first.clone()),
            false => self.whole.clone(),
        }
    }

    /// Takes a payload, with what is around it and the account of that.
    fn take(
        &mut self,
        payload: FoundPayload,
        around: &Around,
        (report, by_pgp): (&Report, Option<&pgp_mime::Report>),
    ) -> Result<(), Unread> {
        if self.payloads.len() >= MOST_PARTS {
            return Err(Rejection::TooManyParts { most: MOST_PARTS }.into());
        }
        if self.report.is_none() {
            (self.report, self.pgp) = (Some(report.clone()), by_pgp.cloned());
        }
        self.payloads.push(FoundPayload { around: around.clone(), ..payload });
        Ok(())
    }

    /// Names a part that is not taken. Each is an event: of a great many the first ones will do.
    fn refuse(&mut self, refused: Refused) {
        if self.refused.len() < MOST_PARTS {
            self.refused.push(refused);
        }
    }
}

/// Why a part is not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refused {
    pub(crate) disposition: Disposition,
    /// The same in words, for the sender.
    pub(crate) text: String,
    /// For the operator alone.
    pub(crate) cause: String,
}

impl Refused {
    /// A payload that is less protected than agreed.
    fn unprotected(file_name: &str, lacks: Rejection) -> Self {
        Self { disposition: lacks.disposition(), text: lacks.text(), cause: format!("{file_name}: {lacks}") }
    }

    /// The same to the sender as a failed decryption.
    pub(crate) fn undecipherable(&self) -> Self {
        let failed = smime::Error::DecryptionFailed;
        let disposition = disposition_of(&failed);
        if self.disposition == disposition {
            return self.clone();
        }
        Self { disposition, text: UNREAD.to_owned(), cause: format!("{failed}: {}", self.cause) }
    }
}

impl From<Refused> for Unread {
    fn from(refused: Refused) -> Self {
        let Refused { disposition, text, cause } = refused;
        Self::Message { disposition, text, cause }
    }
}

/// A receipt.
pub(crate) struct FoundReceipt {
    pub(crate) read: ReadMdn,
    /// As a MIME entity of its own, with its signature where it has one: header fields, and the body.
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

impl FoundReceipt {
    /// With its signature, if the signed bytes were copied.
    fn with_signature(
        self,
        (report, pgp): (&Report, Option<&pgp_mime::Report>),
        signed: Option<&[u8]>,
        unique: &str,
    ) -> Self {
        match entity::signed((report, pgp), signed, unique) {
            Some((headers, body)) => Self { headers, body, ..self },
            None => self,
        }
    }

    /// Its fields, with those of the message that say who sent it.
    pub(crate) fn fields_beside(&self, message: &Headers) -> Headers {
        let is_contents = |name: &str| {
            name.to_ascii_lowercase().starts_with("content-") || name.eq_ignore_ascii_case("MIME-Version")
        };
        let of_message = message.fields().iter().filter(|field| !is_contents(&field.name));
        of_message.chain(self.headers.fields()).fold(Headers::new(), |headers, field| {
            headers.clone().with(&field.name, &field.value).unwrap_or(headers)
        })
    }
}

/// A payload, not yet committed.
pub(crate) struct FoundPayload<W = Box<dyn PartWriter>> {
    pub(crate) writer: W,
    pub(crate) file_name: String,
    pub(crate) media_type: Option<String>,
    /// What its headers say of it.
    pub(crate) metadata: Map<String, Value>,
    pub(crate) around: Around,
}

impl FoundPayload<StagingWriter> {
    /// The same, written to its end.
    fn staged(self) -> Result<FoundPayload, Unread> {
        let Self { writer, file_name, media_type, metadata, around } = self;
        let writer = writer.into_part().map_err(staging_fault)?;
        Ok(FoundPayload { writer, file_name, media_type, metadata, around })
    }
}

impl CompositeReader {
    /// Reads an entity to its end. Blocks; what was staged is removed when it fails.
    ///
    /// # Errors
    /// It cannot be read, or is not proved. Of a multipart, parts that cannot be read, or are less protected than agreed, are
    /// named instead ([`Composite::refused`]). A receipt whose signature proves nothing is read all the same, for what it
    /// says ([`SignatureState`]).
    pub(crate) fn read(&self, headers: &Headers, mut body: impl Read + Send) -> Result<Composite, Unread> {
        let mut rooms = Rooms::new(self.agreement.largest_message);
        let mut found = Composite::default();
        self.entity(headers, &mut body, &Around::default(), (&mut rooms, 0), &mut found)?;
        Ok(found)
    }

    /// What is around the parts of a message: what OpenPGP has put there, then the layers of `report`.
    pub(crate) fn around(&self, report: &Report, pgp: Option<&pgp_mime::Report>) -> Around {
        let pgp = pgp.map(|pgp| ByPgp::new(pgp.clone(), &self.pgp.partner));
        Around::default().with((report, pgp.as_ref()), self.digest, None)
    }

    /// Whether a protected part that cannot be read, of this media type, is taken as it came, whatever is wrong with it, where what
    /// is around it is as agreed and proves its bytes: such a file may be signed by somebody else, or be for somebody else, such as an invoice (`.p7m`). Without an
    /// OpenPGP key of ours, one that is encrypted with OpenPGP is for whoever gets the file.
    pub(crate) fn is_for_another(&self, kind: &str, around: &Around) -> bool {
        let is_protected_around = around.cipher.is_some() || around.signature.is_some();
        let has_no_key = kind == "multipart/encrypted" && self.pgp.own.is_empty();
        around.lacks(&self.agreement).is_none()
            && (is_protected_around && kind != "multipart/signed" || has_no_key)
    }

    /// Reads a protected part that was found in a message, with what is around it, and adds what it holds.
    ///
    /// # Errors
    /// As [`CompositeReader::read`].
    pub(crate) fn read_within(
        &self,
        headers: &Headers,
        mut body: impl Read + Send,
        around: &Around,
        found: &mut Composite,
    ) -> Result<(), Unread> {
        let mut rooms = found.rooms.take().unwrap_or_else(|| Rooms::new(self.agreement.largest_message));
        let read = self.entity(headers, &mut body, around, (&mut rooms, 1), found);
        found.rooms = Some(rooms);
        read
    }

    /// A receipt that is a part of a message as it stands, with what is around it: the accounts of S/MIME and OpenPGP, and what
    /// was signed, if that was copied.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn receipt_within(
        &self,
        headers: &Headers,
        body: Vec<u8>,
        around: &Around,
        (report, pgp, signed): (&Report, Option<&pgp_mime::Report>, Option<&[u8]>),
    ) -> Result<FoundReceipt> {
        let state = around.signature.clone().map_or(SignatureState::None, SignatureState::Proved);
        let receipt = self.receipt(headers, body, state)?;
        Ok(receipt.with_signature((report, pgp), signed, &self.message_id))
    }

    fn entity(
        &self,
        headers: &Headers,
        body: &mut (dyn Read + Send),
        around: &Around,
        (rooms, depth): (&mut Rooms, usize),
        found: &mut Composite,
    ) -> Result<(), Unread> {
        if depth > DEEPEST {
            return Err(not_taken(
                "The message has too many protected parts inside each other.",
                format!("more than {DEEPEST} protected parts are inside each other"),
            ));
        }
        let protection = (self.agreement.receive_security, around);
        // Of what stands inside other layers, these are the proof.
        let kept = (self.keeps_signed && !around.has_layer).then_some(self.agreement.largest_message);
        let mut collector = Collector::new(&self.staging, &self.message_id, rooms, protection, kept);
        let keys = Keys { decrypt: &self.keys, verify: &self.certificates };
        let options = self.options();
        let read = match pgp_mime::is_pgp(headers) {
            true => {
                let read = self.pgp.read(headers, body, (keys, &options), &mut collector);
                read.map(|pgp| (pgp.inner.clone(), Some(pgp)))
            }
            false => {
                let read = smime::read_message(headers, body, keys, &options, &mut collector);
                read.map(|report| (report, None))
            }
        };
        let (leaves, copied, signed) = collector.into_parts();
        let is_receipt_alone = matches!(leaves.as_slice(), [Leaf::Receipt(..)]);
        let (report, pgp) = match read {
            Ok((report, pgp)) => (report, pgp.map(|pgp| ByPgp::new(pgp, &self.pgp.partner))),
            Err(error) => match Unproved::of(&error) {
                // What a receipt says counts for something although its signature proves nothing.
                Some(unproved) if is_receipt_alone => {
                    for leaf in leaves {
                        let Leaf::Receipt(headers, body) = leaf else { continue };
                        let state = SignatureState::Unproved(unproved.clone());
                        found.receipts.push(self.receipt(&headers, body, state).map_err(unreadable)?);
                    }
                    return Ok(());
                }
                _ => return Err(why(error)),
            },
        };
        let around = around.with((&report, pgp.as_ref()), self.digest, signed);
        let by_pgp = pgp.as_ref().map(|pgp| &*pgp.report);
        if depth == 0 {
            found.whole.clone_from(&around.proved);
        }
        let before = found.refused.len();
        let read =
            self.leaves((leaves, copied.as_deref()), (&report, by_pgp), &around, (rooms, depth), found);
        if !around.is_open_to_change {
            return read;
        }
        // No answer may tell that it could be decrypted.
        for refused in found.refused.iter_mut().skip(before) {
            *refused = refused.undecipherable();
        }
        read.map_err(|unread| match unread {
            Unread::Message { disposition, text, cause } => {
                Refused { disposition, text, cause }.undecipherable().into()
            }
            ours @ Unread::Ours(_) => ours,
        })
    }

    /// Reads the leaves of an entity, of which this much of what was signed was copied.
    fn leaves(
        &self,
        (leaves, copied): (Vec<Leaf>, Option<&[u8]>),
        (report, by_pgp): (&Report, Option<&pgp_mime::Report>),
        around: &Around,
        (rooms, depth): (&mut Rooms, usize),
        found: &mut Composite,
    ) -> Result<(), Unread> {
        for leaf in leaves {
            match leaf {
                Leaf::Receipt(headers, body) => {
                    let state = around.signature.clone().map_or(SignatureState::None, SignatureState::Proved);
                    let receipt = self.receipt(&headers, body, state).map_err(unreadable)?;
                    let accounts = (report, by_pgp);
                    let receipt = receipt.with_signature(accounts, copied, &self.message_id);
                    found.receipts.push(receipt);
                }
                Leaf::Protected(headers, payload) => {
                    let mut payload = payload.staged()?;
                    let before = (found.receipts.len(), found.payloads.len(), found.refused.len());
                    let was_first = found.report.is_none();
                    let media = headers.content_type();
                    let kind = media.as_ref().map(ContentType::essence).unwrap_or_default();
                    let mut body = ReadAlone::of(&mut *payload.writer);
                    match self.entity(&headers, &mut body, around, (&mut *rooms, depth + 1), found) {
                        Err(Unread::Message { .. }) if self.is_for_another(kind, around) => {
                            found.receipts.truncate(before.0);
                            found.payloads.truncate(before.1);
                            found.refused.truncate(before.2);
                            if was_first {
                                (found.report, found.pgp) = (None, None);
                            }
                            found.take(payload, around, (report, by_pgp))?;
                        }
                        // What else is there counts all the same.
                        Err(Unread::Message { disposition, text, cause }) => {
                            found.refuse(Refused { disposition, text, cause });
                        }
                        read => read?,
                    }
                }
                Leaf::Unprotected(file_name, lacks) => {
                    found.refuse(Refused::unprotected(&file_name, lacks));
                }
                Leaf::Payload(payload) => {
                    if let Some(lacks) = around.lacks(&self.agreement) {
                        found.refuse(Refused::unprotected(&payload.file_name, lacks));
                        continue;
                    }
                    found.take(payload.staged()?, around, (report, by_pgp))?;
                }
            }
        }
        Ok(())
    }

    fn receipt(&self, headers: &Headers, body: Vec<u8>, signature: SignatureState) -> Result<FoundReceipt> {
        // Its own bytes have no signature: what is around it has.
        let trust = Trust {
            certificates: &[],
            pgp: &[],
            now: self.now,
            accept_expired: self.agreement.accept_expired,
            legacy: self.agreement.legacy,
        };
        let headers = decoded(headers);
        let read = mdn::read(&headers, &body, trust)?;
        Ok(FoundReceipt { read: ReadMdn { signature, ..read }, headers, body })
    }

    fn options(&self) -> ReadOptions {
        let agreement = &self.agreement;
        ReadOptions {
            mic: vec![self.digest],
            digests: match agreement.legacy {
                true => vec![Digest::Sha256, Digest::Sha1, Digest::Md5],
                false => vec![Digest::Sha256],
            },
            once: true,
            alternatives: false,
            valid_at: Some(self.now),
            accept_expired: agreement.accept_expired,
            accept_weak: agreement.legacy,
            limits: Limits { expanded_bytes: agreement.largest_message, ..Limits::default() },
            ..ReadOptions::default()
        }
    }
}

/// The fields of a part whose body was decoded when it was taken.
fn decoded(headers: &Headers) -> Headers {
    let others =
        headers.fields().iter().filter(|field| !field.name.eq_ignore_ascii_case("Content-Transfer-Encoding"));
    others.fold(Headers::new(), |headers, field| {
        headers.clone().with(&field.name, &field.value).unwrap_or(headers)
    })
}

/// A receipt that cannot be read, where a message is expected.
fn unreadable(error: model::Error) -> Unread {
    not_taken("The receipt in the message cannot be read.", error.chain())
}

fn not_taken(text: &str, cause: String) -> Unread {
    let disposition = Disposition::Error(DispositionError::UnexpectedProcessingError);
    Unread::Message { disposition, text: text.to_owned(), cause }
}

fn staging_fault(error: io::Error) -> Unread {
    Unread::Ours(crate::streaming::stream_error(error))
}

#[cfg(test)]
mod tests;
