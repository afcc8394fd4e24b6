//! An MDN as it is kept: so that anybody can check it again, years later and with any tool.

use crate::receipt::PartnerResponse;
use model::{MdnEntity, PeerText, UnprovenMdn};

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

impl PartnerResponse {
    /// The answer as a MIME entity: its own header fields, an empty line, its body exactly as received
    /// (without HTTP's content coding). `openssl smime -verify` takes it as it is.
    pub(crate) fn entity(&self) -> MdnEntity {
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
        MdnEntity::new(entity)
    }

    /// Whether it may be an MDN, by its media type.
    pub(crate) fn looks_like_mdn(&self) -> bool {
        let looks_so = self.headers.content_type().is_some_and(|media| {
            matches!(
                media.essence(),
                "multipart/report"
                    | "multipart/signed"
                    | "message/disposition-notification"
                    | "application/pkcs7-mime"
                    | "application/x-pkcs7-mime"
            )
        });
        looks_so && !self.body.is_empty()
    }

    /// The answer to an attempt for keeping, where it looks like an MDN and its body is no longer than so
    /// many bytes.
    pub(crate) fn unproven_mdn(&self, attempt: u32, most: usize) -> Option<UnprovenMdn> {
        (self.looks_like_mdn() && self.body.len() <= most).then(|| {
            let content_type = self.headers.get("Content-Type").unwrap_or_default();
            UnprovenMdn {
                attempt,
                status: self.status.as_u16(),
                content_type: PeerText::new(content_type).as_str().to_owned(),
                mdn: self.entity(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::StatusCode;
    use smime::Headers;

    fn answer(media_type: &str, body: &[u8]) -> PartnerResponse {
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
        PartnerResponse {
            status: StatusCode::OK,
            headers,
            body: Bytes::copy_from_slice(body),
            connection: None,
        }
    }

    #[test]
    fn an_mdn_is_kept_as_a_whole_entity_without_what_is_https() {
        let entity = answer("multipart/report;\tboundary=\"\u{e4}\"", b"\0-\n\r-").entity();
        let head = "AS2-From: PEER\r\nContent-Type: multipart/report;\tboundary=\"\u{e4}\"\r\n\
                    Content-Transfer-Encoding: binary\r\n\r\n";
        assert_eq!(entity.as_bytes(), [head.as_bytes(), b"\0-\n\r-"].concat());
    }

    #[test]
    fn an_mdn_that_proves_nothing_is_kept_and_a_page_is_not() {
        let answer_kept = answer("multipart/report; boundary=x", b"--x--");
        let kept = answer_kept.unproven_mdn(3, 10).unwrap();
        assert_eq!(kept.mdn, answer_kept.entity());
        assert_eq!((kept.content_type.as_str(), kept.attempt), ("multipart/report; boundary=x", 3));
        for (media_type, body) in
            [("text/html", &b"<html>"[..]), ("multipart/signed", b""), ("multipart/signed", b"12345678901")]
        {
            assert!(answer(media_type, body).unproven_mdn(1, 10).is_none(), "{media_type}");
        }
    }
}
