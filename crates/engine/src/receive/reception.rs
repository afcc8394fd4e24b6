//! Receiving one message.

use crate::context::Context;
use crate::crash;
use crate::proof;
use crate::receive::keys::{KeyHeld, ReceivingKeys};
use crate::receive::routing::{NotNow, Routes};
use crate::replies::write_reply;
use crate::staged::{blocking, discard};
use crate::transfers::{Origin, new_receipt, new_transfer};
use async_trait::async_trait;
use model::definition::Definitions;
use model::{
    AuditEvent, CertificateExchange, Error, ErrorKind, Offer, OfferId, OfferIdentity, OfferState, PayloadId,
    RemotePath, Result, Sha256, Timestamp, TransferId,
};
use serde_json::{Map, Value};
use std::sync::Arc;
use store::{ExchangeTaken, IntakeCommit, IntakeCommitted, NewTransfer, NodeLease, TakeExchange};
use transport::{
    Evidence, Message, OutgoingReceipt, PartWriter, ReceivedFile, Reception, StagedPart, StagedPayload,
    StoredReply, Wanted, content_digest,
};

/// What happens to a message whose key is held by another one now.
const LOST: &str = "another node receives this message now, or it was taken from an answer; the sender will send it again, and get its answer";

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
    /// The key under which the message was kept while it arrived.
    kept: Option<String>,
}

#[async_trait]
impl Reception for OpenReception {
    async fn part(&mut self) -> Result<Box<dyn PartWriter>> {
        let area = Arc::clone(&self.context.services.staging);
        blocking("begin a part in staging", move || area.begin()).await
    }

    fn wanted(
        &self,
        listener: &str,
        partner: Option<&str>,
        file_name: &RemotePath,
        metadata: &Map<String, Value>,
    ) -> Wanted {
        let file = ReceivedFile { file_name, of_message: metadata, metadata };
        let wanted = self.wanted_files(listener, partner, &[file]).pop();
        wanted.unwrap_or_else(|| Wanted::No(String::new()))
    }

    fn wanted_files(&self, listener: &str, partner: Option<&str>, files: &[ReceivedFile<'_>]) -> Vec<Wanted> {
        let wanted = |route| match route {
            Routes::To(_) => Wanted::Yes,
            Routes::Nowhere(why) => Wanted::No(why),
            Routes::NotNow(NotNow { flow, words, .. }) => Wanted::Paused(format!("flow {flow} is {words}")),
        };
        self.routes(listener, partner, files).into_iter().map(wanted).collect()
    }

    fn was_kept(&mut self, key: &str) {
        self.kept = Some(key.to_owned());
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
        let (evidence, answer_until) = (message.evidence.take(), message.answer_until);
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
            proof::of_received(&self.context, offer.id, &mut transfers, evidence, received)
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
            answer_until,
            events,
            now: received,
        };
        // A commit whose answer was lost is repeated; it is idempotent by the offer's id. Until then the peer gets no
        // answer, and the bytes are kept.
        let write = || async {
            match &self.kept {
                Some(kept) => self.context.store.intake_commit_of_partial(commit.clone(), kept).await,
                None => self.context.store.intake_commit(commit.clone()).await,
            }
        };
        match self.context.write_until_known("a received message", self.lease.epoch, write).await? {
            IntakeCommitted::Committed => {
                self.held = KeyHeld::No;
                crash::point("intake.committed");
                Ok(ids)
            }
            // Its bytes stay for the sweep: an earlier call may have recorded them before the lease was lost.
            IntakeCommitted::Lost => {
                Err(Error::transient(ErrorKind::Unreachable, "record a received message")
                    .with("key", &self.key)
                    .advice(LOST))
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
                .advice(LOST));
        }
        crash::point("intake.refused");
        Ok(())
    }

