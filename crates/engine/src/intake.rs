//! What listeners hand in: the engine's side of a reception.

use crate::crash;
use crate::recording::{Origin, StagedPart};
use crate::shared::Shared;
use async_trait::async_trait;
use model::definition::{Flow, FlowSource};
use model::{
    AuditEvent, Error, ErrorKind, Offer, OfferId, OfferIdentity, OfferState, PayloadId, Receipt, RemotePath,
    Result, Timestamp, TransferId,
};
use serde_json::{Map, json};
use std::sync::Arc;
use store::{IntakeBegun, IntakeCommit, IntakeCommitted, NewTransfer, NodeLease, Reply};
use transport::{Begin, Intake, Message, PartWriter, Reception, Resolved, StagedPayload, StoredReply};

/// The engine, as listeners see it.
pub(crate) struct EngineIntake(pub(crate) Arc<Shared>);

#[async_trait]
impl Intake for EngineIntake {
    async fn begin(&self, key: &str) -> Result<Begin> {
        let shared = &self.0;
        let lease = shared.lease.current();
        shared.lease.may_act(lease.epoch)?;
        let Some(mut reception) = OpenReception::new(shared, key, lease.clone()) else {
            return Ok(Begin::InProgress);
        };
        Ok(match shared.store.intake_begin(&lease, key, shared.now()).await? {
            IntakeBegun::New => {
                crash::point("intake.begun");
                reception.holds = Holds::Surely;
                Begin::New(Box::new(reception))
            }
            IntakeBegun::InProgress => {
                reception.holds = Holds::Not;
                Begin::InProgress
            }
            IntakeBegun::Answered(reply) => {
                reception.holds = Holds::Not;
                Begin::Answered(read_reply(reply)?)
            }
        })
    }

    async fn resolve(&self, correlation: &str, receipt: Receipt) -> Result<Resolved> {
        let shared = &self.0;
        let node = &shared.settings.node;
        let resolved =
            shared.store.resolve(correlation, receipt, None, node, Vec::new(), shared.now()).await?;
        Ok(match resolved {
            store::Resolved::Resolved { .. } => Resolved::Matched,
            store::Resolved::AlreadyResolved { .. } => Resolved::Already,
            store::Resolved::Unmatched => Resolved::Unmatched,
        })
    }

    fn wanted(&self, transport: &str, partner: Option<&str>, file_name: &RemotePath) -> bool {
        !self.0.flows_for(transport, partner, file_name).is_empty()
    }
}

impl Shared {
    /// The enabled flows that receive such a file.
    fn flows_for(&self, transport: &str, partner: Option<&str>, file_name: &RemotePath) -> Vec<Arc<Flow>> {
        self.definitions()
            .flows
            .values()
            .filter(|flow| match &flow.source {
                FlowSource::Receive(source) => {
                    flow.enabled
                        && source.listener == transport
                        && source.partner.as_deref().is_none_or(|wanted| Some(wanted) == partner)
                        && source.mask.matches(file_name.file_name())
                }
                FlowSource::Poll(_) => false,
            })
            .cloned()
            .collect()
    }
}

/// What this node has to do with a key: so that one whose reservation got no answer can be freed
/// without taking it from another connection.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Connections that ask for it or receive under it.
    by: u32,
    /// It is being freed: who asks now must come again.
    freeing: bool,
}

/// Whether a reception holds its key in the database.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Surely,
    /// The reservation got no answer.
    Perhaps,
    Not,
}

/// One message being received. Its key is freed when it is dropped without an end.
struct OpenReception {
    shared: Arc<Shared>,
    key: String,
    lease: NodeLease,
    holds: Holds,
    begun: Timestamp,
}

#[async_trait]
impl Reception for OpenReception {
    async fn part(&mut self) -> Result<Box<dyn PartWriter>> {
        let area = Arc::clone(&self.shared.services.staging);
        tokio::task::spawn_blocking(move || area.begin()).await.map_err(|error| {
            Error::transient(ErrorKind::Internal, "begin a part in staging").caused_by(error)
        })?
    }

    async fn commit(mut self: Box<Self>, message: Message, reply: StoredReply) -> Result<Vec<TransferId>> {
        self.shared.lease.may_act(self.lease.epoch)?;
        let received = self.shared.now();
        let offer = self.offer(&message, received);
        let (endpoint, partner) = (message.endpoint.clone(), message.partner.clone());
        let origin =
            Origin { offer: Some(offer.id), endpoint: &endpoint, partner: partner.as_deref(), received };
        let staged: Vec<PayloadId> = message.parts.iter().map(|part| part.staged.id).collect();
        let (transfers, events) = match self.transfers(message, &origin) {
            Ok(made) => made,
            Err(error) => {
                self.shared.discard(staged).await;
                return Err(error);
            }
        };
        let ids = transfers.iter().map(|new| new.transfer.id).collect();
        crash::point("intake.before_commit");
        let commit = IntakeCommit {
            lease: self.lease.clone(),
            key: self.key.clone(),
            offer,
            transfers,
            reply: write_reply(&reply),
            events,
            now: received,
        };
        // A commit whose answer was lost is asked for again: it answers for itself, by its offer's id.
        // Until then the peer gets no answer, and the bytes stay.
        let write = || self.shared.store.intake_commit(commit.clone());
        match self.shared.insist_if_ambiguous("a received message", self.lease.epoch, write).await? {
            IntakeCommitted::Committed => {
                self.holds = Holds::Not;
                crash::point("intake.committed");
                Ok(ids)
            }
            IntakeCommitted::Lost => {
                Err(Error::transient(ErrorKind::Unreachable, "record a received message")
                    .with("key", &self.key)
                    .advice("another node took the reception over; the peer will send again"))
            }
        }
    }

