//! The login that a listener asks of its partners: basic authentication (RFC 7617), by one credential for all of them.

use super::Receiver;
use crate::reject::EarlyRejection;
use crate::streaming::Arriving;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{AUTHORIZATION, EXPECT, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use model::definition::Credential;
use model::{Error, ErrorKind, Result};
use net::http::{Body, PeerInfo, Standby};

/// What is asked for.
const ASKED: &str = "Basic realm=\"AS2\", charset=\"UTF-8\"";

impl Receiver {
    /// Whether a request lacks the login that is asked for.
    ///
    /// # Errors
    /// `ConfigInvalid`: the credential is not defined any more.
    pub(super) fn lacks_login(&self, headers: &HeaderMap) -> Result<bool> {
        let Some(name) = &self.credential else { return Ok(false) };
        let definitions = self.services.directory.definitions();
        let credential = definitions.credentials.get(name).ok_or_else(|| {
            Error::permanent(ErrorKind::ConfigInvalid, "ask a partner for a login")
                .with("listener", &self.listener)
                .with("credential", name)
                .advice("define the credential, or take it from the listener")
        })?;
        Ok(!is_login(headers, credential))
    }

    /// Refuses a request without the login, and says what is asked for.
    pub(super) async fn ask_login(&self, request: Request<Body>, peer: &PeerInfo) -> Result<Response<Body>> {
        let (parts, body) = request.into_parts();
        let standby = parts.extensions.get::<Standby>().cloned();
        let arriving = Arriving::new(body, parts.headers.contains_key(EXPECT)).beside(standby);
        let reason = match parts.headers.contains_key(AUTHORIZATION) {
            true => "The user name or password is wrong.",
            false => "This system asks for a user name and password (basic authentication).",
        };
        let early = EarlyRejection::new(StatusCode::UNAUTHORIZED, reason.to_owned());
        let mut answer = self.reject_early(None, early, arriving, peer).await?;
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(ASKED));
        Ok(answer)
    }
}

/// Whether a request logs in by this credential.
fn is_login(headers: &HeaderMap, credential: &Credential) -> bool {
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let given = match given.trim().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("basic") => BASE64.decode(token.trim()),
        _ => return false,
    };
    let expected = format!("{}:{}", credential.username, credential.password.reveal());
    // Digests of one length: the time says nothing of where they differ.
    let digest = |bytes: &[u8]| openssl::sha::sha256(bytes);
    given.is_ok_and(|given| openssl::memcmp::eq(&digest(&given), &digest(expected.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Secret;

    #[test]
    fn the_credential_and_nothing_else_logs_in() {
        let credential = Credential {
            name: "gisb".into(),
            username: "acme".into(),
            password: Secret::new("pass:word".to_owned()),
        };
        let with = |value: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(AUTHORIZATION, value.parse().unwrap());
            }
            is_login(&headers, &credential)
        };
        let basic = |scheme: &str, text: &str| format!("{scheme} {}", BASE64.encode(text));
        assert!(
            with(Some(&basic("Basic", "acme:pass:word"))) && with(Some(&basic("basic", "acme:pass:word")))
        );
        for wrong in [
            basic("Basic", "acme:other"),
            basic("Basic", "acme"),
            basic("Bearer", "acme:pass:word"),
            "Basic ***".into(),
            "acme:pass:word".into(),
        ] {
            assert!(!with(Some(&wrong)), "{wrong}");
        }
        assert!(!with(None));
    }
}
