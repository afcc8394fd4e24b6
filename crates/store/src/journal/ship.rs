//! Shipping: from the journal's files to the database.

use super::connections::{EndConnections, FindConnections, LoseConnections, ShipConnections};
use super::entry::{Header, JournalEntry, Line, encode};
use super::segment::{self, Batch, Place, Reader};
use super::{Counts, Journal};
use crate::Store;
use crate::either::on;
use model::{Error, ErrorKind, NodeName, Result, Retry, Timestamp};
use std::fs::OpenOptions;
use std::future::Future;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The most entries of one transaction.
const ENTRIES: usize = 1000;
/// The approximate most bytes of one transaction.
const BYTES: u64 = 1 << 20;
/// How long to wait for further entries after the first one.
const LINGER: Duration = Duration::from_millis(50);
/// How often connections that another node marked as lost are queried while there are entries to ship.
const LOOK_AGAIN: chrono::TimeDelta = chrono::TimeDelta::seconds(10);
/// The longest wait between two attempts while the database is unreachable.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The progress of shipping.
pub(crate) struct Shipping {
    directory: PathBuf,
    place: Place,
    reader: Option<Reader>,
    /// Whether the open connections of an earlier process were closed.
    others_ended: bool,
    /// When connections that another node marked as lost were last queried.
    looked_at: Option<Timestamp>,
}

