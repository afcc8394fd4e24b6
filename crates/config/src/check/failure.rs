//! Failure routes of flows.

use super::Checker;
use crate::context::suggestion;
use crate::problem::Place;
use crate::reader::Reader;
use model::definition::{Destination, OnFailure};
use model::schema::Section;

/// A flow that names another for its failures.
pub(super) struct Named {
    flow: String,
    other: String,
    place: Place,
}

impl<'a> Checker<'a> {
    /// What a flow says of its failures: a name of one of its destinations, else that of a flow.
    pub(super) fn on_failure(
        &mut self,
        flow: &str,
        reader: &Reader<'a>,
        destinations: &[Destination],
    ) -> Option<OnFailure> {
        let name = reader.text("on_failure")?.value;
        if destinations.iter().any(|destination| destination.name == name) {
            if destinations.len() == 1 {
                reader.error(
                    "on_failure",
                    "is the flow's only destination: no file would go anywhere else; name another one",
                );
            }
            return Some(OnFailure::Destination(name));
        }
        let place = reader.place_of("on_failure").clone();
        self.failure_routes.push(Named { flow: flow.to_owned(), other: name.clone(), place });
        Some(OnFailure::Flow(name))
    }

    /// Each flow that another names is there, and none leads back to itself.
    pub(super) fn failure_routes(&self) {
        let known = self.index.get(&Section::FLOW);
        for Named { flow, other, place } in &self.failure_routes {
            let key = format!("flow.{flow}.on_failure");
            if !known.is_some_and(|flows| flows.contains_key(other.as_str())) {
                let names = known.into_iter().flat_map(|flows| flows.keys().copied());
                let message = format!(
                    "there is no destination '{other}' in this flow, and no flow of that name{}",
                    suggestion(other, names)
                );
                self.context.error(place, &key, message);
                continue;
            }
            let keeps = |name: &str| self.definitions.flows.get(name).map(|flow| flow.together);
            if keeps(flow) == Some(true) && keeps(other) == Some(false) {
                let message = format!(
                    "must name a flow that has together = true as well: flow '{other}' would send the first file of a message \
                     without its attachments"
                );
                self.context.error(place, &key, message);
            }
            let mut way = vec![flow.as_str()];
            let mut next = Some(other.as_str());
            while let Some(at) = next {
                way.push(at);
                if at == flow {
                    let message = format!(
                        "flows hand what fails to each other in a circle ({}); let the last one name none",
                        way.join(" → ")
                    );
                    self.context.error(place, &key, message);
                    break;
                }
                if way[..way.len() - 1].contains(&at) {
                    // A circle further on, told of its own flows.
                    break;
                }
                let named = self.failure_routes.iter().find(|named| named.flow == at);
                next = named.map(|named| named.other.as_str());
            }
        }
    }
}
