//! Receipts that partners send later, for messages of ours. Nothing of them is staged: each is at most 1 MiB, is judged, and
//! goes into the record of its delivery, before its sender is answered.

mod reading;

use super::Receiver;
use crate::agreement::{Identity, MdnRequest, Partner, identity_named, partner_named};
use crate::coding::Coding;
use crate::composite::FoundReceipt;
use crate::destination::{JOINED_WRONGLY, LARGEST_KEPT, is_about_bytes};
use crate::diagnosis::of_receipt;
use crate::fallback::{self, ReceiptSigner};
use crate::later_evidence::of_awaited;
use crate::later_fallback::{OnceMore, once_more};
use crate::later_receipt::{
    Judged, correlation, digest, earlier, judge, named_by_number, not_proving, proving, was_sent_once,
};
use crate::legacy;
use crate::material::{Certificate, Material};
use crate::mdn::{LARGEST_MDN, ReadMdn, SignatureState};
use crate::prepared::{NOTE, asks_for_later, is_current};
use crate::receipt::{Expected, PartnerResponse};
use crate::reject::with_peer;
use crate::reply::plain_reply;
use crate::request::RequestHead;
use crate::sent_message::{ANSWERED, SentMessage, refusal_note};
use crate::streaming::Arriving;
use crate::transfer_id::{self, Transfer};
use crate::unknown::{UnknownAnswer, dropped};
use bytes::Bytes;
use http::StatusCode;
use model::{AuditEvent, DeliveryState, Error, ErrorKind, EventKind, Result, Retry, Timestamp, UNPROVEN_MDN};
use net::http::PeerInfo;
use openssl::x509::X509;
use pgp_mime::PartnerKey;
use reading::Collected;
use serde_json::Value;
use std::sync::Arc;
use transport::{Awaited, JudgedBy, Judgement, Resolution, Resolved, StoredReply};

/// The partner that sends a receipt, and what verifies its signatures.
struct Sender {
    material: Arc<Material>,
    /// Who we are to the partner.
    identity: Identity,
    partner: Partner,
    /// The certificates that verify.
    verifying: Vec<Arc<Certificate>>,
    certificates: Vec<X509>,
    /// The OpenPGP keys that verify.
    pgp: Vec<Arc<PartnerKey>>,
    /// The time at which they do.
    now: Timestamp,
}

/// A receipt that was read, from a partner that is known here.
struct Arrived<'a> {
    head: &'a RequestHead,
    peer: &'a PeerInfo,
    sender: Sender,
    read: ReadMdn,
    response: PartnerResponse,
}

impl Receiver {
    /// Takes a receipt, and gives the answer to whoever sent it.
    ///
    /// # Errors
    /// Nothing was recorded: the sender gets no answer, and sends the receipt again.
    pub(super) async fn take_receipt(
        &self,
        head: &RequestHead,
        coding: Coding,
        arriving: &mut Arriving,
        peer: &PeerInfo,
    ) -> Result<StoredReply> {
        let Some(sender) = self.sender_of(head)? else {
            let reason = "the AS2-From or AS2-To of the receipt is not known here";
            return self.unmatched(head, peer, None, reason, UNKNOWN_SENDER).await;
        };
        arriving.set_limit(LARGEST_MDN as u64);
        let trusted = (&sender.partner, &sender.certificates[..], &sender.pgp[..]);
        let read = self.read_receipt(head, (coding, sender.now), trusted, arriving, peer).await?;
        // Its place is kept until it is judged: that may read the whole payload.
        let (body, read, _admitted) = match read {
            Collected::Read(body, read, admitted) => (body, read, admitted),
            Collected::Answer(reply) => return Ok(reply),
        };
        let read = match *read {
            Ok(read) => read,
            Err(error) => {
                let (partner, reason) = (Some(&sender.partner), error.chain());
                return self.unmatched(head, peer, partner, &reason, "The receipt cannot be read.").await;
            }
        };
        let (status, headers, connection) = (StatusCode::OK, head.headers.clone(), Some(peer.connection));
        let response = PartnerResponse { status, headers, body, connection };
        self.match_receipt(&Arrived { head, peer, sender, read, response }).await
    }

