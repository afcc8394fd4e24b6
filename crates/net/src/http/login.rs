//! The login of requests at a server: basic (RFC 7617), bearer (RFC 6750) and digest (RFC 7616).
//!
//! A transport over HTTP keeps one [`ServerLogin`] for each server and account. It holds what the server asked for last
//! (its challenge): a digest is computed from that, and [`LoginMethod::WhenAsked`] sends nothing before it.

use crate::Shareable;
use crate::connection::lock;
use ::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use ::http::{HeaderMap, HeaderValue, Request};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use digest_auth::{AuthContext, HttpMethod, WwwAuthenticateHeader};
use model::Secret;
use std::borrow::Cow;
use std::sync::Mutex;
use std::time::Duration;

/// How to log in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoginMethod {
    /// No `Authorization` header; perhaps a client certificate.
    None,
    /// User name and password with every request.
    Basic,
    /// A digest of user name, password and what the server asked for. The password is never sent.
    Digest,
    /// A token with every request.
    Bearer,
    /// Nothing until the server asks; then digest, or basic where the server takes no digest.
    WhenAsked,
}

/// How and as whom to log in.
#[derive(Clone, Debug)]
pub struct ResolvedLogin {
    /// How.
    pub method: LoginMethod,
    /// The user; empty for a token.
    pub username: String,
    /// The password, or the token.
    pub secret: Secret<String>,
}

/// What a server asked for last.
#[derive(Default)]
enum Asked {
    /// It was not asked yet.
    #[default]
    Unknown,
    /// It answered without asking for a login.
    Nothing,
    Basic,
    /// Each answer to it counts.
    Digest(Box<WwwAuthenticateHeader>),
}

/// What a server asked for is forgotten when nobody logged in there for so long.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);

/// The login of one account at one server.
#[derive(Default)]
pub struct ServerLogin(Mutex<Asked>);

impl Shareable for ServerLogin {
    fn is_kept(&self, unused_for: Duration) -> bool {
        unused_for < FORGOTTEN_AFTER
    }
}

impl ServerLogin {
    /// Takes what an answer with status 401 asks for. True if this login can answer it, so that the same request, made
    /// again, carries another `Authorization` header.
    #[must_use]
    pub fn take(&self, method: LoginMethod, headers: &HeaderMap) -> bool {
        let challenges = || headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let asked = match method {
            LoginMethod::Digest | LoginMethod::WhenAsked => {
                let digest = strongest(challenges().filter_map(digest));
                digest.map(|header| Asked::Digest(Box::new(header)))
            }
            LoginMethod::None | LoginMethod::Basic | LoginMethod::Bearer => None,
        };
        let basic = || method == LoginMethod::WhenAsked && challenges().any(asks_for_basic);
        let Some(asked) = asked.or_else(|| basic().then_some(Asked::Basic)) else { return false };
        *lock(&self.0) = asked;
        true
    }

    /// Notes that a server answered a request without a login.
    pub fn asked_nothing(&self) {
        let mut asked = lock(&self.0);
        if matches!(*asked, Asked::Unknown) {
            *asked = Asked::Nothing;
        }
    }

    /// Notes that a request broke off or was refused: the server may ask for something else now. A digest is kept, as it is
    /// asked for anew where it is out of date.
    pub fn forget(&self) {
        let mut asked = lock(&self.0);
        if matches!(*asked, Asked::Nothing | Asked::Basic) {
            *asked = Asked::Unknown;
        }
    }

    /// Whether the next request carries the password itself.
    #[must_use]
    pub fn carries_password(&self, method: LoginMethod) -> bool {
        match method {
            LoginMethod::Basic => true,
            LoginMethod::WhenAsked => matches!(*lock(&self.0), Asked::Basic),
            LoginMethod::None | LoginMethod::Bearer | LoginMethod::Digest => false,
        }
    }

    /// Whether a server may answer the next request with a challenge: it was not asked yet, or what it asked for may have
    /// expired (RFC 7616, section 3.3).
    #[must_use]
    pub fn may_be_challenged(&self, method: LoginMethod) -> bool {
        match method {
            LoginMethod::None | LoginMethod::Basic | LoginMethod::Bearer => false,
            LoginMethod::Digest => true,
            LoginMethod::WhenAsked => matches!(*lock(&self.0), Asked::Unknown | Asked::Digest(_)),
        }
    }

