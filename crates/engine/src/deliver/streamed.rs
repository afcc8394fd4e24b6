//! A file that is read at its source while it is sent.
//!
//! Nothing of it is staged, so each attempt opens its source anew. That what was read is the file that was found is known
//! only after the last byte: the destination asks ([`Payload::confirm`]) before it publishes anything. What failed at the
//! source is kept apart, as it says nothing about the destination.

use crate::at_source::{look_after, read_failed};
use crate::context::Context;
use crate::crash;
use crate::health::Reachability;
use crate::pace::Pace;
use async_trait::async_trait;
use futures::TryStreamExt;
use model::{ConnectionId, Error, ErrorKind, EventKind, PayloadRecord, RemotePath, Result, Retry, Sha256};
use serde_json::{Map, Value};
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Task, Poll, ready};
use store::{Claimed, StreamedContent};
use tokio::io::{AsyncRead, ReadBuf};
use transport::folder::READER_BUFFERS;
use transport::{AfterRead, FoundOffer, OfferNotes, PartStream, Payload, PayloadReader, Sent, Source};

/// The advice where the file that was found no longer exists.
const TAKEN_AS_NEW: &str =
    "the file as it is now is taken as a new one; what it was before was not delivered";

/// A file at its source, as destinations read it: whole, and once in an attempt.
pub(crate) struct StreamedBytes {
    record: PayloadRecord,
    metadata: Map<String, Value>,
    source: Arc<dyn Source>,
    offer: FoundOffer,
    /// How quickly it may be read from the source, and sent to the destination.
    paces: [Pace; 2],
    progress: Arc<Mutex<Progress>>,
}

/// How far an attempt has come.
#[derive(Default)]
struct Progress {
    /// Whether its reader was asked for.
    is_opened: bool,
    /// What opening, and looking afterwards, added to the offer's `source_data`.
    source_data: Map<String, Value>,
    /// The connection over which it is read.
    connection: Option<ConnectionId>,
    /// The hash, since the last byte was read.
    sha256: Option<Sha256>,
    /// What failed at the source.
    failed: Option<Error>,
    /// Whether that is the number of bytes that were read.
    is_wrong_size: bool,
}

