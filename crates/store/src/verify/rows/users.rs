//! Users against `user.changed`.

use super::{Columns, Placed, Run, Snapshot};
use crate::audit::{StoredRow, columns, last_events};
use crate::delivery::precise;
use crate::either::on;
use crate::users::UserRow;
use model::{EventKind, Result};
use sqlx::AssertSqlSafe;
use std::collections::BTreeMap;

pub(super) const USERS: &str = "users";
pub(super) const REVISIONS: &str = "revisions";
pub(super) const SUSPENSIONS: &str = "suspensions";
pub(super) const KNOWN_HOSTS: &str = "known_hosts";

impl Run<'_> {
    /// What events of some kinds, of which there are few, tell last of each thing: `about` names the thing.
    pub(super) async fn last_of_each<K: Ord>(
        &self,
        page: &mut Snapshot,
        kinds: &[EventKind],
        about: impl Fn(&Placed) -> Option<K>,
    ) -> Result<BTreeMap<K, Vec<Placed>>> {
        let sql = format!("SELECT {} FROM audit_events WHERE kind = $1", columns(self.store.backend()));
        let mut rows: Vec<StoredRow> = Vec::new();
        for kind in kinds {
            let sql = sql.clone();
            rows.extend(
                self.store
                    .read("read the events of users, definitions and suspensions", async {
                        on!(page, c => sqlx::query_as::<_, StoredRow>(AssertSqlSafe(sql))
                            .bind(kind.as_str()).fetch_all(c).await)
                    })
                    .await?,
            );
        }
        let mut told: BTreeMap<K, Vec<Placed>> = BTreeMap::new();
        for row in rows {
            let Some(event) = row.columns else { continue };
            let event = Placed { bound: row.bound, event };
            if let Some(thing) = about(&event) {
                told.entry(thing).or_default().push(event);
            }
        }
        let last = |events| last_events(events, |placed: &Placed| (placed.bound, &placed.event));
        Ok(told.into_iter().map(|(thing, events)| (thing, last(events))).collect())
    }

    pub(super) async fn users(&mut self) -> Result<()> {
        let mut page = Snapshot::begin(self.store).await?;
        let named = |event: &Placed| event.text("user").map(str::to_owned);
        let mut told = self.last_of_each(&mut page, &[EventKind::UserChanged], named).await?;
        let rows: Vec<UserRow> = self
            .store
            .read("read the users", async {
                on!(page, c => sqlx::query_as(
                    "SELECT name, password_hash, role, disabled, created_at, changed_at FROM users ORDER BY name")
                    .fetch_all(c).await)
            })
            .await?;
        for row in rows {
            self.count(USERS);
            let events = told.remove(&row.name).unwrap_or_default();
            let changes: Vec<Columns> =
                events.iter().filter(|placed| !placed.event.is_removal()).map(user_told).collect();
            if changes.is_empty() {
                self.report.find(USERS, &row.name, "the event that adds it is missing");
                continue;
            }
            self.note_sealing(&events);
            let stored = vec![
                ("role", Some(row.role)),
                ("disabled", Some(row.disabled.to_string())),
                (PASSWORD, Some(crate::users::password_digest(&row.password_hash))),
                ("created_at", Some(precise(row.created_at))),
                ("changed_at", Some(row.changed_at.timestamp_micros().to_string())),
            ];
            self.compare_with_last((USERS, row.name.as_str()), &stored, &changes);
        }
        for (name, events) in told {
            self.find_row_missing(USERS, name, &events);
        }
        Ok(())
    }

    /// Names a row that is missing, unless one of the events that may be the last tells that it was removed.
    pub(super) fn find_row_missing(&mut self, table: &'static str, row: impl ToString, events: &[Placed]) {
        if let Some(last) = events.last()
            && !events.iter().any(|placed| placed.event.is_removal())
        {
            let what = format!("the row for event {} is missing", last.event.id);
            self.report.find(table, row, what);
        }
    }
}

const PASSWORD: &str = "the digest of its password's hash";

fn user_told(placed: &Placed) -> Columns {
    let says = |key: &str| placed.text(key).map(str::to_owned);
    vec![
        ("role", says("role")),
        ("disabled", placed.detail("disabled").map(ToString::to_string)),
        (PASSWORD, says("password_digest")),
        ("created_at", says("created_at")),
        ("changed_at", Some(placed.event.happened_at().to_string())),
    ]
}
