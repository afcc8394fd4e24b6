//! The record of every connection: what came up, what ended, what never came up.
//!
//! Records come from [`crate::Net`] and from its HTTP server, and go to a [`ConnectionLog`] (the
//! binary wires it to the store's journal). An ending is written even when the future that held the
//! connection is dropped: each connection holds a place in a bounded queue from its first moment, so
//! handing its ending over can neither wait nor fail, and a task of its own writes it, trying again
//! until the log takes it. When the log takes nothing more the places run out, and no further
//! connection can be opened: what cannot be recorded is not done.

use async_trait::async_trait;
use futures::future::join_all;
use model::{ConnectionClosed, ConnectionFailed, ConnectionOpened, NodeName, Result, Timestamp};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Where connection records go.
///
/// The log must be idempotent by connection id and kind of record: after an error the same record is
/// handed over again.
#[async_trait]
pub trait ConnectionLog: Send + Sync {
    /// Records a connection that is up. Durable when it returns; the connection is used only then.
    ///
    /// # Errors
    /// It could not be recorded: the connection is dropped unused.
    async fn opened(&self, opened: Opened) -> Result<()>;

    /// Records the end of a connection that was recorded as opened.
    ///
    /// # Errors
    /// It could not be recorded; it is handed over again after a while.
    async fn closed(&self, closed: ConnectionClosed) -> Result<()>;

    /// Records an attempt that gave no socket.
    ///
    /// # Errors
    /// It could not be recorded; it is handed over again after a while.
    async fn failed(&self, failed: ConnectionFailed) -> Result<()>;

    /// Records that connections were refused or closed for others: one call for all that a listener did so
    /// to in a while, as whoever floods it must not flood the record. A log may leave it at the numbers.
    ///
    /// # Errors
    /// It could not be recorded; the caller says so and goes on.
    async fn turned_away(&self, _: RefusedConnections) -> Result<()> {
        Ok(())
    }
}

/// What a listener did with connections beyond its limits, in a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusedConnections {
    /// When it was summed up.
    pub at: Timestamp,
    /// On which node.
    pub node: NodeName,
    /// The listener's name.
    pub listener: String,
    /// Its address.
    pub address: SocketAddr,
    /// Connections that were closed as soon as they were accepted.
    pub refused: u64,
    /// Connections that were closed while idle, for others.
    pub closed: u64,
    /// The client of the last of them, or for which it was closed.
    pub last: SocketAddr,
}

/// A connection that came up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The record.
    pub record: ConnectionOpened,
    /// What was switched off by configuration and makes the connection weaker, such as
    /// `certificate not verified`; empty when nothing was.
    pub weakened: Vec<&'static str>,
}

/// What is left to write when a connection is over.
pub(crate) enum Ending {
    /// It had been recorded as opened.
    Closed(ConnectionClosed),
    /// It ended before it was recorded as opened: both records are written now.
    Unrecorded(Box<(Opened, ConnectionClosed)>),
    /// There never was a socket.
    Failed(Box<ConnectionFailed>),
}

/// A place in the queue of endings, held from a connection's first moment.
pub(crate) struct Place {
    permit: Option<mpsc::OwnedPermit<Ending>>,
    pending: Arc<watch::Sender<usize>>,
    taken: bool,
}

impl Place {
    /// From now on it stands for a connection, or an attempt at one. Before, it is merely kept free.
    pub(crate) fn taken(mut self) -> Self {
        if !std::mem::replace(&mut self.taken, true) {
            self.pending.send_modify(|pending| *pending += 1);
        }
        self
    }

    /// Hands over the ending. Neither waits nor fails.
    pub(crate) fn end(self, ending: Ending) {
        let mut place = self.taken();
        if let Some(permit) = place.permit.take() {
            permit.send(ending);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Given back unused. An ending that was handed over counts until it is written.
        if self.permit.take().is_some() && self.taken {
            self.pending.send_modify(|pending| *pending -= 1);
        }
    }
}

/// Hands out places and writes endings.
#[derive(Clone)]
pub(crate) struct Recorder {
    log: Arc<dyn ConnectionLog>,
    queue: mpsc::Sender<Ending>,
    pending: Arc<watch::Sender<usize>>,
}

/// Endings written side by side, so that a log that syncs in groups is not waited for one by one.
const BATCH: usize = 256;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Recorder {
    /// Starts the task that writes endings; it ends when the last place and the last recorder are gone.
    pub(crate) fn start(log: Arc<dyn ConnectionLog>, places: usize) -> Self {
        let (queue, endings) = mpsc::channel(places.max(1));
        let pending = Arc::new(watch::Sender::new(0));
        tokio::spawn(write_endings(log.clone(), endings, pending.clone()));
        Self { log, queue, pending }
    }

    /// The log itself, for records that are waited for.
    pub(crate) fn log(&self) -> &Arc<dyn ConnectionLog> {
        &self.log
    }

    /// Waits for a place. `None` only while the process ends.
    pub(crate) async fn place(&self) -> Option<Place> {
        let permit = self.queue.clone().reserve_owned().await.ok()?;
        Some(Place { permit: Some(permit), pending: self.pending.clone(), taken: false })
    }

    /// Connections that are open, being opened, or whose ending is not yet written.
    pub(crate) fn pending(&self) -> usize {
        *self.pending.borrow()
    }

    /// Waits until [`Recorder::pending`] is zero.
    pub(crate) async fn drained(&self) {
        // The sender lives in `self`: the wait cannot fail.
        let _ = self.pending.subscribe().wait_for(|pending| *pending == 0).await;
    }
}

async fn write_endings(
    log: Arc<dyn ConnectionLog>,
    mut endings: mpsc::Receiver<Ending>,
    pending: Arc<watch::Sender<usize>>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let count = endings.recv_many(&mut batch, BATCH).await;
        if count == 0 {
            return;
        }
        join_all(batch.drain(..).map(|ending| write_until_taken(&*log, ending))).await;
        pending.send_modify(|pending| *pending -= count);
    }
}

async fn write_until_taken(log: &dyn ConnectionLog, ending: Ending) {
    let mut pause = FIRST_PAUSE;
    while let Err(error) = write(log, &ending).await {
        tracing::error!(%error, "a connection record could not be written yet; trying again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn write(log: &dyn ConnectionLog, ending: &Ending) -> Result<()> {
    match ending {
        Ending::Closed(closed) => log.closed(closed.clone()).await,
        Ending::Unrecorded(both) => {
            log.opened(both.0.clone()).await?;
            log.closed(both.1.clone()).await
        }
        Ending::Failed(failed) => log.failed((**failed).clone()).await,
    }
}
