//! The location of the database, and making connections to it.

use crate::either::{Backend, Connection};
use crate::fault::database_error;
use crate::settings::StoreSettings;
use model::{Error, ErrorKind, Result};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A database and its time limits.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) place: Place,
    answer_within: Duration,
    away_for: Duration,
}

/// When PostgreSQL ends a transaction of a writer that sends nothing more, because its node is frozen or cut off: not
/// later than the shortest lease of a node (5 seconds), so that its locks do not keep others from taking over.
const WRITER_IDLE: &str = "5s";

/// The same for a reader, which locks nothing and may be slow to pass on what it reads.
pub(crate) const READER_IDLE: &str = "30s";

/// The driver's own options.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Sqlite(Box<SqliteConnectOptions>, PathBuf),
    Postgres(Box<PgConnectOptions>),
}

impl Target {
    /// Reads the URL.
    pub(crate) fn new(settings: &StoreSettings) -> Result<Self> {
        let url = settings.url.reveal();
        let wrong = |error: sqlx::Error| {
            // The driver's message may contain the URL with a password.
            drop(error);
            Error::permanent(ErrorKind::ConfigInvalid, "read the database's URL")
                .advice("write sqlite:/path/file.db or postgres://user@host/database")
        };
        let place = if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options = PgConnectOptions::from_str(url).map_err(wrong)?;
            Place::Postgres(Box::new(
                options
                    .application_name("waybill")
                    .statement_cache_capacity(256)
                    .options([("idle_in_transaction_session_timeout", WRITER_IDLE), ("TimeZone", "UTC")])
                    .disable_statement_logging(),
            ))
        } else if let Some(path) = url.strip_prefix("sqlite:") {
            let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
            let options = SqliteConnectOptions::new()
                .filename(&path)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true)
                .busy_timeout(Duration::from_secs(30))
                .statement_cache_capacity(256)
                .pragma("journal_size_limit", "67108864")
                .disable_statement_logging();
            Place::Sqlite(Box::new(options), path)
        } else {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "read the database's URL")
                .advice("write sqlite:/path/file.db or postgres://user@host/database"));
        };
        Ok(Self { place, answer_within: settings.answer_within, away_for: settings.away_for })
    }

    pub(crate) fn backend(&self) -> Backend {
        match self.place {
            Place::Sqlite(..) => Backend::Sqlite,
            Place::Postgres(_) => Backend::Postgres,
        }
    }

    /// How long one step may take; no limit for a local file.
    pub(crate) fn answer_within(&self) -> Option<Duration> {
        match self.place {
            Place::Sqlite(..) => None,
            Place::Postgres(_) => Some(self.answer_within),
        }
    }

    /// How long commands wait for a database that is away.
    pub(crate) fn away_for(&self) -> Duration {
        self.away_for
    }

    /// A new connection for writing.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        const OPERATION: &str = "connect to the database";
        let connected = match &self.place {
            Place::Sqlite(options, _) => options.connect().await.map(Connection::Sqlite),
            Place::Postgres(options) => match tokio::time::timeout(self.answer_within, options.connect())
                .await
            {
                Ok(connected) => connected.map(Connection::Postgres),
                Err(_) => return Err(Error::transient(ErrorKind::Timeout, OPERATION).with("at", "database")),
            },
        };
        connected.map_err(|error| database_error(error, OPERATION))
    }
}

impl Connection {
    /// Closes the connection properly, so that the server, or the file's log, is in order.
    pub(crate) async fn close(self) {
        let closed = match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(connection) => connection.close().await,
        };
        if let Err(error) = closed {
            tracing::debug!(error = %error, "the database connection was not closed cleanly");
        }
    }
}
