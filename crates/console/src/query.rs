//! Filters live in the URL: reading them, writing them, taking one away; and paging by keyset.

use crate::show::duration_text;
use axum::extract::FromRequestParts;
use chrono::{NaiveDateTime, TimeDelta, Timelike as _};
use http::request::Parts;
use model::Timestamp;
use std::convert::Infallible;
use std::str::FromStr;
use std::time::Duration;
use store::{Cursor, Page, TextIndex};

use url::form_urlencoded::{Serializer, parse};

/// Longest value of a filter, in bytes; what is longer is left out.
const LONGEST_VALUE: usize = 512;
/// Whether the console's own connections are shown: `yes`.
pub(crate) const CONSOLE: &str = "console";
/// Rows of a page.
pub(crate) const ROWS: u32 = 50;
/// Pages that `Newer` finds its way back through; before that it leads to the newest.
const TRAIL: usize = 20;
/// What sets cursors of the trail apart.
const STEP: char = '~';

/// The parameters of a list, in order, without empty ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pairs: Vec<(String, String)>,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::read(parts.uri.query().unwrap_or_default()))
    }
}

impl Asked {
    pub(crate) fn read(query: &str) -> Self {
        let pairs = parse(query.as_bytes())
            .map(|(key, value)| (key.into_owned(), value.trim().to_owned()))
            .filter(|(key, value)| {
                key.len() <= 32 && !value.is_empty() && (value.len() <= LONGEST_VALUE || key == "trail")
            })
            .take(32)
            .collect();
        Self { pairs }
    }

    /// The value of a filter.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str())
    }

    /// The value of a field for a moment, as `datetime-local` takes it; what it does not take it drops, and
    /// the next search would be without it.
    pub(crate) fn moment(&self, key: &str) -> String {
        let Some(at) = self.get(key).and_then(moment) else { return String::new() };
        let form = if at.second() == 0 { "%Y-%m-%dT%H:%M" } else { "%Y-%m-%dT%H:%M:%S" };
        at.format(form).to_string()
    }

    /// The URL of the same list with some filters changed (`None` takes one away).
    pub(crate) fn url(&self, path: &str, changes: &[(&str, Option<&str>)]) -> String {
        let mut query = Serializer::new(String::new());
        for (key, value) in &self.pairs {
            if !changes.iter().any(|(changed, _)| changed == key) {
                query.append_pair(key, value);
            }
        }
        for (key, value) in changes {
            if let Some(value) = value {
                query.append_pair(key, value);
            }
        }
        match query.finish() {
            query if query.is_empty() => path.to_owned(),
            query => format!("{path}?{query}"),
        }
    }

    /// The same list from its beginning with one filter set.
    pub(crate) fn with(&self, path: &str, key: &str, value: &str) -> String {
        self.url(path, &[("after", None), ("trail", None), (key, Some(value))])
    }

    /// The same list from its beginning without one filter.
    pub(crate) fn without(&self, path: &str, key: &str) -> String {
        self.url(path, &[("after", None), ("trail", None), (key, None)])
    }
}

/// Reads filters and remembers what of them was not understood.
pub(crate) struct Reading<'a> {
    pub(crate) asked: &'a Asked,
    path: &'static str,
    /// The filters in force, each with the link that takes it away.
    pub(crate) chips: Vec<Chip>,
    /// What could not be read, for people.
    pub(crate) problems: Vec<String>,
}

/// Of a search that was ended before its end.
pub(crate) fn ended(after: Option<Duration>) -> Option<String> {
    let after = duration_text(after?);
    Some(format!(
        "The search was ended after {after}, before its end: what it would have found is not known. Choose a \
         shorter time, or a flow, an endpoint or a kind as well."
    ))
}

