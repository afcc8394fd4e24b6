//! The overview, and the numbers for monitoring.

use super::query::{Bind, Query, split};
use super::unreadable::{Attempted, UnreadableRow};
use super::{FailingSteps, RefusedMessages, SourceFiles};
use crate::either::Backend;
use crate::row::{path, word};
use crate::{ClaimsLeft, FailingEndpoint, FailingPoll, MissingFiles, SealLag, Store, WaitingForRoom};
use chrono::TimeDelta;
use model::{DeliveryId, DeliveryState, RemotePath, Result, Timestamp, TransferId, TransferState};
use sqlx::FromRow;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Hours of the overview.
const HOURS: usize = 24;
const LIVE_WITHOUT_CONSOLE: &str = "SELECT count(*) AS number FROM connections WHERE closed_at IS NULL AND lost_at IS NULL \
     AND coalesce(purpose, '') <> 'console'";

/// What the first page shows.
#[derive(Clone, Debug)]
pub struct Overview {
    /// Transfers by state: those that are not final, of whatever age, and those recorded in the last 24
    /// hours that are.
    pub transfers: Vec<(TransferState, u64)>,
    /// The last 24 hours of each flow that had a transfer.
    pub flows: Vec<FlowDay>,
    /// Deliveries that failed or are tried again, the latest 20 of the last 24 hours.
    pub failing: Vec<FailingDelivery>,
    /// How many there are of these.
    pub failing_total: u64,
    /// Rows of these that this version cannot read.
    pub unreadable: Vec<UnreadableRow>,
    /// Endpoints that are offline after failures, by their names.
    pub offline: Vec<FailingEndpoint>,
    /// Sources with files that could not be settled, those with the most first.
    pub unsettled: Vec<SourceFiles>,
    /// Flows whose steps fail.
    pub failing_steps: Vec<FailingSteps>,
    /// Sources with refused files that stay there, those with the most first.
    pub refused_files: Vec<SourceFiles>,
    /// Flows whose last poll failed.
    pub failing_polls: Vec<FailingPoll>,
    /// Flows whose files wait at their source until staging has room for them.
    pub waiting_for_room: Vec<WaitingForRoom>,
    /// Flows with claims that were left behind.
    pub claims_left: Vec<ClaimsLeft>,
    /// Flows whose expected files are missing.
    pub missing_files: Vec<MissingFiles>,
    /// Messages that were refused in the last 24 hours, by reason.
    pub refused: Vec<RefusedMessages>,
    /// How far the seals are behind.
    pub seal_lag: SealLag,
    /// Connections that are up, without the console's own.
    pub live_connections: u64,
}

/// One flow's last 24 hours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlowDay {
    /// The flow.
    pub flow: String,
    /// Transfers recorded.
    pub recorded: u64,
    /// Of these, failed or partly failed by now.
    pub failed: u64,
    /// By hour, the oldest first, the present one last.
    pub hours: [HourCount; HOURS],
}

/// Transfers of one hour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HourCount {
    /// Recorded.
    pub recorded: u64,
    /// Of these, failed or partly failed by now.
    pub failed: u64,
}

/// A delivery with problems.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FailingDelivery {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its transfer.
    pub transfer: TransferId,
    /// Its endpoint.
    pub endpoint: String,
    /// Its file name.
    pub file_name: RemotePath,
    /// Where it stands.
    pub state: DeliveryState,
    /// Failures since a person last sent it on its way.
    pub failures: u64,
    /// The last error.
    pub error: Option<String>,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it is tried again.
    pub due_at: Timestamp,
    /// When the hours of its destination begin, if it waits for them.
    pub opens_at: Option<Timestamp>,
}

/// Numbers for monitoring.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    /// Deliveries that are not final, by state.
    pub deliveries: Vec<(DeliveryState, u64)>,
    /// When the oldest unclaimed delivery became due.
    pub oldest_due: Option<Timestamp>,
    /// Offers whose source is not settled yet.
    pub offers_to_settle: u64,
    /// Transfers that wait for a person.
    pub held: u64,
    /// Connections that are up.
    pub live_connections: u64,
    /// Messages that have arrived in part.
    pub partial_messages: u64,
    /// Their bytes that are held.
    pub partial_bytes: u64,
    /// How far the seals are behind.
    pub seal_lag: SealLag,
}

