//! Users and revisions of the definitions against `user.changed` and `definitions.applied`.

use super::{Placed, Run, Snapshot};
use crate::audit::{StoredRow, columns};
use crate::delivery::precise;
use crate::either::on;
use crate::users::UserRow;
use model::{EventKind, Result, Timestamp, canonical_json};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, FromRow};
use std::collections::BTreeMap;

pub(super) const USERS: &str = "users";
pub(super) const REVISIONS: &str = "revisions";

#[derive(FromRow)]
struct RevisionRow {
    number: i64,
    applied_at: Timestamp,
    author: String,
    source: Option<String>,
    digest: String,
    documents: Json<Value>,
}

impl Run<'_> {
    /// All events of a kind of which there are few, in the order in which they happened: what was carried
    /// over when its month went has the place of what it tells.
    async fn all_of(&self, page: &mut Snapshot, kind: EventKind) -> Result<Vec<Placed>> {
        let sql = format!("SELECT {} FROM audit_events WHERE kind = $1", columns(self.store.backend()));
        let rows: Vec<StoredRow> = self
            .store
            .read("read the events of users and definitions", async {
                on!(page, c => sqlx::query_as(AssertSqlSafe(sql))
                    .bind(kind.as_str()).fetch_all(c).await)
            })
            .await?;
        let mut events: Vec<Placed> = rows
            .into_iter()
            .filter_map(|row| Some(Placed { bound: row.bound, event: row.columns? }))
            .collect();
        events.sort_by_key(|placed| placed.event.order());
        Ok(events)
    }

    pub(super) async fn users(&mut self) -> Result<()> {
        let mut page = Snapshot::begin(self.store).await?;
        let mut told: BTreeMap<String, Placed> = BTreeMap::new();
        for event in self.all_of(&mut page, EventKind::UserChanged).await? {
            let Some(name) = event.text("user").map(str::to_owned) else { continue };
            if event.detail("removed") == Some(&Value::Bool(true)) {
                told.remove(&name);
            } else {
                told.insert(name, event);
            }
        }
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
            let Some(event) = told.remove(&row.name) else {
                self.report.find(USERS, &row.name, "it lacks the event of its making");
                continue;
            };
            self.note_sealing([&event]);
            let this = (USERS, row.name.as_str());
            let says = |key: &str| event.text(key).map(str::to_owned);
            self.compare(this, "role", Some(row.role), says("role"));
            let says_disabled = event.detail("disabled").map(ToString::to_string);
            self.compare(this, "disabled", Some(row.disabled.to_string()), says_disabled);
            let digest = crate::users::password_digest(&row.password_hash);
            self.compare(this, "the digest of its password's hash", Some(digest), says("password_digest"));
            self.compare(this, "created_at", Some(precise(row.created_at)), says("created_at"));
            let changed = row.changed_at.timestamp_micros().to_string();
            self.compare(this, "changed_at", Some(changed), Some(event.event.happened_at().to_string()));
        }
        for (name, event) in told {
            let what = format!("the row is missing that event {} speaks of", event.event.id);
            self.report.find(USERS, name, what);
        }
        Ok(())
    }

    pub(super) async fn revisions(&mut self) -> Result<()> {
        let mut page = Snapshot::begin(self.store).await?;
        let mut told: BTreeMap<i64, Placed> = BTreeMap::new();
        for event in self.all_of(&mut page, EventKind::DefinitionsApplied).await? {
            if let Some(number) = event.detail("revision").and_then(Value::as_i64) {
                told.insert(number, event);
            }
        }
        let mut from = i64::MIN;
        loop {
            let rows: Vec<RevisionRow> = self
                .store
                .read("read the revisions of the definitions", async {
                    on!(page, c => sqlx::query_as(
                        "SELECT * FROM revisions WHERE number >= $1 ORDER BY number LIMIT 10")
                        .bind(from).fetch_all(c).await)
                })
                .await?;
            let last = rows.last().map(|row| row.number);
            for row in rows {
                self.revision(row, &mut told);
            }
            match last.and_then(|last| last.checked_add(1)) {
                Some(next) => from = next,
                None => break,
            }
        }
        for (number, event) in told {
            let what = format!("the row is missing that event {} speaks of", event.event.id);
            self.report.find(REVISIONS, number, what);
        }
        Ok(())
    }

    fn revision(&mut self, row: RevisionRow, told: &mut BTreeMap<i64, Placed>) {
        self.count(REVISIONS);
        let name = row.number.to_string();
        let this = (REVISIONS, name.as_str());
        let found = model::Sha256(openssl::sha::sha256(canonical_json(&row.documents.0).as_bytes()));
        if found.to_string() != row.digest {
            self.report.find(REVISIONS, row.number, "its documents do not make its digest");
        }
        let Some(event) = told.remove(&row.number) else {
            self.report.find(REVISIONS, row.number, "it lacks the event of its coming into force");
            return;
        };
        self.note_sealing([&event]);
        let says = |key: &str| event.text(key).map(str::to_owned);
        self.compare(this, "digest", Some(row.digest), says("digest"));
        self.compare(this, "author", Some(row.author), Some(event.event.done_by().to_owned()));
        self.compare(this, "source", row.source, says("source"));
        let applied = row.applied_at.timestamp_micros().to_string();
        self.compare(this, "applied_at", Some(applied), Some(event.event.happened_at().to_string()));
    }
}
