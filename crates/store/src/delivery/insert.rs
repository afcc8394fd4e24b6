//! Inserting new transfers with their deliveries, in the caller's transaction.

use crate::delivery::failure_route::FailureRoute;
use crate::delivery::steps_due::due;
use crate::either::on;
use crate::fault::Fault;
use crate::row::{later, micros, signed};
use crate::tx::{Tx, locking};
use crate::wake::Topic;
use model::{
    Attachment, AuditEvent, Delivery, Error, ErrorKind, EventKind, NameCounter, PayloadRecord, PeerText,
    Receipt, RemotePath, Sha256, Timestamp, Transfer, TransferEvent, TransferId, TransferState,
    canonical_json, transition,
};
use serde_json::{Value, json};
use sqlx::types::Json;
use std::borrow::Cow;
use std::time::Duration;

/// A transfer to be recorded. The row of its payload is written with it, if it does not exist.
#[derive(Clone, Debug)]
pub struct NewTransfer {
    /// The transfer. Its state is `staged` and becomes `processing` while all its deliveries wait for steps, else
    /// `delivering`; or it is `held` and stays so.
    pub transfer: Transfer,
    /// How long its payload is kept after its end.
    pub retain_for: Duration,
    /// At least one, unless it is held.
    pub deliveries: Vec<NewDelivery>,
    /// The files that came with its payload and are sent with it. Their rows are written with it, if they do not exist.
    pub attachments: Vec<Attachment>,
    /// Where it goes if it fails for good.
    pub failure_route: Option<FailureRoute>,
}

/// A delivery to be recorded.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    /// The delivery. Its `state` must be `pending`, its `attempt` 0, its `revision` none.
    pub delivery: Delivery,
    /// The running numbers that its file name lacks: they are given when it is recorded.
    pub counters: Vec<NameCounter>,
    /// Whether steps are to make what it sends; otherwise it sends what was received.
    pub has_steps: bool,
    /// In a lane: whether the next delivery may continue when this one has expired, or has failed by a later receipt.
    pub lane_continues: bool,
}

/// Writes transfers in order; this is their order in their lanes. Answers them with the names that their files got.
pub(crate) async fn insert_transfers<'a>(
    tx: &mut Tx<'_>,
    transfers: &'a [NewTransfer],
    now: Timestamp,
) -> Result<Cow<'a, [NewTransfer]>, Fault> {
    let transfers = numbered(tx, transfers).await?;
    for new in &*transfers {
        insert_transfer(tx, new, now).await?;
    }
    if !transfers.is_empty() {
        tx.wake(Topic::Deliveries);
    }
    Ok(transfers)
}

/// Gives the running numbers that file names lack. A counter belongs to a flow's destination, and one that begins anew each
/// day has a row for each day, so that clocks that differ give no number twice. The row is locked until the commit.
async fn numbered<'a>(
    tx: &mut Tx<'_>,
    transfers: &'a [NewTransfer],
) -> Result<Cow<'a, [NewTransfer]>, Fault> {
    let has_counters = |new: &NewTransfer| new.deliveries.iter().any(|to| !to.counters.is_empty());
    if !transfers.iter().any(has_counters) {
        return Ok(Cow::Borrowed(transfers));
    }
    let mut transfers = transfers.to_vec();
    for new in &mut transfers {
        for NewDelivery { delivery, counters, .. } in &mut new.deliveries {
            let mut numbers = Vec::with_capacity(counters.len());
            for counter in counters.iter() {
                let number: i64 = on!(tx, c => sqlx::query_scalar(
                    "INSERT INTO name_counters (flow, destination, day, last_number) VALUES ($1, $2, $3, 1) \
                     ON CONFLICT (flow, destination, day) DO UPDATE SET last_number = name_counters.last_number + 1 \
                     RETURNING last_number")
                    .bind(&new.transfer.flow).bind(&delivery.destination).bind(counter.day().unwrap_or_default())
                    .fetch_one(c).await)?;
                numbers.push(u64::try_from(number).unwrap_or_default());
            }
            let name = NameCounter::fill(delivery.file_name.file_name(), counters, numbers);
            delivery.file_name = delivery.file_name.with_file_name(&name);
            counters.clear();
        }
    }
    Ok(Cow::Owned(transfers))
}

