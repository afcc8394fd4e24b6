//! Monthly partitions of the audit trail on Postgres: created ahead, dropped as a whole.

use crate::Store;
use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::text_index::{self, TextIndex};
use crate::tx::Tx;
use async_trait::async_trait;
use chrono::{DateTime, Datelike as _, Months, NaiveDate, NaiveTime};
use model::{Error, ErrorKind, Result, Timestamp};
use sqlx::{AssertSqlSafe, PgConnection};

/// A month in UTC, by its first day.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Month(NaiveDate);

impl Month {
    pub(crate) fn of(at: Timestamp) -> Self {
        let date = at.date_naive();
        Self(date.with_day(1).unwrap_or(date))
    }

    /// The next month; the last possible month returns itself.
    pub(crate) fn next(self) -> Self {
        Self(self.0.checked_add_months(Months::new(1)).unwrap_or(self.0))
    }

    pub(crate) fn begin(self) -> Timestamp {
        DateTime::from_naive_utc_and_offset(self.0.and_time(NaiveTime::MIN), chrono::Utc)
    }

    pub(crate) fn end(self) -> Timestamp {
        self.next().begin()
    }

    /// As `2026-11`.
    pub(crate) fn name(self) -> String {
        self.0.format("%Y-%m").to_string()
    }

    pub(crate) fn table(self) -> String {
        self.0.format("audit_events_%Y_%m").to_string()
    }
}

impl Store {
    /// Creates the partitions of this month and the next two if they are missing, and makes sure that new events get
    /// positions after the newest seal. Call it at the start, before anything is written, and once a day. Any node
    /// may do so, at any time. On SQLite it does nothing.
    ///
    /// An event outside all partitions (a wrong clock, or this was not called in time) goes to the default partition,
    /// and is moved when its month's partition is created.
    ///
    /// # Errors
    /// The database failed, or another transaction held the table for more than five seconds; try later.
    pub async fn ensure_partitions(&self, now: Timestamp) -> Result<()> {
        self.raise_positions().await?;
        let first = Month::of(now);
        let months = [first, first.next(), first.next().next()];
        let text_index = *self.text_index() != TextIndex::Off;
        self.write(EnsurePartitions { months, text_index }).await
    }
}

struct EnsurePartitions {
    months: [Month; 3],
    text_index: bool,
}

#[async_trait]
impl Command for EnsurePartitions {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        on!(tx, sqlite _c => Ok(()), postgres c => {
            for month in self.months {
                if is_there(c, month).await? {
                    continue;
                }
                impatient(c).await?;
                // Nodes do this one after the other; the second finds the partition.
                sqlx::query("SELECT pg_advisory_xact_lock(hashtext('waybill audit partitions'))")
                    .execute(&mut *c)
                    .await
                    .map_err(busy)?;
                if !is_there(c, month).await? {
                    make(c, month).await.map_err(busy)?;
                    if self.text_index {
                        text_index::for_new_month(c, &month.table()).await.map_err(busy)?;
                    }
                }
                patient(c).await?;
            }
            Ok(())
        })
    }
}

/// In the statement's own snapshot: `to_regclass` may answer from a cache that is older than a lock that was waited
/// for.
async fn is_there(c: &mut PgConnection, month: Month) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
         WHERE i.inhparent = 'audit_events'::regclass AND c.relname = $1)",
    )
    .bind(month.table())
    .fetch_one(c)
    .await
}

async fn make(c: &mut PgConnection, month: Month) -> Result<(), sqlx::Error> {
    let (table, begin, end) = (month.table(), month.begin().to_rfc3339(), month.end().to_rfc3339());
    // Attaching scans the default partition, and no row may be added meanwhile. Its rows of this month are moved,
    // with their positions.
    let statements = format!(
        "LOCK TABLE audit_events_default IN ACCESS EXCLUSIVE MODE; \
         CREATE TABLE {table} (LIKE audit_events INCLUDING ALL); \
         WITH moved AS (DELETE FROM audit_events_default WHERE at >= '{begin}' AND at < '{end}' RETURNING *) \
         INSERT INTO {table} SELECT * FROM moved; \
         ALTER TABLE audit_events ATTACH PARTITION {table} FOR VALUES FROM ('{begin}') TO ('{end}')"
    );
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(c).await.map(|_| ())
}

/// The lock was not granted in time.
pub(super) fn busy(error: sqlx::Error) -> Fault {
    if error.as_database_error().and_then(|e| e.code()).as_deref() != Some("55P03") {
        return error.into();
    }
    Error::transient(ErrorKind::Throttled, "add or remove a month of the audit trail")
        .advice("another session has been reading the audit trail for a long time, perhaps a backup; this is tried again later")
        .caused_by(error)
        .into()
}

/// If the lock is not granted soon (a backup reads the table), waiting for it would block every writer.
pub(super) async fn impatient(c: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT set_config('lock_timeout', '5s', true)").execute(c).await.map(|_| ())
}

pub(super) async fn patient(c: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT set_config('lock_timeout', '0', true)").execute(c).await.map(|_| ())
}

/// Drops a month if all its events are among the `count` checked ones, up to `last`; false if others were added.
pub(super) async fn drop_month(
    c: &mut PgConnection,
    month: Month,
    count: i64,
    last: i64,
) -> Result<bool, sqlx::Error> {
    let there = is_there(c, month).await?;
    impatient(c).await?;
    let lock = if there {
        format!("{}, audit_events_default", month.table())
    } else {
        "audit_events_default".into()
    };
    sqlx::raw_sql(AssertSqlSafe(format!("LOCK TABLE {lock} IN ACCESS EXCLUSIVE MODE")))
        .execute(&mut *c)
        .await?;
    let now: i64 =
        sqlx::query_scalar("SELECT count(*) FROM audit_events WHERE at >= $1 AND at < $2 AND position <= $3")
            .bind(month.begin())
            .bind(month.end())
            .bind(last)
            .fetch_one(&mut *c)
            .await?;
    let others: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM audit_events WHERE at >= $1 AND at < $2 AND position > $3)",
    )
    .bind(month.begin())
    .bind(month.end())
    .bind(last)
    .fetch_one(&mut *c)
    .await?;
    let same = now == count && !others;
    if same {
        if there {
            sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE {}", month.table()))).execute(&mut *c).await?;
        }
        sqlx::query("DELETE FROM audit_events_default WHERE at >= $1 AND at < $2")
            .bind(month.begin())
            .bind(month.end())
            .execute(&mut *c)
            .await?;
    }
    patient(c).await?;
    Ok(same)
}

#[cfg(test)]
mod tests {
    use super::Month;

    #[test]
    fn months_follow_each_other() {
        let month = Month::of("2026-12-31T23:59:59.999999Z".parse().unwrap());
        assert_eq!((month.name().as_str(), month.table().as_str()), ("2026-12", "audit_events_2026_12"));
        assert_eq!(month.end(), "2027-01-01T00:00:00Z".parse::<model::Timestamp>().unwrap());
        assert_eq!(Month::of(month.end()), month.next());
    }
}
