//! Reading files to compare what they hold.

use super::FolderSource;
use super::compare::{Metadata, is_refusal};
use super::taken::Taken;
use crate::folder::READER_BUFFERS;
use bytes::BytesMut;
use model::{Error, ErrorKind, RemotePath, Result, Sha256};
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
    /// They are equal, as far as both can be read: this is what they hold.
    Whole(Content),
    /// It ends too early, after so many bytes, and holds the same as far as it goes.
    Part(u64),
    /// It holds something else.
    Other,
    /// Nobody may read it.
    Unread,
}

/// Whether bytes are all of the file that was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wholeness {
    /// They are.
    Whole,
    /// They are not.
    Other,
    /// Nothing that was noted or stated tells.
    Unknown,
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

impl Taken<'_> {
    /// The largest size that the place stated: where a look tells less than the listing, it tells nothing.
    fn stated(&self) -> Option<u64> {
        self.identity.size.max(self.looked().size)
    }

    /// How many bytes the file has, as far as that is known.
    pub(super) fn expected_bytes(&self) -> Option<u64> {
        let stated = self.stated();
        // A file is also given up because its readings ended early: then what was read last is no measure.
        let read = self.read.filter(|read| !self.is_refused || stated.is_none_or(|stated| *read >= stated));
        read.or(stated)
    }

    /// Whether what was read, here or of a copy, is all of the file: by the digest of what was taken, else by its size.
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
    /// Whether a copy, of which the place tells this, is all of the file. Only a copy that was read is known not to be.
    pub(super) async fn wholeness_of(
        &self,
        taken: &Taken<'_>,
        copy: &RemotePath,
        told: &Metadata,
    ) -> Result<Wholeness> {
        let content = match self.content(copy).await {
            Ok(content) => content,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Wholeness::Other),
            Err(error) if is_refusal(&error) => {
                let is_its_size = told.size.is_some() && told.size == taken.expected_bytes();
                return Ok(if is_its_size { Wholeness::Whole } else { Wholeness::Unknown });
            }
            Err(error) => return Err(error),
        };
        let ended_early = told.size.is_some_and(|size| size > content.bytes);
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

    /// Reads a file as far as it goes, and tells why it did not go to its end.
    ///
    /// # Errors
    /// Nothing came of it.
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

    /// Reads two files side by side.
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
        Err(error) => Error::local_io("read a file to move it", error),
    }
}
