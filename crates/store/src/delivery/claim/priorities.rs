//! Which of the deliveries that are due to one endpoint go first.

use super::{ClaimFilter, DueRow};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// The priority of deliveries where nothing is said.
const USUAL_PRIORITY: u8 = 3;

/// Destinations whose deliveries are asked for, each as `flow/destination`.
pub(super) struct Selected<'a> {
    /// These alone; empty for all.
    pub(super) only: Vec<&'a str>,
    /// But not these.
    pub(super) but: Vec<&'a str>,
}

impl ClaimFilter {
    /// The destinations of each priority: they are asked for one after the other, so that many due deliveries of one priority
    /// hide none of another.
    pub(super) fn by_priority(&self) -> Vec<Selected<'_>> {
        let mut levels: BTreeMap<u8, Vec<&str>> = BTreeMap::new();
        for (destination, priority) in &self.priorities {
            levels.entry(*priority).or_default().push(destination);
        }
        levels.remove(&USUAL_PRIORITY);
        let but = levels.values().flatten().copied().collect();
        let urgent = levels.into_values().map(|only| Selected { only, but: Vec::new() });
        urgent.chain([Selected { only: Vec::new(), but }]).collect()
    }

    /// Oldest due first, but of those to one endpoint the more urgent ones: they take its places.
    pub(super) fn in_order(&self, mut due: Vec<DueRow>) -> Vec<DueRow> {
        due.sort_by_key(|row| (row.due_at, row.id));
        let priorities = &self.priorities;
        if priorities.is_empty() {
            return due;
        }
        let places: Vec<String> = due.iter().map(|row| row.endpoint.clone()).collect();
        let priority = |row: &DueRow| {
            let named = priorities.get(&format!("{}/{}", row.flow, row.destination));
            named.copied().unwrap_or(USUAL_PRIORITY)
        };
        due.sort_by_cached_key(priority);
        let mut of_endpoints: HashMap<String, VecDeque<DueRow>> = HashMap::new();
        for row in due {
            of_endpoints.entry(row.endpoint.clone()).or_default().push_back(row);
        }
        places.iter().filter_map(|endpoint| of_endpoints.get_mut(endpoint)?.pop_front()).collect()
    }
}
