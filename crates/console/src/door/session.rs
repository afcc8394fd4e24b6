//! Sessions: who is logged in.

use super::cookie::{cookie, session_cookie, set_cookie};
use super::local_path;
use crate::problem::Problem;
use crate::site::{Site, token_digest};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{HeaderName, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use model::{AuditEvent, Result, Role, Sha256, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use url::form_urlencoded::byte_serialize;

/// A session ends when it was not used for so long.
const LASTS: Duration = Duration::from_secs(12 * 3600);
/// How often its use is written down.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

/// Marks a request by which a page refreshes a part of itself: it keeps no session alive.
pub(crate) const FRAGMENT: HeaderName = HeaderName::from_static("waybill-fragment");

/// Who is logged in. In the extensions of requests to pages, and of their answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Visitor {
    pub(crate) name: String,
    pub(crate) role: Role,
}

impl Visitor {
    /// Whether the audit trail may be read.
    pub(crate) fn reads_audit(&self) -> bool {
        self.role != Role::Viewer
    }
}

/// The digest of the token in a request's cookie.
pub(super) fn token_of(site: &Site, headers: &HeaderMap) -> Option<Sha256> {
    let name = session_cookie(headers, site.settings.secure_cookies);
    cookie(headers, &name).filter(|token| token.len() == 43).map(token_digest)
}

/// Whose request it is.
pub(crate) async fn visitor(site: &Site, headers: &HeaderMap) -> Result<Option<Visitor>> {
    let Some(token) = token_of(site, headers) else { return Ok(None) };
    let now = site.now();
    let Some(session) = site.store.session(token, now).await? else { return Ok(None) };
    let used_long_ago = (now - session.seen_at).to_std().is_ok_and(|since| since >= TOUCH_EVERY);
    if used_long_ago && !headers.contains_key(FRAGMENT) {
        let written = site.store.touch_session(token, now, ends(now)).await;
        if let Err(error) = written {
            // The page itself can be shown; the session ends a little earlier at worst.
            tracing::warn!(error = %error.chain(), "the use of a session could not be written down");
        }
    }
    Ok(Some(Visitor { name: session.user.name, role: session.user.role }))
}

/// Begins a session, with its events, and gives its cookie to the browser.
pub(super) async fn begin(
    site: &Site,
    headers: &HeaderMap,
    user: &str,
    events: Vec<AuditEvent>,
) -> Result<Option<HeaderValue>> {
    let (token, digest) = site.token();
    let now = site.now();
    site.store.begin_session(digest, user, now, ends(now), events).await?;
    let secure = site.settings.secure_cookies;
    Ok(set_cookie(&session_cookie(headers, secure), &token, secure, None))
}

/// Ends the session of a request, if it has one, with its events.
pub(super) async fn end(
    site: &Site,
    headers: &HeaderMap,
    events: Vec<AuditEvent>,
) -> Result<Option<HeaderValue>> {
    if let Some(token) = token_of(site, headers) {
        site.store.end_session(token, site.now(), events).await?;
    }
    let secure = site.settings.secure_cookies;
    Ok(set_cookie(&session_cookie(headers, secure), "", secure, Some(0)))
}

fn ends(now: Timestamp) -> Timestamp {
    now + LASTS
}

/// Lets people who are logged in through to the pages, and sends others to the login.
pub(crate) async fn require(State(site): State<Arc<Site>>, mut request: Request, next: Next) -> Response {
    let visitor = match visitor(&site, request.headers()).await {
        Ok(visitor) => visitor,
        Err(error) => return Problem::from(error).into_response(),
    };
    let Some(visitor) = visitor else {
        if request.headers().contains_key(FRAGMENT) || *request.method() != Method::GET {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        let asked = request.uri().path_and_query().map_or("/", |asked| asked.as_str());
        let target = match local_path(Some(asked)) {
            "/" => "/login".to_owned(),
            path => format!("/login?next={}", byte_serialize(path.as_bytes()).collect::<String>()),
        };
        return Redirect::to(&target).into_response();
    };
    request.extensions_mut().insert(visitor.clone());
    let mut response = next.run(request).await;
    response.extensions_mut().insert(visitor);
    response
}

/// An answer with a cookie.
pub(super) fn with_cookie(mut response: Response, cookie: Option<HeaderValue>) -> Response {
    if let Some(cookie) = cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}
