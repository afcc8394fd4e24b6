//! Flows of earlier revisions: a transfer ends under the revision under which it began.
//!
//! A transfer stores the revision of its flow, and a delivery that a person retried stores its own. If the flow has not
//! changed since, the one in force is used; otherwise it is read from the database once, and kept in memory for other
//! transfers.

use async_trait::async_trait;
use model::definition::{Definitions, Destination, Flow, FlowSource, RetryPolicy};
use model::{Delivery, Error, ErrorKind, Result};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// What a person can do where the flow of an earlier revision cannot be used.
const RESUBMIT: &str = "retry it if the flow in force has this destination; otherwise resubmit the transfer when it has \
                        ended, which sends the file to all destinations of the flow in force";

/// The most flows of earlier revisions in memory. A flow takes some kilobytes; one that was dropped is read again
/// when it is needed.
const KEPT: usize = 256;

/// Reads the flows of each revision.
#[async_trait]
pub trait FlowHistory: Send + Sync {
    /// The flow at a revision; `None` if that revision does not have it.
    ///
    /// # Errors
    /// The database failed; or, `ConfigInvalid`, it cannot be read on this node: an environment variable or file that
    /// it refers to is missing.
    async fn flow(&self, name: &str, revision: i64) -> Result<Option<FlowAt>>;
}

/// A flow at a revision.
#[derive(Clone, Debug)]
pub struct FlowAt {
    /// The flow.
    pub flow: Arc<Flow>,
    /// The transports of the endpoints that it names, by endpoint, at that revision. Its source and destination
    /// options are theirs.
    pub transports: BTreeMap<String, String>,
}

impl FlowAt {
    /// A flow of these definitions, which contain the endpoints that it names.
    #[must_use]
    pub fn of(flow: &Arc<Flow>, definitions: &Definitions) -> Self {
        let source = match &flow.source {
            FlowSource::Poll(poll) => Some(&poll.endpoint),
            FlowSource::Receive(_) => None,
        };
        let names = flow.destinations.iter().map(|destination| &destination.endpoint).chain(source);
        let transports = names.filter_map(|name| {
            definitions.endpoints.get(name).map(|endpoint| (name.clone(), endpoint.transport.clone()))
        });
        Self { flow: Arc::clone(flow), transports: transports.collect() }
    }

    /// The destination of a delivery, for an endpoint that has this transport now.
    ///
    /// # Errors
    /// `ConfigInvalid`: the flow has no such destination, or the endpoint had another transport then.
    pub(crate) fn destination(&self, delivery: &Delivery, transport: &str) -> Result<&Destination> {
        let found = self.named(delivery)?;
        self.speaks(&delivery.endpoint, transport).map(|()| found)
    }

    /// The destination of a delivery.
    ///
    /// # Errors
    /// `ConfigInvalid`: the flow has no such destination.
    pub(crate) fn named(&self, delivery: &Delivery) -> Result<&Destination> {
        let Delivery { destination, endpoint, .. } = delivery;
        let named = |other: &&Destination| other.name == *destination && other.endpoint == *endpoint;
        self.flow.destinations.iter().find(named).ok_or_else(|| {
            Error::permanent(ErrorKind::ConfigInvalid, "find a delivery's destination in its flow")
                .with("flow", &self.flow.name)
                .with("destination", destination)
                .with("endpoint", endpoint)
                .advice(RESUBMIT)
        })
    }

    /// The retry policy of a destination; the default one where the flow has no such destination.
    pub(crate) fn retry_policy(&self, destination: &str) -> RetryPolicy {
        let found = self.flow.destinations.iter().find(|other| other.name == destination);
        found.map_or_else(RetryPolicy::default, |found| found.retry)
    }

    /// Checks that an endpoint already had its present transport at this revision. If not, the flow's options belong
    /// to another transport.
    ///
    /// # Errors
    /// `ConfigInvalid`: it had another transport then.
    pub(crate) fn speaks(&self, endpoint: &str, transport: &str) -> Result<()> {
        match self.transports.get(endpoint) {
            Some(then) if then != transport => Err(Error::permanent(
                ErrorKind::ConfigInvalid,
                "use an endpoint that had another transport when the file was recorded",
            )
            .with("endpoint", endpoint)
            .with("transport then", then)
            .with("transport now", transport)
            .advice(RESUBMIT)),
            _ => Ok(()),
        }
    }
}

/// The flows of earlier revisions that were read last.
pub(crate) struct KeptFlows {
    history: Arc<dyn FlowHistory>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    flows: BTreeMap<(String, i64), FlowAt>,
    /// Oldest first.
    order: VecDeque<(String, i64)>,
}

impl KeptFlows {
    pub(crate) fn new(history: Arc<dyn FlowHistory>) -> Self {
        Self { history, kept: Mutex::default() }
    }

    /// The flow at a revision.
    ///
    /// # Errors
    /// The database failed; or, `ConfigInvalid`, this node cannot read it, or that revision does not have it.
    pub(crate) async fn flow(&self, in_force: &Definitions, name: &str, revision: i64) -> Result<FlowAt> {
        if in_force.has_flow_as_at(name, revision)
            && let Some(flow) = in_force.flows.get(name)
        {
            return Ok(FlowAt::of(flow, in_force));
        }
        let key = (name.to_owned(), revision);
        if let Some(flow) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).flows.get(&key) {
            return Ok(flow.clone());
        }
        let flow = self.history.flow(name, revision).await?.ok_or_else(|| {
            Error::permanent(ErrorKind::ConfigInvalid, "find the flow that a transfer goes through")
                .with("flow", name)
                .with("revision", revision)
                .advice(RESUBMIT)
        })?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.flows.insert(key.clone(), flow.clone()).is_none() {
            kept.order.push_back(key);
        }
        while kept.order.len() > KEPT {
            if let Some(oldest) = kept.order.pop_front() {
                kept.flows.remove(&oldest);
            }
        }
        drop(kept);
        Ok(flow)
    }
}

#[cfg(test)]
mod tests;
