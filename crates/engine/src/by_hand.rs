//! Files that a person sends to an endpoint: they go through no flow. What stands in a flow's place has one destination, of
//! which nothing is said but its endpoint.

use crate::history::FlowAt;
use model::definition::{Destination, Endpoint, Flow, RetryPolicy};
use model::schema::TransportSpec;
use model::{
    ByHand, Delivery, DeliveryId, DeliveryState, PayloadRecord, Result, Transfer, TransferId, TransferKind,
    TransferState,
};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;
use store::{NewDelivery, NewTransfer};

/// How long the content is kept after the transfer has ended: as long as a flow keeps it that says nothing of it.
const RETENTION: Duration = Duration::from_secs(30 * 86_400);

/// A staged file that a person sends.
#[derive(Clone, Debug)]
pub struct FileByHand<'a> {
    /// Where it goes, and whether it is a test message.
    pub to: ByHand<'a>,
    /// The partner of that endpoint.
    pub partner: Option<String>,
    /// The transfer that it becomes: the same for a request that is repeated.
    pub transfer: TransferId,
    /// Its delivery.
    pub delivery: DeliveryId,
    /// The revision in force.
    pub revision: i64,
    /// Its bytes, in staging.
    pub payload: PayloadRecord,
    /// What was said of it.
    pub metadata: Map<String, Value>,
}

/// The transfer of a file that a person sends, with its delivery.
#[must_use]
pub fn sent_by_hand(file: FileByHand<'_>) -> NewTransfer {
    let FileByHand { to, partner, transfer, delivery, revision, payload, metadata } = file;
    let delivery = Delivery {
        id: delivery,
        transfer,
        destination: to.endpoint.to_owned(),
        endpoint: to.endpoint.to_owned(),
        revision: None,
        file_name: payload.file_name.clone(),
        state: DeliveryState::Pending,
        attempt: 0,
        lane: None,
        due_at: payload.staged_at,
        expires_at: None,
    };
    let delivery = NewDelivery { delivery, counters: Vec::new(), has_steps: false, lane_continues: false };
    let transfer = Transfer {
        id: transfer,
        kind: TransferKind::ByHand,
        flow: to.flow(),
        revision,
        offer: None,
        parent: None,
        sequence: 1,
        partner,
        created_at: payload.staged_at,
        payload,
        state: TransferState::Staged,
        metadata,
    };
    NewTransfer {
        transfer,
        retain_for: RETENTION,
        deliveries: vec![delivery],
        attachments: Vec::new(),
        failure_route: None,
    }
}

/// What stands in the flow's place, as the endpoint is defined now.
///
/// # Errors
/// `Internal`: the transport's defaults do not fit its own fields.
pub(crate) fn flow(sent: ByHand<'_>, endpoint: &Endpoint, spec: &TransportSpec) -> Result<FlowAt> {
    let mut destination = Destination::usual(sent.endpoint, sent.endpoint, spec)?;
    if sent.is_test {
        // A person waits for its end.
        destination.retry = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
    }
    let flow = Flow::of_one_destination(&sent.flow(), destination, RETENTION)?;
    let transports = [(endpoint.name.clone(), endpoint.transport.clone())].into();
    Ok(FlowAt { flow: Arc::new(flow), transports })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_message_is_tried_once_and_other_files_as_by_a_flow_that_says_nothing() {
        let spec = TransportSpec::new("fake", "A transport.");
        let endpoint = Endpoint::bare("globex", "fake://globex.example/", &spec).unwrap();
        for (is_test, attempts) in [(false, RetryPolicy::default().attempts), (true, 1)] {
            let sent = ByHand { endpoint: "globex", is_test };
            let at = flow(sent, &endpoint, &spec).unwrap();
            assert_eq!(at.flow.name, sent.flow());
            assert_eq!(at.retry_policy("globex").attempts, attempts);
            assert!(at.speaks("globex", "fake").is_ok() && at.speaks("globex", "other").is_err());
        }
    }
}
