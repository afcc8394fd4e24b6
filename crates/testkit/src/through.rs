//! One file through a folder, as a flow moves it: delivered by one attempt, or found and read.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test is made with says by panicking what went wrong"
)]

use crate::defined;
use crate::fake::{BytesPayload, Known, MemoryLog};
use futures::StreamExt;
use model::{Claim, DeliveryId, Error, ErrorKind, Result};
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::AsyncReadExt;
use transport::folder::{
    After, Folder, FolderDestination, FolderSource, FolderSourceOptions, Polling, WriteOptions,
};
use transport::{
    Deliver, DeliveryLog, Destination, Discovery, FoundOffer, Payload, Resumption, Sent, Services, Source,
};
use uuid::Uuid;

/// An attempt to deliver a file, with the notes of those before it.
pub struct Attempt {
    /// How it is written.
    pub options: WriteOptions,
    /// Its number, from 1.
    pub number: u32,
    /// The notes.
    pub log: Arc<MemoryLog>,
    /// Metadata of its transfer.
    pub metadata: Map<String, Value>,
}

impl Attempt {
    /// The first attempt of a delivery into a directory.
    #[must_use]
    pub fn into(directory: &str) -> Self {
        Self {
            options: WriteOptions::new("place", directory.into()),
            number: 1,
            log: Arc::default(),
            metadata: Map::new(),
        }
    }

    /// Makes it, and answers the details of its receipt.
    ///
    /// # Errors
    /// The attempt's.
    ///
    /// # Panics
    /// The options are wrong.
    pub async fn deliver(
        &self,
        folder: &Arc<dyn Folder>,
        name: &str,
        content: &[u8],
        services: &Services,
    ) -> Result<Map<String, Value>> {
        let payload = BytesPayload::described(name, content, self.metadata.clone());
        self.send(folder, name, payload, services).await
    }

    /// The same with another payload.
    ///
    /// # Errors
    /// The attempt's.
    ///
    /// # Panics
    /// The options are wrong.
    pub async fn send(
        &self,
        folder: &Arc<dyn Folder>,
        name: &str,
        payload: Arc<dyn Payload>,
        services: &Services,
    ) -> Result<Map<String, Value>> {
        let destination =
            FolderDestination::new(Arc::clone(folder), self.options.clone(), services.clone()).unwrap();
        let delivery = DeliveryId::new(Uuid::from_u128(0x0192_7000));
        let sent = destination.deliver(Deliver {
            attachments: Vec::new(),
            claim: Claim { delivery, node: services.node.clone(), epoch: 1, attempt: self.number },
            payload,
            file_name: name.into(),
            received: model::Timestamp::UNIX_EPOCH,
            flow: "flow".into(),
            partner: None,
            notes: self.log.notes(),
            interrupted: self.number > 1,
            is_last: false,
            log: Arc::clone(&self.log) as Arc<dyn DeliveryLog>,
        });
        match sent.await? {
            Sent::Delivered { receipt, .. } => Ok(receipt.detail),
            Sent::Awaiting { .. } => panic!("a folder gives its receipt at once"),
        }
    }
}

/// Polls a directory that holds one file, and reads that to its end. Answers its content, and how often reading went on.
///
/// # Errors
/// It could not be read to its end.
///
/// # Panics
/// It is not found.
pub async fn take(
    folder: &Arc<dyn Folder>,
    directory: &str,
    services: &Services,
) -> Result<(Vec<u8>, Vec<Resumption>)> {
    let flow = Arc::new(defined::flow("flow", defined::poll("place", After::Keep)));
    let options = FolderSourceOptions { flow, endpoint: "place".into(), directory: directory.into() };
    let source = FolderSource::new(Arc::clone(folder), options, services.clone()).unwrap();
    let discovery = Discovery::first(Arc::new(Known::default()));
    let offer = source.discover(discovery).await?.next().await.unwrap()?;
    let mut opened = source.open(&offer).await?;
    let mut part = opened.parts.next().await.unwrap()?;
    let mut content = Vec::new();
    part.reader.read_to_end(&mut content).await.map_err(|error| {
        let other = |error| Error::transient(ErrorKind::Internal, "read a file").caused_by(error);
        error.downcast::<Error>().unwrap_or_else(other)
    })?;
    Ok((content, part.resumptions.taken()))
}

