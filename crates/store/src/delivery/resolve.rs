//! Receipts that arrive later, at any node.

use crate::command::{Command, place_of};
use crate::delivery::change::{self, Change, Head};
use crate::delivery::insert::receipt_digest;
use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::row::DeliveryRow;
use crate::tx::Tx;
use async_trait::async_trait;
use model::{
    Actor, AuditEvent, DeliveryEvent, DeliveryId, DeliveryState, ErrorKind, EventKind, NodeName, PeerText,
    Receipt, Result, Timestamp, TransferId, TransferState, transition,
};
use uuid::Uuid;

/// The answer to [`Store::resolve`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resolved {
    /// The delivery has its receipt.
    Resolved {
        /// The delivery.
        delivery: DeliveryId,
        /// Its transfer.
        transfer: TransferId,
        /// Its earlier state.
        was: DeliveryState,
        /// The transfer's final state, if it ended with this.
        transfer_ended: Option<TransferState>,
    },
    /// No delivery waits for it.
    Unmatched,
    /// The delivery already had its receipt, or has ended in another way: nothing changed.
    AlreadyResolved {
        /// The delivery.
        delivery: DeliveryId,
        /// Its transfer.
        transfer: TransferId,
        /// Its state.
        state: DeliveryState,
    },
}

impl Store {
    /// Ends the delivery that a key is bound to: `delivered` by a positive receipt, `failed` by a negative one, even
    /// if it was `delivered` before. `events` are written in each case; those without a delivery get the one that was
    /// found, with its transfer, flow and endpoint. The store adds `delivery.delivered`, `delivery.failed` or
    /// `receipt.unmatched`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn resolve(
        &self,
        key: &str,
        receipt: Receipt,
        by: &NodeName,
        events: Vec<AuditEvent>,
        now: Timestamp,
    ) -> Result<Resolved> {
        self.write(Resolve { key: key.to_owned(), receipt, by: by.clone(), events, now }).await
    }
}

struct Resolve {
    key: String,
    receipt: Receipt,
    by: NodeName,
    events: Vec<AuditEvent>,
    now: Timestamp,
}

#[async_trait]
impl Command for Resolve {
    type Answer = Resolved;

    fn place(&self) -> u128 {
        place_of(&self.key)
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Resolved, Fault> {
        // The partner chose the key; PostgreSQL refuses a NUL even in a query.
        let key = Some(&self.key).filter(|key| !key.contains('\0'));
        let found: Option<Uuid> = on!(tx, c => sqlx::query_scalar("SELECT delivery_id FROM correlations WHERE key = $1")
            .bind(key).fetch_optional(c).await)?;
        let locked = match found {
            Some(id) => change::lock(tx, DeliveryId::new(id)).await?,
            None => None,
        };
        let Some((head, row)) = locked else {
            tx.events(&self.events);
            let event = self.event(tx, EventKind::ReceiptUnmatched);
            tx.event(event);
            return Ok(Resolved::Unmatched);
        };
        let (delivery, transfer, was) = (DeliveryId::new(row.id), head.id(), row.state()?);
        for event in &self.events {
            tx.event(named_in(&head, &row, event.clone()));
        }
        let Some(state) = resolved(was, self.receipt.positive)? else {
            return Ok(Resolved::AlreadyResolved { delivery, transfer, state: was });
        };
        let refused = ErrorKind::Rejected.as_str();
        let text = PeerText::from(self.receipt.summary.as_str());
        let change = Change { receipt: Some(&self.receipt), ..Change::to(&row, state, self.now) };
        let change = if state == DeliveryState::Delivered {
            Change { lane_open: false, ..change }
        } else {
            Change {
                failures: row.failures + 1,
                error: Some((refused, text.as_str())),
                lane_open: row.lane.is_some() && !row.lane_continues,
                ..change
            }
        };
        change::write(tx, &row, &change).await?;
        change::end_attempt(tx, &row, &change).await?;
        let kind = match state {
            DeliveryState::Delivered => EventKind::DeliveryDelivered,
            _ => EventKind::DeliveryFailed,
        };
        let event = change::told(self.event(tx, kind), &row, &change, true).detail("was", was.as_str());
        tx.event(named_in(&head, &row, event));
        change::give_up(tx, &head, delivery, self.now, &self.by).await?;
        let transfer_ended = change::end_transfer(tx, &head, self.now, &self.by, &Actor::System).await?;
        Ok(Resolved::Resolved { delivery, transfer, was, transfer_ended })
    }
}

impl Resolve {
    fn event(&self, tx: &Tx<'_>, kind: EventKind) -> AuditEvent {
        tx.derived(self.now, &self.by, kind)
            .by(Actor::Peer)
            .peer_detail("key", &self.key)
            .peer_detail("receipt", &self.receipt.summary)
            .detail("receipt_kind", self.receipt.kind.as_str())
            .detail("positive", self.receipt.positive)
            .detail("receipt_digest", receipt_digest(&self.receipt))
    }
}

/// The state to which a receipt moves a delivery; `None` if it changes nothing.
fn resolved(was: DeliveryState, positive: bool) -> Result<Option<DeliveryState>, Fault> {
    use DeliveryState as S;
    Ok(match (was, positive) {
        (S::Sending | S::AwaitingReceipt, true) => Some(transition(was, DeliveryEvent::Deliver)?),
        // The attempt was given up too early; its receipt still arrived.
        (S::Pending | S::Retrying, true) => {
            Some(transition(transition(was, DeliveryEvent::Claim)?, DeliveryEvent::Deliver)?)
        }
        // It was cancelled while its receipt was awaited, but it had arrived.
        (S::Cancelled, true) => {
            let pending = transition(was, DeliveryEvent::Requeue)?;
            Some(transition(transition(pending, DeliveryEvent::Claim)?, DeliveryEvent::Deliver)?)
        }
        (S::Pending | S::Sending | S::AwaitingReceipt | S::Retrying | S::Delivered, false) => {
            Some(transition(was, DeliveryEvent::Fail)?)
        }
        (S::Delivered, true) | (S::Failed | S::Expired, _) | (S::Cancelled, false) => None,
    })
}

fn named_in(head: &Head, row: &DeliveryRow, event: AuditEvent) -> AuditEvent {
    if event.delivery.is_some() {
        return event;
    }
    let mut event = head.named_in(event).delivery(DeliveryId::new(row.id));
    event.endpoint = event.endpoint.or_else(|| Some(row.endpoint.clone()));
    event
}
