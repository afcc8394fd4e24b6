//! Writing a file directly under its final name, for servers that collect files as soon as they are closed or do not
//! allow renaming.
//!
//! Three notes tell a later attempt what a file with this name is. (1) Before the file is created, when `stat`
//! reports that the name is free: an empty file is ours; its creation was interrupted. (2) After it was created: the
//! file is ours and may be incomplete; it is written again. (3) After the server acknowledged the last byte, before
//! the file is closed: the file is complete, and if it no longer exists, it was collected.

use super::copying::CHUNK;
use super::locks::LOCKED;
use super::modified::ModifiedTime;
use super::publish::{TAKEN, to_note};
use super::receipt::Arrival;
use super::{FolderDestination, Overwrite, is_not_shown, known_sha256, names};
use crate::folder::{Entry, Evidence, NotSet, Upload};
use crate::{Deliver, Resumption, Sent};
use model::{ConnectionId, Error, ErrorKind, RemotePath, Result, Retry};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The key of the note about a file that is written under its final name; null if there is none.
pub const WRITING: &str = "writing";

/// Advice if the name seems to exist, but the server does not show the file.
const MAYBE_OURS: &str = "an interrupted attempt may have left an empty file of that name, which the server does not show to this user: have it removed if it is empty, or set overwrite = \"replace\" or \"rename\" on the flow's destination";

/// A file that is being written.
pub(super) struct Writing {
    pub(super) name: RemotePath,
    /// Whether the file is known to have been created: the file with this name is ours, whatever its size.
    made: bool,
    /// Whether the server has acknowledged the last byte.
    whole: bool,
    evidence: Evidence,
    /// What the flow asks for and the server has not set.
    not_set: NotSet,
    /// The connection over which it is written.
    pub(super) connection: Option<ConnectionId>,
    /// What became of its modification time, if it was to be kept.
    time: Option<ModifiedTime>,
    /// The times that the attempt went on after its connection broke.
    pub(super) resumptions: Vec<Resumption>,
    /// The file that had the name before and was to be replaced, as the server reported it.
    replaced: Option<Replaced>,
}

/// A file that is to be replaced: its size, its modification time in microseconds, and its version. Some servers keep
/// it until the new one is complete, so a file with the right size may still be this one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Replaced {
    size: Option<u64>,
    modified: Option<i64>,
    version: Option<String>,
}

impl Replaced {
    fn of(entry: &Entry) -> Self {
        let modified = entry.modified.map(|time| time.timestamp_micros());
        Self { size: entry.size, modified, version: entry.version.clone() }
    }
}

/// The content of the note about it.
#[derive(Serialize, Deserialize)]
struct WritingNote {
    name: RemotePath,
    made: bool,
    whole: bool,
    /// The endpoint's address and directory.
    address: String,
    directory: RemotePath,
    connection: Option<ConnectionId>,
    #[serde(default)]
    replaced: Option<Replaced>,
}

/// Whether it is unknown if the server carried out the request.
fn is_unanswered(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Protocol)
}

/// Removes an incomplete file, unless another node may have claimed the delivery: that node writes under the same
/// name.
async fn discard(delivery: &Deliver, upload: Box<dyn Upload>) {
    if delivery.log.may_act().is_ok() {
        upload.abort().await;
    }
}

/// What has become of a file that an earlier attempt noted.
pub(super) enum EarlierUpload {
    /// It was delivered.
    Delivered(Writing),
    /// It exists and is ours: it is written again.
    Ours(RemotePath),
    /// It does not exist, or is not ours.
    Nothing,
    /// The server does not show it. An empty file of ours may exist.
    Unknown,
}

