//! Releasing the claims of nodes whose lease has lapsed.

use model::{NodeName, Result, Timestamp};
use store::Store;

/// Releases the claims of nodes whose lease has lapsed, and marks their connections as lost in the records.
pub(crate) async fn fence_lapsed_nodes(store: &Store, own: &NodeName, now: Timestamp) -> Result<()> {
    for fenced in store.fence_expired(own, now).await? {
        tracing::warn!(node = %fenced.node, epoch = fenced.epoch, "a node's lease lapsed; its claims are released to other nodes");
    }
    store.lose_connections_of_lapsed_nodes(now, own).await.map(drop)
}
