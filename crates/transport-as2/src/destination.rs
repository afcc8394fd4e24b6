//! Sends a payload as an AS2 message and reads the synchronous receipt.

use crate::agreement::{Identity, MdnRequest, Partner};
use crate::answer_body;
use crate::legacy;
use crate::material::{fingerprint, own_key, partner_certificates, recipient, signs_alike};
use crate::mic_mismatch;
use crate::outgoing::{Envelope, OwnKey, build};
use crate::prepared::{Earlier, NOTE, PreparedMessage};
use crate::receipt::{Expected, PartnerResponse, Verdict, assess};
use crate::streaming::{STREAM_BUFFERS, body_of};
use async_trait::async_trait;
use http::Request;
use model::definition::Endpoint;
use model::schema::{Findings, Section};
use model::{Error, ErrorKind, Protocol, Purpose, Result, UNPROVEN_MDN};
use net::http::{ConnectionInfo, HttpProfile, RequestMeta};
use net::{ConnectOptions, ConnectProfile, DialRequest, Net};
use openssl::x509::X509;
use smime::{Headers, MicSlot};
use std::sync::Arc;
use std::time::Duration;
use transport::{Deliver, Destination, Probe, ProbeStep, Sent, Services, Step};
use url::Url;

/// An AS2 endpoint as a place to send to.
pub(crate) struct As2Destination {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) services: Services,
    pub(crate) net: Net,
}

/// The partner and our own side of the exchange, ready.
struct Partnership {
    partner: Partner,
    certificates: Vec<X509>,
    identity: Identity,
    own: OwnKey,
    own_fingerprint: String,
    /// Of the certificate that messages are encrypted for.
    recipient_fingerprint: String,
    /// What of it is too weak for today, as the agreement allows.
    legacy: Vec<String>,
}

#[async_trait]
impl Destination for As2Destination {
    async fn deliver(&self, delivery: Deliver) -> Result<Sent> {
        let partnership = self.partnership()?;
        let url = self.url()?;
        let media_type = self.media_type(&delivery);
        let mut prepared = self.prepare(&delivery, &partnership, &url, &media_type).await?;
        let envelope = Envelope {
            from: &partnership.identity.as2_id,
            to: &partnership.partner.as2_id,
            agreement: &partnership.partner.agreement,
            own: Some(&partnership.own),
            seed: &prepared.seed,
            media_type: &media_type,
            file_name: &delivery.file_name,
        };
        let _room = self.services.budget.take(STREAM_BUFFERS).await;
        let (answer, sent) = self.exchange(&delivery, &envelope, &url).await?;
        let expected = Expected {
            endpoint: &self.endpoint.name,
            agreement: &partnership.partner.agreement,
            certificates: &partnership.certificates,
            own_fingerprint: &partnership.own_fingerprint,
            recipient_fingerprint: &partnership.recipient_fingerprint,
            now: self.services.clock.now(),
            message_id: &prepared.seed.message_id,
            earlier: prepared.earlier,
            mic: sent.mic.get(),
        };
        let verdict = match assess(&answer, &expected) {
            Ok(verdict) => verdict,
            Err(error) => {
                let error = keep(&answer, &delivery, error).await;
                return Err(answer.on_connection(error));
            }
        };
        let proved = match verdict {
            Verdict::Proved(proof) => Ok(proof),
            Verdict::Unproved(error) => Err(error),
            Verdict::MicMismatch(other) => {
                let payload = Arc::clone(&delivery.payload);
                let every = mic_mismatch::of_payload(payload, sent.content_headers, other.digest()).await;
                other.judge(every)
            }
        };
        match proved {
            Ok(mut proof) => {
                proof.legacy = [partnership.legacy, proof.legacy].concat();
                if let Some(event) = legacy::event(&self.services, &partnership.partner, &proof.legacy) {
                    let event = event.flow(&delivery.flow).delivery(delivery.claim.delivery);
                    legacy::record(&*self.services.audit, event.endpoint(&self.endpoint.name)).await;
                }
                Ok(Sent::Delivered { receipt: proof.receipt(self.services.clock.now()), replies: Vec::new() })
            }
            Err(error) => {
                let error = answer.on_connection(keep(&answer, &delivery, error).await);
                prepared.earlier = Earlier::Answered;
                let noted = match prepared.to_note(&partnership.own) {
                    Ok(note) => delivery.log.note(NOTE, note).await,
                    Err(error) => Err(error),
                };
                Err(match noted {
                    Ok(()) => error,
                    Err(failed) => error.with("a note could not be stored", failed.chain()),
                })
            }
        }
    }

