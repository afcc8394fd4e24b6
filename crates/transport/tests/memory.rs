//! A folder of 100,000 files, polled with a limit of ten: the oldest are found, and the heap stays small.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test program that counts what it allocates")]

mod strange;

use futures::{StreamExt, stream};
use model::definition::{Order, PollSource};
use model::{RemotePath, Result, SkipReason, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use strange::Strange;
use testkit::conformance::Interlude;
use testkit::defined;
use testkit::fake::{Known, services};
use testkit::heap::{CountingAllocator, Heap};
use testkit::polls::discover_stable;
use transport::folder::{After, Entry, EntryKind, FolderSource, FolderSourceOptions};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const FILES: u32 = 100_000;

const MOST: usize = 24 << 20;

/// A file of the listing: the later in it, the older.
fn file(n: u32) -> Result<Entry> {
    let modified = Timestamp::from_timestamp(1_800_000_000 - i64::from(n), 0);
    let path = format!("{n:06}.edi").as_str().into();
    Ok(Entry { path, kind: EntryKind::File, size: Some(1), modified, version: None, changed: None })
}

#[tokio::test]
async fn the_oldest_of_many_files_are_found_in_bounded_memory() {
    let folder = Arc::new(Strange(|_: &RemotePath| stream::iter((0..FILES).map(file)).boxed()));
    for stable_for in [Duration::ZERO, Duration::from_secs(5)] {
        let poll =
            PollSource { read_limit: 10, order: Order::Arrival, ..defined::poll("place", After::Delete) };
        let poll = defined::polling(poll, |polling| polling.stable_for = stable_for);
        let options = FolderSourceOptions {
            flow: Arc::new(defined::flow("flow", poll)),
            endpoint: "place".into(),
            directory: "in".into(),
        };
        let clock = Arc::new(Interlude::default());
        let services = services(Arc::clone(&clock) as _);
        let source = FolderSource::new(Arc::clone(&folder) as _, options, services).unwrap();
        let known = Arc::new(Known::default());
        let heap = Heap::watch();
        let pending = Arc::default();
        let found =
            discover_stable(&source, Arc::clone(&known) as _, &pending, clock.as_ref()).await.unwrap();
        let peak = heap.grown();
        let names: Vec<RemotePath> = found.into_iter().map(|offer| offer.identity.path).collect();
        let oldest: Vec<RemotePath> =
            (FILES - 10..FILES).rev().map(|n| format!("in/{n:06}.edi").as_str().into()).collect();
        assert_eq!(names, oldest);
        let skipped = known.skipped();
        let beyond = u64::from(FILES) - 10;
        // The first of two polls keeps 10,010 files in mind, and takes none.
        let by_first = if stable_for.is_zero() { 0 } else { u64::from(FILES) - 10_010 };
        assert_eq!(skipped[&SkipReason::ReadLimit], by_first + beyond);
        println!("{} KiB for {FILES} files", peak >> 10);
        assert!(peak < MOST, "{peak} bytes");
    }
}
