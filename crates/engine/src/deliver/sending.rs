//! One delivery to one address.

use crate::context::Context;
use crate::deliver::claim_log::ClaimLog;
use crate::deliver::payload::StagedBytes;
use crate::deliver::streamed::StreamedBytes;
use model::definition::{Destination, Endpoint};
use model::{Attachment, Error, ErrorKind, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use store::{Claimed, StreamedContent};
use transport::{Deliver, DeliveryLog, Payload, Sent, Transport};

/// What an attempt sends, to whichever address.
pub(crate) struct Sending<'a> {
    pub(crate) context: &'a Context,
    pub(crate) claimed: &'a Claimed,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) defined: &'a Destination,
    pub(crate) log: Arc<ClaimLog>,
    /// Set where its failure says nothing about the endpoint.
    pub(crate) unnoted: &'a Arc<AtomicBool>,
    /// What is known of a streamed file once it was delivered.
    pub(crate) content: &'a Mutex<Option<StreamedContent>>,
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
        let streamed =
            if claimed.payload.content.is_streamed() { Some(self.streamed().await?) } else { None };
        let payload = match &streamed {
            Some(streamed) => Arc::clone(streamed) as Arc<dyn Payload>,
            None => self.staged()?,
        };
        let attachments = self.attachments()?;
        let deliver = Deliver {
            claim: claimed.claim.clone(),
            payload,
            attachments,
            file_name: claimed.delivery.file_name.clone(),
            received: claimed.transfer.payload.staged_at,
            flow: claimed.transfer.flow.clone(),
            partner: claimed.transfer.partner.clone(),
            notes,
            interrupted,
            is_last,
            log,
        };
        let sent = destination.deliver(deliver).await;
        let Some(streamed) = streamed else { return sent };
        let is_source_failure = || self.unnoted.store(true, Ordering::SeqCst);
        let (sent, content) = streamed.ended(context, sent, is_source_failure).await;
        *self.content.lock().unwrap_or_else(PoisonError::into_inner) = content;
        sent
    }

    fn staged(&self) -> Result<Arc<dyn Payload>> {
        let Self { context, claimed, .. } = self;
        let (record, metadata) = (claimed.payload.clone(), claimed.transfer.metadata.clone());
        let pace = context.paces.of(&claimed.delivery.endpoint);
        Ok(Arc::new(StagedBytes::new(context.staging.clone(), record, metadata, pace)?))
    }

    /// The files that go with it. A flow names no transport that cannot send them, but the endpoint of a transfer that is
    /// under way, or that of a flow without attachments today, may be another one now.
    fn attachments(&self) -> Result<Vec<Arc<dyn Payload>>> {
        let Self { context, claimed, .. } = self;
        let spec = self.transport.spec();
        if !claimed.attachments.is_empty() && !spec.sends_attachments {
            return Err(Error::permanent(ErrorKind::Unsupported, "send a file with its attachments")
                .with("endpoint", &claimed.delivery.endpoint)
                .with("transport", spec.name)
                .with("attachments", claimed.attachments.len())
                .advice("this transport sends each file by itself: deliver to an endpoint of another one, such as as2"));
        }
        let pace = context.paces.of(&claimed.delivery.endpoint);
        let opened = |Attachment { payload, metadata }: &Attachment| -> Result<Arc<dyn Payload>> {
            let staging = context.staging.clone();
            let bytes = StagedBytes::new(staging, payload.clone(), metadata.clone(), pace.clone())?;
            Ok(Arc::new(bytes))
        };
        claimed.attachments.iter().map(opened).collect()
    }

    async fn streamed(&self) -> Result<Arc<StreamedBytes>> {
        let streamed = StreamedBytes::of(self.context, self.claimed).await;
        // It says nothing about the destination.
        Ok(Arc::new(streamed.inspect_err(|_| self.unnoted.store(true, Ordering::SeqCst))?))
    }
}
