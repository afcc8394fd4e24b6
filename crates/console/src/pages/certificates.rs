//! `/certificates`: the certificates of this node's definitions and HTTP servers, their dates, and what uses each; those that
//! partners propose, and ours that are announced to them.

mod decisions;
mod exchange;

pub(crate) use decisions::{accept, reject};

use crate::state::AppState;
use crate::web::access::{Authorized, ViewDefinitions};
use crate::web::badge::{Badge, Icon, Tone};
use crate::web::format::Moment;
use crate::web::layout::{Layout, Section};
use crate::web::list_query::ListQuery;
use crate::web::page_error::PageError;
use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use control::{Caller, CertificateDetail};
use exchange::{Announcement, Proposal};
use http::StatusCode;
use model::{Actor, Permission, Timestamp};
use std::sync::Arc;

/// Ends that are nearer than this are marked, in days.
const SOON: i64 = 60;

#[derive(Template)]
#[template(path = "certificates.html")]
struct CertificatesPage {
    layout: Layout,
    /// What is searched for.
    search: String,
    certificates: Vec<Listed>,
    /// How many there are, found or not.
    count: usize,
    problems: Vec<String>,
    /// What was wrong with a form.
    problem: Option<String>,
    may_change: bool,
    proposals: Vec<Proposal>,
    announcements: Vec<Announcement>,
}

/// A certificate in the list.
struct Listed {
    holder: String,
    subject: String,
    /// `None` for one that is signed by its own key.
    issuer: Option<String>,
    names: String,
    serial: String,
    key: String,
    uses: String,
    sha256: String,
    sha1: String,
    from: Moment,
    until: Moment,
    standing: Badge,
    /// Such as `in 10 days`.
    distance: String,
    used_by: Vec<String>,
}

impl Listed {
    fn new(detail: CertificateDetail, now: Timestamp) -> Self {
        let holder = match detail.position {
            0 => detail.holder(),
            position => format!("{}, authority {position}", detail.holder()),
        };
        let facts = detail.facts;
        let (standing, distance) = standing(facts.not_before, facts.not_after, now);
        Self {
            holder,
            subject: facts.subject,
            issuer: (!facts.self_signed).then_some(facts.issuer),
            names: facts.names.join(", "),
            serial: facts.serial,
            key: facts.key,
            uses: facts.uses.join(", "),
            sha256: facts.sha256,
            sha1: facts.sha1,
            from: Moment(facts.not_before),
            until: Moment(facts.not_after),
            standing,
            distance,
            used_by: detail.used_by.iter().map(ToString::to_string).collect(),
        }
    }

    /// Whether a text, in lower case, is in what the list shows.
    fn holds(&self, text: &str) -> bool {
        let shown = [&self.holder, &self.subject, &self.names, &self.serial, &self.sha256, &self.sha1];
        let mut shown = shown.into_iter().chain(&self.issuer).chain(&self.used_by);
        shown.any(|word| word.to_lowercase().contains(text))
    }
}

pub(crate) fn standing(from: Timestamp, until: Timestamp, now: Timestamp) -> (Badge, String) {
    let days = |count: i64| if count == 1 { "1 day".to_owned() } else { format!("{count} days") };
    if until < now {
        let since = days((now - until).num_days());
        return (Badge::new(Tone::Bad, Icon::Cross, "Expired"), format!("{since} ago"));
    }
    let left = format!("in {}", days((until - now).num_days()));
    if from > now {
        return (Badge::new(Tone::Warn, Icon::Clock, "Not valid yet"), left);
    }
    if (until - now).num_days() < SOON {
        return (Badge::new(Tone::Warn, Icon::Warning, "Ends soon"), left);
    }
    (Badge::new(Tone::Good, Icon::Check, "Valid"), left)
}

/// `GET /certificates`
pub(crate) async fn page(
    auth: Authorized<ViewDefinitions>,
    State(state): State<Arc<AppState>>,
    query: ListQuery,
) -> Result<Response, PageError> {
    let search = query.get("search").unwrap_or_default().to_owned();
    let may_change = auth.may(Permission::ChangeDefinitions);
    let caller = Caller { actor: Actor::User(auth.user.name.clone()), role: auth.user.role };
    show(&state, auth.layout(Section::Certificates), (&caller, may_change), &search, None).await
}

/// The page, with what was wrong with a form.
async fn show(
    state: &AppState,
    layout: Layout,
    (caller, may_change): (&Caller, bool),
    search: &str,
    problem: Option<String>,
) -> Result<Response, PageError> {
    let control = state.node.control().ok_or_else(PageError::not_found)?;
    let definitions = state.node.definitions();
    let list = control.certificates_of(caller, &definitions).await?;
    let exchanges = control.certificate_exchanges(caller, &definitions).await?;
    let (now, count) = (state.now(), list.certificates.len());
    let mut certificates: Vec<Listed> =
        list.certificates.into_iter().map(|detail| Listed::new(detail, now)).collect();
    let wanted = search.trim().to_lowercase();
    certificates.retain(|listed| listed.holds(&wanted));
    // Who looks here wants to know what ends next.
    certificates.sort_by_key(|listed| listed.until.0);
    let (proposals, announcements) = exchange::listed(exchanges, now);
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let page = CertificatesPage {
        layout,
        search: search.to_owned(),
        certificates,
        count,
        problems: list.problems,
        problem,
        may_change,
        proposals,
        announcements,
    };
    Ok((status, Html(page.render()?)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_in_days() {
        let day = |day: i64| Timestamp::from_timestamp(1_795_183_800 + day * 86_400, 0).unwrap();
        for (from, until, word, distance) in [
            (-9, -1, "Expired", "1 day ago"),
            (-9, 0, "Ends soon", "in 0 days"),
            (-9, 1, "Ends soon", "in 1 day"),
            (-9, 59, "Ends soon", "in 59 days"),
            (-9, 60, "Valid", "in 60 days"),
            (1, 400, "Not valid yet", "in 400 days"),
        ] {
            let (badge, told) = standing(day(from), day(until), day(0));
            assert_eq!((badge.word, told.as_str()), (word, distance));
        }
    }
}
