//! A destination that answers as it is told.

use super::Fault;
use super::endpoint::{DeliverySeen, FakeEndpoint};
use super::source::panics;
use async_trait::async_trait;
use futures::future::BoxFuture;
use model::{Receipt, ReceiptKind, RemotePath, Result};
use serde_json::Map;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use transport::{Deliver, Destination, Probe, Reply, Sent, Services, StagedPart};

/// What a test does itself in place of a delivery.
pub type DeliverCall = Arc<dyn Fn(Deliver, Services) -> BoxFuture<'static, Result<Sent>> + Send + Sync>;

/// How a delivery attempt is answered.
#[derive(Clone)]
pub enum Answer {
    /// It has it.
    Delivered,
    /// It has it, and answers with payloads of its own.
    Replies(Vec<ScriptedReply>),
    /// The receipt comes later: the key is bound, the deadline is so far from now.
    Awaiting {
        /// The key; the delivery's id when none is given.
        correlation: Option<String>,
        /// How long from now.
        wait: Duration,
    },
    /// It fails, before anything was read.
    Fails(Fault),
    /// It reads so many bytes and fails then.
    FailsAfter(u64, Fault),
    /// It has it, but the answer is lost: an ambiguous failure.
    DeliveredAnswerLost,
    /// It never answers.
    Hangs,
    /// The transport breaks down.
    Panics,
    /// It waits on the services' clock, then answers.
    Later(Duration, Box<Self>),
    /// The test does it.
    Call(DeliverCall),
}

/// A payload that comes with an answer.
#[derive(Clone, Debug)]
pub struct ScriptedReply {
    /// Its name.
    pub file_name: RemotePath,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
}

impl Answer {
    fn word(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Replies(_) => "replies",
            Self::Awaiting { .. } => "awaiting",
            Self::Fails(_) => "fails",
            Self::FailsAfter(..) => "fails after",
            Self::DeliveredAnswerLost => "delivered, answer lost",
            Self::Hangs => "hangs",
            Self::Panics => "panics",
            Self::Later(_, then) => then.word(),
            Self::Call(_) => "call",
        }
    }
}

pub(super) struct FakeDestination {
    pub(super) endpoint: Arc<FakeEndpoint>,
    /// What the flow's destination says beside what every destination has.
    pub(super) subject: Option<String>,
    pub(super) services: Services,
}

impl FakeDestination {
    /// Reads the payload, all or so many bytes of it.
    async fn read(delivery: &Deliver, most: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let reader = delivery.payload.open(0..delivery.payload.length()).await?;
        reader
            .take(most)
            .read_to_end(&mut bytes)
            .await
            .map_err(|e| model::Error::local_io("read a payload from staging", e))?;
        Ok(bytes)
    }

    /// Reads the payload, makes sure that it is what was found, and takes it.
    async fn take(&self, delivery: &Deliver) -> Result<()> {
        let bytes = Self::read(delivery, u64::MAX).await?;
        delivery.payload.confirm().await?;
        self.endpoint.receive(delivery, bytes);
        for attachment in &delivery.attachments {
            let mut bytes = Vec::new();
            let mut reader = attachment.open(0..attachment.length()).await?;
            let read = reader.read_to_end(&mut bytes).await;
            read.map_err(|e| model::Error::local_io("read an attachment from staging", e))?;
            self.endpoint.receive_attachment(delivery, attachment.file_name(), bytes);
        }
        Ok(())
    }

    fn delivered(&self, delivery: &Deliver, replies: Vec<Reply>) -> Sent {
        Sent::Delivered {
            receipt: Receipt {
                kind: ReceiptKind::Path,
                at: self.services.clock.now(),
                positive: true,
                summary: delivery.file_name.to_text(),
                connection: None,
                mdn: None,
                detail: delivery
                    .payload
                    .sha256()
                    .map(|sha256| ("sha256".to_owned(), sha256.to_string().into()))
                    .into_iter()
                    .collect(),
            },
            replies,
        }
    }

    async fn stage(&self, replies: Vec<ScriptedReply>) -> Result<Vec<Reply>> {
        let mut staged = Vec::new();
        for reply in replies {
            let staging = Arc::clone(&self.services.staging);
            let committed = tokio::task::spawn_blocking(move || {
                let mut part = staging.begin()?;
                part.append(&reply.bytes)?;
                part.commit()
            })
            .await
            .map_err(|e| Fault::CUT.error("stage a reply").caused_by(e))??;
            staged.push(Reply::from(StagedPart {
                staged: committed,
                file_name: reply.file_name,
                media_type: None,
                metadata: Map::new(),
                connection: None,
            }));
        }
        Ok(staged)
    }

    async fn answer(&self, answer: Answer, delivery: Deliver) -> Result<Sent> {
        match answer {
            Answer::Delivered => {
                delivery.log.may_act()?;
                self.take(&delivery).await?;
                Ok(self.delivered(&delivery, Vec::new()))
            }
            Answer::DeliveredAnswerLost => {
                delivery.log.may_act()?;
                self.take(&delivery).await?;
                Err(Fault::LOST.error("read the answer to a delivery"))
            }
            Answer::Replies(replies) => {
                delivery.log.may_act()?;
                self.take(&delivery).await?;
                let replies = self.stage(replies).await?;
                Ok(self.delivered(&delivery, replies))
            }
            Answer::Awaiting { correlation, wait } => {
                let key = correlation.unwrap_or_else(|| delivery.claim.delivery.to_string());
                delivery.log.correlate(&key).await?;
                delivery.log.may_act()?;
                self.take(&delivery).await?;
                let deadline = self.services.clock.now() + wait;
                Ok(Sent::Awaiting { deadline, connection: None, replies: Vec::new() })
            }
            Answer::Fails(fault) => Err(fault.error("deliver")),
            Answer::FailsAfter(bytes, fault) => {
                Self::read(&delivery, bytes).await?;
                Err(fault.error("deliver"))
            }
            Answer::Hangs => std::future::pending().await,
            Answer::Panics => panics("delivering"),
            Answer::Later(wait, then) => {
                self.services.clock.sleep(wait).await;
                Box::pin(self.answer(*then, delivery)).await
            }
            Answer::Call(call) => call(delivery, self.services.clone()).await,
        }
    }
}

#[async_trait]
impl Destination for FakeDestination {
    async fn deliver(&self, delivery: Deliver) -> Result<Sent> {
        let answer = self.endpoint.next_answer();
        self.endpoint.saw_delivery(DeliverySeen {
            delivery: delivery.claim.delivery,
            attempt: delivery.claim.attempt,
            epoch: delivery.claim.epoch,
            node: delivery.claim.node.clone(),
            flow: delivery.flow.clone(),
            file_name: delivery.file_name.clone(),
            notes: delivery.notes.clone(),
            interrupted: delivery.interrupted,
            subject: self.subject.clone(),
            answer: answer.word(),
            at: self.services.clock.now(),
        });
        self.endpoint.check_reachable("deliver")?;
        self.answer(answer, delivery).await
    }

    async fn probe(&self) -> Probe {
        self.endpoint.probe()
    }
}
