//! One attempt at a delivery, and what follows from how it ended.

use crate::adapters::ClaimLog;
use crate::crash;
use crate::recording::{Origin, StagedPart};
use crate::shared::Shared;
use crate::staging_area::StagedBytes;
use futures::FutureExt;
use model::definition::RetryPolicy;
use model::{Claim, Error, ErrorKind, EventKind, Result, Retry, Transfer, TransferKind, TransferState};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use store::{Claimed, Finish, Finished, NewTransfer, Overdue};
use transport::{Deliver, Reply, Sent};

/// Between two tries to record how an attempt ended, while the database is away.
const RECORD_AGAIN: Duration = Duration::from_secs(2);

impl Shared {
    /// Makes one attempt and records its end, whatever it is.
    pub(crate) async fn attempt(self: &Arc<Self>, claimed: Claimed) {
        crash::point("deliver.claimed");
        let endpoint = claimed.delivery.endpoint.clone();
        // A transport that panics must not take the others with it, nor leave its delivery `sending`.
        let result = match AssertUnwindSafe(self.deliver(&claimed)).catch_unwind().await {
            Ok(result) => result,
            Err(_) => Err(Error::transient(ErrorKind::Internal, "deliver a file: the transport panicked")
                .with("endpoint", &endpoint)
                .advice("this is a fault of Waybill; the log has its place")),
        };
        crash::point("deliver.sent");
        let reached = match &result {
            Ok(_) => true,
            Err(error) => {
                !matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Throttled)
            }
        };
        let change = self.health.end(&endpoint, reached, self.now());
        self.record_health(&endpoint, change).await;
        self.finish(&claimed, result).await;
    }

    async fn deliver(&self, claimed: &Claimed) -> Result<Sent> {
        let (endpoint, transport) = self.endpoint(&claimed.delivery.endpoint)?;
        let destination = transport.destination(endpoint, self.services.clone())?;
        if claimed.delivery.file_name.escapes() || claimed.delivery.file_name.file_name().is_empty() {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "name the file at the destination")
                .with("file_name", &claimed.delivery.file_name)
                .advice("change the destination's file_name template"));
        }
        let deliver = Deliver {
            claim: claimed.claim.clone(),
            payload: Arc::new(StagedBytes {
                staging: self.staging.clone(),
                record: claimed.transfer.payload.clone(),
                metadata: claimed.transfer.metadata.clone(),
            }),
            file_name: claimed.delivery.file_name.clone(),
            flow: claimed.transfer.flow.clone(),
            partner: claimed.transfer.partner.clone(),
            notes: claimed.notes.clone(),
            interrupted: claimed.interrupted,
            log: Arc::new(ClaimLog {
                store: self.store.clone(),
                lease: Arc::clone(&self.lease),
                claim: claimed.claim.clone(),
            }),
        };
        destination.deliver(deliver).await
    }

    /// Records how an attempt ended; also that of one whose receipt never came.
    pub(crate) async fn finish(&self, claimed: &Claimed, result: Result<Sent>) {
        let (finish, event) = self.conclude(claimed, result);
        crash::point("finish.before");
        let claim = &claimed.claim;
        let events = vec![event];
        // The delivery happened, or failed: forgetting that would repeat it. While the database is
        // away the store already waits; beyond that this goes on until the lease is gone for sure.
        loop {
            match self.store.finish(claim, finish.clone(), self.now(), events.clone()).await {
                Ok(Finished::Done { transfer_ended }) => {
                    crash::point("finish.after");
                    return log_end(claimed, &finish, transfer_ended);
                }
                Ok(Finished::AlreadyResolved(_)) => return,
                Ok(Finished::ClaimLost) => return log_lost(claim),
                Err(error) => {
                    tracing::warn!(delivery = %claim.delivery, error = %error.chain(), "an attempt's end could not be recorded yet");
                    if self.lease.current().epoch != claim.epoch {
                        return log_lost(claim);
                    }
                    self.services.clock.sleep(RECORD_AGAIN).await;
                }
            }
        }
    }

    fn conclude(&self, claimed: &Claimed, result: Result<Sent>) -> (Finish, model::AuditEvent) {
        let event = |kind| {
            let event = self
                .event(kind)
                .flow(&claimed.transfer.flow)
                .endpoint(&claimed.delivery.endpoint)
                .transfer(claimed.transfer.id)
                .delivery(claimed.delivery.id)
                .detail("attempt", claimed.claim.attempt);
            match &claimed.transfer.partner {
                Some(partner) => event.partner(partner),
                None => event,
            }
        };
        match result {
            Ok(Sent::Delivered { receipt, replies }) => {
                let event = event(EventKind::DeliveryDelivered)
                    .detail("receipt", receipt.kind.as_str())
                    .peer_detail("summary", &receipt.summary);
                let replies = replies.into_iter().map(|reply| self.reply(&claimed.transfer, reply)).collect();
                (Finish::Delivered { receipt, evidence: None, replies }, event)
            }
            Ok(Sent::Awaiting { deadline }) => {
                let until = deadline.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
                (Finish::Awaiting { deadline }, event(EventKind::DeliveryAwaiting).detail("until", until))
            }
            Err(error) => {
                let (policy, lane_continues) = self.policy(&claimed.transfer, &claimed.delivery.destination);
                let failures = claimed.failures.saturating_add(1);
                let wait = match error.retry() {
                    Retry::Permanent => None,
                    Retry::Transient | Retry::Ambiguous => policy.wait_after(failures, self.jitter()),
                };
                match wait {
                    Some(wait) => {
                        let due_at = self.now() + wait;
                        let event = event(EventKind::DeliveryRetrying)
                            .error(&error)
                            .detail("next", due_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
                        (Finish::Retry { due_at, error: (&error).into() }, event)
                    }
                    None => {
                        let event =
                            event(EventKind::DeliveryFailed).error(&error).detail("failures", failures);
                        (Finish::Fail { error: (&error).into(), receipt: None, lane_continues }, event)
                    }
                }
            }
        }
    }

    /// How a destination's failures are retried, by the flow in force; the default when it is gone.
    fn policy(&self, transfer: &Transfer, destination: &str) -> (RetryPolicy, bool) {
        let definitions = self.definitions();
        let flow = definitions.flows.get(&transfer.flow);
        let policy = flow
            .and_then(|flow| flow.destinations.iter().find(|d| d.name == destination))
            .map_or_else(RetryPolicy::default, |destination| destination.retry);
        (policy, flow.is_some_and(|flow| flow.continue_after_failure))
    }

    /// A payload that came with a delivery's answer: a transfer of its own, child of the one sent.
    fn reply(&self, parent: &Transfer, reply: Reply) -> NewTransfer {
        let part = StagedPart {
            staged: reply.staged,
            file_name: reply.file_name,
            media_type: reply.media_type,
            metadata: reply.metadata,
        };
        let origin =
            Origin { offer: None, endpoint: "", partner: parent.partner.as_deref(), received: self.now() };
        let definitions = self.definitions();
        let destinations = definitions.flows.get(&parent.flow);
        let mut new = match destinations {
            Some(flow) => self.new_transfer(flow, &origin, &part, 1).0,
            None => self.bare_transfer(parent, &origin, part),
        };
        // A reply goes nowhere by itself: it is kept beside its parent for a person or a later step.
        new.deliveries.clear();
        new.transfer.kind = TransferKind::Reply;
        new.transfer.parent = Some(parent.id);
        new
    }

    fn bare_transfer(&self, parent: &Transfer, origin: &Origin<'_>, part: StagedPart) -> NewTransfer {
        NewTransfer {
            transfer: Transfer {
                id: model::TransferId::new(self.ids.next()),
                kind: TransferKind::Reply,
                flow: parent.flow.clone(),
                offer: None,
                parent: Some(parent.id),
                partner: parent.partner.clone(),
                payload: model::PayloadRecord {
                    id: part.staged.id,
                    length: part.staged.length,
                    sha256: part.staged.sha256,
                    media_type: part.media_type,
                    file_name: part.file_name,
                    staged_at: origin.received,
                },
                state: TransferState::Staged,
                created_at: origin.received,
                metadata: part.metadata,
            },
            deliveries: Vec::new(),
            retain_for: Duration::from_secs(30 * 86_400),
        }
    }
}

