//! Flows that keep the files of a message together: each of their destinations must be able to send a file with its
//! attachments.

use super::Checker;
use crate::reader::Reader;
use model::definition::Destination;

impl Checker<'_> {
    /// Whether a flow keeps the files of a message together.
    pub(super) fn together(&self, flow: &Reader<'_>, destinations: &[Destination]) -> bool {
        let together = flow.flag("together");
        let transport_of = |destination: &Destination| self.endpoints.get(&destination.endpoint);
        for destination in destinations.iter().filter(|_| together) {
            let Some(facts) = transport_of(destination) else { continue };
            if !facts.transport.sends_attachments {
                let message = format!(
                    "cannot be used with the destination '{}': transport '{}' sends each file by itself; deliver there by \
                     another flow of the same source, without 'together'",
                    destination.name, facts.transport.name
                );
                flow.error("together", message);
            }
        }
        together
    }
}
