//! The list of current problems: one list of one shape, whatever a problem is about.
//!
//! Rows come from the database ([`from_database`]: all nodes), and from this node itself
//! ([`crate::NodeStatus::problems`]: what only it knows). To add a row, make an [`ActiveProblem`] in one of the two.

use crate::pages::overview::node_problems::of_this_node;
use crate::pages::overview::revisions::behind;
use crate::state::AppState;
use crate::state::active_problem::{ActiveProblem, ProblemKind};
use crate::state::overview_cache::CountedOverview;
use crate::web::badge::{Badge, Icon, Tone};
use crate::web::format::{Moment, capitalized, cut, duration_text, grouped, one_line, path_text, size_text};
use crate::web::list_query::ListQuery;
use crate::web::transfer_table::TRANSFERS;
use model::{DeliveryState, Severity, Suspension, SuspensionKind, Timestamp};
use std::time::Duration;
use store::{
    ClaimsLeft, FailingDelivery, FailingEndpoint, FailingPoll, FailingSteps, MissingFiles, Overview,
    WaitingForRoom,
};

/// Rows of each kind that are shown.
const EACH: usize = 10;
/// The longest texts of a row, in characters.
const WHAT: usize = 120;
const WHY: usize = 4096;
/// A cause that is longer is folded: its beginning is shown, and all of it when it is opened.
const FOLDED: usize = 160;
/// Seals follow within seconds; after so long, something keeps them.
pub(crate) const LONG_LAG: Duration = Duration::from_secs(300);

/// In the order of the list.
const KINDS: [ProblemKind; 9] = [
    ProblemKind::Audit,
    ProblemKind::Node,
    ProblemKind::Listener,
    ProblemKind::Endpoint,
    ProblemKind::Certificate,
    ProblemKind::Flow,
    ProblemKind::Source,
    ProblemKind::Message,
    ProblemKind::Delivery,
];

/// The page that lists all problems of a kind.
const fn list_of(kind: ProblemKind) -> Option<&'static str> {
    match kind {
        ProblemKind::Audit | ProblemKind::Node => None,
        ProblemKind::Listener => Some("/audit?kind=listener.&within=7d"),
        ProblemKind::Endpoint => Some("/audit?kind=endpoint.&within=7d"),
        ProblemKind::Certificate => Some("/certificates"),
        ProblemKind::Flow => Some("/flows"),
        ProblemKind::Source => Some("/audit?kind=offer.settle_failed&within=24h"),
        ProblemKind::Message => Some("/audit?kind=message.refused&within=24h"),
        ProblemKind::Delivery => Some("/transfers?problem=24h"),
    }
}

const fn plural(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::Audit => "problems of the audit trail",
        ProblemKind::Node => "problems of nodes",
        ProblemKind::Listener => "listeners",
        ProblemKind::Endpoint => "endpoints",
        ProblemKind::Certificate => "certificates",
        ProblemKind::Flow => "flows",
        ProblemKind::Source => "sources",
        ProblemKind::Message => "reasons why messages were refused",
        ProblemKind::Delivery => "deliveries",
    }
}

/// A row of the list.
pub(crate) struct ProblemLine {
    pub(crate) key: String,
    pub(crate) badge: Badge,
    pub(crate) what: String,
    pub(crate) why: String,
    /// The beginning of a long cause, which is shown folded.
    pub(crate) begins: Option<String>,
    pub(crate) advice: String,
    pub(crate) since: Option<Moment>,
    pub(crate) next: Option<Moment>,
    pub(crate) page: Option<String>,
}

impl From<ActiveProblem> for ProblemLine {
    fn from(problem: ActiveProblem) -> Self {
        let why = cut(&one_line(&problem.why), WHY);
        Self {
            key: format!("{:?}-{}", problem.kind, cut(&one_line(&problem.key), WHAT)).to_lowercase(),
            badge: badge(&problem),
            what: cut(&one_line(&problem.what), WHAT),
            begins: (why.chars().count() > FOLDED).then(|| cut(&why, FOLDED)),
            why,
            advice: one_line(&problem.advice),
            since: problem.since.map(Moment),
            next: problem.next.map(Moment),
            page: problem.page,
        }
    }
}

