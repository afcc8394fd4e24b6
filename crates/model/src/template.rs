//! How a destination names the file: `{stem}-{received:%Y%m%d}{ext}`.

mod name_part;

use crate::metadata::{is_key, texts};
use crate::schedule::TimeZone;
use crate::{ArchivedCopy, DateFormat, Timestamp};
use name_part::name_part;
use serde_json::{Map, Value};

/// A file name with fields in braces. `{{` and `}}` stand for braces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameTemplate {
    text: String,
    pieces: Vec<Piece>,
    /// The clock of its dates.
    zone: TimeZone,
    usage: Use,
}

/// A running number in a name that is not known yet: it is given when the delivery is recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameCounter {
    /// Where its digits go, in bytes from the beginning of the name.
    at: usize,
    /// The fewest digits.
    width: usize,
    /// The day, as `20260301`, of a counter that begins at 1 each day.
    day: Option<String>,
}

impl NameCounter {
    /// The day, as `20260301`, of a counter that begins at 1 each day; `None` for one that runs on.
    #[must_use]
    pub fn day(&self) -> Option<&str> {
        self.day.as_deref()
    }

    /// The name with the numbers of its counters, given in the same order.
    #[must_use]
    pub fn fill(name: &[u8], counters: &[Self], numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
        let mut filled = Vec::with_capacity(name.len() + 8 * counters.len());
        let mut from = 0;
        for (counter, number) in counters.iter().zip(numbers) {
            let width = counter.width;
            filled.extend_from_slice(name.get(from..counter.at).unwrap_or_default());
            filled.extend_from_slice(format!("{number:0width$}").as_bytes());
            from = counter.at;
        }
        filled.extend_from_slice(name.get(from..).unwrap_or_default());
        filled
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Literal(String),
    Name,
    Stem,
    Extension,
    Received(DateFormat),
    Flow,
    Transfer,
    Sequence(usize),
    /// Its width, and how its day is written if it begins anew each day.
    Counter(usize, Option<DateFormat>),
    Failure(FailureField),
    /// The last part of the path of the archived copy.
    ArchiveName,
    ArchiveSha256,
    /// A value of the metadata, by its key.
    Metadata(String),
}

/// What a template is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Use {
    /// The name of a file.
    Name,
    /// Any text.
    Text,
}

/// What a failure route tells of the failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum FailureField {
    Flow,
    Destination,
    Endpoint,
    Error,
}

/// What a template's fields stand for.
#[derive(Clone, Copy, Debug)]
pub struct TemplateValues<'a> {
    /// The file name as received, as bytes.
    pub name: &'a [u8],
    /// When Waybill received it.
    pub received: Timestamp,
    /// The flow's name.
    pub flow: &'a str,
    /// The transfer's id.
    pub transfer: crate::TransferId,
    /// The part's place in its offer, from 1.
    pub sequence: u32,
    /// The failure, on a failure route.
    pub failure: Option<FailureValues<'a>>,
    /// The copy in an archive, where it is known before the file is archived.
    pub archive: Option<&'a ArchivedCopy>,
    /// The transfer's metadata. Values may come from anybody; in names they are made safe.
    pub metadata: &'a Map<String, Value>,
}

/// Why a file goes on a failure route.
#[derive(Clone, Copy, Debug)]
pub struct FailureValues<'a> {
    /// The flow that could not deliver it.
    pub flow: &'a str,
    /// The destination that failed; of several the first.
    pub destination: &'a str,
    /// Its endpoint.
    pub endpoint: &'a str,
    /// The kind of the error, in a word.
    pub error: &'a str,
}

/// A template that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("template {template:?}: {reason}")]
pub struct TemplateError {
    template: String,
    reason: String,
}

/// Most bytes of a file name that file systems take.
const LONGEST_NAME: usize = 255;

/// Digits of the largest number.
const LONGEST_NUMBER: usize = 20;

/// Most bytes of a value of the metadata in it.
const LONGEST_VALUE: usize = 100;

/// What Windows does not allow in the names of files, beside `/`: a name must do everywhere.
pub const FORBIDDEN: [char; 8] = ['\\', ':', '*', '?', '"', '<', '>', '|'];

