//! Refused messages: the answer to the sender, the audit event, and the log line.

use crate::coding::{ACCEPTED, Coding, transfer_coding};
use crate::disposition::{Disposition, DispositionError};
use crate::later_reply::given;
use crate::listener::Receiver;
use crate::parties::Parties;
use crate::receipt_target::read_url;
use crate::rejection::Rejection;
use crate::reply::{ReplyContent, stored_reply};
use crate::report_types::report_type;
use crate::request::RequestHead;
use crate::streaming::Arriving;
use http::header::{ACCEPT_ENCODING, ALLOW};
use http::{HeaderMap, Method, Response, StatusCode};
use model::{AuditEvent, Error, ErrorKind, EventKind, Result};
use net::http::{Body, PeerInfo, Unserved};
use smime::{Digest, Weakness};
use transport::{Reception, StoredReply};

/// A refusal by the head alone, before it is known who sends: an HTTP status and a sentence.
pub(crate) struct EarlyRejection {
    status: StatusCode,
    reason: String,
}

impl EarlyRejection {
    pub(crate) fn new(status: StatusCode, reason: String) -> Self {
        Self { status, reason }
    }

    /// How the body is coded.
    ///
    /// # Errors
    /// The head asks for what is not there.
    pub(crate) fn of(headers: &HeaderMap, head: &RequestHead) -> Result<Coding, Self> {
        // A sender that asks for an asynchronous receipt does not read this answer beyond its status, so
        // no disposition would reach it. (The option alone asks for no receipt: RFC 4130, 7.3.)
        if let (true, Some(url)) = (head.mdn.wanted, &head.mdn.deliver_to)
            && let Err(unreadable) = read_url(url)
        {
            let status =
                if unreadable.is_unsupported { StatusCode::NOT_IMPLEMENTED } else { StatusCode::BAD_REQUEST };
            return Err(Self::new(status, unreadable.reason));
        }
        if let Some(name) = transfer_coding(headers) {
            let reason = format!(
                "The Transfer-Encoding {name} is not supported: send the message chunked or with \
                Content-Length."
            );
            return Err(Self::new(StatusCode::NOT_IMPLEMENTED, reason));
        }
        Coding::of(headers).map_err(|name| {
            let reason = format!("The Content-Encoding {name} is not supported: use one of {ACCEPTED}.");
            Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason)
        })
    }
}

impl Receiver {
    /// Refuses a message because of its headers. The body is still read, as far as possible.
    pub(crate) async fn reject_early(
        &self,
        head: Option<&RequestHead>,
        early: EarlyRejection,
        arriving: Arriving,
        peer: &PeerInfo,
    ) -> Result<Response<Body>> {
        let event = self.refusal(peer, head).detail("status", early.status.as_u16());
        let event = match head.and_then(|head| head.mdn.deliver_to.as_deref()) {
            Some(deliver_to) => event.peer_detail("receipt_delivery_option", deliver_to),
            None => event,
        };
        self.record(event.peer_detail("reason", &early.reason)).await?;
        arriving.drain().await;
        let mut answer = plain(early.status, &format!("{}\n", early.reason))?;
        if early.status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            answer.headers_mut().insert(ACCEPT_ENCODING, http::HeaderValue::from_static(ACCEPTED));
        }
        Ok(answer)
    }

    /// Answers what is no POST.
    pub(crate) async fn not_posted(&self, method: &Method, peer: &PeerInfo) -> Result<Response<Body>> {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let event = self.refusal(peer, None).detail("status", status.as_u16());
        let reason = format!("the method is {method}: AS2 messages are sent by POST");
        self.record(event.peer_detail("reason", reason)).await?;
        let mut answer = plain(status, "AS2 messages are sent by POST.\n")?;
        answer.headers_mut().insert(ALLOW, http::HeaderValue::from_static("POST"));
        Ok(answer)
    }

    /// Records a request at our address that never came here.
    pub(crate) async fn note_unserved(&self, unserved: Unserved<'_>) {
        let Unserved { status, path, peer } = unserved;
        let reason = match status {
            StatusCode::NOT_FOUND => {
                format!(
                    "wrong path {path}: AS2 messages are received at {}; tell the sender the right URL",
                    self.path
                )
            }
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "the request's header is too large".to_owned(),
            _ => "the request's header cannot be read".to_owned(),
        };
        let event = self.refusal(peer, None).detail("status", status.as_u16()).peer_detail("reason", reason);
        if let Err(error) = self.record(event).await {
            tracing::error!(error = %error.chain(), "a refused request could not be recorded");
        }
    }

    /// Refuses a message that was reserved: the reply is recorded and kept for its repetitions.
    pub(crate) async fn refuse(
        &self,
        head: &RequestHead,
        parties: &Parties,
        peer: &PeerInfo,
        reception: Box<dyn Reception>,
        answer: ReplyContent,
        cause: &str,
    ) -> Result<StoredReply> {
        let reply = stored_reply(&self.services, head, Some(parties), &answer)?;
        let event = self
            .refusal(peer, Some(head))
            .partner(&parties.partner.name)
            .peer_detail("reason", cause)
            .detail("disposition", answer.disposition.to_string());
        let event = parties.diagnosis.told(event);
        log(&event);
        let receipts = self.later_receipts(head, parties, peer, &reply).await?;
        reception.refuse(vec![event], reply.clone(), receipts).await?;
        Ok(given(parties, reply))
    }

    /// The event of a refusal.
    pub(crate) fn refusal(&self, peer: &PeerInfo, head: Option<&RequestHead>) -> AuditEvent {
        let event = with_peer(self.services.event(EventKind::MessageRefused), peer);
        match head {
            None => event,
            Some(head) => event
                .peer_detail("as2_from", &head.from)
                .peer_detail("as2_to", &head.to)
                .peer_detail("message_id", &head.message_id),
        }
    }

    /// Records and logs a refusal.
    pub(crate) async fn record(&self, event: AuditEvent) -> Result<()> {
        log(&event);
        self.services.audit.record(vec![event]).await
    }
}