    /// Takes a receipt that was a part of a message, or inside other layers, and gives the answer to whoever sent it.
    ///
    /// # Errors
    /// As [`Receiver::take_receipt`].
    pub(super) async fn take_found(
        &self,
        head: &RequestHead,
        peer: &PeerInfo,
        found: FoundReceipt,
    ) -> Result<StoredReply> {
        let Some(sender) = self.sender_of(head)? else {
            let reason = "the AS2-From or AS2-To of the receipt is not known here any more";
            return self.unmatched(head, peer, None, reason, UNKNOWN_SENDER).await;
        };
        let (status, connection) = (StatusCode::OK, Some(peer.connection));
        let headers = found.fields_beside(&head.headers);
        let FoundReceipt { read, body, .. } = found;
        let response = PartnerResponse { status, headers, body: Bytes::from(body), connection };
        self.match_receipt(&Arrived { head, peer, sender, read, response }).await
    }

    /// Who sends a receipt, by the definitions in force; `None` where it or we are unknown.
    fn sender_of(&self, head: &RequestHead) -> Result<Option<Sender>> {
        let material = self.materials.of(self.services.directory.definitions());
        let definitions = &*material.definitions;
        let parties = partner_named(definitions, &head.from).zip(identity_named(definitions, &head.to));
        let Some((partner, identity)) = parties else { return Ok(None) };
        let now = self.services.clock.now();
        let verifying = material.verifying(&partner, now)?;
        let certificates = verifying.iter().map(|known| known.certificate.clone()).collect();
        let pgp = material.pgp.verifying_keys(definitions, &partner, now)?;
        let material = Arc::clone(&material);
        Ok(Some(Sender { material, identity, partner, verifying, certificates, pgp, now }))
    }

    /// Finds the message that a receipt is about, and records what the receipt says of it.
    async fn match_receipt(&self, arrived: &Arrived<'_>) -> Result<StoredReply> {
        let Arrived { head, peer, sender: Sender { partner, .. }, read, .. } = arrived;
        let Some(original) = read.mdn.original_message_id.as_deref() else {
            let reason = "the receipt names no message (Original-Message-ID)";
            return self.unmatched(head, peer, Some(partner), reason, "The receipt names no message.").await;
        };
        let message_id = correlation(original);
        for _ in 0..MOST_JUDGEMENTS {
            if let Some(reply) = self.judge_once(arrived, &message_id).await? {
                return Ok(reply);
            }
        }
        Err(Error::transient(ErrorKind::Internal, "judge a receipt while its delivery changes")
            .with("message_id", &message_id))
    }

    /// Judges a receipt for this message, and records what it says; none where the message's delivery has changed
    /// meanwhile.
    async fn judge_once(&self, arrived: &Arrived<'_>, message_id: &str) -> Result<Option<StoredReply>> {
        let Arrived { head, peer, sender: Sender { partner, .. }, .. } = arrived;
        let Some(awaited) = self.intake.awaited(message_id).await? else {
            let reason = format!("no message {message_id} was sent from here");
            return self.unmatched(head, peer, Some(partner), &reason, NOT_AWAITED).await.map(Some);
        };
        // One that is named by its number has a Message-ID all the same. An earlier one of which nothing was noted keeps its
        // number: what refuses it is not about the message that was sent in its place.
        let message_id = named_by_number(&awaited.notes, message_id).unwrap_or(message_id);
        let sent = SentMessage::noted(&awaited.notes, message_id)?;
        if !is_from_receiver(arrived, &awaited, sent.as_ref()) {
            let reason = format!(
                "message {message_id} was not sent by {} to {}: the receipt counts for nothing",
                head.to, head.from
            );
            return self.unmatched(head, peer, Some(partner), &reason, NOT_AWAITED).await.map(Some);
        }
        let resolution = self.resolution(arrived, &awaited, sent.as_ref(), message_id).await?;
        let answer = match self.intake.resolve(message_id, resolution).await? {
            Resolved::Matched => "",
            Resolved::Already => "The receipt was recorded; it changed nothing.",
            Resolved::Unproven => {
                "The receipt was recorded, but it does not prove that the message was received."
            }
            Resolved::Unmatched => return Ok(Some(plain_reply(StatusCode::BAD_REQUEST, NOT_AWAITED))),
            Resolved::Changed => return Ok(None),
        };
        Ok(Some(plain_reply(StatusCode::OK, answer)))
    }

