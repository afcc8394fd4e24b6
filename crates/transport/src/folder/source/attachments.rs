//! The attachments of a file: files beside it that are found by its name, read after it, and settled with it.
//!
//! A file is what a poll finds; its attachments are looked for when it is read, so they must be there before it is.

use super::FolderSource;
use super::move_away::Moved;
use crate::folder::done_file::Marker;
use crate::folder::{After, EntryKind, FileReader, Folder};
use crate::{AfterRead, Described, FoundOffer, Part, Resumptions};
use model::{Error, ErrorKind, Offer, OfferIdentity, Outcome, RemotePath, Result};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// The key of a file's attachments in an offer's `source_data`.
const ATTACHED: &str = "attached_files";

impl FolderSource {
    /// Whether a file is read with another one, and not by itself.
    pub(super) fn is_attachment(&self, name: &[u8]) -> bool {
        self.polling.attached_files.iter().any(|pattern| pattern.is_marker(name))
    }

    /// The attachments that lie beside a file now, in the order of the flow's option.
    ///
    /// # Errors
    /// The server does not tell whether one is there.
    pub(super) async fn attachments_beside(
        &self,
        file: &RemotePath,
        relative: &RemotePath,
    ) -> Result<Vec<Marker>> {
        let mut found = Vec::new();
        for pattern in &self.polling.attached_files {
            let name = pattern.marker_of(file.file_name());
            match self.folder.stat(&file.with_file_name(&name)).await {
                Ok(entry) if matches!(entry.kind, EntryKind::File | EntryKind::Unknown) => {
                    let modified = entry.modified.filter(|_| self.is_timed());
                    let relative = relative.with_file_name(&name);
                    found.push(Marker { relative, size: entry.size, modified, version: entry.version });
                }
                // A directory or a link of this name is none.
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error.with("attached file", file.with_file_name(&name))),
            }
        }
        Ok(found)
    }

    /// Opens an attachment.
    pub(super) async fn open_attachment(
        folder: Arc<dyn Folder>,
        (identity, described): (OfferIdentity, Described),
    ) -> Result<Part> {
        let FileReader { bytes, file, connection } = folder.read(&identity.path, 0).await?;
        let reader = Exactly::of(bytes, identity.size, &identity.path);
        let Described { file_name, media_type, metadata } = described;
        let resumptions = Resumptions::default();
        Ok(Part { file_name, media_type, metadata, reader, file, connection, resumptions })
    }

    /// An attachment of an offer as what it was when it was found, and what is known of it before it is opened.
    pub(super) fn attachment_described(
        offer: &FoundOffer,
        attachment: &Marker,
    ) -> Result<(OfferIdentity, Described)> {
        let identity = identity_of(&offer.identity, attachment);
        let source_data = Self::data_of(&attachment.relative);
        let described = Self::describe_file(&FoundOffer { identity: identity.clone(), source_data })?;
        Ok((identity, described))
    }

    /// Whether an attachment was changed while it was read; `None` if none was. One that is gone was read whole.
    ///
    /// # Errors
    /// The server does not answer.
    pub(super) async fn changed_attachment(&self, offer: &FoundOffer) -> Result<Option<AfterRead>> {
        for attachment in attachments_of(&offer.source_data, &offer.identity.path)? {
            let path = offer.identity.path.with_file_name(attachment.relative.file_name());
            let entry = match self.folder.stat(&path).await {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                entry => entry?,
            };
            let modified = entry.modified.filter(|_| self.is_timed());
            if (entry.size, modified, &entry.version)
                != (attachment.size, attachment.modified, &attachment.version)
            {
                return Ok(Some(AfterRead::Changed(format!(
                    "the attached file {path} was changed meanwhile"
                ))));
            }
        }
        Ok(None)
    }

    /// Settles the attachments of an offer, each under its own name, and returns where they were moved to. One that was
    /// written anew is left: it belongs to the next file.
    ///
    /// # Errors
    /// As [`crate::Source::settle`].
    pub(super) async fn settle_attachments(
        &self,
        offer: &Offer,
        outcome: Outcome,
    ) -> Result<Vec<RemotePath>> {
        let mut moved_to = Vec::new();
        for attachment in attachments_of(&offer.source_data, &offer.identity.path)? {
            let identity = identity_of(&offer.identity, &attachment);
            let source_data = Self::data_of(&attachment.relative);
            let attached = Offer { identity, source_data, ..offer.clone() };
            let target = match (outcome, &self.polling.after, &self.polling.error_directory) {
                (Outcome::Refused, _, None) | (Outcome::Taken, After::Keep, _) => continue,
                (Outcome::Refused, _, Some(directory)) => self.target(&attached, directory, false)?,
                (Outcome::Taken, After::Archive { directory, timestamp }, _) => {
                    self.target(&attached, directory, *timestamp)?
                }
                (Outcome::Taken, After::Move { directory }, _) => self.target(&attached, directory, false)?,
                (Outcome::Taken, After::Delete | After::ArchiveLocally { .. }, _) => {
                    self.delete(&attached).await?;
                    continue;
                }
            };
            if let Moved::To(path) = self.move_away(&attached, &target).await? {
                moved_to.push(path);
            }
        }
        Ok(moved_to)
    }
}

