//! Checks of flows with folders that a single field cannot show: the polling options of each flow, flows that use the
//! same directory, and endpoints that lead to the same account.

use super::done_file::DoneFile;
use super::options::{After, Claim, Polling};
use super::{DirectoryBelow, FolderPlace, LOCAL_ADDRESS, Overwrite, WriteOptions, check_affix};
use model::definition::{Access, Definitions, Destination, Endpoint, Flow, FlowSource, Order, PollSource};
use model::schedule::TimeZone;
use model::schema::{FieldPath, Finding, Findings, Section, Value};
use model::{DirectoryTemplate, IdentityRule, NameTemplate, RemotePath, Timestamp};
use std::collections::HashMap;

/// Checks a flow's polling options without I/O: the temporary suffix is valid in a file name; the archive, move and
/// error directories are not empty, and none of them is inside the polled directory (its files would be polled
/// again). `directory` is `None` if it could not be read. Paths begin at the source.
pub fn check_poll(directory: Option<&RemotePath>, polling: &Polling, findings: &mut Findings<'_>) {
    findings.accept("temporary_suffix", check_affix(&polling.temporary_suffix));
    polling.filter.check(polling.ignore_times, findings);
    if polling.claim == Claim::Rename && polling.after == After::Keep {
        findings.error(
            "claim",
            "cannot be \"rename\" with after = \"keep\": the file would keep its claimed name; choose claim = \"lease\", or \
            another 'after'",
        );
    }
    if polling.stream {
        check_stream(polling, findings);
    }
    if !polling.attached_files.is_empty() {
        check_attached_files(polling, findings);
    }
    if let After::ArchiveLocally { directory, .. } = &polling.after {
        findings.accept("after.archive_locally", local_directory(directory));
    }
    for (path, text) in polling.directories() {
        let Some(other) = findings.accept(path, sample_directory(text)) else { continue };
        if directory.is_some_and(|directory| other.is_within(directory)) {
            let message = format!(
                "'{text}' is inside the polled directory, so its files would be polled again; choose a directory outside"
            );
            findings.error(path, message);
        }
    }
}

/// Refuses what needs a copy of each file, or its content, before the file is delivered.
fn check_stream(polling: &Polling, findings: &mut Findings<'_>) {
    if polling.claim == Claim::Rename {
        findings.error(
            "claim",
            "cannot be \"rename\" with stream = true: a file is renamed when it is read, and each attempt of a delivery reads \
            it anew; choose claim = \"lease\"",
        );
    }
    if polling.identity != IdentityRule::NameSizeTime {
        findings.error(
            "identity",
            "must be \"name_size_time\" with stream = true: the content is not known before the file is delivered, and a \
            file that was changed before then is taken as a new one",
        );
    }
    if matches!(polling.after, After::ArchiveLocally { .. }) {
        findings.error(
            "after.archive_locally",
            "cannot be used with stream = true: the gateway has no copy of the file; archive it at the endpoint, with \
            'archive'",
        );
    }
}

/// Checks the directory of a local archive. Whether it is below the gateway's roots is checked with the fields.
fn local_directory(text: &str) -> Result<(), String> {
    match sample_directory(text)?.is_absolute() {
        true => Ok(()),
        false => Err("must be an absolute path on the gateway's machine".into()),
    }
}

/// The directory that a template names at some time.
///
/// # Errors
/// What is wrong with the template, for a finding at the field.
pub fn sample_directory(text: &str) -> Result<RemotePath, String> {
    DirectoryTemplate::parse(text)?.directory(Timestamp::UNIX_EPOCH, TimeZone::default(), "flow")
}

/// Warns of a flow that polls more often than its files can become stable.
pub(super) fn check_stable_for(poll: &PollSource, findings: &mut Findings<'_>) {
    let stable_for = poll.options.duration("stable_for").unwrap_or_default();
    if poll.schedule.interval().is_some_and(|interval| stable_for > interval) {
        let message = format!(
            "is shorter than stable_for ({}s): each file is listed by several polls before it is read",
            stable_for.as_secs()
        );
        findings.warning("every", message);
    }
}

/// Checks how done files and attachments are named.
pub(super) fn check_done_file(poll: &PollSource, findings: &mut Findings<'_>) {
    if let Some(text) = poll.options.text("done_file") {
        findings.accept("done_file", DoneFile::parse(text));
    }
    for (text, number) in poll.options.texts("attached_files").zip(1..) {
        findings.accept(FieldPath::from("attached_files").item(number), DoneFile::parse(text));
    }
}

