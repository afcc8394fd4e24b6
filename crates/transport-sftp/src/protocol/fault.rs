//! What a server answers instead of what was asked for.

use super::packet::Malformed;
use bytes::Bytes;
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
    /// Not asked: as many files are open as the server allows.
    TooManyOpen(usize),
    /// A listing goes on beyond any directory's.
    Endless,
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
            Self::TooManyOpen(_) | Self::Endless => false,
        }
    }
}

impl Refusal {
    /// 'Failure', or a code that the draft does not have: only the words can tell more.
    pub(crate) fn is_vague(&self) -> bool {
        self.code == code::FAILURE || self.code > code::QUOTA_EXCEEDED
    }

    pub(crate) fn says(&self, texts: &[&str]) -> bool {
        let words = String::from_utf8_lossy(&self.words).to_ascii_lowercase();
        texts.iter().any(|text| words.contains(text))
    }
}
