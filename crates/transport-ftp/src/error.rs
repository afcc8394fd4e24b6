//! From what a server answers to Waybill's errors: kind, retry class, what the server said, what to do.

use crate::protocol::path::Unsendable;
use crate::protocol::reply::{Reply, Unread, hide};
use model::{ConnectionId, Error, ErrorKind, RemotePath, Retry};
use std::time::Duration;

/// Where a connection leads, and which one it is: what errors tell of it.
#[derive(Clone)]
pub(crate) struct Target {
    /// Host and port.
    pub(crate) host: String,
    pub(crate) connection: ConnectionId,
}

/// Why a command did not do what it should.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The server refused it.
    Refused(Reply),
    /// The control connection is gone.
    Lost(String),
    /// The server did not answer for so long.
    Silent(Duration),
    /// What the server sent is not FTP; its words.
    Malformed(&'static str, Vec<u8>),
    /// A listing goes on beyond any directory's.
    Endless(&'static str),
    /// FTP cannot carry the path.
    Unsendable(Unsendable),
    /// A data connection failed, or was refused by our own rules.
    Data(Box<Error>),
}

impl From<Unsendable> for Fault {
    fn from(why: Unsendable) -> Self {
        Self::Unsendable(why)
    }
}

impl From<Unread> for Fault {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Lost(cause) => Self::Lost(cause.to_string()),
            Unread::Malformed(why, words) => Self::Malformed(why, words),
        }
    }
}

impl Fault {
    /// The same without a secret, which the server may have repeated.
    pub(crate) fn without(self, secret: &[u8]) -> Self {
        match self {
            Self::Refused(reply) => Self::Refused(reply.without(secret)),
            Self::Malformed(why, mut words) => {
                hide(&mut words, secret);
                Self::Malformed(why, words)
            }
            other => other,
        }
    }

    /// Whether the server may have done what it was asked for.
    pub(crate) fn is_unanswered(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Silent(_) | Self::Malformed(..))
    }

    /// The error of an operation; `operation` completes "could not …".
    pub(crate) fn error(self, operation: &'static str, target: &Target, path: Option<&RemotePath>) -> Error {
        let place = |error: Error| {
            let error = error.with("host", &target.host);
            let error = match path {
                Some(path) if path.is_empty() => error.with("path", "."),
                Some(path) => error.with("path", path),
                None => error,
            };
            error.on_connection(target.connection)
        };
        match self {
            Self::Refused(reply) => {
                let (kind, retry) = class(&reply);
                let error = place(Error::new(kind, retry, operation)).said(reply.said());
                match advice(&reply, kind) {
                    Some(advice) => error.advice(advice),
                    None => error,
                }
            }
            Self::Lost(why) => place(Error::transient(ErrorKind::Unreachable, operation))
                .with("reason", why)
                .advice("the connection was lost; the next attempt opens a new one"),
            Self::Silent(waited) => place(Error::transient(ErrorKind::Timeout, operation))
                .with("waited", format!("{:.1} s", waited.as_secs_f64()))
                .advice("the server did not answer in time; see the endpoint's option timeout"),
            Self::Malformed(why, words) => {
                let error = place(Error::transient(ErrorKind::Protocol, operation)).with("reason", why);
                let error = if words.is_empty() { error } else { error.said(words) };
                error.advice(
                    "check that an FTP server runs on this port, and whether it begins with TLS (ftps://)",
                )
            }
            Self::Endless(why) => place(Error::transient(ErrorKind::Protocol, operation))
                .with("reason", why)
                .advice("nothing of this listing is used. Ask the server's operator what is wrong with the directory"),
            Self::Unsendable(why) => {
                place(Error::permanent(ErrorKind::Rejected, operation)).advice(why.advice())
            }
            Self::Data(error) => {
                let error = *error;
                let cause = error.chain();
                let outer = place(Error::new(error.kind(), error.retry(), operation)).caused_by(error);
                match cause.is_empty() {
                    true => outer,
                    false => outer.advice(DATA_ADVICE),
                }
            }
        }
    }
}

const DATA_ADVICE: &str = "the data connection failed: FTP needs one for each listing and file; check that firewalls let \
    connections to the server's passive ports through";

/// What the server found when it refused because of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cause {
    Missing,
    Forbidden,
    Exists,
    Full,
    Unknown,
}

impl Cause {
    /// Code 550 and 553 stand for many reasons, and only the words can tell which.
    pub(crate) fn of(reply: &Reply) -> Self {
        if reply.says(&[
            "no such file",
            "not found",
            "does not exist",
            "doesn't exist",
            "cannot find",
            "no such directory",
        ]) {
            Self::Missing
        } else if reply.says(&[
            "permission denied",
            "access denied",
            "access is denied",
            "not permitted",
            "not allowed",
        ]) {
            Self::Forbidden
        } else if reply.says(&["already exists", "file exists"]) {
            Self::Exists
        } else if reply.says(&["no space", "quota", "disk full", "disc full", "insufficient"]) {
            Self::Full
        } else {
            Self::Unknown
        }
    }
}

