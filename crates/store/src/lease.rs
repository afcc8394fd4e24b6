//! Leases: which node lives, and which node polls which source.

use crate::open::Store;
use model::{NodeName, Result, Timestamp};
use std::time::Duration;

/// A node's right to write. One renewal serves all its claims.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NodeLease {
    /// The node.
    pub node: NodeName,
    /// Which of its lives: grows with each.
    pub epoch: i64,
    /// How long a renewal lasts.
    pub lease: Duration,
}

/// The answer to a wish for a lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Acquired {
    /// It is ours.
    Held(NodeLease),
    /// A node of this name lives; its lease ends then, unless it renews it.
    HeldUntil(Timestamp),
}

/// The answer to a renewal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Renewal {
    /// Good for another term.
    Renewed,
    /// Another has taken it, or fenced it off: stop all work under it.
    Lost,
}

/// A node whose lease ended without it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fenced {
    /// The node.
    pub node: NodeName,
    /// The epoch that it lost.
    pub epoch: i64,
    /// Deliveries that were taken from it and are due again.
    pub deliveries: u64,
}

impl Store {
    /// Takes the lease of a node's name: `epoch` = the one before + 1. With `previous_is_dead` (its
    /// process is known to have ended) a lease that still runs is taken over, with all its claims.
    ///
    /// # Errors
    /// The database failed.
    pub async fn acquire_node(
        &self,
        node: &NodeName,
        lease: Duration,
        now: Timestamp,
        previous_is_dead: bool,
    ) -> Result<Acquired> {
        self.write(AcquireNode { node: node.clone(), lease, now, previous_is_dead }).await
    }

    /// Extends a lease by its term.
    ///
    /// # Errors
    /// The database failed.
    pub async fn renew_node(&self, lease: &NodeLease, now: Timestamp) -> Result<Renewal> {
        self.write(RenewNode { lease: lease.clone(), now }).await
    }

    /// Gives a lease back, and with it whatever was still claimed under it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn release_node(&self, lease: &NodeLease, now: Timestamp) -> Result<()> {
        self.write(ReleaseNode { lease: lease.clone(), now }).await
    }

    /// Takes everything from nodes whose lease has ended: deliveries under way become due again
    /// (`interrupted`), messages in progress may begin again, sources and offers are free.
    /// `by` is the node that does it, for the record.
    ///
    /// # Errors
    /// The database failed.
    pub async fn fence_expired(&self, by: &NodeName, now: Timestamp) -> Result<Vec<Fenced>> {
        self.write(FenceExpired { by: by.clone(), now }).await
    }

    /// Takes the right to poll a source: true when it is free, ours already, or its holder no longer
    /// lives.
    ///
    /// # Errors
    /// The database failed.
    pub async fn acquire_source(&self, lease: &NodeLease, source: &str, now: Timestamp) -> Result<bool> {
        self.write(AcquireSource { lease: lease.clone(), source: source.to_owned(), now }).await
    }

    /// Gives the right to poll a source back.
    ///
    /// # Errors
    /// The database failed.
    pub async fn release_source(&self, lease: &NodeLease, source: &str) -> Result<()> {
        self.write(ReleaseSource { lease: lease.clone(), source: source.to_owned() }).await
    }
}

struct AcquireNode {
    node: NodeName,
    lease: Duration,
    now: Timestamp,
    previous_is_dead: bool,
}
struct RenewNode {
    lease: NodeLease,
    now: Timestamp,
}
struct ReleaseNode {
    lease: NodeLease,
    now: Timestamp,
}
struct FenceExpired {
    by: NodeName,
    now: Timestamp,
}
struct AcquireSource {
    lease: NodeLease,
    source: String,
    now: Timestamp,
}
struct ReleaseSource {
    lease: NodeLease,
    source: String,
}
crate::command::unfinished!(AcquireNode => Acquired, RenewNode => Renewal, ReleaseNode => (), FenceExpired => Vec<Fenced>, AcquireSource => bool, ReleaseSource => ());
