//! Sends a payload as an AS2 message, and reads the synchronous receipt where it asks for one.

mod outcome;
mod proved;

use crate::agreement::{Agreement, MdnRequest, Partner};
use crate::answer_body;
use crate::disposition::Disposition;
use crate::login::Login;
use crate::material::Materials;
use crate::mic_mismatch;
use crate::noted_signature;
use crate::options::SPEC;
use crate::outgoing::{Envelope, MadeOnce, build};
use crate::partnership::Partnership;
use crate::prepared::{Earlier, NOTE, PreparedMessage};
use crate::receipt::{Expected, PartnerResponse, Verdict, assess};
use crate::reply_address::{ListenSpecs, reply_url};
use crate::sent_message::{SentTerms, noting, was_refused};
use crate::sent_proof::ProofOf;
use crate::spool;
use crate::streaming::{STREAM_BUFFERS, body_of};
use async_trait::async_trait;
use http::{Request, Response};
use model::definition::{Access, Definitions, Endpoint};
use model::schema::{Findings, Section};
use model::{Error, ErrorKind, Protocol, Purpose, Result, Timestamp, UNPROVEN_MDN};
use net::http::{Body, ConnectionInfo, HttpProfile, RequestMeta, ServerLogin};
use net::{ConnectOptions, ConnectProfile, DialRequest, Net, Shared};
use outcome::{not_received, note_answered};
use serde_json::Value;
use smime::{Headers, MicSlot};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use transport::{Deliver, Destination, Probe, ProbeStep, Sent, Services, Step};
use url::Url;

/// An AS2 endpoint as a place to send to.
pub(crate) struct As2Destination {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) services: Services,
    pub(crate) net: Net,
    /// Keys and certificates, read once.
    pub(crate) materials: Arc<Materials>,
    /// What the partners' servers ask for to log in, kept between messages.
    pub(crate) logins: Shared<ServerLogin>,
    /// The HTTP servers of `waybill.toml`, at which receipts come later.
    pub(crate) listen: Arc<ListenSpecs>,
}

#[async_trait]
impl Destination for As2Destination {
    async fn deliver(&self, delivery: Deliver) -> Result<Sent> {
        let mut partnership = self.partnership(&delivery.notes)?;
        let mut prepared = self.prepare(&delivery, &partnership).await?;
        let today = partnership.partner.agreement.receipts.clone();
        partnership.partner.agreement.receipts.repeat(prepared.reply_url.as_deref());
        let may_have_it = prepared.earlier == Earlier::Open || prepared.may_have;
        let failed = match self.attempt(&delivery, &partnership, &mut prepared).await {
            Ok(sent) => return Ok(sent),
            // What an earlier attempt may have brought there is never sent as another message.
            Err(failed) if may_have_it => return Err(failed.error),
            Err(failed) => failed,
        };
        // Another message names the URL of today.
        partnership.partner.agreement.receipts = today;
        self.once_more(&delivery, partnership, &prepared.seed.message_id, failed).await
    }

    async fn probe(&self) -> Probe {
        let mut probe = Probe::default();
        let begun = self.services.clock.monotonic();
        let tried = |step, result| ProbeStep {
            step,
            took: self.services.clock.monotonic().saturating_sub(begun),
            result,
        };
        let keys = self.partnership(&BTreeMap::new()).and_then(|partnership| {
            partnership.recipients()?;
            Ok(partnership.describe())
        });
        let keys_fine = keys.is_ok();
        probe.steps.push(tried(Step::Keys, keys));
        if !keys_fine {
            return probe;
        }
        let connected = self.connect().await;
        let reached = connected.is_ok();
        probe.steps.push(tried(Step::Connection, connected));
        if reached {
            let answer = self.ask().await;
            probe.steps.push(tried(Step::Answer, answer));
        }
        probe
    }
}

/// An attempt that failed.
struct Failed {
    error: Error,
    /// What the partner's receipt said, if it refused the message.
    refused: Option<Disposition>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, refused: None }
    }
}

