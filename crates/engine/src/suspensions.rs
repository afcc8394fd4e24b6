//! The flows that are paused and the endpoints that a person set offline, as this node knows them.

use model::{Suspension, SuspensionKind};
use std::collections::BTreeMap;
use store::SuspensionChange;

/// What people have suspended. [`crate::operate`] keeps it up to date; it is checked before files are accepted and
/// before an endpoint is used.
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

    /// Why a flow accepts no new files; `None` if it is not paused.
    pub(crate) fn flow(&self, name: &str) -> Option<&Suspension> {
        self.flows.get(name)
    }

    /// Why an endpoint is not used; `None` if it is not set offline.
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
