//! Copies of the last events about users, revisions of the definitions, paused flows, endpoints set offline and known
//! hosts, which are kept longer than their events.
//!
//! Their rows stay when the month of their last change is removed. Before that, the event of that change is
//! copied into a new event, so that there is always an event to compare a row with. Without it, a forged row
//! could not be distinguished from an old one.

use super::{EventColumns, StoredRow, columns};
use crate::Store;
use crate::delivery::precise;
use crate::either::on;
use crate::seal::Bound;
use chrono::DateTime;
use model::{AuditEvent, EventId, EventKind, NodeName, Result, Timestamp};
use serde_json::Value;
use sqlx::AssertSqlSafe;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Kinds of events about the same things: of each thing the last event is carried.
const KINDS: [&[EventKind]; 5] = [
    &[EventKind::UserChanged],
    &[EventKind::DefinitionsApplied],
    &[EventKind::FlowPaused, EventKind::FlowResumed],
    &[EventKind::EndpointSetOffline, EventKind::EndpointSetOnline],
    &[EventKind::KnownHostAdded, EventKind::KnownHostRemoved],
];

/// The origin of the carried event: its id, its position in the trail, its time, and its actor.
const EVENT: &str = "first_event";
const POSITION: &str = "first_position";
const AT: &str = "first_at";
const ACTOR: &str = "first_actor";

impl EventColumns {
    fn first(&self, key: &str) -> Option<&str> {
        self.detail.get(key)?.as_str()
    }

    /// When the event happened, in microseconds since 1970: its own time, or that of the event that it carries over.
    pub(crate) fn happened_at(&self) -> i64 {
        let first = self.first(AT).and_then(|at| DateTime::parse_from_rfc3339(at).ok());
        first.map_or(self.at, |at| at.timestamp_micros())
    }

    /// The actor of the event.
    pub(crate) fn done_by(&self) -> &str {
        self.first(ACTOR).unwrap_or(&self.actor)
    }

    fn first_event(&self) -> Uuid {
        self.first(EVENT).and_then(|id| id.parse().ok()).unwrap_or(self.id)
    }

    fn first_position(&self, bound: Bound) -> i64 {
        self.detail.get(POSITION).and_then(Value::as_i64).unwrap_or(bound.position)
    }

    /// Whether the event says that its object was removed: a user, a suspension, or a known host.
    pub(crate) fn is_removal(&self) -> bool {
        let ends = [EventKind::FlowResumed, EventKind::EndpointSetOnline, EventKind::KnownHostRemoved];
        self.detail.get("removed") == Some(&Value::Bool(true))
            || ends.iter().any(|kind| kind.as_str() == self.kind)
    }

    /// The user, revision, flow, endpoint or known host of the event.
    fn object(&self) -> Option<String> {
        match EventKind::parse(&self.kind)? {
            EventKind::FlowPaused | EventKind::FlowResumed => self.flow.clone(),
            EventKind::EndpointSetOffline | EventKind::EndpointSetOnline => self.endpoint.clone(),
            EventKind::KnownHostAdded | EventKind::KnownHostRemoved => {
                self.detail.get("known_host").map(Value::to_string)
            }
            _ => self.detail.get("user").or_else(|| self.detail.get("revision")).map(Value::to_string),
        }
    }

    fn carried(self, bound: Bound, carrier: AuditEvent) -> AuditEvent {
        let at = precise(DateTime::from_timestamp_micros(self.happened_at()).unwrap_or_default());
        let from = [
            (EVENT, Value::from(self.first_event().to_string())),
            (POSITION, self.first_position(bound).into()),
            (AT, at.into()),
            (ACTOR, self.done_by().into()),
        ];
        let detail = self.detail.as_object().cloned().unwrap_or_default();
        from.into_iter().fold(
            AuditEvent { detail, flow: self.flow, endpoint: self.endpoint, ..carrier },
            |event, (key, value)| event.detail(key, value),
        )
    }
}

/// From the events of one object, those that may be the last: the last by time and the last by position, because the
/// clocks of two nodes may differ, and transactions are not always numbered in the order of their commits. Of an
/// event and its carried copies, the newest counts. The result has one or two events, the last written one at the
/// end; it is empty if there are none.
pub(crate) fn last_events<T>(events: Vec<T>, of: impl Fn(&T) -> (Bound, &EventColumns)) -> Vec<T> {
    let time = |event: &T| {
        let (bound, event) = of(event);
        (event.happened_at(), event.first_position(bound), event.first_event(), bound)
    };
    let place = |event: &T| {
        let (bound, event) = of(event);
        (event.first_position(bound), event.happened_at(), event.first_event(), bound)
    };
    let (by_time, by_place) = (events.iter().map(time).max(), events.iter().map(place).max());
    let mut last: Vec<T> = events
        .into_iter()
        .filter(|event| Some(time(event)) == by_time || Some(place(event)) == by_place)
        .collect();
    last.sort_by_key(place);
    last
}

impl Store {
    /// Creates events that carry over the last events about users, revisions and suspensions of a month that ends at
    /// `end`.
    pub(super) async fn last_events_to_carry(
        &self,
        end: Timestamp,
        now: Timestamp,
        node: &NodeName,
        id: &(impl Fn() -> Uuid + Send + Sync),
    ) -> Result<Vec<AuditEvent>> {
        let mut carried = vec![];
        for kinds in KINDS {
            let mut told: BTreeMap<String, Vec<(Bound, EventColumns)>> = BTreeMap::new();
            for kind in kinds {
                for row in self.events_of_kind(*kind).await? {
                    let Some(event) = row.columns else { continue };
                    let Some(object) = event.object() else { continue };
                    told.entry(object).or_default().push((row.bound, event));
                }
            }
            for events in told.into_values() {
                let last = last_events(events, |(bound, event)| (*bound, event));
                if last.iter().all(|(_, event)| event.is_removal()) {
                    continue;
                }
                for (bound, event) in last {
                    let kind = EventKind::parse(&event.kind).filter(|_| event.at < end.timestamp_micros());
                    if let Some(kind) = kind {
                        let carrier = AuditEvent::new(EventId::new(id()), now, node.clone(), kind);
                        carried.push(event.carried(bound, carrier));
                    }
                }
            }
        }
        Ok(carried)
    }

    async fn events_of_kind(&self, kind: EventKind) -> Result<Vec<StoredRow>> {
        let sql = format!("SELECT {} FROM audit_events WHERE kind = $1", columns(self.backend()));
        self.read("read the events of users, definitions and suspensions", async {
            on!(self.pool(), c => sqlx::query_as(AssertSqlSafe(sql)).bind(kind.as_str()).fetch_all(c).await)
        })
        .await
    }
}
