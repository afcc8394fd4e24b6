//! Removing rows that are no longer needed.

use crate::context::Context;
use crate::maintenance::repeat::Maintenance;
use crate::transfers::DEFAULT_RETENTION;
use async_trait::async_trait;
use model::Result;
use model::definition::{Destination, FlowSource};
use std::sync::Arc;
use std::time::Duration;

/// Deletes old answers to messages, evidence whose retention is over, and expired logins.
pub(crate) struct Purge(pub(crate) Arc<Context>);

#[async_trait]
impl Maintenance for Purge {
    fn name(&self) -> &'static str {
        "old replies, evidence and sessions"
    }

    fn every(&self) -> Duration {
        self.0.settings.retention_every
    }

    async fn run(&self) -> Result<()> {
        let Context { store, .. } = &*self.0;
        // The answer to a message is kept, for repetitions of it, as long as its transfers are kept. They go through a flow that
        // receives; of a message that came in the answer to a delivery, through the flow that the destination names for answers.
        let definitions = self.0.definitions();
        let flows = &definitions.flows;
        let receiving = flows.values().filter(|flow| matches!(flow.source, FlowSource::Receive(_)));
        let named = flows.values().flat_map(|flow| &flow.destinations).filter_map(Destination::response_flow);
        let taking = receiving.chain(named.filter_map(|name| flows.get(name)));
        let kept = taking.map(|flow| flow.retention).fold(DEFAULT_RETENTION, Duration::max);
        store.purge_intake_keys(self.0.now() - kept).await?;
        store.remove_evidence(&self.0.settings.node, self.0.now()).await?;
        store.purge_logins(self.0.now()).await
    }
}
