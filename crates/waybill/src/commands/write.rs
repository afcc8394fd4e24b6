//! Writing results: JSON for programs, columns for people.

use model::{Error, Result};
use std::io::Write as _;

/// Writes a line to standard output.
///
/// # Errors
/// Standard output is closed.
pub(crate) fn line(text: impl std::fmt::Display) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").map_err(|error| Error::local_io("write the result", error))
}

/// Writes a value as indented JSON.
///
/// # Errors
/// Standard output is closed.
pub(crate) fn json(value: &serde_json::Value) -> Result<()> {
    line(format_args!("{value:#}"))
}

/// Writes rows in columns as wide as they need to be.
///
/// # Errors
/// Standard output is closed.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> Result<()> {
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let longest =
                rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
            longest.unwrap_or_default().max(head[column].chars().count())
        })
        .collect();
    let write = |cells: Vec<&str>| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        line(padded.join("  ").trim_end())
    };
    write(head.to_vec())?;
    rows.iter().try_for_each(|row| write(row.iter().map(String::as_str).collect()))
}

/// A moment, for people: UTC to the second.
pub(crate) fn time(at: model::Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}
