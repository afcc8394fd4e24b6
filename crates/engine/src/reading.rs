//! Reading an offer into staging, and what the source tells of it afterwards.

use crate::crash;
use crate::guard::guarded;
use crate::poller::Poller;
use crate::recording::StagedPart;
use futures::TryStreamExt;
use model::{ConnectionId, Error, ErrorKind, RemotePath, Result, Retry};
use serde_json::{Map, Value, json};
use transport::folder::{GONE, READ_BYTES, SHA256};
use transport::{AfterRead, FoundOffer, PartWriter, Source, copy_to_staging};

/// A copied part that is not yet durable.
struct CopiedPart {
    writer: Box<dyn PartWriter>,
    part: transport::Part,
}

/// An offer that was read, durable in staging.
pub(crate) struct Whole {
    pub(crate) parts: Vec<StagedPart>,
    /// What opening it and looking at it added to its `source_data`.
    pub(crate) source_data: Map<String, Value>,
    /// The size that the place states, where it is not the number of bytes read.
    pub(crate) wrong_size: Option<WrongSize>,
    /// What else contradicts that it is whole, in words.
    pub(crate) contradiction: Option<String>,
    /// Whether reading broke off before the size that the place states, or where it states none: as long as the file
    /// is there, these bytes are no more than a reserve.
    pub(crate) partial: bool,
    /// Why it could not be read to its end, or could not be looked at afterwards.
    pub(crate) failed: Option<Error>,
    /// Whether the place could not be asked, after the last byte, if the file is still there.
    pub(crate) unseen: bool,
    /// Why a person has to look at it before it is delivered.
    pub(crate) hold: Option<String>,
}

/// A stated size that is not the number of bytes read to the end of the data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WrongSize {
    pub(crate) stated: u64,
    pub(crate) read: u64,
}

/// What reading an offer came to.
pub(crate) enum Reading {
    /// It is whole.
    Whole(Whole),
    /// What the place tells of it contradicts that it is whole, though nothing about it changed, or the connection broke
    /// before the place could be asked: taken once a second reading gave the same bytes, or once the file is gone.
    Doubtful(Whole),
    /// Another file is there now: it is offered anew.
    Changed(String),
}

impl Poller {
    /// Copies an offer's parts into staging, asks the source what is there now, and makes the parts durable.
    pub(crate) async fn read(&self, source: &dyn Source, found: &FoundOffer) -> Result<Reading> {
        guarded("read a file", self.copy_and_seal(source, found)).await
    }

    async fn copy_and_seal(&self, source: &dyn Source, found: &FoundOffer) -> Result<Reading> {
        crash::point("stage.begin");
        let opened = source.open(found).await?;
        let mut found = found.clone();
        found.source_data.extend(opened.source_data.clone());
        let mut source_data = opened.source_data;
        let mut parts = opened.parts;
        let mut copied = Vec::new();
        let mut broken = None;
        while let Some(mut part) = parts.try_next().await? {
            let writer = self.shared.services.staging.begin()?;
            let reader = std::mem::replace(&mut part.reader, Box::new(tokio::io::empty()));
            let path = found.identity.path.clone();
            let copy = copy_to_staging(reader, writer, &self.shared.services.budget, move |error| {
                read_failed(&path, error)
            });
            let copy = copy.await?;
            match copy.broken {
                // Nothing of it came: nothing can be lost.
                Some(error) if copy.bytes == 0 => return Err(error),
                error => broken = error,
            }
            copied.push(CopiedPart { writer: copy.writer, part });
            if broken.is_some() {
                break;
            }
        }
        drop(parts);
        crash::point("stage.copied");
        if copied.is_empty() {
            return match self.look_after(source, &found).await? {
                AfterRead::Changed(why) => Ok(Reading::Changed(why)),
                _ => Err(Error::permanent(ErrorKind::Rejected, "take an offer that holds no file")
                    .with("path", &found.identity.path)),
            };
        }
        let stated = opened.size.or(found.identity.size);
        let wrong_size = match (copied.as_slice(), stated) {
            ([only], Some(stated)) => {
                Some(WrongSize { stated, read: only.writer.length() }).filter(|size| size.stated != size.read)
            }
            _ => None,
        };
        if let Some(size) = wrong_size {
            source_data.insert(READ_BYTES.to_owned(), json!(size.read));
        }
        let reached_its_size = copied.len() == 1
            && stated
                .is_some_and(|size| size > 0 && wrong_size.is_none_or(|wrong| wrong.read > wrong.stated));
        let partial = broken.is_some() && !reached_its_size;
        // Durable before anybody is asked: these bytes may be the only copy by now, whatever comes of asking.
        let parts = seal(copied).await?;
        if let [only] = parts.as_slice() {
            source_data.insert(SHA256.to_owned(), json!(only.staged.sha256.to_string()));
        }
        crash::point("stage.sealed");
        let mut whole = Whole {
            parts,
            source_data,
            wrong_size,
            contradiction: None,
            partial,
            failed: broken,
            unseen: false,
            hold: None,
        };
        match self.look_after(source, &found).await {
            Ok(AfterRead::Gone) => {
                whole.note_gone();
                return Ok(Reading::Whole(whole));
            }
            Ok(AfterRead::Changed(why)) => {
                self.discard(whole.parts).await;
                return Ok(Reading::Changed(why));
            }
            Ok(AfterRead::Doubtful(words)) => whole.contradiction = Some(words),
            Ok(AfterRead::Unchanged) => {}
            Err(error) => {
                whole.unseen = true;
                whole.failed.get_or_insert(error);
                return Ok(Reading::Doubtful(whole));
            }
        }
        match whole.failed.take() {
            // It is there to be read again.
            Some(error) if whole.partial => {
                self.discard(whole.parts).await;
                Err(error)
            }
            Some(error) => {
                whole.contradiction.get_or_insert_with(|| {
                    format!("reading broke off where its stated size ends: {}", error.chain())
                });
                whole.failed = Some(error);
                Ok(Reading::Doubtful(whole))
            }
            None if whole.wrong_size.is_some() || whole.contradiction.is_some() => {
                Ok(Reading::Doubtful(whole))
            }
            None => Ok(Reading::Whole(whole)),
        }
    }

