//! One delivery to one address.

use crate::context::Context;
use crate::deliver::claim_log::ClaimLog;
use crate::deliver::payload::StagedBytes;
use model::Result;
use model::definition::{Destination, Endpoint};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use store::Claimed;
use transport::{Deliver, DeliveryLog, Sent, Transport};

/// What an attempt sends, to whichever address.
pub(crate) struct Sending<'a> {
    pub(crate) context: &'a Context,
    pub(crate) claimed: &'a Claimed,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) defined: &'a Destination,
    pub(crate) log: Arc<ClaimLog>,
    /// Set where its failure says nothing about the endpoint.
    pub(crate) unnoted: &'a Arc<AtomicBool>,
}

impl Sending<'_> {
    /// Makes the attempt at an endpoint with one address.
    pub(crate) async fn send(
        &self,
        endpoint: &Arc<Endpoint>,
        notes: BTreeMap<String, Value>,
        log: Arc<dyn DeliveryLog>,
        interrupted: bool,
        is_last: bool,
    ) -> Result<Sent> {
        let Self { context, claimed, .. } = self;
        let services = context.services.clone();
        let destination = self.transport.destination(Arc::clone(endpoint), self.defined, services)?;
        let deliver = Deliver {
            claim: claimed.claim.clone(),
            payload: Arc::new(StagedBytes {
                staging: context.staging.clone(),
                record: claimed.payload.clone(),
                metadata: claimed.transfer.metadata.clone(),
                pace: context.paces.of(&claimed.delivery.endpoint),
                runtime: tokio::runtime::Handle::current(),
            }),
            file_name: claimed.delivery.file_name.clone(),
            flow: claimed.transfer.flow.clone(),
            partner: claimed.transfer.partner.clone(),
            notes,
            interrupted,
            is_last,
            log,
        };
        destination.deliver(deliver).await
    }
}
