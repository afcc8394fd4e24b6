//! Answers that say no: what each means, and whether trying again can help.

use crate::disposition::{Disposition, DispositionError};
use crate::readable::readable;
use crate::receipt::PartnerResponse;
use model::{Error, ErrorKind, Retry};

/// What an HTTP status that is no success means.
pub(crate) fn refused(answer: &PartnerResponse, endpoint: &str) -> Error {
    let status = answer.status;
    let (kind, retry, advice) = match status.as_u16() {
        300..=399 => (
            ErrorKind::ConfigInvalid,
            Retry::Permanent,
            "the partner's address has moved; ask for the new one",
        ),
        401 => (
            ErrorKind::Unauthenticated,
            Retry::Permanent,
            "the partner asks for a login that this endpoint does not have",
        ),
        403 => (ErrorKind::PermissionDenied, Retry::Permanent, "ask the partner to allow this sender"),
        404 | 410 => (ErrorKind::NotFound, Retry::Permanent, "check the path in the endpoint's url"),
        408 | 425 => (
            ErrorKind::Timeout,
            Retry::Transient,
            "the partner's system was not ready for it; if this continues, ask the partner",
        ),
        411 => (
            ErrorKind::Unsupported,
            Retry::Permanent,
            "the partner wants Content-Length; set chunked = false",
        ),
        413 => (ErrorKind::Rejected, Retry::Permanent, "the partner does not take files of this size"),
        429 => (
            ErrorKind::Throttled,
            Retry::Transient,
            "the partner limits how much it accepts: send fewer messages at once, or agree on a higher limit",
        ),
        421 => (
            ErrorKind::Unreachable,
            Retry::Transient,
            "a server other than the partner's answered; if this continues, ask the partner",
        ),
        501 | 505 | 506 | 508 | 510 | 511 => {
            (ErrorKind::Unsupported, Retry::Permanent, "ask the partner what its system expects")
        }
        507 => (
            ErrorKind::StorageFull,
            Retry::Transient,
            "the partner has no room; if this continues, ask it to make some",
        ),
        // One that is not known counts as 500, and so does one that is no status (RFC 9110, 15).
        500.. => (
            ErrorKind::Unreachable,
            Retry::Transient,
            "the partner's system, or a proxy before it, failed; if this continues, ask the partner",
        ),
        _ => (ErrorKind::Rejected, Retry::Permanent, "ask the partner why it refuses the message"),
    };
    Error::new(kind, retry, "deliver an AS2 message")
        .with("endpoint", endpoint)
        .with("status", status)
        .said(readable(&answer.body))
        .advice(advice)
}

/// What a receipt that says no means.
pub(crate) fn negative(disposition: &Disposition, message_id: &str) -> Error {
    let (kind, retry, advice) = match disposition {
        Disposition::Error(DispositionError::UnexpectedProcessingError) => (
            ErrorKind::Rejected,
            Retry::Transient,
            "the partner's system had a fault while it read the message; if this continues, ask the partner",
        ),
        Disposition::Error(DispositionError::UnknownTradingPartner) => (
            ErrorKind::Unauthenticated,
            Retry::Permanent,
            "check both AS2 names with the partner, letter by letter",
        ),
        Disposition::Error(DispositionError::AuthenticationFailed) => {
            (ErrorKind::TrustFailed, Retry::Permanent, "give the partner our current certificate")
        }
        Disposition::Error(DispositionError::DecryptionFailed) => (
            ErrorKind::TrustFailed,
            Retry::Permanent,
            "ask the partner for its current certificate and put it first",
        ),
        Disposition::Error(DispositionError::InsufficientMessageSecurity) => (
            ErrorKind::ConfigInvalid,
            Retry::Permanent,
            "the partner wants messages signed or encrypted; change the partner's send.security",
        ),
        _ => (ErrorKind::Rejected, Retry::Permanent, "ask the partner why it refuses the message"),
    };
    Error::new(kind, retry, "deliver an AS2 message: the partner's receipt (MDN) refuses it")
        .with("message_id", message_id)
        .advice(advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::StatusCode;
    use smime::Headers;

    #[test]
    fn a_status_that_is_not_known_is_tried_again_where_the_fault_is_the_servers() {
        let retry = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            let body = Bytes::from_static(b"Some words.");
            let error = refused(
                &PartnerResponse { status, headers: Headers::new(), body, connection: None },
                "globex",
            );
            let text = error.to_string();
            assert!(text.contains(status.as_str()) && text.contains("Some words."), "{text}");
            error.retry()
        };
        // 509, 520 to 530 and 598 are CDNs' and proxies'.
        for status in [
            408, 421, 425, 429, 500, 502, 503, 504, 507, 509, 512, 520, 521, 522, 524, 530, 598, 599, 600,
            999,
        ] {
            assert_eq!(retry(status), Retry::Transient, "{status}");
        }
        for status in
            [301, 400, 401, 403, 404, 405, 410, 411, 413, 415, 422, 431, 499, 501, 505, 506, 508, 510, 511]
        {
            assert_eq!(retry(status), Retry::Permanent, "{status}");
        }
    }
}
