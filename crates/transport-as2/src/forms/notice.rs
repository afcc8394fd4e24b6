//! Tells the sender of a message that it could not be processed after it was acknowledged (GISB-Error-Notification; "HTTP
//! Transport for Secure EDI", appendix B): a flow's failure route leads here, and what goes out is a report about the transfer that
//! failed, in place of its bytes. It is made of what the transfer says, so that each attempt sends the same.

use crate::agreement::{As2Id, Compression, MdnRequest, Partner, SendSecurity};
use crate::disposition::{Disposition, DispositionError};
use crate::form_fields::REF_NUM;
use crate::header_options::ContentCoding;
use crate::mdn::GeneralReceipt;
use crate::report_types::{GISB_ERROR, ReportType, report_type};
use async_trait::async_trait;
use model::{Content, Error, ErrorKind, PayloadRecord, RemotePath, Result, Sha256};
use serde_json::{Map, Value};
use std::io::{self, Cursor};
use std::ops::Range;
use std::sync::Arc;
use transport::{Deliver, Payload, PayloadReader};

/// The metadata of a transfer that follows a failure route: why the first one failed.
const FAILURE: &str = "failure";
/// The metadata with the Message-ID of a received message.
const MESSAGE_ID: &str = "as2_message_id";
/// The metadata with the AS2 name of its sender.
const SENDER: &str = "as2_from";

/// The name of the report as a file.
const FILE_NAME: &str = "error-notification.txt";

/// The delivery of a notification in the place of what failed, and the agreement under which it goes: as it is, as a form, and
/// without a receipt.
///
/// # Errors
/// `ConfigInvalid`: what arrives is no message of this partner that failed.
pub(crate) fn notice(delivery: Deliver, partner: &mut Partner) -> Result<Deliver> {
    let metadata = delivery.payload.metadata();
    let text = |key: &str| metadata.get(key).and_then(Value::as_str);
    let failure = metadata.get(FAILURE).and_then(Value::as_object);
    let (Some(failure), Some(message_id)) = (failure, text(MESSAGE_ID)) else {
        return Err(Error::permanent(ErrorKind::ConfigInvalid, "send an error notification")
            .with("file", delivery.file_name.to_text())
            .advice(
                "nothing failed that a partner had sent: name this destination in on_failure of a flow that receives AS2 messages, \
                and in no other place",
            ));
    };
    // A flow may take messages of several partners: each is notified of its own alone.
    if !is_from(metadata, &partner.as2_id) {
        return Err(Error::permanent(ErrorKind::ConfigInvalid, "send an error notification")
            .with("file", delivery.file_name.to_text())
            .with("partner", &partner.name)
            .advice(
                "another partner sent the message that failed: make a flow of its own for each partner that is to be notified",
            ));
    }
    let agreement = &mut partner.agreement;
    let number = text(REF_NUM);
    let original: Vec<(String, String)> =
        number.iter().map(|number| ("RefNum".to_owned(), (*number).to_owned())).collect();
    // The kind of the error, and not its text: that may name systems of our own.
    let why = failure.get("error_kind").and_then(Value::as_str).unwrap_or("failed").to_owned();
    let kind =
        report_type(&agreement.form.reports, GISB_ERROR).unwrap_or_else(|| ReportType::named(GISB_ERROR));
    let transaction = delivery.claim.delivery.to_string();
    let disposition = Disposition::Error(DispositionError::Other(why));
    let words = format!("The message {message_id} was received, and could not be processed.");
    let receipt = GeneralReceipt {
        kind: &kind,
        disposition: &disposition,
        mic: None,
        message_id: Some(message_id).filter(|id| number != Some(*id)),
        original: &original,
        at: delivery.received,
        transaction: &transaction,
        text: &words,
    };
    let (media_type, body) = receipt.report(&format!("----notice-{transaction}"));
    let record = PayloadRecord {
        id: delivery.payload.id(),
        length: body.len() as u64,
        content: Content::Staged(Sha256(openssl::sha::sha256(&body))),
        media_type: Some(media_type),
        file_name: FILE_NAME.into(),
        staged_at: delivery.received,
    };
    let form = &mut agreement.form;
    (form.post, form.report_type, form.fields.input_format) = (true, None, Some("error".to_owned()));
    (form.fields.transaction_set, form.fields.input_data, form.fields.expires_after) = (None, None, None);
    (agreement.send_security, agreement.mdn) = (SendSecurity::None, MdnRequest::None);
    agreement.compress = Compression::No;
    agreement.headers.content_coding = ContentCoding::No;
    agreement.restart.offer = false;
    agreement.evidence.keep_for = None;
    // A notification's own Expiration would be that of the message.
    let payload = Arc::new(Notice { record, body: body.into(), metadata: Map::new() });
    Ok(Deliver { payload, attachments: Vec::new(), file_name: RemotePath::from(FILE_NAME), ..delivery })
}

/// Whether a transfer is a message of the partner with this name.
fn is_from(metadata: &Map<String, Value>, partner: &As2Id) -> bool {
    metadata.get(SENDER).and_then(Value::as_str) == Some(partner.as_str())
}

/// A report in the place of staged bytes.
struct Notice {
    record: PayloadRecord,
    body: bytes::Bytes,
    metadata: Map<String, Value>,
}

impl Notice {
    fn slice(&self, range: &Range<u64>) -> bytes::Bytes {
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(self.body.len());
        self.body.slice(place(range.start)..place(range.end.max(range.start)))
    }
}

#[async_trait]
impl Payload for Notice {
    fn record(&self) -> &PayloadRecord {
        &self.record
    }

    fn sha256(&self) -> Option<Sha256> {
        self.record.content.sha256()
    }

    fn metadata(&self) -> &Map<String, Value> {
        &self.metadata
    }

    fn reader_buffers(&self) -> usize {
        0
    }

    async fn open(&self, range: Range<u64>) -> Result<PayloadReader> {
        Ok(Box::new(Cursor::new(self.slice(&range))))
    }

    fn open_blocking(&self, range: Range<u64>) -> Result<Box<dyn io::Read + Send>> {
        Ok(Box::new(Cursor::new(self.slice(&range))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    #[test]
    fn a_partner_is_notified_of_its_own_messages_alone() {
        let partner = As2Id::try_from("987654321".to_owned()).unwrap();
        let from = |name: &str| Map::from_iter([(SENDER.to_owned(), Value::from(name))]);
        assert!(is_from(&from("987654321"), &partner));
        assert!(!is_from(&from("987654322"), &partner) && !is_from(&Map::new(), &partner));
    }

    #[tokio::test]
    async fn a_report_is_read_like_staged_bytes() {
        let body = bytes::Bytes::from_static(b"0123456789");
        let record = PayloadRecord {
            id: model::PayloadId::new(uuid::Uuid::nil()),
            length: 10,
            content: Content::Staged(Sha256(openssl::sha::sha256(&body))),
            media_type: None,
            file_name: FILE_NAME.into(),
            staged_at: model::Timestamp::UNIX_EPOCH,
        };
        let notice = Notice { record, body, metadata: Map::new() };
        for (range, expected) in [(0..10, "0123456789"), (3..5, "34"), (8..90, "89"), (20..30, "")] {
            let mut text = String::new();
            notice.open(range.clone()).await.unwrap().read_to_string(&mut text).await.unwrap();
            assert_eq!(text, expected);
            let mut text = String::new();
            notice.open_blocking(range).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, expected);
        }
        assert!(notice.sha256().is_some() && !notice.is_streamed());
    }
}
