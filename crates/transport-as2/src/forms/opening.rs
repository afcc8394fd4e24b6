//! Reads a form that arrives up to its message: the fields before `input-data` are kept, and what follows streams.

use crate::form_fields::{INPUT_DATA, Received, is_metadata};
use crate::rejection::Rejection;
use bytes::Bytes;
use futures::stream::try_unfold;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use model::{Error, ErrorKind, PeerText, Result};
use net::http::Body;
use smime::{ContentType, FormData, FormPiece, Headers};
use std::collections::VecDeque;

/// Fields before the message.
const MOST_FIELDS: usize = 64;
/// Bytes of all of them, with their names.
const MOST_BYTES: usize = 64 * 1024;
/// Bytes that may follow the message: fields that nothing reads, and what stands behind the form's end.
const MOST_BEHIND: usize = 64 * 1024;

/// Fields that decide what becomes of a message, besides those that become metadata, by which flows are chosen: they must stand
/// before it.
const DECIDING: [&str; 5] = [
    "disposition-notification-to",
    "disposition-notification-options",
    "receipt-report-type",
    "receipt-security-selection",
    "receipt-delivery-option",
];

/// A form whose message is about to come.
pub(crate) struct OpenedForm {
    pub(super) fields: Received,
    /// The headers of the message's part.
    pub(super) part: Headers,
    /// The message's bytes; its end is seen only once the whole form has come.
    pub(crate) body: Body,
}

/// Why a form was not opened.
pub(crate) enum Unopened {
    /// A sentence for the sender.
    Form(String),
    /// The connection broke.
    Connection(Error),
}

/// Whether a request is a form.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|media| media.essence() == "multipart/form-data")
}

fn content_type(headers: &HeaderMap) -> Option<ContentType> {
    headers.get(CONTENT_TYPE).and_then(|value| ContentType::parse(value.as_bytes()))
}

/// Reads a form up to its message.
pub(crate) async fn open(headers: &HeaderMap, body: Body) -> std::result::Result<OpenedForm, Unopened> {
    let boundary = content_type(headers).and_then(|media| media.parameter("boundary")).unwrap_or_default();
    let form = FormData::new(&boundary).map_err(|error| Unopened::Form(error.to_string()))?;
    let mut arriving =
        ArrivingForm { form, body, pieces: VecDeque::new(), has_ended: false, is_over: false, behind: 0 };
    let mut fields = Received::default();
    let mut field: Option<(String, Vec<u8>)> = None;
    let (mut count, mut bytes) = (0, 0);
    while let Some(piece) = arriving.piece().await? {
        match piece {
            FormPiece::Begins(part) => {
                let name = part
                    .form_field()
                    .ok_or_else(|| Unopened::Form("a part of the form has no name".to_owned()))?;
                if name.trim().eq_ignore_ascii_case(INPUT_DATA) {
                    let body = try_unfold(arriving, |mut arriving| async move {
                        Ok::<_, Error>(arriving.message().await?.map(|bytes| (bytes, arriving)))
                    });
                    return Ok(OpenedForm { fields, part, body: Body::stream(body, None) });
                }
                count += 1;
                bytes += name.len();
                field = Some((name, Vec::new()));
            }
            FormPiece::Content(content) => {
                bytes += content.len();
                if let Some((_, value)) = &mut field {
                    value.extend_from_slice(&content);
                }
            }
            FormPiece::Ends => {
                if let Some((name, value)) = field.take() {
                    fields.add(name, text(value));
                }
            }
        }
        if count > MOST_FIELDS || bytes > MOST_BYTES {
            let most = format!(
                "the form has more than {MOST_FIELDS} fields or {MOST_BYTES} bytes before its input-data"
            );
            return Err(Unopened::Form(most));
        }
    }
    Err(Unopened::Form("the form has no part input-data".to_owned()))
}

/// The value of a field: UTF-8, else Latin-1.
fn text(value: Vec<u8>) -> String {
    String::from_utf8(value).unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}

/// A form on its way in.
struct ArrivingForm {
    form: FormData,
    body: Body,
    /// Pieces that came and were not given out.
    pieces: VecDeque<FormPiece>,
    /// Whether the message was given out whole.
    has_ended: bool,
    /// Whether the form has come to its end.
    is_over: bool,
    /// Bytes that came after the message's end.
    behind: usize,
}

impl ArrivingForm {
    /// The next piece; `None` at the end of the form.
    async fn piece(&mut self) -> std::result::Result<Option<FormPiece>, Unopened> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Ok(Some(piece));
            }
            if self.is_over {
                return Ok(None);
            }
            let pieces = match self.body.next().await.map_err(Unopened::Connection)? {
                Some(bytes) => {
                    // A form must end soon after its message, and its body soon after its last boundary.
                    if self.has_ended || self.form.is_over() {
                        self.behind += bytes.len();
                    }
                    self.form.push(&bytes)
                }
                None => {
                    self.is_over = true;
                    self.form.finish()
                }
            };
            self.pieces.extend(pieces.map_err(|error| Unopened::Form(error.to_string()))?);
            if self.behind > MOST_BEHIND {
                return Err(Unopened::Form(format!(
                    "more than {MOST_BEHIND} bytes follow its input-data or its end"
                )));
            }
        }
    }

    /// The next bytes of the message; `None` once the whole form has come.
    async fn message(&mut self) -> Result<Option<Bytes>> {
        while let Some(piece) = self.piece().await.map_err(broken)? {
            match piece {
                FormPiece::Content(bytes) if !self.has_ended => return Ok(Some(Bytes::from(bytes))),
                FormPiece::Content(_) => {}
                FormPiece::Ends => self.has_ended = true,
                FormPiece::Begins(part) => after(&part.form_field().unwrap_or_default())?,
            }
        }
        Ok(None)
    }
}

