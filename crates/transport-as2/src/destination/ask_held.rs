//! Asks the partner how many bytes it has of a message, by HEAD (draft-harding-as2-restart-06, 3.2). Other servers use HEAD for
//! other things: what is not an answer of the draft's kind means that the partner does not support restart.

use super::As2Destination;
use crate::login::pass_over;
use crate::names::write_name;
use crate::outgoing::Envelope;
use http::header::{CONTENT_LENGTH, ETAG, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use model::{Error, ErrorKind, Purpose, Result};
use net::http::{Body, RequestMeta};
use std::time::Duration;
use transport::Deliver;
use url::Url;

/// As often a server is asked that takes the connection and does not answer.
const MOST_TRIES: usize = 3;

/// The longest wait for the answer, where that to a message may take longer.
const LONGEST_ANSWER: Duration = Duration::from_secs(600);

/// What the partner says it has of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Held {
    /// So many bytes.
    Bytes(u64),
    /// Nothing that can be used, for this reason: it does not support restart.
    NotSaid(String),
    /// The same, in the way of a server that supports restart and has nothing under this transfer id.
    Unknown(String),
    /// Its server, or a proxy in front of it, is not available now.
    NotNow(StatusCode),
}

impl As2Destination {
    /// How many bytes the partner has under a transfer id.
    ///
    /// # Errors
    /// The partner's server cannot be reached. One that is reached and answers nothing has not said how much it has.
    pub(super) async fn ask_held(
        &self,
        delivery: &Deliver,
        envelope: &Envelope<'_>,
        etag: &str,
        url: &Url,
    ) -> Result<Held> {
        let mut tries = 1;
        loop {
            let error = match self.head_logged_in(delivery, envelope, etag, url).await {
                Ok(answer) => {
                    let held = held(answer.status(), answer.headers());
                    // It has no body; a server that sends one all the same loses its connection.
                    pass_over(answer).await;
                    return Ok(held);
                }
                Err(error) if !is_unanswered(&error) => return Err(error),
                Err(error) => error,
            };
            // A silent server was waited for long enough.
            if tries == MOST_TRIES || error.kind() == ErrorKind::Timeout {
                return Ok(Held::NotSaid(format!("no answer to HEAD: {error}")));
            }
            tries += 1;
        }
    }

    /// Sends the request, once more where the server asks for a login.
    async fn head_logged_in(
        &self,
        delivery: &Deliver,
        envelope: &Envelope<'_>,
        etag: &str,
        url: &Url,
    ) -> Result<Response<Body>> {
        let login = self.login(Purpose::Deliver)?;
        let client = self.net.http_client(&self.profile(Purpose::Deliver)?);
        let meta = RequestMeta {
            flow: Some(delivery.flow.clone()),
            delivery: Some(delivery.claim.delivery),
            idle_timeout: self.connecting()?.timeout,
            // The partner may have to read all that it has before it answers.
            answer_timeout: self.answer_timeout().min(LONGEST_ANSWER),
            whole_timeout: None,
        };
        let request = || {
            let mut request = head_request(envelope, etag, url)?;
            if let Some(login) = &login {
                login.authorize(&mut request);
            }
            Ok::<_, Error>(request)
        };
        let answer = client.request(request()?, &meta).await?;
        if !login.as_ref().is_some_and(|login| login.take(&answer)) {
            return Ok(answer);
        }
        pass_over(answer).await;
        client.request(request()?, &meta).await
    }
}

/// The draft has AS2-Version 1.2 in it, and both names as the message has them: AS2-From is the sending side.
fn head_request(envelope: &Envelope<'_>, etag: &str, url: &Url) -> Result<Request<Body>> {
    Request::builder()
        .method(Method::HEAD)
        .uri(url.as_str())
        .header("AS2-Version", "1.2")
        .header("AS2-From", write_name(envelope.from))
        .header("AS2-To", write_name(envelope.to))
        .header(ETAG, etag)
        .header(USER_AGENT, "Waybill")
        .body(Body::empty())
        .map_err(|error| {
            Error::permanent(ErrorKind::ConfigInvalid, "ask the partner how much it has of a message")
                .caused_by(error)
        })
}

