//! A date in a name, such as `%Y-%m-%d`, by the clock of a time zone.

use crate::Timestamp;
use crate::schedule::TimeZone;
use chrono::format::{Item, StrftimeItems};
use std::fmt::Write as _;

/// A format for dates and times in names of files and directories (as of `strftime`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DateFormat(String);

impl DateFormat {
    /// Reads a format. `slashes`: whether it may name several directories, as `%Y/%m` does.
    ///
    /// # Errors
    /// What is wrong with it: it is no format, or it writes characters that a name cannot have.
    pub fn parse(text: &str, slashes: bool) -> Result<Self, String> {
        if text.is_empty() || StrftimeItems::new(text).any(|item| matches!(item, Item::Error)) {
            return Err(format!("'{text}' is not a time format such as %Y%m%d"));
        }
        let format = Self(text.to_owned());
        // What it writes has the same characters at all times, but for digits and the names of days and months.
        let written = format.write(Timestamp::UNIX_EPOCH, TimeZone::default());
        let is_refused = |c: char| c.is_control() || matches!(c, '*' | '?' | '\\' | '%' | '{' | '}');
        if !slashes && written.contains('/') {
            return Err(format!("'{text}' puts a '/' into the name"));
        }
        match written.chars().find(|c| is_refused(*c)) {
            Some(character) => Err(format!("'{text}' puts {character:?} into the name")),
            None => Ok(format),
        }
    }

    /// A moment in this format, by the clock of a zone.
    #[must_use]
    pub fn write(&self, at: Timestamp, zone: TimeZone) -> String {
        let mut text = String::new();
        // The format was tried when it was read.
        let _ = write!(text, "{}", zone.local(at).format(&self.0));
        text
    }
}
