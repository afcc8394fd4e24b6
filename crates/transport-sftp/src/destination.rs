//! A destination: the folder's, with a test that begins at the host's name.

use crate::folder::SftpFolder;
use crate::pool::Pool;
use crate::probe::{reach, step};
use crate::session::Remote;
use async_trait::async_trait;
use model::Result;
use std::sync::Arc;
use std::time::Duration;
use transport::folder::{Folder, FolderDestination};
use transport::{Deliver, Destination, Probe, Sent};

pub(crate) struct SftpDestination {
    folder: FolderDestination,
    remote: Arc<Remote>,
}

impl SftpDestination {
    pub(crate) fn new(pool: Arc<Pool>) -> Result<Self> {
        let remote = Arc::clone(pool.remote());
        let folder = over(Arc::new(SftpFolder::new(pool)), &remote)?;
        Ok(Self { folder, remote })
    }
}

fn over(folder: Arc<dyn Folder>, remote: &Remote) -> Result<FolderDestination> {
    FolderDestination::new(folder, remote.settings.write.clone(), remote.services.clone())
}

#[async_trait]
impl Destination for SftpDestination {
    async fn deliver(&self, delivery: Deliver) -> Result<Sent> {
        self.folder.deliver(delivery).await
    }

    async fn probe(&self) -> Probe {
        let mut probe = Probe::default();
        if let Some(folder) = reach(&self.remote, &mut probe).await {
            match over(folder, &self.remote) {
                Ok(destination) => probe.steps.extend(destination.probe().await.steps),
                Err(error) => probe.steps.push(step("write", Duration::ZERO, Err(error))),
            }
        }
        probe
    }
}
