//! Reading files to compare their content.

use super::FolderSource;
use super::compare::{Metadata, is_refusal};
use super::taken::Taken;
use crate::folder::READER_BUFFERS;
use crate::folder::sum::fill;
use bytes::BytesMut;
use model::{Error, ErrorKind, RemotePath, Result, Sha256};
use tokio::io::AsyncReadExt;

/// The number of bytes that are read and written at a time.
pub(super) const CHUNK: usize = 128 * 1024;

/// The buffer space for reading one file, in bytes. Lease it before reading.
pub(super) const READING: usize = CHUNK + READER_BUFFERS;

/// The content of a file: its length and digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Content {
    pub(super) bytes: u64,
    pub(super) sha256: Sha256,
}

/// The result of comparing a copy with its original.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Agreement {
    /// They are equal, and this is their content.
    Whole(Content),
    /// The copy is the beginning of the original, with this number of bytes.
    Part(u64),
    /// The copy has other content.
    Other,
    /// The server refuses to read the copy.
    Unread,
}

/// Whether bytes are the complete file that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wholeness {
    /// They are.
    Whole,
    /// They are not.
    Other,
    /// Nothing that was noted or reported decides it.
    Unknown,
}

/// Counts and hashes bytes.
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

impl Taken<'_> {
    /// The larger of the sizes that listing and `stat` reported.
    fn stated(&self) -> Option<u64> {
        self.identity.size.max(self.at_open().size)
    }

    /// The number of bytes of the file, as far as it is known.
    pub(super) fn expected_bytes(&self) -> Option<u64> {
        let stated = self.stated();
        // A file may have been refused because its readings ended too early. Then the last number read proves
        // nothing.
        let read = self.read.filter(|read| !self.is_refused || stated.is_none_or(|stated| *read >= stated));
        read.or(stated)
    }

    /// Whether this content, of the file or of a copy, is complete: by the digest of what was read before, otherwise
    /// by its size.
    pub(super) fn wholeness(&self, content: &Content) -> Wholeness {
        let is_long_enough = self.stated().is_none_or(|stated| content.bytes >= stated);
        match self.is_content(content) {
            Some(true) if !self.is_refused || is_long_enough => Wholeness::Whole,
            Some(false) if !self.is_refused => Wholeness::Other,
            _ if self.expected_bytes() == Some(content.bytes) => Wholeness::Whole,
            _ => Wholeness::Unknown,
        }
    }
}

impl FolderSource {
    /// Whether a copy with this metadata is complete. `Other` only if the copy could be read.
    pub(super) async fn wholeness_of(
        &self,
        taken: &Taken<'_>,
        copy: &RemotePath,
        metadata: &Metadata,
    ) -> Result<Wholeness> {
        let content = match self.content(copy).await {
            Ok(content) => content,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Wholeness::Other),
            Err(error) if is_refusal(&error) => {
                let is_its_size = metadata.size.is_some() && metadata.size == taken.expected_bytes();
                return Ok(if is_its_size { Wholeness::Whole } else { Wholeness::Unknown });
            }
            Err(error) => return Err(error),
        };
        let ended_early = metadata.size.is_some_and(|size| size > content.bytes);
        Ok(match taken.wholeness(&content) {
            Wholeness::Other | Wholeness::Unknown if ended_early => Wholeness::Unknown,
            Wholeness::Unknown if content.bytes == 0 => Wholeness::Other,
            wholeness => wholeness,
        })
    }

    /// Reads a file to its end.
    pub(super) async fn content(&self, path: &RemotePath) -> Result<Content> {
        match self.content_or_part(path).await? {
            (content, None) => Ok(content),
            (_, Some(error)) => Err(error),
        }
    }

    /// Reads a file as far as possible, and returns the error that ended the reading, if any.
    ///
    /// # Errors
    /// Nothing could be read.
    pub(super) async fn content_or_part(&self, path: &RemotePath) -> Result<(Content, Option<Error>)> {
        let _lease = self.services.budget.take(READING).await;
        let mut reader = self.folder.read(path, 0).await?;
        let mut read = Summing::new();
        let mut chunk = BytesMut::with_capacity(CHUNK);
        loop {
            chunk.clear();
            match reader.read_buf(&mut chunk).await.map_err(read_error) {
                Ok(0) => return Ok((read.content(), None)),
                Ok(_) => read.add(&chunk),
                Err(error) if read.bytes == 0 => return Err(error),
                Err(error) => return Ok((read.content(), Some(error))),
            }
        }
    }

    /// Reads two files in parallel and compares them.
    pub(super) async fn agreement(&self, original: &RemotePath, copy: &RemotePath) -> Result<Agreement> {
        let _lease = self.services.budget.take(2 * READING).await;
        let mut of_copy = match self.folder.read(copy, 0).await {
            Err(error) if is_refusal(&error) => return Ok(Agreement::Unread),
            read => read?,
        };
        let mut of_original = self.folder.read(original, 0).await?;
        let mut read = Summing::new();
        loop {
            let theirs = fill(&mut of_original).await?;
            let ours = match fill(&mut of_copy).await {
                Err(error) if is_refusal(&error) => return Ok(Agreement::Unread),
                filled => filled?,
            };
            if theirs == ours {
                if theirs.is_empty() {
                    return Ok(Agreement::Whole(read.content()));
                }
                read.add(&theirs);
            } else {
                let is_part = ours.len() < theirs.len() && theirs.starts_with(&ours);
                let bytes = read.bytes + ours.len() as u64;
                return Ok(if is_part { Agreement::Part(bytes) } else { Agreement::Other });
            }
        }
    }
}

/// Takes the folder's own error out of a reader's error.
fn read_error(error: std::io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::local_io("read a file to move it", error),
    }
}
