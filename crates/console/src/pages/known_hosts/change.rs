//! Adding and removing lines, and forgetting keys that wait for a decision.

use super::review::ReviewPage;
use super::{PATH, Refused, caller, control, problem, show};
use crate::state::AppState;
use crate::web::access::{Authorized, ChangeDefinitions};
use crate::web::layout::Section;
use crate::web::page_error::PageError;
use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use control::{AddKnownHosts, ForgetOfferedKey, OtherKeys, RemoveKnownHost};
use http::StatusCode;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
pub(crate) struct Confirmed {
    text: String,
    /// The fingerprints that were shown, with spaces between.
    fingerprints: String,
    /// Set by the person who compared them.
    #[serde(default)]
    compared: String,
    /// What becomes of other keys of the hosts.
    #[serde(default)]
    others: String,
    /// The fingerprints on file that were shown, with spaces between.
    #[serde(default)]
    on_file: String,
}

/// `POST /known-hosts/add`
pub(crate) async fn add(
    auth: Authorized<ChangeDefinitions>,
    State(state): State<Arc<AppState>>,
    form: Result<Form<Confirmed>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form.map_err(|_| PageError::bad_request("The form is incomplete, or too long."))?;
    let caller = caller(&auth.user);
    let control = control(&state)?;
    let is_compared = form.compared == "yes";
    let fingerprints = form.fingerprints.split_whitespace().map(str::to_owned);
    let request = AddKnownHosts {
        text: form.text,
        confirmed: fingerprints.filter(|_| is_compared).collect(),
        others: OtherKeys::parse(&form.others).unwrap_or_default(),
        on_file: form.on_file.split_whitespace().map(str::to_owned).collect(),
    };
    let problem = match control.add_known_hosts(&caller, &request).await {
        Ok(_) => return Ok(Redirect::to(PATH).into_response()),
        Err(error) => problem(error)?,
    };
    let layout = auth.layout(Section::KnownHosts);
    // What is on file may have changed in the meantime.
    match control.read_known_hosts(&caller, &request.text).await {
        Ok(read) => {
            let page = ReviewPage::new(layout, Some(problem), read, request.text);
            Ok((StatusCode::UNPROCESSABLE_ENTITY, Html(page.render()?)).into_response())
        }
        Err(_) => {
            let refused = Refused { problem: Some(problem), text: request.text, ..Refused::default() };
            show(&state, layout, (&caller, true), "", refused).await
        }
    }
}

/// `POST /known-hosts/{id}/remove`
pub(crate) async fn remove(
    auth: Authorized<ChangeDefinitions>,
    State(state): State<Arc<AppState>>,
    Path(which): Path<String>,
) -> Result<Response, PageError> {
    let caller = caller(&auth.user);
    match control(&state)?.remove_known_host(&caller, &RemoveKnownHost { which }).await {
        Ok(_) => Ok(Redirect::to(PATH).into_response()),
        Err(error) => {
            let refused = Refused { problem: Some(problem(error)?), ..Refused::default() };
            show(&state, auth.layout(Section::KnownHosts), (&caller, true), "", refused).await
        }
    }
}

/// `POST /known-hosts/forget`
pub(crate) async fn forget(
    auth: Authorized<ChangeDefinitions>,
    State(state): State<Arc<AppState>>,
    form: Result<Form<ForgetOfferedKey>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(request) = form.map_err(|_| PageError::bad_request("The form is incomplete."))?;
    control(&state)?.forget_offered_host_key(&caller(&auth.user), &request).await?;
    Ok(Redirect::to(PATH).into_response())
}
