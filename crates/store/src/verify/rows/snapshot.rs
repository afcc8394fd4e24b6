//! One state of the database for several statements.

use crate::Store;
use crate::either::{Either, Pool};
use model::Result;
use sqlx::{PgConnection, Postgres, Sqlite, SqliteConnection, Transaction};

/// A transaction that reads alone: what others commit while it lasts does not show in it. To be kept for a
/// page of rows and no longer.
pub(super) struct Snapshot(Either<Transaction<'static, Sqlite>, Transaction<'static, Postgres>>);

impl Snapshot {
    pub(super) async fn begin(store: &Store) -> Result<Self> {
        store
            .read("begin to read", async {
                Ok(Self(match store.pool() {
                    // The first statement takes the snapshot.
                    Pool::Sqlite(pool) => Either::Sqlite(pool.begin_with("BEGIN DEFERRED").await?),
                    Pool::Postgres(pool) => Either::Postgres(
                        pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?,
                    ),
                }))
            })
            .await
    }

    /// For `on!`.
    pub(super) fn either(&mut self) -> Either<&mut SqliteConnection, &mut PgConnection> {
        match &mut self.0 {
            Either::Sqlite(transaction) => Either::Sqlite(transaction),
            Either::Postgres(transaction) => Either::Postgres(transaction),
        }
    }
}
