//! Limits of endpoints, and worker pools.

use super::Checker;
use super::schedule::window;
use crate::reader::Reader;
use crate::tree::{Entry, Value};
use model::definition::{BandwidthWindow, DEFAULT_POOL, Throttle, WorkerPool};
use model::schedule::TimeZone;
use model::schema::Section;
use std::sync::Arc;

impl<'a> Checker<'a> {
    pub(super) fn worker_pools(&mut self) {
        for (name, reader) in self.section(Section::WORKER_POOL) {
            let Some(size) = reader.integer("size").and_then(|size| usize::try_from(size).ok()) else {
                continue;
            };
            let pool = WorkerPool { name: name.to_owned(), size };
            self.definitions.worker_pools.insert(name.to_owned(), Arc::new(pool));
        }
    }

    /// The pool that a definition names, with a warning where it is larger than an endpoint's connections.
    pub(super) fn pool(&self, reader: &Reader<'a>, connections: Option<i64>) -> Option<String> {
        if !reader.has("pool") {
            return None;
        }
        let name = self.name_in(reader, "pool")?;
        let size = self.definitions.worker_pools.get(&name).map(|pool| pool.size);
        if let (Some(size), Some(connections)) = (size, connections)
            && is_more(size, connections)
            && name != DEFAULT_POOL
        {
            reader.warning(
                "pool",
                format!("has {size} deliveries, but 'connections' is {connections}: the others wait for a connection"),
            );
        }
        Some(name)
    }
}

/// How much of an endpoint is used. `None` with a problem told.
pub(super) fn throttle(endpoint: &Reader<'_>, connections: Option<i64>) -> Option<Throttle> {
    let reader = endpoint.section("throttle");
    let deliveries = reader.integer("deliveries").and_then(|most| usize::try_from(most).ok());
    if let (Some(most), Some(connections)) = (deliveries, connections)
        && is_more(most, connections)
    {
        reader.warning(
            "deliveries",
            format!("is more than 'connections', which is {connections}: the others wait for a connection"),
        );
    }
    let zone = reader
        .text_or_default("time_zone")
        .and_then(|name| TimeZone::parse(&name).map_err(|words| reader.error("time_zone", words)).ok());
    let is_empty = |entry: &Entry| matches!(&entry.node.value, Value::List(items) if items.is_empty());
    if reader.entry("between").is_some_and(is_empty) {
        reader.error("between", "is empty; leave it out");
    }
    if reader.has("time_zone") && !reader.has("between") {
        reader.warning("time_zone", "has no effect without 'between'");
    }
    let windows = reader.tables("between").into_iter().map(|table| {
        let window = window(&table)?;
        Some(BandwidthWindow { window, bandwidth: table.size("bandwidth")? })
    });
    let between = windows.collect::<Option<Vec<_>>>()?;
    let queue = reader.integer("queue").and_then(|most| u32::try_from(most).ok());
    Some(Throttle { deliveries, queue, bandwidth: reader.size("bandwidth"), zone: zone?, between })
}

/// Whether a number is more than the connections that a server allows.
pub(super) fn is_more(number: usize, connections: i64) -> bool {
    i64::try_from(number).is_ok_and(|number| number > connections)
}
