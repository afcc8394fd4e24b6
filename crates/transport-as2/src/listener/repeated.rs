//! Messages under a Message-ID, or the RefNum of a form, that was answered before: repetitions, and other messages that took
//! the same id.
//!
//! A partner may sign and encrypt a repetition anew, so that its bytes differ: what counts is the content, which has to be
//! read for that. Nothing of it is kept. What it is answered goes into the answer, or later to where its sender wants its
//! receipt.
//!
//! What is no repetition is refused by a receipt that is not signed, whatever it asks for: a signature does not cover the
//! Message-ID (RFC 8551, 3.1), so that anybody can post something under it, and a signed refusal would deny the message that was
//! accepted.

use super::Receiver;
use super::apart::Apart;
use super::committing::mic_for;
use super::receiver::Arrival;
use crate::agreement::DuplicatePolicy;
use crate::coding::Coding;
use crate::composite::Refused;
use crate::disposition::{Disposition, DispositionError};
use crate::exchange::is_exchange;
use crate::later_reply::{accepted, is_receipt};
use crate::parties::Parties;
use crate::receive::ReadMessage;
use crate::reject::{try_again_later, with_peer};
use crate::reply::{ReplyContent, mic_of, other_message_id, stored_reply};
use crate::request::RequestHead;
use crate::streaming::Arriving;
use model::{AuditEvent, Error, ErrorKind, EventKind, PeerText, Result, Sha256};
use net::http::PeerInfo;
use transport::{AnsweredMessage, PartWriter, StoredReply, content_digest};

/// Bytes that are read back at once.
const CHUNK: usize = 64 * 1024;

impl Receiver {
    /// Answers a message whose Message-ID was answered before.
    pub(super) async fn answer_again(
        &self,
        head: &RequestHead,
        coding: Coding,
        parties: Parties,
        arriving: &mut Arriving,
        peer: &PeerInfo,
        earlier: AnsweredMessage,
    ) -> Result<StoredReply> {
        let message = match self.read_whole(head, coding, &parties, arriving, peer, false).await? {
            Arrival::Message(message) => message,
            Arrival::Later(reply) => return Ok(reply),
            Arrival::Unreadable { disposition, text, cause } => {
                return self.refuse_repetition(head, &parties, peer, (disposition, text, cause)).await;
            }
        };
        // The certificates of a message about certificates are no part that is protected by itself.
        let message = match message.is_composite && !is_exchange(&message.parts) {
            false => *message,
            true => match self.take_apart(head, &parties, *message).await? {
                // Beside one that was posted they were taken then.
                Ok(Apart { message, .. }) if !earlier.from_answer => message,
                Ok(Apart { message, receipts }) => {
                    let answer = self.take_receipts(head, peer, receipts).await?;
                    if let Some(reply) = answer.filter(|_| message.parts.is_empty()) {
                        return Ok(reply);
                    }
                    message
                }
                Err(Refused { disposition, text, cause }) => {
                    return self.refuse_repetition(head, &parties, peer, (disposition, text, cause)).await;
                }
            },
        };
        // Signed as the answer to the first one is.
        let parties = parties.answering(&message.report);
        let by_pss =
            message.report.signed().is_some_and(|proof| proof.scheme == smime::SignatureScheme::RsaPss);
        let mic = mic_for(head, &message);
        let content = tokio::task::spawn_blocking(move || content_of(&message))
            .await
            .map_err(|error| Error::transient(ErrorKind::Internal, "hash a message").caused_by(error))??;
        match earlier.content {
            Some(first) if first != content => {
                let of_content = |event: AuditEvent| {
                    event
                        .detail("content", content.to_string())
                        .detail("first_content", first.to_string())
                        .detail("reason", format!("its {} was used before for other content", key_of(head).0))
                };
                self.refuse_other(head, &parties, peer, of_content).await
            }
            _ => match other_message_id(&earlier.reply, head) {
                Some(first) => {
                    let of_id = |event: AuditEvent| {
                        event
                            .peer_detail("first_message_id", first)
                            .detail("reason", "its RefNum was used before with another Message-ID")
                    };
                    self.refuse_other(head, &parties, peer, of_id).await
                }
                None => {
                    // What it asks for, and the MIC of what is around it, are its own.
                    let mic = mic.filter(|_| earlier.from_answer);
                    self.answer_repetition(head, &parties, peer, (mic, by_pss), earlier).await
                }
            },
        }
    }

    /// What cannot be read is no repetition.
    async fn refuse_repetition(
        &self,
        head: &RequestHead,
        parties: &Parties,
        peer: &PeerInfo,
        (disposition, text, cause): (Disposition, String, String),
    ) -> Result<StoredReply> {
        let event = self.refusal(peer, Some(head)).partner(&parties.partner.name);
        let event = event.peer_detail("reason", &cause).detail("disposition", disposition.to_string());
        self.record(parties.diagnosis.told(event)).await?;
        self.say_no(head, parties, peer, (disposition, text)).await
    }

