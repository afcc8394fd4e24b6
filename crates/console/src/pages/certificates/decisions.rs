//! What a person decides about the certificates that a partner proposes: accepted or rejected.

use super::show;
use crate::state::AppState;
use crate::web::access::{Authorized, ChangeDefinitions};
use crate::web::layout::{Layout, Section};
use crate::web::page_error::PageError;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use control::{Caller, DecideCertificates};
use model::{Actor, ErrorKind};
use serde::Deserialize;
use std::sync::Arc;
use uuid::Uuid;

#[derive(Deserialize)]
pub(crate) struct Decision {
    #[serde(default)]
    reason: String,
    /// Set by the person who compared the fingerprints.
    #[serde(default)]
    compared: String,
}

/// `POST /certificates/proposals/{id}/accept`
pub(crate) async fn accept(
    auth: Authorized<ChangeDefinitions>,
    State(state): State<Arc<AppState>>,
    Path(id): Path<String>,
    form: Result<Form<Decision>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form.map_err(|_| PageError::bad_request("The form is incomplete."))?;
    let caller = Caller { actor: Actor::User(auth.user.name.clone()), role: auth.user.role };
    let layout = auth.layout(Section::Certificates);
    if form.compared != "yes" {
        let problem = "Compare the fingerprints with the partner first, and say so in the form.".to_owned();
        return show(&state, layout, (&caller, true), "", Some(problem)).await;
    }
    let control = state.node.control().ok_or_else(PageError::not_found)?;
    let id = Uuid::parse_str(&id).map_err(|_| PageError::not_found())?;
    let request = DecideCertificates { id, reason: None };
    let done = control.accept_certificates(&caller, &request).await.map(drop);
    answer(&state, layout, &caller, done).await
}

/// `POST /certificates/proposals/{id}/reject`
pub(crate) async fn reject(
    auth: Authorized<ChangeDefinitions>,
    State(state): State<Arc<AppState>>,
    Path(id): Path<String>,
    form: Result<Form<Decision>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form.map_err(|_| PageError::bad_request("The form is incomplete, or too long."))?;
    let caller = Caller { actor: Actor::User(auth.user.name.clone()), role: auth.user.role };
    let layout = auth.layout(Section::Certificates);
    let control = state.node.control().ok_or_else(PageError::not_found)?;
    let id = Uuid::parse_str(&id).map_err(|_| PageError::not_found())?;
    let request = DecideCertificates { id, reason: Some(form.reason) };
    let done = control.reject_certificates(&caller, &request).await.map(drop);
    answer(&state, layout, &caller, done).await
}

async fn answer(
    state: &AppState,
    layout: Layout,
    caller: &Caller,
    done: model::Result<()>,
) -> Result<Response, PageError> {
    match done {
        Ok(()) => Ok(Redirect::to("/certificates").into_response()),
        Err(error) => match error.kind() {
            ErrorKind::ConfigInvalid | ErrorKind::NotFound | ErrorKind::Rejected => {
                show(state, layout, (caller, true), "", Some(error.chain())).await
            }
            _ => Err(error.into()),
        },
    }
}