fn forbidden(character: char) -> String {
    format!("{character:?} cannot be part of a file name: some systems do not allow it")
}

/// How the fields with values of metadata begin.
const METADATA: &str = "metadata.";

const FIELDS: [&str; 15] = [
    "name",
    "stem",
    "ext",
    "received",
    "flow",
    "transfer",
    "sequence",
    "counter",
    "failure.flow",
    "failure.destination",
    "failure.endpoint",
    "failure.error",
    "archive.name",
    "archive.sha256",
    "metadata.KEY",
];

impl NameTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// An unknown field (with the nearest name), an unclosed brace, a time format that cannot be
    /// written, or literal text that no file name may hold: `/`, NUL, control characters, and what Windows does not
    /// allow ([`FORBIDDEN`]).
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Self::parse_as(text, Use::Name)
    }

    /// Reads a template of a text, such as a path in metadata: it may hold what no file name may, and has no counters.
    ///
    /// # Errors
    /// As [`NameTemplate::parse`]; control characters are refused here as well.
    pub fn parse_text(text: &str) -> Result<Self, TemplateError> {
        Self::parse_as(text, Use::Text)
    }

    fn parse_as(text: &str, usage: Use) -> Result<Self, TemplateError> {
        let error = |reason: String| TemplateError { template: text.to_owned(), reason };
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text.chars().peekable();
        while let Some(character) = rest.next() {
            match character {
                '{' | '}' if rest.peek() == Some(&character) => {
                    rest.next();
                    literal.push(character);
                }
                '}' => return Err(error("'}' without '{'; write '}}' for a brace".into())),
                '{' => {
                    let field: String = rest.by_ref().take_while(|c| *c != '}').collect();
                    if !text.contains(&format!("{{{field}}}")) {
                        return Err(error(format!("'{{{field}' is not closed")));
                    }
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    }
                    pieces.push(Piece::field(&field, usage).map_err(error)?);
                }
                '/' | '\0' if usage == Use::Name => {
                    return Err(error(format!("{character:?} cannot be part of a file name")));
                }
                other if usage == Use::Name && FORBIDDEN.contains(&other) => {
                    return Err(error(forbidden(other)));
                }
                other if other.is_control() => {
                    return Err(error("control characters cannot be part of it".into()));
                }
                other => literal.push(other),
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        if pieces.is_empty() {
            return Err(error("is empty".into()));
        }
        let has_metadata = pieces.iter().any(|piece| matches!(piece, Piece::Metadata(_)));
        if usage == Use::Name && has_metadata && pieces.iter().all(Piece::may_be_empty) {
            let advice = "gives an empty name where the metadata has no such key; add a field that is never empty, as in \
                          \"{stem}-{metadata.KEY}{ext}\"";
            return Err(error(advice.into()));
        }
        Ok(Self { text: text.to_owned(), pieces, zone: TimeZone::default(), usage })
    }

    /// The same with dates by the clock of a zone.
    #[must_use]
    pub fn in_zone(self, zone: TimeZone) -> Self {
        Self { zone, ..self }
    }

    /// The clock of its dates; UTC unless another one was given.
    #[must_use]
    pub const fn zone(&self) -> TimeZone {
        self.zone
    }

    /// Whether it has a field about a failure.
    #[must_use]
    pub fn needs_failure(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Failure(_)))
    }

    /// Whether it has a field about the copy in an archive.
    #[must_use]
    pub fn needs_archive(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::ArchiveName | Piece::ArchiveSha256))
    }

    /// Whether it has a field that depends on a clock.
    #[must_use]
    pub fn has_dates(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Received(_) | Piece::Counter(_, Some(_))))
    }

    /// The template as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it has no other fields than `{name}`, `{stem}` and `{ext}`.
    #[must_use]
    pub fn is_of_the_name_alone(&self) -> bool {
        let of_the_name =
            |piece: &Piece| matches!(piece, Piece::Literal(_) | Piece::Name | Piece::Stem | Piece::Extension);
        self.pieces.iter().all(of_the_name)
    }

    /// The file name for these values, as bytes: the parts of the received name pass untouched. Counters are zeros; see
    /// [`Self::render_open`].
    #[must_use]
    pub fn render(&self, values: &TemplateValues<'_>) -> Vec<u8> {
        let (name, counters) = self.render_open(values);
        NameCounter::fill(&name, &counters, std::iter::repeat(0))
    }

    /// The file name without the numbers of its counters, and these.
    #[must_use]
    pub fn render_open(&self, values: &TemplateValues<'_>) -> (Vec<u8>, Vec<NameCounter>) {
        let has_metadata = self.pieces.iter().any(|piece| matches!(piece, Piece::Metadata(_)));
        if self.usage != Use::Name || !has_metadata {
            return self.render_with(values, LONGEST_VALUE);
        }
        // Of what somebody else gave less is taken, rather than that no file system takes the name.
        let mut longest = LONGEST_VALUE;
        loop {
            let (mut name, counters) = self.render_with(values, longest);
            if matches!(self.pieces.last(), Some(Piece::Metadata(_))) {
                let end = name.iter().rposition(|byte| !matches!(byte, b'.' | b' ')).map_or(0, |at| at + 1);
                name.truncate(end.max(counters.last().map_or(0, |counter| counter.at)));
            }
            // A number may grow wider than it was asked to be.
            let numbers: usize = counters.iter().map(|counter| counter.width.max(LONGEST_NUMBER)).sum();
            if name.len() + numbers <= LONGEST_NAME || longest == 0 {
                return (name, counters);
            }
            longest -= 1;
        }
    }

    /// The same, with at most so many bytes of each value of the metadata.
    fn render_with(&self, values: &TemplateValues<'_>, longest: usize) -> (Vec<u8>, Vec<NameCounter>) {
        let (stem, extension) = split_extension(values.name);
        let mut name = Vec::new();
        let mut counters = Vec::new();
        let begins_with_metadata =
            self.usage == Use::Name && matches!(self.pieces.first(), Some(Piece::Metadata(_)));
        for piece in &self.pieces {
            match piece {
                // Behind a value that is missing, a dot would hide the file.
                Piece::Literal(text) if name.is_empty() && counters.is_empty() && begins_with_metadata => {
                    name.extend_from_slice(text.trim_start_matches(['.', ' ']).as_bytes());
                }
                Piece::Literal(text) => name.extend_from_slice(text.as_bytes()),
                Piece::Name => name.extend_from_slice(values.name),
                Piece::Stem => name.extend_from_slice(stem),
                Piece::Extension => name.extend_from_slice(extension),
                Piece::Received(format) => {
                    let text = format.write(values.received, self.zone);
                    name.extend_from_slice(text.as_bytes());
                }
                Piece::Flow => name.extend_from_slice(values.flow.as_bytes()),
                Piece::Transfer => name.extend_from_slice(values.transfer.to_string().as_bytes()),
                Piece::Failure(field) => {
                    let told = values.failure.as_ref().map_or("", |failure| field.of(failure));
                    name.extend_from_slice(told.as_bytes());
                }
                Piece::ArchiveName => {
                    name.extend_from_slice(values.archive.map_or(&[], ArchivedCopy::name));
                }
                Piece::ArchiveSha256 => {
                    name.extend_from_slice(values.archive.map_or("", |copy| &copy.sha256).as_bytes());
                }
                Piece::Metadata(key) => {
                    let told = values.metadata.get(key).map(texts).unwrap_or_default();
                    name.extend_from_slice(name_part(&told.join(","), longest).as_bytes());
                }
                Piece::Sequence(width) => {
                    name.extend_from_slice(format!("{:0width$}", values.sequence).as_bytes());
                }
                Piece::Counter(width, day) => {
                    let day = day.as_ref().map(|format| format.write(values.received, self.zone));
                    counters.push(NameCounter { at: name.len(), width: *width, day });
                }
            }
        }
        (name, counters)
    }
}

