//! Going on with a file whose connection broke, within one attempt.
//!
//! The temporary name carries delivery and attempt, so nobody else writes the file. Bytes that the server confirmed one
//! by one are known to be there. Where it confirms whole files only (FTP), the size that it reports is not enough: it may
//! have reserved space. The end of what is there is then read and compared with what was sent; a server writes a file
//! from its beginning, so what comes before a confirmed end has arrived too. Where neither proves anything the attempt
//! ends, and the next one sends the whole file under a new name.

use super::FolderDestination;
use super::copying::copy;
use super::dropped::remove_temporary;
use super::locks::LOCKED;
use crate::folder::outage::until_back;
use crate::folder::{Upload, Written};
use crate::{Deliver, PayloadReader, Resumption};
use bytes::BytesMut;
use model::{ConnectionId, Error, ErrorKind, RemotePath, Result, Retry};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The fewest bytes that must have arrived; with less, sending the file again is as quick.
pub(super) const LEAST: u64 = 256 * 1024;

/// How often one attempt goes on. Each time more must have arrived than the time before.
const LIMIT: usize = 64;

/// The number of bytes at the end of what has arrived that are compared with what was sent.
const COMPARED: u64 = 64 * 1024;

/// The longest text that is kept of an error, in bytes.
const TEXT_LIMIT: usize = 300;

/// A file that was sent, and the id of the directory.
pub(super) struct Transmitted {
    pub(super) written: Written,
    pub(super) identity: Option<String>,
    pub(super) connection: Option<ConnectionId>,
    pub(super) resumptions: Vec<Resumption>,
}

/// How sending a file broke off.
pub(super) struct Broken {
    pub(super) error: Error,
    /// How many bytes the server has confirmed; `None` if it confirms whole files only.
    pub(super) acknowledged: Option<u64>,
    /// Whether what has arrived was left there.
    pub(super) is_left: bool,
}

impl Broken {
    /// A failure after which nothing is left to go on with.
    const fn for_good(error: Error) -> Self {
        Self { error, acknowledged: None, is_left: false }
    }
}

/// Whether an error says that the connection broke, and nothing else.
pub(in crate::folder) fn is_cut(error: &Error) -> bool {
    error.retry() == Retry::Transient && matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout)
}

