//! A flow's source.

use super::Checker;
use super::flow::retry;
use super::location::Location;
use super::mask::{conditions, mask};
use super::schedule::OFTEN;
use super::throttle::is_more;
use crate::problem::Place;
use crate::reader::{Declared, Reader};
use crate::sections::{POLLED, RECEIVED, SOURCE};
use crate::tree::Node;
use model::definition::{FlowSource, Order, PollEffects, PollSource, ReceiveSource, SettleWhen};
use model::schedule::{Expectation, Schedule};
use model::schema::{Group, Section, TransportSpec};
use model::{Mask, MaskSpec, NodeName};

/// A source, with what the comparison with other flows needs.
pub(super) struct CheckedSource {
    pub(super) source: FlowSource,
    pub(super) mask: MaskSpec,
    pub(super) location: Option<Location>,
    /// What its polls do to their place; of one that receives, nothing.
    pub(super) effects: PollEffects,
}

/// How many files are expected by when; `None` with a problem told.
fn expectation(table: &Reader<'_>) -> Option<Expectation> {
    let by = table.text("by")?;
    let at_least = table.integer("at_least").and_then(|files| u32::try_from(files).ok())?;
    Expectation::parse(&by.value, at_least).map_err(|words| table.error("by", words)).ok()
}

impl<'a> Checker<'a> {
    pub(super) fn source(
        &self,
        flow: &str,
        place: &'a Place,
        node: &'a Node,
        key: String,
    ) -> Option<(CheckedSource, Reader<'a>)> {
        let polled = self.transport_in(node);
        let received = self.listener_in(node);
        let own: &[&Group] = match (polled, received) {
            (Some(spec), None) => spec.source,
            (None, Some(spec)) => spec.received,
            _ => &[],
        };
        let declared = Declared::joined([&SOURCE, &POLLED, &RECEIVED].into_iter().chain(own.iter().copied()));
        let reader = if polled.is_some() != received.is_some() {
            Reader::open(self.context, place, node, key, declared)?
        } else {
            // Of which transport its other keys are is not known; what it names wrongly is reported.
            Reader::open_leniently(self.context, place, node, key, declared)?
        };
        let mask = mask(&reader);
        let source = match (reader.has("endpoint"), reader.has("listener")) {
            (true, false) => self.poll(flow, &reader, mask, own)?,
            (false, true) => self.receive(flow, &reader, mask, own)?,
            (true, true) => {
                reader.error(
                    "listener",
                    "cannot be used together with 'endpoint': a source either polls an endpoint or receives \
                    from a listener",
                );
                return None;
            }
            (false, false) => {
                let message = "needs 'endpoint' (to poll it) or 'listener' (to receive from partners)";
                reader.context.error(reader.place, &reader.path, message);
                return None;
            }
        };
        Some((source, reader))
    }

