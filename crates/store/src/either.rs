//! One statement for both databases.

use sqlx::{PgConnection, PgPool, SqliteConnection, SqlitePool};

/// The kind of database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backend {
    /// One file, one process.
    Sqlite,
    /// A server, any number of nodes.
    Postgres,
}

/// A value for either database.
#[derive(Clone, Debug)]
pub(crate) enum Either<S, P> {
    Sqlite(S),
    Postgres(P),
}

/// The pool of readers.
pub(crate) type Pool = Either<SqlitePool, PgPool>;

/// A writer's own connection.
pub(crate) type Connection = Either<SqliteConnection, PgConnection>;

impl Pool {
    pub(crate) fn either(&self) -> Either<&SqlitePool, &PgPool> {
        match self {
            Self::Sqlite(pool) => Either::Sqlite(pool),
            Self::Postgres(pool) => Either::Postgres(pool),
        }
    }
}

impl Connection {
    pub(crate) fn either(&mut self) -> Either<&mut SqliteConnection, &mut PgConnection> {
        match self {
            Self::Sqlite(connection) => Either::Sqlite(connection),
            Self::Postgres(connection) => Either::Postgres(connection),
        }
    }
}

/// Expands an expression for both drivers: `on!(tx, c => sqlx::query("…").execute(c).await?)`. The first argument is
/// any value with a method `either()` (a pool, a connection, a `Tx`); within the expression, `Db` is the driver. If
/// the statements must differ, give two: `on!(tx, sqlite c => …, postgres c => …)`.
macro_rules! on {
    ($of:expr, $c:ident => $body:expr) => {
        match $of.either() {
            $crate::either::Either::Sqlite($c) => {
                #[allow(dead_code)]
                type Db = sqlx::Sqlite;
                $body
            }
            $crate::either::Either::Postgres($c) => {
                #[allow(dead_code)]
                type Db = sqlx::Postgres;
                $body
            }
        }
    };
    ($of:expr, sqlite $s:ident => $sqlite:expr, postgres $p:ident => $postgres:expr $(,)?) => {
        match $of.either() {
            $crate::either::Either::Sqlite($s) => $sqlite,
            $crate::either::Either::Postgres($p) => $postgres,
        }
    };
}
pub(crate) use on;
