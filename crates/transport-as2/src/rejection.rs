//! What our own side of a stream refuses about a message. It travels up through `smime` inside an I/O
//! error, and must not be taken for a fault of ours when it arrives.

use crate::agreement::SendSecurity;
use crate::disposition::{Disposition, DispositionError};
use smime::Wrapping;
use std::fmt;

/// Why a message is refused while it is still being read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rejection {
    /// It is less protected than agreed.
    Unprotected { lacks: &'static str, agreed: SendSecurity },
    /// It, or what it holds, is larger than agreed, in bytes.
    TooLarge { most: u64 },
    /// It has more parts than are taken.
    TooManyParts { most: usize },
    /// Its body is not in the coding that its Content-Encoding names.
    Undecodable { coding: &'static str },
}

impl Rejection {
    /// Whether something is missing of what was agreed.
    pub(crate) fn unprotected(agreed: SendSecurity, encrypted: bool, signed: bool) -> Option<Self> {
        let lacks = match () {
            () if agreed.encrypts() && !encrypted => "encrypted",
            () if agreed.signs() && !signed => "signed",
            () => return None,
        };
        Some(Self::Unprotected { lacks, agreed })
    }

    /// The same of wrappings that are not proved yet.
    pub(crate) fn by_wrappings(agreed: SendSecurity, wrappings: &[Wrapping]) -> Option<Self> {
        let has = |wrapping| wrappings.contains(&wrapping);
        Self::unprotected(agreed, has(Wrapping::Encrypted), has(Wrapping::Signed))
    }

    /// What the sender is told.
    pub(crate) fn disposition(self) -> Disposition {
        Disposition::Error(match self {
            Self::Unprotected { .. } => DispositionError::InsufficientMessageSecurity,
            Self::Undecodable { .. } => DispositionError::DecompressionFailed,
            Self::TooLarge { .. } | Self::TooManyParts { .. } => DispositionError::UnexpectedProcessingError,
        })
    }

    /// The same in words.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Unprotected { lacks, .. } => format!("The message is not {lacks}, as was agreed."),
            Self::TooLarge { most } => format!("The message is larger than the {most} bytes agreed."),
            Self::TooManyParts { most } => format!("The message has more than {most} parts."),
            Self::Undecodable { coding } => {
                format!("The body is not {coding}, although its Content-Encoding says so.")
            }
        }
    }
}

impl fmt::Display for Rejection {
    /// For the operator.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unprotected { lacks, agreed } => {
                write!(f, "the message is not {lacks}, as receive.security = \"{agreed}\" asks")
            }
            Self::TooManyParts { most } => write!(f, "the message has more than {most} parts"),
            Self::Undecodable { coding } => {
                write!(f, "the body is not complete {coding}, although its Content-Encoding says so")
            }
            Self::TooLarge { most } => write!(
                f,
                "the message holds more than receive.largest = {most} bytes: raise the partner's \
                 receive.largest if such messages are expected"
            ),
        }
    }
}

impl std::error::Error for Rejection {}