    /// The transport of the listener that a source names, as far as that can be told.
    fn listener_in(&self, node: &Node) -> Option<&'static TransportSpec> {
        let name = self.resolved(node, "listener")?;
        self.catalogue.get(&self.listeners.get(&name)?.transport)
    }

    fn receive(
        &self,
        flow: &str,
        reader: &Reader<'a>,
        mask: Option<(MaskSpec, Mask)>,
        own: &[&Group],
    ) -> Option<CheckedSource> {
        for field in POLLED.fields.iter().filter(|field| field.name != "endpoint" && reader.has(field.name)) {
            reader.error(field.name, "has no effect with 'listener': partners send files by themselves, so nothing is polled; remove it");
        }
        let partner = self.name_in(reader, "partner");
        let listener = self.name_in(reader, "listener")?;
        let defined = self.listeners.get(&listener);
        let spec = defined.and_then(|own| self.catalogue.get(&own.transport));
        if let (Some(spec), Some(name)) = (spec.filter(|spec| spec.partner.is_some()), &partner)
            && self.definitions.partners.get(name).is_some_and(|other| other.agreement(spec.name).is_none())
        {
            let message = format!(
                "'{name}' has no [partner.{name}.{}], so nothing that comes by this listener is from it",
                spec.name
            );
            reader.error("partner", message);
        }
        let (fields, _) = model::schema::joined(own);
        let options = reader.values(&fields)?;
        let conditions = conditions(reader);
        let ((spec, mask), conditions) = (mask?, conditions?);
        let source = ReceiveSource { listener, partner, mask, conditions, options };
        if let Some(listener) = defined.filter(|_| reader.is_complete() && !self.is_alone) {
            self.ask(&listener.transport, (Section::FLOW, flow), "source", |own, findings| {
                own.check_received(listener, &source, findings);
            });
        }
        let source = FlowSource::Receive(source);
        Some(CheckedSource { source, mask: spec, location: None, effects: PollEffects::default() })
    }

    fn poll(
        &self,
        flow: &str,
        reader: &Reader<'a>,
        mask: Option<(MaskSpec, Mask)>,
        own: &[&Group],
    ) -> Option<CheckedSource> {
        if reader.has("partner") {
            reader.error("partner", "can be used with 'listener' only: a polled endpoint has no partner");
        }
        if reader.has("where") {
            reader.error(
                "where",
                "can be used with 'listener' only: files that are polled are chosen by their names ('mask')",
            );
        }
        let endpoint = self.name_in(reader, "endpoint");
        let facts = endpoint.as_ref().and_then(|name| self.endpoints.get(name));
        if let Some(facts) = facts.filter(|facts| !facts.transport.roles.source) {
            let name = facts.transport.name;
            let hint = if facts.transport.roles.listener {
                ": partners send files by themselves; define a listener, and receive with source = { \
                listener = \"NAME\" }"
            } else {
                ""
            };
            reader.error("endpoint", format!("transport '{name}' cannot be polled{hint}"));
            return None;
        }
        let location = facts.and_then(|facts| facts.locations.first().cloned());
        if let Some(several) = facts.and_then(|facts| facts.read.as_ref()).filter(|read| read.urls.len() > 1)
        {
            let message = format!(
                "has {} addresses: only deliveries choose among several; define an endpoint, and a flow, for each \
                 place that is polled",
                several.urls.len()
            );
            reader.error("endpoint", message);
            return None;
        }
        // What is wrong here is an error already; the transport's own fields are checked all the same.
        let schedule = self.schedule(reader, location.as_ref()).unwrap_or_else(|| Schedule::every(OFTEN));
        let retry = retry(&reader.section("retry")).unwrap_or_default();
        let read_limit = reader.integer("read_limit").and_then(|limit| usize::try_from(limit).ok())?;
        if let Some(connections) = facts.and_then(|facts| facts.connections)
            && reader.has("read_limit")
            && is_more(read_limit, connections)
        {
            reader.warning(
                "read_limit",
                format!("is more than the endpoint's 'connections', which is {connections}: the others wait for a connection"),
            );
        }
        let preferred_node = reader.text("preferred_node").and_then(|text| {
            NodeName::try_from(text.value).map_err(|message| reader.error("preferred_node", message)).ok()
        });
        if preferred_node.is_some()
            && let Some(node) =
                facts.and_then(|facts| facts.read.as_ref()).and_then(|read| read.node.as_ref())
        {
            reader.warning(
                "preferred_node",
                format!("has no effect: the endpoint can be used by node '{node}' only"),
            );
        }
        let (fields, _) = model::schema::joined(own);
        let options = reader.values(&fields);
        self.directories(reader, &fields, location.as_ref());
        let (spec, mask) = mask?;
        let mut poll = PollSource {
            endpoint: endpoint?,
            mask,
            schedule,
            preferred_node,
            expect: if reader.has("expect") { Some(expectation(&reader.section("expect"))?) } else { None },
            read_limit,
            order: reader.word("order", Order::parse)?,
            settle: reader.word("settle", SettleWhen::parse)?,
            retry,
            options: options?,
        };
        let declaration = facts.and_then(|facts| self.catalogue.declaration(facts.transport.name));
        let effects = declaration.map(|own| own.poll_effects(&poll)).unwrap_or_default();
        if effects.streams {
            poll.settle = Self::stream_settles(reader, poll.settle);
        }
        if let Some(endpoint) = facts.and_then(|facts| facts.read.as_ref()).filter(|_| reader.is_complete()) {
            self.ask(&endpoint.transport, (Section::FLOW, flow), "source", |own, findings| {
                own.check_source(endpoint, &poll, findings);
            });
        }
        let location = match &effects.directory {
            Some(below) => location.map(|location| location.below(&below.to_text())),
            None => location,
        };
        Some(CheckedSource { source: FlowSource::Poll(poll), mask: spec, location, effects })
    }
}
