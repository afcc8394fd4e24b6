//! Notes and correlations of one claim.

use crate::crash;
use crate::node::lease::NodeLeaseKeeper;
use async_trait::async_trait;
use model::{Claim, Error, ErrorKind, Result};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::{Done, Store};
use transport::DeliveryLog;

/// Notes and correlations of one claim.
pub(crate) struct ClaimLog {
    pub(crate) store: Store,
    pub(crate) lease: Arc<NodeLeaseKeeper>,
    pub(crate) claim: Claim,
    /// Whether the database failed to store something: then the failure of the attempt is not the endpoint's.
    pub(crate) failed: Arc<AtomicBool>,
}

impl ClaimLog {
    fn noting(&self, answer: Result<Done>) -> Result<Done> {
        if answer.is_err() {
            self.failed.store(true, Ordering::SeqCst);
        }
        answer
    }
}

#[async_trait]
impl DeliveryLog for ClaimLog {
    async fn note(&self, key: &str, value: Value) -> Result<()> {
        crash::point("deliver.noting");
        let answer = self.noting(self.store.note(&self.claim, key, value).await)?;
        crash::point("deliver.noted");
        held(answer, &self.claim)
    }

    async fn correlate(&self, key: &str) -> Result<()> {
        let answer = self.noting(self.store.correlate(&self.claim, key).await)?;
        held(answer, &self.claim)
    }

    fn may_act(&self) -> Result<()> {
        crash::point("deliver.before_act");
        self.lease.may_act(self.claim.epoch)
    }
}

fn held(answer: Done, claim: &Claim) -> Result<()> {
    match answer {
        Done::Done => Ok(()),
        Done::ClaimLost => Err(Error::transient(ErrorKind::ClaimLost, "continue this delivery")
            .with("delivery", claim.delivery)
            .with("attempt", claim.attempt)
            .advice("another node holds it now; nothing needs to be done")),
    }
}
