//! The answer to a message: a receipt where one was asked for, else a bare status.

use crate::disposition::Disposition;
use crate::legacy;
use crate::mdn::Mdn;
use crate::names::new_message_id;
use crate::parties::Parties;
use crate::prepared::boundary;
use crate::request::RequestHead;
use http::Response;
use model::{Error, ErrorKind, Result};
use net::http::Body;
use smime::Signing;
use std::time::{Duration, UNIX_EPOCH};
use transport::{Services, StoredReply};

/// The answer to the sender.
pub(crate) struct ReplyContent {
    pub(crate) disposition: Disposition,
    /// As written into the receipt; never with an error.
    pub(crate) mic: Option<String>,
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
            signing.digest = legacy::receipt_digest(&head.mdn.digests, &partner.agreement);
            signing.names = head.mdn.names;
            Some(signing)
        }
        _ => None,
    };
    let mdn = Mdn {
        final_recipient: head.to.clone(),
        original_message_id: Some(head.message_id.clone()),
        disposition: answer.disposition.clone(),
        mic: answer.mic.clone(),
        text: answer.text.clone(),
    };
    let message = mdn.write(&boundary(services), signing)?;
    let mut headers = vec![
        ("AS2-Version".to_owned(), "1.1".to_owned()),
        // The names as they were sent, changed over (RFC 4130, 6.2).
        ("AS2-From".to_owned(), quoted(&head.to)),
        ("AS2-To".to_owned(), quoted(&head.from)),
        ("Message-ID".to_owned(), new_message_id(services.random.uuid(now), "waybill")),
        ("Date".to_owned(), now.format("%a, %d %b %Y %H:%M:%S GMT").to_string()),
        ("MIME-Version".to_owned(), "1.0".to_owned()),
    ];
    headers.extend(message.headers);
    Ok(StoredReply { status: 200, headers, body: message.body })
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
