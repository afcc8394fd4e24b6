//! Receipts that arrive later, at any node.

use crate::command::{Command, place_of};
use crate::delivery::Failure;
use crate::delivery::change::{self, Change, Head};
use crate::delivery::evidence::NewEvidence;
use crate::delivery::failure::CONTRADICTED_ATTEMPT;
use crate::delivery::insert::receipt_digest;
use crate::delivery::note::write_note;
use crate::delivery::receipt_notes::{still_holds, was_recorded, write_unproven};
use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::row::DeliveryRow;
use crate::tx::Tx;
use async_trait::async_trait;
use model::{
    Actor, AuditEvent, CONTRADICTED_RECEIPT, DeliveryEvent, DeliveryId, DeliveryState, ErrorKind, EventKind,
    Lifecycle, NodeName, PeerText, Receipt, Result, Timestamp, TransferId, TransferState, UNPROVEN_MDN,
    transition,
};
use serde_json::Value;
use sqlx::types::Json;
use std::collections::BTreeMap;
use uuid::Uuid;

/// What a receipt says of its delivery.
#[derive(Clone, PartialEq, Debug)]
pub enum ReceiptSays {
    /// It proves the delivery.
    Proof(Receipt),
    /// The delivery is refused.
    Refusal {
        /// The receipt, which is not positive.
        receipt: Receipt,
        /// Why it is refused.
        error: Failure,
        /// When the delivery is tried again, where that can help and an attempt is left.
        retry_at: Option<Timestamp>,
        /// Whether it counts although the delivery was delivered before; unsigned, it never does where a signed receipt has
        /// proved that.
        may_contradict: bool,
    },
    /// It proves nothing: the delivery still waits.
    NoProof {
        /// The receipt.
        receipt: Receipt,
        /// What is wrong with it.
        error: Failure,
    },
}

impl From<Receipt> for ReceiptSays {
    /// A positive receipt is a proof; one that is not refuses for good, whatever came before.
    fn from(receipt: Receipt) -> Self {
        if receipt.positive {
            return Self::Proof(receipt);
        }
        let text = PeerText::from(receipt.summary.as_str()).as_str().to_owned();
        let error = Failure { kind: ErrorKind::Rejected, text };
        Self::Refusal { receipt, error, retry_at: None, may_contradict: true }
    }
}

impl ReceiptSays {
    const fn receipt(&self) -> &Receipt {
        match self {
            Self::Proof(receipt) | Self::Refusal { receipt, .. } | Self::NoProof { receipt, .. } => receipt,
        }
    }

    const fn error(&self) -> Option<&Failure> {
        match self {
            Self::Proof(_) => None,
            Self::Refusal { error, .. } | Self::NoProof { error, .. } => Some(error),
        }
    }
}

/// What is recorded of a receipt besides itself, in the same transaction.
#[derive(Clone, Default, Debug)]
pub struct ReceiptRecord {
    /// Notes of the delivery. A proof's are written only where it changes nothing because the delivery has failed.
    pub notes: Vec<(String, Value)>,
    /// Events. Those without a delivery get the one that was found.
    pub events: Vec<AuditEvent>,
    /// Further events, recorded only if the delivery is tried again.
    pub if_retried: Vec<AuditEvent>,
    /// By what a refusal is known when it comes again: it counts once, and nothing else of it is recorded then.
    pub digest: Option<String>,
    /// What it was judged by; where that is no longer so, nothing is recorded.
    pub judged_by: Option<ReceiptJudgedBy>,
    /// What proves the message together with the receipt; recorded if the receipt moves the delivery to `delivered`.
    pub evidence: Option<NewEvidence>,
    /// What the event of a receipt that proves nothing, or refuses the message, says besides its error: by key.
    pub about: Vec<(&'static str, String)>,
    /// The partner that sent it: the event of one that changes nothing names it, instead of that of the transfer.
    pub partner: Option<String>,
}

/// What of a delivery a receipt was judged by, as it was read ([`Store::awaited`]).
#[derive(Clone, PartialEq, Debug)]
pub struct ReceiptJudgedBy {
    /// The last attempt.
    pub attempt: u32,
    /// Notes, by key; `None` for one that was not there.
    pub notes: BTreeMap<String, Option<Value>>,
}

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
    /// No delivery has this key.
    Unmatched,
    /// The receipt proves nothing: the delivery is as it was.
    Unproven {
        /// The delivery.
        delivery: DeliveryId,
        /// Its transfer.
        transfer: TransferId,
    },
    /// The delivery is no longer what the receipt was judged by: nothing is recorded, and it is to be judged again.
    Changed,
    /// The delivery already had its receipt, has ended in another way, or is tried again anyway, or this refusal was
    /// recorded before: nothing changed.
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
    /// Ends the delivery that a key is bound to: `delivered` by a proof, `failed` or `retrying` by a refusal, even
    /// if it was `delivered` before. `events` are written in each case; those without a delivery get the one that was
    /// found, with its transfer, flow and endpoint. The store adds `delivery.delivered`, `delivery.failed`,
    /// `delivery.retrying`, `receipt.unproven`, `receipt.ignored` or `receipt.unmatched`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn resolve(
        &self,
        key: &str,
        says: impl Into<ReceiptSays>,
        by: &NodeName,
        events: Vec<AuditEvent>,
        now: Timestamp,
    ) -> Result<Resolved> {
        let record = ReceiptRecord { events, ..ReceiptRecord::default() };
        self.resolve_noting(key, says.into(), record, by, now).await
    }

    /// The same, with notes of the delivery and what proves its message, written in the same transaction.
    ///
    /// # Errors
    /// The database failed.
    pub async fn resolve_noting(
        &self,
        key: &str,
        says: ReceiptSays,
        record: ReceiptRecord,
        by: &NodeName,
        now: Timestamp,
    ) -> Result<Resolved> {
        self.write(Resolve { key: key.to_owned(), says, record, by: by.clone(), now }).await
    }
}

