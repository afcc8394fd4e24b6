//! This node's lease: the right to act, and the time at which it ends.

use model::{Error, ErrorKind, NodeName, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use store::{Acquired, NodeLease, Renewal, Store};
use tokio::sync::watch;
use transport::{Clock, Shutdown};
use uuid::Uuid;

/// Renews the node's lease and knows whether it is still valid.
///
/// One renewal covers all claims. Before a publish, POST or settle, callers ask [`NodeLeaseKeeper::may_act`]. After
/// half a lease without renewal, by the monotonic clock, it refuses: so a node that was stopped and continues cannot
/// do what another node may already be doing.
pub(crate) struct NodeLeaseKeeper {
    store: Store,
    clock: Arc<dyn Clock>,
    node: NodeName,
    instance: Uuid,
    length: Duration,
    current: watch::Sender<NodeLease>,
    /// When the last successful renewal was *begun*, in monotonic microseconds.
    renewed_at: AtomicU64,
    /// An epoch under which there may be claims that are not known here: it is replaced, not renewed.
    doubtful: watch::Sender<Option<i64>>,
    /// Released: nothing may be done under it any more.
    over: AtomicBool,
}

/// Wait between two attempts to replace a doubtful epoch.
const REPLACE_AGAIN: Duration = Duration::from_secs(2);

impl NodeLeaseKeeper {
    /// Takes the node's lease. No earlier process of this `instance` may be running.
    pub(crate) async fn acquire(
        store: Store,
        clock: Arc<dyn Clock>,
        node: NodeName,
        length: Duration,
        instance: Uuid,
    ) -> Result<Self> {
        let begun = micros(clock.monotonic());
        let lease = match store.acquire_node(&node, length, clock.now(), instance).await? {
            Acquired::Held(lease) => lease,
            Acquired::HeldUntil(until) => return Err(taken(&node, until)),
        };
        Ok(Self {
            store,
            clock,
            node,
            instance,
            length,
            current: watch::Sender::new(lease),
            renewed_at: AtomicU64::new(begun),
            doubtful: watch::Sender::new(None),
            over: AtomicBool::new(false),
        })
    }

    /// The present lease.
    pub(crate) fn current(&self) -> NodeLease {
        self.current.borrow().clone()
    }

    /// Whether work under this epoch may still have effects outside.
    pub(crate) fn may_act(&self, epoch: i64) -> Result<()> {
        let idle = micros(self.clock.monotonic()).saturating_sub(self.renewed_at.load(Ordering::SeqCst));
        if self.holds(epoch) && idle < micros(self.length) / 2 {
            return Ok(());
        }
        Err(Error::transient(ErrorKind::Unreachable, "continue this work")
            .with("node", &self.node)
            .with("seconds without a renewed lease", idle / 1_000_000)
            .advice(
                "another node may have taken over the work; this node continues when it can reach the \
                database again",
            ))
    }

    /// Whether this node still works under this epoch.
    pub(crate) fn holds(&self, epoch: i64) -> bool {
        !self.over.load(Ordering::SeqCst) && self.current.borrow().epoch == epoch
    }

    /// Waits until this epoch is over: then its claims belong to other nodes.
    pub(crate) async fn lost(&self, epoch: i64) {
        let mut current = self.current.subscribe();
        // This struct owns the sender, so the channel cannot close while this waits.
        let _ = current.wait_for(|lease| lease.epoch != epoch || self.over.load(Ordering::SeqCst)).await;
    }

    /// Renews until shutdown. A lost lease is replaced by one with a new epoch: the claims of the old one have been
    /// released to other nodes.
    pub(crate) async fn keep(&self, mut shutdown: Shutdown) {
        let mut doubtful = self.doubtful.subscribe();
        loop {
            let pause = if self.is_doubtful(self.current().epoch) { REPLACE_AGAIN } else { self.length / 4 };
            tokio::select! {
                () = self.clock.sleep(pause.min(self.length / 4)) => {}
                // This struct owns the sender, so the channel cannot close while this waits.
                _ = doubtful.changed() => {}
                _ = shutdown.wait_for(|ended| *ended) => return,
            }
            self.renew_or_replace().await;
        }
    }

    async fn renew_or_replace(&self) {
        let begun = micros(self.clock.monotonic());
        let lease = self.current();
        if self.is_doubtful(lease.epoch) {
            return self.take_anew(begun).await;
        }
        match self.store.renew_node(&lease, self.clock.now()).await {
            Ok(Renewal::Renewed) => self.renewed_at.store(begun, Ordering::SeqCst),
            Ok(Renewal::Lost) => {
                tracing::warn!(node = %self.node, epoch = lease.epoch, "the node's lease was lost; taking a new one");
                self.take_anew(begun).await;
            }
            Err(error) => {
                tracing::warn!(node = %self.node, error = %error.chain(), "the node's lease could not be renewed");
            }
        }
    }

    /// Marks this epoch as doubtful: it is unknown what was claimed under it. As soon as the database answers, it is
    /// ended and a new one begun, so that all its claims are released.
    pub(crate) fn doubt(&self, epoch: i64) {
        self.doubtful.send_replace(Some(epoch));
    }

    /// Whether this epoch will be replaced: nothing more should be claimed under it.
    pub(crate) fn is_doubtful(&self, epoch: i64) -> bool {
        *self.doubtful.borrow() == Some(epoch)
    }

    /// Replaces this process's own lease, or one that has ended. A lease that another installation holds under this
    /// node's name is left alone.
    async fn take_anew(&self, begun: u64) {
        match self.store.acquire_node(&self.node, self.length, self.clock.now(), self.instance).await {
            Ok(Acquired::Held(lease)) => {
                // In this order: the epoch that is over must never look renewed.
                self.current.send_replace(lease);
                self.renewed_at.store(begun, Ordering::SeqCst);
            }
            Ok(Acquired::HeldUntil(until)) => {
                tracing::error!(node = %self.node, %until, "another process uses this node's name; this process waits until the other one stops");
            }
            Err(error) => {
                tracing::warn!(node = %self.node, error = %error.chain(), "no new lease for this node yet");
            }
        }
    }

    /// Releases the lease at shutdown, so that other nodes need not wait for it to lapse. Work that has not finished
    /// is cancelled first, because other nodes may take it over at once.
    pub(crate) async fn release(&self) -> Result<()> {
        self.over.store(true, Ordering::SeqCst);
        self.current.send_modify(|_| {});
        self.store.release_node(&self.current(), self.clock.now()).await
    }
}

fn taken(node: &NodeName, until: model::Timestamp) -> Error {
    Error::transient(ErrorKind::AlreadyExists, "get this node's lease")
        .with("node", node)
        .with("held until", until)
        .advice("another process uses this node's name: give each node its own name, or wait until the lease of the other process ends")
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