/// Refuses what cannot be done with several files at once.
fn check_attached_files(polling: &Polling, findings: &mut Findings<'_>) {
    if polling.stream {
        findings.error(
            "attached_files",
            "cannot be used with stream = true, which reads one file for each delivery",
        );
    }
    if polling.identity == IdentityRule::Content {
        findings.error(
            "identity",
            "cannot be \"content\" with 'attached_files': a file with other attachments would be taken for the same",
        );
    }
    let names = &polling.attached_files;
    for (place, name) in names.iter().enumerate() {
        if names.iter().take(place).any(|other| other == name) {
            findings.error("attached_files", format!("names '{name}' twice: the file would be sent twice"));
        }
        if polling.done_file.as_ref() == Some(name) {
            findings.error("attached_files", format!("names '{name}', which is the done file"));
        }
    }
}

/// A flow that polls a folder.
struct Polled<'a> {
    flow: &'a Flow,
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
        polled.filter(move |polled| above == 0 || polled.polling.effects().is_recursive)
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
    let mut found = Vec::new();
    let mut pollers = Pollers::new();
    for flow in definitions.flows.values() {
        let FlowSource::Poll(poll) = &flow.source else { continue };
        let Some(endpoint) = endpoint(&poll.endpoint) else { continue };
        let polled = Polled { flow, polling: Polling::of(poll), node: endpoint.node.as_deref() };
        if let Some(FolderPlace { address, directory }) = place(endpoint) {
            let below = polled.polling.effects().directory;
            let directory = below.map_or(directory.clone(), |below| directory.join(&below));
            pollers.entry((address, directory)).or_default().push(polled);
        }
    }
    listed_order(transport, definitions, &mut found);
    let mut appending = Appending::new();
    for flow in definitions.flows.values() {
        for (destination, number) in flow.destinations.iter().zip(1..) {
            let Some(endpoint) = endpoint(&destination.endpoint) else { continue };
            let Some(written) = place(endpoint) else { continue };
            let read = |ignored: &mut Findings<'_>| {
                WriteOptions::read(endpoint, destination, written.clone(), ignored)
            };
            let Some(write) = Findings::ignored(read) else { continue };
            let mut findings = Findings::of(&mut found, Section::FLOW, &flow.name);
            if write.overwrite == Overwrite::Append && !flow.ordered {
                let message = "is append, but the flow's deliveries may go side by side, and would mix their bytes in one file; set \
                               ordered = true on the flow";
                findings.error(FieldPath::from("destination").item(number).key("overwrite"), message);
            }
            if write.overwrite == Overwrite::Append {
                let below = write.below.as_ref().map(DirectoryBelow::fixed_part).unwrap_or_default();
                let place = (written.address.clone(), written.directory.join(&below));
                let others = appending.entry(place).or_default();
                let field = FieldPath::from("destination").item(number).key("overwrite");
                appends_with(others, destination, field, &mut findings);
                others.push((flow, destination));
            }
            // Files that are written elsewhere come into the polled directory whole.
            let unfinished = match write.temporary_directory.clone().filter(|_| write.temporary_name) {
                Some(directory) => FolderPlace { directory, ..written },
                None => {
                    let below = write.below.as_ref().map(DirectoryBelow::fixed_part).unwrap_or_default();
                    FolderPlace { directory: written.directory.join(&below), ..written }
                }
            };
            for taker in takers(&pollers, endpoint, &unfinished) {
                if let Some(message) = unfinished_taken(&destination.name, &write, taker) {
                    findings.warning(FieldPath::from("destination").item(number).key("temporary"), message);
                }
            }
        }
    }
    polled_archives(definitions, &pollers, &mut found);
    differing_pools(transport, definitions, &mut found);
    found
}

/// The destinations that append to files of each directory.
type Appending<'a> = HashMap<(String, RemotePath), Vec<(&'a Flow, &'a Destination)>>;

/// Refuses a destination whose files may have the names of those to which another one appends.
fn appends_with(
    others: &[(&Flow, &Destination)],
    destination: &Destination,
    field: FieldPath,
    findings: &mut Findings<'_>,
) {
    let names = |of: &Destination| {
        let affix = |field| of.options.text(field).unwrap_or_default().to_owned();
        (of.file_name.as_ref().map(NameTemplate::as_str).map(str::to_owned), affix("prefix"), affix("suffix"))
    };
    let same = others.iter().find(|(_, other)| names(other) == names(destination));
    if let Some((flow, other)) = same {
        let message = format!(
            "is append, and destination '{}' of flow '{}' appends to files of the same names in this directory: their bytes \
             would mix; give one of them another directory or 'file_name'",
            other.name, flow.name
        );
        findings.error(field, message);
    } else if let Some((flow, other)) = others.first() {
        let message = format!(
            "is append, and destination '{}' of flow '{}' appends in this directory as well: deliveries that append to one file \
             at the same time mix their bytes; see that they never have the same name",
            other.name, flow.name
        );
        findings.warning(field, message);
    }
}

