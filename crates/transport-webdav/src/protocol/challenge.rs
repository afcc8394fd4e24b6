//! The `Authorization` header: basic (RFC 7617), bearer (RFC 6750) and digest (RFC 7616).

use crate::options::{Method, ResolvedLogin};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use digest_auth::{AuthContext, HttpMethod, WwwAuthenticateHeader};
use http::HeaderValue;
use std::borrow::Cow;

/// What a server asked for last, for digest: each answer to it counts.
#[derive(Default)]
pub(crate) struct Challenge(Option<WwwAuthenticateHeader>);

impl Challenge {
    /// Takes the challenges of an answer with status 401; false if none of them is digest.
    pub(crate) fn take<'a>(&mut self, headers: impl Iterator<Item = &'a HeaderValue>) -> bool {
        let found = headers.filter_map(|value| value.to_str().ok()).filter_map(digest);
        // The strongest algorithm that is known here; servers list several (RFC 7616, 3.7).
        let strongest = |header: &WwwAuthenticateHeader| format!("{}", header.algorithm).contains("SHA");
        let mut best: Option<WwwAuthenticateHeader> = None;
        for header in found {
            if best.as_ref().is_none_or(|best| strongest(&header) && !strongest(best)) {
                best = Some(header);
            }
        }
        let is_found = best.is_some();
        if is_found {
            self.0 = best;
        }
        is_found
    }

    /// The header of a request; `None` for no login, and for digest before the server asked for it.
    pub(crate) fn header(
        &mut self,
        login: &ResolvedLogin,
        method: &http::Method,
        path: &str,
        nonce: impl FnOnce() -> String,
    ) -> Option<HeaderValue> {
        let text = match login.method {
            Method::None => return None,
            Method::Basic => {
                format!("Basic {}", STANDARD.encode(format!("{}:{}", login.username, login.secret.reveal())))
            }
            Method::Bearer => format!("Bearer {}", login.secret.reveal()),
            Method::Digest => {
                let verb = HttpMethod(Cow::Owned(method.as_str().to_owned()));
                let secret = login.secret.reveal().as_str();
                let mut context =
                    AuthContext::new_with_method(&login.username, secret, path, None::<&[u8]>, verb);
                context.set_custom_cnonce(nonce());
                self.0.as_mut()?.respond(&context).ok()?.to_header_string()
            }
        };
        let mut header = HeaderValue::from_str(&text).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

/// The digest challenge of a header, which may hold other schemes before it.
fn digest(value: &str) -> Option<WwwAuthenticateHeader> {
    let at = value.to_ascii_lowercase().find("digest ")?;
    digest_auth::parse(&value[at..]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Secret;

    fn login(method: Method) -> ResolvedLogin {
        ResolvedLogin { method, username: "Mufasa".into(), secret: Secret::new("Circle of Life".to_owned()) }
    }

    fn header(challenge: &mut Challenge, method: Method) -> Option<String> {
        let nonce = || "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ".to_owned();
        let header = challenge.header(&login(method), &http::Method::GET, "/dir/index.html", nonce)?;
        assert!(header.is_sensitive());
        Some(header.to_str().unwrap().to_owned())
    }

    #[test]
    fn basic_and_bearer_need_no_challenge() {
        let mut challenge = Challenge::default();
        assert_eq!(header(&mut challenge, Method::None), None);
        assert_eq!(header(&mut challenge, Method::Digest), None);
        assert_eq!(header(&mut challenge, Method::Basic).unwrap(), "Basic TXVmYXNhOkNpcmNsZSBvZiBMaWZl");
        assert_eq!(header(&mut challenge, Method::Bearer).unwrap(), "Bearer Circle of Life");
    }

    /// The example of RFC 7616, 3.9.1.
    #[test]
    fn digest_answers_the_strongest_challenge_and_counts() {
        let of = |algorithm: &str| {
            format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            )
        };
        let headers = [of("MD5"), of("SHA-256"), "Basic realm=\"x\"".to_owned()];
        let headers = headers.map(|text| HeaderValue::from_str(&text).unwrap());
        let mut challenge = Challenge::default();
        assert!(!challenge.take(headers[2..].iter()));
        assert!(challenge.take(headers.iter()));
        let first = header(&mut challenge, Method::Digest).unwrap();
        let expected = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";
        assert!(first.contains(expected) && first.contains("nc=00000001"), "{first}");
        assert!(header(&mut challenge, Method::Digest).unwrap().contains("nc=00000002"));
        assert!(!first.contains("Circle"));
    }
}
