//! One attempt at the steps of a transfer.

use crate::context::Context;
use crate::crash;
use crate::guard::guarded;
use crate::processing::conclude::{conclude, log_lost};
use crate::processing::make::{Made, Makes};
use crate::processing::outcome::{Failed, Outcome, Sends};
use model::definition::StepDefinition;
use model::{Delivery, Result, Retry};
use std::sync::Arc;
use store::ClaimedSteps;

/// Does the steps of a transfer and records the result in every case.
pub(crate) async fn attempt(context: &Context, claimed: ClaimedSteps) {
    crash::point("steps.claimed");
    let epoch = claimed.claim.epoch;
    // Outside of the attempt, so that what was made before an error can be removed.
    let mut makes = Makes::new(context, &claimed.transfer);
    let result = tokio::select! {
        result = guarded("do the steps of a flow", each(context, &claimed, &mut makes)) => result,
        () = context.lease.lost(epoch) => return log_lost(&claimed),
    };
    let (made, result) = match result {
        Ok((sent, failed)) => (Vec::new(), Ok(Outcome { made: makes.into_made(), sent, failed })),
        Err(error) => (makes.into_made(), Err(error)),
    };
    crash::point("steps.made");
    conclude(context, &claimed, made, result).await;
}

/// Makes what each delivery sends. Steps that several of them have at their beginning are done once.
///
/// # Errors
/// An error that another attempt may not meet.
async fn each(
    context: &Context,
    claimed: &ClaimedSteps,
    makes: &mut Makes<'_>,
) -> Result<(Vec<Sends>, Vec<Failed>)> {
    let (mut sent, mut failed) = (Vec::new(), Vec::new());
    for delivery in &claimed.deliveries {
        match steps_of(context, claimed, delivery).await {
            Ok((steps, lane_continues)) => match makes.through(&steps).await? {
                Made::Payload(payload) => sent.push((delivery.id, payload)),
                Made::Failed(error) => failed.push((delivery.clone(), error, lane_continues)),
            },
            Err(error) if error.retry() == Retry::Permanent => {
                failed.push((delivery.clone(), Arc::new(error), false));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((sent, failed))
}

/// The steps of a delivery, by the flow as it was when the file was recorded or the delivery retried; and whether its lane
/// goes on after a failure.
async fn steps_of(
    context: &Context,
    claimed: &ClaimedSteps,
    delivery: &Delivery,
) -> Result<(Vec<StepDefinition>, bool)> {
    let revision = delivery.revision_of(&claimed.transfer);
    let found = context.flow_at(&claimed.transfer.flow, revision).await?;
    let destination = found.named(delivery)?;
    let steps = found.flow.steps_to(destination).cloned().collect();
    Ok((steps, found.flow.continue_after_failure))
}
