//! Problems that only this node knows: its audit seals, its journal, its staging area.

use crate::state::AppState;
use crate::state::active_problem::{ActiveProblem, ProblemKind};
use crate::web::format::{capitalized, size_text};
use model::Severity;

/// Problems of the audit trail that this node seals.
fn audit_alarms(state: &AppState) -> Vec<ActiveProblem> {
    let alarm = state.node.audit_alarm().map(|alarm| {
        let what = format!("Audit alarm: {}", alarm.title());
        let why = if alarm.stops_sealing() {
            format!("This node does not seal events: {}.", alarm.what)
        } else {
            format!("{}.", capitalized(&alarm.what))
        };
        ActiveProblem::new(ProblemKind::Audit, Severity::Error, "alarm", what)
            .why(why)
            .advice(format!("{}.", capitalized(&alarm.advice().replace('`', ""))))
            .since(alarm.since)
            .page("/audit?kind=audit.alarm")
    });
    let stopped = state.node.sealing_stopped().map(|why| {
        ActiveProblem::new(
            ProblemKind::Audit,
            Severity::Error,
            "stopped",
            "Audit events are not being sealed",
        )
        .why(why)
    });
    alarm.into_iter().chain(stopped).collect()
}

/// Problems of this node.
pub(super) fn of_this_node(state: &AppState) -> Vec<ActiveProblem> {
    let mut all = audit_alarms(state);
    all.extend(state.node.problems());
    let full = |key: &str, what: &str, why: String, advice: &str| {
        ActiveProblem::new(ProblemKind::Node, Severity::Error, key, what).why(why).advice(advice)
    };
    if let Some(journal) = state.node.journal().filter(|journal| journal.backlog_bytes >= journal.most_bytes)
    {
        all.push(full(
            "journal",
            "Connections are not recorded in the database",
            format!("{} are waiting in this node's journal.", size_text(journal.backlog_bytes)),
            "See the log for the cause.",
        ));
    }
    if let Some(space) = state.node.staging().filter(|space| space.free_bytes < space.min_free_bytes) {
        all.push(full(
            "staging",
            "The staging area is full",
            format!(
                "{} are free; {} must stay free.",
                size_text(space.free_bytes),
                size_text(space.min_free_bytes)
            ),
            "Waybill accepts no files until there is more free space on the file system of the staging area.",
        ));
    }
    all
}
