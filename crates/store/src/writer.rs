//! The writer: takes all waiting commands, applies each under its own savepoint, commits once, and then answers.
//!
//! What can go wrong and what follows:
//! * one command fails: only this command is undone, and it gets its own error after the commit;
//! * the connection breaks before the commit: nothing happened, the group is repeated;
//! * the answer to the commit is lost: `lost_commit` determines the result before anything is answered;
//! * it conflicts with another transaction: each command of the group is repeated alone.

use crate::command::Queued;
use crate::either::Connection;
use crate::fault::Meaning;
use crate::lost_commit::{self, Fate, Mark};
use crate::settings::IdGenerator;
use crate::target::Target;
use crate::transaction::{self, End};
use crate::wake::Wake;
use model::{Error, Retry};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

/// The most waiting commands; with more, callers wait.
pub(crate) const QUEUE: usize = 1024;
/// Commands of one transaction at most.
const GROUP: usize = 256;
/// A writer leaves commands to the others only above this number, because a commit is expensive.
const LEAST_SHARE: usize = 16;
/// How often a single command that conflicts with another transaction is tried.
const CONFLICTS: u32 = 20;
/// The longest wait between two attempts to reach the database.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// All writers take from one queue.
pub(crate) type Queue = Arc<Mutex<mpsc::Receiver<Box<dyn Queued>>>>;
/// Commands of one transaction.
pub(crate) type Group = Vec<Box<dyn Queued>>;

/// One writing connection and what it needs to make another.
pub(crate) struct Writer {
    target: Target,
    ids: IdGenerator,
    wake: Wake,
    connection: Option<Connection>,
    mark: Mark,
    away: Option<Away>,
}

/// A database that cannot be reached.
#[derive(Clone, Copy)]
struct Away {
    since: Instant,
    pause: Duration,
}

impl Writer {
    pub(crate) fn new(target: Target, ids: IdGenerator, wake: Wake, connection: Option<Connection>) -> Self {
        let mark = Mark { writer: ids(), number: 0 };
        Self { target, ids, wake, connection, mark, away: None }
    }

    /// Works until the queue is closed and empty, beside as many writers as there are.
    pub(crate) async fn run(mut self, queue: Queue, writers: usize) {
        while let Some(group) = take(&queue, writers).await {
            self.write(group).await;
        }
        if let Some(connection) = self.connection.take() {
            connection.close().await;
        }
    }

    /// Executes a group of commands and answers them.
    async fn write(&mut self, mut group: Group) {
        // Nobody waits for these any more, and nothing of them was executed.
        group.retain(|command| command.wanted());
        group.sort_by_key(|command| command.place());
        let mut open = VecDeque::from([group]);
        let mut conflicts = 0;
        while let Some(mut group) = open.pop_front() {
            if group.is_empty() {
                continue;
            }
            match self.transact(&mut group).await {
                End::Committed { failures, .. } => {
                    conflicts = 0;
                    answer(group, failures);
                }
                End::Broken(error) if self.pause().await => {
                    tracing::warn!(error = %error.chain(), commands = group.len(), "the database is unreachable; trying again");
                    open.push_front(group);
                }
                // Whatever prevents the connection, nothing was executed.
                End::Broken(error) => fail(group, &error.retry_as(Retry::Transient)),
                End::Undone(fault) if group.len() > 1 => {
                    tracing::debug!(
                        ?fault,
                        commands = group.len(),
                        "a group of writes was rolled back; each write is repeated separately"
                    );
                    open.extend(group.into_iter().map(|command| vec![command]));
                }
                End::Undone(fault) if fault.meaning() == Meaning::Conflict && conflicts < CONFLICTS => {
                    conflicts += 1;
                    tokio::time::sleep(Duration::from_millis(5 * u64::from(conflicts))).await;
                    open.push_front(group);
                }
                End::Undone(fault) => {
                    conflicts = 0;
                    fail(group, &fault.told("write to the database"));
                }
                End::Unknown { error, failures, topics } => match self.fate().await {
                    Fate::Committed => {
                        self.away = None;
                        self.wake.fire(topics);
                        answer(group, failures);
                    }
                    // Nothing happened: as if the connection had broken before.
                    Fate::Aborted if self.pause().await => open.push_front(group),
                    Fate::Aborted => fail(group, &error),
                    Fate::Unknown => fail(group, &again(&error).retry_as(Retry::Ambiguous)),
                },
            }
        }
    }

    /// One try at a transaction with all commands of the group.
    async fn transact(&mut self, group: &mut Group) -> End {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match self.target.connect().await {
                Ok(connection) => connection,
                Err(error) => return End::Broken(error),
            },
        };
        self.mark.number += 1;
        let end = transaction::run(&mut connection, &self.target, &self.ids, self.mark, group).await;
        match &end {
            End::Committed { topics, .. } => {
                self.away = None;
                self.connection = Some(connection);
                self.wake.fire(*topics);
            }
            End::Undone(_) => {
                self.away = None;
                self.connection = Some(connection);
            }
            // A broken connection is dropped, not closed: closing would wait for its answer. Its transaction may lock
            // the writer's row until the server notices, so the next one uses another.
            End::Broken(_) => self.mark = Mark { writer: (self.ids)(), number: 0 },
            End::Unknown { .. } => {}
        }
        end
    }

    /// Waits a little longer each time; false when the time limit for an unreachable database is over.
    async fn pause(&mut self) -> bool {
        let away = self.away.get_or_insert(Away { since: Instant::now(), pause: Duration::from_millis(20) });
        if away.since.elapsed() + away.pause > self.target.away_for() {
            return false;
        }
        let pause = away.pause;
        away.pause = (pause * 2).min(LONGEST_PAUSE);
        tokio::time::sleep(pause).await;
        true
    }

    /// The result of a transaction whose commit was not answered. Repeats until it is known, or the time limit is
    /// over.
    async fn fate(&mut self) -> Fate {
        loop {
            match lost_commit::ask(&self.target, self.mark).await {
                Ok(fate) => {
                    tracing::warn!(?fate, "the result of a commit whose answer was lost was looked up");
                    return fate;
                }
                Err(error) => {
                    tracing::warn!(error = %error.chain(), "the result of a commit cannot be looked up yet")
                }
            }
            if !self.pause().await {
                return Fate::Unknown;
            }
        }
    }
}

/// The next group: waits for one command, then takes this writer's share of the waiting ones.
async fn take(queue: &Queue, writers: usize) -> Option<Group> {
    let mut queue = queue.lock().await;
    let mut group = vec![queue.recv().await?];
    let share = match writers {
        0 | 1 => GROUP,
        writers => queue.len().div_ceil(writers).clamp(LEAST_SHARE, GROUP),
    };
    while group.len() < share
        && let Ok(next) = queue.try_recv()
    {
        group.push(next);
    }
    Some(group)
}

fn answer(group: Group, failures: Vec<Option<Error>>) {
    for (command, failure) in group.into_iter().zip(failures) {
        match failure {
            None => command.answer(),
            Some(error) => command.fail(error),
        }
    }
}

fn fail(group: Group, error: &Error) {
    for command in group {
        command.fail(again(error));
    }
}

/// A copy of an error, for each caller of a group.
fn again(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.retry(), error.operation().to_owned());
    error
        .context()
        .iter()
        .fold(copy, |copy, (key, value)| copy.with(key, value))
        .advice("check that the database is running, is reachable and has free space")
        .caused_by(error.chain())
}