impl As2Destination {
    /// Sends a message, and judges the answer.
    async fn attempt(
        &self,
        delivery: &Deliver,
        partnership: &Partnership,
        prepared: &mut PreparedMessage,
    ) -> Result<Sent, Failed> {
        let (url, media_type) = (self.url()?, self.media_type(delivery));
        let envelope = Envelope {
            from: &partnership.identity.as2_id,
            to: &partnership.partner.as2_id,
            agreement: &partnership.partner.agreement,
            own: Some(&partnership.own.key),
            made_once: made_once(delivery, partnership, &prepared.seed.message_id)?,
            seed: &prepared.seed,
            media_type: &media_type,
            file_name: &delivery.file_name,
        };
        let _room = self.services.budget.take(STREAM_BUFFERS).await;
        let sent_with = partnership.sent_with();
        let noted = SentTerms {
            partner: &partnership.partner.name,
            from: partnership.identity.as2_id.as_str(),
            to: partnership.partner.as2_id.as_str(),
            agreement: &partnership.partner.agreement,
            own_fingerprint: &partnership.own.fingerprint,
            recipient_fingerprint: &partnership.recipient_fingerprint,
            sent_with: &sent_with,
            legacy: &partnership.legacy,
            earlier: prepared.earlier,
        };
        let noted = comes_later(&partnership.partner.agreement).then_some(&noted);
        if noted.is_some() {
            self.keep_signed(delivery, &envelope).await?;
        }
        let (answer, sent) = match self.exchange(delivery, (&envelope, noted), &url).await {
            Ok(answered) => answered,
            Err(error) => return Err(not_received(delivery, partnership, prepared, error).await.into()),
        };
        if let Some(deadline) = self.awaits(&partnership.partner.agreement, &answer) {
            // Its evidence comes with its receipt, of what was noted.
            return Ok(Sent::Awaiting { deadline, connection: answer.connection });
        }
        let expected = Expected {
            endpoint: &self.endpoint.name,
            agreement: &partnership.partner.agreement,
            certificates: &partnership.certificates,
            own_fingerprint: &partnership.own.fingerprint,
            recipient_fingerprint: &partnership.recipient_fingerprint,
            now: self.services.clock.now(),
            message_id: &prepared.seed.message_id,
            earlier: prepared.earlier,
            mic: sent.mic.get(),
        };
        let verdict = match assess(&answer, &expected) {
            Ok(verdict) => verdict,
            Err(error) => {
                let error = answer.on_connection(keep(&answer, delivery, error).await);
                return Err(not_received(delivery, partnership, prepared, error).await.into());
            }
        };
        let (error, refused) = match verdict {
            Verdict::Proved(proof) => {
                self.prove(delivery, partnership, &envelope, &sent).await;
                return Ok(self.delivered(delivery, partnership, proof).await);
            }
            Verdict::Refused(disposition, error) => (error, Some(disposition)),
            Verdict::Unproved(error) => (error, None),
            Verdict::MicMismatch(other) => {
                let payload = Arc::clone(&delivery.payload);
                let head = sent.content_headers.clone();
                let every = mic_mismatch::of_payload(payload, head, other.digest()).await;
                match other.judge(every) {
                    Ok(proof) => {
                        self.prove(delivery, partnership, &envelope, &sent).await;
                        return Ok(self.delivered(delivery, partnership, proof).await);
                    }
                    Err(error) => (error, None),
                }
            }
        };
        let error = answer.on_connection(keep(&answer, delivery, error).await);
        // A receipt that proves nothing may come from a partner that has the message.
        prepared.may_have |= refused.is_none();
        Err(Failed { error: note_answered(delivery, partnership, prepared, error).await, refused })
    }
}

