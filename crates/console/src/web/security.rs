//! What every answer carries, and which requests are refused before any page sees them.

use crate::state::AppState;
use crate::web::page_error::PageError;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, HOST, HeaderName, HeaderValue, ORIGIN};
use http::{HeaderMap, Method};
use std::sync::Arc;

const CSP: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                   connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// `same-origin` tells other sites nothing, as `no-referrer` would; but with `no-referrer` browsers send
/// `Origin: null` with our own forms, and over plain HTTP that is all there is to know them by.
const HEADERS: [(&str, &str); 8] = [
    ("content-security-policy", CSP),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("x-frame-options", "DENY"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ("x-robots-tag", "noindex, nofollow"),
];

/// Adds the headers that every answer carries; pages are kept by no cache.
pub(crate) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Refuses requests that change something and come from a page of another site. Session cookies are
/// `SameSite=Strict` already; this also covers the login itself.
///
/// What browsers say about it, in this order: `Sec-Fetch-Site` (only over HTTPS and on loopback), then
/// `Origin`. A client that says neither is no browser, and no other site can make it send anything.
pub(crate) async fn same_origin(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Response {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if safe || is_own(&state, request.headers()) {
        return next.run(request).await;
    }
    PageError::refused(
        "This request did not come from a page of this console.",
        "Open the console and try again. If it is behind a reverse proxy, configure the proxy to pass the Host header \
         on, or set listen.console_url to the address of the console that people use.",
    )
    .into_response()
}

fn is_own(state: &AppState, headers: &HeaderMap) -> bool {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let fetch_site = HeaderName::from_static("sec-fetch-site");
    match (text(&fetch_site), text(&ORIGIN)) {
        (Some(word), _) => matches!(word, "same-origin" | "none"),
        (None, None) => true,
        (None, Some(origin)) => {
            let asked = text(&HOST).filter(|host| !host.is_empty());
            let from = origin.split_once("://").map(|(_, host)| host);
            let public = state.settings.public_url.as_ref().map(|url| url.origin().ascii_serialization());
            (from.is_some() && from == asked) || public.is_some_and(|public| public == origin)
        }
    }
}
