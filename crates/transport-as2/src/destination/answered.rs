//! What else the answer to a message holds than its receipt: payloads of the partner ("HTTP Transport for Secure EDI", 2.6), and
//! the receipt that it asks for them (2.7), which is sent later.
//!
//! A receipt alone is read as it always was. What may hold a payload is read as a stream, in bounded memory; its payloads go
//! to staging, and become transfers when the attempt is recorded.

mod confirming;

use super::{As2Destination, LARGEST_KEPT};
use crate::agreement::{Identity, Partner};
use crate::answer_body::{self, Begun};
use crate::coding::Coding;
use crate::composite::{Composite, CompositeReader, FoundPayload, Proved, Refused};
use crate::file_names::unlike;
use crate::legacy;
use crate::material::{Material, Own};
use crate::mdn::ReadMdn;
use crate::names::read_name;
use crate::outgoing::Envelope;
use crate::pgp_message::PgpReading;
use crate::receipt::{PartnerResponse, Proof};
use crate::receipt_form::{is_plain_receipt, is_protected};
use crate::receive::Unread;
use crate::recorded::record;
use crate::rejection::Rejection;
use crate::request::RequestHead;
use crate::streaming::BodyReader;
use bytes::Bytes;
use http::response::Parts;
use model::{ConnectionId, Error, ErrorKind, EventKind, PeerText, RemotePath, Result, Retry, UNPROVEN_MDN};
use net::http::Body;
use serde_json::{Map, Value};
use smime::{ContentType, DecryptionKey, Digest, Headers};
use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::mpsc;
use transport::{Deliver, Reply, Sent, StagedPart};

/// What the log says where an event cannot be recorded.
const LOST: &str = "the event about the answer to a message that was delivered could not be recorded";

/// An answer that was read.
pub(crate) struct Answer {
    /// The fields of the receipt, where there is one beside payloads; else those of the answer.
    pub(crate) headers: Headers,
    /// The body, likewise; empty where payloads came without a receipt.
    pub(crate) body: Bytes,
    /// What else it holds.
    pub(crate) content: Option<AnswerContent>,
}

/// What an answer holds that is no receipt alone.
pub(crate) struct AnswerContent {
    /// The receipt among it.
    pub(crate) read: Option<ReadMdn>,
    payloads: Vec<FoundPayload>,
    refused: Vec<Refused>,
    /// What proves the payloads.
    proved: Option<Proved>,
    /// Its head, as that of a message.
    head: Option<RequestHead>,
    /// Whether the answer is still to be read as a receipt: it could not be read as anything else.
    is_unread: bool,
}

impl AnswerContent {
    /// Of an answer that cannot be read, for this reason.
    fn unread(refused: Refused) -> Self {
        let (payloads, refused) = (Vec::new(), vec![refused]);
        Self { read: None, payloads, refused, proved: None, head: None, is_unread: true }
    }

    /// Whether it has the receipt that was asked for, or may still be one.
    ///
    /// # Errors
    /// `Ambiguous`: there is none. A partner that has the message answers with the receipt when it is sent again.
    pub(crate) fn has_receipt(&self, message_id: &str) -> Result<()> {
        if self.read.is_some() || self.is_unread {
            return Ok(());
        }
        let error = Error::ambiguous(ErrorKind::Protocol, "get the receipt (MDN) for a message")
            .with("message_id", message_id);
        let error = self.refused.iter().fold(error, |error, part| error.with("not taken", &part.cause));
        Err(error
            .said(format!("an answer with {} payload(s) and without a receipt", self.payloads.len()))
            .advice("ask the partner to put its receipt beside the payload (multipart/mixed), or agree on no receipt (mdn.ask = \"none\")"))
    }
}

