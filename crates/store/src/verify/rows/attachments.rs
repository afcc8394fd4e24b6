//! Rows of attachments, with their payloads, against the events that recorded their transfers.

use super::{PAYLOADS, Placed, Run, Snapshot, micros};
use crate::audit::EventColumns;
use crate::search::Attempted;
use model::{EventKind, PeerText, Result, Sha256, Timestamp};
use serde_json::Value;
use sqlx::FromRow;
use std::collections::HashMap;
use uuid::Uuid;

const ATTACHMENTS: &str = "attachments";

#[derive(FromRow)]
pub(super) struct AttachmentRow {
    transfer_id: Uuid,
    id: Uuid,
    length: i64,
    sha256: Option<Vec<u8>>,
    media_type: Option<String>,
    file_name: String,
    staged_at: Timestamp,
    removed_at: Option<Timestamp>,
    place: i64,
}

/// The attachments that an event names.
fn named(detail: Option<&Value>) -> impl Iterator<Item = &Value> {
    detail.and_then(Value::as_array).into_iter().flatten()
}

/// The payloads of the attachments that an event names.
pub(super) fn payloads_named(event: &EventColumns) -> Vec<Uuid> {
    let attachments = named(event.detail.get(ATTACHMENTS));
    attachments.filter_map(|told| told.get("payload")?.as_str()?.parse().ok()).collect()
}

impl Run<'_> {
    /// The attachments of transfers, by transfer.
    pub(super) async fn attachments_for(
        &mut self,
        page: &mut Snapshot,
        transfers: &[Uuid],
    ) -> Result<HashMap<Uuid, Vec<AttachmentRow>>> {
        let mut by_transfer = HashMap::new();
        if transfers.is_empty() {
            return Ok(by_transfer);
        }
        let rows: Vec<Attempted<AttachmentRow>> = self
            .select_of(
                page,
                "SELECT a.transfer_id, a.place, p.id, p.length, p.sha256, p.media_type, p.file_name, p.staged_at, p.removed_at \
                 FROM attachments a JOIN payloads p ON p.id = a.payload_id WHERE a.transfer_id IN (",
                transfers,
            )
            .await?;
        for row in self.readable(ATTACHMENTS, rows) {
            by_transfer.entry(row.transfer_id).or_insert_with(Vec::new).push(row);
        }
        Ok(by_transfer)
    }

    /// The attachments of a transfer that this event recorded.
    pub(super) fn attachments(&mut self, made: &Placed, events: &[Placed], rows: &[AttachmentRow]) {
        let told: Vec<&Value> = named(made.detail(ATTACHMENTS)).collect();
        for row in rows {
            self.count(ATTACHMENTS);
            let id = row.id.to_string();
            let name = format!("{} number {}", row.transfer_id, row.place);
            let this = (ATTACHMENTS, name.as_str());
            let place = usize::try_from(row.place).ok().and_then(|place| place.checked_sub(1));
            let Some(told) = place.and_then(|place| told.get(place)) else {
                self.report.find(ATTACHMENTS, &name, "it has no event");
                continue;
            };
            let text = |key: &str| told.get(key).and_then(Value::as_str).map(str::to_owned);
            let safe = |text: &str| PeerText::from(text).as_str().to_owned();
            self.compare(this, "payload_id", Some(id.clone()), text("payload"));
            let stored = row.sha256.as_deref().map(|hash| match <[u8; 32]>::try_from(hash) {
                Ok(hash) => Sha256(hash).to_string(),
                Err(_) => format!("{} bytes", hash.len()),
            });
            let this = (PAYLOADS, id.as_str());
            self.count(PAYLOADS);
            self.compare(
                this,
                "length",
                Some(row.length.to_string()),
                told.get("bytes").map(ToString::to_string),
            );
            self.compare(this, "sha256", stored, text("sha256"));
            self.compare(this, "file_name", Some(safe(&row.file_name)), text("file_name"));
            self.compare(this, "media_type", row.media_type.as_deref().map(safe), text("media_type"));
            let removed = events.iter().find(|event| {
                event.is(EventKind::PayloadRemoved) && event.text("payload") == Some(id.as_str())
            });
            let may_be_retired = row.removed_at.is_some_and(|at| at >= row.staged_at && self.is_retired(at));
            if removed.is_some() || !may_be_retired {
                let told = removed.map(|event| event.event.at.to_string());
                self.compare(this, "removed_at", micros(row.removed_at), told);
            }
        }
        if told.len() > rows.len() {
            let what = format!(
                "{} of the attachments that event {} names are missing",
                told.len() - rows.len(),
                made.event.id
            );
            let transfer = made.event.transfer.map_or_else(String::new, |id| id.to_string());
            self.report.find(ATTACHMENTS, transfer, what);
        }
    }
}
