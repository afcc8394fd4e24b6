//! One message after another: who sends, is it new, read it, make it durable, answer.

use crate::admission::Admission;
use crate::agreement::DuplicatePolicy;
use crate::coding::Coding;
use crate::disposition::{Disposition, DispositionError};
use crate::legacy;
use crate::parties::{Parties, UnknownParty};
use crate::receive::{ReadMessage, Reading, Unread, read};
use crate::reject::{CROWDED, EarlyRejection, declined, try_again_later, with_peer};
use crate::reply::{ReplyContent, mic_of, stored_reply, to_response};
use crate::request::RequestHead;
use crate::streaming::{Arriving, BodyReader};
use async_trait::async_trait;
use http::header::EXPECT;
use http::{Method, Request, Response, StatusCode};
use model::{AuditEvent, Error, ErrorKind, EventKind, RemotePath, Result};
use net::http::{Body, Handler, PeerInfo, Standby, Unserved};
use serde_json::{Map, Value};
use smime::{DecryptionKey, Proof, Weakness};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use transport::{
    Begin, Intake, Message, Reception, Services, StagedPart, StagedPayload, StoredReply, Wanted,
};

/// How long a second copy of a message waits for the first one's answer.
const LONGEST_WAIT: Duration = Duration::from_secs(120);
const WAIT_STEP: Duration = Duration::from_millis(50);

pub(crate) struct Receiver {
    /// The name of the listener.
    pub(crate) listener: String,
    pub(crate) services: Services,
    pub(crate) intake: Arc<dyn Intake>,
    pub(crate) admission: Arc<Admission>,
    /// Where messages are taken.
    pub(crate) path: String,
}

#[async_trait]
impl Handler for Receiver {
    async fn handle(&self, request: Request<Body>, peer: PeerInfo) -> Result<Response<Body>> {
        if request.method() != Method::POST {
            return self.not_posted(request.method(), &peer).await;
        }
        let (parts, body) = request.into_parts();
        let standby = parts.extensions.get::<Standby>().cloned();
        let mut arriving = Arriving::new(body, parts.headers.contains_key(EXPECT)).beside(standby);
        let head = match RequestHead::read(&parts.headers) {
            Ok(head) => head,
            Err(reason) => {
                let refusal = EarlyRejection::new(
                    StatusCode::BAD_REQUEST,
                    format!("This is not an AS2 message: {reason}."),
                );
                return self.reject_early(None, refusal, arriving, &peer).await;
            }
        };
        let coding = match EarlyRejection::of(&parts.headers, &head) {
            Ok(coding) => coding,
            Err(refusal) => return self.reject_early(Some(&head), refusal, arriving, &peer).await,
        };
        let reply = self.receive(&head, coding, &mut arriving, &peer).await?;
        arriving.drain().await;
        to_response(reply)
    }

    async fn unserved(&self, unserved: Unserved<'_>) {
        self.note_unserved(unserved).await;
    }
}

impl Receiver {
    /// Receives a message and returns the reply, which is already recorded.
    async fn receive(
        &self,
        head: &RequestHead,
        coding: Coding,
        arriving: &mut Arriving,
        peer: &PeerInfo,
    ) -> Result<StoredReply> {
        let definitions = self.services.directory.definitions();
        let parties = match Parties::of(&definitions, head) {
            Ok(parties) => parties,
            Err(UnknownParty { disposition, reason }) => {
                let event = self.refusal(peer, Some(head)).peer_detail("reason", &reason);
                self.record(event.detail("disposition", disposition.to_string())).await?;
                // Unsigned: we do not know with whom we speak, or as whom.
                let answer = ReplyContent { disposition, mic: None, text: reason };
                return stored_reply(&self.services, head, None, &answer);
            }
        };
        let parties = match parties {
            Ok(parties) => parties,
            Err(error) => {
                self.record(self.refusal(peer, Some(head)).error(&error)).await?;
                return Err(error);
            }
        };
        arriving.set_limit(parties.partner.agreement.largest_message);
        if let Some(answer) = declined(head, &parties, arriving.length()) {
            let event = self.refusal(peer, Some(head)).partner(&parties.partner.name);
            self.record(
                event
                    .peer_detail("reason", &answer.text)
                    .detail("disposition", answer.disposition.to_string()),
            )
            .await?;
            return stored_reply(&self.services, head, Some(&parties), &answer);
        }
        match self.begin(&head.key()).await? {
            Begin::Answered(reply) => {
                let event = self.services.event(EventKind::MessageRepeated).partner(&parties.partner.name);
                let event = with_peer(event, peer).peer_detail("message_id", &head.message_id);
                self.services.audit.record(vec![event]).await?;
                match parties.partner.agreement.duplicates {
                    DuplicatePolicy::Repeat => Ok(reply),
                    DuplicatePolicy::Warn => self.warn_of_duplicate(head, &parties, &reply),
                }
            }
            Begin::InProgress => Err(Error::transient(
                ErrorKind::Timeout,
                "answer a repeated message while its first copy is still being received",
            )
            .with("message_id", model::PeerText::from(head.message_id.as_str()))),
            Begin::New(reception) => self.take(head, coding, parties, arriving, peer, reception).await,
        }
    }

