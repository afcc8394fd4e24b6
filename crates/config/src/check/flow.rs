//! Flows, and their destinations.

use super::location::Location;
use super::overlap::Poll;
use super::source::CheckedSource;
use super::taken::Taken;
use super::{Checker, is_name};
use crate::reader::{Declared, Reader};
use crate::sections::DESTINATION;
use crate::tree::{Node, Value as Written};
use model::NameTemplate;
use model::definition::{Destination, Flow, FlowSource, RetryPolicy};
use model::schedule::TimeZone;
use model::schema::{FieldPath, Kind, Section, TransportSpec, Values};
use std::sync::Arc;

impl<'a> Checker<'a> {
    pub(super) fn flows(&mut self) {
        for (name, reader) in self.section(Section::FLOW) {
            let source = reader
                .entry("source")
                .and_then(|entry| self.source(name, &entry.key, &entry.node, reader.key("source")));
            let destinations = self.destinations(name, &reader, source.as_ref().map(|(source, _)| source));
            let title = reader.text("title").map(|text| text.value);
            let enabled = reader.flag("enabled");
            let ordered = reader.flag("ordered");
            let continue_after_failure = reader.flag("continue_after_failure");
            if continue_after_failure && !ordered {
                reader.warning("continue_after_failure", "has no effect without ordered = true");
            }
            let metadata = metadata(&reader, source.as_ref().map(|(checked, _)| checked));
            let pool = self.pool(&reader, None);
            let steps = self.steps(name, &reader, "");
            let on_failure = self.on_failure(name, &reader, &destinations);
            let together = self.together(&reader, &destinations);
            if source.as_ref().is_some_and(|(checked, _)| checked.effects.streams) {
                Self::stream(&reader, &destinations);
            }
            let Some(retention) = reader.duration("retention") else { continue };
            let Some((checked, below)) = source else { continue };
            if let (true, FlowSource::Poll(_), Some(location)) = (enabled, &checked.source, checked.location)
            {
                self.polls.push(Poll {
                    flow: name.to_owned(),
                    place: below.place_of("endpoint").clone(),
                    location,
                    effects: checked.effects,
                    mask: checked.mask,
                });
            }
            let flow = Flow {
                name: name.to_owned(),
                title,
                enabled,
                source: checked.source,
                steps,
                destinations,
                ordered,
                continue_after_failure,
                together,
                retention,
                on_failure,
                metadata,
                pool,
            };
            self.definitions.flows.insert(name.to_owned(), Arc::new(flow));
        }
    }

    fn destinations(
        &self,
        name: &str,
        flow: &Reader<'a>,
        source: Option<&CheckedSource>,
    ) -> Vec<Destination> {
        let items = flow.items("destination");
        if items.is_empty() && flow.has("destination") {
            flow.error("destination", "is empty; a flow needs at least one destination");
        }
        let streams = source.is_some_and(|source| source.effects.streams);
        let mut destinations: Vec<Destination> = Vec::new();
        for ((node, key), number) in items.into_iter().zip(1..) {
            let Some((mut destination, reader)) = self.destination(name, node, key, source) else { continue };
            destination.steps = self.steps(name, &reader, FieldPath::from("destination").item(number));
            if streams {
                Self::stream_to(&reader);
                self.stream_on_one_node(source, &destination, &reader);
            }
            let endpoint = self.endpoints.get(&destination.endpoint).and_then(|facts| facts.read.as_ref());
            if let Some(endpoint) = endpoint.filter(|_| reader.is_complete()) {
                let table = FieldPath::from("destination").item(number);
                self.ask(&endpoint.transport, (Section::FLOW, name), table, |own, findings| {
                    own.check_destination(endpoint, &destination, findings);
                    if streams {
                        own.check_streamed(endpoint, &destination, findings);
                    }
                });
            }
            if destinations.iter().any(|other| other.name == destination.name) {
                let field = if reader.has("name") { "name" } else { "endpoint" };
                let message = format!(
                    "this flow has another destination '{}'; give this one a different 'name'",
                    destination.name
                );
                reader.error(field, message);
            }
            destinations.push(destination);
        }
        destinations
    }

