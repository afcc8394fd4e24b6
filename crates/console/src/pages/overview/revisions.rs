//! Which revision of the definitions each node has in force.

use crate::state::active_problem::{ActiveProblem, ProblemKind};
use crate::state::overview_cache::NodeRevisions;
use crate::web::badge::{Badge, Icon, Tone};
use crate::web::format::{Moment, grouped};
use model::{Severity, Timestamp};
use std::time::Duration;
use store::NodeRevision;

/// Nodes follow within seconds; after so long, something keeps one.
const LONG: Duration = Duration::from_secs(30);
/// Most nodes that are listed; those that are behind come first.
const MOST: usize = 20;

/// What the overview shows of it.
pub(crate) struct InForce {
    pub(crate) summary: String,
    pub(crate) nodes: Vec<NodeLine>,
}

/// A node.
pub(crate) struct NodeLine {
    pub(crate) name: String,
    pub(crate) badge: Badge,
    pub(crate) revision: i64,
    pub(crate) since: Moment,
}

/// Living nodes, and the newest revision; `None` before the first.
fn living(revisions: &NodeRevisions) -> Option<(i64, Vec<&NodeRevision>)> {
    let newest = revisions.newest.as_ref()?.number;
    Some((newest, revisions.nodes.iter().filter(|node| node.lives).collect()))
}

/// The nodes in a line, and each by itself.
pub(crate) fn in_force(revisions: &NodeRevisions) -> InForce {
    let Some((newest, mut nodes)) = living(revisions) else {
        return InForce { summary: "No revision yet".into(), nodes: Vec::new() };
    };
    let count = nodes.len();
    let agreeing = nodes.iter().filter(|node| node.revision == newest).count();
    let summary = match (count, agreeing == count) {
        (0, _) => format!("Revision {newest} is stored; no node is running"),
        (1, true) => format!("Revision {newest}"),
        (_, true) => format!("Revision {newest} on all {} nodes", grouped(count as u64)),
        _ => format!("Revision {newest} on {} of {}", grouped(agreeing as u64), nodes_text(count)),
    };
    nodes.sort_by_key(|node| node.revision == newest);
    let line = |node: &NodeRevision| NodeLine {
        name: node.node.clone(),
        badge: if node.revision == newest {
            Badge::new(Tone::Good, Icon::Check, "Newest")
        } else if node.problem.is_some() {
            Badge::new(Tone::Bad, Icon::Cross, "Refused the newest")
        } else {
            Badge::new(Tone::Warn, Icon::Clock, "Not the newest yet")
        },
        revision: node.revision,
        since: Moment(node.since),
    };
    InForce { summary, nodes: nodes.into_iter().take(MOST).map(line).collect() }
}

fn nodes_text(count: usize) -> String {
    if count == 1 { "1 node".into() } else { format!("{} nodes", grouped(count as u64)) }
}

/// Nodes that cannot use the newest revision, or have not put it in force for long.
pub(crate) fn behind(revisions: &NodeRevisions, now: Timestamp) -> Vec<ActiveProblem> {
    let (Some((newest, nodes)), Some(made)) = (living(revisions), revisions.newest.as_ref()) else {
        return Vec::new();
    };
    let problem = |node: &NodeRevision| {
        let key = format!("revision-{}", node.node);
        let keeps = format!("It keeps revision {} in force", node.revision);
        match &node.problem {
            Some(why) => {
                let what = format!("Node {} cannot use revision {newest} of the definitions", node.node);
                let problem = ActiveProblem::new(ProblemKind::Node, Severity::Error, &key, what);
                let advice = format!(
                    "{keeps}, and tries again every 30 seconds. Fix the cause on that node, or apply other definitions."
                );
                Some(problem.why(why).advice(advice).since(node.at).page("/audit?kind=definitions.refused"))
            }
            None => {
                let late = (now - made.at).to_std().is_ok_and(|age| age >= LONG);
                let what =
                    format!("Node {} has not put revision {newest} of the definitions in force", node.node);
                let problem = ActiveProblem::new(ProblemKind::Node, Severity::Warning, &key, what);
                late.then(|| {
                    problem
                        .why(format!("{keeps}."))
                        .advice("The log of that node shows the cause.")
                        .since(made.at)
                })
            }
        }
    };
    nodes.into_iter().filter(|node| node.revision != newest).filter_map(problem).collect()
}