impl As2Destination {
    /// Reads the body of an answer.
    ///
    /// # Errors
    /// As [`answer_body::read`]; `Ambiguous`: what it holds cannot be read, or staging has no room for it.
    pub(crate) async fn read_answer(
        &self,
        head: &Parts,
        body: Body,
        envelope: &Envelope<'_>,
        receipt_wanted: bool,
    ) -> Result<Answer> {
        // A field that no MIME header can be is none of the receipt's.
        let headers = head.headers.iter().fold(Headers::new(), |headers, (name, value)| {
            headers.clone().with(name.as_str(), value.as_bytes()).unwrap_or(headers)
        });
        if !may_hold_payload(head, &headers, envelope) {
            let body = answer_body::read(head, body, receipt_wanted).await?;
            return Ok(Answer { headers, body, content: None });
        }
        // Whatever of it fails from here on, the partner may have the message.
        let reader = || self.reader(envelope).map_err(|error| error.retry_as(Retry::Ambiguous));
        match answer_body::begin(head, body).await? {
            Begun::Whole(body) if body.is_empty() || is_plain_receipt(&headers, &body) => {
                Ok(Answer { headers, body, content: None })
            }
            Begun::Whole(body) => {
                let (reader, read_headers, bytes) = (reader()?, headers.clone(), body.clone());
                let read = blocking(move || reader.read(&read_headers, Cursor::new(bytes))).await?;
                match read {
                    Ok(found) => Ok(answer(head, headers, found)),
                    // It may be a page. If it has a receipt that can be read, what else it holds is not taken.
                    Err(Unread::Message { disposition, text, cause }) => {
                        let content = AnswerContent::unread(Refused { disposition, text, cause });
                        Ok(Answer { headers, body, content: Some(content) })
                    }
                    Err(Unread::Ours(error)) => Err(error.retry_as(Retry::Ambiguous)),
                }
            }
            Begun::More(first, body) => {
                let reader = reader()?;
                let (coding, most) = (answer_body::coding(head)?, reader.agreement.largest_message);
                let found = streamed(reader, headers.clone(), coding, (first, body), most).await?;
                match found {
                    // Its status says what there is to say of the delivery.
                    Err(Unread::Message { disposition, text, cause }) if !receipt_wanted => {
                        let content = AnswerContent::unread(Refused { disposition, text, cause });
                        Ok(Answer { headers, body: Bytes::new(), content: Some(content) })
                    }
                    found => Ok(answer(head, headers, found.map_err(|unread| unreadable(unread, head))?)),
                }
            }
        }
    }

    /// What reads the partner's messages, as the definitions in force say.
    fn reader(&self, envelope: &Envelope<'_>) -> Result<CompositeReader> {
        let material = self.materials.of(self.services.directory.definitions());
        let (partner, identity) = self.sides(&material)?;
        let now = self.services.clock.now();
        let key = |own: &Arc<Own>| DecryptionKey {
            key: own.key.key.clone(),
            certificate: own.key.certificate.clone(),
        };
        let verifying = material.verifying(&partner, now)?;
        let evidence = partner.agreement.evidence;
        let definitions = &material.definitions;
        Ok(CompositeReader {
            keys: material.decrypting(&identity, now)?.iter().map(key).collect(),
            certificates: verifying.iter().map(|known| known.certificate.clone()).collect(),
            pgp: PgpReading {
                own: material.pgp.decrypting(definitions, &identity, now)?,
                partner: material.pgp.verifying_keys(definitions, &partner, now)?,
            },
            now: SystemTime::from(now),
            agreement: partner.agreement,
            digest: Digest::Sha256,
            staging: Arc::clone(&self.services.staging),
            message_id: envelope.seed.message_id.clone(),
            keeps_signed: evidence.keep_for.is_some() && evidence.keeps_content,
        })
    }