    /// Asks the source what is there after an offer was read. A connection that broke is no answer: it is asked once more,
    /// over another one.
    async fn look_after(&self, source: &dyn Source, found: &FoundOffer) -> Result<AfterRead> {
        match source.look_again(found).await {
            Err(error) if error.retry() != Retry::Permanent => {
                tracing::info!(flow = %self.flow.name, path = %found.identity.path, error = %error.chain(), "a file could not be looked at after it was read; the source is asked once more");
                source.look_again(found).await
            }
            seen => seen,
        }
    }
}

async fn seal(copied: Vec<CopiedPart>) -> Result<Vec<StagedPart>> {
    let sealed = tokio::task::spawn_blocking(move || {
        copied
            .into_iter()
            .map(|CopiedPart { writer, part }| {
                Ok(StagedPart {
                    staged: writer.seal()?,
                    file_name: part.file_name,
                    media_type: part.media_type,
                    metadata: part.metadata,
                    connection: part.connection,
                })
            })
            .collect::<Result<Vec<_>>>()
    });
    sealed
        .await
        .map_err(|error| Error::transient(ErrorKind::Internal, "seal a staged file").caused_by(error))?
}

/// An error of a part's stream. A transport wraps its own [`Error`] in the I/O error where it can tell
/// more; anything else is a broken stream, worth another try.
fn read_failed(path: &RemotePath, error: std::io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(error) => Error::transient(ErrorKind::Unreachable, "read a file to its end")
            .with("path", path)
            .caused_by(error),
    }
}

impl Whole {
    /// What tells one reading from another: length and hash of each part.
    pub(crate) fn fingerprint(&self) -> Value {
        self.parts.iter().map(|part| json!([part.staged.length, part.staged.sha256.to_string()])).collect()
    }

    /// The connection that its first part was read over.
    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        self.parts.first().and_then(|part| part.connection)
    }

    /// Notes that the file is gone from its place: what was read may be the only copy.
    pub(crate) fn note_gone(&mut self) {
        self.source_data.insert(GONE.to_owned(), json!(true));
        self.hold = match (self.wrong_size, self.partial) {
            (Some(size), _) if size.read < size.stated => Some(format!(
                "the source stated {} bytes, {} were read, and the file is gone there: these bytes may be the only \
                 copy, and not all of it",
                size.stated, size.read
            )),
            (_, true) => Some(
                "reading broke off, the source stated no size, and the file is gone there: these bytes may be the only \
                 copy, and not all of it"
                    .to_owned(),
            ),
            _ => None,
        };
    }

    /// Why it was not taken at the first reading.
    pub(crate) fn doubt(&self, path: &RemotePath) -> Error {
        if let Some(failed) = &self.failed {
            let error = Error::transient(ErrorKind::Unreachable, "check that a file was read whole");
            let error = error.with("path", path).caused_by(failed.chain());
            return error.advice(
                "what was read of it is kept: it is read again if it is still there, and taken as it was read if it is gone",
            );
        }
        let mut error = Error::transient(ErrorKind::IntegrityFailed, "be sure that a file was read whole")
            .with("path", path);
        if let Some(size) = self.wrong_size {
            error = error.with("stated bytes", size.stated).with("read bytes", size.read);
        }
        if let Some(connection) = self.connection() {
            error = error.with("connection", connection);
        }
        if let Some(words) = &self.contradiction {
            error = error.with("since it was opened", words);
        }
        error.advice(
            "what the server tells of the file does not fit what was read to its end; \
             it is taken once a second reading gives the same bytes",
        )
    }
}