impl FolderDestination {
    /// Writes the payload under its final name, after checking what an earlier attempt did.
    pub(super) async fn deliver_direct(&self, delivery: &Deliver, path: RemotePath) -> Result<Sent> {
        let earlier = match self.noted_writing(delivery) {
            Some(earlier) => self.find_earlier_upload(delivery, earlier).await?,
            None => EarlierUpload::Nothing,
        };
        let limit = self.options.name_limit;
        let earlier = match earlier {
            EarlierUpload::Delivered(writing) => return self.written(delivery, &writing),
            EarlierUpload::Ours(name) if !Self::has_name(&name, &path, limit) => {
                self.remove_unfinished(delivery, &name).await?;
                EarlierUpload::Nothing
            }
            earlier => earlier,
        };
        let length = delivery.payload.length();
        let _lease = self.services.budget.take(2 * CHUNK + delivery.payload.reader_buffers()).await;
        let reader = delivery.payload.open(0..length).await?;
        delivery.log.may_act()?;
        let (name, upload, replaced) = match earlier {
            EarlierUpload::Ours(name) => self.begin_replacing(&name, length).await?,
            EarlierUpload::Unknown => {
                let begun = self.begin_free(delivery, &path, length).await;
                begun.map_err(|error| match error.kind() {
                    ErrorKind::AlreadyExists | ErrorKind::Rejected => error.advice(MAYBE_OURS),
                    _ => error,
                })?
            }
            _ => self.begin_free(delivery, &path, length).await?,
        };
        let upload = self.note_lock(delivery, LOCKED, &name, upload).await?;
        let connection = upload.connection();
        let evidence = Evidence::Acknowledged;
        let mut writing = Writing {
            name,
            made: true,
            whole: false,
            evidence,
            not_set: NotSet::default(),
            connection,
            time: None,
            resumptions: Vec::new(),
            replaced,
        };
        if let Err(error) = self.note_writing(delivery, &writing).await {
            discard(delivery, upload).await;
            return Err(error);
        }
        let upload = self.send_directly(delivery, (reader, upload), &mut writing).await?;
        // Asked here, before the note: once the note says that the file is complete, this attempt must not stop.
        delivery.log.may_act()?;
        writing.whole = true;
        if let Err(error) = self.note_writing(delivery, &writing).await {
            // The note may have been written although the call failed. Then the file must exist, so it is closed
            // normally.
            let _ = upload.finish().await;
            return Err(error);
        }
        let finished = match upload.finish().await {
            Ok(finished) => self.verified(delivery, &writing.name, finished).await,
            // Whether the file was closed is unknown, but the note says that it is complete.
            Err(error) if is_unanswered(&error) => return Err(error.retry_as(Retry::Ambiguous)),
            Err(error) => Err(error),
        };
        match finished {
            Ok(finished) => {
                (writing.evidence, writing.not_set) = (finished.evidence, finished.not_set);
                if !finished.gone {
                    // The file is delivered whatever the answer is.
                    writing.time = self
                        .keep_time(delivery, &writing.name)
                        .await
                        .unwrap_or_else(|error| Some(ModifiedTime::Refused(error.chain())));
                }
                self.written(delivery, &writing)
            }
            Err(error) => {
                writing.whole = false;
                self.note_writing(delivery, &writing).await?;
                Err(error.on_connection(connection))
            }
        }
    }

    /// Checks what became of a file that an earlier attempt was writing.
    pub(super) async fn find_earlier_upload(
        &self,
        delivery: &Deliver,
        earlier: Writing,
    ) -> Result<EarlierUpload> {
        let length = delivery.payload.length();
        let found = match self.folder.stat(&earlier.name).await {
            Err(error) if error.kind() != ErrorKind::NotFound && !is_not_shown(&error) => {
                return Err(error.retry_as(Retry::Ambiguous));
            }
            found => found,
        };
        if earlier.whole {
            return match found {
                // The file that was to be replaced is still there: the new one never took its place.
                Ok(entry) if earlier.replaced == Some(Replaced::of(&entry)) => Ok(EarlierUpload::Nothing),
                Ok(Entry { size: Some(stated), .. }) if stated != length => {
                    self.look_closer(delivery, earlier, stated).await
                }
                Ok(_) => Ok(EarlierUpload::Delivered(Writing { evidence: Evidence::Size, ..earlier })),
                Err(_) => Ok(EarlierUpload::Delivered(earlier)),
            };
        }
        // Some servers report sizes late. If a byte can be read, the file is not ours, whatever size is reported.
        let is_empty = match &found {
            Ok(Entry { size: None | Some(0), .. }) if !earlier.made => {
                self.is_end(&earlier.name, 0).await.map_err(|error| error.retry_as(Retry::Ambiguous))?
            }
            _ => None,
        };
        Ok(match found {
            Ok(_) if earlier.made => EarlierUpload::Ours(earlier.name),
            Ok(_) if is_empty == Some(true) => EarlierUpload::Ours(earlier.name),
            // Reading is not allowed there, so the size must be enough.
            Ok(Entry { size: Some(0), .. }) if is_empty.is_none() => EarlierUpload::Ours(earlier.name),
            // Another program created the file after `stat` reported that the name is free.
            Ok(_) => EarlierUpload::Nothing,
            Err(error) if error.kind() == ErrorKind::NotFound => EarlierUpload::Nothing,
            Err(_) if earlier.made => EarlierUpload::Ours(earlier.name),
            Err(_) => EarlierUpload::Unknown,
        })
    }

