//! `/connections`: every socket, open and closed.

use crate::state::AppState;
use crate::web::access::{Authorized, ViewTransfers};
use crate::web::badge::direction;
use crate::web::choices::{Choice, console_connections, data_connections, times};
use crate::web::connection_table::{CONNECTIONS, ConnectionTable, protocol_name};
use crate::web::filters::{CONSOLE, DATA, FilterReader};
use crate::web::layout::{Layout, Section};
use crate::web::list::Results;
use crate::web::list_query::ListQuery;
use crate::web::page_error::PageError;
use crate::web::search::{Search, search};
use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use model::{Direction, Protocol, Result as ModelResult, Timestamp};
use std::sync::Arc;
use store::{ConnectionFilter, ConnectionView, Listing, Page, Store};

#[derive(Template)]
#[template(path = "connections.html")]
struct ConnectionsPage {
    layout: Layout,
    query: ListQuery,
    live: Option<bool>,
    failed: bool,
    all_url: String,
    live_url: String,
    closed_url: String,
    failed_url: String,
    protocols: Vec<Choice>,
    directions: Vec<Choice>,
    times: Vec<Choice>,
    console: Vec<Choice>,
    data: Vec<Choice>,
    more: bool,
    results: Results,
}

struct Connections;

impl Search for Connections {
    type Filter = ConnectionFilter;
    type Row = ConnectionView;
    type Table = ConnectionTable;
    const PATH: &'static str = CONNECTIONS;
    const TITLE: &'static str = "Connections";
    const NOUNS: (&'static str, &'static str) = ("connection", "connections");
    const EMPTY_HINT: &'static str = "Every connection that Waybill opens or accepts is shown here, with its addresses \
        and its encryption.";

    fn read(reader: &mut FilterReader<'_>, now: Timestamp) -> (ConnectionFilter, bool) {
        let filter = filter(reader, now);
        let through_text = filter.address.is_some();
        (filter, through_text)
    }

    fn read_defaults(reader: &mut FilterReader<'_>, filter: &mut ConnectionFilter) {
        filter.without_console = reader.without_console();
        // Of one control connection they are what was asked for.
        filter.without_data = filter.control.is_none() && reader.without_data();
    }

    async fn find(
        store: &Store,
        filter: &ConnectionFilter,
        page: Page,
    ) -> ModelResult<Listing<ConnectionView>> {
        store.connections(filter, page).await
    }

    fn table(rows: &[ConnectionView], now: Timestamp) -> ConnectionTable {
        ConnectionTable::new("Connections, newest first", rows, now)
    }
}

fn yes_or_no(word: &str) -> Option<(bool, String)> {
    match word {
        "yes" => Some((true, "yes".to_owned())),
        "no" => Some((false, "no".to_owned())),
        _ => None,
    }
}

fn filter(reader: &mut FilterReader<'_>, now: Timestamp) -> ConnectionFilter {
    let live = reader.word("live", "Open", yes_or_no);
    let failed = reader.word("failed", "Failed", yes_or_no);
    let control = reader.id("control", "Data connections of");
    let endpoint = reader.text("endpoint", "Endpoint");
    let protocol = reader.word("protocol", "Protocol", |word| {
        Protocol::parse(word).map(|protocol| (protocol, protocol_name(protocol).to_owned()))
    });
    let way = reader.word("direction", "Direction", |word| {
        Direction::parse(word).map(|way| (way, direction(way).1.to_owned()))
    });
    let address = reader.text("address", "Host or address");
    let span = reader.span(now, address.is_some() && live != Some(true));
    ConnectionFilter {
        live,
        endpoint,
        protocol,
        direction: way,
        address,
        failed,
        control,
        without_console: false,
        without_data: false,
        from: span.from,
        to: span.to,
    }
}

/// `GET /connections`
pub(crate) async fn page(
    auth: Authorized<ViewTransfers>,
    State(state): State<Arc<AppState>>,
    query: ListQuery,
) -> Result<Response, PageError> {
    let (filter, results) = search::<Connections>(&state, &query).await?;
    if auth.fragment {
        return Ok(Html(results.list.render()?).into_response());
    }
    let tab = |live: Option<&str>, failed: Option<&str>| {
        query.url(CONNECTIONS, &[("after", None), ("trail", None), ("live", live), ("failed", failed)])
    };
    let page = ConnectionsPage {
        layout: auth.layout(Section::Connections),
        live: filter.live,
        failed: filter.failed == Some(true),
        all_url: tab(None, None),
        live_url: tab(Some("yes"), None),
        closed_url: tab(Some("no"), None),
        failed_url: tab(None, Some("yes")),
        protocols: Protocol::ALL
            .iter()
            .map(|protocol| Choice {
                value: protocol.as_str(),
                label: protocol_name(*protocol),
                chosen: filter.protocol == Some(*protocol),
            })
            .collect(),
        directions: Direction::ALL
            .iter()
            .map(|way| Choice {
                value: way.as_str(),
                label: direction(*way).1,
                chosen: filter.direction == Some(*way),
            })
            .collect(),
        times: times(&query),
        console: console_connections(&query),
        data: data_connections(&query),
        more: ["from", "to", "direction", CONSOLE, DATA].iter().any(|key| query.get(key).is_some()),
        query,
        results,
    };
    Ok(Html(page.render()?).into_response())
}
