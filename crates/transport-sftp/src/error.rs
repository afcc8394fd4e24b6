//! From what a server answers to Waybill's errors.

use crate::packet::Malformed;
use crate::session::Target;
use bytes::Bytes;
use model::{Error, ErrorKind, RemotePath, Retry};
use std::sync::Arc;
use std::time::Duration;

/// A status answer that is not `OK`.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: u32,
    pub(crate) words: Bytes,
    /// It was found out that nothing lies at the path, whatever the code says.
    pub(crate) missing: bool,
}

/// Status codes of draft-ietf-secsh-filexfer-02, and the later ones that servers send all the same.
pub(crate) mod code {
    pub(crate) const OK: u32 = 0;
    pub(crate) const EOF: u32 = 1;
    pub(crate) const NO_SUCH_FILE: u32 = 2;
    pub(crate) const PERMISSION_DENIED: u32 = 3;
    pub(crate) const FAILURE: u32 = 4;
    pub(crate) const BAD_MESSAGE: u32 = 5;
    pub(crate) const NO_CONNECTION: u32 = 6;
    pub(crate) const CONNECTION_LOST: u32 = 7;
    pub(crate) const OP_UNSUPPORTED: u32 = 8;
    pub(crate) const INVALID_HANDLE: u32 = 9;
    pub(crate) const NO_SUCH_PATH: u32 = 10;
    pub(crate) const FILE_ALREADY_EXISTS: u32 = 11;
    pub(crate) const WRITE_PROTECT: u32 = 12;
    pub(crate) const NO_SPACE: u32 = 14;
    pub(crate) const QUOTA_EXCEEDED: u32 = 15;
}

/// Why a request has no answer that can be used.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The server answered no.
    Refused(Refusal),
    /// The connection is gone; what ended it.
    Lost(Arc<str>),
    /// Nothing came for so long.
    Silent(Duration),
    /// The answer cannot be understood.
    Malformed(Malformed),
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl Fault {
    /// Whether it is this status code.
    pub(crate) fn is(&self, code: u32) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.code == code)
    }

    /// The status code, when the server answered no.
    pub(crate) fn code(&self) -> Option<u32> {
        match self {
            Self::Refused(refusal) => Some(refusal.code),
            _ => None,
        }
    }

    /// Whether the answer says that nothing lies at the path: by its code, or by the words of a plain failure.
    pub(crate) fn says_missing(&self) -> bool {
        let Self::Refused(refusal) = self else { return false };
        refusal.missing
            || matches!(refusal.code, code::NO_SUCH_FILE | code::NO_SUCH_PATH)
            || refusal.is_vague()
                && refusal.says(&[
                    "no such file",
                    "no such path",
                    "no such directory",
                    "file not found",
                    "path not found",
                    "does not exist",
                    "doesn't exist",
                    "cannot find the",
                ])
    }

    /// Whether the answer says that the name is taken.
    pub(crate) fn says_taken(&self) -> bool {
        let Self::Refused(refusal) = self else { return false };
        refusal.code == code::FILE_ALREADY_EXISTS
            || refusal.is_vague() && refusal.says(&["already exist", "file exists"])
    }

    /// Whether the code stands for any reason at all.
    pub(crate) fn is_vague(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.is_vague())
    }

    /// The same, with what was found out: nothing lies at the path.
    pub(crate) fn missing(mut self) -> Self {
        if let Self::Refused(refusal) = &mut self {
            refusal.missing = true;
        }
        self
    }

    /// Whether the request may have been carried out all the same.
    pub(crate) fn is_unanswered(&self) -> bool {
        match self {
            Self::Refused(refusal) => matches!(refusal.code, code::NO_CONNECTION | code::CONNECTION_LOST),
            Self::Lost(_) | Self::Silent(_) | Self::Malformed(_) => true,
        }
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
                .advice("the connection broke; the next attempt makes a new one"),
            Self::Silent(waited) => place(Error::transient(ErrorKind::Timeout, operation))
                .with("waited", format!("{:.1} s", waited.as_secs_f64()))
                .advice("the server took the request and did not answer; see the endpoint's option timeout"),
            Self::Malformed(malformed) => place(Error::transient(ErrorKind::Protocol, operation))
                .advice("the server's answer is no SFTP version 3; check what runs on this port")
                .caused_by(malformed),
        }
    }
}

impl Refusal {
    /// 'Failure', or a code that the draft does not have: only the words can tell more.
    fn is_vague(&self) -> bool {
        self.code == code::FAILURE || self.code > code::QUOTA_EXCEEDED
    }

    fn says(&self, texts: &[&str]) -> bool {
        let words = String::from_utf8_lossy(&self.words).to_ascii_lowercase();
        texts.iter().any(|text| words.contains(text))
    }

    fn class(&self) -> (ErrorKind, Retry) {
        match self.code {
            _ if self.missing => (ErrorKind::NotFound, Retry::Permanent),
            code::NO_SUCH_FILE | code::NO_SUCH_PATH => (ErrorKind::NotFound, Retry::Permanent),
            code::PERMISSION_DENIED | code::WRITE_PROTECT => (ErrorKind::PermissionDenied, Retry::Permanent),
            code::FILE_ALREADY_EXISTS => (ErrorKind::AlreadyExists, Retry::Permanent),
            code::NO_SPACE | code::QUOTA_EXCEEDED => (ErrorKind::StorageFull, Retry::Transient),
            code::OP_UNSUPPORTED => (ErrorKind::Unsupported, Retry::Permanent),
            // OpenSSH answers so to a name that is too long or holds what the file system does not take.
            code::BAD_MESSAGE => (ErrorKind::Rejected, Retry::Permanent),
            code::NO_CONNECTION | code::CONNECTION_LOST => (ErrorKind::Unreachable, Retry::Transient),
            code::INVALID_HANDLE | code::EOF => (ErrorKind::Protocol, Retry::Transient),
            // "Failure" stands for every other reason, and only the words can tell which.
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
                Some("ask the server's operator for the right on this path")
            }
            code::FAILURE => Some(
                "the server gives no better reason: look for a full disk or quota, too many open files, or a name that is taken",
            ),
            code::OP_UNSUPPORTED => Some("the server cannot do this"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ConnectionId;

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
