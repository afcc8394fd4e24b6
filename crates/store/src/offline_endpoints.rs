//! Endpoints that failures took offline, on each node: what all lists show, and what a node knows after a restart.

use crate::Store;
use crate::command::Command;
use crate::either::on;
use crate::failing_endpoint::FailingEndpoint;
use crate::fault::Fault;
use crate::row::{signed, unsigned};
use crate::tx::Tx;
use async_trait::async_trait;
use model::{AuditEvent, NodeName, Result, Timestamp};
use sqlx::FromRow;

/// Endpoints that went offline on a node: one failed, and those that lead to the same account with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WentOffline {
    /// The endpoints.
    pub endpoints: Vec<String>,
    /// The node.
    pub node: NodeName,
    /// When.
    pub at: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Failures in a row.
    pub failures: u32,
    /// The revision of the definitions that is in force on the node.
    pub revision: i64,
    /// What failed, as people read it.
    pub error: Option<String>,
}

#[derive(FromRow)]
struct Row {
    endpoint: String,
    node: String,
    since_at: Timestamp,
    until_at: Timestamp,
    failures: i64,
    revision: i64,
    error: Option<String>,
}

impl Row {
    fn read(self) -> Result<FailingEndpoint> {
        Ok(FailingEndpoint {
            endpoint: self.endpoint,
            node: self.node,
            since: self.since_at,
            until: self.until_at,
            failures: unsigned(self.failures)?,
            revision: self.revision,
            error: self.error,
        })
    }
}

impl Store {
    /// Records that endpoints went offline, with the event.
    ///
    /// # Errors
    /// The database failed.
    pub async fn endpoints_went_offline(&self, offline: WentOffline, event: AuditEvent) -> Result<()> {
        self.write(Offline { offline, event }).await
    }

    /// Records that endpoints are online again on a node, with the event.
    ///
    /// # Errors
    /// The database failed.
    pub async fn endpoints_came_online(
        &self,
        endpoints: Vec<String>,
        node: &NodeName,
        event: AuditEvent,
    ) -> Result<()> {
        self.write(Again { endpoints, node: node.clone(), change: Change::Online(Box::new(event)) }).await
    }

    /// Records that a node tries endpoints again before their time is over, because something was changed.
    ///
    /// # Errors
    /// The database failed.
    pub async fn endpoints_tried_again(
        &self,
        endpoints: Vec<String>,
        node: &NodeName,
        now: Timestamp,
    ) -> Result<()> {
        self.write(Again { endpoints, node: node.clone(), change: Change::Tried(now) }).await
    }

    /// Endpoints that are offline after failures now, on each node, by their names; the first ten thousand.
    ///
    /// # Errors
    /// The database failed.
    pub async fn failing_endpoints(&self, now: Timestamp) -> Result<Vec<FailingEndpoint>> {
        let rows: Vec<Row> = self
            .read("read which endpoints are offline", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT * FROM offline_endpoints WHERE until_at > $1 ORDER BY endpoint, node LIMIT 10000")
                    .bind(now).fetch_all(c).await)
            })
            .await?;
        rows.into_iter().map(Row::read).collect()
    }

    /// The endpoints of a node that did not come back online yet, also those that are to be tried again.
    ///
    /// # Errors
    /// The database failed.
    pub async fn failing_endpoints_of(&self, node: &NodeName) -> Result<Vec<FailingEndpoint>> {
        let rows: Vec<Row> = self
            .read("read which endpoints were offline", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT * FROM offline_endpoints WHERE node = $1 ORDER BY endpoint")
                    .bind(node.as_str()).fetch_all(c).await)
            })
            .await?;
        rows.into_iter().map(Row::read).collect()
    }
}

struct Offline {
    offline: WentOffline,
    event: AuditEvent,
}

#[async_trait]
impl Command for Offline {
    type Answer = ();

    /// One after the other: the last of them counts.
    fn place(&self) -> u128 {
        u128::MAX
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        let WentOffline { endpoints, node, at, until, failures, revision, error } = &self.offline;
        for endpoint in endpoints {
            on!(tx, c => sqlx::query(
                "INSERT INTO offline_endpoints (endpoint, node, since_at, until_at, failures, revision, error) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) \
                 ON CONFLICT (endpoint, node) DO UPDATE SET until_at = excluded.until_at, failures = excluded.failures, \
                   revision = excluded.revision, error = excluded.error")
                .bind(endpoint).bind(node.as_str()).bind(*at).bind(*until).bind(signed(u64::from(*failures))?)
                .bind(*revision).bind(error)
                .execute(c).await.map(|_| ()))?;
        }
        tx.events(std::slice::from_ref(&self.event));
        Ok(())
    }
}

