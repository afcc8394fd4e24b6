//! The delivery that a receipt is about.

use crate::either::on;
use crate::open::Store;
use crate::row::{DeliveryRow, PayloadRow, small, unreadable};
use model::{Delivery, PayloadRecord, Result, Transfer};
use serde_json::Value;
use sqlx::types::Json;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A delivery that a receipt is about, whatever its state.
#[derive(Clone, Debug)]
pub struct AwaitedDelivery {
    /// The delivery.
    pub delivery: Delivery,
    /// Its transfer.
    pub transfer: Transfer,
    /// The bytes that it sends.
    pub payload: PayloadRecord,
    /// The transport's notes, by key.
    pub notes: BTreeMap<String, Value>,
    /// The number of failed attempts since a person last retried it, or in total.
    pub failures: u32,
}

impl Store {
    /// The delivery that a key is bound to ([`Store::correlate`]); `None` if there is none.
    ///
    /// # Errors
    /// The database failed, or this version cannot read the rows.
    pub async fn awaited(&self, key: &str) -> Result<Option<AwaitedDelivery>> {
        const OPERATION: &str = "look up the delivery that a receipt is about";
        // The partner chose the key; PostgreSQL refuses a NUL even in a query.
        if key.contains('\0') {
            return Ok(None);
        }
        let row: Option<DeliveryRow> = self
            .read(OPERATION, async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT * FROM deliveries WHERE id = (SELECT delivery_id FROM correlations WHERE key = $1)")
                    .bind(key).fetch_optional(c).await)
            })
            .await?;
        let Some(row) = row else { return Ok(None) };
        let (payload, failures) = (row.payload_id, small(row.failures));
        let delivery = row.delivery()?;
        let transfer = self
            .transfer(delivery.transfer)
            .await?
            .ok_or_else(|| unreadable("deliveries.transfer_id", "its transfer is missing"))?;
        let payload = match payload.filter(|id| *id != transfer.payload.id.uuid()) {
            Some(id) => self.payload_of(OPERATION, id).await?,
            None => transfer.payload.clone(),
        };
        let id = delivery.id.uuid();
        let notes: Vec<(String, Json<Value>)> = self
            .read(OPERATION, async {
                on!(self.pool(), c => sqlx::query_as("SELECT key, value FROM notes WHERE delivery_id = $1")
                    .bind(id).fetch_all(c).await)
            })
            .await?;
        let notes = notes.into_iter().map(|(key, value)| (key, value.0)).collect();
        Ok(Some(AwaitedDelivery { delivery, transfer, payload, notes, failures }))
    }

    async fn payload_of(&self, operation: &'static str, id: Uuid) -> Result<PayloadRecord> {
        let row: Option<PayloadRow> = self
            .read(operation, async {
                on!(self.pool(), c => sqlx::query_as("SELECT * FROM payloads WHERE id = $1")
                    .bind(id).fetch_optional(c).await)
            })
            .await?;
        row.ok_or_else(|| unreadable("deliveries.payload_id", "its payload is missing"))?.payload()
    }
}
