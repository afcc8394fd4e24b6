//! Flows that stream: what needs a copy of each file is refused.

use super::Checker;
use super::source::CheckedSource;
use crate::reader::Reader;
use model::definition::{Destination, FlowSource, SettleWhen};

/// Why a field cannot be used.
const NO_COPY: &str =
    "cannot be used where the flow's source has stream = true: the gateway has no copy of the file";

impl Checker<'_> {
    /// Checks the fields of a flow that streams. What its destinations say is checked with them.
    pub(super) fn stream(flow: &Reader<'_>, destinations: &[Destination]) {
        if destinations.len() > 1 {
            flow.error(
                "destination",
                "must be one where the flow's source has stream = true: the file is read at its source for each delivery, and \
                 may be another one for the second; let a flow without 'stream' deliver to several",
            );
        }
        for field in ["steps", "on_failure", "retention", "together"] {
            if flow.has(field) {
                flow.error(field, NO_COPY);
            }
        }
    }

    /// Refuses the steps of a destination of a flow that streams.
    pub(super) fn stream_to(destination: &Reader<'_>) {
        if destination.has("steps") {
            destination.error("steps", NO_COPY);
        }
    }

    /// Refuses endpoints that are bound to two nodes: one node reads and writes, so that none would deliver.
    pub(super) fn stream_on_one_node(
        &self,
        source: Option<&CheckedSource>,
        destination: &Destination,
        reader: &Reader<'_>,
    ) {
        let Some(FlowSource::Poll(poll)) = source.map(|source| &source.source) else { return };
        let node = |endpoint: &str| self.endpoints.get(endpoint)?.read.as_ref()?.node.clone();
        if let (Some(from), Some(to)) = (node(&poll.endpoint), node(&destination.endpoint))
            && from != to
        {
            let message = format!(
                "is bound to node '{to}', and the flow's source to node '{from}': with stream = true one node reads and \
                 writes; let one of both be bound to none"
            );
            reader.error("endpoint", message);
        }
    }

    /// When the source of a flow that streams is settled: never before the delivery, which reads the file.
    pub(super) fn stream_settles(source: &Reader<'_>, settle: SettleWhen) -> SettleWhen {
        if settle == SettleWhen::Recorded && source.has("settle") {
            source.error(
                "settle",
                "must be \"after_delivery\" with stream = true, which is the default then: the delivery reads the file at \
                 its source",
            );
        }
        SettleWhen::AfterDelivery
    }
}