/// Notes a file's attachments, to compare and to settle them.
pub(super) fn note_attachments(source_data: &mut Map<String, Value>, attachments: &[Marker]) {
    // Plain values always have a JSON form.
    if let (false, Ok(value)) = (attachments.is_empty(), serde_json::to_value(attachments)) {
        source_data.insert(ATTACHED.to_owned(), value);
    }
}

fn attachments_of(source_data: &Map<String, Value>, path: &RemotePath) -> Result<Vec<Marker>> {
    let Some(value) = source_data.get(ATTACHED) else { return Ok(Vec::new()) };
    Vec::<Marker>::deserialize(value).map_err(|error| {
        Error::permanent(ErrorKind::Internal, "read which attached files a file had")
            .with("path", path)
            .caused_by(error)
    })
}

/// The identity that an attachment would have as a file of its own.
fn identity_of(file: &OfferIdentity, attachment: &Marker) -> OfferIdentity {
    OfferIdentity {
        path: file.path.with_file_name(attachment.relative.file_name()),
        size: attachment.size,
        modified: attachment.modified,
        version: attachment.version.clone(),
        ..file.clone()
    }
}

/// A reader that ends with an error where there are other bytes than the server stated: of several files of one offer nothing
/// else counts them.
pub(super) struct Exactly {
    bytes: Box<dyn AsyncRead + Send + Unpin>,
    left: u64,
    path: RemotePath,
}

impl Exactly {
    /// A size of 0 says nothing: some servers state it of every file.
    pub(super) fn of(
        bytes: Box<dyn AsyncRead + Send + Unpin>,
        size: Option<u64>,
        path: &RemotePath,
    ) -> Box<dyn AsyncRead + Send + Unpin> {
        match size.filter(|size| *size > 0) {
            Some(left) => Box::new(Self { bytes, left, path: path.clone() }),
            None => bytes,
        }
    }

    fn error(&self, what: &'static str) -> io::Error {
        let error = Error::transient(ErrorKind::NotFound, "read a file as it was found");
        io::Error::other(error.with("path", &self.path).advice(what))
    }
}

impl AsyncRead for Exactly {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, has_room) = (buffer.filled().len(), buffer.remaining() > 0);
        ready!(Pin::new(&mut self.bytes).poll_read(context, buffer))?;
        let count = (buffer.filled().len() - before) as u64;
        match self.left.checked_sub(count) {
            None => {
                // A reader that fails has read nothing.
                buffer.set_filled(before);
                Poll::Ready(Err(self.error("it has more bytes than the server stated")))
            }
            Some(left) if count == 0 && has_room && left > 0 => {
                Poll::Ready(Err(self.error("it has fewer bytes than the server stated")))
            }
            Some(left) => {
                self.left = left;
                Poll::Ready(Ok(()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    #[tokio::test]
    async fn a_file_of_another_length_is_not_read_to_its_end() {
        let read = |size: Option<u64>| async move {
            let mut bytes = Vec::new();
            let reader = Box::new(&b"abc"[..]);
            Exactly::of(reader, size, &"a.pdf".into()).read_to_end(&mut bytes).await.map(|_| bytes)
        };
        for size in [None, Some(0), Some(3)] {
            assert_eq!(read(size).await.unwrap(), b"abc", "{size:?}");
        }
        for (size, words) in [(Some(2), "more bytes"), (Some(4), "fewer bytes")] {
            let error = read(size).await.unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
