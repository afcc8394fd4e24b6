//! A WebDAV server's directories as a [`Folder`].
//!
//! A file is published by MOVE, whose `Overwrite: F` replaces nothing (RFC 4918, 10.6).

mod checksum;
mod list;
mod lock;
mod read;
mod sharepoint;
mod upload;

use crate::connection::{Ask, Remote};
use crate::error;
use crate::options::Cloud;
use crate::protocol::answer::Answer;
use crate::protocol::href;
use async_trait::async_trait;
use futures::stream::BoxStream;
use http::StatusCode;
use model::{Error, ErrorKind, Probe, RemotePath, Result, Retry, Step};
use std::sync::Arc;
use transport::folder::{
    ChecksumKind, Entry, EntryKind, FileReader, Folder, FolderCapabilities, NAME_LIMIT, Published,
    RENAME_REFUSED, ServerChecksum, Upload,
};

use list::{look, look_at_version};

const PUBLISH: &str = "publish a file";

/// How often a file is looked at anew that is replaced by another while it is to be replaced by ours.
const REPLACEMENTS: usize = 3;

/// What a MOVE may replace.
#[derive(Clone, Copy)]
enum Overwrite<'a> {
    Never,
    /// The file with this ETag only.
    This(&'a str),
    Any,
}

/// A folder over pooled connections.
pub(crate) struct WebdavFolder {
    remote: Arc<Remote>,
    directory: RemotePath,
}

impl WebdavFolder {
    /// The endpoint's directory is only for its test.
    pub(crate) const fn new(remote: Arc<Remote>, directory: RemotePath) -> Self {
        Self { remote, directory }
    }

    fn host(&self) -> String {
        self.remote.settings.target()
    }

