//! Writing a file: PUT (RFC 4918, 9.7), its bytes sent as they come, under a lock (9.10) where the endpoint asks for one.
//!
//! A PUT is acknowledged as a whole, by the status that follows its last byte.

use super::lock::{Lock, REFRESH, WRITE_TIME, refresh, unlock};
use super::{WebdavFolder, check_name, checksum};
use crate::connection::{Ask, Remote};
use crate::error;
use crate::folder::list::look;
use crate::options::Cloud;
use crate::protocol::answer::Answer;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use model::{ConnectionId, Error, ErrorKind, RemotePath, Result, Retry};
use net::http::{Body, CarriedBy};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use transport::folder::{ChecksumKind, EntryKind, Evidence, NotSet, ServerChecksum, Upload, Written};

const OPERATION: &str = "write a file";

/// How often, and after how long each time, it is looked whether a file that was given up appears all the same.
const LATE_LOOKS: u32 = 2;
const LATE: Duration = Duration::from_millis(150);

/// What goes to the request's body.
enum Piece {
    Data(Bytes),
    /// Without it the body breaks off, so that the server keeps nothing.
    End,
}

/// How far the request is.
enum Stage {
    /// It takes bytes.
    Sending(mpsc::Sender<Piece>),
    /// The server has taken the whole file.
    Taken,
    /// It failed; whether there may be something of ours under the name.
    Failed { may_be_there: bool },
}

struct Put {
    remote: Arc<Remote>,
    path: RemotePath,
    sent: u64,
    stage: Stage,
    request: JoinHandle<Result<Answer>>,
    connection: Option<ConnectionId>,
    /// The lock that it is written under.
    lock: Option<HeldLock>,
    /// What the server was given to compare the file with.
    checksum: Option<ServerChecksum>,
    /// The checksum that the server computed, if it is that of what was sent.
    verified_by: Option<ChecksumKind>,
}

/// A lock, and when it was taken, or kept for longer, by the monotonic clock.
struct HeldLock {
    token: String,
    since: Duration,
}

impl HeldLock {
    fn of(lock: &Lock, since: Duration) -> Self {
        Self { token: lock.token.clone(), since }
    }
}

impl WebdavFolder {
    /// Begins a PUT; with `is_new` it must not replace anything. The server is given the checksum of the file, if there is
    /// one, to compare it with what it receives.
    pub(super) async fn begin(
        &self,
        path: &RemotePath,
        length: Option<u64>,
        is_new: bool,
        checksum: Option<&ServerChecksum>,
    ) -> Result<Box<dyn Upload>> {
        check_name(path)?;
        if length == Some(0) && self.remote.settings.is_sharepoint {
            return Err(self.empty(path));
        }
        self.check_parent(path).await?;
        let mut ask = Ask::new("PUT", path).header("content-type", "application/octet-stream");
        let mut lock = None;
        if self.remote.settings.locks {
            let taken = self.lock(path, is_new, WRITE_TIME).await?;
            ask = ask.header("if", format!("(<{}>)", taken.token));
            lock = Some(taken);
        } else if is_new {
            ask = ask.header("if-none-match", "*");
        }
        if let Some(checksum) = checksum {
            ask = ask.header("oc-checksum", checksum::header(checksum));
            if self.remote.settings.cloud == Some(Cloud::Nextcloud) {
                ask = ask.header("x-hash", "sha256");
            }
        }
        let held = lock.as_ref().map(|lock| HeldLock::of(lock, self.remote.services.clock.monotonic()));
        let put = self.start(ask, path, length, held, checksum).await;
        if let (Err(_), Some(lock)) = (&put, &lock) {
            // Nothing was written: the empty file that a server makes for a lock must not stay for a delivery.
            self.give_up(path, lock).await;
        }
        Ok(Box::new(put?))
    }

    async fn start(
        &self,
        ask: Ask,
        path: &RemotePath,
        length: Option<u64>,
        lock: Option<HeldLock>,
        checksum: Option<&ServerChecksum>,
    ) -> Result<Put> {
        let slot = self.remote.slot().await?;
        let (sender, receiver) = mpsc::channel(1);
        let (began, has_begun) = oneshot::channel();
        let ask = if length == Some(0) { ask } else { ask.stream(body(receiver, began, length)) };
        let carried_by = CarriedBy::default();
        let mut request = tokio::spawn({
            let (remote, carried_by) = (Arc::clone(&self.remote), carried_by.clone());
            async move { remote.ask_with(OPERATION, ask, slot, carried_by).await }
        });
        let put = |stage, request, connection| Put {
            remote: Arc::clone(&self.remote),
            path: path.clone(),
            sent: 0,
            stage,
            request,
            connection,
            lock,
            checksum: checksum.cloned(),
            verified_by: None,
        };
        // Until a connection carries it, or it failed. One without a body has its answer at once.
        let early = tokio::select! {
            biased;
            early = &mut request => Some(early),
            Ok(()) = has_begun => None,
        };
        let Some(early) = early else {
            return Ok(put(Stage::Sending(sender), request, carried_by.connection()));
        };
        let answer = joined(early)?;
        let connection = answer.connection;
        let mut put = put(Stage::Taken, request, connection);
        put.judge(answer).await?;
        if length == Some(0) {
            put.stage = Stage::Taken;
            return Ok(put);
        }
        Err(Error::transient(ErrorKind::Protocol, OPERATION)
            .with("host", self.host())
            .with("path", path)
            .on_connection(connection)
            .advice("the server acknowledged the file before it was sent"))
    }

