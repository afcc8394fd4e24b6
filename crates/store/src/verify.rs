//! Verification of the audit trail: the chain of seals, and every sealed event against its seal.
//!
//! Proved: no sealed event was changed, removed, added or moved, no seal was changed, and the seals were signed by a
//! trusted key, or by one that a trusted key has confirmed. Not proved: that an event was true when it was written,
//! and what happened to events before they were sealed (see [`crate::SealLag`]). If the end of the trail was removed,
//! seals and events together, this shows only against a seal that was kept outside the database: in a node's state
//! directory ([`VerifyOptions::mark`]) or elsewhere ([`VerifyOptions::expected`]).

mod accepted;
mod check;
mod copies;
mod records;
mod removal;
mod report;
mod rows;
mod signed;
mod unsealed;

pub use copies::CopiedSeal;
pub use report::{Finding, VerifyOptions, VerifyReport};
pub use rows::{RowOptions, RowReport};

pub(crate) use accepted::AcceptedKeys;
pub(crate) use records::{Records, Restored, key_record, load_records};
pub(crate) use removal::Removed;
pub(crate) use signed::{RecordRow, record_rows};

use crate::Store;
use crate::audit::EventCursor;
use crate::seal::{Bound, Seal};
use check::{Chain, Members};
use model::Result;

/// Seals read at once.
const PAGE: i64 = 8;
/// Before everything that somebody could have inserted.
const BEGIN: Bound = Bound::position(i64::MIN);
const END: Bound = Bound::position(i64::MAX);

impl Store {
    /// Verifies seals and events, one after the other, in constant memory. `progress` gets the growing report, once
    /// per seal.
    ///
    /// # Errors
    /// The database failed. A difference from what was sealed is a finding, not an error.
    pub async fn verify_audit(
        &self,
        options: &VerifyOptions,
        mut progress: impl FnMut(&VerifyReport) + Send,
    ) -> Result<VerifyReport> {
        let mut records = load_records(self, &options.trusted).await?;
        loop {
            let report = self.verify_once(options, &records, &mut progress).await?;
            let after = load_records(self, &options.trusted).await?;
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
        let mut report = VerifyReport { vouched: records.vouched.clone(), ..VerifyReport::default() };
        for row in &records.invalid {
            report.find(Finding::RecordInvalid { event: row.event, kind: row.kind });
        }
        report.accepted = records.accepted_records;
        report.accepted_keys = records.accepted.iter().flat_map(AcceptedKeys::keys).collect();
        report.accepted_keys.sort_unstable();
        report.accepted_keys.dedup();
        let mut options = options.clone();
        options.trusted = records.trusted.clone();
        let options = &options;
        if let Some(mark) = &mut options.mark.as_ref() {
            report.alarm_of(mark);
        }
        let first = options.from.unwrap_or(1).max(1);
        let mut chain = Chain::new(options, &records.restored, &records.accepted);
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
        if options.to.is_none() {
            self.verify_pending(options, &chain, &mut report).await?;
            self.find_beyond(&mut report).await?;
            let from = chain.to().unwrap_or(Bound::START);
            report.unsealed = self.unsealed_events(from, i64::MAX).await?;
        }
        chain.end(&mut report);
        Ok(report)
    }

    /// A seal that this node was about to make, and whose fate it did not learn: its events must still make it.
    async fn verify_pending(
        &self,
        options: &VerifyOptions,
        chain: &Chain<'_>,
        report: &mut VerifyReport,
    ) -> Result<()> {
        let Some(pending) = options.mark.as_ref().and_then(|mark| mark.pending.as_ref()) else {
            return Ok(());
        };
        if chain.is_before(pending) && !self.members_make(pending).await? {
            report.find(Finding::PendingDiffers { seal: pending.seq });
        }
        Ok(())
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

#[cfg(test)]
mod tests;
