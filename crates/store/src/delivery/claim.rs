//! Claims: which node works on which delivery.

mod priorities;

use crate::command::Command;
use crate::delivery::Failure;
use crate::delivery::attachments::{Attachments, attachments_of};
use crate::delivery::transfers::{PUT_OFF, made_payloads, transfers_of};
use crate::either::on;
use crate::fault::Fault;
use crate::lease::NodeLease;
use crate::open::Store;
use crate::row::{DeliveryRow, hex_list, later, small, unreadable};
use crate::tx::Tx;
use async_trait::async_trait;
use model::definition::DEFAULT_POOL;
use model::{
    Attachment, AttemptId, Claim, Delivery, DeliveryEvent, DeliveryId, DeliveryState, EventKind,
    PayloadRecord, Result, Timestamp, Transfer, TransferId, transition,
};
use priorities::Selected;
use serde_json::Value;
use sqlx::QueryBuilder;
use sqlx::types::Json;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// A delivery that this node has claimed.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The delivery, now `sending`.
    pub delivery: Delivery,
    /// Its transfer, with the payload as it was received.
    pub transfer: Transfer,
    /// The bytes that it sends: those, or what steps made of them.
    pub payload: PayloadRecord,
    /// The files that it sends with them.
    pub attachments: Vec<Attachment>,
    /// The claim, which every later write about it must contain.
    pub claim: Claim,
    /// The attempt's row.
    pub attempt: AttemptId,
    /// The transport's notes, by key.
    pub notes: BTreeMap<String, Value>,
    /// The previous attempt was interrupted by the end of its node: its effect is unknown.
    pub interrupted: bool,
    /// The number of failed attempts since a person last retried it, or in total.
    pub failures: u32,
}

/// The limits of what may be claimed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClaimFilter {
    /// No deliveries to these endpoints (offline, busy, or another node's).
    pub skip_endpoints: Vec<String>,
    /// No deliveries of files that are read from these endpoints while they are sent (offline, or another node's).
    pub skip_sources: Vec<String>,
    /// No deliveries to these destinations, outside whose hours it is now; each as `flow/destination`.
    pub closed: Vec<String>,
    /// No deliveries of later revisions than this one, which the node has in force: it does not know their endpoints
    /// yet, or only as they were before.
    pub revision: i64,
    /// How many deliveries to an endpoint may be claimed.
    pub rooms: BTreeMap<String, usize>,
    /// The same for every endpoint that is not named there.
    pub room: usize,
    /// How many of a worker pool may be claimed.
    pub pools: PoolRooms,
    /// How urgent the deliveries to these destinations are, each as `flow/destination`: from 1, the most urgent, to 5. All
    /// others have 3. It orders the deliveries to one endpoint.
    pub priorities: BTreeMap<String, u8>,
}

/// How many deliveries of each worker pool may be claimed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PoolRooms {
    /// The pools of the endpoints that name one.
    pub of_endpoints: BTreeMap<String, String>,
    /// The pools of the flows that name one; they count for endpoints that name none.
    pub of_flows: BTreeMap<String, String>,
    /// How many deliveries of a pool may be claimed; without limit where it is not named.
    pub rooms: BTreeMap<String, usize>,
}

impl PoolRooms {
    /// The pool of a delivery.
    #[must_use]
    pub fn pool(&self, endpoint: &str, flow: &str) -> &str {
        let named = self.of_endpoints.get(endpoint).or_else(|| self.of_flows.get(flow));
        named.map_or(DEFAULT_POOL, String::as_str)
    }

    fn full(&self) -> Vec<&str> {
        self.rooms.iter().filter(|(_, room)| **room == 0).map(|(name, _)| name.as_str()).collect()
    }
}

