//! What endpoints share: those that lead to one server in the same way ([`Access`]) have one pool.

use super::connecting::Starting;
use super::{Connections, Connector, Pool, PoolLimits, lock};
use crate::Net;
use model::definition::{Access, Definitions, Endpoint};
use model::{Purpose, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// What is shared, and when it may be forgotten.
pub trait Shareable: Send + Sync + 'static {
    /// Whether it is kept although nobody uses it, since it was last asked for so long ago.
    fn is_kept(&self, unused_for: Duration) -> bool;
}

/// Values that endpoints share by their [`Access`] and purpose, kept between uses as [`Shareable`] says. Cheap to clone.
pub struct Shared<T>(Arc<Mutex<Entries<T>>>);

/// By server and purpose.
type Entries<T> = HashMap<(String, Purpose), Vec<Entry<T>>>;

struct Entry<T> {
    access: Access,
    value: Arc<T>,
    asked: Instant,
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Shareable> Shared<T> {
    /// An empty one, which forgets everything when the network is drained ([`Net::drain`]).
    #[must_use]
    pub fn of(net: &Net) -> Self {
        let new = Self::alone();
        net.closers().add(Arc::clone(&new.0) as _);
        new
    }

    fn alone() -> Self {
        Self(Arc::default())
    }

    /// The value of an access and purpose; made if there is none.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn get(
        &self,
        access: Access,
        purpose: Purpose,
        make: impl FnOnce(&Access) -> Result<Arc<T>>,
    ) -> Result<Arc<T>> {
        let now = Instant::now();
        let key = (access.server().to_owned(), purpose);
        let mut all = lock(&self.0);
        let entries = all.entry(key).or_default();
        let value = match entries.iter_mut().find(|entry| entry.access == access) {
            Some(entry) => {
                entry.asked = now;
                Arc::clone(&entry.value)
            }
            None => {
                let value = make(&access)?;
                entries.push(Entry { access, value: Arc::clone(&value), asked: now });
                value
            }
        };
        all.retain(|_, entries| {
            entries.retain(|entry| {
                Arc::strong_count(&entry.value) > 1 || entry.value.is_kept(now - entry.asked)
            });
            !entries.is_empty()
        });
        Ok(value)
    }
}

/// The pools of one transport.
pub struct Pools<C: Connector> {
    shared: Shared<Connections<C>>,
    /// The turns of connections that are being made, by server.
    starting: Mutex<HashMap<String, Starting>>,
}

impl<C: Connector> Default for Pools<C> {
    /// Pools of connections that are not a network's.
    fn default() -> Self {
        Self { shared: Shared::alone(), starting: Mutex::default() }
    }
}

impl<C: Connector> Pools<C> {
    /// Pools whose idle connections are closed when the network is drained ([`Net::drain`]).
    #[must_use]
    pub fn of(net: &Net) -> Self {
        Self { shared: Shared::of(net), starting: Mutex::default() }
    }

    /// The pool of an endpoint for a purpose; endpoints with the same [`Access`] share it. It keeps its connections between
    /// uses, for as long as [`PoolLimits::idle`] says.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn get(
        &self,
        endpoint: &Endpoint,
        definitions: &Definitions,
        purpose: Purpose,
        make: impl FnOnce() -> Result<(C, PoolLimits)>,
    ) -> Result<Pool<C>> {
        let access = Access::of(endpoint, definitions);
        let connections = self.shared.get(access, purpose, |access| {
            let (connector, limits) = make()?;
            let starting = self.starting(access.server());
            Ok(Connections::new(Arc::new(connector), purpose, limits, starting))
        })?;
        Ok(Pool { connections, endpoint: endpoint.name.as_str().into() })
    }

    fn starting(&self, server: &str) -> Starting {
        let mut starting = lock(&self.starting);
        starting.retain(|other, turns| other == server || !turns.is_unused());
        starting.entry(server.to_owned()).or_default().clone()
    }
}

impl<C: Connector> Shareable for Connections<C> {
    fn is_kept(&self, _: Duration) -> bool {
        self.size() > 0 || self.keeps_from_further()
    }
}

/// What is closed when a network is drained.
#[derive(Default)]
pub(crate) struct Closers(Mutex<Vec<Weak<dyn Close>>>);

trait Close: Send + Sync {
    fn close(&self);
}

impl<T: Shareable> Close for Mutex<Entries<T>> {
    fn close(&self) {
        // Dropped outside the lock: closing a connection may take one of its own.
        let all = std::mem::take(&mut *lock(self));
        drop(all);
    }
}

impl Closers {
    fn add(&self, shared: Arc<dyn Close>) {
        let mut all = lock(&self.0);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&shared));
    }

    /// Closes all connections that nobody uses.
    pub(crate) fn close(&self) {
        let all: Vec<_> = lock(&self.0).iter().filter_map(Weak::upgrade).collect();
        all.iter().for_each(|shared| shared.close());
    }
}