/// Why a message is not taken when many arrive at once.
pub(crate) const CROWDED: &str = "Too many messages are arriving at the moment: send this one again later.";

/// The answer to a sender whose message is not accepted at the moment, with the reason.
pub(crate) fn try_again_later(why: &str) -> StoredReply {
    let headers = vec![
        ("Content-Type".into(), "text/plain; charset=utf-8".into()),
        ("Retry-After".into(), "60".into()),
    ];
    let body = format!("{why}\n").into_bytes();
    StoredReply { status: StatusCode::SERVICE_UNAVAILABLE.as_u16(), headers, body }
}

/// What is declined before the body is read.
pub(crate) fn declined(head: &RequestHead, parties: &Parties, length: Option<u64>) -> Option<ReplyContent> {
    let failure = |text: &str, reason: String| {
        Some(ReplyContent {
            disposition: Disposition::Failure(text.into()),
            mic: None,
            by_pss: false,
            text: reason,
        })
    };
    if let Some(unsupported) = head.mdn.unsupported {
        return failure(unsupported, "The requested kind of receipt is not supported.".into());
    }
    if head.mdn.by_pgp && head.mdn.protocol_required && parties.pgp_own.is_none() {
        return failure(
            "unsupported format",
            "No OpenPGP key is defined here by which the receipt could be signed (pgp_keys).".into(),
        );
    }
    let known = &parties.partner.agreement.form.reports;
    if head.mdn.report_type.as_ref().is_some_and(|asked| report_type(known, asked).is_none()) {
        return failure(
            "unsupported format",
            "The type of receipt that Receipt-Report-Type names is not known here: agree on it, or ask for an MDN.".into(),
        );
    }
    let digests = &head.mdn.digests;
    let allowed =
        |digest: &Digest| parties.partner.agreement.legacy || Weakness::of_digest(*digest).is_none();
    if head.mdn.signed && head.mdn.digest_required && !digests.iter().any(allowed) {
        return failure(
            "unsupported MIC-algorithms",
            "None of the required algorithms may be used to sign the receipt: allow SHA-256.".into(),
        );
    }
    let most = parties.partner.agreement.largest_message;
    if length.is_some_and(|length| length > most) {
        return Some(ReplyContent {
            disposition: Disposition::Error(DispositionError::UnexpectedProcessingError),
            mic: None,
            by_pss: false,
            text: Rejection::TooLarge { most }.text(),
        });
    }
    None
}

/// The line in the log, from the event.
fn log(event: &AuditEvent) {
    let text = |key: &str| {
        event.detail.get(key).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    let show = |key: &str| text(key).map(tracing::field::display);
    let is_receipt = event.kind == EventKind::ReceiptUnmatched;
    let what = if is_receipt { "a receipt" } else { "an AS2 message" };
    tracing::warn!(
        partner = event.partner,
        peer = event.peer,
        connection = event.connection.map(tracing::field::display),
        as2_from = show("as2_from"),
        as2_to = show("as2_to"),
        message_id = show("message_id"),
        disposition = show("disposition"),
        status = show("status"),
        reason = text("reason").or_else(|| text("error")).map(tracing::field::display),
        would_match = show("would_match"),
        kind = event.kind.as_str(),
        "{what} was refused"
    );
}

/// Names the peer and its connection.
pub(crate) fn with_peer(event: AuditEvent, peer: &PeerInfo) -> AuditEvent {
    let mut event = event.connection(peer.connection);
    event.peer = Some(peer.address());
    event
}

fn plain(status: StatusCode, text: &str) -> Result<Response<Body>> {
    Response::builder()
        .status(status)
        .header("Content-Type", "text/plain; charset=utf-8")
        .body(Body::bytes(text.to_owned()))
        .map_err(|error| Error::permanent(ErrorKind::Internal, "write the answer").caused_by(error))
}