impl Default for ClaimFilter {
    /// No limits.
    fn default() -> Self {
        Self {
            skip_endpoints: Vec::new(),
            skip_sources: Vec::new(),
            closed: Vec::new(),
            revision: i64::MAX,
            rooms: BTreeMap::new(),
            room: usize::MAX,
            pools: PoolRooms::default(),
            priorities: BTreeMap::new(),
        }
    }
}

impl Store {
    /// Claims due deliveries, oldest due first, at most `limit`; none if the node no longer holds its lease. In a
    /// lane, only the first delivery that is not finished can be claimed.
    ///
    /// # Errors
    /// The database failed.
    pub async fn claim(
        &self,
        lease: &NodeLease,
        limit: u32,
        filter: ClaimFilter,
        now: Timestamp,
    ) -> Result<Vec<Claimed>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        self.write(ClaimDue { lease: lease.clone(), limit, filter, now }).await
    }
}

struct ClaimDue {
    lease: NodeLease,
    limit: u32,
    filter: ClaimFilter,
    now: Timestamp,
}

#[async_trait]
impl Command for ClaimDue {
    type Answer = Vec<Claimed>;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<Claimed>, Fault> {
        if !tx.holds(&self.lease, self.now).await? {
            return Ok(Vec::new());
        }
        let mut due = Vec::new();
        for selected in self.filter.by_priority() {
            due.extend(self.without_lane(tx, &selected).await?);
        }
        due.extend(self.heads_of_lanes(tx).await?);
        let ids = self.within_limits(&self.filter.in_order(due));
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.take(tx, &ids).await?;
        let of: Vec<Uuid> = rows.iter().map(|row| row.transfer_id).collect();
        let transfers = transfers_of(tx, &of).await?;
        let made = made_payloads(tx, &rows, &transfers).await?;
        let attached = attachments_of(tx, &of).await?;
        let rows = self.readable(tx, rows, &transfers, (&made, &attached)).await?;
        let attempts = self.begin_attempts(tx, &rows).await?;
        let mut notes = notes_of(tx, &ids).await?;
        let mut claimed = Vec::with_capacity(rows.len());
        for (row, attempt) in rows.into_iter().zip(attempts) {
            let Some(transfer) = transfers.get(&row.transfer_id).cloned() else { continue };
            let (interrupted, failures, row_transfer) =
                (row.interrupted, small(row.failures), row.transfer_id);
            let notes = notes.remove(&row.id).unwrap_or_default();
            // `readable` has put off those whose payload is neither.
            let payload = row.payload_id.and_then(|id| made.get(&id)).unwrap_or(&transfer.payload).clone();
            let delivery = row.delivery()?;
            let claim = Claim {
                delivery: delivery.id,
                node: self.lease.node.clone(),
                epoch: self.lease.epoch,
                attempt: delivery.attempt,
            };
            let mut event = tx
                .derived(self.now, &self.lease.node, EventKind::DeliveryAttempted)
                .flow(&transfer.flow)
                .endpoint(&delivery.endpoint)
                .transfer(transfer.id)
                .delivery(delivery.id)
                .detail("attempt", delivery.attempt)
                .detail("destination", delivery.destination.as_str());
            if interrupted {
                event = event.detail("interrupted", true);
            }
            event.partner = transfer.partner.clone();
            tx.event(event);
            claimed.push(Claimed {
                attachments: attached.of.get(&row_transfer).cloned().unwrap_or_default(),
                delivery,
                transfer,
                payload,
                claim,
                attempt,
                notes,
                interrupted,
                failures,
            });
        }
        Ok(claimed)
    }
}

/// A delivery that is due.
#[derive(sqlx::FromRow)]
pub(super) struct DueRow {
    pub(super) id: Uuid,
    pub(super) due_at: Timestamp,
    pub(super) endpoint: String,
    pub(super) flow: String,
    pub(super) destination: String,
}

