//! The login at a partner's server that asks for one (RFC 9110, section 11): options, checks, and errors. `logged_in` uses it.

use crate::readable::readable;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, Request, Response, StatusCode};
use model::definition::{Definitions, Endpoint};
use model::schema::{Findings, Values};
use model::{Error, ErrorKind, PeerText, Result};
use net::http::{Body, ConnectionInfo, LoginMethod, ResolvedLogin, ServerLogin};
use std::sync::Arc;
use transport::Services;

/// Bytes of a refusal's text that are read.
const MOST_TEXT: usize = 64 * 1024;

/// How an endpoint logs in.
fn method(options: &Values) -> LoginMethod {
    match options.text("authentication") {
        _ if options.text("credential").is_none() => LoginMethod::None,
        Some("basic") => LoginMethod::Basic,
        Some("digest") => LoginMethod::Digest,
        _ => LoginMethod::WhenAsked,
    }
}

/// What an endpoint says of its login.
pub(crate) fn check(endpoint: &Endpoint, definitions: &Definitions, findings: &mut Findings<'_>) {
    let options = &endpoint.options;
    let method = method(options);
    let Some(name) = options.text("credential") else { return };
    if options.bool("chunked") && method != LoginMethod::Basic {
        let message = "cannot be used with a login that the server asks for first: a chunked message that it refuses \
            has to be cut off in the middle; set chunked = false, or authentication = \"basic\"";
        findings.error("chunked", message);
    }
    let user = definitions.credentials.get(name).map(|credential| credential.username.as_str());
    if method != LoginMethod::Digest && user.is_some_and(|user| user.contains(':')) {
        let message = format!(
            "credential '{name}' has a user name with ':', which basic authentication cannot send (RFC 7617); set \
            authentication = \"digest\" if the partner's server offers it"
        );
        findings.error("credential", message);
    }
    let is_plain = endpoint.url().is_some_and(|url| url.scheme() == "http");
    if is_plain && method != LoginMethod::Digest {
        let message = "the URL is http://, so that anyone on the way can read the password, or ask for it in the \
            partner's place: use https://, or authentication = \"digest\"";
        findings.warning("credential", message);
    }
}

/// The login of an endpoint, its credential looked up.
pub(crate) struct Login {
    resolved: ResolvedLogin,
    /// The credential's name.
    credential: String,
    /// What the server asked for last.
    server: Arc<ServerLogin>,
    services: Services,
}

impl Login {
    /// The login of an endpoint, if it has one; `server` gives what its server asked for last.
    ///
    /// # Errors
    /// `ConfigInvalid`: the credential is not defined. Those of `server`.
    pub(crate) fn of(
        endpoint: &Endpoint,
        services: &Services,
        server: impl FnOnce(&Definitions) -> Result<Arc<ServerLogin>>,
    ) -> Result<Option<Self>> {
        let Some(name) = endpoint.options.text("credential") else { return Ok(None) };
        let definitions = services.directory.definitions();
        let credential = definitions.credentials.get(name).ok_or_else(|| {
            Error::permanent(ErrorKind::ConfigInvalid, "log in with the endpoint's credential")
                .with("endpoint", &endpoint.name)
                .with("credential", name)
                .advice("define it, or correct the name")
        })?;
        let resolved = ResolvedLogin {
            method: method(&endpoint.options),
            username: credential.username.clone(),
            secret: credential.password.clone(),
        };
        let server = server(&definitions)?;
        Ok(Some(Self { resolved, credential: name.to_owned(), server, services: services.clone() }))
    }

    /// Notes that the server answered without asking for a login.
    pub(crate) fn asked_nothing(&self) {
        self.server.asked_nothing();
    }

    /// Notes that it is not known any more what the server asks for.
    pub(crate) fn forget(&self) {
        self.server.forget();
    }

    /// Whether the next request carries the password itself.
    pub(crate) fn carries_password(&self) -> bool {
        self.server.carries_password(self.resolved.method)
    }

    /// Adds the `Authorization` header, if there is one to add.
    pub(crate) fn authorize(&self, request: &mut Request<Body>) {
        self.server.authorize(&self.resolved, request, |bytes| self.services.random.fill(bytes));
    }

    /// Takes what an answer asks for: true if the same request, made again, answers it.
    pub(crate) fn take(&self, answer: &Response<Body>) -> bool {
        let is_asking = answer.status() == StatusCode::UNAUTHORIZED;
        is_asking && self.server.take(self.resolved.method, answer.headers())
    }

    /// Whether the server may answer the next request with a challenge.
    pub(crate) fn may_be_challenged(&self) -> bool {
        self.server.may_be_challenged(self.resolved.method)
    }

    /// The error of an answer with status 401 to a request with this login, or of one that asks for another login.
    pub(crate) async fn refused(&self, endpoint: &str, answer: Response<Body>, was_sent: bool) -> Error {
        let (head, body) = answer.into_parts();
        let asked_for = asked_for(&head.headers);
        let advice = self.advice(&asked_for.to_ascii_lowercase(), was_sent);
        let connection = head.extensions.get::<ConnectionInfo>().map(|info| info.id);
        let said = body.collect(MOST_TEXT).await.unwrap_or_default();
        Error::permanent(ErrorKind::Unauthenticated, "log in at the partner's server")
            .with("endpoint", endpoint)
            .with("credential", &self.credential)
            .with("status", head.status)
            .with("the server asks for", PeerText::from(asked_for.as_str()))
            .said(readable(&said))
            .advice(advice)
            .on_connection(connection)
    }

    fn advice(&self, asked_for: &str, was_sent: bool) -> &'static str {
        match self.resolved.method {
            LoginMethod::Basic if asked_for.contains("digest") && !asked_for.contains("basic") => {
                "the server takes digest logins only: leave out 'authentication', or set it to \"digest\""
            }
            LoginMethod::Digest if !was_sent && asked_for.contains("basic") => {
                "the server takes basic logins, which authentication = \"digest\" does not allow: leave out \
                'authentication' if user name and password may be sent to it"
            }
            _ if was_sent => {
                "the server refused this user name and password: check both with the partner, and whether the account may \
                post messages to the path in the endpoint's url"
            }
            _ => {
                "Waybill can log in by basic and digest: ask the partner for one of them, or for another way, such as a \
                client certificate (tls.client_key)"
            }
        }
    }
}

/// The schemes of an answer's challenges, as the server wrote them.
fn asked_for(headers: &HeaderMap) -> String {
    let values = headers.get_all(WWW_AUTHENTICATE).iter();
    let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
    if values.is_empty() { "nothing (no WWW-Authenticate)".to_owned() } else { values.join(", ") }
}

/// Reads an answer that says nothing more, so that its connection can be used again.
pub(crate) async fn pass_over(answer: Response<Body>) {
    if let Err(error) = answer.into_body().collect(MOST_TEXT).await {
        tracing::debug!(error = %error.chain(), "the text of a 401 could not be read");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_the_server_asks_for_is_told_as_it_wrote_it() {
        let mut headers = HeaderMap::new();
        assert_eq!(asked_for(&headers), "nothing (no WWW-Authenticate)");
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Negotiate"));
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("NTLM"));
        assert_eq!(asked_for(&headers), "Negotiate, NTLM");
    }
}
