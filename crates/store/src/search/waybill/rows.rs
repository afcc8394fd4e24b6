//! The rows of one transfer's way into nouns.

use super::{AttemptView, DeliveryView, OfferView};
use crate::row::{path, small, unreadable, word};
use model::{DeliveryId, DeliveryState, OfferId, OfferState, PayloadId, Receipt, Result, Timestamp};
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

#[derive(FromRow)]
pub(super) struct OfferRow {
    id: Uuid,
    endpoint: String,
    path: String,
    size: Option<i64>,
    modified_at: Option<Timestamp>,
    state: String,
    found_at: Timestamp,
    updated_at: Timestamp,
    failures: i64,
    settle_outcome: Option<String>,
    error: Option<String>,
}

impl OfferRow {
    pub(super) fn view(self) -> Result<OfferView> {
        Ok(OfferView {
            id: OfferId::new(self.id),
            endpoint: self.endpoint,
            path: path(&self.path)?,
            size: self.size.and_then(|size| u64::try_from(size).ok()),
            modified_at: self.modified_at,
            state: word(OfferState::parse(&self.state), "offers.state", &self.state)?,
            found_at: self.found_at,
            updated_at: self.updated_at,
            failures: small(self.failures),
            settle_outcome: self.settle_outcome,
            error: self.error,
        })
    }
}

#[derive(FromRow)]
pub(super) struct DeliveryRow {
    pub(super) id: Uuid,
    destination: String,
    endpoint: String,
    revision: Option<i64>,
    payload_id: Option<Uuid>,
    file_name: String,
    state: String,
    created_at: Timestamp,
    updated_at: Timestamp,
    lane: Option<String>,
    due_at: Timestamp,
    opens_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    receipt_deadline: Option<Timestamp>,
    receipt: Option<Json<Value>>,
    error: Option<String>,
    error_kind: Option<String>,
    ended_at: Option<Timestamp>,
}

#[derive(FromRow)]
pub(crate) struct AttemptRow {
    pub(crate) delivery_id: Uuid,
    pub(crate) number: i64,
    pub(crate) node: String,
    pub(crate) started_at: Timestamp,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) outcome: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) error_kind: Option<String>,
    pub(crate) receipt: Option<Json<Value>>,
}

impl AttemptRow {
    pub(super) fn view(self) -> Result<(Uuid, AttemptView)> {
        let attempt = AttemptView {
            number: small(self.number),
            node: self.node,
            started_at: self.started_at,
            ended_at: self.ended_at,
            outcome: self.outcome,
            error: self.error,
            error_kind: self.error_kind,
            receipt: receipt(self.receipt)?,
        };
        Ok((self.delivery_id, attempt))
    }
}

fn receipt(stored: Option<Json<Value>>) -> Result<Option<Receipt>> {
    stored
        .filter(|Json(value)| !value.is_null())
        .map(|Json(value)| serde_json::from_value(value).map_err(|e| unreadable("receipt", &e.to_string())))
        .transpose()
}

impl DeliveryRow {
    pub(super) fn view(self, attempts: Vec<AttemptView>) -> Result<DeliveryView> {
        Ok(DeliveryView {
            id: DeliveryId::new(self.id),
            destination: self.destination,
            endpoint: self.endpoint,
            revision: self.revision,
            payload: self.payload_id.map(PayloadId::new),
            file_name: path(&self.file_name)?,
            state: word(DeliveryState::parse(&self.state), "deliveries.state", &self.state)?,
            created_at: self.created_at,
            updated_at: self.updated_at,
            lane: self.lane,
            due_at: self.due_at,
            opens_at: self.opens_at,
            expires_at: self.expires_at,
            receipt_deadline: self.receipt_deadline,
            receipt: receipt(self.receipt)?,
            error: self.error,
            error_kind: self.error_kind,
            ended_at: self.ended_at,
            attempts,
        })
    }
}