impl ClaimDue {
    /// The first of them, as many as endpoints and pools have room for.
    fn within_limits(&self, due: &[DueRow]) -> Vec<Uuid> {
        let ClaimFilter { rooms, room, pools: of, .. } = &self.filter;
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let (mut endpoints, mut pools) = (HashMap::new(), HashMap::new());
        let mut ids = Vec::new();
        for row in due {
            let pool = of.pool(&row.endpoint, &row.flow);
            let to_endpoint = endpoints.entry(row.endpoint.as_str()).or_insert(0);
            let in_pool = pools.entry(pool).or_insert(0);
            let fits = *to_endpoint < *rooms.get(&row.endpoint).unwrap_or(room)
                && *in_pool < of.rooms.get(pool).copied().unwrap_or(usize::MAX);
            if fits && ids.len() < limit {
                *to_endpoint += 1;
                *in_pool += 1;
                ids.push(row.id);
            }
        }
        ids
    }

    /// Due deliveries that need not wait for an earlier one. On PostgreSQL, those that another writer is claiming are
    /// skipped.
    async fn without_lane(&self, tx: &mut Tx<'_>, selected: &Selected<'_>) -> Result<Vec<DueRow>, Fault> {
        let limit = i64::from(self.limit);
        let PoolRooms { of_endpoints, of_flows, .. } = &self.filter.pools;
        let full = self.filter.pools.full();
        Ok(on!(tx,
            sqlite c => sqlx::query_as(
                "SELECT id, due_at, endpoint, destination, (SELECT t.flow FROM transfers t WHERE t.id = transfer_id) AS flow \
                 FROM deliveries WHERE state IN ('pending', 'retrying') AND NOT held \
                 AND payload_id IS NOT NULL AND lane IS NULL AND due_at <= $1 AND (expires_at IS NULL OR expires_at > $1) \
                 AND endpoint NOT IN (SELECT value FROM json_each($2)) \
                 AND (source_endpoint IS NULL OR source_endpoint NOT IN (SELECT value FROM json_each($10))) \
                 AND (json_array_length($9) = 0 OR (SELECT t.flow FROM transfers t WHERE t.id = transfer_id) || '/' || destination \
                   NOT IN (SELECT value FROM json_each($9))) \
                 AND (json_array_length($11) = 0 OR (SELECT t.flow FROM transfers t WHERE t.id = transfer_id) || '/' || destination \
                   IN (SELECT value FROM json_each($11))) \
                 AND (json_array_length($12) = 0 OR (SELECT t.flow FROM transfers t WHERE t.id = transfer_id) || '/' || destination \
                   NOT IN (SELECT value FROM json_each($12))) \
                 AND coalesce(revision, (SELECT t.revision FROM transfers t WHERE t.id = transfer_id)) <= $4 \
                 AND (json_array_length($5) = 0 OR coalesce( \
                   json_extract($6, '$.\"' || endpoint || '\"'), \
                   json_extract($7, '$.\"' || (SELECT t.flow FROM transfers t WHERE t.id = transfer_id) || '\"'), $8) \
                   NOT IN (SELECT value FROM json_each($5))) \
                 ORDER BY due_at, id LIMIT $3")
                .bind(self.now).bind(Json(&self.filter.skip_endpoints)).bind(limit).bind(self.filter.revision)
                .bind(Json(&full)).bind(Json(of_endpoints)).bind(Json(of_flows)).bind(DEFAULT_POOL)
                .bind(Json(&self.filter.closed)).bind(Json(&self.filter.skip_sources))
                .bind(Json(&selected.only)).bind(Json(&selected.but))
                .fetch_all(c).await,
            postgres c => sqlx::query_as(
                "SELECT id, due_at, endpoint, destination, (SELECT t.flow FROM transfers t WHERE t.id = transfer_id) AS flow \
                 FROM deliveries WHERE state IN ('pending', 'retrying') AND NOT held \
                 AND payload_id IS NOT NULL AND lane IS NULL AND due_at <= $1 AND (expires_at IS NULL OR expires_at > $1) \
                 AND endpoint <> ALL($2) AND (source_endpoint IS NULL OR source_endpoint <> ALL($10)) \
                 AND (cardinality($9) = 0 OR (SELECT t.flow FROM transfers t WHERE t.id = transfer_id) || '/' || destination <> ALL($9)) \
                 AND (cardinality($11) = 0 OR (SELECT t.flow FROM transfers t WHERE t.id = transfer_id) || '/' || destination = ANY($11)) \
                 AND (cardinality($12) = 0 OR (SELECT t.flow FROM transfers t WHERE t.id = transfer_id) || '/' || destination <> ALL($12)) \
                 AND coalesce(revision, (SELECT t.revision FROM transfers t WHERE t.id = transfer_id)) <= $4 \
                 AND (cardinality($5) = 0 OR coalesce($6 ->> endpoint, \
                   $7 ->> (SELECT t.flow FROM transfers t WHERE t.id = transfer_id), $8) <> ALL($5)) \
                 ORDER BY due_at, id LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED")
                .bind(self.now).bind(&self.filter.skip_endpoints).bind(limit).bind(self.filter.revision)
                .bind(&full).bind(Json(of_endpoints)).bind(Json(of_flows)).bind(DEFAULT_POOL).bind(&self.filter.closed)
                .bind(&self.filter.skip_sources).bind(&selected.only).bind(&selected.but).fetch_all(c).await,
        )?)
    }