    /// What is recorded of a receipt.
    async fn resolution(
        &self,
        arrived: &Arrived<'_>,
        awaited: &Awaited,
        sent: Option<&SentMessage>,
        message_id: &str,
    ) -> Result<Resolution> {
        let Arrived { sender, read, response, .. } = arrived;
        let Sender { partner, verifying, certificates, pgp, now, .. } = sender;
        let agreement = match sent {
            Some(sent) => sent.agreement(&partner.agreement),
            None => partner.agreement.clone(),
        };
        let mic = sent.and_then(SentMessage::mic);
        let of = |fingerprint: fn(&SentMessage) -> &String| sent.map(|sent| fingerprint(sent).as_str());
        let expected = Expected {
            endpoint: &awaited.endpoint,
            agreement: &agreement,
            certificates,
            pgp,
            own_fingerprint: of(|sent| &sent.own_fingerprint).unwrap_or_default(),
            recipient_fingerprint: of(|sent| &sent.recipient_fingerprint).unwrap_or_default(),
            now: *now,
            message_id,
            earlier: earlier(awaited, sent, message_id),
            mic: mic.as_ref(),
        };
        let content_headers = sent.map(SentMessage::content_headers).unwrap_or_default();
        // Not read where nothing can come of it, but of one that was cancelled or has expired, whose receipt counts, and of one
        // that an unsigned refusal may have failed, which a signed receipt corrects.
        let is_signed = matches!(read.signature, SignatureState::Proved(_));
        let has_ended = match awaited.state {
            DeliveryState::Delivered => true,
            DeliveryState::Failed => !is_signed,
            _ => false,
        };
        let payload = (!has_ended).then(|| awaited.payload.clone());
        let judged = match agreement.mdn {
            MdnRequest::None => Judged::NoProof(unsolicited(message_id)),
            _ => judge(read, response, &expected, payload, content_headers).await,
        };
        let mut notes: Vec<(String, Value)> = Vec::new();
        if let Some(kept) = response.unproven_mdn(awaited.attempt, LARGEST_KEPT) {
            let kept = serde_json::to_value(kept)
                .map_err(|error| Error::permanent(ErrorKind::Internal, "keep a receipt").caused_by(error))?;
            notes.push((UNPROVEN_MDN.to_owned(), kept));
        }
        let (mut events, mut if_retried, mut evidence) = (Vec::new(), Vec::new(), None);
        let receipt = || not_proving(read, response, message_id, *now);
        let judgement = match judged {
            Judged::Proof(proof) => {
                let signer = proof.signed_by().unwrap_or_default();
                let known = ReceiptSigner::of(partner, (verifying, pgp), signer, *now);
                let signed_with = known.as_ref().map(|known| known.name);
                let outside = known.as_ref().and_then(|known| known.outside.clone());
                events.extend(fallback::event(&self.services, partner, outside.as_slice()));
                let parties = (&arrived.sender.identity, partner);
                evidence = sent.and_then(|sent| {
                    of_awaited(sent, &awaited.notes, message_id, parties, (certificates, pgp))
                });
                let (receipt, used) = proving(*proof, sent, signed_with, *now);
                events.extend(legacy::event(&self.services, partner, &used));
                Judgement::Proof(receipt)
            }
            // Another one was sent in its place, and that one's receipt is awaited.
            Judged::Refusal { error, .. } if !is_current(awaited.notes.get(NOTE), message_id) => {
                let error = response.on_connection(error);
                Judgement::NoProof { receipt: receipt(), error }
            }
            Judged::Refusal { error, may_contradict } => {
                let judged = (response.on_connection(error), may_contradict);
                let refused = self.refused(arrived, (awaited, sent), message_id, judged)?;
                notes.extend(refused.notes);
                if_retried = refused.if_retried;
                refused.judgement
            }
            Judged::NoProof(error) => {
                let error = of_receipt(error, &sender.material.definitions, partner, *now);
                let error = response.on_connection(error);
                Judgement::NoProof { receipt: receipt(), error }
            }
        };
        // A proof counts whatever was sent since.
        let judged_by = match judgement {
            Judgement::Proof(_) => None,
            Judgement::Refusal { .. } | Judgement::NoProof { .. } => Some(judged_by(awaited)),
        };
        let digest = Some(digest(read, &arrived.head.message_id, &response.body));
        let partner = Some(partner.name.clone());
        Ok(Resolution { judgement, partner, notes, events, if_retried, digest, judged_by, evidence })
    }