/// Polls a directory once, and answers what is found in order of path.
///
/// # Errors
/// The listing failed.
///
/// # Panics
/// The options are wrong.
pub async fn offers(
    folder: &Arc<dyn Folder>,
    directory: &str,
    services: &Services,
    change: impl FnOnce(&mut Polling),
) -> Result<Vec<FoundOffer>> {
    let poll = defined::polling(defined::poll("place", After::Keep), change);
    let flow = Arc::new(defined::flow("flow", poll));
    let options = FolderSourceOptions { flow, endpoint: "place".into(), directory: directory.into() };
    let source = FolderSource::new(Arc::clone(folder), options, services.clone()).unwrap();
    let discovery = Discovery::first(Arc::new(Known::default()));
    let found: Vec<Result<FoundOffer>> = source.discover(discovery).await?.collect().await;
    let mut found = found.into_iter().collect::<Result<Vec<_>>>()?;
    found.sort_by(|one, other| one.identity.path.as_bytes().cmp(other.identity.path.as_bytes()));
    Ok(found)
}

/// Polls a directory of which this machine has the files too, whose times are long before 1970 and far in the future.
///
/// # Panics
/// A file is not found, or not as the same one by the next poll, or its content is another one.
pub async fn files_of_any_time_are_taken(
    folder: &Arc<dyn Folder>,
    directory: &str,
    files: &Path,
    services: &Services,
) {
    const DAY: u64 = 86_400;
    let epoch = SystemTime::UNIX_EPOCH;
    for (name, time) in [
        ("a-1927", epoch - Duration::from_secs(DAY * 365 * 43)),
        ("b-1969", epoch - Duration::from_secs(DAY)),
        ("c-1970", epoch),
        ("d-2026", epoch + Duration::from_secs(DAY * 20_000)),
        // A clock that is hours ahead, and one that is not set at all.
        ("e-hours", SystemTime::now() + Duration::from_secs(DAY / 3)),
        ("f-2099", epoch + Duration::from_secs(DAY * 365 * 130)),
    ] {
        let path = files.join(name);
        std::fs::write(&path, name).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }
    let polled = || offers(folder, directory, services, |polling| polling.stable_for = Duration::ZERO);
    let first = polled().await.unwrap();
    let names: Vec<String> = first
        .iter()
        .map(|found| String::from_utf8_lossy(found.identity.path.file_name()).into_owned())
        .collect();
    assert_eq!(names, ["a-1927", "b-1969", "c-1970", "d-2026", "e-hours", "f-2099"]);
    let second = polled().await.unwrap();
    let identities =
        |found: &[FoundOffer]| -> Vec<_> { found.iter().map(|one| one.identity.clone()).collect() };
    assert_eq!(identities(&first), identities(&second), "the next poll takes them for other files");
    for (offer, name) in first.iter().zip(&names) {
        let mut reader = folder.read(&offer.identity.path, 0).await.unwrap();
        let mut content = String::new();
        reader.read_to_string(&mut content).await.unwrap();
        assert_eq!(&content, name);
    }
    // By the clock of this machine: what is of the future is no day old.
    let young = offers(folder, directory, services, |polling| {
        polling.stable_for = Duration::ZERO;
        polling.filter.min_age = Some(Duration::from_secs(1));
    });
    let young = young.await.unwrap();
    let is_found = |name: &str| young.iter().any(|found| found.identity.path.file_name() == name.as_bytes());
    assert!(is_found("c-1970") && !is_found("f-2099"), "{young:?}");
}

/// Names in listings that lead elsewhere, or that nothing can have.
pub const HOSTILE_NAMES: [&str; 8] =
    ["../../x", "/etc/x", "..", "../", "up/../../x", "nul\0x", "./x", "in/x"];

/// Polls a directory whose listing has [`HOSTILE_NAMES`], one of 4 KiB, `a\..\b` and `good.edi`: the last two are files of
/// that directory, and the others are passed over.
///
/// # Panics
/// Another one is offered.
pub async fn hostile_names_are_passed_over(folder: &Arc<dyn Folder>, directory: &str, services: &Services) {
    let found = offers(folder, directory, services, |polling| {
        polling.stable_for = Duration::ZERO;
        polling.recursive = true;
    });
    let found = found.await.unwrap();
    let names: Vec<String> =
        found.iter().map(|one| String::from_utf8_lossy(one.identity.path.as_bytes()).into_owned()).collect();
    let is_of_directory = |name: &String| {
        let last = name.rsplit('/').next().unwrap_or_default();
        (last == "good.edi" || last == r"a\..\b")
            && name.trim_start_matches('/').split('/').all(|part| part != ".." && part != ".")
    };
    assert!(names.len() == 2 && names.iter().all(is_of_directory), "{names:?}");
}
