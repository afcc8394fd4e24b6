//! The writer's transaction, in which commands are applied.

use crate::either::{Connection, Either};
use crate::lease::NodeLease;
use crate::settings::IdGenerator;
use crate::wake::{Topic, Topics};
use model::{AuditEvent, EventId, EventKind, NodeName, Timestamp};
use sqlx::{PgConnection, SqliteConnection};
use uuid::Uuid;

/// One transaction of a writer, shared by the commands of a group.
pub(crate) struct Tx<'a> {
    connection: &'a mut Connection,
    ids: &'a IdGenerator,
    /// The database's own time; none on SQLite.
    database_time: Option<Timestamp>,
    /// Events are written together, just before the commit.
    events: Vec<AuditEvent>,
    /// Leases that are held, locked until the commit.
    pub(crate) held: Vec<NodeLease>,
    /// What others are notified of at the commit.
    topics: Topics,
}

/// The savepoint of a command.
pub(crate) struct Mark {
    events: usize,
    topics: Topics,
}

impl<'a> Tx<'a> {
    pub(crate) fn new(
        connection: &'a mut Connection,
        ids: &'a IdGenerator,
        database_time: Option<Timestamp>,
    ) -> Self {
        Self {
            connection,
            ids,
            database_time,
            events: Vec::new(),
            held: Vec::new(),
            topics: Topics::default(),
        }
    }

    /// For `on!`.
    pub(crate) fn either(&mut self) -> Either<&mut SqliteConnection, &mut PgConnection> {
        self.connection.either()
    }

    /// The statement for this database, where a lock must be said on PostgreSQL; see `locking!`.
    pub(crate) fn pick(&self, sqlite: &'static str, postgres: &'static str) -> &'static str {
        match self.connection {
            Either::Sqlite(_) => sqlite,
            Either::Postgres(_) => postgres,
        }
    }

    /// A fresh id for something that the store itself makes.
    pub(crate) fn id(&self) -> Uuid {
        (self.ids)()
    }

    /// The clock by which leases are measured: the database's if there are several nodes, so that a node with a wrong
    /// clock does no harm; otherwise the given time.
    pub(crate) fn lease_time(&self, given: Timestamp) -> Timestamp {
        self.database_time.unwrap_or(given)
    }

    /// Adds an event to what this transaction writes.
    pub(crate) fn event(&mut self, event: AuditEvent) {
        self.events.push(event);
    }

    /// Adds the caller's events.
    pub(crate) fn events(&mut self, events: &[AuditEvent]) {
        self.events.extend_from_slice(events);
    }

    /// An event that follows from a change, to be completed and passed to [`Tx::event`].
    pub(crate) fn derived(&self, at: Timestamp, node: &NodeName, kind: EventKind) -> AuditEvent {
        AuditEvent::new(EventId::new(self.id()), at, node.clone(), kind)
    }

    /// Notifies tasks and nodes that wait for changes of this topic, once this is committed.
    pub(crate) fn wake(&mut self, topic: Topic) {
        self.topics.insert(topic);
    }

    pub(crate) fn topics(&self) -> Topics {
        self.topics
    }

    pub(crate) fn take_events(&mut self) -> Vec<AuditEvent> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { events: self.events.len(), topics: self.topics }
    }

    pub(crate) fn back_to(&mut self, mark: &Mark) {
        self.events.truncate(mark.events);
        self.topics = mark.topics;
        // Locks taken since the savepoint are gone with it.
        self.held.clear();
    }
}

/// A query that locks the rows it reads until the commit. SQLite has one writer and needs no lock.
macro_rules! locking {
    ($tx:expr, $($sql:tt)+) => {
        $tx.pick(concat!($($sql)+), concat!($($sql)+, " FOR NO KEY UPDATE"))
    };
}
pub(crate) use locking;
