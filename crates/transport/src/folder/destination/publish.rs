//! Publishing a written file, and checking whether an earlier attempt has published it.

use super::dropped::remove_temporary;
use super::modified::ModifiedTime;
use super::receipt::Arrival;
use super::{FolderDestination, Overwrite, Verify, is_not_shown, names};
use crate::folder::{Evidence, NotSet, Published, RENAME_REFUSED};
use crate::{Deliver, DeliveryLog, Resumption, Sent};
use model::{ConnectionId, Error, ErrorKind, RemotePath, Result, Retry, Sha256};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

pub use model::PUBLISHING;

/// Advice if the name exists.
pub(super) const TAKEN: &str = "a file of that name exists already; move it away, or set overwrite = \"replace\" or \"rename\" on the \
    flow's destination";

/// Advice if files disappear as soon as they are written.
const GONE: &str = "the server seems to collect files as soon as they are written, and may have collected this one under its temporary name: ask its operator whether the file was received, and set temporary = \"none\" on the flow's destination";

/// How often an attempt repeats a publication whose answer was lost.
const UNKNOWN_LIMIT: u32 = 3;

/// A planned publication: the content of its note.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Publishing {
    /// The path of the temporary file.
    pub(super) temporary: RemotePath,
    /// The requested final path, without a number.
    pub(super) base: RemotePath,
    /// The final path.
    pub(super) name: RemotePath,
    /// The number in the final name; 1 if it has none.
    pub(super) number: u32,
    /// The attempt that wrote the file.
    pub(super) attempt: u32,
    /// What may remain if the delivery is given up now: the temporary file, and the one that is replaced under another name.
    /// The event of a cancelled delivery names them.
    #[serde(default)]
    pub(super) may_remain: Vec<RemotePath>,
    /// The length in bytes.
    pub(super) size: u64,
    /// The SHA-256 of the bytes.
    pub(super) sha256: Sha256,
    /// The endpoint's address, its directory, and the directory's id
    /// ([`Folder::identity`](crate::folder::Folder::identity)).
    pub(super) address: String,
    pub(super) directory: RemotePath,
    pub(super) identity: Option<String>,
    /// The id of the directory for temporary files, if there is one.
    #[serde(default)]
    pub(super) temporary_identity: Option<String>,
    /// What proves that the file is complete.
    pub(super) evidence: Evidence,
    /// The connection over which the file was written.
    pub(super) connection: Option<ConnectionId>,
    /// Whether every request to publish is known to have done nothing: the server refused at least one, and no answer
    /// was lost. Not set while a request is made, so that an attempt that ends there, however it ends, leaves it unset.
    pub(super) refused: bool,
    /// What became of its modification time, if it was to be kept.
    #[serde(default)]
    pub(super) time: Option<ModifiedTime>,
    /// The times that the attempt went on after its connection broke.
    #[serde(default)]
    pub(super) resumptions: Vec<Resumption>,
    /// What the flow asks for and the server has not set.
    #[serde(default)]
    pub(super) not_set: NotSet,
}

/// What was found under a temporary name.
pub(super) enum TemporaryFile {
    /// No file, in the directory that it was written to: if the publication was noted, the file was published.
    Gone,
    /// No file, but the directory is not the one that it was written to: nothing is known about the file.
    Elsewhere,
    /// The complete file.
    Ready,
    /// A file with another size.
    Damaged,
    /// The server refuses to show it.
    Unknown,
}

/// Advice if a file could be written but not renamed, unless the transport already gave advice.
pub(super) fn with_advice(error: Error) -> Error {
    if is_not_shown(&error) && error.advised().is_none() { error.advice(RENAME_REFUSED) } else { error }
}

/// The JSON form of a note.
pub(super) fn to_note<T: Serialize>(note: &T) -> Result<Value> {
    serde_json::to_value(note)
        .map_err(|error| Error::permanent(ErrorKind::Internal, "write a delivery's note").caused_by(error))
}

impl Publishing {
    /// The note of an earlier attempt, if one exists and still applies.
    pub(super) fn noted(notes: &BTreeMap<String, Value>) -> Option<Self> {
        Self::deserialize(notes.get(PUBLISHING)?).ok()
    }

    /// Writes the note. It is durable when this returns.
    pub(super) async fn note(&self, log: &dyn DeliveryLog) -> Result<()> {
        log.note(PUBLISHING, to_note(self)?).await
    }

    /// Notes that a request to publish may take effect from now on, if the note says that none did. Answers whether it
    /// said so.
    async fn note_request(&mut self, delivery: &Deliver) -> Result<bool> {
        let was_refused = std::mem::take(&mut self.refused);
        if was_refused {
            self.note(&*delivery.log).await?;
        }
        Ok(was_refused)
    }
}

