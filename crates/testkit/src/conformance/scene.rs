//! What the checks are played with: files, a clock that lets something happen, flows, attempts.

use super::Place;
use crate::fake::{BytesPayload, Known, MemoryLog, ScriptedFolder, services};
use crate::polls::discover_stable;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta};
use futures::StreamExt;
use futures::future::BoxFuture;
use model::definition::PollSource;
use model::{Claim, DeliveryId, ErrorKind, Offer, OfferId, OfferState, RemotePath, Result, Timestamp};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use transport::folder::After;
use transport::folder::{
    EntryKind, Folder, FolderDestination, FolderSource, FolderSourceOptions, Published, WriteOptions,
};
use transport::{Clock, Deliver, DeliveryLog, Destination, FoundOffer, PendingFiles, Sent, Services};
use uuid::Uuid;

/// The suffix of temporary names in all checks.
pub(super) const TEMPORARY: &str = ".part";

type Happening = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// A clock on which sleeping takes no time, but lets something happen first.
#[derive(Default)]
pub struct Interlude {
    slept: Mutex<Vec<Duration>>,
    happenings: Mutex<VecDeque<Happening>>,
}

impl Interlude {
    /// Lets something happen during the next sleep that has nothing yet.
    pub fn during_sleep<F>(&self, happens: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let happening: Happening = Box::new(move || Box::pin(happens()));
        self.happenings.lock().unwrap_or_else(PoisonError::into_inner).push_back(happening);
    }