    fn empty(&self, path: &RemotePath) -> Error {
        empty(&self.host(), path)
    }

    /// Checks that the directory of a file is there, which a PUT would tell only after the last byte. What the server
    /// does not show may be there.
    async fn check_parent(&self, path: &RemotePath) -> Result<()> {
        let parent = path.parent().unwrap_or_default();
        if self.remote.is_known(&parent) && !self.remote.must_ask_first() {
            return Ok(());
        }
        match look(&self.remote, &parent).await {
            Ok(entry) if entry.kind == EntryKind::Directory => self.remote.know(&parent),
            Ok(_) => {
                return Err(Error::permanent(ErrorKind::Rejected, OPERATION)
                    .with("host", self.host())
                    .with("path", path)
                    .advice("what should be its directory is a file"));
            }
            Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn empty(host: &str, path: &RemotePath) -> Error {
    Error::permanent(ErrorKind::Rejected, OPERATION).with("host", host).with("path", path).advice(
        "the file is empty, and SharePoint does not keep empty files: leave them out at the source, or set server = \
         \"standard\" if this server does keep them",
    )
}

/// The body of a PUT. Asked for its first piece, it tells that a connection carries the request.
fn body(receiver: mpsc::Receiver<Piece>, began: oneshot::Sender<()>, length: Option<u64>) -> Body {
    let pieces = stream::try_unfold((receiver, Some(began)), |(mut receiver, began)| async move {
        if let Some(began) = began {
            // The receiver may have been dropped: then the pieces end too.
            let _ = began.send(());
        }
        match receiver.recv().await {
            Some(Piece::Data(bytes)) => Ok(Some((bytes, (receiver, None)))),
            Some(Piece::End) => Ok(None),
            None => Err(Error::transient(ErrorKind::Unreachable, OPERATION).advice("it was given up")),
        }
    });
    Body::stream(pieces, length)
}

fn joined(ended: std::result::Result<Result<Answer>, tokio::task::JoinError>) -> Result<Answer> {
    ended.map_err(|cause| Error::transient(ErrorKind::Internal, OPERATION).caused_by(cause))?
}

impl Put {
    /// Reads the answer to the request.
    async fn judge(&mut self, answer: Answer) -> Result<()> {
        match answer.status.as_u16() {
            200 | 201 | 204 => {
                self.connection = self.connection.or(answer.connection);
                let computed = checksum::computed(&answer);
                drop(error::discard(answer).await);
                if let (Some(sent), Some(computed)) = (&self.checksum, computed)
                    && sent.kind == computed.kind
                {
                    if *sent != computed {
                        self.stage = Stage::Failed { may_be_there: true };
                        return Err(checksum::differs(&self.remote.settings.target(), &self.path));
                    }
                    self.verified_by = Some(computed.kind);
                }
                Ok(())
            }
            // ownCloud has no better word for it.
            400 if self.checksum.is_some() => {
                self.stage = Stage::Failed { may_be_there: true };
                let host = self.remote.settings.target();
                let refused = error::refused(OPERATION, &host, &self.path, answer).await;
                Err(checksum::differs(&host, &self.path).caused_by(refused))
            }
            status => {
                // With 412 nothing was written. The name is taken, or the lock is gone: what is there may be somebody else's.
                self.stage = Stage::Failed { may_be_there: status != 412 };
                if matches!(status, 404 | 409) {
                    self.remote.forget();
                }
                let error = super::lock::refused(&self.remote, OPERATION, &[&self.path], answer).await;
                if status == 412 && self.lock.is_some() {
                    return Err(Error::transient(ErrorKind::Rejected, OPERATION)
                        .with("path", &self.path)
                        .advice("the server no longer knows the lock it gave for this file; the next attempt locks anew")
                        .caused_by(error));
                }
                Err(error)
            }
        }
    }

    /// Waits for the answer.
    async fn answered(&mut self) -> Result<()> {
        self.stage = Stage::Failed { may_be_there: true };
        let answer = joined((&mut self.request).await)?;
        self.judge(answer).await
    }

    /// Keeps the lock of a file that takes long.
    async fn keep_lock(&mut self) {
        let Some(lock) = &mut self.lock else { return };
        let now = self.remote.services.clock.monotonic();
        if now.saturating_sub(lock.since) >= REFRESH {
            lock.since = now;
            refresh(&self.remote, &self.path, &lock.token).await;
        }
    }

    async fn remove(&self) {
        let folder = WebdavFolder::new(Arc::clone(&self.remote), RemotePath::default());
        match transport::folder::Folder::remove(&folder, &self.path).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %self.path, error = %error.chain(), "temporary file not removed");
            }
        }
    }

