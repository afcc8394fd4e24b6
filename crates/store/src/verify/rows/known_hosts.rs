//! Known hosts against the events that added and removed them.

use super::users::KNOWN_HOSTS;
use super::{Columns, Placed, Run, Snapshot};
use crate::either::on;
use model::{EventKind, Result, Timestamp};
use sqlx::FromRow;
use uuid::Uuid;

#[derive(FromRow)]
struct KnownHostRow {
    id: Uuid,
    line: String,
    fingerprint: String,
    comment: Option<String>,
    added_by: String,
    added_at: Timestamp,
    removed_by: Option<String>,
    removed_at: Option<Timestamp>,
}

impl Run<'_> {
    pub(super) async fn known_hosts(&mut self) -> Result<()> {
        let mut page = Snapshot::begin(self.store).await?;
        let named = |event: &Placed| event.text("known_host").map(str::to_owned);
        let kinds = [EventKind::KnownHostAdded, EventKind::KnownHostRemoved];
        let mut told = self.last_of_each(&mut page, &kinds, named).await?;
        let rows: Vec<KnownHostRow> = self
            .store
            .read("read the known hosts", async {
                on!(page, c => sqlx::query_as(
                    "SELECT id, line, fingerprint, comment, added_by, added_at, removed_by, removed_at \
                     FROM known_hosts ORDER BY id").fetch_all(c).await)
            })
            .await?;
        for row in rows {
            self.count(KNOWN_HOSTS);
            let name = row.id.to_string();
            let Some(events) = told.remove(&name) else {
                // The end of a line is not carried over when its month is removed.
                if row.removed_at.is_some_and(|at| self.is_retired(at)) {
                    self.report.retired += 1;
                } else {
                    self.report.find(KNOWN_HOSTS, &name, "the event about it is missing");
                }
                continue;
            };
            self.note_sealing(&events);
            let told: Vec<Columns> = events.iter().map(known_host_told).collect();
            let (by, at) = match (row.removed_by, row.removed_at) {
                (Some(by), Some(at)) => (by, at),
                _ => (row.added_by, row.added_at),
            };
            let stored = vec![
                ("in_force", Some(row.removed_at.is_none().to_string())),
                ("line", Some(row.line)),
                ("fingerprint", Some(row.fingerprint)),
                ("comment", row.comment),
                ("actor", Some(by)),
                ("changed_at", Some(at.timestamp_micros().to_string())),
            ];
            self.compare_with_last((KNOWN_HOSTS, name.as_str()), &stored, &told);
        }
        for (name, events) in told {
            self.find_row_missing(KNOWN_HOSTS, name, &events);
        }
        Ok(())
    }
}

fn known_host_told(placed: &Placed) -> Columns {
    let says = |key: &str| placed.text(key).map(str::to_owned);
    vec![
        ("in_force", Some((!placed.event.is_removal()).to_string())),
        ("line", says("line")),
        ("fingerprint", says("fingerprint")),
        ("comment", says("comment")),
        ("actor", Some(placed.event.done_by().to_owned())),
        ("changed_at", Some(placed.event.happened_at().to_string())),
    ]
}
