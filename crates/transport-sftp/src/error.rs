//! Converts a server's answers to Waybill's errors: kind, retry class, the server's text, advice.

use crate::protocol::fault::{Fault, Refusal, code};
use model::{ConnectionId, Error, ErrorKind, RemotePath, Retry};

/// The server and connection that errors name.
pub(crate) struct Target {
    /// Host and port.
    pub(crate) host: String,
    pub(crate) connection: ConnectionId,
}

impl Target {
    /// Adds the connection on which the error happened.
    pub(crate) fn on_connection(&self, error: Error) -> Error {
        if error.connection().is_some() { error } else { error.on_connection(self.connection) }
    }
}

impl Fault {
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
            Self::Refused(refusal) => {
                let (kind, retry) = refusal.class();
                let error = place(Error::new(kind, retry, operation)).with("status", refusal.code);
                let error = if refusal.words.is_empty() { error } else { error.said(&refusal.words) };
                match refusal.advice() {
                    Some(advice) => error.advice(advice),
                    None => error,
                }
            }
            Self::Lost(why) => place(Error::transient(ErrorKind::Unreachable, operation))
                .with("reason", why)
                .advice("the connection was lost; the next attempt opens a new one"),
            Self::Silent(waited) => place(Error::transient(ErrorKind::Timeout, operation))
                .with("waited", format!("{:.1} s", waited.as_secs_f64()))
                .advice("the server received the request and did not answer in time; see the endpoint's option timeout"),
            Self::TooManyOpen(limit) => place(Error::transient(ErrorKind::Busy, operation))
                .with("open files", limit)
                .advice("the server allows no more open files in one session, and none was closed in time; more connections help"),
            Self::Endless => place(Error::transient(ErrorKind::Protocol, operation))
                .with("reason", "the listing has more than 10,000,000 files, or more than 10,000 pages without one")
                .advice("nothing of this listing is used. Ask the server's operator what is wrong with the directory"),
            Self::Malformed(malformed) => place(Error::transient(ErrorKind::Protocol, operation))
                .advice("the server's answer is not SFTP version 3; check which server runs on this port")
                .caused_by(malformed),
        }
    }
}

impl Refusal {
    fn class(&self) -> (ErrorKind, Retry) {
        match self.code {
            _ if self.missing => (ErrorKind::NotFound, Retry::Permanent),
            code::NO_SUCH_FILE | code::NO_SUCH_PATH => (ErrorKind::NotFound, Retry::Permanent),
            code::PERMISSION_DENIED | code::WRITE_PROTECT => (ErrorKind::PermissionDenied, Retry::Permanent),
            code::FILE_ALREADY_EXISTS => (ErrorKind::AlreadyExists, Retry::Permanent),
            code::NO_SPACE | code::QUOTA_EXCEEDED => (ErrorKind::StorageFull, Retry::Transient),
            code::OP_UNSUPPORTED => (ErrorKind::Unsupported, Retry::Permanent),
            // OpenSSH answers so to a name that is too long or has characters that the file system does not accept.
            code::BAD_MESSAGE => (ErrorKind::Rejected, Retry::Permanent),
            code::NO_CONNECTION | code::CONNECTION_LOST => (ErrorKind::Unreachable, Retry::Transient),
            code::INVALID_HANDLE | code::EOF => (ErrorKind::Protocol, Retry::Transient),
            // "Failure" stands for every other reason, and only its text can distinguish them.
            _ => {
                if self.says(&["no space", "quota", "disk full", "disc full", "out of space"]) {
                    (ErrorKind::StorageFull, Retry::Transient)
                } else if self.says(&["too many", "busy", "try again", "limit"]) {
                    (ErrorKind::Throttled, Retry::Transient)
                } else if self.says(&[
                    "permission denied",
                    "access denied",
                    "access is denied",
                    "not permitted",
                ]) {
                    (ErrorKind::PermissionDenied, Retry::Permanent)
                } else {
                    (ErrorKind::Rejected, Retry::Transient)
                }
            }
        }
    }

    fn advice(&self) -> Option<&'static str> {
        match self.code {
            _ if self.missing => None,
            code::PERMISSION_DENIED | code::WRITE_PROTECT => {
                Some("ask the server's operator for permission on this path")
            }
            code::FAILURE => Some(
                "the server gives no reason: check for a full disk or quota, too many open files, or a name \
                that exists already",
            ),
            code::OP_UNSUPPORTED => Some("the server cannot do this"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use model::ConnectionId;
    use std::time::Duration;

    fn target() -> Target {
        Target { host: "sftp.example:22".into(), connection: ConnectionId::new(uuid::Uuid::nil()) }
    }

    fn refused(code: u32, words: &'static str) -> Error {
        let fault =
            Fault::Refused(Refusal { code, words: Bytes::from_static(words.as_bytes()), missing: false });
        fault.error("read a file", &target(), Some(&"in/a".into()))
    }

    #[test]
    fn each_code_has_its_kind_and_class() {
        for (code, words, kind, retry) in [
            (code::NO_SUCH_FILE, "No such file", ErrorKind::NotFound, Retry::Permanent),
            (code::PERMISSION_DENIED, "", ErrorKind::PermissionDenied, Retry::Permanent),
            (code::FAILURE, "Failure", ErrorKind::Rejected, Retry::Transient),
            (code::FAILURE, "write: No space left on device", ErrorKind::StorageFull, Retry::Transient),
            (code::FAILURE, "Quota exceeded", ErrorKind::StorageFull, Retry::Transient),
            (code::FAILURE, "Access denied", ErrorKind::PermissionDenied, Retry::Permanent),
            (code::FAILURE, "Too many connections", ErrorKind::Throttled, Retry::Transient),
            (code::BAD_MESSAGE, "Bad message", ErrorKind::Rejected, Retry::Permanent),
            (code::OP_UNSUPPORTED, "", ErrorKind::Unsupported, Retry::Permanent),
            (code::QUOTA_EXCEEDED, "", ErrorKind::StorageFull, Retry::Transient),
            (99, "?", ErrorKind::Rejected, Retry::Transient),
        ] {
            let error = refused(code, words);
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{code} {words}");
        }
    }

    #[test]
    fn an_error_names_host_path_and_words() {
        let text = refused(code::NO_SUCH_FILE, "No such file").to_string();
        assert_eq!(
            text,
            "could not read a file: not_found, peer said \"No such file\" (host sftp.example:22, \
             path in/a, status 2, connection 00000000-0000-0000-0000-000000000000)"
        );
        let silent =
            Fault::Silent(Duration::from_secs(60)).error("list a directory", &target(), Some(&"".into()));
        assert!(silent.to_string().contains("60.0 s"), "{silent}");
        assert_eq!((silent.kind(), silent.retry()), (ErrorKind::Timeout, Retry::Transient));
    }
}
