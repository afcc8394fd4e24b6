//! Sends a payload as an AS2 message and reads the synchronous receipt.

use crate::disposition::{Disposition, DispositionError};
use crate::letter::{Letter, NOTE};
use crate::material::{own_key, partner_certificates};
use crate::mdn::{self, LARGEST_MDN, ReadMdn, mic_matches};
use crate::names::same_message_id;
use crate::outgoing::{Envelope, OwnKey, build};
use crate::streaming::{STREAM_BUFFERS, body_of};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{Request, StatusCode};
use model::definition::{Endpoint, MdnRequest, Partner};
use model::{
    ConnectionId, Error, ErrorKind, PeerText, Protocol, Purpose, Receipt, ReceiptKind, Result, Retry,
};
use net::http::{ConnectionInfo, HttpProfile, RequestMeta};
use net::{DialRequest, Net, TlsOptions, TlsProfile, Trust};
use openssl::hash::MessageDigest;
use openssl::x509::X509;
use serde_json::{Map, Value};
use smime::{Headers, Mic};
use std::sync::Arc;
use std::time::Duration;
use transport::{Deliver, Destination, Probe, ProbeStep, Sent, Services};
use url::Url;

/// An AS2 endpoint as a place to send to.
pub(crate) struct As2Destination {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) services: Services,
    pub(crate) net: Net,
}

/// Both sides of the exchange, ready.
struct Sides {
    partner: Arc<Partner>,
    certificates: Vec<X509>,
    identity: Arc<model::definition::Identity>,
    own: OwnKey,
}

#[async_trait]
impl Destination for As2Destination {
    async fn deliver(&self, delivery: Deliver) -> Result<Sent> {
        let sides = self.sides()?;
        let url = self.url()?;
        let media_type = self.media_type(&delivery);
        let letter = self.letter(&delivery, &sides, &url, &media_type).await?;
        let envelope = Envelope {
            from: &sides.identity.as2_id,
            to: &sides.partner.as2_id,
            agreement: &sides.partner.agreement,
            own: Some(&sides.own),
            sealing: &letter.sealing,
            media_type: &media_type,
            file_name: &delivery.file_name,
        };
        let _room = self.services.budget.take(STREAM_BUFFERS).await;
        let length = delivery.payload.length();
        let payload = Arc::clone(&delivery.payload);
        let reader = tokio::task::spawn_blocking(move || payload.open_blocking(0..length)).await;
        let reader =
            reader.map_err(|e| Error::transient(ErrorKind::Internal, "open a payload").caused_by(e))??;
        let message = build(&envelope, reader, length)?;
        let sent_length = if self.endpoint.options.bool("chunked") { None } else { message.length() };
        let mut request = Request::post(url.as_str());
        for (name, value) in &message.headers {
            request = request.header(name, value.as_bytes());
        }
        let mic = message.mic.clone();
        let request = request.body(body_of(message.body, sent_length)).map_err(|error| {
            Error::permanent(ErrorKind::ConfigInvalid, "write the message's headers").caused_by(error)
        })?;
        let meta = RequestMeta {
            flow: Some(delivery.flow.clone()),
            delivery: Some(delivery.claim.delivery),
            idle_timeout: self.timeout("timeout"),
            answer_timeout: self.timeout("answer_timeout"),
            whole_timeout: None,
        };
        let client = self.net.http_client(&self.profile(Purpose::Deliver)?);
        delivery.log.may_act()?;
        let answer = client.request(request, &meta).await?;
        let (head, body) = answer.into_parts();
        let connection = head.extensions.get::<ConnectionInfo>().map(|info| info.id);
        let body = body.collect(LARGEST_MDN).await.map_err(|error| error.retry_as(Retry::Ambiguous))?;
        let headers = head
            .headers
            .iter()
            .try_fold(Headers::new(), |headers, (name, value)| headers.with(name.as_str(), value.as_bytes()));
        let headers = headers.map_err(|error| {
            Error::permanent(ErrorKind::Protocol, "read the answer's headers").caused_by(error)
        })?;
        let answer = Answer { status: head.status, headers, body: &body, connection };
        let expected = Expected { sides: &sides, message_id: &letter.sealing.message_id, mic: mic.get() };
        self.conclude(&answer, &expected).map_err(|error| answer.on_connection(error))
    }

