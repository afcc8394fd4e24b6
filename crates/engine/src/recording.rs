//! From staged parts to transfers and deliveries: what is written when a file becomes ours.

use crate::shared::Shared;
use model::definition::Flow;
use model::{
    AuditEvent, Delivery, DeliveryId, DeliveryState, EventKind, OfferId, PayloadRecord, RemotePath,
    TemplateValues, Timestamp, Transfer, TransferId, TransferKind, TransferState,
};
use serde_json::{Map, Value};
use store::{NewDelivery, NewTransfer};
use transport::StagedPayload;

/// A part that is durable in staging.
pub(crate) struct StagedPart {
    pub(crate) staged: StagedPayload,
    pub(crate) file_name: RemotePath,
    pub(crate) media_type: Option<String>,
    pub(crate) metadata: Map<String, Value>,
}

/// What all parts of one offer or message have in common.
pub(crate) struct Origin<'a> {
    pub(crate) offer: Option<OfferId>,
    pub(crate) endpoint: &'a str,
    pub(crate) partner: Option<&'a str>,
    pub(crate) received: Timestamp,
}

impl Shared {
    /// One transfer of a part through a flow, with a delivery for each of the flow's destinations,
    /// and the event that says so.
    pub(crate) fn new_transfer(
        &self,
        flow: &Flow,
        origin: &Origin<'_>,
        part: &StagedPart,
        sequence: u32,
    ) -> (NewTransfer, AuditEvent) {
        let id = TransferId::new(self.ids.next());
        let transfer = Transfer {
            id,
            kind: TransferKind::Payload,
            flow: flow.name.clone(),
            offer: origin.offer,
            parent: None,
            partner: origin.partner.map(str::to_owned),
            payload: PayloadRecord {
                id: part.staged.id,
                length: part.staged.length,
                sha256: part.staged.sha256,
                media_type: part.media_type.clone(),
                file_name: part.file_name.clone(),
                staged_at: origin.received,
            },
            state: TransferState::Staged,
            created_at: origin.received,
            metadata: part.metadata.clone(),
        };
        let deliveries = flow.destinations.iter().map(|destination| {
            let values = TemplateValues {
                name: part.file_name.file_name(),
                received: origin.received,
                flow: &flow.name,
                transfer: id,
                sequence,
            };
            let file_name = match &destination.file_name {
                Some(template) => part.file_name.with_file_name(&template.render(&values)),
                None => part.file_name.clone(),
            };
            NewDelivery {
                lane_continues: flow.continue_after_failure,
                delivery: Delivery {
                    id: DeliveryId::new(self.ids.next()),
                    transfer: id,
                    destination: destination.name.clone(),
                    endpoint: destination.endpoint.clone(),
                    file_name,
                    state: DeliveryState::Pending,
                    attempt: 0,
                    lane: flow.ordered.then(|| format!("{}/{}", flow.name, destination.name)),
                    due_at: origin.received,
                    expires_at: destination.expires_after.map(|wait| origin.received + wait),
                },
            }
        });
        let event = self
            .event(EventKind::TransferRecorded)
            .flow(&flow.name)
            .endpoint(origin.endpoint)
            .transfer(id)
            .detail("file_name", part.file_name.to_text())
            .detail("bytes", part.staged.length)
            .detail("sha256", part.staged.sha256.to_string());
        let event = match origin.partner {
            Some(partner) => event.partner(partner),
            None => event,
        };
        let new = NewTransfer { transfer, deliveries: deliveries.collect(), retain_for: flow.retention };
        (new, event)
    }
}