/// The same for replies, which an earlier call may have written. Answers those that are new, with the names that their files
/// got.
pub(crate) async fn insert_replies(
    tx: &mut Tx<'_>,
    replies: &[NewTransfer],
    now: Timestamp,
) -> Result<Vec<NewTransfer>, Fault> {
    let mut new = Vec::with_capacity(replies.len());
    for reply in replies {
        let there: Option<i64> = on!(tx, c => sqlx::query_scalar("SELECT retain_for FROM transfers WHERE id = $1")
            .bind(reply.transfer.id.uuid()).fetch_optional(c).await)?;
        if there.is_none() {
            new.extend(insert_transfers(tx, std::slice::from_ref(reply), now).await?.into_owned());
        }
    }
    Ok(new)
}

/// The events of new transfers, with the values that verification compares with their rows.
pub(crate) fn described(events: &[AuditEvent], transfers: &[NewTransfer]) -> Vec<AuditEvent> {
    let describe = |event: &AuditEvent| {
        let begins = matches!(event.kind, EventKind::TransferRecorded | EventKind::TransferHeld);
        let new = transfers.iter().find(|new| begins && event.transfer == Some(new.transfer.id));
        let Some(new) = new else { return event.clone() };
        let transfer = &new.transfer;
        let text = |path: &RemotePath| PeerText::from(path.to_text().as_ref()).as_str().to_owned();
        let deliveries: Vec<Value> = new
            .deliveries
            .iter()
            .map(|NewDelivery { delivery, has_steps, .. }| {
                let mut told = json!({
                    "id": delivery.id.to_string(), "destination": delivery.destination,
                    "endpoint": delivery.endpoint, "file_name": text(&delivery.file_name),
                });
                if *has_steps {
                    told["steps"] = true.into();
                }
                told
            })
            .collect();
        let mut event = hashed(event.clone(), "sha256", &transfer.payload)
            .detail("kind", transfer.kind.as_str())
            .detail("revision", transfer.revision)
            .detail("payload", transfer.payload.id.to_string())
            .detail("bytes", transfer.payload.length)
            .detail("file_name", text(&transfer.payload.file_name))
            .detail("created_at", precise(transfer.created_at))
            .detail("deliveries", deliveries);
        if let Some(media_type) = &transfer.payload.media_type {
            event = event.peer_detail("media_type", media_type);
        }
        if transfer.payload.content.is_streamed() {
            event = event.detail("streamed", true);
        }
        if !new.attachments.is_empty() {
            event = event
                .detail("attachments", new.attachments.iter().map(attachment_detail).collect::<Vec<Value>>());
        }
        event.flow = Some(transfer.flow.clone());
        event.partner = transfer.partner.clone();
        match transfer.parent {
            Some(parent) => event.detail("parent", parent.to_string()),
            None => event,
        }
    };
    events.iter().map(describe).collect()
}

/// An event with the hash of a payload, if that is known.
pub(crate) fn hashed(event: AuditEvent, key: &'static str, payload: &PayloadRecord) -> AuditEvent {
    match payload.content.sha256() {
        Some(sha256) => event.detail(key, sha256.to_string()),
        None => event,
    }
}

/// A time in the precision of a column, as events contain it.
pub(crate) fn precise(at: Timestamp) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

/// The digest of a receipt as it is stored, for its event.
pub(crate) fn receipt_digest(receipt: &Receipt) -> String {
    let stored = serde_json::to_value(receipt).unwrap_or_default();
    Sha256(openssl::sha::sha256(canonical_json(&stored).as_bytes())).to_string()
}

