//! What answers at an endpoint's address, and whether it looks like AS2.

use crate::destination::As2Destination;
use crate::login::{Login, pass_over};
use crate::readable::readable;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, LOCATION, SERVER, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use model::{Error, ErrorKind, PeerText, Purpose, Result};
use net::http::{Body, RequestMeta};
use std::time::Duration;

/// Bytes of the answer that are read.
const MOST: usize = 256 * 1024;
const TIME: Duration = Duration::from_secs(30);

/// What an answer tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ProbeAnswer {
    /// An AS2 system answered.
    As2,
    /// Something that no AS2 system answers.
    Other(&'static str),
    /// It could be either.
    Open,
}

impl As2Destination {
    /// Asks for the address by GET, which AS2 systems refuse each in its way; where that leaves it open, by
    /// an empty POST, which is no AS2 message as it names nobody.
    ///
    /// # Errors
    /// No HTTP answer came, or it does not look like AS2.
    pub(crate) async fn ask(&self) -> Result<String> {
        let (got, words) = self.answer_to(Method::GET).await?;
        match got {
            ProbeAnswer::As2 => return Ok(format!("{words}: the server seems to speak AS2")),
            ProbeAnswer::Other(advice) if [LOGIN, LOGIN_REFUSED].contains(&advice) => {
                return Err(not_as2(&words, advice));
            }
            _ => {}
        }
        let (posted, more) = self.answer_to(Method::POST).await?;
        let words = format!("{words}; {more}");
        match (posted, got) {
            (ProbeAnswer::As2, _) => Ok(format!("{words}: the server seems to speak AS2")),
            (ProbeAnswer::Other(advice), _) => Err(not_as2(&words, advice)),
            (ProbeAnswer::Open, _) => Ok(format!(
                "{words}: the server may speak AS2, because it rejects what is not a message; only a real \
                message can show it"
            )),
        }
    }

    async fn answer_to(&self, method: Method) -> Result<(ProbeAnswer, String)> {
        let login = self.login(Purpose::Test)?;
        let meta = RequestMeta {
            idle_timeout: TIME,
            answer_timeout: TIME,
            whole_timeout: Some(TIME),
            ..RequestMeta::default()
        };
        let client = self.net.http_client(&self.profile(Purpose::Test)?);
        let mut answer = client.request(self.probe_request(&method, login.as_ref())?, &meta).await?;
        if login.as_ref().is_some_and(|login| login.take(&answer)) {
            pass_over(answer).await;
            answer = client.request(self.probe_request(&method, login.as_ref())?, &meta).await?;
        }
        let (head, body) = answer.into_parts();
        // What a page has beyond that says nothing more.
        let body = body.collect(MOST).await.unwrap_or_default();
        let answer = Response::from_parts(head, body);
        let found = match look(&method, &answer) {
            ProbeAnswer::Other(LOGIN) if login.is_some() => ProbeAnswer::Other(LOGIN_REFUSED),
            found => found,
        };
        Ok((found, describe(&method, &answer)))
    }

    fn probe_request(&self, method: &Method, login: Option<&Login>) -> Result<Request<Body>> {
        let body = if method == Method::POST { Body::bytes(Bytes::new()) } else { Body::empty() };
        let request = Request::builder()
            .method(method.clone())
            .uri(self.url()?.as_str())
            .header("User-Agent", "Waybill endpoint test")
            .body(body);
        let mut request = request.map_err(|error| {
            Error::permanent(ErrorKind::ConfigInvalid, "ask for the url").caused_by(error)
        })?;
        if let Some(login) = login {
            login.authorize(&mut request);
        }
        Ok(request)
    }
}

const LOGIN: &str = "the server asks for a login: set 'credential' of the endpoint to a user name and password that the partner gave you";
const LOGIN_REFUSED: &str = "the server refuses the endpoint's login: check user name and password of its credential, and \
    'authentication', with the partner";

fn not_as2(words: &str, advice: &'static str) -> Error {
    Error::permanent(ErrorKind::Protocol, "find an AS2 system at the url")
        .with("answer", words)
        .advice(advice)
}

