//! One transfer's whole way.

mod attachments;
mod made;
mod rows;

use super::events::{EventRow, Order, SELECT as EVENTS};
use super::query::{Bind, Query, split};
use super::transfers::{SELECT, TransferRow};
use super::unreadable::{Attempted, UnreadableRow};
use super::{ConnectionView, EventView, TransferView};
use crate::Store;
use crate::either::Backend;
pub use attachments::AttachmentView;
use chrono::TimeDelta;
pub use made::{MadeView, ProcessingView};
use model::{
    ConnectionId, DeliveryId, DeliveryState, EventKind, OfferId, OfferState, PayloadId, Receipt, RemotePath,
    Result, Timestamp, TransferId, TransferKind,
};
pub(crate) use rows::AttemptRow;
use rows::{DeliveryRow, OfferRow};
use sqlx::FromRow;
use std::collections::BTreeSet;

/// Events and children that a waybill shows, at most each; of more events the first half and the last.
const AT_MOST: usize = 1000;
/// How long before it was found the last time an offer's troubles are looked for.
const BEFORE_FOUND: TimeDelta = TimeDelta::days(7);

/// Everything about one transfer.
#[derive(Clone, Debug)]
pub struct Waybill {
    /// The transfer and its payload.
    pub transfer: TransferView,
    /// The offer or message that it belongs to, and how far its source is settled.
    pub offer: Option<OfferView>,
    /// The files that are sent with its payload, in their order.
    pub attachments: Vec<AttachmentView>,
    /// The transfers of the other files of the same message or offer, through the same flow, in their order; the first
    /// 1,000.
    pub came_with: Vec<TransferView>,
    /// What steps made of its payload, in the order in which they did.
    pub made: Vec<MadeView>,
    /// How far its steps are, where its flow has some.
    pub processing: Option<ProcessingView>,
    /// Its deliveries with their attempts.
    pub deliveries: Vec<DeliveryView>,
    /// Its events and its offer's own, oldest first; of more than 1,000 the first 500 and the last 500.
    pub events: Vec<EventView>,
    /// Where events are left out among these.
    pub gap: Option<EventGap>,
    /// The connections that these events name.
    pub connections: Vec<ConnectionView>,
    /// The transfer it was made from.
    pub parent: Option<TransferView>,
    /// The transfers that were made from it; the first 1,000.
    pub children: Vec<TransferView>,
    /// Whether there are more of them.
    pub more_children: bool,
    /// Rows of all these that this version cannot read.
    pub unreadable: Vec<UnreadableRow>,
}

impl Waybill {
    /// The offer that its payload was found as. `None` for a payload that came in the answer to a delivery, and for a receipt,
    /// which the gateway made: their offer is the message that they belong to, and they come from their parent.
    #[must_use]
    pub fn source(&self) -> Option<&OfferView> {
        let is_found = !matches!(self.transfer.kind, TransferKind::Reply | TransferKind::Receipt);
        self.offer.as_ref().filter(|_| is_found)
    }
}

/// Events that a waybill leaves out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventGap {
    /// After so many of those that it has.
    pub after: usize,
    /// So many.
    pub count: u64,
}

/// An offer as its transfer's waybill shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfferView {
    /// The offer.
    pub id: OfferId,
    /// Where it lay.
    pub endpoint: String,
    /// Its path there.
    pub path: RemotePath,
    /// Its size, if the source reported it.
    pub size: Option<u64>,
    /// When it last changed, if the source reported it.
    pub modified_at: Option<Timestamp>,
    /// Where it stands.
    pub state: OfferState,
    /// When it was found.
    pub found_at: Timestamp,
    /// When it last changed its state.
    pub updated_at: Timestamp,
    /// Tries that failed.
    pub failures: u32,
    /// `taken` or `refused` while its source must still be told.
    pub settle_outcome: Option<String>,
    /// The last error.
    pub error: Option<String>,
}