    /// The same message once more, with its MIC where another one stood in the answer in which it came first, and whether it is
    /// signed by PSS.
    async fn answer_repetition(
        &self,
        head: &RequestHead,
        parties: &Parties,
        peer: &PeerInfo,
        (own_mic, by_pss): (Option<String>, bool),
        earlier: AnsweredMessage,
    ) -> Result<StoredReply> {
        let event = self.services.event(EventKind::MessageRepeated).partner(&parties.partner.name);
        let event = with_peer(event, peer).peer_detail("message_id", &head.message_id);
        self.services.audit.record(vec![event]).await?;
        let text = format!(
            "The message with the Message-ID {} had been received before and was not processed again.",
            head.message_id
        );
        let duplicate = "duplicate-document".to_owned();
        let reply = earlier.reply;
        let reply = match parties.partner.agreement.duplicates {
            DuplicatePolicy::Repeat
                if earlier.from_answer && !confirms(&reply, (head, parties), own_mic.as_deref()) =>
            {
                let disposition = Disposition::Processed;
                self.not_stored(head, parties, &ReplyContent { disposition, mic: own_mic, by_pss, text })?
            }
            DuplicatePolicy::Repeat => reply,
            // With the MIC of the first one, unless that came in an answer: what is answered is the message, and its Message-ID
            // names one content.
            DuplicatePolicy::Warn => {
                let (disposition, mic) =
                    (Disposition::Warning(duplicate), own_mic.or_else(|| mic_of(&reply)));
                self.not_stored(head, parties, &ReplyContent { disposition, mic, by_pss, text })?
            }
            DuplicatePolicy::Error => {
                let disposition = Disposition::Error(DispositionError::Other(duplicate));
                self.not_stored(head, parties, &ReplyContent { disposition, mic: None, by_pss, text })?
            }
        };
        Ok(self.give_again(head, parties, peer, reply, false).await?.unwrap_or_else(|| {
            let message_id = PeerText::from(head.message_id.as_str());
            tracing::info!(%message_id, "the receipt of a repeated message is still on its way, and is not sent a second time");
            accepted()
        }))
    }

    /// Another message under the id of an earlier one. "Duplicate" would tell the sender that we have it.
    async fn refuse_other(
        &self,
        head: &RequestHead,
        parties: &Parties,
        peer: &PeerInfo,
        with_reason: impl FnOnce(AuditEvent) -> AuditEvent,
    ) -> Result<StoredReply> {
        let event = self.services.event(EventKind::MessageContentDiffers).partner(&parties.partner.name);
        let event = with_peer(event, peer)
            .peer_detail("as2_from", &head.from)
            .peer_detail("as2_to", &head.to)
            .peer_detail("message_id", &head.message_id);
        self.record(with_reason(event)).await?;
        let (name, id) = key_of(head);
        let text = format!(
            "Another message was received before under the {name} {id}. This one was not processed: send it under a {name} of its \
             own."
        );
        let disposition = Disposition::Error(DispositionError::UnexpectedProcessingError);
        self.say_no(head, parties, peer, (disposition, text)).await
    }

    /// Gives an answer that says no, and is not signed. While the receipt of the first message is still on its way to the same
    /// sender, which would take it for the answer to this one, the sender is asked to come again.
    async fn say_no(
        &self,
        head: &RequestHead,
        parties: &Parties,
        peer: &PeerInfo,
        (disposition, text): (Disposition, String),
    ) -> Result<StoredReply> {
        let mut unsigned = head.clone();
        unsigned.mdn.signed = false;
        let answer = ReplyContent { disposition, mic: None, by_pss: false, text };
        let reply = self.not_stored(&unsigned, parties, &answer)?;
        let given = self.give_again(head, parties, peer, reply, true).await?;
        Ok(given.unwrap_or_else(|| {
            try_again_later(
                "The receipt for an earlier message with this Message-ID is still on its way: send this one again later.",
            )
        }))
    }

    /// An answer that is not stored: the stored one is that of the first message.
    fn not_stored(
        &self,
        head: &RequestHead,
        parties: &Parties,
        answer: &ReplyContent,
    ) -> Result<StoredReply> {
        stored_reply(&self.services, head, Some(parties), answer)
    }
}

/// Whether the confirmation of a message that came in an answer is what its repetition asks for: a receipt with its MIC, signed or
/// not, or none.
fn confirms(reply: &StoredReply, (head, parties): (&RequestHead, &Parties), mic: Option<&str>) -> bool {
    let media = reply.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("Content-Type"));
    let is_signed =
        media.is_some_and(|(_, value)| value.to_ascii_lowercase().starts_with("multipart/signed"));
    is_receipt(reply) == head.mdn.wanted
        && is_signed == parties.receipt_signer(head).is_some()
        && (!head.mdn.wanted || mic_of(reply).as_deref() == mic)
}

/// What names a message: its RefNum before its Message-ID.
fn key_of(head: &RequestHead) -> (&'static str, &str) {
    match head.form.as_ref().and_then(|form| form.ref_num.as_deref()) {
        Some(number) => ("RefNum", number),
        None => ("Message-ID", &head.message_id),
    }
}

/// The digest of what a message holds, by its parts in staging. Blocks.
fn content_of(message: &ReadMessage) -> Result<Sha256> {
    let parts = message.parts.iter().map(|part| sha256_of(&*part.writer)).collect::<Result<Vec<_>>>()?;
    Ok(content_digest(&parts))
}

fn sha256_of(part: &dyn PartWriter) -> Result<Sha256> {
    let (mut hasher, mut chunk, mut at) = (openssl::sha::Sha256::new(), vec![0; CHUNK], 0);
    loop {
        match part.read_at(&mut chunk, at)? {
            0 => return Ok(Sha256(hasher.finish())),
            count => {
                hasher.update(&chunk[..count]);
                at += count as u64;
            }
        }
    }
}
