//! Maintenance of the audit trail, run by the engine.

use crate::process::ClockAndRandom;
use crate::seal_copies::SealCopies;
use async_trait::async_trait;
use engine::Maintenance;
use model::Result;
use std::sync::Arc;
use std::time::Duration;
use store::{Sealer, Store};

/// Seals what was written since the last seal.
pub(crate) struct Sealing {
    pub(crate) store: Store,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) ambient: ClockAndRandom,
    pub(crate) every: Duration,
    pub(crate) copies: Arc<SealCopies>,
}

#[async_trait]
impl Maintenance for Sealing {
    fn name(&self) -> &'static str {
        "audit seals"
    }

    fn every(&self) -> Duration {
        self.every
    }

    async fn run(&self) -> Result<()> {
        self.sealer.seal(&self.store, self.ambient.clock.now()).await?;
        self.copies.send(&self.store).await
    }
}

/// Makes the months' partitions, and removes months past their retention.
pub(crate) struct Months {
    pub(crate) store: Store,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) ambient: ClockAndRandom,
    pub(crate) node: model::NodeName,
    /// The number of months that events are kept; `None` for no limit.
    pub(crate) retention: Option<u32>,
}

#[async_trait]
impl Maintenance for Months {
    fn name(&self) -> &'static str {
        "audit months"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(3600)
    }

    async fn run(&self) -> Result<()> {
        let now = self.ambient.clock.now();
        self.store.ensure_partitions(now).await?;
        // Whether the trail is in order is known once it was looked at, which after a start nobody may have done.
        self.sealer.seal(&self.store, now).await?;
        if !self.sealer.state().good {
            // What was altered, and what it was altered from, is evidence.
            return Ok(());
        }
        if let Some(months) = self.retention
            && let Some(before) = now.checked_sub_months(chrono::Months::new(months))
        {
            let id = self.ambient.id_fn();
            let key = self.sealer.key();
            for month in self.store.remove_audit_before(before, now, &self.node, key, || id()).await? {
                match month.kept {
                    None => tracing::info!(
                        month = month.month,
                        events = month.events,
                        "a month of audit events was removed at the end of its retention"
                    ),
                    Some(reason) => tracing::info!(
                        month = month.month,
                        ?reason,
                        "a month of audit events cannot be removed yet"
                    ),
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
