//! Which flows are paused and which endpoints were set offline by a person, as this node knows it.

use model::{Suspension, SuspensionKind};
use std::collections::BTreeMap;
use store::SuspensionChange;

/// What a person has suspended. [`crate::operate`] keeps it up to date; whoever is about to take files in, or to try an
/// endpoint, asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suspensions {
    flows: BTreeMap<String, Suspension>,
    endpoints: BTreeMap<String, Suspension>,
    /// The number of the newest change in it.
    pub(crate) newest: i64,
}

impl Suspensions {
    /// Applies changes, oldest first.
    pub(crate) fn apply(&mut self, changes: &[SuspensionChange]) {
        for change in changes {
            let of_kind = match change.kind {
                SuspensionKind::Flow => &mut self.flows,
                SuspensionKind::Endpoint => &mut self.endpoints,
            };
            match &change.now {
                Some(suspension) => drop(of_kind.insert(change.name.clone(), suspension.clone())),
                None => drop(of_kind.remove(&change.name)),
            }
            self.newest = self.newest.max(change.number);
        }
    }

    /// Why a flow takes no new files; `None` for one that is not paused.
    pub(crate) fn flow(&self, name: &str) -> Option<&Suspension> {
        self.flows.get(name)
    }

    /// Why nothing is tried at an endpoint; `None` for one that nobody set offline.
    pub(crate) fn endpoint(&self, name: &str) -> Option<&Suspension> {
        self.endpoints.get(name)
    }

    /// All of them, flows first, by name.
    pub(crate) fn all(&self) -> Vec<Suspension> {
        self.flows.values().chain(self.endpoints.values()).cloned().collect()
    }

    /// The endpoints that were set offline.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.endpoints.keys().map(String::as_str)
    }
}
