//! This node's lease: the right to act, and the moment it ends.

use model::{Error, ErrorKind, NodeName, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use store::{Acquired, NodeLease, Renewal, Store};
use tokio::sync::watch;
use transport::{Clock, Shutdown};
use uuid::Uuid;

/// Keeps the node's lease renewed and tells everyone whether it still holds.
///
/// One renewal serves all claims. Whoever is about to publish, POST or settle asks
/// [`NodeLeaseKeeper::may_act`]: after half a lease without renewal, by the monotonic clock, the answer is
/// no, so that a node that was stopped and goes on does nothing another node may be doing already.
pub(crate) struct NodeLeaseKeeper {
    store: Store,
    clock: Arc<dyn Clock>,
    node: NodeName,
    instance: Uuid,
    length: Duration,
    current: watch::Sender<NodeLease>,
    /// When the last successful renewal was *begun*, in monotonic microseconds.
    renewed_at: AtomicU64,
    /// An epoch under which claims may stand that nobody knows of: it is replaced, not renewed.
    doubtful: watch::Sender<Option<i64>>,
    /// Given back: nothing may be done under it any more.
    over: AtomicBool,
}

/// Between two tries to replace a doubtful epoch.
const REPLACE_AGAIN: Duration = Duration::from_secs(2);

impl NodeLeaseKeeper {
    /// Takes the node's lease. No earlier process of this `instance` may live.
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

    /// The lease as it stands.
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

    /// Whether this epoch is still the one that this node works under.
    pub(crate) fn holds(&self, epoch: i64) -> bool {
        !self.over.load(Ordering::SeqCst) && self.current.borrow().epoch == epoch
    }

    /// Waits until this epoch is over: what was claimed under it is others' to do.
    pub(crate) async fn lost(&self, epoch: i64) {
        let mut current = self.current.subscribe();
        // The sender is ours, so the channel cannot close while this waits.
        let _ = current.wait_for(|lease| lease.epoch != epoch || self.over.load(Ordering::SeqCst)).await;
    }

    /// Renews until shutdown. A lost lease is taken anew under a new epoch: what was claimed under the
    /// old one has been given to others.
    pub(crate) async fn keep(&self, mut shutdown: Shutdown) {
        let mut doubtful = self.doubtful.subscribe();
        loop {
            let pause = if self.is_doubtful(self.current().epoch) { REPLACE_AGAIN } else { self.length / 4 };
            tokio::select! {
                () = self.clock.sleep(pause.min(self.length / 4)) => {}
                // The sender is ours, so the channel cannot close while this waits.
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

    /// Says that it is not known what was claimed under this epoch: it is ended and the next one begun,
    /// as soon as the database lets it, so that all of it is free again.
    pub(crate) fn doubt(&self, epoch: i64) {
        self.doubtful.send_replace(Some(epoch));
    }

    /// Whether this epoch is to be replaced: nothing more should be claimed under it.
    pub(crate) fn is_doubtful(&self, epoch: i64) -> bool {
        *self.doubtful.borrow() == Some(epoch)
    }

    /// Replaces this process's own lease, or one that has ended. One that another installation holds
    /// under this node's name stays with it.
    async fn take_anew(&self, begun: u64) {
        match self.store.acquire_node(&self.node, self.length, self.clock.now(), self.instance).await {
            Ok(Acquired::Held(lease)) => {
                // In this order: the epoch that is over must not look renewed for an instant.
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

    /// Gives the lease back at an orderly end, so that others need not wait for it to lapse.
    /// Work that did not end before is stopped first: others may take it up at once.
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
