//! Verification of the audit trail: the chain of seals, and every sealed event against its seal.
//!
//! Proved: that no sealed event was changed, removed, added or moved since, that no seal was, and that
//! the seals were signed by a trusted key. Not proved: that an event was true when it was written, and
//! what happened to events before they were sealed (see [`crate::SealLag`]). A tail that was cut off,
//! seals and events together, shows only against a seal that was kept elsewhere
//! ([`VerifyOptions::expected`]).

mod check;
mod removal;
mod report;

pub use report::{Finding, VerifyOptions, VerifyReport};

pub(crate) use removal::{Removed, carried, first_event};

use crate::Store;
use crate::audit::{EventCursor, StoredRow, columns};
use crate::either::on;
use crate::seal::{Bound, Seal, TrustedKeys};
use check::{Chain, Members};
use model::{EventKind, Result};
use serde_json::Value;
use sqlx::AssertSqlSafe;

/// Seals read at once.
const PAGE: i64 = 8;
/// Before everything that a tampering hand could have inserted.
const BEGIN: Bound = Bound::position(i64::MIN);
const END: Bound = Bound::position(i64::MAX);

/// What the records of removal say.
pub(crate) struct Records {
    pub(crate) removed: Removed,
    count: usize,
    invalid: Vec<uuid::Uuid>,
}

impl Store {
    /// Verifies seals and events, one after the other, in constant memory. `progress` is told the
    /// report as it grows, once per seal.
    ///
    /// # Errors
    /// The database failed. What is not as it was sealed is no error but a finding.
    pub async fn verify_audit(
        &self,
        options: &VerifyOptions,
        mut progress: impl FnMut(&VerifyReport) + Send,
    ) -> Result<VerifyReport> {
        let mut records = load_removed(self, &options.trusted).await?;
        loop {
            let report = self.verify_once(options, &records, &mut progress).await?;
            let after = load_removed(self, &options.trusted).await?;
            if after.count == records.count {
                return Ok(report);
            }
            // Retention removed a month in the meantime: what seemed missing may be on record.
            records = after;
        }
    }

    async fn verify_once(
        &self,
        options: &VerifyOptions,
        records: &Records,
        progress: &mut (impl FnMut(&VerifyReport) + Send),
    ) -> Result<VerifyReport> {
        let mut report = VerifyReport::default();
        for event in &records.invalid {
            report.find(Finding::RemovalInvalid { event: *event });
        }
        let first = options.from.unwrap_or(1).max(1);
        let mut chain = Chain::new(options);
        if first > 1
            && let Some(before) = self.seals_from(first - 1, Some(first - 1), 1).await?.pop()
        {
            chain.follow(&before);
        } else if first == 1 {
            self.find_before_first(&mut report).await?;
        }
        let mut next = first;
        let mut walk: Option<(Bound, EventCursor<'_>)> = None;
        loop {
            let seals = self.seals_from(next, options.to, PAGE).await?;
            let Some(last) = seals.last() else { break };
            next = last.seq + 1;
            for seal in &seals {
                chain.seal(seal, &mut report);
                // Ranges meet, so one walk serves all seals, unless a seal is missing or altered.
                let cursor = match walk.take() {
                    Some((at, cursor)) if at == seal.from => cursor,
                    _ => EventCursor::new(self, seal.from, END),
                };
                let cursor = verify_members(seal, records, cursor, &mut report).await?;
                walk = Some((seal.to, cursor));
                progress(&report);
            }
        }
        chain.end(&mut report);
        if options.to.is_none() {
            let from = chain.to().unwrap_or(Bound::START);
            report.unsealed = self.unsealed_events(from, i64::MAX).await?;
        }
        Ok(report)
    }

    /// No event of Waybill's has a position below 1.
    async fn find_before_first(&self, report: &mut VerifyReport) -> Result<()> {
        let mut cursor = EventCursor::new(self, BEGIN, Bound::START);
        while let Some(row) = cursor.next().await? {
            let stored = row.summary();
            report.find(Finding::EventAdded { seal: None, event: row.bound.id, stored });
        }
        Ok(())
    }
}

async fn verify_members<'a>(
    seal: &Seal,
    records: &Records,
    mut cursor: EventCursor<'a>,
    report: &mut VerifyReport,
) -> Result<EventCursor<'a>> {
    let mut members = Members::new(seal, &records.removed);
    while let Some(row) = cursor.peek().await? {
        if row.bound >= seal.to {
            break;
        }
        members.event(row, report);
        cursor.next().await?;
    }
    members.end(report);
    Ok(cursor)
}

/// All records of removal, the oldest first.
pub(crate) async fn removal_rows(store: &Store) -> Result<Vec<StoredRow>> {
    let sql =
        format!("SELECT {} FROM audit_events WHERE kind = $1 ORDER BY at, id", columns(store.backend()));
    store
        .read("read the records of removed audit events", async {
            on!(store.pool(), c => sqlx::query_as(AssertSqlSafe(sql))
            .bind(EventKind::AuditRemoved.as_str())
            .fetch_all(c)
            .await)
        })
        .await
}

/// Reads all records of removal and believes those that a trusted key has signed.
pub(crate) async fn load_removed(store: &Store, trusted: &TrustedKeys) -> Result<Records> {
    let rows = removal_rows(store).await?;
    let mut records = Records { removed: Removed::default(), count: rows.len(), invalid: vec![] };
    for row in rows {
        let detail = match row.columns.map(|columns| columns.detail) {
            Some(Value::Object(detail)) => detail,
            _ => Default::default(),
        };
        match Removed::read(row.bound.id, detail, trusted) {
            Some(removed) => records.removed.merge(removed),
            None => records.invalid.push(row.bound.id),
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests;