    /// The error if every byte was acknowledged, the result of closing the file is unknown, and the server now
    /// reports another size than expected.
    ///
    /// # Errors
    /// Ambiguous, because the size alone proves nothing. The next attempt checks again.
    async fn look_closer(&self, delivery: &Deliver, earlier: Writing, stated: u64) -> Result<EarlierUpload> {
        let length = delivery.payload.length();
        let is_end = self.is_end(&earlier.name, length).await;
        match is_end.map_err(|error| error.retry_as(Retry::Ambiguous))? {
            Some(true) => {
                return Ok(EarlierUpload::Delivered(Writing { evidence: Evidence::End(stated), ..earlier }));
            }
            // The name may be overwritten, whoever created the file.
            Some(false) if self.options.overwrite == Overwrite::Replace => return Ok(EarlierUpload::Nothing),
            Some(false) | None => {}
        }
        let error = Error::ambiguous(ErrorKind::IntegrityFailed, "check whether a file was written whole")
            .with("endpoint", &self.options.endpoint)
            .with("path", &earlier.name)
            .with("expected bytes", length)
            .with("bytes there", stated)
            .advice("every byte of it was acknowledged, and the connection ended before the file was closed; it is not written again, and the next attempt checks again: ask whoever takes it whether it is whole");
        Err(error.on_connection(earlier.connection))
    }

    /// Begins the file under a name that may be taken, and answers what had it before.
    async fn begin_replacing(
        &self,
        name: &RemotePath,
        length: u64,
    ) -> Result<(RemotePath, Box<dyn Upload>, Option<Replaced>)> {
        let earlier = match self.folder.stat(name).await {
            Ok(entry) => Some(entry),
            Err(error) if error.kind() == ErrorKind::NotFound || is_not_shown(&error) => None,
            Err(error) => return Err(error),
        };
        let mut upload = self.begin(name, name, Some(length), None).await?;
        let replaced = earlier.as_ref().map(Replaced::of);
        if let Some(earlier) = earlier {
            upload.replaces(earlier);
        }
        Ok((name.clone(), upload, replaced))
    }

    /// Begins the file under its final name, or under one with a number, as `overwrite` says.
    async fn begin_free(
        &self,
        delivery: &Deliver,
        path: &RemotePath,
        length: u64,
    ) -> Result<(RemotePath, Box<dyn Upload>, Option<Replaced>)> {
        let most = match self.options.overwrite {
            Overwrite::Replace => return self.begin_replacing(path, length).await,
            Overwrite::Refuse | Overwrite::SkipSame | Overwrite::Append => 1,
            Overwrite::Rename(most) => most,
        };
        for number in 1..=most {
            let name =
                path.with_file_name(&names::numbered(path.file_name(), number, self.options.name_limit));
            if let Some(upload) = self.begin_new(delivery, path, &name, length).await? {
                return Ok((name, upload, None));
            }
        }
        Err(Error::permanent(ErrorKind::AlreadyExists, "write a file under its name")
            .with("endpoint", &self.options.endpoint)
            .with("path", path)
            .advice(TAKEN))
    }