fn locked(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    // Plain values are consistent after any panic.
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the error of the source, and returns one for the destination, which ends its attempt with it.
fn fail(progress: &Mutex<Progress>, error: Error) -> Error {
    let told =
        Error::transient(ErrorKind::IntegrityFailed, "read a file at its source").caused_by(error.chain());
    locked(progress).failed.get_or_insert(error);
    told
}

impl StreamedBytes {
    /// The file of a claimed delivery. Asks no server.
    ///
    /// # Errors
    /// The database failed; the offer, its flow or its endpoint cannot be used.
    pub(crate) async fn of(context: &Context, claimed: &Claimed) -> Result<Self> {
        let transfer = &claimed.transfer;
        let unknown = || {
            Error::permanent(ErrorKind::Internal, "find the source of a streamed file")
                .with("transfer", transfer.id)
        };
        let id = transfer.offer.ok_or_else(unknown)?;
        let offer = context.store.offer(id).await?.ok_or_else(unknown)?;
        let at = context.flow_at(&transfer.flow, transfer.revision).await?;
        let (endpoint, transport) = context.endpoint(&offer.identity.endpoint)?;
        at.speaks(&endpoint.name, transport.spec().name)?;
        let paces = [&endpoint.name, &claimed.delivery.endpoint].map(|endpoint| context.paces.of(endpoint));
        let source = transport.source(endpoint, at.flow, context.services.clone())?;
        Ok(Self {
            record: claimed.payload.clone(),
            metadata: transfer.metadata.clone(),
            source,
            offer: FoundOffer { identity: offer.identity, source_data: offer.source_data },
            paces,
            progress: Arc::default(),
        })
    }

    async fn open_source(&self) -> Result<StreamReader> {
        let opened = match self.source.open(&self.offer).await {
            Ok(opened) => opened,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(self.missing(error).await),
            Err(error) => return Err(error),
        };
        let mut parts = opened.parts;
        let part = parts
            .try_next()
            .await?
            .ok_or_else(|| self.error(ErrorKind::Rejected, "find a file in an offer"))?;
        let mut progress = locked(&self.progress);
        (progress.source_data, progress.connection) = (opened.source_data, part.connection);
        drop(progress);
        let [from, to] = &self.paces;
        Ok(StreamReader {
            reader: Some(Box::new(to.reader(from.reader(part.reader)))),
            _parts: parts,
            hasher: openssl::sha::Sha256::new(),
            read: 0,
            length: self.record.length,
            path: self.offer.identity.path.clone(),
            progress: Arc::clone(&self.progress),
        })
    }

    /// Why the file that was found could not be opened: another one in its place is there to stay.
    async fn missing(&self, error: Error) -> Error {
        match self.source.look_again(&self.offer).await {
            Ok(AfterRead::Changed(why)) => self
                .error(ErrorKind::NotFound, "stream a file: it was changed before it was sent")
                .with("since it was found", why)
                .advice(TAKEN_AS_NEW)
                .retry_as(Retry::Permanent),
            // It may come back, as when its file system was not mounted.
            Ok(AfterRead::Gone) => self
                .error(ErrorKind::NotFound, "stream a file: it is no longer at its source")
                .advice("find out what removed it; put it back, and it is sent at the next attempt")
                .caused_by(error),
            Ok(AfterRead::Unchanged | AfterRead::Doubtful(_)) => error,
            Err(silent) => silent,
        }
    }

    /// Makes sure that the file is still the one that was found.
    async fn checked(&self) -> Result<()> {
        let mut offer = self.offer.clone();
        offer.source_data.extend(locked(&self.progress).source_data.clone());
        match look_after(self.source.as_ref(), &offer).await? {
            AfterRead::Unchanged => Ok(()),
            // What was read is the only copy, and all of it by its size.
            AfterRead::Gone => {
                let mut progress = locked(&self.progress);
                OfferNotes::change(&mut progress.source_data, |notes| notes.gone = true);
                Ok(())
            }
            AfterRead::Changed(why) => Err(self
                .error(ErrorKind::IntegrityFailed, "stream a file: it was changed while it was read")
                .with("since it was found", why)
                .advice(TAKEN_AS_NEW)
                .retry_as(Retry::Permanent)),
            AfterRead::Doubtful(why) => Err(self
                .error(ErrorKind::IntegrityFailed, "make sure that a file was not changed while it was read")
                .with("since it was opened", why)
                .advice(
                    "what the server reports about the file contradicts itself; without 'stream' on the flow's source it \
                     is taken once two readings give the same bytes",
                )),
        }
    }

    /// Why another number of bytes was read than was listed: a file that was changed stays so.
    async fn why_wrong_size(&self, error: Error) -> Error {
        match self.checked().await {
            Err(changed) if changed.retry() == Retry::Permanent => changed.caused_by(error),
            _ => error,
        }
    }

    fn error(&self, kind: ErrorKind, operation: &'static str) -> Error {
        let identity = &self.offer.identity;
        let error = Error::transient(kind, operation);
        error.with("endpoint", &identity.endpoint).with("path", &identity.path)
    }

    /// What the end of an attempt says about the source; and, of a file that was delivered, what is known of it now.
    /// `is_source_failure` is set where the source failed, not the destination.
    pub(crate) async fn ended(
        &self,
        context: &Context,
        sent: Result<Sent>,
        is_source_failure: impl FnOnce(),
    ) -> (Result<Sent>, Option<StreamedContent>) {
        let endpoint = &self.offer.identity.endpoint;
        let (failed, is_opened, is_wrong_size) = {
            let mut progress = locked(&self.progress);
            (progress.failed.take(), progress.is_opened, progress.is_wrong_size)
        };
        match (sent, failed) {
            (Err(_), Some(error)) => {
                is_source_failure();
                let error = if is_wrong_size { self.why_wrong_size(error).await } else { error };
                context.observe(endpoint, Reachability::of(&error), Some(&error)).await;
                (Err(waiting(error).with("streamed from", endpoint)), None)
            }
            (Ok(sent), _) => {
                if is_opened {
                    context.observe(endpoint, Reachability::Answered, None).await;
                }
                let content = self.content(context, &sent);
                (Ok(sent), Some(content))
            }
            (Err(error), None) => (Err(error), None),
        }
    }

    /// What is known of a delivered file. Where an earlier attempt has published it, the receipt alone knows its hash.
    fn content(&self, context: &Context, sent: &Sent) -> StreamedContent {
        let progress = locked(&self.progress);
        let of_receipt = || match sent {
            Sent::Delivered { receipt, .. } => receipt.detail.get("sha256")?.as_str()?.parse().ok(),
            Sent::Awaiting { .. } => None,
        };
        let sha256 = of_receipt().or(progress.sha256);
        let mut source_data = self.offer.source_data.clone();
        source_data.extend(progress.source_data.clone());
        OfferNotes::change(&mut source_data, |notes| notes.sha256 = sha256.or(notes.sha256));
        let mut event = context
            .event(EventKind::TransferStreamed)
            .endpoint(&self.offer.identity.endpoint)
            .peer_detail("file_name", self.record.file_name.to_text())
            .detail("bytes", self.record.length);
        event.connection = progress.connection;
        StreamedContent { sha256, source_data, event }
    }
}

/// A source's failure, as a delivery takes it: what a person mends at the endpoint does not end the delivery.
fn waiting(error: Error) -> Error {
    let is_access = matches!(
        error.kind(),
        ErrorKind::Unauthenticated | ErrorKind::TrustFailed | ErrorKind::PermissionDenied
    );
    if is_access || error.retry() == Retry::Ambiguous { error.retry_as(Retry::Transient) } else { error }
}

#[async_trait]
impl Payload for StreamedBytes {
    fn record(&self) -> &PayloadRecord {
        &self.record
    }

    fn sha256(&self) -> Option<Sha256> {
        locked(&self.progress).sha256
    }

    fn is_streamed(&self) -> bool {
        true
    }

    async fn confirm(&self) -> Result<Sha256> {
        let Some(sha256) = self.sha256() else {
            return Err(Error::permanent(
                ErrorKind::Internal,
                "confirm a file before it was read to its end",
            ));
        };
        match self.checked().await {
            Ok(()) => {
                crash::point("stream.confirmed");
                Ok(sha256)
            }
            Err(error) => Err(fail(&self.progress, error)),
        }
    }

    fn metadata(&self) -> &Map<String, Value> {
        &self.metadata
    }

    fn reader_buffers(&self) -> usize {
        READER_BUFFERS
    }

    async fn open(&self, range: Range<u64>) -> Result<PayloadReader> {
        let is_opened = std::mem::replace(&mut locked(&self.progress).is_opened, true);
        if is_opened || range.start > 0 || range.end < self.record.length {
            return Err(Error::permanent(
                ErrorKind::Internal,
                "read a streamed file other than whole and once",
            ));
        }
        match self.open_source().await {
            Ok(reader) => Ok(Box::new(reader)),
            Err(error) => Err(fail(&self.progress, error)),
        }
    }

    fn open_blocking(&self, _: Range<u64>) -> Result<Box<dyn io::Read + Send>> {
        Err(Error::permanent(ErrorKind::Internal, "read a streamed file on a blocking thread"))
    }
}

/// Reads a file at its source, to the end of its data. Ends with an error where that is another number of bytes than the
/// source reported, so that no destination takes a part for the whole.
struct StreamReader {
    /// `None` once it has ended: its connection is free.
    reader: Option<PayloadReader>,
    _parts: PartStream,
    hasher: openssl::sha::Sha256,
    read: u64,
    length: u64,
    path: RemotePath,
    progress: Arc<Mutex<Progress>>,
}

impl StreamReader {
    fn fail(&mut self, error: Error) -> io::Error {
        self.reader = None;
        io::Error::other(fail(&self.progress, error))
    }

    fn wrong_size(&self) -> Error {
        locked(&self.progress).is_wrong_size = true;
        Error::transient(ErrorKind::IntegrityFailed, "stream a file: its size is not what its source reported")
            .with("path", &self.path)
            .with("reported bytes", self.length)
            .with("read bytes", self.read)
            .advice(
                "the file is still being written, or the server reports wrong sizes: then remove 'stream' from the flow's \
                 source",
            )
    }

    /// The end of the data.
    fn end(&mut self) -> io::Result<()> {
        self.reader = None;
        if self.read != self.length {
            let error = self.wrong_size();
            return Err(self.fail(error));
        }
        crash::point("stream.read");
        let hasher = std::mem::take(&mut self.hasher);
        locked(&self.progress).sha256 = Some(Sha256(hasher.finish()));
        Ok(())
    }
}

impl AsyncRead for StreamReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(reader) = self.reader.as_mut() else { return Poll::Ready(Ok(())) };
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        if let Err(error) = ready!(Pin::new(reader).poll_read(task, buffer)) {
            let error = read_failed(&self.path, error);
            return Poll::Ready(Err(self.fail(error)));
        }
        let Some(new) = buffer.filled().get(before..).filter(|new| !new.is_empty()) else {
            return Poll::Ready(self.end());
        };
        crash::point("stream.reading");
        self.hasher.update(new);
        self.read += new.len() as u64;
        if self.read > self.length {
            let error = self.wrong_size();
            return Poll::Ready(Err(self.fail(error)));
        }
        Poll::Ready(Ok(()))
    }
}
