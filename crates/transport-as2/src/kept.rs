//! An MDN as it is kept: so that anybody can check it again, years later and with any tool.

use crate::receipt::Answer;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::{KEPT_MDN, PeerText};
use serde_json::{Value, json};

/// The header fields that are the message's own, as they are written; the others are HTTP's.
const FIELDS: [&str; 15] = [
    "AS2-Version",
    "AS2-From",
    "AS2-To",
    "Message-ID",
    "Date",
    "From",
    "Subject",
    "Server",
    "EDIINT-Features",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Disposition",
    "Content-Description",
    "Content-ID",
];

impl Answer {
    /// The answer as a MIME entity: its own header fields, an empty line, its body exactly as received
    /// (without HTTP's content coding). `openssl smime -verify` takes it as it is.
    pub(crate) fn entity(&self) -> Vec<u8> {
        let mut entity = Vec::with_capacity(self.body.len() + 1024);
        for field in self.headers.fields() {
            let Some(name) = FIELDS.iter().find(|name| name.eq_ignore_ascii_case(&field.name)) else {
                continue;
            };
            for part in [name.as_bytes(), b": ", &field.value, b"\r\n"] {
                entity.extend_from_slice(part);
            }
        }
        entity.extend_from_slice(b"\r\n");
        entity.extend_from_slice(&self.body);
        entity
    }

    /// The answer to an attempt for keeping, where it looks like an MDN and its body is no longer than so
    /// many bytes.
    pub(crate) fn kept_mdn(&self, attempt: u32, most: usize) -> Option<Value> {
        let media = self.headers.content_type()?;
        let looks_so = matches!(
            media.essence(),
            "multipart/report"
                | "multipart/signed"
                | "message/disposition-notification"
                | "application/pkcs7-mime"
                | "application/x-pkcs7-mime"
        );
        (looks_so && !self.body.is_empty() && self.body.len() <= most).then(|| {
            let content_type = self.headers.get("Content-Type").unwrap_or_default();
            json!({
                "attempt": attempt,
                "mdn_content_type": PeerText::new(content_type).as_str(),
                KEPT_MDN: BASE64.encode(self.entity()),
                "status": self.status.as_u16(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::StatusCode;
    use smime::Headers;

    fn answer(media_type: &str, body: &[u8]) -> Answer {
        let mut headers = Headers::new();
        for (name, value) in [
            ("set-cookie", "session=secret"),
            ("as2-from", "PEER"),
            ("content-type", media_type),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("content-transfer-encoding", "binary"),
            ("content-encoding", "gzip"),
        ] {
            headers = headers.with(name, value).unwrap();
        }
        Answer { status: StatusCode::OK, headers, body: Bytes::copy_from_slice(body), connection: None }
    }

    #[test]
    fn an_mdn_is_kept_as_a_whole_entity_without_what_is_https() {
        let entity = answer("multipart/report;\tboundary=\"\u{e4}\"", b"\0-\n\r-").entity();
        let head = "AS2-From: PEER\r\nContent-Type: multipart/report;\tboundary=\"\u{e4}\"\r\n\
                    Content-Transfer-Encoding: binary\r\n\r\n";
        assert_eq!(entity, [head.as_bytes(), b"\0-\n\r-"].concat());
    }

    #[test]
    fn an_mdn_that_proves_nothing_is_kept_and_a_page_is_not() {
        let answer_kept = answer("multipart/report; boundary=x", b"--x--");
        let kept = answer_kept.kept_mdn(3, 10).unwrap();
        assert_eq!(kept["mdn"], BASE64.encode(answer_kept.entity()));
        assert_eq!(
            (&kept["mdn_content_type"], &kept["attempt"]),
            (&json!("multipart/report; boundary=x"), &json!(3))
        );
        for (media_type, body) in
            [("text/html", &b"<html>"[..]), ("multipart/signed", b""), ("multipart/signed", b"12345678901")]
        {
            assert!(answer(media_type, body).kept_mdn(1, 10).is_none(), "{media_type}");
        }
    }
}
