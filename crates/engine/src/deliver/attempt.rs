//! One attempt at a delivery.

use crate::context::Context;
use crate::crash;
use crate::deliver::claim_log::ClaimLog;
use crate::deliver::conclude::{conclude, log_lost};
use crate::deliver::payload::StagedBytes;
use crate::guard::guarded;
use crate::health::Reachability;
use crate::history::FlowAt;
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
    // As it was when the file was recorded.
    let mut flow = None;
    let delivering = async {
        let found = context.flow_at(&claimed.transfer.flow, claimed.transfer.revision).await;
        let found = found.inspect_err(|_| unnoted.store(true, Ordering::SeqCst))?;
        deliver(context, &claimed, flow.insert(found), &unnoted).await
    };
    let result = tokio::select! {
        result = guarded("deliver a file", delivering) => result,
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
    conclude(context, &claimed, flow.as_ref(), result).await;
}

/// The flow's destination is that of the transfer's revision: how the file is to be written was settled with it. The
/// endpoint, and whom to log in as there, is the one in force: the old one may be wrong or gone.
async fn deliver(
    context: &Context,
    claimed: &Claimed,
    flow: &FlowAt,
    unnoted: &Arc<AtomicBool>,
) -> Result<Sent> {
    let (endpoint, transport) = context.endpoint(&claimed.delivery.endpoint)?;
    let defined = flow.destination(&claimed.delivery, transport.spec().name)?;
    let destination = transport.destination(endpoint, defined, context.services.clone())?;
    if claimed.delivery.file_name.escapes() || claimed.delivery.file_name.file_name().is_empty() {
        return Err(Error::permanent(ErrorKind::ConfigInvalid, "name the file at the destination")
            .with("file_name", &claimed.delivery.file_name)
            .advice("change the destination's file_name template"));
    }
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
        is_last: defined.retry.is_last(claimed.failures.saturating_add(1)),
        log: Arc::new(ClaimLog {
            store: context.store.clone(),
            lease: Arc::clone(&context.lease),
            claim: claimed.claim.clone(),
            failed: Arc::clone(unnoted),
        }),
    };
    destination.deliver(deliver).await
}
