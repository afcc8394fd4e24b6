//! Users and revisions of the definitions against `user.changed` and `definitions.applied`.

use super::{Placed, Run, Snapshot};
use crate::audit::{StoredRow, columns};
use crate::either::on;
use model::{EventKind, Result, canonical_json};
use serde_json::Value;
use sqlx::AssertSqlSafe;
use sqlx::types::Json;
use std::collections::BTreeMap;

impl Run<'_> {
    /// All events of a kind of which there are few, in the order of time.
    async fn all_of(&self, page: &mut Snapshot, kind: EventKind) -> Result<Vec<Placed>> {
        let sql = format!(
            "SELECT {} FROM audit_events WHERE kind = $1 ORDER BY at, id",
            columns(self.store.backend())
        );
        let rows: Vec<StoredRow> = self
            .store
            .read("read the events of users and definitions", async {
                on!(page, c => sqlx::query_as(AssertSqlSafe(sql))
                    .bind(kind.as_str()).fetch_all(c).await)
            })
            .await?;
        Ok(rows
            .into_iter()
            .filter_map(|row| Some(Placed { bound: row.bound, event: row.columns? }))
            .collect())
    }

    pub(super) async fn users(&mut self) -> Result<()> {
        const TABLE: &str = "users";
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
        let rows: Vec<(String, String, String, bool)> = self
            .store
            .read("read the users", async {
                on!(page, c => sqlx::query_as(
                    "SELECT name, password_hash, role, disabled FROM users ORDER BY name")
                    .fetch_all(c).await)
            })
            .await?;
        for (name, password, role, disabled) in rows {
            self.count(TABLE);
            let Some(event) = told.remove(&name) else {
                if self.removed_months.is_empty() {
                    self.report.find(TABLE, &name, "it lacks the event of its making");
                } else {
                    self.report.retired += 1;
                }
                continue;
            };
            self.note_sealing([&event]);
            let this = (TABLE, name.as_str());
            let says = |key: &str| event.text(key).map(str::to_owned);
            self.compare(this, "role", Some(role), says("role"));
            let says_disabled = event.detail("disabled").map(ToString::to_string);
            self.compare(this, "disabled", Some(disabled.to_string()), says_disabled);
            let digest = crate::users::password_digest(&password);
            self.compare(this, "the digest of its password's hash", Some(digest), says("password_digest"));
        }
        for (name, event) in told {
            let what = format!("the row is missing that event {} speaks of", event.event.id);
            self.report.find(TABLE, name, what);
        }
        Ok(())
    }

    pub(super) async fn revisions(&mut self) -> Result<()> {
        const TABLE: &str = "revisions";
        let mut page = Snapshot::begin(self.store).await?;
        let mut told: BTreeMap<i64, Placed> = BTreeMap::new();
        for event in self.all_of(&mut page, EventKind::DefinitionsApplied).await? {
            if let Some(number) = event.detail("revision").and_then(Value::as_i64) {
                told.insert(number, event);
            }
        }
        let mut after = 0;
        loop {
            let rows: Vec<(i64, String, String, Json<Value>)> = self
                .store
                .read("read the revisions of the definitions", async {
                    on!(page, c => sqlx::query_as(
                        "SELECT number, author, digest, documents FROM revisions WHERE number > $1 ORDER BY number LIMIT 10")
                        .bind(after).fetch_all(c).await)
                })
                .await?;
            let Some((last, ..)) = rows.last() else { break };
            after = *last;
            for (number, author, digest, documents) in rows {
                self.count(TABLE);
                let name = number.to_string();
                let this = (TABLE, name.as_str());
                let found = model::Sha256(openssl::sha::sha256(canonical_json(&documents.0).as_bytes()));
                if found.to_string() != digest {
                    self.report.find(TABLE, number, "its documents do not make its digest");
                }
                match told.remove(&number) {
                    Some(event) => {
                        self.note_sealing([&event]);
                        let says = event.text("digest").map(str::to_owned);
                        self.compare(this, "digest", Some(digest), says);
                        self.compare(this, "author", Some(author), Some(event.event.actor.clone()));
                    }
                    None if self.removed_months.is_empty() => {
                        self.report.find(TABLE, number, "it lacks the event of its coming into force");
                    }
                    None => self.report.retired += 1,
                }
            }
        }
        for (number, event) in told {
            let what = format!("the row is missing that event {} speaks of", event.event.id);
            self.report.find(TABLE, number, what);
        }
        Ok(())
    }
}
