//! What listeners call: the engine's side of a reception.

use crate::context::Context;
use crate::crash;
use crate::deliver::payload::StagedBytes;
use crate::deliver::proof;
use crate::receive::kept::EngineKept;
use crate::receive::keys::{KeyHeld, ReceivingKeys};
use crate::receive::reception::OpenReception;
use crate::replies::{read_reply, write_reply};
use crate::staged::discard;
use crate::transfers::new_receipt;
use async_trait::async_trait;
use model::definition::RetryPolicy;
use model::{Error, ErrorKind, PeerText, Result, Retry, TELL_PARTNER, Timestamp};
use serde_json::Map;
use std::sync::Arc;
use store::{
    Answered, AwaitedDelivery, IntakeBegun, NewEvidence, ReceiptJudgedBy, ReceiptRecord, ReceiptSays,
};
use transport::{
    AnswerState, AnsweredMessage, Awaited, Begin, Evidence, Intake, JudgedBy, Judgement, KeptMessages,
    OutgoingReceipt, Resolution, Resolved, Shutdown, StoredReply,
};

/// The engine's interface for listeners.
pub(crate) struct EngineIntake {
    context: Arc<Context>,
    keys: Arc<ReceivingKeys>,
    kept: EngineKept,
}

impl EngineIntake {
    pub(crate) fn new(context: Arc<Context>, shutdown: Shutdown) -> Self {
        Self { kept: EngineKept::new(Arc::clone(&context), shutdown), context, keys: Arc::default() }
    }
}

#[async_trait]
impl Intake for EngineIntake {
    async fn begin(&self, key: &str) -> Result<Begin> {
        let context = &self.context;
        let lease = context.lease.current();
        context.lease.may_act(lease.epoch)?;
        let Some(mut reception) = OpenReception::new(context, &self.keys, key, lease.clone()) else {
            return Ok(Begin::InProgress);
        };
        Ok(match context.store.intake_begin(&lease, key, context.now()).await? {
            IntakeBegun::New => {
                crash::point("intake.begun");
                reception.held = KeyHeld::Yes;
                Begin::New(Box::new(reception))
            }
            IntakeBegun::InProgress => {
                reception.held = KeyHeld::No;
                Begin::InProgress
            }
            IntakeBegun::Answered(Answered { reply, content, from_answer }) => {
                reception.held = KeyHeld::No;
                Begin::Answered(AnsweredMessage { reply: read_reply(reply)?, content, from_answer })
            }
        })
    }

    async fn awaited(&self, correlation: &str) -> Result<Option<Awaited>> {
        let context = &self.context;
        let Some(found) = context.store.awaited(correlation).await? else { return Ok(None) };
        let AwaitedDelivery { delivery, transfer, payload, notes, .. } = found;
        // Comparing it with a receipt is none of the endpoint's bandwidth.
        let pace = context.paces.of("");
        let payload = StagedBytes::new(context.staging.clone(), payload, transfer.metadata, pace)?;
        Ok(Some(Awaited {
            delivery: delivery.id,
            transfer: transfer.id,
            state: delivery.state,
            attempt: delivery.attempt,
            flow: transfer.flow,
            endpoint: delivery.endpoint,
            notes,
            payload: Arc::new(payload),
        }))
    }

    async fn resolve(&self, correlation: &str, resolution: Resolution) -> Result<Resolved> {
        let context = &self.context;
        let Resolution { judgement, partner, notes, events, if_retried, digest, judged_by, evidence } =
            resolution;
        let about = match &judgement {
            Judgement::Proof(_) => Vec::new(),
            Judgement::Refusal { error, .. } | Judgement::NoProof { error, .. } => about(error),
        };
        let says = match judgement {
            Judgement::Proof(receipt) => ReceiptSays::Proof(receipt),
            Judgement::Refusal { receipt, error, may_contradict } => {
                let retry_at = self.retry_at(correlation, &error).await?;
                ReceiptSays::Refusal { receipt, error: (&error).into(), retry_at, may_contradict }
            }
            Judgement::NoProof { receipt, error } => ReceiptSays::NoProof { receipt, error: (&error).into() },
        };
        let now = context.now();
        let evidence = match (&says, evidence) {
            (ReceiptSays::Proof(_), Some(evidence)) => self.evidence(correlation, evidence, now).await?,
            _ => None,
        };
        let judged_by = judged_by.map(|JudgedBy { attempt, notes }| ReceiptJudgedBy { attempt, notes });
        let record = ReceiptRecord { notes, events, if_retried, digest, judged_by, evidence, about, partner };
        crash::point("receipt.before_resolve");
        let node = &context.settings.node;
        let resolved = context.store.resolve_noting(correlation, says.clone(), record, node, now).await?;
        crash::point("receipt.resolved");
        log(correlation, &says, &resolved);
        Ok(match resolved {
            store::Resolved::Resolved { .. } => Resolved::Matched,
            store::Resolved::AlreadyResolved { .. } => Resolved::Already,
            store::Resolved::Unproven { .. } => Resolved::Unproven,
            store::Resolved::Unmatched => Resolved::Unmatched,
            store::Resolved::Changed => Resolved::Changed,
        })
    }

