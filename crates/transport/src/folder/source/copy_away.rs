//! Moving a file by copying it, where the place cannot rename it: an archive on another file system.
//!
//! Beside the target lie, one after the other, `.<name>.<offer>.copying`, which is unfinished and is written anew by the
//! next call, and `.<name>.<offer>.copied`, which is whole and verified: only when it is there the file is removed, and
//! then it gets its name. So a call that was cut off anywhere is simply made again, and no moment leaves less than one
//! whole file.

use super::FolderSource;
use super::compare::Presence;
use super::settle::{Moved, Taken, beside, found};
use crate::folder::{READER_BUFFERS, names};
use bytes::BytesMut;
use model::{Error, ErrorKind, Offer, RemotePath, Result};
use std::hash::{DefaultHasher, Hasher};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes read and written at a time.
const CHUNK: usize = 128 * 1024;

/// Most names tried for a copy whose name is taken.
const NUMBER_LIMIT: u32 = 1_000;

/// What was read: how much, and a sum over it.
#[derive(PartialEq, Eq)]
struct Content {
    bytes: u64,
    sum: u64,
}

/// Whether a refused rename may be one over the border of a file system. SFTP has no code for that: it is a 'failure',
/// as many other reasons are.
pub(super) fn may_be_another_file_system(refused: &Error) -> bool {
    refused.kind() == ErrorKind::Rejected
}

impl FolderSource {
    /// Moves a file that the place would not rename, and tells the refusal when it cannot be copied either.
    pub(super) async fn copy_away(
        &self,
        offer: &Offer,
        target: &RemotePath,
        refused: Error,
    ) -> Result<Moved> {
        let identity = &offer.identity;
        let copied = beside(offer, target, ".copied");
        if found(self.folder.stat(&copied).await)?.is_none() {
            match self.copy(offer, target, &copied).await {
                Ok(true) => {}
                Ok(false) => return Ok(Moved::Changed),
                Err(error) => {
                    return Err(refused
                        .with("copying it instead", error.chain())
                        .advice("see that the directory takes files; is it on another file system, it is copied there and the original removed"));
                }
            }
            tracing::info!(path = %identity.path, target = %target, "the place does not rename this file to its directory: it was copied");
        }
        match self.presence_of(&Taken::of(offer)).await? {
            Presence::Same(_) | Presence::Doubtful(_) => {
                found(self.folder.remove(&identity.path).await)?;
            }
            // Gone: an earlier call removed it. Another one: it is offered anew.
            Presence::Missing | Presence::Different(_) => {}
        }
        match self.name_copy(&copied, target).await? {
            Some(path) => Ok(Moved::To(path)),
            None => Ok(Moved::Gone),
        }
    }

    /// Goes on with what an earlier call copied, when the file itself is gone or replaced.
    pub(super) async fn finish_copy(
        &self,
        offer: &Offer,
        target: &RemotePath,
        replaced: bool,
    ) -> Result<Option<Moved>> {
        let copied = beside(offer, target, ".copied");
        if found(self.folder.stat(&copied).await)?.is_none() {
            let copying = beside(offer, target, ".copying");
            let Some(unfinished) = found(self.folder.stat(&copying).await)? else { return Ok(None) };
            // There are places whose files go when they are read: then this may be all that is left of it.
            if replaced || unfinished.size.is_none() || unfinished.size != offer.identity.size {
                found(self.folder.remove(&copying).await)?;
                return Ok(None);
            }
            self.folder.rename(&copying, &copied).await?;
        }
        Ok(self.name_copy(&copied, target).await?.map(Moved::To))
    }

    /// Copies and verifies; false when the file changed meanwhile.
    async fn copy(&self, offer: &Offer, target: &RemotePath, copied: &RemotePath) -> Result<bool> {
        let path = &offer.identity.path;
        let copying = beside(offer, target, ".copying");
        let _lease = self.services.budget.take(CHUNK + READER_BUFFERS).await;
        let mut reader = self.folder.read(path, 0).await?;
        let mut upload = self.folder.begin_write(&copying, offer.identity.size).await?;
        let mut read = Summing::default();
        loop {
            let chunk = match fill(&mut reader).await {
                Ok(chunk) => chunk,
                Err(error) => {
                    upload.abort().await;
                    return Err(error);
                }
            };
            if chunk.is_empty() {
                break;
            }
            read.add(&chunk);
            if let Err(error) = upload.write(chunk.freeze()).await {
                upload.abort().await;
                return Err(error);
            }
        }
        drop(reader);
        let read = read.content();
        // The size that is stated may be wrong; what is read of the copy is not.
        upload.finish().await?;
        let there = self.content(&copying).await?;
        if there != read {
            found(self.folder.remove(&copying).await)?;
            return Err(Error::transient(ErrorKind::IntegrityFailed, "copy a file whole")
                .with("path", path)
                .with("read bytes", read.bytes)
                .with("bytes of the copy", there.bytes));
        }
        // Gone is fine: there are places whose files go when they are read.
        if matches!(self.presence_of(&Taken::of(offer)).await?, Presence::Different(_)) {
            found(self.folder.remove(&copying).await)?;
            return Ok(false);
        }
        match self.folder.rename(&copying, copied).await {
            Ok(()) => Ok(true),
            Err(error) => {
                let _ = self.folder.remove(&copying).await;
                Err(error)
            }
        }
    }

    async fn content(&self, path: &RemotePath) -> Result<Content> {
        let mut reader = self.folder.read(path, 0).await?;
        let mut read = Summing::default();
        loop {
            let chunk = fill(&mut reader).await?;
            if chunk.is_empty() {
                return Ok(read.content());
            }
            read.add(&chunk);
        }
    }

    /// Gives the copy its name, or one with a number; `None` when it is gone.
    async fn name_copy(&self, copied: &RemotePath, target: &RemotePath) -> Result<Option<RemotePath>> {
        for number in 1..=NUMBER_LIMIT {
            let to = target.with_file_name(&names::numbered(target.file_name(), number, names::NAME_LIMIT));
            match self.rename_new(copied, &to).await {
                Ok(()) => return Ok(Some(to)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Err(Error::transient(ErrorKind::AlreadyExists, "find a free name for a file that is to be moved")
            .with("target", target)
            .advice("clear the directory of files with the same name"))
    }
}

/// Sums up what it is given in chunks of one size: it finds accidents, not forgeries.
#[derive(Default)]
struct Summing {
    bytes: u64,
    hash: DefaultHasher,
}

impl Summing {
    fn add(&mut self, chunk: &[u8]) {
        self.bytes += chunk.len() as u64;
        self.hash.write(chunk);
    }

    fn content(&self) -> Content {
        Content { bytes: self.bytes, sum: self.hash.finish() }
    }
}

/// The next chunk; shorter only at the end.
async fn fill(reader: &mut (impl AsyncRead + Unpin)) -> Result<BytesMut> {
    let mut chunk = BytesMut::with_capacity(CHUNK);
    while chunk.len() < CHUNK {
        let room = (CHUNK - chunk.len()) as u64;
        let read = (&mut *reader).take(room).read_buf(&mut chunk).await;
        if read.map_err(read_error)? == 0 {
            break;
        }
    }
    Ok(chunk)
}

/// A reader's error carries the folder's own.
fn read_error(error: std::io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::local_io("read a file that is to be moved", error),
    }
}
