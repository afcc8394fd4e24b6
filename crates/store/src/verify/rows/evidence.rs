//! Evidence of messages against the events with which it was recorded, and removed.

use super::{Placed, RowReport, Run, Snapshot, micros};
use crate::delivery::evidence::{EVIDENCE, EVIDENCE_DIGEST, EVIDENCE_UNTIL, evidence_digest};
use crate::delivery::precise;
use model::evidence::RECORDINGS;
use model::{EventKind, PayloadId, Result, Timestamp};
use serde_json::{Map, Value};
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

/// The table.
const TABLE: &str = "evidence";

const SELECT: &str = "SELECT e.id, e.transfer_id, e.recorded_at, e.keep_until, e.about, e.pieces, e.payload_id, e.removed_at \
     FROM evidence e WHERE TRUE";

#[derive(FromRow)]
struct EvidenceRow {
    id: Uuid,
    transfer_id: Uuid,
    recorded_at: Timestamp,
    keep_until: Timestamp,
    about: Option<Json<Value>>,
    pieces: Option<Json<Value>>,
    payload_id: Option<Uuid>,
    removed_at: Option<Timestamp>,
}

impl Run<'_> {
    pub(super) async fn evidence(&mut self, progress: &mut impl FnMut(&RowReport)) -> Result<()> {
        let mut after = None;
        loop {
            let mut page = Snapshot::begin(self.store).await?;
            let (rows, next) = self.page(&mut page, TABLE, (SELECT, "e.id"), after).await?;
            let rows: Vec<EvidenceRow> =
                rows.into_iter().filter(|row: &EvidenceRow| self.within(row.recorded_at)).collect();
            let transfers: Vec<Uuid> = rows.iter().map(|row| row.transfer_id).collect();
            let events = self.events_about(&mut page, "transfer_id", &transfers).await?;
            for row in &rows {
                let events = events.get(&row.transfer_id).map(Vec::as_slice).unwrap_or_default();
                self.one_evidence(row, events);
            }
            progress(&self.report);
            if next.is_none() {
                break;
            }
            after = next;
        }
        for kind in RECORDINGS {
            self.find_missing(kind, TABLE, |event| {
                event.detail.get(EVIDENCE).and_then(|id| id.as_str()?.parse().ok()).into_iter().collect()
            })
            .await?;
        }
        Ok(())
    }

    fn one_evidence(&mut self, row: &EvidenceRow, events: &[Placed]) {
        self.count(TABLE);
        let id = row.id.to_string();
        let this = (TABLE, id.as_str());
        let about: Vec<&Placed> =
            events.iter().filter(|event| event.text(EVIDENCE) == Some(id.as_str())).collect();
        // Somebody who saved it is in an event with its id too.
        let Some(made) = about.iter().find(|event| RECORDINGS.iter().any(|kind| event.is(*kind))) else {
            if self.is_retired(row.recorded_at) {
                self.report.retired += 1;
            } else {
                self.report.find(TABLE, &id, "the event with which it was recorded is missing");
            }
            return;
        };
        self.note_sealing(about.iter().copied());
        let until = made.text(EVIDENCE_UNTIL).map(str::to_owned);
        self.compare(this, "keep_until", Some(precise(row.keep_until)), until);
        let removed = about.iter().find(|event| event.is(EventKind::EvidenceRemoved));
        if removed.is_some() || !row.removed_at.is_some_and(|at| self.is_retired(at)) {
            let told = removed.map(|event| event.event.at.to_string());
            self.compare(this, "removed_at", micros(row.removed_at), told);
        }
        if row.removed_at.is_none() {
            self.compare(this, "digest", Some(digest(row)), made.text(EVIDENCE_DIGEST).map(str::to_owned));
        }
    }
}

/// The digest of what is stored.
fn digest(row: &EvidenceRow) -> String {
    let about = row.about.as_ref().map_or(Value::Null, |about| about.0.clone());
    let pieces = row.pieces.as_ref().map_or(Value::Object(Map::new()), |pieces| pieces.0.clone());
    evidence_digest(&about, &pieces, row.payload_id.map(PayloadId::new)).to_string()
}
