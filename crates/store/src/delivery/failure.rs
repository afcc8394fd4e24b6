//! The child of a transfer that failed for good, on its failure route.

use crate::delivery::attachments::attachments_of;
use crate::delivery::failure_route::{FAILURE, FailureRoute};
use crate::delivery::insert::{described, insert_transfers};
use crate::delivery::{NewDelivery, NewTransfer};
use crate::either::on;
use crate::fault::Fault;
use crate::row::{TransferRow, later, transfer_columns};
use crate::tx::Tx;
use model::metadata::{FILE_NAME, IS_FILE_PATH};
use model::schedule::TimeZone;
use model::{
    ArchivedCopy, Delivery, DeliveryId, DeliveryState, EventKind, FailureValues, NameTemplate, NodeName,
    PeerText, TemplateValues, Timestamp, Transfer, TransferId, TransferKind, TransferState,
};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};
use sqlx::types::Json;

/// The key of the delivery's note with the number of the attempt that a receipt had proved, and a later one contradicted.
pub(crate) const CONTRADICTED_ATTEMPT: &str = "contradicted_attempt";

/// A delivery that failed for good.
#[derive(sqlx::FromRow)]
struct FailedRow {
    destination: String,
    endpoint: String,
    state: String,
    error: Option<String>,
    error_kind: Option<String>,
    attempt: i64,
    contradicted: Option<Json<Value>>,
}

impl FailedRow {
    /// Whether its last attempt was proved, and nothing but a later receipt has failed it.
    fn is_contradicted(&self) -> bool {
        let attempt = self.contradicted.as_ref().and_then(|note| note.0.as_i64());
        self.state == DeliveryState::Failed.as_str() && attempt == Some(self.attempt)
    }
}

/// Makes the child of a transfer that has just failed, if it has a failure route, and if something else failed it than receipts
/// that contradict earlier ones: there the file has arrived, and a person decides.
pub(crate) async fn make_child(
    tx: &mut Tx<'_>,
    failed: TransferId,
    now: Timestamp,
    by: &NodeName,
) -> Result<Option<TransferId>, Fault> {
    let id = failed.uuid();
    let route: Option<Json<Value>> = on!(tx, c => sqlx::query_scalar("SELECT failure_route FROM transfers WHERE id = $1")
            .bind(id).fetch_one(c).await)?;
    let Some(Json(route)) = route else { return Ok(None) };
    let route = match FailureRoute::deserialize(route) {
        Ok(route) => route,
        Err(error) => {
            // That it failed is recorded all the same.
            tracing::error!(transfer = %failed, %error, "the failure route of this transfer cannot be read: it goes nowhere");
            return Ok(None);
        }
    };
    let row: TransferRow = on!(tx, c => sqlx::query_as(concat!("SELECT ", transfer_columns!(),
        " FROM transfers t JOIN payloads p ON p.id = t.payload_id WHERE t.id = $1"))
        .bind(id).fetch_one(c).await)?;
    let parent = row.transfer()?;
    let rows: Vec<FailedRow> = on!(tx, c => sqlx::query_as(
        "SELECT d.destination, d.endpoint, d.state, d.error, d.error_kind, d.attempt, n.value AS contradicted \
         FROM deliveries d LEFT JOIN notes n ON n.delivery_id = d.id AND n.key = $2 \
         WHERE d.transfer_id = $1 AND d.state IN ('failed', 'expired') ORDER BY d.id")
        .bind(id).bind(CONTRADICTED_ATTEMPT).fetch_all(c).await)?;
    let (contradicted, causes): (Vec<_>, Vec<_>) = rows.into_iter().partition(FailedRow::is_contradicted);
    if causes.is_empty() && !contradicted.is_empty() {
        return Ok(None);
    }
    let mut attached = attachments_of(tx, &[id]).await?;
    if !attached.unreadable.is_empty() {
        tracing::error!(transfer = %failed, "the attachments of this transfer cannot be read: it goes nowhere");
        return Ok(None);
    }
    let mut child = child(tx, &parent, route, &causes, now);
    child.attachments = attached.of.remove(&id).unwrap_or_default();
    let made = child.transfer.id;
    let new = insert_transfers(tx, std::slice::from_ref(&child), now).await?;
    let named = PeerText::from(child.transfer.payload.file_name.to_text().as_str()).as_str().to_owned();
    let event = tx
        .derived(now, by, EventKind::TransferRecorded)
        .transfer(made)
        .detail("file_name", named)
        .detail("failure", child.transfer.metadata.get(FAILURE).cloned().unwrap_or_default());
    tx.events(&described(&[event], &new));
    Ok(Some(made))
}

