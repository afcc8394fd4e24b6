//! Sends a payload as an AS2 message, and reads the synchronous receipt where it asks for one.

mod answered;
mod answering;
mod ask_held;
mod outcome;
mod proved;
mod restarting;
mod sending;
mod under_way;

pub(crate) use restarting::{JOINED_WRONGLY, is_about_bytes};
pub(crate) use sending::{Sending, SentMessage};

use crate::agreement::{Agreement, MdnRequest, Partner};
use crate::by_hand;
use crate::disposition::Disposition;
use crate::form_fields::FormFields;
use crate::forms::{expired, notice};
use crate::later_receipt::correlation;
use crate::material::Materials;
use crate::media_types::by_name;
use crate::mic_mismatch;
use crate::names::{names_ref_num, ref_num_of};
use crate::noted_signature;
use crate::options::SPEC;
use crate::outgoing::{Envelope, MadeOnce};
use crate::partnership::Partnership;
use crate::prepared::{Earlier, NOTE, PreparedMessage};
use crate::receipt::{Expected, PartnerResponse, Verdict, assess_found};
use crate::related::{is_related, joined};
use crate::reply_address::{ListenSpecs, reply_url};
use crate::sent_message::{SentTerms, was_refused};
use crate::streaming::STREAM_BUFFERS;
use answered::AnswerContent;
use async_trait::async_trait;
use model::definition::{Access, Definitions, Endpoint};
use model::schema::{Findings, Section};
use model::{Error, ErrorKind, Protocol, Purpose, Result, Timestamp, UNPROVEN_MDN};
use net::http::{HttpProfile, ServerLogin};
use net::{ConnectOptions, ConnectProfile, DialRequest, Net, Shared};
use outcome::{not_received, note_answered};
use restarting::bytes_in_memory;
use serde_json::Value;
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
    /// The message that each file answers, by a template of the flow's destination.
    pub(crate) answer_to: Option<String>,
    /// What the flow's destination says in the fields of forms.
    pub(crate) form: FormFields,
    /// Whether it tells the senders of messages that these could not be processed.
    pub(crate) notifies: bool,
}

