//! Leases: which node is alive, and which node polls which source.

use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::fence::{fence, release_claims};
use crate::open::Store;
use crate::row::later;
use crate::tx::Tx;
use crate::wake::Topic;
use async_trait::async_trait;
use model::{NodeName, Result, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// The prefix of the name of a flow's source; the flow's name follows.
pub const FLOW_SOURCE: &str = "flow/";

/// A node's right to write. One renewal covers all its claims.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NodeLease {
    /// The node.
    pub node: NodeName,
    /// The epoch: increases each time the lease is taken.
    pub epoch: i64,
    /// How long a renewal is valid.
    pub lease: Duration,
}

/// The result of taking a lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Acquired {
    /// It is taken.
    Held(NodeLease),
    /// Another installation's node with this name is alive; its lease ends then, unless it renews it.
    HeldUntil(Timestamp),
}

/// The result of a renewal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Renewal {
    /// Renewed.
    Renewed,
    /// Another process has taken it, or it was fenced: stop all work under it.
    Lost,
}

impl Store {
    /// Takes the lease of a node's name, with `epoch` = the previous + 1. `instance` is this installation's id
    /// ([`crate::load_or_create_instance`]). A running lease with the same instance belongs to an earlier process,
    /// which has ended, or to the caller itself; it is taken over, with all its claims. Another installation's lease
    /// is not.
    ///
    /// # Errors
    /// The database failed.
    pub async fn acquire_node(
        &self,
        node: &NodeName,
        lease: Duration,
        now: Timestamp,
        instance: Uuid,
    ) -> Result<Acquired> {
        self.write(AcquireNode { node: node.clone(), lease, now, instance }).await
    }

    /// Extends a lease by its term.
    ///
    /// # Errors
    /// The database failed.
    pub async fn renew_node(&self, lease: &NodeLease, now: Timestamp) -> Result<Renewal> {
        self.write(RenewNode { lease: lease.clone(), now }).await
    }

    /// Releases a lease, with all claims under it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn release_node(&self, lease: &NodeLease, now: Timestamp) -> Result<()> {
        self.write(ReleaseNode { lease: lease.clone(), now }).await
    }

    /// Takes the right to poll a source: true if it is free, already held, or its holder is dead. While another node that is
    /// preferred for it is alive, the right is given up, and not taken; unless that node refused the revision (`preferred`
    /// tells since which one the flow is as it is) and so does not poll it as it is now.
    ///
    /// # Errors
    /// The database failed.
    pub async fn acquire_source(
        &self,
        lease: &NodeLease,
        source: &str,
        preferred: Option<(&NodeName, i64)>,
        now: Timestamp,
    ) -> Result<bool> {
        let preferred = preferred.filter(|(node, _)| **node != lease.node);
        let preferred = preferred.map(|(node, since)| (node.clone(), since));
        self.write(AcquireSource { lease: lease.clone(), source: source.to_owned(), preferred, now }).await
    }

    /// Why a living node has no revision from this one on in force, if it refused one; it goes on with an older one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn refusal_of(&self, node: &NodeName, revision: i64, now: Timestamp) -> Result<Option<String>> {
        self.read("read whether a node has the revision in force", async {
            on!(self.pool(), c => sqlx::query_scalar(
                "SELECT r.problem FROM node_revisions r JOIN leases l ON l.node = r.node \
                 WHERE r.node = $1 AND r.problem IS NOT NULL AND r.revision < $2 AND l.held AND l.until_at > $3")
                .bind(node.as_str()).bind(revision).bind(now).fetch_optional(c).await)
        })
        .await
    }

    /// The flows whose sources are polled, each with the living node that polls it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn polled_sources(&self, now: Timestamp) -> Result<BTreeMap<String, String>> {
        let rows: Vec<(String, String)> = self
            .read("read which node polls which source", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT s.source, s.node FROM source_leases s JOIN leases l ON l.node = s.node AND l.epoch = s.epoch \
                     WHERE l.held AND l.until_at > $1")
                    .bind(now).fetch_all(c).await)
            })
            .await?;
        let flow = |source: String| source.strip_prefix(FLOW_SOURCE).map(str::to_owned);
        Ok(rows.into_iter().filter_map(|(source, node)| Some((flow(source)?, node))).collect())
    }

    /// Releases the right to poll a source.
    ///
    /// # Errors
    /// The database failed.
    pub async fn release_source(&self, lease: &NodeLease, source: &str) -> Result<()> {
        self.write(ReleaseSource { lease: lease.clone(), source: source.to_owned() }).await
    }
}

