//! The record of every connection: opened, ended, or never established.
//!
//! Records come from [`crate::Net`] and from its HTTP server, and go to a [`ConnectionLog`] (the binary connects it
//! to the store's journal). An end is recorded even if the future that held the connection is dropped: each
//! connection has a place in a bounded queue from the beginning, so handing over its end can neither wait nor fail,
//! and a separate task writes it and repeats until the log accepts it. If the log accepts nothing more, the places
//! run out, and no further connection can be opened: there is no connection without a record.

use async_trait::async_trait;
use futures::future::join_all;
use model::{ConnectionClosed, ConnectionFailed, ConnectionOpened, NodeName, Result, Timestamp};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// The target of connection records.
///
/// The log must be idempotent by connection id and kind of record: after an error the same record is handed over
/// again.
#[async_trait]
pub trait ConnectionLog: Send + Sync {
    /// Records an established connection. Durable when it returns; only then the connection is used.
    ///
    /// # Errors
    /// It could not be recorded: the connection is dropped unused.
    async fn opened(&self, opened: Opened) -> Result<()>;

    /// Records the end of a connection that was recorded as opened.
    ///
    /// # Errors
    /// It could not be recorded; it is handed over again after some time.
    async fn closed(&self, closed: ConnectionClosed) -> Result<()>;

    /// Records an attempt that did not get a socket.
    ///
    /// # Errors
    /// It could not be recorded; it is handed over again after some time.
    async fn failed(&self, failed: ConnectionFailed) -> Result<()>;

    /// Records that connections were refused or closed to make room: one call for all of a listener's in a period, so
    /// that a flood of connections does not flood the records. A log may store only the numbers.
    ///
    /// # Errors
    /// It could not be recorded; the caller logs that and continues.
    async fn turned_away(&self, _: RefusedConnections) -> Result<()> {
        Ok(())
    }
}

/// The connections beyond its limits that a listener refused or closed in a period.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusedConnections {
    /// The end of the period.
    pub at: Timestamp,
    /// The node.
    pub node: NodeName,
    /// The listener's name.
    pub listener: String,
    /// Its address.
    pub address: SocketAddr,
    /// Connections that were closed as soon as they were accepted.
    pub refused: u64,
    /// Idle connections that were closed to make room.
    pub closed: u64,
    /// The client of the last refused connection, or of the one for which another was closed.
    pub last: SocketAddr,
}

/// An established connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The record.
    pub record: ConnectionOpened,
    /// Protections that the configuration has switched off, such as `certificate not verified`; empty if none is.
    pub weakened: Vec<&'static str>,
}

/// What remains to be written when a connection is over.
pub(crate) enum Ending {
    /// It was recorded as opened.
    Closed(ConnectionClosed),
    /// It ended before it was recorded as opened: both records are written now.
    Unrecorded(Box<(Opened, ConnectionClosed)>),
    /// It never had a socket.
    Failed(Box<ConnectionFailed>),
}

/// A place in the queue of ends, held from a connection's beginning.
pub(crate) struct Place {
    permit: Option<mpsc::OwnedPermit<Ending>>,
    pending: Arc<watch::Sender<usize>>,
    taken: bool,
}

impl Place {
    /// Marks the place as used by a connection or an attempt. Before, it is only reserved.
    pub(crate) fn taken(mut self) -> Self {
        if !std::mem::replace(&mut self.taken, true) {
            self.pending.send_modify(|pending| *pending += 1);
        }
        self
    }

    /// Hands over the end. Neither waits nor fails.
    pub(crate) fn end(self, ending: Ending) {
        let mut place = self.taken();
        if let Some(permit) = place.permit.take() {
            permit.send(ending);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Returned unused. An end that was handed over counts until it is written.
        if self.permit.take().is_some() && self.taken {
            self.pending.send_modify(|pending| *pending -= 1);
        }
    }
}

/// Gives out places and writes ends.
#[derive(Clone)]
pub(crate) struct Recorder {
    log: Arc<dyn ConnectionLog>,
    queue: mpsc::Sender<Ending>,
    pending: Arc<watch::Sender<usize>>,
}

/// The number of ends that are written at the same time, so that a log that syncs in groups can group them.
const BATCH: usize = 256;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Recorder {
    /// Starts the task that writes ends. It stops when the last place and the last recorder are dropped.
    pub(crate) fn start(log: Arc<dyn ConnectionLog>, places: usize) -> Self {
        let (queue, endings) = mpsc::channel(places.max(1));
        let pending = Arc::new(watch::Sender::new(0));
        tokio::spawn(write_endings(log.clone(), endings, pending.clone()));
        Self { log, queue, pending }
    }

    /// The log itself, for records whose writing is awaited.
    pub(crate) fn log(&self) -> &Arc<dyn ConnectionLog> {
        &self.log
    }

    /// Waits for a place. `None` only while the process ends.
    pub(crate) async fn place(&self) -> Option<Place> {
        let permit = self.queue.clone().reserve_owned().await.ok()?;
        Some(Place { permit: Some(permit), pending: self.pending.clone(), taken: false })
    }

    /// The number of connections that are open, being opened, or whose end is not written yet.
    pub(crate) fn pending(&self) -> usize {
        *self.pending.borrow()
    }

    /// Waits until [`Recorder::pending`] is zero.
    pub(crate) async fn drained(&self) {
        // `self` owns the sender, so the wait cannot fail.
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
