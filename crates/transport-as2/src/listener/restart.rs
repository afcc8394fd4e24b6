//! Messages that go on where their connection broke (draft-harding-as2-restart-06): how much is held of one (HEAD), and how
//! the rest of it is taken (POST with `Content-Range`).

use super::Receiver;
use super::going_on::{Decision, InvalidRange, Opened, Plan, decide, said};
use crate::agreement::{Partner, identity_named, partner_named};
use crate::content_range::transfer_id;
use crate::names::read_name;
use crate::parties::Parties;
use crate::reject::{try_again_later, with_peer};
use crate::reply::{plain_reply, to_response};
use crate::request::RequestHead;
use crate::streaming::{Arriving, BodyReader, Compared, Going};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG};
use http::{HeaderMap, Response, StatusCode};
use model::definition::Definitions;
use model::{AuditEvent, Error, ErrorKind, EventKind, Result};
use net::http::{Body, PeerInfo};
use std::time::Duration;
use transport::{Begin, Keep, Kept, KeptMessage, StoredReply};

/// The longest time until what is kept of a message is durable. Its answer does not wait longer.
const LONGEST_END: Duration = Duration::from_secs(30);

/// The answer over a connection whose message came over another one meanwhile.
const GOES_ON_ELSEWHERE: &str =
    "This message is being received over another connection: send it again later.";

/// Why nothing is kept of a message whose connection broke.
const TOO_LITTLE: &str = "its connection broke before 64 KiB of it, or half of it, had come";

/// By what a message is known that is kept: two senders with one transfer id never meet.
fn key(etag: &str, from: &str, to: &str) -> String {
    serde_json::json!(["as2-restart", etag, from, to]).to_string()
}

impl Receiver {
    /// Answers how many bytes of a message are held, all of them durable; 0 if it is not known. Where that cannot be found out
    /// now, the sender is asked to come again: another status would say that restart is not supported, and 0 that nothing is held.
    ///
    /// # Errors
    /// The answer cannot be written.
    pub(super) async fn tell_held(&self, headers: &HeaderMap) -> Result<Response<Body>> {
        let length = match self.held(headers).await {
            Ok(length) => length,
            Err(error) => {
                tracing::warn!(error = %error.chain(), "how much is held of a message could not be found out: its sender is asked to come again");
                return to_response(try_again_later("How much is held of this message is not known now."));
            }
        };
        Response::builder()
            .status(StatusCode::OK)
            .header("AS2-Version", "1.2")
            .header(CONTENT_LENGTH, length)
            .body(Body::empty())
            .map_err(|error| Error::permanent(ErrorKind::Internal, "write the answer").caused_by(error))
    }

    async fn held(&self, headers: &HeaderMap) -> Result<u64> {
        let text =
            |name: &str| headers.get(name).map(|value| read_name(&String::from_utf8_lossy(value.as_bytes())));
        let etag = headers.get(ETAG).and_then(|value| transfer_id(value.as_bytes()));
        let (Some(etag), Some(from), Some(to)) = (etag, text("AS2-From"), text("AS2-To")) else {
            return Ok(0);
        };
        let definitions = self.services.directory.definitions();
        // The draft's own example (5.1) has them the other way round.
        for (from, to) in [(&from, &to), (&to, &from)] {
            let Some(partner) = partner_between(&definitions, from, to) else { continue };
            if !partner.agreement.kept.accept {
                continue;
            }
            if let Some(held) = self.intake.kept().held(&key(&etag, from, to)).await? {
                tracing::info!(
                    partner = partner.name,
                    etag,
                    length = held.length,
                    "the sender of a message asked how much of it is held"
                );
                return Ok(held.length);
            }
        }
        Ok(0)
    }

    /// Decides how a message is taken, before its key is reserved: an earlier connection that receives it stops.
    ///
    /// # Errors
    /// The database does not answer.
    pub(super) async fn plan(
        &self,
        head: &RequestHead,
        parties: &Parties,
        arriving: &mut Arriving,
        peer: &PeerInfo,
    ) -> Result<Plan> {
        let said = said(head, arriving.length());
        let terms = parties.partner.agreement.kept;
        let known = match &said.etag {
            Some(etag) if said.may_be_kept(terms) => {
                let key = key(etag, &head.from, &head.to);
                let held = self.intake.kept().held(&key).await?;
                Some((etag.clone(), key, held))
            }
            _ => None,
        };
        let held = known.as_ref().and_then(|(_, _, held)| held.as_ref());
        let decision = match decide(&said, terms, held, &head.key()) {
            Ok(decision) => decision,
            Err(invalid) => {
                return self.refuse_range(head, parties, arriving, peer, invalid).await.map(Plan::Refused);
            }
        };
        let Some((etag, key, _)) = known else { return Ok(Plan::Read) };
        let on = match decision {
            Decision::Whole => return Ok(Plan::Read),
            Decision::LastByte { byte } => return Ok(Plan::LastByte { byte }),
            Decision::Keep => None,
            Decision::GoOn(on) => Some(on),
        };
        arriving.going = Some(Going { key, etag, total: said.total(), on });
        Ok(Plan::Read)
    }

