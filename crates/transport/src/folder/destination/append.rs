//! Adding a file to the end of another one, `overwrite = "append"`.
//!
//! This promises less than a file of its own: the receiver may see a part of it, and another program that writes to the
//! same file at the same time gets its bytes mixed with ours. The size before is noted before the first byte. An attempt
//! that finds the note compares what follows that size with the payload: nothing, a beginning, or all of it. A beginning
//! is gone on with. If something else is there, nobody but a person can tell what happened: the delivery fails for good,
//! and its note goes, so that a person's retry appends the file anew.

use super::copying::{CHUNK, copy};
use super::publish::to_note;
use super::receipt::Arrival;
use super::resume::is_cut;
use super::{FolderDestination, is_not_shown, known_sha256};
use crate::folder::sum::fill;
use crate::folder::{Evidence, NotSet, Upload};
use crate::{Deliver, Sent};
use model::{ConnectionId, Error, ErrorKind, OVERTAKEN, RemotePath, Result, Retry};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The key of the note about a file that is being appended; null if there is none.
pub const APPENDING: &str = "appending";

/// Advice if a person must decide.
const DECIDE: &str = "look at the end of the file at the destination: if this file is missing there, remove what may be there of it and retry the transfer, which then appends the whole file; if it is there, cancel the transfer";

/// A file that is being appended: the content of its note.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Appending {
    name: RemotePath,
    /// The size before, in bytes; 0 if there was no file.
    before: u64,
    /// Whether the server has acknowledged the last byte.
    whole: bool,
    /// The endpoint's address and directory.
    address: String,
    directory: RemotePath,
    connection: Option<ConnectionId>,
}

/// What an earlier attempt did.
enum Earlier {
    /// It appended all of the payload; what proves it.
    Whole(Evidence),
    /// It appended so many bytes.
    Part(u64),
}

/// How much of the payload follows the size before.
enum There {
    /// So many bytes of it, and nothing else.
    Bytes(u64),
    /// Something else.
    Other,
    /// The server does not show it.
    Unknown,
}

/// Whether later files were appended since this one's last attempt, as far as the flow's own lane tells.
fn is_overtaken(delivery: &Deliver) -> bool {
    delivery.notes.get(OVERTAKEN) == Some(&Value::Bool(true))
}

impl FolderDestination {
    /// The note of an earlier attempt about this same place.
    fn noted_appending(&self, delivery: &Deliver) -> Option<Appending> {
        let note = Appending::deserialize(delivery.notes.get(APPENDING)?).ok()?;
        let is_here = note.address == self.options.address && note.directory == self.options.directory;
        is_here.then_some(note)
    }

    /// Appends the payload to the file at a path, which is created if it is missing.
    pub(super) async fn deliver_appended(&self, delivery: &Deliver, path: RemotePath) -> Result<Sent> {
        let (appending, done) = match self.noted_appending(delivery) {
            Some(appending) if is_overtaken(delivery) && !appending.whole => {
                self.settle_overtaken(delivery, &appending).await?;
                (self.first_look(delivery, path).await?, 0)
            }
            Some(appending) => match self.find_appended(delivery, &appending).await? {
                Earlier::Part(done) => (appending, done),
                Earlier::Whole(evidence) => return self.appended(delivery, &appending, evidence),
            },
            None => (self.first_look(delivery, path).await?, 0),
        };
        self.append_from(delivery, appending, done).await
    }

    /// Looks at what follows the size before, after other files were appended: nobody can tell a part of this file from the
    /// beginning of another one.
    ///
    /// # Errors
    /// Permanent: there is something. Ambiguous: the server cannot be asked now.
    async fn settle_overtaken(&self, delivery: &Deliver, appending: &Appending) -> Result<()> {
        let _lease = self.services.budget.take(2 * CHUNK + delivery.payload.reader_buffers()).await;
        let there =
            self.compare(delivery, appending).await.map_err(|error| error.retry_as(Retry::Ambiguous))?;
        match there {
            There::Bytes(0) => Ok(()),
            _ => self.give_up_appending(delivery, appending, "bytes of this file or of later ones").await,
        }
    }