    async fn refuse(mut self: Box<Self>, events: Vec<AuditEvent>, reply: StoredReply) -> Result<()> {
        let reply = write_reply(&reply);
        self.shared
            .store
            .intake_refuse(&self.lease, &self.key, Some(reply), events, self.shared.now())
            .await?;
        self.holds = Holds::Not;
        Ok(())
    }
}

impl OpenReception {
    /// `None` while the key is being freed.
    fn new(shared: &Arc<Shared>, key: &str, lease: NodeLease) -> Option<Self> {
        let mut receiving = shared.receiving();
        let asked = receiving.entry(key.to_owned()).or_default();
        if asked.freeing {
            return None;
        }
        asked.by += 1;
        Some(Self {
            shared: Arc::clone(shared),
            key: key.to_owned(),
            lease,
            holds: Holds::Perhaps,
            begun: shared.now(),
        })
    }

    /// Whether the key is to be freed; notes so, or that this connection has nothing to do with it.
    fn leave(&self) -> bool {
        let mut receiving = self.shared.receiving();
        let Some(asked) = receiving.get_mut(&self.key) else { return false };
        let free = self.holds == Holds::Surely || (self.holds == Holds::Perhaps && asked.by == 1);
        asked.by -= 1;
        asked.freeing |= free;
        if asked.by == 0 && !asked.freeing {
            receiving.remove(&self.key);
        }
        free
    }

    /// What is made of a message. A file that no flow wants, and a message without any, is refused:
    /// never acknowledged and dropped.
    fn transfers(
        &self,
        message: Message,
        origin: &Origin<'_>,
    ) -> Result<(Vec<NewTransfer>, Vec<AuditEvent>)> {
        let mut transfers = Vec::new();
        let mut events = message.events;
        for (part, sequence) in message.parts.into_iter().zip(1_u32..) {
            let flows = self.shared.flows_for(message.transport, message.partner.as_deref(), &part.file_name);
            if flows.is_empty() {
                return Err(no_flow(&message.partner, &part.file_name));
            }
            let own = part.metadata.iter();
            let metadata =
                message.metadata.iter().chain(own).map(|(key, value)| (key.clone(), value.clone()));
            let part = StagedPart {
                metadata: metadata.collect(),
                staged: part.staged,
                file_name: part.file_name,
                media_type: part.media_type,
                connection: message.connection,
            };
            for flow in flows {
                let (transfer, event) = self.shared.new_transfer(&flow, origin, &part, sequence);
                transfers.push(transfer);
                events.push(event);
            }
        }
        if transfers.is_empty() {
            return Err(Error::permanent(ErrorKind::Rejected, "take a message that holds no file")
                .with("partner", message.partner.as_deref().unwrap_or("none")));
        }
        Ok((transfers, events))
    }

    fn offer(&self, message: &Message, received: model::Timestamp) -> Offer {
        let first: Option<&StagedPayload> = message.parts.first().map(|part| &part.staged);
        Offer {
            id: OfferId::new(self.shared.ids.next()),
            identity: OfferIdentity {
                flow: String::new(),
                endpoint: message.endpoint.clone(),
                path: message.parts.first().map(|part| part.file_name.clone()).unwrap_or_default(),
                size: first.map(|staged| staged.length),
                modified: Some(received),
                version: Some(self.key.clone()),
            },
            state: OfferState::Staging,
            found_at: self.begun,
            failures: 0,
            source_data: Map::new(),
        }
    }
}

impl Drop for OpenReception {
    fn drop(&mut self) {
        if !self.leave() {
            return;
        }
        let (shared, key, lease) =
            (Arc::clone(&self.shared), std::mem::take(&mut self.key), self.lease.clone());
        // The runtime is gone only when the process ends; then the key is freed with the lease.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = shared.store.intake_abandon(&lease, &key).await {
                    tracing::warn!(%key, error = %error.chain(), "an abandoned reception's key is still held; it is freed with the node's lease");
                }
                let mut receiving = shared.receiving();
                if let Some(asked) = receiving.get_mut(&key) {
                    asked.freeing = false;
                    if asked.by == 0 {
                        receiving.remove(&key);
                    }
                }
            });
        }
    }
}

fn no_flow(partner: &Option<String>, file_name: &RemotePath) -> Error {
    Error::permanent(ErrorKind::Rejected, "find a flow for a received file")
        .with("partner", partner.as_deref().unwrap_or("none"))
        .with("file_name", file_name)
        .advice("define a flow that receives from this partner with a mask for this name")
}

fn write_reply(reply: &StoredReply) -> Reply {
    Reply { head: json!({ "status": reply.status, "headers": reply.headers }), body: reply.body.clone() }
}

fn read_reply(reply: Reply) -> Result<StoredReply> {
    let broken = || Error::permanent(ErrorKind::Internal, "read a stored reply");
    let status = reply.head.get("status").and_then(serde_json::Value::as_u64);
    let headers = reply.head.get("headers").cloned().ok_or_else(broken)?;
    Ok(StoredReply {
        status: status.and_then(|status| u16::try_from(status).ok()).ok_or_else(broken)?,
        headers: serde_json::from_value(headers).map_err(|error| broken().caused_by(error))?,
        body: reply.body,
    })
}
