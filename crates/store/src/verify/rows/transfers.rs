//! Rows of transfers, with their payloads, deliveries, attempts and receipts, against the events of their
//! way.

use super::attachments::payloads_named;
use super::{Columns, PAYLOADS, Placed, RowReport, Run, Snapshot, micros};
use crate::delivery::precise;
use crate::either::on;
use crate::search::{AttemptRow, Attempted};
use model::{
    DeliveryState, EventKind, Lifecycle as _, PeerText, Result, Sha256, Timestamp, TransferState,
    canonical_json,
};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{FromRow, QueryBuilder};
use std::collections::HashMap;
use uuid::Uuid;

const TRANSFERS: &str = "transfers";
const DELIVERIES: &str = "deliveries";
const ATTEMPTS: &str = "attempts";
const RECEIPT: &str = "the digest of its receipt";

/// Transfers with their payloads.
const SELECT: &str = "SELECT t.id, t.kind, t.flow, t.revision, t.parent_id, t.partner, t.payload_id, t.file_name, t.state, \
     t.created_at, t.ended_at, p.length, p.sha256, p.streamed, p.media_type, p.file_name AS payload_name, p.removed_at \
     FROM transfers t LEFT JOIN payloads p ON p.id = t.payload_id WHERE TRUE";

#[derive(FromRow)]
struct TransferRow {
    id: Uuid,
    kind: String,
    flow: String,
    revision: i64,
    parent_id: Option<Uuid>,
    partner: Option<String>,
    payload_id: Uuid,
    file_name: String,
    state: String,
    created_at: Timestamp,
    ended_at: Option<Timestamp>,
    length: Option<i64>,
    sha256: Option<Vec<u8>>,
    streamed: Option<bool>,
    media_type: Option<String>,
    payload_name: Option<String>,
    removed_at: Option<Timestamp>,
}

#[derive(FromRow)]
struct DeliveryRow {
    id: Uuid,
    transfer_id: Uuid,
    destination: String,
    endpoint: String,
    revision: Option<i64>,
    payload_id: Option<Uuid>,
    file_name: String,
    state: String,
    receipt: Option<Json<Value>>,
    error: Option<String>,
    error_kind: Option<String>,
    ended_at: Option<Timestamp>,
}

/// The digest of a receipt as it is stored, which its event holds.
fn digest(receipt: &Json<Value>) -> String {
    Sha256(openssl::sha::sha256(canonical_json(&receipt.0).as_bytes())).to_string()
}

fn receipt_of(stored: Option<&Json<Value>>) -> Option<String> {
    stored.filter(|receipt| !receipt.0.is_null()).map(digest)
}

/// The state that an event left its delivery in.
fn delivery_state(event: &Placed) -> Option<DeliveryState> {
    Some(match EventKind::parse(&event.event.kind)? {
        EventKind::DeliveryAttempted => DeliveryState::Sending,
        EventKind::DeliveryAwaiting => DeliveryState::AwaitingReceipt,
        EventKind::DeliveryDelivered => DeliveryState::Delivered,
        EventKind::DeliveryRetrying | EventKind::DeliveryInterrupted => DeliveryState::Retrying,
        EventKind::DeliveryFailed => DeliveryState::Failed,
        EventKind::DeliveryExpired => DeliveryState::Expired,
        EventKind::DeliveryCancelled => DeliveryState::Cancelled,
        EventKind::DeliveryRequeued => DeliveryState::Pending,
        _ => return None,
    })
}

/// What an event says of its delivery's state.
fn state_told(event: &Placed) -> Columns {
    let state = delivery_state(event);
    let ended = state.filter(|state| state.is_final()).map(|_| event.event.at.to_string());
    vec![
        ("state", state.map(|state| state.as_str().to_owned())),
        ("ended_at", ended),
        (RECEIPT, event.text("receipt_digest").map(str::to_owned)),
    ]
}

/// What an event says of its delivery's last error: one that begins an attempt, or tells that it was cut
/// off, leaves that as it was.
fn error_told(event: &Placed) -> Option<Columns> {
    let leaves = event.is(EventKind::DeliveryAttempted) || event.is(EventKind::DeliveryInterrupted);
    delivery_state(event)
        .filter(|_| !leaves)
        .map(|_| error_columns(event.text("error"), event.text("error_kind")))
}