fn badge(problem: &ActiveProblem) -> Badge {
    let (tone, icon) = match problem.severity {
        Severity::Error => (Tone::Bad, Icon::Cross),
        Severity::Warning => (Tone::Warn, Icon::Warning),
        Severity::Info => (Tone::Quiet, Icon::Info),
    };
    let word = match problem.kind {
        ProblemKind::Audit => "Audit",
        ProblemKind::Node => "Node",
        ProblemKind::Listener => "Listener",
        ProblemKind::Endpoint => "Endpoint",
        ProblemKind::Certificate => "Certificate",
        ProblemKind::Flow => "Flow",
        ProblemKind::Source => "Source",
        ProblemKind::Message => "Message",
        ProblemKind::Delivery => "Delivery",
    };
    Badge::new(tone, icon, word)
}

/// More of a kind than are shown.
pub(crate) struct More {
    pub(crate) text: String,
    pub(crate) page: Option<&'static str>,
}

/// The list, bounded for each kind.
#[derive(Default)]
pub(crate) struct Problems {
    pub(crate) lines: Vec<ProblemLine>,
    pub(crate) more: Vec<More>,
    /// Where all transfers with delivery problems are listed, when there are any.
    pub(crate) transfers: Option<&'static str>,
}

/// All current problems.
pub(crate) fn problems(state: &AppState, count: &CountedOverview) -> Problems {
    let now = state.now();
    let mut all = from_database(&count.overview, now);
    all.extend(behind(&count.revisions, now));
    all.extend(offline_endpoints(&count.overview.offline));
    all.extend(state.node.suspensions().iter().map(suspended));
    all.extend(of_this_node(state));
    // More deliveries than were read.
    let unread = count.overview.failing_total.saturating_sub(count.overview.failing.len() as u64);
    bounded(all, unread)
}

fn bounded(all: Vec<ActiveProblem>, unread_deliveries: u64) -> Problems {
    let mut list = Problems::default();
    for kind in KINDS {
        let mut of_kind: Vec<ActiveProblem> =
            all.iter().filter(|problem| problem.kind == kind).cloned().collect();
        let unread = if kind == ProblemKind::Delivery { unread_deliveries } else { 0 };
        let left_out = of_kind.len().saturating_sub(EACH) as u64 + unread;
        if left_out > 0 {
            let text = format!("{} more {}", grouped(left_out), plural(kind));
            list.more.push(More { text, page: list_of(kind) });
        }
        if kind == ProblemKind::Delivery && left_out + of_kind.len() as u64 > 0 {
            list.transfers = list_of(kind);
        }
        of_kind.truncate(EACH);
        list.lines.extend(of_kind.into_iter().map(ProblemLine::from));
    }
    list
}

