//! One flow of an earlier revision, read by itself.

use super::{Checker, index};
use crate::catalogue::Catalogue;
use crate::context::Context;
use crate::documents::Documents;
use crate::environment::Environment;
use crate::problem::Problem;
use crate::roots::Roots;
use model::definition::{Flow, Listener};
use model::schema::{Section, Values};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A flow, and by endpoint that it may name the transport by whose fields it was read.
pub(super) type FlowAlone = (Arc<Flow>, BTreeMap<String, String>);

impl Documents {
    /// A flow of documents that hold it, and the endpoints and listeners that it names. Only the flow is checked; of
    /// endpoints and listeners nothing but their transports is looked at, and whatever else the flow names may be gone.
    ///
    /// # Errors
    /// The problems found: a variable or a file that the flow refers to is gone, or it has fields that this version does
    /// not know.
    pub fn flow_alone(
        &self,
        name: &str,
        catalogue: &Catalogue,
        roots: &Roots,
        environment: &dyn Environment,
    ) -> Result<FlowAlone, Vec<Problem>> {
        let context = Context::new(roots, environment);
        let index = index(&context, self, catalogue);
        let mut checker = Checker::new(&context, self, catalogue, index);
        checker.is_alone = true;
        checker.transports_alone();
        checker.flows();
        let flow = checker.definitions.flows.remove(name);
        let transports = checker.endpoints.iter();
        let transports = transports.map(|(name, facts)| (name.clone(), facts.transport.name.to_owned()));
        let transports = transports.collect();
        let problems = context.into_problems();
        match flow.filter(|_| !crate::problem::any_error(&problems)) {
            Some(flow) => Ok((flow, transports)),
            None => Err(problems),
        }
    }
}

impl Checker<'_> {
    /// Notes which transports endpoints and listeners speak.
    fn transports_alone(&mut self) {
        for (name, entry) in self.written(Section::ENDPOINT) {
            if let Some(transport) = self.transport_of(Section::ENDPOINT, name, entry) {
                let facts = super::endpoint::EndpointFacts {
                    transport,
                    locations: Vec::new(),
                    connections: None,
                    read: None,
                };
                self.endpoints.insert(name.to_owned(), facts);
            }
        }
        for (name, entry) in self.written(Section::LISTENER) {
            if let Some(spec) = self.transport_of(Section::LISTENER, name, entry) {
                let listener = Listener {
                    name: name.to_owned(),
                    transport: spec.name.to_owned(),
                    options: Values::default(),
                };
                self.listeners.insert(name.to_owned(), Arc::new(listener));
            }
        }
    }
}
