//! Directories whose names contain a date: `done/{received:%Y-%m}`.

mod named;

use crate::schedule::TimeZone;
use crate::{DateFormat, RemotePath, Timestamp};
use chrono::{TimeDelta, Timelike};

/// The field for the date in directories that files go to.
const RECEIVED: &str = "received";

/// The format of `{received}` without one.
const DAY: &str = "%Y-%m-%d";

/// A directory with fields in braces: `{received}` or `{received:FORMAT}`, a moment by the clock of the flow's time
/// zone, and `{flow}`; in directories that are polled `{date:FORMAT}` alone. `{{` and `}}` stand for braces. The rest is in the text form of [`RemotePath`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirectoryTemplate {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Literal(String),
    Received(DateFormat),
    Flow,
}

impl DirectoryTemplate {
    /// Reads a template with the fields `{received:FORMAT}` and `{flow}`.
    ///
    /// # Errors
    /// What is wrong with it: it is empty or contains `..`, a field is unknown or not closed, or a date format cannot be
    /// used.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parse_with(RECEIVED, text)
    }

    /// Reads the template of a directory that is polled, with the field `{date:FORMAT}`.
    ///
    /// # Errors
    /// As [`DirectoryTemplate::parse`].
    pub fn parse_polled(text: &str) -> Result<Self, String> {
        Self::parse_with("date", text)
    }

    fn parse_with(date_field: &str, text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text.chars().peekable();
        while let Some(character) = rest.next() {
            match character {
                '{' | '}' if rest.peek() == Some(&character) => {
                    rest.next();
                    literal.push(character);
                }
                '}' => return Err("has '}' without '{'; write '}}' for a brace".into()),
                '{' => {
                    let mut field = String::new();
                    loop {
                        match rest.next() {
                            Some('}') => break,
                            Some(other) => field.push(other),
                            None => return Err(format!("has '{{{field}', which is not closed")),
                        }
                    }
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    pieces.push(Piece::field(date_field, &field)?);
                }
                other => literal.push(other),
            }
        }
        pieces.push(Piece::Literal(literal));
        let template = Self { text: text.to_owned(), pieces };
        let written = template.directory(Timestamp::UNIX_EPOCH, TimeZone::default(), "flow")?;
        if written.is_empty() {
            return Err("is empty; name a directory".into());
        }
        if written.escapes() {
            return Err("contains '..'; write the directory without it".into());
        }
        Ok(template)
    }

    /// The template as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it names other directories at other times.
    #[must_use]
    pub fn is_dated(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Received(_)))
    }

    /// The directory for a moment.
    ///
    /// # Errors
    /// Its fixed part is not a path: [`DirectoryTemplate::parse`] refuses such a template.
    pub fn directory(&self, at: Timestamp, zone: TimeZone, flow: &str) -> Result<RemotePath, String> {
        let written = self.pieces.iter().map(|piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Received(format) => format.write(at, zone),
            Piece::Flow => flow.to_owned(),
        });
        RemotePath::from_text(&written.collect::<String>())
    }

    /// The directories for the day of a moment and for so many days before it, each once, that of the day itself first.
    ///
    /// # Errors
    /// As [`DirectoryTemplate::directory`].
    pub fn days(&self, at: Timestamp, zone: TimeZone, past_days: u32) -> Result<Vec<RemotePath>, String> {
        // Counted from noon, so that a day of 23 or 25 hours is neither left out nor counted twice.
        let since_midnight = TimeDelta::seconds(zone.local(at).num_seconds_from_midnight().into());
        let noon = at - since_midnight + TimeDelta::hours(12);
        let mut directories = Vec::new();
        for back in 0..=i64::from(past_days) {
            let Some(day) = noon.checked_sub_signed(TimeDelta::days(back)) else { break };
            let directory = self.directory(day, zone, "")?;
            if directories.last() != Some(&directory) {
                directories.push(directory);
            }
        }
        Ok(directories)
    }

    /// Whether it names different directories within one day.
    #[must_use]
    pub fn changes_within_a_day(&self) -> bool {
        let midnight = Timestamp::UNIX_EPOCH;
        let at =
            |seconds| self.directory(midnight + TimeDelta::seconds(seconds), TimeZone::default(), "flow");
        [1, 60, 3_600, 13 * 3_600].iter().any(|seconds| at(*seconds) != at(0))
    }

    /// The directory that all it names are in, or the only one that it names.
    #[must_use]
    pub fn fixed_part(&self) -> RemotePath {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Received(_) | Piece::Flow => {
                    text.truncate(text.rfind('/').unwrap_or(0));
                    break;
                }
            }
        }
        RemotePath::from_text(&text).unwrap_or_default()
    }
}