struct Resolve {
    key: String,
    says: ReceiptSays,
    record: ReceiptRecord,
    by: NodeName,
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
            tx.events(&self.record.events);
            let event = self.event(tx, EventKind::ReceiptUnmatched);
            tx.event(event);
            return Ok(Resolved::Unmatched);
        };
        if let Some(judged_by) = &self.record.judged_by
            && !still_holds(tx, &row, judged_by.attempt, &judged_by.notes).await?
        {
            return Ok(Resolved::Changed);
        }
        if self.is_repeated(tx, DeliveryId::new(row.id)).await? {
            return self.leave(tx, &head, &row, true).await;
        }
        let was = row.state()?;
        let moved = match resolved(was, &self.says)? {
            None if was == DeliveryState::Failed && self.corrects(tx, row.id).await? => Some(proved(was)?),
            Some(_) if was == DeliveryState::Delivered && self.is_weaker(tx, row.id).await? => None,
            moved => moved,
        };
        let goes_on = !moved.unwrap_or(was).is_final() && head.state()? != TransferState::Cancelled;
        let if_retried = self.record.if_retried.iter().filter(|_| goes_on);
        for event in self.record.events.iter().chain(if_retried) {
            tx.event(named_in(&head, &row, event.clone()));
        }
        match moved {
            Some(state) => self.change(tx, &head, &row, state).await,
            None => self.leave(tx, &head, &row, false).await,
        }
    }
}

impl Resolve {
    /// Whether this refusal is on record. Each counts once: the attempt that is under way now may have sent what it does
    /// not refuse.
    async fn is_repeated(&self, tx: &mut Tx<'_>, delivery: DeliveryId) -> Result<bool, Fault> {
        match (&self.says, &self.record.digest) {
            (ReceiptSays::Refusal { .. }, Some(digest)) => was_recorded(tx, delivery, digest).await,
            _ => Ok(false),
        }
    }

    /// Whether it is a signed proof of a delivery that an unsigned refusal has failed: anybody could have sent that one.
    async fn corrects(&self, tx: &mut Tx<'_>, delivery: Uuid) -> Result<bool, Fault> {
        if !matches!(&self.says, ReceiptSays::Proof(proof) if is_signed(proof)) {
            return Ok(false);
        }
        let refusal = receipt_of(tx, delivery).await?;
        Ok(refusal.is_some_and(|receipt| !receipt.positive && !is_signed(&receipt)))
    }

    /// Whether it is an unsigned refusal of a delivery that a signed receipt has proved: anybody could have sent it, whatever
    /// is agreed by now.
    async fn is_weaker(&self, tx: &mut Tx<'_>, delivery: Uuid) -> Result<bool, Fault> {
        if !matches!(&self.says, ReceiptSays::Refusal { receipt, .. } if !is_signed(receipt)) {
            return Ok(false);
        }
        let proof = receipt_of(tx, delivery).await?;
        Ok(proof.is_some_and(|receipt| receipt.positive && is_signed(&receipt)))
    }

