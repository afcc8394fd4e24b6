//! One statement from the conditions of a filter, and pages by keyset.

use super::bounded::Searched;
use super::unreadable::{Attempted, UnreadableRow};
use crate::Store;
use crate::either::{Backend, on};
use model::{Result, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, FromRow};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use uuid::Uuid;

/// Rows of a page, at most.
const LONGEST_PAGE: u32 = 500;

/// A place in a list that is ordered by time and id; as text `microseconds.id`, fit for a URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// The row's time.
    pub at: Timestamp,
    /// The row's id.
    pub id: Uuid,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at.timestamp_micros(), self.id.simple())
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (micros, id) = text.split_once('.')?;
            let at = chrono::DateTime::from_timestamp_micros(micros.parse().ok()?)?;
            Some(Self { at, id: id.parse().ok()? })
        };
        read().ok_or("this is not a position in this list")
    }
}

/// A part of a list.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Begin after this row; without it, at the newest.
    pub after: Option<Cursor>,
    /// The number of rows, from 1 to 500.
    pub limit: u32,
}

impl Page {
    /// The first rows.
    #[must_use]
    pub const fn first(limit: u32) -> Self {
        Self { after: None, limit }
    }

    fn rows(self) -> usize {
        self.limit.clamp(1, LONGEST_PAGE) as usize
    }
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Listing<T> {
    /// The rows, newest first.
    pub rows: Vec<T>,
    /// Rows of this page that this version cannot read, newest first. They count as rows of the page.
    pub unreadable: Vec<UnreadableRow>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Cursor>,
    /// The search was ended after this time: it is unknown whether there are more rows.
    pub ended_after: Option<Duration>,
}

impl<T> Listing<T> {
    /// Nothing was found before the search was ended.
    fn ended_after(within: Duration) -> Self {
        Self { rows: vec![], unreadable: vec![], next: None, ended_after: Some(within) }
    }
}

/// A value of a condition.
#[derive(Clone, Debug)]
pub(super) enum Bind {
    Text(String),
    Time(Timestamp),
    Id(Uuid),
    Whole(i64),
}

/// How a column is searched for a text.
#[derive(Clone, Copy)]
pub(super) enum Column {
    /// Text as it is.
    Text(&'static str),
    /// JSON, or an expression that contains some.
    Json(&'static str),
}

impl Column {
    const fn sql(self) -> &'static str {
        match self {
            Self::Text(sql) | Self::Json(sql) => sql,
        }
    }

    const fn holds_json(self) -> bool {
        matches!(self, Self::Json(_))
    }
}

/// A statement under construction.
pub(super) struct Query {
    backend: Backend,
    pub(super) sql: String,
    binds: Vec<Bind>,
}

impl Query {
    /// Begins with `SELECT … WHERE` and a condition that always holds, or any text without values.
    pub(super) fn new(store: &Store, sql: impl Into<String>) -> Self {
        Self { backend: store.backend(), sql: sql.into(), binds: vec![] }
    }

    /// Binds a value; returns its place in the statement.
    pub(super) fn bind(&mut self, value: Bind) -> String {
        self.binds.push(value);
        format!("${}", self.binds.len())
    }

    /// Adds ` AND condition`, with `?` for the value. Does nothing without a value.
    pub(super) fn and(&mut self, condition: &str, value: Option<Bind>) {
        if let Some(value) = value {
            let place = self.bind(value);
            self.sql.push_str(" AND ");
            self.sql.push_str(&condition.replace('?', &place));
        }
    }

    /// The same with a text. No row contains a NUL, which PostgreSQL refuses even in a query.
    pub(super) fn and_text(&mut self, condition: &str, value: Option<&str>) {
        match value {
            Some(text) if text.contains('\0') => self.sql.push_str(" AND FALSE"),
            value => self.and(condition, value.map(|text| Bind::Text(text.to_owned()))),
        }
    }

    /// Adds that one of the columns contains a text, ignoring case. On PostgreSQL the condition is the expression of
    /// an index ([`crate::TextIndex`]) if there is one. A JSON column is searched for the text in its JSON form.
    pub(super) fn contains(&mut self, columns: &[Column], text: Option<&str>) {
        let Some(text) = text else { return };
        if text.contains('\0') {
            self.sql.push_str(" AND FALSE");
            return;
        }
        let quoted = serde_json::Value::from(text).to_string();
        let escaped = quoted.get(1..quoted.len() - 1).unwrap_or(text);
        let plain = self.bind(Bind::Text(self.pattern(text)));
        let in_json = (escaped != text && columns.iter().any(|column| column.holds_json()))
            .then(|| self.bind(Bind::Text(self.pattern(escaped))));
        let mut conditions = vec![];
        for column in columns {
            let compared = match self.backend {
                Backend::Sqlite => column.sql().to_owned(),
                Backend::Postgres => format!("lower({})", column.sql()),
            };
            let in_json = in_json.as_ref().filter(|_| column.holds_json());
            for place in std::iter::once(&plain).chain(in_json) {
                conditions.push(format!("{compared} LIKE {place} ESCAPE '\\'"));
            }
        }
        self.sql.push_str(&format!(" AND ({})", conditions.join(" OR ")));
    }

