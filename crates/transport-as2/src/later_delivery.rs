//! Sends a receipt of ours later, to the URL that its message named. The bytes were made with the message's record and are the
//! same in each attempt; a partner that gets them twice has the same receipt twice. So nothing is noted.

use crate::agreement::Partner;
use crate::answer_body;
use crate::destination::As2Destination;
use crate::login::{Login, pass_over};
use crate::mdn::LARGEST_MDN;
use crate::readable::readable;
use crate::receipt_target::{read_url, target};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use model::definition::{Definitions, Endpoint, EndpointUrl};
use model::{ConnectionId, Error, ErrorKind, Purpose, Receipt, ReceiptKind, Result, Retry};
use net::http::{Body, ConnectionInfo, RequestMeta};
use serde_json::Map;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use transport::{Deliver, Destination, Payload, Probe, Sent};

/// Largest receipt that is sent, in bytes: the MDN and its header fields.
const LARGEST: u64 = 2 * LARGEST_MDN as u64;

/// Where a receipt is sent later.
pub(crate) struct ReceiptDestination {
    /// An endpoint of the partner, at the URL of the message. It has the endpoint's login at the endpoint's own server, and
    /// nowhere else.
    sender: As2Destination,
}

impl ReceiptDestination {
    /// The destination at this URL, over the connection settings of this endpoint. What the definitions allow is
    /// checked again: they may have changed since the message came.
    ///
    /// # Errors
    /// `PermissionDenied`: receipts may not be sent to this URL. `ConfigInvalid`: the endpoint has no partner any more.
    pub(crate) fn new(
        endpoint: &Arc<Endpoint>,
        url: &str,
        definitions: &Definitions,
        sender: impl FnOnce(Arc<Endpoint>) -> As2Destination,
    ) -> Result<Self> {
        let failed = |kind, reason: String| {
            Error::permanent(kind, "send a receipt to the URL that its message named")
                .with("endpoint", &endpoint.name)
                .advice(reason)
        };
        let name = endpoint.partner().ok_or_else(|| {
            failed(
                ErrorKind::ConfigInvalid,
                "the endpoint has no 'partner' any more; give it one, then retry".into(),
            )
        })?;
        let partner = Partner::of(definitions.partner(name)?)?;
        let denied = |reason| failed(ErrorKind::PermissionDenied, reason);
        let url = read_url(url).map_err(|unreadable| denied(unreadable.reason))?;
        target(definitions, &partner, &url).map_err(denied)?;
        let options = match endpoint.is_at_server_of(url.as_str()) {
            true => endpoint.options.clone(),
            false => endpoint.options.clone().without("credential"),
        };
        let urls = vec![EndpointUrl { url, weight: 1 }];
        Ok(Self { sender: sender(Arc::new(Endpoint { urls, options, ..Endpoint::clone(endpoint) })) })
    }

    fn shown(&self) -> String {
        self.sender.endpoint.urls.first().map(EndpointUrl::shown).unwrap_or_default()
    }

    /// Posts the receipt; a server that asks for a login gets it once more, with the endpoint's.
    async fn post_logged_in(
        &self,
        entity: (&Fields, &Bytes),
        meta: &RequestMeta,
        login: Option<&Login>,
    ) -> Result<Response<Body>> {
        let Some(login) = login else { return self.post(entity, meta, None).await };
        let carried_password = login.carries_password();
        let answer = self.post(entity, meta, Some(login)).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            if answer.status().is_success() {
                login.asked_nothing();
            }
            return Ok(answer);
        }
        let endpoint = &self.sender.endpoint.name;
        if carried_password {
            // The same password would be refused again, and some servers count that. The next attempt asks anew.
            login.forget();
            return Err(login.refused(endpoint, answer, true).await);
        }
        if !login.take(&answer) {
            return Err(login.refused(endpoint, answer, false).await);
        }
        pass_over(answer).await;
        let answer = self.post(entity, meta, Some(login)).await?;
        match answer.status() {
            StatusCode::UNAUTHORIZED => Err(login.refused(endpoint, answer, true).await),
            _ => Ok(answer),
        }
    }

    async fn post(
        &self,
        (fields, body): (&Fields, &Bytes),
        meta: &RequestMeta,
        login: Option<&Login>,
    ) -> Result<Response<Body>> {
        let mut request = Request::post(self.sender.url()?.as_str());
        for (name, value) in fields {
            request = request.header(name.as_str(), value.as_slice());
        }
        let mut request = request.body(Body::bytes(body.clone())).map_err(|error| {
            Error::permanent(ErrorKind::Internal, "write the headers of a receipt").caused_by(error)
        })?;
        if let Some(login) = login {
            login.authorize(&mut request);
        }
        let client = self.sender.net.http_client(&self.sender.profile(Purpose::Deliver)?);
        client.request(request, meta).await
    }

    /// The error for an answer that is no success. Sending it again does no harm, so nothing is ambiguous.
    fn refused(&self, status: StatusCode, body: &[u8], connection: Option<ConnectionId>) -> Error {
        let ask = "ask the partner why its server does not take receipts at the URL that its message named; then retry";
        let wait = "the partner's server was not ready for the receipt; if this continues, ask the partner";
        let (kind, retry, advice) = match status.as_u16() {
            300..=399 => (ErrorKind::ConfigInvalid, Retry::Permanent, ask),
            401 => (
                ErrorKind::Unauthenticated,
                Retry::Permanent,
                "the partner's server asks for a login: set one at the partner's endpoint, or ask the partner for a URL without",
            ),
            403 => (ErrorKind::PermissionDenied, Retry::Permanent, ask),
            404 | 410 => (ErrorKind::NotFound, Retry::Permanent, ask),
            408 | 425 => (ErrorKind::Timeout, Retry::Transient, wait),
            421 => (ErrorKind::Unreachable, Retry::Transient, wait),
            429 => (ErrorKind::Throttled, Retry::Transient, wait),
            501 | 505 => (ErrorKind::Unsupported, Retry::Permanent, ask),
            500.. => (ErrorKind::Unreachable, Retry::Transient, wait),
            _ => (ErrorKind::Rejected, Retry::Permanent, ask),
        };
        Error::new(kind, retry, "send a receipt later")
            .with("url", self.shown())
            .with("status", status)
            .said(readable(body))
            .advice(advice)
            .on_connection(connection)
    }
}

