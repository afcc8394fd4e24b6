//! The first start: a link in the log lets whoever has it make the first user.

use super::hasher::Asker;
use super::login::{LONGEST_NAME, LONGEST_PASSWORD, with_peer};
use super::session::{self, with_cookie};
use super::{counted, peer};
use crate::frame::Frame;
use crate::problem::Problem;
use crate::site::{Site, token_digest};
use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::{Extensions, HeaderMap, StatusCode};
use model::{Actor, ErrorKind, EventKind, Result as ModelResult, Role, Secret};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use store::NewUser;

const GOOD_FOR: Duration = Duration::from_secs(24 * 3600);
/// Shortest password taken, in characters.
const SHORTEST_PASSWORD: usize = 12;

/// A new link, while there are no users.
pub(crate) async fn link(site: &Site, base: &str) -> ModelResult<Option<String>> {
    if site.store.count_users().await? > 0 {
        return Ok(None);
    }
    let (token, digest) = site.token();
    let now = site.now();
    site.store.create_setup_link(digest, now, now + GOOD_FOR).await?;
    let base = site.settings.public_url.as_ref().map_or(base, |url| url.as_str());
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
    frame: Frame,
    user: &'a str,
    error: Option<String>,
    shortest: usize,
}

/// `GET /setup/{token}`
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    frame: Frame,
    Path(token): Path<String>,
) -> Result<Response, Problem> {
    if !site.store.setup_link_holds(token_digest(&token), site.now()).await? {
        return Err(void());
    }
    let page = SetupPage { frame, user: "", error: None, shortest: SHORTEST_PASSWORD };
    Ok(Html(page.render()?).into_response())
}

/// `POST /setup/{token}`
pub(crate) async fn submit(
    State(site): State<Arc<Site>>,
    frame: Frame,
    Path(token): Path<String>,
    headers: HeaderMap,
    extensions: Extensions,
    form: Result<Form<Filled>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(filled) = form.map_err(|_| Problem::bad_request("The form came incomplete."))?;
    let digest = token_digest(&token);
    // Before the costly hash, so that nobody without a link can ask for one.
    if !site.store.setup_link_holds(digest, site.now()).await? {
        return Err(void());
    }
    let (password, again) = (Secret::new(filled.password), Secret::new(filled.again));
    let name = filled.user.trim();
    let refuse = |error: String| -> Result<Response, Problem> {
        let page = SetupPage { frame, user: name, error: Some(error), shortest: SHORTEST_PASSWORD };
        Ok((StatusCode::UNPROCESSABLE_ENTITY, Html(page.render()?)).into_response())
    };
    if let Some(error) = wrong(name, &password, &again) {
        return refuse(error);
    }
    // Who has the link goes before strangers.
    let asker = Asker { address: counted(peer(&extensions)), known: true };
    let user = NewUser {
        name: name.to_owned(),
        password_hash: site.hasher.hash(&site, asker, password).await?,
        role: Role::Admin,
    };
    let actor = Actor::User(name.to_owned());
    let by = || actor.clone();
    let made = site
        .event(EventKind::UserChanged)
        .by(by())
        .detail("user", name)
        .detail("role", Role::Admin.as_str())
        .detail("change", "made by the first start's link");
    let used =
        site.store.use_setup_link(digest, user, site.now(), vec![with_peer(made, peer(&extensions))]).await;
    match used {
        Ok(true) => {}
        Ok(false) => return Err(void()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return refuse(format!("There is a user named {name} already."));
        }
        Err(error) => return Err(error.into()),
    }
    let event = site.event(EventKind::LoginSucceeded).by(by());
    let events = vec![with_peer(event, peer(&extensions))];
    let cookie = session::begin(&site, &headers, name, events).await?;
    Ok(with_cookie(Redirect::to("/").into_response(), cookie))
}

fn wrong(name: &str, password: &Secret<String>, again: &Secret<String>) -> Option<String> {
    let (password, again) = (password.reveal(), again.reveal());
    let named = (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_@".contains(&byte));
    if !named {
        return Some(format!(
            "A user name takes 1 to {LONGEST_NAME} letters, digits, dots, hyphens, underscores or @."
        ));
    }
    if password.chars().count() < SHORTEST_PASSWORD {
        return Some(format!("The password is too short: at least {SHORTEST_PASSWORD} characters."));
    }
    if password.len() > LONGEST_PASSWORD {
        return Some(format!("The password is too long: at most {LONGEST_PASSWORD} bytes."));
    }
    if password != again {
        return Some("The two passwords differ.".to_owned());
    }
    if password.eq_ignore_ascii_case(name) {
        return Some("The password must not be the user name.".to_owned());
    }
    None
}

/// Said of unknown, used and expired links alike.
fn void() -> Problem {
    Problem::new(
        StatusCode::GONE,
        "This link is void",
        "It has been used, has expired, or was never valid.",
        "If you have made your user with it, log in. If Waybill has no user yet, restart it: it writes a \
         new link to its log.",
    )
}
