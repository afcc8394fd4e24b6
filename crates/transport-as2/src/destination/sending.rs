//! One POST of a message: the whole of it, or what the partner does not have yet.

use super::As2Destination;
use super::answered::{Answer, AnswerContent};
use super::under_way::UnderWay;
use crate::agreement::MdnRequest;
use crate::forms::Posting;
use crate::login::Login;
use crate::outgoing::{Envelope, Outgoing, build, pgp};
use crate::partnership::Partnership;
use crate::pgp_keys::PgpNames;
use crate::pgp_signature::PgpSignature;
use crate::receipt::PartnerResponse;
use crate::sent_message::{SentTerms, held, noting};
use crate::sent_proof::ProofOf;
use crate::spool::{self, MadeSignatures};
use crate::streaming::{Making, body_of};
use http::{Request, Response};
use model::{Error, ErrorKind, Purpose, Result};
use net::http::{Body, CarriedBy, ConnectionInfo, RequestMeta};
use smime::MicSlot;
use std::sync::{Arc, Mutex, PoisonError};
use transport::Deliver;
use url::Url;

/// What is sent by a POST.
#[derive(Clone, Copy)]
pub(crate) struct Sending<'a> {
    pub(crate) envelope: &'a Envelope<'a>,
    /// What a receipt that comes later must say; `None` where it comes in the answer.
    pub(crate) noted: Option<&'a SentTerms<'a>>,
    /// Of a message that can go on where it broke off; `None` of another one.
    pub(crate) part: Option<&'a MessagePart<'a>>,
}

/// A message from a byte on, for a partner that can join it with what it has (draft-harding-as2-restart-06, 3.3).
pub(crate) struct MessagePart<'a> {
    pub(crate) etag: &'a str,
    /// The first byte that is sent.
    pub(crate) from: u64,
    /// Bytes of the whole message.
    pub(crate) total: u64,
    /// Whether `Content-Range` is said.
    pub(crate) has_range: bool,
    /// The connection, as soon as the first byte is asked for.
    pub(crate) carried_by: CarriedBy,
    /// The message as an earlier POST of the attempt made it; `None` of one in staging.
    pub(crate) begun: Option<&'a BegunMessage>,
}

/// A message whose parts are sent one after the other within an attempt.
#[derive(Default)]
pub(crate) struct BegunMessage(Mutex<Option<Begun>>);

/// A message that an earlier POST began to make.
#[derive(Clone)]
struct Begun {
    headers: Vec<(String, String)>,
    content_headers: Vec<u8>,
    mic: MicSlot,
    making: Making,
}

impl BegunMessage {
    fn so_far(&self) -> Option<(Outgoing, Making)> {
        let begun = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let Begun { headers, content_headers, mic, making } = begun;
        Some((Outgoing { headers, body: Box::new(&b""[..]), mic, content_headers }, making))
    }

    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Keeps a message, whose body is given by what is returned from now on.
    fn begin(&self, message: &mut Outgoing, total: u64) -> Making {
        let making = Making::new(std::mem::replace(&mut message.body, Box::new(&b""[..])), total);
        let begun = Begun {
            headers: message.headers.clone(),
            content_headers: message.content_headers.clone(),
            mic: message.mic.clone(),
            making: making.clone(),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun);
        making
    }
}

impl MessagePart<'_> {
    /// Says in a message's header fields what part of it is sent. The version is that of restart.
    fn write(&self, headers: &mut Vec<(String, String)>) {
        for (name, value) in headers.iter_mut() {
            if name == "AS2-Version" {
                "1.2".clone_into(value);
            }
        }
        headers.push(("ETag".into(), self.etag.to_owned()));
        if self.has_range {
            headers.push(("Content-Range".into(), content_range(self.from, self.total)));
        }
    }
}

/// All bytes from one on: `bytes n-(N-1)/N`.
fn content_range(from: u64, total: u64) -> String {
    format!("bytes {from}-{}/{total}", total.saturating_sub(1))
}