    /// Settles what an earlier attempt appended, if the flow asks for something else now.
    ///
    /// # Errors
    /// Permanent: a part of the file is there.
    pub(super) async fn settle_appended(&self, delivery: &Deliver) -> Result<Option<Sent>> {
        let Some(appending) = self.noted_appending(delivery) else { return Ok(None) };
        if is_overtaken(delivery) && !appending.whole {
            self.settle_overtaken(delivery, &appending).await?;
            return delivery.log.note(APPENDING, Value::Null).await.map(|()| None);
        }
        match self.find_appended(delivery, &appending).await? {
            Earlier::Whole(evidence) => self.appended(delivery, &appending, evidence).map(Some),
            Earlier::Part(0) => delivery.log.note(APPENDING, Value::Null).await.map(|()| None),
            Earlier::Part(_) => self.give_up_appending(delivery, &appending, "a part of this file").await,
        }
    }

    /// Notes the size of the file before anything is appended.
    async fn first_look(&self, delivery: &Deliver, name: RemotePath) -> Result<Appending> {
        let before = match self.folder.stat(&name).await {
            Ok(entry) => entry.size,
            Err(error) if error.kind() == ErrorKind::NotFound => Some(0),
            Err(error) if is_not_shown(&error) => None,
            Err(error) => return Err(error),
        };
        let before = before.ok_or_else(|| {
            Error::permanent(ErrorKind::Unsupported, "append to a file")
                .with("endpoint", &self.options.endpoint)
                .with("path", &name)
                .advice("the server does not show the size of this file, without which an interrupted delivery could not be found out; set another value of overwrite")
        })?;
        let (address, directory) = (self.options.address.clone(), self.options.directory.clone());
        let appending = Appending { name, before, whole: false, address, directory, connection: None };
        if is_overtaken(delivery) {
            // What follows this size from now on is ours.
            delivery.log.note(OVERTAKEN, Value::Null).await?;
        }
        delivery.log.note(APPENDING, to_note(&appending)?).await?;
        Ok(appending)
    }

    async fn append_from(&self, delivery: &Deliver, mut appending: Appending, done: u64) -> Result<Sent> {
        let length = delivery.payload.length();
        let _lease = self.services.budget.take(2 * CHUNK + delivery.payload.reader_buffers()).await;
        let reader = delivery.payload.open(done..length).await?;
        delivery.log.may_act()?;
        let mut upload = match self.begin_appending(&appending, appending.before + done).await {
            Ok(upload) => upload,
            Err(error) => {
                // No byte was sent. Without the note, a retry days later does not take what others appended meanwhile
                // for the beginning of this file.
                if done == 0 {
                    delivery.log.note(APPENDING, Value::Null).await?;
                }
                return Err(error);
            }
        };
        appending.connection = upload.connection();
        // From here on something may be there.
        let unsure = |error: Error| if is_cut(&error) { error.retry_as(Retry::Ambiguous) } else { error };
        let copied = async {
            let copied = copy(reader, &mut *upload).await?;
            upload.flush().await?;
            Ok(copied)
        };
        let copied = copied.await.map_err(unsure)?;
        if copied != length - done {
            return Err(Error::transient(
                ErrorKind::IntegrityFailed,
                "read a payload completely from staging",
            )
            .with("payload", delivery.payload.id())
            .with("expected bytes", length - done)
            .with("read bytes", copied));
        }
        let written = upload.finish().await.map_err(unsure)?;
        let whole = appending.before + length;
        let evidence = match written.size {
            _ if written.gone => Evidence::Acknowledged,
            Some(size) if size == whole => Evidence::Size,
            None => Evidence::Acknowledged,
            // Somebody else wrote to it too, or the server stored less than it confirmed.
            Some(_) => Evidence::ReadBack,
        };
        let is_compared = self.options.verify == super::Verify::Checksum || evidence == Evidence::ReadBack;
        let evidence = match is_compared && !written.gone {
            false => evidence,
            true => match self.compare(delivery, &appending).await? {
                There::Bytes(bytes) if bytes == length => Evidence::ReadBack,
                // The next attempt goes on from there.
                There::Bytes(bytes) => {
                    return Err(Error::transient(ErrorKind::IntegrityFailed, "append a whole file")
                        .with("endpoint", &self.options.endpoint)
                        .with("path", &appending.name)
                        .with("appended bytes", bytes)
                        .with("expected bytes", length)
                        .advice("the server confirmed more than it stored; check whether a disk or quota is full there"));
                }
                There::Other => {
                    return self
                        .give_up_appending(delivery, &appending, "something else than this file")
                        .await;
                }
                There::Unknown => {
                    return self.give_up_appending(delivery, &appending, "what cannot be read").await;
                }
            },
        };
        appending.whole = true;
        delivery.log.note(APPENDING, to_note(&appending)?).await?;
        self.appended(delivery, &appending, evidence)
    }

