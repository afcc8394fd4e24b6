//! Endpoints, their addresses, and flows.

use super::EventWords;
use crate::audit::EventKind;

impl EventWords<'_> {
    /// The line of one of these events; empty for any other.
    pub(super) fn of_endpoint(&self, kind: EventKind) -> String {
        match kind {
            EventKind::EndpointOffline => format!(
                "Endpoint{} is offline after failures{}{}",
                self.named(self.endpoint),
                self.with(", until ", "until"),
                self.with(": ", "error")
            ),
            EventKind::EndpointOnline => format!("Endpoint{} is online again", self.named(self.endpoint)),
            EventKind::AddressOffline => format!(
                "An address of endpoint{} is offline after failures{}{}{}",
                self.named(self.endpoint),
                self.with(": ", "address"),
                self.with(", until ", "until"),
                self.with(": ", "error")
            ),
            EventKind::AddressOnline => format!(
                "An address of endpoint{} is online again{}",
                self.named(self.endpoint),
                self.with(": ", "address")
            ),
            EventKind::EndpointQueueFull => format!(
                "The queue of endpoint{} is full: its flows take no new files{}",
                self.named(self.endpoint),
                self.with(" until fewer deliveries wait than ", "queue")
            ),
            EventKind::EndpointQueueFree => {
                format!("The queue of endpoint{} has room again", self.named(self.endpoint))
            }
            EventKind::EndpointSetOffline if self.is_carried() => format!(
                "The record that endpoint{} was set offline was copied before its month was removed: by {}{}{}",
                self.named(self.endpoint),
                self.first_actor(),
                self.with(" at ", "first_at"),
                self.with(": ", "reason")
            ),
            EventKind::EndpointSetOffline => format!(
                "{} set endpoint{} offline{}",
                self.who(),
                self.named(self.endpoint),
                self.with(": ", "reason")
            ),
            EventKind::EndpointSetOnline => format!(
                "{} set endpoint{} online{}",
                self.who(),
                self.named(self.endpoint),
                self.with(": ", "reason")
            ),
            EventKind::FlowWaitsForRoom => format!(
                "Files of flow{} wait at their source: staging on node {} has no room{}{}{}",
                self.named(self.flow),
                self.node,
                self.with(" for ", "path"),
                self.count(", which needs ", "bytes", "byte", "bytes"),
                self.count("; free: ", "free_bytes", "byte", "bytes")
            ),
            EventKind::FlowHasRoom => {
                format!("Staging has room for the files of flow{} again", self.named(self.flow))
            }
            EventKind::FlowPreferredNodeBehind => format!(
                "Node {} polls flow{}: the preferred node{} refused its revision{}",
                self.node,
                self.named(self.flow),
                self.with(" ", "preferred_node"),
                self.with(": ", "problem")
            ),
            EventKind::FlowRunRequested => {
                format!("{} asked for a run of flow{}", self.who(), self.named(self.flow))
            }
            EventKind::FlowRun => format!(
                "Flow{} was run for {} on node {}{}{}{}",
                self.named(self.flow),
                self.who(),
                self.node,
                self.count(": ", "taken", "file accepted", "files accepted"),
                self.with("; ", "outcome"),
                self.with(": ", "error")
            ),
            EventKind::FlowDryRun => format!(
                "{} made a dry run of flow{}{}{}",
                self.who(),
                self.named(self.flow),
                self.count(": ", "takes", "file", "files"),
                self.with(": ", "error")
            ),
            EventKind::EndpointTested => format!(
                "{} tested endpoint{}{}{}",
                self.who(),
                self.named(self.endpoint),
                self.with(": ", "outcome"),
                self.with(": ", "error")
            ),
            EventKind::FlowPaused if self.is_carried() => format!(
                "The record that flow{} was paused was copied before its month was removed: by {}{}{}",
                self.named(self.flow),
                self.first_actor(),
                self.with(" at ", "first_at"),
                self.with(": ", "reason")
            ),
            EventKind::FlowPaused => {
                format!("{} paused flow{}{}", self.who(), self.named(self.flow), self.with(": ", "reason"))
            }
            EventKind::FlowResumed => {
                format!("{} resumed flow{}{}", self.who(), self.named(self.flow), self.with(": ", "reason"))
            }
            _ => String::new(),
        }
    }
}
