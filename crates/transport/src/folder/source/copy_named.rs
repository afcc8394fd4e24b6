//! Moving a file by copying it, if the server renames nothing at all: the copy is written under its final name.
//!
//! Before the copy begins, its number is noted beside it, as the size of `.<name>.<offer>.naming.a`: a server that does
//! not let files be read may still report sizes. Once this offer has created the copy's file, and not before,
//! `.<name>.<offer>.made.a` is written there. So the next call knows which file may be an incomplete copy of this
//! offer, and touches no other file: a file is removed only if this offer created it and it contains nothing but the
//! beginning of the original. If it was noted but not marked as created, it is written to only if it is empty.

use super::FolderSource;
use super::compare::{Metadata, is_refusal};
use super::content::{Agreement, Wholeness};
use super::copy_away::{left_unverified, read_early};
use super::move_away::{Moved, NUMBER_LIMIT, beside, found, no_free_name, numbered};
use super::taken::Taken;
use crate::folder::Upload;
use model::{Error, Offer, RemotePath, Result};
use tokio::io::AsyncReadExt;

/// What an earlier call left under the name that it noted.
enum EarlierCopy {
    /// The complete copy.
    Whole,
    /// The beginning of the copy, created by that call.
    Part,
    /// An empty file: that call may have created it.
    Empty,
    /// A file that is not this offer's, or is not known to be.
    Other,
}

/// The two notes beside a copy.
struct Notes {
    /// The note with its number.
    number: RemotePath,
    /// The note that this offer created the copy's file.
    made: RemotePath,
}

impl Notes {
    fn of(offer: &Offer, target: &RemotePath) -> Self {
        Self { number: beside(offer, target, ".naming"), made: beside(offer, target, ".made") }
    }
}

