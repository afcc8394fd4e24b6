//! The body of an answer, without its content coding: none was asked for, but some servers code all they send.

use crate::coding::Coding;
use crate::mdn::LARGEST_MDN;
use bytes::{Bytes, BytesMut};
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

/// An answer's body that may hold a payload.
pub(crate) enum Begun {
    /// All of it, without its coding.
    Whole(Bytes),
    /// Its beginning, as it came, and what follows.
    More(Bytes, Body),
}

/// Reads a body that may hold a payload to its end, if it is no longer than [`LARGEST_MDN`] bytes.
///
/// # Errors
/// `Ambiguous`, with the status: the body was cut off. The partner gives its answer again when the message is sent again.
pub(crate) async fn begin(head: &Parts, mut body: Body) -> Result<Begun> {
    let mut first = BytesMut::new();
    loop {
        match body.next().await {
            Ok(Some(bytes)) => first.extend_from_slice(&bytes),
            Ok(None) => break,
            Err(error) => return Err(error.retry_as(Retry::Ambiguous).with("status", head.status)),
        }
        if first.len() > LARGEST_MDN {
            return Ok(Begun::More(first.freeze(), body));
        }
    }
    let whole = first.freeze();
    if whole.is_empty() {
        return Ok(Begun::Whole(whole));
    }
    // What is longer without its coding is read as a stream.
    match uncoded(head, whole.clone(), false) {
        Ok(plain) => Ok(Begun::Whole(plain)),
        Err(_) => Ok(Begun::More(whole, Body::empty())),
    }
}

/// How the body is coded.
///
/// # Errors
/// `Ambiguous`: in a way that is not read.
pub(crate) fn coding(head: &Parts) -> Result<Coding> {
    Coding::of(&head.headers).map_err(|name| unreadable(PeerText::from(name.as_str()).to_string()))
}

fn unreadable(coding: String) -> Error {
    Error::ambiguous(ErrorKind::Protocol, "read the answer's body")
        .with("Content-Encoding", coding)
        .advice("ask the partner to send its answers without Content-Encoding")
}

/// The body without its coding; of a broken one its beginning, where that will do.
fn uncoded(head: &Parts, body: Bytes, beginning_will_do: bool) -> Result<Bytes> {
    let coding = coding(head)?;
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