    /// Sends the end, and waits until the server has taken the whole file.
    async fn end(&mut self) -> Result<()> {
        let sender = match &self.stage {
            Stage::Taken => return Ok(()),
            Stage::Failed { .. } => {
                return Err(Error::transient(ErrorKind::Internal, OPERATION)
                    .with("path", &self.path)
                    .advice("it failed before"));
            }
            Stage::Sending(sender) => sender.clone(),
        };
        if self.sent == 0 && self.remote.settings.is_sharepoint {
            // A server makes an empty file for a lock.
            self.stage = Stage::Failed { may_be_there: self.lock.is_some() };
            self.request.abort();
            return Err(empty(&self.remote.settings.target(), &self.path));
        }
        // A body of known length may not be asked for its end.
        let _ = sender.send(Piece::End).await;
        self.answered().await?;
        self.stage = Stage::Taken;
        Ok(())
    }
}

#[async_trait]
impl Upload for Put {
    fn connection(&self) -> Option<ConnectionId> {
        self.connection
    }

    fn lock(&self) -> Option<String> {
        self.lock.as_ref().map(|lock| lock.token.clone())
    }

    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.keep_lock().await;
        let Stage::Sending(sender) = &self.stage else {
            return Err(Error::permanent(ErrorKind::Internal, OPERATION)
                .with("path", &self.path)
                .advice("the file has ended already"));
        };
        let length = bytes.len() as u64;
        if sender.send(Piece::Data(bytes)).await.is_ok() {
            self.sent += length;
            return Ok(());
        }
        // The server answered before the end.
        self.answered().await?;
        Err(Error::transient(ErrorKind::Protocol, OPERATION)
            .with("host", self.remote.settings.target())
            .with("path", &self.path)
            .on_connection(self.connection)
            .advice("the server acknowledged the file before its last byte"))
    }

    /// A PUT is acknowledged as a whole: this ends the file.
    async fn flush(&mut self) -> Result<()> {
        self.end().await
    }

    async fn finish(mut self: Box<Self>) -> Result<Written> {
        let ended = self.end().await;
        if self.lock.is_some() {
            unlock(&self.remote, &self.path).await;
        }
        ended?;
        let evidence = self.verified_by.map_or(Evidence::Size, Evidence::ServerChecksum);
        match look(&self.remote, &self.path).await {
            Ok(entry) => Ok(match entry.size {
                Some(size) => Written { evidence, ..Written::there(size) },
                None => Written {
                    size: None,
                    evidence: Evidence::Acknowledged,
                    gone: false,
                    not_set: NotSet::default(),
                },
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Written {
                size: None,
                evidence: Evidence::Acknowledged,
                gone: true,
                not_set: NotSet::default(),
            }),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::PermissionDenied | ErrorKind::Unsupported | ErrorKind::Rejected
                ) && error.retry() == Retry::Permanent =>
            {
                Ok(Written {
                    size: None,
                    evidence: Evidence::Acknowledged,
                    gone: false,
                    not_set: NotSet::default(),
                })
            }
            Err(error) => Err(error),
        }
    }

    async fn abort(mut self: Box<Self>) {
        let may_be_there = !matches!(self.stage, Stage::Failed { may_be_there: false });
        if matches!(self.stage, Stage::Sending(_)) {
            // Without its end the server keeps nothing; the connection is given back before the next is needed.
            self.stage = Stage::Failed { may_be_there: true };
            self.request.abort();
            let _ = (&mut self.request).await;
        }
        if may_be_there {
            self.remove().await;
            // Some servers begin to write when the connection ends, and keep what had arrived by then.
            for _ in 0..LATE_LOOKS {
                tokio::time::sleep(LATE).await;
                if look(&self.remote, &self.path).await.is_ok() {
                    self.remove().await;
                }
            }
        }
        if self.lock.is_some() {
            unlock(&self.remote, &self.path).await;
        }
    }
}

impl Drop for Put {
    fn drop(&mut self) {
        // Nothing of an attempt that was dropped may go on.
        self.request.abort();
    }
}