    /// A receipt that says "processed, and not for the first time", with the MIC of the first one: what is
    /// answered is the message, and its Message-ID names one content.
    fn warn_of_duplicate(
        &self,
        head: &RequestHead,
        parties: &Parties,
        first: &StoredReply,
    ) -> Result<StoredReply> {
        let answer = ReplyContent {
            disposition: Disposition::Warning("duplicate-document".into()),
            mic: mic_of(first),
            text: format!(
                "The message with the Message-ID {} had been received before and was not processed again.",
                head.message_id
            ),
        };
        stored_reply(&self.services, head, Some(parties), &answer)
    }

    /// Reserves the message; a second copy waits until the first is answered.
    async fn begin(&self, key: &str) -> Result<Begin> {
        let begun = self.services.clock.monotonic();
        loop {
            match self.intake.begin(key).await? {
                Begin::InProgress if self.services.clock.monotonic().saturating_sub(begun) < LONGEST_WAIT => {
                    self.services.clock.sleep(WAIT_STEP).await;
                }
                other => return Ok(other),
            }
        }
    }

    async fn take(
        &self,
        head: &RequestHead,
        coding: Coding,
        parties: Parties,
        arriving: &mut Arriving,
        peer: &PeerInfo,
        reception: Box<dyn Reception>,
    ) -> Result<StoredReply> {
        if let Err(error) = arriving.begin().await {
            // Nothing was held for it, and whoever sent nothing sees no answer.
            let event = self.refusal(peer, Some(head)).partner(&parties.partner.name).error(&error);
            self.record(event).await?;
            return Err(error);
        }
        // While it waits for a place, its connection may go for another one.
        let waits = arriving.waits();
        let admitted = match self.admission.enter(peer.remote.ip(), &parties.partner.name).await {
            Ok(admitted) => admitted,
            Err(error) => {
                // Nothing was accepted: the answer says when the sender is to send the message again.
                let event = self.refusal(peer, Some(head)).partner(&parties.partner.name).error(&error);
                self.record(event).await?;
                return if error.kind() == ErrorKind::Throttled {
                    Ok(try_again_later(CROWDED))
                } else {
                    Err(error)
                };
            }
        };
        drop(waits);
        let (sender, reader) = BodyReader::channel();
        let reading = Reading {
            headers: head.headers.clone(),
            body: reader,
            coding,
            keys: std::iter::once(&parties.own)
                .chain(&parties.other_keys)
                .map(|own| DecryptionKey { key: own.key.clone(), certificate: own.certificate.clone() })
                .collect(),
            certificates: parties.certificates.clone(),
            partner: Arc::clone(&parties.partner),
            digests: head.mdn.digests.clone(),
            now: UNIX_EPOCH
                + Duration::from_secs(
                    u64::try_from(self.services.clock.now().timestamp()).unwrap_or_default(),
                ),
            staging: Arc::clone(&self.services.staging),
            message_id: head.message_id.clone(),
            more_parts: self.admission.more_parts(),
        };
        let blocking = tokio::task::spawn_blocking(move || read(reading));
        let most = parties.partner.agreement.largest_message;
        let (read, ()) = tokio::join!(blocking, arriving.pump(sender, most, || self.admission.is_crowded()));
        drop(admitted);
        let read =
            read.map_err(|error| Error::transient(ErrorKind::Internal, "read a message").caused_by(error))?;
        match read {
            Ok(message) if message.is_receipt => {
                self.unexpected_receipt(head, &parties, peer, reception).await
            }
            Ok(message) => self.commit(head, &parties, peer, message, reception).await,
            Err(Unread::Message { disposition, text, cause }) => {
                let answer = ReplyContent { disposition, mic: None, text };
                self.refuse(head, &parties, peer, reception, answer, &cause).await
            }
            Err(Unread::Ours(error)) => {
                // Nothing was taken and nothing may be said: the sender comes again.
                let event = self.refusal(peer, Some(head)).partner(&parties.partner.name).error(&error);
                self.record(event).await?;
                Err(error)
            }
        }
    }

