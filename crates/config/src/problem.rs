//! What is wrong with a document, and where.

use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// A place in a document. Line 0 stands for a place that is not known: a document read back from
/// the database keeps its file's name, not its lines.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Place {
    pub(crate) file: Arc<str>,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Place {
    /// The file as a whole.
    pub(crate) fn whole(file: &Arc<str>) -> Self {
        Self { file: file.clone(), line: 0, column: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        Ok(())
    }
}

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The documents cannot be used.
    Error,
    /// They can, and someone should know.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One thing that is wrong, in words for the person who wrote it. Holds no secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Problem {
    /// The file, as given by the person; for an override, the environment variable.
    pub file: String,
    /// Line from 1; 0 when it is not known.
    pub line: u32,
    /// Column from 1, in characters; 0 when it is not known.
    pub column: u32,
    /// Whether the documents can be used all the same.
    pub severity: Severity,
    /// The key it is about, such as `flow.orders.source.every`; empty for the file as a whole.
    pub key: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(severity: Severity, place: &Place, key: &str, message: impl Into<String>) -> Self {
        Self {
            file: place.file.to_string(),
            line: place.line,
            column: place.column,
            severity,
            key: shortened(key.to_owned()),
            message: shortened(message.into()),
        }
    }

    pub(crate) fn error(place: &Place, key: &str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, place, key, message)
    }

    pub(crate) fn warning(place: &Place, key: &str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, place, key, message)
    }
}

/// Longest text of a problem, in characters: what a document holds may be of any length, and a person is to read it.
const LONGEST: usize = 1000;
/// What is left of a longer one, at its beginning and at its end.
const SHOWN: usize = 300;

/// A text as it is, or without its middle when it is too long to be read.
fn shortened(text: String) -> String {
    // Bytes first: counting characters takes time.
    let length = if text.len() > LONGEST { text.chars().count() } else { 0 };
    if length <= LONGEST {
        return text;
    }
    let first: String = text.chars().take(SHOWN).collect();
    let last: String = text.chars().skip(length - SHOWN).collect();
    format!("{first} … [{} characters are left out] … {last}", length - 2 * SHOWN)
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}: ", self.severity)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Whether any of them is an error.
pub(crate) fn any_error(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.severity == Severity::Error)
}
