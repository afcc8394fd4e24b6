//! Rows of payloads that steps made, and what deliveries send, against the events of the steps.

use super::{PAYLOADS, Placed, Run, Snapshot, micros};
use crate::search::Attempted;
use model::{EventKind, PeerText, Result, Sha256, Timestamp};
use serde_json::Value;
use sqlx::FromRow;
use std::collections::HashMap;
use uuid::Uuid;

#[derive(FromRow)]
pub(super) struct MadeRow {
    transfer_id: Uuid,
    id: Uuid,
    length: i64,
    sha256: Vec<u8>,
    media_type: Option<String>,
    file_name: String,
    parent_id: Option<Uuid>,
    made_by: Option<String>,
    staged_at: Timestamp,
    removed_at: Option<Timestamp>,
}

impl Run<'_> {
    /// The payloads that steps made of those of transfers, by transfer.
    pub(super) async fn made_for(
        &mut self,
        page: &mut Snapshot,
        transfers: &[Uuid],
    ) -> Result<HashMap<Uuid, Vec<MadeRow>>> {
        let mut by_transfer = HashMap::new();
        if transfers.is_empty() {
            return Ok(by_transfer);
        }
        let rows: Vec<Attempted<MadeRow>> = self
            .select_of(
                page,
                "SELECT r.transfer_id, p.id, p.length, p.sha256, p.media_type, p.file_name, p.parent_id, p.made_by, p.staged_at, \
                 p.removed_at FROM payload_references r JOIN payloads p ON p.id = r.payload_id \
                 WHERE p.parent_id IS NOT NULL AND r.transfer_id IN (",
                transfers,
            )
            .await?;
        for row in self.readable(PAYLOADS, rows) {
            by_transfer.entry(row.transfer_id).or_insert_with(Vec::new).push(row);
        }
        Ok(by_transfer)
    }

    /// What steps made for a transfer.
    pub(super) fn made(&mut self, transfer: Uuid, events: &[Placed], rows: &[MadeRow]) {
        for row in rows {
            self.count(PAYLOADS);
            let id = row.id.to_string();
            let this = (PAYLOADS, id.as_str());
            let about = |event: &&Placed| event.text("payload") == Some(id.as_str());
            // A retry on the failure route, or a resubmission, may need it as what it received.
            let Some(event) = events.iter().filter(|event| event.is(EventKind::StepDone)).find(about) else {
                if !self.is_retired(row.staged_at) && !is_received(events, &id) {
                    let what =
                        format!("the event of the step that made it for transfer {transfer} is missing");
                    self.report.find(PAYLOADS, &id, what);
                }
                continue;
            };
            let told = |key: &str| event.text(key).map(str::to_owned);
            let safe = |text: &str| Some(PeerText::from(text).as_str().to_owned());
            let bytes = event.detail("bytes").map(ToString::to_string);
            let stored = match <[u8; 32]>::try_from(row.sha256.as_slice()) {
                Ok(hash) => Sha256(hash).to_string(),
                Err(_) => format!("{} bytes", row.sha256.len()),
            };
            self.compare(this, "length", Some(row.length.to_string()), bytes);
            self.compare(this, "sha256", Some(stored), told("sha256"));
            self.compare(this, "file_name", safe(&row.file_name), told("file_name"));
            let media_type = row.media_type.as_deref().and_then(safe);
            self.compare(this, "media_type", media_type, told("media_type"));
            self.compare(this, "parent_id", row.parent_id.map(|id| id.to_string()), told("parent_payload"));
            self.compare(this, "made_by", row.made_by.clone(), told("step"));
            let removed = events.iter().filter(|event| event.is(EventKind::PayloadRemoved)).find(about);
            if removed.is_some() || !row.removed_at.is_some_and(|at| self.is_retired(at)) {
                let told = removed.map(|event| event.event.at.to_string());
                self.compare(this, "removed_at", micros(row.removed_at), told);
            }
        }
    }

    /// What a delivery sends: what a step made for it; else what was received, unless it waits for its steps.
    pub(super) fn sent(
        &mut self,
        this: (&'static str, &str),
        stored: Option<Uuid>,
        (delivery, waited): (Uuid, bool),
        made: &Placed,
        events: &[Placed],
    ) {
        let id = delivery.to_string();
        let names_it = |event: &&Placed| {
            let named = event.detail("deliveries").and_then(Value::as_array).into_iter().flatten();
            event.is(EventKind::StepDone) && named.into_iter().any(|named| named.as_str() == Some(&id))
        };
        let mut sent: Vec<Option<String>> =
            events.iter().filter(names_it).map(|event| event.text("payload").map(str::to_owned)).collect();
        if sent.is_empty() {
            // Also where the steps were removed from the flow before a retry.
            sent.push(made.text("payload").map(str::to_owned));
        }
        let stored = stored.map(|id| id.to_string());
        let is_told = if stored.is_none() { waited } else { sent.contains(&stored) };
        if !is_told {
            self.compare(this, "payload_id", stored, sent.pop().flatten());
        }
    }
}

/// Whether a transfer received a payload, which a step made for another.
fn is_received(events: &[Placed], payload: &str) -> bool {
    let recorded = [EventKind::TransferRecorded, EventKind::TransferHeld];
    events
        .iter()
        .any(|event| recorded.iter().any(|kind| event.is(*kind)) && event.text("payload") == Some(payload))
}