/// What is repeated of a message, by the notes of earlier attempts. A message that is written to staging whole before it is
/// sent is repeated from there.
fn made_once(delivery: &Deliver, partnership: &Partnership, message_id: &str) -> Result<MadeOnce> {
    if partnership.partner.agreement.is_spooled() {
        return Ok(MadeOnce::default());
    }
    Ok(MadeOnce::new(
        noted_signature::earlier(&delivery.notes, message_id)?,
        noted_signature::note(Arc::clone(&delivery.log), message_id.to_owned()),
    ))
}

/// What is known of a message once it was sent.
pub(crate) struct SentMessage {
    mic: MicSlot,
    content_headers: Vec<u8>,
    /// The header fields that went with it, without those that log in.
    headers: Vec<(String, String)>,
}

impl As2Destination {
    /// Sends the message and takes in the whole answer.
    async fn exchange(
        &self,
        delivery: &Deliver,
        (envelope, noted): (&Envelope<'_>, Option<&SentTerms<'_>>),
        url: &Url,
    ) -> Result<(PartnerResponse, SentMessage)> {
        let (answer, sent) = self.send_logged_in(delivery, (envelope, noted), url).await?;
        let (head, body) = answer.into_parts();
        let connection = head.extensions.get::<ConnectionInfo>().map(|info| info.id);
        let receipt_wanted = envelope.agreement.mdn != MdnRequest::None && noted.is_none();
        let body = answer_body::read(&head, body, receipt_wanted).await?;
        // A field that no MIME header can be is none of the receipt's.
        let headers = head.headers.iter().fold(Headers::new(), |headers, (name, value)| {
            headers.clone().with(name.as_str(), value.as_bytes()).unwrap_or(headers)
        });
        Ok((PartnerResponse { status: head.status, headers, body, connection }, sent))
    }

    /// Sends the message, with a login if one is given; its last byte only once it is noted what a receipt that comes later
    /// must say. Returns at the head of the answer.
    pub(crate) async fn send(
        &self,
        delivery: &Deliver,
        (envelope, noted): (&Envelope<'_>, Option<&SentTerms<'_>>),
        url: &Url,
        login: Option<&Login>,
    ) -> Result<(Response<Body>, SentMessage)> {
        let length = delivery.payload.length();
        let payload = Arc::clone(&delivery.payload);
        let reader = tokio::task::spawn_blocking(move || payload.open_blocking(0..length)).await;
        let reader =
            reader.map_err(|e| Error::transient(ErrorKind::Internal, "open a payload").caused_by(e))??;
        let coding = envelope.agreement.headers.content_coding;
        let mut message = build(envelope, reader, length)?.coded(coding);
        if message.length().is_none() {
            let made_once = &envelope.made_once;
            let of = (envelope.seed.message_id.as_str(), || made_once.noted_signature());
            let write = || spool::spooled(&self.services, delivery, of, message.body, message.mic);
            let spooled = envelope.made_once.spool.get_or_try_init(write).await?;
            (message.body, message.mic) = spooled.open().await?;
        }
        if let Some(terms) = noted {
            let proof = ProofOf::new(envelope, &message.headers)?;
            message = noting(message, Arc::clone(&delivery.log), &envelope.seed.message_id, terms, proof);
        }
        let sent_length = if self.endpoint.options.bool("chunked") { None } else { message.length() };
        let mut request = Request::post(url.as_str());
        for (name, value) in &message.headers {
            request = request.header(name, value.as_bytes());
        }
        let sent = SentMessage {
            mic: message.mic,
            content_headers: message.content_headers,
            headers: message.headers,
        };
        let mut request = request.body(body_of(message.body, sent_length)).map_err(|error| {
            Error::permanent(ErrorKind::ConfigInvalid, "write the message's headers").caused_by(error)
        })?;
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
        Ok((client.request(request, &meta).await?, sent))
    }

    /// What the endpoint's server asked for to log in, if it did.
    pub(crate) fn server_login(
        &self,
        definitions: &Definitions,
        purpose: Purpose,
    ) -> Result<Arc<ServerLogin>> {
        self.logins.get(Access::of(&self.endpoint, definitions), purpose, |_| Ok(Arc::default()))
    }

