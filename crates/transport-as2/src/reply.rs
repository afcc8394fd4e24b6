//! The answer to a message: a receipt where one was asked for, else a bare status.

use crate::disposition::Disposition;
use crate::header_options::FEATURES;
use crate::legacy;
use crate::mdn::GeneralReceipt;
use crate::mdn::{self, Mdn, MdnMessage};
use crate::names::{new_message_id, same_message_id};
use crate::parties::Parties;
use crate::pgp_keys::system_time;
use crate::pgp_receipt;
use crate::prepared::boundary;
use crate::report_types::{ReportType, report_type};
use crate::request::RequestHead;
use http::{HeaderValue, Response, StatusCode};
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

/// The header field with the Message-ID of a form whose key is its RefNum: the stored reply alone remembers it.
const OF_MESSAGE: &str = "Original-Message-ID";

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
    let mut reply = receipt_or_status(services, head, parties, answer)?;
    if let Some(id) = id_beside_number(head).filter(|id| HeaderValue::from_str(id).is_ok()) {
        reply.headers.push((OF_MESSAGE.to_owned(), id.to_owned()));
    }
    Ok(reply)
}

/// The Message-ID of a form that has a RefNum as well.
fn id_beside_number(head: &RequestHead) -> Option<&str> {
    let form = head.form.as_ref()?;
    (form.ref_num.is_some() && !form.has_no_message_id).then_some(head.message_id.as_str())
}

/// The Message-ID of the message that a stored reply answers, where it is another one than this message has under the same
/// RefNum: a number is used again for nothing but the identical message ("HTTP Transport for Secure EDI", 2.8). Where one of the
/// two has no Message-ID, the content alone decides.
pub(crate) fn other_message_id<'a>(reply: &'a StoredReply, head: &RequestHead) -> Option<&'a str> {
    let this = id_beside_number(head)?;
    let (_, first) = reply.headers.iter().find(|(name, _)| name == OF_MESSAGE)?;
    (!same_message_id(first, this)).then_some(first.as_str())
}