    /// The transport of the endpoint that a table names in a field, as far as that can be told.
    pub(super) fn transport_in(&self, node: &Node) -> Option<&'static TransportSpec> {
        let name = self.resolved(node, "endpoint")?;
        self.endpoints.get(&name).map(|facts| facts.transport)
    }

    /// A text in a table with its references resolved. What cannot be is reported when the field is read.
    pub(super) fn resolved(&self, node: &Node, field: &str) -> Option<String> {
        let Written::Table(table) = &node.value else { return None };
        let entry = table.get(field)?;
        match &entry.node.value {
            Written::Text(text) | Written::Word(text) => self.context.resolve_quietly(text),
            _ => None,
        }
    }

    fn destination(
        &self,
        flow: &str,
        node: &'a Node,
        key: String,
        source: Option<&CheckedSource>,
    ) -> Option<(Destination, Reader<'a>)> {
        let spec = self.transport_in(node);
        let own = spec.map(|spec| spec.destination).unwrap_or_default();
        let declared = Declared::joined(std::iter::once(&DESTINATION).chain(own.iter().copied()));
        if let (Some(spec), Written::Table(table)) = (spec, &node.value)
            && let Some(entry) = table.get("response")
            && !own.iter().any(|group| group.fields.iter().any(|field| field.name == "response"))
        {
            let message = format!(
                "transport '{}' is one-way: what is delivered is answered with no file; remove it, or poll the answers with \
                 a flow of their own",
                spec.name
            );
            self.context.error(&entry.key, &crate::tree::join(&key, "response"), message);
            return None;
        }
        let reader = if spec.is_some() {
            Reader::open(self.context, &node.place, node, key, declared)?
        } else {
            // Of which transport its other keys are is not known; the endpoint's own problem is reported.
            Reader::open_leniently(self.context, &node.place, node, key, declared)?
        };
        let (fields, _) = model::schema::joined(own);
        let options = reader.values(&fields);
        let has_dated = fields.iter().any(|field| {
            let is_template = matches!(field.kind, Kind::Template);
            is_template && reader.text(field.name).is_some_and(|text| text.value.contains("{received"))
        });
        let destination = self.common(flow, &reader, source, options, has_dated)?;
        Some((destination, reader))
    }

    /// What every destination has. `has_dated`: whether a field of its transport is a template with a date.
    fn common(
        &self,
        flow: &str,
        reader: &Reader<'a>,
        source: Option<&CheckedSource>,
        options: Option<Values>,
        has_dated: bool,
    ) -> Option<Destination> {
        // A mistake in it is reported with the hours of delivery.
        let zone = reader.text_or_default("time_zone").and_then(|name| TimeZone::parse(&name).ok());
        let zone = zone.unwrap_or_default();
        let file_name = reader.text("file_name").and_then(|text| {
            NameTemplate::parse(&text.value)
                .map(|template| template.in_zone(zone))
                .map_err(|error| reader.error("file_name", error.to_string()))
                .ok()
        });
        if file_name.as_ref().is_some_and(NameTemplate::needs_archive)
            && !source.is_some_and(|source| source.effects.names_archive)
        {
            reader.error("file_name", NO_ARCHIVE);
        }
        let is_zone_used = reader.has("between")
            || reader.has("not_on")
            || has_dated
            || file_name.as_ref().is_some_and(NameTemplate::has_dates);
        if reader.has("time_zone") && !is_zone_used {
            let message =
                "has no effect without 'between', 'not_on', or a date in a template, as 'file_name' is one";
            reader.warning("time_zone", message);
        }
        let expires_after = if reader.has("expires_after") { reader.duration("expires_after") } else { None };
        if expires_after.is_some_and(|time| time.is_zero()) {
            reader.error("expires_after", "must be longer than 0s; leave it out for no limit");
        }
        let hours = self.delivery_hours(reader).unwrap_or_default();
        // A mistake in it is an error already; the transport's own fields are checked all the same.
        let retry = retry(&reader.section("retry")).unwrap_or_default();
        let name = reader.text("name");
        if let Some(text) = name.as_ref().filter(|text| !is_name(&text.value)) {
            let message =
                format!("'{}' cannot be a name: 1 to 64 of a-z, 0-9, '.', '-' and '_'", text.written);
            reader.error("name", message);
        }
        let endpoint = self.name_in(reader, "endpoint")?;
        if let Some(facts) = self.endpoints.get(&endpoint).filter(|facts| !facts.transport.roles.destination)
        {
            let message = format!("transport '{}' cannot be delivered to", facts.transport.name);
            reader.error("endpoint", message);
        }
        if let Some((source, options)) = source.zip(options.as_ref()) {
            let field = if options.text("directory").is_some() { "directory" } else { "endpoint" };
            self.not_into_source(reader, field, source, || {
                self.directories_written(flow, &endpoint, options)
            });
        }
        let name = name.map_or_else(|| endpoint.clone(), |text| text.value);
        let steps = Vec::new();
        Some(Destination { name, endpoint, file_name, retry, expires_after, steps, hours, options: options? })
    }
}

