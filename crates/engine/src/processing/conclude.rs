//! Records the result of an attempt at the steps of a transfer: what was made, the deliveries that send it, and the events
//! in one transaction; or the time of the next attempt.

use crate::context::Context;
use crate::crash;
use crate::processing::outcome::Outcome;
use crate::staged::discard;
use model::definition::RetryPolicy;
use model::{Error, EventKind, PayloadId, Result, Retry};
use std::collections::HashSet;
use std::time::Duration;
use store::{ClaimedSteps, FailedSteps, MadePayload, StepsEnd, StepsEnded};

/// How steps that could not be done are tried again: what keeps them from it is on this machine, so they do not give up.
const PATIENCE: RetryPolicy =
    RetryPolicy { attempts: u32::MAX, first: Duration::from_secs(5), longest: Duration::from_secs(300) };

/// Records how an attempt ended. `made` are payloads that nothing needs.
pub(crate) async fn conclude(
    context: &Context,
    claimed: &ClaimedSteps,
    made: Vec<MadePayload>,
    result: Result<Outcome>,
) {
    let mut unneeded: Vec<PayloadId> = made.iter().map(|made| made.payload.id).collect();
    let mut end = match result {
        Ok(outcome) => done(context, claimed, outcome),
        Err(error) => retry(context, claimed, &error),
    };
    loop {
        // The time when it ended, even if the database is unreachable and stores it later.
        let ended = context.now();
        let write = || context.store.end_steps(&claimed.claim, end.clone(), ended);
        match context.write_until_done("what steps made", claimed.claim.epoch, write).await {
            Ok(StepsEnded::Done { recorded, transfer_ended }) => {
                crash::point("steps.recorded");
                unneeded.extend(ids(&end).filter(|id| !recorded.contains(id)));
                discard(&context.staging, unneeded).await;
                log_end(claimed, &end);
                if let Some(state) = transfer_ended {
                    tracing::debug!(flow = %claimed.transfer.flow, transfer = %claimed.transfer.id, %state, "transfer ended");
                }
                return;
            }
            // What was made may be recorded all the same, when an earlier answer was lost: the sweep finds out.
            Ok(StepsEnded::ClaimLost) => return log_lost(claimed),
            Err(error) if error.retry() == Retry::Permanent && matches!(end, StepsEnd::Done { .. }) => {
                tracing::error!(transfer = %claimed.transfer.id, error = %error.chain(), "what steps made cannot be recorded; they are tried again");
                unneeded.extend(ids(&end));
                end = retry(context, claimed, &error);
            }
            Err(error) => {
                tracing::error!(transfer = %claimed.transfer.id, error = %error.chain(), "what steps made was not recorded");
                return;
            }
        }
    }
}

fn ids(end: &StepsEnd) -> impl Iterator<Item = PayloadId> {
    let made = match end {
        StepsEnd::Done { made, .. } => made.as_slice(),
        StepsEnd::Retry { .. } => &[],
    };
    let ids: HashSet<PayloadId> = made.iter().map(|made| made.payload.id).collect();
    ids.into_iter()
}

fn done(context: &Context, claimed: &ClaimedSteps, outcome: Outcome) -> StepsEnd {
    let Outcome { made, sent, failed } = outcome;
    let failed = failed.into_iter().map(|(delivery, error, lane_continues)| {
        let event = context.event(EventKind::DeliveryFailed).endpoint(&delivery.endpoint).error(&error);
        let event = event.detail("destination", delivery.destination.as_str());
        let error = error.as_ref().into();
        FailedSteps { delivery: delivery.id, error, lane_continues, event }
    });
    let mut made = made;
    for made in &mut made {
        made.event = made.event.clone().flow(&claimed.transfer.flow).detail("attempt", claimed.claim.attempt);
    }
    StepsEnd::Done { made, sent, failed: failed.collect() }
}

fn retry(context: &Context, claimed: &ClaimedSteps, error: &Error) -> StepsEnd {
    let wait = PATIENCE.wait_after(claimed.failures.saturating_add(1), context.jitter());
    let due_at = context.now() + wait.unwrap_or(PATIENCE.longest);
    let event = context
        .event(EventKind::StepsRetrying)
        .error(error)
        .detail("attempt", claimed.claim.attempt)
        .detail("next", due_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
    StepsEnd::Retry { due_at, error: error.into(), event: Box::new(event) }
}

fn log_end(claimed: &ClaimedSteps, end: &StepsEnd) {
    let (flow, file) = (&claimed.transfer.flow, &claimed.transfer.payload.file_name);
    match end {
        StepsEnd::Done { made, failed, .. } => {
            for made in made {
                tracing::info!(%flow, %file, step = %made.made_by, bytes = made.payload.length, "a step was done");
            }
            for failed in failed {
                tracing::error!(%flow, %file, delivery = %failed.delivery, error = %failed.error.text, "the steps of a delivery failed permanently");
            }
        }
        StepsEnd::Retry { due_at, error, .. } => {
            tracing::warn!(%flow, %file, next = %due_at.format("%Y-%m-%dT%H:%M:%SZ"), error = %error.text, "the steps of a flow will be tried again");
        }
    }
}

pub(crate) fn log_lost(claimed: &ClaimedSteps) {
    tracing::warn!(transfer = %claimed.transfer.id, attempt = claimed.claim.attempt, "another node does the steps of this transfer; nothing needs to be done");
}
