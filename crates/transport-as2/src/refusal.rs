//! Answers that say no: what each means, and whether trying again can help.

use crate::disposition::{Disposition, DispositionError};
use crate::readable::readable;
use crate::receipt::PartnerResponse;
use model::{Error, ErrorKind, Retry, Step};

/// The advice where the partner may have the message in spite of the status.
const MAY_HAVE_ARRIVED: &str = "the partner's system, or a proxy in front of it, failed after the whole message was sent, so the partner may have it: \
    it is sent again with the same Message-ID, to this address only; if this continues, ask the partner, or take the address from the endpoint";

/// What an HTTP status that is no success means. After the whole message was sent, an answer of 500 and above is
/// ambiguous: what failed may be what came after the message was stored, or the proxy's wait for an answer (RFC 9110,
/// sections 15.6.1, 15.6.3 and 15.6.5).
pub(crate) fn refused(answer: &PartnerResponse, endpoint: &str, whole_message_sent: bool) -> Error {
    let status = answer.status;
    let (kind, retry, advice) = match status.as_u16() {
        300..=399 => (
            ErrorKind::ConfigInvalid,
            Retry::Permanent,
            "the partner's server redirects to another address; ask the partner for the right URL",
        ),
        401 => (
            ErrorKind::Unauthenticated,
            Retry::Permanent,
            "the partner's server asks for a login: set 'credential' of the endpoint to a user name and password that the \
            partner gave you",
        ),
        403 => (ErrorKind::PermissionDenied, Retry::Permanent, "ask the partner to give this gateway access"),
        404 | 410 => (ErrorKind::NotFound, Retry::Permanent, "check the path in the endpoint's url"),
        408 | 425 => (
            ErrorKind::Timeout,
            Retry::Transient,
            "the partner's system was not ready; if this continues, ask the partner",
        ),
        411 => (
            ErrorKind::Unsupported,
            Retry::Permanent,
            "the partner needs Content-Length; set chunked = false",
        ),
        413 => (
            ErrorKind::Rejected,
            Retry::Permanent,
            "the partner does not accept files of this size; agree on a higher limit",
        ),
        429 => (
            ErrorKind::Throttled,
            Retry::Transient,
            "the partner limits how much it accepts: send fewer messages at once, or agree on a higher limit",
        ),
        421 => (
            ErrorKind::Unreachable,
            Retry::Transient,
            "a server that is not the partner's AS2 system answered (wrong host or port); if this \
            continues, ask the partner",
        ),
        501 | 505 | 506 | 508 | 510 | 511 => {
            (ErrorKind::Unsupported, Retry::Permanent, "ask the partner what its system expects")
        }
        507 => (
            ErrorKind::StorageFull,
            Retry::Transient,
            "the partner's storage is full; if this continues, ask the partner",
        ),
        503 | 509 | 521 | 523 | 525 | 526 | 530 => (
            ErrorKind::Unreachable,
            Retry::Transient,
            "the partner's system is not available now; if this continues, ask the partner",
        ),
        500.. if whole_message_sent => (ErrorKind::Unreachable, Retry::Ambiguous, MAY_HAVE_ARRIVED),
        // One that is not known counts as 500, and so does one that is no status (RFC 9110, 15).
        500.. => (
            ErrorKind::Unreachable,
            Retry::Transient,
            "the partner's system, or a proxy in front of it, failed; if this continues, ask the partner",
        ),
        _ => (ErrorKind::Rejected, Retry::Permanent, "ask the partner why it refused the message"),
    };
    Error::new(kind, retry, "deliver an AS2 message")
        .with("endpoint", endpoint)
        .with("status", status)
        .said(readable(&answer.body))
        .advice(advice)
        .at_step(Step::Status)
}

/// The error for a negative disposition.
pub(crate) fn negative(disposition: &Disposition, message_id: &str) -> Error {
    let (kind, retry, advice) = match disposition {
        Disposition::Error(DispositionError::UnexpectedProcessingError) => (
            ErrorKind::Rejected,
            Retry::Transient,
            "the partner's system had an error while it read the message; if this continues, ask the partner",
        ),
        Disposition::Error(DispositionError::UnknownTradingPartner) => (
            ErrorKind::Unauthenticated,
            Retry::Permanent,
            "check both AS2 names with the partner, letter by letter",
        ),
        Disposition::Error(DispositionError::AuthenticationFailed) => (
            ErrorKind::TrustFailed,
            Retry::Permanent,
            "give the partner our current certificate; where it changes later than we do, fallback = \"once\" sends a \
                message once more, signed with another of our keys",
        ),
        Disposition::Error(DispositionError::DecryptionFailed) => (
            ErrorKind::TrustFailed,
            Retry::Permanent,
            "ask the partner for its current certificate and add it to the partner's certificates; fallback = \"once\" sends \
            a message once more, encrypted for another of them",
        ),
        Disposition::Error(DispositionError::InsufficientMessageSecurity) => (
            ErrorKind::ConfigInvalid,
            Retry::Permanent,
            "the partner expects messages to be signed or encrypted; change the partner's send.security",
        ),
        _ => (ErrorKind::Rejected, Retry::Permanent, "ask the partner why it refused the message"),
    };
    Error::new(kind, retry, "deliver an AS2 message: the partner refused it with its receipt (MDN)")
        .with("message_id", message_id)
        .advice(advice)
        .at_step(Step::Receipt)
        .as_judgement()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::StatusCode;
    use smime::Headers;

    #[test]
    fn a_status_that_is_not_known_is_tried_again_where_the_fault_is_the_servers() {
        let retry_after = |status: u16, whole_message_sent: bool| {
            let status = StatusCode::from_u16(status).unwrap();
            let body = Bytes::from_static(b"Some words.");
            let error = refused(
                &PartnerResponse { status, headers: Headers::new(), body, connection: None },
                "globex",
                whole_message_sent,
            );
            let text = error.to_string();
            assert!(text.contains(status.as_str()) && text.contains("Some words."), "{text}");
            error.retry()
        };
        let retry = |status| retry_after(status, false);
        // A partner that may have the message gets it again, and nobody else does.
        for (status, expected) in [
            (500, Retry::Ambiguous),
            (502, Retry::Ambiguous),
            (504, Retry::Ambiguous),
            (524, Retry::Ambiguous),
            (999, Retry::Ambiguous),
            (503, Retry::Transient),
            (507, Retry::Transient),
            (521, Retry::Transient),
            (408, Retry::Transient),
            (501, Retry::Permanent),
        ] {
            assert_eq!(retry_after(status, true), expected, "{status}");
        }
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
