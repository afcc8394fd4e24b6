//! Our transport alone, as the engine uses it, without database and staging.

use crate::folders::at_once;
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use model::definition::Endpoint;
use model::{Claim, Content, DeliveryId, PayloadId, PayloadRecord, RemotePath, Result, Sha256, Timestamp};
use net::{ConnectionLog, Net, NetSettings};
use serde_json::{Map, Value};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use testkit::clock::FixedClock;
use testkit::defined;
use testkit::fake::{Known, MemoryLog, services};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::task::block_in_place;
use transport::folder::After;
use transport::{BufferBudget, Deliver, Discovery, Payload, PayloadReader, Services, Transport};
use uuid::Uuid;

/// Bytes read and written at a time.
const CHUNK: usize = 256 * 1024;

struct NoRecords;

#[async_trait]
impl ConnectionLog for NoRecords {
    async fn opened(&self, _opened: net::Opened) -> Result<()> {
        Ok(())
    }

    async fn closed(&self, _closed: model::ConnectionClosed) -> Result<()> {
        Ok(())
    }

    async fn failed(&self, _failed: net::ConnectionFailed) -> Result<()> {
        Ok(())
    }
}

/// A network whose connections are on no record.
#[allow(clippy::disallowed_methods, reason = "a measurement has no other clock")]
pub(crate) fn network() -> Net {
    let now: net::NowFn = Arc::new(chrono::Utc::now);
    Net::new(NetSettings::new("bench".parse().unwrap(), now, Arc::new(Uuid::now_v7)), Arc::new(NoRecords))
}

/// A file of this machine as payload.
struct FilePayload {
    record: PayloadRecord,
    path: PathBuf,
    metadata: Map<String, Value>,
}

#[async_trait]
impl Payload for FilePayload {
    fn record(&self) -> &PayloadRecord {
        &self.record
    }

    fn sha256(&self) -> Option<Sha256> {
        self.record.content.sha256()
    }

    fn metadata(&self) -> &Map<String, Value> {
        &self.metadata
    }

    fn reader_buffers(&self) -> usize {
        CHUNK
    }

    async fn open(&self, range: Range<u64>) -> Result<PayloadReader> {
        let mut file = tokio::fs::File::open(&self.path).await.unwrap();
        file.set_max_buf_size(CHUNK);
        file.seek(std::io::SeekFrom::Start(range.start)).await.unwrap();
        Ok(Box::new(file.take(range.end - range.start)))
    }

    fn open_blocking(&self, _range: Range<u64>) -> Result<Box<dyn std::io::Read + Send>> {
        unreachable!("only AS2 reads so")
    }
}

/// A transport with an endpoint.
pub(crate) struct Alone {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) endpoint: Arc<Endpoint>,
}

fn lent() -> Services {
    let mut lent = services(Arc::new(FixedClock::default()));
    lent.budget = BufferBudget::new(256 << 20);
    lent
}

impl Alone {
    /// Delivers every file of a directory.
    pub(crate) async fn upload(&self, from: &Path) {
        let destination = defined::destination(self.transport.spec(), "site", &[]);
        let lent = lent();
        let to = self.transport.destination(Arc::clone(&self.endpoint), &destination, lent.clone()).unwrap();
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        futures::stream::iter(paths)
            .for_each_concurrent(at_once(), |path| {
                let (to, node) = (Arc::clone(&to), lent.node.clone());
                // Each on a worker, as the engine does it.
                let sent = tokio::spawn(async move {
                    let name = RemotePath::from(path.file_name().unwrap().to_str().unwrap());
                    let record = PayloadRecord {
                        id: PayloadId::new(Uuid::now_v7()),
                        length: std::fs::metadata(&path).unwrap().len(),
                        // Nothing here verifies by it.
                        content: Content::Staged(Sha256([0; 32])),
                        media_type: None,
                        file_name: name.clone(),
                        staged_at: Timestamp::UNIX_EPOCH,
                    };
                    let payload = FilePayload { record, path, metadata: Map::new() };
                    to.deliver(Deliver {
                        attachments: Vec::new(),
                        claim: Claim {
                            delivery: DeliveryId::new(Uuid::now_v7()),
                            node,
                            epoch: 1,
                            attempt: 1,
                        },
                        payload: Arc::new(payload),
                        file_name: name,
                        received: model::Timestamp::UNIX_EPOCH,
                        flow: "flow".into(),
                        partner: None,
                        notes: std::collections::BTreeMap::new(),
                        interrupted: false,
                        is_last: false,
                        log: Arc::new(MemoryLog::default()),
                    })
                    .await
                });
                async move { drop(sent.await.unwrap().unwrap()) }
            })
            .await;
    }

    /// Reads every file into a directory, and looks at each again as the engine does; deletes none.
    pub(crate) async fn download(&self, into: &Path) {
        let flow = defined::flow("flow", defined::poll("site", After::Keep));
        let source = self.transport.source(Arc::clone(&self.endpoint), Arc::new(flow), lent()).unwrap();
        let offers = source.discover(Discovery::first(Arc::new(Known::default()))).await.unwrap();
        offers
            .try_for_each_concurrent(at_once(), |found| {
                let (source, into) = (Arc::clone(&source), into.to_owned());
                let read = tokio::spawn(async move {
                    let mut opened = source.open(&found).await?;
                    while let Some(mut part) = opened.parts.try_next().await? {
                        let name = part.file_name.to_text();
                        // In place: the hand-over to another thread for each chunk would be measured with it.
                        let mut file = block_in_place(|| std::fs::File::create(into.join(name)).unwrap());
                        let mut chunk = Vec::with_capacity(CHUNK);
                        while part.reader.read_buf(&mut chunk).await.unwrap() > 0 {
                            block_in_place(|| file.write_all(&chunk).unwrap());
                            chunk.clear();
                        }
                    }
                    drop(opened.parts);
                    source.look_again(&found).await
                });
                async move { read.await.unwrap().map(drop) }
            })
            .await
            .unwrap();
    }
}
