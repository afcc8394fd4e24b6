//! A source: the folder's, with a test that begins at the host's name.

use crate::folder::SftpFolder;
use crate::pool::Pool;
use crate::probe::{reach, step};
use crate::session::Remote;
use async_trait::async_trait;
use model::definition::Flow;
use model::{Offer, Outcome, Result};
use std::sync::Arc;
use std::time::Duration;
use transport::folder::{Folder, FolderSource, FolderSourceOptions};
use transport::{AfterRead, Discovery, FoundOffer, OfferStream, Opened, Probe, Settled, Source};

pub(crate) struct SftpSource {
    folder: FolderSource,
    remote: Arc<Remote>,
    flow: Arc<Flow>,
}

impl SftpSource {
    pub(crate) fn new(pool: Arc<Pool>, flow: Arc<Flow>) -> Result<Self> {
        let remote = Arc::clone(pool.remote());
        let folder = over(Arc::new(SftpFolder::new(pool)), &remote, Arc::clone(&flow))?;
        Ok(Self { folder, remote, flow })
    }
}

fn over(folder: Arc<dyn Folder>, remote: &Remote, flow: Arc<Flow>) -> Result<FolderSource> {
    let settings = &remote.settings;
    let options = FolderSourceOptions {
        flow,
        endpoint: settings.endpoint.clone(),
        directory: settings.directory.clone(),
    };
    FolderSource::new(folder, options, remote.services.clone())
}

#[async_trait]
impl Source for SftpSource {
    async fn discover(&self, discovery: Discovery) -> Result<OfferStream> {
        self.folder.discover(discovery).await
    }

    async fn open(&self, offer: &FoundOffer) -> Result<Opened> {
        self.folder.open(offer).await
    }

    async fn look_again(&self, offer: &FoundOffer) -> Result<AfterRead> {
        self.folder.look_again(offer).await
    }

    async fn settle(&self, offer: &Offer, outcome: Outcome) -> Result<Settled> {
        self.folder.settle(offer, outcome).await
    }

    async fn probe(&self) -> Probe {
        let mut probe = Probe::default();
        if let Some(folder) = reach(&self.remote, &mut probe).await {
            match over(folder, &self.remote, Arc::clone(&self.flow)) {
                Ok(source) => probe.steps.extend(source.probe().await.steps),
                Err(error) => probe.steps.push(step("list", Duration::ZERO, Err(error))),
            }
        }
        probe
    }
}
