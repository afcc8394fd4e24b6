//! The answer to a message: a receipt where one was asked for, else a bare status.

use crate::disposition::Disposition;
use crate::header_options::FEATURES;
use crate::legacy;
use crate::mdn::Mdn;
use crate::names::new_message_id;
use crate::parties::Parties;
use crate::prepared::boundary;
use crate::request::RequestHead;
use http::{Response, StatusCode};
use model::{Error, ErrorKind, PeerText, Result};
use net::http::Body;
use smime::{Digest, Signing};
use std::time::{Duration, UNIX_EPOCH};
use transport::{Services, StoredReply};

/// The answer to the sender.
pub(crate) struct ReplyContent {
    pub(crate) disposition: Disposition,
    /// As written into the receipt; never with an error.
    pub(crate) mic: Option<String>,
    /// Whether an RSA key signs it by PSS, as the sender signed the message: whoever writes PSS reads it.
    pub(crate) by_pss: bool,
    pub(crate) text: String,
}

/// Writes the reply, signed when that was asked for and we know as whom. The bytes are kept and given
/// again to every repetition of the message.
///
/// # Errors
/// A key that cannot sign.
pub(crate) fn stored_reply(
    services: &Services,
    head: &RequestHead,
    parties: Option<&Parties>,
    answer: &ReplyContent,
) -> Result<StoredReply> {
    if !head.mdn.wanted {
        // No receipt that was not asked for (RFC 4130, 7.6). A message that is not taken must not look
        // taken, and without a receipt the status is all there is to say so.
        let status = if answer.disposition.is_positive() { 200 } else { 422 };
        let body =
            if answer.disposition.is_positive() { String::new() } else { format!("{}\n", answer.text) };
        let headers = vec![("Content-Type".into(), "text/plain; charset=utf-8".into())];
        return Ok(StoredReply { status, headers, body: body.into_bytes() });
    }
    let now = services.clock.now();
    let signing = match parties {
        Some(Parties { own, partner, .. }) if head.mdn.signed => {
            let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            let mut signing =
                Signing::new(own.key.clone(), own.certificate.clone(), time, &boundary(services));
            signing.pss = answer.by_pss;
            signing.digest =
                Signing::digest_for(&own.key, legacy::receipt_digest(&head.mdn.digests, &partner.agreement));
            if signing.scheme().is_err() {
                // ECDSA knows no MD5 (RFC 5754).
                signing.digest = Digest::Sha256;
            }
            signing.names = head.mdn.names;
            Some(signing)
        }
        _ => None,
    };
    let mdn = Mdn {
        original_recipient: Some(head.original_recipient.clone().unwrap_or_else(|| head.to.clone())),
        final_recipient: head.to.clone(),
        original_message_id: Some(head.message_id.clone()),
        disposition: answer.disposition.clone(),
        mic: answer.mic.clone(),
        text: about(head, &answer.text),
    };
    let message = mdn.write(&boundary(services), signing)?;
    let mut headers = vec![
        // 1.1: compressed messages are read (RFC 4130, 6.1). Features are told to those alone who know of them.
        ("AS2-Version".to_owned(), if head.features.is_some() { "1.2" } else { "1.1" }.to_owned()),
        // The names as they were sent, changed over (RFC 4130, 6.2).
        ("AS2-From".to_owned(), quoted(&head.to)),
        ("AS2-To".to_owned(), quoted(&head.from)),
        ("Message-ID".to_owned(), new_message_id(services.random.uuid(now), "waybill")),
        ("Date".to_owned(), now.format("%a, %d %b %Y %H:%M:%S GMT").to_string()),
        ("MIME-Version".to_owned(), "1.0".to_owned()),
    ];
    if head.features.is_some() {
        headers.push(("EDIINT-Features".to_owned(), FEATURES.to_owned()));
    }
    headers.extend(message.headers);
    Ok(StoredReply { status: 200, headers, body: message.body })
}

/// The text of a receipt with the subject and date of the message that it answers.
fn about(head: &RequestHead, text: &str) -> String {
    let mut text = text.to_owned();
    for (name, value) in [("Subject", &head.subject), ("Date", &head.date)] {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            text.push_str(&format!("\n{name}: {}", PeerText::from(value)));
        }
    }
    text
}

/// A bare status with a sentence for the sender, or without one.
pub(crate) fn plain_reply(status: StatusCode, text: &str) -> StoredReply {
    let headers = vec![("Content-Type".into(), "text/plain; charset=utf-8".into())];
    let body = if text.is_empty() { String::new() } else { format!("{text}\n") };
    StoredReply { status: status.as_u16(), headers, body: body.into_bytes() }
}

/// The MIC in a receipt that we wrote (`Mdn::write`: one line, not encoded); none in any other reply.
pub(crate) fn mic_of(reply: &StoredReply) -> Option<String> {
    let text = String::from_utf8_lossy(&reply.body);
    let mic = text.lines().find_map(|line| line.strip_prefix("Received-content-MIC: "))?;
    Some(mic.trim_end().to_owned())
}

/// The stored reply as HTTP.
///
/// # Errors
/// A header that cannot be written.
pub(crate) fn to_response(reply: StoredReply) -> Result<Response<Body>> {
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value.as_bytes());
    }
    response
        .body(Body::bytes(reply.body))
        .map_err(|error| Error::permanent(ErrorKind::Internal, "write the reply").caused_by(error))
}

/// A peer's name, written back; one that is no AS2 name is left out rather than breaking the line.
fn quoted(name: &str) -> String {
    crate::agreement::As2Id::try_from(name.to_owned())
        .map(|id| crate::names::write_name(&id))
        .unwrap_or_default()
}