    async fn begin_appending(&self, appending: &Appending, at: u64) -> Result<Box<dyn Upload>> {
        let missing = match self.folder.append(&appending.name, at).await {
            Err(error) if error.kind() == ErrorKind::NotFound => error,
            other => return self.required(other?, appending),
        };
        self.make_way(&appending.name, missing).await?;
        let upload = self.folder.append(&appending.name, at).await?;
        self.required(upload, appending)
    }

    fn required(&self, upload: Option<Box<dyn Upload>>, appending: &Appending) -> Result<Box<dyn Upload>> {
        upload.ok_or_else(|| {
            Error::permanent(ErrorKind::Unsupported, "append to a file")
                .with("endpoint", &self.options.endpoint)
                .with("path", &appending.name)
                .advice("this protocol cannot append to files; set another value of overwrite")
        })
    }

    /// What an earlier attempt appended.
    ///
    /// # Errors
    /// Permanent: a person must decide. Ambiguous: the server cannot be asked now.
    async fn find_appended(&self, delivery: &Deliver, appending: &Appending) -> Result<Earlier> {
        let length = delivery.payload.length();
        let _lease = self.services.budget.take(2 * CHUNK + delivery.payload.reader_buffers()).await;
        match self.compare(delivery, appending).await.map_err(|error| error.retry_as(Retry::Ambiguous))? {
            There::Bytes(bytes) if bytes == length => Ok(Earlier::Whole(Evidence::ReadBack)),
            // Every byte was acknowledged; since then the receiver may have taken the file.
            _ if appending.whole => Ok(Earlier::Whole(Evidence::Acknowledged)),
            There::Bytes(bytes) => Ok(Earlier::Part(bytes)),
            There::Other => {
                self.give_up_appending(delivery, appending, "something else than the beginning of this file")
                    .await
            }
            There::Unknown => self.give_up_appending(delivery, appending, "what cannot be read").await,
        }
    }

    /// Compares what follows the size before with the payload.
    async fn compare(&self, delivery: &Deliver, appending: &Appending) -> Result<There> {
        let size = match self.folder.stat(&appending.name).await {
            Ok(entry) => entry.size,
            Err(error) if error.kind() == ErrorKind::NotFound => Some(0),
            Err(error) if is_not_shown(&error) => None,
            Err(error) => return Err(error),
        };
        let Some(size) = size else { return Ok(There::Unknown) };
        if size < appending.before {
            return Ok(There::Other);
        }
        if size == appending.before {
            return Ok(There::Bytes(0));
        }
        let there = match self.folder.read(&appending.name, appending.before).await {
            Err(error) if is_not_shown(&error) => return Ok(There::Unknown),
            read => read?,
        };
        let mut there = delivery.payload.read_back(Box::new(there));
        let mut ours = delivery.payload.open(0..delivery.payload.length()).await?;
        let mut same = 0;
        loop {
            let (theirs, sent) = (fill(&mut there).await?, fill(&mut ours).await?);
            // What follows the whole payload was appended by somebody else, later.
            if !sent.starts_with(&theirs) && !theirs.starts_with(&sent) {
                return Ok(There::Other);
            }
            same += theirs.len().min(sent.len()) as u64;
            if theirs.len() != sent.len() || sent.is_empty() {
                return Ok(There::Bytes(same));
            }
        }
    }

    /// Ends the delivery: a person must decide. The note goes first, so that a retry appends the file anew.
    async fn give_up_appending<T>(
        &self,
        delivery: &Deliver,
        appending: &Appending,
        found: &'static str,
    ) -> Result<T> {
        delivery.log.note(APPENDING, Value::Null).await?;
        let error = Error::permanent(ErrorKind::IntegrityFailed, "find out whether a file was appended")
            .with("endpoint", &self.options.endpoint)
            .with("path", &appending.name)
            .with("bytes before", appending.before)
            .with("found after them", found)
            .advice(DECIDE);
        Err(error.on_connection(appending.connection))
    }

    fn appended(&self, delivery: &Deliver, appending: &Appending, evidence: Evidence) -> Result<Sent> {
        let arrival = Arrival {
            name: &appending.name,
            size: delivery.payload.length(),
            sha256: known_sha256(&*delivery.payload)?,
            verified_by: evidence.words(),
            connection: appending.connection,
            time: None,
            resumptions: &[],
            not_set: NotSet::default(),
        };
        Ok(self.arrived(arrival, [("appended_at_byte", appending.before.into())]))
    }
}
