//! A pool of connections to one server, by one account and for one purpose, for protocols whose connections need a login.
//! Endpoints that lead there in the same way ([`model::definition::Access`]) share it: 80 folders of one partner's server need no 80 logins.
//!
//! A transport implements how a connection is made ([`Connector`]) and used ([`PooledConnection`]); [`PoolLimits`]
//! sets how many there may be, how many operations share one, and how long it is kept. A broken connection is
//! dropped, and the operation that used it gets the error. An idle connection is first checked for a sign of life, so
//! that no operation fails because the server closed it in the meantime.
//!
//! If no connection can be made, all operations that waited for it get the same error: if each tried for itself, a
//! wrong password would lock the account, and a silent server would delay them one after the other. A server that is
//! busy is tried again a few times ([`PoolLimits::retries`]), and no more than a few connections to one server are being
//! made at a time: many servers refuse more ("Exceeded MaxStartups").

mod connecting;
mod failure;
mod lease;
mod shared;

pub use lease::PoolLease;
pub use shared::{Pools, Shareable, Shared};

pub(crate) use shared::Closers;

use async_trait::async_trait;
use connecting::Starting;
use failure::Failure;
use lease::Member;
use model::schema::Values;
use model::{Error, ErrorKind, Purpose, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Makes connections to one server.
#[async_trait]
pub trait Connector: Send + Sync + 'static {
    /// The type of the connections.
    type Connection: PooledConnection;

    /// Connects and logs in. Tries once. `endpoint` is the name of the endpoint that the connection is made for, for its
    /// record; others may use it afterwards.
    ///
    /// # Errors
    /// By the protocol's own answers.
    async fn connect(&self, purpose: Purpose, endpoint: &str) -> Result<Self::Connection>;
}

/// A connection that is logged in. When it is dropped, it closes, in the protocol's own way if there is one.
#[async_trait]
pub trait PooledConnection: Send + Sync + 'static {
    /// Whether it broke, so that no operation can be started on it.
    fn is_lost(&self) -> bool;

    /// Checks that the server still answers; a refusal is an answer too.
    async fn is_alive(&self) -> bool;

    /// Records why it failed; it is not used again.
    fn lose(&self, why: &'static str);

    /// Records why it is closed; it is dropped next.
    fn closing(&self, reason: &'static str);
}

/// How operations share connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// Each connection carries one operation at a time, as in FTP. If all are in use, operations wait.
    Exclusive,
    /// Each connection carries many operations at once, as in SFTP. From this number of operations on, another
    /// connection is made; at the pool's limit they continue to share.
    Shared(usize),
}

/// The limits of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolLimits {
    /// The most connections at a time; at least 1.
    pub connections: usize,
    /// How operations share them.
    pub sharing: Sharing,
    /// How often a connection that the server refused because it is busy, or broke off, is tried again at once.
    pub retries: u32,
    /// An idle connection is closed after this time, or up to a quarter later.
    pub idle: Duration,
    /// A connection of this age is not used for further operations, and is closed when it is idle.
    pub lifetime: Duration,
    /// A connection that has been idle for longer is checked for a sign of life before it is used.
    pub trusted_idle: Duration,
    /// How long this check may take.
    pub sign_of_life: Duration,
    /// How long an operation waits for a connection, if each carries one operation. It ends deadlocks of operations
    /// that hold one connection and wait for a second.
    pub longest_wait: Duration,
}

impl PoolLimits {
    /// The limits in an endpoint's fields [`crate::POOL`]; `timeout` is its longest silence.
    #[must_use]
    pub fn read(options: &Values, sharing: Sharing, timeout: Option<Duration>) -> Self {
        let connections = options.integer("connections").and_then(|n| usize::try_from(n).ok());
        let retries = options.integer("connect_retries").and_then(|n| u32::try_from(n).ok());
        let usual = Self::new(sharing);
        Self {
            connections: connections.unwrap_or(usual.connections).max(1),
            retries: retries.unwrap_or(usual.retries),
            idle: options.duration("keep_open").unwrap_or_default(),
            sign_of_life: timeout.unwrap_or(usual.sign_of_life).min(usual.sign_of_life),
            ..usual
        }
    }

    /// The defaults.
    #[must_use]
    pub const fn new(sharing: Sharing) -> Self {
        Self {
            connections: 4,
            sharing,
            retries: 3,
            idle: Duration::from_secs(60),
            // Long enough to cost nothing; short enough that a revoked login loses access within the day.
            lifetime: Duration::from_secs(12 * 3600),
            trusted_idle: Duration::from_secs(1),
            sign_of_life: Duration::from_secs(10),
            longest_wait: Duration::from_secs(600),
        }
    }
}

