//! The sweep: finds staged bytes that no row of the database names. Committed payloads without a row go to quarantine,
//! never straight to deletion; those whose row says that they were removed are removed indeed, and so
//! are parts whose writer has died.

use crate::area::{Staging, sync_dir};
use crate::disk::DiskFile;
use crate::fault::fault;
use crate::layout::{FANS, Layout};
use model::{Error, ErrorKind, PayloadId, Result, Timestamp};
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Ids asked about at once.
const BATCH: usize = 500;

/// How often, and how long apart, the lock on moves is tried: half a minute in all. A batch holds it
/// for as long as it takes to move 500 files.
const LOCK_TRIES: u32 = 1500;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// What the database knows of some payloads: of the others there is no row.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Rows {
    /// They have a row, or are about to get one.
    pub needed: HashSet<PayloadId>,
    /// Their row says that their retention has ended: the bytes are to go.
    pub removed: HashSet<PayloadId>,
}

impl From<HashSet<PayloadId>> for Rows {
    /// All of them needed.
    fn from(needed: HashSet<PayloadId>) -> Self {
        Self { needed, removed: HashSet::new() }
    }
}

/// What a sweep came across.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// A committed payload that is not known: now in quarantine.
    Orphan {
        /// Which.
        id: PayloadId,
        /// Its length in bytes.
        length: u64,
    },
    /// A payload in quarantine that is known after all: back in its place.
    Restored {
        /// Which.
        id: PayloadId,
    },
    /// A payload whose row says that it was removed, whose bytes were still there: removed.
    Expired {
        /// Which.
        id: PayloadId,
    },
    /// A payload whose row says that it was removed, and that could not be: left for the next sweep.
    Stuck {
        /// Where.
        path: PathBuf,
        /// The reason.
        cause: String,
    },
    /// A part whose writer has died: removed.
    AbandonedPart {
        /// Its file name in `partial/`.
        name: String,
        /// Its length in bytes.
        length: u64,
    },
    /// Something that staging did not put there, or the second file of one id: left alone.
    Foreign {
        /// Where.
        path: PathBuf,
    },
}

/// What a sweep did.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Swept {
    /// Committed payloads looked at.
    pub payloads: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Payloads put into quarantine.
    pub orphans: u64,
    /// Payloads brought back from quarantine.
    pub restored: u64,
    /// Payloads removed whose row said so already.
    pub expired: u64,
    /// Parts removed.
    pub abandoned_parts: u64,
}

impl Staging {
    /// Looks at everything that has not changed since `before`. `known` tells of at most 500
    /// ids which have a row, and whether it says that they were removed; `found` is told of each find. Memory is bounded by
    /// the batch, whatever the size of the area. May run on several nodes at once.
    ///
    /// # Errors
    /// Those of `known`; local errors. What was not reached is left for the next sweep.
    pub fn sweep(
        &self,
        before: Timestamp,
        mut known: impl FnMut(&[PayloadId]) -> Result<Rows>,
        mut found: impl FnMut(Found),
    ) -> Result<Swept> {
        let mut sweep =
            Sweep { area: self, before: before.timestamp_micros(), known: &mut known, found: &mut found };
        let mut swept = Swept::default();
        sweep.restore_known(&mut swept)?;
        for fan in 0..FANS {
            sweep.sweep_fan(&self.inner.layout.fan(fan), &mut swept)?;
        }
        sweep.sweep_parts(&mut swept)?;
        Ok(swept)
    }

    /// Puts a committed payload into quarantine. One that is not there is no error.
    ///
    /// # Errors
    /// `AlreadyExists` when another file of that id is there; local errors, and the payload is then in
    /// one place or in both.
    pub fn quarantine(&self, id: PayloadId) -> Result<()> {
        let _held = self.hold_moves()?;
        self.move_away(id).map(drop)
    }

    /// Brings a payload back from quarantine. One that is not there is no error.
    ///
    /// # Errors
    /// As [`Staging::quarantine`].
    pub fn restore(&self, id: PayloadId) -> Result<()> {
        let _held = self.hold_moves()?;
        self.move_back(id).map(drop)
    }

    fn move_away(&self, id: PayloadId) -> Result<bool> {
        let layout = &self.inner.layout;
        self.relocate(&layout.payload(id), &layout.quarantined(id))
    }

