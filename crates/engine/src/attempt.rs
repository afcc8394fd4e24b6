//! One attempt at a delivery, and what follows from how it ended.

use crate::adapters::ClaimLog;
use crate::crash;
use crate::endpoints::Seen;
use crate::guard::guarded;
use crate::shared::Shared;
use crate::staging_area::StagedBytes;
use model::definition::RetryPolicy;
use model::{AuditEvent, Claim, Error, ErrorKind, EventKind, Result, Retry, Transfer, TransferState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::{Claimed, Finish, Finished, Overdue};
use transport::{Deliver, Sent};

impl Shared {
    /// Makes one attempt and records its end, whatever it is.
    pub(crate) async fn attempt(self: &Arc<Self>, claimed: Claimed) {
        crash::point("deliver.claimed");
        let endpoint = claimed.delivery.endpoint.clone();
        let epoch = claimed.claim.epoch;
        // A transport that panics must not take the others with it, nor leave its delivery `sending`;
        // and one that hangs must not go on with what others have taken up.
        let unnoted = Arc::new(AtomicBool::new(false));
        let result = tokio::select! {
            result = guarded("deliver a file", self.deliver(&claimed, &unnoted)) => result,
            () = self.lease.lost(epoch) => {
                let change = self.health.end(&endpoint, Seen::Nothing, self.now());
                self.record_health(&endpoint, change).await;
                return log_lost(&claimed.claim);
            }
        };
        crash::point("deliver.sent");
        let seen = match &result {
            Ok(_) => Seen::Reached,
            // The transport may only have been told to stop.
            Err(_) if self.lease.may_act(epoch).is_err() => Seen::Nothing,
            // Nor is the database the endpoint.
            Err(_) if unnoted.load(Ordering::SeqCst) => Seen::Nothing,
            Err(error) => Seen::of(error),
        };
        let change = self.health.end(&endpoint, seen, self.now());
        self.record_health(&endpoint, change).await;
        self.finish(&claimed, result).await;
    }

    async fn deliver(&self, claimed: &Claimed, unnoted: &Arc<AtomicBool>) -> Result<Sent> {
        let (endpoint, transport) = self.endpoint(&claimed.delivery.endpoint)?;
        let destination = transport.destination(endpoint, self.services.clone())?;
        if claimed.delivery.file_name.escapes() || claimed.delivery.file_name.file_name().is_empty() {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "name the file at the destination")
                .with("file_name", &claimed.delivery.file_name)
                .advice("change the destination's file_name template"));
        }
        let (policy, _) = self.policy(&claimed.transfer, &claimed.delivery.destination);
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
            is_last: policy.is_last(claimed.failures.saturating_add(1)),
            log: Arc::new(ClaimLog {
                store: self.store.clone(),
                lease: Arc::clone(&self.lease),
                claim: claimed.claim.clone(),
                failed: Arc::clone(unnoted),
            }),
        };
        destination.deliver(deliver).await
    }

    /// Records how an attempt ended; also that of one whose receipt never came.
    pub(crate) async fn finish(&self, claimed: &Claimed, result: Result<Sent>) {
        // When it ended, also when the database is away and only told later.
        let ended = self.now();
        let (mut finish, mut events) = self.conclude(claimed, result);
        crash::point("finish.before");
        let claim = &claimed.claim;
        loop {
            let write = || self.store.finish(claim, finish.clone(), ended, events.clone());
            match self.insist("how an attempt ended", claim.epoch, write).await {
                Ok(Finished::Done { transfer_ended }) => {
                    crash::point("finish.after");
                    return log_end(claimed, &finish, transfer_ended);
                }
                Ok(Finished::AlreadyResolved(_)) => return,
                Ok(Finished::ClaimLost) => return log_lost(claim),
                Err(error) if error.retry() == Retry::Permanent && !matches!(finish, Finish::Fail { .. }) => {
                    // What it ended with cannot be kept. That it ended is told all the same, so that a
                    // person sees it; the delivery must not stay `sending` for ever.
                    tracing::error!(delivery = %claim.delivery, ?finish, error = %error.chain(), "an attempt's end cannot be recorded as it was");
                    let error = Error::permanent(ErrorKind::Internal, "record how an attempt ended")
                        .with("attempt", claim.attempt)
                        .caused_by(error.chain())
                        .advice("the log tells how it ended; ask the partner whether the file arrived before you send it again");
                    (finish, events) = self.conclude(claimed, Err(error));
                }
                Err(error) => {
                    tracing::error!(delivery = %claim.delivery, error = %error.chain(), "an attempt's end was not recorded");
                    return;
                }
            }
        }
    }

    fn conclude(&self, claimed: &Claimed, result: Result<Sent>) -> (Finish, Vec<AuditEvent>) {
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
                let mut event = event(EventKind::DeliveryDelivered)
                    .detail("receipt", receipt.kind.as_str())
                    .peer_detail("summary", &receipt.summary);
                let connection = receipt.detail.get("connection").and_then(serde_json::Value::as_str);
                event.connection = connection.and_then(|id| id.parse().ok());
                let (replies, arrivals): (Vec<_>, Vec<_>) = replies
                    .into_iter()
                    .map(|reply| self.reply(&claimed.transfer, reply, event.connection))
                    .unzip();
                let events = std::iter::once(event).chain(arrivals).collect();
                (Finish::Delivered { receipt, evidence: None, replies }, events)
            }
            Ok(Sent::Awaiting { deadline }) => {
                let until = deadline.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
                let event = event(EventKind::DeliveryAwaiting).detail("until", until);
                (Finish::Awaiting { deadline }, vec![event])
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
                        (Finish::Retry { due_at, error: (&error).into() }, vec![event])
                    }
                    None => {
                        let event =
                            event(EventKind::DeliveryFailed).error(&error).detail("failures", failures);
                        let error = (&error).into();
                        (Finish::Fail { error, receipt: None, lane_continues }, vec![event])
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
            tracing::info!(%flow, %file, %endpoint, attempt, deadline = %deadline.format("%Y-%m-%dT%H:%M:%SZ"), "sent; waiting for the receipt");
        }
        Finish::Retry { due_at, error } => {
            tracing::warn!(%flow, %file, %endpoint, attempt, next = %due_at.format("%Y-%m-%dT%H:%M:%SZ"), error = %error.text, "a delivery will be tried again");
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
