//! Connections to one endpoint for one purpose, kept for a while.
//!
//! A connection carries many operations at once. Another one is made when all are busy, up to the
//! endpoint's limit; one that is idle for a minute is closed. A connection that broke is dropped and
//! whoever used it is told; only one that lay idle is tried first, so that a server which closed it
//! meanwhile fails nobody's operation.

use crate::session::{Connection, Remote};
use model::{Purpose, RemotePath, Result};
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// Operations on a connection from which on another one is made.
const BUSY: usize = 8;

/// An idle connection is closed after so long.
const IDLE: Duration = Duration::from_secs(60);

/// A connection idle for longer is tried before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// How long an idle connection has to show that it lives.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

pub(crate) struct Pool {
    remote: Arc<Remote>,
    purpose: Purpose,
    members: Mutex<Vec<Arc<Member>>>,
    /// One connection is made at a time: those who wait find it.
    making: tokio::sync::Mutex<()>,
}

struct Member {
    connection: Connection,
    uses: AtomicUsize,
    idle_since: Mutex<Instant>,
}

/// The use of a connection, until dropped.
pub(crate) struct Lease {
    member: Arc<Member>,
}

impl Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.member.connection
    }
}

impl Lease {
    fn new(member: &Arc<Member>) -> Self {
        member.uses.fetch_add(1, Ordering::AcqRel);
        Self { member: Arc::clone(member) }
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        Self::new(&self.member)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.member.uses.fetch_sub(1, Ordering::AcqRel) == 1 {
            *lock(&self.member.idle_since) = Instant::now();
        }
    }
}

/// Nothing panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    pub(crate) fn new(remote: Arc<Remote>, purpose: Purpose) -> Arc<Self> {
        Arc::new(Self { remote, purpose, members: Mutex::default(), making: tokio::sync::Mutex::default() })
    }

    pub(crate) fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// Takes in a connection made elsewhere.
    pub(crate) fn admit(self: &Arc<Self>, connection: Connection) -> Lease {
        let member = Arc::new(Member {
            connection,
            uses: AtomicUsize::new(0),
            idle_since: Mutex::new(Instant::now()),
        });
        let lease = Lease::new(&member);
        lock(&self.members).push(Arc::clone(&member));
        tokio::spawn(retire(Arc::downgrade(self), Arc::downgrade(&member)));
        lease
    }

    /// A connection, perhaps a new one.
    ///
    /// # Errors
    /// None could be made.
    pub(crate) async fn take(self: &Arc<Self>) -> Result<Lease> {
        loop {
            if let Some(lease) = self.choose(false) {
                match self.tried(lease).await {
                    Some(lease) => return Ok(lease),
                    None => continue,
                }
            }
            let making = self.making.lock().await;
            // Whoever made one while we waited made it for us too, if it is not busy already.
            if let Some(lease) = self.choose(false) {
                drop(making);
                match self.tried(lease).await {
                    Some(lease) => return Ok(lease),
                    None => continue,
                }
            }
            match self.remote.connect(self.purpose).await {
                Ok(connection) => return Ok(self.admit(connection)),
                // A server that lets in fewer connections than we may make: the others carry the load.
                Err(error) => match self.choose(true) {
                    Some(lease) => {
                        tracing::warn!(endpoint = %self.remote.settings.endpoint, error = %error.chain(), "no further connection; going on with those there are");
                        return Ok(lease);
                    }
                    None => return Err(error),
                },
            }
        }
    }

    /// The connection with the fewest uses; `None` when a further one may be made instead.
    fn choose(&self, any: bool) -> Option<Lease> {
        let mut members = lock(&self.members);
        members.retain(|member| member.connection.client().lost().is_none());
        let best = members.iter().min_by_key(|member| member.uses.load(Ordering::Acquire))?;
        let busy = best.uses.load(Ordering::Acquire) >= BUSY;
        (any || !busy || members.len() >= self.remote.settings.connections).then(|| Lease::new(best))
    }

    /// Tries a connection that lay idle.
    async fn tried(&self, lease: Lease) -> Option<Lease> {
        let idle = lock(&lease.member.idle_since).elapsed();
        if lease.member.uses.load(Ordering::Acquire) > 1 || idle < TRUSTED_IDLE {
            return Some(lease);
        }
        let patience = self.remote.settings.timeout.unwrap_or(SIGN_OF_LIFE).min(SIGN_OF_LIFE);
        let here = RemotePath::default();
        match tokio::time::timeout(patience, lease.client().absolute(&here)).await {
            Ok(Ok(_)) => Some(lease),
            // That it refuses to answer is a sign of life too.
            Ok(Err(_)) if lease.client().lost().is_none() => Some(lease),
            _ => {
                lease.client().lose("no answer after lying idle");
                None
            }
        }
    }
}

/// Closes a connection that nobody uses any more, or that broke.
async fn retire(pool: Weak<Pool>, member: Weak<Member>) {
    loop {
        tokio::time::sleep(IDLE / 4).await;
        let (Some(pool), Some(member)) = (pool.upgrade(), member.upgrade()) else { return };
        let mut members = lock(&pool.members);
        let lost = member.connection.client().lost().is_some();
        let idle = member.uses.load(Ordering::Acquire) == 0 && lock(&member.idle_since).elapsed() >= IDLE;
        if lost || idle {
            members.retain(|other| !Arc::ptr_eq(other, &member));
            if idle {
                member.connection.closing("not used for a minute");
            }
            return;
        }
    }
}
