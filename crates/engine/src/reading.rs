//! Reading an offer into staging, and what the source tells of it afterwards.

use crate::crash;
use crate::guard::guarded;
use crate::poller::Poller;
use crate::recording::StagedPart;
use futures::TryStreamExt;
use model::{ConnectionId, Error, ErrorKind, RemotePath, Result};
use serde_json::{Map, Value, json};
use transport::folder::{GONE, READ_BYTES};
use transport::{AfterRead, FoundOffer, PartWriter, Source, copy_to_staging};

/// A copied part that is not yet durable.
struct CopiedPart {
    writer: Box<dyn PartWriter>,
    part: transport::Part,
}

/// An offer that was read to its end, durable in staging.
pub(crate) struct Whole {
    pub(crate) parts: Vec<StagedPart>,
    /// What opening it and looking at it added to its `source_data`.
    pub(crate) source_data: Map<String, Value>,
    /// The size that the place states, where it is not the number of bytes read.
    pub(crate) wrong_size: Option<WrongSize>,
    /// What else contradicts that it is whole, in words.
    pub(crate) contradiction: Option<String>,
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
    /// It was read to its end, but what the place tells of it contradicts that it is whole, though nothing about it
    /// changed: taken once a second reading gave the same bytes.
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
        while let Some(mut part) = parts.try_next().await? {
            let writer = self.shared.services.staging.begin()?;
            let reader = std::mem::replace(&mut part.reader, Box::new(tokio::io::empty()));
            let path = found.identity.path.clone();
            let copy = copy_to_staging(reader, writer, &self.shared.services.budget, move |error| {
                read_failed(&path, error)
            });
            copied.push(CopiedPart { writer: copy.await?.writer, part });
        }
        drop(parts);
        crash::point("stage.copied");
        let wrong_size = match (copied.as_slice(), opened.size.or(found.identity.size)) {
            ([only], Some(stated)) => {
                Some(WrongSize { stated, read: only.writer.length() }).filter(|size| size.stated != size.read)
            }
            _ => None,
        };
        let seen = source.look_again(&found).await?;
        if let AfterRead::Changed(why) = seen {
            return Ok(Reading::Changed(why));
        }
        if copied.is_empty() {
            return Err(Error::permanent(ErrorKind::Rejected, "take an offer that holds no file")
                .with("path", &found.identity.path));
        }
        let is_gone = seen == AfterRead::Gone;
        if is_gone {
            source_data.insert(GONE.to_owned(), json!(true));
        }
        if let Some(size) = wrong_size {
            source_data.insert(READ_BYTES.to_owned(), json!(size.read));
        }
        let hold = wrong_size.filter(|size| is_gone && size.read < size.stated).map(|size| {
            format!(
                "the source stated {} bytes, {} were read to the end, and the file is gone there: these bytes may be \
                 the only copy, and not all of it",
                size.stated, size.read
            )
        });
        let contradiction = match seen {
            AfterRead::Doubtful(words) => Some(words),
            AfterRead::Unchanged | AfterRead::Gone | AfterRead::Changed(_) => None,
        };
        let is_doubtful = !is_gone && (wrong_size.is_some() || contradiction.is_some());
        let whole = Whole { parts: seal(copied).await?, source_data, wrong_size, contradiction, hold };
        crash::point("stage.sealed");
        Ok(if is_doubtful { Reading::Doubtful(whole) } else { Reading::Whole(whole) })
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

    /// Why it was not taken at the first reading.
    pub(crate) fn doubt(&self, path: &RemotePath) -> Error {
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
