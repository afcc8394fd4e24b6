//! One message after another: who sends, is it new, read it, make it durable, answer.

mod posted;

use super::going_on::{self, Opened, Plan};
use super::seems_receipt::{asks_but_is_receipt, seems_receipt};
use crate::admission::Admission;
use crate::agreement::{identity_named, partner_named};
use crate::coding::Coding;
use crate::disposition::Disposition;
use crate::exchange::is_exchange;
use crate::forms::is_form;
use crate::later_reply::receipt_target;
use crate::material::Materials;
use crate::parties::Parties;
use crate::receive::{ReadMessage, Reading, Unread, read};
use crate::reject::{CROWDED, EarlyRejection, declined, try_again_later};
use crate::rejection::Rejection;
use crate::reply::{ReplyContent, to_response};
use crate::request::{RequestHead, unfolded};
use crate::streaming::{Arriving, BodyReader};
use crate::unknown::UnknownAnswer;
use async_trait::async_trait;
use http::header::{ETAG, EXPECT};
use http::{Method, Request, Response, StatusCode};
use model::{Error, ErrorKind, Result};
use net::http::{Body, FoldedFields, Handler, PeerInfo, Standby, Unserved};
use posted::FormBeginning;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use transport::{Begin, Intake, KeepLimits, Reception, Services, StoredReply};

/// How long a second copy of a message waits for the first one's answer.
const LONGEST_WAIT: Duration = Duration::from_secs(120);
const WAIT_STEP: Duration = Duration::from_millis(50);

pub(crate) struct Receiver {
    /// The name of the listener.
    pub(crate) listener: String,
    pub(crate) services: Services,
    pub(crate) intake: Arc<dyn Intake>,
    pub(crate) admission: Arc<Admission>,
    /// Keys and certificates, read once.
    pub(crate) materials: Arc<Materials>,
    /// Where messages are taken.
    pub(crate) path: String,
    /// How messages of unknown names are answered.
    pub(crate) unknown: UnknownAnswer,
    /// The largest message in bytes; `None`: as the partner's agreement says.
    pub(crate) largest: Option<u64>,
    /// The name of the credential by which partners log in; `None`: they need not.
    pub(crate) credential: Option<String>,
    /// How much is kept of messages that have arrived in part.
    pub(crate) limits: KeepLimits,
}

#[async_trait]
impl Handler for Receiver {
    async fn handle(&self, request: Request<Body>, peer: PeerInfo) -> Result<Response<Body>> {
        if self.lacks_login(request.headers())? {
            return self.ask_login(request, &peer).await;
        }
        // Without a transfer id HEAD means something else.
        if request.method() == Method::HEAD && request.headers().contains_key(ETAG) {
            return self.tell_held(request.headers()).await;
        }
        if request.method() != Method::POST {
            return self.not_posted(request.method(), &peer).await;
        }
        let (parts, body) = request.into_parts();
        let standby = parts.extensions.get::<Standby>().cloned();
        let (read, arriving) = match is_form(&parts.headers) {
            true => match self.begin_form(&parts.headers, body, standby.as_ref(), &peer).await? {
                FormBeginning::Message(read, message) => {
                    (read.map(|head| *head), Arriving::new(message, false))
                }
                FormBeginning::Answered(answer) => return Ok(answer),
            },
            false => {
                let waits_for_word = parts.headers.contains_key(EXPECT);
                (RequestHead::read(&parts.headers), Arriving::new(body, waits_for_word))
            }
        };
        let mut arriving = arriving.beside(standby);
        let folded = parts.extensions.get::<FoldedFields>();
        let head = match read.and_then(|head| unfolded(head, folded)) {
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
        let is_known = !head.mdn.wanted && self.is_known(&head);
        let seems = match going_on::goes_on(&head) {
            // What arrives is not its beginning; a receipt is never sent in pieces.
            true => Ok(false),
            // An error notification, whatever stands in it.
            false if head.is_error_notification() => Ok(true),
            false => seems_receipt(&head, coding, &mut arriving, is_known).await,
        };
        let is_receipt = match seems {
            Ok(is_receipt) => is_receipt,
            Err(error) => {
                self.record(self.refusal(&peer, Some(&head)).error(&error)).await?;
                return Err(error);
            }
        };
        let reply = if is_receipt {
            self.take_receipt(&head, coding, &mut arriving, &peer).await?
        } else if head.message_id.is_empty() {
            let reason = "This is not an AS2 message: the header Message-ID is missing.".to_owned();
            let refusal = EarlyRejection::new(StatusCode::BAD_REQUEST, reason);
            return self.reject_early(Some(&head), refusal, arriving, &peer).await;
        } else {
            self.receive(&head, coding, &mut arriving, &peer).await?
        };
        arriving.drain().await;
        // A status that refuses says nothing of a message that was answered before.
        match is_receipt || reply.status >= 400 {
            true => to_response(reply),
            false => self.whole_answer(&head, reply).await,
        }
    }

    async fn unserved(&self, unserved: Unserved<'_>) {
        self.note_unserved(unserved).await;
    }
}

impl Receiver {
    /// Whether both names are defined here.
    fn is_known(&self, head: &RequestHead) -> bool {
        let material = self.materials.of(self.services.directory.definitions());
        let definitions = &*material.definitions;
        partner_named(definitions, &head.from).is_some() && identity_named(definitions, &head.to).is_some()
    }

