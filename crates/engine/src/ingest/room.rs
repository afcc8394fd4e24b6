//! Room in staging for the files that polls read. The size of a file is reserved before it is opened, so that of files
//! that do not fit together one is read and the others wait. What a file still needs counts; what it has written is no
//! longer free. Where no room is left, a local file is opened all the same if staging may share its blocks: that takes none.
//!
//! Each node counts what it reads itself. What others write to the same file system is only seen as less free space.

use crate::context::Context;
use model::{Error, ErrorKind, EventKind, OfferIdentity, RemotePath, Result};
use staging::{SHARED_FROM, Staging};
use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::FilesWithoutRoom;
use transport::{PartWriter, StagedPayload};

/// How many polls it is remembered that a file needs more room than its source reports.
const REMEMBERED: u8 = 3;

/// A file for which there is no room.
#[derive(Debug)]
pub(crate) struct NoRoom {
    /// The bytes that it needs at least.
    pub(crate) needed: u64,
    /// What staging answered; permanent if it can never hold the file.
    pub(crate) error: Error,
}

/// The room of this node's staging area.
pub struct StagingRoom {
    staging: Staging,
    /// Bytes that files which are being read may still write.
    reserved: Arc<Mutex<u64>>,
}

impl StagingRoom {
    /// The room of a staging area of which nothing is reserved.
    #[must_use]
    pub fn new(staging: Staging) -> Self {
        Self { staging, reserved: Arc::default() }
    }

    /// Reserves room for a file of at least this many bytes.
    ///
    /// # Errors
    /// The free space could not be read.
    pub(crate) fn reserve(&self, needed: u64) -> Result<Result<Reservation, NoRoom>> {
        let mut reserved = locked(&self.reserved);
        match self.staging.check_room(reserved.saturating_add(needed)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                return self.lacking(needed, *reserved, error).map(Err);
            }
            Err(error) => return Err(error),
        }
        *reserved = reserved.saturating_add(needed);
        Ok(Ok(Reservation { reserved: Arc::clone(&self.reserved), left: needed, written: 0 }))
    }

    /// The room that is left for the files that a poll of a flow offers.
    pub(crate) fn of_poll(self: &Arc<Self>, flow: &Arc<RoomOfFlow>, is_local: bool) -> RoomOfPoll {
        RoomOfPoll { staging: Arc::clone(self), flow: Arc::clone(flow), is_local, left: Mutex::default() }
    }

    /// For a file that is taken only if staging can share its blocks.
    pub(crate) fn reserve_nothing(&self) -> Reservation {
        Reservation { reserved: Arc::clone(&self.reserved), left: 0, written: 0 }
    }

    fn left(&self) -> Result<Left> {
        let reserved = *locked(&self.reserved);
        let bytes = self.staging.room()?.and_then(|room| room.checked_sub(reserved));
        Ok(Left { bytes, most: self.staging.most()?, is_there: None })
    }

    fn lacking(&self, needed: u64, reserved: u64, error: Error) -> Result<NoRoom> {
        // A disk that is not mounted looks small.
        self.staging.check_there()?;
        let most = self.staging.most()?;
        let error = if needed > most {
            Error::permanent(ErrorKind::StorageFull, "stage a file that is larger than the staging area")
                .with("directory", self.staging.root().display())
                .with("bytes", needed)
                .with("staging_holds_at_most", most)
                .advice(
                    "use a larger file system for the staging directory, or stream = true on the flow's source; \
                    then let the file be offered again, for example by changing its time",
                )
        } else if reserved > 0 {
            error.with("reserved_bytes", reserved)
        } else {
            error
        };
        Ok(NoRoom { needed, error })
    }
}

fn locked(reserved: &Mutex<u64>) -> MutexGuard<'_, u64> {
    // After a panic elsewhere the number is still what is reserved.
    reserved.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Room that is reserved until it is dropped.
pub(crate) struct Reservation {
    reserved: Arc<Mutex<u64>>,
    left: u64,
    written: u64,
}

impl Reservation {
    /// Counts written bytes: they are no longer free, and so no longer reserved.
    fn wrote(&mut self, bytes: u64) {
        self.written = self.written.saturating_add(bytes);
        self.give_back(bytes.min(self.left));
    }

    /// Gives back what is left: the file needs no room.
    fn release(&mut self) {
        self.give_back(self.left);
    }

