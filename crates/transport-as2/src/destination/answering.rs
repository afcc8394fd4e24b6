//! A payload that goes into the answer to a message of the partner, while its connection waits for it ("HTTP Transport for Secure EDI",
//! 2.6): beside the receipt of that message (`multipart/mixed`), or alone where no receipt stands in the answer.
//!
//! The whole answer is staged and recorded first, so that a repetition of the message gets the same bytes, from any node. The
//! receipt for the payload comes later, as for any message whose receipt does (2.7). Where the connection does not wait, no
//! receipt is asked for, or none comes, the payload is sent as a message of its own, under the same Message-ID.

use super::{As2Destination, made_once};
use crate::agreement::MdnRequest;
use crate::header_options::ContentCoding;
use crate::later_reply::is_receipt;
use crate::outgoing::{Envelope, build};
use crate::partnership::Partnership;
use crate::prepared::{PreparedMessage, boundary};
use crate::sent_message::{ANSWERED, SentTerms, held, noting};
use crate::sent_proof::ProofOf;
use crate::spool;
use crate::streaming::STREAM_BUFFERS;
use model::{Error, ErrorKind, GIVEN_ANSWER, RemotePath, Result, Timestamp, TransferId};
use serde_json::Value;
use smime::Measured;
use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::time::Duration;
use transport::{AnsweredBy, Deliver, Sent, StoredReply};
use uuid::Uuid;

impl As2Destination {
    /// Puts a payload into the answer that waits for it; `None` where none does.
    ///
    /// # Errors
    /// It cannot be made or recorded. The connection may still wait for the next attempt.
    pub(super) async fn answer(
        &self,
        delivery: &Deliver,
        partnership: &Partnership,
        prepared: &PreparedMessage,
    ) -> Result<Option<Sent>> {
        let agreement = &partnership.partner.agreement;
        let (own, theirs) = (partnership.identity.as2_id.as_str(), partnership.partner.as2_id.as_str());
        let message_id = prepared.seed.message_id.as_str();
        // The partner gets it from there: sent as well, it would have it twice.
        let time = agreement.receipts.deadline;
        if let Some(until) = given_until(&delivery.notes, time, self.services.clock.now()) {
            return Ok(Some(given(until)));
        }
        // Nor the other way round, if an earlier attempt may have brought it there as a message of its own.
        if prepared.is_open() {
            return Ok(None);
        }
        let Some(template) = &self.answer_to else { return Ok(None) };
        // Without a receipt nothing would tell that the connection broke before the answer was read, and the file was lost.
        if agreement.mdn == MdnRequest::None {
            return Ok(None);
        }
        // A part has no coding of HTTP's own, and is made as it is sent, which OpenPGP's messages are not.
        if agreement.headers.content_coding != ContentCoding::No || agreement.is_protected_by_pgp() {
            return Ok(None);
        }
        let of = answered_by(template, delivery.payload.file_name(), (theirs, own));
        let Some(waiting) = delivery.log.waiting_answer(&of).await? else { return Ok(None) };
        if !is_between(&waiting.key, theirs, own) {
            tracing::warn!(endpoint = self.endpoint.name, file_name = %delivery.payload.file_name(), "the message that this file answers was not sent by the endpoint's partner: the file is sent as a message of its own");
            return Ok(None);
        }
        let envelope = Envelope {
            from: &partnership.identity.as2_id,
            to: &partnership.partner.as2_id,
            agreement,
            own: Some(&partnership.own.key),
            made_once: made_once(delivery, partnership, message_id)?,
            seed: &prepared.seed,
            media_type: &prepared.terms.media_type,
            file_name: &delivery.file_name,
        };
        let _room = self.services.budget.take(STREAM_BUFFERS).await;
        self.keep_signed(delivery, &envelope).await?;
        let (length, payload) = (delivery.payload.length(), Arc::clone(&delivery.payload));
        let reader = tokio::task::spawn_blocking(move || payload.open_blocking(0..length)).await;
        let reader =
            reader.map_err(|e| Error::transient(ErrorKind::Internal, "open a payload").caused_by(e))??;
        let message = build(&envelope, reader, length)?;
        let sent_with = partnership.sent_with();
        let terms = SentTerms {
            partner: &partnership.partner.name,
            from: own,
            to: theirs,
            agreement,
            own_fingerprint: &partnership.own.fingerprint,
            recipient_fingerprint: &partnership.recipient_fingerprint,
            sent_with: &sent_with,
            legacy: &partnership.legacy,
            earlier: prepared.earlier,
        };
        let proof = ProofOf::new(&envelope, &message.headers)?;
        let before_last = noting(&message, Arc::clone(&delivery.log), message_id, &terms, proof);
        let body = held(message.body, before_last);
        let (head, body) = composed(message.headers, body, &waiting.reply, &boundary(&self.services));
        let staged = spool::write(&self.services, body).await?;
        delivery.log.may_act()?;
        if !delivery.log.give_answer(&waiting.key, head, staged).await? {
            return Ok(None);
        }
        Ok(Some(given(self.services.clock.now() + time)))
    }
}

