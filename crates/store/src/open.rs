//! Opening and closing the store. Commands go to the writer, queries to a reader.

use crate::command::{Command, Queued, queued};
use crate::either::{Backend, Connection, Pool, on};
use crate::fault::database_error;
use crate::lost_commit;
use crate::settings::{IdGenerator, StoreSettings};
use crate::target::{Place, READER_IDLE, Target};
use crate::text_index::{self, TextIndex};
use crate::wake::{self, DecisionWakeups, Topic, Wake};
use crate::writer::{QUEUE, Writer};
use model::{Error, ErrorKind, Result};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqlitePoolOptions;
use std::fs::{File, OpenOptions, TryLockError};
use std::future::Future;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

/// The database. Cheap to clone; all clones share one store.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    backend: Backend,
    pool: Pool,
    answer_within: Option<Duration>,
    target: Target,
    /// Permits for searches: some connections stay free for everything else.
    searches: Arc<Semaphore>,
    search_within: Duration,
    text_index: TextIndex,
    /// Dropped when the store is closed.
    queue: RwLock<Option<mpsc::Sender<Box<dyn Queued>>>>,
    writers: Mutex<Vec<JoinHandle<()>>>,
    listener: Option<JoinHandle<()>>,
    /// The background task that builds indexes.
    indexing: Option<JoinHandle<()>>,
    wake: Wake,
    /// Held as long as the file is used.
    lock: Mutex<Option<Arc<File>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        for task in [&self.listener, &self.indexing].into_iter().flatten() {
            task.abort();
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("backend", &self.0.backend).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database, updates its schema, and starts the writers. Returns warnings for the operator.
    ///
    /// # Errors
    /// The URL cannot be read; the database cannot be reached; another process uses the file; the
    /// server does not sync to disk (`fsync=off`).
    pub async fn open(settings: &StoreSettings, ids: IdGenerator) -> Result<(Self, Vec<String>)> {
        let target = Target::new(settings)?;
        let lock = match &target.place {
            Place::Sqlite(_, path) if !settings.beside_gateway => Some(Arc::new(lock_file(path)?)),
            Place::Sqlite(..) | Place::Postgres(_) => None,
        };
        let mut connection = target.connect().await?;
        let mut warnings = check_durability(&mut connection).await?;
        if settings.beside_gateway && is_empty(&mut connection).await? {
            if !settings.make_tables {
                return Err(Error::permanent(ErrorKind::NotFound, "open the database").advice(
                    "it has no tables yet: start `waybill serve` first, or name the gateway's settings with --config",
                ));
            }
            migrate(&mut connection).await?;
        }
        if !settings.beside_gateway {
            migrate(&mut connection).await?;
            lost_commit::tidy(&mut connection).await?;
        }
        let (text_index, left) =
            TextIndex::open(&mut connection, settings.text_search_indexes, settings.beside_gateway).await?;
        warnings.extend(text_index.warning());
        let pool = readers(&target, settings).await?;
        let wake = Wake::new();
        let (sender, receiver) = mpsc::channel(QUEUE);
        let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
        let count = if target.backend() == Backend::Sqlite { 1 } else { settings.writers.max(1) };
        let mut connection = Some(connection);
        let writers = (0..count)
            .map(|_| {
                let writer = Writer::new(target.clone(), ids.clone(), wake.clone(), connection.take());
                let (queue, lock) = (receiver.clone(), lock.clone());
                tokio::spawn(async move {
                    writer.run(queue, count as usize).await;
                    drop(lock);
                })
            })
            .collect();
        let listener = match &target.place {
            Place::Sqlite(..) => None,
            Place::Postgres(options) => {
                Some(tokio::spawn(wake::listen(options.as_ref().clone(), wake.clone())))
            }
        };
        let indexing = left.then(|| {
            tokio::spawn(text_index::build_or_drop_all(target.clone(), settings.text_search_indexes))
        });
        let inner = Inner {
            backend: target.backend(),
            pool,
            answer_within: target.answer_within(),
            searches: Arc::new(Semaphore::new((settings.readers as usize / 2).max(1))),
            search_within: settings.search_within,
            text_index,
            target,
            queue: RwLock::new(Some(sender)),
            writers: Mutex::new(writers),
            listener,
            indexing,
            wake,
            lock: Mutex::new(lock),
        };
        Ok((Self(Arc::new(inner)), warnings))
    }

    /// The kind of database.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.0.backend
    }

    /// A cheap query, for `/readyz`.
    ///
    /// # Errors
    /// The database does not answer, or cannot be written to.
    pub async fn ready(&self) -> Result<()> {
        let queue = self.0.queue.read().unwrap_or_else(PoisonError::into_inner).clone();
        if queue.is_none_or(|queue| queue.is_closed()) {
            return Err(Error::permanent(ErrorKind::Internal, "write to the database")
                .advice("its writers have ended: restart Waybill"));
        }
        self.read("reach the database", async {
            on!(self.pool(), c => sqlx::query("SELECT 1").execute(c).await.map(|_| ()))
        })
        .await
    }

    /// Accepts no more commands, completes those that wait, and closes the database.
    pub async fn close(&self) {
        drop(self.0.queue.write().unwrap_or_else(PoisonError::into_inner).take());
        let writers = std::mem::take(&mut *self.0.writers.lock().unwrap_or_else(PoisonError::into_inner));
        for writer in writers {
            if let Err(error) = writer.await {
                tracing::error!(%error, "a database writer ended with an error");
            }
        }
        for task in [&self.0.listener, &self.0.indexing].into_iter().flatten() {
            task.abort();
        }
        on!(self.pool(), pool => pool.close().await);
        drop(self.0.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Changes each time something can be claimed after a commit, here or on another node. Only a hint: polling is
    /// still needed.
    #[must_use]
    pub fn wakeups(&self) -> watch::Receiver<u64> {
        self.subscribe(Topic::Deliveries)
    }

    /// The same for the steps of transfers.
    #[must_use]
    pub fn step_wakeups(&self) -> watch::Receiver<u64> {
        self.subscribe(Topic::Steps)
    }

    /// Says when to query for new revisions, for what was paused or set offline, and for requested runs.
    #[must_use]
    pub fn decision_wakeups(&self) -> DecisionWakeups {
        DecisionWakeups::new(self.subscribe(Topic::Decisions))
    }

    pub(crate) fn subscribe(&self, topic: Topic) -> watch::Receiver<u64> {
        self.0.wake.subscribe(topic)
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.0.pool
    }

    pub(crate) fn target(&self) -> &Target {
        &self.0.target
    }

    /// Permits for searches.
    pub(crate) fn searches(&self) -> Arc<Semaphore> {
        Arc::clone(&self.0.searches)
    }

    /// How long a search may take.
    pub(crate) fn search_within(&self) -> Duration {
        self.0.search_within
    }

    /// Whether an index is used to find parts of texts.
    #[must_use]
    pub fn text_index(&self) -> &TextIndex {
        &self.0.text_index
    }

    /// Sends a command to the writers and waits for its answer. Waits first if the queue is full.
    pub(crate) async fn write<C: Command>(&self, command: C) -> Result<C::Answer> {
        let closed = || {
            Error::transient(ErrorKind::Unreachable, "write to the database")
                .advice("the database was closed, as Waybill is stopping")
        };
        let queue = self.0.queue.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (command, answer) = queued(command);
        queue.ok_or_else(closed)?.send(command).await.map_err(|_| closed())?;
        answer.await.map_err(|_| {
            // The writer ended before it answered the command.
            Error::ambiguous(ErrorKind::Internal, "write to the database")
        })?
    }

    /// Runs a query on a reader, with the time limit for one answer.
    pub(crate) async fn read<T>(
        &self,
        operation: &'static str,
        query: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T> {
        let answer = match self.0.answer_within {
            None => query.await,
            Some(limit) => tokio::time::timeout(limit, query).await.map_err(|_| {
                Error::transient(ErrorKind::Timeout, operation)
                    .with("at", "database")
                    .with("waited", format_args!("{limit:?}"))
            })?,
        };
        answer.map_err(|error| database_error(error, operation))
    }
}

async fn readers(target: &Target, settings: &StoreSettings) -> Result<Pool> {
    let patience = settings.answer_within.min(Duration::from_secs(10));
    let pool = match &target.place {
        Place::Sqlite(options, _) => SqlitePoolOptions::new()
            .max_connections(settings.readers.max(1))
            .acquire_timeout(patience)
            .connect_with(options.as_ref().clone().pragma("query_only", "on"))
            .await
            .map(Pool::Sqlite),
        Place::Postgres(options) => PgPoolOptions::new()
            .max_connections(settings.readers.max(1))
            .acquire_timeout(patience)
            .connect_with(options.as_ref().clone().options([
                ("default_transaction_read_only", "on"),
                ("idle_in_transaction_session_timeout", READER_IDLE),
            ]))
            .await
            .map(Pool::Postgres),
    };
    pool.map_err(|error| database_error(error, "connect to the database"))
}

/// One process for one file: a lock on a file beside it, which the system releases in any case.
fn lock_file(database: &Path) -> Result<File> {
    const OPERATION: &str = "open the database file";
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    let io = |error| Error::local_io(OPERATION, error).with("path", database.display());
    let private = |path: &Path| {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
    };
    let lock = private(Path::new(&name)).map_err(io)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::permanent(ErrorKind::AlreadyExists, OPERATION)
                .with("path", database.display())
                .advice("another Waybill process uses it: stop that one, or give this one its own file"));
        }
        Err(TryLockError::Error(error)) => return Err(io(error)),
    }
    // The file contains password hashes and encrypted secrets; SQLite gives its log files the same mode.
    private(database).map_err(io)?;
    Ok(lock)
}

