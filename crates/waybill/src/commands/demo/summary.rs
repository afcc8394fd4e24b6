//! What the demonstration showed, read back from both databases after the gateways have ended.

use super::samples::Sample;
use crate::commands::pages::Pages;
use crate::commands::{FOUND_WRONG, write};
use crate::gateway::open_store;
use crate::process::ClockAndRandom;
use config::Settings;
use model::{Result, TransferState};
use std::collections::HashSet;
use std::process::ExitCode;
use store::{ConnectionFilter, SealKey, TransferFilter, TrustedKeys, VerifyOptions};

/// What one gateway's database says.
#[derive(Default)]
pub(crate) struct Books {
    transfers: usize,
    completed: usize,
    mics_matched: usize,
    connections: usize,
    connections_open: usize,
    events: u64,
    seals: u64,
    unsealed: u64,
    findings: usize,
}

impl Books {
    pub(crate) async fn read(settings: &Settings, key: &SealKey) -> Result<Self> {
        let store = open_store(settings, &ClockAndRandom::default()).await?;
        let mut books = Self::default();
        let mut pages = Pages::all();
        while let Some(page) = pages.next() {
            for transfer in pages.take(store.transfers(&TransferFilter::default(), page).await?).rows {
                books.transfers += 1;
                books.completed += usize::from(transfer.state == TransferState::Completed);
                let Some(waybill) = store.waybill(transfer.id).await? else { continue };
                let matched =
                    |receipt: &model::Receipt| receipt.detail.get("mic_matched") == Some(&true.into());
                books.mics_matched += waybill
                    .deliveries
                    .iter()
                    .filter_map(|d| d.receipt.as_ref())
                    .filter(|r| matched(r))
                    .count();
            }
        }
        let mut pages = Pages::all();
        while let Some(page) = pages.next() {
            for connection in pages.take(store.connections(&ConnectionFilter::default(), page).await?).rows {
                books.connections += 1;
                books.connections_open += usize::from(connection.closed_at.is_none());
            }
        }
        let options = VerifyOptions { trusted: TrustedKeys::of(key)?, ..VerifyOptions::default() };
        let report = store.verify_audit(&options, |_| {}).await?;
        books.events = report.events;
        books.seals = report.seals;
        books.unsealed = report.unsealed;
        books.findings = report.findings.len();
        store.close().await;
        Ok(books)
    }
}

pub(crate) struct Summary {
    samples: usize,
    missing: Vec<String>,
    sides: Vec<(&'static str, Books)>,
}

impl Summary {
    pub(crate) fn new(arrived: Option<HashSet<String>>, samples: &[Sample]) -> Self {
        let arrived = arrived.unwrap_or_default();
        let missing = samples.iter().filter(|sample| !arrived.contains(&sample.name)).map(|s| s.name.clone());
        Self { samples: samples.len(), missing: missing.collect(), sides: Vec::new() }
    }

    pub(crate) fn add(&mut self, side: &'static str, books: Books) {
        self.sides.push((side, books));
    }

    /// Prints the summary; the exit code says whether all is well.
    pub(crate) fn print(&self) -> Result<ExitCode> {
        let mut wrong: Vec<String> =
            self.missing.iter().map(|name| format!("{name} did not arrive, or is incomplete")).collect();
        write::line(format_args!(
            "files            {} dropped, {} arrived complete",
            self.samples,
            self.samples - self.missing.len()
        ))?;
        for (side, books) in &self.sides {
            write::line(format_args!(
                "{side:<17}{} transfers ({} completed), {} MICs matched, {} connections audited, {} events under {} seals",
                books.transfers,
                books.completed,
                books.mics_matched,
                books.connections,
                books.events,
                books.seals
            ))?;
            let checks = [
                (books.completed == self.samples, "not every transfer is completed"),
                (*side != "Acme" || books.mics_matched == self.samples, "not every MIC matched"),
                (
                    books.connections > 0 && books.connections_open == 0,
                    "the end of a connection is not recorded",
                ),
                (books.seals > 0 && books.unsealed == 0, "events are not sealed"),
                (books.findings == 0, "the audit trail does not verify"),
            ];
            wrong
                .extend(checks.iter().filter(|(fine, _)| !fine).map(|(_, words)| format!("{side}: {words}")));
        }
        if wrong.is_empty() {
            write::line("seals verified   yes\nall is well")?;
            return Ok(ExitCode::SUCCESS);
        }
        wrong.iter().try_for_each(|words| write::line(format_args!("WRONG            {words}")))?;
        Ok(ExitCode::from(FOUND_WRONG))
    }
}