impl Shipping {
    /// Continues where the last process stopped. If the stored position is missing or damaged, starts from the
    /// beginning of the existing segments: shipping twice changes nothing.
    pub(crate) fn resume(directory: &Path) -> io::Result<Self> {
        let first = segment::list(directory)?.first().map_or(1, |(number, _)| *number);
        let beginning = Place { segment: first, offset: 0 };
        let mark = match std::fs::read_to_string(directory.join("shipped")) {
            Ok(text) => text.split_once(' ').and_then(|(segment, offset)| {
                Some(Place { segment: segment.parse().ok()?, offset: offset.trim().parse().ok()? })
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let place = mark.map_or(beginning, |mark| mark.max(beginning));
        Ok(Self {
            directory: directory.to_owned(),
            place,
            reader: None,
            others_ended: false,
            looked_at: None,
        })
    }

    /// The number of bytes of these segments that are not shipped.
    pub(crate) fn backlog(&self, segments: &[(u64, u64)]) -> u64 {
        segments
            .iter()
            .map(|(number, size)| match number.cmp(&self.place.segment) {
                std::cmp::Ordering::Less => 0,
                std::cmp::Ordering::Equal => size.saturating_sub(self.place.offset),
                std::cmp::Ordering::Greater => *size,
            })
            .sum()
    }

    /// The next entries before `end`, and the process that wrote them; `None` if there are no more.
    fn next(&mut self, end: Place) -> io::Result<Option<(Option<Header>, Batch)>> {
        while self.place < end {
            if self.reader.is_none() {
                match Reader::open(&self.directory, self.place) {
                    Ok(reader) => self.reader = Some(reader),
                    // A number without a file: its creation failed, or it was shipped and removed.
                    Err(error)
                        if error.kind() == io::ErrorKind::NotFound && self.place.segment < end.segment =>
                    {
                        self.place = Place { segment: self.place.segment + 1, offset: 0 };
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            let Some(reader) = &mut self.reader else { continue };
            let until = if self.place.segment == end.segment { end.offset } else { u64::MAX };
            let batch = reader.read(until, ENTRIES, BYTES)?;
            if batch.end > self.place {
                return Ok(Some((reader.header.clone(), batch)));
            }
            if self.place.segment >= end.segment {
                break;
            }
            self.reader = None;
            self.place = Place { segment: self.place.segment + 1, offset: 0 };
        }
        Ok(None)
    }

    /// After the commit: stores the position and removes earlier segments.
    fn done(&mut self, end: Place) -> io::Result<()> {
        let before = self.place;
        self.place = end;
        // An old position only causes a repetition, so it is written without a sync, and not each time.
        if before.segment != end.segment || end.offset / (256 << 10) != before.offset / (256 << 10) {
            self.mark()?;
        }
        for (number, _) in segment::list(&self.directory)? {
            if number < end.segment {
                std::fs::remove_file(segment::path(&self.directory, number))?;
            }
        }
        Ok(())
    }

    fn mark(&self) -> io::Result<()> {
        let temporary = self.directory.join("shipped.new");
        std::fs::write(&temporary, format!("{} {}\n", self.place.segment, self.place.offset))?;
        std::fs::rename(&temporary, self.directory.join("shipped"))
    }

    /// Writes lines to their own file, for a person.
    fn set_aside(&self, name: &str, lines: &[Vec<u8>]) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(self.directory.join(name))?;
        for line in lines {
            file.write_all(line)?;
            if line.last() != Some(&b'\n') {
                file.write_all(b"\n")?;
            }
        }
        file.sync_all()
    }
}

impl Journal {
    /// Ships until `stop` is ready: waits for entries, collects them for 50 ms, writes them together, and repeats as
    /// long as the database is unreachable. Cancel-safe: a cancelled batch is shipped again.
    pub async fn ship(
        &self,
        store: &Store,
        clock: impl Fn() -> Timestamp + Send + Sync,
        stop: impl Future<Output = ()> + Send,
    ) {
        let forever = async {
            let mut pause = LINGER;
            loop {
                match self.ship_pending(store, clock()).await {
                    Ok(_) => {
                        pause = LINGER;
                        self.shared.more.notified().await;
                        tokio::time::sleep(LINGER).await;
                    }
                    Err(error) => {
                        tracing::warn!(
                            error = error.chain(),
                            "connection records wait in the journal, because the database does not answer"
                        );
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
            }
        };
        tokio::select! {
            () = stop => {}
            () = forever => {}
        }
    }

    /// Ships everything that is written now; returns the number of entries. The first call also closes the open
    /// connections of an earlier process of this node as 'process ended' at `now`.
    ///
    /// # Errors
    /// The database failed, or the files could not be read; nothing is lost.
    pub async fn ship_pending(&self, store: &Store, now: Timestamp) -> Result<u64> {
        let mut shipping = self.shipping.lock().await;
        let end = self.shared.end();
        let mut shipped = 0;
        while let Some((header, batch)) = shipping.next(end).map_err(|e| self.failed(e))? {
            let header = header.unwrap_or_else(|| self.process.clone());
            // The reader is ahead of the stored position until the commit: after an error it must go back.
            let reader = shipping.reader.take();
            self.set_damaged_aside(&shipping, &batch)?;
            let entries = batch.entries.len() as u64;
            self.ship_batch(store, &shipping, &header, batch.entries).await?;
            shipping.reader = reader;
            let bytes = if batch.end.segment == shipping.place.segment {
                batch.end.offset - shipping.place.offset
            } else {
                batch.end.offset
            };
            shipping.done(batch.end).map_err(|e| self.failed(e))?;
            let counts = &self.shared.counts;
            let left = counts.backlog.load(Ordering::Relaxed);
            counts.backlog.fetch_sub(bytes.min(left), Ordering::Relaxed);
            counts.shipped.fetch_add(entries, Ordering::Relaxed);
            shipped += entries;
        }
        if !shipping.others_ended {
            let node = self.process.node.clone();
            store.end_connections(&node, self.process.process, now).await?;
            shipping.others_ended = true;
        }
        if shipped > 0 && shipping.looked_at.is_none_or(|at| now - at > LOOK_AGAIN) {
            // This process is alive and reaches the database: lost marks of its connections are removed.
            let Header { node, process, .. } = &self.process;
            store.find_connections(node, *process, now).await?;
            shipping.looked_at = Some(now);
        }
        Ok(shipped)
    }

    fn set_damaged_aside(&self, shipping: &Shipping, batch: &Batch) -> Result<()> {
        if batch.damaged.is_empty() {
            return Ok(());
        }
        shipping.set_aside("damaged", &batch.damaged).map_err(|e| self.failed(e))?;
        let lines = batch.damaged.len();
        self.shared.counts.damaged.fetch_add(lines as u64, Ordering::Relaxed);
        tracing::error!(
            lines,
            "lines of the connection journal are damaged; they were moved to its file `damaged`"
        );
        Ok(())
    }

    /// Writes one batch. If the database refuses it permanently, each entry is tried alone: if one is refused while
    /// others are accepted, it is set aside, so that it does not block the rest.
    async fn ship_batch(
        &self,
        store: &Store,
        shipping: &Shipping,
        header: &Header,
        entries: Vec<JournalEntry>,
    ) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let refused = match store.write(ShipConnections::new(header, entries.clone())).await {
            Ok(()) => return Ok(()),
            Err(error) if error.retry() == Retry::Permanent && entries.len() > 1 => error,
            Err(error) => return Err(error),
        };
        let mut unshippable = vec![];
        let mut taken = false;
        for entry in entries {
            match store.write(ShipConnections::new(header, vec![entry.clone()])).await {
                Ok(()) => taken = true,
                Err(error) if error.retry() == Retry::Permanent => unshippable.push((entry, error)),
                Err(error) => return Err(error),
            }
        }
        if !taken {
            return Err(refused.retry_as(Retry::Transient));
        }
        self.set_unshippable_aside(shipping, header, unshippable, &self.shared.counts)
    }

    fn set_unshippable_aside(
        &self,
        shipping: &Shipping,
        header: &Header,
        entries: Vec<(JournalEntry, Error)>,
        counts: &Counts,
    ) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut lines = vec![encode(&Line::Segment(header.clone()))];
        for (entry, error) in &entries {
            tracing::error!(
                error = error.chain(),
                "an entry of the connection journal cannot be stored in the database; it was moved aside"
            );
            lines.push(encode(&Line::Entry(Box::new(entry.clone()))));
        }
        let lines: Vec<Vec<u8>> = lines
            .into_iter()
            .collect::<serde_json::Result<_>>()
            .map_err(|e| Error::permanent(ErrorKind::Internal, "move journal entries aside").caused_by(e))?;
        shipping.set_aside("unshippable", &lines).map_err(|e| self.failed(e))?;
        counts.unshippable.fetch_add(entries.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::local_io("copy the connection journal to the database", error)
            .with("directory", self.settings.directory.display())
    }
}

impl Store {
    /// Marks as lost the open connections of nodes whose lease lapsed and was not taken again: they were fenced, or
    /// stopped. The connections themselves may still exist: their own node decides when it comes back or is started
    /// again. `by` is the node that does this; it is alive, whatever the state of its own lease. Returns their
    /// number.
    ///
    /// # Errors
    /// The database failed.
    pub async fn lose_connections_of_lapsed_nodes(&self, at: Timestamp, by: &model::NodeName) -> Result<u64> {
        let lapsed: Vec<(String, Timestamp)> = self
            .read("look up connections of lapsed nodes", async {
                on!(self.pool(),
                    sqlite c => sqlx::query_as(
                        "SELECT node, until_at FROM leases WHERE NOT held AND until_at <= $1 AND node <> $2 AND node IN \
                           (SELECT node FROM connections WHERE closed_at IS NULL AND lost_at IS NULL)")
                        .bind(at).bind(by.as_str()).fetch_all(c).await,
                    // Leases are measured by the database's clock.
                    postgres c => sqlx::query_as(
                        "SELECT node, until_at FROM leases WHERE NOT held AND until_at <= clock_timestamp() AND node <> $1 \
                         AND node IN (SELECT node FROM connections WHERE closed_at IS NULL AND lost_at IS NULL)")
                        .bind(by.as_str()).fetch_all(c).await,
                )
            })
            .await?;
        let mut lost = 0;
        for (name, until) in lapsed {
            let node = NodeName::try_from(name).map_err(|error| {
                Error::permanent(ErrorKind::Internal, "read a node's name").caused_by(error)
            })?;
            // A later connection belongs to a command that tests an endpoint in the stopped node's name.
            loop {
                let (node, by) = (node.clone(), by.clone());
                match self.write(LoseConnections { node, started_before: until, at, by }).await? {
                    0 => break,
                    some => lost += some,
                }
            }
        }
        Ok(lost)
    }

    /// Closes as 'process ended' the open connections of earlier processes of this node: those that began before
    /// `started_before`. The caller holds the lock that proves that they ended. Returns their number.
    ///
    /// # Errors
    /// The database failed.
    pub async fn end_connections(
        &self,
        node: &model::NodeName,
        started_before: Timestamp,
        at: Timestamp,
    ) -> Result<u64> {
        let mut ended = 0;
        loop {
            match self.write(EndConnections { node: node.clone(), started_before, at }).await? {
                0 => return Ok(ended),
                some => ended += some,
            }
        }
    }

    /// Removes the lost marks, set by another node, of connections of this process. Returns their number.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn find_connections(
        &self,
        node: &model::NodeName,
        process: Timestamp,
        at: Timestamp,
    ) -> Result<u64> {
        let mut found = 0;
        loop {
            match self.write(FindConnections { node: node.clone(), process, at }).await? {
                0 => return Ok(found),
                some => found += some,
            }
        }
    }
}