impl FolderSource {
    pub(super) async fn copy_under_name(
        &self,
        offer: &Offer,
        taken: &Taken<'_>,
        target: &RemotePath,
    ) -> Result<Moved> {
        let notes = Notes::of(offer, target);
        let is_made = self.stat_or_list(taken, &notes.made).await?.is_some();
        let mut first = 1;
        if let Some(number) = self.noted_number(taken, &notes.number).await? {
            let copy = numbered(target, number);
            first = number;
            if let Some(metadata) = self.stat_or_list(taken, &copy).await? {
                match self.earlier_copy(taken, &copy, &metadata, is_made).await? {
                    EarlierCopy::Whole => return self.finish_verified_copy(taken, copy, &notes).await,
                    EarlierCopy::Part => {
                        found(self.folder.remove(&copy).await)?;
                    }
                    EarlierCopy::Empty => match self.folder.begin_write(&copy, offer.identity.size).await {
                        Ok(upload) => return self.write_named_copy(offer, taken, target, copy, upload).await,
                        Err(error) if is_refusal(&error) => first += 1,
                        Err(error) => return Err(error),
                    },
                    EarlierCopy::Other => first += 1,
                }
            }
        }
        if is_made {
            found(self.folder.remove(&notes.made).await)?;
        }
        for number in first..=NUMBER_LIMIT {
            let copy = numbered(target, number);
            if self.stat_or_list(taken, &copy).await?.is_some() {
                continue;
            }
            self.write_note(&notes.number, number as usize).await?;
            match self.folder.begin_new_write(&copy, offer.identity.size).await {
                Ok(Some(upload)) => return self.write_named_copy(offer, taken, target, copy, upload).await,
                // A file that appears under this name later is not ours.
                Ok(None) => {
                    found(self.folder.remove(&notes.number).await)?;
                }
                Err(error) if is_refusal(&error) => {
                    found(self.folder.remove(&notes.number).await)?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(no_free_name(target))
    }

    /// Writes the copy under a name that was just created.
    async fn write_named_copy(
        &self,
        offer: &Offer,
        taken: &Taken<'_>,
        target: &RemotePath,
        copy: RemotePath,
        upload: Box<dyn Upload>,
    ) -> Result<Moved> {
        let notes = Notes::of(offer, target);
        self.write_note(&notes.made, 1).await?;
        // An incomplete copy is left for the next call or for cleaning up: another node may have completed it by now.
        let (read, written) = self.copy_bytes(taken.path(), upload).await?;
        if !self.verify_copy(taken, &copy, &read, &written).await? {
            return Ok(self.finish_named_copy(offer, taken, target).await?.unwrap_or(Moved::Changed));
        }
        tracing::info!(path = %taken.path(), copy = %copy, "the server does not rename files: the file was copied under its final name");
        self.finish_verified_copy(taken, copy, &notes).await
    }

    async fn finish_verified_copy(
        &self,
        taken: &Taken<'_>,
        copy: RemotePath,
        notes: &Notes,
    ) -> Result<Moved> {
        self.keep_time(taken, &copy).await?;
        self.remove_original(taken, &copy).await?;
        self.forget_notes(notes).await?;
        Ok(Moved::To(copy))
    }

    async fn forget_notes(&self, notes: &Notes) -> Result<()> {
        found(self.folder.remove(&notes.made).await)?;
        found(self.folder.remove(&notes.number).await).map(drop)
    }

    /// What an earlier call left, while the file itself still exists.
    ///
    /// # Errors
    /// `IntegrityFailed`: the file cannot be read completely, so the copy cannot be judged.
    async fn earlier_copy(
        &self,
        taken: &Taken<'_>,
        copy: &RemotePath,
        metadata: &Metadata,
        is_made: bool,
    ) -> Result<EarlierCopy> {
        let agreement = self.agreement(taken.path(), copy).await?;
        let content = match agreement {
            Agreement::Part(0) if !is_made => return Ok(EarlierCopy::Empty),
            Agreement::Whole(content) if is_made || content.bytes == 0 => content,
            Agreement::Part(_) if is_made => return Ok(EarlierCopy::Part),
            Agreement::Unread if is_made => self.content(taken.path()).await?,
            Agreement::Other if is_made && self.holds_its_digest(taken, copy).await? => {
                return Ok(EarlierCopy::Whole);
            }
            _ => return Ok(EarlierCopy::Other),
        };
        match taken.wholeness(&content) {
            Wholeness::Whole => {}
            // Another file has this path now. Copying it again will show that.
            Wholeness::Other if taken.expected_bytes() == Some(content.bytes) => {
                return Ok(EarlierCopy::Part);
            }
            Wholeness::Other | Wholeness::Unknown => return Err(read_early(taken, copy, &content)),
        }
        let size = if agreement == Agreement::Unread { metadata.size } else { Some(content.bytes) };
        Ok(match size {
            Some(size) if size == content.bytes => EarlierCopy::Whole,
            // It may be complete if the server reports sizes late. It is written again anyway, because it cannot be
            // read.
            Some(size) if size < content.bytes => EarlierCopy::Part,
            Some(_) | None => EarlierCopy::Other,
        })
    }

    /// Whether a copy is complete that is longer than the file as it is read now.
    async fn holds_its_digest(&self, taken: &Taken<'_>, copy: &RemotePath) -> Result<bool> {
        let there = found(self.content(copy).await)?;
        let is_equal = there.is_some_and(|content| taken.is_content(&content) == Some(true));
        Ok(is_equal && there.is_some_and(|content| taken.wholeness(&content) == Wholeness::Whole))
    }

    /// Continues with the copy of an earlier call, if the file itself no longer exists or was replaced.
    ///
    /// # Errors
    /// `IntegrityFailed`, once: it is not known whether the copy is complete.
    pub(super) async fn finish_named_copy(
        &self,
        offer: &Offer,
        taken: &Taken<'_>,
        target: &RemotePath,
    ) -> Result<Option<Moved>> {
        let trial = beside(offer, target, ".trial");
        if self.stat_or_list(taken, &trial).await?.is_some() {
            found(self.folder.remove(&trial).await)?;
        }
        let notes = Notes::of(offer, target);
        if self.stat_or_list(taken, &notes.number).await?.is_none() {
            return Ok(None);
        }
        let is_made = self.stat_or_list(taken, &notes.made).await?.is_some();
        let Some(number) = self.noted_number(taken, &notes.number).await? else {
            self.forget_notes(&notes).await?;
            return Ok(None);
        };
        let copy = numbered(target, number);
        let metadata = self.stat_or_list(taken, &copy).await?;
        let wholeness = match &metadata {
            Some(metadata) => self.wholeness_of(taken, &copy, metadata).await?,
            None => Wholeness::Other,
        };
        match wholeness {
            // Both notes are removed, because an earlier call may have been interrupted between removing them.
            Wholeness::Whole => {
                self.forget_notes(&notes).await?;
                Ok(Some(Moved::To(copy)))
            }
            Wholeness::Unknown if is_made => {
                self.forget_notes(&notes).await?;
                Err(left_unverified(taken, &copy, metadata.and_then(|metadata| metadata.size)))
            }
            _ => {
                if is_made && metadata.is_some() {
                    found(self.folder.remove(&copy).await)?;
                }
                self.forget_notes(&notes).await?;
                Ok(None)
            }
        }
    }

    /// Writes a note with this number of bytes.
    async fn write_note(&self, note: &RemotePath, bytes: usize) -> Result<()> {
        let mut upload = self.folder.begin_write(note, Some(bytes as u64)).await?;
        upload.write(vec![b'.'; bytes].into()).await?;
        upload.finish().await.map(drop)
    }

    /// The number of the copy that an earlier call began; `None` if there is none, or if the note can neither be read
    /// nor its size be queried.
    async fn noted_number(&self, taken: &Taken<'_>, note: &RemotePath) -> Result<Option<u32>> {
        let Some(metadata) = self.stat_or_list(taken, note).await? else { return Ok(None) };
        let bytes = match self.folder.read(note, 0).await {
            Ok(reader) => {
                let mut bytes = Vec::new();
                let read = reader.take(u64::from(NUMBER_LIMIT) + 1).read_to_end(&mut bytes).await;
                read.map(|count| Some(count as u64)).map_err(|error| match error.downcast::<Error>() {
                    Ok(error) => error,
                    Err(error) => {
                        Error::local_io("read the note about an earlier copy", error).with("path", note)
                    }
                })
            }
            Err(error) => Err(error),
        };
        let bytes = match bytes {
            Err(error) if is_refusal(&error) => metadata.size,
            other => found(other)?.flatten(),
        };
        // No valid number: the note's writing was interrupted, so no copy was begun.
        let number = bytes.and_then(|bytes| u32::try_from(bytes).ok());
        Ok(number.filter(|number| (1..=NUMBER_LIMIT).contains(number)))
    }
}