    /// Receives a message and returns the reply, which is already recorded.
    async fn receive(
        &self,
        head: &RequestHead,
        coding: Coding,
        arriving: &mut Arriving,
        peer: &PeerInfo,
    ) -> Result<StoredReply> {
        let material = self.materials.of(self.services.directory.definitions());
        let parties = match Parties::of(&material, head, self.services.clock.now()) {
            Ok(parties) => parties,
            Err(unknown) => {
                let how = self.unknown.to(head);
                let event = self.refusal(peer, Some(head)).peer_detail("reason", &unknown.reason);
                let event = event.detail("disposition", unknown.disposition.to_string());
                self.record(event.detail("answered_with", how.as_str())).await?;
                return how.reply(&self.services, head, unknown);
            }
        };
        let mut parties = match parties {
            Ok(parties) => parties.at_listener(self.largest),
            Err(error) => {
                self.record(self.refusal(peer, Some(head)).error(&error)).await?;
                return Err(error);
            }
        };
        arriving.set_limit(parties.partner.agreement.largest_message);
        parties.receipt_to = match receipt_target(&material.definitions, head, &parties.partner) {
            Ok(target) => target,
            Err(reason) => return self.refuse_target(head, &parties.partner, peer, &reason).await,
        };
        if parties.receipt_to.is_some() && self.has_too_many_receipts(&parties.partner).await? {
            return self.refuse_more_receipts(head, &parties.partner, peer).await;
        }
        let declined = declined(head, &parties, going_on::total(head, arriving.length()));
        match self.plan(head, &parties, arriving, peer).await? {
            Plan::Read => {}
            Plan::LastByte { byte } => {
                return self.answer_last_byte(head, &parties, arriving, peer, byte).await;
            }
            Plan::Refused(reply) => return Ok(reply),
        }
        match self.begin(&head.key()).await? {
            Begin::Answered(earlier) => {
                let reply = self.answer_again(head, coding, parties, arriving, peer, earlier).await?;
                let kept = self.kept_whole(arriving).await;
                self.forget_kept(kept, &reply).await;
                Ok(reply)
            }
            Begin::InProgress => Err(Error::transient(
                ErrorKind::Timeout,
                "answer a repeated message while its first copy is still being received",
            )
            .with("message_id", model::PeerText::from(head.message_id.as_str()))),
            Begin::New(reception) => match declined {
                // Not before its key is reserved: nothing is declined over our signature that was accepted before.
                Some(answer) => {
                    let cause = told_to_operator(&parties, &answer);
                    self.refuse(head, &parties, peer, reception, answer, &cause).await
                }
                None if going_on::goes_on(head) => {
                    self.take(head, coding, parties, arriving, peer, reception).await
                }
                None => match asks_but_is_receipt(head, coding, arriving).await {
                    Ok(false) => self.take(head, coding, parties, arriving, peer, reception).await,
                    Ok(true) => {
                        drop(reception);
                        self.take_receipt(head, coding, arriving, peer).await
                    }
                    Err(error) => {
                        let event = self.refusal(peer, Some(head)).partner(&parties.partner.name);
                        self.record(event.error(&error)).await?;
                        Err(error)
                    }
                },
            },
        }
    }

