//! Receipts of messages that were received: recorded with a refusal, or once more when a message is repeated.

use super::keys::lock_key;
use crate::command::{Command, place_of};
use crate::delivery::{NewTransfer, described, insert_transfers};
use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::row::digest;
use crate::tx::Tx;
use async_trait::async_trait;
use model::{AuditEvent, DeliveryState, OfferId, Result, Timestamp, TransferId, TransferKind, TransferState};
use std::time::Duration;
use uuid::Uuid;

/// How long after its last attempt a receipt is not tried because of a repetition: a sender that repeats its message quickly
/// would use up the receipt's attempts.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(10);

/// How long after a receipt has failed for good no other one is made: each is tried as often as the first.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

impl Store {
    /// Records receipts of a message that was answered before, to be sent once more, with their events; not while a
    /// receipt of the message is still on its way: if that waits for its next attempt, it is due now, or some seconds after
    /// its last attempt; and not within a minute after one has failed. Their offer and their parent are those of the
    /// message. Returns whether they are recorded.
    ///
    /// # Errors
    /// The database failed. If `Ambiguous`, call again with the same transfers.
    pub async fn repeat_receipts(
        &self,
        key: &str,
        transfers: Vec<NewTransfer>,
        events: Vec<AuditEvent>,
        now: Timestamp,
    ) -> Result<bool> {
        self.write(RepeatReceipts { key: key.to_owned(), transfers, events, of_other: false, now }).await
    }

    /// The same for receipts that refuse another message with the key of one that was answered: they have no parent.
    ///
    /// # Errors
    /// The database failed. If `Ambiguous`, call again with the same transfers.
    pub async fn refuse_repetition(
        &self,
        key: &str,
        transfers: Vec<NewTransfer>,
        events: Vec<AuditEvent>,
        now: Timestamp,
    ) -> Result<bool> {
        self.write(RepeatReceipts { key: key.to_owned(), transfers, events, of_other: true, now }).await
    }
}

impl Store {
    /// How many receipts for messages of a partner are still on their way, counted up to `most`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn open_receipts(&self, partner: &str, most: u32) -> Result<u32> {
        let open: i64 = self
            .read("count the receipts that are on their way to a partner", async {
                on!(self.pool(), c => sqlx::query_scalar(
                    // The kind as the index has it: neither database knows of a parameter that it is this one.
                    "SELECT count(*) FROM (SELECT id FROM transfers WHERE partner = $1 AND kind = 'receipt' \
                       AND ended_at IS NULL LIMIT $2) AS open")
                    .bind(partner).bind(i64::from(most)).fetch_one(c).await)
            })
            .await?;
        Ok(u32::try_from(open).unwrap_or(most))
    }
}

/// Records receipts of a message that was answered before.
pub(super) struct RepeatReceipts {
    pub(super) key: String,
    pub(super) transfers: Vec<NewTransfer>,
    pub(super) events: Vec<AuditEvent>,
    pub(super) of_other: bool,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Command for RepeatReceipts {
    type Answer = bool;

    fn place(&self) -> u128 {
        place_of(&self.key)
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        let Some(row) = lock_key(tx, &digest(&self.key)).await? else { return Ok(false) };
        let Some(offer) = row.offer_id.filter(|_| row.state == "answered") else { return Ok(false) };
        if are_recorded(tx, &self.transfers).await? {
            return Ok(true);
        }
        let kind = TransferKind::Receipt.as_str();
        let open: i64 = on!(tx, c => sqlx::query_scalar(
            "SELECT count(*) FROM transfers WHERE offer_id = $1 AND kind = $2 AND ended_at IS NULL")
            .bind(offer).bind(kind).fetch_one(c).await)?;
        if open > 0 {
            self.hasten(tx, offer).await?;
            return Ok(false);
        }
        let failed: i64 = on!(tx, c => sqlx::query_scalar(
            "SELECT count(*) FROM transfers WHERE offer_id = $1 AND kind = $2 AND state = $3 AND ended_at > $4")
            .bind(offer).bind(kind).bind(TransferState::Failed.as_str()).bind(self.now - AFTER_FAILURE)
            .fetch_one(c).await)?;
        if failed > 0 {
            return Ok(false);
        }
        let parent: Option<Uuid> = on!(tx, c => sqlx::query_scalar(
            "SELECT id FROM transfers WHERE offer_id = $1 AND kind <> $2 ORDER BY created_at, id LIMIT 1")
            .bind(offer).bind(kind).fetch_optional(c).await)?;
        let mut transfers = self.transfers.clone();
        for new in &mut transfers {
            new.transfer.offer = Some(OfferId::new(offer));
            new.transfer.parent = parent.filter(|_| !self.of_other).map(TransferId::new);
        }
        let transfers = insert_transfers(tx, &transfers, self.now).await?;
        tx.events(&described(&self.events, &transfers));
        Ok(true)
    }
}

impl RepeatReceipts {
    /// Lets receipts that wait for their next attempt be tried soon: their sender is there, and waits for them.
    async fn hasten(&self, tx: &mut Tx<'_>, offer: Uuid) -> Result<(), Fault> {
        let (retrying, kind) = (DeliveryState::Retrying.as_str(), TransferKind::Receipt.as_str());
        on!(tx, c => sqlx::query(
            "UPDATE deliveries SET due_at = $1 WHERE state = $2 AND due_at > $1 AND transfer_id IN \
             (SELECT id FROM transfers WHERE offer_id = $3 AND kind = $4 AND ended_at IS NULL) AND NOT EXISTS \
             (SELECT 1 FROM attempts a WHERE a.delivery_id = deliveries.id AND a.ended_at > $5)")
            .bind(self.now).bind(retrying).bind(offer).bind(kind).bind(self.now - BETWEEN_ATTEMPTS)
            .execute(c).await.map(|_| ()))?;
        on!(tx, c => sqlx::query(
            "UPDATE deliveries SET due_at = $1 WHERE state = $2 AND due_at > $1 AND transfer_id IN \
             (SELECT id FROM transfers WHERE offer_id = $3 AND kind = $4 AND ended_at IS NULL)")
            .bind(self.now + BETWEEN_ATTEMPTS).bind(retrying).bind(offer).bind(kind)
            .execute(c).await.map(|_| ()))?;
        Ok(())
    }
}

/// Whether an earlier call has recorded these transfers, whose answer was lost.
pub(super) async fn are_recorded(tx: &mut Tx<'_>, transfers: &[NewTransfer]) -> Result<bool, Fault> {
    let Some(first) = transfers.first() else { return Ok(false) };
    let found: Option<Uuid> = on!(tx, c => sqlx::query_scalar("SELECT id FROM transfers WHERE id = $1")
        .bind(first.transfer.id.uuid()).fetch_optional(c).await)?;
    Ok(found.is_some())
}