    fn give_back(&mut self, bytes: u64) {
        self.left -= bytes;
        let mut reserved = locked(&self.reserved);
        *reserved = reserved.saturating_sub(bytes);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.release();
    }
}

/// The reservation of one file, which the writers of its parts share.
#[derive(Clone)]
pub(crate) struct FileRoom(Arc<Mutex<Reservation>>);

impl FileRoom {
    pub(crate) fn new(reservation: Reservation) -> Self {
        Self(Arc::new(Mutex::new(reservation)))
    }

    fn reservation(&self) -> MutexGuard<'_, Reservation> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A part of the file that is written within its room.
    pub(crate) fn part(&self, writer: Box<dyn PartWriter>) -> Box<dyn PartWriter> {
        Box::new(ReservedPart { writer, room: self.clone(), is_shared: false })
    }

    /// What a full disk means for the file: it needs more than was written. Other errors stay what they are.
    ///
    /// # Errors
    /// Any error but a full disk.
    pub(crate) fn ran_out(&self, error: Error) -> Result<NoRoom> {
        if error.kind() != ErrorKind::StorageFull {
            return Err(error);
        }
        Ok(NoRoom { needed: self.reservation().written.saturating_add(1), error })
    }
}

struct ReservedPart {
    writer: Box<dyn PartWriter>,
    room: FileRoom,
    /// Whether its bytes lie in blocks that it shares: they take no room.
    is_shared: bool,
}

impl PartWriter for ReservedPart {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.append(bytes)?;
        if !self.is_shared {
            self.room.reservation().wrote(bytes.len() as u64);
        }
        Ok(())
    }

    fn share_blocks(&mut self, source: &File) -> Result<Option<File>> {
        let shared = self.writer.share_blocks(source)?;
        if shared.is_some() {
            self.is_shared = true;
            self.room.reservation().release();
        }
        Ok(shared)
    }

    fn length(&self) -> u64 {
        self.writer.length()
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> Result<usize> {
        self.writer.read_at(into, offset)
    }

    fn commit(self: Box<Self>) -> Result<StagedPayload> {
        self.writer.commit()
    }
}

/// The room that is left for the files that a poll offers: each counts before it is read.
pub(crate) struct RoomOfPoll {
    staging: Arc<StagingRoom>,
    flow: Arc<RoomOfFlow>,
    /// Whether they are files of this machine, whose blocks staging may share.
    is_local: bool,
    /// Found when the first file is offered.
    left: Mutex<Option<Left>>,
}

/// The bytes that staging can take in; `None` if it can take in nothing.
struct Left {
    bytes: Option<u64>,
    /// What it could hold at most.
    most: u64,
    /// Whether the area is there; `None` before the first file without room. Asked once, however many files wait.
    is_there: Option<bool>,
}

impl RoomOfPoll {
    /// Whether a file may be offered. One that is not, because there is no room for it, is counted as waiting.
    pub(crate) fn has_room(&self, file: &OfferIdentity) -> bool {
        let needed = self.flow.needed(&file.key(), file.size);
        // What can be taken in is only known by trying where the free space cannot be read.
        let Ok(waits) = self.waits(needed) else { return true };
        if waits {
            self.flow.count(&file.path, file.key(), file.size, needed);
        }
        !waits
    }

    fn waits(&self, needed: u64) -> Result<bool> {
        let mut found = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let left = match &mut *found {
            Some(left) => left,
            unknown => unknown.insert(self.staging.left()?),
        };
        // One that can never be staged is refused, and one whose blocks are shared needs no room.
        if needed > left.most || left.bytes.is_some() && self.is_local && self.flow.may_share(needed) {
            return Ok(false);
        }
        match left.bytes.and_then(|bytes| bytes.checked_sub(needed)) {
            Some(rest) => {
                left.bytes = Some(rest);
                Ok(false)
            }
            // A disk that is not mounted looks small.
            None => Ok(*left.is_there.get_or_insert_with(|| self.staging.staging.check_there().is_ok())),
        }
    }
}

/// The files of a flow that wait for room.
#[derive(Default)]
pub(crate) struct RoomOfFlow(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// Whether staging could share the blocks of the last file that was large enough; `None` before the first one.
    shares: Option<bool>,
    /// Those that the running poll has found.
    found: WaitingFiles,
    /// What files need at least, by their keys, where that is more than their sources report; and how many polls ago it
    /// was learned or used.
    needed: HashMap<String, (u64, u8)>,
    /// What the database holds; `None` if that is not known.
    recorded: Option<WaitingFiles>,
}