    /// Both sides, for a delivery with these notes.
    fn partnership(&self, notes: &BTreeMap<String, Value>) -> Result<Partnership> {
        let definitions = self.services.directory.definitions();
        let material = self.materials.of(Arc::clone(&definitions));
        let mut partnership = Partnership::of(&self.endpoint, material, notes, self.services.clock.now())?;
        partnership.partner.agreement.receipts.url = self.reply_url(&definitions, &partnership.partner)?;
        Ok(partnership)
    }

    /// The URL at which the partner's receipts are awaited; `None` where they come in its answers.
    fn reply_url(&self, definitions: &Definitions, partner: &Partner) -> Result<Option<String>> {
        reply_url(&self.listen, definitions, &partner.agreement.receipts, SPEC.name).map_err(|wrong| {
            Error::permanent(ErrorKind::ConfigInvalid, "find the URL for a partner's receipts")
                .with("partner", &partner.name)
                .with("field", format!("mdn.{}", wrong.field))
                .advice(format!("{} {}", wrong.field, wrong.message))
        })
    }

    /// Until when the receipt is awaited that comes later; `None` where the answer decides. Some partners put a receipt
    /// into the answer all the same.
    fn awaits(&self, agreement: &Agreement, answer: &PartnerResponse) -> Option<Timestamp> {
        let awaits = comes_later(agreement) && answer.status.is_success() && !answer.looks_like_mdn();
        awaits.then(|| self.services.clock.now() + agreement.receipts.deadline)
    }

    pub(crate) fn url(&self) -> Result<Url> {
        self.endpoint.url().cloned().ok_or_else(|| {
            Error::permanent(ErrorKind::ConfigInvalid, "find an AS2 endpoint's url")
                .with("endpoint", &self.endpoint.name)
        })
    }

    pub(crate) fn answer_timeout(&self) -> Duration {
        // "0s" means none; a day is as good as none and keeps a dead peer from holding a slot for ever.
        self.endpoint.options.duration("answer_timeout").unwrap_or(Duration::from_secs(86_400))
    }

    /// How to connect, as the definitions in force say.
    pub(crate) fn connecting(&self) -> Result<ConnectProfile> {
        let name = &self.endpoint.name;
        let read = |findings: &mut Findings<'_>| Some(ConnectOptions::read(&self.endpoint.options, findings));
        Findings::required(Section::ENDPOINT, name, read)?
            .profile(&self.services.directory.definitions())
            .map_err(|error| error.with("endpoint", name))
    }

    fn media_type(&self, delivery: &Deliver) -> String {
        let by_name = || match delivery.file_name.file_name().rsplit(|b| *b == b'.').next() {
            Some(b"edi" | b"x12" | b"EDI" | b"X12") => "application/edi-x12",
            Some(b"edifact" | b"EDIFACT") => "application/edifact",
            Some(b"xml" | b"XML") => "application/xml",
            _ => "application/octet-stream",
        };
        self.endpoint
            .options
            .text("media_type")
            .or_else(|| delivery.payload.media_type())
            .unwrap_or_else(by_name)
            .to_owned()
    }

    pub(crate) fn profile(&self, purpose: Purpose) -> Result<HttpProfile> {
        let connecting = self.connecting()?;
        let mut profile = HttpProfile::new(Some(self.endpoint.name.clone()), Protocol::As2, purpose);
        if self.url()?.scheme() == "https" {
            profile.tls = Some(self.net.tls_profile(&connecting.tls)?);
        }
        Ok(profile.connecting(&connecting))
    }

    async fn connect(&self) -> Result<String> {
        let (url, connecting) = (self.url()?, self.connecting()?);
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(80);
        let mut request = DialRequest::new(Protocol::As2, Purpose::Test, host, port, &connecting);
        request.endpoint = Some(self.endpoint.name.clone());
        if url.scheme() == "https" {
            request.tls = Some(self.net.tls_profile(&connecting.tls)?);
        }
        drop(self.net.dial(&request).await?);
        Ok(format!("{host}:{port} accepts connections"))
    }

