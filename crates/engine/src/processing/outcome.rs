//! What an attempt at the steps of a transfer came to.

use model::{Delivery, DeliveryId, Error, PayloadId};
use std::sync::Arc;
use store::MadePayload;

/// A delivery and the payload that it sends.
pub(crate) type Sends = (DeliveryId, PayloadId);

/// A delivery whose steps failed for good, and whether its lane goes on.
pub(crate) type Failed = (Delivery, Arc<Error>, bool);

/// What an attempt came to for each delivery.
#[derive(Default)]
pub(crate) struct Outcome {
    /// What was made, each payload after the one that it was made of.
    pub(crate) made: Vec<MadePayload>,
    /// What deliveries send.
    pub(crate) sent: Vec<Sends>,
    /// The deliveries that send nothing.
    pub(crate) failed: Vec<Failed>,
}
