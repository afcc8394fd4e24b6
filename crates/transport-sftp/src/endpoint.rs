//! A source and a destination: the folder's, with a test that begins at the host's name.

use crate::folder::SftpFolder;
use crate::pool::Pool;
use crate::session::{Connection, Remote};
use async_trait::async_trait;
use model::definition::Flow;
use model::{Error, Offer, Outcome, Purpose, Result};
use std::sync::Arc;
use std::time::Duration;
use transport::folder::{Folder, FolderDestination, FolderSource, FolderSourceOptions};
use transport::{
    Deliver, Destination, Discovery, FoundOffer, OfferStream, PartStream, Probe, ProbeStep, Sent, Settled, Source,
};

pub(crate) struct SftpSource {
    folder: FolderSource,
    remote: Arc<Remote>,
    flow: Arc<Flow>,
}

pub(crate) struct SftpDestination {
    folder: FolderDestination,
    remote: Arc<Remote>,
}

fn folder_source(folder: Arc<dyn Folder>, remote: &Remote, flow: Arc<Flow>) -> Result<FolderSource> {
    let settings = &remote.settings;
    let options = FolderSourceOptions {
        flow,
        endpoint: settings.endpoint.clone(),
        directory: settings.directory.clone(),
        temporary_suffix: settings.temporary_suffix.clone(),
    };
    FolderSource::new(folder, options, remote.services.clone())
}

fn folder_destination(folder: Arc<dyn Folder>, remote: &Remote) -> Result<FolderDestination> {
    FolderDestination::new(folder, remote.settings.write.clone(), remote.services.clone())
}

impl SftpSource {
    pub(crate) fn new(pool: Arc<Pool>, flow: Arc<Flow>) -> Result<Self> {
        let remote = Arc::clone(pool.remote());
        let folder = folder_source(Arc::new(SftpFolder::new(pool)), &remote, Arc::clone(&flow))?;
        Ok(Self { folder, remote, flow })
    }
}

impl SftpDestination {
    pub(crate) fn new(pool: Arc<Pool>) -> Result<Self> {
        let remote = Arc::clone(pool.remote());
        let folder = folder_destination(Arc::new(SftpFolder::new(pool)), &remote)?;
        Ok(Self { folder, remote })
    }
}

#[async_trait]
impl Source for SftpSource {
    async fn discover(&self, discovery: Discovery) -> Result<OfferStream> {
        self.folder.discover(discovery).await
    }

    async fn open(&self, offer: &FoundOffer) -> Result<PartStream> {
        self.folder.open(offer).await
    }

    async fn unchanged(&self, offer: &FoundOffer) -> Result<bool> {
        self.folder.unchanged(offer).await
    }

    async fn settle(&self, offer: &Offer, outcome: Outcome) -> Result<Settled> {
        self.folder.settle(offer, outcome).await
    }

    async fn probe(&self) -> Probe {
        let mut probe = Probe::default();
        if let Some(folder) = reach(&self.remote, &mut probe).await {
            match folder_source(folder, &self.remote, Arc::clone(&self.flow)) {
                Ok(source) => probe.steps.extend(source.probe().await.steps),
                Err(error) => probe.steps.push(step("list", Duration::ZERO, Err(error))),
            }
        }
        probe
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
            match folder_destination(folder, &self.remote) {
                Ok(destination) => probe.steps.extend(destination.probe().await.steps),
                Err(error) => probe.steps.push(step("write", Duration::ZERO, Err(error))),
            }
        }
        probe
    }
}

fn step(name: &'static str, took: Duration, result: Result<String>) -> ProbeStep {
    ProbeStep { name, took, result }
}

/// The steps up to the login, on a connection of the test's own. The rest goes over the same one.
async fn reach(remote: &Arc<Remote>, probe: &mut Probe) -> Option<Arc<dyn Folder>> {
    let connection = log_in(remote, probe).await?;
    // The pool lives as long as the folder, and the connection as long as the pool.
    let pool = Pool::new(Arc::clone(remote), Purpose::Test);
    drop(pool.admit(connection));
    Some(Arc::new(SftpFolder::new(pool)))
}

async fn log_in(remote: &Remote, probe: &mut Probe) -> Option<Connection> {
    let clock = Arc::clone(&remote.services.clock);
    let target = remote.settings.target();
    let began = clock.monotonic();
    let reached = remote.reach(Purpose::Test).await;
    let took = clock.monotonic().saturating_sub(began);
    let stream = match reached {
        Ok(stream) => {
            let address = stream.handle().remote().map(|address| address.to_string()).unwrap_or_default();
            // Both were one act: its time is shown once.
            probe.steps.push(step("name", Duration::ZERO, Ok(format!("{target}: {address}"))));
            probe.steps.push(step("tcp", took, Ok(format!("connected to {address}"))));
            stream
        }
        Err(error) => {
            if is_about_the_name(&error) {
                probe.steps.push(step("name", took, Err(error)));
            } else {
                probe.steps.push(step("name", Duration::ZERO, Ok(target)));
                probe.steps.push(step("tcp", took, Err(error)));
            }
            return None;
        }
    };
    let began = clock.monotonic();
    let greeted = remote.greet(stream).await;
    let took = clock.monotonic().saturating_sub(began);
    let greeted = match greeted {
        Ok(greeted) => {
            probe.steps.push(step("host key", took, Ok(greeted.host_key.clone())));
            greeted
        }
        Err(error) => {
            probe.steps.push(step("host key", took, Err(error)));
            return None;
        }
    };
    let began = clock.monotonic();
    let connection = remote.log_in(greeted).await;
    let took = clock.monotonic().saturating_sub(began);
    match connection {
        Ok(connection) => {
            let start = connection.client().absolute(&"".into()).await;
            let seen = start.map_or_else(|_| "logged in".to_owned(), |path| format!("logged in at {path}"));
            probe.steps.push(step("login", took, Ok(seen)));
            Some(connection)
        }
        Err(error) => {
            probe.steps.push(step("login", took, Err(error)));
            None
        }
    }
}

/// Whether dialling failed before there was an address.
fn is_about_the_name(error: &Error) -> bool {
    error.operation().starts_with("find the host")
}