    async fn repeat_receipts(&self, key: &str, receipts: Vec<OutgoingReceipt>) -> Result<bool> {
        let context = &self.context;
        let epoch = context.lease.current().epoch;
        context.lease.may_act(epoch)?;
        let staged = receipts.iter().map(|receipt| receipt.part.staged.id).collect();
        let of_other = receipts.iter().any(|receipt| receipt.of_other);
        let made = receipts.into_iter().map(|receipt| new_receipt(context, receipt, None, None));
        let (transfers, events): (Vec<_>, Vec<_>) = made.unzip();
        let now = context.now();
        let write = || async {
            let (transfers, events) = (transfers.clone(), events.clone());
            match of_other {
                true => context.store.refuse_repetition(key, transfers, events, now).await,
                false => context.store.repeat_receipts(key, transfers, events, now).await,
            }
        };
        let sent = context.write_until_known("receipts that are sent again", epoch, write).await?;
        if !sent {
            discard(&context.staging, staged).await;
        }
        Ok(sent)
    }

    async fn open_receipts(&self, partner: &str, most: u32) -> Result<u32> {
        self.context.store.open_receipts(partner, most).await
    }

    async fn answer(&self, key: &str, reply: &StoredReply) -> Result<AnswerState> {
        self.state_of(self.context.store.answer_state(key, &write_reply(reply)).await?)
    }

    async fn close_answer(&self, key: &str, reply: &StoredReply) -> Result<AnswerState> {
        self.state_of(self.context.store.close_answer(key, &write_reply(reply)).await?)
    }

    fn kept(&self) -> &dyn KeptMessages {
        &self.kept
    }
}

impl EngineIntake {
    /// How an answer stands, with its body opened.
    fn state_of(&self, state: store::AnswerState) -> Result<AnswerState> {
        Ok(match state {
            store::AnswerState::Plain => AnswerState::Plain,
            store::AnswerState::Waiting(until) => AnswerState::Waiting(until),
            store::AnswerState::Given { head, body } => {
                let context = &self.context;
                let head = read_reply(store::Reply { head, body: Vec::new() })?;
                // It is none of the endpoint's bandwidth.
                let pace = context.paces.of("");
                let body = StagedBytes::new(context.staging.clone(), body, Map::new(), pace)?;
                AnswerState::Given { head, body: Arc::new(body) }
            }
        })
    }

    /// What proves the message of the delivery that a receipt proves, as it is recorded.
    async fn evidence(
        &self,
        correlation: &str,
        evidence: Evidence,
        now: Timestamp,
    ) -> Result<Option<NewEvidence>> {
        let context = &self.context;
        let found = context.store.awaited(correlation).await?;
        Ok(found.map(|AwaitedDelivery { delivery, transfer, payload, .. }| {
            proof::of_delivery(context, (&transfer, &delivery, &payload), evidence, now)
        }))
    }

    /// When a delivery that a receipt refuses is tried again, as after a failed attempt; `None` if it is not.
    async fn retry_at(&self, correlation: &str, error: &Error) -> Result<Option<Timestamp>> {
        if error.retry() == Retry::Permanent {
            return Ok(None);
        }
        let context = &self.context;
        let Some(AwaitedDelivery { delivery, transfer, failures, .. }) =
            context.store.awaited(correlation).await?
        else {
            return Ok(None);
        };
        let policy = match context.flow_at(&transfer.flow, delivery.revision_of(&transfer)).await {
            Ok(at) => at.retry_policy(&delivery.destination),
            Err(unread) if unread.kind() == ErrorKind::ConfigInvalid => RetryPolicy::default(),
            Err(away) => return Err(away),
        };
        let wait = policy.wait_after(failures.saturating_add(1), context.jitter());
        Ok(wait.map(|wait| context.now() + wait))
    }
}

/// What the event of a receipt says of an error besides its words.
fn about(error: &Error) -> Vec<(&'static str, String)> {
    let step = error.failed_step().map(|step| ("failed_at", step.as_str().to_owned()));
    let words = error.for_partner().map(|words| (TELL_PARTNER, words.to_owned()));
    step.into_iter().chain(words).collect()
}

/// The line in the log.
fn log(correlation: &str, says: &ReceiptSays, resolved: &store::Resolved) {
    let key = PeerText::from(correlation);
    match (resolved, says) {
        (store::Resolved::Resolved { transfer, delivery, .. }, ReceiptSays::Proof(receipt)) => {
            tracing::info!(%transfer, %delivery, %key, receipt = %receipt.summary, "delivered: its receipt came");
        }
        (
            store::Resolved::Resolved { transfer, delivery, .. },
            ReceiptSays::Refusal { error, .. } | ReceiptSays::NoProof { error, .. },
        ) => {
            tracing::error!(%transfer, %delivery, %key, error = %error.text, "a receipt refuses a delivery");
        }
        (store::Resolved::Unproven { transfer, delivery }, _) => {
            tracing::warn!(%transfer, %delivery, %key, "a receipt proves nothing; the delivery still waits for one");
        }
        (
            store::Resolved::AlreadyResolved { transfer, delivery, state },
            ReceiptSays::Refusal { error, .. },
        ) => {
            tracing::warn!(%transfer, %delivery, %key, %state, error = %error.text, "a refusal arrived and changed nothing");
        }
        (store::Resolved::AlreadyResolved { transfer, delivery, state }, _) => {
            tracing::info!(%transfer, %delivery, %key, %state, "a receipt arrived and changed nothing");
        }
        (store::Resolved::Unmatched, _) => {
            tracing::warn!(%key, "no delivery waits for a receipt that arrived")
        }
        (store::Resolved::Changed, _) => {
            tracing::debug!(%key, "the delivery changed while its receipt was judged: it is judged again");
        }
    }
}
