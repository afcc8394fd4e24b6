//! A message that was read and proved: its parts become durable, are recorded with the reply, and the reply is given.

use super::Receiver;
use super::going_on::went_on_at;
use crate::disposition::{Disposition, DispositionError};
use crate::evidence::{self, Received};
use crate::exchange::is_exchange;
use crate::fallback;
use crate::later_reply::given;
use crate::legacy;
use crate::material::hexadecimal;
use crate::parties::Parties;
use crate::pgp_message;
use crate::receive::ReadMessage;
use crate::reject::{try_again_later, with_peer};
use crate::reply::{ReplyContent, stored_reply};
use crate::request::RequestHead;
use model::{AuditEvent, Error, ErrorKind, RemotePath, Result};
use net::http::PeerInfo;
use serde_json::{Map, Value};
use smime::Weakness;
use transport::{Message, ReceivedFile, Reception, StagedPart, StagedPayload, StoredReply, Wanted};

impl Receiver {
    /// Makes the parts durable, records them with the reply, and only then gives it.
    pub(super) async fn commit(
        &self,
        head: &RequestHead,
        parties: &Parties,
        peer: &PeerInfo,
        message: ReadMessage,
        reception: Box<dyn Reception>,
    ) -> Result<StoredReply> {
        let mic = mic_for(head, &message);
        let metadata = metadata(head, parties, &message, mic.as_deref());
        let cause = match self.takes(parties, &message, &metadata, reception.as_ref()) {
            Takes::Yes => None,
            Takes::Not(cause) => Some(cause),
            Takes::Later(cause) => return self.come_again(head, parties, peer, &cause).await,
        };
        if let Some(cause) = cause {
            let answer = ReplyContent {
                disposition: Disposition::Error(DispositionError::UnexpectedProcessingError),
                mic: None,
                by_pss: false,
                text: "The message was read, but no flow accepts this file.".into(),
            };
            return self.refuse(head, parties, peer, reception, answer, &cause).await;
        }
        let message_by_pss =
            message.report.signed().is_some_and(|proof| proof.scheme == smime::SignatureScheme::RsaPss);
        let events = self.events(head, parties, &message, peer);
        let ReadMessage { report, pgp, parts, signed_content, .. } = message;
        let committed = tokio::task::spawn_blocking(move || {
            let signed_content = match signed_content.and_then(|(copy, _)| copy.into_part()) {
                Some(part) => Some(part.commit()?),
                None => None,
            };
            let parts = parts
                .into_iter()
                .map(|part| Ok((part.writer.commit()?, part.file_name, part.media_type, part.metadata)))
                .collect::<Result<Vec<(StagedPayload, String, Option<String>, Map<String, Value>)>>>()?;
            Ok::<_, Error>((parts, signed_content))
        });
        let (committed, signed_content) = committed
            .await
            .map_err(|e| Error::transient(ErrorKind::Internal, "commit a message").caused_by(e))??;
        let parts = committed
            .into_iter()
            .map(|(staged, file_name, media_type, metadata)| StagedPart {
                staged,
                file_name: RemotePath::from(file_name.as_str()),
                media_type,
                metadata,
                connection: Some(peer.connection),
            })
            .collect();
        let answer = ReplyContent {
            disposition: Disposition::Processed,
            mic,
            by_pss: message_by_pss,
            text: format!(
                "The message from {} to {} with the Message-ID {} was received and stored.",
                head.from, head.to, head.message_id
            ),
        };
        let reply = stored_reply(&self.services, head, Some(parties), &answer)?;
        let evidence = evidence::of_received(Received {
            head,
            partner: &parties.partner,
            identity: &parties.identity.name,
            report: &report,
            pgp: pgp.as_ref(),
            mic: answer.mic.as_deref(),
            signer: parties.signer(&report, pgp.as_ref()),
            receipt_signer: parties.receipt_signer(head),
            reply: &reply,
            signed_content,
        })?;
        let receipts = self.later_receipts(head, parties, peer, &reply).await?;
        // Where the receipt comes later, the answer is nothing but a status.
        let within = parties.partner.agreement.answer_within.filter(|_| parties.receipt_to.is_none());
        let answer_until = within.map(|within| self.services.clock.now() + within);
        let message = Message {
            listener: self.listener.clone(),
            endpoint: format!("as2/{}", parties.identity.name),
            partner: Some(parties.partner.name.clone()),
            parts,
            metadata,
            events,
            evidence,
            receipts,
            answer_until,
        };
        match reception.commit(message, reply.clone()).await {
            Ok(_) => Ok(given(parties, reply)),
            Err(error) if error.kind() == ErrorKind::Throttled => {
                self.come_again(head, parties, peer, &error.chain()).await
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a flow here takes each part of the message, by its name and metadata.
    fn takes(
        &self,
        parties: &Parties,
        message: &ReadMessage,
        of_message: &Map<String, Value>,
        reception: &dyn Reception,
    ) -> Takes {
        let partner = &parties.partner.name;
        if message.parts.is_empty() {
            return Takes::Not("the message contains no payload".to_owned());
        }
        if is_exchange(&message.parts) {
            return Takes::Not(
                "certificates are proposed in a message of their own, signed as a whole".to_owned(),
            );
        }
        let names = message.parts.iter().map(|part| RemotePath::from(part.file_name.as_str()));
        let names: Vec<RemotePath> = names.collect();
        let files = names.iter().zip(&message.parts).map(|(file_name, part)| ReceivedFile {
            file_name,
            of_message,
            metadata: &part.metadata,
        });
        let files: Vec<ReceivedFile<'_>> = files.collect();
        let wanted = reception.wanted_files(&self.listener, Some(partner), &files);
        for (name, wanted) in names.iter().zip(wanted) {
            match wanted {
                Wanted::Yes => {}
                Wanted::No(why) => {
                    return Takes::Not(format!("no flow accepts {name} from partner {partner}: {why}"));
                }
                Wanted::Paused(cause) => return Takes::Later(cause),
            }
        }
        Takes::Yes
    }

    /// Accepts nothing for the moment: the answer asks the sender to send the message again later.
    async fn come_again(
        &self,
        head: &RequestHead,
        parties: &Parties,
        peer: &PeerInfo,
        cause: &str,
    ) -> Result<StoredReply> {
        let event = self.refusal(peer, Some(head)).partner(&parties.partner.name);
        self.record(event.peer_detail("reason", cause).detail("status", 503)).await?;
        Ok(try_again_later("This message cannot be accepted at the moment: send it again later."))
    }

    /// The events of what of an exchange was too weak for today, though allowed, and of keys and certificates that were used
    /// outside their windows.
    pub(super) fn events(
        &self,
        head: &RequestHead,
        parties: &Parties,
        message: &ReadMessage,
        peer: &PeerInfo,
    ) -> Vec<AuditEvent> {
        let report = &message.report;
        let mut weak = legacy::of_report(report);
        weak.extend(message.pgp.iter().flat_map(pgp_message::weak));
        if head.mdn.wanted && head.mdn.signed && !head.mdn.by_pgp {
            weak.extend(parties.legacy.clone());
            let digest = legacy::receipt_digest(&head.mdn.digests, &parties.partner.agreement);
            weak.extend(
                Weakness::of_digest(digest).map(|weak| format!("the signature of our receipt: {weak}")),
            );
        }
        let weak = legacy::event(&self.services, &parties.partner, &weak);
        let outside = fallback::event(
            &self.services,
            &parties.partner,
            &parties.used_outside(report, message.pgp.as_ref()),
        );
        let events = weak.into_iter().chain(outside);
        events.map(|event| with_peer(event, peer).peer_detail("message_id", &head.message_id)).collect()
    }
}

/// The MIC of a message, as its receipt has it.
pub(super) fn mic_for(head: &RequestHead, message: &ReadMessage) -> Option<String> {
    // The SignerInfo's digest wins over what was asked for.
    let algorithm = message.signed_by().or_else(|| head.mdn.digests.first().copied());
    message.mic(algorithm.unwrap_or(smime::Digest::Sha256)).map(|mic| mic.to_text(head.mdn.names))
}

/// Whether the flows here take a message.
enum Takes {
    Yes,
    /// Never, for this reason.
    Not(String),
    /// Not at the moment, for this reason.
    Later(String),
}

fn metadata(
    head: &RequestHead,
    parties: &Parties,
    message: &ReadMessage,
    mic: Option<&str>,
) -> Map<String, Value> {
    // Flows choose by these keys: a new one belongs into `received_keys`.
    let safe = |text: &str| Value::from(model::PeerText::from(text).as_str());
    let mut metadata = Map::new();
    metadata.insert("as2_from".into(), safe(&head.from));
    metadata.insert("as2_to".into(), safe(&head.to));
    metadata.insert("as2_message_id".into(), safe(&head.message_id));
    if let Some(subject) = &head.subject {
        metadata.insert("as2_subject".into(), safe(&smime::decode_words(subject.as_bytes())));
    }
    if let Some(features) = &head.features {
        metadata.insert("as2_features".into(), safe(features));
    }
    if let Some(pgp) = &message.pgp {
        let signer = pgp.signed.as_ref().map(|proof| proof.fingerprint.as_str());
        let (own, theirs) = parties.pgp_used(pgp);
        for (key, value) in [
            ("as2_cipher", pgp.cipher),
            ("as2_signer", signer),
            ("as2_decrypted_with", own),
            ("as2_verified_with", theirs),
        ] {
            metadata.extend(value.map(|value| (key.to_owned(), Value::from(value))));
        }
    }
    if let Some(cipher) = message.report.encrypted() {
        metadata.insert("as2_cipher".into(), cipher.name().into());
    }
    if let Some(proof) = message.report.signed() {
        let fingerprint = hexadecimal(&proof.fingerprint);
        metadata.insert("as2_signer".into(), fingerprint.into());
    }
    if let Some(own) = parties.decrypted_with(&message.report) {
        metadata.insert("as2_decrypted_with".into(), own.name.as_str().into());
    }
    if let Some(known) = parties.verified_with(&message.report) {
        metadata.insert("as2_verified_with".into(), known.name.as_str().into());
    }
    if let Some(mic) = mic {
        metadata.insert("as2_mic".into(), mic.into());
    }
    if let Some(first) = went_on_at(head) {
        metadata.insert("as2_went_on_at_byte".into(), first.into());
    }
    if let Some(form) = &head.form {
        metadata.extend(form.metadata.clone());
    }
    metadata.insert("as2_parts".into(), message.parts.len().into());
    metadata
}