async fn insert_transfer(tx: &mut Tx<'_>, new: &NewTransfer, now: Timestamp) -> Result<(), Fault> {
    let transfer = &new.transfer;
    // A transfer without a delivery is held for a person: it would never end by itself.
    let goes_nowhere = new.deliveries.is_empty();
    if goes_nowhere && transfer.state != TransferState::Held {
        return Err(Error::permanent(ErrorKind::Internal, "record a transfer without a destination")
            .with("transfer", transfer.id)
            .into());
    }
    let has_steps = new.deliveries.iter().any(|new| new.has_steps);
    let state = match transfer.state {
        TransferState::Held => TransferState::Held,
        state => match transition(state, TransferEvent::Process)? {
            state if has_steps && new.deliveries.iter().all(|new| new.has_steps) => state,
            state => transition(state, TransferEvent::Deliver)?,
        },
    };
    insert_payload(tx, &transfer.payload).await?;
    on!(tx, c => sqlx::query(
        "INSERT INTO transfers (id, kind, flow, revision, offer_id, parent_id, partner, payload_id, file_name, state, \
           created_at, updated_at, metadata, retain_for, retained_until, sequence, failure_route, released) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)")
        .bind(transfer.id.uuid()).bind(transfer.kind.as_str()).bind(&transfer.flow).bind(transfer.revision)
        .bind(transfer.offer.map(|id| id.uuid())).bind(transfer.parent.map(|id| id.uuid()))
        .bind(&transfer.partner).bind(transfer.payload.id.uuid()).bind(transfer.payload.file_name.to_text())
        .bind(state.as_str()).bind(transfer.created_at).bind(now).bind(Json(&transfer.metadata))
        .bind(micros(new.retain_for)).bind(goes_nowhere.then(|| later(now, new.retain_for)))
        .bind(i64::from(transfer.sequence)).bind(new.failure_route.as_ref().map(Json))
        // Of what is streamed there are no bytes to remove.
        .bind(transfer.payload.content.is_streamed())
        .execute(c).await.map(|_| ()))?;
    refer(tx, &transfer.payload, transfer.id).await?;
    insert_attachments(tx, transfer.id, &new.attachments).await?;
    for delivery in &new.deliveries {
        insert_delivery(tx, delivery, transfer, state == TransferState::Held, now).await?;
    }
    if has_steps {
        due(tx, transfer.id.uuid(), state == TransferState::Held, now).await?;
    }
    Ok(())
}

/// Writes the attachments of a new transfer, in their order.
async fn insert_attachments(
    tx: &mut Tx<'_>,
    transfer: TransferId,
    attachments: &[Attachment],
) -> Result<(), Fault> {
    for (attachment, place) in attachments.iter().zip(1_i64..) {
        insert_payload(tx, &attachment.payload).await?;
        on!(tx, c => sqlx::query(
            "INSERT INTO attachments (transfer_id, place, payload_id, metadata) VALUES ($1, $2, $3, $4)")
            .bind(transfer.uuid()).bind(place).bind(attachment.payload.id.uuid()).bind(Json(&attachment.metadata))
            .execute(c).await.map(|_| ()))?;
        refer(tx, &attachment.payload, transfer).await?;
    }
    Ok(())
}

/// What the event of a new transfer says of an attachment.
fn attachment_detail(attachment: &Attachment) -> Value {
    let payload = &attachment.payload;
    let safe = |text: &str| PeerText::from(text).as_str().to_owned();
    json!({
        "payload": payload.id.to_string(), "bytes": payload.length,
        "sha256": payload.content.sha256().map(|hash| hash.to_string()),
        "file_name": safe(&payload.file_name.to_text()), "media_type": payload.media_type.as_deref().map(safe),
    })
}