    fn move_back(&self, id: PayloadId) -> Result<bool> {
        let layout = &self.inner.layout;
        self.relocate(&layout.quarantined(id), &layout.payload(id))
    }

    /// Moves a committed file, under the lock; `false` when it was not there. A second name is durable
    /// before the first is taken away: a rename between two directories could lose both on a file
    /// system without a journal.
    fn relocate(&self, from: &Path, to: &Path) -> Result<bool> {
        match self.disk().link(from, to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.same(from, to)? => {}
            Err(error) => return Err(fault("move a staged payload", from, error)),
        }
        if let Some(directory) = to.parent() {
            sync_dir(self.disk(), directory)?;
        }
        self.unlink(from).map(|()| true)
    }

    /// Whether two names are of one file.
    fn same(&self, one: &Path, other: &Path) -> Result<bool> {
        let look = |path| self.disk().stat(path).map_err(|e| fault("examine a staged payload", path, e));
        let (one, other) = (look(one)?, look(other)?);
        Ok((one.device, one.inode) == (other.device, other.inode))
    }

    /// Keeps moves to and from quarantine apart, over all nodes. One that takes a name away while
    /// another brings it back would leave none.
    fn hold_moves(&self) -> Result<Box<dyn DiskFile>> {
        let path = self.inner.layout.moves_lock();
        let open = |e| fault("lock staging for moving payloads", &path, e);
        let file = self.open_or_create(&path).map_err(open)?;
        for _ in 0..LOCK_TRIES {
            if file.try_lock().map_err(open)? {
                return Ok(file);
            }
            std::thread::sleep(LOCK_PAUSE);
        }
        Err(Error::transient(ErrorKind::Timeout, "lock staging for moving payloads")
            .with("path", path.display())
            .advice("another node is moving payloads; check whether it hangs"))
    }
}

type Known<'a> = &'a mut dyn FnMut(&[PayloadId]) -> Result<Rows>;

struct Sweep<'a> {
    area: &'a Staging,
    before: i64,
    known: Known<'a>,
    found: &'a mut dyn FnMut(Found),
}

