//! `/known-hosts/{id}`: one line, with what uses it, and its removal.

use super::{ListedHost, caller, control};
use crate::state::{AppState, path_id};
use crate::web::access::{Authorized, ViewDefinitions};
use crate::web::layout::{Layout, Section};
use crate::web::page_error::PageError;
use askama::Template;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use model::Permission;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "known_host.html")]
struct LinePage {
    layout: Layout,
    host: ListedHost,
    line: String,
    may_change: bool,
}

/// `GET /known-hosts/{id}`
pub(crate) async fn page(
    auth: Authorized<ViewDefinitions>,
    State(state): State<Arc<AppState>>,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let missing = || PageError::no_such("known host");
    let id = path_id(&id).ok_or_else(missing)?;
    let list = control(&state)?.known_hosts(&caller(&auth.user), &state.node.definitions()).await?;
    let detail = list.hosts.into_iter().find(|detail| detail.host.id == id).ok_or_else(missing)?;
    let page = LinePage {
        may_change: auth.may(Permission::ChangeDefinitions),
        layout: auth.layout(Section::KnownHosts),
        line: detail.host.line.clone(),
        host: ListedHost::from(detail),
    };
    Ok(Html(page.render()?).into_response())
}