    /// For `LIKE`: whatever comes before and behind a text.
    fn pattern(&self, text: &str) -> String {
        let text = match self.backend {
            // Compares ASCII letters whatever their case by itself, and knows the case of no others.
            Backend::Sqlite => text.to_owned(),
            Backend::Postgres => text.to_lowercase(),
        };
        let mut pattern = String::from("%");
        for character in text.chars() {
            if matches!(character, '%' | '_' | '\\') {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern.push('%');
        pattern
    }

    /// Adds that an indexed text begins with another, byte for byte. `column` is compared in the
    /// database's byte order.
    pub(super) fn begins(&mut self, column: &str, prefix: Option<&str>) {
        let Some(prefix) = prefix else { return };
        let column = match self.backend {
            Backend::Sqlite => column.to_owned(),
            Backend::Postgres => format!("({column} COLLATE \"C\")"),
        };
        self.and_text(&format!("{column} >= ?"), Some(prefix));
        self.and_text(&format!("{column} < ?"), Some(&format!("{prefix}\u{10ffff}")));
    }

    /// Adds the time's limits: `from` belongs to it, `to` does not.
    pub(super) fn between(&mut self, column: &str, from: Option<Timestamp>, to: Option<Timestamp>) {
        self.and(&format!("{column} >= ?"), from.map(Bind::Time));
        self.and(&format!("{column} < ?"), to.map(Bind::Time));
    }

    /// Adds the page: newest first, behind the cursor, one row more than wanted.
    pub(super) fn page(&mut self, at: &str, id: &str, page: Page) {
        if let Some(after) = page.after {
            let (time, row) = (self.bind(Bind::Time(after.at)), self.bind(Bind::Id(after.id)));
            self.sql.push_str(&format!(" AND ({at}, {id}) < ({time}, {row})"));
        }
        let limit = self.bind(Bind::Whole(page.rows() as i64 + 1));
        self.sql.push_str(&format!(" ORDER BY {at} DESC, {id} DESC LIMIT {limit}"));
    }

    /// The same, oldest first.
    pub(super) fn page_oldest_first(&mut self, at: &str, id: &str, page: Page) {
        if let Some(after) = page.after {
            let (time, row) = (self.bind(Bind::Time(after.at)), self.bind(Bind::Id(after.id)));
            self.sql.push_str(&format!(" AND ({at}, {id}) > ({time}, {row})"));
        }
        let limit = self.bind(Bind::Whole(page.rows() as i64 + 1));
        self.sql.push_str(&format!(" ORDER BY {at}, {id} LIMIT {limit}"));
    }

    /// The text for the database that the statement is for.
    pub(super) const fn pick(&self, sqlite: &'static str, postgres: &'static str) -> &'static str {
        match self.backend {
            Backend::Sqlite => sqlite,
            Backend::Postgres => postgres,
        }
    }

    /// The statement and its values.
    pub(super) fn parts(self) -> (String, Vec<Bind>) {
        (self.sql, self.binds)
    }

    /// Runs it.
    pub(super) async fn fetch<R>(self, store: &Store, operation: &'static str) -> Result<Vec<R>>
    where
        R: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let Self { sql, binds, .. } = self;
        store
            .read(operation, async {
                on!(store.pool(), c => {
                    let mut query = sqlx::query_as::<Db, R>(AssertSqlSafe(sql)).persistent(false);
                    for bind in binds {
                        query = match bind {
                            Bind::Text(text) => query.bind(text),
                            Bind::Time(time) => query.bind(time),
                            Bind::Id(id) => query.bind(id),
                            Bind::Whole(number) => query.bind(number),
                        };
                    }
                    query.fetch_all(c).await
                })
            })
            .await
    }
}

/// Makes a page of the rows that [`Query::page`] gave.
fn listing<R, T>(mut rows: Vec<Attempted<R>>, page: Page, view: impl Fn(R) -> Result<T>) -> Listing<T> {
    let more = rows.len() > page.rows();
    rows.truncate(page.rows());
    // A row without a readable place is shown again on the next page; without any readable place the list ends.
    let next = if more { rows.iter().rev().find_map(Attempted::place) } else { None };
    let (rows, unreadable) = split(rows, view);
    Listing { rows, unreadable, next, ended_after: None }
}

impl Query {
    /// Runs it and makes a page of its rows; with `through_text` as a search with a time limit.
    pub(super) async fn list<R, T>(
        self,
        store: &Store,
        operation: &'static str,
        through_text: bool,
        page: Page,
        view: impl Fn(R) -> Result<T>,
    ) -> Result<Listing<T>>
    where
        R: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin + 'static,
    {
        let rows: Vec<Attempted<R>> = if through_text {
            match self.search(store, operation).await? {
                Searched::Rows(rows) => rows,
                Searched::TooLong(within) => return Ok(Listing::ended_after(within)),
            }
        } else {
            self.fetch(store, operation).await?
        };
        Ok(listing(rows, page, view))
    }
}

/// Separates rows that cannot be read, so that one of them never hides the others.
pub(crate) fn split<R, T>(
    rows: Vec<Attempted<R>>,
    view: impl Fn(R) -> Result<T>,
) -> (Vec<T>, Vec<UnreadableRow>) {
    let (mut read, mut unreadable) = (Vec::with_capacity(rows.len()), vec![]);
    for row in rows {
        match row.view(&view) {
            Ok(row) => read.push(row),
            Err(row) => unreadable.push(row),
        }
    }
    (read, unreadable)
}