async fn insert_delivery(
    tx: &mut Tx<'_>,
    new: &NewDelivery,
    of: &Transfer,
    held: bool,
    now: Timestamp,
) -> Result<(), Fault> {
    let delivery = &new.delivery;
    let lane_seq: Option<i64> = match &delivery.lane {
        None => None,
        // The lane's row is locked until the commit: the next number is given when this one is committed or undone.
        Some(lane) => Some(on!(tx, c => sqlx::query_scalar(
            "INSERT INTO lanes (lane, next_seq) VALUES ($1, 2) \
             ON CONFLICT (lane) DO UPDATE SET next_seq = lanes.next_seq + 1 RETURNING next_seq - 1")
            .bind(lane).fetch_one(c).await)?),
    };
    on!(tx, c => sqlx::query(
        "INSERT INTO deliveries (id, transfer_id, destination, endpoint, payload_id, file_name, state, created_at, updated_at, \
           attempt, failures, lane, lane_seq, lane_open, lane_continues, held, due_at, expires_at, interrupted, source_endpoint) \
         VALUES ($1, $2, $3, $4, $15, $5, $6, $7, $7, 0, 0, $8, $9, $10, $11, $12, $13, $14, false, \
           (SELECT o.endpoint FROM offers o WHERE o.id = $16))")
        .bind(delivery.id.uuid()).bind(delivery.transfer.uuid()).bind(&delivery.destination)
        .bind(&delivery.endpoint).bind(delivery.file_name.to_text()).bind(delivery.state.as_str()).bind(now)
        .bind(&delivery.lane).bind(lane_seq).bind(lane_seq.is_some()).bind(new.lane_continues).bind(held)
        .bind(delivery.due_at).bind(delivery.expires_at).bind((!new.has_steps).then(|| of.payload.id.uuid()))
        .bind(of.offer.filter(|_| of.payload.content.is_streamed()).map(|offer| offer.uuid()))
        .execute(c).await.map(|_| ()))?;
    Ok(())
}

/// Writes the row of staged bytes, if it does not exist. Removed bytes cannot be used again.
pub(crate) async fn insert_payload(tx: &mut Tx<'_>, payload: &PayloadRecord) -> Result<(), Fault> {
    let length = signed(payload.length)?;
    let new = on!(tx, c => sqlx::query(
        "INSERT INTO payloads (id, length, sha256, media_type, file_name, staged_at, streamed) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING")
        .bind(payload.id.uuid()).bind(length).bind(payload.content.sha256().map(|hash| hash.0.to_vec()))
        .bind(&payload.media_type).bind(payload.file_name.to_text()).bind(payload.staged_at)
        .bind(payload.content.is_streamed())
        .execute(c).await.map(|done| done.rows_affected()))?;
    if new == 0 {
        // Locked, so that a removal sees the reference that is about to be written.
        let sql = locking!(tx, "SELECT removed_at FROM payloads WHERE id = $1");
        let removed: Option<Timestamp> =
            on!(tx, c => sqlx::query_scalar(sql).bind(payload.id.uuid()).fetch_one(c).await)?;
        if let Some(at) = removed {
            return Err(Error::permanent(ErrorKind::NotFound, "use staged bytes again")
                .with("payload", payload.id)
                .with("removed", at)
                .advice(
                    "their content was removed at the end of its retention; put the file at its source again",
                )
                .into());
        }
    }
    Ok(())
}

/// Records that a transfer needs a payload.
pub(crate) async fn refer(
    tx: &mut Tx<'_>,
    payload: &PayloadRecord,
    transfer: TransferId,
) -> Result<(), Fault> {
    on!(tx, c => sqlx::query(
        "INSERT INTO payload_references (payload_id, transfer_id) VALUES ($1, $2) \
         ON CONFLICT (payload_id, transfer_id) DO NOTHING")
        .bind(payload.id.uuid()).bind(transfer.uuid()).execute(c).await.map(|_| ()))?;
    Ok(())
}