#[derive(FromRow)]
struct Count {
    word: String,
    number: i64,
}

#[derive(FromRow)]
struct Number {
    number: i64,
}

#[derive(FromRow)]
struct HourRow {
    flow: String,
    hour: i64,
    recorded: i64,
    failed: i64,
}

#[derive(FromRow)]
struct FailingRow {
    id: Uuid,
    transfer_id: Uuid,
    endpoint: String,
    file_name: String,
    state: String,
    failures: i64,
    error: Option<String>,
    updated_at: Timestamp,
    due_at: Timestamp,
    opens_at: Option<Timestamp>,
}

#[derive(FromRow)]
struct OldestRow {
    oldest: Option<Timestamp>,
}

fn whole(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

impl Store {
    /// What the first page shows.
    ///
    /// # Errors
    /// The database failed.
    pub async fn overview(&self, now: Timestamp) -> Result<Overview> {
        let (failing, unreadable) = self.failing(now).await?;
        Ok(Overview {
            failing_polls: self.failing_polls().await?,
            waiting_for_room: self.waiting_for_room().await?,
            claims_left: self.claims_left().await?,
            missing_files: self.missing_files().await?,
            transfers: self.transfers_by_state(now).await?,
            flows: self.flow_days(now).await?,
            failing,
            unreadable,
            failing_total: self.failing_total(now).await?,
            offline: self.failing_endpoints(now).await?,
            unsettled: self.unsettled().await?,
            failing_steps: self.failing_steps().await?,
            refused_files: self.refused_files().await?,
            refused: self.refused_messages(now).await?,
            seal_lag: self.seal_lag(now).await?,
            live_connections: self.number(LIVE_WITHOUT_CONSOLE).await?,
        })
    }

    /// Numbers for monitoring; cheap enough for every few seconds.
    ///
    /// # Errors
    /// The database failed.
    pub async fn metrics(&self, now: Timestamp) -> Result<StoreMetrics> {
        let open = "state IN ('pending', 'sending', 'awaiting_receipt', 'retrying')";
        let counts: Vec<Count> = Query::new(
            self,
            format!("SELECT state AS word, count(*) AS number FROM deliveries WHERE {open} GROUP BY state"),
        )
        .fetch(self, "count deliveries")
        .await?;
        let deliveries = counts
            .into_iter()
            .map(|row| Ok((word(DeliveryState::parse(&row.word), "state", &row.word)?, whole(row.number))))
            .collect::<Result<_>>()?;
        let oldest: Vec<OldestRow> = Query::new(
            self,
            "SELECT min(due_at) AS oldest FROM deliveries WHERE state IN ('pending', 'retrying') AND NOT held",
        )
        .fetch(self, "find the oldest delivery that is due")
        .await?;
        let settle = "SELECT count(*) AS number FROM offers WHERE settle_outcome IS NOT NULL";
        let held = "SELECT count(*) AS number FROM transfers WHERE state = 'held'";
        let partial = "SELECT count(*) AS number FROM partial_messages WHERE NOT answered";
        let partial_bytes = "SELECT CAST(COALESCE(SUM(durable), 0) AS BIGINT) AS number FROM partial_messages \
             WHERE NOT answered";
        Ok(StoreMetrics {
            deliveries,
            oldest_due: oldest.into_iter().find_map(|row| row.oldest).filter(|due| *due <= now),
            offers_to_settle: self.number(settle).await?,
            held: self.number(held).await?,
            live_connections: self.live_connections().await?,
            partial_messages: self.number(partial).await?,
            partial_bytes: self.number(partial_bytes).await?,
            seal_lag: self.seal_lag(now).await?,
        })
    }

    async fn number(&self, sql: &'static str) -> Result<u64> {
        let rows: Vec<Number> = Query::new(self, sql).fetch(self, "count rows").await?;
        Ok(rows.first().map_or(0, |row| whole(row.number)))
    }

    async fn live_connections(&self) -> Result<u64> {
        self.number("SELECT count(*) AS number FROM connections WHERE closed_at IS NULL AND lost_at IS NULL")
            .await
    }

    async fn transfers_by_state(&self, now: Timestamp) -> Result<Vec<(TransferState, u64)>> {
        // Final ones of all time would be the whole table.
        let mut query = Query::new(
            self,
            "SELECT state AS word, count(*) AS number FROM transfers \
             WHERE state IN ('staged', 'processing', 'delivering', 'held') GROUP BY state \
             UNION ALL SELECT state AS word, count(*) AS number FROM transfers \
             WHERE state IN ('completed', 'partly_failed', 'failed', 'cancelled')",
        );
        query.and("created_at >= ?", Some(Bind::Time(now - TimeDelta::days(1))));
        query.sql.push_str(" GROUP BY state");
        let counts: Vec<Count> = query.fetch(self, "count transfers").await?;
        counts
            .into_iter()
            .map(|row| Ok((word(TransferState::parse(&row.word), "state", &row.word)?, whole(row.number))))
            .collect()
    }

    async fn flow_days(&self, now: Timestamp) -> Result<Vec<FlowDay>> {
        let hour = match self.backend() {
            Backend::Sqlite => "CAST(strftime('%s', created_at) AS INTEGER) / 3600",
            Backend::Postgres => "floor(extract(epoch FROM created_at) / 3600)::bigint",
        };
        let last = now.timestamp().div_euclid(3600);
        let first = last - (HOURS as i64 - 1);
        let mut query = Query::new(
            self,
            format!(
                "SELECT flow, {hour} AS hour, count(*) AS recorded, \
                 count(CASE WHEN state IN ('failed', 'partly_failed') THEN 1 END) AS failed \
                 FROM transfers WHERE TRUE"
            ),
        );
        query.and("created_at >= ?", chrono::DateTime::from_timestamp(first * 3600, 0).map(Bind::Time));
        query.sql.push_str(" GROUP BY 1, 2");
        let mut flows: BTreeMap<String, [HourCount; HOURS]> = BTreeMap::new();
        for row in query.fetch::<HourRow>(self, "count transfers by hour").await? {
            let hours = flows.entry(row.flow).or_default();
            if let Some(place) = usize::try_from(row.hour - first).ok().and_then(|hour| hours.get_mut(hour)) {
                *place = HourCount { recorded: whole(row.recorded), failed: whole(row.failed) };
            }
        }
        Ok(flows
            .into_iter()
            .map(|(flow, hours)| FlowDay {
                flow,
                recorded: hours.iter().map(|hour| hour.recorded).sum(),
                failed: hours.iter().map(|hour| hour.failed).sum(),
                hours,
            })
            .collect())
    }

    async fn failing_total(&self, now: Timestamp) -> Result<u64> {
        let mut query = Query::new(
            self,
            "SELECT count(*) AS number FROM deliveries WHERE state IN ('retrying', 'failed', 'expired')",
        );
        query.and("updated_at >= ?", Some(Bind::Time(now - TimeDelta::days(1))));
        let rows: Vec<Number> = query.fetch(self, "count failing deliveries").await?;
        Ok(rows.first().map_or(0, |row| whole(row.number)))
    }

    async fn failing(&self, now: Timestamp) -> Result<(Vec<FailingDelivery>, Vec<UnreadableRow>)> {
        let mut query = Query::new(
            self,
            "SELECT id, transfer_id, endpoint, file_name, state, failures, error, updated_at, due_at, opens_at \
             FROM deliveries WHERE state IN ('retrying', 'failed', 'expired')",
        );
        query.and("updated_at >= ?", Some(Bind::Time(now - TimeDelta::days(1))));
        query.sql.push_str(" ORDER BY updated_at DESC, id DESC LIMIT 20");
        let rows: Vec<Attempted<FailingRow>> = query.fetch(self, "read failing deliveries").await?;
        Ok(split(rows, |row| {
            Ok(FailingDelivery {
                delivery: DeliveryId::new(row.id),
                transfer: TransferId::new(row.transfer_id),
                endpoint: row.endpoint,
                file_name: path(&row.file_name)?,
                state: word(DeliveryState::parse(&row.state), "deliveries.state", &row.state)?,
                failures: whole(row.failures),
                error: row.error,
                updated_at: row.updated_at,
                due_at: row.due_at,
                opens_at: row.opens_at,
            })
        }))
    }
}
