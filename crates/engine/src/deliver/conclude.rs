//! Records the result of an attempt: receipt, state, events and replies in one transaction, or the time of the next
//! attempt.

use crate::context::Context;
use crate::crash;
use crate::deliver::answered::{Replied, replied};
use crate::deliver::event::event_of;
use crate::deliver::proof;
use crate::history::FlowAt;
use crate::staged::discard;
use model::definition::RetryPolicy;
use model::{AuditEvent, Error, ErrorKind, EventKind, Result, Retry, Timestamp, TransferState};
use store::{AnswerFinished, Claimed, Finish, Finished, NewAnswerMessage, Overdue, StreamedContent};
use transport::{Evidence, Sent};

/// The end of an attempt.
pub(crate) struct Ended {
    pub(crate) result: Result<Sent>,
    /// What is known of a streamed file that was delivered.
    pub(crate) content: Option<StreamedContent>,
    /// Whether the endpoint refused access, so that the file waits for the endpoint: when it may be tried again.
    pub(crate) waits_until: Option<Timestamp>,
    /// What proves the message that was sent.
    pub(crate) evidence: Option<Evidence>,
}

impl Ended {
    pub(crate) fn failed(error: Error) -> Self {
        Self { result: Err(error), content: None, waits_until: None, evidence: None }
    }
}

/// Records the result of an attempt, including one whose receipt never came. `flow` is the delivery's flow; `None` if
/// it could not be read, or the delivery goes through none.
pub(crate) async fn conclude(
    context: &Context,
    claimed: &Claimed,
    flow: Option<&FlowAt>,
    mut attempt: Ended,
) {
    // The time when it ended, even if the database is unreachable and stores it later.
    let ended = context.now();
    let handed_in = attempt.evidence.take();
    let evidence = match &attempt.result {
        Ok(Sent::Delivered { .. }) => {
            let of = (&claimed.transfer, &claimed.delivery, &claimed.payload);
            handed_in.map(|evidence| proof::of_delivery(context, of, evidence, ended))
        }
        // One that waits for its receipt is proved by that, and what is handed in then.
        Ok(Sent::Awaiting { .. }) | Err(_) => {
            proof::drop_staged(context, handed_in).await;
            None
        }
    };
    let Outcome { mut finish, mut events, mut message } = outcome(context, claimed, flow, attempt);
    crash::point("finish.before");
    let claim = &claimed.claim;
    loop {
        let write = || async {
            let (finish, events, evidence) = (finish.clone(), events.clone(), evidence.clone());
            match message.clone() {
                Some(message) => {
                    context.store.finish_answered(claim, finish, ended, events, evidence, message).await
                }
                None => {
                    let finished = context.store.finish_proved(claim, finish, ended, events, evidence).await;
                    finished.map(AnswerFinished::from)
                }
            }
        };
        let answer = context.write_until_done("how an attempt ended", claim.epoch, write).await;
        let finished = match answer {
            // Where the commit was not confirmed at once, they may not be known any more: the sweep of staging finds them.
            Ok(AnswerFinished { finished, unused }) if !unused.is_empty() => {
                discard(&context.staging, unused).await;
                Ok(finished)
            }
            answer => answer.map(|answer| answer.finished),
        };
        match finished {
            Ok(Finished::Done { transfer_ended }) => {
                crash::point("finish.after");
                return log_end(claimed, &finish, transfer_ended);
            }
            Ok(Finished::AlreadyResolved(_)) => return,
            Ok(Finished::ClaimLost) => return log_lost(claimed),
            Err(error) if error.retry() == Retry::Permanent && !matches!(finish, Finish::Fail { .. }) => {
                // The result cannot be stored. The attempt is recorded as failed, so that a person sees it and the
                // delivery does not stay in the state `sending`.
                tracing::error!(transfer = %claimed.transfer.id, delivery = %claim.delivery, ?finish, error = %error.chain(), "the outcome of an attempt cannot be recorded; the attempt is recorded as failed");
                let error = Error::permanent(ErrorKind::Internal, "record how an attempt ended")
                    .with("attempt", claim.attempt)
                    .caused_by(error.chain())
                    .advice("the log shows how the attempt ended; ask the partner whether the file arrived before you send it again");
                Outcome { finish, events, message } = outcome(context, claimed, flow, Ended::failed(error));
            }
            Err(error) => {
                tracing::error!(transfer = %claimed.transfer.id, delivery = %claim.delivery, error = %error.chain(), "the outcome of an attempt was not recorded");
                return;
            }
        }
    }
}

/// What is recorded of the end of an attempt.
struct Outcome {
    finish: Finish,
    events: Vec<AuditEvent>,
    /// The message that came in the answer.
    message: Option<NewAnswerMessage>,
}

impl Outcome {
    /// Of an attempt without an answer that holds payloads.
    fn of(finish: Finish, event: AuditEvent) -> Self {
        Self { finish, events: vec![event], message: None }
    }
}