/// A delivery with its attempts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeliveryView {
    /// The delivery.
    pub id: DeliveryId,
    /// The flow's name for the destination.
    pub destination: String,
    /// The endpoint it goes to.
    pub endpoint: String,
    /// The revision whose flow it goes through since a person retried it; `None`: that of its transfer.
    pub revision: Option<i64>,
    /// What it sends; `None` until steps have made it.
    pub payload: Option<PayloadId>,
    /// The name it is given there.
    pub file_name: RemotePath,
    /// Where it stands.
    pub state: DeliveryState,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Its lane, when the flow is ordered.
    pub lane: Option<String>,
    /// When it may be claimed.
    pub due_at: Timestamp,
    /// When the hours of its destination begin, for which it waits; it may be claimed then.
    pub opens_at: Option<Timestamp>,
    /// When it is no longer wanted.
    pub expires_at: Option<Timestamp>,
    /// Until when its receipt is awaited.
    pub receipt_deadline: Option<Timestamp>,
    /// Its receipt.
    pub receipt: Option<Receipt>,
    /// The last error.
    pub error: Option<String>,
    /// Its kind.
    pub error_kind: Option<String>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Its attempts, oldest first.
    pub attempts: Vec<AttemptView>,
}

/// One attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttemptView {
    /// From 1.
    pub number: u32,
    /// The node that made it.
    pub node: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; `None` while under way.
    pub ended_at: Option<Timestamp>,
    /// A delivery state, or `interrupted`.
    pub outcome: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
    /// Its kind.
    pub error_kind: Option<String>,
    /// What the destination gave.
    pub receipt: Option<Receipt>,
}

#[derive(FromRow)]
struct EarlierRow {
    at: Option<Timestamp>,
}

/// Puts events among others, in the order of their times; answers how many then come before a gap.
fn merge(events: &mut Vec<EventView>, own: Vec<EventView>, gap: Option<usize>) -> usize {
    let after = gap.map_or(events.len(), |gap| gap.min(events.len()));
    let mut last = events.split_off(after);
    for event in own {
        // Those that fall into the gap stand before it.
        let into = match last.first() {
            Some(first) if first.at <= event.at => &mut last,
            _ => &mut *events,
        };
        let place = into.partition_point(|other| (other.at, other.id.uuid()) <= (event.at, event.id.uuid()));
        into.insert(place, event);
    }
    let before = events.len();
    events.append(&mut last);
    before
}

