//! Connections to one endpoint for one purpose, kept for a while.
//!
//! A connection carries many operations at once. Another one is made when all are busy, up to the
//! endpoint's limit; one that is idle for a minute is closed. A connection that broke is dropped and
//! whoever used it is told; only one that lay idle is tried first, so that a server which closed it
//! meanwhile fails nobody's operation.
//!
//! When none can be made, all who waited for it are told so: were each to try for itself, a wrong password
//! would lock the account, and a silent server would hold them up one after the other.

use crate::session::{Connection, Remote};
use model::{ConnectionId, Error, ErrorKind, Purpose, RemotePath, Result, Retry};
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

/// After one could not be made, those there are carry the load for so long before another is tried.
const NO_FURTHER: Duration = Duration::from_secs(15);

/// The same where the server did not let us in or was not trusted: knocking often locks accounts.
const NO_FURTHER_REFUSED: Duration = Duration::from_secs(600);

/// Who asks so soon after a refusal is told of it as well.
const REFUSAL_HOLDS: Duration = Duration::from_secs(5);

pub(crate) struct Pool {
    remote: Arc<Remote>,
    purpose: Purpose,
    members: Mutex<Vec<Arc<Member>>>,
    /// One connection is made at a time: those who wait find it, or why there is none.
    making: tokio::sync::Mutex<()>,
    failed: Mutex<Option<Failed>>,
}

/// That no connection could be made.
struct Failed {
    at: Instant,
    kind: ErrorKind,
    retry: Retry,
    chain: String,
    connection: Option<ConnectionId>,
}

impl Failed {
    fn now(error: &Error) -> Self {
        Self {
            at: Instant::now(),
            kind: error.kind(),
            retry: error.retry(),
            chain: error.chain(),
            connection: error.connection(),
        }
    }

    fn is_refusal(&self) -> bool {
        matches!(self.kind, ErrorKind::Unauthenticated | ErrorKind::TrustFailed)
    }

    /// Whether another connection beside those there are would only fail again.
    fn keeps_from_further(&self) -> bool {
        self.at.elapsed() < if self.is_refusal() { NO_FURTHER_REFUSED } else { NO_FURTHER }
    }

    /// Whether it answers an operation that began then.
    fn answers(&self, since: Instant) -> bool {
        since <= self.at || self.is_refusal() && self.at.elapsed() < REFUSAL_HOLDS
    }

    /// The same error for one who did not try.
    fn for_another(&self) -> Error {
        let error = Error::new(self.kind, self.retry, "get the connection that another operation asked for")
            .caused_by(self.chain.as_str());
        error.on_connection(self.connection)
    }
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
        Arc::new(Self {
            remote,
            purpose,
            members: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            failed: Mutex::default(),
        })
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
    /// None could be made, by this operation or by one that it waited for.
    pub(crate) async fn take(self: &Arc<Self>) -> Result<Lease> {
        let since = Instant::now();
        loop {
            if let Some(lease) = self.choose() {
                match self.tried(lease).await {
                    Some(lease) => return Ok(lease),
                    None => continue,
                }
            }
            let making = self.making.lock().await;
            // Whoever made one while we waited made it for us too, if it is not busy already; and whoever
            // failed to make one found out for us.
            if let Some(lease) = self.choose() {
                drop(making);
                match self.tried(lease).await {
                    Some(lease) => return Ok(lease),
                    None => continue,
                }
            }
            if let Some(failed) = lock(&self.failed).as_ref().filter(|failed| failed.answers(since)) {
                return Err(failed.for_another());
            }
            let error = match self.remote.connect(self.purpose).await {
                Ok(connection) => {
                    *lock(&self.failed) = None;
                    return Ok(self.admit(connection));
                }
                Err(error) => error,
            };
            *lock(&self.failed) = Some(Failed::now(&error));
            // A server that lets in fewer connections than we may make, or nobody any more: those there are
            // carry the load as long as they live.
            let Some(lease) = self.choose() else { return Err(error) };
            tracing::warn!(endpoint = %self.remote.settings.endpoint, error = %error.chain(), "no further connection for a while; going on with those there are");
            return Ok(lease);
        }
    }

    /// The connection with the fewest uses; `None` when a further one may be made instead.
    fn choose(&self) -> Option<Lease> {
        let no_further = lock(&self.failed).as_ref().is_some_and(Failed::keeps_from_further);
        let mut members = lock(&self.members);
        members.retain(|member| member.connection.client().lost().is_none());
        let best = members.iter().min_by_key(|member| member.uses.load(Ordering::Acquire))?;
        let busy = best.uses.load(Ordering::Acquire) >= BUSY;
        let may_grow = !no_further && members.len() < self.remote.settings.connections;
        (!busy || !may_grow).then(|| Lease::new(best))
    }

    /// Tries a connection that lay idle.
    async fn tried(&self, lease: Lease) -> Option<Lease> {
        let idle = lock(&lease.member.idle_since).elapsed();
        if lease.member.uses.load(Ordering::Acquire) > 1 || idle < TRUSTED_IDLE {
            return Some(lease);
        }
        let patience = self.remote.settings.connecting.timeout.unwrap_or(SIGN_OF_LIFE).min(SIGN_OF_LIFE);
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