/// The use of a pool by one endpoint. Cheap to clone.
pub struct Pool<C: Connector> {
    connections: Arc<Connections<C>>,
    endpoint: Arc<str>,
}

impl<C: Connector> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Self { connections: Arc::clone(&self.connections), endpoint: Arc::clone(&self.endpoint) }
    }
}

/// Connections to one server for one purpose.
struct Connections<C: Connector> {
    connector: Arc<C>,
    purpose: Purpose,
    limits: PoolLimits,
    starting: Starting,
    members: Mutex<Vec<Arc<Member<C::Connection>>>>,
    /// One connection is made at a time: the operations that wait for it get it, or its error.
    making: tokio::sync::Mutex<()>,
    failed: Mutex<Option<Failure>>,
    /// As many permits as connections, if each operation has its own.
    exclusive: Option<Arc<Semaphore>>,
    /// Notified when a connection is no longer in use.
    released: Arc<Notify>,
}

/// Nothing panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<C: Connector> Pool<C> {
    /// A pool of its own, without connections; `endpoint` is the name of its endpoint.
    #[must_use]
    pub fn new(connector: Arc<C>, endpoint: &str, purpose: Purpose, limits: PoolLimits) -> Self {
        let connections = Connections::new(connector, purpose, limits, Starting::default());
        Self { connections, endpoint: endpoint.into() }
    }

    /// The connector; where endpoints share the pool, that of the endpoint which used it first.
    #[must_use]
    pub fn connector(&self) -> &Arc<C> {
        &self.connections.connector
    }

    /// The endpoint that uses it.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The number of its connections, in use or idle.
    #[must_use]
    pub fn size(&self) -> usize {
        self.connections.size()
    }

    /// Adds a connection that was made elsewhere.
    pub fn admit(&self, connection: C::Connection) -> PoolLease<C::Connection> {
        self.connections.add(connection, None)
    }

    /// Returns a connection, perhaps a new one.
    ///
    /// # Errors
    /// None could be made, by this operation or by one that it waited for. `Busy`: none was free within
    /// [`PoolLimits::longest_wait`].
    pub async fn take(&self) -> Result<PoolLease<C::Connection>> {
        self.connections.take(&self.endpoint).await
    }
}

impl<C: Connector> Connections<C> {
    fn new(connector: Arc<C>, purpose: Purpose, limits: PoolLimits, starting: Starting) -> Arc<Self> {
        let exclusive = match limits.sharing {
            Sharing::Exclusive => Some(Arc::new(Semaphore::new(limits.connections.max(1)))),
            Sharing::Shared(_) => None,
        };
        Arc::new(Self {
            connector,
            purpose,
            limits,
            starting,
            members: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            failed: Mutex::default(),
            exclusive,
            released: Arc::default(),
        })
    }

    fn size(&self) -> usize {
        lock(&self.members).len()
    }

    async fn take(self: &Arc<Self>, endpoint: &str) -> Result<PoolLease<C::Connection>> {
        let since = Instant::now();
        let permit = self.permit(since, endpoint).await?;
        loop {
            // Registered before the check, so that a release in between is not missed.
            let mut released = std::pin::pin!(self.released.notified());
            released.as_mut().enable();
            if let Some(lease) = self.choose(&permit) {
                match self.checked(lease).await {
                    Some(lease) => return Ok(lease),
                    None => continue,
                }
            }
            if permit.is_some() && self.keeps_from_further() && self.size() > 0 {
                let waited = tokio::time::timeout_at(since + self.limits.longest_wait, released).await;
                waited.map_err(|_| self.none_free(endpoint))?;
                continue;
            }
            let making = self.making.lock().await;
            // Another operation may have made a connection while this one waited: it is used if it is not busy. If
            // that operation failed, its error is ours.
            if let Some(lease) = self.choose(&permit) {
                drop(making);
                match self.checked(lease).await {
                    Some(lease) => return Ok(lease),
                    None => continue,
                }
            }
            if let Some(failed) = lock(&self.failed).as_ref().filter(|failed| failed.answers(since)) {
                return Err(failed.for_another());
            }
            let error = match self.connect(endpoint).await {
                Ok(connection) => {
                    *lock(&self.failed) = None;
                    return Ok(self.add(connection, permit));
                }
                Err(error) => error,
            };
            *lock(&self.failed) = Some(Failure::now(&error));
            // The server allows fewer connections than our limit, or none any more: the existing ones carry the load
            // as long as they live.
            let Some(lease) = self.choose(&permit) else { return Err(error) };
            tracing::warn!(%endpoint, error = %error.chain(), "another connection could not be opened; the existing ones are used");
            return Ok(lease);
        }
    }