    /// The sleeps so far.
    #[must_use]
    pub fn slept(&self) -> Vec<Duration> {
        self.slept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Clock for Interlude {
    fn now(&self) -> Timestamp {
        let passed = TimeDelta::from_std(self.monotonic()).unwrap_or_default();
        DateTime::from_timestamp(1_772_366_400, 0).unwrap_or_default() + passed
    }

    fn monotonic(&self) -> Duration {
        self.slept().iter().sum()
    }

    async fn sleep(&self, duration: Duration) {
        let next = self.happenings.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        if let Some(happens) = next {
            happens().await;
        }
        self.slept.lock().unwrap_or_else(PoisonError::into_inner).push(duration);
    }
}

/// A place under a script, with clock and memory.
pub(super) struct Scene {
    pub(super) place: Place,
    pub(super) folder: Arc<ScriptedFolder>,
    pub(super) clock: Arc<Interlude>,
    pub(super) services: Services,
    pub(super) known: Arc<Known>,
    /// The files that the last poll did not take yet.
    pub(super) pending: Arc<PendingFiles>,
    pub(super) log: Arc<MemoryLog>,
}

impl Scene {
    pub(super) fn new(place: Place) -> Self {
        let clock = Arc::new(Interlude::default());
        Self {
            folder: ScriptedFolder::new(Arc::clone(&place.folder)),
            services: services(Arc::clone(&clock) as Arc<dyn Clock>),
            clock,
            known: Arc::default(),
            pending: Arc::default(),
            log: Arc::default(),
            place,
        }
    }

    /// A path in the place's directory.
    pub(super) fn path(&self, name: &str) -> RemotePath {
        self.place.directory.join(&name.into())
    }

    /// A path in the directory beside it.
    pub(super) fn beside(&self, name: &str) -> RemotePath {
        self.place.beside.join(&name.into())
    }

    /// Writes a file, past the script.
    pub(super) async fn put(&self, name: &str, content: &[u8]) {
        put(&self.place.folder, &self.path(name), content).await;
    }

    /// A flow's polled source as most checks want it; keeps files and waits five seconds.
    pub(super) fn poll(&self) -> PollSource {
        crate::defined::polling(crate::defined::poll("place", After::Keep), |polling| {
            polling.stable_for = Duration::from_secs(5);
            polling.temporary_suffix = TEMPORARY.into();
        })
    }

    pub(super) fn source(&self, poll: PollSource) -> FolderSource {
        let flow = crate::defined::flow("flow", poll);
        let options = FolderSourceOptions {
            flow: Arc::new(flow),
            endpoint: "place".into(),
            directory: self.place.directory.clone(),
        };
        FolderSource::new(Arc::clone(&self.folder) as Arc<dyn Folder>, options, self.services.clone())
            .unwrap()
    }

    pub(super) async fn discover(&self, source: &FolderSource) -> Vec<FoundOffer> {
        let known = Arc::clone(&self.known) as Arc<dyn transport::KnownOffers>;
        discover_stable(source, known, &self.pending, self.clock.as_ref()).await.unwrap()
    }

    pub(super) fn write_options(&self) -> WriteOptions {
        WriteOptions {
            temporary_suffix: TEMPORARY.into(),
            name_limit: self.place.name_limit,
            ..WriteOptions::new("place", self.place.directory.clone())
        }
    }

    /// One attempt at the one delivery of this scene.
    pub(super) async fn deliver(
        &self,
        options: WriteOptions,
        file_name: &RemotePath,
        content: &[u8],
        attempt: u32,
    ) -> Result<Sent> {
        let folder = Arc::clone(&self.folder) as Arc<dyn Folder>;
        let destination = FolderDestination::new(folder, options, self.services.clone()).unwrap();
        let deliver = Deliver {
            attachments: Vec::new(),
            claim: Claim {
                delivery: DeliveryId::new(Uuid::from_u128(0x0192_7000_8000_0000_0000_00ab_cdef_0123)),
                node: self.services.node.clone(),
                epoch: 1,
                attempt,
            },
            payload: BytesPayload::shared(file_name.clone(), content),
            file_name: file_name.clone(),
            received: DateTime::from_timestamp(1_772_366_400, 0).unwrap_or_default(),
            flow: "flow".into(),
            partner: None,
            notes: self.log.notes(),
            interrupted: attempt > 1,
            is_last: false,
            log: Arc::clone(&self.log) as Arc<dyn DeliveryLog>,
        };
        destination.deliver(deliver).await
    }

    /// The content of a file in the directory, when there is one.
    pub(super) async fn content(&self, path: &RemotePath) -> Option<Vec<u8>> {
        match read(&self.place.folder, path, 0).await {
            Ok(content) => Some(content),
            Err(error) if error.kind() == model::ErrorKind::NotFound => None,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Removes all files in the directory and beside it.
    pub(super) async fn clear(&self) {
        for name in self.names().await {
            let name = RemotePath::from_text(&name).unwrap();
            self.place.folder.remove(&self.place.directory.join(&name)).await.unwrap();
        }
        for name in self.names_beside().await {
            let name = RemotePath::from_text(&name).unwrap();
            self.place.folder.remove(&self.place.beside.join(&name)).await.unwrap();
        }
    }

    /// The names of all files in the place's directory, sorted.
    pub(super) async fn names(&self) -> Vec<String> {
        names(&self.place.folder, &self.place.directory).await
    }

    /// The names of all files beside it, sorted; none when there is no such directory.
    pub(super) async fn names_beside(&self) -> Vec<String> {
        match self.place.folder.stat(&self.place.beside).await {
            Ok(_) => names(&self.place.folder, &self.place.beside).await,
            Err(_) => Vec::new(),
        }
    }
}

/// Writes a file and gives it its name, replacing what has it.
pub(super) async fn put(folder: &Arc<dyn Folder>, path: &RemotePath, content: &[u8]) {
    let temporary = path.with_file_name(b".put-by-check.part");
    write(folder, &temporary, content).await;
    let published = folder.publish(&temporary, path, true).await.unwrap();
    assert_eq!(published, Published::Published, "{path}");
}

/// Writes a file under its name.
pub(super) async fn write(folder: &Arc<dyn Folder>, path: &RemotePath, content: &[u8]) {
    let mut upload = folder.begin_write(path, Some(content.len() as u64)).await.unwrap();
    for chunk in content.chunks(256 * 1024) {
        upload.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    assert_eq!(upload.finish().await.unwrap().size, Some(content.len() as u64), "size of {path}");
}

pub(super) async fn read(folder: &Arc<dyn Folder>, path: &RemotePath, offset: u64) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let mut reader = folder.read(path, offset).await?;
    reader.read_to_end(&mut content).await.unwrap();
    Ok(content)
}

pub(super) async fn names(folder: &Arc<dyn Folder>, directory: &RemotePath) -> Vec<String> {
    let mut listing = match folder.list(directory).await {
        // paramiko's server looks at each file of a directory, and answers so where one goes away meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound => folder.list(directory).await.unwrap(),
        listing => listing.unwrap(),
    };
    let mut names = Vec::new();
    while let Some(entry) = listing.next().await {
        let entry = entry.unwrap();
        if entry.kind == EntryKind::File {
            names.push(entry.path.to_text());
        }
    }
    names.sort();
    names
}

/// The offer that the engine would have recorded of what was found.
pub(super) fn offer(found: &FoundOffer) -> Offer {
    Offer {
        id: OfferId::new(Uuid::from_u128(1)),
        identity: found.identity.clone(),
        state: OfferState::Settling,
        found_at: DateTime::from_timestamp(1_772_366_400, 0).unwrap_or_default(),
        failures: 0,
        source_data: found.source_data.clone(),
    }
}

/// The offer with the cause of its refusal.
pub(super) fn refused(found: &FoundOffer, cause: &str) -> Offer {
    let mut offer = offer(found);
    transport::OfferNotes::change(&mut offer.source_data, |notes| notes.cause = Some(cause.to_owned()));
    offer
}

/// The last parts of what was found, in order.
pub(super) fn found_names(found: &[FoundOffer]) -> Vec<String> {
    found.iter().map(|offer| RemotePath::from_bytes(offer.identity.path.file_name()).to_text()).collect()
}

/// Whether a delivery ended well.
pub(super) fn arrived(sent: &Result<Sent>) -> bool {
    matches!(sent, Ok(Sent::Delivered { receipt, .. }) if receipt.positive)
}
