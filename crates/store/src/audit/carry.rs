//! The last word on things that outlive the events about them: users, and revisions of the definitions.
//!
//! Their rows stay when the month goes in which they were last changed. Before it goes, the event of that
//! change is told once more by another, so that there is always one to compare a row with: without it,
//! a forged row could not be told from an old one.

use super::{EventColumns, StoredRow, columns};
use crate::Store;
use crate::delivery::precise;
use crate::either::on;
use chrono::DateTime;
use model::{AuditEvent, EventId, EventKind, NodeName, Result, Timestamp};
use serde_json::Value;
use sqlx::AssertSqlSafe;
use std::collections::BTreeMap;
use uuid::Uuid;

const KINDS: [EventKind; 2] = [EventKind::UserChanged, EventKind::DefinitionsApplied];

/// Where the carried event is from: its id, its time, and who did it.
const EVENT: &str = "first_event";
const AT: &str = "first_at";
const ACTOR: &str = "first_actor";

impl EventColumns {
    fn first(&self, key: &str) -> Option<&str> {
        self.detail.get(key)?.as_str()
    }

    /// When what it tells happened, in microseconds since 1970: its own time, or that of the event which
    /// it carries over.
    pub(crate) fn happened_at(&self) -> i64 {
        let first = self.first(AT).and_then(|at| DateTime::parse_from_rfc3339(at).ok());
        first.map_or(self.at, |at| at.timestamp_micros())
    }

    /// Who did what it tells.
    pub(crate) fn done_by(&self) -> &str {
        self.first(ACTOR).unwrap_or(&self.actor)
    }

    fn first_event(&self) -> Uuid {
        self.first(EVENT).and_then(|id| id.parse().ok()).unwrap_or(self.id)
    }

    /// The order in which such events happened; of an event and those that carry it over, the newest is
    /// the last.
    pub(crate) fn order(&self) -> (i64, Uuid, i64, Uuid) {
        (self.happened_at(), self.first_event(), self.at, self.id)
    }

    /// The user or the revision it is about.
    fn object(&self) -> Option<String> {
        self.detail.get("user").or_else(|| self.detail.get("revision")).map(Value::to_string)
    }

    fn carried(self, carrier: AuditEvent) -> AuditEvent {
        let from = [
            (EVENT, self.first_event().to_string()),
            (AT, precise(DateTime::from_timestamp_micros(self.happened_at()).unwrap_or_default())),
            (ACTOR, self.done_by().to_owned()),
        ];
        let detail = self.detail.as_object().cloned().unwrap_or_default();
        from.into_iter()
            .fold(AuditEvent { detail, ..carrier }, |event, (key, value)| event.detail(key, value))
    }
}

impl Store {
    /// Events that carry over what a month, ending at `end`, tells last of users and revisions.
    pub(super) async fn last_words_before(
        &self,
        end: Timestamp,
        now: Timestamp,
        node: &NodeName,
        id: &(impl Fn() -> Uuid + Send + Sync),
    ) -> Result<Vec<AuditEvent>> {
        let mut carried = vec![];
        for kind in KINDS {
            let mut last: BTreeMap<String, EventColumns> = BTreeMap::new();
            for row in self.events_of_kind(kind).await? {
                let Some(event) = row.columns else { continue };
                let Some(object) = event.object() else { continue };
                if last.get(&object).is_none_or(|other| other.order() < event.order()) {
                    last.insert(object, event);
                }
            }
            for event in last.into_values() {
                let is_gone = event.detail.get("removed") == Some(&Value::Bool(true));
                if event.at < end.timestamp_micros() && !is_gone {
                    carried.push(event.carried(AuditEvent::new(EventId::new(id()), now, node.clone(), kind)));
                }
            }
        }
        Ok(carried)
    }

    async fn events_of_kind(&self, kind: EventKind) -> Result<Vec<StoredRow>> {
        let sql = format!("SELECT {} FROM audit_events WHERE kind = $1", columns(self.backend()));
        self.read("read the events of users and definitions", async {
            on!(self.pool(), c => sqlx::query_as(AssertSqlSafe(sql)).bind(kind.as_str()).fetch_all(c).await)
        })
        .await
    }
}
