//! Whether a transaction was committed whose COMMIT was not answered (PostgreSQL).

use crate::either::Connection;
use crate::fault::database_error;
use crate::target::Target;
use model::{Error, ErrorKind};

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It stands.
    Committed,
    /// Nothing of it stands.
    Aborted,
    /// Nobody can tell.
    Unknown,
}

/// Asks on a new connection. `None`: it is still under way; ask again.
pub(crate) async fn ask(target: &Target, position: i64) -> Result<Option<Fate>, Error> {
    const OPERATION: &str = "find out whether a commit took effect";
    let Connection::Postgres(mut connection) = target.connect().await? else {
        return Ok(Some(Fate::Unknown));
    };
    let question = sqlx::query_scalar::<_, Option<String>>("SELECT pg_xact_status($1::text::xid8)")
        .bind(position.to_string())
        .fetch_one(&mut connection);
    let limit = target.answer_within().unwrap_or_default();
    let status = tokio::time::timeout(limit, question)
        .await
        .map_err(|_| Error::transient(ErrorKind::Timeout, OPERATION))?
        .map_err(|error| database_error(error, OPERATION))?;
    Ok(match status.as_deref() {
        Some("committed") => Some(Fate::Committed),
        Some("aborted") => Some(Fate::Aborted),
        Some(_) => None,
        // So old that the server no longer knows.
        None => Some(Fate::Unknown),
    })
}