    /// What follows from a refusal of the message that was sent last.
    fn refused(
        &self,
        arrived: &Arrived<'_>,
        (awaited, sent): (&Awaited, Option<&SentMessage>),
        message_id: &str,
        (mut error, may_contradict): (Error, bool),
    ) -> Result<Resolution> {
        let Arrived { sender: Sender { partner, material, now, .. }, read, response, .. } = arrived;
        let receipt = not_proving(read, response, message_id, *now);
        let parties = (&arrived.sender.identity, partner);
        let is_joined_wrongly =
            sent.is_some_and(SentMessage::went_on) && is_about_bytes(&read.mdn.disposition);
        let follows = match sent {
            Some(sent) if !is_joined_wrongly => {
                once_more(&read.mdn.disposition, material, parties, (awaited, sent), message_id, *now)?
            }
            Some(_) | None => OnceMore::Not,
        };
        let is_signed = matches!(read.signature, SignatureState::Proved(_));
        // As well proved as was asked for when the message was sent, whatever is asked for by now.
        let is_certain = is_signed || may_contradict && sent.is_some_and(|sent| !sent.asks_for_signed());
        let follows = match follows {
            OnceMore::Sent(..) if !is_certain => OnceMore::Unusable(UNPROVED.to_owned()),
            follows => follows,
        };
        let mut notes = Vec::new();
        if is_joined_wrongly {
            // As after such an answer: the next attempt sends all of it under another transfer id.
            let fits_nothing = Transfer::new(&self.services, message_id, 0);
            notes.push((transfer_id::NOTE.to_owned(), fits_nothing.to_note()?));
            error = error.retry_as(Retry::Transient).advice(JOINED_WRONGLY);
        }
        let mut if_retried = Vec::new();
        match follows {
            OnceMore::Not => {}
            // Another message is made in its place, and that one's receipt is awaited.
            OnceMore::Handled => return Ok(Judgement::NoProof { receipt, error }.into()),
            OnceMore::Sent(more, words) => {
                notes.extend(more);
                if_retried.extend(fallback::event(&self.services, partner, &[words]));
                error = error.retry_as(Retry::Transient);
            }
            OnceMore::Unusable(why) => error = error.with("could not be sent once more", why),
            OnceMore::Spent(note) if is_certain => notes.push(note),
            OnceMore::Spent(_) => error = error.with("what it says of the keys", UNPROVED),
        }
        // While attempts go on by themselves, the partner may have what anybody could have refused: the same goes out again.
        if is_certain || error.retry() == Retry::Permanent {
            notes.push((ANSWERED.to_owned(), refusal_note(message_id, awaited.attempt)));
        }
        // Of a message sent more than once it may be about an earlier time than the proof; a notification of an error never is.
        let was_once = was_sent_once(awaited.attempt, sent) || arrived.head.is_error_notification();
        // Where its receipt came in the answer, no other one was asked for that is not signed.
        let is_expected =
            is_signed || asks_for_later(awaited.notes.get(NOTE)) || arrived.head.is_error_notification();
        let may_contradict = may_contradict && was_once && is_expected;
        let judgement = Judgement::Refusal { receipt, error, may_contradict };
        Ok(Resolution { notes, if_retried, ..Resolution::from(judgement) })
    }

