//! The list of known hosts, as this node knows it.

use async_trait::async_trait;
use model::{OfferedHostKey, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::Store;
use transport::HostKeyList;

/// The list of known hosts in the database. A node reads it at its start and follows it; where the database is away,
/// what was read last stays in force.
pub struct KnownHostList {
    store: Store,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The number of the newest change in it.
    change: i64,
    lines: Arc<Vec<String>>,
}

impl KnownHostList {
    /// Reads the list.
    ///
    /// # Errors
    /// The database failed.
    pub async fn load(store: Store) -> Result<Self> {
        let list = Self { store, known: Mutex::default() };
        list.follow().await?;
        Ok(list)
    }

    /// Reads it anew if it changed; tells whether it did.
    ///
    /// # Errors
    /// The database failed: the known lines stay in force.
    pub async fn follow(&self) -> Result<bool> {
        if self.store.known_hosts_change().await? == self.known().change {
            return Ok(false);
        }
        let state = self.store.known_hosts().await?;
        let lines = state.hosts.into_iter().map(|host| host.line).collect();
        *self.known() = Known { change: state.change, lines: Arc::new(lines) };
        Ok(true)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing panics while it holds the lock.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl HostKeyList for KnownHostList {
    fn lines(&self) -> Arc<Vec<String>> {
        Arc::clone(&self.known().lines)
    }

    async fn offered(&self, key: OfferedHostKey) -> Result<()> {
        self.store.keep_offered_host_key(key).await
    }
}