    /// Moves the delivery to this state.
    async fn change(
        &self,
        tx: &mut Tx<'_>,
        head: &Head,
        row: &DeliveryRow,
        state: DeliveryState,
    ) -> Result<Resolved, Fault> {
        let (delivery, transfer, was) = (DeliveryId::new(row.id), head.id(), row.state()?);
        let evidence = self.record.evidence.as_ref().filter(|_| matches!(self.says, ReceiptSays::Proof(_)));
        let evidence = evidence.map(|evidence| evidence.with_receipt(Some(self.says.receipt())));
        let mut head = head.clone();
        if let Some(evidence) = &evidence {
            evidence.record(tx, &mut head, self.now).await?;
        }
        let change = Change::to(row, state, self.now);
        let (change, kind) = match &self.says {
            ReceiptSays::Refusal { receipt, error, retry_at, .. } => {
                self.note(tx, delivery, true).await?;
                keep_contradicted(tx, row).await?;
                let change = Change { failures: row.failures + 1, error: Some(error.columns()), ..change };
                match (state, retry_at) {
                    (DeliveryState::Retrying, Some(due_at)) => {
                        (Change { due_at: *due_at, ..change }, EventKind::DeliveryRetrying)
                    }
                    _ => {
                        let lane_open = row.lane.is_some() && !row.lane_continues;
                        (Change { receipt: Some(receipt), lane_open, ..change }, EventKind::DeliveryFailed)
                    }
                }
            }
            says => {
                let change = Change { receipt: Some(says.receipt()), lane_open: false, ..change };
                (change, EventKind::DeliveryDelivered)
            }
        };
        change::write(tx, row, &change).await?;
        change::end_attempt(tx, row, &change).await?;
        let event = change::told(self.event(tx, kind), row, &change, true).detail("was", was.as_str());
        let event = if state == DeliveryState::Retrying {
            event.detail("next", change.due_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
        } else {
            event
        };
        let event = match &evidence {
            Some(evidence) => evidence.told(event, self.now),
            None => event,
        };
        let event = self.described(event);
        tx.event(named_in(&head, row, event));
        change::give_up(tx, &head, delivery, self.now, &self.by).await?;
        let had_failed = matches!(head.state()?, TransferState::Failed | TransferState::PartlyFailed);
        let was_ended = matches!(was, DeliveryState::Expired | DeliveryState::Failed);
        let transfer_ended = if was_ended && had_failed {
            change::correct_transfer(tx, &head, change.now, &self.by).await?
        } else if was == DeliveryState::Delivered {
            change::contradict_transfer(tx, &head, change.now, &self.by).await?
        } else {
            change::end_transfer(tx, &head, change.now, &self.by, &Actor::System).await?
        };
        Ok(Resolved::Resolved { delivery, transfer, was, transfer_ended })
    }

    /// Leaves the delivery as it is; what came is on record.
    async fn leave(
        &self,
        tx: &mut Tx<'_>,
        head: &Head,
        row: &DeliveryRow,
        is_repeated: bool,
    ) -> Result<Resolved, Fault> {
        let (delivery, transfer, state) = (DeliveryId::new(row.id), head.id(), row.state()?);
        // Of a proof or a refusal that came twice nothing is new.
        let is_proved = matches!((&self.says, state), (ReceiptSays::Proof(_), DeliveryState::Delivered));
        if !is_proved && !is_repeated {
            self.note(tx, delivery, matches!(self.says, ReceiptSays::Proof(_))).await?;
        }
        // One that has ended waits for none.
        let unproven = matches!(self.says, ReceiptSays::NoProof { .. }) && !state.is_final();
        let kind = if unproven { EventKind::ReceiptUnproven } else { EventKind::ReceiptIgnored };
        let mut event = self.event(tx, kind).detail("was", state.as_str());
        event.partner.clone_from(&self.record.partner);
        let event = match self.says.error() {
            Some(error) => {
                event.detail("error", error.text.as_str()).detail("error_kind", error.kind.as_str())
            }
            None => event,
        };
        let event = match is_repeated {
            true => event.detail("why", "it was recorded before"),
            false => self.described(event),
        };
        tx.event(named_in(head, row, event));
        Ok(match unproven {
            true => Resolved::Unproven { delivery, transfer },
            false => Resolved::AlreadyResolved { delivery, transfer, state },
        })
    }

    /// Writes the notes. `decides`: the receipt moved its delivery, or proves it too late.
    async fn note(&self, tx: &mut Tx<'_>, delivery: DeliveryId, decides: bool) -> Result<(), Fault> {
        let signed = self.says.receipt().detail.get("signed").and_then(Value::as_bool).unwrap_or_default();
        for (key, value) in &self.record.notes {
            match key.as_str() {
                UNPROVEN_MDN => write_unproven(tx, delivery, key, value, decides || signed).await?,
                _ => write_note(tx, delivery, key, value).await?,
            }
        }
        Ok(())
    }

    /// An event with what it says besides.
    fn described(&self, event: AuditEvent) -> AuditEvent {
        self.record.about.iter().fold(event, |event, (key, text)| event.peer_detail(key, text))
    }

    fn event(&self, tx: &Tx<'_>, kind: EventKind) -> AuditEvent {
        let receipt = self.says.receipt();
        let mut event = tx
            .derived(self.now, &self.by, kind)
            .by(Actor::Peer)
            .peer_detail("key", &self.key)
            .peer_detail("receipt", &receipt.summary)
            .detail("receipt_kind", receipt.kind.as_str())
            .detail("positive", receipt.positive);
        event.connection = receipt.connection;
        // Of an attempt that is made again the row keeps none.
        if kind == EventKind::DeliveryRetrying {
            event
        } else {
            event.detail("receipt_digest", receipt_digest(receipt))
        }
    }
}

/// Keeps the receipt of a delivery that another one contradicts, if it has one, and which attempt it proved.
async fn keep_contradicted(tx: &mut Tx<'_>, row: &DeliveryRow) -> Result<(), Fault> {
    let delivery = DeliveryId::new(row.id);
    if row.state()? == DeliveryState::Delivered {
        write_note(tx, delivery, CONTRADICTED_ATTEMPT, &row.attempt.into()).await?;
    }
    match noted_receipt(tx, row.id).await? {
        Some(receipt) => write_note(tx, delivery, CONTRADICTED_RECEIPT, &receipt).await,
        None => Ok(()),
    }
}

/// The receipt of a delivery, as it is on record.
async fn noted_receipt(tx: &mut Tx<'_>, delivery: Uuid) -> Result<Option<Value>, Fault> {
    let receipt: Option<Json<Value>> = on!(tx, c => sqlx::query_scalar("SELECT receipt FROM deliveries WHERE id = $1")
        .bind(delivery).fetch_one(c).await)?;
    Ok(receipt.map(|receipt| receipt.0).filter(|receipt| !receipt.is_null()))
}

/// The same, read; none where it cannot be read.
async fn receipt_of(tx: &mut Tx<'_>, delivery: Uuid) -> Result<Option<Receipt>, Fault> {
    let receipt = noted_receipt(tx, delivery).await?;
    Ok(receipt.and_then(|receipt| serde_json::from_value(receipt).ok()))
}

fn is_signed(receipt: &Receipt) -> bool {
    receipt.detail.get("signed").and_then(Value::as_bool) == Some(true)
}

/// The state to which a receipt moves a delivery; `None` if it changes nothing.
fn resolved(was: DeliveryState, says: &ReceiptSays) -> Result<Option<DeliveryState>, Fault> {
    use DeliveryState as S;
    Ok(match (was, says) {
        (_, ReceiptSays::NoProof { .. }) => None,
        (S::Sending | S::AwaitingReceipt, ReceiptSays::Proof(_)) => {
            Some(transition(was, DeliveryEvent::Deliver)?)
        }
        // The attempt was given up too early; its receipt still arrived.
        (S::Pending | S::Retrying, ReceiptSays::Proof(_)) => {
            Some(transition(transition(was, DeliveryEvent::Claim)?, DeliveryEvent::Deliver)?)
        }
        // It was cancelled, or its time ran out, while its receipt was awaited, but it had arrived.
        (S::Cancelled | S::Expired, ReceiptSays::Proof(_)) => Some(proved(was)?),
        (S::Sending | S::AwaitingReceipt, ReceiptSays::Refusal { retry_at: Some(_), .. }) => {
            Some(transition(was, DeliveryEvent::Retry)?)
        }
        // Its next attempt waits already.
        (S::Pending | S::Retrying, ReceiptSays::Refusal { retry_at: Some(_), .. }) => None,
        (S::Pending | S::Sending | S::AwaitingReceipt | S::Retrying, ReceiptSays::Refusal { .. })
        | (S::Delivered, ReceiptSays::Refusal { may_contradict: true, .. }) => {
            Some(transition(was, DeliveryEvent::Fail)?)
        }
        (S::Delivered, _) | (S::Failed | S::Expired, _) | (S::Cancelled, _) => None,
    })
}

/// The state of a delivery that had ended without a proof, and is proved now.
fn proved(was: DeliveryState) -> Result<DeliveryState, Fault> {
    let pending = transition(was, DeliveryEvent::Requeue)?;
    Ok(transition(transition(pending, DeliveryEvent::Claim)?, DeliveryEvent::Deliver)?)
}

fn named_in(head: &Head, row: &DeliveryRow, event: AuditEvent) -> AuditEvent {
    if event.delivery.is_some() {
        return event;
    }
    let mut event = head.named_in(event).delivery(DeliveryId::new(row.id));
    event.endpoint = event.endpoint.or_else(|| Some(row.endpoint.clone()));
    event
}