/// RFC 959, 4.2.1; RFC 4217; RFC 2228, 5; RFC 2428.
fn class(reply: &Reply) -> (ErrorKind, Retry) {
    match reply.code {
        421 => (ErrorKind::Throttled, Retry::Transient),
        425 | 426 => (ErrorKind::Unreachable, Retry::Transient),
        // pure-ftpd says this of a data connection that broke.
        451 if reply.says(&["transfer aborted", "data connection"]) => {
            (ErrorKind::Unreachable, Retry::Transient)
        }
        452 | 552 => (ErrorKind::StorageFull, Retry::Transient),
        430 | 530 if reply.says(&["too many", "maximum number", "limit", "try again", "temporarily"]) => {
            (ErrorKind::Throttled, Retry::Transient)
        }
        430 | 530 | 532 => (ErrorKind::Unauthenticated, Retry::Permanent),
        500 | 501 | 502 | 503 | 504 | 522 | 533..=536 => (ErrorKind::Unsupported, Retry::Permanent),
        431 => (ErrorKind::Unsupported, Retry::Permanent),
        400..500 => match Cause::of(reply) {
            Cause::Missing => (ErrorKind::NotFound, Retry::Permanent),
            Cause::Forbidden => (ErrorKind::PermissionDenied, Retry::Permanent),
            Cause::Full => (ErrorKind::StorageFull, Retry::Transient),
            Cause::Exists | Cause::Unknown => (ErrorKind::Rejected, Retry::Transient),
        },
        500.. => match Cause::of(reply) {
            Cause::Missing => (ErrorKind::NotFound, Retry::Permanent),
            Cause::Forbidden => (ErrorKind::PermissionDenied, Retry::Permanent),
            Cause::Exists => (ErrorKind::AlreadyExists, Retry::Permanent),
            Cause::Full => (ErrorKind::StorageFull, Retry::Transient),
            Cause::Unknown => (ErrorKind::Rejected, Retry::Permanent),
        },
        // Neither an error nor what was expected.
        _ => (ErrorKind::Protocol, Retry::Transient),
    }
}

fn advice(reply: &Reply, kind: ErrorKind) -> Option<&'static str> {
    match (reply.code, kind) {
        (421, _) => Some(
            "the server ends the connection: it may allow fewer connections; see the endpoint's option connections",
        ),
        (425 | 426, _) => Some(DATA_ADVICE),
        _ if reply.says(&["tls", "ssl"]) && reply.says(&["requir", "must use"]) => Some(
            "the server takes no login in the clear: remove security = \"none\" from the endpoint, so that TLS begins first",
        ),
        (522, _) if reply.says(&["reuse", "resum"]) => {
            Some("the server wants data connections to resume the TLS session: leave session_reuse on")
        }
        (_, ErrorKind::Unauthenticated) => Some(
            "check user name and password; the endpoint is tried again only after a while, because many servers lock accounts \
            after failed logins",
        ),
        (_, ErrorKind::PermissionDenied) => Some("ask the server's operator for permission on this path"),
        (_, ErrorKind::Unsupported) => Some("the server cannot do this, or does not allow it"),
        (550 | 553, ErrorKind::Rejected) => Some(
            "the server gives no reason: check its permissions, the name, and whether a file or directory of that name exists",
        ),
        _ => None,
    }
}

/// The error of a refusal, where nothing is at the path.
pub(crate) fn not_found(reply: Reply, operation: &'static str, target: &Target, path: &RemotePath) -> Error {
    let error = Error::permanent(ErrorKind::NotFound, operation).with("host", &target.host);
    let error = if path.is_empty() { error.with("path", ".") } else { error.with("path", path) };
    error.said(reply.said()).on_connection(target.connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, words: &str) -> Error {
        let target =
            Target { host: "ftp.example:21".into(), connection: ConnectionId::new(uuid::Uuid::nil()) };
        let reply = Reply { code, lines: vec![words.as_bytes().to_vec()] };
        Fault::Refused(reply).error("read a file", &target, Some(&"in/a".into()))
    }

    #[test]
    fn each_code_has_its_kind_and_class() {
        use ErrorKind::{
            AlreadyExists, NotFound, PermissionDenied, Rejected, StorageFull, Throttled, Unauthenticated,
            Unreachable, Unsupported,
        };
        for (code, words, kind, retry) in [
            (421, "Too many users", Throttled, Retry::Transient),
            (425, "Can't open data connection", Unreachable, Retry::Transient),
            (426, "Transfer aborted", Unreachable, Retry::Transient),
            (450, "File busy", Rejected, Retry::Transient),
            (450, "a: No such file or directory", NotFound, Retry::Permanent),
            (451, "Local error", Rejected, Retry::Transient),
            (451, "Error during read from data connection", Unreachable, Retry::Transient),
            (452, "Insufficient storage", StorageFull, Retry::Transient),
            (500, "Unknown command", Unsupported, Retry::Permanent),
            (522, "session reuse required", Unsupported, Retry::Permanent),
            (530, "Login incorrect.", Unauthenticated, Retry::Permanent),
            (530, "Sorry, the maximum number of clients is connected", Throttled, Retry::Transient),
            (550, "a: No such file or directory", NotFound, Retry::Permanent),
            (550, "Permission denied", PermissionDenied, Retry::Permanent),
            (550, "a: File exists", AlreadyExists, Retry::Permanent),
            (550, "Failed to open file.", Rejected, Retry::Permanent),
            (552, "Quota exceeded", StorageFull, Retry::Transient),
            (553, "Could not create file.", Rejected, Retry::Permanent),
        ] {
            let error = refused(code, words);
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{code} {words}");
        }
    }

    #[test]
    fn an_error_names_host_path_and_words() {
        assert_eq!(
            refused(550, "in/a: No such file or directory").to_string(),
            "could not read a file: not_found, peer said \"550 in/a: No such file or directory\" (host ftp.example:21, \
             path in/a, connection 00000000-0000-0000-0000-000000000000)"
        );
    }
}