    fn sides(&self, material: &Material) -> Result<(Partner, Identity)> {
        let definitions = &material.definitions;
        let missing = |what: &'static str| {
            Error::permanent(ErrorKind::ConfigInvalid, "find the partner and identity of an AS2 endpoint")
                .with("endpoint", &self.endpoint.name)
                .with("missing", what)
        };
        let partner = self.endpoint.partner().ok_or_else(|| missing("partner"))?;
        let identity = self.endpoint.options.text("identity").ok_or_else(|| missing("identity"))?;
        Ok((Partner::of(definitions.partner(partner)?)?, Identity::of(definitions.identity(identity)?)?))
    }

    /// An attempt that has succeeded, with the payloads of its answer.
    ///
    /// # Errors
    /// `Ambiguous`: they cannot be staged. The message is sent again, and the partner repeats its answer.
    pub(crate) async fn with_replies(
        &self,
        delivery: &Deliver,
        sent: Sent,
        content: Option<AnswerContent>,
        (connection, message_id): (Option<ConnectionId>, &str),
    ) -> Result<Sent> {
        let Some(content) = content else { return Ok(sent) };
        let replies = self.replies(delivery, content, connection, message_id).await;
        let came = replies.map_err(|error| error.retry_as(Retry::Ambiguous))?;
        Ok(match sent {
            Sent::Delivered { receipt, .. } => Sent::Delivered { receipt, replies: came },
            Sent::Awaiting { deadline, connection, .. } => {
                Sent::Awaiting { deadline, connection, replies: came }
            }
        })
    }

    async fn replies(
        &self,
        delivery: &Deliver,
        content: AnswerContent,
        connection: Option<ConnectionId>,
        message_id: &str,
    ) -> Result<Vec<Reply>> {
        let AnswerContent { payloads, refused, proved, head, .. } = content;
        let partner = self.endpoint.partner().unwrap_or_default();
        let of_delivery = |kind| {
            let event = self.services.event(kind).partner(partner).flow(&delivery.flow);
            let mut event = event.delivery(delivery.claim.delivery).endpoint(&self.endpoint.name);
            event.connection = connection;
            event.peer_detail("in_reply_to", message_id)
        };
        for part in &refused {
            tracing::warn!(
                partner,
                message_id,
                reason = part.cause,
                "a payload in the answer to a message was refused"
            );
            let event = of_delivery(EventKind::MessageRefused).peer_detail("reason", &part.cause);
            let event = event.detail("disposition", part.disposition.to_string());
            record(&*self.services.audit, event, LOST).await;
        }
        let Some(around) = payloads.first().map(|first| first.around.clone()) else { return Ok(Vec::new()) };
        // What is not taken whole is neither confirmed nor remembered.
        let confirmation = match head.as_ref().filter(|_| refused.is_empty()) {
            Some(head) => self.confirmation(head, (&around, proved), connection).await?,
            None => None,
        };
        if !around.legacy.is_empty() {
            let material = self.materials.of(self.services.directory.definitions());
            let (partner, _) = self.sides(&material)?;
            if let Some(event) = legacy::event(&self.services, &partner, &around.legacy) {
                let event = event.flow(&delivery.flow).delivery(delivery.claim.delivery);
                record(&*self.services.audit, event.endpoint(&self.endpoint.name), legacy::LOST).await;
            }
        }
        let metadata = metadata(head.as_ref(), message_id);
        let parts = blocking(move || {
            let mut names: Vec<String> = Vec::new();
            payloads
                .into_iter()
                .map(|mut payload| {
                    let others: Vec<&str> = names.iter().map(String::as_str).collect();
                    payload.file_name = unlike(std::mem::take(&mut payload.file_name), &others);
                    names.push(payload.file_name.clone());
                    committed(payload, &metadata, connection)
                })
                .collect::<Result<Vec<_>>>()
        })
        .await??;
        let message =
            confirmation.as_ref().and_then(|confirmation| confirmation.message(head.as_ref()?, &parts));
        let mut replies: Vec<Reply> = parts.into_iter().map(Reply::from).collect();
        if let (Some(first), Some(confirmation)) = (replies.first_mut(), confirmation) {
            first.receipt = confirmation.receipt;
            first.message = message;
        }
        Ok(replies)
    }

    /// Keeps a receipt that was not asked for, and says that it counts for nothing: a 2xx is what proves the delivery.
    pub(crate) async fn note_unsolicited(&self, delivery: &Deliver, answer: &PartnerResponse, proof: &Proof) {
        let Some(disposition) = proof.unsolicited() else { return };
        let kept = answer.unproven_mdn(delivery.claim.attempt, LARGEST_KEPT).map(serde_json::to_value);
        let noted = match kept {
            Some(Ok(note)) => delivery.log.note(UNPROVEN_MDN, note).await.map_err(|error| error.chain()),
            Some(Err(error)) => Err(error.to_string()),
            None => Ok(()),
        };
        if let Err(error) = noted {
            tracing::error!(
                endpoint = self.endpoint.name,
                error,
                "a receipt that was not asked for could not be kept"
            );
        }
        let event = self.services.event(EventKind::ReceiptIgnored).flow(&delivery.flow);
        let mut event = event.delivery(delivery.claim.delivery).endpoint(&self.endpoint.name);
        event.connection = answer.connection;
        let event = event
            .peer_detail("receipt", disposition)
            .detail("why", "it was not asked for (mdn.ask = \"none\")");
        record(&*self.services.audit, event, LOST).await;
    }
}

const MIXED: &str = "multipart/mixed";

/// Whether the answer may hold a payload: by its media type, or because it names both parties as a message does.
fn may_hold_payload(head: &Parts, headers: &Headers, envelope: &Envelope<'_>) -> bool {
    if !head.status.is_success() {
        return false;
    }
    let media = headers.content_type();
    let essence = media.as_ref().map(ContentType::essence).unwrap_or_default();
    if essence == MIXED || is_protected(essence) {
        return true;
    }
    // Some servers say in words, between the same names, that they have a message: a payload is a message of its own.
    if essence == "text/plain" && headers.get("Message-ID").is_none() {
        return false;
    }
    let is = |field: &str, name: &str| {
        headers.get(field).is_some_and(|value| read_name(&String::from_utf8_lossy(value)) == name)
    };
    !matches!(essence, "" | "multipart/report" | "message/disposition-notification" | "text/html")
        && is("AS2-From", envelope.to.as_str())
        && is("AS2-To", envelope.from.as_str())
}