    async fn probe(&self) -> Probe {
        let mut probe = Probe::default();
        let begun = self.services.clock.monotonic();
        let step = |name, result| ProbeStep {
            name,
            took: self.services.clock.monotonic().saturating_sub(begun),
            result,
        };
        let keys = self.sides().map(|sides| {
            format!(
                "{} to {}, {} certificate(s)",
                sides.identity.as2_id,
                sides.partner.as2_id,
                sides.certificates.len()
            )
        });
        let keys_fine = keys.is_ok();
        probe.steps.push(step("keys", keys));
        if keys_fine {
            let connected = self.connect().await;
            probe.steps.push(step("connection", connected));
        }
        probe
    }
}

struct Answer<'a> {
    status: StatusCode,
    headers: Headers,
    body: &'a [u8],
    connection: Option<ConnectionId>,
}

impl Answer<'_> {
    /// Adds the connection the answer came by, so that the audit trail can name it.
    fn on_connection(&self, error: Error) -> Error {
        match self.connection {
            Some(connection) => error.with("connection", connection),
            None => error,
        }
    }
}

struct Expected<'a> {
    sides: &'a Sides,
    message_id: &'a str,
    mic: Option<&'a Mic>,
}

impl As2Destination {
    fn sides(&self) -> Result<Sides> {
        let missing = |what: &'static str| {
            Error::permanent(ErrorKind::ConfigInvalid, "find both sides of an AS2 endpoint")
                .with("endpoint", &self.endpoint.name)
                .with("missing", what)
        };
        let directory = &self.services.directory;
        let partner =
            directory.partner(self.endpoint.partner.as_deref().ok_or_else(|| missing("partner"))?)?;
        let own =
            directory.identity(self.endpoint.identity.as_deref().ok_or_else(|| missing("identity"))?)?;
        Ok(Sides {
            certificates: partner_certificates(&partner)?,
            partner: partner.partner,
            own: own_key(&own)?,
            identity: own.identity,
        })
    }

    fn url(&self) -> Result<Url> {
        self.endpoint.url.clone().ok_or_else(|| {
            Error::permanent(ErrorKind::ConfigInvalid, "find an AS2 endpoint's url")
                .with("endpoint", &self.endpoint.name)
        })
    }

    fn timeout(&self, option: &str) -> Duration {
        // "0s" means none; a day is as good as none and keeps a dead peer from holding a slot for ever.
        self.endpoint.options.duration(option).unwrap_or(Duration::from_secs(86_400))
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

    fn profile(&self, purpose: Purpose) -> Result<HttpProfile> {
        let mut profile = HttpProfile::new(Some(self.endpoint.name.clone()), Protocol::As2, purpose);
        if self.url()?.scheme() == "https" {
            profile.tls = Some(self.tls()?);
        }
        Ok(profile)
    }

    fn tls(&self) -> Result<TlsProfile> {
        let options = &self.endpoint.options;
        let pins = options.list("tls_pins");
        let trust = match options.text("tls_authorities") {
            _ if !pins.is_empty() => Trust::Pinned { sha256: pins.to_vec(), accept_expired: false },
            Some(authorities) => Trust::Authorities(vec![authorities.to_owned()]),
            None => Trust::System,
        };
        TlsProfile::new(&TlsOptions { trust, ..TlsOptions::default() })
    }

    async fn connect(&self) -> Result<String> {
        let url = self.url()?;
        let request = DialRequest {
            endpoint: Some(self.endpoint.name.clone()),
            protocol: Protocol::As2,
            purpose: Purpose::Test,
            host: url.host_str().unwrap_or_default().to_owned(),
            port: url.port_or_known_default().unwrap_or(80),
            tls: (url.scheme() == "https").then(|| self.tls()).transpose()?,
            proxy: net::Proxy::Disabled,
            timeout: Duration::from_secs(30),
        };
        drop(self.net.dial(&request).await?);
        Ok(format!("{}:{} answers", request.host, request.port))
    }

    /// The letter of earlier attempts, or a new one, noted and correlated before a byte leaves.
    async fn letter(&self, delivery: &Deliver, sides: &Sides, url: &Url, media_type: &str) -> Result<Letter> {
        let terms = terms(sides, media_type, delivery)?;
        if let Some(note) = delivery.notes.get(NOTE)
            && let Some(letter) = Letter::from_note(note, &terms, &sides.own)?
        {
            return Ok(letter);
        }
        let host = url.host_str().unwrap_or_default();
        let recipient = sides
            .certificates
            .first()
            .ok_or_else(|| Error::permanent(ErrorKind::ConfigInvalid, "find a partner's certificate"))?;
        let letter = Letter::draw(&self.services, host, &sides.partner.agreement, recipient, terms)?;
        delivery.log.note(NOTE, letter.to_note(&sides.own)?).await?;
        delivery.log.correlate(&letter.sealing.message_id).await?;
        Ok(letter)
    }

    fn conclude(&self, answer: &Answer<'_>, expected: &Expected<'_>) -> Result<Sent> {
        let agreement = &expected.sides.partner.agreement;
        if !answer.status.is_success() {
            return Err(refused(answer, &self.endpoint.name));
        }
        if agreement.mdn == MdnRequest::None {
            let mut detail = Map::new();
            detail.insert("message_id".into(), expected.message_id.into());
            detail.insert("status".into(), answer.status.as_u16().into());
            return Ok(self.delivered(ReceiptKind::HttpStatus, answer.status.to_string(), detail, answer));
        }
        if answer.body.is_empty() {
            // RFC 4130, 7.6: no receipt is no success. The same bytes go out again; a partner that has
            // them answers with the receipt it should have given.
            return Err(Error::ambiguous(ErrorKind::Protocol, "get the receipt (MDN) for a message")
                .with("message_id", expected.message_id)
                .with("status", answer.status)
                .said("an empty answer")
                .advice("ask the partner whether it sends synchronous receipts"));
        }
        let read = mdn::read(&answer.headers, answer.body, &expected.sides.certificates)?;
        let detail = self.examine(&read, answer, expected)?;
        Ok(self.delivered(ReceiptKind::Mdn, read.mdn.disposition.to_string(), detail, answer))
    }

    fn delivered(
        &self,
        kind: ReceiptKind,
        summary: String,
        mut detail: Map<String, Value>,
        answer: &Answer<'_>,
    ) -> Sent {
        if let Some(connection) = answer.connection {
            detail.insert("connection".into(), connection.to_string().into());
        }
        let summary = PeerText::from(summary.as_str()).as_str().to_owned();
        let at = self.services.clock.now();
        let receipt = Receipt { kind, at, positive: true, summary, detail, evidence: None };
        Sent::Delivered { receipt, replies: Vec::new() }
    }

    /// Whether the receipt says, and proves, that the partner has what we sent.
    fn examine(
        &self,
        read: &ReadMdn,
        answer: &Answer<'_>,
        expected: &Expected<'_>,
    ) -> Result<Map<String, Value>> {
        let mdn = &read.mdn;
        let disposition = mdn.disposition.to_string();
        // The disposition first: an error carries no MIC, and often no signature.
        if !mdn.disposition.is_positive() {
            return Err(
                negative(&mdn.disposition, expected.message_id).said(format!("{disposition} {}", mdn.text))
            );
        }
        let wrong = |what: &'static str| {
            Error::permanent(ErrorKind::IntegrityFailed, what)
                .with("message_id", expected.message_id)
                .with("disposition", &disposition)
        };
        if expected.sides.partner.agreement.mdn == MdnRequest::Signed && read.signed.is_none() {
            return Err(wrong("accept an unsigned receipt (MDN) where a signed one was asked for").advice(
                "ask the partner to sign its receipts, or agree on unsigned ones (mdn = \"unsigned\")",
            ));
        }
        if let Some(id) = &mdn.original_message_id
            && !same_message_id(id, expected.message_id)
        {
            return Err(wrong("accept a receipt (MDN) for another message").said(id));
        }
        let ours = expected
            .mic
            .ok_or_else(|| wrong("accept a receipt (MDN) that came before the whole message was sent"))?;
        let signs = expected.sides.partner.agreement.send_security.signs();
        match &mdn.mic {
            Some(theirs) if mic_matches(theirs, ours) => {}
            // A receipt for content that was not signed may leave the MIC out (RFC 4130, 7.4.3).
            None if !signs => {}
            theirs => {
                return Err(wrong("match the receipt's MIC with the message that was sent")
                    .with("our MIC", ours)
                    .with("their MIC", theirs.as_deref().map_or_else(|| "none".to_owned(), |t| PeerText::from(t).as_str().to_owned()))
                    .advice("the partner has other bytes than were sent, or computes the MIC in another form; compare with the MICs in the message's evidence"));
            }
        }
        let mut detail = Map::new();
        detail.insert("message_id".into(), expected.message_id.into());
        detail.insert("disposition".into(), PeerText::from(disposition.as_str()).as_str().into());
        detail.insert("mic".into(), ours.to_string().into());
        detail.insert("mic_matched".into(), mdn.mic.is_some().into());
        detail.insert("signed".into(), read.signed.is_some().into());
        detail.insert("status".into(), answer.status.as_u16().into());
        detail.insert(
            "mdn_content_type".into(),
            answer
                .headers
                .get("Content-Type")
                .map(|v| PeerText::new(v).as_str().to_owned())
                .unwrap_or_default()
                .into(),
        );
        // The evidence itself: with the content type above and the partner's certificate the signature
        // can be checked again years later, offline.
        detail.insert("mdn".into(), BASE64.encode(answer.body).into());
        Ok(detail)
    }
}