/// How many files wait, and the largest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct WaitingFiles {
    pub(crate) files: u64,
    pub(crate) largest: Option<(RemotePath, u64)>,
}

impl RoomOfFlow {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a poll.
    pub(crate) fn begin_poll(&self) {
        let mut waiting = self.waiting();
        waiting.found = WaitingFiles::default();
        waiting.needed.retain(|_, (_, polls)| {
            *polls = polls.saturating_add(1);
            *polls <= REMEMBERED
        });
    }

    /// Whether a local file of this size may need no room, because staging shares its blocks. What is not known is tried: the
    /// source may lie on any file system.
    pub(crate) fn may_share(&self, bytes: u64) -> bool {
        bytes >= SHARED_FROM && self.waiting().shares != Some(false)
    }

    /// Notes whether staging could share the blocks of a local file of this size.
    pub(crate) fn note_sharing(&self, bytes: u64, shares: bool) {
        if bytes >= SHARED_FROM {
            self.waiting().shares = Some(shares);
        }
    }

    /// The bytes that a file needs at least: what its source reports, or more, if it ran out of room before.
    pub(crate) fn needed(&self, key: &str, listed: Option<u64>) -> u64 {
        let mut waiting = self.waiting();
        let learned = waiting.needed.get_mut(key).map_or(0, |(bytes, polls)| {
            *polls = 0;
            *bytes
        });
        learned.max(listed.unwrap_or(0))
    }

    /// Counts a file that waits.
    pub(crate) fn count(&self, path: &RemotePath, key: String, listed: Option<u64>, needed: u64) {
        let mut waiting = self.waiting();
        waiting.found.files += 1;
        if waiting.found.largest.as_ref().is_none_or(|(_, largest)| needed > *largest) {
            waiting.found.largest = Some((path.clone(), needed));
        }
        if listed.is_none_or(|listed| needed > listed) {
            waiting.needed.insert(key, (needed, 0));
        }
    }

    /// Whether a file that the running poll found waits.
    pub(crate) fn any(&self) -> bool {
        self.waiting().found.files > 0
    }

    /// Records after a poll of a flow how many of its files wait, if that has changed.
    pub(crate) async fn report(&self, context: &Context, flow: &str, endpoint: &str) {
        let Some(found) = self.unrecorded() else { return };
        let event = |kind| context.event(kind).flow(flow).endpoint(endpoint);
        let written = match &found.largest {
            None => {
                let ended = context.store.no_file_waits_for_room(flow, event(EventKind::FlowHasRoom)).await;
                ended.map(|ended| {
                    if ended {
                        tracing::info!(flow, "staging has room for the flow's files again");
                    }
                })
            }
            Some((largest, bytes)) => {
                let waiting = FilesWithoutRoom {
                    flow: flow.to_owned(),
                    endpoint: endpoint.to_owned(),
                    node: context.lease.current().node,
                    at: context.now(),
                    files: found.files,
                    largest: largest.clone(),
                    bytes: *bytes,
                };
                let event = event(EventKind::FlowWaitsForRoom).detail("files", found.files);
                let event = event.detail("path", largest.to_text()).detail("bytes", *bytes);
                let event = match context.staging.space() {
                    Ok(space) => event.detail("free_bytes", space.free),
                    // The event matters more than this number.
                    Err(_) => event,
                };
                context.store.files_wait_for_room(waiting, event).await.map(|begins| {
                    if begins {
                        tracing::warn!(flow, files = found.files, %largest, bytes, "files wait at their source until staging has room for them");
                    }
                })
            }
        };
        match written {
            Ok(()) => self.recorded(Some(found)),
            Err(error) => {
                tracing::warn!(flow, error = %error.chain(), "how many files wait for room in staging could not be recorded");
            }
        }
    }

    /// What is to be recorded; `None` if the database holds it.
    fn unrecorded(&self) -> Option<WaitingFiles> {
        let waiting = self.waiting();
        (waiting.recorded.as_ref() != Some(&waiting.found)).then(|| waiting.found.clone())
    }

    /// Notes what the database holds; `None` if that is not known.
    pub(crate) fn recorded(&self, files: Option<WaitingFiles>) {
        self.waiting().recorded = files;
    }
}

#[cfg(test)]
mod tests;