fn outcome(
    context: &Context,
    claimed: &Claimed,
    flow: Option<&FlowAt>,
    Ended { result, content, waits_until, .. }: Ended,
) -> Outcome {
    let event = |kind| event_of(context, claimed, kind);
    match (result, waits_until) {
        (Ok(Sent::Delivered { receipt, replies }), _) => {
            let mut event = event(EventKind::DeliveryDelivered)
                .detail("receipt", receipt.kind.as_str())
                .peer_detail("summary", &receipt.summary);
            event.connection = receipt.connection;
            if let Some(url) = receipt.detail.get("url").and_then(serde_json::Value::as_str) {
                event = event.detail("url", url);
            }
            if let Some(content) = content {
                return Outcome::of(Finish::Streamed { receipt, content }, event);
            }
            let Replied { transfers: replies, events, message } = replied(context, claimed, flow, replies);
            let events = std::iter::once(event).chain(events).collect();
            Outcome { finish: Finish::Delivered { receipt, replies }, events, message }
        }
        (Ok(Sent::Awaiting { deadline, connection, replies }), _) => {
            let until = deadline.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
            let mut event = event(EventKind::DeliveryAwaiting).detail("until", until);
            event.connection = connection;
            let Replied { transfers: replies, events, message } = replied(context, claimed, flow, replies);
            let events = std::iter::once(event).chain(events).collect();
            Outcome { finish: Finish::Awaiting { deadline, replies }, events, message }
        }
        (Err(error), Some(due_at)) => {
            let event = event(EventKind::DeliveryRetrying).error(&error).detail("waits_for_access", true);
            Outcome::of(Finish::Wait { due_at, error: (&error).into() }, event)
        }
        (Err(error), None) => {
            let (policy, lane_continues) = retry_policy(flow, &claimed.delivery.destination);
            let failures = claimed.failures.saturating_add(1);
            let wait = match error.retry() {
                Retry::Permanent => None,
                Retry::Transient | Retry::Ambiguous => policy.wait_after(failures, context.jitter()),
            };
            match wait {
                Some(wait) => {
                    let due_at = context.now() + wait;
                    let event = event(EventKind::DeliveryRetrying)
                        .error(&error)
                        .detail("next", due_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
                    Outcome::of(Finish::Retry { due_at, error: (&error).into() }, event)
                }
                None => {
                    let event = event(EventKind::DeliveryFailed).error(&error).detail("failures", failures);
                    let error = (&error).into();
                    Outcome::of(Finish::Fail { error, receipt: None, lane_continues }, event)
                }
            }
        }
    }
}

/// The retry policy of a destination, and whether its lane continues after a permanent failure. The cautious values
/// if the transfer's flow could not be read, or if it goes through none.
fn retry_policy(flow: Option<&FlowAt>, destination: &str) -> (RetryPolicy, bool) {
    let Some(at) = flow else { return (RetryPolicy::default(), false) };
    (at.retry_policy(destination), at.flow.continue_after_failure)
}

fn log_end(claimed: &Claimed, finish: &Finish, transfer_ended: Option<TransferState>) {
    let flow = &claimed.transfer.flow;
    let file = &claimed.transfer.payload.file_name;
    let endpoint = &claimed.delivery.endpoint;
    let (transfer, attempt) = (claimed.transfer.id, claimed.claim.attempt);
    match finish {
        Finish::Delivered { receipt, .. } | Finish::Streamed { receipt, .. } => {
            tracing::info!(%flow, %file, %endpoint, %transfer, attempt, receipt = %receipt.summary, "delivered");
        }
        Finish::Awaiting { deadline, .. } => {
            tracing::info!(%flow, %file, %endpoint, %transfer, attempt, deadline = %deadline.format("%Y-%m-%dT%H:%M:%SZ"), "sent; waiting for the receipt");
        }
        Finish::Retry { due_at, error } => {
            tracing::warn!(%flow, %file, %endpoint, %transfer, attempt, next = %due_at.format("%Y-%m-%dT%H:%M:%SZ"), error = %error.text, "a delivery will be tried again");
        }
        Finish::Wait { error, .. } => {
            tracing::warn!(%flow, %file, %endpoint, %transfer, attempt, error = %error.text, "a delivery waits until its endpoint gives access");
        }
        Finish::Fail { error, .. } => {
            tracing::error!(%flow, %file, %endpoint, %transfer, attempt, error = %error.text, "a delivery failed permanently");
        }
        Finish::Expire { .. } => tracing::error!(%flow, %file, %endpoint, %transfer, "a delivery expired"),
    }
    if let Some(state) = transfer_ended {
        tracing::debug!(%flow, %file, %transfer, %state, "transfer ended");
    }
}

pub(crate) fn log_lost(claimed: &Claimed) {
    let Claimed { claim, transfer, .. } = claimed;
    tracing::warn!(transfer = %transfer.id, delivery = %claim.delivery, attempt = claim.attempt, "another node has claimed this delivery; nothing needs to be done");
}

/// Ends a delivery whose receipt is overdue, as an attempt ends.
pub(crate) fn overdue_attempt(overdue: Overdue) -> Claimed {
    Claimed {
        attempt: model::AttemptId::new(uuid::Uuid::nil()),
        delivery: overdue.delivery,
        // Nothing is sent any more.
        payload: overdue.transfer.payload.clone(),
        attachments: Vec::new(),
        transfer: overdue.transfer,
        claim: overdue.claim,
        notes: std::collections::BTreeMap::new(),
        interrupted: false,
        failures: overdue.failures,
    }
}
