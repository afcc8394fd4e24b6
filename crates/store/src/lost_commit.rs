//! Whether a transaction was committed whose COMMIT was not answered (PostgreSQL).
//!
//! Each transaction of a writer leaves its number in the writer's row of `commits`. Whoever asks for the
//! row waits for a transaction that is still under way, and then reads the number of the last one that
//! stands. `pg_xact_status` would not do: when the server crashes, a transaction whose log had not reached
//! the disk is gone, and its id is given to another, whose fate would be told for ours.

use crate::either::Connection;
use crate::fault::{Fault, database_error};
use crate::target::Target;
use model::{Error, ErrorKind, Timestamp};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

/// What a transaction is known by after it ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    /// Who wrote it.
    pub(crate) writer: Uuid,
    /// Which of the writer's transactions.
    pub(crate) number: i64,
}

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It stands.
    Committed,
    /// Nothing of it stands.
    Aborted,
    /// It cannot be found out.
    Unknown,
}

/// Begins a transaction with its mark and the first savepoint, in one exchange; answers the server's time.
/// The mark comes before the savepoint, so that no command's failure undoes it.
pub(crate) async fn begin(connection: &mut PgConnection, mark: Mark) -> Result<Timestamp, Fault> {
    let Mark { writer, number } = mark;
    // Several statements take no parameters; these two values cannot be anything but digits.
    let sql = format!(
        "BEGIN; \
         INSERT INTO commits (writer, number, at) VALUES ('{writer}', {number}, now()) \
         ON CONFLICT (writer) DO UPDATE SET number = excluded.number, at = excluded.at \
         RETURNING clock_timestamp(); \
         SAVEPOINT c"
    );
    let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).fetch_all(connection).await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    Ok(row.try_get(0)?)
}

/// Asks on a new connection. While the transaction is under way, the answer waits for its end.
pub(crate) async fn ask(target: &Target, mark: Mark) -> Result<Fate, Error> {
    const OPERATION: &str = "find out whether a commit took effect";
    let Connection::Postgres(mut connection) = target.connect().await? else {
        return Ok(Fate::Unknown);
    };
    // Writing is what waits also for a row that is not there yet.
    let question = sqlx::query_scalar::<_, i64>(
        "INSERT INTO commits (writer, number, at) VALUES ($1, 0, now()) \
         ON CONFLICT (writer) DO UPDATE SET at = excluded.at RETURNING number",
    )
    .bind(mark.writer)
    .fetch_one(&mut connection);
    let limit = target.answer_within().unwrap_or_default();
    let last = tokio::time::timeout(limit, question)
        .await
        .map_err(|_| Error::transient(ErrorKind::Timeout, OPERATION))?
        .map_err(|error| database_error(error, OPERATION))?;
    Ok(if last == mark.number { Fate::Committed } else { Fate::Aborted })
}

/// Forgets writers that ended long ago.
pub(crate) async fn tidy(connection: &mut Connection) -> Result<(), Error> {
    let Connection::Postgres(connection) = connection else { return Ok(()) };
    sqlx::query("DELETE FROM commits WHERE at < now() - interval '30 days'")
        .execute(connection)
        .await
        .map_err(|error| database_error(error, "remove the records of writers that ended long ago"))?;
    Ok(())
}
