//! Payloads: which transfers need them, and until when.

use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::row::{PayloadRow, hex_list};
use crate::tx::{Tx, locking};
use async_trait::async_trait;
use model::{AuditEvent, EventId, PayloadId, PayloadRecord, Result, Timestamp, TransferId};
use std::collections::HashSet;
use uuid::Uuid;

/// The known payloads among some ids; the others have no row.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PayloadRows {
    /// Those that exist.
    pub present: HashSet<PayloadId>,
    /// Those that were removed at the end of their retention.
    pub removed: HashSet<PayloadId>,
}

impl Store {
    /// Payloads that are no longer needed: every transfer that refers to them has ended, and its retention too, and no
    /// settling of a source needs them.
    ///
    /// # Errors
    /// The database failed.
    pub async fn payloads_past_retention(&self, now: Timestamp, limit: u32) -> Result<Vec<PayloadRecord>> {
        let rows: Vec<PayloadRow> = self
            .read("look up payloads past their retention", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT p.* FROM payloads p WHERE p.removed_at IS NULL AND p.id IN \
                       (SELECT r.payload_id FROM transfers t JOIN payload_references r ON r.transfer_id = t.id \
                        WHERE NOT t.released AND t.retained_until <= $1) \
                     AND NOT EXISTS (SELECT 1 FROM payload_references r JOIN transfers t ON t.id = r.transfer_id \
                        WHERE r.payload_id = p.id AND (t.retained_until IS NULL OR t.retained_until > $1)) \
                     AND NOT EXISTS (SELECT 1 FROM payload_references r JOIN transfers t ON t.id = r.transfer_id \
                        JOIN offers o ON o.id = t.offer_id WHERE r.payload_id = p.id AND o.settle_outcome IS NOT NULL AND o.needs_payload) \
                     LIMIT $2")
                    .bind(now).bind(i64::from(limit)).fetch_all(c).await)
            })
            .await?;
        rows.into_iter().map(PayloadRow::payload).collect()
    }

    /// Marks payloads as removed at `now`, with an event for each transfer that needed one; commits before the caller
    /// removes the files. Returns those whose files may be removed: a payload that a transfer has come to need in the
    /// meantime is not among them.
    ///
    /// # Errors
    /// The database failed.
    pub async fn mark_payloads_removed(
        &self,
        mut payloads: Vec<(PayloadId, AuditEvent)>,
        now: Timestamp,
    ) -> Result<HashSet<PayloadId>> {
        // Another writer that marks the same payloads locks them in the same order.
        payloads.sort_by_key(|(id, _)| *id);
        self.write(MarkRemoved { payloads, now }).await
    }

    /// The newest payload whose bytes must be in staging.
    ///
    /// # Errors
    /// The database failed.
    pub async fn newest_payload(&self) -> Result<Option<PayloadId>> {
        let newest: Option<Uuid> = self
            .read("look up the newest payload", async {
                on!(self.pool(), c => sqlx::query_scalar(
                    "SELECT id FROM payloads WHERE removed_at IS NULL AND NOT streamed ORDER BY id DESC LIMIT 1")
                    .fetch_optional(c).await)
            })
            .await?;
        Ok(newest.map(PayloadId::new))
    }

    /// Which of these have a row; the bytes of the others are orphaned.
    ///
    /// # Errors
    /// The database failed.
    pub async fn payload_rows(&self, payloads: &[PayloadId]) -> Result<PayloadRows> {
        let mut rows = PayloadRows::default();
        for ids in payloads.chunks(5000) {
            let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
            let found: Vec<(Uuid, bool)> = self
                .read("look up payloads", async {
                    on!(self.pool(),
                        sqlite c => sqlx::query_as(
                            "SELECT id, removed_at IS NOT NULL FROM payloads \
                             WHERE id IN (SELECT unhex(value) FROM json_each($1))")
                            .bind(hex_list(&ids)).fetch_all(c).await,
                        postgres c => sqlx::query_as(
                            "SELECT id, removed_at IS NOT NULL FROM payloads WHERE id = ANY($1)")
                            .bind(&ids).fetch_all(c).await,
                    )
                })
                .await?;
            for (id, removed) in found {
                if removed { &mut rows.removed } else { &mut rows.present }.insert(PayloadId::new(id));
            }
        }
        Ok(rows)
    }
}

struct MarkRemoved {
    payloads: Vec<(PayloadId, AuditEvent)>,
    now: Timestamp,
}

impl MarkRemoved {
    /// Adds an event to each transfer that needed the payload, because a transfer's page shows its own events.
    async fn tell(&self, tx: &mut Tx<'_>, payload: PayloadId, event: &AuditEvent) -> Result<(), Fault> {
        let of: Vec<(Uuid, String, Option<String>)> = on!(tx, c => sqlx::query_as(
            "SELECT t.id, t.flow, t.partner FROM payload_references r JOIN transfers t ON t.id = r.transfer_id \
             WHERE r.payload_id = $1 ORDER BY t.id")
            .bind(payload.uuid()).fetch_all(c).await)?;
        let event = AuditEvent { at: self.now, ..event.clone() };
        for (place, (transfer, flow, partner)) in of.into_iter().enumerate() {
            let id = if place == 0 { event.id } else { EventId::new(tx.id()) };
            let told = AuditEvent { id, partner, ..event.clone() }.flow(&flow);
            tx.event(told.transfer(TransferId::new(transfer)));
        }
        Ok(())
    }
}

#[async_trait]
impl Command for MarkRemoved {
    type Answer = HashSet<PayloadId>;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<HashSet<PayloadId>, Fault> {
        let mut removed = HashSet::new();
        for (id, event) in &self.payloads {
            // A transfer that comes to need it must write its reference before this lock, or see that it was removed.
            let sql = locking!(tx, "SELECT id FROM payloads WHERE id = $1");
            let _: Option<Uuid> =
                on!(tx, c => sqlx::query_scalar(sql).bind(id.uuid()).fetch_optional(c).await)?;
            let marked = on!(tx, c => sqlx::query(
                "UPDATE payloads SET removed_at = $2 WHERE id = $1 AND removed_at IS NULL AND NOT EXISTS \
                   (SELECT 1 FROM payload_references r JOIN transfers t ON t.id = r.transfer_id \
                    WHERE r.payload_id = $1 AND (t.retained_until IS NULL OR t.retained_until > $2))")
                .bind(id.uuid()).bind(self.now).execute(c).await.map(|done| done.rows_affected()))?;
            if marked == 0 {
                continue;
            }
            on!(tx, c => sqlx::query(
                "UPDATE transfers SET released = true WHERE id IN \
                   (SELECT transfer_id FROM payload_references WHERE payload_id = $1) \
                 AND NOT EXISTS (SELECT 1 FROM payload_references r JOIN payloads p ON p.id = r.payload_id \
                    WHERE r.transfer_id = transfers.id AND p.removed_at IS NULL)")
                .bind(id.uuid()).execute(c).await.map(|_| ()))?;
            self.tell(tx, *id, event).await?;
            removed.insert(*id);
        }
        Ok(removed)
    }
}