fn error_columns(error: Option<&str>, kind: Option<&str>) -> Columns {
    vec![("error", error.map(str::to_owned)), ("error_kind", kind.map(str::to_owned))]
}

/// What an event of an attempt says of it.
fn attempt_told(event: &Placed) -> Columns {
    let outcome = match EventKind::parse(&event.event.kind) {
        Some(EventKind::DeliveryAttempted) => None,
        Some(EventKind::DeliveryInterrupted) => Some("interrupted"),
        _ => delivery_state(event).map(DeliveryState::as_str),
    };
    let goes_on = outcome.is_none() || event.is(EventKind::DeliveryAwaiting);
    let mut told = vec![
        ("outcome", outcome.map(str::to_owned)),
        ("ended_at", (!goes_on).then(|| event.event.at.to_string())),
        (RECEIPT, event.text("receipt_digest").map(str::to_owned)),
    ];
    told.extend(error_columns(event.text("error"), event.text("error_kind")));
    told
}

/// The events that can record a new transfer: a reply begins its way held.
const RECORDINGS: [EventKind; 2] = [EventKind::TransferRecorded, EventKind::TransferHeld];

/// Whether an event recorded its transfer. Such an event names the payload; so does that of the payload's
/// removal, which may outlive the month of the recording.
fn is_recording(event: &Placed) -> bool {
    RECORDINGS.iter().any(|kind| event.is(*kind)) && event.detail("payload").is_some()
}

/// Whether an event left its transfer in this state; `None` when it says nothing of it.
fn leaves(event: &Placed, state: &str) -> Option<bool> {
    let under_way = || TransferState::parse(state).is_some_and(|state| !state.is_final());
    Some(match EventKind::parse(&event.event.kind)? {
        EventKind::TransferCompleted | EventKind::TransferFailed => event.text("state") == Some(state),
        EventKind::TransferCancelled => state == TransferState::Cancelled.as_str(),
        EventKind::TransferHeld => state == TransferState::Held.as_str(),
        EventKind::TransferRecorded | EventKind::TransferReleased | EventKind::DeliveryRequeued => {
            under_way()
        }
        _ => return None,
    })
}

/// The last event that says something, by the order of time and by the order of writing: the clocks of two
/// nodes may differ, and transactions are not always numbered in the order of their commits.
fn lasts<'e>(events: &[&'e Placed], says: impl Fn(&Placed) -> bool) -> Vec<&'e Placed> {
    let saying = || events.iter().copied().filter(|event| says(event));
    let by_time = saying().max_by_key(|event| (event.event.at, event.bound));
    let by_place = saying().max_by_key(|event| event.bound);
    by_time.into_iter().chain(by_place).collect()
}