impl Sweep<'_> {
    /// A payload whose row was committed while it was on its way to quarantine, by a process that
    /// died before it could bring it back.
    fn restore_known(&mut self, swept: &mut Swept) -> Result<()> {
        let directory = self.area.inner.layout.quarantine.clone();
        let mut batch = Vec::with_capacity(BATCH);
        for name in self.list(&directory)? {
            let Some(name) = self.name_in(&directory, name)? else { continue };
            if let Ok(id) = name.parse() {
                batch.push(id);
            }
            if batch.len() == BATCH {
                self.restore_batch(&mut batch, swept)?;
            }
        }
        self.restore_batch(&mut batch, swept)
    }

    fn restore_batch(&mut self, batch: &mut Vec<PayloadId>, swept: &mut Swept) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let rows = (self.known)(batch)?;
        batch.retain(|id| rows.needed.contains(id) || rows.removed.contains(id));
        if batch.is_empty() {
            return Ok(());
        }
        let _held = self.area.hold_moves()?;
        for id in batch.drain(..) {
            if rows.removed.contains(&id) {
                self.expire(id, self.area.inner.layout.quarantined(id), swept);
                continue;
            }
            match self.area.move_back(id) {
                Ok(false) => {}
                Ok(true) => {
                    swept.restored += 1;
                    (self.found)(Found::Restored { id });
                }
                Err(error) => self.taken(error, self.area.inner.layout.quarantined(id))?,
            }
        }
        Ok(())
    }

    fn sweep_fan(&mut self, fan: &Path, swept: &mut Swept) -> Result<()> {
        let mut batch = Vec::with_capacity(BATCH);
        for name in self.list(fan)? {
            let Some(name) = self.name_in(fan, name)? else { continue };
            let Ok(id) = name.parse::<PayloadId>() else {
                (self.found)(Found::Foreign { path: fan.join(name) });
                continue;
            };
            let Some(stat) = self.stat(&fan.join(&name))? else { continue };
            swept.payloads += 1;
            swept.bytes += stat.length;
            if stat.changed_micros < self.before {
                batch.push((id, stat.length));
            }
            if batch.len() == BATCH {
                self.judge(&mut batch, swept)?;
            }
        }
        self.judge(&mut batch, swept)
    }

    fn judge(&mut self, batch: &mut Vec<(PayloadId, u64)>, swept: &mut Swept) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let ids: Vec<PayloadId> = batch.iter().map(|(id, _)| *id).collect();
        let rows = (self.known)(&ids)?;
        for id in ids.iter().filter(|id| rows.removed.contains(*id)) {
            self.expire(*id, self.area.inner.layout.payload(*id), swept);
        }
        batch.retain(|(id, _)| !rows.needed.contains(id) && !rows.removed.contains(id));
        if batch.is_empty() {
            return Ok(());
        }
        let _held = self.area.hold_moves()?;
        let mut moved = Vec::with_capacity(batch.len());
        for (id, length) in batch.drain(..) {
            match self.area.move_away(id) {
                Ok(true) => moved.push((id, length)),
                Ok(false) => {}
                Err(error) => self.taken(error, self.area.inner.layout.payload(id))?,
            }
        }
        // Asked again: a row may have been committed since.
        let ids: Vec<PayloadId> = moved.iter().map(|(id, _)| *id).collect();
        let rows = (self.known)(&ids)?;
        for (id, length) in moved {
            if rows.needed.contains(&id) {
                self.area.move_back(id)?;
            } else {
                swept.orphans += 1;
                (self.found)(Found::Orphan { id, length });
            }
        }
        Ok(())
    }

    /// Unlinks bytes that were to go already, when whoever marked them so died or failed before it did.
    /// One that cannot be unlinked keeps nothing else from being swept.
    fn expire(&mut self, id: PayloadId, path: PathBuf, swept: &mut Swept) {
        match self.area.unlink(&path) {
            Ok(()) => {
                swept.expired += 1;
                (self.found)(Found::Expired { id });
            }
            Err(error) => (self.found)(Found::Stuck { path, cause: error.chain() }),
        }
    }

    /// Two files of one id are for a person to look at, and no reason to stop.
    fn taken(&mut self, error: Error, path: PathBuf) -> Result<()> {
        if error.kind() != ErrorKind::AlreadyExists {
            return Err(error);
        }
        (self.found)(Found::Foreign { path });
        Ok(())
    }

    fn sweep_parts(&mut self, swept: &mut Swept) -> Result<()> {
        let directory = self.area.inner.layout.partial.clone();
        for name in self.list(&directory)? {
            let Some(name) = self.name_in(&directory, name)? else { continue };
            let path = directory.join(&name);
            if Layout::segment_of(&name).is_some() {
                // Their age says nothing: `Staging::sweep_segments` asks who has them.
                continue;
            }
            if !Layout::is_part(&name) {
                (self.found)(Found::Foreign { path });
                continue;
            }
            if let Some(length) = self.remove_dead_part(&path)? {
                swept.abandoned_parts += 1;
                (self.found)(Found::AbandonedPart { name, length });
            }
        }
        Ok(())
    }

    /// Removes a part that has not changed and is not in use. Returns its length if it was removed.
    fn remove_dead_part(&self, path: &Path) -> Result<Option<u64>> {
        let old = |changed: i64| changed < self.before;
        if !self.stat(path)?.is_some_and(|stat| old(stat.changed_micros)) {
            return Ok(None);
        }
        let open = |e| fault("examine a part", path, e);
        let file = match self.area.disk().open_write(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(open(error)),
        };
        if !file.try_lock().map_err(open)? {
            return Ok(None);
        }
        // Held now: whoever resumes it from here finds it locked, or its name gone.
        let stat = file.stat().map_err(open)?;
        if !old(stat.changed_micros) {
            return Ok(None);
        }
        self.area.unlink(path)?;
        Ok(Some(stat.length))
    }

    fn list(&self, directory: &Path) -> Result<crate::disk::Listing> {
        match self.area.disk().list(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Box::new(std::iter::empty())),
            other => other.map_err(|e| fault("list a staging directory", directory, e)),
        }
    }

    /// A name from a listing; `None` when it is not text, and so not ours.
    fn name_in(&mut self, directory: &Path, name: io::Result<std::ffi::OsString>) -> Result<Option<String>> {
        let name = name.map_err(|e| fault("list a staging directory", directory, e))?;
        Ok(name
            .into_string()
            .map_err(|name| (self.found)(Found::Foreign { path: directory.join(name) }))
            .ok())
    }

    fn stat(&self, path: &Path) -> Result<Option<crate::disk::Stat>> {
        match self.area.disk().stat(path) {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fault("examine a staged file", path, error)),
        }
    }
}