fn log_end(claimed: &Claimed, finish: &Finish, transfer_ended: Option<TransferState>) {
    let flow = &claimed.transfer.flow;
    let file = &claimed.transfer.payload.file_name;
    let endpoint = &claimed.delivery.endpoint;
    let attempt = claimed.claim.attempt;
    match finish {
        Finish::Delivered { receipt, .. } => {
            tracing::info!(%flow, %file, %endpoint, attempt, receipt = %receipt.summary, "delivered");
        }
        Finish::Awaiting { deadline } => {
            tracing::info!(%flow, %file, %endpoint, attempt, %deadline, "sent; waiting for the receipt");
        }
        Finish::Retry { due_at, error } => {
            tracing::warn!(%flow, %file, %endpoint, attempt, next = %due_at, error = %error.text, "a delivery will be tried again");
        }
        Finish::Fail { error, .. } => {
            tracing::error!(%flow, %file, %endpoint, attempt, error = %error.text, "a delivery failed for good");
        }
        Finish::Expire { .. } => tracing::error!(%flow, %file, %endpoint, "a delivery's time ran out"),
    }
    if let Some(state) = transfer_ended {
        tracing::debug!(%flow, %file, transfer = %claimed.transfer.id, %state, "transfer ended");
    }
}

fn log_lost(claim: &Claim) {
    tracing::warn!(delivery = %claim.delivery, attempt = claim.attempt, "another node holds this delivery now; its own record stands");
}

/// A delivery whose receipt is overdue ends as an attempt does.
pub(crate) fn overdue_attempt(overdue: Overdue) -> Claimed {
    Claimed {
        attempt: model::AttemptId::new(uuid::Uuid::nil()),
        delivery: overdue.delivery,
        transfer: overdue.transfer,
        claim: overdue.claim,
        notes: std::collections::BTreeMap::new(),
        interrupted: false,
        failures: overdue.failures,
    }
}