#[async_trait]
impl Destination for As2Destination {
    async fn deliver(&self, delivery: Deliver) -> Result<Sent> {
        let mut partnership = self.partnership((&delivery.notes, delivery.claim.attempt))?;
        let form = &mut partnership.partner.agreement.form;
        form.fields = std::mem::take(&mut form.fields).with(&self.form);
        let delivery = match self.notifies {
            true => notice(delivery, &mut partnership.partner)?,
            false => delivery,
        };
        if let Some(subject) = by_hand::subject(&delivery) {
            partnership.partner.agreement.headers.subject = Some(subject);
        }
        partnership.repeat();
        let delivery = self.named(delivery, &mut partnership)?;
        let mut prepared = self.prepare(&delivery, &partnership).await?;
        let (form, metadata) = (&partnership.partner.agreement.form, delivery.payload.metadata());
        if let Some(error) = expired(form, prepared.seed.date, metadata, self.services.clock.now()) {
            return Err(error);
        }
        match self.answer(&delivery, &partnership, &prepared).await {
            Ok(Some(sent)) => return Ok(sent),
            Ok(None) => {}
            // The partner has nothing of it, unless its error is ambiguous.
            Err(error) => return Err(not_received(&delivery, &partnership, &mut prepared, error).await),
        }
        let today = partnership.partner.agreement.receipts.clone();
        partnership.partner.agreement.receipts.repeat(prepared.reply_url.as_deref());
        let may_have_it = prepared.is_open();
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
        let keys = self.partnership((&BTreeMap::new(), 1)).and_then(|partnership| {
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
        let url = self.url()?;
        let envelope = Envelope {
            from: &partnership.identity.as2_id,
            to: &partnership.partner.as2_id,
            agreement: &partnership.partner.agreement,
            own: Some(&partnership.own.key),
            made_once: made_once(delivery, partnership, &prepared.seed.message_id)?,
            seed: &prepared.seed,
            media_type: &prepared.terms.media_type,
            file_name: &delivery.file_name,
        };
        let kept = bytes_in_memory(&partnership.partner.agreement, delivery);
        let _room = self.services.budget.take(STREAM_BUFFERS + kept).await;
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
        if noted.is_some()
            && let Err(error) = self.keep_signed(delivery, &envelope).await
        {
            return Err(not_received(delivery, partnership, prepared, error).await.into());
        }
        let exchanged = self.exchange(delivery, (&envelope, noted), &mut prepared.earlier, &url).await;
        let (answer, sent) = match exchanged {
            Ok(answered) => answered,
            Err(error) => return Err(not_received(delivery, partnership, prepared, error).await.into()),
        };
        let content = sent.take_content();
        let made_with = || [sent.restarts.as_slice(), &envelope.made_once.sent_with()].concat();
        let replies_to = (answer.connection, prepared.seed.message_id.as_str());
        if let Some(deadline) = self.awaits(&partnership.partner.agreement, &answer) {
            // Its evidence comes with its receipt, of what was noted.
            let awaiting = Sent::Awaiting { deadline, connection: answer.connection, replies: Vec::new() };
            return Ok(self.with_replies(delivery, awaiting, content, replies_to).await?);
        }
        let has_receipt = content.as_ref().is_some_and(|content| content.read.is_some());
        let judging = partnership.judging(has_receipt || answer.looks_like_mdn());
        let expected = Expected {
            endpoint: &self.endpoint.name,
            agreement: &judging,
            certificates: &partnership.certificates,
            pgp: &partnership.pgp,
            own_fingerprint: &partnership.own.fingerprint,
            recipient_fingerprint: &partnership.recipient_fingerprint,
            now: self.services.clock.now(),
            message_id: &prepared.seed.message_id,
            earlier: prepared.earlier,
            mic: sent.mic.get(),
        };
        let assessed = assess(&answer, content.as_ref(), &expected);
        let verdict = match assessed {
            Ok(verdict) => verdict,
            Err(error) => {
                let error = answer.on_connection(keep(&answer, delivery, error).await);
                return Err(not_received(delivery, partnership, prepared, error).await.into());
            }
        };
        let (error, refused) = match verdict {
            Verdict::Proved(proof) => {
                self.prove(delivery, partnership, &envelope, &sent).await;
                self.note_unsolicited(delivery, &answer, &proof).await;
                let delivered = self.delivered(delivery, partnership, proof, &made_with()).await;
                return Ok(self.with_replies(delivery, delivered, content, replies_to).await?);
            }
            Verdict::Refused(disposition, error) if sent.from > 0 && is_about_bytes(&disposition) => {
                let error = answer.on_connection(keep(&answer, delivery, error).await);
                let error = note_answered(delivery, partnership, prepared, error).await;
                let message_id = prepared.seed.message_id.as_str();
                return Err(self.joined_wrongly(delivery, message_id, sent.from, error).await);
            }
            Verdict::Refused(disposition, error) => (error, Some(disposition)),
            Verdict::Unproved(error) => (partnership.diagnosed(error), None),
            Verdict::MicMismatch(other) => {
                let payload = Arc::clone(&delivery.payload);
                let head = sent.content_headers.clone();
                let every = mic_mismatch::of_payload(payload, head, other.digest()).await;
                match other.judge(every) {
                    Ok(proof) => {
                        self.prove(delivery, partnership, &envelope, &sent).await;
                        let delivered = self.delivered(delivery, partnership, proof, &made_with()).await;
                        return Ok(self.with_replies(delivery, delivered, content, replies_to).await?);
                    }
                    Err(error) => (error, None),
                }
            }
        };
        let error = answer.on_connection(keep(&answer, delivery, error).await);
        // A receipt that proves nothing may come from a partner that has the message.
        prepared.may_have |= refused.is_none();
        prepared.refused = refused.is_some();
        Err(Failed { error: note_answered(delivery, partnership, prepared, error).await, refused })
    }
}

/// Judges an answer, which may hold payloads beside its receipt, or in place of one.
fn assess(
    answer: &PartnerResponse,
    content: Option<&AnswerContent>,
    expected: &Expected<'_>,
) -> Result<Verdict> {
    if let Some(content) = content.filter(|_| expected.agreement.mdn != MdnRequest::None) {
        content.has_receipt(expected.message_id)?;
    }
    assess_found(answer, content.and_then(|content| content.read.as_ref()), expected)
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

impl As2Destination {
    /// What the endpoint's server asked for to log in, if it did.
    pub(crate) fn server_login(
        &self,
        definitions: &Definitions,
        purpose: Purpose,
    ) -> Result<Arc<ServerLogin>> {
        self.logins.get(Access::of(&self.endpoint, definitions), purpose, |_| Ok(Arc::default()))
    }

    /// Both sides, for this attempt of a delivery with these notes.
    fn partnership(&self, notes: (&BTreeMap<String, Value>, u32)) -> Result<Partnership> {
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
        let own = delivery.payload.media_type();
        if let Some(own) = own.filter(|_| self.notifies) {
            return own.to_owned();
        }
        if let Some(chosen) = own.filter(|_| by_hand::is_by_hand(delivery)) {
            return chosen.to_owned();
        }
        // The endpoint's is that of the files, not of the multipart that holds them.
        let said = own.filter(|own| is_related(own)).or_else(|| self.endpoint.options.text("media_type"));
        said.or(own).unwrap_or_else(|| by_name(delivery.file_name.file_name())).to_owned()
    }

    /// The delivery of a message with the file names and media types of its terms, of today or as it was; several files in one.
    fn named(&self, mut delivery: Deliver, partnership: &mut Partnership) -> Result<Deliver> {
        partnership.root_type = match &partnership.repeated {
            Some(terms) => terms.root_type.clone(),
            None => self.media_type(&delivery),
        };
        if let Some(terms) = &partnership.repeated {
            delivery.file_name = terms.file_name.clone();
        }
        let file_names = partnership.partner.agreement.headers.file_names;
        joined(delivery, partnership.root_type.clone(), file_names)
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
        let today = || partnership.terms(self.media_type(delivery), &delivery.file_name);
        let terms = partnership.repeated.clone().unwrap_or_else(today);
        let is_repeated = partnership.repeated.is_some();
        let earlier =
            PreparedMessage::from_notes(&delivery.notes, (&terms, is_repeated), &partnership.own_keys)?;
        if let Some(mut prepared) = earlier {
            // By a receipt that came later.
            let refused = was_refused(&delivery.notes, &prepared.seed.message_id, delivery.claim.attempt);
            let reply_url = partnership.partner.agreement.receipts.reply_url();
            // With another URL for its receipt it would be another message. That takes the place of one that the partner
            // does not have; one that it may have goes out again with the URL that it had.
            if is_repeated || prepared.reply_url.as_deref() == reply_url {
                if prepared.earlier == Earlier::Answered {
                    // From here on the partner may have it.
                    delivery.log.note(NOTE, prepared.to_open_note(&partnership.own_keys)?).await?;
                }
                if refused {
                    prepared.earlier = Earlier::Answered;
                }
                prepared.refused = false;
                return Ok(prepared);
            }
        }
        let url = self.url()?;
        let host = url.host_str().unwrap_or_default();
        let recipients = partnership.recipients()?;
        let prepared =
            PreparedMessage::new(&self.services, host, &partnership.partner.agreement, &recipients, terms)?;
        // In this order: what is noted is sent by a later attempt as it is, and its receipt must be known then.
        delivery.log.correlate(&prepared.seed.message_id).await?;
        if partnership.partner.agreement.form.has_ref_num() {
            let number = names_ref_num(&ref_num_of(&prepared.seed.message_id));
            delivery.log.correlate(&correlation(&number)).await?;
        }
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
