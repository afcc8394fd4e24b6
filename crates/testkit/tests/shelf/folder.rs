//! A shelf's directories as a [`Folder`], each operation on a connection of its own.

use crate::connection::{Connection, Remote};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use model::{ConnectionId, Probe, Purpose, RemotePath, Result, Timestamp};
use net::{Pool, PoolLease};
use std::sync::Arc;
use transport::folder::{Entry, FileReader, Folder, FolderCapabilities, Published, Upload, Written};

/// The use of a connection for an operation.
type Lease = PoolLease<Connection>;

pub(crate) struct ShelfFolder {
    pool: Pool<Remote>,
}

impl ShelfFolder {
    pub(crate) const fn new(pool: Pool<Remote>) -> Self {
        Self { pool }
    }

    async fn take(&self) -> Result<Lease> {
        self.pool.take().await
    }
}

#[async_trait]
impl Folder for ShelfFolder {
    async fn probe(self: Arc<Self>, probe: &mut Probe) -> Option<Arc<dyn Folder>> {
        let remote = self.pool.connector();
        let connection = remote.connect_for_test(probe)?;
        let limits = remote.settings.limits;
        let pool = Pool::new(Arc::clone(remote), self.pool.endpoint(), Purpose::Test, limits);
        drop(pool.admit(connection));
        Some(Arc::new(Self { pool }))
    }

    async fn capabilities(&self) -> Result<FolderCapabilities> {
        self.take().await?.server.files.capabilities().await
    }

    async fn list(&self, directory: &RemotePath) -> Result<BoxStream<'static, Result<Entry>>> {
        let lease = self.take().await?;
        let entries = lease.server.files.list(directory).await?;
        // The connection is in use until the listing ends.
        Ok(entries.map(move |entry| (entry, &lease).0).boxed())
    }

    async fn stat(&self, path: &RemotePath) -> Result<Entry> {
        self.take().await?.server.files.stat(path).await
    }

    async fn read(&self, path: &RemotePath, offset: u64) -> Result<FileReader> {
        self.take().await?.server.files.read(path, offset).await
    }

    async fn begin_write(&self, path: &RemotePath, length: Option<u64>) -> Result<Box<dyn Upload>> {
        let lease = self.take().await?;
        let inner = lease.server.files.begin_write(path, length).await?;
        Ok(Box::new(ShelfUpload { inner, _lease: lease }))
    }

    async fn publish(&self, temporary: &RemotePath, name: &RemotePath, overwrite: bool) -> Result<Published> {
        self.take().await?.server.files.publish(temporary, name, overwrite).await
    }

    async fn rename(&self, from: &RemotePath, to: &RemotePath) -> Result<()> {
        self.take().await?.server.files.rename(from, to).await
    }

    async fn set_modified(&self, path: &RemotePath, modified: Timestamp) -> Result<()> {
        self.take().await?.server.files.set_modified(path, modified).await
    }

    async fn remove(&self, path: &RemotePath) -> Result<()> {
        self.take().await?.server.files.remove(path).await
    }

    async fn make_directory(&self, path: &RemotePath) -> Result<()> {
        self.take().await?.server.files.make_directory(path).await
    }
}

/// A file being written: its connection is in use until it is finished or dropped.
struct ShelfUpload {
    inner: Box<dyn Upload>,
    _lease: Lease,
}

#[async_trait]
impl Upload for ShelfUpload {
    fn connection(&self) -> Option<ConnectionId> {
        self.inner.connection()
    }

    async fn write(&mut self, bytes: bytes::Bytes) -> Result<()> {
        self.inner.write(bytes).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.inner.flush().await
    }

    async fn finish(self: Box<Self>) -> Result<Written> {
        self.inner.finish().await
    }

    async fn abort(self: Box<Self>) {
        self.inner.abort().await;
    }

    async fn suspend(self: Box<Self>) -> bool {
        self.inner.suspend().await
    }
}
