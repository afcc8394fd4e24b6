//! The parts of an engine.

use crate::history::FlowHistory;
use crate::host_keys::KnownHostList;
use crate::ids::Ids;
use crate::services::{Area, StoreAudit};
use model::NodeName;
use staging::Staging;
use std::sync::Arc;
use store::Store;
use transport::folder::Folder;
use transport::{BufferBudget, Clock, Directory, HostKeyList, Random, Services, Transport};

/// The parts of an engine.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// Staged payloads.
    pub staging: Staging,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Definitions, partners and keys.
    pub directory: Arc<dyn Directory>,
    /// The host keys that all nodes trust.
    pub host_keys: Arc<KnownHostList>,
    /// The directories of this machine that flows may archive to; paths are absolute.
    pub local_archives: Arc<dyn Folder>,
    /// Flows of earlier revisions.
    pub history: Arc<dyn FlowHistory>,
    /// All transports.
    pub transports: Vec<Arc<dyn Transport>>,
}

impl Parts {
    pub(crate) fn ids(&self) -> Ids {
        Ids { clock: Arc::clone(&self.clock), random: Arc::clone(&self.random) }
    }

    /// The services for transports, for a node with this name and this number of bytes for buffers; also for a
    /// command that only tests an endpoint.
    #[must_use]
    pub fn services(&self, node: &NodeName, buffers: u64) -> Services {
        Services {
            node: node.clone(),
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            directory: Arc::clone(&self.directory),
            host_keys: Arc::clone(&self.host_keys) as Arc<dyn HostKeyList>,
            audit: Arc::new(StoreAudit(self.store.clone())),
            budget: BufferBudget::new(buffers),
            staging: Arc::new(Area { staging: self.staging.clone(), ids: self.ids() }),
        }
    }
}