impl Piece {
    fn field(date_field: &str, text: &str) -> Result<Self, String> {
        match text.split_once(':').map_or((text, None), |(name, format)| (name, Some(format))) {
            (name, format) if name == date_field => {
                DateFormat::parse(format.unwrap_or(DAY), true).map(Self::Received)
            }
            ("flow", None) if date_field == RECEIVED => Ok(Self::Flow),
            ("flow", Some(_)) if date_field == RECEIVED => {
                Err("has '{flow}' with a format, which it does not take".into())
            }
            (unknown, _) => {
                let more = if date_field == RECEIVED { ", {flow}" } else { "" };
                Err(format!("has no field '{{{unknown}}}'; the fields are: {{{date_field}:FORMAT}}{more}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn directory(template: &str, zone: &str) -> String {
        let at = "2026-03-31T22:30:00Z".parse().unwrap();
        let zone = TimeZone::parse(zone).unwrap();
        DirectoryTemplate::parse(template).unwrap().directory(at, zone, "orders").unwrap().to_text()
    }

    #[test]
    fn a_date_follows_the_clock_of_the_zone() {
        assert_eq!(directory("done/{received:%Y-%m}", "UTC"), "done/2026-03");
        assert_eq!(directory("done/{received:%Y-%m}", "Europe/Berlin"), "done/2026-04");
        assert_eq!(directory("/srv/{flow}/{received:%Y/%m/%d}", "UTC"), "/srv/orders/2026/03/31");
        assert_eq!(directory("a{{b}}/{received}", "UTC"), "a{b}/2026-03-31");
        assert_eq!(directory("caf%E9", "UTC"), "caf%E9");
        assert!(DirectoryTemplate::parse("{received}").unwrap().is_dated());
        assert!(!DirectoryTemplate::parse("{flow}").unwrap().is_dated());
    }

    #[test]
    fn days_are_those_of_the_zone_each_once_and_none_left_out() {
        let days = |template: &str, at: &str, zone: &str, past_days| {
            let template = DirectoryTemplate::parse_polled(template).unwrap();
            let zone = TimeZone::parse(zone).unwrap();
            let found = template.days(at.parse().unwrap(), zone, past_days).unwrap();
            found.iter().map(RemotePath::to_text).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(days("in/{date:%m/%d}", "2026-03-01T12:00:00Z", "UTC", 2), "in/03/01 in/02/28 in/02/27");
        assert_eq!(days("{date}", "2026-03-31T22:30:00Z", "Europe/Berlin", 0), "2026-04-01");
        assert_eq!(days("{date:%Y-%m}", "2026-03-02T00:00:00Z", "UTC", 40), "2026-03 2026-02 2026-01");
        // Half an hour after midnight, after the days of 23 and of 25 hours (29 March and 25 October).
        assert_eq!(days("{date:%d}", "2026-03-29T22:30:00Z", "Europe/Berlin", 2), "30 29 28");
        assert_eq!(days("{date:%d}", "2026-10-25T23:30:00Z", "Europe/Berlin", 2), "26 25 24");
        assert_eq!(days("fixed/in", "2026-03-01T12:00:00Z", "UTC", 5), "fixed/in");
        for wrong in ["{received}", "{flow}"] {
            assert!(
                DirectoryTemplate::parse_polled(wrong).unwrap_err().contains("the fields are: {date:FORMAT}")
            );
        }
        for (template, changes) in
            [("{date:%Y/%m/%d}", false), ("{date:%H}", true), ("{date:%d-%M}", true), ("{date:%p}", true)]
        {
            assert_eq!(
                DirectoryTemplate::parse_polled(template).unwrap().changes_within_a_day(),
                changes,
                "{template}"
            );
        }
        for (template, fixed) in
            [("in/x{date:%Y}/a", "in"), ("{date}", ""), ("in/b", "in/b"), ("a/b/{date}", "a/b")]
        {
            assert_eq!(DirectoryTemplate::parse_polled(template).unwrap().fixed_part().to_text(), fixed);
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (template, words) in [
            ("", "is empty"),
            ("a/../b", "'..'"),
            ("{receive}", "no field"),
            ("{received:%Q}", "time format"),
            ("{received:}", "time format"),
            ("{received:%%}", "'%'"),
            ("{received:..}", "'..'"),
            ("{received", "not closed"),
            ("a}", "without '{'"),
            ("{flow:x}", "does not take"),
            ("a%", "two hex digits"),
        ] {
            let error = DirectoryTemplate::parse(template).unwrap_err();
            assert!(error.contains(words), "{template}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_template_panics(text in ".{0,60}", at in -4_000_000_000_i64..8_000_000_000) {
            if let Ok(template) = DirectoryTemplate::parse(&text) {
                let at = chrono::DateTime::from_timestamp(at, 0).unwrap();
                let directory = template.directory(at, TimeZone::default(), "f").unwrap();
                prop_assert!(!directory.escapes() || template.is_dated());
            }
        }
    }
}