    /// Adds the `Authorization` header to a request, if there is one to add. `fill` draws random bytes.
    pub fn authorize<B>(
        &self,
        login: &ResolvedLogin,
        request: &mut Request<B>,
        fill: impl FnOnce(&mut [u8]),
    ) {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let nonce = || {
            let mut bytes = [0_u8; 18];
            fill(&mut bytes);
            URL_SAFE_NO_PAD.encode(bytes)
        };
        if let Some(header) = self.header(login, request.method(), &target, nonce) {
            request.headers_mut().insert(AUTHORIZATION, header);
        }
    }

    /// The header of a request; `None` for no login, and before the server asked for one that is an answer.
    fn header(
        &self,
        login: &ResolvedLogin,
        method: &::http::Method,
        target: &str,
        nonce: impl FnOnce() -> String,
    ) -> Option<HeaderValue> {
        let secret = login.secret.reveal().as_str();
        let basic = || format!("Basic {}", STANDARD.encode(format!("{}:{secret}", login.username)));
        let text = match login.method {
            LoginMethod::None => return None,
            LoginMethod::Basic => basic(),
            LoginMethod::Bearer => format!("Bearer {secret}"),
            LoginMethod::Digest | LoginMethod::WhenAsked => match &mut *lock(&self.0) {
                Asked::Unknown | Asked::Nothing => return None,
                Asked::Basic => basic(),
                Asked::Digest(challenge) => {
                    let verb = HttpMethod(Cow::Owned(method.as_str().to_owned()));
                    let user = &login.username;
                    let mut context = AuthContext::new_with_method(user, secret, target, None::<&[u8]>, verb);
                    context.set_custom_cnonce(nonce());
                    challenge.respond(&context).ok()?.to_header_string()
                }
            },
        };
        let mut header = HeaderValue::from_str(&text).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

/// The challenge with the strongest algorithm that is known here; servers list several (RFC 7616, section 3.7).
fn strongest(challenges: impl Iterator<Item = WwwAuthenticateHeader>) -> Option<WwwAuthenticateHeader> {
    let is_strong = |header: &WwwAuthenticateHeader| format!("{}", header.algorithm).contains("SHA");
    let mut best: Option<WwwAuthenticateHeader> = None;
    for challenge in challenges {
        if best.as_ref().is_none_or(|best| is_strong(&challenge) && !is_strong(best)) {
            best = Some(challenge);
        }
    }
    best
}

/// The digest challenge of a header, which may hold other schemes before it.
fn digest(value: &str) -> Option<WwwAuthenticateHeader> {
    let at = value.to_ascii_lowercase().find("digest ")?;
    digest_auth::parse(&value[at..]).ok()
}

/// Whether a header, which may hold several schemes, asks for basic.
fn asks_for_basic(value: &str) -> bool {
    let scheme =
        |piece: &str| piece.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("basic"));
    value.split(',').any(scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(method: LoginMethod) -> ResolvedLogin {
        ResolvedLogin { method, username: "Mufasa".into(), secret: Secret::new("Circle of Life".to_owned()) }
    }

    fn header(server: &ServerLogin, method: LoginMethod) -> Option<String> {
        let nonce = || "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ".to_owned();
        let header = server.header(&login(method), &::http::Method::GET, "/dir/index.html", nonce)?;
        assert!(header.is_sensitive());
        Some(header.to_str().unwrap().to_owned())
    }

    fn asking(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    /// The example of RFC 7616, 3.9.1.
    fn challenge(algorithm: &str) -> String {
        format!(
            "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
             nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
             opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
        )
    }

    const BASIC: &str = "Basic TXVmYXNhOkNpcmNsZSBvZiBMaWZl";

    #[test]
    fn basic_and_bearer_need_no_challenge() {
        let server = ServerLogin::default();
        assert_eq!(header(&server, LoginMethod::None), None);
        assert_eq!(header(&server, LoginMethod::Digest), None);
        assert_eq!(header(&server, LoginMethod::WhenAsked), None);
        assert_eq!(header(&server, LoginMethod::Basic).unwrap(), BASIC);
        assert_eq!(header(&server, LoginMethod::Bearer).unwrap(), "Bearer Circle of Life");
        for method in [LoginMethod::None, LoginMethod::Basic, LoginMethod::Bearer] {
            assert!(!server.may_be_challenged(method), "{method:?}");
            assert!(!server.take(method, &asking(&[&challenge("MD5"), "Basic realm=\"x\""])), "{method:?}");
        }
    }

    #[test]
    fn digest_answers_the_strongest_challenge_and_counts() {
        let server = ServerLogin::default();
        assert!(!server.take(LoginMethod::Digest, &asking(&["Basic realm=\"x\""])));
        assert!(server.take(
            LoginMethod::Digest,
            &asking(&[&challenge("MD5"), &challenge("SHA-256"), "Basic realm=\"x\""])
        ));
        let first = header(&server, LoginMethod::Digest).unwrap();
        let expected = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";
        assert!(first.contains(expected) && first.contains("nc=00000001"), "{first}");
        assert!(header(&server, LoginMethod::Digest).unwrap().contains("nc=00000002"));
        assert!(!first.contains("Circle"));
        assert!(server.may_be_challenged(LoginMethod::Digest));
    }

    #[test]
    fn when_asked_gives_what_the_server_takes_and_a_digest_rather_than_the_password() {
        for (asked, expected) in [
            (vec!["Basic realm=\"x\""], Some(BASIC)),
            (vec!["BASIC"], Some(BASIC)),
            (vec!["Negotiate, Basic realm=\"x\""], Some(BASIC)),
            (vec!["Negotiate", "NTLM"], None),
            (vec!["Bearer realm=\"basic\""], None),
        ] {
            let server = ServerLogin::default();
            assert!(server.may_be_challenged(LoginMethod::WhenAsked));
            assert_eq!(server.take(LoginMethod::WhenAsked, &asking(&asked)), expected.is_some(), "{asked:?}");
            assert_eq!(header(&server, LoginMethod::WhenAsked).as_deref(), expected, "{asked:?}");
        }
        let server = ServerLogin::default();
        assert!(server.take(LoginMethod::WhenAsked, &asking(&["Basic realm=\"x\"", &challenge("SHA-256")])));
        assert!(header(&server, LoginMethod::WhenAsked).unwrap().starts_with("Digest "));
        assert!(server.may_be_challenged(LoginMethod::WhenAsked));
    }

    #[test]
    fn a_server_that_asks_for_nothing_is_not_asked_again_until_it_does() {
        let server = ServerLogin::default();
        server.asked_nothing();
        assert!(!server.may_be_challenged(LoginMethod::WhenAsked));
        assert!(server.take(LoginMethod::WhenAsked, &asking(&["Basic realm=\"x\""])));
        server.asked_nothing();
        assert_eq!(header(&server, LoginMethod::WhenAsked).as_deref(), Some(BASIC));
        assert!(!server.may_be_challenged(LoginMethod::WhenAsked));
        assert!(server.carries_password(LoginMethod::WhenAsked));
        server.forget();
        assert!(server.may_be_challenged(LoginMethod::WhenAsked));
        assert!(!server.carries_password(LoginMethod::WhenAsked));
        assert!(server.carries_password(LoginMethod::Basic));
    }

    #[test]
    fn a_request_is_given_its_header() {
        let server = ServerLogin::default();
        let mut request = Request::get("http://h/dir/index.html").body(()).unwrap();
        server.authorize(&login(LoginMethod::Basic), &mut request, |_| unreachable!("basic draws nothing"));
        assert_eq!(request.headers()[AUTHORIZATION], BASIC);
        let mut request = Request::get("http://h/dir?q=1").body(()).unwrap();
        assert!(server.take(LoginMethod::Digest, &asking(&[&challenge("MD5")])));
        server.authorize(&login(LoginMethod::Digest), &mut request, |bytes| bytes.fill(7));
        let text = request.headers()[AUTHORIZATION].to_str().unwrap().to_owned();
        assert!(text.contains("uri=\"/dir?q=1\""), "{text}");
    }
}
