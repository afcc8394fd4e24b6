//! A message that is sent again with a login, where the partner's server asks for one.
//!
//! The body of a message is a stream that is made while it is sent. After a 401 it is made anew, and is the same to the last
//! byte. Large messages are not sent in vain: an empty request asks the server first.

use crate::destination::{As2Destination, Sending, SentMessage};
use crate::login::{Login, pass_over};
use bytes::Bytes;
use http::header::USER_AGENT;
use http::{Request, Response, StatusCode};
use model::{Error, ErrorKind, Purpose, Result, Retry};
use net::http::{Body, RequestMeta};
use transport::Deliver;
use url::Url;

/// The largest payload, in bytes, that is sent without asking first whether the server wants a login.
const SENT_WITHOUT_ASKING: u64 = 256 * 1024;

impl As2Destination {
    /// The endpoint's login, if it has one.
    ///
    /// # Errors
    /// `ConfigInvalid`: the credential is not defined.
    pub(crate) fn login(&self, purpose: Purpose) -> Result<Option<Login>> {
        Login::of(&self.endpoint, &self.services, |definitions| self.server_login(definitions, purpose))
    }

    /// Sends a message, logged in where the server asks for it: a 401 is answered once, with the identical message.
    ///
    /// # Errors
    /// As [`As2Destination::send`]; `Unauthenticated`, permanent: the server refuses the login, or wants another one.
    pub(crate) async fn send_logged_in(
        &self,
        delivery: &Deliver,
        what: Sending<'_>,
        url: &Url,
    ) -> Result<(Response<Body>, SentMessage)> {
        let Some(login) = self.login(Purpose::Deliver)? else {
            return self.send(delivery, what, url, None).await;
        };
        if login.may_be_challenged() && delivery.payload.length() > SENT_WITHOUT_ASKING {
            self.ask_for_challenge(&login, url).await?;
        }
        let carried_password = login.carries_password();
        // A message that broke off may have been refused for want of a login: the next one asks first.
        let sending = self.send(delivery, what, url, Some(&login)).await;
        let (answer, sent) = sending.inspect_err(|_| login.forget())?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            if answer.status().is_success() {
                login.asked_nothing();
            }
            return Ok((answer, sent));
        }
        if carried_password {
            // The same password would be refused again, and some servers count that. The next message asks anew.
            login.forget();
            return Err(login.refused(&self.endpoint.name, answer, true).await);
        }
        if !login.take(&answer) {
            return Err(login.refused(&self.endpoint.name, answer, false).await);
        }
        pass_over(answer).await;
        let (answer, sent) = self.send(delivery, what, url, Some(&login)).await?;
        match answer.status() {
            StatusCode::UNAUTHORIZED => Err(login.refused(&self.endpoint.name, answer, true).await),
            _ => Ok((answer, sent)),
        }
    }

    /// Asks by an empty request, which is no AS2 message, what login the server wants. A server refuses a message as soon
    /// as it has read its head; some close the connection then, so that a large one would break off before the 401 is read.
    async fn ask_for_challenge(&self, login: &Login, url: &Url) -> Result<()> {
        let request =
            Request::post(url.as_str()).header(USER_AGENT, "Waybill").body(Body::bytes(Bytes::new()));
        let request = request.map_err(|error| {
            Error::permanent(ErrorKind::ConfigInvalid, "ask what login the server wants").caused_by(error)
        })?;
        let timeout = self.connecting()?.timeout;
        let meta = RequestMeta { idle_timeout: timeout, answer_timeout: timeout, ..RequestMeta::default() };
        let client = self.net.http_client(&self.profile(Purpose::Deliver)?);
        let answer = client.request(request, &meta).await.map_err(|error| match error.retry() {
            // No message was sent.
            Retry::Ambiguous => error.retry_as(Retry::Transient),
            _ => error,
        })?;
        if login.take(&answer) {
            pass_over(answer).await;
        } else if answer.status() == StatusCode::UNAUTHORIZED {
            return Err(login.refused(&self.endpoint.name, answer, false).await);
        } else {
            // Only a server that takes it needs no login: others may not have looked for one.
            if answer.status().is_success() {
                login.asked_nothing();
            }
            pass_over(answer).await;
        }
        Ok(())
    }
}
