//! The query of a list's URL: its filters and its place. Reading it, writing it, taking one filter away.

use axum::extract::FromRequestParts;
use chrono::{NaiveDateTime, Timelike as _};
use http::request::Parts;
use model::Timestamp;
use std::convert::Infallible;
use url::form_urlencoded::{Serializer, parse};

/// Longest value of a filter, in bytes; what is longer is left out.
const LONGEST_VALUE: usize = 512;

/// The parameters of a list, in order, without empty ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListQuery {
    pairs: Vec<(String, String)>,
}

impl<S: Sync> FromRequestParts<S> for ListQuery {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::read(parts.uri.query().unwrap_or_default()))
    }
}

impl ListQuery {
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
        let mut written = Serializer::new(String::new());
        for (key, value) in &self.pairs {
            if !changes.iter().any(|(changed, _)| changed == key) {
                written.append_pair(key, value);
            }
        }
        for (key, value) in changes {
            if let Some(value) = value {
                written.append_pair(key, value);
            }
        }
        match written.finish() {
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

/// A moment as a form's field gives it (`2026-11-20T14:10`, UTC), or RFC 3339.
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_keep_what_they_are_not_told_to_change() {
        let query = ListQuery::read("state=failed&name=a%26b+%C3%A9&flow=&after=1.2");
        assert_eq!(query.get("name"), Some("a&b é"));
        assert_eq!(query.get("flow"), None);
        assert_eq!(query.without("/t", "state"), "/t?name=a%26b+%C3%A9");
        assert_eq!(query.with("/t", "state", "held"), "/t?name=a%26b+%C3%A9&state=held");
        assert_eq!(ListQuery::read("").url("/t", &[]), "/t");
    }

    #[test]
    fn fields_for_moments_take_what_they_are_given() {
        let query = ListQuery::read("from=2026-11-20T15:10:00%2B01:00&to=2026-11-20T14:10:05Z&x=yesterday");
        assert_eq!(query.moment("from"), "2026-11-20T14:10");
        assert_eq!(query.moment("to"), "2026-11-20T14:10:05");
        assert_eq!((query.moment("x"), query.moment("y")), (String::new(), String::new()));
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