impl FolderDestination {
    /// Publishes a written file. `unsure` means that an earlier publication of the same file may have taken effect or
    /// may still do so: then a missing temporary file means that it was published.
    pub(super) async fn publish(
        &self,
        delivery: &Deliver,
        mut publishing: Publishing,
        mut unsure: bool,
    ) -> Result<Sent> {
        let overwrite = self.options.overwrite;
        let mut unknown = 0;
        // Whether an answer may have been lost. Then a refusal does not show what happened before it.
        let mut is_lost = unsure && !publishing.refused;
        loop {
            let was_refused = publishing.note_request(delivery).await?;
            delivery.log.may_act()?;
            let answer = self
                .folder
                .publish(&publishing.temporary, &publishing.name, overwrite == Overwrite::Replace)
                .await;
            match answer {
                Ok(Published::Published) => {
                    if unsure {
                        self.remove_replaced(&publishing).await;
                    }
                    return Ok(self.delivered(delivery, &publishing));
                }
                Ok(Published::Unknown) => {
                    (unsure, is_lost) = (true, true);
                    unknown += 1;
                    match self.look(&publishing).await? {
                        TemporaryFile::Gone => {
                            self.remove_replaced(&publishing).await;
                            return Ok(self.delivered(delivery, &publishing));
                        }
                        TemporaryFile::Ready | TemporaryFile::Unknown if unknown < UNKNOWN_LIMIT => {}
                        TemporaryFile::Ready
                        | TemporaryFile::Unknown
                        | TemporaryFile::Damaged
                        | TemporaryFile::Elsewhere => {
                            return Err(self.unknown(&publishing));
                        }
                    }
                }
                Ok(Published::Exists) => {
                    if unsure && matches!(self.look(&publishing).await?, TemporaryFile::Gone) {
                        return Ok(self.delivered(delivery, &publishing));
                    }
                    self.next_name(delivery, &mut publishing).await?;
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    match self.look(&publishing).await? {
                        TemporaryFile::Gone | TemporaryFile::Unknown if unsure => {
                            self.remove_replaced(&publishing).await;
                            return Ok(self.delivered(delivery, &publishing));
                        }
                        // Only this attempt could have published it, and it existed a moment ago.
                        TemporaryFile::Gone | TemporaryFile::Unknown => {
                            delivery.log.note(PUBLISHING, Value::Null).await?;
                            return Err(self.taken(&publishing).caused_by(error));
                        }
                        TemporaryFile::Ready | TemporaryFile::Damaged | TemporaryFile::Elsewhere => {}
                    }
                    return Err(error.retry_as(Retry::Transient));
                }
                Err(error) => {
                    let is_refused = is_not_shown(&error);
                    if error.retry() == Retry::Permanent
                        || delivery.is_last && self.is_unpublished(&publishing, is_refused && !is_lost).await
                    {
                        self.retract(delivery, &publishing).await?;
                    } else if (is_refused || was_refused) && !is_lost {
                        publishing.refused = true;
                        publishing.note(&*delivery.log).await?;
                    }
                    return Err(with_advice(error));
                }
            }
        }
    }

    /// Whether a file is certainly not published: it exists under its temporary name, or the server refused every
    /// request and shows nothing.
    async fn is_unpublished(&self, publishing: &Publishing, is_refused: bool) -> bool {
        match self.look(publishing).await {
            Ok(TemporaryFile::Ready | TemporaryFile::Damaged) => true,
            Ok(TemporaryFile::Unknown) => is_refused,
            Ok(TemporaryFile::Gone | TemporaryFile::Elsewhere) | Err(_) => false,
        }
    }

    /// The name exists: tries the next number, or fails.
    async fn next_name(&self, delivery: &Deliver, publishing: &mut Publishing) -> Result<()> {
        if let Overwrite::Rename(most) = self.options.overwrite
            && publishing.number < most
        {
            publishing.number += 1;
            let name =
                names::numbered(publishing.base.file_name(), publishing.number, self.options.name_limit);
            publishing.name = publishing.base.with_file_name(&name);
            return publishing.note(&*delivery.log).await;
        }
        self.retract(delivery, publishing).await?;
        let error = Error::permanent(ErrorKind::AlreadyExists, "publish a file")
            .with("endpoint", &self.options.endpoint)
            .with("path", &publishing.name)
            .advice(TAKEN);
        Err(error.on_connection(publishing.connection))
    }

    /// Gives up a written file. The note is removed first, so that the missing file is never treated as published.
    pub(super) async fn retract(&self, delivery: &Deliver, publishing: &Publishing) -> Result<()> {
        delivery.log.note(PUBLISHING, Value::Null).await?;
        remove_temporary(&*self.folder, &publishing.temporary).await;
        self.put_back_replaced(publishing).await;
        Ok(())
    }

