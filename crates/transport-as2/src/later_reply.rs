//! A reply of ours that does not go into the answer: the sender of the message wants its receipt later, at a URL of its own.

use crate::agreement::Partner;
use crate::parties::Parties;
use crate::receipt_target::{ReceiptTarget, read_url, target};
use crate::reply::plain_reply;
use crate::request::RequestHead;
use http::StatusCode;
use model::definition::Definitions;
use model::{ConnectionId, Error, ErrorKind, PeerText, RemotePath, Result};
use serde_json::{Map, Value};
use std::sync::Arc;
use transport::{Services, StagedPart, StoredReply};

/// Where the sender of a message wants its receipt later; `None` where it wants it in the answer, or none at all.
///
/// # Errors
/// For the operator: why no receipt is sent there.
pub(crate) fn receipt_target(
    definitions: &Definitions,
    head: &RequestHead,
    partner: &Partner,
) -> std::result::Result<Option<ReceiptTarget>, String> {
    let Some(asked) = head.mdn.deliver_to.as_deref().filter(|_| head.mdn.wanted) else { return Ok(None) };
    let url = read_url(asked).map_err(|unreadable| unreadable.reason)?;
    target(definitions, partner, &url).map(Some)
}

/// The answer to the sender: the reply itself, or nothing but a good status where its receipt comes later.
pub(crate) fn given(parties: &Parties, reply: StoredReply) -> StoredReply {
    if parties.receipt_to.is_some() && is_receipt(&reply) { accepted() } else { reply }
}

/// The answer to a message whose receipt comes later.
pub(crate) fn accepted() -> StoredReply {
    plain_reply(StatusCode::OK, "")
}

/// Whether a reply is a receipt, not a bare status.
pub(crate) fn is_receipt(reply: &StoredReply) -> bool {
    reply.headers.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("Content-Type") && value.to_ascii_lowercase().starts_with("multipart/")
    })
}

/// A receipt as a whole MIME entity: header fields, an empty line, and the body.
pub(crate) fn entity(reply: &StoredReply) -> Vec<u8> {
    let mut entity = Vec::with_capacity(reply.body.len() + 1024);
    for (name, value) in &reply.headers {
        for part in [name.as_str(), ": ", value.as_str(), "\r\n"] {
            entity.extend_from_slice(part.as_bytes());
        }
    }
    entity.extend_from_slice(b"\r\n");
    entity.extend_from_slice(&reply.body);
    entity
}

/// A receipt, staged as it is sent.
///
/// # Errors
/// Staging has no room, or another local error.
pub(crate) async fn staged_receipt(
    services: &Services,
    head: &RequestHead,
    reply: &StoredReply,
    connection: Option<ConnectionId>,
) -> Result<StagedPart> {
    let (staging, entity) = (Arc::clone(&services.staging), entity(reply));
    let staged = tokio::task::spawn_blocking(move || {
        let mut part = staging.begin()?;
        part.append(&entity)?;
        part.commit()
    });
    let staged = staged
        .await
        .map_err(|error| Error::transient(ErrorKind::Internal, "stage a receipt").caused_by(error))??;
    Ok(StagedPart {
        staged,
        file_name: RemotePath::from(file_name(&head.message_id).as_str()),
        media_type: Some("message/rfc822".to_owned()),
        metadata: metadata(head, reply),
        connection,
    })
}

/// The name of a receipt's file, by the message that it answers.
pub(crate) fn file_name(message_id: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@');
    let id: String = message_id.chars().filter(plain).take(150).collect();
    format!("mdn-{}.eml", id.trim_matches('.'))
}

/// What is told of a receipt's transfer.
pub(crate) fn metadata(head: &RequestHead, reply: &StoredReply) -> Map<String, Value> {
    let safe = |text: &str| Value::from(PeerText::from(text).as_str());
    let mut metadata = Map::new();
    metadata.insert("as2_from".into(), safe(&head.to));
    metadata.insert("as2_to".into(), safe(&head.from));
    metadata.insert("as2_original_message_id".into(), safe(&head.message_id));
    // As we wrote it: one line, not encoded.
    let body = String::from_utf8_lossy(&reply.body);
    if let Some(disposition) = body.lines().find_map(|line| line.strip_prefix("Disposition: ")) {
        metadata.insert("as2_disposition".into(), safe(disposition.trim_end()));
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(media_type: &str, body: &str) -> StoredReply {
        let headers = vec![
            ("AS2-From".to_owned(), "ACME".to_owned()),
            ("Content-Type".to_owned(), media_type.to_owned()),
        ];
        StoredReply { status: 200, headers, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn a_receipt_is_one_entity_and_a_bare_status_is_none() {
        let receipt = reply("multipart/report; boundary=x", "--x--");
        assert!(is_receipt(&receipt) && !is_receipt(&reply("text/plain; charset=utf-8", "")));
        let expected = "AS2-From: ACME\r\nContent-Type: multipart/report; boundary=x\r\n\r\n--x--";
        assert_eq!(entity(&receipt), expected.as_bytes());
    }

    #[test]
    fn a_receipts_file_is_named_by_its_message() {
        assert_eq!(file_name("<1@acme.example>"), "mdn-1@acme.example.eml");
        assert_eq!(file_name("../../x"), "mdn-x.eml");
        assert!(file_name(&"x".repeat(900)).len() < 255);
    }
}
