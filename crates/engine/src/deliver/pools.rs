//! Worker pools: how many deliveries of each run on this node.

use model::definition::{DEFAULT_POOL, Definitions};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use store::PoolRooms;

/// The deliveries that run on this node, by pool.
#[derive(Debug, Default)]
pub(crate) struct WorkerPools(Arc<Mutex<HashMap<String, usize>>>);

/// A running delivery's place in its pool, free again when dropped.
pub(crate) struct PoolSlot {
    pool: String,
    running: Arc<Mutex<HashMap<String, usize>>>,
}

impl WorkerPools {
    /// Which pool a delivery belongs to, by the definitions in force, and how much room each has. `usual` is the size
    /// of the default pool, unless that is defined. A pool that was removed leaves its deliveries to the default one.
    pub(crate) fn rooms(&self, definitions: &Definitions, usual: usize) -> PoolRooms {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pools = definitions.worker_pools.values().map(|pool| (pool.name.clone(), pool.size));
        let mut rooms: BTreeMap<String, usize> = pools.collect();
        rooms.entry(DEFAULT_POOL.to_owned()).or_insert(usual);
        for (name, room) in &mut rooms {
            *room = room.saturating_sub(running.get(name).copied().unwrap_or(0));
        }
        drop(running);
        let known = |pool: &Option<String>| pool.clone().filter(|pool| rooms.contains_key(pool));
        let of_endpoints = definitions.endpoints.values();
        let of_endpoints =
            of_endpoints.filter_map(|endpoint| Some((endpoint.name.clone(), known(&endpoint.pool)?)));
        let of_flows = definitions.flows.values();
        let of_flows = of_flows.filter_map(|flow| Some((flow.name.clone(), known(&flow.pool)?)));
        PoolRooms { of_endpoints: of_endpoints.collect(), of_flows: of_flows.collect(), rooms }
    }

    /// Takes a place for a delivery that begins.
    pub(crate) fn enter(&self, pool: &str) -> PoolSlot {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *running.entry(pool.to_owned()).or_default() += 1;
        drop(running);
        PoolSlot { pool: pool.to_owned(), running: Arc::clone(&self.0) }
    }
}

impl Drop for PoolSlot {
    fn drop(&mut self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = running.get_mut(&self.pool) {
            *count = count.saturating_sub(1);
        }
    }
}