    async fn probe(&self) -> Probe {
        let mut probe = Probe::default();
        let begun = self.services.clock.monotonic();
        let tried = |step, result| ProbeStep {
            step,
            took: self.services.clock.monotonic().saturating_sub(begun),
            result,
        };
        let keys = self.partnership().and_then(|partnership| {
            recipient(&partnership.certificates, &partnership.partner, self.services.clock.now())?;
            Ok(format!(
                "{} to {}, {} certificate(s)",
                partnership.identity.as2_id,
                partnership.partner.as2_id,
                partnership.certificates.len()
            ))
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

/// What is known of a message once it was sent.
struct SentMessage {
    mic: MicSlot,
    content_headers: Vec<u8>,
}

impl As2Destination {
    /// Sends the message and takes in the whole answer.
    async fn exchange(
        &self,
        delivery: &Deliver,
        envelope: &Envelope<'_>,
        url: &Url,
    ) -> Result<(PartnerResponse, SentMessage)> {
        let length = delivery.payload.length();
        let payload = Arc::clone(&delivery.payload);
        let reader = tokio::task::spawn_blocking(move || payload.open_blocking(0..length)).await;
        let reader =
            reader.map_err(|e| Error::transient(ErrorKind::Internal, "open a payload").caused_by(e))??;
        let message = build(envelope, reader, length)?;
        let sent_length = if self.endpoint.options.bool("chunked") { None } else { message.length() };
        let mut request = Request::post(url.as_str());
        for (name, value) in &message.headers {
            request = request.header(name, value.as_bytes());
        }
        let sent = SentMessage { mic: message.mic, content_headers: message.content_headers };
        let request = request.body(body_of(message.body, sent_length)).map_err(|error| {
            Error::permanent(ErrorKind::ConfigInvalid, "write the message's headers").caused_by(error)
        })?;
        let meta = RequestMeta {
            flow: Some(delivery.flow.clone()),
            delivery: Some(delivery.claim.delivery),
            idle_timeout: self.connecting()?.timeout,
            answer_timeout: self.answer_timeout(),
            whole_timeout: None,
        };
        let client = self.net.http_client(&self.profile(Purpose::Deliver)?);
        delivery.log.may_act()?;
        let answer = client.request(request, &meta).await?;
        let (head, body) = answer.into_parts();
        let connection = head.extensions.get::<ConnectionInfo>().map(|info| info.id);
        let body = answer_body::read(&head, body, envelope.agreement.mdn != MdnRequest::None).await?;
        // A field that no MIME header can be is none of the receipt's.
        let headers = head.headers.iter().fold(Headers::new(), |headers, (name, value)| {
            headers.clone().with(name.as_str(), value.as_bytes()).unwrap_or(headers)
        });
        Ok((PartnerResponse { status: head.status, headers, body, connection }, sent))
    }

    fn partnership(&self) -> Result<Partnership> {
        let missing = |what: &'static str| {
            Error::permanent(ErrorKind::ConfigInvalid, "find the partner and identity of an AS2 endpoint")
                .with("endpoint", &self.endpoint.name)
                .with("missing", what)
        };
        let definitions = self.services.directory.definitions();
        let name = self.endpoint.partner().ok_or_else(|| missing("partner"))?;
        let partner = Partner::of(definitions.partner(name)?)?;
        let name = self.endpoint.options.text("identity").ok_or_else(|| missing("identity"))?;
        let identity = Identity::of(definitions.identity(name)?)?;
        let certificates = partner_certificates(&definitions, &partner)?;
        let key = own_key(&definitions, &identity, identity.key())?;
        let mut legacy = legacy::of_message(&partner, certificates.first())?;
        if partner.agreement.send_security.signs() {
            legacy.extend(legacy::of_own_key(&key, &identity, &partner)?);
        }
        let partnership = Partnership {
            legacy,
            own_fingerprint: fingerprint(&key.certificate)?,
            recipient_fingerprint: certificates.first().map(fingerprint).transpose()?.unwrap_or_default(),
            certificates,
            partner,
            own: key,
            identity,
        };
        signs_alike(&partnership.own, &partnership.identity, &partnership.partner.agreement)?;
        Ok(partnership)
    }

    pub(crate) fn url(&self) -> Result<Url> {
        self.endpoint.url().cloned().ok_or_else(|| {
            Error::permanent(ErrorKind::ConfigInvalid, "find an AS2 endpoint's url")
                .with("endpoint", &self.endpoint.name)
        })
    }

    fn answer_timeout(&self) -> Duration {
        // "0s" means none; a day is as good as none and keeps a dead peer from holding a slot for ever.
        self.endpoint.options.duration("answer_timeout").unwrap_or(Duration::from_secs(86_400))
    }

    /// How to connect, as the definitions in force say.
    fn connecting(&self) -> Result<ConnectProfile> {
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
    async fn prepare(
        &self,
        delivery: &Deliver,
        partnership: &Partnership,
        url: &Url,
        media_type: &str,
    ) -> Result<PreparedMessage> {
        let terms = terms(partnership, media_type, delivery);
        if let Some(note) = delivery.notes.get(NOTE)
            && let Some(prepared) = PreparedMessage::from_note(note, &terms, &partnership.own)?
        {
            return Ok(prepared);
        }
        let host = url.host_str().unwrap_or_default();
        let recipient =
            recipient(&partnership.certificates, &partnership.partner, self.services.clock.now())?;
        let prepared =
            PreparedMessage::new(&self.services, host, &partnership.partner.agreement, recipient, terms)?;
        delivery.log.note(NOTE, prepared.to_note(&partnership.own)?).await?;
        delivery.log.correlate(&prepared.seed.message_id).await?;
        Ok(prepared)
    }
}

/// Largest answer kept of a delivery that failed, in bytes.
const LARGEST_KEPT: usize = 256 * 1024;

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

/// Everything that shapes the bytes of a message besides its payload.
fn terms(partnership: &Partnership, media_type: &str, delivery: &Deliver) -> String {
    let agreement = &partnership.partner.agreement;
    [
        partnership.identity.as2_id.as_str(),
        partnership.partner.as2_id.as_str(),
        agreement.send_security.as_str(),
        agreement.cipher.as_str(),
        agreement.digest.as_str(),
        agreement.mdn.as_str(),
        &partnership.own_fingerprint,
        &partnership.recipient_fingerprint,
        media_type,
        &delivery.file_name.to_text(),
    ]
    .join("\n")
}