impl Store {
    /// One transfer's waybill; `None` when there is no such transfer.
    ///
    /// # Errors
    /// The database failed, or this version cannot read the transfer's own row.
    pub async fn waybill(&self, id: TransferId) -> Result<Option<Waybill>> {
        let Some(transfer) = self.transfer_view(id).await? else { return Ok(None) };
        let mut unreadable = vec![];
        let offer = match transfer.offer {
            None => None,
            Some(offer) => {
                let mut query = Query::new(
                    self,
                    "SELECT id, endpoint, path, size, modified_at, state, found_at, updated_at, failures, \
                     settle_outcome, error FROM offers WHERE TRUE",
                );
                query.and("id = ?", Some(Bind::Id(offer.uuid())));
                let rows: Vec<Attempted<OfferRow>> = query.fetch(self, "read an offer").await?;
                apart(split(rows, OfferRow::view), &mut unreadable).pop()
            }
        };
        let attachments = self.attachments_shown(id, &mut unreadable).await?;
        let came_with = match &offer {
            Some(offer) => self.came_with(offer, &transfer, &mut unreadable).await?,
            None => Vec::new(),
        };
        let made = self.made_of(id, &mut unreadable).await?;
        let processing = self.processing_of(id).await?;
        let deliveries = self.deliveries_of(id, &mut unreadable).await?;
        let (mut events, mut gap) = self.first_and_last_events(id, &mut unreadable).await?;
        if let Some(offer) = &offer {
            let own = self.offer_events(offer, &transfer, &mut unreadable).await?;
            let before = merge(&mut events, own, gap.map(|gap| gap.after));
            if let Some(gap) = &mut gap {
                gap.after = before;
            }
        }
        let named: BTreeSet<ConnectionId> = events.iter().filter_map(|event| event.connection).collect();
        let connections = self.connections_by_id(&named.into_iter().collect::<Vec<_>>()).await?;
        let connections = apart(connections, &mut unreadable);
        let parent = match transfer.parent {
            None => None,
            Some(parent) => {
                let mut query = Query::new(self, SELECT);
                query.and("t.id = ?", Some(Bind::Id(parent.uuid())));
                let rows: Vec<Attempted<TransferRow>> = query.fetch(self, "read a transfer").await?;
                apart(split(rows, TransferRow::view), &mut unreadable).pop()
            }
        };
        let mut query = Query::new(self, SELECT);
        query.and("t.parent_id = ?", Some(Bind::Id(id.uuid())));
        query.sql.push_str(&format!(" ORDER BY t.created_at, t.id LIMIT {}", AT_MOST + 1));
        let mut children: Vec<Attempted<TransferRow>> =
            query.fetch(self, "read a transfer's children").await?;
        let more_children = children.len() > AT_MOST;
        children.truncate(AT_MOST);
        let children = apart(split(children, TransferRow::view), &mut unreadable);
        Ok(Some(Waybill {
            transfer,
            offer,
            attachments,
            came_with,
            made,
            processing,
            deliveries,
            events,
            gap,
            connections,
            parent,
            children,
            more_children,
            unreadable,
        }))
    }

    /// What began and what ended a long way, and how much lies between.
    async fn first_and_last_events(
        &self,
        transfer: TransferId,
        unreadable: &mut Vec<UnreadableRow>,
    ) -> Result<(Vec<EventView>, Option<EventGap>)> {
        let half = AT_MOST / 2;
        let (mut events, bad) = self.events_of(transfer, Order::OldestFirst, AT_MOST).await?;
        let all_read = events.len() + bad.len() < AT_MOST;
        unreadable.extend(bad);
        if all_read {
            return Ok((events, None));
        }
        let all = self.count_events_of(transfer).await?;
        let left_out = all.saturating_sub(AT_MOST as u64);
        if left_out == 0 {
            return Ok((events, None));
        }
        events.truncate(half);
        let last = self.events_of(transfer, Order::NewestFirst, half).await?;
        let mut last = apart(last, unreadable);
        last.reverse();
        events.extend(last);
        Ok((events, Some(EventGap { after: half, count: left_out })))
    }

