//! `/setup/{token}`: creates the first user, by a one-time link that the first start writes to the log.

use crate::auth::client_address::{client_address, limit_address};
use crate::auth::hasher::Requester;
use crate::pages::login::with_peer;
use crate::state::{AppState, token_digest};
use crate::web::layout::Layout;
use crate::web::page_error::PageError;
use crate::web::session::{self, with_cookie};
use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use control::password::{SHORTEST_PASSWORD, name_problem, password_problem};
use http::{Extensions, HeaderMap, StatusCode};
use model::{Actor, ErrorKind, EventKind, Result as ModelResult, Role, Secret};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use store::NewUser;

const GOOD_FOR: Duration = Duration::from_secs(24 * 3600);

/// A new link, while there are no users.
pub(crate) async fn link(state: &AppState, base: &str) -> ModelResult<Option<String>> {
    if state.store.count_users().await? > 0 {
        return Ok(None);
    }
    let (token, digest) = state.token();
    let now = state.now();
    state.store.create_setup_link(digest, now, now + GOOD_FOR).await?;
    let base = state.settings.public_url.as_ref().map_or(base, |url| url.as_str());
    Ok(Some(format!("{}/setup/{token}", base.trim_end_matches('/'))))
}

#[derive(Deserialize)]
pub(crate) struct Filled {
    user: String,
    password: String,
    again: String,
}

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupPage<'a> {
    layout: Layout,
    user: &'a str,
    error: Option<String>,
    shortest: usize,
}

/// `GET /setup/{token}`
pub(crate) async fn page(
    State(state): State<Arc<AppState>>,
    layout: Layout,
    Path(token): Path<String>,
) -> Result<Response, PageError> {
    if !state.store.setup_link_holds(token_digest(&token), state.now()).await? {
        return Err(invalid_link());
    }
    let page = SetupPage { layout, user: "", error: None, shortest: SHORTEST_PASSWORD };
    Ok(Html(page.render()?).into_response())
}

/// `POST /setup/{token}`
pub(crate) async fn submit(
    State(state): State<Arc<AppState>>,
    layout: Layout,
    Path(token): Path<String>,
    headers: HeaderMap,
    extensions: Extensions,
    form: Result<Form<Filled>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(filled) = form.map_err(|_| PageError::bad_request("The form is incomplete."))?;
    let digest = token_digest(&token);
    // Before the costly hash: without a valid link none is made.
    if !state.store.setup_link_holds(digest, state.now()).await? {
        return Err(invalid_link());
    }
    let (password, again) = (Secret::new(filled.password), Secret::new(filled.again));
    let name = filled.user.trim();
    let refuse = |error: String| -> Result<Response, PageError> {
        let page = SetupPage { layout, user: name, error: Some(error), shortest: SHORTEST_PASSWORD };
        Ok((StatusCode::UNPROCESSABLE_ENTITY, Html(page.render()?)).into_response())
    };
    if let Some(error) = problem(name, &password, &again) {
        return refuse(error);
    }
    // A valid link goes before logins of unknown addresses.
    let requester = Requester { address: limit_address(client_address(&extensions)), known: true };
    let user = NewUser {
        name: name.to_owned(),
        password_hash: state.hasher.hash(state.random_bytes(), requester, password).await?,
        role: Role::Admin,
    };
    let actor = Actor::User(name.to_owned());
    let by = || actor.clone();
    let made = state
        .event(EventKind::UserChanged)
        .by(by())
        .detail("user", name)
        .detail("role", Role::Admin.as_str())
        .detail("change", "created with the first-start link");
    let used = state
        .store
        .use_setup_link(digest, user, state.now(), vec![with_peer(made, client_address(&extensions))])
        .await;
    match used {
        Ok(true) => {}
        Ok(false) => return Err(invalid_link()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return refuse(format!("A user named {name} already exists."));
        }
        Err(error) => return Err(error.into()),
    }
    let event = state.event(EventKind::LoginSucceeded).by(by());
    let events = vec![with_peer(event, client_address(&extensions))];
    let cookie = session::begin(&state, &headers, name, events).await?;
    Ok(with_cookie(Redirect::to("/").into_response(), cookie))
}

fn problem(name: &str, password: &Secret<String>, again: &Secret<String>) -> Option<String> {
    let differ = || (password.reveal() != again.reveal()).then(|| "The passwords do not match.".to_owned());
    name_problem(name).or_else(|| password_problem(name, password)).or_else(differ)
}

/// The same for unknown, used and expired links.
fn invalid_link() -> PageError {
    PageError::new(
        StatusCode::GONE,
        "This link is not valid",
        "It was used before, has expired, or never existed.",
        "If you created your user with it, log in. If Waybill has no users yet, restart it: it writes a new link to \
         its log.",
    )
}
