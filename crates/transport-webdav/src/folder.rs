//! A WebDAV server's directories as a [`Folder`].
//!
//! Reading order: `upload` (PUT), `rename` (MOVE), `remove` (DELETE), `lock`; `list` and `read` for sources.

mod checksum;
mod list;
mod lock;
mod read;
mod remove;
mod rename;
mod sharepoint;
mod upload;

use crate::connection::{Ask, Remote};
use crate::error;
use crate::options::Cloud;
use crate::protocol::answer::Answer;
use crate::protocol::href;
use async_trait::async_trait;
use futures::stream::BoxStream;
use model::{Error, ErrorKind, Probe, RemotePath, Result, Step};
use std::sync::Arc;
use transport::folder::{
    ChecksumKind, Entry, EntryKind, FileReader, Folder, FolderCapabilities, NAME_LIMIT, Published,
    ServerChecksum, Upload,
};

use list::look;

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

    async fn refused(&self, operation: &'static str, path: &RemotePath, answer: Answer) -> Error {
        lock::refused(&self.remote, operation, &[path], answer).await
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

    async fn release_lock(&self, path: &RemotePath, lock: &str) -> Result<()> {
        lock::release(&self.remote, path, lock).await
    }

    async fn publish(&self, temporary: &RemotePath, name: &RemotePath, overwrite: bool) -> Result<Published> {
        self.publish_file(temporary, name, overwrite).await
    }

    async fn rename(&self, from: &RemotePath, to: &RemotePath) -> Result<()> {
        self.rename_file(from, to).await
    }

    async fn remove(&self, path: &RemotePath) -> Result<()> {
        self.delete(path, None).await
    }

    async fn remove_version(&self, path: &RemotePath, version: Option<&str>) -> Result<bool> {
        self.delete_version(path, version).await
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