fn receipt_or_status(
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
        Some(Parties { own, partner, .. }) if head.mdn.signed && !head.mdn.by_pgp => {
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
    if let Some(kind) = general_type_asked(head, parties) {
        let message =
            signed_by_pgp(services, head, parties, general(services, head, &kind, answer, signing)?)?;
        return Ok(with_parties(services, head, message));
    }
    let (original_recipient, final_recipient) = recipients(head, parties);
    let mdn = Mdn {
        original_recipient: Some(original_recipient),
        final_recipient,
        original_message_id: Some(head.message_id.clone()),
        disposition: answer.disposition.clone(),
        mic: answer.mic.clone(),
        text: about(head, &answer.text),
    };
    let message = signed_by_pgp(services, head, parties, mdn.write(&boundary(services), signing)?)?;
    Ok(with_parties(services, head, message))
}

/// Original- and Final-Recipient of a receipt. Where the message names no recipient, both are the address in the certificate that
/// signs the receipt ("HTTP Transport for Secure EDI", 2.5.1); without one, our AS2 name.
fn recipients(head: &RequestHead, parties: Option<&Parties>) -> (String, String) {
    if let Some(named) = &head.original_recipient {
        return (named.clone(), head.to.clone());
    }
    let address = parties.and_then(|parties| parties.receipt_signer(head)?.address());
    let ours = address.unwrap_or_else(|| head.to.clone());
    (ours.clone(), ours)
}

/// A receipt signed by OpenPGP, where that was asked for and we have a key for it.
fn signed_by_pgp(
    services: &Services,
    head: &RequestHead,
    parties: Option<&Parties>,
    message: MdnMessage,
) -> Result<MdnMessage> {
    let signed_for = parties.filter(|_| head.mdn.signed);
    let Some((key, partner)) = signed_for.and_then(|of| Some((of.pgp_own.as_ref()?, &of.partner))) else {
        return Ok(message);
    };
    let digest = legacy::receipt_digest(&head.mdn.digests, &partner.agreement);
    let time = system_time(services.clock.now());
    let signing = pgp_receipt::receipt_signing(key, digest, time, boundary(services));
    pgp_receipt::signed_receipt(message, signing)
}

/// The type of generalized receipts that the sender asks for; `None`: an MDN, also for a type that is not known.
fn general_type_asked(head: &RequestHead, parties: Option<&Parties>) -> Option<ReportType> {
    let defined = parties.map(|parties| parties.partner.agreement.form.reports.as_slice());
    report_type(defined.unwrap_or_default(), head.mdn.report_type.as_deref()?)
}

/// A generalized receipt ("HTTP Transport for Secure EDI", 2.5.2).
fn general(
    services: &Services,
    head: &RequestHead,
    kind: &ReportType,
    answer: &ReplyContent,
    signing: Option<Signing>,
) -> Result<MdnMessage> {
    let now = services.clock.now();
    let form = head.form.as_ref();
    let header = |name: &str| head.headers.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
    let returned = kind.returns.iter().filter(|name| !name.eq_ignore_ascii_case("RefNum"));
    let mut original: Vec<(String, String)> = returned
        .filter_map(|name| {
            let value = form.and_then(|form| form.said(name)).or_else(|| header(name))?;
            Some((name.clone(), value))
        })
        .collect();
    // As its sender wrote it.
    if let Some(number) = form.and_then(|form| form.said("RefNum")) {
        original.push(("RefNum".to_owned(), number));
    }
    let text = about(head, &answer.text);
    let receipt = GeneralReceipt {
        kind,
        disposition: &answer.disposition,
        mic: answer.mic.as_deref(),
        message_id: Some(head.message_id.as_str())
            .filter(|_| form.is_none_or(|form| !form.has_no_message_id)),
        original: &original,
        at: now,
        transaction: &services.random.uuid(now).simple().to_string(),
        text: &text,
    };
    let (essence, body) = receipt.report(&boundary(services));
    mdn::message(essence, body, signing)
}

/// A receipt with the header fields that say who sends it to whom.
fn with_parties(services: &Services, head: &RequestHead, message: MdnMessage) -> StoredReply {
    let now = services.clock.now();
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
    StoredReply { status: 200, headers, body: message.body }
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

/// The MIC in a receipt that we wrote (`Mdn::write`, `GeneralReceipt::report`: one line, not encoded; in HTML a line may end in
/// `<BR>`); none in any other reply.
pub(crate) fn mic_of(reply: &StoredReply) -> Option<String> {
    let text = String::from_utf8_lossy(&reply.body);
    let named = ["Received-content-MIC: ", "Received-Content-MIC: "];
    let mic = text.lines().find_map(|line| named.iter().find_map(|name| line.strip_prefix(name)))?;
    Some(mic.trim_end().trim_end_matches("<BR>").to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::form_fields::Posted;
    use http::HeaderMap;

    fn form(number: Option<&str>, message_id: Option<&str>) -> RequestHead {
        let mut headers = HeaderMap::new();
        let id = message_id.or(number).unwrap();
        for (name, value) in [("as2-from", "1"), ("as2-to", "2"), ("message-id", id)] {
            headers.insert(name, value.parse().unwrap());
        }
        let mut head = RequestHead::read(&headers).unwrap();
        let ref_num = number.map(str::to_owned);
        head.form = Some(Posted { ref_num, has_no_message_id: message_id.is_none(), ..Posted::default() });
        head
    }

    #[test]
    fn a_stored_reply_tells_whether_a_number_is_used_for_another_message() {
        let headers = vec![(OF_MESSAGE.to_owned(), "<1@a>".to_owned())];
        let reply = StoredReply { status: 200, headers, body: Vec::new() };
        let other = |number, id| other_message_id(&reply, &form(number, id)).map(str::to_owned);
        assert_eq!(other(Some("42"), Some("<2@a>")).as_deref(), Some("<1@a>"));
        for (number, id) in [(Some("42"), Some("<1@a>")), (Some("42"), Some("1@a")), (Some("42"), None)] {
            assert_eq!(other(number, id), None, "{number:?} {id:?}");
        }
        // By its Message-ID, that is its key.
        assert_eq!(other(None, Some("<2@a>")), None);
        let of_none = StoredReply { headers: Vec::new(), ..reply.clone() };
        assert_eq!(other_message_id(&of_none, &form(Some("42"), Some("<2@a>"))), None);
    }
}