    /// The first unfinished delivery of each lane, if it is due.
    async fn heads_of_lanes(&self, tx: &mut Tx<'_>) -> Result<Vec<DueRow>, Fault> {
        let limit = i64::from(self.limit);
        let PoolRooms { of_endpoints, of_flows, .. } = &self.filter.pools;
        let full = self.filter.pools.full();
        Ok(on!(tx,
            sqlite c => sqlx::query_as(
                "SELECT d.id, d.due_at, d.endpoint, d.destination, (SELECT t.flow FROM transfers t WHERE t.id = d.transfer_id) AS flow \
                 FROM lanes l JOIN deliveries d ON d.id = (SELECT x.id FROM deliveries x \
                   WHERE x.lane = l.lane AND x.lane_open ORDER BY x.lane_seq LIMIT 1) \
                 WHERE d.state IN ('pending', 'retrying') AND NOT d.held AND d.payload_id IS NOT NULL AND d.due_at <= $1 \
                   AND (d.expires_at IS NULL OR d.expires_at > $1) \
                   AND d.endpoint NOT IN (SELECT value FROM json_each($2)) \
                   AND (d.source_endpoint IS NULL OR d.source_endpoint NOT IN (SELECT value FROM json_each($10))) \
                   AND (json_array_length($9) = 0 OR (SELECT t.flow FROM transfers t WHERE t.id = d.transfer_id) || '/' || d.destination \
                     NOT IN (SELECT value FROM json_each($9))) \
                   AND coalesce(d.revision, (SELECT t.revision FROM transfers t WHERE t.id = d.transfer_id)) <= $4 \
                 AND (json_array_length($5) = 0 OR coalesce( \
                   json_extract($6, '$.\"' || d.endpoint || '\"'), \
                   json_extract($7, '$.\"' || (SELECT t.flow FROM transfers t WHERE t.id = d.transfer_id) || '\"'), $8) \
                   NOT IN (SELECT value FROM json_each($5))) \
                 ORDER BY d.due_at, d.id LIMIT $3")
                .bind(self.now).bind(Json(&self.filter.skip_endpoints)).bind(limit).bind(self.filter.revision)
                .bind(Json(&full)).bind(Json(of_endpoints)).bind(Json(of_flows)).bind(DEFAULT_POOL)
                .bind(Json(&self.filter.closed)).bind(Json(&self.filter.skip_sources))
                .fetch_all(c).await,
            postgres c => sqlx::query_as(
                "SELECT d.id, d.due_at, d.endpoint, d.destination, (SELECT t.flow FROM transfers t WHERE t.id = d.transfer_id) AS flow \
                 FROM lanes l JOIN deliveries d ON d.id = (SELECT x.id FROM deliveries x \
                   WHERE x.lane = l.lane AND x.lane_open ORDER BY x.lane_seq LIMIT 1) \
                 WHERE d.state IN ('pending', 'retrying') AND NOT d.held AND d.payload_id IS NOT NULL AND d.due_at <= $1 \
                   AND (d.expires_at IS NULL OR d.expires_at > $1) \
                   AND d.endpoint <> ALL($2) AND (d.source_endpoint IS NULL OR d.source_endpoint <> ALL($10)) \
                   AND (cardinality($9) = 0 OR (SELECT t.flow FROM transfers t WHERE t.id = d.transfer_id) || '/' || d.destination <> ALL($9)) \
                   AND coalesce(d.revision, (SELECT t.revision FROM transfers t WHERE t.id = d.transfer_id)) <= $4 \
                 AND (cardinality($5) = 0 OR coalesce($6 ->> d.endpoint, \
                   $7 ->> (SELECT t.flow FROM transfers t WHERE t.id = d.transfer_id), $8) <> ALL($5)) \
                 ORDER BY d.due_at, d.id LIMIT $3 \
                 FOR NO KEY UPDATE OF d SKIP LOCKED")
                .bind(self.now).bind(&self.filter.skip_endpoints).bind(limit).bind(self.filter.revision)
                .bind(&full).bind(Json(of_endpoints)).bind(Json(of_flows)).bind(DEFAULT_POOL).bind(&self.filter.closed)
                .bind(&self.filter.skip_sources).fetch_all(c).await,
        )?)
    }

