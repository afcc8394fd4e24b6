//! Small pieces that the contract asks of the engine: ids, the audit log, known offers, notes.

use crate::crash;
use crate::lease::LeaseKeeper;
use crate::unstable::UnstableFiles;
use async_trait::async_trait;
use model::{AuditEvent, Claim, Error, ErrorKind, Result, Timestamp};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::{Done, Store};
use transport::{AuditLog, Clock, DeliveryLog, KnownOffers, Random, UnstableFile};
use uuid::Uuid;

/// Makes ids: version 7 UUIDs of this moment.
#[derive(Clone)]
pub(crate) struct Ids {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

impl Ids {
    pub(crate) fn next(&self) -> Uuid {
        self.random.uuid(self.clock.now())
    }
}

/// The audit trail behind the contract's trait.
pub(crate) struct StoreAudit(pub(crate) Store);

#[async_trait]
impl AuditLog for StoreAudit {
    async fn record(&self, events: Vec<AuditEvent>) -> Result<()> {
        self.0.append_events(events).await
    }
}

/// Which offers one poll of one flow knows already.
pub(crate) struct Known {
    pub(crate) store: Store,
    pub(crate) flow: String,
    pub(crate) endpoint: String,
    /// When the poll began: kept files not listed since then are gone.
    pub(crate) listing: Timestamp,
    /// Where files of which only the time moves are counted.
    pub(crate) unstable: Arc<UnstableFiles>,
    /// Whether the database could not be asked: then the poll's failure is not the source's.
    pub(crate) failed: AtomicBool,
}

impl Known {
    fn noting<T>(&self, answer: Result<T>) -> Result<T> {
        if answer.is_err() {
            self.failed.store(true, Ordering::SeqCst);
        }
        answer
    }
}

#[async_trait]
impl KnownOffers for Known {
    async fn known(&self, keys: Vec<String>) -> Result<HashSet<String>> {
        let known = self.noting(self.store.known(&keys, self.listing).await)?;
        if !known.is_empty() {
            let still_there: Vec<String> = known.iter().cloned().collect();
            self.noting(self.store.listed(&still_there, self.listing).await)?;
        }
        Ok(known)
    }

    fn unstable(&self, files: Vec<UnstableFile>) {
        for file in files {
            self.unstable.saw(&self.flow, &self.endpoint, file, self.listing);
        }
    }

    async fn listing_complete(&self) -> Result<()> {
        self.noting(self.store.forget_unlisted(&self.flow, &self.endpoint, self.listing).await).map(drop)
    }
}

/// Notes and correlations of one claim.
pub(crate) struct ClaimLog {
    pub(crate) store: Store,
    pub(crate) lease: Arc<LeaseKeeper>,
    pub(crate) claim: Claim,
    /// Whether the database did not take something: then the attempt's failure is not the endpoint's.
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
        Done::ClaimLost => Err(Error::transient(ErrorKind::ClaimLost, "go on with this delivery")
            .with("delivery", claim.delivery)
            .with("attempt", claim.attempt)
            .advice("another node holds it now; nothing needs to be done")),
    }
}
