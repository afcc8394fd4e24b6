//! Filters of a list: read from the URL, shown as chips, and what of them was not understood.

use crate::web::format::{duration_text, safe_text};
use crate::web::list_query::{ListQuery, moment};
use chrono::TimeDelta;
use model::Timestamp;
use std::str::FromStr;
use std::time::Duration;
use store::{Cursor, Page, TextIndex};

/// Whether the console's own connections are shown: `yes`.
pub(crate) const CONSOLE: &str = "console";
/// Whether data connections (FTP) are shown: `yes`.
pub(crate) const DATA: &str = "data";
/// Rows of a page.
pub(crate) const ROWS: u32 = 50;

/// Reads filters and remembers what of them was not understood.
pub(crate) struct FilterReader<'a> {
    pub(crate) query: &'a ListQuery,
    path: &'static str,
    /// The filters in force, each with the link that takes it away.
    pub(crate) chips: Vec<Chip>,
    /// What could not be read, and other notes for the reader.
    pub(crate) notices: Vec<String>,
}

/// Said of a search that was stopped after that time.
pub(crate) fn stopped(after: Duration) -> String {
    format!(
        "The search was stopped after {}. It may have missed results. Choose a shorter time range, or add another \
         filter, such as a flow or an endpoint.",
        duration_text(after)
    )
}

/// How often a list refreshes itself, in seconds: a search through text seldom, as it may take long.
pub(crate) const fn refresh_every(through_text: bool) -> u32 {
    if through_text { 60 } else { 5 }
}

/// A filter in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Chip {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// The list without it.
    pub(crate) remove: String,
}

impl<'a> FilterReader<'a> {
    pub(crate) fn new(query: &'a ListQuery, path: &'static str) -> Self {
        Self { query, path, chips: Vec::new(), notices: Vec::new() }
    }

    /// A filter of any text.
    pub(crate) fn text(&mut self, key: &str, name: &'static str) -> Option<String> {
        let value = self.query.get(key)?.to_owned();
        self.chip(key, name, safe_text(&value));
        Some(value)
    }

    /// A filter that takes some values only.
    pub(crate) fn word<T>(
        &mut self,
        key: &str,
        name: &'static str,
        read: impl Fn(&str) -> Option<(T, String)>,
    ) -> Option<T> {
        let value = self.query.get(key)?;
        match read(value) {
            Some((value, shown)) => {
                self.chip(key, name, shown);
                Some(value)
            }
            None => {
                self.notices.push(format!(
                    "Filter {name}: \u{201c}{}\u{201d} is not a valid value. The filter was ignored.",
                    safe_text(value)
                ));
                None
            }
        }
    }

    /// A filter by id.
    pub(crate) fn id<T: FromStr + ToString>(&mut self, key: &str, name: &'static str) -> Option<T> {
        self.word(key, name, |text| text.parse::<T>().ok().map(|id| (id, text.to_owned())))
    }

    /// Whether the console's own connections are left out, as they are unless asked for: there are many of
    /// them. To be read last: its chip is shown although the reader did not choose it.
    pub(crate) fn without_console(&mut self) -> bool {
        self.hidden(CONSOLE, "Console\u{2019}s own connections")
    }

    /// Whether data connections (FTP) are left out, as they are unless asked for: there is one for each listing and
    /// file. To be read last, as [`Self::without_console`].
    pub(crate) fn without_data(&mut self) -> bool {
        self.hidden(DATA, "FTP data connections")
    }

    fn hidden(&mut self, key: &str, name: &'static str) -> bool {
        let hidden = self.query.get(key) != Some("yes");
        if hidden {
            let remove = self.query.with(self.path, key, "yes");
            self.chips.push(Chip { name, value: "hidden".to_owned(), remove });
        }
        hidden
    }

    /// Says why a search through text is slow, when it is.
    pub(crate) fn note_index(&mut self, index: &TextIndex, through_text: bool) {
        if let (TextIndex::Off, true) = (index, through_text) {
            self.notices.push(
                "Text searches are slow: they read all rows of the chosen time range, because the setting \
                 database.text_search_indexes is false."
                    .to_owned(),
            );
        }
        if let (TextIndex::Missing(_), true) = (index, through_text) {
            self.notices.push(
                "Text searches are slow: they read all rows of the chosen time range, because the PostgreSQL \
                 extension pg_trgm is not installed. A database administrator installs it with CREATE EXTENSION \
                 pg_trgm; then restart Waybill."
                    .to_owned(),
            );
        }
    }

