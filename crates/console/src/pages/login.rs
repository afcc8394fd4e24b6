//! `/login` and `/logout`.

use crate::auth::client_address::{client_address, limit_address};
use crate::auth::hasher::Requester;
use crate::auth::throttle::{QueueFull, Turn};
use crate::state::AppState;
use crate::web::layout::Layout;
use crate::web::local_path::local_path;
use crate::web::page_error::PageError;
use crate::web::session::{self, current_user, with_cookie};
use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Query, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use control::password::{LONGEST_NAME, LONGEST_PASSWORD};
use http::{Extensions, HeaderMap, HeaderValue, StatusCode, header::RETRY_AFTER};
use model::{Actor, AuditEvent, EventKind, PeerText, Secret};
use net::http::Standby;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

#[derive(Deserialize)]
pub(crate) struct Asked {
    next: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Filled {
    user: String,
    password: String,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    layout: Layout,
    user: &'a str,
    next: &'a str,
    error: Option<String>,
    /// Nobody can log in yet.
    no_users: bool,
}

/// `GET /login`
pub(crate) async fn page(
    State(state): State<Arc<AppState>>,
    layout: Layout,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let next = local_path(asked.next.as_deref());
    if current_user(&state, &headers).await?.is_some() {
        return Ok(Redirect::to(next).into_response());
    }
    let no_users = state.store.count_users().await? == 0;
    let page = LoginPage { layout, user: "", next, error: None, no_users };
    Ok(Html(page.render()?).into_response())
}

/// `POST /login`
pub(crate) async fn submit(
    State(state): State<Arc<AppState>>,
    layout: Layout,
    headers: HeaderMap,
    extensions: Extensions,
    form: Result<Form<Filled>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(filled) = form.map_err(|_| PageError::bad_request("The login form is incomplete."))?;
    let next = local_path(filled.next.as_deref());
    let password = Secret::new(filled.password);
    let peer = client_address(&extensions);
    let name: &str = filled.user.trim();
    let again = |status: StatusCode, error: String| -> Result<Response, PageError> {
        let page = LoginPage { layout, user: name, next, error: Some(error), no_users: false };
        Ok((status, Html(page.render()?)).into_response())
    };
    let failed = |why: &'static str| -> AuditEvent {
        let event = state.event(EventKind::LoginFailed).peer_detail("user", shortened(name));
        with_peer(event.detail("why", why), peer)
    };
    let logged_in = current_user(&state, &headers).await?.is_some_and(|user| user.name == name);
    // While it waits, its connection may go for another one.
    let standby = extensions.get::<Standby>();
    let waits = standby.map(Standby::waits);
    let attempt = match state.throttle.attempt(name, peer, logged_in, state.now()) {
        Ok(attempt) => attempt,
        Err(QueueFull(wait)) => {
            let mut response = again(
                StatusCode::TOO_MANY_REQUESTS,
                format!("Too many login attempts for this user are waiting. Try again in {}.", seconds(wait)),
            )?;
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
            return Ok(response);
        }
    };
    let Turn { wait, known: goes_first, first } = attempt.turn;
    if first {
        tracing::warn!(user = %PeerText::from(shortened(name)), "logins are delayed after failed ones");
        let event = state.event(EventKind::LoginThrottled).peer_detail("user", shortened(name));
        let event = event.detail("why", "after failed logins, further attempts are delayed");
        state.store.append_events(vec![with_peer(event, peer)]).await?;
    }
    tokio::time::sleep(wait).await;
    let fits = name.len() <= LONGEST_NAME && password.reveal().len() <= LONGEST_PASSWORD;
    let known = if fits { state.store.user(name).await? } else { None };
    let disabled = known.as_ref().is_some_and(|(user, _)| user.disabled);
    let requester = Requester { address: limit_address(peer), known: goes_first };
    let right = fits && state.hasher.verify(requester, password, known.map(|(_, hash)| hash)).await?;
    attempt.made();
    drop(waits);
    if !right || disabled {
        let why = if right { "the user is disabled" } else { "wrong user name or password" };
        state.store.append_events(vec![failed(why)]).await?;
        return again(
            StatusCode::FORBIDDEN,
            "Wrong user name or password, or the user is disabled.".to_owned(),
        );
    }
    state.throttle.succeeded(name, peer, state.now());
    let event = state.event(EventKind::LoginSucceeded).by(Actor::User(name.to_owned()));
    // Whoever had the cookie before the login has nothing after it.
    session::end(&state, &headers, Vec::new()).await?;
    let cookie = session::begin(&state, &headers, name, vec![with_peer(event, peer)]).await?;
    Ok(with_cookie(Redirect::to(next).into_response(), cookie))
}

/// `POST /logout`
pub(crate) async fn logout(
    State(state): State<Arc<AppState>>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<Response, PageError> {
    let user = current_user(&state, &headers).await?;
    let ended = user.map(|user| {
        let event = state.event(EventKind::LoginEnded).by(Actor::User(user.name));
        with_peer(event, client_address(&extensions))
    });
    let cookie = session::end(&state, &headers, ended.into_iter().collect()).await?;
    Ok(with_cookie(Redirect::to("/login").into_response(), cookie))
}

/// An event about who asks.
pub(crate) fn with_peer(mut event: AuditEvent, peer: Option<std::net::SocketAddr>) -> AuditEvent {
    event.peer = peer.map(model::address_text);
    event
}

fn shortened(name: &str) -> &str {
    let end = (0..=name.len().min(2 * LONGEST_NAME)).rev().find(|end| name.is_char_boundary(*end));
    &name[..end.unwrap_or(0)]
}

fn seconds(wait: Duration) -> String {
    match wait.as_secs_f64().ceil() {
        1.0 => "1 second".to_owned(),
        more => format!("{more} seconds"),
    }
}
