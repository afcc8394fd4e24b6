//! Searches that may read very many rows: limited in time and number, and cancelled in the database when their
//! results are no longer needed.
//!
//! If a driver's future is dropped in the middle of a statement, the statement continues: on PostgreSQL in the
//! server, on SQLite in the driver's thread. So a search runs in its own task, which has its connection until the
//! statement has ended, and interrupts it when the caller has gone.

use super::query::{Bind, Query};
use crate::Store;
use crate::either::Either;
use crate::fault::database_error;
use model::{Error, ErrorKind, Result};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, FromRow};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::oneshot::{self, Sender};

/// The number of SQLite steps between two checks for cancellation: less than a millisecond.
const STEPS: i32 = 20_000;
/// PostgreSQL's code for a statement that was cancelled or took too long.
const CANCELLED: &str = "57014";

/// The result of a search.
pub(super) enum Searched<R> {
    /// All rows that were asked for.
    Rows(Vec<R>),
    /// It would have taken longer than this.
    TooLong(Duration),
}

impl Query {
    /// Runs it as a search.
    pub(super) async fn search<R>(self, store: &Store, operation: &'static str) -> Result<Searched<R>>
    where
        R: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin + 'static,
    {
        let within = store.search_within();
        let turn = tokio::time::timeout(within, store.searches().acquire_owned());
        let Ok(Ok(turn)) = turn.await else {
            return Err(Error::transient(ErrorKind::Throttled, operation)
                .with("waited", format_args!("{within:?}"))
                .advice("too many searches are running: try again in a moment"));
        };
        let (mut answer, rows) = oneshot::channel();
        let store = store.clone();
        tokio::spawn(async move {
            let searched = run(&store, self, operation, within, &mut answer).await;
            drop(turn);
            // The caller may have gone in the meantime.
            drop(answer.send(searched));
        });
        rows.await.map_err(|error| Error::transient(ErrorKind::Internal, operation).caused_by(error))?
    }
}

async fn run<R>(
    store: &Store,
    query: Query,
    operation: &'static str,
    within: Duration,
    answer: &mut Sender<Result<Searched<R>>>,
) -> Result<Searched<R>>
where
    R: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let searched = match store.pool() {
        Either::Sqlite(pool) => match pool.acquire().await {
            Ok(mut connection) => on_sqlite(&mut connection, query, within, answer).await,
            Err(error) => Err(error),
        },
        Either::Postgres(pool) => match pool.acquire().await {
            Ok(mut connection) => on_postgres(store, &mut connection, query, within, answer).await,
            Err(error) => Err(error),
        },
    };
    searched.map_err(|error| database_error(error, operation))
}

macro_rules! rows {
    ($db:ty, $row:ty, $query:expr, $connection:expr) => {{
        let (sql, binds) = $query.parts();
        let mut query = sqlx::query_as::<$db, $row>(AssertSqlSafe(sql)).persistent(false);
        for bind in binds {
            query = match bind {
                Bind::Text(text) => query.bind(text),
                Bind::Time(time) => query.bind(time),
                Bind::Id(id) => query.bind(id),
                Bind::Whole(number) => query.bind(number),
            };
        }
        query.fetch_all($connection)
    }};
}

async fn on_sqlite<R>(
    connection: &mut SqliteConnection,
    query: Query,
    within: Duration,
    answer: &mut Sender<Result<Searched<R>>>,
) -> Result<Searched<R>, sqlx::Error>
where
    R: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
{
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    connection.lock_handle().await?.set_progress_handler(STEPS, move || !stopped.load(Ordering::Relaxed));
    let mut rows = Box::pin(rows!(sqlx::Sqlite, R, query, &mut *connection));
    let ended = tokio::select! {
        ended = &mut rows => Some(ended),
        () = answer.closed() => None,
        () = tokio::time::sleep(within) => None,
    };
    let searched = match ended {
        Some(rows) => rows.map(Searched::Rows),
        None => {
            stop.store(true, Ordering::Relaxed);
            // An interrupted statement returns an error, unless it had just ended.
            rows.as_mut().await.map_or(Ok(Searched::TooLong(within)), |rows| Ok(Searched::Rows(rows)))
        }
    };
    drop(rows);
    connection.lock_handle().await?.remove_progress_handler();
    searched
}

async fn on_postgres<R>(
    store: &Store,
    connection: &mut PgConnection,
    query: Query,
    within: Duration,
    answer: &mut Sender<Result<Searched<R>>>,
) -> Result<Searched<R>, sqlx::Error>
where
    R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let mut transaction = connection.begin().await?;
    let millis = within.as_millis().max(1).to_string();
    let (server_process, _): (i32, String) =
        sqlx::query_as("SELECT pg_backend_pid(), set_config('statement_timeout', $1, true)")
            .bind(millis)
            .fetch_one(&mut *transaction)
            .await?;
    let mut rows = Box::pin(rows!(sqlx::Postgres, R, query, &mut *transaction));
    let ended = tokio::select! {
        ended = &mut rows => ended,
        () = answer.closed() => {
            if let Err(error) = store.cancel(server_process).await {
                tracing::warn!(error = %error.chain(), "a search that is no longer needed could not be cancelled; it ends by itself");
            }
            rows.as_mut().await
        }
    };
    drop(rows);
    transaction.rollback().await?;
    match ended {
        Ok(rows) => Ok(Searched::Rows(rows)),
        Err(error) if is_cancelled(&error) => Ok(Searched::TooLong(within)),
        Err(error) => Err(error),
    }
}

fn is_cancelled(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).as_deref() == Some(CANCELLED)
}

impl Store {
    /// Cancels the statement of a server process, over another connection: those for reading may all be in use by
    /// searches.
    async fn cancel(&self, server_process: i32) -> Result<()> {
        let mut connection = self.target().connect().await?;
        if let Either::Postgres(c) = connection.either() {
            sqlx::query("SELECT pg_cancel_backend($1)")
                .bind(server_process)
                .execute(c)
                .await
                .map_err(|error| database_error(error, "cancel a search"))?;
        }
        connection.close().await;
        Ok(())
    }
}
