//! New transfers with their deliveries, within whatever transaction makes them.

use model::{Delivery, Transfer};
use std::time::Duration;

/// A transfer to be recorded. Its payload's row is written with it, unless it is there already.
#[derive(Clone, Debug)]
pub struct NewTransfer {
    /// The transfer; `state` must be `staged`, and becomes `delivering`.
    pub transfer: Transfer,
    /// How long its payload is kept after its end.
    pub retain_for: Duration,
    /// At least one.
    pub deliveries: Vec<NewDelivery>,
}

/// A delivery to be recorded.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    /// The delivery; `state` must be `pending`, and `attempt` 0.
    pub delivery: Delivery,
    /// In a lane: whether the next one may pass when this one has failed or expired.
    pub lane_continues: bool,
}