impl FailureField {
    const fn of<'a>(self, failure: &FailureValues<'a>) -> &'a str {
        match self {
            Self::Flow => failure.flow,
            Self::Destination => failure.destination,
            Self::Endpoint => failure.endpoint,
            Self::Error => failure.error,
        }
    }
}

impl Piece {
    /// Whether it may stand for nothing, or for dots and spaces alone, which are no name.
    fn may_be_empty(&self) -> bool {
        match self {
            Self::Literal(text) => text.chars().all(|character| matches!(character, '.' | ' ')),
            Self::Extension
            | Self::Failure(_)
            | Self::ArchiveName
            | Self::ArchiveSha256
            | Self::Metadata(_) => true,
            _ => false,
        }
    }

    fn field(text: &str, usage: Use) -> Result<Self, String> {
        if let Some(key) = text.strip_prefix(METADATA) {
            return match is_key(key) {
                true => Ok(Self::Metadata(key.to_owned())),
                false => Err(format!(
                    "'{{{text}}}': name a key of the metadata, 1 to 64 of a-z, 0-9, '.', '-' and '_', without a format"
                )),
            };
        }
        let (name, format) = text.split_once(':').map_or((text, None), |(n, f)| (n, Some(f)));
        match (name, format) {
            ("name", None) => Ok(Self::Name),
            ("stem", None) => Ok(Self::Stem),
            ("ext", None) => Ok(Self::Extension),
            ("flow", None) => Ok(Self::Flow),
            ("transfer", None) => Ok(Self::Transfer),
            ("failure.flow", None) => Ok(Self::Failure(FailureField::Flow)),
            ("failure.destination", None) => Ok(Self::Failure(FailureField::Destination)),
            ("failure.endpoint", None) => Ok(Self::Failure(FailureField::Endpoint)),
            ("failure.error", None) => Ok(Self::Failure(FailureField::Error)),
            ("archive.name", None) => Ok(Self::ArchiveName),
            ("archive.sha256", None) => Ok(Self::ArchiveSha256),
            ("sequence", None) => Ok(Self::Sequence(1)),
            ("sequence", Some(width)) => match width.parse() {
                Ok(width @ 1..=20) => Ok(Self::Sequence(width)),
                _ => Err(format!("'{{sequence:{width}}}': give the number of digits, 1 to 20")),
            },
            ("counter", _) if usage == Use::Text => {
                Err("'{counter}' is for 'file_name' alone: its number is given when a delivery is recorded"
                    .into())
            }
            ("counter", format) => {
                let (width, daily) = match format.map(|format| format.split_once(':').unwrap_or((format, "")))
                {
                    None => ("1", ""),
                    Some(("daily", "")) => ("1", "daily"),
                    Some(parts) => parts,
                };
                match (width.parse(), daily) {
                    (Ok(width @ 1..=18), "") => Ok(Self::Counter(width, None)),
                    (Ok(width @ 1..=18), "daily") => {
                        DateFormat::parse("%Y%m%d", false).map(|day| Self::Counter(width, Some(day)))
                    }
                    _ => Err(format!(
                        "'{{{text}}}': write {{counter:6}} for a number of at least six digits that runs on, {{counter:6:daily}} \
                         for one that begins at 1 each day; at most 18 digits"
                    )),
                }
            }
            ("received", format) => {
                let format = format.unwrap_or("%Y%m%dT%H%M%SZ");
                let format = DateFormat::parse(format, usage == Use::Text)?;
                let sample = format.write(Timestamp::UNIX_EPOCH, TimeZone::default());
                match sample.chars().find(|character| FORBIDDEN.contains(character)) {
                    Some(character) if usage == Use::Name => Err(forbidden(character)),
                    _ => Ok(Self::Received(format)),
                }
            }
            (known, Some(_)) if FIELDS.contains(&known) => {
                Err(format!("'{{{known}}}' does not take a format"))
            }
            (unknown, _) => {
                let nearest = crate::schema::nearest(unknown, FIELDS.iter().copied());
                Err(match nearest {
                    Some(name) => format!("no field '{{{unknown}}}'; did you mean '{{{name}}}'?"),
                    None => format!("no field '{{{unknown}}}'; the fields are: {}", FIELDS.join(", ")),
                })
            }
        }
    }
}

/// `name.tar.gz` → (`name.tar`, `.gz`); a name that only starts with a dot has no extension.
fn split_extension(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|b| *b == b'.') {
        Some(dot) if dot > 0 => name.split_at(dot),
        _ => (name, b""),
    }
}

#[cfg(test)]
mod tests;
