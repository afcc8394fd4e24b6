//! Lists of any length, read and written a page at a time.

use super::write;
use crate::cli::Output;
use model::Result;
use serde_json::{Value, json};
use store::{Cursor, Listing, Page, UnreadableRow};

/// Rows asked for at once.
const PAGE: u32 = 500;

/// A row that this version cannot read, on one line.
pub(crate) fn unreadable_line(row: &UnreadableRow) -> String {
    let id = row.id.map(|id| format!(" {id}")).unwrap_or_default();
    let at = row.at.map(|at| format!(" of {}", write::time(at))).unwrap_or_default();
    format!("unreadable:{id}{at}: {}", row.error)
}

/// Which pages to ask for until so many rows were read.
pub(crate) struct Pages {
    left: u32,
    after: Option<Cursor>,
    at_end: bool,
}

impl Pages {
    /// Pages with so many rows in all, at most.
    pub(crate) fn up_to(limit: u32) -> Self {
        Self { left: limit, after: None, at_end: false }
    }

    /// Every page there is.
    pub(crate) fn all() -> Self {
        Self::up_to(u32::MAX)
    }

    /// The page to ask for now; `None` when the limit or the end of the list is reached.
    pub(crate) fn next(&self) -> Option<Page> {
        (!self.at_end && self.left > 0).then(|| Page { after: self.after, limit: self.left.min(PAGE) })
    }

    /// The page that was asked for, its unreadable rows among those that the limit counts.
    pub(crate) fn take<T>(&mut self, listing: Listing<T>) -> Listing<T> {
        let rows = listing.rows.len() + listing.unreadable.len();
        self.left = self.left.saturating_sub(u32::try_from(rows).unwrap_or(u32::MAX));
        self.after = listing.next;
        self.at_end = listing.next.is_none();
        listing
    }

    /// Whether the limit left rows unread.
    fn are_cut(&self) -> bool {
        !self.at_end
    }
}

/// How a row of a list is shown.
pub(crate) trait Row {
    /// What the list holds, as in "no transfers".
    const NAME: &'static str;
    /// The columns for people; empty for rows that are one line each.
    const COLUMNS: &'static [&'static str];

    /// For programs.
    fn json(&self) -> Value;

    /// For people, a cell for each column.
    fn cells(&self) -> Vec<String>;
}

/// Writes the rows of a list as they are read: a JSON array for programs, columns for people.
pub(crate) struct Writer {
    output: Output,
    rows: usize,
    columns: write::Columns,
}

impl Writer {
    pub(crate) fn new<R: Row>(output: Output) -> Self {
        Self { output, rows: 0, columns: write::Columns::new(R::COLUMNS) }
    }

    /// Writes one page.
    ///
    /// # Errors
    /// Standard output is closed.
    pub(crate) fn page<R: Row>(&mut self, listing: &Listing<R>) -> Result<()> {
        let rows = &listing.rows;
        match self.output {
            Output::Json => {
                let unreadable = listing
                    .unreadable
                    .iter()
                    .map(|row| json!({ "unreadable": true, "id": row.id, "at": row.at, "error": row.error }));
                rows.iter().map(Row::json).chain(unreadable).enumerate().try_for_each(|(at, row)| {
                    let before = if self.rows + at == 0 { "[" } else { "," };
                    write::line(format_args!("{before}{row:#}"))
                })?;
            }
            Output::Text => {
                self.columns.write(rows.iter().map(Row::cells).collect())?;
                listing.unreadable.iter().try_for_each(|row| write::line(unreadable_line(row)))?;
            }
        }
        self.rows += rows.len() + listing.unreadable.len();
        Ok(())
    }

    /// Whether there was no row.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Ends the list, and says so when the limit cut it.
    ///
    /// # Errors
    /// Standard output is closed.
    pub(crate) fn end<R: Row>(self, pages: &Pages) -> Result<()> {
        match self.output {
            Output::Json if self.rows == 0 => write::line("[]")?,
            Output::Json => write::line("]")?,
            Output::Text if self.rows == 0 => write::line(format_args!("no {}", R::NAME))?,
            Output::Text => {}
        }
        if pages.are_cut() && self.rows > 0 {
            write::note(format_args!("there are more {}: use a higher --limit to see them", R::NAME));
        }
        Ok(())
    }
}
