//! A flow's source.

use super::Checker;
use super::directory::Directory;
use super::endpoint::Location;
use super::fields::{ARCHIVE, MOVE, POLL_ONLY};
use super::flow::retry;
use super::mask::mask;
use crate::catalogue::{Directories, connects_per_poll};
use crate::context::suggestion;
use crate::field::Section;
use crate::reader::Reader;
use crate::tree::Value;
use model::definition::{After, ClaimBy, FlowSource, Order, PollSource, ReceiveSource, SettleWhen};
use model::{Mask, MaskSpec};
use std::path::Path;
use std::time::Duration;

/// The window of a file that stops growing, unless given (document 004, 29.6.9.2).
const STABLE_FOR: Duration = Duration::from_secs(5);

/// Below this a poll spends its time on opening connections.
const OFTEN: Duration = Duration::from_secs(5);

/// A source, with what the comparison with other flows needs.
pub(super) struct CheckedSource {
    pub(super) source: FlowSource,
    pub(super) mask: MaskSpec,
    pub(super) location: Option<Location>,
}

impl<'a> Checker<'a> {
    pub(super) fn source(&self, reader: &Reader<'a>) -> Option<CheckedSource> {
        let mask = mask(reader);
        match (reader.has("endpoint"), reader.has("listener")) {
            (true, false) => self.poll(reader, mask),
            (false, true) => self.receive(reader, mask),
            (true, true) => {
                reader.error(
                    "listener",
                    "stands beside 'endpoint'; a source polls one or receives by the other",
                );
                None
            }
            (false, false) => {
                let message = "needs 'endpoint' (to poll a place) or 'listener' (to receive from partners)";
                reader.context.error(reader.place, &reader.path, message);
                None
            }
        }
    }

    fn receive(&self, reader: &Reader<'a>, mask: Option<(MaskSpec, Mask)>) -> Option<CheckedSource> {
        for field in POLL_ONLY.into_iter().filter(|field| reader.has(field)) {
            reader.error(field, "has no meaning with 'listener': partners push, and nothing is polled");
        }
        let partner = self.name_in(reader, "partner", Section::Partner);
        let listener = reader.text("listener")?;
        if !self.catalogue.get(&listener.value).is_some_and(|spec| spec.roles.listener) {
            let listeners = self.catalogue.iter().filter(|spec| spec.roles.listener).map(|spec| spec.name);
            let near = suggestion(&listener.value, listeners);
            reader.error("listener", format!("no transport '{}' receives{near}", listener.written));
            return None;
        }
        let (spec, mask) = mask?;
        let source = FlowSource::Receive(ReceiveSource { listener: listener.value, partner, mask });
        Some(CheckedSource { source, mask: spec, location: None })
    }

    fn poll(&self, reader: &Reader<'a>, mask: Option<(MaskSpec, Mask)>) -> Option<CheckedSource> {
        if reader.has("partner") {
            reader.error("partner", "goes with 'listener'; a polled place has no partner");
        }
        let endpoint = self.name_in(reader, "endpoint", Section::Endpoint);
        let facts = endpoint.as_ref().and_then(|name| self.endpoints.get(name));
        if let Some(facts) = facts.filter(|facts| !facts.transport.roles.source) {
            let name = facts.transport.name;
            let hint = if facts.transport.roles.listener {
                format!(": partners push; receive with source = {{ listener = \"{name}\" }}")
            } else {
                String::new()
            };
            reader.error("endpoint", format!("transport '{name}' cannot be polled{hint}"));
            return None;
        }
        let location = facts.and_then(|facts| facts.location.clone());
        let (every, stable_for) = times(reader, location.as_ref())?;
        let after = self.after(reader, location.as_ref());
        let error_directory = self.error_directory(reader, location.as_ref());
        let retry = retry(&reader.section("retry"))?;
        let read_limit = reader.integer("read_limit").and_then(|limit| usize::try_from(limit).ok())?;
        let (spec, mask) = mask?;
        let source = FlowSource::Poll(PollSource {
            endpoint: endpoint?,
            mask,
            every,
            stable_for,
            read_limit,
            order: reader.word("order", Order::parse)?,
            recursive: reader.flag("recursive"),
            ignore_times: reader.flag("ignore_times"),
            after: after?,
            error_directory,
            settle: reader.word("settle", SettleWhen::parse)?,
            claim: reader.word("claim", ClaimBy::parse)?,
            retry,
        });
        Some(CheckedSource { source, mask: spec, location })
    }

