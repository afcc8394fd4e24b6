//! How the engine works.

use model::NodeName;
use std::time::Duration;
use uuid::Uuid;

/// How the engine works; from the process settings.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// This node.
    pub node: NodeName,
    /// Length of the node's lease.
    pub lease: Duration,
    /// Which installation of the node this is; a lock proves that no other process of it lives.
    pub instance: Uuid,
    /// Offers of one poll staged at once.
    pub stagings_at_once: usize,
    /// The highest number of deliveries that run at the same time.
    pub deliveries_at_once: usize,
    /// The highest number of deliveries that run at the same time to one endpoint.
    pub deliveries_per_endpoint: usize,
    /// Bytes of all buffers.
    pub buffers: u64,
    /// Time between two checks for payloads past their retention, and between two sweeps of staging.
    pub retention_every: Duration,
}