    /// Records a receipt that is about no message of ours, and refuses it politely: its sender need not come again.
    ///
    /// # Errors
    /// It could not be recorded; or to unknown names no answer is to be given.
    async fn unmatched(
        &self,
        head: &RequestHead,
        peer: &PeerInfo,
        partner: Option<&Partner>,
        reason: &str,
        answer: &str,
    ) -> Result<StoredReply> {
        let event = with_peer(self.services.event(EventKind::ReceiptUnmatched), peer);
        let event = event
            .peer_detail("as2_from", &head.from)
            .peer_detail("as2_to", &head.to)
            .peer_detail("message_id", &head.message_id)
            .peer_detail("reason", reason);
        // Other answers to unknown names are a 200, which would say that the receipt is on record.
        let is_dropped = partner.is_none() && matches!(self.unknown, UnknownAnswer::Drop);
        let event = match is_dropped {
            true => event.detail("answered_with", self.unknown.as_str()),
            false => event.detail("status", StatusCode::BAD_REQUEST.as_u16()),
        };
        let event: AuditEvent = match partner {
            Some(partner) => event.partner(&partner.name),
            None => event,
        };
        self.record(event).await?;
        if is_dropped {
            return Err(dropped(reason));
        }
        Ok(plain_reply(StatusCode::BAD_REQUEST, answer))
    }
}

/// How often a receipt is judged while its delivery changes. Then its sender gets no answer, and sends it again.
const MOST_JUDGEMENTS: usize = 8;

/// Why no other message is sent after a refusal of which it is not certain that the partner sent it: the partner may have the
/// refused one.
const UNPROVED: &str = "the refusal is not as well proved as was agreed: anybody could have posted it";

/// What of a delivery its receipt is judged by, besides what was noted of the message once for all.
fn judged_by(awaited: &Awaited) -> JudgedBy {
    let keys = [NOTE, fallback::NOTE, ANSWERED];
    let notes = keys.into_iter().map(|key| (key.to_owned(), awaited.notes.get(key).cloned()));
    JudgedBy { attempt: awaited.attempt, notes: notes.collect() }
}

/// What is said of a receipt from or to names that are not known.
const UNKNOWN_SENDER: &str = "The sender or receiver is unknown to this system.";

/// What is said of a receipt for a message that is not known.
const NOT_AWAITED: &str = "No message is waiting for this receipt.";

/// The error of a receipt that was not asked for: whatever it says, it is recorded and nothing else.
fn unsolicited(message_id: &str) -> Error {
    Error::permanent(ErrorKind::Protocol, "use a receipt that was not asked for")
        .with("message_id", message_id)
}

/// Whether a receipt comes from the partner that its message went to, and is for us who sent it, by their names. Without a
/// note of the message these are the endpoint's.
fn is_from_receiver(arrived: &Arrived<'_>, awaited: &Awaited, sent: Option<&SentMessage>) -> bool {
    let Arrived { head, sender: Sender { material, partner, .. }, .. } = arrived;
    if let Some(sent) = sent {
        return sent.partner == partner.name && sent.to == head.from && sent.from == head.to;
    }
    let definitions = &*material.definitions;
    let Some(endpoint) = definitions.endpoints.get(&awaited.endpoint) else { return false };
    let own = identity_named(definitions, &head.to);
    endpoint.partner() == Some(partner.name.as_str())
        && own.is_some_and(|own| endpoint.options.text("identity") == Some(own.name.as_str()))
}