/// Whether the server was reached, and answered nothing that is HTTP. Failed dialling names its step.
fn is_unanswered(error: &Error) -> bool {
    let kind = matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Protocol);
    kind && error.failed_step().is_none() && error.connection().is_some()
}

/// What an answer says.
fn held(status: StatusCode, headers: &HeaderMap) -> Held {
    match status.as_u16() {
        200 => {}
        429 | 502..=504 => return Held::NotNow(status),
        404 | 410 => return Held::Unknown(not_supported(status)),
        _ => return Held::NotSaid(not_supported(status)),
    }
    let without = || "HEAD was answered with status 200 and no Content-Length".to_owned();
    if !headers.contains_key(CONTENT_LENGTH) {
        // Some servers leave out a length of 0.
        return Held::Unknown(without());
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next().and_then(|value| value.to_str().ok()).map(str::trim);
    let is_number = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match length.filter(is_number).and_then(|text| text.parse().ok()) {
        Some(bytes) if lengths.next().is_none() => Held::Bytes(bytes),
        _ => Held::NotSaid(without()),
    }
}

/// Why a partner whose server answers HEAD with this status does not support restart.
pub(super) fn not_supported(status: StatusCode) -> String {
    format!("HEAD was answered with status {status}")
}

/// N of `Content-Range: bytes */N` (RFC 9110, 14.4): what the partner has, in its answer 416.
pub(super) fn unsatisfied(range: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(range).ok()?.trim();
    let (unit, rest) = text.split_once(' ')?;
    let number = rest.trim().strip_prefix("*/")?.trim();
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    (unit.eq_ignore_ascii_case("bytes") && is_number).then(|| number.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn of(status: u16, lengths: &[&'static str]) -> Held {
        let mut headers = HeaderMap::new();
        for length in lengths {
            headers.append(CONTENT_LENGTH, HeaderValue::from_static(length));
        }
        held(StatusCode::from_u16(status).unwrap(), &headers)
    }

    #[test]
    fn only_a_status_of_200_with_a_length_says_what_the_partner_has() {
        assert_eq!(of(200, &["65982464"]), Held::Bytes(65_982_464));
        assert_eq!(of(200, &["0"]), Held::Bytes(0));
        for (status, lengths) in [
            (200, &["-1"][..]),
            (200, &["+1"]),
            (200, &["99999999999999999999999"]),
            (200, &["5", "6"]),
            (204, &["5"]),
            (206, &["5"]),
            (302, &["5"]),
            (401, &["5"]),
            (405, &["5"]),
            (500, &["5"]),
        ] {
            assert!(matches!(of(status, lengths), Held::NotSaid(_)), "{status} {lengths:?}");
        }
        // Only these may come of a server that tells transfer ids apart.
        for (status, lengths) in [(200, &[][..]), (404, &["5"]), (410, &[])] {
            assert!(matches!(of(status, lengths), Held::Unknown(_)), "{status} {lengths:?}");
        }
        for status in [429, 502, 503, 504] {
            assert!(matches!(of(status, &["5"]), Held::NotNow(_)), "{status}");
        }
    }

    #[test]
    fn a_416_says_what_the_partner_has() {
        for (range, expected) in [
            ("bytes */233333", Some(233_333)),
            ("Bytes  */ 0", Some(0)),
            ("bytes 0-9/233333", None),
            ("bytes */*", None),
            ("bytes */-1", None),
            ("bytes */99999999999999999999999", None),
            ("lines */7", None),
            ("", None),
        ] {
            assert_eq!(unsatisfied(range.as_bytes()), expected, "{range}");
        }
    }
}