    /// Checks what exists under the temporary name. If that fails, the delivery is ambiguous.
    pub(super) async fn look(&self, publishing: &Publishing) -> Result<TemporaryFile> {
        if publishing.address != self.options.address || publishing.directory != self.options.directory {
            return Ok(TemporaryFile::Elsewhere);
        }
        match self.folder.stat(&publishing.temporary).await {
            Ok(entry) if entry.size.is_none_or(|size| size == publishing.size) => Ok(TemporaryFile::Ready),
            // It was noted when every byte was acknowledged, and the size there is not to be believed.
            Ok(_) if self.options.verify == Verify::None => Ok(TemporaryFile::Ready),
            Ok(_) if self.ends_at(&publishing.temporary, publishing.size).await => Ok(TemporaryFile::Ready),
            Ok(_) => Ok(TemporaryFile::Damaged),
            Err(error) if error.kind() == ErrorKind::NotFound => self.look_around(publishing).await,
            Err(error) if is_not_shown(&error) => Ok(TemporaryFile::Unknown),
            Err(error) if error.retry() == Retry::Permanent => Err(error),
            Err(error) => Err(error.retry_as(Retry::Ambiguous)),
        }
    }

    /// The error for a file that disappeared as soon as it was written under its temporary name. It must not be sent
    /// again: it would be collected again.
    pub(super) fn taken(&self, publishing: &Publishing) -> Error {
        self.gone(&publishing.temporary, &publishing.name).on_connection(publishing.connection)
    }

    pub(super) fn gone(&self, temporary: &RemotePath, name: &RemotePath) -> Error {
        Error::permanent(ErrorKind::NotFound, "publish a file: it is gone")
            .with("endpoint", &self.options.endpoint)
            .with("path", name)
            .with("temporary", temporary)
            .advice(GONE)
    }

    /// Called if no file exists under the temporary name. This proves something only if the directory is the one that
    /// the file was written to, not an empty mount point or another file system.
    async fn look_around(&self, publishing: &Publishing) -> Result<TemporaryFile> {
        let directory = &self.options.directory;
        let found = async {
            if !directory.is_empty() {
                self.folder.stat(directory).await?;
            }
            let identity = self.folder.identity(directory).await?;
            // The directory of the temporary file may be another one now, or not mounted.
            let parent = publishing.temporary.parent().filter(|_| publishing.temporary_identity.is_some());
            let temporary_identity = match parent {
                Some(parent) => self.folder.identity(&parent).await?,
                None => None,
            };
            Ok::<_, Error>((identity, temporary_identity))
        };
        match found.await {
            Ok::<_, Error>((identity, temporary_identity))
                if identity == publishing.identity && temporary_identity == publishing.temporary_identity =>
            {
                // The attempt that published the file may have been interrupted before the new name was durable.
                let parent = |path: &RemotePath| path.parent().unwrap_or_else(|| directory.clone());
                let parents = BTreeSet::from([parent(&publishing.name), parent(&publishing.temporary)]);
                for parent in parents {
                    match self.folder.sync_directory(&parent).await {
                        Err(error) if error.kind() != ErrorKind::NotFound => {
                            return Err(error.retry_as(Retry::Ambiguous));
                        }
                        _ => {}
                    }
                }
                Ok(TemporaryFile::Gone)
            }
            Ok(_) => Ok(TemporaryFile::Elsewhere),
            Err(error) => Err(Error::ambiguous(error.kind(), "check whether a file was published")
                .with("endpoint", &self.options.endpoint)
                .with("directory", directory)
                .advice("check that the directory is there and mounted; the next attempt checks again")
                .caused_by(error)),
        }
    }

    fn unknown(&self, publishing: &Publishing) -> Error {
        let error = Error::ambiguous(ErrorKind::Unreachable, "check whether a file was published")
            .with("endpoint", &self.options.endpoint)
            .with("path", &publishing.name)
            .with("temporary", &publishing.temporary)
            .advice("the next attempt checks again");
        error.on_connection(publishing.connection)
    }

    pub(super) fn delivered(&self, delivery: &Deliver, publishing: &Publishing) -> Sent {
        let arrival = Arrival {
            name: &publishing.name,
            size: publishing.size,
            sha256: publishing.sha256,
            verified_by: publishing.evidence.words(),
            connection: publishing.connection,
            time: publishing.time.as_ref(),
            resumptions: &publishing.resumptions,
            not_set: publishing.not_set,
        };
        let by = ("published_by_attempt", delivery.claim.attempt.into());
        self.arrived(arrival, [("written_by_attempt", publishing.attempt.into()), by])
    }
}
