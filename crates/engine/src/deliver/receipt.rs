//! Receipts that are sent later. They go through no flow: each goes to the URL that its message named, over the connection
//! settings of an endpoint.

use crate::context::Context;
use crate::crash;
use crate::deliver::claim_log::ClaimLog;
use crate::deliver::payload::StagedBytes;
use model::definition::RetryPolicy;
use model::{Error, ErrorKind, RECEIPT_URL, Result, Transfer};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use store::Claimed;
use transport::{Deliver, Sent};

/// Makes one attempt to send a receipt. `unnoted` is set where the database failed.
pub(crate) async fn deliver(context: &Context, claimed: &Claimed, unnoted: &Arc<AtomicBool>) -> Result<Sent> {
    let (endpoint, transport) = context.endpoint(&claimed.delivery.endpoint)?;
    let url = url(&claimed.transfer).ok_or_else(|| {
        Error::permanent(ErrorKind::Internal, "find out where a receipt is to be sent")
            .with("transfer", claimed.transfer.id)
    })?;
    // Which address the endpoint has does not matter here.
    let endpoint = context.addresses.first(&endpoint);
    let destination = transport.receipt_destination(endpoint, url, context.services.clone())?;
    let (record, metadata) = (claimed.payload.clone(), claimed.transfer.metadata.clone());
    let pace = context.paces.of(&claimed.delivery.endpoint);
    let payload = StagedBytes::new(context.staging.clone(), record, metadata, pace)?;
    // A receipt needs no evidence: it is part of that of its message.
    let log = ClaimLog::new(context, claimed, &Arc::default(), unnoted);
    let deliver = Deliver {
        attachments: Vec::new(),
        claim: claimed.claim.clone(),
        payload: Arc::new(payload),
        file_name: claimed.delivery.file_name.clone(),
        received: claimed.transfer.payload.staged_at,
        flow: claimed.transfer.flow.clone(),
        partner: claimed.transfer.partner.clone(),
        notes: claimed.notes.clone(),
        interrupted: claimed.interrupted,
        is_last: RetryPolicy::default().is_last(claimed.failures.saturating_add(1)),
        log: Arc::new(log),
    };
    crash::point("receipt.before_send");
    let sent = destination.deliver(deliver).await;
    crash::point("receipt.sent");
    sent
}

fn url(transfer: &Transfer) -> Option<&str> {
    transfer.metadata.get(RECEIPT_URL)?.as_str()
}