fn child(
    tx: &mut Tx<'_>,
    parent: &Transfer,
    route: FailureRoute,
    failed: &[FailedRow],
    now: Timestamp,
) -> NewTransfer {
    let FailureRoute { flow, revision, retain_for, destinations, next } = route;
    let id = TransferId::new(tx.id());
    let mut metadata = parent.metadata.clone();
    // Where the file was to go at the destination that failed says nothing about this one.
    for key in [FILE_NAME, IS_FILE_PATH] {
        metadata.remove(key);
    }
    metadata.insert(FAILURE.to_owned(), Value::Object(cause(parent, failed)));
    let transfer = Transfer {
        id,
        kind: TransferKind::Failure,
        flow,
        revision,
        offer: None,
        parent: Some(parent.id),
        state: TransferState::Staged,
        created_at: now,
        metadata,
        ..parent.clone()
    };
    let first = failed.first();
    let archived = ArchivedCopy::noted(&transfer.metadata);
    let values = TemplateValues {
        name: parent.payload.file_name.file_name(),
        received: parent.payload.staged_at,
        flow: &transfer.flow,
        transfer: id,
        sequence: parent.sequence,
        archive: archived.as_ref(),
        failure: first.map(|row| FailureValues {
            flow: &parent.flow,
            destination: &row.destination,
            endpoint: &row.endpoint,
            error: kind(row),
        }),
        metadata: &transfer.metadata,
    };
    let name = &parent.payload.file_name;
    let deliveries = destinations.into_iter().map(|to| {
        // It was checked when the flow was defined; one that cannot be read keeps the name.
        let template = to.file_name.and_then(|text| NameTemplate::parse(&text).ok());
        let zone = to.time_zone.and_then(|name| TimeZone::parse(&name).ok()).unwrap_or_default();
        let (file_name, counters) = match template {
            Some(template) => {
                let (rendered, counters) = template.in_zone(zone).render_open(&values);
                (name.with_file_name(&rendered), counters)
            }
            None => (name.clone(), Vec::new()),
        };
        NewDelivery {
            counters,
            lane_continues: to.lane_continues,
            has_steps: to.has_steps,
            delivery: Delivery {
                id: DeliveryId::new(tx.id()),
                transfer: id,
                destination: to.destination,
                endpoint: to.endpoint,
                revision: None,
                file_name,
                state: DeliveryState::Pending,
                attempt: 0,
                lane: to.lane,
                due_at: now,
                expires_at: to.expires_after.map(|wait| later(now, wait)),
            },
        }
    });
    let deliveries = deliveries.collect();
    let failure_route = next.map(|next| *next);
    NewTransfer { transfer, retain_for, deliveries, attachments: Vec::new(), failure_route }
}

/// The kind of the error, or that its time was over.
fn kind(row: &FailedRow) -> &str {
    row.error_kind.as_deref().unwrap_or(&row.state)
}

/// Why the child is made: the first failed delivery, and all of them.
fn cause(parent: &Transfer, failed: &[FailedRow]) -> Map<String, Value> {
    let told = |row: &FailedRow| {
        json!({
            "destination": row.destination, "endpoint": row.endpoint, "error_kind": kind(row),
            "error": row.error,
        })
    };
    let mut cause = match failed.first().map(told) {
        Some(Value::Object(first)) => first,
        _ => Map::new(),
    };
    cause.insert("flow".to_owned(), parent.flow.clone().into());
    cause.insert("transfer".to_owned(), parent.id.to_string().into());
    cause.insert("deliveries".to_owned(), failed.iter().map(told).collect());
    cause
}
