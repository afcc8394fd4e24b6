//! Deliveries whose time has run out.

use crate::context::Context;
use crate::deliver::conclude::{Ended, conclude, overdue_attempt};
use crate::maintenance::repeat::{BATCH, Maintenance};
use async_trait::async_trait;
use model::definition::RetryPolicy;
use model::{Error, ErrorKind, Result, Step};
use std::sync::Arc;
use std::time::Duration;
use store::ExpiredDelivery;

/// Ends deliveries that wait for a receipt that did not come, and deliveries that have expired.
pub(crate) struct Deadlines(pub(crate) Arc<Context>);

#[async_trait]
impl Maintenance for Deadlines {
    fn name(&self) -> &'static str {
        "deadlines"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn run(&self) -> Result<()> {
        let context = &self.0;
        for waiting in context.store.overdue_receipts(context.now(), BATCH).await? {
            let revision = waiting.delivery.revision_of(&waiting.transfer);
            let flow = match context.flow_at(&waiting.transfer.flow, revision).await {
                Ok(flow) => Some(flow),
                Err(unread) if unread.kind() == ErrorKind::ConfigInvalid => None,
                // While the database is unreachable, the number of repetitions is unknown.
                Err(away) => return Err(away),
            };
            let policy = flow
                .as_ref()
                .map_or_else(RetryPolicy::default, |at| at.retry_policy(&waiting.delivery.destination));
            let advice = match policy.is_last(waiting.failures.saturating_add(1)) {
                true => "ask the partner whether the file arrived; it is not sent again by itself",
                false => "ask the partner whether the file arrived; it is sent again with the same identity",
            };
            let error = Error::ambiguous(ErrorKind::Timeout, "get the receipt in time")
                .with("endpoint", &waiting.delivery.endpoint)
                .with("attempt", waiting.claim.attempt)
                .at_step(Step::Receipt)
                .advice(advice);
            conclude(context, &overdue_attempt(waiting), flow.as_ref(), Ended::failed(error)).await;
        }
        for expired in context.store.expire_due(&context.settings.node, context.now(), BATCH).await? {
            let ExpiredDelivery { delivery, transfer, flow, endpoint } = expired;
            tracing::error!(%flow, %endpoint, %transfer, %delivery, "a delivery expired");
        }
        Ok(())
    }
}