#[async_trait]
impl Destination for ReceiptDestination {
    async fn deliver(&self, delivery: Deliver) -> Result<Sent> {
        let sender = &self.sender;
        let room = usize::try_from(delivery.payload.length().min(LARGEST)).unwrap_or_default();
        let _room = sender.services.budget.take(room + delivery.payload.reader_buffers()).await;
        let (fields, body) = entity(&*delivery.payload).await?;
        let meta = RequestMeta {
            flow: Some(delivery.flow.clone()),
            delivery: Some(delivery.claim.delivery),
            idle_timeout: sender.connecting()?.timeout,
            answer_timeout: sender.answer_timeout(),
            whole_timeout: None,
        };
        let login = sender.login(Purpose::Deliver)?;
        delivery.log.may_act()?;
        let answer = self.post_logged_in((&fields, &body), &meta, login.as_ref()).await?;
        let (head, body) = answer.into_parts();
        let connection = head.extensions.get::<ConnectionInfo>().map(|info| info.id);
        let body = answer_body::read(&head, body, false).await?;
        if !head.status.is_success() {
            return Err(self.refused(head.status, &body, connection));
        }
        let mut detail = Map::new();
        detail.insert("url".into(), self.shown().into());
        detail.insert("status".into(), head.status.as_u16().into());
        let receipt = Receipt {
            kind: ReceiptKind::HttpStatus,
            at: sender.services.clock.now(),
            positive: true,
            summary: head.status.to_string(),
            connection,
            mdn: None,
            detail,
        };
        Ok(Sent::Delivered { receipt, replies: Vec::new() })
    }

    async fn probe(&self) -> Probe {
        self.sender.probe().await
    }
}

type Fields = Vec<(String, Vec<u8>)>;

/// The header fields and the body of a receipt that was staged as one entity.
async fn entity(payload: &dyn Payload) -> Result<(Fields, Bytes)> {
    let unreadable =
        || Error::permanent(ErrorKind::Internal, "read a staged receipt").with("bytes", payload.length());
    if payload.length() > LARGEST {
        return Err(unreadable());
    }
    let mut bytes = Vec::new();
    let mut reader = payload.open(0..payload.length()).await?;
    reader.read_to_end(&mut bytes).await.map_err(|error| Error::local_io("read a staged receipt", error))?;
    let (head, body) = split(&bytes).ok_or_else(unreadable)?;
    let fields = fields(head).ok_or_else(unreadable)?;
    Ok((fields, Bytes::copy_from_slice(body)))
}

/// The two sides of the first empty line.
fn split(entity: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = entity.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((&entity[..at], &entity[at + 4..]))
}

/// The fields of a head that we wrote: one on each line.
fn fields(head: &[u8]) -> Option<Fields> {
    let head = std::str::from_utf8(head).ok()?;
    let field = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_owned(), value.as_bytes().to_vec()))
    };
    head.split("\r\n").map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_is_taken_apart_as_it_was_put_together() {
        let (head, body) =
            split(b"AS2-To: A: B\r\nContent-Type: multipart/report\r\n\r\n--x\r\n\r\n--x--").unwrap();
        assert_eq!(body, b"--x\r\n\r\n--x--");
        let field = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        let expected = vec![field("AS2-To", "A: B"), field("Content-Type", "multipart/report")];
        assert_eq!(fields(head), Some(expected));
        assert_eq!(split(b"no head"), None);
        assert_eq!(fields(b"no field"), None);
    }
}