    /// Begins the file under a name that must be free; `None` if it exists. If `stat` reports that the name is free,
    /// this is noted first: if the answer is then lost, an empty file with this name is known to be ours.
    async fn begin_new(
        &self,
        delivery: &Deliver,
        path: &RemotePath,
        name: &RemotePath,
        length: u64,
    ) -> Result<Option<Box<dyn Upload>>> {
        let is_free = match self.folder.stat(name).await {
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            Err(error) if is_not_shown(&error) => false,
            Err(error) => return Err(error),
        };
        if is_free {
            let (name, evidence) = (name.clone(), Evidence::Acknowledged);
            let opening = Writing {
                name,
                made: false,
                whole: false,
                evidence,
                not_set: NotSet::default(),
                connection: None,
                time: None,
                resumptions: Vec::new(),
                replaced: None,
            };
            self.note_writing(delivery, &opening).await?;
            delivery.log.may_act()?;
        }
        let begun = async {
            match self.folder.begin_new_write(name, Some(length)).await {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.make_way(path, error).await?;
                    self.folder.begin_new_write(name, Some(length)).await
                }
                Err(error) if self.was_made_meanwhile(name, &error).await => {
                    self.folder.begin_new_write(name, Some(length)).await
                }
                other => other,
            }
        };
        let begun = begun.await;
        let is_made = match &begun {
            Ok(upload) => upload.is_some(),
            Err(error) => is_unanswered(error),
        };
        if is_free && !is_made {
            // We have no file there: a file that appears under this name later is not ours.
            delivery.log.note(WRITING, Value::Null).await?;
        }
        begun
    }

    /// Gives up an incomplete file. If it cannot be removed now, the next attempt writes it again.
    pub(super) async fn give_up(&self, delivery: &Deliver, upload: Box<dyn Upload>, writing: &Writing) {
        discard(delivery, upload).await;
        self.note_if_gone(delivery, writing).await;
    }

    /// Takes the note of an incomplete file back if the file is gone.
    pub(super) async fn note_if_gone(&self, delivery: &Deliver, writing: &Writing) {
        let is_gone =
            matches!(self.folder.stat(&writing.name).await, Err(e) if e.kind() == ErrorKind::NotFound);
        if is_gone && let Err(error) = delivery.log.note(WRITING, Value::Null).await {
            tracing::warn!(path = %writing.name, error = %error.chain(), "could not note that an unfinished file is gone");
        }
    }

    async fn note_writing(&self, delivery: &Deliver, writing: &Writing) -> Result<()> {
        let note = WritingNote {
            name: writing.name.clone(),
            made: writing.made,
            whole: writing.whole,
            address: self.options.address.clone(),
            directory: self.options.directory.clone(),
            connection: writing.connection,
            replaced: writing.replaced.clone(),
        };
        delivery.log.note(WRITING, to_note(&note)?).await
    }

    /// The note of an earlier attempt about a file in this same directory.
    pub(super) fn noted_writing(&self, delivery: &Deliver) -> Option<Writing> {
        let note = WritingNote::deserialize(delivery.notes.get(WRITING)?).ok()?;
        let WritingNote { name, made, whole, address, directory, connection, replaced } = note;
        let here = address == self.options.address && directory == self.options.directory;
        here.then_some(Writing {
            name,
            made,
            whole,
            evidence: Evidence::Acknowledged,
            not_set: NotSet::default(),
            connection,
            time: None,
            resumptions: Vec::new(),
            replaced,
        })
    }

    pub(super) fn written(&self, delivery: &Deliver, writing: &Writing) -> Result<Sent> {
        let arrival = Arrival {
            name: &writing.name,
            size: delivery.payload.length(),
            sha256: known_sha256(&*delivery.payload)?,
            verified_by: writing.evidence.words(),
            connection: writing.connection,
            time: writing.time.as_ref(),
            resumptions: &writing.resumptions,
            not_set: writing.not_set,
        };
        Ok(self.arrived(arrival, [("published_by_attempt", delivery.claim.attempt.into())]))
    }
}
