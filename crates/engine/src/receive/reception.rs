//! Receiving one message.

use crate::context::Context;
use crate::crash;
use crate::receive::keys::{KeyHeld, ReceivingKeys};
use crate::receive::proof;
use crate::receive::reply::write_reply;
use crate::receive::routing::{NotNow, Routes};
use crate::staged::{blocking, discard};
use crate::transfers::{Origin, new_receipt, new_transfer};
use async_trait::async_trait;
use model::definition::Definitions;
use model::{
    AuditEvent, Error, ErrorKind, Offer, OfferId, OfferIdentity, OfferState, PayloadId, RemotePath, Result,
    Sha256, Timestamp, TransferId,
};
use serde_json::Map;
use std::sync::Arc;
use store::{IntakeCommit, IntakeCommitted, NewTransfer, NodeLease};
use transport::{
    Evidence, Message, OutgoingReceipt, PartWriter, Reception, StagedPart, StagedPayload, StoredReply,
    Wanted, content_digest,
};

/// One message that is being received. Its key is freed if this is dropped without a commit or a refusal.
pub(crate) struct OpenReception {
    context: Arc<Context>,
    keys: Arc<ReceivingKeys>,
    key: String,
    lease: NodeLease,
    pub(crate) held: KeyHeld,
    begun: Timestamp,
    /// The definitions in force when it began. The message ends under them, however long it takes.
    definitions: Arc<Definitions>,
}

#[async_trait]
impl Reception for OpenReception {
    async fn part(&mut self) -> Result<Box<dyn PartWriter>> {
        let area = Arc::clone(&self.context.services.staging);
        blocking("begin a part in staging", move || area.begin()).await
    }

    fn wanted(&self, listener: &str, partner: Option<&str>, file_name: &RemotePath) -> Wanted {
        match self.routes(listener, partner, file_name) {
            Routes::To(_) => Wanted::Yes,
            Routes::Nowhere => Wanted::No,
            Routes::NotNow(not_now) => Wanted::Paused(format!("flow {} is {}", not_now.flow, not_now.words)),
        }
    }

    async fn commit(
        mut self: Box<Self>,
        mut message: Message,
        reply: StoredReply,
    ) -> Result<Vec<TransferId>> {
        self.context.lease.may_act(self.lease.epoch)?;
        let received = self.context.now();
        let offer = self.offer(&message, received);
        let (endpoint, partner) = (message.endpoint.clone(), message.partner.clone());
        let origin = Origin {
            offer: Some(offer.id),
            endpoint: &endpoint,
            partner: partner.as_deref(),
            received,
            revision: self.definitions.revision,
        };
        let receipts = std::mem::take(&mut message.receipts);
        let evidence = message.evidence.take();
        let own = evidence.as_ref().and_then(Evidence::staged).map(|staged| staged.id);
        let parts = message.parts.iter().chain(receipts.iter().map(|receipt| &receipt.part));
        let staged: Vec<PayloadId> = parts.map(|part| part.staged.id).chain(own).collect();
        // Of the message alone: a receipt of ours is none of its content.
        let content: Vec<Sha256> = message.parts.iter().map(|part| part.staged.sha256).collect();
        let (mut transfers, mut events) = match self.transfers(message, &origin) {
            Ok(made) => made,
            Err(error) => {
                discard(&self.context.staging, staged).await;
                return Err(error);
            }
        };
        let ids: Vec<TransferId> = transfers.iter().map(|new| new.transfer.id).collect();
        let evidence = evidence.and_then(|evidence| {
            proof::of_message(&self.context, offer.id, &mut transfers, evidence, received)
        });
        for receipt in receipts {
            let (new, event) = new_receipt(&self.context, receipt, origin.offer, ids.first().copied());
            transfers.push(new);
            events.push(event);
        }
        crash::point("intake.before_commit");
        let commit = IntakeCommit {
            lease: self.lease.clone(),
            key: self.key.clone(),
            offer,
            transfers,
            reply: write_reply(&reply),
            content: Some(content_digest(&content)),
            evidence,
            events,
            now: received,
        };
        // A commit whose answer was lost is repeated; it is idempotent by the offer's id. Until then the peer gets no
        // answer, and the bytes are kept.
        let write = || self.context.store.intake_commit(commit.clone());
        match self.context.write_until_known("a received message", self.lease.epoch, write).await? {
            IntakeCommitted::Committed => {
                self.held = KeyHeld::No;
                crash::point("intake.committed");
                Ok(ids)
            }
            IntakeCommitted::Lost => {
                Err(Error::transient(ErrorKind::Unreachable, "record a received message")
                    .with("key", &self.key)
                    .advice("another node receives this message now; the sender will send it again"))
            }
        }
    }

