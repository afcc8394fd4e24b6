//! Finding out whether a transaction was committed if the answer to COMMIT was lost (PostgreSQL).
//!
//! Each transaction of a writer stores its number in the writer's row of `commits`. A query that locks this row waits
//! for a running transaction, and then reads the number of the last committed one. `pg_xact_status` is not enough:
//! when the server crashes, a transaction whose log had not reached the disk is lost, and its id is given to another
//! one, whose status would then be returned.

use crate::either::Connection;
use crate::fault::{Fault, database_error};
use crate::target::Target;
use model::{Error, ErrorKind, Timestamp};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

/// The identification of a transaction after it ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    /// Who wrote it.
    pub(crate) writer: Uuid,
    /// The number among the writer's transactions.
    pub(crate) number: i64,
}

/// The result of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It was committed.
    Committed,
    /// Nothing was committed.
    Aborted,
    /// It cannot be determined.
    Unknown,
}

/// Begins a transaction with its number and the first savepoint, in one round trip; returns the server's time. The
/// number is written before the savepoint, so that a failed command does not undo it.
pub(crate) async fn begin(connection: &mut PgConnection, mark: Mark) -> Result<Timestamp, Fault> {
    let Mark { writer, number } = mark;
    // Several statements in one query take no parameters; these two values can only be digits.
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

/// Queries over a new connection. While the transaction is running, the answer waits for its end.
pub(crate) async fn ask(target: &Target, mark: Mark) -> Result<Fate, Error> {
    const OPERATION: &str = "find out whether a commit took effect";
    let Connection::Postgres(mut connection) = target.connect().await? else {
        return Ok(Fate::Unknown);
    };
    // Only a write also waits for a row that is not committed yet.
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

/// Deletes writers that ended long ago.
pub(crate) async fn tidy(connection: &mut Connection) -> Result<(), Error> {
    let Connection::Postgres(connection) = connection else { return Ok(()) };
    sqlx::query("DELETE FROM commits WHERE at < now() - interval '30 days'")
        .execute(connection)
        .await
        .map_err(|error| database_error(error, "remove the records of writers that ended long ago"))?;
    Ok(())
}