    /// What happened to the offer itself and names no transfer, or another of the transfers that were made of
    /// it: that it changed or could not be staged before, and how its source was settled. At most 100.
    async fn offer_events(
        &self,
        offer: &OfferView,
        transfer: &TransferView,
        unreadable: &mut Vec<UnreadableRow>,
    ) -> Result<Vec<EventView>> {
        let kinds = |query: &mut Query, kinds: &[EventKind]| {
            let places: Vec<String> =
                kinds.iter().map(|kind| query.bind(Bind::Text(kind.as_str().to_owned()))).collect();
            query.sql.push_str(&format!(" AND kind IN ({})", places.join(", ")));
        };
        let mut query = Query::new(self, EVENTS);
        kinds(&mut query, &[EventKind::OfferSettled, EventKind::SettleFailed]);
        query.and(
            "transfer_id IN (SELECT id FROM transfers WHERE offer_id = ?)",
            Some(Bind::Id(offer.id.uuid())),
        );
        query.and("transfer_id <> ?", Some(Bind::Id(transfer.id.uuid())));
        query.sql.push_str(" ORDER BY at, id LIMIT 50");
        let rows: Vec<Attempted<EventRow>> = query.fetch(self, "read an offer's events").await?;
        let mut events = apart(split(rows, |row| Ok(row.view())), unreadable);
        // Before it was recorded there was no transfer to name. An earlier file of the same name had its own.
        let mut query = Query::new(self, "SELECT max(created_at) AS at FROM transfers WHERE TRUE");
        query.and_text("flow = ?", Some(&transfer.flow));
        query.and_text("file_name = ?", Some(&transfer.file_name.to_text()));
        let start: String = transfer.file_name.to_text().chars().take(200).collect();
        query.begins("substr(file_name, 1, 200)", Some(&start));
        query.and("created_at < ?", Some(Bind::Time(transfer.created_at)));
        let earlier: Vec<EarlierRow> = query.fetch(self, "look for an earlier file of the same name").await?;
        let earlier = earlier.into_iter().find_map(|row| row.at);
        let mut query = Query::new(self, EVENTS);
        kinds(&mut query, &[EventKind::OfferBackedOff, EventKind::OfferChanged]);
        query.and_text("flow = ?", Some(&transfer.flow));
        query.and_text("endpoint = ?", Some(&offer.endpoint));
        let path = match self.backend() {
            // A row that is no JSON must not keep the others from being read.
            Backend::Sqlite => "CASE WHEN json_valid(detail) THEN json_extract(detail, '$.path') END = ?",
            Backend::Postgres => "detail->>'path' = ?",
        };
        query.and_text(path, Some(&offer.path.to_text()));
        let longest = offer.found_at - BEFORE_FOUND;
        query.between("at", Some(earlier.map_or(longest, |at| at.max(longest))), Some(transfer.created_at));
        query.sql.push_str(" ORDER BY at DESC, id DESC LIMIT 50");
        let rows: Vec<Attempted<EventRow>> = query.fetch(self, "read an offer's events").await?;
        events.extend(apart(split(rows, |row| Ok(row.view())), unreadable));
        Ok(events)
    }

    async fn deliveries_of(
        &self,
        transfer: TransferId,
        unreadable: &mut Vec<UnreadableRow>,
    ) -> Result<Vec<DeliveryView>> {
        let mut query = Query::new(
            self,
            "SELECT id, destination, endpoint, revision, payload_id, file_name, state, created_at, updated_at, lane, \
             due_at, opens_at, expires_at, receipt_deadline, receipt, error, error_kind, ended_at FROM deliveries WHERE TRUE",
        );
        query.and("transfer_id = ?", Some(Bind::Id(transfer.uuid())));
        query.sql.push_str(" ORDER BY created_at, id");
        let rows: Vec<Attempted<DeliveryRow>> = query.fetch(self, "read a transfer's deliveries").await?;
        let mut query = Query::new(
            self,
            "SELECT a.id, a.delivery_id, a.number, a.node, a.started_at, a.ended_at, a.outcome, a.error, \
             a.error_kind, a.receipt FROM attempts a JOIN deliveries d ON d.id = a.delivery_id WHERE TRUE",
        );
        query.and("d.transfer_id = ?", Some(Bind::Id(transfer.uuid())));
        query.sql.push_str(" ORDER BY a.delivery_id, a.number");
        let rows_of_attempts: Vec<Attempted<AttemptRow>> =
            query.fetch(self, "read a transfer's attempts").await?;
        let attempts = apart(split(rows_of_attempts, AttemptRow::view), unreadable);
        let view = |row: DeliveryRow| {
            let own = attempts.iter().filter(|(id, _)| *id == row.id).map(|(_, a)| a.clone()).collect();
            row.view(own)
        };
        Ok(apart(split(rows, view), unreadable))
    }
}

/// The rows that were read; the others are added to `unreadable`.
fn apart<T>(rows: (Vec<T>, Vec<UnreadableRow>), unreadable: &mut Vec<UnreadableRow>) -> Vec<T> {
    unreadable.extend(rows.1);
    rows.0
}
