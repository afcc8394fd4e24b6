//! A folder of which a test says what it lists.

use async_trait::async_trait;
use futures::stream::BoxStream;
use model::{Error, ErrorKind, Probe, RemotePath, Result};
use std::sync::Arc;
use transport::folder::{Entry, FileReader, Folder, FolderCapabilities, Published, Upload};

/// A folder whose directories list what a function says.
pub(crate) struct Strange<F>(pub(crate) F);

fn nothing<T>() -> Result<T> {
    Err(Error::permanent(ErrorKind::NotFound, "find anything in a strange folder"))
}

#[async_trait]
impl<F> Folder for Strange<F>
where
    F: Fn(&RemotePath) -> BoxStream<'static, Result<Entry>> + Send + Sync + 'static,
{
    async fn probe(self: Arc<Self>, _: &mut Probe) -> Option<Arc<dyn Folder>> {
        Some(self)
    }
    async fn capabilities(&self) -> Result<FolderCapabilities> {
        nothing()
    }
    async fn list(&self, directory: &RemotePath) -> Result<BoxStream<'static, Result<Entry>>> {
        Ok(self.0(directory))
    }
    async fn stat(&self, _: &RemotePath) -> Result<Entry> {
        nothing()
    }
    async fn read(&self, _: &RemotePath, _: u64) -> Result<FileReader> {
        nothing()
    }
    async fn begin_write(&self, _: &RemotePath, _: Option<u64>) -> Result<Box<dyn Upload>> {
        nothing()
    }
    async fn publish(&self, _: &RemotePath, _: &RemotePath, _: bool) -> Result<Published> {
        nothing()
    }
    async fn rename(&self, _: &RemotePath, _: &RemotePath) -> Result<()> {
        nothing()
    }
    async fn remove(&self, _: &RemotePath) -> Result<()> {
        nothing()
    }
    async fn make_directory(&self, _: &RemotePath) -> Result<()> {
        nothing()
    }
}