    /// Makes the parts durable, records them with the reply, and only then gives it.
    async fn commit(
        &self,
        head: &RequestHead,
        parties: &Parties,
        peer: &PeerInfo,
        message: ReadMessage,
        reception: Box<dyn Reception>,
    ) -> Result<StoredReply> {
        let cause = match self.takes(parties, &message, reception.as_ref()) {
            Takes::Yes => None,
            Takes::Not(cause) => Some(cause),
            Takes::Later(cause) => return self.come_again(head, parties, peer, &cause).await,
        };
        if let Some(cause) = cause {
            let answer = ReplyContent {
                disposition: Disposition::Error(DispositionError::UnexpectedProcessingError),
                mic: None,
                text: "The message was read, but no flow accepts this file.".into(),
            };
            return self.refuse(head, parties, peer, reception, answer, &cause).await;
        }
        // The SignerInfo's digest wins over what was asked for.
        let algorithm = message.report.signed().map(|proof| proof.digest);
        let algorithm =
            algorithm.or_else(|| head.mdn.digests.first().copied()).unwrap_or(smime::Digest::Sha256);
        let mic = message.report.mic(algorithm).map(|mic| mic.to_text(head.mdn.names));
        let metadata = metadata(head, &message, mic.as_deref());
        let legacy = self.legacy(head, parties, message.report.signed(), peer);
        let committed = tokio::task::spawn_blocking(move || {
            message
                .parts
                .into_iter()
                .map(|part| Ok((part.writer.commit()?, part.file_name, part.raw_name, part.media_type)))
                .collect::<Result<Vec<(StagedPayload, String, Option<model::PeerText>, Option<String>)>>>()
        });
        let committed = committed
            .await
            .map_err(|e| Error::transient(ErrorKind::Internal, "commit a message").caused_by(e))??;
        let parts = committed
            .into_iter()
            .map(|(staged, file_name, raw_name, media_type)| StagedPart {
                staged,
                file_name: RemotePath::from(file_name.as_str()),
                media_type,
                metadata: raw_name
                    .map(|raw| Map::from_iter([("as2_file_name".to_owned(), Value::from(raw.as_str()))]))
                    .unwrap_or_default(),
                connection: Some(peer.connection),
            })
            .collect();
        let answer = ReplyContent {
            disposition: Disposition::Processed,
            mic,
            text: format!(
                "The message from {} to {} with the Message-ID {} was received and stored.",
                head.from, head.to, head.message_id
            ),
        };
        let reply = stored_reply(&self.services, head, Some(parties), &answer)?;
        let message = Message {
            listener: self.listener.clone(),
            endpoint: format!("as2/{}", parties.identity.name),
            partner: Some(parties.partner.name.clone()),
            parts,
            metadata,
            events: legacy,
        };
        match reception.commit(message, reply.clone()).await {
            Ok(_) => Ok(reply),
            Err(error) if error.kind() == ErrorKind::Throttled => {
                self.come_again(head, parties, peer, &error.chain()).await
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a flow here takes each part of the message.
    fn takes(&self, parties: &Parties, message: &ReadMessage, reception: &dyn Reception) -> Takes {
        let partner = &parties.partner.name;
        if message.parts.is_empty() {
            return Takes::Not("the message contains no payload".to_owned());
        }
        for part in &message.parts {
            let name = RemotePath::from(part.file_name.as_str());
            match reception.wanted(&self.listener, Some(partner), &name) {
                Wanted::Yes => {}
                Wanted::No => {
                    return Takes::Not(format!(
                        "no flow accepts {name} from partner {partner}: define one whose source has this listener, this partner and a mask for this name"
                    ));
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

    /// The event of what of an exchange was too weak for today, though allowed; none when nothing was.
    fn legacy(
        &self,
        head: &RequestHead,
        parties: &Parties,
        proof: Option<&Proof>,
        peer: &PeerInfo,
    ) -> Vec<AuditEvent> {
        let mut uses = legacy::of_proof(proof);
        if head.mdn.wanted && head.mdn.signed {
            uses.extend(parties.legacy.clone());
            let digest = legacy::receipt_digest(&head.mdn.digests, &parties.partner.agreement);
            uses.extend(
                Weakness::of_digest(digest).map(|weak| format!("the signature of our receipt: {weak}")),
            );
        }
        let event = legacy::event(&self.services, &parties.partner, &uses);
        event
            .map(|event| with_peer(event, peer).peer_detail("message_id", &head.message_id))
            .into_iter()
            .collect()
    }
}

/// Whether the flows here take a message.
enum Takes {
    Yes,
    /// Never, for this reason.
    Not(String),
    /// Not at the moment, for this reason.
    Later(String),
}

fn metadata(head: &RequestHead, message: &ReadMessage, mic: Option<&str>) -> Map<String, Value> {
    let safe = |text: &str| Value::from(model::PeerText::from(text).as_str());
    let mut metadata = Map::new();
    metadata.insert("as2_from".into(), safe(&head.from));
    metadata.insert("as2_to".into(), safe(&head.to));
    metadata.insert("as2_message_id".into(), safe(&head.message_id));
    if let Some(subject) = &head.subject {
        metadata.insert("as2_subject".into(), safe(subject));
    }
    if let Some(cipher) = message.report.encrypted() {
        metadata.insert("as2_cipher".into(), cipher.name().into());
    }
    if let Some(proof) = message.report.signed() {
        let fingerprint: String = proof.fingerprint.iter().map(|b| format!("{b:02x}")).collect();
        metadata.insert("as2_signer".into(), fingerprint.into());
    }
    if let Some(mic) = mic {
        metadata.insert("as2_mic".into(), mic.into());
    }
    metadata
}
