//! A destination: the folder's, with a test that begins at the host's name.

use crate::folder::SftpFolder;
use crate::pool::Pool;
use crate::probe::{reach, step};
use crate::session::Remote;
use async_trait::async_trait;
use model::Result;
use std::sync::Arc;
use std::time::Duration;
use transport::folder::{FolderDestination, WriteOptions};
use transport::{Deliver, Destination, Probe, Sent};

pub(crate) struct SftpDestination {
    folder: FolderDestination,
    remote: Arc<Remote>,
    write: WriteOptions,
}

impl SftpDestination {
    pub(crate) fn new(pool: Arc<Pool>, write: WriteOptions, permissions: Option<u32>) -> Result<Self> {
        let remote = Arc::clone(pool.remote());
        let folder = Arc::new(SftpFolder::new(pool).with_permissions(permissions));
        let folder = FolderDestination::new(folder, write.clone(), remote.services.clone())?;
        Ok(Self { folder, remote, write })
    }
}

#[async_trait]
impl Destination for SftpDestination {
    async fn deliver(&self, delivery: Deliver) -> Result<Sent> {
        self.folder.deliver(delivery).await
    }

    async fn probe(&self) -> Probe {
        let mut probe = Probe::default();
        if let Some(folder) = reach(&self.remote, &mut probe).await {
            match FolderDestination::new(folder, self.write.clone(), self.remote.services.clone()) {
                Ok(destination) => probe.steps.extend(destination.probe().await.steps),
                Err(error) => probe.steps.push(step("write", Duration::ZERO, Err(error))),
            }
        }
        probe
    }
}
