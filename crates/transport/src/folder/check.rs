//! Checks of flows with folders that a single field cannot show: the polling options of each flow, and flows that use
//! the same directory.

use super::options::{After, Polling};
use super::{FolderPlace, WriteOptions, check_affix, parse_directory};
use model::definition::{Definitions, Endpoint, Flow, FlowSource, PollSource};
use model::schema::{Finding, Section, Subject};
use model::{Error, ErrorKind, RemotePath, Result};
use std::collections::HashMap;

/// Checks a flow's polling options without I/O: the temporary suffix is valid in a file name; the archive, move and
/// error directories are not empty, and none of them is inside the polled directory (its files would be polled
/// again).
///
/// # Errors
/// `ConfigInvalid`, for the person who wrote the definition.
pub fn check_poll(directory: &RemotePath, polling: &Polling) -> Result<()> {
    check_affix("temporary_suffix", &polling.temporary_suffix)?;
    let after = match &polling.after {
        After::Archive { directory, .. } => Some(("archive", directory)),
        After::Move { directory } => Some(("move", directory)),
        After::Delete | After::Keep => None,
    };
    let error = polling.error_directory.as_ref().map(|directory| ("error", directory));
    for (purpose, text) in after.into_iter().chain(error) {
        let other = parse_directory(text).map_err(|e| e.with("purpose", purpose))?;
        if other.is_within(directory) {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "use a directory")
                .with("purpose", purpose)
                .with("directory", &other)
                .with("polled directory", directory)
                .advice("it is inside the polled directory; choose one outside"));
        }
    }
    Ok(())
}

/// A flow that polls a folder.
struct Polled<'a> {
    flow: &'a Flow,
    poll: &'a PollSource,
    polling: Polling,
    /// The node that its endpoint is bound to.
    node: Option<&'a str>,
}

/// The flows that poll each directory.
type Pollers<'a> = HashMap<(String, RemotePath), Vec<Polled<'a>>>;

/// The flows that poll a directory: this directory itself, or recursively one of its parents.
fn takers<'a, 'b>(
    pollers: &'b Pollers<'a>,
    endpoint: &'b Endpoint,
    place: &FolderPlace,
) -> impl Iterator<Item = &'b Polled<'a>> {
    let address = place.address.clone();
    let upwards = std::iter::successors(Some(place.directory.clone()), RemotePath::parent);
    let found = upwards.enumerate().flat_map(move |(above, directory)| {
        let polled = pollers.get(&(address.clone(), directory)).into_iter().flatten();
        polled.filter(move |polled| above == 0 || polled.polling.recursive)
    });
    found.filter(|polled| !matches!((polled.node, endpoint.node.as_deref()), (Some(a), Some(b)) if a != b))
}

/// Warnings about flows that poll endpoints of this transport or deliver to them; `place` returns where an endpoint's
/// folder is.
pub(super) fn definitions(
    transport: &str,
    definitions: &Definitions,
    place: impl Fn(&Endpoint) -> Option<FolderPlace>,
) -> Vec<Finding> {
    let endpoint =
        |name: &str| definitions.endpoints.get(name).filter(|endpoint| endpoint.transport == transport);
    let mut findings = Vec::new();
    let mut pollers = Pollers::new();
    for flow in definitions.flows.values() {
        let FlowSource::Poll(poll) = &flow.source else { continue };
        let Some(endpoint) = endpoint(&poll.endpoint) else { continue };
        let polled = Polled { flow, poll, polling: Polling::of(poll), node: endpoint.node.as_deref() };
        findings.extend(polled_too_often(&polled));
        if let Some(FolderPlace { address, directory }) = place(endpoint) {
            pollers.entry((address, directory)).or_default().push(polled);
        }
    }
    for flow in definitions.flows.values() {
        for destination in &flow.destinations {
            let Some(endpoint) = endpoint(&destination.endpoint) else { continue };
            let Some(written) = place(endpoint) else { continue };
            let Ok(write) = WriteOptions::read(endpoint, destination, written.clone()) else { continue };
            for taker in takers(&pollers, endpoint, &written) {
                findings.extend(unfinished_taken(flow, &destination.name, &write, taker));
            }
        }
    }
    findings
}

fn polled_too_often(polled: &Polled<'_>) -> Option<Finding> {
    let stable_for = polled.poll.options.duration("stable_for").unwrap_or_default();
    let message = format!(
        "is shorter than stable_for ({}s), so stable_for is reduced to it: a file is read when it has not \
        changed between two polls",
        stable_for.as_secs()
    );
    let subject = Subject::new(Section::FLOW, &polled.flow.name);
    (stable_for > polled.poll.every).then(|| subject.warning(&["source", "every"], message))
}

/// If one flow writes files into a directory that another flow polls, the poller must recognise unfinished files by
/// their names.
fn unfinished_taken(
    flow: &Flow,
    destination: &str,
    write: &WriteOptions,
    taker: &Polled<'_>,
) -> Option<Finding> {
    let suffix = &taker.polling.temporary_suffix;
    let poller = &taker.flow.name;
    let message = if !write.temporary_name {
        format!(
            "destination '{destination}' writes files under their final names (temporary = \"none\") into a directory \
             that flow '{poller}' polls, so that flow may read a half-written file; remove temporary = \"none\""
        )
    } else if suffix.is_empty() || !write.temporary_suffix.ends_with(suffix.as_str()) {
        format!(
            "destination '{destination}' writes into a directory that flow '{poller}' polls, with temporary names that end \
             in \"{}\", but flow '{poller}' only ignores names that end in \"{suffix}\", so it may read a half-written \
             file: give both the same suffix",
            write.temporary_suffix
        )
    } else {
        return None;
    };
    Some(Subject::new(Section::FLOW, &flow.name).warning(&["destination"], message))
}

#[cfg(test)]
mod tests;