    /// Claims them; returns them in the order of `ids`.
    async fn take(&self, tx: &mut Tx<'_>, ids: &[Uuid]) -> Result<Vec<DeliveryRow>, Fault> {
        // From `pending` and from `retrying`.
        let sending = transition(DeliveryState::Pending, DeliveryEvent::Claim)?;
        let (node, epoch) = (self.lease.node.as_str(), self.lease.epoch);
        let mut rows: Vec<DeliveryRow> = on!(tx,
            sqlite c => sqlx::query_as(
                "UPDATE deliveries SET state = $2, attempt = attempt + 1, node = $3, epoch = $4, opens_at = NULL, \
                   updated_at = CASE WHEN updated_at > $5 THEN updated_at ELSE $5 END \
                 WHERE id IN (SELECT unhex(value) FROM json_each($1)) RETURNING *")
                .bind(hex_list(ids)).bind(sending.as_str()).bind(node).bind(epoch).bind(self.now)
                .fetch_all(c).await,
            postgres c => sqlx::query_as(
                "UPDATE deliveries SET state = $2, attempt = attempt + 1, node = $3, epoch = $4, opens_at = NULL, \
                   updated_at = CASE WHEN updated_at > $5 THEN updated_at ELSE $5 END \
                 WHERE id = ANY($1) RETURNING *")
                .bind(ids).bind(sending.as_str()).bind(node).bind(epoch).bind(self.now)
                .fetch_all(c).await,
        )?;
        let places: HashMap<Uuid, usize> = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
        rows.sort_by_key(|row| places.get(&row.id).copied());
        Ok(rows)
    }

