//! Sessions: who is logged in.

use crate::auth::cookie::{cookie, session_cookie, set_cookie};
use crate::state::{AppState, token_digest};
use axum::response::Response;
use http::header::{HeaderName, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use model::{AuditEvent, Result, Role, Sha256, Timestamp};
use std::time::Duration;

/// A session ends when it was not used for so long.
const LASTS: Duration = Duration::from_secs(12 * 3600);
/// How often its use is written down.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

/// Marks a request by which a page refreshes a part of itself: it keeps no session alive.
pub(crate) const FRAGMENT: HeaderName = HeaderName::from_static("waybill-fragment");

/// The user whose session a request belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CurrentUser {
    pub(crate) name: String,
    pub(crate) role: Role,
}

/// The digest of the token in a request's cookie.
fn token_of(state: &AppState, headers: &HeaderMap) -> Option<Sha256> {
    let name = session_cookie(headers, state.settings.secure_cookies);
    cookie(headers, &name).filter(|token| token.len() == 43).map(token_digest)
}

/// Who sent a request, if they are logged in. A session that is used ends later.
pub(crate) async fn current_user(state: &AppState, headers: &HeaderMap) -> Result<Option<CurrentUser>> {
    let Some(token) = token_of(state, headers) else { return Ok(None) };
    let now = state.now();
    let Some(session) = state.store.session(token, now).await? else { return Ok(None) };
    let used_long_ago = (now - session.seen_at).to_std().is_ok_and(|since| since >= TOUCH_EVERY);
    if used_long_ago && !headers.contains_key(FRAGMENT) {
        let written = state.store.touch_session(token, now, ends(now)).await;
        if let Err(error) = written {
            // The page itself can be shown; the session ends a little earlier at worst.
            tracing::warn!(error = %error.chain(), "the use of a session could not be recorded");
        }
    }
    Ok(Some(CurrentUser { name: session.user.name, role: session.user.role }))
}

/// Begins a session, with its events, and gives its cookie to the browser.
pub(crate) async fn begin(
    state: &AppState,
    headers: &HeaderMap,
    user: &str,
    events: Vec<AuditEvent>,
) -> Result<Option<HeaderValue>> {
    let (token, digest) = state.token();
    let now = state.now();
    state.store.begin_session(digest, user, now, ends(now), events).await?;
    let secure = state.settings.secure_cookies;
    Ok(set_cookie(&session_cookie(headers, secure), &token, secure, None))
}

/// Ends the session of a request, if it has one, with its events.
pub(crate) async fn end(
    state: &AppState,
    headers: &HeaderMap,
    events: Vec<AuditEvent>,
) -> Result<Option<HeaderValue>> {
    if let Some(token) = token_of(state, headers) {
        state.store.end_session(token, state.now(), events).await?;
    }
    let secure = state.settings.secure_cookies;
    Ok(set_cookie(&session_cookie(headers, secure), "", secure, Some(0)))
}

fn ends(now: Timestamp) -> Timestamp {
    now + LASTS
}

/// An answer with a cookie.
pub(crate) fn with_cookie(mut response: Response, cookie: Option<HeaderValue>) -> Response {
    if let Some(cookie) = cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}