/// How a delivery stands that is in the answer to a message: whether the partner has read it, its receipt says.
const fn given(deadline: Timestamp) -> Sent {
    Sent::Awaiting { deadline, connection: None, replies: Vec::new() }
}

/// Until when the receipt is awaited for a payload that an earlier attempt has put into an answer, however many attempts were
/// interrupted since; `None` where none has, the time is over, or the partner has refused it.
fn given_until(notes: &BTreeMap<String, Value>, time: Duration, now: Timestamp) -> Option<Timestamp> {
    let note = notes.get(GIVEN_ANSWER)?;
    let until = note.get("at")?.as_str()?.parse::<Timestamp>().ok()? + time;
    let attempt = |note: &Value| note.get("attempt").and_then(Value::as_u64);
    let was_refused = notes.get(ANSWERED).and_then(attempt) >= attempt(note);
    (now < until && !was_refused).then_some(until)
}

/// The message that a file answers, by the template of its destination: a Message-ID, with or without its angle brackets, or the
/// id of a transfer here.
fn answered_by(template: &str, file_name: &RemotePath, (from, to): (&str, &str)) -> AnsweredBy {
    let name = String::from_utf8_lossy(file_name.file_name());
    let (stem, extension) = match name.rfind('.').filter(|at| *at > 0) {
        Some(at) => name.split_at(at),
        None => (&*name, ""),
    };
    let text = template.replace("{name}", &name).replace("{stem}", stem).replace("{ext}", extension);
    match Uuid::parse_str(text.trim()) {
        Ok(transfer) => AnsweredBy::Transfer(TransferId::new(transfer)),
        Err(_) => {
            let bare = text.trim().trim_start_matches('<').trim_end_matches('>');
            let message_id = format!("<{bare}>");
            AnsweredBy::Key(serde_json::json!(["as2", from, to, message_id]).to_string())
        }
    }
}

/// Whether the message of this key went from and to these. A Message-ID follows, or that it is named by its RefNum
/// ([`crate::request::RequestHead::key`]).
fn is_between(key: &str, from: &str, to: &str) -> bool {
    let parts: Option<Vec<String>> = serde_json::from_str(key).ok();
    parts.is_some_and(|parts| {
        matches!(&parts[..], [transport, sender, receiver, ..] if transport == "as2" && sender == from && receiver == to)
    })
}

/// The whole answer: the message alone, or beside the receipt that stands in the answer.
fn composed(
    headers: Vec<(String, String)>,
    body: Box<dyn Measured + Send>,
    reply: &StoredReply,
    boundary: &str,
) -> (StoredReply, Box<dyn Measured + Send>) {
    if !is_receipt(reply) {
        return (StoredReply { status: 200, headers, body: Vec::new() }, body);
    }
    let is_contents = |name: &str| name.to_ascii_lowercase().starts_with("content-");
    let mut before = format!("--{boundary}\r\n").into_bytes();
    let of_receipt = lines(reply.headers.iter().filter(|(name, _)| is_contents(name)));
    before.extend_from_slice(format!("{of_receipt}\r\n").as_bytes());
    before.extend_from_slice(&reply.body);
    let of_message = lines(headers.iter().filter(|(name, _)| is_contents(name)));
    // What is taken for 7bit where nothing is said would lose its line ends.
    let encoding = "Content-Transfer-Encoding: binary\r\n";
    before.extend_from_slice(format!("\r\n--{boundary}\r\n{of_message}{encoding}\r\n").as_bytes());
    let after = format!("\r\n--{boundary}--\r\n").into_bytes();
    let mut headers: Vec<(String, String)> =
        headers.into_iter().filter(|(name, _)| !is_contents(name)).collect();
    headers.push(("Content-Type".into(), format!("multipart/mixed; boundary=\"{boundary}\"")));
    let body = InMixed { before: Cursor::new(before), body, after: Cursor::new(after) };
    (StoredReply { status: 200, headers, body: Vec::new() }, Box::new(body))
}

fn lines<'a>(fields: impl Iterator<Item = &'a (String, String)>) -> String {
    fields.map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

/// A message as a part, with what stands before and after it.
struct InMixed {
    before: Cursor<Vec<u8>>,
    body: Box<dyn Measured + Send>,
    after: Cursor<Vec<u8>>,
}

impl Read for InMixed {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.before.read(out)? {
            0 => {}
            count => return Ok(count),
        }
        match self.body.read(out)? {
            0 => self.after.read(out),
            count => Ok(count),
        }
    }
}

impl Measured for InMixed {
    fn total_len(&self) -> Option<u64> {
        let around = self.before.get_ref().len() + self.after.get_ref().len();
        self.body.total_len()?.checked_add(around as u64)
    }
}

#[cfg(test)]
mod tests;
