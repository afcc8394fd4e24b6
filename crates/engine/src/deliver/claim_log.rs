//! Notes and correlations of one claim.

use crate::context::Context;
use crate::crash;
use crate::deliver::payload::StagedBytes;
use crate::node::lease::NodeLeaseKeeper;
use crate::pace::Pace;
use crate::replies::{read_reply, write_reply};
use crate::staged::discard;
use async_trait::async_trait;
use model::{Claim, Content, Error, ErrorKind, PayloadRecord, RemotePath, Result, Retry, SendProgress};
use serde_json::{Map, Value};
use staging::Staging;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use store::{AnswerGiven, Claimed, Done, Store};
use transport::{
    AnsweredBy, Clock, DeliveryLog, Evidence, KeptBytes, Payload, StagedPayload, StoredReply, WaitingAnswer,
};

/// Notes and correlations of one claim.
pub(crate) struct ClaimLog {
    store: Store,
    lease: Arc<NodeLeaseKeeper>,
    claim: Claim,
    /// Where kept bytes are, how quickly they may be read, the name of the file that is delivered, and the time.
    staging: Staging,
    pace: Pace,
    file_name: RemotePath,
    clock: Arc<dyn Clock>,
    /// Whether the database failed to store something: then the failure of the attempt is not the endpoint's.
    failed: Arc<AtomicBool>,
    /// What proves the message of this attempt.
    evidence: Arc<Mutex<Option<Evidence>>>,
}

impl ClaimLog {
    /// Of a claimed delivery. What the database failed to store is noted in `unnoted`.
    pub(crate) fn new(
        context: &Context,
        claimed: &Claimed,
        evidence: &Arc<Mutex<Option<Evidence>>>,
        unnoted: &Arc<AtomicBool>,
    ) -> Self {
        Self {
            store: context.store.clone(),
            lease: Arc::clone(&context.lease),
            claim: claimed.claim.clone(),
            staging: context.staging.clone(),
            pace: context.paces.of(&claimed.delivery.endpoint),
            file_name: claimed.delivery.file_name.clone(),
            clock: Arc::clone(&context.services.clock),
            failed: Arc::clone(unnoted),
            evidence: Arc::clone(evidence),
        }
    }

    fn noting(&self, answer: Result<Done>) -> Result<Done> {
        if answer.is_err() {
            self.failed.store(true, Ordering::SeqCst);
        }
        answer
    }

    fn record(&self, bytes: &StagedPayload) -> PayloadRecord {
        PayloadRecord {
            id: bytes.id,
            length: bytes.length,
            content: Content::Staged(bytes.sha256),
            media_type: None,
            file_name: self.file_name.clone(),
            staged_at: self.clock.now(),
        }
    }
}

#[async_trait]
impl DeliveryLog for ClaimLog {
    async fn note(&self, key: &str, value: Value) -> Result<()> {
        crash::point("deliver.noting");
        let answer = self.noting(self.store.note(&self.claim, key, value).await)?;
        crash::point("deliver.noted");
        held(answer, &self.claim)
    }

    async fn keep(&self, key: &str, bytes: StagedPayload, about: Value) -> Result<Arc<dyn Payload>> {
        let record = self.record(&bytes);
        let kept = KeptBytes { bytes, about };
        crash::point("deliver.keeping");
        let note = kept.to_note()?;
        let answer = self.noting(self.store.keep(&self.claim, key, note, record).await)?;
        crash::point("deliver.kept");
        held(answer, &self.claim)?;
        self.kept(&kept)
    }

    fn kept(&self, kept: &KeptBytes) -> Result<Arc<dyn Payload>> {
        let (staging, pace) = (self.staging.clone(), self.pace.clone());
        Ok(Arc::new(StagedBytes::new(staging, self.record(&kept.bytes), Map::new(), pace)?))
    }

    async fn correlate(&self, key: &str) -> Result<()> {
        let answer = self.noting(self.store.correlate(&self.claim, key).await)?;
        held(answer, &self.claim)
    }

    async fn waiting_answer(&self, of: &AnsweredBy) -> Result<Option<WaitingAnswer>> {
        let of = match of {
            AnsweredBy::Key(key) => store::AnsweredBy::Key(key.clone()),
            AnsweredBy::Transfer(transfer) => store::AnsweredBy::Transfer(*transfer),
        };
        let found = self.store.waiting_answer(&of, self.clock.now()).await;
        let found = found.inspect_err(|_| self.failed.store(true, Ordering::SeqCst))?;
        match found {
            Some((key, reply)) => Ok(Some(WaitingAnswer { key, reply: read_reply(reply)? })),
            None => Ok(None),
        }
    }

    async fn give_answer(&self, key: &str, head: StoredReply, body: StagedPayload) -> Result<bool> {
        crash::point("answer.giving");
        let (head, record) = (write_reply(&head).head, self.record(&body));
        let now = self.clock.now();
        let write = || self.store.give_answer(&self.claim, key, head.clone(), record.clone(), now);
        // Where its commit was not confirmed it is asked once more: it is idempotent by the body's id.
        let given = match write().await {
            Err(error) if error.retry() == Retry::Ambiguous => write().await,
            given => given,
        };
        let given = given.inspect_err(|_| self.failed.store(true, Ordering::SeqCst))?;
        crash::point("answer.given");
        match given {
            AnswerGiven::Given => Ok(true),
            AnswerGiven::TooLate => {
                discard(&self.staging, vec![body.id]).await;
                Ok(false)
            }
            AnswerGiven::ClaimLost => held(Done::ClaimLost, &self.claim).map(|()| false),
        }
    }

    fn prove(&self, evidence: Evidence) {
        *self.evidence.lock().unwrap_or_else(PoisonError::into_inner) = Some(evidence);
    }

    async fn on_the_wire(&self, progress: SendProgress) {
        // The failure of this write is not that of the attempt: it is not noted in `failed`.
        if let Err(error) = self.store.note_progress(&self.claim, &progress).await {
            let delivery = self.claim.delivery;
            tracing::debug!(%delivery, error = %error.chain(), "how much of a file has been sent could not be stored");
        }
    }

    fn may_act(&self) -> Result<()> {
        crash::point("deliver.before_act");
        self.lease.may_act(self.claim.epoch)
    }
}

fn held(answer: Done, claim: &Claim) -> Result<()> {
    match answer {
        Done::Done => Ok(()),
        Done::ClaimLost => Err(Error::transient(ErrorKind::ClaimLost, "continue this delivery")
            .with("delivery", claim.delivery)
            .with("attempt", claim.attempt)
            .advice("another node holds it now; nothing needs to be done")),
    }
}
