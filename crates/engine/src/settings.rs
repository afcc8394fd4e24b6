//! The engine's settings.

use model::NodeName;
use std::time::Duration;
use uuid::Uuid;

/// The engine's settings, from the process settings.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// This node.
    pub node: NodeName,
    /// The duration of the node's lease.
    pub lease: Duration,
    /// The installation of the node. A lock proves that no other process of it is running.
    pub instance: Uuid,
    /// How many offers of one poll are staged at the same time.
    pub stagings_at_once: usize,
    /// The highest number of deliveries that run at the same time.
    pub deliveries_at_once: usize,
    /// The highest number of deliveries that run at the same time to one endpoint.
    pub deliveries_per_endpoint: usize,
    /// The bytes for all buffers.
    pub buffers: u64,
    /// The time between two checks for payloads past their retention, and between two sweeps of staging.
    pub retention_every: Duration,
}
