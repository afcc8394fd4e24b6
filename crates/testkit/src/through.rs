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
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use transport::folder::{After, Folder, FolderDestination, FolderSource, FolderSourceOptions, WriteOptions};
use transport::{Deliver, DeliveryLog, Destination, Discovery, Payload, Resumption, Sent, Services, Source};
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