    /// Reserves the message; a second copy waits until the first is answered.
    pub(super) async fn begin(&self, key: &str) -> Result<Begin> {
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
        mut reception: Box<dyn Reception>,
    ) -> Result<StoredReply> {
        let terms = parties.partner.agreement.evidence;
        let keeps_signed = terms.keep_for.is_some() && terms.keeps_content;
        let arrival = self.read_whole(head, coding, &parties, arriving, peer, keeps_signed).await?;
        let kept = self.kept_whole(arriving).await;
        if let Some(kept) = &kept {
            reception.was_kept(kept);
        }
        let reply = match arrival {
            Arrival::Message(message) if is_exchange(&message.parts) => {
                self.take_exchange(head, parties, peer, *message, reception).await
            }
            Arrival::Message(message) if message.is_composite => {
                self.take_composite(head, parties, peer, *message, reception).await
            }
            Arrival::Message(message) => {
                let parties = parties.answering(&message.report);
                self.commit(head, &parties, peer, *message, reception).await
            }
            Arrival::Unreadable { disposition, text, cause } => {
                let answer = ReplyContent { disposition, mic: None, by_pss: false, text };
                self.refuse(head, &parties, peer, reception, answer, &cause).await
            }
            Arrival::Later(reply) => return Ok(reply),
        }?;
        self.forget_kept(kept, &reply).await;
        Ok(reply)
    }

    /// Reads a message to its end. What keeps it from arriving is on record.
    ///
    /// # Errors
    /// Ours, or the connection's: nothing may be said, and the sender comes again.
    pub(super) async fn read_whole(
        &self,
        head: &RequestHead,
        coding: Coding,
        parties: &Parties,
        arriving: &mut Arriving,
        peer: &PeerInfo,
        keeps_signed: bool,
    ) -> Result<Arrival> {
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
                    Ok(Arrival::Later(try_again_later(CROWDED)))
                } else {
                    Err(error)
                };
            }
        };
        drop(waits);
        let (sender, reader) = BodyReader::channel();
        let reader = match self.open_kept(head, parties, arriving, peer, reader).await? {
            Opened::Reader(reader) => reader,
            Opened::Refused(reply) => return Ok(Arrival::Later(reply)),
        };
        let reading = Reading {
            headers: head.headers.clone(),
            body: reader,
            coding,
            keys: parties.decryption_keys(),
            certificates: parties.pinned(),
            pgp: parties.pgp.clone(),
            partner: Arc::clone(&parties.partner),
            digests: head.mdn.digests.clone(),
            now: UNIX_EPOCH
                + Duration::from_secs(
                    u64::try_from(self.services.clock.now().timestamp()).unwrap_or_default(),
                ),
            staging: Arc::clone(&self.services.staging),
            message_id: head.message_id.clone(),
            more_parts: self.admission.more_parts(),
            keeps_signed,
            diagnosis: Arc::clone(&parties.diagnosis),
        };
        let blocking = tokio::task::spawn_blocking(move || read(reading));
        let most = parties.partner.agreement.largest_message;
        let (read, ()) = tokio::join!(blocking, arriving.pump(sender, most, || self.admission.is_crowded()));
        drop(admitted);
        let read =
            read.map_err(|error| Error::transient(ErrorKind::Internal, "read a message").caused_by(error))?;
        match read {
            Ok(message) => Ok(Arrival::Message(Box::new(message))),
            Err(Unread::Message { disposition, text, cause }) => {
                Ok(Arrival::Unreadable { disposition, text, cause })
            }
            Err(Unread::Ours(error)) => {
                // Nothing was taken and nothing may be said: the sender comes again. How much has come of a message that is kept
                // is on record once it is durable.
                let broke = matches!(
                    error.kind(),
                    ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Throttled
                );
                if !broke || arriving.kept().is_none() {
                    let event = self.refusal(peer, Some(head)).partner(&parties.partner.name).error(&error);
                    self.record(event).await?;
                }
                Err(error)
            }
        }
    }
}

/// What became of reading a message.
pub(super) enum Arrival {
    /// It is read and proved.
    Message(Box<ReadMessage>),
    /// The message is at fault.
    Unreadable {
        /// The answer to the sender.
        disposition: Disposition,
        /// The same in words, for the sender.
        text: String,
        /// For the operator alone.
        cause: String,
    },
    /// It was not read: this answer asks the sender to send it again later.
    Later(StoredReply),
}

/// Why a message was declined, in words for the operator: which option limits its size is no concern of the sender.
fn told_to_operator(parties: &Parties, declined: &ReplyContent) -> String {
    let too_large = Rejection::TooLarge { most: parties.partner.agreement.largest_message };
    match declined.text == too_large.text() {
        true => too_large.to_string(),
        false => declined.text.clone(),
    }
}