impl FolderDestination {
    /// Sends a payload to its temporary file, over as many connections as it takes. `opened` is its reader, where the
    /// caller has opened it. The caller holds a lease for the buffers.
    pub(super) async fn transmit(
        &self,
        delivery: &Deliver,
        opened: Option<PayloadReader>,
        path: &RemotePath,
        temporary: &RemotePath,
    ) -> Result<Transmitted> {
        let checksum = self.checksum_to_send(delivery).await?;
        let length = delivery.payload.length();
        let mut reader = match opened {
            Some(reader) => reader,
            None => delivery.payload.open(0..length).await?,
        };
        let upload = self.begin(temporary, path, Some(length), checksum.as_ref()).await?;
        let mut upload = self.note_lock(delivery, LOCKED, temporary, upload).await?;
        let mut from = 0;
        let mut resumptions = Vec::new();
        loop {
            let connection = upload.connection();
            let broken = match self.send(delivery, (reader, upload), from, temporary).await {
                Ok((written, identity)) => {
                    return Ok(Transmitted { written, identity, connection, resumptions });
                }
                Err(broken) => broken,
            };
            let next = match self.next(delivery, temporary, &broken, &resumptions).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::info!(path = %temporary, error = %error.chain(), "could not go on with a file whose connection broke");
                    return Err(with_count(broken.error, &resumptions));
                }
            };
            let Some((at, resumed)) = next else {
                if broken.is_left {
                    remove_temporary(&*self.folder, temporary).await;
                }
                return Err(with_count(broken.error, &resumptions));
            };
            resumptions.push(self.resumption(temporary, &broken.error, at, resumed.connection()));
            reader = match delivery.payload.open(at..length).await {
                Ok(reader) => reader,
                Err(error) => {
                    resumed.abort().await;
                    return Err(with_count(error, &resumptions));
                }
            };
            (from, upload) = (at, resumed);
        }
    }

    /// The record of a file that goes on over another connection.
    pub(super) fn resumption(
        &self,
        path: &RemotePath,
        error: &Error,
        from: u64,
        connection: Option<ConnectionId>,
    ) -> Resumption {
        let mut after = error.to_string();
        after.truncate(after.floor_char_boundary(TEXT_LIMIT));
        tracing::warn!(
            endpoint = %self.options.endpoint, %path, from, after,
            "the connection broke; the file goes on at the byte that has arrived"
        );
        Resumption { from, connection, after }
    }

    /// Sends the payload from an offset on, and closes the file.
    async fn send(
        &self,
        delivery: &Deliver,
        (reader, mut upload): (PayloadReader, Box<dyn Upload>),
        from: u64,
        temporary: &RemotePath,
    ) -> Result<(Written, Option<String>), Broken> {
        let length = delivery.payload.length();
        let copied = async {
            let copied = copy(reader, &mut *upload).await?;
            if upload.acknowledged().is_some() {
                upload.flush().await?;
            }
            Ok(copied)
        };
        match copied.await {
            Ok(copied) if copied == length - from => {}
            Ok(copied) => {
                upload.abort().await;
                return Err(Broken::for_good(
                    Error::transient(ErrorKind::IntegrityFailed, "read a payload completely")
                        .with("payload", delivery.payload.id())
                        .with("expected bytes", length - from)
                        .with("read bytes", copied),
                ));
            }
            Err(error) if is_cut(&error) => {
                let acknowledged = upload.acknowledged();
                let is_left = upload.suspend().await;
                return Err(Broken { error, acknowledged, is_left });
            }
            Err(error) => {
                upload.abort().await;
                return Err(Broken::for_good(error));
            }
        }
        let acknowledged = upload.acknowledged();
        // Requested together with closing the file, to save one round trip.
        let (written, identity) =
            tokio::join!(upload.finish(), self.folder.identity(&self.options.directory));
        let confirmed = match written {
            Ok(written) => self.confirmed_as_asked(temporary, length, written).await,
            Err(error) if is_cut(&error) => return Err(Broken { error, acknowledged, is_left: true }),
            Err(error) => Err(error),
        };
        match (confirmed, identity) {
            (Ok(written), Ok(identity)) => Ok((written, identity)),
            // Not whole, though the server closed it: what has arrived of it may be gone on with.
            (Err(error), _) => {
                let is_left = error.kind() == ErrorKind::IntegrityFailed;
                Err(Broken { error, acknowledged, is_left })
            }
            (Ok(_), Err(error)) => Err(Broken::for_good(error)),
        }
    }

    /// Where the file goes on, and the upload that does so; `None` if the whole file must be sent again. A server that cannot be
    /// reached is waited for, some seconds.
    ///
    /// # Errors
    /// The server cannot be asked.
    pub(super) async fn next(
        &self,
        delivery: &Deliver,
        temporary: &RemotePath,
        broken: &Broken,
        resumptions: &[Resumption],
    ) -> Result<Option<(u64, Box<dyn Upload>)>> {
        let has_too_little = broken.acknowledged.is_some_and(|bytes| bytes < self.options.resume_from);
        if has_too_little || delivery.payload.length() < self.options.resume_from {
            return self.next_now(delivery, temporary, broken, resumptions).await;
        }
        until_back(|| self.next_now(delivery, temporary, broken, resumptions)).await
    }

    /// The same, as far as the server can be asked now.
    async fn next_now(
        &self,
        delivery: &Deliver,
        temporary: &RemotePath,
        broken: &Broken,
        resumptions: &[Resumption],
    ) -> Result<Option<(u64, Box<dyn Upload>)>> {
        let length = delivery.payload.length();
        // What was sent of a streamed file cannot be read once more, to be compared.
        let is_over = delivery.payload.is_streamed() || resumptions.len() >= LIMIT;
        if !broken.is_left || is_over || delivery.log.may_act().is_err() {
            return Ok(None);
        }
        let size = match self.folder.stat(temporary).await {
            Ok(entry) => entry.size,
            Err(error) if is_cut(&error) => return Err(error),
            Err(_) => None,
        };
        let Some(size) = size.filter(|size| *size <= length) else { return Ok(None) };
        // At least one byte is sent again, so that the server confirms the file as it is then.
        let at = size.min(broken.acknowledged.unwrap_or(size)).min(length.saturating_sub(1));
        let enough = resumptions.last().map_or(self.options.resume_from, |last| last.from + 1);
        if at < enough.max(1) || !self.has_arrived(delivery, temporary, at, broken.acknowledged).await? {
            return Ok(None);
        }
        let resumed = self.folder.resume_write(temporary, at, Some(length)).await?;
        Ok(resumed.map(|upload| (at, upload)))
    }

    /// Whether the bytes before an offset are what was sent, as far as can be found out.
    async fn has_arrived(
        &self,
        delivery: &Deliver,
        temporary: &RemotePath,
        end: u64,
        acknowledged: Option<u64>,
    ) -> Result<bool> {
        let begin = end.saturating_sub(COMPARED);
        let sent = read_block(delivery.payload.open(begin..end).await?, end - begin).await?;
        let there = match self.folder.read(temporary, begin).await {
            Ok(reader) => read_block(reader, end - begin).await,
            Err(error) => Err(error),
        };
        match there {
            Ok(there) if there != sent => Ok(false),
            // Reserved space may look like that too.
            Ok(_) if sent.iter().all(|byte| Some(byte) == sent.first()) => Ok(acknowledged.is_some()),
            Ok(_) => Ok(true),
            Err(error) if is_cut(&error) => Err(error),
            Err(error) => {
                tracing::debug!(path = %temporary, error = %error.chain(), "the end of a file that broke off could not be read");
                Ok(acknowledged.is_some())
            }
        }
    }
}

/// The error of an attempt, with how often it went on.
pub(super) fn with_count(error: Error, resumptions: &[Resumption]) -> Error {
    match resumptions.len() {
        0 => error,
        count => error.with("resumed times", count),
    }
}

/// Reads so many bytes, or fewer at the end of the data, which is read if nothing follows: a transfer that is left
/// before its end costs some servers the connection.
async fn read_block(reader: impl AsyncRead + Unpin, length: u64) -> Result<BytesMut> {
    let room = usize::try_from(length).unwrap_or(usize::MAX);
    let mut block = BytesMut::with_capacity(room + 1);
    let mut reader = reader.take(length + 1);
    let failed = |error: std::io::Error| {
        let local = |error| Error::local_io("compare the end of a file that broke off", error);
        error.downcast::<Error>().unwrap_or_else(local)
    };
    while reader.read_buf(&mut block).await.map_err(failed)? > 0 {}
    block.truncate(room);
    Ok(block)
}