/// A node uses endpoints again.
struct Again {
    endpoints: Vec<String>,
    node: NodeName,
    change: Change,
}

enum Change {
    /// They are online.
    Online(Box<AuditEvent>),
    /// They are tried from this moment on, whatever is known of them.
    Tried(Timestamp),
}

#[async_trait]
impl Command for Again {
    type Answer = ();

    /// One after the other: the last of them counts.
    fn place(&self) -> u128 {
        u128::MAX
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        let node = self.node.as_str();
        for endpoint in &self.endpoints {
            match &self.change {
                Change::Online(_) => on!(tx, c => sqlx::query(
                    "DELETE FROM offline_endpoints WHERE endpoint = $1 AND node = $2")
                    .bind(endpoint).bind(node).execute(c).await.map(|_| ()))?,
                Change::Tried(now) => on!(tx, c => sqlx::query(
                    "UPDATE offline_endpoints SET until_at = $3 WHERE endpoint = $1 AND node = $2 AND until_at > $3")
                    .bind(endpoint).bind(node).bind(*now).execute(c).await.map(|_| ()))?,
            }
        }
        if let Change::Online(event) = &self.change {
            tx.events(std::slice::from_ref(&**event));
        }
        Ok(())
    }
}

/// A person set an endpoint online: every node tries it again, also one that does not run now.
pub(crate) async fn set_online(tx: &mut Tx<'_>, endpoint: &str, now: Timestamp) -> Result<(), Fault> {
    on!(tx, c => sqlx::query(
        "UPDATE offline_endpoints SET until_at = $2 WHERE endpoint = $1 AND until_at > $2")
        .bind(endpoint).bind(now).execute(c).await.map(|_| ()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EndSuspension;
    use crate::testing::{at, both, event};
    use model::{Actor, EventKind, SuspensionKind};

    const SECOND: i64 = 1_000_000;

    fn offline(node: &str, seconds: i64, until: i64) -> WentOffline {
        WentOffline {
            endpoints: vec!["warehouse".into(), "beside-it".into()],
            node: node.parse().unwrap(),
            at: at(seconds * SECOND),
            until: at(until * SECOND),
            failures: 5,
            revision: 7,
            error: Some(format!("refused at {seconds}")),
        }
    }

    both! {
        endpoints_are_listed_by_node_from_their_first_failure_until_they_are_back(store) {
            let told = |kind| AuditEvent { kind, ..event(0) };
            for at in [offline("n1", 700, 800), offline("n1", 900, 1200), offline("n2", 900, 1200), offline("n3", 900, 990)] {
                store.endpoints_went_offline(at, told(EventKind::EndpointOffline)).await.unwrap();
            }
            let n2 = "n2".parse().unwrap();
            let both = vec!["warehouse".to_owned(), "beside-it".to_owned()];
            store.endpoints_came_online(both.clone(), &n2, told(EventKind::EndpointOnline)).await.unwrap();
            let now = at(1000 * SECOND);
            let failing = store.failing_endpoints(now).await.unwrap();
            let expected = |endpoint: &str| FailingEndpoint {
                endpoint: endpoint.into(),
                node: "n1".into(),
                since: at(700 * SECOND),
                until: at(1200 * SECOND),
                failures: 5,
                revision: 7,
                error: Some("refused at 900".into()),
            };
            assert_eq!(failing, [expected("beside-it"), expected("warehouse")]);
            // The one whose time is over is still known to have failed.
            assert_eq!(store.failing_endpoints_of(&"n3".parse().unwrap()).await.unwrap().len(), 2);
            assert!(store.failing_endpoints_of(&n2).await.unwrap().is_empty());
            let n1 = "n1".parse().unwrap();
            store.endpoints_tried_again(vec!["beside-it".into()], &n1, now).await.unwrap();
            assert_eq!(store.failing_endpoints(now).await.unwrap(), [expected("warehouse")]);
            let online = EndSuspension {
                kind: SuspensionKind::Endpoint,
                name: "warehouse".into(),
                by: Actor::System,
                reason: None,
                at: now,
                must_be_in_force: false,
                events: Vec::new(),
            };
            store.end_suspension(online).await.unwrap();
            assert_eq!(store.failing_endpoints(now).await.unwrap(), []);
            assert_eq!(store.failing_endpoints_of(&n1).await.unwrap().len(), 2);
        }
    }
}