/// Warns of flows that keep an order which the server chooses.
fn listed_order(transport: &str, definitions: &Definitions, found: &mut Vec<Finding>) {
    for flow in definitions.flows.values().filter(|flow| flow.ordered) {
        let FlowSource::Poll(poll) = &flow.source else { continue };
        let endpoint = definitions.endpoints.get(&poll.endpoint);
        if poll.order == Order::Listing && endpoint.is_some_and(|endpoint| endpoint.transport == transport) {
            let message = "delivers files in the order in which the source's server lists them, which may be any: set \
                           order = \"arrival\" or \"name\" in the source";
            Findings::of(found, Section::FLOW, &flow.name).warning("ordered", message);
        }
    }
}

/// Warns of archives on the gateway's machine that a flow polls: it takes each archived file.
fn polled_archives(definitions: &Definitions, pollers: &Pollers<'_>, found: &mut Vec<Finding>) {
    for flow in definitions.flows.values() {
        let FlowSource::Poll(poll) = &flow.source else { continue };
        let Some(endpoint) = definitions.endpoints.get(&poll.endpoint) else { continue };
        let After::ArchiveLocally { directory, .. } = Polling::of(poll).after else { continue };
        let Ok(directory) = sample_directory(&directory) else { continue };
        let archive = FolderPlace { address: LOCAL_ADDRESS.into(), directory };
        let mut findings = Findings::of(found, Section::FLOW, &flow.name);
        for taker in takers(pollers, endpoint, &archive) {
            let message = format!(
                "is polled by flow '{}', which takes every file that is archived there; choose a directory that no \
                flow polls",
                taker.flow.name
            );
            findings.warning(FieldPath::from("source").key("after").key("archive_locally"), message);
        }
    }
}

/// What endpoints say of the connections that they share.
const OF_THE_POOL: [&str; 3] = ["connections", "keep_open", "connect_retries"];

/// Warns of endpoints that would share connections, if they did not say different things about them.
fn differing_pools(transport: &str, definitions: &Definitions, found: &mut Vec<Finding>) {
    let mut accounts: HashMap<String, Vec<(Access, &Endpoint)>> = HashMap::new();
    for endpoint in definitions.endpoints.values().filter(|endpoint| endpoint.transport == transport) {
        let mut alike = Endpoint::clone(endpoint);
        for name in OF_THE_POOL {
            alike.options = alike.options.with(name, Value::Bool(false));
        }
        let access = Access::of(&alike, definitions);
        if access.server().is_empty() {
            continue;
        }
        let accounts = accounts.entry(access.server().to_owned()).or_default();
        let Some((_, first)) = accounts.iter().find(|(other, _)| *other == access) else {
            accounts.push((access, endpoint));
            continue;
        };
        let differs = |name: &&&str| first.options.get(name) != endpoint.options.get(name);
        if let Some(name) = OF_THE_POOL.iter().find(differs) {
            let message = format!(
                "differs from that of endpoint '{}', which leads to the same account of the same server: the two do \
                not share their connections, and the server sees as many as both allow; give both the same value",
                first.name
            );
            Findings::of(found, Section::ENDPOINT, &endpoint.name).warning(*name, message);
        }
    }
}

/// If one flow writes files into a directory that another flow polls, the poller must recognise unfinished files by
/// their names. Returns the warning if it does not.
fn unfinished_taken(destination: &str, write: &WriteOptions, taker: &Polled<'_>) -> Option<String> {
    let suffix = &taker.polling.temporary_suffix;
    let poller = &taker.flow.name;
    if !write.temporary_name {
        Some(format!(
            "destination '{destination}' writes files under their final names (temporary = \"none\") into a directory \
             that flow '{poller}' polls, so that flow may read a half-written file; remove temporary = \"none\""
        ))
    } else if suffix.is_empty() || !write.temporary_suffix.ends_with(suffix.as_str()) {
        Some(format!(
            "destination '{destination}' writes into a directory that flow '{poller}' polls, with temporary names that end \
             in \"{}\", but flow '{poller}' only ignores names that end in \"{suffix}\", so it may read a half-written \
             file: give both the same suffix",
            write.temporary_suffix
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
