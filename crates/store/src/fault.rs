//! Errors within a transaction, and what the writer does about them.

use model::{Error, ErrorKind, IllegalTransition};

/// An error before it is classified: the driver's own, or one that is ready for the caller.
#[derive(Debug)]
pub(crate) enum Fault {
    Sql(sqlx::Error),
    Told(Error),
    /// There was no answer in time; the connection is closed.
    Silent(Error),
}

/// What a driver's error means for its transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Meaning {
    /// The connection is lost; before a commit, nothing happened.
    Broken,
    /// It conflicts with another transaction; the command is repeated alone.
    Conflict,
    /// This command cannot be executed.
    Refused,
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Told(error)
    }
}

impl From<IllegalTransition> for Fault {
    fn from(refused: IllegalTransition) -> Self {
        Self::Told(
            Error::permanent(ErrorKind::Rejected, "change a state")
                .with("cause", &refused)
                .advice("its state has changed in the meantime; look at it again"),
        )
    }
}

impl Fault {
    pub(crate) fn meaning(&self) -> Meaning {
        match self {
            Self::Sql(error) => meaning(error),
            Self::Told(_) => Meaning::Refused,
            Self::Silent(_) => Meaning::Broken,
        }
    }

    /// SQLite could not write or sync during a commit: the change may or may not be on disk.
    pub(crate) fn is_torn_write(&self) -> bool {
        let Self::Sql(sqlx::Error::Database(error)) = self else { return false };
        error
            .code()
            .is_some_and(|code| code.len() < 5 && code.parse::<u32>().is_ok_and(|code| code & 0xff == 10))
    }

    /// The error for the caller; `operation` completes "could not …".
    pub(crate) fn told(self, operation: &'static str) -> Error {
        match self {
            Self::Sql(error) => database_error(error, operation),
            Self::Told(error) | Self::Silent(error) => error,
        }
    }
}

fn meaning(error: &sqlx::Error) -> Meaning {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Meaning::Broken,
        sqlx::Error::Database(database) => match database.code().as_deref() {
            // PostgreSQL: connection exceptions, too many connections, shutting down or starting up, an idle
            // transaction that the server ended.
            Some("57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "53300") => Meaning::Broken,
            Some(code) if code.len() == 5 && code.starts_with("08") => Meaning::Broken,
            // Serialization failure, deadlock; SQLite's busy and locked with their extended codes.
            Some("40001" | "40P01" | "5" | "6" | "261" | "262" | "517" | "773") => Meaning::Conflict,
            _ => Meaning::Refused,
        },
        _ => Meaning::Refused,
    }
}

/// Converts a driver's error to one of Waybill's kinds.
pub(crate) fn database_error(error: sqlx::Error, operation: &'static str) -> Error {
    if meaning(&error) == Meaning::Broken {
        let kind = if matches!(error, sqlx::Error::PoolTimedOut) {
            ErrorKind::Timeout
        } else {
            ErrorKind::Unreachable
        };
        return Error::transient(kind, operation)
            .with("at", "database")
            .advice("check that the database is running and reachable")
            .caused_by(error);
    }
    if meaning(&error) == Meaning::Conflict {
        return Error::transient(ErrorKind::Throttled, operation).with("at", "database").caused_by(error);
    }
    let code = error.as_database_error().and_then(|e| e.code()).map(|code| code.into_owned());
    let error = match code.as_deref() {
        // SQLITE_FULL; PostgreSQL disk full.
        Some("13" | "53100") => Error::transient(ErrorKind::StorageFull, operation)
            .advice("make room on the database's disk")
            .caused_by(error),
        // Statement cancelled by its timeout.
        Some("57014") => Error::transient(ErrorKind::Timeout, operation).caused_by(error),
        // Invalid password, invalid authorisation; no such database; insufficient privilege.
        Some("28P01" | "28000") => Error::permanent(ErrorKind::Unauthenticated, operation).caused_by(error),
        Some("3D000") => Error::permanent(ErrorKind::NotFound, operation).caused_by(error),
        Some("42501" | "8") => Error::permanent(ErrorKind::PermissionDenied, operation).caused_by(error),
        // SQLITE_IOERR and its kin; SQLITE_CANTOPEN; SQLITE_CORRUPT; SQLITE_NOTADB.
        Some("14") => Error::permanent(ErrorKind::NotFound, operation).caused_by(error),
        Some("11" | "26") => Error::permanent(ErrorKind::IntegrityFailed, operation)
            .advice("the database file is damaged: restore it from a backup")
            .caused_by(error),
        Some(code) if code.parse::<u32>().is_ok_and(|code| code & 0xff == 10 && code < 10_000) => {
            Error::transient(ErrorKind::Internal, operation).caused_by(error)
        }
        _ => Error::permanent(ErrorKind::Internal, operation).caused_by(error),
    };
    error.with("at", "database")
}