/// Problems of all nodes, from the database.
fn from_database(overview: &Overview, now: Timestamp) -> Vec<ActiveProblem> {
    let mut all = Vec::new();
    let lag = &overview.seal_lag;
    if lag.lag >= LONG_LAG {
        all.push(
            ActiveProblem::new(
                ProblemKind::Audit,
                Severity::Warning,
                "lag",
                "Audit events are not being sealed",
            )
            .why(format!("The oldest one has been waiting for {}.", duration_text(lag.lag)))
            .advice("The log of the node that seals shows the cause.")
            .since(now - lag.lag),
        );
    }
    all.extend(overview.failing_polls.iter().map(failing_poll));
    all.extend(overview.waiting_for_room.iter().map(waiting_for_room));
    all.extend(overview.claims_left.iter().map(claims_left));
    all.extend(overview.missing_files.iter().map(files_missing));
    all.extend(overview.failing_steps.iter().map(failing_steps));
    for source in &overview.unsettled {
        let files =
            if source.files == 1 { "1 file".to_owned() } else { format!("{} files", grouped(source.files)) };
        let what = format!("{files} at {} could not be deleted, archived or moved", source.endpoint);
        let query = [("kind", Some("offer.settle_failed")), ("flow", Some(source.flow.as_str()))];
        all.push(
            ActiveProblem::new(
                ProblemKind::Source,
                Severity::Warning,
                &format!("{}/{}", source.flow, source.endpoint),
                what,
            )
            .why(source.error.clone().unwrap_or_default())
            .advice(format!(
                "Flow {} has received them. At the source they are tried again at least every hour.",
                source.flow
            ))
            .since(source.since)
            .page(ListQuery::default().url("/audit", &query)),
        );
    }
    for source in &overview.refused_files {
        let (files, stay) = if source.files == 1 {
            ("1 file".to_owned(), "was refused and stays")
        } else {
            (format!("{} files", grouped(source.files)), "were refused and stay")
        };
        let query = [("kind", Some("offer.refused")), ("flow", Some(source.flow.as_str()))];
        let key = format!("refused/{}/{}", source.flow, source.endpoint);
        let what = format!("{files} of flow {} {stay} at {}", source.flow, source.endpoint);
        all.push(
            ActiveProblem::new(ProblemKind::Source, Severity::Warning, &key, what)
                .why(source.error.clone().unwrap_or_default())
                .advice(
                    "Remove each file or replace it by a correct one. With 'error_directory' in the flow, refused \
                     files are moved away.",
                )
                .since(source.since)
                .page(ListQuery::default().url("/audit", &query)),
        );
    }
    for refused in &overview.refused {
        let (messages, were) = if refused.count == 1 {
            ("A message".to_owned(), "was")
        } else {
            (format!("{} messages", grouped(refused.count)), "were")
        };
        let what = match (&refused.partner, &refused.peer) {
            (Some(partner), _) => format!("{messages} from partner {partner} {were} refused"),
            (None, Some(peer)) => {
                format!("{messages} from unknown senders {were} refused, the last one from {peer}")
            }
            (None, None) => format!("{messages} {were} refused"),
        };
        let key = format!("{}/{}", refused.partner.as_deref().unwrap_or_default(), refused.why);
        all.push(
            ActiveProblem::new(ProblemKind::Message, Severity::Warning, &key, what)
                .why(&refused.why)
                .advice("The sender was informed. The audit event shows the details.")
                .since(refused.since)
                .page("/audit?kind=message.refused&within=24h"),
        );
    }
    all.extend(overview.failing.iter().map(delivery));
    all
}

/// Endpoints that are offline after failures: one row for each, whatever the number of nodes.
fn offline_endpoints(failing: &[FailingEndpoint]) -> Vec<ActiveProblem> {
    let by_endpoint = failing.chunk_by(|a, b| a.endpoint == b.endpoint);
    by_endpoint.filter_map(|nodes| offline_endpoint(nodes.first()?, nodes)).collect()
}

fn offline_endpoint(first: &FailingEndpoint, nodes: &[FailingEndpoint]) -> Option<ActiveProblem> {
    let name = first.endpoint.as_str();
    let query = [("kind", Some("endpoint.offline")), ("endpoint", Some(name))];
    let times = match nodes.iter().map(|node| node.failures).max()? {
        1 => String::new(),
        failures => format!(", {} times in a row", grouped(failures)),
    };
    let cause = first.error.as_deref().map_or_else(|| ".".to_owned(), |error| format!(": {error}"));
    let all: Vec<&str> = nodes.iter().map(|node| node.node.as_str()).collect();
    let problem = ActiveProblem::new(
        ProblemKind::Endpoint,
        Severity::Warning,
        name,
        format!("Endpoint {name} is offline"),
    );
    let problem = problem
        .why(format!("It could not be used on node {}{times}{cause}", all.join(", ")))
        .advice("Its files wait in order. A refused login or host key must be corrected first.")
        .since(nodes.iter().map(|node| node.since).min()?)
        .next_try(nodes.iter().map(|node| node.until).min()?);
    Some(problem.page(ListQuery::default().url("/audit", &query)))
}