    async fn take_exchange(
        mut self: Box<Self>,
        exchange: CertificateExchange,
        content: Sha256,
        mut events: Vec<AuditEvent>,
        reply: StoredReply,
        receipts: Vec<OutgoingReceipt>,
    ) -> Result<()> {
        self.context.lease.may_act(self.lease.epoch)?;
        let made = receipts.into_iter().map(|receipt| new_receipt(&self.context, receipt, None, None));
        let (receipts, of_receipts): (Vec<NewTransfer>, Vec<AuditEvent>) = made.unzip();
        events.extend(of_receipts);
        let take = TakeExchange {
            lease: self.lease.clone(),
            key: self.key.clone(),
            exchange,
            reply: write_reply(&reply),
            content,
            receipts,
            events,
            now: self.context.now(),
        };
        crash::point("intake.before_exchange");
        // One whose answer was lost is repeated: it is idempotent by its reply.
        let write = || self.context.store.take_exchange(take.clone());
        let taken =
            self.context.write_until_known("a message about certificates", self.lease.epoch, write).await?;
        let failed = |error: Error| error.with("key", &self.key);
        match taken {
            ExchangeTaken::Taken => {
                self.held = KeyHeld::No;
                Ok(())
            }
            ExchangeTaken::TooMany => Err(failed(
                Error::transient(ErrorKind::Throttled, "record certificates that a partner proposes").advice(
                    "too many proposals of this partner wait for a decision, or came within a day: `waybill cert proposals`",
                ),
            )),
            ExchangeTaken::Lost => Err(failed(
                Error::transient(ErrorKind::Unreachable, "record a message about certificates")
                    .advice(LOST),
            )),
        }
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
            kept: None,
        })
    }

    /// Routes by the definitions under which it began; pauses and full queues take effect at once.
    fn routes(&self, listener: &str, partner: Option<&str>, files: &[ReceivedFile<'_>]) -> Vec<Routes> {
        let suspensions = self.context.suspensions();
        let now = (&*suspensions, &self.context.queues);
        Routes::of_message(&self.definitions, now, (listener, partner), files)
    }

    /// The records of a message. If no flow accepts a file, or the message has no file, it is refused: it is never
    /// acknowledged and dropped.
    fn transfers(
        &self,
        message: Message,
        origin: &Origin<'_>,
    ) -> Result<(Vec<NewTransfer>, Vec<AuditEvent>)> {
        let Message { listener, partner, metadata, mut events, parts, .. } = message;
        let with_all = |part: StagedPart| {
            let own = part.metadata.iter();
            let metadata = metadata.iter().chain(own).map(|(key, value)| (key.clone(), value.clone()));
            StagedPart { metadata: metadata.collect(), ..part }
        };
        let parts: Vec<StagedPart> = parts.into_iter().map(with_all).collect();
        let files = parts.iter().map(|part| ReceivedFile {
            file_name: &part.file_name,
            of_message: &metadata,
            metadata: &part.metadata,
        });
        let files: Vec<ReceivedFile<'_>> = files.collect();
        let routes = self.routes(&listener, partner.as_deref(), &files);
        let mut transfers = Vec::new();
        for ((part, place), route) in parts.iter().zip(0..).zip(routes) {
            let flows = match route {
                Routes::To(flows) => flows,
                Routes::Nowhere(why) => return Err(no_flow(partner.as_deref(), &part.file_name, why)),
                Routes::NotNow(not_now) => return Err(accepts_nothing(&not_now, &part.file_name)),
            };
            for flow in flows {
                // Only of the first file there are such flows.
                let attachments = if flow.together { parts.get(1..).unwrap_or_default() } else { &[] };
                let (transfer, event) =
                    new_transfer(&self.context, &flow, origin, (part, attachments), place + 1);
                transfers.push(transfer);
                events.push(event);
            }
        }
        if transfers.is_empty() {
            return Err(Error::permanent(ErrorKind::Rejected, "accept a message that contains no file")
                .with("partner", partner.as_deref().unwrap_or("none")));
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

fn no_flow(partner: Option<&str>, file_name: &RemotePath, why: String) -> Error {
    Error::permanent(ErrorKind::Rejected, "find a flow for a received file")
        .with("partner", partner.unwrap_or("none"))
        .with("file_name", file_name)
        .advice(why)
}