    /// Removes those that this version cannot read, so that they do not block others: they are released, to be tried
    /// later, perhaps by a node that can read them.
    async fn readable(
        &self,
        tx: &mut Tx<'_>,
        rows: Vec<DeliveryRow>,
        transfers: &HashMap<Uuid, Transfer>,
        (made, attached): (&HashMap<Uuid, PayloadRecord>, &Attachments),
    ) -> Result<Vec<DeliveryRow>, Fault> {
        let (mut readable, mut others) = (Vec::with_capacity(rows.len()), vec![]);
        for row in rows {
            let read = match transfers.get(&row.transfer_id) {
                None => Err(unreadable("deliveries.transfer_id", "its transfer cannot be read")),
                // What was received is never sent in place of what steps made of it.
                Some(transfer)
                    if row.payload_id != Some(transfer.payload.id.uuid())
                        && !row.payload_id.is_some_and(|id| made.contains_key(&id)) =>
                {
                    Err(unreadable("deliveries.payload_id", "its payload cannot be read"))
                }
                Some(_) if attached.unreadable.contains(&row.transfer_id) => {
                    Err(unreadable("attachments", "an attachment of its transfer cannot be read"))
                }
                Some(_) => row.clone().delivery().map(drop),
            };
            match read {
                Ok(()) => readable.push(row),
                Err(error) => {
                    tracing::error!(delivery = %row.id, error = error.chain(), "this delivery is postponed");
                    others.push((row, error));
                }
            }
        }
        let due = later(self.now, PUT_OFF);
        for (row, error) in others {
            let failure = Failure::from(&error);
            on!(tx, c => sqlx::query(
                "UPDATE deliveries SET state = 'retrying', attempt = attempt - 1, node = NULL, epoch = NULL, \
                 due_at = $2, error = $3, error_kind = $4 WHERE id = $1")
                .bind(row.id).bind(due).bind(&failure.text).bind(failure.kind.as_str())
                .execute(c).await.map(|_| ()))?;
            let event = tx
                .derived(self.now, &self.lease.node, EventKind::DeliveryRetrying)
                .transfer(TransferId::new(row.transfer_id))
                .delivery(DeliveryId::new(row.id))
                .endpoint(&row.endpoint)
                .error(&error);
            tx.event(event);
        }
        Ok(readable)
    }

    async fn begin_attempts(&self, tx: &mut Tx<'_>, rows: &[DeliveryRow]) -> Result<Vec<AttemptId>, Fault> {
        let ids: Vec<Uuid> = rows.iter().map(|_| tx.id()).collect();
        // Six values each; SQLite binds at most 32,766.
        for (rows, ids) in rows.chunks(1000).zip(ids.chunks(1000)) {
            on!(tx, c => {
                let mut insert = QueryBuilder::<Db>::new(
                    "INSERT INTO attempts (id, delivery_id, number, node, epoch, started_at) ",
                );
                insert.push_values(rows.iter().zip(ids), |mut values, (row, id)| {
                    values
                        .push_bind(*id)
                        .push_bind(row.id)
                        .push_bind(row.attempt)
                        .push_bind(self.lease.node.as_str())
                        .push_bind(self.lease.epoch)
                        .push_bind(self.now);
                });
                insert.build().persistent(rows.len() <= 8).execute(c).await.map(|_| ())
            })?;
        }
        Ok(ids.into_iter().map(AttemptId::new).collect())
    }
}

async fn notes_of(tx: &mut Tx<'_>, ids: &[Uuid]) -> Result<HashMap<Uuid, BTreeMap<String, Value>>, Fault> {
    let rows: Vec<(Uuid, String, Json<Value>)> = on!(tx,
        sqlite c => sqlx::query_as(
            "SELECT delivery_id, key, value FROM notes WHERE delivery_id IN (SELECT unhex(value) FROM json_each($1))")
            .bind(hex_list(ids)).fetch_all(c).await,
        postgres c => sqlx::query_as("SELECT delivery_id, key, value FROM notes WHERE delivery_id = ANY($1)")
            .bind(ids).fetch_all(c).await,
    )?;
    let mut notes: HashMap<Uuid, BTreeMap<String, Value>> = HashMap::new();
    for (delivery, key, value) in rows {
        notes.entry(delivery).or_default().insert(key, value.0);
    }
    Ok(notes)
}