impl Tx<'_> {
    /// Whether a lease is held now. It stays so until the commit, because taking it waits for the commit.
    ///
    /// The lock is PostgreSQL's weakest: renewing does not wait for it, only taking the lease does, so that a busy
    /// node never delays its own renewal.
    pub(crate) async fn holds(&mut self, lease: &NodeLease, now: Timestamp) -> Result<bool, Fault> {
        if self.held.contains(lease) {
            return Ok(true);
        }
        let time = self.lease_time(now);
        let sql = self.pick(
            "SELECT epoch FROM leases WHERE node = $1 AND epoch = $2 AND held AND until_at > $3",
            "SELECT epoch FROM leases WHERE node = $1 AND epoch = $2 AND held AND until_at > $3 FOR KEY SHARE",
        );
        let found: Option<i64> = on!(self, c => {
            sqlx::query_scalar(sql).bind(lease.node.as_str()).bind(lease.epoch).bind(time).fetch_optional(c).await
        })?;
        if found.is_some() {
            self.held.push(lease.clone());
        }
        Ok(found.is_some())
    }

    /// Whether a source is polled under a lease; locked until the commit.
    pub(crate) async fn holds_source(&mut self, lease: &NodeLease, source: &str) -> Result<bool, Fault> {
        let sql = self.pick(
            "SELECT epoch FROM source_leases WHERE source = $1 AND node = $2 AND epoch = $3",
            "SELECT epoch FROM source_leases WHERE source = $1 AND node = $2 AND epoch = $3 FOR SHARE",
        );
        let found: Option<i64> = on!(self, c => {
            sqlx::query_scalar(sql).bind(source).bind(lease.node.as_str()).bind(lease.epoch).fetch_optional(c).await
        })?;
        Ok(found.is_some())
    }
}

struct AcquireNode {
    node: NodeName,
    lease: Duration,
    now: Timestamp,
    instance: Uuid,
}

#[async_trait]
impl Command for AcquireNode {
    type Answer = Acquired;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Acquired, Fault> {
        let time = tx.lease_time(self.now);
        let node = self.node.as_str();
        on!(tx, c => sqlx::query(
            "INSERT INTO leases (node, instance, epoch, held, acquired_at, until_at) \
             VALUES ($1, $3, 0, false, $2, $2) ON CONFLICT (node) DO NOTHING")
            .bind(node).bind(time).bind(self.instance).execute(c).await.map(|_| ()))?;
        let sql = tx.pick(
            "SELECT instance, epoch, held, until_at FROM leases WHERE node = $1",
            "SELECT instance, epoch, held, until_at FROM leases WHERE node = $1 FOR UPDATE",
        );
        let (instance, epoch, held, until): (Uuid, i64, bool, Timestamp) =
            on!(tx, c => sqlx::query_as(sql).bind(node).fetch_one(c).await)?;
        if held && until > time && instance != self.instance {
            return Ok(Acquired::HeldUntil(until));
        }
        if held {
            fence(tx, &self.node, epoch, &self.node, self.now).await?;
        }
        let lease = NodeLease { node: self.node.clone(), epoch: epoch + 1, lease: self.lease };
        on!(tx, c => sqlx::query(
            "UPDATE leases SET epoch = $2, held = true, acquired_at = $3, until_at = $4, instance = $5 WHERE node = $1")
            .bind(node).bind(lease.epoch).bind(time).bind(later(time, self.lease)).bind(self.instance)
            .execute(c).await.map(|_| ()))?;
        Ok(Acquired::Held(lease))
    }
}

struct RenewNode {
    lease: NodeLease,
    now: Timestamp,
}

#[async_trait]
impl Command for RenewNode {
    type Answer = Renewal;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Renewal, Fault> {
        let until = later(tx.lease_time(self.now), self.lease.lease);
        let renewed = on!(tx, c => sqlx::query(
            "UPDATE leases SET until_at = $3 WHERE node = $1 AND epoch = $2 AND held")
            .bind(self.lease.node.as_str()).bind(self.lease.epoch).bind(until)
            .execute(c).await.map(|done| done.rows_affected()))?;
        Ok(if renewed == 1 { Renewal::Renewed } else { Renewal::Lost })
    }
}

struct ReleaseNode {
    lease: NodeLease,
    now: Timestamp,
}

#[async_trait]
impl Command for ReleaseNode {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        let NodeLease { node, epoch, .. } = &self.lease;
        let sql = tx.pick(
            "SELECT epoch FROM leases WHERE node = $1 AND epoch = $2 AND held",
            "SELECT epoch FROM leases WHERE node = $1 AND epoch = $2 AND held FOR UPDATE",
        );
        let ours: Option<i64> =
            on!(tx, c => sqlx::query_scalar(sql).bind(node.as_str()).bind(epoch).fetch_optional(c).await)?;
        if ours.is_some() {
            release_claims(tx, node, *epoch, node, self.now).await?;
            on!(tx, c => sqlx::query("UPDATE leases SET held = false WHERE node = $1")
                .bind(node.as_str()).execute(c).await.map(|_| ()))?;
        }
        Ok(())
    }
}

