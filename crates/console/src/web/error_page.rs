//! Renders [`PageError`]s, wherever in the console they came from.

use crate::state::AppState;
use crate::web::access::UserSlot;
use crate::web::layout::Layout;
use crate::web::page_error::PageError;
use crate::web::session::current_user;
use askama::Template;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use std::sync::Arc;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    layout: Layout,
    error: PageError,
}

/// Gives every error the page that explains it.
pub(crate) async fn render(State(state): State<Arc<AppState>>, mut request: Request, next: Next) -> Response {
    let headers = request.headers().clone();
    let slot = UserSlot::default();
    request.extensions_mut().insert(slot.clone());
    let mut response = next.run(request).await;
    let Some(mut error) = response.extensions_mut().remove::<PageError>() else { return response };
    let mut user = slot.user();
    if user.is_none() && error.status.is_client_error() {
        // No page's address, yet perhaps of somebody who is logged in: they keep their navigation.
        user = current_user(&state, &headers).await.unwrap_or_default();
    }
    if user.is_none() {
        error.detail = None;
    }
    let status = error.status;
    let page = ErrorPage { layout: Layout::new(state, &headers, user), error };
    let mut rendered = match page.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            (status, "This page failed. See the log for the cause.\n").into_response()
        }
    };
    if status == StatusCode::SERVICE_UNAVAILABLE {
        rendered.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    for (name, value) in response.headers() {
        // Allow of a 405, cookies; not the length of the body that is replaced.
        if name != CONTENT_LENGTH && name != CONTENT_TYPE {
            rendered.headers_mut().append(name.clone(), value.clone());
        }
    }
    rendered
}