    fn chip(&mut self, key: &str, name: &'static str, value: String) {
        self.chips.push(Chip { name, value, remove: self.query.without(self.path, key) });
    }

    /// The time range: `within` so long, or `from` and `to` in UTC. A search through text may look through
    /// every row of the range: where none is chosen it is the last day, and a note says so.
    pub(crate) fn span(&mut self, now: Timestamp, bounded: bool) -> Span {
        let within = self.word("within", "Time", |word| {
            let (_, shown, length) = WITHIN.iter().find(|(known, ..)| *known == word)?;
            Some((*length, (*shown).to_owned()))
        });
        let moment = |text: &str| moment(text).map(|at| (at, at.format("%Y-%m-%d %H:%M UTC").to_string()));
        let from = self.word("from", "From", moment);
        let to = self.word("to", "Until", moment);
        let start = match within {
            Some(length) => length.and_then(|length| now.checked_sub_signed(length)),
            None if bounded && from.is_none() => {
                let end = to.map_or(now, |to| to.min(now));
                self.notices.push(match to {
                    Some(to) if to < now => format!(
                        "Searched the 24 hours before {}. To search further back, set From.",
                        to.format("%Y-%m-%d %H:%M UTC")
                    ),
                    _ => {
                        "Searched the last 24 hours. To search further back, choose a time range.".to_owned()
                    }
                });
                end.checked_sub_signed(TimeDelta::days(1))
            }
            None => None,
        };
        // Both hold: the later of two beginnings.
        Span { from: from.max(start), to }
    }

    /// The page that the URL asks for.
    pub(crate) fn page(&mut self) -> Page {
        let after = self.query.get("after").and_then(|text| {
            let cursor = text.parse::<Cursor>().ok();
            if cursor.is_none() {
                self.notices.push(
                    "The link to this page of the list is not valid. This is the first page.".to_owned(),
                );
            }
            cursor
        });
        Page { after, limit: ROWS }
    }
}

/// A range of time, `to` not included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) from: Option<Timestamp>,
    pub(crate) to: Option<Timestamp>,
}

/// Ranges by name: word in the URL, words for people, length (none: all of it).
pub(crate) const WITHIN: [(&str, &str, Option<TimeDelta>); 6] = [
    ("1h", "last hour", Some(TimeDelta::hours(1))),
    ("24h", "last 24 hours", Some(TimeDelta::hours(24))),
    ("7d", "last 7 days", Some(TimeDelta::days(7))),
    ("30d", "last 30 days", Some(TimeDelta::days(30))),
    ("1y", "last year", Some(TimeDelta::days(366))),
    ("all", "all time", None),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_what_all_its_filters_leave() {
        let now = moment("2026-11-20T14:10").unwrap();
        let span = |text: &str, bounded| {
            let query = ListQuery::read(text);
            let mut reader = FilterReader::new(&query, "/t");
            let span = reader.span(now, bounded);
            let text = |at: Option<Timestamp>| at.map(|at| at.format("%Y-%m-%dT%H:%M").to_string());
            (text(span.from), text(span.to), reader.notices.join(" "))
        };
        let is = |text: &str| Some(text.to_owned());
        // The later beginning, whichever it is.
        assert_eq!(span("within=24h&from=2026-11-20T09:00", false).0, is("2026-11-20T09:00"));
        assert_eq!(span("within=24h&from=2026-01-01", false).0, is("2026-11-19T14:10"));
        assert_eq!(span("within=all&from=2026-01-01", true).0, is("2026-01-01T00:00"));
        // A search through text is bounded from its end.
        let (from, to, said) = span("to=2025-03-31", true);
        assert_eq!((from, to), (is("2025-03-30T00:00"), is("2025-03-31T00:00")));
        assert!(said.contains("24 hours before 2025-03-31 00:00 UTC"), "{said}");
        let (from, _, said) = span("to=2027-01-01", true);
        assert_eq!(from, is("2026-11-19T14:10"));
        assert!(said.contains("the last 24 hours"), "{said}");
        assert_eq!(span("to=2025-03-31", false), (None, is("2025-03-31T00:00"), String::new()));
    }
}