/// What a field means that stands behind the message.
fn after(name: &str) -> Result<()> {
    let shown = PeerText::from(name);
    if name.trim().eq_ignore_ascii_case(INPUT_DATA) {
        // Nothing may be acknowledged with the first one that is not stored as well.
        let why = "it has more than one input-data: post each file as a form of its own";
        return Err(Error::permanent(ErrorKind::Protocol, "read the parts of a form")
            .caused_by(Rejection::BadForm { why }));
    }
    if is_metadata(name) || DECIDING.iter().any(|deciding| name.trim().eq_ignore_ascii_case(deciding)) {
        let why = "a field about the sender, the receiver, the content or the receipt stands behind input-data: put input-data last";
        return Err(Error::permanent(ErrorKind::Protocol, "read the fields of a form")
            .with("field", shown.as_str())
            .caused_by(Rejection::BadForm { why }));
    }
    tracing::warn!(field = shown.as_str(), "a field of a form that stands behind its input-data was ignored");
    Ok(())
}

fn broken(unopened: Unopened) -> Error {
    match unopened {
        Unopened::Connection(error) => error,
        Unopened::Form(reason) => {
            let why = "it is not a whole multipart/form-data, or too much follows its input-data";
            Error::permanent(ErrorKind::Protocol, "receive a form to its end")
                .with("reason", reason)
                .caused_by(Rejection::BadForm { why })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(boundary: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, format!("Multipart/Form-Data; boundary={boundary}").parse().unwrap());
        headers
    }

    /// A body that arrives in pieces of so many bytes.
    fn body(text: &str, piece: usize) -> Body {
        let pieces: Vec<Result<Bytes>> =
            text.as_bytes().chunks(piece).map(|bytes| Ok(Bytes::copy_from_slice(bytes))).collect();
        Body::stream(futures::stream::iter(pieces), None)
    }

    const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"from\"\r\n\r\n123\r\n\
        --b\r\nContent-Disposition: form-data; name=\"Input-Data\"; filename=\"po.x12\"\r\nContent-Type: application/edi-x12\r\n\r\n\
        ISA*00\r\n--b\r\nContent-Disposition: form-data; name=\"submit\"\r\n\r\nSend\r\n--b--\r\n";

    #[tokio::test]
    async fn the_message_streams_behind_the_fields() {
        for piece in [1, 7, FORM.len()] {
            assert!(is_form(&form("b")));
            let opened = open(&form("b"), body(FORM, piece)).await.ok().unwrap();
            assert_eq!(opened.fields.get("FROM"), Some("123"));
            assert_eq!(opened.part.content_type().unwrap().essence(), "application/edi-x12");
            assert_eq!(&opened.body.collect(100).await.unwrap()[..], b"ISA*00");
        }
    }

    #[tokio::test]
    async fn a_form_that_is_cut_is_never_taken_for_whole() {
        let begins = FORM.find("ISA").unwrap();
        for end in begins..FORM.len() - 4 {
            let opened = open(&form("b"), body(&FORM[..end], 5)).await.ok().unwrap();
            assert!(opened.body.collect(100).await.is_err(), "{end}");
        }
        for end in 0..begins {
            let error = open(&form("b"), body(&FORM[..end], 5)).await.err();
            assert!(matches!(error, Some(Unopened::Form(_))), "{end}");
        }
    }

    #[tokio::test]
    async fn fields_are_bounded_and_those_that_decide_come_first() {
        let field = "--b\r\nContent-Disposition: form-data; name=x\r\n\r\ny\r\n";
        let large = format!("--b\r\nContent-Disposition: form-data; name=x\r\n\r\n{}", "y".repeat(70_000));
        for endless in [field.repeat(100), large] {
            let error = open(&form("b"), body(&endless, 512)).await.err();
            assert!(matches!(error, Some(Unopened::Form(reason)) if reason.contains("more than 64 fields")));
        }
        let over = format!("{field}--b--\r\n{}", "y".repeat(100_000));
        let error = open(&form("b"), body(&over, 512)).await.err();
        assert!(
            matches!(error, Some(Unopened::Form(reason)) if reason.contains("follow its input-data or its end"))
        );
        for deciding in ["receipt-disposition-to", "Receipt-Report-Type", "Transaction-Set", "application"] {
            let late = FORM.replace("submit", deciding);
            let opened = open(&form("b"), body(&late, 64)).await.ok().unwrap();
            let error = opened.body.collect(100).await.unwrap_err();
            assert!(error.chain().contains("input-data last"), "{}", error.chain());
        }
        assert!(matches!(open(&form(""), body(FORM, 64)).await.err(), Some(Unopened::Form(_))));
        // Two messages in one form: the second one must not be lost.
        let twice = FORM.replace("\"submit\"", "\"INPUT-DATA\"");
        let opened = open(&form("b"), body(&twice, 64)).await.ok().unwrap();
        let error = opened.body.collect(100).await.unwrap_err();
        assert!(error.chain().contains("more than one input-data"), "{}", error.chain());
    }

    #[tokio::test]
    async fn what_follows_the_message_is_bounded() {
        let field = FORM.replace("\r\nSend\r\n", &format!("\r\n{}\r\n", "y".repeat(100_000)));
        let epilogue = format!("{FORM}{}", "y".repeat(100_000));
        for endless in [field, epilogue] {
            let opened = open(&form("b"), body(&endless, 512)).await.ok().unwrap();
            let error = opened.body.collect(100).await.unwrap_err();
            assert!(error.chain().contains("follows its input-data"), "{}", error.chain());
            let rejection =
                std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<Rejection>());
            assert!(matches!(rejection, Some(Rejection::BadForm { .. })));
        }
    }
}
