//! How a destination names the file: `{stem}-{received:%Y%m%d}{ext}`.

use crate::schedule::TimeZone;
use crate::{DateFormat, Timestamp};

/// A file name with fields in braces. `{{` and `}}` stand for braces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameTemplate {
    text: String,
    pieces: Vec<Piece>,
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
    Failure(FailureField),
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
#[error("file name {template:?}: {reason}")]
pub struct TemplateError {
    template: String,
    reason: String,
}

const FIELDS: [&str; 11] = [
    "name",
    "stem",
    "ext",
    "received",
    "flow",
    "transfer",
    "sequence",
    "failure.flow",
    "failure.destination",
    "failure.endpoint",
    "failure.error",
];

impl NameTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// An unknown field (with the nearest name), an unclosed brace, a time format that cannot be
    /// written, or literal text that no file name may hold (`/`, NUL, `*`, control characters).
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
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
                    pieces.push(Piece::field(&field).map_err(error)?);
                }
                '/' | '\0' | '*' => {
                    return Err(error(format!("{character:?} cannot be part of a file name")));
                }
                other if other.is_control() => {
                    return Err(error("control characters cannot be part of a file name".into()));
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
        Ok(Self { text: text.to_owned(), pieces })
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

    /// The file name for these values, as bytes: the parts of the received name pass untouched.
    #[must_use]
    pub fn render(&self, values: &TemplateValues<'_>) -> Vec<u8> {
        let (stem, extension) = split_extension(values.name);
        let mut name = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => name.extend_from_slice(text.as_bytes()),
                Piece::Name => name.extend_from_slice(values.name),
                Piece::Stem => name.extend_from_slice(stem),
                Piece::Extension => name.extend_from_slice(extension),
                Piece::Received(format) => {
                    let text = format.write(values.received, TimeZone::default());
                    name.extend_from_slice(text.as_bytes());
                }
                Piece::Flow => name.extend_from_slice(values.flow.as_bytes()),
                Piece::Transfer => name.extend_from_slice(values.transfer.to_string().as_bytes()),
                Piece::Failure(field) => {
                    let told = values.failure.as_ref().map_or("", |failure| field.of(failure));
                    name.extend_from_slice(told.as_bytes());
                }
                Piece::Sequence(width) => {
                    name.extend_from_slice(format!("{:0width$}", values.sequence).as_bytes());
                }
            }
        }
        name
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
    fn field(text: &str) -> Result<Self, String> {
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
            ("sequence", None) => Ok(Self::Sequence(1)),
            ("sequence", Some(width)) => match width.parse() {
                Ok(width @ 1..=20) => Ok(Self::Sequence(width)),
                _ => Err(format!("'{{sequence:{width}}}': give the number of digits, 1 to 20")),
            },
            ("received", format) => {
                let format = format.unwrap_or("%Y%m%dT%H%M%SZ");
                DateFormat::parse(format, false).map(Self::Received)
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn render(template: &str, name: &[u8]) -> Vec<u8> {
        NameTemplate::parse(template).unwrap().render(&TemplateValues {
            name,
            received: chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
            flow: "orders",
            transfer: crate::TransferId::new(uuid::Uuid::nil()),
            sequence: 7,
            failure: Some(FailureValues {
                flow: "sales",
                destination: "globex",
                endpoint: "globex-drop",
                error: "rejected",
            }),
        })
    }

    #[test]
    fn fields_are_filled() {
        assert_eq!(render("{stem}-{received:%Y%m%d}{ext}", b"po.850.edi"), b"po.850-20231114.edi");
        assert_eq!(render("{flow}_{sequence:4}_{name}", b"caf\xe9"), b"orders_0007_caf\xe9");
        assert_eq!(render("{{{stem}}}", b".hidden"), b"{.hidden}");
        assert_eq!(render("{failure.flow}-{failure.error}-{name}", b"a"), b"sales-rejected-a");
        assert_eq!(render("{failure.destination}@{failure.endpoint}", b"a"), b"globex@globex-drop");
    }

    #[test]
    fn mistakes_are_named() {
        for (template, words) in [
            ("{steam}", "did you mean '{stem}'"),
            ("{stem", "not closed"),
            ("a}", "without '{'"),
            ("a/b", "cannot be part"),
            ("{received:%Q}", "time format"),
            ("{received:%D}", "'/'"),
            ("{name:3}", "does not take a format"),
            ("", "is empty"),
        ] {
            let error = NameTemplate::parse(template).unwrap_err().to_string();
            assert!(error.contains(words), "{template}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_template_panics(text in ".{0,60}", name in proptest::collection::vec(any::<u8>(), 0..40)) {
            if NameTemplate::parse(&text).is_ok() { render(&text, &name); }
        }

        #[test]
        fn stem_and_extension_make_the_name(name in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(render("{stem}{ext}", &name), name);
        }
    }
}
