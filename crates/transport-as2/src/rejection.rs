//! Rejections of a message while it is being read. They pass through `smime` inside an I/O error, and must
//! not be mistaken for an error of Waybill: those of the body as it comes as they are, those of what is found inside as
//! [`smime::Error::Refused`], which behind a cipher that anybody may have tampered with looks like a failed decryption.

use crate::agreement::SendSecurity;
use crate::disposition::{Disposition, DispositionError};
use smime::Wrapping;
use std::fmt;
use std::io;

/// Why a message is refused while it is still being read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rejection {
    /// It is less protected than agreed.
    Unprotected { lacks: &'static str, agreed: SendSecurity },
    /// It, or what it holds, is larger than agreed, in bytes.
    TooLarge { most: u64 },
    /// It has more parts than are taken.
    TooManyParts { most: usize },
    /// It has more bytes than its header said.
    LongerThanSaid { total: u64 },
    /// Its body is not in the coding that its Content-Encoding names.
    Undecodable { coding: &'static str },
    /// The form around it cannot be read to its end.
    BadForm { why: &'static str },
}

impl Rejection {
    /// As the error of a receiver of what is found inside a message.
    pub(crate) fn of_content(self) -> io::Error {
        smime::Error::Refused(Box::new(self)).into()
    }

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

    /// The answer to the sender.
    pub(crate) fn disposition(self) -> Disposition {
        Disposition::Error(match self {
            Self::Unprotected { .. } => DispositionError::InsufficientMessageSecurity,
            Self::Undecodable { .. } => DispositionError::DecompressionFailed,
            Self::TooLarge { .. }
            | Self::TooManyParts { .. }
            | Self::LongerThanSaid { .. }
            | Self::BadForm { .. } => DispositionError::UnexpectedProcessingError,
        })
    }

    /// The same in words.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Unprotected { lacks, .. } => {
                format!("The message is not {lacks}, although that was agreed.")
            }
            Self::TooLarge { most } => {
                format!("The message is larger than the agreed limit of {most} bytes.")
            }
            Self::TooManyParts { most } => format!("The message has more than {most} parts."),
            Self::LongerThanSaid { total } => {
                format!("The message is longer than the {total} bytes that its Content-Range says.")
            }
            Self::Undecodable { coding } => {
                format!("The Content-Encoding is {coding}, but the body is not valid {coding} data.")
            }
            Self::BadForm { why } => format!("The form is not accepted: {why}."),
        }
    }
}

impl fmt::Display for Rejection {
    /// For the operator.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unprotected { lacks, agreed } => {
                write!(f, "the message is not {lacks}, but receive.security = \"{agreed}\" requires it")
            }
            Self::TooManyParts { most } => write!(f, "the message has more than {most} parts"),
            Self::LongerThanSaid { total } => {
                write!(f, "the message is longer than the {total} bytes that its Content-Range says")
            }
            Self::Undecodable { coding } => {
                write!(
                    f,
                    "the Content-Encoding is {coding}, but the body is not valid or not complete {coding} data"
                )
            }
            Self::BadForm { why } => write!(f, "the form is not accepted: {why}"),
            Self::TooLarge { most } => write!(
                f,
                "the message is larger than {most} bytes: raise the partner's receive.largest, or the listener's \
                largest where that is smaller, if such messages are expected"
            ),
        }
    }
}

impl std::error::Error for Rejection {}