    /// Must be written: Waybill neither deletes a partner's files nor lets them pile up unasked.
    fn after(&self, reader: &Reader<'a>, location: Option<&Location>) -> Option<After> {
        let Some(entry) = reader.entry("after") else {
            let message = "'after' is missing: say what becomes of a file that was taken: \"delete\", \"keep\", \
                           { archive = \"DIR\" } or { move = \"DIR\" }";
            reader.context.error(reader.place, &reader.path, message);
            return None;
        };
        let (key, node) = (reader.key("after"), &entry.node);
        let Value::Table(table) = &node.value else {
            let text = reader.text("after")?;
            return match text.value.as_str() {
                "delete" => Some(After::Delete),
                "keep" => Some(After::Keep),
                word @ ("archive" | "move") => {
                    reader.error(
                        "after",
                        format!("'{word}' needs a directory: after = {{ {word} = \"DIR\" }}"),
                    );
                    None
                }
                word => {
                    let near = suggestion(word, ["delete", "keep", "archive", "move"].into_iter());
                    reader.error("after", format!("takes no '{}'{near}", text.written));
                    None
                }
            };
        };
        let (field, fields) = match (table.contains_key("archive"), table.contains_key("move")) {
            (true, false) => ("archive", ARCHIVE),
            (false, true) => ("move", MOVE),
            (true, true) => {
                reader.error("after", "takes 'archive' or 'move', not both");
                return None;
            }
            (false, false) => {
                let near = table
                    .keys()
                    .next()
                    .map_or_else(String::new, |word| suggestion(word, ["archive", "move"].into_iter()));
                reader.error(
                    "after",
                    format!("needs a directory: {{ archive = \"DIR\" }} or {{ move = \"DIR\" }}{near}"),
                );
                return None;
            }
        };
        let below = Reader::open(reader.context, &entry.node.place, node, key, fields)?;
        let directory = self.directory(&below, field, location)?;
        Some(match field {
            "archive" => After::Archive { directory, timestamp: below.flag("timestamp") },
            _ => After::Move { directory },
        })
    }

    fn error_directory(&self, reader: &Reader<'a>, location: Option<&Location>) -> Option<String> {
        if reader.has("error_directory") {
            return self.directory(reader, "error_directory", location);
        }
        if location.is_some_and(|location| location.directories == Directories::Host) {
            let message = "'error_directory' is missing: a folder on this machine needs one, for files that cannot be \
                           taken";
            reader.context.error(reader.place, &reader.path, message);
        }
        None
    }

    /// A directory beside the polled one: never inside it, where its files would be taken again.
    fn directory(&self, reader: &Reader<'a>, field: &str, location: Option<&Location>) -> Option<String> {
        let text = reader.text(field)?;
        if text.value.trim().is_empty() || text.value.chars().any(char::is_control) {
            reader.error(field, "names no directory");
            return None;
        }
        let Some(location) = location else { return Some(text.value) };
        let directory = match location.directories {
            Directories::None => return Some(text.value),
            Directories::Host => {
                if let Err(message) = self.context.roots.folder(Path::new(&text.value)) {
                    reader.error(field, message);
                    return None;
                }
                Directory::written(&text.value)
            }
            Directories::Login => Directory::written(&text.value),
            Directories::Server => Directory::new(true, &text.value),
        };
        if location.directory.holds(&directory) {
            reader.error(
                field,
                format!(
                    "'{}' lies inside the polled directory, where its files would be taken again; name one beside it",
                    text.written
                ),
            );
            return None;
        }
        Some(text.value)
    }
}

/// How often, and how long a file must rest.
fn times(reader: &Reader<'_>, location: Option<&Location>) -> Option<(Duration, Duration)> {
    let every = reader.duration("every")?;
    if every < Duration::from_secs(1) {
        reader.error("every", "takes at least \"1s\"");
        return None;
    }
    if every < OFTEN && location.is_some_and(|location| connects_per_poll(&location.scheme)) {
        reader.warning("every", "is under 5s, and each poll opens a connection of its own");
    }
    let stable_for = reader.duration("stable_for").unwrap_or(STABLE_FOR);
    if stable_for > every {
        let stable = stable_for.as_secs();
        reader.warning(
            "every",
            format!("is shorter than the stability window of {stable}s, which is cut to it"),
        );
    }
    Some((every, stable_for.min(every)))
}