    /// Refuses a range that is not valid (3.3): 416 with the bytes that are held.
    async fn refuse_range(
        &self,
        head: &RequestHead,
        parties: &Parties,
        arriving: &mut Arriving,
        peer: &PeerInfo,
        invalid: InvalidRange,
    ) -> Result<StoredReply> {
        arriving.is_unwanted();
        let status = StatusCode::RANGE_NOT_SATISFIABLE;
        let event = self.refusal(peer, Some(head)).partner(&parties.partner.name);
        let event = event.peer_detail("reason", &invalid.reason).detail("status", status.as_u16());
        self.record(event.detail("held", invalid.held)).await?;
        let mut reply =
            plain_reply(status, &format!("This range of bytes is not valid: {}.", invalid.reason));
        reply.headers.push((CONTENT_RANGE.to_string(), format!("bytes */{}", invalid.held)));
        Ok(reply)
    }

    /// Gives the stored answer to a message that was answered, of which the last byte has come again (3.2).
    pub(super) async fn answer_last_byte(
        &self,
        head: &RequestHead,
        parties: &Parties,
        arriving: &mut Arriving,
        peer: &PeerInfo,
        byte: Option<u8>,
    ) -> Result<StoredReply> {
        let came = arriving.next().await?.unwrap_or_default();
        if byte.is_some_and(|byte| came[..] != [byte]) {
            // Whole it is compared with what was received: it has the Message-ID of that.
            let reason =
                "its last byte is another one than that of the message that was received: send it whole";
            return self.refuse_range(head, parties, arriving, peer, InvalidRange::new(0, reason)).await;
        }
        let Begin::Answered(earlier) = self.begin(&head.key()).await? else {
            // The answer is not kept any more, so the message is new.
            let invalid = InvalidRange::new(0, "nothing is held of this message any more: send it whole");
            return self.refuse_range(head, parties, arriving, peer, invalid).await;
        };
        let event = self.services.event(EventKind::MessageRepeated).partner(&parties.partner.name);
        let event = with_peer(event, peer).peer_detail("message_id", &head.message_id);
        self.services.audit.record(vec![event.detail("last_byte_again", true)]).await?;
        let given = self.give_again(head, parties, peer, earlier.reply, false).await?;
        Ok(given.unwrap_or_else(crate::later_reply::accepted))
    }

    /// Refuses a message whose bytes differ from those that are held: these are removed, and the sender starts over.
    async fn refuse_overlap(
        &self,
        head: &RequestHead,
        parties: &Parties,
        arriving: &mut Arriving,
        peer: &PeerInfo,
        key: &str,
    ) -> Result<StoredReply> {
        self.intake.kept().forget(key).await?;
        let reason =
            "bytes that came again are not those that were held; these were removed: send the message whole";
        self.refuse_range(head, parties, arriving, peer, InvalidRange::new(0, reason)).await
    }

