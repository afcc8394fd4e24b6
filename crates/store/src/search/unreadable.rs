//! Rows that this version cannot read: a newer node wrote an unknown word, or somebody changed them. A list shows
//! such a row as unreadable and all others as usual.

use super::query::Cursor;
use crate::row::undecodable;
use model::{PeerText, Result, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row as _};
use uuid::Uuid;

/// A row that this version cannot read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnreadableRow {
    /// The row's id, if it can be read.
    pub id: Option<Uuid>,
    /// The time by which lists are ordered, if it can be read.
    pub at: Option<Timestamp>,
    /// Which column holds what, and what to do.
    pub error: String,
}

/// A row, read or not.
pub(crate) struct Attempted<R> {
    row: std::result::Result<R, sqlx::Error>,
    id: Option<Uuid>,
    at: Option<Timestamp>,
}

impl<R> Attempted<R> {
    /// Its id, if that can be read.
    pub(crate) const fn id(&self) -> Option<Uuid> {
        self.id
    }

    /// Its place in a list that is ordered by time and id.
    pub(super) fn place(&self) -> Option<Cursor> {
        Some(Cursor { at: self.at?, id: self.id? })
    }

    /// The row, or what is known about it if it cannot be read.
    pub(crate) fn view<T>(self, view: impl FnOnce(R) -> Result<T>) -> std::result::Result<T, UnreadableRow> {
        let (id, at) = (self.id, self.at);
        self.row.map_err(undecodable).and_then(view).map_err(|error| UnreadableRow {
            id,
            at,
            error: PeerText::from(error.chain().as_str()).as_str().to_owned(),
        })
    }
}

macro_rules! from_row {
    ($($row:ty),*) => {$(
        impl<'r, R: FromRow<'r, $row>> FromRow<'r, $row> for Attempted<R> {
            fn from_row(row: &'r $row) -> Result<Self, sqlx::Error> {
                // The columns that lists are ordered by, under their tables' names.
                let at = ["at", "opened_at", "created_at"].iter().find_map(|name| row.try_get(*name).ok());
                Ok(Self { row: R::from_row(row), id: row.try_get("id").ok(), at })
            }
        }
    )*};
}
from_row!(SqliteRow, PgRow);
