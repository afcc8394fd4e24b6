//! One transaction for a group of commands.

use crate::either::{Connection, on};
use crate::event;
use crate::fault::{Fault, Meaning};
use crate::lost_commit::{self, Mark};
use crate::settings::IdGenerator;
use crate::target::Target;
use crate::tx::Tx;
use crate::wake::{self, Topics};
use crate::writer::Group;
use model::{Error, ErrorKind, Timestamp};
use std::future::Future;
use std::time::Duration;

/// The result of a transaction.
pub(crate) enum End {
    /// Committed; the errors of the commands that failed, by their index in the group.
    Committed { failures: Vec<Option<Error>>, topics: Topics },
    /// Undone as a whole, for a reason of the group.
    Undone(Fault),
    /// The connection broke before the commit: nothing happened.
    Broken(Error),
    /// The answer to the commit was lost.
    Unknown { error: Error, failures: Vec<Option<Error>>, topics: Topics },
}

struct Applied {
    failures: Vec<Option<Error>>,
    topics: Topics,
}

const OPERATION: &str = "write to the database";

/// Begins, applies each command under its own savepoint, commits.
pub(crate) async fn run(
    connection: &mut Connection,
    target: &Target,
    ids: &IdGenerator,
    mark: Mark,
    group: &mut Group,
) -> End {
    let limit = target.answer_within();
    let applied = match apply_all(connection, limit, ids, mark, group).await {
        Ok(applied) => applied,
        Err(fault) => return undo(connection, limit, fault).await,
    };
    let Applied { failures, topics } = applied;
    match within(limit, execute(connection, "COMMIT")).await {
        Ok(()) => End::Committed { failures, topics },
        Err(fault) if fault.meaning() == Meaning::Broken || fault.is_torn_write() => {
            End::Unknown { error: fault.told("commit to the database"), failures, topics }
        }
        Err(fault) => undo(connection, limit, fault).await,
    }
}

async fn apply_all(
    connection: &mut Connection,
    limit: Option<Duration>,
    ids: &IdGenerator,
    mark: Mark,
    group: &mut Group,
) -> Result<Applied, Fault> {
    let database_time = within(limit, begin(connection, mark)).await?;
    let mut tx = Tx::new(connection, ids, database_time);
    let mut failures = Vec::with_capacity(group.len());
    let last = group.len().saturating_sub(1);
    for (place, command) in group.iter_mut().enumerate() {
        let mark = tx.mark();
        // If a command ignored an error, PostgreSQL's transaction cannot continue, and its COMMIT would silently undo
        // it: releasing the savepoint shows the error.
        let next = if place == last { "RELEASE SAVEPOINT c" } else { "RELEASE SAVEPOINT c; SAVEPOINT c" };
        let applied = within(limit, async {
            command.apply(&mut tx).await?;
            on!(tx, c => sqlx::raw_sql(next).execute(c).await.map(|_| ()))?;
            Ok(())
        });
        match applied.await {
            Ok(()) => failures.push(None),
            Err(fault) if fault.meaning() == Meaning::Refused => {
                let back =
                    on!(tx, c => sqlx::raw_sql("ROLLBACK TO SAVEPOINT c").execute(c).await.map(|_| ()));
                if let Err(error) = back {
                    // Some errors of SQLite (disk full) undo the whole transaction by themselves.
                    let lost = Fault::from(error);
                    return Err(if lost.meaning() == Meaning::Broken { lost } else { fault });
                }
                tx.back_to(&mark);
                failures.push(Some(fault.told(OPERATION)));
            }
            Err(fault) => return Err(fault),
        }
    }
    let events = tx.take_events();
    within(limit, event::append(&mut tx, &events)).await?;
    let topics = tx.topics();
    within(limit, wake::notify(&mut tx, topics)).await?;
    Ok(Applied { failures, topics })
}

/// Begins with the first savepoint; on PostgreSQL also with the transaction's number, and returns the server's time.
async fn begin(connection: &mut Connection, mark: Mark) -> Result<Option<Timestamp>, Fault> {
    on!(connection,
        sqlite c => {
            sqlx::raw_sql("BEGIN IMMEDIATE; SAVEPOINT c").execute(c).await?;
            Ok(None)
        },
        postgres c => lost_commit::begin(c, mark).await.map(Some),
    )
}

async fn undo(connection: &mut Connection, limit: Option<Duration>, fault: Fault) -> End {
    if fault.meaning() == Meaning::Broken {
        return End::Broken(fault.told(OPERATION));
    }
    match within(limit, execute(connection, "ROLLBACK")).await {
        Err(lost) if lost.meaning() == Meaning::Broken => End::Broken(lost.told(OPERATION)),
        // SQLite reports this if the error itself undid the transaction.
        _ => End::Undone(fault),
    }
}

async fn execute(connection: &mut Connection, sql: &'static str) -> Result<(), Fault> {
    on!(connection, c => sqlx::raw_sql(sql).execute(c).await.map(|_| ()))?;
    Ok(())
}

/// A step that takes longer than this counts as a broken connection; no limit for a local file.
async fn within<T>(
    limit: Option<Duration>,
    step: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let Some(limit) = limit else { return step.await };
    match tokio::time::timeout(limit, step).await {
        Ok(done) => done,
        Err(_) => Err(Fault::Silent(
            Error::transient(ErrorKind::Timeout, OPERATION)
                .with("at", "database")
                .with("waited", format_args!("{limit:?}"))
                .advice("check that the database answers"),
        )),
    }
}
