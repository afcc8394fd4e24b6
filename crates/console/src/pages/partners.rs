//! `/partners`: the partners of the definitions in force, with how the exchange with each of them goes; and
//! `/partners/{name}`, one of them.

mod agreed;
mod certificates;
mod in_use;
mod one;
mod test;

pub(crate) use one::page as one;
pub(crate) use test::{page as tested, send as test};

use crate::state::AppState;
use crate::web::access::{Authorized, ViewTransfers};
use crate::web::badge::{Badge, Icon, Tone};
use crate::web::filters::ROWS;
use crate::web::format::Moment;
use crate::web::layout::{Layout, Section};
use crate::web::list_query::ListQuery;
use crate::web::page_error::PageError;
use crate::web::pager::Pager;
use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use model::definition::{Definitions, Endpoint, Partner};
use model::{DeliveryState, Suspension, SuspensionKind, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::SentExchange;
use url::form_urlencoded::byte_serialize;

/// The path of the list.
const PATH: &str = "/partners";

#[derive(Template)]
#[template(path = "partners.html")]
struct PartnersPage {
    layout: Layout,
    /// What is searched for.
    search: String,
    partners: Vec<Listed>,
    /// How many there are, found or not.
    count: usize,
    pager: Pager,
    at: Moment,
}

/// A partner in the list.
struct Listed {
    name: String,
    url: String,
    title: Option<String>,
    /// Its names in the transports that it speaks.
    ids: String,
    standing: Badge,
    /// Why it stands so.
    why: Option<String>,
    sent: Option<LastSent>,
    received: Option<Moment>,
}

struct LastSent {
    badge: Badge,
    at: Moment,
    url: String,
}

/// The page of a partner.
fn partner_path(name: &str) -> String {
    format!("{PATH}/{}", byte_serialize(name.as_bytes()).collect::<String>())
}

/// The endpoints of a partner, by name.
fn endpoints_of<'a>(definitions: &'a Definitions, partner: &str) -> Vec<&'a Arc<Endpoint>> {
    definitions.endpoints.values().filter(|endpoint| endpoint.partner() == Some(partner)).collect()
}

/// Its names, such as `as2 GLOBEX`.
fn ids(partner: &Partner) -> Vec<(String, String)> {
    let id = |(transport, side): (&String, &model::schema::Values)| {
        Some((transport.clone(), side.text("id")?.to_owned()))
    };
    partner.agreements.iter().filter_map(id).collect()
}

/// What keeps the partner's endpoints from being used: set offline by a person, or offline after failures on this node.
struct Obstacles {
    suspensions: Vec<Suspension>,
    failing: BTreeMap<String, Timestamp>,
}

impl Obstacles {
    fn of(state: &AppState) -> Self {
        let mut suspensions = state.node.suspensions();
        suspensions.retain(|found| found.kind == SuspensionKind::Endpoint);
        let failing = state.node.endpoints().into_iter();
        let failing = failing.filter_map(|endpoint| Some((endpoint.name, endpoint.offline_until?))).collect();
        Self { suspensions, failing }
    }

    /// How the exchange with a partner goes, and why.
    fn standing<'a>(
        &self,
        mut endpoints: impl Iterator<Item = &'a str> + Clone,
        last: Option<&SentExchange>,
        has_received: bool,
    ) -> (Badge, Option<String>) {
        if let Some(set) =
            endpoints.clone().find_map(|name| self.suspensions.iter().find(|set| set.name == name))
        {
            let badge = Badge::new(Tone::Warn, Icon::Pause, "Offline");
            return (badge, Some(format!("endpoint {} is {}", set.name, set.words())));
        }
        if let Some(name) = endpoints.find(|name| self.failing.contains_key(*name)) {
            let badge = Badge::new(Tone::Bad, Icon::Cross, "Offline");
            return (badge, Some(format!("endpoint {name} is offline on this node after failures")));
        }
        let state = last.map(|last| last.state);
        let error = last.and_then(|last| last.error.clone());
        match state {
            Some(DeliveryState::Failed | DeliveryState::Expired) => {
                (Badge::new(Tone::Bad, Icon::Cross, "Failed"), error)
            }
            Some(DeliveryState::Retrying) => (Badge::new(Tone::Warn, Icon::Repeat, "Retrying"), error),
            Some(DeliveryState::Delivered) => (Badge::new(Tone::Good, Icon::Check, "Working"), None),
            _ if has_received => (Badge::new(Tone::Good, Icon::Check, "Working"), None),
            // Nothing that was sent has shown yet that it works.
            Some(DeliveryState::Pending | DeliveryState::Sending | DeliveryState::AwaitingReceipt) => {
                (Badge::new(Tone::Busy, Icon::Clock, "In progress"), None)
            }
            _ => (Badge::new(Tone::Quiet, Icon::Info, "No exchange yet"), None),
        }
    }
}

