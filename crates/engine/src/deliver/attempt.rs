//! One attempt at a delivery.

use crate::context::Context;
use crate::crash;
use crate::deliver::claim_log::ClaimLog;
use crate::deliver::conclude::{conclude, log_lost, retry_policy};
use crate::deliver::payload::StagedBytes;
use crate::guard::guarded;
use crate::health::Reachability;
use model::definition::Destination;
use model::schema::TransportSpec;
use model::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::Claimed;
use transport::{Deliver, Sent};

/// Makes one attempt and records its end, whatever it is.
pub(crate) async fn attempt(context: &Context, claimed: Claimed) {
    crash::point("deliver.claimed");
    let endpoint = claimed.delivery.endpoint.clone();
    let epoch = claimed.claim.epoch;
    // A transport that panics must not take the others with it, nor leave its delivery `sending`;
    // and one that hangs must not go on with what others have taken up.
    let unnoted = Arc::new(AtomicBool::new(false));
    let result = tokio::select! {
        result = guarded("deliver a file", deliver(context, &claimed, &unnoted)) => result,
        () = context.lease.lost(epoch) => {
            let change = context.health.end(&endpoint, Reachability::Unknown, context.now());
            context.record_health(&endpoint, change).await;
            return log_lost(&claimed.claim);
        }
    };
    crash::point("deliver.sent");
    let reachability = match &result {
        Ok(_) => Reachability::Answered,
        // The transport may only have been told to stop.
        Err(_) if context.lease.may_act(epoch).is_err() => Reachability::Unknown,
        // Nor is the database the endpoint.
        Err(_) if unnoted.load(Ordering::SeqCst) => Reachability::Unknown,
        Err(error) => Reachability::of(error),
    };
    let change = context.health.end(&endpoint, reachability, context.now());
    context.record_health(&endpoint, change).await;
    conclude(context, &claimed, result).await;
}

async fn deliver(context: &Context, claimed: &Claimed, unnoted: &Arc<AtomicBool>) -> Result<Sent> {
    let (endpoint, transport) = context.endpoint(&claimed.delivery.endpoint)?;
    let defined = destination_of(context, claimed, transport.spec())?;
    let destination = transport.destination(endpoint, &defined, context.services.clone())?;
    if claimed.delivery.file_name.escapes() || claimed.delivery.file_name.file_name().is_empty() {
        return Err(Error::permanent(ErrorKind::ConfigInvalid, "name the file at the destination")
            .with("file_name", &claimed.delivery.file_name)
            .advice("change the destination's file_name template"));
    }
    let (policy, _) = retry_policy(context, &claimed.transfer, &claimed.delivery.destination);
    let deliver = Deliver {
        claim: claimed.claim.clone(),
        payload: Arc::new(StagedBytes {
            staging: context.staging.clone(),
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
            store: context.store.clone(),
            lease: Arc::clone(&context.lease),
            claim: claimed.claim.clone(),
            failed: Arc::clone(unnoted),
        }),
    };
    destination.deliver(deliver).await
}

/// What the flow says of a delivery's destination. When the flow does not name it any more, what the endpoint's
/// transport does unless told otherwise: the file was promised to that endpoint.
fn destination_of(context: &Context, claimed: &Claimed, spec: &TransportSpec) -> Result<Destination> {
    let (name, endpoint) = (&claimed.delivery.destination, &claimed.delivery.endpoint);
    let definitions = context.definitions();
    let flow = definitions.flows.get(&claimed.transfer.flow);
    let named = |destination: &&Destination| destination.name == *name && destination.endpoint == *endpoint;
    let destinations = flow.map(|flow| flow.destinations.as_slice()).unwrap_or_default();
    if let Some(found) = destinations.iter().find(named) {
        return Ok(found.clone());
    }
    // Renamed: the flow's only destination at that endpoint is the same one.
    let mut there = destinations.iter().filter(|destination| destination.endpoint == *endpoint);
    match (there.next(), there.next()) {
        (Some(only), None) => Ok(only.clone()),
        _ => Destination::usual(name, endpoint, spec),
    }
}
