//! `/known-hosts`: the host keys of SSH servers that every node trusts.
//!
//! Adding takes two steps: a page shows each key with its fingerprint and with what is on file for the same hosts; what a person
//! confirms there is added. Nothing is ever trusted by one click on a list.

mod change;
mod line;
mod review;

pub(crate) use change::{add, forget, remove};
pub(crate) use line::page as line;
pub(crate) use review::{read, scan};

use crate::state::AppState;
use crate::web::access::{Authorized, ViewDefinitions};
use crate::web::badge::{Badge, Icon, Tone};
use crate::web::format::Moment;
use crate::web::layout::{Layout, Section};
use crate::web::list_query::ListQuery;
use crate::web::page_error::PageError;
use crate::web::session::CurrentUser;
use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use control::{Caller, Control, KnownHostDetail, KnownHostList};
use http::StatusCode;
use model::{Actor, Error, ErrorKind, HostKeyStanding, KnownHostMark, OfferedHostKey, Permission};
use std::sync::Arc;

/// The path of the list.
pub(crate) const PATH: &str = "/known-hosts";

#[derive(Template)]
#[template(path = "known_hosts.html")]
struct KnownHostsPage {
    layout: Layout,
    /// What is searched for.
    search: String,
    /// What was wrong with a form, and what was typed into it.
    problem: Option<String>,
    text: String,
    host: String,
    may_change: bool,
    hosts: Vec<ListedHost>,
    offered: Vec<Offered>,
    /// How many lines there are, found or not.
    count: usize,
    /// Endpoints that use the list and find no line.
    without_line: Vec<String>,
}

/// A line in the list.
struct ListedHost {
    url: String,
    hosts: String,
    mark: Option<Badge>,
    key_type: String,
    fingerprint: String,
    comment: Option<String>,
    by: String,
    at: Moment,
    used_by: Vec<String>,
}

/// A key that waits for a decision.
struct Offered {
    host: String,
    plain_host: String,
    port: u16,
    key_type: String,
    fingerprint: String,
    standing: Badge,
    endpoint: String,
    at: Moment,
    line: String,
}

impl From<KnownHostDetail> for ListedHost {
    fn from(KnownHostDetail { host, used_by }: KnownHostDetail) -> Self {
        Self {
            url: format!("{PATH}/{}", host.id),
            hosts: host.hosts().to_owned(),
            mark: mark(host.mark()),
            key_type: host.key_type().to_owned(),
            by: host.by.name(),
            at: Moment(host.at),
            fingerprint: host.fingerprint,
            comment: host.comment,
            used_by: used_by.into_iter().collect(),
        }
    }
}

impl From<OfferedHostKey> for Offered {
    fn from(key: OfferedHostKey) -> Self {
        Self {
            host: key.listed_host(),
            line: key.line(),
            standing: standing(key.standing),
            at: Moment(key.at),
            plain_host: key.host,
            port: key.port,
            key_type: key.key_type,
            fingerprint: key.fingerprint,
            endpoint: key.endpoint,
        }
    }
}

/// What a line says of its key, where that is not simply that its hosts have it.
fn mark(mark: KnownHostMark) -> Option<Badge> {
    match mark {
        KnownHostMark::Host => None,
        KnownHostMark::Authority => Some(Badge::new(Tone::Busy, Icon::Info, "Authority")),
        KnownHostMark::Revoked => Some(Badge::new(Tone::Bad, Icon::Cross, "Revoked")),
    }
}

fn standing(standing: HostKeyStanding) -> Badge {
    match standing {
        HostKeyStanding::Known => Badge::new(Tone::Good, Icon::Check, "On file"),
        HostKeyStanding::Unknown => Badge::new(Tone::Warn, Icon::Warning, "Not on file"),
        HostKeyStanding::Changed => Badge::new(Tone::Bad, Icon::Cross, "Changed"),
        HostKeyStanding::Revoked => Badge::new(Tone::Bad, Icon::Cross, "Revoked"),
    }
}

/// A page of the list after a form that could not be carried out.
#[derive(Default)]
struct Refused {
    problem: Option<String>,
    text: String,
    host: String,
}

/// `GET /known-hosts`
pub(crate) async fn page(
    auth: Authorized<ViewDefinitions>,
    State(state): State<Arc<AppState>>,
    query: ListQuery,
) -> Result<Response, PageError> {
    let search = query.get("search").unwrap_or_default().to_owned();
    let may_change = auth.may(Permission::ChangeDefinitions);
    let caller = caller(&auth.user);
    show(&state, auth.layout(Section::KnownHosts), (&caller, may_change), &search, Refused::default()).await
}

/// The list, with what was wrong with a form.
async fn show(
    state: &AppState,
    layout: Layout,
    (caller, may_change): (&Caller, bool),
    search: &str,
    refused: Refused,
) -> Result<Response, PageError> {
    let mut list: KnownHostList = control(state)?.known_hosts(caller, &state.node.definitions()).await?;
    let count = list.hosts.len();
    if !search.trim().is_empty() {
        list.search(search);
    }
    let Refused { problem, text, host } = refused;
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let page = KnownHostsPage {
        layout,
        search: search.to_owned(),
        problem,
        text,
        host,
        may_change,
        hosts: list.hosts.into_iter().map(ListedHost::from).collect(),
        offered: list.offered.into_iter().map(Offered::from).collect(),
        count,
        without_line: list.without_line.into_iter().collect(),
    };
    Ok((status, Html(page.render()?)).into_response())
}

/// The operations, of a console that has some.
fn control(state: &AppState) -> Result<&Control, PageError> {
    state.node.control().ok_or_else(PageError::not_found)
}

fn caller(user: &CurrentUser) -> Caller {
    Caller { actor: Actor::User(user.name.clone()), role: user.role }
}

/// What is wrong with what a person asked for; other errors are pages of their own.
fn problem(error: Error) -> Result<String, PageError> {
    match error.kind() {
        ErrorKind::ConfigInvalid
        | ErrorKind::AlreadyExists
        | ErrorKind::NotFound
        | ErrorKind::Rejected
        | ErrorKind::Unsupported => Ok(error.chain()),
        _ => Err(error.into()),
    }
}