/// The answer of which this was found.
fn answer(head: &Parts, headers: Headers, found: Composite) -> Answer {
    let (proved, asks) = (found.proved(), RequestHead::read(&head.headers).ok());
    let Composite { receipts, payloads, refused, .. } = found;
    let mut content = AnswerContent { read: None, payloads, refused, proved, head: asks, is_unread: false };
    // One answer has one receipt.
    match receipts.into_iter().next() {
        Some(receipt) => {
            let headers = receipt.fields_beside(&headers);
            content.read = Some(receipt.read);
            Answer { headers, body: receipt.body.into(), content: Some(content) }
        }
        None => Answer { headers, body: Bytes::new(), content: Some(content) },
    }
}

/// Reads an answer whose first bytes have come, while the others come.
async fn streamed(
    reader: CompositeReader,
    headers: Headers,
    coding: Coding,
    (first, body): (Bytes, Body),
    most: u64,
) -> Result<Result<Composite, Unread>> {
    let (sender, stream) = BodyReader::channel();
    let reading = blocking(move || {
        let whole = Cursor::new(first).chain(stream);
        reader.read(&headers, coding.decoder(whole, most))
    });
    let (read, ()) = tokio::join!(reading, pump(body, sender, most));
    read
}

/// Moves the body, at most so many bytes of it, to the thread that reads it. Stops as soon as that one has.
async fn pump(mut body: Body, sender: mpsc::Sender<io::Result<Bytes>>, most: u64) {
    let mut room = most;
    loop {
        let piece = match body.next().await {
            Ok(Some(bytes)) if bytes.is_empty() => continue,
            Ok(Some(bytes)) => match room.checked_sub(bytes.len() as u64) {
                Some(left) => {
                    room = left;
                    Ok(bytes)
                }
                None => Err(io::Error::other(Rejection::TooLarge { most })),
            },
            // An empty piece is the end.
            Ok(None) => Ok(Bytes::new()),
            Err(error) => Err(io::Error::other(error)),
        };
        let has_ended = piece.as_ref().map_or(true, Bytes::is_empty);
        if sender.send(piece).await.is_err() || has_ended {
            return;
        }
    }
}

/// The error of an answer that cannot be read; the partner may have the message.
fn unreadable(unread: Unread, head: &Parts) -> Error {
    match unread {
        Unread::Ours(error) => error.retry_as(Retry::Ambiguous),
        Unread::Message { cause, .. } => {
            Error::ambiguous(ErrorKind::Protocol, "read what the partner answered")
                .with("status", head.status)
                .with("reason", PeerText::from(cause.as_str()))
                .advice("ask the partner what it answers: a receipt, a payload, or both in multipart/mixed")
        }
    }
}

fn committed(
    payload: FoundPayload,
    of_answer: &Map<String, Value>,
    connection: Option<ConnectionId>,
) -> Result<StagedPart> {
    let FoundPayload { writer, file_name, media_type, mut metadata, around } = payload;
    metadata.extend(of_answer.iter().map(|(key, value)| (key.clone(), value.clone())));
    let signer = around.signature.map(|signature| signature.certificate);
    for (key, value) in [
        ("as2_cipher", around.cipher.map(str::to_owned)),
        ("as2_signer", signer),
        ("as2_mic", around.mic.map(|mic| mic.to_string())),
    ] {
        metadata.extend(value.map(|value| (key.to_owned(), value.into())));
    }
    let staged = writer.commit()?;
    let file_name = RemotePath::from(file_name.as_str());
    Ok(StagedPart { staged, file_name, media_type, metadata, connection })
}

/// What applies to all payloads of an answer.
fn metadata(head: Option<&RequestHead>, message_id: &str) -> Map<String, Value> {
    let safe = |text: &str| Value::from(PeerText::from(text).as_str());
    let mut metadata = Map::new();
    metadata.insert("as2_in_reply_to".into(), safe(message_id));
    if let Some(head) = head {
        metadata.insert("as2_from".into(), safe(&head.from));
        metadata.insert("as2_to".into(), safe(&head.to));
        metadata.insert("as2_message_id".into(), safe(&head.message_id));
        if let Some(subject) = &head.subject {
            let subject = smime::decode_words(subject.as_bytes());
            metadata.insert("as2_subject".to_owned(), safe(&subject));
        }
    }
    metadata
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Error::ambiguous(ErrorKind::Internal, "read what the partner answered").caused_by(error)
    })
}

#[cfg(test)]
mod tests;
