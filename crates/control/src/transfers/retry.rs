//! Sending again what failed.

use super::{TransferAnswer, TransferRequest};
use crate::{Caller, Control};
use engine::FlowHistory;
use model::definition::Flow;
use model::schema::Section;
use model::{
    ByHand, Delivery, DeliveryId, Error, ErrorKind, Result, TransferAction, TransferId, is_receipts_flow,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use store::{Act, DestinationInForce, FlowInForce, Requeued};

/// A delivery that is sent again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RetriedDelivery {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The flow's name for its destination.
    pub destination: String,
    /// The endpoint that it goes to.
    pub endpoint: String,
    /// The revision whose flow it goes through.
    pub revision: i64,
    /// Why that is not the flow in force; none where it is.
    pub kept: Option<KeptRevision>,
}

/// Why a delivery that is sent again keeps the revision that it had.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptRevision {
    /// Its flow is no longer defined.
    FlowRemoved,
    /// Its flow no longer has a destination of this name and endpoint.
    DestinationRemoved,
}

impl KeptRevision {
    /// The reason in words, about a flow.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::FlowRemoved => "its flow is no longer defined",
            Self::DestinationRemoved => "its flow no longer has this destination at this endpoint",
        }
    }
}

/// What is in force, as far as a retry needs to know it.
pub(super) struct RetryInForce {
    revision: i64,
    /// The names of the endpoints.
    endpoints: BTreeSet<String>,
    /// The names of the flows.
    defined: BTreeSet<String>,
    /// The flows that were read; none for those that are not defined, the problem of those that cannot be read here.
    flows: BTreeMap<String, std::result::Result<Option<FlowInForce>, String>>,
}

impl Control {
    /// Sends again what of a transfer failed, expired or waits for its next attempt; where there is none, what was
    /// cancelled. These deliveries go through the flow in force, where that still has their destination: the one of the
    /// same name and the same endpoint. Otherwise they keep the revision that they had, and the answer says why. Each
    /// goes to the endpoint and under the file name that it had.
    ///
    /// # Errors
    /// The caller may not work on transfers; there is no such transfer; nothing of it failed; its payload was removed at the
    /// end of its retention; an endpoint that it goes to is no longer defined; its flow in force cannot be read on this
    /// machine; the database failed.
    pub async fn retry_transfer(&self, caller: &Caller, request: &TransferRequest) -> Result<TransferAnswer> {
        let act = self.act(caller, request.reason.as_deref(), None)?;
        let transfer = self.0.store.transfer(request.transfer).await?.ok_or_else(|| {
            Error::permanent(ErrorKind::NotFound, "find a transfer").with("transfer", request.transfer)
        })?;
        let mut in_force = self.retry_in_force().await?;
        self.read_flow(&mut in_force, &transfer.flow).await?;
        self.retry(transfer.id, &transfer.flow, &act, &in_force).await
    }

    pub(super) async fn retry(
        &self,
        transfer: TransferId,
        flow: &str,
        act: &Act,
        in_force: &RetryInForce,
    ) -> Result<TransferAnswer> {
        let refused =
            || Error::permanent(ErrorKind::ConfigInvalid, "retry a transfer").with("transfer", transfer);
        let deliveries = self.0.store.deliveries(transfer).await?;
        let retried = |cancelled| {
            deliveries.iter().filter(move |one| one.state.is_retried(cancelled)).collect::<Vec<&Delivery>>()
        };
        let mut again = retried(false);
        if again.is_empty() {
            again = retried(true);
        }
        // It would fail at once.
        if let Some(gone) = again.iter().find(|one| !in_force.endpoints.contains(&one.endpoint)) {
            return Err(refused().with("endpoint", &gone.endpoint).advice(
                "the endpoint is no longer defined: define it again and retry; or resubmit the transfer when it has ended, \
                 which sends the file to all destinations that its flow has now",
            ));
        }
        let through = match in_force.flows.get(flow) {
            Some(Ok(found)) => found.clone(),
            // Under the revision that it had it would be sent in a way that was corrected since.
            Some(Err(problem)) => {
                return Err(refused().with("flow", flow).caused_by(problem.clone()));
            }
            None => None,
        };
        // A receipt, and what a person sent, go through no flow.
        let kept = match &through {
            _ if is_receipts_flow(flow) || ByHand::of(flow).is_some() => None,
            Some(_) => Some(KeptRevision::DestinationRemoved),
            None => Some(KeptRevision::FlowRemoved),
        };
        let done = self.0.store.retry_transfer(transfer, act, through).await?;
        let retried = done.deliveries.into_iter().map(|one| {
            let Requeued { delivery, destination, endpoint, revision, in_force } = one;
            RetriedDelivery { delivery, destination, endpoint, revision, kept: kept.filter(|_| !in_force) }
        });
        let answer = TransferAnswer::new(transfer, TransferAction::Retry, done.acted);
        Ok(TransferAnswer { retried: retried.collect(), ..answer })
    }

    /// What is in force, without the flows.
    pub(super) async fn retry_in_force(&self) -> Result<RetryInForce> {
        let store = &self.0.store;
        let revision = store.current_revision_number().await?;
        let endpoints = store.unchanged_since(revision, Section::ENDPOINT.as_str()).await?;
        let flows = store.unchanged_since(revision, Section::FLOW.as_str()).await?;
        let (endpoints, defined) = (endpoints.into_keys().collect(), flows.into_keys().collect());
        Ok(RetryInForce { revision, endpoints, defined, flows: BTreeMap::new() })
    }

    /// Reads a flow in force, unless that was done before.
    ///
    /// # Errors
    /// The database failed.
    pub(super) async fn read_flow(&self, in_force: &mut RetryInForce, name: &str) -> Result<()> {
        if in_force.flows.contains_key(name) {
            return Ok(());
        }
        let revision = in_force.revision;
        let found = match in_force.defined.contains(name) {
            false => Ok(None),
            true => match FlowHistory::flow(self, name, revision).await {
                Ok(found) => Ok(found.map(|at| flow_in_force(&at.flow, revision))),
                Err(error) if error.kind() == ErrorKind::ConfigInvalid => Err(error.chain()),
                Err(error) => return Err(error),
            },
        };
        in_force.flows.insert(name.to_owned(), found);
        Ok(())
    }
}

fn flow_in_force(flow: &Flow, revision: i64) -> FlowInForce {
    let destinations = flow.destinations.iter().map(|destination| DestinationInForce {
        name: destination.name.clone(),
        endpoint: destination.endpoint.clone(),
        expires_after: destination.expires_after,
        lane_continues: flow.continue_after_failure,
    });
    FlowInForce { revision, destinations: destinations.collect() }
}
