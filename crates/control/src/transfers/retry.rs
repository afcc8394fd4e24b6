//! Sending again what failed.

use super::{TransferAnswer, TransferRequest};
use crate::{Caller, Control};
use model::schema::Section;
use model::{Delivery, Error, ErrorKind, Result, TransferAction, TransferId};
use std::collections::BTreeSet;
use store::Act;

impl Control {
    /// Sends again what of a transfer failed, expired or waits for its next attempt; where there is none, what was
    /// cancelled. Each delivery goes to the endpoint and under the name that it had.
    ///
    /// # Errors
    /// The caller may not work on transfers; there is no such transfer; nothing of it failed; its payload was removed at the
    /// end of its retention; an endpoint that it goes to is no longer defined; the database failed.
    pub async fn retry_transfer(&self, caller: &Caller, request: &TransferRequest) -> Result<TransferAnswer> {
        let act = self.act(caller, request.reason.as_deref(), None)?;
        let endpoints = self.defined_endpoints().await?;
        self.retry(request.transfer, &act, &endpoints).await
    }

    pub(super) async fn retry(
        &self,
        transfer: TransferId,
        act: &Act,
        endpoints: &BTreeSet<String>,
    ) -> Result<TransferAnswer> {
        let deliveries = self.0.store.deliveries(transfer).await?;
        let retried = |cancelled| {
            deliveries.iter().filter(move |one| one.state.is_retried(cancelled)).collect::<Vec<&Delivery>>()
        };
        let mut again = retried(false);
        if again.is_empty() {
            again = retried(true);
        }
        // It would fail at once.
        if let Some(gone) = again.iter().find(|one| !endpoints.contains(&one.endpoint)) {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "retry a transfer")
                .with("transfer", transfer)
                .with("endpoint", &gone.endpoint)
                .advice(
                    "the endpoint is no longer defined: define it again and retry; or resubmit the transfer, which then \
                     goes to the destinations that its flow has now",
                ));
        }
        let acted = self.0.store.retry_transfer(transfer, act).await?;
        Ok(TransferAnswer::new(transfer, TransferAction::Retry, acted))
    }

    /// The names of the endpoints in force.
    pub(super) async fn defined_endpoints(&self) -> Result<BTreeSet<String>> {
        let current = self.0.store.current_definitions().await?;
        let endpoints =
            current.definitions.into_iter().filter(|one| one.section == Section::ENDPOINT.as_str());
        Ok(endpoints.map(|one| one.name).collect())
    }
}
