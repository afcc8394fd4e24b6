//! The library's errors as those of messages.

use std::io;

use smime::{Error, Result};

pub(crate) fn malformed(place: &'static str, what: impl Into<String>) -> Error {
    Error::Malformed { what: what.into(), place }
}

pub(crate) fn limit(what: &'static str, limit: u64) -> Error {
    Error::LimitExceeded { what, limit }
}

/// The library's error in a place that depends on nothing secret.
pub(crate) trait OpenPgpContext<T> {
    /// Names the structure that could not be read or written.
    fn within(self, place: &'static str) -> Result<T>;
}

impl<T> OpenPgpContext<T> for pgp::errors::Result<T> {
    fn within(self, place: &'static str) -> Result<T> {
        self.map_err(|error| match error {
            pgp::errors::Error::IO { source, .. } => of_stream(source, place),
            error => malformed(place, error.to_string()),
        })
    }
}

/// An error that came through the library's readers: one of ours, or what the library found wrong. Those of the stream below are
/// kept apart (`object::Below`).
pub(crate) fn of_stream(error: io::Error, place: &'static str) -> Error {
    match Error::from(error) {
        Error::Io(io) => malformed(place, io.to_string()),
        other => other,
    }
}