/// A flow whose polls fail: its files are not taken.
fn failing_poll(failing: &FailingPoll) -> ActiveProblem {
    let FailingPoll { flow, endpoint, since, failures, error, .. } = failing;
    let query = [("kind", Some("poll.failed")), ("flow", Some(flow.as_str()))];
    let what = match failures {
        1 => format!("The last poll of flow {flow} at {endpoint} failed"),
        failures => format!("The last {} polls of flow {flow} at {endpoint} failed", grouped(*failures)),
    };
    ActiveProblem::new(ProblemKind::Flow, Severity::Error, &format!("{flow}/polls"), what)
        .why(error.clone())
        .advice("Its files stay where they are, and are taken when a poll succeeds.")
        .since(*since)
        .page(ListQuery::default().url("/audit", &query))
}

/// Files that are claimed and for which no recorded offer waits.
fn claims_left(left: &ClaimsLeft) -> ActiveProblem {
    let ClaimsLeft { flow, since, released, files, path, .. } = left;
    let which = match files {
        1 => "1 file is".to_owned(),
        files => format!("{} files are", grouped(*files)),
    };
    let what = format!("{which} claimed at the source of flow {flow} and not taken");
    let path = cut(&path_text(path), WHAT);
    ActiveProblem::new(ProblemKind::Source, Severity::Warning, &format!("{flow}/claimed"), what)
        .why(format!("{path}.stage exists: its reading was interrupted, or another gateway or program is processing it."))
        .advice("It is renamed back and taken after 30 minutes and 30 polls. If no other gateway polls this directory, rename it back by hand to take it now.")
        .since(*since)
        .next_try(*released)
}

/// Files that wait at their source because staging has no room for them.
fn waiting_for_room(waiting: &WaitingForRoom) -> ActiveProblem {
    let WaitingForRoom { flow, endpoint, node, since, files, largest, bytes } = waiting;
    let query = [("kind", Some("flow.waits_for_room")), ("flow", Some(flow.as_str()))];
    let (which, wait) = match files {
        1 => ("1 file".to_owned(), "waits"),
        files => (format!("{} files", grouped(*files)), "wait"),
    };
    let what = format!("{which} of flow {flow} {wait} at {endpoint} for room in staging");
    let largest = cut(&path_text(largest), WHAT);
    let needs = match files {
        1 => format!("{largest} needs {}", size_text(*bytes)),
        _ => format!("The largest, {largest}, needs {}", size_text(*bytes)),
    };
    ActiveProblem::new(ProblemKind::Flow, Severity::Error, &format!("{flow}/room"), what)
        .why(format!("{needs}; the staging area of node {node} has less free space."))
        .advice("They stay where they are, and are taken when there is room. Free space on the file system of the staging area, or shorten the retention of flows.")
        .since(*since)
        .page(ListQuery::default().url("/audit", &query))
}

/// The files that a flow expected and that have not come.
fn files_missing(missing: &MissingFiles) -> ActiveProblem {
    let MissingFiles { flow, day, by, at_least, found } = missing;
    let query = [("kind", Some("flow.files_")), ("flow", Some(flow.as_str()))];
    ActiveProblem::new(
        ProblemKind::Flow,
        Severity::Error,
        &format!("{flow}/missing"),
        format!("Expected files of flow {flow} are missing"),
    )
    .why(format!("At least {} expected on {day}; {} had come in time.", grouped(*at_least), grouped(*found)))
    .advice(format!(
        "Ask whoever sends them. To see what a poll finds, run: waybill flow run {flow} --dry-run"
    ))
    .since(*by)
    .page(ListQuery::default().url("/audit", &query))
}