/// How often a list is kept current, in seconds: a search through text seldom, as it may take long.
pub(crate) const fn live_every(through_text: bool) -> u32 {
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

impl<'a> Reading<'a> {
    pub(crate) fn new(asked: &'a Asked, path: &'static str) -> Self {
        Self { asked, path, chips: Vec::new(), problems: Vec::new() }
    }

    /// A filter of any text.
    pub(crate) fn text(&mut self, key: &str, name: &'static str) -> Option<String> {
        let value = self.asked.get(key)?.to_owned();
        self.chip(key, name, crate::show::safe_text(&value));
        Some(value)
    }

    /// A filter that takes some values only.
    pub(crate) fn word<T>(
        &mut self,
        key: &str,
        name: &'static str,
        read: impl Fn(&str) -> Option<(T, String)>,
    ) -> Option<T> {
        let value = self.asked.get(key)?;
        match read(value) {
            Some((value, shown)) => {
                self.chip(key, name, shown);
                Some(value)
            }
            None => {
                self.problems.push(format!(
                    "{name}: there is no \u{201c}{}\u{201d}; this filter was left out.",
                    crate::show::safe_text(value)
                ));
                None
            }
        }
    }

    /// A filter by id.
    pub(crate) fn id<T: FromStr + ToString>(&mut self, key: &str, name: &'static str) -> Option<T> {
        self.word(key, name, |text| text.parse::<T>().ok().map(|id| (id, text.to_owned())))
    }

    /// Whether the console's own connections are left out, as they are unless asked for: they would drown
    /// the rest. To be read last: its chip is a filter that nobody chose.
    pub(crate) fn without_console(&mut self) -> bool {
        match self.asked.get(CONSOLE) {
            Some("yes") => false,
            _ => {
                self.chips.push(Chip {
                    name: "Console\u{2019}s own connections",
                    value: "left out".to_owned(),
                    remove: self.asked.with(self.path, CONSOLE, "yes"),
                });
                true
            }
        }
    }

    /// Says of a search through text that it could be faster.
    pub(crate) fn tell_index(&mut self, index: &TextIndex, through_text: bool) {
        if let (TextIndex::Off, true) = (index, through_text) {
            self.problems.push(
                "Without indexes for searching text (database.text_search_indexes is false) a search looks \
                 through all rows of the time chosen."
                    .to_owned(),
            );
        }
        if let (TextIndex::Missing(_), true) = (index, through_text) {
            self.problems.push(
                "PostgreSQL\u{2019}s extension pg_trgm is missing: without it a search looks through all rows of \
                 the time chosen. The administrator of the database makes it with CREATE EXTENSION pg_trgm; \
                 Waybill uses it from its next start on."
                    .to_owned(),
            );
        }
    }

    fn chip(&mut self, key: &str, name: &'static str, value: String) {
        self.chips.push(Chip { name, value, remove: self.asked.without(self.path, key) });
    }

    /// The time range: `within` so long, or `from` and `to` in UTC. A search through text may look through
    /// every row of the range: without one asked for it is the last day, and says so.
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
                self.problems.push(match to {
                    Some(to) if to < now => format!(
                        "Looked through the 24 hours before {}. Choose a beginning to look further back.",
                        to.format("%Y-%m-%d %H:%M UTC")
                    ),
                    _ => "Looked through the last 24 hours. Choose a time to look further back.".to_owned(),
                });
                end.checked_sub_signed(TimeDelta::days(1))
            }
            None => None,
        };
        // Both hold: the later of two beginnings.
        Span { from: from.max(start), to }
    }

    /// The page asked for.
    pub(crate) fn page(&mut self) -> Page {
        let after = self.asked.get("after").and_then(|text| {
            let cursor = text.parse::<Cursor>().ok();
            if cursor.is_none() {
                self.problems
                    .push("The place in the list could not be read: this is its beginning.".to_owned());
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

/// A moment as a form's field gives it (`2026-11-20T14:10`, UTC), or RFC 3339.
fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(at) = chrono::DateTime::parse_from_rfc3339(text) {
        return Some(at.to_utc());
    }
    ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .map(|at| at.and_utc())
        .or_else(|| {
            let day = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
            Some(day.and_hms_opt(0, 0, 0)?.and_utc())
        })
}

/// What pages are called in lists by time.
const WORDS: [&str; 3] = ["Newest", "Newer", "Older"];

/// Where the neighbours of a page are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pager {
    /// The newest rows; none on their page.
    pub(crate) newest: Option<String>,
    pub(crate) newer: Option<String>,
    pub(crate) older: Option<String>,
    /// What the three are called.
    pub(crate) words: [&'static str; 3],
}

impl Pager {
    /// Lists are read one way, from newer to older; the way back is a trail of cursors in the URL.
    pub(crate) fn new(asked: &Asked, path: &str, next: Option<Cursor>) -> Self {
        let after = asked.get("after");
        let mut trail: Vec<&str> =
            asked.get("trail").map(|trail| trail.split(STEP).collect()).unwrap_or_default();
        let newest = after.map(|_| asked.url(path, &[("after", None), ("trail", None)]));
        let older = next.map(|next| {
            let mut further = trail.clone();
            further.extend(after);
            let further = &further[further.len().saturating_sub(TRAIL)..];
            let further = further.join(&STEP.to_string());
            let trail = Some(further.as_str()).filter(|trail| !trail.is_empty());
            asked.url(path, &[("after", Some(&next.to_string())), ("trail", trail)])
        });
        let newer = after.map(|_| {
            let before = trail.pop();
            let trail = trail.join(&STEP.to_string());
            let trail = Some(trail.as_str()).filter(|trail| !trail.is_empty());
            asked.url(path, &[("after", before), ("trail", trail)])
        });
        Self { newest, newer, older, words: WORDS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_keep_what_they_are_not_told_to_change() {
        let asked = Asked::read("state=failed&name=a%26b+%C3%A9&flow=&after=1.2");
        assert_eq!(asked.get("name"), Some("a&b é"));
        assert_eq!(asked.get("flow"), None);
        assert_eq!(asked.without("/t", "state"), "/t?name=a%26b+%C3%A9");
        assert_eq!(asked.with("/t", "state", "held"), "/t?name=a%26b+%C3%A9&state=held");
        assert_eq!(Asked::read("").url("/t", &[]), "/t");
    }

    #[test]
    fn the_way_back_is_the_way_there() {
        let cursor = |n: i64| Cursor {
            at: chrono::DateTime::from_timestamp_micros(n).unwrap(),
            id: uuid::Uuid::from_u128(n.unsigned_abs().into()),
        };
        let mut urls = vec!["/t?state=held".to_owned()];
        for n in 1..=30 {
            let url = urls.last().unwrap();
            let asked = Asked::read(url.split_once('?').unwrap().1);
            urls.push(Pager::new(&asked, "/t", Some(cursor(n))).older.unwrap());
        }
        let mut here = urls.pop().unwrap();
        for expected in urls.iter().rev().take(TRAIL) {
            let asked = Asked::read(here.split_once('?').unwrap().1);
            here = Pager::new(&asked, "/t", None).newer.unwrap();
            let place =
                |url: &str| Asked::read(url.split_once('?').unwrap().1).get("after").map(str::to_owned);
            assert_eq!(place(&here), place(expected));
        }
        let first = Pager::new(&Asked::read("state=held"), "/t", None);
        assert_eq!(first, Pager { newest: None, newer: None, older: None, words: WORDS });
    }

    #[test]
    fn a_span_is_what_all_its_filters_leave() {
        let now = moment("2026-11-20T14:10").unwrap();
        let span = |query: &str, bounded| {
            let asked = Asked::read(query);
            let mut reading = Reading::new(&asked, "/t");
            let span = reading.span(now, bounded);
            let text = |at: Option<Timestamp>| at.map(|at| at.format("%Y-%m-%dT%H:%M").to_string());
            (text(span.from), text(span.to), reading.problems.join(" "))
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

    #[test]
    fn fields_for_moments_take_what_they_are_given() {
        let asked = Asked::read("from=2026-11-20T15:10:00%2B01:00&to=2026-11-20T14:10:05Z&x=yesterday");
        assert_eq!(asked.moment("from"), "2026-11-20T14:10");
        assert_eq!(asked.moment("to"), "2026-11-20T14:10:05");
        assert_eq!((asked.moment("x"), asked.moment("y")), (String::new(), String::new()));
    }

    #[test]
    fn times_are_read_as_forms_write_them() {
        for (text, seconds) in [
            ("2026-11-20T14:10", 1_795_183_800),
            ("2026-11-20T14:10:05", 1_795_183_805),
            ("2026-11-20", 1_795_132_800),
            ("2026-11-20T15:10:00+01:00", 1_795_183_800),
        ] {
            assert_eq!(moment(text).unwrap().timestamp(), seconds, "{text}");
        }
        assert_eq!(moment("yesterday"), None);
    }
}