    /// 202 means that the server will delete the file, perhaps later (RFC 9110, 9.3.5): it counts when it is gone.
    async fn is_removed(&self, operation: &'static str, path: &RemotePath) -> Result<()> {
        match self.stat(path).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(Error::transient(ErrorKind::Busy, operation)
                .with("path", path)
                .said("202 Accepted")
                .advice("the server deletes the file later; it is looked for again")),
        }
    }

    async fn refused(&self, operation: &'static str, path: &RemotePath, answer: Answer) -> Error {
        error::refused(operation, &self.host(), path, answer).await
    }

    /// Moves a file; `None` when it is not known whether it was moved.
    async fn move_file(
        &self,
        operation: &'static str,
        from: &RemotePath,
        to: &RemotePath,
        overwrite: Overwrite<'_>,
    ) -> Result<Option<()>> {
        let target = self.remote.url(to, false);
        let mut ask = Ask::new("MOVE", from)
            .header("destination", &target)
            .header("overwrite", if matches!(overwrite, Overwrite::Never) { "F" } else { "T" });
        if let Overwrite::This(etag) = overwrite {
            ask = ask.header("if", format!("<{target}> ([{etag}])"));
        }
        let answer = match self.remote.ask(operation, ask).await {
            Ok(answer) => answer,
            Err(error) if error.retry() == Retry::Ambiguous => {
                tracing::debug!(%from, %to, error = %error.chain(), "the answer to a MOVE was lost");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        match answer.status.as_u16() {
            200 | 201 | 204 => {
                drop(error::discard(answer).await);
                Ok(Some(()))
            }
            // A gateway does not know what the server behind it did.
            408 | 502 | 504 => {
                drop(error::discard(answer).await);
                Ok(None)
            }
            status => {
                let error = self.refused(operation, from, answer).await.with("to", to);
                let error = if status == 207 {
                    error.advice("the server moved only a part: look at both paths there")
                } else {
                    error
                };
                if status >= 500 && !matches!(status, 501 | 503 | 507) || status == 207 {
                    // The server failed on the way: only a file that is still there was surely not moved.
                    let is_there = look(&self.remote, from).await.is_ok();
                    if !is_there {
                        tracing::debug!(%from, %to, error = %error.chain(), "a MOVE failed, and its file is gone");
                        return Ok(None);
                    }
                    // Apache says no more than this of a missing directory.
                    let parent = to.parent().unwrap_or_default();
                    return Err(match look(&self.remote, &parent).await {
                        Err(missing) if missing.kind() == ErrorKind::NotFound => missing.caused_by(error),
                        _ => error.retry_as(Retry::Transient),
                    });
                }
                Err(error)
            }
        }
    }

    /// Makes one directory; `None` if one above is missing.
    async fn make_one(&self, path: &RemotePath) -> Result<Option<()>> {
        const OPERATION: &str = "make a directory";
        let answer = self
            .remote
            .ask_again(OPERATION, Ask::new("MKCOL", path).directory(), self.remote.slot().await?)
            .await?;
        match answer.status.as_u16() {
            200 | 201 | 204 => {
                drop(error::discard(answer).await);
                Ok(Some(()))
            }
            404 | 409 => {
                drop(error::discard(answer).await);
                Ok(None)
            }
            // 405 is the answer for one that is there; above the server's WebDAV directory others come.
            _ => {
                let error = self.refused(OPERATION, path, answer).await;
                match look(&self.remote, path).await {
                    Ok(entry) if entry.kind == EntryKind::Directory => Ok(Some(())),
                    _ => Err(error),
                }
            }
        }
    }
}

#[async_trait]
impl Folder for WebdavFolder {
    async fn probe(self: Arc<Self>, probe: &mut Probe) -> Option<Arc<dyn Folder>> {
        let remote = self.remote.connect_for_test(probe).await?;
        let clock = &remote.services.clock;
        let began = clock.monotonic();
        let looked = match look(&remote, &self.directory).await {
            Ok(_) => remote.classes(&self.directory).await,
            Err(error) => Err(error),
        };
        let took = clock.monotonic().saturating_sub(began);
        probe.add(Step::Login, took, looked, |classes| {
            let classes = classes.as_deref().unwrap_or("none told");
            format!("the server shows the directory; DAV classes: {classes}")
        })?;
        Some(Arc::new(Self { remote, directory: self.directory.clone() }))
    }

    fn check_path(&self, path: &RemotePath) -> Result<()> {
        let why =
            self.remote.settings.is_sharepoint.then(|| sharepoint::why_refused(path.file_name())).flatten();
        let Some(why) = why else { return Ok(()) };
        Err(Error::permanent(ErrorKind::Rejected, "name a file on SharePoint")
            .with("host", self.host())
            .with("path", path)
            .advice(format!("{why}; give the file another name with the destination's option 'file_name'")))
    }

    async fn capabilities(&self) -> Result<FolderCapabilities> {
        Ok(FolderCapabilities { rename_no_replace: true, set_modified: false })
    }

    async fn list(&self, directory: &RemotePath) -> Result<BoxStream<'static, Result<Entry>>> {
        list::list(Arc::clone(&self.remote), directory).await
    }

    async fn stat(&self, path: &RemotePath) -> Result<Entry> {
        look(&self.remote, path).await
    }

    async fn read(&self, path: &RemotePath, offset: u64) -> Result<FileReader> {
        read::open(&self.remote, path, offset).await
    }

    async fn begin_write(&self, path: &RemotePath, length: Option<u64>) -> Result<Box<dyn Upload>> {
        self.begin(path, length, false, None).await
    }

    fn checksum_with_upload(&self) -> Option<ChecksumKind> {
        self.remote.settings.cloud.map(Cloud::kind)
    }

    async fn begin_write_with(
        &self,
        path: &RemotePath,
        length: Option<u64>,
        checksum: &ServerChecksum,
    ) -> Result<Box<dyn Upload>> {
        self.begin(path, length, false, Some(checksum)).await
    }

    async fn checksum(&self, path: &RemotePath) -> Result<Option<ServerChecksum>> {
        self.listed_checksum(path).await
    }

    async fn begin_new_write(
        &self,
        path: &RemotePath,
        length: Option<u64>,
    ) -> Result<Option<Box<dyn Upload>>> {
        match look(&self.remote, path).await {
            Ok(_) => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                match self.begin(path, length, true, None).await {
                    Ok(upload) => Ok(Some(upload)),
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn publish(&self, temporary: &RemotePath, name: &RemotePath, overwrite: bool) -> Result<Published> {
        let mut moved = self.move_file(PUBLISH, temporary, name, Overwrite::Never).await;
        let mut refused = None;
        for _ in 0..REPLACEMENTS {
            if !overwrite || !moved.as_ref().is_err_and(|error| error.kind() == ErrorKind::AlreadyExists) {
                break;
            }
            // `Overwrite: T` deletes what has the name first, a directory with all that is in it (RFC 4918, 9.9.3). Where
            // the server tells versions, only the file that was seen is replaced.
            let found = look_at_version(&self.remote, name).await;
            if let Ok((Entry { kind: EntryKind::Directory, .. }, _)) = found {
                return Err(Error::permanent(ErrorKind::Rejected, PUBLISH)
                    .with("host", self.host())
                    .with("path", name)
                    .advice("a directory has this name, and Waybill replaces files only"));
            }
            // A version that stands and is refused is a condition that the server does not understand.
            let etag =
                found.ok().and_then(|(_, strong)| strong).filter(|etag| refused.as_ref() != Some(etag));
            let overwrite = etag.as_deref().map_or(Overwrite::Any, Overwrite::This);
            moved = self.move_file(PUBLISH, temporary, name, overwrite).await;
            refused = etag;
        }
        match moved {
            Ok(Some(())) => Ok(Published::Published),
            Ok(None) => Ok(Published::Unknown),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && overwrite => {
                Err(Error::transient(ErrorKind::Rejected, PUBLISH)
                    .with("host", self.host())
                    .with("path", name)
                    .caused_by(error)
                    .advice("the file of this name is changed all the time; the next attempt looks again"))
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Published::Exists),
            Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
                Err(error.advice(RENAME_REFUSED))
            }
            Err(error) => Err(error),
        }
    }

    async fn rename(&self, from: &RemotePath, to: &RemotePath) -> Result<()> {
        const OPERATION: &str = "rename a file";
        match self.move_file(OPERATION, from, to, Overwrite::Never).await? {
            Some(()) => Ok(()),
            None => Err(Error::ambiguous(ErrorKind::Unreachable, OPERATION)
                .with("host", self.host())
                .with("path", from)
                .with("to", to)
                .advice("the answer was lost; the next attempt checks where the file is")),
        }
    }

    async fn remove(&self, path: &RemotePath) -> Result<()> {
        const OPERATION: &str = "delete a file";
        // With this depth a directory that took the file's name is refused instead of deleted (RFC 4918, 9.6.1).
        let mut ask = Ask::new("DELETE", path).header("depth", "0");
        let mut alone = None;
        if let Some(token) = self.remote.lock_of(path) {
            ask = ask.header("if", format!("(<{token}>)"));
            alone = Some(self.remote.locking().await);
        }
        let answer = self.remote.ask(OPERATION, ask).await?;
        match answer.status {
            status @ (StatusCode::OK | StatusCode::NO_CONTENT | StatusCode::ACCEPTED) => {
                drop(error::discard(answer).await);
                // The lock goes with its file.
                self.remote.take_lock(path);
                drop(alone);
                if status == StatusCode::ACCEPTED { self.is_removed(OPERATION, path).await } else { Ok(()) }
            }
            _ => {
                let error = self.refused(OPERATION, path, answer).await;
                if error.kind() == ErrorKind::NotFound {
                    // Apache lists a lock of a file that was never written as if it were one.
                    drop(alone);
                    lock::unlock(&self.remote, path).await;
                }
                Err(error)
            }
        }
    }

    async fn make_directory(&self, path: &RemotePath) -> Result<()> {
        let parts = href::parts(path);
        let prefix =
            |count: usize| RemotePath::from_bytes([b"/".to_vec(), parts[..count].join(&b'/')].concat());
        // From the last one upwards until one can be made, then down again.
        let mut made = parts.len();
        while made > 0 && self.make_one(&prefix(made)).await?.is_none() {
            made -= 1;
        }
        for count in made + 1..=parts.len() {
            if self.make_one(&prefix(count)).await?.is_none() {
                return Err(Error::transient(ErrorKind::NotFound, "make a directory")
                    .with("host", self.host())
                    .with("path", prefix(count))
                    .advice(
                        "the server says that the directory above is missing, which it should have by now",
                    ));
            }
        }
        Ok(())
    }
}

/// Refuses a name that hardly any server takes, before a byte of the file is sent.
fn check_name(path: &RemotePath) -> Result<()> {
    let length = path.file_name().len();
    if length > NAME_LIMIT {
        return Err(Error::permanent(ErrorKind::Rejected, "write a file")
            .with("path", path)
            .with("bytes", length)
            .advice(format!("its name is longer than {NAME_LIMIT} bytes")));
    }
    Ok(())
}