/// The newest of what was sent to some endpoints.
fn newest<'a>(sent: &'a [SentExchange], endpoints: &[&Arc<Endpoint>]) -> Option<&'a SentExchange> {
    let is_theirs = |sent: &&SentExchange| endpoints.iter().any(|endpoint| endpoint.name == sent.endpoint);
    sent.iter().filter(is_theirs).max_by_key(|sent| sent.created_at)
}

/// `GET /partners`
pub(crate) async fn page(
    auth: Authorized<ViewTransfers>,
    State(state): State<Arc<AppState>>,
    query: ListQuery,
) -> Result<Response, PageError> {
    let definitions = state.node.definitions();
    let search = query.get("search").unwrap_or_default().to_owned();
    let wanted = search.trim().to_lowercase();
    let holds = |partner: &&Arc<Partner>| {
        let ids = ids(partner).into_iter().map(|(_, id)| id);
        let mut words = [Some(partner.name.clone()), partner.title.clone()].into_iter().flatten().chain(ids);
        words.any(|word| word.to_lowercase().contains(&wanted))
    };
    let found: Vec<&Arc<Partner>> = definitions.partners.values().filter(holds).collect();
    let (from, pager) = pages(&query, &found);
    let shown: Vec<&Arc<Partner>> = found[from..].iter().take(ROWS as usize).copied().collect();
    let names: Vec<String> = shown.iter().map(|partner| partner.name.clone()).collect();
    let endpoints: Vec<String> = shown
        .iter()
        .flat_map(|partner| endpoints_of(&definitions, &partner.name))
        .map(|endpoint| endpoint.name.clone())
        .collect();
    let sent = state.store.last_sent_to(&endpoints).await?;
    let received: BTreeMap<String, Timestamp> =
        state.store.last_received_from(&names).await?.into_iter().collect();
    let obstacles = Obstacles::of(&state);
    let listed = |partner: &&Arc<Partner>| {
        let endpoints = endpoints_of(&definitions, &partner.name);
        let last = newest(&sent, &endpoints);
        let received = received.get(&partner.name).copied();
        let names = endpoints.iter().map(|endpoint| endpoint.name.as_str());
        let (standing, why) = obstacles.standing(names, last, received.is_some());
        Listed {
            name: partner.name.clone(),
            url: partner_path(&partner.name),
            title: partner.title.clone(),
            ids: ids(partner).into_iter().map(|(_, id)| id).collect::<Vec<_>>().join(", "),
            standing,
            why,
            sent: last.map(|last| LastSent {
                badge: Badge::delivery(last.state),
                at: Moment(last.created_at),
                url: format!("/transfers/{}", last.transfer),
            }),
            received: received.map(Moment),
        }
    };
    let page = PartnersPage {
        partners: shown.iter().map(listed).collect(),
        layout: auth.layout(Section::Partners),
        search,
        count: definitions.partners.len(),
        pager,
        at: Moment(state.now()),
    };
    Ok(Html(page.render()?).into_response())
}

/// Where the page begins that was asked for: behind the name in `after`, whichever partners there are by now.
fn pages(query: &ListQuery, partners: &[&Arc<Partner>]) -> (usize, Pager) {
    let after = query.get("after");
    let from = after.map_or(0, |after| partners.partition_point(|partner| partner.name.as_str() <= after));
    let rows = ROWS as usize;
    let url = |from: usize| {
        let before = from.checked_sub(1).and_then(|last| partners.get(last));
        query.url(PATH, &[("after", before.map(|partner| partner.name.as_str()))])
    };
    let pager = Pager {
        newest: (from > 0).then(|| url(0)),
        newer: (from > 0).then(|| url(from.saturating_sub(rows))),
        older: (from + rows < partners.len()).then(|| url(from + rows)),
        words: ["First", "Previous", "Next"],
    };
    (from, pager)
}
