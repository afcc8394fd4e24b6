//! Endpoints that are offline after failures, as the nodes put it on record.

use super::query::split;
use super::unreadable::Attempted;
use crate::Store;
use crate::either::on;
use chrono::{DateTime, TimeDelta};
use model::{EventKind, Result, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::FromRow;
use sqlx::types::Json;

/// How far back the first failure is looked for.
const LOOKED_BACK: TimeDelta = TimeDelta::days(7);

/// An endpoint that failures took offline on a node: it is not used there for some time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FailingEndpoint {
    /// The endpoint.
    pub endpoint: String,
    /// The node.
    pub node: String,
    /// Since when nothing has succeeded there; within the last seven days.
    pub since: Timestamp,
    /// Until when it is not tried again.
    pub until: Timestamp,
    /// The error of the last try.
    pub error: Option<String>,
}

#[derive(FromRow)]
struct Row {
    endpoint: String,
    node: String,
    at: Timestamp,
    detail: Json<Map<String, Value>>,
    /// When it was last online again, or set online by a person.
    back: Option<Timestamp>,
    /// When the node started last: a start forgets which endpoints failed.
    started: Option<Timestamp>,
}

impl Row {
    /// The last time from which on the endpoint was tried as if it had never failed.
    fn back(&self) -> Option<Timestamp> {
        self.back.max(self.started)
    }
}

impl Store {
    /// Endpoints that are offline after failures now, on each node, by their names.
    ///
    /// # Errors
    /// The database failed.
    pub async fn failing_endpoints(&self, now: Timestamp) -> Result<Vec<FailingEndpoint>> {
        let from = now - LOOKED_BACK;
        let rows: Vec<Attempted<Row>> = self
            .read("read which endpoints are offline", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT e.endpoint, e.node, e.at, e.detail, \
                       (SELECT max(b.at) FROM audit_events b WHERE b.endpoint = e.endpoint AND b.at >= $4 \
                          AND ((b.kind = $2 AND b.node = e.node) OR b.kind = $3)) AS back, \
                       (SELECT max(s.at) FROM audit_events s WHERE s.kind = $5 AND s.node = e.node AND s.at >= $4) AS started \
                     FROM (SELECT endpoint, node, max(at) AS at FROM audit_events \
                           WHERE kind = $1 AND endpoint IS NOT NULL AND at >= $4 GROUP BY endpoint, node) l \
                     JOIN audit_events e \
                       ON e.kind = $1 AND e.endpoint = l.endpoint AND e.node = l.node AND e.at = l.at \
                     ORDER BY e.endpoint, e.node")
                    .bind(EventKind::EndpointOffline.as_str())
                    .bind(EventKind::EndpointOnline.as_str())
                    .bind(EventKind::EndpointSetOnline.as_str())
                    .bind(from)
                    .bind(EventKind::NodeStarted.as_str())
                    .fetch_all(c).await)
            })
            .await?;
        // A line that cannot be read tells nothing here; verification names it.
        let (rows, _) = split(rows, Ok);
        let mut failing: Vec<FailingEndpoint> = Vec::new();
        for row in rows {
            let text = |key: &str| row.detail.0.get(key).and_then(Value::as_str);
            let until = text("until").and_then(|until| DateTime::parse_from_rfc3339(until).ok());
            let Some(until) = until.map(|until| until.to_utc()).filter(|until| *until > now) else {
                continue;
            };
            let is_back = row.back().is_some_and(|back| back >= row.at);
            let is_named =
                failing.last().is_some_and(|last| last.endpoint == row.endpoint && last.node == row.node);
            if is_back || is_named {
                continue;
            }
            let error = text("error").map(str::to_owned);
            let since = self.failing_since(&row, row.back().unwrap_or(from)).await?;
            let Row { endpoint, node, .. } = row;
            failing.push(FailingEndpoint { endpoint, node, since, until, error });
        }
        Ok(failing)
    }

    async fn failing_since(&self, row: &Row, after: Timestamp) -> Result<Timestamp> {
        let first: Option<Timestamp> = self
            .read("read since when an endpoint is offline", async {
                on!(self.pool(), c => sqlx::query_scalar(
                    "SELECT min(at) FROM audit_events WHERE kind = $1 AND endpoint = $2 AND node = $3 AND at > $4")
                    .bind(EventKind::EndpointOffline.as_str()).bind(&row.endpoint).bind(&row.node).bind(after)
                    .fetch_one(c).await)
            })
            .await?;
        Ok(first.unwrap_or(row.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, both, event};
    use model::AuditEvent;

    const SECOND: i64 = 1_000_000;

    /// An event about the endpoint `warehouse`, at a time in seconds.
    fn on(node: &str, seconds: i64, kind: EventKind) -> AuditEvent {
        let seen = event(0);
        AuditEvent::new(seen.id, at(seconds * SECOND), node.parse().unwrap(), kind).endpoint("warehouse")
    }

    fn started(node: &str, seconds: i64) -> AuditEvent {
        let event = on(node, seconds, EventKind::NodeStarted);
        AuditEvent { endpoint: None, ..event }
    }

    fn offline(node: &str, seconds: i64, until: i64) -> AuditEvent {
        on(node, seconds, EventKind::EndpointOffline)
            .detail("until", at(until * SECOND).to_rfc3339())
            .detail("error", format!("refused at {seconds}"))
    }

    both! {
        endpoints_are_listed_by_node_from_their_first_failure_until_they_are_back(store) {
            store.append_events(vec![
                // n1 failed twice since it was last online; n2 is online again; n3 is about to be tried again.
                offline("n1", 100, 200),
                on("n1", 300, EventKind::EndpointOnline),
                offline("n1", 700, 800),
                offline("n1", 900, 1200),
                offline("n2", 900, 1200),
                on("n2", 950, EventKind::EndpointOnline),
                offline("n3", 900, 990),
                // n4 has started since, and tries it again; n5 failed again after its start.
                offline("n4", 600, 1200),
                started("n4", 650),
                offline("n5", 100, 1200),
                started("n5", 800),
                offline("n5", 900, 1200),
            ]).await.unwrap();
            let now = at(1000 * SECOND);
            let failing = store.failing_endpoints(now).await.unwrap();
            let failing_on = |node: &str, since: i64| FailingEndpoint {
                endpoint: "warehouse".into(),
                node: node.into(),
                since: at(since * SECOND),
                until: at(1200 * SECOND),
                error: Some("refused at 900".into()),
            };
            assert_eq!(failing, [failing_on("n1", 700), failing_on("n5", 900)]);
            store.append_events(vec![on("n2", 999, EventKind::EndpointSetOnline)]).await.unwrap();
            assert_eq!(store.failing_endpoints(now).await.unwrap(), [], "set online by a person, on every node");
        }
    }
}