/// What is known of a message once it was sent.
pub(crate) struct SentMessage {
    pub(crate) mic: MicSlot,
    pub(crate) content_headers: Vec<u8>,
    /// The header fields that went with it, without those that log in.
    pub(crate) headers: Vec<(String, String)>,
    /// The byte at which the last POST began.
    pub(crate) from: u64,
    /// Where it went on, for the receipt.
    pub(crate) restarts: Vec<(&'static str, String)>,
    /// What its answer holds besides a receipt; taken once.
    content: Mutex<Option<AnswerContent>>,
}

impl SentMessage {
    /// What its answer holds besides a receipt.
    pub(super) fn take_content(&self) -> Option<AnswerContent> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl As2Destination {
    /// Posts a message, and takes in the whole answer.
    pub(super) async fn post(
        &self,
        delivery: &Deliver,
        what: Sending<'_>,
        url: &Url,
    ) -> Result<(PartnerResponse, SentMessage)> {
        let (answer, mut sent) = self.send_logged_in(delivery, what, url).await?;
        let (head, body) = answer.into_parts();
        let connection = head.extensions.get::<ConnectionInfo>().map(|info| info.id);
        let receipt_wanted = what.envelope.agreement.mdn != MdnRequest::None && what.noted.is_none();
        let Answer { headers, body, content } =
            self.read_answer(&head, body, what.envelope, receipt_wanted).await?;
        sent.content = Mutex::new(content);
        Ok((PartnerResponse { status: head.status, headers, body, connection }, sent))
    }

    /// Sends the message, with a login if one is given; its last byte only once it is noted what a receipt that comes later
    /// must say. Returns at the head of the answer.
    pub(crate) async fn send(
        &self,
        delivery: &Deliver,
        Sending { envelope, noted, part }: Sending<'_>,
        url: &Url,
        login: Option<&Login>,
    ) -> Result<(Response<Body>, SentMessage)> {
        let from = part.map_or(0, |part| part.from);
        let (mut message, making) = match part.and_then(|part| part.begun.zip(Some(part.total))) {
            Some(begun) => {
                let (message, making) = self.make_further(delivery, envelope, begun, from).await?;
                (message, Some(making))
            }
            None => (self.make(delivery, envelope, from).await?, None),
        };
        if let Some(part) = part {
            part.write(&mut message.headers);
        }
        let before_last = match noted {
            Some(terms) => {
                let proof = ProofOf::new(envelope, &message.headers)?;
                let (log, message_id) = (Arc::clone(&delivery.log), envelope.seed.message_id.as_str());
                let sent_with = [terms.sent_with, &envelope.made_once.sent_with()].concat();
                let terms = SentTerms { sent_with: &sent_with, ..*terms };
                Some(noting(&message, log, message_id, &terms, proof))
            }
            None => None,
        };
        let posting = match envelope.agreement.form.post {
            true => Some(Posting::new(envelope, &message.headers, delivery.payload.metadata())?),
            false => None,
        };
        let fields = posting.as_ref().map_or_else(|| message.headers.clone(), |form| form.headers.clone());
        let is_chunked = self.endpoint.options.bool("chunked");
        let (body, whole) = match making {
            Some(making) => (making.body(from, is_chunked, before_last), None),
            None => {
                let body = match before_last {
                    Some(before_last) => held(message.body, before_last),
                    None => message.body,
                };
                let body = match posting {
                    Some(form) => form.around(body),
                    None => body,
                };
                let whole = body.total_len();
                (body_of(body, whole.filter(|_| !is_chunked)), whole)
            }
        };
        let total = part.map(|part| part.total).or(whole);
        let under_way = UnderWay::new(delivery.claim.attempt, from, total);
        let mut request = Request::post(url.as_str());
        for (name, value) in &fields {
            request = request.header(name, value.as_bytes());
        }
        let sent = SentMessage {
            mic: message.mic,
            content_headers: message.content_headers,
            headers: message.headers,
            from,
            restarts: Vec::new(),
            content: Mutex::default(),
        };
        let mut request = request.body(under_way.counted(body)).map_err(|error| {
            Error::permanent(ErrorKind::ConfigInvalid, "write the message's headers").caused_by(error)
        })?;
        if let Some(part) = part {
            request.extensions_mut().insert(part.carried_by.clone());
        }
        if let Some(login) = login {
            login.authorize(&mut request);
        }
        let meta = RequestMeta {
            flow: Some(delivery.flow.clone()),
            delivery: Some(delivery.claim.delivery),
            idle_timeout: self.connecting()?.timeout,
            answer_timeout: self.answer_timeout(),
            whole_timeout: None,
        };
        let client = self.net.http_client(&self.profile(Purpose::Deliver)?);
        delivery.log.may_act()?;
        let answer = under_way.noted(&*delivery.log, client.request(request, &meta)).await?;
        Ok((answer, sent))
    }

    /// Makes a message from its first byte on, or opens the one in staging, which cannot be made again exactly, at the byte
    /// `from`.
    pub(super) async fn make(
        &self,
        delivery: &Deliver,
        envelope: &Envelope<'_>,
        from: u64,
    ) -> Result<Outgoing> {
        let length = delivery.payload.length();
        let payload = Arc::clone(&delivery.payload);
        let reader = tokio::task::spawn_blocking(move || payload.open_blocking(0..length)).await;
        let reader =
            reader.map_err(|e| Error::transient(ErrorKind::Internal, "open a payload").caused_by(e))??;
        let coding = envelope.agreement.headers.content_coding;
        let message_id = envelope.seed.message_id.as_str();
        let mut pgp_names = PgpNames::default();
        let (message, pgp) = match envelope.agreement.is_protected_by_pgp() {
            true if envelope.made_once.spool.get().is_some()
                || spool::is_kept(&delivery.notes, message_id)? =>
            {
                (pgp::kept(envelope)?, None)
            }
            true => {
                let material = self.materials.of(self.services.directory.definitions());
                let made = (envelope.agreement.send_security, envelope.seed.date);
                let sides = Partnership::pgp_sides(&material, &self.endpoint, made)?;
                let made = pgp::build(envelope, &sides, reader, length)?;
                pgp_names = sides.names;
                made
            }
            false => (build(envelope, reader, length)?, None),
        };
        let mut message = message.coded(coding);
        if message.length().is_some() {
            return Ok(message);
        }
        let made_once = &envelope.made_once;
        let signed = || -> Result<MadeSignatures> {
            let pgp_signature = pgp.as_ref().map(PgpSignature::made).transpose()?;
            let signature = made_once.noted_signature();
            Ok(MadeSignatures { signature, pgp_signature, pgp_names: pgp_names.clone() })
        };
        let of = (message_id, signed);
        let write = || spool::spooled(&self.services, delivery, of, message.body, message.mic);
        let spooled = made_once.spool.get_or_try_init(write).await?;
        (message.body, message.mic) = spooled.open(from).await?;
        Ok(message)
    }

    /// The message that an earlier POST of the attempt made up to this byte; where there is none, or its bytes from there on
    /// are not kept any more, made anew up to there.
    async fn make_further(
        &self,
        delivery: &Deliver,
        envelope: &Envelope<'_>,
        (begun, total): (&BegunMessage, u64),
        from: u64,
    ) -> Result<(Outgoing, Making)> {
        if let Some((message, making)) = begun.so_far()
            && making.reach(from).await?
        {
            return Ok((message, making));
        }
        // What it keeps is not held beside what the new one keeps.
        begun.forget();
        let mut message = self.make(delivery, envelope, from).await?;
        let making = begun.begin(&mut message, total);
        making.reach(from).await?;
        Ok((message, making))
    }

    /// Bytes of the body of a message, before any of it is made; of one that is kept in staging, once it is there.
    ///
    /// # Errors
    /// As [`build`](crate::outgoing::build), and those of staging.
    pub(super) async fn body_length(
        &self,
        delivery: &Deliver,
        envelope: &Envelope<'_>,
    ) -> Result<Option<u64>> {
        if envelope.agreement.is_spooled() {
            return Ok(self.make(delivery, envelope, 0).await?.length());
        }
        // The payload is not read for that.
        Ok(build(envelope, Box::new(std::io::empty()), delivery.payload.length())?.length())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_message_says_which_of_its_bytes_are_sent() {
        // The draft's own example (5.2).
        assert_eq!(content_range(65_982_464, 307_502_443), "bytes 65982464-307502442/307502443");
        assert_eq!(content_range(0, 1001), "bytes 0-1000/1001");
        for has_range in [true, false] {
            let part = MessagePart {
                etag: "\"1\"",
                from: 7,
                total: 10,
                has_range,
                carried_by: CarriedBy::default(),
                begun: None,
            };
            let mut headers = vec![("AS2-Version".to_owned(), "1.0".to_owned())];
            part.write(&mut headers);
            let headers: BTreeMap<_, _> = headers.into_iter().collect();
            assert_eq!((headers["AS2-Version"].as_str(), headers["ETag"].as_str()), ("1.2", "\"1\""));
            assert_eq!(headers.contains_key("Content-Range"), has_range);
        }
    }
}
