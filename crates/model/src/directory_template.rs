//! Directories whose names contain a date: `done/{received:%Y-%m}`.

use crate::schedule::TimeZone;
use crate::{DateFormat, RemotePath, Timestamp};

/// The format of `{received}` without one.
const DAY: &str = "%Y-%m-%d";

/// A directory with fields in braces: `{received}` or `{received:FORMAT}`, a moment by the clock of the flow's time
/// zone, and `{flow}`. `{{` and `}}` stand for braces. The rest is in the text form of [`RemotePath`].
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
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it: it is empty or contains `..`, a field is unknown or not closed, or a date format cannot be
    /// used.
    pub fn parse(text: &str) -> Result<Self, String> {
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
                    pieces.push(Piece::field(&field)?);
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
}

impl Piece {
    fn field(text: &str) -> Result<Self, String> {
        match text.split_once(':').map_or((text, None), |(name, format)| (name, Some(format))) {
            ("received", format) => DateFormat::parse(format.unwrap_or(DAY), true).map(Self::Received),
            ("flow", None) => Ok(Self::Flow),
            ("flow", Some(_)) => Err("has '{flow}' with a format, which it does not take".into()),
            (unknown, _) => {
                Err(format!("has no field '{{{unknown}}}'; the fields are: {{received:FORMAT}}, {{flow}}"))
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
