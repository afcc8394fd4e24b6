//! Records the result of an attempt: receipt, state, events and replies in one transaction, or the time of the next
//! attempt.

use crate::context::Context;
use crate::crash;
use crate::deliver::proof;
use crate::history::FlowAt;
use crate::transfers::{DEFAULT_RETENTION, ReplyTo, new_receipt, new_reply};
use model::definition::{Destination, RetryPolicy};
use model::{AuditEvent, Error, ErrorKind, EventKind, Result, Retry, Timestamp, TransferState};
use store::{Claimed, Finish, Finished, NewTransfer, Overdue, StreamedContent};
use transport::{Evidence, Reply, Sent};

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
    let (mut finish, mut events) = outcome(context, claimed, flow, attempt);
    crash::point("finish.before");
    let claim = &claimed.claim;
    loop {
        let write =
            || context.store.finish_proved(claim, finish.clone(), ended, events.clone(), evidence.clone());
        match context.write_until_done("how an attempt ended", claim.epoch, write).await {
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
                (finish, events) = outcome(context, claimed, flow, Ended::failed(error));
            }
            Err(error) => {
                tracing::error!(transfer = %claimed.transfer.id, delivery = %claim.delivery, error = %error.chain(), "the outcome of an attempt was not recorded");
                return;
            }
        }
    }
}

fn outcome(
    context: &Context,
    claimed: &Claimed,
    flow: Option<&FlowAt>,
    Ended { result, content, waits_until, .. }: Ended,
) -> (Finish, Vec<AuditEvent>) {
    let event = |kind| {
        let event = context
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
                return (Finish::Streamed { receipt, content }, vec![event]);
            }
            let (replies, arrivals) = replied(context, claimed, flow, replies);
            let events = std::iter::once(event).chain(arrivals).collect();
            (Finish::Delivered { receipt, replies }, events)
        }
        (Ok(Sent::Awaiting { deadline, connection, replies }), _) => {
            let until = deadline.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
            let mut event = event(EventKind::DeliveryAwaiting).detail("until", until);
            event.connection = connection;
            let (replies, arrivals) = replied(context, claimed, flow, replies);
            let events = std::iter::once(event).chain(arrivals).collect();
            (Finish::Awaiting { deadline, replies }, events)
        }
        (Err(error), Some(due_at)) => {
            let event = event(EventKind::DeliveryRetrying).error(&error).detail("waits_for_access", true);
            (Finish::Wait { due_at, error: (&error).into() }, vec![event])
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
                    (Finish::Retry { due_at, error: (&error).into() }, vec![event])
                }
                None => {
                    let event = event(EventKind::DeliveryFailed).error(&error).detail("failures", failures);
                    let error = (&error).into();
                    (Finish::Fail { error, receipt: None, lane_continues }, vec![event])
                }
            }
        }
    }
}

/// The transfers of what came with the answer, with those of the receipts that are sent for it, and their events. They go
/// through the flow that the delivery's destination names for them, as it is now; without one they are held for a person.
fn replied(
    context: &Context,
    claimed: &Claimed,
    flow: Option<&FlowAt>,
    replies: Vec<Reply>,
) -> (Vec<NewTransfer>, Vec<AuditEvent>) {
    let definitions = context.definitions();
    let retain_for = flow.map_or(DEFAULT_RETENTION, |at| at.flow.retention);
    let destinations = flow.map(|at| at.flow.destinations.as_slice()).unwrap_or_default();
    let own = destinations.iter().find(|other| other.name == claimed.delivery.destination);
    let to = match own.and_then(Destination::response_flow) {
        Some(name) => match definitions.flows.get(name) {
            Some(flow) => ReplyTo::Flow(flow, &claimed.delivery.endpoint),
            None => ReplyTo::Person(FLOW_IS_GONE, retain_for),
        },
        None => ReplyTo::Person(NO_FLOW, retain_for),
    };
    let (mut transfers, mut events) = (Vec::new(), Vec::new());
    for Reply { part, receipt } in replies {
        let (reply, arrival) = new_reply(context, &claimed.transfer, to, &part);
        let receipt = receipt.map(|receipt| new_receipt(context, receipt, None, Some(reply.transfer.id)));
        for (transfer, event) in std::iter::once((reply, arrival)).chain(receipt) {
            transfers.push(transfer);
            events.push(event);
        }
    }
    (transfers, events)
}

/// Why a payload that came with an answer is held.
const NO_FLOW: &str =
    "it came in the answer to a delivery, and the flow's destination names no flow for answers (response)";
const FLOW_IS_GONE: &str = "it came in the answer to a delivery, and the flow that the destination names for answers (response) \
    is no longer defined";

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
