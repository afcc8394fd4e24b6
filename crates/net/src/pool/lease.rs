//! A pooled connection, and its use by an operation.

use super::{PooledConnection, lock};
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;

/// A connection in a pool.
pub(super) struct Member<T> {
    connection: T,
    made: Instant,
    uses: AtomicUsize,
    idle_since: Mutex<Instant>,
    released: Arc<Notify>,
}

impl<T: PooledConnection> Member<T> {
    pub(super) fn new(connection: T, released: Arc<Notify>) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            connection,
            made: now,
            uses: AtomicUsize::new(0),
            idle_since: Mutex::new(now),
            released,
        })
    }

    pub(super) fn connection(&self) -> &T {
        &self.connection
    }

    pub(super) fn uses(&self) -> usize {
        self.uses.load(Ordering::Acquire)
    }

    pub(super) fn is_older_than(&self, lifetime: Duration) -> bool {
        self.made.elapsed() >= lifetime
    }

    pub(super) fn idle_for(&self) -> Duration {
        lock(&self.idle_since).elapsed()
    }
}

/// The use of a connection; it ends when this and all its clones are dropped.
pub struct PoolLease<T: PooledConnection> {
    member: Arc<Member<T>>,
    /// Returned after the use was counted out, because fields are dropped after [`Drop::drop`].
    permit: Option<Arc<OwnedSemaphorePermit>>,
}

impl<T: PooledConnection> PoolLease<T> {
    pub(super) fn new(member: &Arc<Member<T>>, permit: Option<Arc<OwnedSemaphorePermit>>) -> Self {
        member.uses.fetch_add(1, Ordering::AcqRel);
        Self { member: Arc::clone(member), permit }
    }

    /// Whether other operations also use the connection.
    pub(super) fn is_shared(&self) -> bool {
        self.member.uses() > 1
    }

    /// How long it was idle before this use.
    pub(super) fn idle_for(&self) -> Duration {
        self.member.idle_for()
    }
}

impl<T: PooledConnection> Deref for PoolLease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.member.connection
    }
}

impl<T: PooledConnection> Clone for PoolLease<T> {
    fn clone(&self) -> Self {
        Self::new(&self.member, self.permit.clone())
    }
}

impl<T: PooledConnection> Drop for PoolLease<T> {
    fn drop(&mut self) {
        if self.member.uses.fetch_sub(1, Ordering::AcqRel) == 1 {
            *lock(&self.member.idle_since) = Instant::now();
            self.member.released.notify_waiters();
        }
    }
}
