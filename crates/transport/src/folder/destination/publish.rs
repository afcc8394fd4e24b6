//! Giving a written file its name, and finding out whether an earlier attempt did.

use super::dropped::remove_temporary;
use super::{FolderDestination, Overwrite, names};
use crate::folder::{Evidence, Published, RENAME_REFUSED};
use crate::{Deliver, DeliveryLog, Sent};
use model::{ConnectionId, Error, ErrorKind, Receipt, ReceiptKind, RemotePath, Result, Retry, Sha256};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The key of the note written before a publication; null once it is certain that there was none.
pub const PUBLISHING: &str = "publishing";

/// What to do where a name is taken.
pub(super) const TAKEN: &str = "a file of that name exists already; move it away, or set overwrite = \"replace\" or \"rename\" on the \
    flow's destination";

/// What to do where files go as soon as they are written.
const GONE: &str = "the server seems to collect files as soon as they are written, and may have collected this one under its temporary name: ask its operator whether the file was received, and set temporary = \"none\" on the flow's destination";

/// Times a publication is repeated within an attempt after its answer was lost.
const UNKNOWN_LIMIT: u32 = 3;

/// A publication about to be made: what its note holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Publishing {
    /// Where the bytes lie.
    pub(super) temporary: RemotePath,
    /// The name they were to have, before any number.
    pub(super) base: RemotePath,
    /// The name they are given.
    pub(super) name: RemotePath,
    /// The number in that name; 1 for none.
    pub(super) number: u32,
    /// The attempt that wrote them.
    pub(super) attempt: u32,
    /// The length in bytes.
    pub(super) size: u64,
    /// The SHA-256 of the bytes.
    pub(super) sha256: Sha256,
    /// Where it was: the endpoint's address, its directory, and what told that directory from another one.
    pub(super) address: String,
    pub(super) directory: RemotePath,
    pub(super) identity: Option<String>,
    /// By what it is known that they are whole.
    pub(super) evidence: Evidence,
    /// The connection they were written over.
    pub(super) connection: Option<ConnectionId>,
    /// Whether the place refused to publish them, after no answer of it was lost.
    pub(super) refused: bool,
}

/// What lies under a temporary name.
pub(super) enum TemporaryFile {
    /// Nothing, in the directory it was written to: with a note, the file was published.
    Gone,
    /// Nothing, but the directory is another one than it was: nothing can be said of the file.
    Elsewhere,
    /// The whole file.
    Ready,
    /// Something of another size.
    Damaged,
    /// The place shows nothing.
    Unknown,
}

/// Whether the place refuses to show what lies at a path.
pub(super) fn is_not_shown(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported | ErrorKind::Rejected)
}

/// What to do where a file could be written and is refused its name, unless the place itself knew better.
pub(super) fn with_advice(error: Error) -> Error {
    if is_not_shown(&error) && error.advised().is_none() { error.advice(RENAME_REFUSED) } else { error }
}

/// A note's JSON.
pub(super) fn to_note<T: Serialize>(note: &T) -> Result<Value> {
    serde_json::to_value(note)
        .map_err(|error| Error::permanent(ErrorKind::Internal, "write a delivery's note").caused_by(error))
}

impl Publishing {
    /// The note of an earlier attempt, when there is one that still counts.
    pub(super) fn noted(notes: &BTreeMap<String, Value>) -> Option<Self> {
        Self::deserialize(notes.get(PUBLISHING)?).ok()
    }

    /// Writes the note; durable when it returns.
    pub(super) async fn note(&self, log: &dyn DeliveryLog) -> Result<()> {
        log.note(PUBLISHING, to_note(self)?).await
    }

    /// Notes that an answer may have been lost, where it was noted that none was.
    async fn note_lost(&mut self, delivery: &Deliver) -> Result<()> {
        if std::mem::take(&mut self.refused) { self.note(&*delivery.log).await } else { Ok(()) }
    }
}

