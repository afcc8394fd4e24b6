//! The pools of one transport: flows that share an endpoint share its connections.

use super::{Connector, Pool, lock};
use model::definition::Endpoint;
use model::{Purpose, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use url::Url;

/// Pools in use, by endpoint, address and purpose.
pub struct Pools<C: Connector>(Mutex<HashMap<(String, Option<Url>, Purpose), InUse<C>>>);

/// A pool, and the endpoint that it was made for: the endpoint of another revision gets its own.
struct InUse<C: Connector> {
    endpoint: Weak<Endpoint>,
    pool: Weak<Pool<C>>,
}

impl<C: Connector> Default for Pools<C> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<C: Connector> Pools<C> {
    /// The endpoint's pool for a purpose; created if none is in use. It exists as long as it is in use.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn get(
        &self,
        endpoint: &Arc<Endpoint>,
        purpose: Purpose,
        make: impl FnOnce() -> Result<Arc<Pool<C>>>,
    ) -> Result<Arc<Pool<C>>> {
        let mut pools = lock(&self.0);
        pools.retain(|_, in_use| in_use.pool.strong_count() > 0);
        let key = (endpoint.name.clone(), endpoint.url().cloned(), purpose);
        if let Some(in_use) = pools.get(&key)
            && in_use.endpoint.ptr_eq(&Arc::downgrade(endpoint))
            && let Some(pool) = in_use.pool.upgrade()
        {
            return Ok(pool);
        }
        let pool = make()?;
        pools.insert(key, InUse { endpoint: Arc::downgrade(endpoint), pool: Arc::downgrade(&pool) });
        Ok(pool)
    }
}
