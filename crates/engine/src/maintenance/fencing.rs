//! Runs `node::fencing` periodically.

use crate::context::Context;
use crate::maintenance::repeat::Maintenance;
use crate::node::fencing::fence_lapsed_nodes;
use async_trait::async_trait;
use model::Result;
use std::sync::Arc;
use std::time::Duration;

/// Releases the claims of nodes whose lease has lapsed.
pub(crate) struct Fencing(pub(crate) Arc<Context>);

#[async_trait]
impl Maintenance for Fencing {
    fn name(&self) -> &'static str {
        "lapsed leases"
    }

    fn every(&self) -> Duration {
        self.0.settings.lease / 4
    }

    async fn run(&self) -> Result<()> {
        let Context { store, settings, .. } = &*self.0;
        fence_lapsed_nodes(store, &settings.node, self.0.now()).await
    }
}