    async fn refuse(
        mut self: Box<Self>,
        mut events: Vec<AuditEvent>,
        reply: StoredReply,
        receipts: Vec<OutgoingReceipt>,
    ) -> Result<()> {
        let (reply, now) = (write_reply(&reply), self.context.now());
        let made = receipts.into_iter().map(|receipt| new_receipt(&self.context, receipt, None, None));
        let (receipts, of_receipts): (Vec<NewTransfer>, Vec<AuditEvent>) = made.unzip();
        events.extend(of_receipts);
        crash::point("intake.before_refuse");
        let write = || {
            let Self { context, lease, key, .. } = &*self;
            let (reply, receipts, events) = (Some(reply.clone()), receipts.clone(), events.clone());
            context.store.intake_refuse(lease, key, reply, receipts, events, now)
        };
        let held = match receipts.is_empty() {
            true => write().await?,
            // One whose answer was lost is repeated, as a commit: it is idempotent by the receipts' ids.
            false => {
                self.context.write_until_known("why a message was refused", self.lease.epoch, write).await?
            }
        };
        self.held = KeyHeld::No;
        if !held && !receipts.is_empty() {
            return Err(Error::transient(ErrorKind::Unreachable, "record why a message was refused")
                .with("key", &self.key)
                .advice("another node receives this message now; the sender will send it again"));
        }
        crash::point("intake.refused");
        Ok(())
    }
}

impl OpenReception {
    /// `None` while the key is being freed.
    pub(crate) fn new(
        context: &Arc<Context>,
        keys: &Arc<ReceivingKeys>,
        key: &str,
        lease: NodeLease,
    ) -> Option<Self> {
        keys.enter(key).then(|| Self {
            context: Arc::clone(context),
            keys: Arc::clone(keys),
            key: key.to_owned(),
            lease,
            held: KeyHeld::Unknown,
            begun: context.now(),
            definitions: context.definitions(),
        })
    }

    /// Routes by the definitions under which it began; pauses and full queues take effect at once.
    fn routes(&self, listener: &str, partner: Option<&str>, file_name: &RemotePath) -> Routes {
        let suspensions = self.context.suspensions();
        let now = (&*suspensions, &self.context.queues);
        Routes::of(&self.definitions, now, listener, partner, file_name)
    }

    /// The records of a message. If no flow accepts a file, or the message has no file, it is refused: it is never
    /// acknowledged and dropped.
    fn transfers(
        &self,
        message: Message,
        origin: &Origin<'_>,
    ) -> Result<(Vec<NewTransfer>, Vec<AuditEvent>)> {
        let mut transfers = Vec::new();
        let mut events = message.events;
        for (part, sequence) in message.parts.into_iter().zip(1_u32..) {
            let partner = message.partner.as_deref();
            let flows = match self.routes(&message.listener, partner, &part.file_name) {
                Routes::To(flows) => flows,
                Routes::Nowhere => return Err(no_flow(&message.partner, &part.file_name)),
                Routes::NotNow(not_now) => return Err(accepts_nothing(&not_now, &part.file_name)),
            };
            let own = part.metadata.iter();
            let metadata =
                message.metadata.iter().chain(own).map(|(key, value)| (key.clone(), value.clone()));
            let part = StagedPart {
                metadata: metadata.collect(),
                staged: part.staged,
                file_name: part.file_name,
                media_type: part.media_type,
                connection: part.connection,
            };
            for flow in flows {
                let (transfer, event) = new_transfer(&self.context, &flow, origin, &part, sequence);
                transfers.push(transfer);
                events.push(event);
            }
        }
        if transfers.is_empty() {
            return Err(Error::permanent(ErrorKind::Rejected, "accept a message that contains no file")
                .with("partner", message.partner.as_deref().unwrap_or("none")));
        }
        Ok((transfers, events))
    }

    fn offer(&self, message: &Message, received: Timestamp) -> Offer {
        let first: Option<&StagedPayload> = message.parts.first().map(|part| &part.staged);
        Offer {
            id: OfferId::new(self.context.ids.next()),
            identity: OfferIdentity {
                flow: String::new(),
                endpoint: message.endpoint.clone(),
                path: message.parts.first().map(|part| part.file_name.clone()).unwrap_or_default(),
                size: first.map(|staged| staged.length),
                modified: Some(received),
                version: Some(self.key.clone()),
                rule: model::IdentityRule::default(),
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
        if !self.keys.leave(&self.key, self.held) {
            return;
        }
        let (context, keys) = (Arc::clone(&self.context), Arc::clone(&self.keys));
        let (key, lease) = (std::mem::take(&mut self.key), self.lease.clone());
        // There is no runtime only when the process ends; then the key is freed with the lease.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = context.store.intake_abandon(&lease, &key).await {
                    tracing::warn!(%key, error = %error.chain(), "a message whose reception was cancelled still counts as being received; it can be sent again when the node's lease ends");
                }
                keys.freed(&key);
            });
        }
    }
}

/// The error if a flow was paused, or a queue filled up, between the listener's question and the record.
fn accepts_nothing(not_now: &NotNow, file_name: &RemotePath) -> Error {
    Error::transient(ErrorKind::Throttled, "accept a received file for a flow that accepts nothing now")
        .with("flow", &not_now.flow)
        .with("state", &not_now.words)
        .with("file_name", file_name)
        .advice(not_now.advice)
}

fn no_flow(partner: &Option<String>, file_name: &RemotePath) -> Error {
    Error::permanent(ErrorKind::Rejected, "find a flow for a received file")
        .with("partner", partner.as_deref().unwrap_or("none"))
        .with("file_name", file_name)
        .advice("define a flow that receives from this partner with a mask for this name")
}
