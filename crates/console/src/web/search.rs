//! A list that is a search of the database: from the URL's filters to the page of the list, once for all of them.

use crate::state::AppState;
use crate::web::filters::{FilterReader, refresh_every, stopped};
use crate::web::format::{Moment, unreadable_rows};
use crate::web::list::{List, Results};
use crate::web::list_query::ListQuery;
use crate::web::page_error::PageError;
use crate::web::pager::Pager;
use askama::Template;
use model::{Result, Timestamp};
use store::{Listing, Page, Store};

/// What can be searched.
pub(crate) trait Search {
    type Filter: Send;
    type Row: Send;
    type Table: Template;
    /// The page's path.
    const PATH: &'static str;
    /// The page's heading.
    const TITLE: &'static str;
    /// What is listed: one, and several.
    const NOUNS: (&'static str, &'static str);
    /// What to know as long as there is nothing to list: HTML.
    const EMPTY_HINT: &'static str;

    /// Reads the filters; and whether they need a search through text.
    fn read(reader: &mut FilterReader<'_>, now: Timestamp) -> (Self::Filter, bool);

    /// A filter that holds unless the URL says otherwise: its chip is shown although the reader did not choose it.
    fn read_defaults(_reader: &mut FilterReader<'_>, _filter: &mut Self::Filter) {}

    /// Finds a page of rows.
    fn find(
        store: &Store,
        filter: &Self::Filter,
        page: Page,
    ) -> impl Future<Output = Result<Listing<Self::Row>>> + Send;

    /// The rows as a table.
    fn table(rows: &[Self::Row], now: Timestamp) -> Self::Table;
}

/// Searches as the URL says.
pub(crate) async fn search<S: Search>(
    state: &AppState,
    query: &ListQuery,
) -> std::result::Result<(S::Filter, Results), PageError> {
    let now = state.now();
    let mut reader = FilterReader::new(query, S::PATH);
    let (mut filter, through_text) = S::read(&mut reader, now);
    reader.note_index(state.store.text_index(), through_text);
    let page = reader.page();
    let filtered = !reader.chips.is_empty();
    S::read_defaults(&mut reader, &mut filter);
    let (chips, notices) = (reader.chips, reader.notices);
    let found = S::find(&state.store, &filter, page).await?;
    let list = List {
        noun: S::NOUNS.1,
        table: if found.rows.is_empty() { None } else { Some(S::table(&found.rows, now).render()?) },
        filtered,
        empty_hint: S::EMPTY_HINT,
        stopped: found.ended_after.map(stopped),
        unreadable: unreadable_rows(S::NOUNS.0, &found.unreadable),
        pager: Pager::new(query, S::PATH, found.next),
        at: Moment(now),
    };
    let refresh_every = refresh_every(through_text);
    Ok((filter, Results { path: S::PATH, title: S::TITLE, chips, notices, refresh_every, list }))
}
