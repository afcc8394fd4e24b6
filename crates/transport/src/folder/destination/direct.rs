//! Writing a file under its own name at once: for places that take files as soon as they are closed, or refuse to rename.
//!
//! Two notes tell a later attempt what to think of what lies there. After the file was made: it is ours, and may be
//! partial; it is written anew. After the place acknowledged its last byte, and before it is closed: it is whole, and if
//! it is gone it was taken.

use super::publish::{is_not_shown, noted_connection, written_over};
use super::write::{CHUNK, copy};
use super::{FolderDestination, Overwrite, names};
use crate::folder::{Evidence, Upload};
use crate::{Deliver, Sent};
use model::{ConnectionId, Error, ErrorKind, Receipt, ReceiptKind, RemotePath, Result, Retry};
use serde_json::{Map, Value, json};

/// The key of the note about a file that is written under its own name; null when there is none.
pub const WRITING: &str = "writing";

/// A file that is being written.
struct Writing {
    name: RemotePath,
    /// Whether the place acknowledged its last byte.
    whole: bool,
    evidence: Evidence,
    /// The connection that it is written over.
    connection: Option<ConnectionId>,
}

impl FolderDestination {
    /// Writes the payload under its name, and finds out first what an earlier attempt did.
    pub(super) async fn deliver_direct(&self, delivery: &Deliver, path: RemotePath) -> Result<Sent> {
        let ours = match self.noted_writing(delivery) {
            Some(earlier) => match self.folder.stat(&earlier.name).await {
                Ok(entry)
                    if earlier.whole && entry.size.is_none_or(|size| size == delivery.payload.length()) =>
                {
                    return Ok(self.written(delivery, &Writing { evidence: Evidence::Size, ..earlier }));
                }
                Ok(_) if earlier.whole => None,
                Ok(_) => Some(earlier.name),
                Err(error)
                    if earlier.whole && (error.kind() == ErrorKind::NotFound || is_not_shown(&error)) =>
                {
                    return Ok(self.written(delivery, &earlier));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) if is_not_shown(&error) => Some(earlier.name),
                Err(error) => return Err(error.retry_as(Retry::Ambiguous)),
            },
            None => None,
        };
        delivery.log.may_act()?;
        let length = delivery.payload.length();
        let _lease = self.services.budget.take(2 * CHUNK + delivery.payload.reader_buffers()).await;
        let reader = delivery.payload.open(0..length).await?;
        let (name, mut upload) = match ours {
            Some(name) => (name.clone(), self.begin(&name, &name, Some(length)).await?),
            None => self.begin_named(&path, length).await?,
        };
        let connection = upload.connection();
        let mut writing = Writing { name, whole: false, evidence: Evidence::Acknowledged, connection };
        if let Err(error) = self.note_writing(delivery, &writing).await {
            upload.abort().await;
            return Err(error);
        }
        let copied = async {
            let copied = copy(reader, &mut *upload).await?;
            upload.flush().await?;
            Ok(copied)
        };
        match copied.await {
            Ok(copied) if copied == length => {}
            Ok(copied) => {
                self.give_up(delivery, upload, &writing).await;
                return Err(Error::transient(
                    ErrorKind::IntegrityFailed,
                    "read a payload whole from staging",
                )
                .with("payload", delivery.payload.id())
                .with("expected bytes", length)
                .with("read bytes", copied));
            }
            Err(error) => {
                self.give_up(delivery, upload, &writing).await;
                return Err(error);
            }
        }
        // Asked before the note here: once it is noted that the file is whole, it must not be dropped any more.
        delivery.log.may_act()?;
        writing.whole = true;
        if let Err(error) = self.note_writing(delivery, &writing).await {
            // It may be noted all the same: then the file must be there, so it is not dropped half.
            let _ = upload.finish().await;
            return Err(error);
        }
        match upload.finish().await {
            Ok(finished) => {
                if let Some(size) = finished.size.filter(|size| *size != length)
                    && !self.ends_at(&writing.name, length).await
                {
                    writing.whole = false;
                    self.note_writing(delivery, &writing).await?;
                    return Err(written_over(connection, self.not_whole(&writing.name, length, size)));
                }
                writing.evidence = finished.evidence;
                Ok(self.written(delivery, &writing))
            }
            // Whether it was closed is not known; that it is whole is noted.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Protocol
                ) =>
            {
                Err(error.retry_as(Retry::Ambiguous))
            }
            Err(error) => {
                writing.whole = false;
                self.note_writing(delivery, &writing).await?;
                Err(error)
            }
        }
    }

    /// Begins the file under its name, or one with a number, as `overwrite` says.
    async fn begin_named(&self, path: &RemotePath, length: u64) -> Result<(RemotePath, Box<dyn Upload>)> {
        let most = match self.options.overwrite {
            Overwrite::Replace => {
                return Ok((path.clone(), self.begin(path, path, Some(length)).await?));
            }
            Overwrite::Refuse => 1,
            Overwrite::Rename(most) => most,
        };
        for number in 1..=most {
            let name =
                path.with_file_name(&names::numbered(path.file_name(), number, self.options.name_limit));
            let begun = match self.folder.begin_new_write(&name, Some(length)).await {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.make_way(path, error).await?;
                    self.folder.begin_new_write(&name, Some(length)).await?
                }
                other => other?,
            };
            if let Some(upload) = begun {
                return Ok((name, upload));
            }
        }
        Err(Error::permanent(ErrorKind::AlreadyExists, "write a file under its name")
            .with("endpoint", &self.options.endpoint)
            .with("path", path)
            .advice("a file of that name lies there; fetch it, or set overwrite on the endpoint to replace or rename"))
    }

    /// Gives a file up that is not whole. What cannot be removed now is written anew by the next attempt.
    async fn give_up(&self, delivery: &Deliver, upload: Box<dyn Upload>, writing: &Writing) {
        upload.abort().await;
        let is_gone =
            matches!(self.folder.stat(&writing.name).await, Err(e) if e.kind() == ErrorKind::NotFound);
        if is_gone && let Err(error) = delivery.log.note(WRITING, Value::Null).await {
            tracing::warn!(path = %writing.name, error = %error.chain(), "not noted that an unfinished file is gone");
        }
    }

    async fn note_writing(&self, delivery: &Deliver, writing: &Writing) -> Result<()> {
        let note = json!({
            "name": writing.name.to_text(),
            "whole": writing.whole,
            "address": self.options.address,
            "directory": self.options.directory.to_text(),
            "connection": writing.connection,
        });
        delivery.log.note(WRITING, note).await
    }

    /// What an earlier attempt noted of a file at this very place.
    fn noted_writing(&self, delivery: &Deliver) -> Option<Writing> {
        let note = delivery.notes.get(WRITING)?;
        let here = note.get("address")?.as_str()? == self.options.address
            && note.get("directory")?.as_str()? == self.options.directory.to_text();
        let name = RemotePath::from_text(note.get("name")?.as_str()?).ok()?;
        let (whole, connection) = (note.get("whole")?.as_bool()?, noted_connection(note));
        here.then_some(Writing { name, whole, evidence: Evidence::Acknowledged, connection })
    }

    fn written(&self, delivery: &Deliver, writing: &Writing) -> Sent {
        let mut detail = Map::new();
        detail.insert("path".into(), Value::from(writing.name.to_text()));
        detail.insert("size".into(), Value::from(delivery.payload.length()));
        detail.insert("sha256".into(), Value::from(delivery.payload.sha256().to_string()));
        detail.insert("verified_by".into(), Value::from(writing.evidence.words()));
        detail.insert("published_by_attempt".into(), Value::from(delivery.claim.attempt));
        if let Some(connection) = writing.connection {
            detail.insert("connection".into(), Value::from(connection.to_string()));
        }
        let receipt = Receipt {
            kind: ReceiptKind::Path,
            at: self.services.clock.now(),
            positive: true,
            summary: writing.name.to_text(),
            detail,
            evidence: None,
        };
        Sent::Delivered { receipt, replies: Vec::new() }
    }
}
