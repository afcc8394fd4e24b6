//! Reading files to compare what they hold.

use super::FolderSource;
use crate::folder::READER_BUFFERS;
use bytes::BytesMut;
use model::{Error, RemotePath, Result, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes read and written at a time.
pub(super) const CHUNK: usize = 128 * 1024;

/// Room for reading one file, in bytes: to be leased before.
pub(super) const READING: usize = CHUNK + READER_BUFFERS;

/// What a file holds: how much, and its digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Content {
    pub(super) bytes: u64,
    pub(super) sha256: Sha256,
}

/// How far one file goes as another does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Agreement {
    /// They are equal.
    Whole,
    /// It ends too early, and holds the same as far as it goes.
    Part,
    /// It holds something else.
    Other,
}

/// Sums up what it is given.
pub(super) struct Summing {
    bytes: u64,
    hash: openssl::sha::Sha256,
}

impl Summing {
    pub(super) fn new() -> Self {
        Self { bytes: 0, hash: openssl::sha::Sha256::new() }
    }

    pub(super) fn add(&mut self, chunk: &[u8]) {
        self.bytes += chunk.len() as u64;
        self.hash.update(chunk);
    }

    pub(super) fn content(self) -> Content {
        Content { bytes: self.bytes, sha256: Sha256(self.hash.finish()) }
    }
}

impl FolderSource {
    /// Reads a file to its end.
    pub(super) async fn content(&self, path: &RemotePath) -> Result<Content> {
        let _lease = self.services.budget.take(READING).await;
        let mut reader = self.folder.read(path, 0).await?;
        let mut read = Summing::new();
        loop {
            let chunk = fill(&mut reader).await?;
            if chunk.is_empty() {
                return Ok(read.content());
            }
            read.add(&chunk);
        }
    }

    /// Reads two files side by side.
    pub(super) async fn agreement(&self, original: &RemotePath, copy: &RemotePath) -> Result<Agreement> {
        let _lease = self.services.budget.take(2 * READING).await;
        let mut of_copy = self.folder.read(copy, 0).await?;
        let mut of_original = self.folder.read(original, 0).await?;
        loop {
            let (theirs, ours) = (fill(&mut of_original).await?, fill(&mut of_copy).await?);
            if theirs == ours {
                if theirs.is_empty() {
                    return Ok(Agreement::Whole);
                }
            } else {
                return Ok(match ours.len() < theirs.len() && theirs.starts_with(&ours) {
                    true => Agreement::Part,
                    false => Agreement::Other,
                });
            }
        }
    }
}

/// The next chunk; shorter only at the end.
pub(super) async fn fill(reader: &mut (impl AsyncRead + Unpin)) -> Result<BytesMut> {
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