/// Whether no gateway has used this PostgreSQL database yet.
async fn is_empty(connection: &mut Connection) -> Result<bool> {
    let Connection::Postgres(c) = connection else { return Ok(false) };
    let empty: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NULL")
        .fetch_one(c)
        .await
        .map_err(|error| database_error(error, "open the database"))?;
    Ok(empty)
}

async fn migrate(connection: &mut Connection) -> Result<()> {
    let migrated = match connection {
        Connection::Sqlite(c) => sqlx::migrate!("../../migrations/sqlite").run(c).await,
        // Nodes that start together wait for each other: sqlx takes an advisory lock.
        Connection::Postgres(c) => sqlx::migrate!("../../migrations/postgres").run(c).await,
    };
    migrated.map_err(|error| match error {
        sqlx::migrate::MigrateError::Execute(error) => {
            database_error(error, "bring the database's schema up to date")
        }
        other => Error::permanent(ErrorKind::Internal, "bring the database's schema up to date")
            .advice(
                "the database may belong to a newer version of Waybill, or its schema was changed by hand",
            )
            .caused_by(other),
    })
}

/// A server that does not sync may lose acknowledged data.
async fn check_durability(connection: &mut Connection) -> Result<Vec<String>> {
    const OPERATION: &str = "check the durability settings of the database";
    let Connection::Postgres(c) = connection else { return Ok(Vec::new()) };
    let setting = "SELECT current_setting('fsync'), current_setting('synchronous_commit'), \
                   current_setting('full_page_writes')";
    let (fsync, commit, pages): (String, String, String) =
        sqlx::query_as(setting).fetch_one(c).await.map_err(|error| database_error(error, OPERATION))?;
    if fsync == "off" {
        return Err(Error::permanent(ErrorKind::ConfigInvalid, "use the database")
            .with("setting", "fsync=off")
            .advice("set fsync=on in postgresql.conf: without it a power failure loses acknowledged files"));
    }
    let mut warnings = Vec::new();
    if commit == "off" {
        warnings.push(
            "the database runs with synchronous_commit=off: a crash of its server can lose transfers that were \
             acknowledged; set it to on"
                .to_owned(),
        );
    }
    if pages == "off" {
        warnings.push(
            "the database runs with full_page_writes=off: a power failure can damage it; set it to on"
                .to_owned(),
        );
    }
    Ok(warnings)
}
