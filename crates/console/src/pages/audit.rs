//! `/audit`: the audit trail.

use crate::state::AppState;
use crate::web::access::{Authorized, ViewAudit};
use crate::web::badge::Badge;
use crate::web::choices::{Choice, console_connections, times};
use crate::web::event_table::EventTable;
use crate::web::filters::{CONSOLE, FilterReader};
use crate::web::layout::{Layout, Section};
use crate::web::list::Results;
use crate::web::list_query::ListQuery;
use crate::web::page_error::PageError;
use crate::web::search::{Search, search};
use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use model::{EventKind, Result as ModelResult, Severity, Timestamp};
use std::sync::Arc;
use store::{EventFilter, EventView, Listing, Page, Store};

const PATH: &str = "/audit";

/// A kind of event to choose; kinds are grouped by what they are about.
struct Kind {
    word: &'static str,
    group: &'static str,
    opens: bool,
    closes: bool,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    layout: Layout,
    query: ListQuery,
    kinds: Vec<Kind>,
    kind: String,
    severities: Vec<Choice>,
    times: Vec<Choice>,
    console: Vec<Choice>,
    more: bool,
    results: Results,
}

struct Events;

impl Search for Events {
    type Filter = EventFilter;
    type Row = EventView;
    type Table = EventTable;
    const PATH: &'static str = PATH;
    const TITLE: &'static str = "Audit events";
    const NOUNS: (&'static str, &'static str) = ("audit event", "audit events");
    const EMPTY_HINT: &'static str = "Every step of every transfer and every connection is recorded here.";

    fn read(reader: &mut FilterReader<'_>, now: Timestamp) -> (EventFilter, bool) {
        let filter = filter(reader, now);
        let through_text = filter.text.is_some();
        (filter, through_text)
    }

    fn read_defaults(reader: &mut FilterReader<'_>, filter: &mut EventFilter) {
        // Who asks for one transfer or one connection gets all about it.
        if filter.transfer.is_none() && filter.connection.is_none() {
            filter.without_console = reader.without_console();
        }
    }

    async fn find(store: &Store, filter: &EventFilter, page: Page) -> ModelResult<Listing<EventView>> {
        store.events(filter, page).await
    }

    fn table(rows: &[EventView], _now: Timestamp) -> EventTable {
        EventTable::new("Audit events, newest first", rows, true)
    }
}

fn kinds(chosen: Option<&str>) -> Vec<Kind> {
    let group = |word: &'static str| word.split_once('.').map_or(word, |(group, _)| group);
    let mut words: Vec<&'static str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
    // The same group is together, in the order in which groups come first.
    let order: Vec<&str> = words.iter().map(|word| group(word)).collect();
    words.sort_by_key(|word| order.iter().position(|found| *found == group(word)));
    words
        .iter()
        .enumerate()
        .map(|(place, word)| Kind {
            word,
            group: group(word),
            opens: place == 0 || group(words[place - 1]) != group(word),
            closes: words.get(place + 1).is_none_or(|next| group(next) != group(word)),
            chosen: chosen == Some(*word),
        })
        .collect()
}

fn filter(reader: &mut FilterReader<'_>, now: Timestamp) -> EventFilter {
    let kind = reader.word("kind", "Kind", |word| {
        let known = EventKind::ALL
            .iter()
            .any(|kind| kind.as_str() == word || (word.ends_with('.') && kind.as_str().starts_with(word)));
        known.then(|| (word.to_owned(), word.to_owned()))
    });
    let severity = reader.word("severity", "Severity", |word| {
        let severity = Severity::parse(word)?;
        Some((severity, Badge::severity(severity).word.to_owned()))
    });
    let flow = reader.text("flow", "Flow");
    let endpoint = reader.text("endpoint", "Endpoint");
    let transfer = reader.id("transfer", "Transfer");
    let connection = reader.id("connection", "Connection");
    let actor = reader.text("actor", "Actor");
    let text = reader.text("text", "Text");
    let span = reader.span(now, text.is_some() && transfer.is_none() && connection.is_none());
    EventFilter {
        kind,
        severity,
        flow,
        endpoint,
        transfer,
        connection,
        actor,
        text,
        without_console: false,
        from: span.from,
        to: span.to,
    }
}

/// `GET /audit`
pub(crate) async fn page(
    auth: Authorized<ViewAudit>,
    State(state): State<Arc<AppState>>,
    query: ListQuery,
) -> Result<Response, PageError> {
    let (filter, results) = search::<Events>(&state, &query).await?;
    if auth.fragment {
        return Ok(Html(results.list.render()?).into_response());
    }
    let kind = filter.kind.unwrap_or_default();
    let page = AuditPage {
        layout: auth.layout(Section::Audit),
        kinds: kinds(Some(kind.as_str())),
        kind,
        severities: Severity::ALL
            .iter()
            .map(|severity| Choice {
                value: severity.as_str(),
                label: Badge::severity(*severity).word,
                chosen: filter.severity == Some(*severity),
            })
            .collect(),
        times: times(&query),
        console: console_connections(&query),
        more: ["flow", "endpoint", "transfer", "connection", "actor", "from", "to", CONSOLE]
            .iter()
            .any(|key| query.get(key).is_some()),
        query,
        results,
    };
    Ok(Html(page.render()?).into_response())
}