    /// The right to use one connection alone, if connections are not shared.
    async fn permit(&self, since: Instant, endpoint: &str) -> Result<Option<Arc<OwnedSemaphorePermit>>> {
        let Some(semaphore) = &self.exclusive else { return Ok(None) };
        let acquiring = Arc::clone(semaphore).acquire_owned();
        match tokio::time::timeout_at(since + self.limits.longest_wait, acquiring).await {
            Ok(Ok(permit)) => Ok(Some(Arc::new(permit))),
            Ok(Err(_)) | Err(_) => Err(self.none_free(endpoint)),
        }
    }

    fn none_free(&self, endpoint: &str) -> Error {
        Error::transient(ErrorKind::Busy, "get a connection")
            .with("endpoint", endpoint)
            .with("connections", self.limits.connections)
            .with("waited", format!("{} s", self.limits.longest_wait.as_secs()))
            .advice("all are in use; allow the endpoint more with 'connections', if its server takes more")
    }

    fn keeps_from_further(&self) -> bool {
        lock(&self.failed).as_ref().is_some_and(Failure::keeps_from_further)
    }

    fn add(
        self: &Arc<Self>,
        connection: C::Connection,
        permit: Option<Arc<OwnedSemaphorePermit>>,
    ) -> PoolLease<C::Connection> {
        let member = Member::new(connection, Arc::clone(&self.released));
        let lease = PoolLease::new(&member, permit);
        lock(&self.members).push(Arc::clone(&member));
        tokio::spawn(retire(Arc::downgrade(self), Arc::downgrade(&member)));
        lease
    }

    /// A connection for an operation; `None` if a further one may be made instead.
    fn choose(&self, permit: &Option<Arc<OwnedSemaphorePermit>>) -> Option<PoolLease<C::Connection>> {
        let no_further = self.keeps_from_further();
        let mut members = lock(&self.members);
        members.retain(|member| {
            let is_old = member.uses() == 0 && member.is_older_than(self.limits.lifetime);
            if is_old {
                member.connection().closing(LIFETIME_OVER);
            }
            !is_old && !member.connection().is_lost()
        });
        let may_grow = !no_further && members.len() < self.limits.connections;
        let young = members.iter().filter(|member| !member.is_older_than(self.limits.lifetime));
        let best = young.min_by_key(|member| member.uses());
        let chosen = match (self.limits.sharing, best) {
            (Sharing::Exclusive, best) => best.filter(|member| member.uses() == 0),
            (Sharing::Shared(busy), Some(best)) => Some(best).filter(|best| best.uses() < busy || !may_grow),
            // All existing connections are too old, and in use.
            (Sharing::Shared(_), None) if may_grow => None,
            (Sharing::Shared(_), None) => members.iter().min_by_key(|member| member.uses()),
        };
        chosen.map(|member| PoolLease::new(member, permit.clone()))
    }

    /// Checks whether an idle connection still works.
    async fn checked(&self, lease: PoolLease<C::Connection>) -> Option<PoolLease<C::Connection>> {
        if lease.is_shared() || lease.idle_for() < self.limits.trusted_idle {
            return Some(lease);
        }
        match tokio::time::timeout(self.limits.sign_of_life, lease.is_alive()).await {
            Ok(true) => Some(lease),
            Ok(false) | Err(_) => {
                lease.lose("no answer after it was idle");
                None
            }
        }
    }
}

const LIFETIME_OVER: &str = "open for as long as connections are kept";

/// Closes a connection that is no longer used, or broke.
async fn retire<C: Connector>(pool: Weak<Connections<C>>, member: Weak<Member<C::Connection>>) {
    loop {
        let Some(limits) = pool.upgrade().map(|pool| pool.limits) else { return };
        tokio::time::sleep((limits.idle / 4).max(Duration::from_millis(100))).await;
        let (Some(pool), Some(member)) = (pool.upgrade(), member.upgrade()) else { return };
        let mut members = lock(&pool.members);
        let reason = match member.uses() {
            _ if member.connection().is_lost() => Some(None),
            0 if member.is_older_than(limits.lifetime) => Some(Some(LIFETIME_OVER)),
            0 if member.idle_for() >= limits.idle => Some(Some("not used any more")),
            _ => None,
        };
        if let Some(reason) = reason {
            members.retain(|other| !Arc::ptr_eq(other, &member));
            if let Some(reason) = reason {
                member.connection().closing(reason);
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests;