/// Steps of a flow that are tried again.
fn failing_steps(steps: &FailingSteps) -> ActiveProblem {
    let FailingSteps { flow, transfers, since, next, error } = steps;
    let files = if *transfers == 1 { "1 file".to_owned() } else { format!("{} files", grouped(*transfers)) };
    let query = [("flow", Some(flow.as_str())), ("state", Some("processing"))];
    let what = format!("The steps of flow {flow} cannot be done for {files}");
    let problem = ActiveProblem::new(ProblemKind::Flow, Severity::Error, &format!("{flow}/steps"), what)
        .why(error.clone().unwrap_or_default())
        .advice("The files wait and the steps are tried again. Correct what is in the way on this machine.")
        .since(*since)
        .page(ListQuery::default().url(TRANSFERS, &query));
    match next {
        Some(next) => problem.next_try(*next),
        None => problem,
    }
}

/// What a person has paused or set offline.
fn suspended(suspension: &Suspension) -> ActiveProblem {
    let name = suspension.name.as_str();
    let (kind, what, advice, event) = match suspension.kind {
        SuspensionKind::Flow => (
            ProblemKind::Flow,
            format!("Flow {name} is paused"),
            format!("It takes no new files. To resume it, run: waybill flow resume {name}"),
            [("kind", Some("flow.")), ("flow", Some(name))],
        ),
        SuspensionKind::Endpoint => (
            ProblemKind::Endpoint,
            format!("Endpoint {name} was set offline"),
            format!("Its files wait in order. To set it online, run: waybill endpoint online {name}"),
            [("kind", Some("endpoint.")), ("endpoint", Some(name))],
        ),
    };
    // An endpoint may be offline after failures as well.
    ActiveProblem::new(kind, Severity::Warning, &format!("{name}/suspended"), what)
        .why(capitalized(&suspension.words()))
        .advice(advice)
        .since(suspension.since)
        .page(ListQuery::default().url("/audit", &event))
}

fn delivery(failing: &FailingDelivery) -> ActiveProblem {
    let retrying = failing.state == DeliveryState::Retrying;
    let severity = if retrying { Severity::Warning } else { Severity::Error };
    let word = Badge::delivery(failing.state).word.to_lowercase();
    // Both ends of a name tell something, and so does what is behind it.
    let name = cut(&path_text(&failing.file_name), WHAT - 50);
    let what = format!("{name} to {}: {word}", cut(&failing.endpoint, 30));
    let key = failing.delivery.to_string();
    let problem = ActiveProblem::new(ProblemKind::Delivery, severity, &key, what)
        .why(failing.error.as_deref().unwrap_or_default())
        .since(failing.updated_at)
        .page(format!("{TRANSFERS}/{}", failing.transfer));
    if let Some(opens) = failing.opens_at.filter(|_| retrying) {
        problem
            .next_try(opens)
            .advice("It is outside the destination's hours; the next attempt is made when they begin.")
    } else if retrying {
        problem.next_try(failing.due_at)
    } else {
        let retry = format!("Fix the cause, then run: waybill transfer retry {}", failing.transfer);
        problem.advice(retry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_bounded_and_in_the_order_of_their_kinds() {
        let problem = |kind, number: usize| {
            ActiveProblem::new(kind, Severity::Warning, &number.to_string(), "w".repeat(5000))
                .why("y".repeat(5000))
        };
        let mut all: Vec<ActiveProblem> =
            (0..25).map(|number| problem(ProblemKind::Delivery, number)).collect();
        all.push(problem(ProblemKind::Audit, 0));
        let problems = bounded(all, 1_000);
        assert_eq!(problems.lines.len(), 11);
        assert_eq!(problems.lines[0].badge.word, "Audit");
        assert_eq!(problems.more.len(), 1);
        assert_eq!(problems.more[0].text, "1,015 more deliveries");
        let longest = problems.lines.iter().map(|line| line.why.len()).max();
        assert_eq!(longest, Some(WHY));
        let folded = problems.lines[0].begins.as_ref().map(|begins| begins.chars().count());
        assert_eq!(folded, Some(FOLDED));
        assert!(bounded(Vec::new(), 0).more.is_empty());
    }
}
