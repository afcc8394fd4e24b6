//! Uploads of a scripted folder.

use super::{Act, ScriptedFolder, Step};
use async_trait::async_trait;
use model::{ConnectionId, RemotePath, Result};
use std::sync::Weak;
use transport::folder::{Entry, Upload, Written};

/// An upload that can be cut off: what was written stays there, as when a connection breaks.
pub(super) struct ScriptedUpload {
    pub(super) folder: Weak<ScriptedFolder>,
    pub(super) inner: Box<dyn Upload>,
    pub(super) path: RemotePath,
    /// What was written last: it may have to end short.
    pub(super) last: Option<bytes::Bytes>,
    pub(super) cut: bool,
}

impl ScriptedUpload {
    fn takes(&self, wanted: fn(&Step) -> bool) -> bool {
        self.folder.upgrade().is_some_and(|folder| folder.take_step(wanted))
    }

    /// Writes what is left, a byte short where the script says so.
    async fn write_last(&mut self) -> Result<()> {
        let Some(last) = self.last.take() else { return Ok(()) };
        let cut = usize::from(self.takes(|step| matches!(step, Step::Short)));
        self.inner.write(last.slice(..last.len().saturating_sub(cut))).await
    }

    async fn scripted(&mut self, act: Act) -> Result<()> {
        let Some(folder) = self.folder.upgrade() else { return Ok(()) };
        let result = folder.scripted(act, &self.path).await;
        self.cut |= result.is_err();
        result
    }
}

#[async_trait]
impl Upload for ScriptedUpload {
    fn connection(&self) -> Option<ConnectionId> {
        self.inner.connection()
    }

    async fn write(&mut self, bytes: bytes::Bytes) -> Result<()> {
        self.scripted(Act::Write).await?;
        match self.last.replace(bytes) {
            Some(before) => self.inner.write(before).await,
            None => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<()> {
        self.write_last().await?;
        self.inner.flush().await
    }

    fn replaces(&mut self, earlier: Entry) {
        self.inner.replaces(earlier);
    }

    async fn finish(mut self: Box<Self>) -> Result<Written> {
        self.scripted(Act::Finish).await?;
        self.write_last().await?;
        let said_short = self.takes(|step| matches!(step, Step::SaidShort));
        let mut written = self.inner.finish().await?;
        written.size = written.size.map(|size| size.saturating_sub(u64::from(said_short)));
        Ok(written)
    }

    async fn suspend(self: Box<Self>) -> bool {
        self.inner.suspend().await
    }

    async fn abort(self: Box<Self>) {
        if !self.cut {
            self.inner.abort().await;
        }
    }
}
