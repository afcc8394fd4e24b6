//! Keys that are shown to a person before they are added: those of pasted lines, and those that a server shows when it is asked.

use super::{Refused, caller, control, mark, problem, show, standing};
use crate::state::AppState;
use crate::web::access::{Authorized, ChangeDefinitions};
use crate::web::badge::Badge;
use crate::web::format::Moment;
use crate::web::layout::{Layout, Section};
use crate::web::page_error::PageError;
use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::response::{Html, IntoResponse, Response};
use control::{ReadKnownHosts, ScanHostKeys, ScannedHost, UnwrittenKnownHost};
use model::{Error, ErrorKind, HostKeyStanding, KnownHost, KnownHostMark};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
pub(crate) struct Pasted {
    text: String,
}

#[derive(Deserialize)]
pub(crate) struct Asked {
    host: String,
}

#[derive(Template)]
#[template(path = "known_hosts_review.html")]
pub(super) struct ReviewPage {
    layout: Layout,
    /// What was wrong with the confirmation.
    problem: Option<String>,
    keys: Vec<ReviewedKey>,
    /// The lines, as the next form sends them.
    text: String,
    /// Whether another key is on file for one of the hosts.
    has_others: bool,
    /// Lines that cannot be read: nothing is added then.
    unreadable: Vec<String>,
}

/// A key that may be added.
struct ReviewedKey {
    hosts: String,
    mark: Option<Badge>,
    is_authority: bool,
    key_type: String,
    fingerprint: String,
    is_listed: bool,
    others: Vec<OtherKey>,
}

/// A key on file.
struct OtherKey {
    /// The names of its line, which go with it.
    hosts: String,
    fingerprint: String,
    by: String,
    at: Moment,
}

impl From<UnwrittenKnownHost> for ReviewedKey {
    fn from(UnwrittenKnownHost { line, is_listed, others }: UnwrittenKnownHost) -> Self {
        let other = |host: KnownHost| OtherKey {
            hosts: host.hosts().to_owned(),
            by: host.by.name(),
            at: Moment(host.at),
            fingerprint: host.fingerprint,
        };
        Self {
            hosts: line.hosts,
            mark: mark(line.mark),
            is_authority: line.mark == KnownHostMark::Authority,
            key_type: line.key_type,
            fingerprint: line.fingerprint,
            is_listed,
            others: others.into_iter().map(other).collect(),
        }
    }
}

impl ReviewPage {
    pub(super) fn new(layout: Layout, problem: Option<String>, read: ReadKnownHosts, text: String) -> Self {
        let keys: Vec<ReviewedKey> = read.lines.into_iter().map(ReviewedKey::from).collect();
        Self {
            layout,
            problem,
            has_others: keys.iter().any(|key| !key.is_listed && !key.others.is_empty()),
            unreadable: read
                .unreadable
                .iter()
                .map(|line| format!("Line {}: {}", line.number, line.why))
                .collect(),
            keys,
            text,
        }
    }

    /// Whether there is something to add.
    fn is_addable(&self) -> bool {
        self.unreadable.is_empty() && self.keys.iter().any(|key| !key.is_listed)
    }
}

/// `POST /known-hosts/read`: shows pasted lines with their fingerprints.
pub(crate) async fn read(
    auth: Authorized<ChangeDefinitions>,
    State(state): State<Arc<AppState>>,
    form: Result<Form<Pasted>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(Pasted { text }) =
        form.map_err(|_| PageError::bad_request("The form is incomplete, or too long."))?;
    let caller = caller(&auth.user);
    let layout = auth.layout(Section::KnownHosts);
    match control(&state)?.read_known_hosts(&caller, &text).await {
        Ok(read) => Ok(Html(ReviewPage::new(layout, None, read, text).render()?).into_response()),
        Err(error) => {
            let refused = Refused { problem: Some(problem(error)?), text, ..Refused::default() };
            show(&state, layout, (&caller, true), "", refused).await
        }
    }
}

#[derive(Template)]
#[template(path = "known_hosts_scan.html")]
struct ScanPage {
    layout: Layout,
    host: String,
    keys: Vec<ScannedKey>,
}

struct ScannedKey {
    key_type: String,
    fingerprint: String,
    standing: Badge,
    /// Whether it can be added.
    is_open: bool,
    line: String,
}

/// `POST /known-hosts/scan`: asks a server for its keys.
pub(crate) async fn scan(
    auth: Authorized<ChangeDefinitions>,
    State(state): State<Arc<AppState>>,
    form: Result<Form<Asked>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(Asked { host }) = form.map_err(|_| PageError::bad_request("The form is incomplete."))?;
    let caller = caller(&auth.user);
    let layout = auth.layout(Section::KnownHosts);
    let name = host.trim();
    // A name that is an endpoint's is meant as such: it is reached as the endpoint says.
    let request = if state.node.definitions().endpoints.contains_key(name) {
        ScanHostKeys::Endpoint(name.to_owned())
    } else {
        ScanHostKeys::Host(name.to_owned())
    };
    match state.node.scan_host_keys(caller.clone(), request).await {
        Ok(scanned) => Ok(Html(scanned_page(layout, scanned).render()?).into_response()),
        Err(error) => {
            let problem = if is_of_server(&error) { error.chain() } else { problem(error)? };
            let refused = Refused { problem: Some(problem), host, ..Refused::default() };
            show(&state, layout, (&caller, true), "", refused).await
        }
    }
}

fn scanned_page(layout: Layout, ScannedHost { host, keys }: ScannedHost) -> ScanPage {
    let keys = keys.into_iter().map(|key| ScannedKey {
        line: key.line(),
        standing: standing(key.standing),
        is_open: matches!(key.standing, HostKeyStanding::Unknown | HostKeyStanding::Changed),
        key_type: key.key_type,
        fingerprint: key.fingerprint,
    });
    ScanPage { layout, host, keys: keys.collect() }
}

/// Whether the server that was asked is the cause: the page says what it was.
fn is_of_server(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unreachable
            | ErrorKind::Timeout
            | ErrorKind::Protocol
            | ErrorKind::Throttled
            | ErrorKind::TrustFailed
            | ErrorKind::Unauthenticated
            | ErrorKind::PermissionDenied
    )
}