    /// What reads a message as it arrives, kept where that was planned.
    ///
    /// # Errors
    /// The database does not answer, the connection broke, or a local error.
    pub(super) async fn open_kept(
        &self,
        head: &RequestHead,
        parties: &Parties,
        arriving: &mut Arriving,
        peer: &PeerInfo,
        reader: BodyReader,
    ) -> Result<Opened> {
        let Some(going) = arriving.going.take() else { return Ok(Opened::Reader(reader)) };
        let (key, total, on) = (going.key.clone(), going.total, going.on);
        let KeptMessage { bytes, mut state } = match self
            .intake
            .kept()
            .keep(self.keep(head, parties, peer, going))
            .await?
        {
            Kept::Open(kept) => kept,
            Kept::NotKept(reason) => {
                let message_id = model::PeerText::from(head.message_id.as_str());
                tracing::warn!(partner = parties.partner.name, %message_id, reason, "a message is received without being kept: if its connection breaks, its sender sends it whole again");
                return Ok(Opened::Reader(reader));
            }
            Kept::Gone => {
                let invalid = InvalidRange::new(0, "nothing is held of this message any more: send it whole");
                return self.refuse_range(head, parties, arriving, peer, invalid).await.map(Opened::Refused);
            }
            Kept::TakenOver => {
                return self.goes_on_elsewhere(head, parties, peer).await.map(Opened::Refused);
            }
            Kept::NoRoom(error) => {
                arriving.is_unwanted();
                let event = self.refusal(peer, Some(head)).partner(&parties.partner.name).error(&error);
                self.record(event.detail("status", 503)).await?;
                let why = "There is no room for this message at the moment: send it again later.";
                return Ok(Opened::Refused(try_again_later(why)));
            }
        };
        let before = bytes.length();
        if on.is_some_and(|on| on.held != before) {
            // Since it was asked what is held, the message was begun anew: what comes does not fit behind that.
            return self.goes_on_elsewhere(head, parties, peer).await.map(Opened::Refused);
        }
        let compared = match on {
            Some(on) if on.first < on.held => {
                arriving.compare(bytes, &mut state, on, || self.admission.is_crowded()).await
            }
            _ => Ok(Compared::Same(bytes)),
        };
        let bytes = match compared {
            Ok(Compared::Same(bytes)) => bytes,
            Ok(Compared::Other) => {
                return self.refuse_overlap(head, parties, arriving, peer, &key).await.map(Opened::Refused);
            }
            // How much is held is on record once the end of this connection is.
            Ok(Compared::BrokeOff(error)) => return Err(error),
            Err(error) => {
                let event = self.refusal(peer, Some(head)).partner(&parties.partner.name).error(&error);
                self.record(event).await?;
                return Err(error);
            }
        };
        arriving.is_kept(key, state, before);
        Ok(Opened::Reader(reader.kept(bytes, total)))
    }

    /// Gives up a connection whose message came over another one since it was asked what is held.
    async fn goes_on_elsewhere(
        &self,
        head: &RequestHead,
        parties: &Parties,
        peer: &PeerInfo,
    ) -> Result<StoredReply> {
        let event = self.refusal(peer, Some(head)).partner(&parties.partner.name);
        self.record(event.detail("reason", GOES_ON_ELSEWHERE).detail("status", 503)).await?;
        Ok(try_again_later(GOES_ON_ELSEWHERE))
    }

    /// How a message is kept.
    fn keep(&self, head: &RequestHead, parties: &Parties, peer: &PeerInfo, going: Going) -> Keep {
        let Going { key, etag, total, on } = going;
        let event = |kind: EventKind| -> AuditEvent {
            let event = with_peer(self.services.event(kind), peer).partner(&parties.partner.name);
            let event = event
                .peer_detail("as2_from", &head.from)
                .peer_detail("as2_to", &head.to)
                .peer_detail("message_id", &head.message_id)
                .peer_detail("etag", &etag);
            match total {
                Some(total) => event.detail("total", total),
                None => event,
            }
        };
        let continued = on.map(|on| {
            tracing::info!(
                partner = parties.partner.name,
                etag,
                from_byte = on.held,
                "a message goes on where its connection broke"
            );
            event(EventKind::MessageContinued).detail("from_byte", on.held)
        });
        Keep {
            message: head.key(),
            listener: self.listener.clone(),
            partner: parties.partner.name.clone(),
            goes_on: on.map(|on| on.holder),
            total,
            limits: self.limits,
            keep_for: parties.partner.agreement.kept.keep_for,
            events: continued.into_iter().collect(),
            broken_off: event(EventKind::MessagePartialKept),
            too_little: event(EventKind::MessagePartialRemoved).detail("reason", TOO_LITTLE),
            key,
        }
    }

    /// Waits until a message that was kept while it was read is durable as it came; returns its key.
    pub(super) async fn kept_whole(&self, arriving: &mut Arriving) -> Option<String> {
        let (key, state) = arriving.kept()?;
        let key = key.to_owned();
        let ended = tokio::time::timeout(LONGEST_END, state.ended()).await;
        ended.is_ok().then_some(key)
    }

    /// Removes what was kept of a message that has its final answer. A sender that is asked to come again goes on with it.
    pub(super) async fn forget_kept(&self, kept: Option<String>, reply: &StoredReply) {
        let Some(key) = kept.filter(|_| reply.status != StatusCode::SERVICE_UNAVAILABLE.as_u16()) else {
            return;
        };
        if let Err(error) = self.intake.kept().forget(&key).await {
            tracing::warn!(error = %error.chain(), "what was kept of a message was not removed; it is removed when its time is over");
        }
    }
}

/// The partner of these names, if the receiver is one of our identities.
fn partner_between(definitions: &Definitions, from: &str, to: &str) -> Option<Partner> {
    identity_named(definitions, to)?;
    partner_named(definitions, from)
}
