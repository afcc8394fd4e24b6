//! One attempt at a delivery.

use crate::context::Context;
use crate::crash;
use crate::deliver::balanced;
use crate::deliver::claim_log::ClaimLog;
use crate::deliver::conclude::{Ended, conclude, log_lost};
use crate::deliver::receipt;
use crate::deliver::sending::Sending;
use crate::guard::guarded;
use crate::health::Reachability;
use crate::history::FlowAt;
use model::{Error, ErrorKind, Result, Retry, TransferKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use store::{Claimed, StreamedContent};
use transport::{Evidence, Sent};

/// Makes one attempt and records its result in every case.
pub(crate) async fn attempt(context: &Context, claimed: Claimed) {
    crash::point("deliver.claimed");
    let endpoint = claimed.delivery.endpoint.clone();
    let epoch = claimed.claim.epoch;
    // A transport that panics must not stop other deliveries or leave its own in the state `sending`. A transport
    // that hangs must not continue with a delivery that another node has claimed.
    let unnoted = Arc::new(AtomicBool::new(false));
    // As it was when the file was recorded, or when a person retried the delivery.
    let mut flow = None;
    let content = Mutex::new(None);
    let evidence = Arc::<Mutex<Option<Evidence>>>::default();
    let delivering = async {
        if claimed.transfer.kind == TransferKind::Receipt {
            return receipt::deliver(context, &claimed, &unnoted).await;
        }
        let revision = claimed.delivery.revision_of(&claimed.transfer);
        let found = context.flow_at(&claimed.transfer.flow, revision).await;
        let found = found.inspect_err(|_| unnoted.store(true, Ordering::SeqCst))?;
        deliver(context, &claimed, flow.insert(found), (&unnoted, &content), &evidence).await
    };
    let result = tokio::select! {
        result = guarded("deliver a file", delivering) => result,
        () = context.lease.lost(epoch) => {
            context.health.end(&endpoint);
            return log_lost(&claimed);
        }
    };
    crash::point("deliver.sent");
    let reachability = match &result {
        // The message chose where it goes, and anybody may have sent it: what answers there says nothing of the endpoint.
        _ if claimed.transfer.kind == TransferKind::Receipt => Reachability::Unknown,
        Ok(_) => Reachability::Answered,
        // The transport may have failed only because it was asked to stop.
        Err(_) if context.lease.may_act(epoch).is_err() => Reachability::Unknown,
        // A database failure is not the endpoint's failure either.
        Err(_) if unnoted.load(Ordering::SeqCst) => Reachability::Unknown,
        Err(error) => Reachability::of(error),
    };
    context.health.end(&endpoint);
    context.observe(&endpoint, reachability, result.as_ref().err()).await;
    let content = content.into_inner().unwrap_or_else(PoisonError::into_inner);
    let is_refused = reachability == Reachability::AccessRefused
        && result.as_ref().is_err_and(|error| error.retry() != Retry::Ambiguous && !error.is_judgement());
    let waits_until = is_refused.then(|| context.health.after_refusal(&endpoint, context.now()));
    let evidence = evidence.lock().unwrap_or_else(PoisonError::into_inner).take();
    conclude(context, &claimed, flow.as_ref(), Ended { result, content, waits_until, evidence }).await;
}

/// The destination comes from the flow at the delivery's revision, which determines how the file is written. The
/// endpoint, with its login, is the one in force: the old one may be wrong or removed.
async fn deliver(
    context: &Context,
    claimed: &Claimed,
    flow: &FlowAt,
    (unnoted, content): (&Arc<AtomicBool>, &Mutex<Option<StreamedContent>>),
    evidence: &Arc<Mutex<Option<Evidence>>>,
) -> Result<Sent> {
    let (endpoint, transport) = context.endpoint(&claimed.delivery.endpoint)?;
    let defined = flow.destination(&claimed.delivery, transport.spec().name)?;
    if claimed.delivery.file_name.escapes() || claimed.delivery.file_name.file_name().is_empty() {
        return Err(Error::permanent(ErrorKind::ConfigInvalid, "name the file at the destination")
            .with("file_name", &claimed.delivery.file_name)
            .advice("change the destination's file_name template"));
    }
    let log = Arc::new(ClaimLog::new(context, claimed, evidence, unnoted));
    let sending = Sending { context, claimed, transport, defined, log, unnoted, content };
    if endpoint.urls.len() > 1 {
        return balanced::deliver(&sending, &endpoint).await;
    }
    let is_last = defined.retry.is_last(claimed.failures.saturating_add(1));
    let log = Arc::clone(&sending.log) as _;
    sending.send(&endpoint, claimed.notes.clone(), log, claimed.interrupted, is_last).await
}
