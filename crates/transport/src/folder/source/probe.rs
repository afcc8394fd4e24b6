//! The test of an endpoint as a source: which files a poll would accept, which it would skip and why, and whether the
//! first file can be opened.

use super::super::walk::Listed;
use super::FolderSource;
use super::collect::Next;
use crate::{Probe, Step};
use model::{RemotePath, Result, SkipReason};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The number of names shown for each reason.
const SHOWN: usize = 3;

/// The files skipped for one reason: their number, and the first names.
#[derive(Default)]
struct Passed {
    count: usize,
    names: Vec<String>,
}

impl FolderSource {
    /// Adds the steps of a poll to a test whose connection was made.
    pub(super) async fn probe_steps(&self, probe: &mut Probe) {
        let passed = Mutex::new(BTreeMap::<SkipReason, Passed>::new());
        let clock = &self.services.clock;
        let began = clock.monotonic();
        let listed = self.list_for_probe(&passed).await;
        let took = clock.monotonic().saturating_sub(began);
        let passed = passed.into_inner().unwrap_or_else(PoisonError::into_inner);
        let listed = probe.add(Step::List, took, listed, |(count, _)| match count {
            0 => "no files for this flow".to_owned(),
            1 => "1 file for this flow".to_owned(),
            count => format!("{count} files for this flow"),
        });
        let Some((_, first)) = listed else { return };
        if !passed.is_empty() {
            let words =
                passed.iter().map(|(why, passed)| in_words(*why, passed)).collect::<Vec<_>>().join("; ");
            probe.note(Step::Ignored, words);
        }
        if let Some(first) = first {
            let began = clock.monotonic();
            let result = self.open_for_probe(first).await;
            let took = clock.monotonic().saturating_sub(began);
            probe.add(Step::Open, took, result, Clone::clone);
        }
    }

    /// The number of files that the flow would accept, and the first of the listing.
    async fn list_for_probe(
        &self,
        passed: &Mutex<BTreeMap<SkipReason, Passed>>,
    ) -> Result<(usize, Option<Listed>)> {
        let markers = self.markers().await?;
        let mut walk = self.walk()?.observed(|why, relative: &RemotePath| {
            let mut passed = passed.lock().unwrap_or_else(PoisonError::into_inner);
            let passed = passed.entry(why).or_default();
            passed.count += 1;
            if passed.names.len() < SHOWN {
                passed.names.push(relative.to_text());
            }
        });
        let (mut count, mut first) = (0, None);
        while let Some(next) = self.next_taken(&mut walk, markers.as_ref(), &mut Vec::new()).await? {
            // Files that are left were counted when they were passed over.
            if let Next::Taken(listed) = next {
                count += 1;
                first.get_or_insert(listed);
            }
        }
        Ok((count, first))
    }

    /// Opens a file as a poll does, but reads nothing: some servers give each file only once.
    async fn open_for_probe(&self, listed: Listed) -> Result<String> {
        let relative = listed.relative.clone();
        let offer = super::found_offer(self.candidate(listed, 0));
        self.find(&offer).await?;
        self.folder.try_open(&offer.identity.path).await?;
        Ok(match offer.identity.size {
            Some(size) => format!("{relative}: listed with {size} bytes; opened, not read"),
            None => format!("{relative}: opened, not read"),
        })
    }
}

fn in_words(why: SkipReason, passed: &Passed) -> String {
    let more = if passed.count > passed.names.len() { ", …" } else { "" };
    format!("{} {}: {}{more}", passed.count, why.words(), passed.names.join(", "))
}