impl Run<'_> {
    pub(super) async fn transfers(&mut self, progress: &mut impl FnMut(&RowReport)) -> Result<()> {
        let mut after = None;
        loop {
            let mut page = Snapshot::begin(self.store).await?;
            let (rows, next) = self.page(&mut page, TRANSFERS, (SELECT, "t.id"), after).await?;
            let rows: Vec<TransferRow> =
                rows.into_iter().filter(|row: &TransferRow| self.within(row.created_at)).collect();
            let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
            let events = self.events_about(&mut page, "transfer_id", &ids).await?;
            let (deliveries, attempts) = self.deliveries_of(&mut page, &ids).await?;
            let made = self.made_for(&mut page, &ids).await?;
            let attached = self.attachments_for(&mut page, &ids).await?;
            for row in &rows {
                let events = events.get(&row.id).map(Vec::as_slice).unwrap_or_default();
                let own = deliveries.get(&row.id).map(Vec::as_slice).unwrap_or_default();
                self.transfer(row, events, own, &attempts);
                self.made(row.id, events, made.get(&row.id).map(Vec::as_slice).unwrap_or_default());
                if let Some(recorded) = events.iter().find(|event| is_recording(event)) {
                    let attached = attached.get(&row.id).map(Vec::as_slice).unwrap_or_default();
                    self.attachments(recorded, events, attached);
                }
            }
            progress(&self.report);
            if next.is_none() {
                break;
            }
            after = next;
        }
        for kind in RECORDINGS {
            self.find_missing(kind, TRANSFERS, |event| {
                let made = event.detail.get("payload").is_some();
                event.transfer.into_iter().filter(|_| made).collect()
            })
            .await?;
        }
        self.find_missing(EventKind::TransferRecorded, DELIVERIES, |event| {
            let listed = event.detail.get("deliveries").and_then(Value::as_array);
            let ids = listed.into_iter().flatten();
            ids.filter_map(|delivery| delivery.get("id")?.as_str()?.parse().ok()).collect()
        })
        .await?;
        self.find_missing(EventKind::TransferRecorded, PAYLOADS, payloads_named).await?;
        for kind in [EventKind::TransferRecorded, EventKind::StepDone] {
            self.find_missing(kind, PAYLOADS, |event| {
                event.detail.get("payload").and_then(|id| id.as_str()?.parse().ok()).into_iter().collect()
            })
            .await?;
        }
        Ok(())
    }

    /// The deliveries of transfers, by transfer, and their attempts, by delivery.
    async fn deliveries_of(
        &mut self,
        page: &mut Snapshot,
        transfers: &[Uuid],
    ) -> Result<(HashMap<Uuid, Vec<DeliveryRow>>, HashMap<Uuid, Vec<AttemptRow>>)> {
        let (mut by_transfer, mut by_delivery) = (HashMap::new(), HashMap::new());
        if transfers.is_empty() {
            return Ok((by_transfer, by_delivery));
        }
        let rows: Vec<Attempted<DeliveryRow>> = self
            .select_of(
                page,
                "SELECT id, transfer_id, destination, endpoint, revision, payload_id, file_name, state, receipt, error, error_kind, \
                 ended_at FROM deliveries WHERE transfer_id IN (",
                transfers,
            )
            .await?;
        for row in self.readable(DELIVERIES, rows) {
            by_transfer.entry(row.transfer_id).or_insert_with(Vec::new).push(row);
        }
        let rows: Vec<Attempted<AttemptRow>> = self
                          .select_of(
                page,
                "SELECT a.id, a.delivery_id, a.number, a.node, a.started_at, a.ended_at, a.outcome, a.error, a.error_kind, \
                 a.receipt FROM attempts a JOIN deliveries d ON d.id = a.delivery_id WHERE d.transfer_id IN (",
                transfers,
            )
            .await?;
        for row in self.readable(ATTEMPTS, rows) {
            by_delivery.entry(row.delivery_id).or_insert_with(Vec::new).push(row);
        }
        Ok((by_transfer, by_delivery))
    }

    pub(super) async fn select_of<R>(
        &self,
        page: &mut Snapshot,
        sql: &'static str,
        ids: &[Uuid],
    ) -> Result<Vec<R>>
    where
        R: for<'r> FromRow<'r, sqlx::sqlite::SqliteRow>
            + for<'r> FromRow<'r, sqlx::postgres::PgRow>
            + Send
            + Unpin,
    {
        self.store
            .read("read the rows of transfers", async {
                on!(page, c => {
                    let mut query = QueryBuilder::<Db>::new(sql);
                    let mut list = query.separated(", ");
                    for id in ids {
                        list.push_bind(*id);
                    }
                    query.push(")");
                    query.build_query_as().persistent(false).fetch_all(c).await
                })
            })
            .await
    }

    fn transfer(
        &mut self,
        row: &TransferRow,
        events: &[Placed],
        deliveries: &[DeliveryRow],
        attempts: &HashMap<Uuid, Vec<AttemptRow>>,
    ) {
        self.count(TRANSFERS);
        let id = row.id.to_string();
        let this = (TRANSFERS, id.as_str());
        let Some(made) = events.iter().find(|event| is_recording(event)) else {
            if self.is_retired(row.created_at) {
                self.report.retired += 1;
            } else {
                self.report.find(TRANSFERS, &id, "the event that records it is missing");
            }
            return;
        };
        self.note_sealing(events);
        let told = |key: &str| made.text(key).map(str::to_owned);
        self.compare(this, "kind", Some(row.kind.clone()), told("kind"));
        self.compare(this, "flow", Some(row.flow.clone()), made.event.flow.clone());
        let revision = made.detail("revision").map(Value::to_string);
        self.compare(this, "revision", Some(row.revision.to_string()), revision);
        self.compare(this, "partner", row.partner.clone(), made.event.partner.clone());
        self.compare(this, "parent", row.parent_id.map(|id| id.to_string()), told("parent"));
        self.compare(this, "payload", Some(row.payload_id.to_string()), told("payload"));
        let file_name = PeerText::from(row.file_name.as_str()).as_str().to_owned();
        self.compare(this, "file_name", Some(file_name), told("file_name"));
        self.compare(this, "created_at", Some(precise(row.created_at)), told("created_at"));
        if row.length.is_some() {
            self.payload(row, made, events);
        }
        let all: Vec<&Placed> = events.iter().collect();
        let ends = lasts(&all, |event| leaves(event, &row.state).is_some());
        if !ends.iter().any(|event| leaves(event, &row.state) == Some(true)) {
            let last = ends.last().map_or("none", |event| event.event.kind.as_str());
            self.report.find(
                TRANSFERS,
                &id,
                format!("its state is {:?}, but its last event is {last}", row.state),
            );
        }
        let is_final = TransferState::parse(&row.state).is_some_and(TransferState::is_final);
        let ended: Vec<Columns> = ends
            .iter()
            .map(|event| vec![("ended_at", is_final.then(|| event.event.at.to_string()))])
            .collect();
        self.compare_with_last(this, &vec![("ended_at", micros(row.ended_at))], &ended);
        self.deliveries(made, events, deliveries, attempts);
    }

    fn payload(&mut self, row: &TransferRow, made: &Placed, events: &[Placed]) {
        self.count(PAYLOADS);
        let id = row.payload_id.to_string();
        let this = (PAYLOADS, id.as_str());
        let told = |key: &str| made.text(key).map(str::to_owned);
        let safe =
            |text: &Option<String>| text.as_deref().map(|text| PeerText::from(text).as_str().to_owned());
        let bytes = made.detail("bytes").map(ToString::to_string);
        self.compare(this, "length", row.length.map(|length| length.to_string()), bytes);
        let stored = row.sha256.as_deref().map(|hash| match <[u8; 32]>::try_from(hash) {
            Ok(hash) => Sha256(hash).to_string(),
            Err(_) => format!("{} bytes", hash.len()),
        });
        let streamed = made.detail("streamed").and_then(Value::as_bool).unwrap_or_default();
        self.compare(this, "streamed", row.streamed.map(|is| is.to_string()), Some(streamed.to_string()));
        if streamed {
            // Its hash is known since it was delivered, which happens once.
            let delivered = events.iter().find(|event| event.is(EventKind::TransferStreamed));
            let hash = delivered.and_then(|event| event.text("sha256")).map(str::to_owned);
            self.compare(this, "sha256", stored, hash);
        } else {
            self.compare(this, "sha256", stored, told("sha256"));
        }
        self.compare(this, "file_name", safe(&row.payload_name), told("file_name"));
        self.compare(this, "media_type", safe(&row.media_type), told("media_type"));
        let removed = events
            .iter()
            .find(|event| event.is(EventKind::PayloadRemoved) && event.text("payload") == Some(id.as_str()));
        let may_be_retired = row.removed_at.is_some_and(|at| at >= row.created_at && self.is_retired(at));
        if removed.is_some() || !may_be_retired {
            let told = removed.map(|event| event.event.at.to_string());
            self.compare(this, "removed_at", micros(row.removed_at), told);
        }
    }

    fn deliveries(
        &mut self,
        made: &Placed,
        events: &[Placed],
        deliveries: &[DeliveryRow],
        attempts: &HashMap<Uuid, Vec<AttemptRow>>,
    ) {
        let begun_under = made.detail("revision").map(Value::to_string);
        let listed = made.detail("deliveries").and_then(Value::as_array).cloned().unwrap_or_default();
        for row in deliveries {
            self.count(DELIVERIES);
            let id = row.id.to_string();
            let this = (DELIVERIES, id.as_str());
            let Some(told) = listed.iter().find(|told| told.get("id").and_then(Value::as_str) == Some(&id))
            else {
                self.report.find(DELIVERIES, &id, "it has no event");
                continue;
            };
            let text = |key: &str| told.get(key).and_then(Value::as_str).map(str::to_owned);
            self.compare(this, "destination", Some(row.destination.clone()), text("destination"));
            self.compare(this, "endpoint", Some(row.endpoint.clone()), text("endpoint"));
            let file_name = PeerText::from(row.file_name.as_str()).as_str().to_owned();
            self.compare(this, "file_name", Some(file_name), text("file_name"));
            let waited = told.get("steps").is_some();
            self.sent(this, row.payload_id, (row.id, waited), made, events);
            let own: Vec<&Placed> =
                events.iter().filter(|event| event.event.delivery == Some(row.id)).collect();
            let mut told: Vec<Columns> =
                lasts(&own, |event| delivery_state(event).is_some()).into_iter().map(state_told).collect();
            if told.is_empty() {
                let begun = Some(DeliveryState::Pending.as_str().to_owned());
                told.push(vec![("state", begun), ("ended_at", None), (RECEIPT, None)]);
            }
            let stored = vec![
                ("state", Some(row.state.clone())),
                ("ended_at", micros(row.ended_at)),
                (RECEIPT, receipt_of(row.receipt.as_ref())),
            ];
            self.compare_with_last(this, &stored, &told);
            // Where no person retried it, that of its transfer, which stands in the row as nothing.
            let retried = lasts(&own, |event| event.is(EventKind::DeliveryRequeued));
            let under = |event: &Placed| vec![("revision", event.detail("revision").map(Value::to_string))];
            let mut told: Vec<Columns> = retried.into_iter().map(under).collect();
            if told.is_empty() {
                told.push(under(made));
            }
            let revision = row.revision.map(|number| number.to_string()).or_else(|| begun_under.clone());
            self.compare_with_last(this, &vec![("revision", revision)], &told);
            let mut told: Vec<Columns> =
                lasts(&own, |event| error_told(event).is_some()).into_iter().filter_map(error_told).collect();
            if told.is_empty() {
                told.push(error_columns(None, None));
            }
            let stored = error_columns(row.error.as_deref(), row.error_kind.as_deref());
            self.compare_with_last(this, &stored, &told);
            self.attempts(row.id, &own, attempts.get(&row.id).map(Vec::as_slice).unwrap_or_default());
        }
    }

    fn attempts(&mut self, delivery: Uuid, events: &[&Placed], rows: &[AttemptRow]) {
        let number = |event: &Placed| event.detail("attempt").and_then(Value::as_i64);
        let begun: Vec<&&Placed> =
            events.iter().filter(|event| event.is(EventKind::DeliveryAttempted)).collect();
        for row in rows {
            self.count(ATTEMPTS);
            let name = format!("{delivery} number {}", row.number);
            let Some(event) = begun.iter().find(|event| number(event) == Some(row.number)) else {
                self.report.find(ATTEMPTS, &name, "the event about its beginning is missing");
                continue;
            };
            let this = (ATTEMPTS, name.as_str());
            self.compare(this, "node", Some(row.node.clone()), Some(event.event.node.clone()));
            let started = row.started_at.timestamp_micros().to_string();
            self.compare(this, "started_at", Some(started), Some(event.event.at.to_string()));
            let says = |event: &Placed| number(event) == Some(row.number) && delivery_state(event).is_some();
            let told: Vec<Columns> = lasts(events, says).into_iter().map(attempt_told).collect();
            let mut stored = vec![
                ("outcome", row.outcome.clone()),
                ("ended_at", micros(row.ended_at)),
                (RECEIPT, receipt_of(row.receipt.as_ref())),
            ];
            stored.extend(error_columns(row.error.as_deref(), row.error_kind.as_deref()));
            self.compare_with_last(this, &stored, &told);
        }
        for event in begun {
            if !rows.iter().any(|row| Some(row.number) == number(event)) {
                let name = format!("{delivery} number {}", number(event).unwrap_or_default());
                self.report.find(ATTEMPTS, name, format!("the row for event {} is missing", event.event.id));
            }
        }
    }
}
