//! Answers that say no: what each means, and whether trying again can help.

use crate::disposition::{Disposition, DispositionError};
use crate::receipt::Answer;
use crate::shown::readable;
use model::{Error, ErrorKind, Retry};

/// What an HTTP status that is no success means.
pub(crate) fn refused(answer: &Answer, endpoint: &str) -> Error {
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
        403 => (ErrorKind::PermissionDenied, Retry::Permanent, "ask the partner to admit this sender"),
        404 | 410 => (ErrorKind::NotFound, Retry::Permanent, "check the path in the endpoint's url"),
        408 | 425 => (
            ErrorKind::Timeout,
            Retry::Transient,
            "the partner's system was not ready for it; should this go on, ask the partner",
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
            "the partner takes no more for now: send less at once, or agree on more with it",
        ),
        500 | 502..=504 => (
            ErrorKind::Unreachable,
            Retry::Transient,
            "the partner's system, or what stands before it, has a fault of its own; should this go on, ask the partner",
        ),
        507 => (
            ErrorKind::StorageFull,
            Retry::Transient,
            "the partner has no room; should this go on, ask it to make some",
        ),
        500..=599 => (ErrorKind::Unsupported, Retry::Permanent, "ask the partner what its system expects"),
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
            "the partner's system had a fault while it read the message; should this go on, ask the partner",
        ),
        Disposition::Error(DispositionError::UnknownTradingPartner) => (
            ErrorKind::Unauthenticated,
            Retry::Permanent,
            "check both AS2 names with the partner, letter by letter",
        ),
        Disposition::Error(DispositionError::AuthenticationFailed) => {
            (ErrorKind::TrustFailed, Retry::Permanent, "give the partner our present certificate")
        }
        Disposition::Error(DispositionError::DecryptionFailed) => (
            ErrorKind::TrustFailed,
            Retry::Permanent,
            "ask the partner for its present certificate and put it first",
        ),
        Disposition::Error(DispositionError::InsufficientMessageSecurity) => (
            ErrorKind::ConfigInvalid,
            Retry::Permanent,
            "the partner wants messages signed or encrypted; change send_security",
        ),
        _ => (ErrorKind::Rejected, Retry::Permanent, "ask the partner why it refuses the message"),
    };
    Error::new(kind, retry, "deliver an AS2 message: the partner's receipt (MDN) refuses it")
        .with("message_id", message_id)
        .advice(advice)
}