/// Everything that shapes the bytes of a message besides its payload.
fn terms(sides: &Sides, media_type: &str, delivery: &Deliver) -> Result<String> {
    let fingerprint = |certificate: &X509| {
        certificate
            .digest(MessageDigest::sha256())
            .map(|digest| digest.iter().map(|b| format!("{b:02x}")).collect::<String>())
            .map_err(|error| Error::permanent(ErrorKind::Internal, "hash a certificate").caused_by(error))
    };
    let agreement = &sides.partner.agreement;
    let partner = sides.certificates.first().map(fingerprint).transpose()?.unwrap_or_default();
    Ok([
        sides.identity.as2_id.as_str(),
        sides.partner.as2_id.as_str(),
        agreement.send_security.as_str(),
        agreement.cipher.as_str(),
        agreement.digest.as_str(),
        agreement.mdn.as_str(),
        &fingerprint(&sides.own.certificate)?,
        &partner,
        media_type,
        &delivery.file_name.to_text(),
    ]
    .join("\n"))
}

/// What an HTTP status that is no success means.
fn refused(answer: &Answer<'_>, endpoint: &str) -> Error {
    let status = answer.status;
    let (kind, retry, advice) = match status.as_u16() {
        300..=399 => (
            ErrorKind::ConfigInvalid,
            Retry::Permanent,
            "the partner's address has moved; ask for the new one",
        ),
        401 => (
            ErrorKind::Unauthenticated,
            Retry::Permanent,
            "the partner asks for a login that this endpoint does not have",
        ),
        403 => (ErrorKind::PermissionDenied, Retry::Permanent, "ask the partner to admit this sender"),
        404 | 410 => (ErrorKind::NotFound, Retry::Permanent, "check the path in the endpoint's url"),
        408 | 425 => (ErrorKind::Timeout, Retry::Transient, "it is tried again"),
        411 => (
            ErrorKind::Unsupported,
            Retry::Permanent,
            "the partner wants Content-Length; set chunked = false",
        ),
        413 => (ErrorKind::Rejected, Retry::Permanent, "the partner does not take files of this size"),
        429 => (ErrorKind::Throttled, Retry::Transient, "it is tried again more slowly"),
        500 | 502..=504 => (
            ErrorKind::Unreachable,
            Retry::Transient,
            "the partner's system has a fault of its own; it is tried again",
        ),
        507 => (ErrorKind::StorageFull, Retry::Transient, "the partner has no room; it is tried again"),
        500..=599 => (ErrorKind::Unsupported, Retry::Permanent, "ask the partner what its system expects"),
        _ => (ErrorKind::Rejected, Retry::Permanent, "ask the partner why it refuses the message"),
    };
    Error::new(kind, retry, "deliver an AS2 message")
        .with("endpoint", endpoint)
        .with("status", status)
        .said(&answer.body[..answer.body.len().min(1024)])
        .advice(advice)
}