impl FolderDestination {
    /// Publishes what lies ready. `unsure` tells that an earlier publication of the same file may have
    /// taken effect, or may still: then a temporary file that is gone was published.
    pub(super) async fn publish(
        &self,
        delivery: &Deliver,
        mut publishing: Publishing,
        mut unsure: bool,
    ) -> Result<Sent> {
        let overwrite = self.options.overwrite;
        let mut unknown = 0;
        // Whether an answer of the place may have been lost, so that a refusal says nothing of what was done before it.
        let mut is_lost = unsure && (!publishing.refused || delivery.interrupted);
        if is_lost {
            publishing.note_lost(delivery).await?;
        }
        loop {
            delivery.log.may_act()?;
            let answer = self
                .folder
                .publish(&publishing.temporary, &publishing.name, overwrite == Overwrite::Replace)
                .await;
            match answer {
                Ok(Published::Published) => return Ok(self.delivered(delivery, &publishing)),
                Ok(Published::Unknown) => {
                    (unsure, is_lost) = (true, true);
                    publishing.note_lost(delivery).await?;
                    unknown += 1;
                    match self.look(&publishing).await? {
                        TemporaryFile::Gone => return Ok(self.delivered(delivery, &publishing)),
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
                            return Ok(self.delivered(delivery, &publishing));
                        }
                        // Nobody but this attempt could have published it, and it was there a moment ago.
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
                    } else if is_refused && !is_lost && !publishing.refused {
                        publishing.refused = true;
                        publishing.note(&*delivery.log).await?;
                    }
                    return Err(with_advice(error));
                }
            }
        }
    }

    /// Whether a file is surely not published: it lies there under its temporary name, or every try is known to have been
    /// refused and the place shows nothing.
    async fn is_unpublished(&self, publishing: &Publishing, is_refused: bool) -> bool {
        match self.look(publishing).await {
            Ok(TemporaryFile::Ready | TemporaryFile::Damaged) => true,
            Ok(TemporaryFile::Unknown) => is_refused,
            Ok(TemporaryFile::Gone | TemporaryFile::Elsewhere) | Err(_) => false,
        }
    }

    /// The name is taken: the next one, or the end.
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

    /// Gives a written file up: first the note, so that its absence is never taken for success.
    pub(super) async fn retract(&self, delivery: &Deliver, publishing: &Publishing) -> Result<()> {
        delivery.log.note(PUBLISHING, Value::Null).await?;
        remove_temporary(&*self.folder, &publishing.temporary).await;
        Ok(())
    }

    /// What lies under the temporary name. That it cannot be found out leaves the delivery ambiguous.
    pub(super) async fn look(&self, publishing: &Publishing) -> Result<TemporaryFile> {
        if publishing.address != self.options.address || publishing.directory != self.options.directory {
            return Ok(TemporaryFile::Elsewhere);
        }
        match self.folder.stat(&publishing.temporary).await {
            Ok(entry) if entry.size.is_none_or(|size| size == publishing.size) => Ok(TemporaryFile::Ready),
            Ok(_) if self.ends_at(&publishing.temporary, publishing.size).await => Ok(TemporaryFile::Ready),
            Ok(_) => Ok(TemporaryFile::Damaged),
            Err(error) if error.kind() == ErrorKind::NotFound => self.look_around(publishing).await,
            Err(error) if is_not_shown(&error) => Ok(TemporaryFile::Unknown),
            Err(error) if error.retry() == Retry::Permanent => Err(error),
            Err(error) => Err(error.retry_as(Retry::Ambiguous)),
        }
    }

    /// The file went as soon as it was written, under its temporary name. Sending it again would only give it away again.
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

    /// Nothing lies under the temporary name. That tells something only of the directory it was written to: a file
    /// system that is not mounted, or another one mounted there, holds neither.
    async fn look_around(&self, publishing: &Publishing) -> Result<TemporaryFile> {
        let directory = &self.options.directory;
        let found = async {
            if !directory.is_empty() {
                self.folder.stat(directory).await?;
            }
            self.folder.identity(directory).await
        };
        match found.await {
            Ok(identity) if identity == publishing.identity => {
                // Whoever published it may have been cut off before its name was durable.
                let parent = publishing.temporary.parent().unwrap_or_else(|| directory.clone());
                match self.folder.sync_directory(&parent).await {
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        Err(error.retry_as(Retry::Ambiguous))
                    }
                    _ => Ok(TemporaryFile::Gone),
                }
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
        let mut detail = Map::new();
        detail.insert("path".into(), Value::from(publishing.name.to_text()));
        detail.insert("size".into(), Value::from(publishing.size));
        detail.insert("sha256".into(), Value::from(publishing.sha256.to_string()));
        detail.insert("verified_by".into(), Value::from(publishing.evidence.words().into_owned()));
        detail.insert("written_by_attempt".into(), Value::from(publishing.attempt));
        detail.insert("published_by_attempt".into(), Value::from(delivery.claim.attempt));
        let receipt = Receipt {
            kind: ReceiptKind::Path,
            at: self.services.clock.now(),
            positive: true,
            summary: publishing.name.to_text(),
            connection: publishing.connection,
            mdn: None,
            detail,
        };
        Sent::Delivered { receipt, replies: Vec::new() }
    }
}