    /// The message that earlier attempts sent, or a new one, noted and correlated before a byte leaves.
    async fn prepare(&self, delivery: &Deliver, partnership: &Partnership) -> Result<PreparedMessage> {
        let (url, media_type) = (self.url()?, self.media_type(delivery));
        let terms = terms(partnership, &media_type, delivery);
        if let Some(note) = delivery.notes.get(NOTE)
            && let Some(mut prepared) = PreparedMessage::from_note(note, &terms, &partnership.own_keys)?
        {
            // By a receipt that came later.
            let refused = was_refused(&delivery.notes, &prepared.seed.message_id, delivery.claim.attempt);
            let is_open = prepared.may_have || (prepared.earlier == Earlier::Open && !refused);
            let reply_url = partnership.partner.agreement.receipts.reply_url();
            // With another URL for its receipt it would be another message. That takes the place of one that the partner
            // does not have; one that it may have goes out again with the URL that it had.
            if is_open || prepared.reply_url.as_deref() == reply_url {
                if prepared.earlier == Earlier::Answered {
                    // From here on the partner may have it.
                    delivery.log.note(NOTE, prepared.to_open_note(&partnership.own_keys)?).await?;
                }
                if refused {
                    prepared.earlier = Earlier::Answered;
                }
                return Ok(prepared);
            }
        }
        let host = url.host_str().unwrap_or_default();
        let recipients = partnership.recipients()?;
        let prepared =
            PreparedMessage::new(&self.services, host, &partnership.partner.agreement, &recipients, terms)?;
        // In this order: what is noted is sent by a later attempt as it is, and its receipt must be known then.
        delivery.log.correlate(&prepared.seed.message_id).await?;
        delivery.log.note(NOTE, prepared.to_note(&partnership.own_keys)?).await?;
        Ok(prepared)
    }
}

/// Whether a message asks for a receipt that comes later.
fn comes_later(agreement: &Agreement) -> bool {
    agreement.mdn != MdnRequest::None && agreement.receipts.reply_url().is_some()
}

/// Largest receipt kept of a delivery that it does not prove, in bytes.
pub(crate) const LARGEST_KEPT: usize = 256 * 1024;

/// Keeps a receipt that does not prove the delivery, so that it can be looked at. What the partner answered
/// stays the error, with what came in between when the receipt could not be stored.
async fn keep(answer: &PartnerResponse, delivery: &Deliver, error: Error) -> Error {
    let Some(unproven) = answer.unproven_mdn(delivery.claim.attempt, LARGEST_KEPT) else { return error };
    let note = match serde_json::to_value(unproven) {
        Ok(note) => note,
        Err(failed) => return error.with("the receipt could not be stored", failed),
    };
    match delivery.log.note(UNPROVEN_MDN, note).await {
        Ok(()) => error,
        Err(failed) => error.with("the receipt could not be stored", failed.chain()),
    }
}

/// Everything that shapes the bytes of a message besides its payload, and the URL for its receipt, which is noted by itself.
fn terms(partnership: &Partnership, media_type: &str, delivery: &Deliver) -> String {
    let agreement = &partnership.partner.agreement;
    [
        partnership.identity.as2_id.as_str(),
        partnership.partner.as2_id.as_str(),
        agreement.send_security.as_str(),
        agreement.cipher.as_str(),
        agreement.digest.as_str(),
        agreement.compress.as_str(),
        agreement.order.as_str(),
        agreement.signature_form.as_str(),
        agreement.rsa_signature.as_str(),
        agreement.key_transport.as_str(),
        agreement.headers.content_coding.as_str(),
        agreement.mdn.as_str(),
        // The URL for the receipt stood here: without the line, what waits now would be sent anew.
        "",
        &partnership.own.fingerprint,
        &partnership.recipient_fingerprint,
        media_type,
        &delivery.file_name.to_text(),
    ]
    .join("\n")
}