/// What a receipt that says no means.
fn negative(disposition: &Disposition, message_id: &str) -> Error {
    let (kind, retry, advice) = match disposition {
        Disposition::Error(DispositionError::UnexpectedProcessingError) => {
            (ErrorKind::Rejected, Retry::Transient, "the partner's system had a fault; it is tried again")
        }
        Disposition::Error(DispositionError::UnknownTradingPartner) => (
            ErrorKind::Unauthenticated,
            Retry::Permanent,
            "check both AS2 names with the partner, letter by letter",
        ),
        Disposition::Error(DispositionError::AuthenticationFailed) => {
            (ErrorKind::TrustFailed, Retry::Permanent, "give the partner our present certificate")
        }
        Disposition::Error(DispositionError::DecryptionFailed) => (
            ErrorKind::TrustFailed,
            Retry::Permanent,
            "ask the partner for its present certificate and put it first",
        ),
        Disposition::Error(DispositionError::InsufficientMessageSecurity) => (
            ErrorKind::ConfigInvalid,
            Retry::Permanent,
            "the partner wants messages signed or encrypted; change send_security",
        ),
        _ => (ErrorKind::Rejected, Retry::Permanent, "ask the partner why it refuses the message"),
    };
    Error::new(kind, retry, "have an AS2 message accepted").with("message_id", message_id).advice(advice)
}
