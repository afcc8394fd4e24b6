//! Flows that stream: what needs a copy of each file is refused.

use super::Checker;
use crate::reader::Reader;
use model::definition::{Destination, SettleWhen};

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
        for field in ["steps", "on_failure", "retention"] {
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
