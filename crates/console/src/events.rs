//! `/audit`: the audit trail.

use crate::detail::{Fact, Facts, facts};
use crate::door::Visitor;
use crate::door::session::FRAGMENT;
use crate::frame::{Frame, Section};
use crate::problem::Problem;
use crate::query::{Asked, CONSOLE, Chip, Pager, Reading, ended, live_every};
use crate::show::{Badge, Icon, Moment, ShortId, Tone, one_line, safe_text, unreadable_rows};
use crate::site::Site;
use crate::transfers::{Choice, shown_or_not, times};
use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use http::HeaderMap;
use model::{EventKind, Severity, Timestamp};
use std::sync::Arc;
use store::{EventFilter, EventView};
use uuid::Uuid;

const PATH: &str = "/audit";

/// An event in a list.
pub(crate) struct EventLine {
    /// Its id, by which a list that is refreshed knows it again.
    pub(crate) key: Uuid,
    pub(crate) at: Moment,
    pub(crate) badge: Badge,
    pub(crate) kind: String,
    pub(crate) summary: String,
    pub(crate) flow: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) transfer: Option<ShortId>,
    pub(crate) connection: Option<ShortId>,
    /// Who, where, and the detail.
    pub(crate) facts: Facts,
}

impl EventLine {
    pub(crate) fn new(event: &EventView) -> Self {
        let mut all =
            vec![Fact::new("Actor", safe_text(&event.actor)), Fact::new("Node", safe_text(&event.node))];
        let optional = [
            ("Peer", &event.peer),
            ("Partner", &event.partner),
            ("Endpoint", &event.endpoint),
            ("Flow", &event.flow),
        ];
        all.extend(
            optional
                .into_iter()
                .filter_map(|(name, value)| value.as_deref().map(|value| Fact::new(name, safe_text(value)))),
        );
        if let Some(delivery) = event.delivery {
            all.push(Fact::new("Delivery", delivery.to_string()));
        }
        all.push(Fact::new("Event", event.id.to_string()));
        all.extend(facts(&event.detail));
        Self {
            key: event.id.uuid(),
            at: Moment(event.at),
            badge: Severity::parse(&event.severity)
                .map_or(Badge::new(Tone::Quiet, Icon::Info, "Unknown"), Badge::severity),
            kind: safe_text(&event.kind),
            summary: one_line(&event.summary()),
            flow: event.flow.clone(),
            endpoint: event.endpoint.clone(),
            transfer: event.transfer.map(|id| ShortId(id.uuid())),
            connection: event.connection.map(|id| ShortId(id.uuid())),
            facts: all.into(),
        }
    }
}

#[derive(Template)]
#[template(path = "events_list.html")]
struct EventsList {
    rows: Vec<EventLine>,
    ended: Option<String>,
    unreadable: Vec<String>,
    pager: Pager,
    filtered: bool,
    at: Moment,
}

impl askama::filters::HtmlSafe for EventsList {}

/// A kind of event to choose; kinds are grouped by what they are about.
struct Kind {
    word: &'static str,
    group: &'static str,
    opens: bool,
    closes: bool,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "events.html")]
struct EventsPage {
    frame: Frame,
    asked: Asked,
    kinds: Vec<Kind>,
    kind: String,
    severities: Vec<Choice>,
    times: Vec<Choice>,
    console: Vec<Choice>,
    chips: Vec<Chip>,
    problems: Vec<String>,
    live_every: u32,
    more: bool,
    list: EventsList,
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

fn filter(reading: &mut Reading<'_>, now: Timestamp) -> EventFilter {
    let kind = reading.word("kind", "Kind", |word| {
        let known = EventKind::ALL
            .iter()
            .any(|kind| kind.as_str() == word || (word.ends_with('.') && kind.as_str().starts_with(word)));
        known.then(|| (word.to_owned(), word.to_owned()))
    });
    let severity = reading.word("severity", "Severity", |word| {
        let severity = Severity::parse(word)?;
        Some((severity, Badge::severity(severity).word.to_owned()))
    });
    let flow = reading.text("flow", "Flow");
    let endpoint = reading.text("endpoint", "Endpoint");
    let transfer = reading.id("transfer", "Transfer");
    let connection = reading.id("connection", "Connection");
    let actor = reading.text("actor", "Actor");
    let text = reading.text("text", "Text");
    let span = reading.span(now, text.is_some() && transfer.is_none() && connection.is_none());
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
    State(site): State<Arc<Site>>,
    frame: Frame,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if !frame.visitor.as_ref().is_some_and(Visitor::reads_audit) {
        return Err(Problem::forbidden(
            "The audit trail is not open to viewers.",
            "Ask an administrator for another role. A transfer's own events are on its waybill.",
        ));
    }
    let now = site.now();
    let mut reading = Reading::new(&asked, PATH);
    let mut filter = filter(&mut reading, now);
    let through_text = filter.text.is_some();
    reading.tell_index(site.store.text_index(), through_text);
    let page = reading.page();
    let filtered = !reading.chips.is_empty();
    // Who asks for one transfer or one connection gets all about it.
    if filter.transfer.is_none() && filter.connection.is_none() {
        filter.without_console = reading.without_console();
    }
    let (chips, problems) = (reading.chips, reading.problems);
    let found = site.store.events(&filter, page).await?;
    let list = EventsList {
        rows: found.rows.iter().map(EventLine::new).collect(),
        unreadable: unreadable_rows("audit event", &found.unreadable),
        pager: Pager::new(&asked, PATH, found.next),
        ended: ended(found.ended_after),
        filtered,
        at: Moment(now),
    };
    if headers.contains_key(FRAGMENT) {
        return Ok(Html(list.render()?).into_response());
    }
    let kind = filter.kind.unwrap_or_default();
    let page = EventsPage {
        frame: frame.at(Section::Audit),
        kinds: kinds(Some(kind.as_str())),
        kind,
        severities: Severity::ALL
            .iter()
            .map(|severity| Choice {
                value: severity.as_str(),
                shown: Badge::severity(*severity).word,
                chosen: filter.severity == Some(*severity),
            })
            .collect(),
        times: times(&asked),
        console: shown_or_not(&asked),
        chips,
        problems,
        live_every: live_every(through_text),
        more: ["flow", "endpoint", "transfer", "connection", "actor", "from", "to", CONSOLE]
            .iter()
            .any(|key| asked.get(key).is_some()),
        asked,
        list,
    };
    Ok(Html(page.render()?).into_response())
}
