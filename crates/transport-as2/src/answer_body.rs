//! The body of an answer, without its content coding: none was asked for, but some servers code all they send.

use crate::coding::Coding;
use crate::mdn::LARGEST_MDN;
use bytes::Bytes;
use http::response::Parts;
use model::{Error, ErrorKind, PeerText, Result, Retry};
use net::http::Body;
use std::io::Read;

/// Reads the body of an answer. Where it must hold a receipt, a body that cannot be read leaves open whether
/// the partner has the message. Of a refusal, or where no receipt was asked for, the status alone decides: as
/// much is given as can be read, which may be nothing.
///
/// # Errors
/// `Ambiguous`, with the status: a receipt was asked for, the status is a success, and the body was cut off,
/// is longer than [`LARGEST_MDN`] bytes or is in a coding that is not read.
pub(crate) async fn read(head: &Parts, body: Body, receipt_wanted: bool) -> Result<Bytes> {
    let receipt = receipt_wanted && head.status.is_success();
    let read = match body.collect(LARGEST_MDN).await {
        // Nothing is in no coding, whatever the head says.
        Ok(body) if body.is_empty() => Ok(body),
        Ok(body) => uncoded(head, body, !receipt),
        Err(error) => Err(error.retry_as(Retry::Ambiguous)),
    };
    match read {
        Err(error) if receipt => Err(error.with("status", head.status)),
        Err(error) => {
            tracing::debug!(status = %head.status, error = %error.chain(), "an answer's body could not be read");
            Ok(Bytes::new())
        }
        read => read,
    }
}

/// The body without its coding; of a broken one its beginning, where that will do.
fn uncoded(head: &Parts, body: Bytes, beginning_will_do: bool) -> Result<Bytes> {
    let unreadable = |what: String| {
        Error::ambiguous(ErrorKind::Protocol, "read the answer's body")
            .with("Content-Encoding", what)
            .advice("ask the partner to send its answers without Content-Encoding")
    };
    let coding =
        Coding::of(&head.headers).map_err(|name| unreadable(PeerText::from(name.as_str()).to_string()))?;
    if coding == Coding::Identity {
        return Ok(body);
    }
    let mut plain = Vec::new();
    let decoded = coding.decoder(&body[..], LARGEST_MDN as u64).read_to_end(&mut plain);
    match decoded {
        Ok(_) => Ok(plain.into()),
        Err(_) if beginning_will_do && !plain.is_empty() => Ok(plain.into()),
        // A page that was never coded, under a head that says so.
        Err(_) if beginning_will_do && std::str::from_utf8(&body).is_ok() => Ok(body),
        Err(error) => Err(unreadable(format!("{coding:?}")).caused_by(error)),
    }
}

#[cfg(test)]
mod tests;
