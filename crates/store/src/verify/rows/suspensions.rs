//! Flows that a person paused and endpoints that a person set offline, against the events about that.

use super::users::SUSPENSIONS;
use super::{Columns, Placed, Run, Snapshot};
use crate::either::on;
use model::{EventKind, Result, SuspensionKind, Timestamp};
use sqlx::FromRow;
use std::collections::BTreeMap;

#[derive(FromRow)]
struct SuspensionRow {
    kind: String,
    name: String,
    in_force: bool,
    actor: String,
    reason: Option<String>,
    changed_at: Timestamp,
}

impl Run<'_> {
    pub(super) async fn suspensions(&mut self) -> Result<()> {
        let mut page = Snapshot::begin(self.store).await?;
        let flows = [EventKind::FlowPaused, EventKind::FlowResumed];
        let endpoints = [EventKind::EndpointSetOffline, EventKind::EndpointSetOnline];
        let named = |event: &Placed| event.event.flow.clone();
        let flows = self.last_of_each(&mut page, &flows, named).await?;
        let named = |event: &Placed| event.event.endpoint.clone();
        let endpoints = self.last_of_each(&mut page, &endpoints, named).await?;
        let of_kind = |kind: SuspensionKind, told: BTreeMap<String, Vec<Placed>>| {
            told.into_iter().map(move |(name, events)| ((kind.as_str().to_owned(), name), events))
        };
        let mut told: BTreeMap<(String, String), Vec<Placed>> = of_kind(SuspensionKind::Flow, flows)
            .chain(of_kind(SuspensionKind::Endpoint, endpoints))
            .collect();
        let rows: Vec<SuspensionRow> = self
            .store
            .read("read what is paused and offline", async {
                on!(page, c => sqlx::query_as(
                    "SELECT kind, name, in_force, actor, reason, changed_at FROM suspensions ORDER BY kind, name")
                    .fetch_all(c).await)
            })
            .await?;
        for row in rows {
            self.count(SUSPENSIONS);
            let name = format!("{} {}", row.kind, row.name);
            let Some(events) = told.remove(&(row.kind, row.name)) else {
                // The end of a suspension is not carried over when its month is removed.
                if !row.in_force && self.is_retired(row.changed_at) {
                    self.report.retired += 1;
                } else {
                    self.report.find(SUSPENSIONS, &name, "the event about it is missing");
                }
                continue;
            };
            self.note_sealing(&events);
            let told: Vec<Columns> = events.iter().map(suspension_told).collect();
            let stored = vec![
                ("in_force", Some(row.in_force.to_string())),
                ("actor", Some(row.actor)),
                ("reason", row.reason),
                ("changed_at", Some(row.changed_at.timestamp_micros().to_string())),
            ];
            self.compare_with_last((SUSPENSIONS, name.as_str()), &stored, &told);
        }
        for ((kind, name), events) in told {
            self.find_row_missing(SUSPENSIONS, format!("{kind} {name}"), &events);
        }
        Ok(())
    }
}

fn suspension_told(placed: &Placed) -> Columns {
    vec![
        ("in_force", Some((!placed.event.is_removal()).to_string())),
        ("actor", Some(placed.event.done_by().to_owned())),
        ("reason", placed.text("reason").map(str::to_owned)),
        ("changed_at", Some(placed.event.happened_at().to_string())),
    ]
}