fn text<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Judges an answer.
fn look(method: &Method, answer: &Response<Bytes>) -> ProbeAnswer {
    let headers = answer.headers();
    let speaks = headers.keys().any(|name| name.as_str().starts_with("as2-") || name == "ediint-features");
    let words =
        format!("{} {}", text(headers, &SERVER).unwrap_or_default(), String::from_utf8_lossy(answer.body()))
            .to_ascii_lowercase();
    let mentions = words
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| matches!(word, "as2" | "ediint" | "openas2" | "mdn" | "mendelson" | "pyas2"));
    let post_only = answer.status() == StatusCode::METHOD_NOT_ALLOWED
        && text(headers, &ALLOW).is_some_and(|allow| {
            let allowed = allow.to_ascii_uppercase();
            allowed.contains("POST") && !allowed.contains("GET")
        });
    if speaks || mentions || post_only {
        return ProbeAnswer::As2;
    }
    match answer.status().as_u16() {
        401 | 407 => ProbeAnswer::Other(LOGIN),
        200..=299 => ProbeAnswer::Other(
            "a web server answered, but nothing in its answer shows AS2; check the url's port and path with \
            the partner",
        ),
        300..=399 => {
            ProbeAnswer::Other("the server redirects to another address; ask the partner for the right URL")
        }
        404 | 410 => {
            ProbeAnswer::Other("the server has nothing at this path; check the url's path with the partner")
        }
        405 if *method == Method::POST => {
            ProbeAnswer::Other("this path does not accept POST; check the url's path with the partner")
        }
        501 if *method == Method::POST => ProbeAnswer::Other(
            "this server does not accept POST at all; check the url's port with the partner",
        ),
        502..=504 => {
            ProbeAnswer::Other("a proxy answered, but the server behind it did not; ask the partner")
        }
        _ => ProbeAnswer::Open,
    }
}

/// Who answered what.
fn describe(method: &Method, answer: &Response<Bytes>) -> String {
    let headers = answer.headers();
    let mut words = format!("{method} was answered with {}", answer.status());
    for (name, header) in [
        ("server", &SERVER),
        ("type", &CONTENT_TYPE),
        ("allows", &ALLOW),
        ("to", &LOCATION),
        ("login", &WWW_AUTHENTICATE),
    ] {
        if let Some(value) = text(headers, header) {
            words.push_str(&format!(", {name} {}", PeerText::from(value)));
        }
    }
    let said: String = readable(answer.body()).chars().take(120).collect();
    if !said.is_empty() {
        words.push_str(&format!(", \"{}\"", PeerText::from(said.as_str())));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_tell_whether_they_are_as2() {
        let answer = |status: u16, headers: &[(&str, &str)], body: &str| {
            let mut answer = Response::builder().status(status);
            for (name, value) in headers {
                answer = answer.header(*name, *value);
            }
            answer.body(Bytes::copy_from_slice(body.as_bytes())).unwrap()
        };
        for (method, answer, as2) in [
            ("GET", answer(405, &[("Allow", "POST")], ""), Some(true)),
            ("GET", answer(405, &[("Allow", "GET, POST")], ""), None),
            ("GET", answer(200, &[("Server", "mendelson opensource AS2 1.1")], "<html></html>"), Some(true)),
            (
                "GET",
                answer(404, &[], "{\"error\": \"POST messages to /as2; GET and POST /control\"}"),
                Some(true),
            ),
            ("GET", answer(200, &[("AS2-Version", "1.1")], ""), Some(true)),
            ("GET", answer(200, &[], "<h1>Welcome to nginx!</h1>"), Some(false)),
            ("GET", answer(404, &[("Server", "nginx")], "not found"), Some(false)),
            ("GET", answer(401, &[("WWW-Authenticate", "Basic")], ""), Some(false)),
            ("GET", answer(302, &[("Location", "/login")], ""), Some(false)),
            ("GET", answer(400, &[], "bad request"), None),
            ("GET", answer(500, &[], ""), None),
            ("POST", answer(405, &[], ""), Some(false)),
            ("POST", answer(501, &[], "Unsupported method ('POST')"), Some(false)),
            ("POST", answer(400, &[], "the header AS2-From is missing"), Some(true)),
            ("POST", answer(500, &[], ""), None),
        ] {
            let method: Method = method.parse().unwrap();
            let found = match look(&method, &answer) {
                ProbeAnswer::As2 => Some(true),
                ProbeAnswer::Other(_) => Some(false),
                ProbeAnswer::Open => None,
            };
            assert_eq!(found, as2, "{}", describe(&method, &answer));
        }
    }
}