impl Checker<'_> {
    /// A flow that writes where it reads would transfer its own files again and again.
    fn not_into_source(
        &self,
        reader: &Reader<'_>,
        field: &str,
        source: &CheckedSource,
        written: impl FnOnce() -> Vec<Location>,
    ) {
        let (FlowSource::Poll(_), Some(from)) = (&source.source, &source.location) else { return };
        let taken = written().iter().map(|directory| self.taken(from, &source.effects, directory)).max();
        match taken.unwrap_or(Taken::No) {
            Taken::No => {}
            Taken::OfFormerDays => {
                let message = "has the name of a dated directory of former days, which this flow no longer polls: see that none of \
                               those to come has it, as the flow would transfer its own files again and again";
                reader.warning(field, message);
            }
            Taken::Yes => {
                let message = "is a directory that this flow polls, or is below one: the flow would transfer its own files \
                               again and again";
                reader.error(field, message);
            }
        }
    }
}

/// Said of a template with fields of a copy that its source does not make.
const NO_ARCHIVE: &str = "names the copy in the archive of the flow's source, which has none whose name is known before: give \
                          the source after = { archive = … } or { archive_locally = … }, without timestamp = false";

/// What a flow adds to the metadata of its transfers.
fn metadata(reader: &Reader<'_>, source: Option<&CheckedSource>) -> Vec<(String, NameTemplate)> {
    let mut metadata = Vec::new();
    for (key, text) in reader.texts_by_key("metadata") {
        if !is_name(key) || model::metadata::is_reserved(key) {
            let message = format!(
                "cannot have the key '{key}': 1 to 64 of a-z, 0-9, '.', '-' and '_', and none that Waybill itself writes \
                (source_…, archive_…, failure)"
            );
            reader.error("metadata", message);
            continue;
        }
        match NameTemplate::parse_text(&text.value) {
            Ok(template) if template.needs_failure() => {
                let message = format!(
                    "names for '{key}' what failed, which is known to a destination's 'file_name' on a failure route alone"
                );
                reader.error("metadata", message);
            }
            Ok(template)
                if template.needs_archive() && source.is_some_and(|source| !source.effects.names_archive) =>
            {
                reader.error("metadata", format!("for '{key}' {NO_ARCHIVE}"));
            }
            Ok(template) => metadata.push((key.to_owned(), template)),
            Err(error) => reader.error("metadata", format!("has for '{key}' the {error}")),
        }
    }
    metadata
}

/// How failures are retried; every field has its default.
pub(super) fn retry(reader: &Reader<'_>) -> Option<RetryPolicy> {
    let (first, longest) = (reader.duration("first")?, reader.duration("longest")?);
    if first.is_zero() {
        reader.error("first", "must be longer than 0s");
    }
    if longest < first {
        let field = if reader.has("longest") { "longest" } else { "first" };
        reader.error(field, "the longest wait must not be shorter than the first");
    }
    let attempts = reader.integer("attempts").and_then(|attempts| u32::try_from(attempts).ok())?;
    Some(RetryPolicy { attempts, first, longest })
}
