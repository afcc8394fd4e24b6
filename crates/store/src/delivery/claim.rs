//! Claiming: which node works on which delivery.

use crate::lease::NodeLease;
use crate::open::Store;
use model::{AttemptId, Claim, Delivery, Result, Timestamp, Transfer};
use serde_json::Value;
use std::collections::BTreeMap;

/// A delivery that is ours to attempt.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The delivery, now `sending`.
    pub delivery: Delivery,
    /// Its transfer, with its payload.
    pub transfer: Transfer,
    /// What every write about it must show.
    pub claim: Claim,
    /// The attempt's row.
    pub attempt: AttemptId,
    /// The transport's notes, by key.
    pub notes: BTreeMap<String, Value>,
    /// The attempt before was cut off by the end of its node: what it did is uncertain.
    pub interrupted: bool,
    /// Attempts that failed since a person last sent it on its way, or ever.
    pub failures: u32,
}

/// Which deliveries may be claimed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClaimFilter {
    /// Not those to these endpoints (offline, busy, or another node's).
    pub skip_endpoints: Vec<String>,
}

impl Store {
    /// Claims due deliveries, oldest due first, at most `limit`: none when the node's lease is not
    /// held any more. In a lane only the lowest that is not done with.
    ///
    /// # Errors
    /// The database failed.
    pub async fn claim(
        &self,
        lease: &NodeLease,
        limit: u32,
        filter: ClaimFilter,
        now: Timestamp,
    ) -> Result<Vec<Claimed>> {
        self.write(ClaimDue { lease: lease.clone(), limit, filter, now }).await
    }

    /// When the next delivery is due, a receipt overdue or a delivery expired; `None` when nothing
    /// waits for a time. May lie in the past.
    ///
    /// # Errors
    /// The database failed.
    pub async fn next_due(&self) -> Result<Option<Timestamp>> {
        Ok(None)
    }
}

struct ClaimDue {
    lease: NodeLease,
    limit: u32,
    filter: ClaimFilter,
    now: Timestamp,
}
crate::command::unfinished!(ClaimDue => Vec<Claimed>);
