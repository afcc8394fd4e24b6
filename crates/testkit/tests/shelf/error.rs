//! From what a shelf answers to Waybill's errors.

use model::{Error, ErrorKind};

/// A refusal of the server. A real one has its protocol's codes here.
#[derive(Clone, Copy)]
pub(crate) enum Refusal {
    Login,
}

impl Refusal {
    /// The error of an operation; `operation` completes "could not …".
    pub(crate) fn error(self, operation: &'static str, host: &str) -> Error {
        match self {
            Self::Login => Error::permanent(ErrorKind::Unauthenticated, operation)
                .with("host", host)
                .said("530 wrong password")
                .advice("check user name and password"),
        }
    }
}
