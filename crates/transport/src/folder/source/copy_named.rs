//! Moving a file by copying it, where the place renames nothing at all: the copy is written under its own name.
//!
//! Before it is begun, its number stands in `.<name>.<offer>.naming` beside it. So the call after one that was cut off
//! knows which file may be unfinished and its own, and touches no other: it is removed only where it holds nothing but
//! the beginning of the file.

use super::FolderSource;
use super::compare::is_refusal;
use super::content::Agreement;
use super::move_away::{Moved, NUMBER_LIMIT, beside, found, no_free_name, numbered};
use super::taken::Taken;
use model::{Error, ErrorKind, Offer, RemotePath, Result};
use tokio::io::AsyncReadExt;

/// Most bytes read of a note: a number.
const NOTE_LIMIT: u64 = 16;

impl FolderSource {
    pub(super) async fn copy_under_name(
        &self,
        offer: &Offer,
        taken: &Taken<'_>,
        target: &RemotePath,
    ) -> Result<Moved> {
        let note = beside(offer, target, ".naming");
        let mut first = 1;
        if self.lying(taken, &note).await?.is_some()
            && let Some(number) = self.noted_number(&note).await?
        {
            let copy = numbered(target, number);
            first = number;
            if self.lying(taken, &copy).await?.is_some() {
                match self.agreement(taken.path(), &copy).await? {
                    Agreement::Whole => return self.end_named_copy(taken, copy, &note).await,
                    Agreement::Part => {
                        found(self.folder.remove(&copy).await)?;
                    }
                    Agreement::Other => first += 1,
                }
            }
        }
        for number in first..=NUMBER_LIMIT {
            let copy = numbered(target, number);
            if self.lying(taken, &copy).await?.is_some() {
                continue;
            }
            self.note_number(&note, number).await?;
            let Some(upload) = self.folder.begin_new_write(&copy, offer.identity.size).await? else {
                continue;
            };
            let (read, written) = self.pour(taken.path(), upload).await?;
            // One that was fetched at once was acknowledged, every byte of it.
            if !written.gone && !self.is_whole(taken, &copy, &read, &written).await? {
                found(self.folder.remove(&note).await)?;
                return Ok(Moved::Changed);
            }
            tracing::info!(path = %taken.path(), copy = %copy, "the place renames nothing: the file was copied under its name");
            return self.end_named_copy(taken, copy, &note).await;
        }
        Err(no_free_name(target))
    }

    async fn end_named_copy(&self, taken: &Taken<'_>, copy: RemotePath, note: &RemotePath) -> Result<Moved> {
        self.keep_time(taken, &copy).await?;
        self.remove_original(taken).await?;
        found(self.folder.remove(note).await)?;
        Ok(Moved::To(copy))
    }

    /// Goes on with what an earlier call wrote under its name, when the file itself is gone or replaced.
    pub(super) async fn finish_named_copy(
        &self,
        offer: &Offer,
        taken: &Taken<'_>,
        target: &RemotePath,
    ) -> Result<Option<Moved>> {
        let trial = beside(offer, target, ".trial");
        if self.lying(taken, &trial).await?.is_some() {
            found(self.folder.remove(&trial).await)?;
        }
        let note = beside(offer, target, ".naming");
        if self.lying(taken, &note).await?.is_none() {
            return Ok(None);
        }
        let Some(number) = self.noted_number(&note).await? else {
            found(self.folder.remove(&note).await)?;
            return Ok(None);
        };
        let copy = numbered(target, number);
        let is_whole = match self.lying(taken, &copy).await? {
            Some(there) if taken.has_its_size(&there) => match self.content(&copy).await {
                Ok(content) => taken.is_content(&content).unwrap_or(true),
                Err(error) if is_refusal(&error) => true,
                Err(error) if error.kind() == ErrorKind::NotFound => false,
                Err(error) => return Err(error),
            },
            Some(_) | None => false,
        };
        found(self.folder.remove(&note).await)?;
        if !is_whole {
            tracing::warn!(path = %taken.path(), copy = %copy, "a file went away while it was copied to its directory; what lies under this name may be unfinished");
            return Ok(None);
        }
        Ok(Some(Moved::To(copy)))
    }

    async fn note_number(&self, note: &RemotePath, number: u32) -> Result<()> {
        let text = number.to_string();
        let mut upload = self.folder.begin_write(note, Some(text.len() as u64)).await?;
        upload.write(text.into()).await?;
        upload.finish().await.map(drop)
    }

    /// The number of the copy that an earlier call began; `None` where it began none.
    async fn noted_number(&self, note: &RemotePath) -> Result<Option<u32>> {
        let Some(reader) = found(self.folder.read(note, 0).await)? else { return Ok(None) };
        let mut text = String::new();
        let read = reader.take(NOTE_LIMIT).read_to_string(&mut text).await;
        read.map_err(|error| match error.downcast::<Error>() {
            Ok(error) => error,
            Err(error) => Error::local_io("read which copy was begun", error).with("path", note),
        })?;
        // Cut off while it was written: nothing was begun then.
        Ok(text.parse().ok().filter(|number| (1..=NUMBER_LIMIT).contains(number)))
    }
}