struct AcquireSource {
    lease: NodeLease,
    source: String,
    /// Another node that is preferred, and the revision that it must have in force.
    preferred: Option<(NodeName, i64)>,
    now: Timestamp,
}

#[async_trait]
impl Command for AcquireSource {
    type Answer = bool;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        if !tx.holds(&self.lease, self.now).await? {
            return Ok(false);
        }
        let time = tx.lease_time(self.now);
        if let Some((preferred, since)) = &self.preferred {
            // One that has not looked at the revision yet will; one that refused it goes on without.
            let polls: bool = on!(tx, c => sqlx::query_scalar(
                "SELECT EXISTS (SELECT 1 FROM leases WHERE node = $1 AND held AND until_at > $2) \
                 AND NOT EXISTS (SELECT 1 FROM node_revisions \
                   WHERE node = $1 AND problem IS NOT NULL AND revision < $3)")
                .bind(preferred.as_str()).bind(time).bind(since).fetch_one(c).await)?;
            if polls {
                if release_source(tx, &self.lease, &self.source).await? {
                    give_back_runs(tx, &self.source, &self.lease).await?;
                }
                return Ok(false);
            }
        }
        let holder: Option<(String, i64, bool)> = on!(tx, c => sqlx::query_as(
            "SELECT s.node, s.epoch, EXISTS (SELECT 1 FROM leases l WHERE l.node = s.node \
               AND l.epoch = s.epoch AND l.held AND l.until_at > $2) FROM source_leases s WHERE s.source = $1")
            .bind(&self.source).bind(time).fetch_optional(c).await)?;
        let (own, epoch) = (self.lease.node.as_str(), self.lease.epoch);
        let taken = match holder {
            Some((node, of, _)) if node == own && of == epoch => return Ok(true),
            Some((_, _, true)) => return Ok(false),
            Some((node, of, false)) => {
                // What a frozen node was about to record with this source may still be committed, until the server
                // ends its transaction: not waited for, as this node has other work.
                let sql = tx.pick(
                    "UPDATE source_leases SET node = $2, epoch = $3 WHERE source = $1 AND node = $4 AND epoch = $5",
                    "UPDATE source_leases SET node = $2, epoch = $3 WHERE source = (SELECT source FROM source_leases \
                       WHERE source = $1 AND node = $4 AND epoch = $5 FOR NO KEY UPDATE SKIP LOCKED)",
                );
                on!(tx, c => sqlx::query(sql).bind(&self.source).bind(own).bind(epoch).bind(node).bind(of)
                    .execute(c).await.map(|done| done.rows_affected()))?
            }
            None => on!(tx, c => sqlx::query(
                "INSERT INTO source_leases (source, node, epoch) VALUES ($1, $2, $3) ON CONFLICT (source) DO NOTHING")
                .bind(&self.source).bind(own).bind(epoch).execute(c).await.map(|done| done.rows_affected()))?,
        };
        Ok(taken == 1)
    }
}

struct ReleaseSource {
    lease: NodeLease,
    source: String,
}

#[async_trait]
impl Command for ReleaseSource {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        release_source(tx, &self.lease, &self.source).await?;
        give_back_runs(tx, &self.source, &self.lease).await
    }
}

/// False if it was not held.
async fn release_source(tx: &mut Tx<'_>, lease: &NodeLease, source: &str) -> Result<bool, Fault> {
    let released = on!(tx, c => sqlx::query("DELETE FROM source_leases WHERE source = $1 AND node = $2 AND epoch = $3")
        .bind(source).bind(lease.node.as_str()).bind(lease.epoch)
        .execute(c).await.map(|done| done.rows_affected()))?;
    Ok(released > 0)
}

/// Releases runs of a flow that were started under a lease and not ended (`flow_runs`): another poller may start
/// them.
async fn give_back_runs(tx: &mut Tx<'_>, source: &str, lease: &NodeLease) -> Result<(), Fault> {
    let Some(flow) = source.strip_prefix(FLOW_SOURCE) else { return Ok(()) };
    let given = on!(tx, c => sqlx::query(
        "UPDATE flow_runs SET node = NULL, epoch = NULL, started_at = NULL \
         WHERE flow = $1 AND node = $2 AND epoch = $3 AND ended_at IS NULL")
        .bind(flow).bind(lease.node.as_str()).bind(lease.epoch)
        .execute(c).await.map(|done| done.rows_affected()))?;
    if given > 0 {
        tx.wake(Topic::Deliveries);
    }
    Ok(())
}
