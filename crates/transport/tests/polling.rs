//! Polling over places that no real server would be: endless, looping, hostile, huge.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test program: a failed expectation is how it speaks"
)]

mod strange;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use model::definition::PollSource;
use model::{Error, ErrorKind, Offer, OfferId, OfferState, Outcome, Probe, RemotePath, Result, SkipReason};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use strange::Strange;
use testkit::conformance::Interlude;
use testkit::defined;
use testkit::fake::{Fault, Known, MemoryFolder, ScriptedFolder, Way, services};
use testkit::polls::discover_stable;
use transport::folder::After;
use transport::folder::{
    Empty, Entry, EntryKind, FileReader, Filter, Folder, FolderCapabilities, FolderSource,
    FolderSourceOptions, Published, Upload,
};
use transport::{AfterRead, FoundOffer, OfferNotes, Settled, Source, UNSTABLE_LIMIT};

fn entry(name: &str, kind: EntryKind) -> Result<Entry> {
    Ok(Entry { path: name.into(), kind, size: Some(1), modified: None, version: None, changed: None })
}

fn source(folder: Arc<dyn Folder>, directory: &str, recursive: bool, read_limit: usize) -> FolderSource {
    let poll = defined::polling(PollSource { read_limit, ..poll() }, |polling| polling.recursive = recursive);
    source_with(folder, directory, poll)
}

fn poll() -> PollSource {
    defined::polling(defined::poll("place", After::Keep), |polling| {
        polling.temporary_suffix = ".part".into();
    })
}

fn source_with(folder: Arc<dyn Folder>, directory: &str, poll: PollSource) -> FolderSource {
    let flow = defined::flow("flow", poll);
    let options =
        FolderSourceOptions { flow: Arc::new(flow), endpoint: "place".into(), directory: directory.into() };
    FolderSource::new(folder, options, services(clock())).unwrap()
}

/// The clock of all sources here, on which sleeping takes no time.
fn clock() -> Arc<Interlude> {
    static CLOCK: LazyLock<Arc<Interlude>> = LazyLock::new(Arc::default);
    Arc::clone(&CLOCK)
}

async fn discover(source: &FolderSource, known: &Arc<Known>) -> Result<Vec<FoundOffer>> {
    let known = Arc::clone(known) as Arc<dyn transport::KnownOffers>;
    discover_stable(source, known, &Arc::default(), clock().as_ref()).await
}

fn paths(found: &[FoundOffer]) -> Vec<String> {
    found.iter().map(|offer| offer.identity.path.to_text()).collect()
}

#[tokio::test]
async fn a_huge_listing_is_asked_about_in_batches_and_the_first_in_order_are_held() {
    let listing = |_: &RemotePath| {
        stream::iter((0..150_000_u32).rev().map(|n| entry(&format!("{n:06}"), EntryKind::File))).boxed()
    };
    let known = Arc::new(Known::default());
    let found = discover(&source(Arc::new(Strange(listing)), "in", false, 3), &known).await.unwrap();
    assert_eq!(paths(&found), ["in/000000", "in/000001", "in/000002"]);
    assert_eq!(known.asked(), vec![1_000; 150]);
    let found = discover(&source(Arc::new(Strange(listing)), "in", false, 0), &known).await.unwrap();
    assert_eq!(found.len(), 100_000, "what one poll holds");
}

#[tokio::test]
async fn what_a_filter_leaves_is_told_with_its_reason() {
    let listing = |_: &RemotePath| {
        let sized = |name: &str, size| entry(name, EntryKind::File).map(|entry| Entry { size, ..entry });
        stream::iter([
            sized("empty", Some(0)),
            sized("small", Some(1)),
            sized("fits", Some(5)),
            sized("large", Some(9)),
            sized("unstated", None),
        ])
        .boxed()
    };
    let known = Arc::new(Known::default());
    let filtered = |empty| {
        let poll = defined::polling(poll(), |polling| {
            polling.filter = Filter { min_size: Some(2), max_size: Some(8), empty, ..Filter::default() };
        });
        source_with(Arc::new(Strange(listing)), "in", poll)
    };
    let found = discover(&filtered(Empty::Leave), &known).await.unwrap();
    assert_eq!(paths(&found), ["in/fits"]);
    let told = [SkipReason::TooSmall, SkipReason::TooLarge, SkipReason::Empty, SkipReason::Unstated];
    assert_eq!(known.skipped(), told.map(|why| (why, 1)).into());
    // All of them are asked about: one that was taken before, by its name or to refuse it, must not be forgotten.
    assert_eq!(known.asked().iter().sum::<usize>(), 5);
    // A file to refuse is offered with the cause, and not read.
    let found = discover(&filtered(Empty::Refuse), &known).await.unwrap();
    assert_eq!(paths(&found), ["in/empty", "in/fits"]);
    let cause = OfferNotes::of(&found[0].source_data).cause.unwrap();
    assert!(cause.contains("the file is empty"), "{cause}");
    assert_eq!(OfferNotes::of(&found[1].source_data).cause, None);
}

#[tokio::test]
async fn directories_that_go_round_in_a_circle_end() {
    let listing = |_: &RemotePath| {
        stream::iter([entry("again", EntryKind::Directory), entry("file", EntryKind::File)]).boxed()
    };
    let known = Arc::new(Known::default());
    let found = discover(&source(Arc::new(Strange(listing)), "in", true, 0), &known).await.unwrap();
    assert_eq!(found.len(), 65);
    assert_eq!(known.complete_listings(), 0, "what was not looked into may hold what is kept");
}

/// Servers show links as directories: by what tells directories apart they are left, else the poll says so.
#[tokio::test]
async fn links_back_that_are_shown_as_directories_give_no_file_twice() {
    let at = chrono::DateTime::from_timestamp(1_772_366_400, 0);
    let listing = move |version: Option<&'static str>| {
        move |path: &RemotePath| {
            let entry = move |name: &str, kind, version: Option<&str>| {
                let version = version.map(str::to_owned);
                Ok(Entry { path: name.into(), kind, size: Some(1), modified: at, version, changed: None })
            };
            let in_sub = path.to_text().ends_with("sub");
            let sub = entry("sub", EntryKind::Directory, version.map(|_| "sub"));
            let entries = [entry("file", EntryKind::File, None), entry("l1", EntryKind::Directory, version)];
            let more = [entry("l2", EntryKind::Directory, version)];
            stream::iter(entries.into_iter().chain(more).chain((!in_sub).then_some(sub))).boxed()
        }
    };
    // `stat` of this place fails, so the first level of links is looked into before they are known.
    let known = Arc::new(Known::default());
    let versions = source(Arc::new(Strange(listing(Some("in")))), "in", true, 0);
    let found = discover(&versions, &known).await.unwrap();
    assert_eq!(found.len(), 8, "{:?}", paths(&found));
    assert!(paths(&found).contains(&"in/sub/file".to_owned()), "{:?}", paths(&found));
    assert_eq!(known.complete_listings(), 1);
    let error = discover(&source(Arc::new(Strange(listing(None))), "in", true, 0), &known).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    assert!(error.to_string().contains("a link back"), "{error}");
}

#[tokio::test]
async fn names_that_are_paths_are_no_names() {
    let listing = |_: &RemotePath| {
        let names = ["../out", "..", ".", "", "a/b", "/etc/passwd", "nul\0", "fine"];
        stream::iter(names.map(|name| entry(name, EntryKind::File))).boxed()
    };
    let found = discover(&source(Arc::new(Strange(listing)), "in", true, 0), &Arc::default()).await.unwrap();
    assert_eq!(paths(&found), ["in/fine"]);
}

#[tokio::test]
async fn names_and_paths_that_are_too_long_are_passed_over() {
    // Each directory holds another one, so that paths grow.
    let listing = |_: &RemotePath| {
        let (file, long) = ("f".repeat(1_024), "n".repeat(1_025));
        let directory = "d".repeat(900);
        let files = [&file, &long].map(|name| entry(name, EntryKind::File));
        stream::iter(files.into_iter().chain([entry(&directory, EntryKind::Directory)])).boxed()
    };
    let known = Arc::new(Known::default());
    let found = discover(&source(Arc::new(Strange(listing)), "in", true, 0), &known).await.unwrap();
    // Below three directories, a fourth one and its file would be longer than 4 KiB.
    assert_eq!(found.len(), 4);
    assert!(found.iter().all(|found| found.identity.path.file_name() == "f".repeat(1_024).as_bytes()));
    assert_eq!(known.skipped().get(&SkipReason::InvalidName), Some(&7));
}

#[tokio::test]
async fn a_listing_that_breaks_off_is_an_error_and_not_complete() {
    let listing = |_: &RemotePath| {
        stream::iter([entry("a", EntryKind::File), Err(Fault::CUT.error("go on listing"))]).boxed()
    };
    let known = Arc::new(Known::default());
    let error = discover(&source(Arc::new(Strange(listing)), "in", false, 0), &known).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert_eq!(known.complete_listings(), 0);
}

#[tokio::test]
async fn a_directory_that_may_not_be_read_does_not_hide_the_others() {
    let memory = MemoryFolder::new();
    memory.put("in/a/one", *b"1");
    memory.put("in/b/two", *b"2");
    let known = Arc::new(Known::default());
    let denied = |directory: &str| Arc::new(Denied { inner: memory.clone(), directory: directory.into() });
    let found = discover(&source(denied("in/b"), "in", true, 0), &known).await.unwrap();
    assert_eq!(paths(&found), ["in/a/one"]);
    assert_eq!(known.complete_listings(), 0);
    // That the polled directory itself may not be read is told.
    let error = discover(&source(denied("in"), "in", true, 0), &known).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

/// Denies the listing of one directory.
struct Denied {
    inner: MemoryFolder,
    directory: RemotePath,
}

#[async_trait]
impl Folder for Denied {
    async fn probe(self: Arc<Self>, _: &mut Probe) -> Option<Arc<dyn Folder>> {
        Some(self)
    }

    async fn capabilities(&self) -> Result<FolderCapabilities> {
        self.inner.capabilities().await
    }
    async fn list(&self, directory: &RemotePath) -> Result<BoxStream<'static, Result<Entry>>> {
        if *directory == self.directory {
            return Err(Error::permanent(ErrorKind::PermissionDenied, "list"));
        }
        self.inner.list(directory).await
    }
    async fn stat(&self, path: &RemotePath) -> Result<Entry> {
        self.inner.stat(path).await
    }
    async fn read(&self, path: &RemotePath, at: u64) -> Result<FileReader> {
        self.inner.read(path, at).await
    }
    async fn begin_write(&self, path: &RemotePath, length: Option<u64>) -> Result<Box<dyn Upload>> {
        self.inner.begin_write(path, length).await
    }
    async fn publish(&self, from: &RemotePath, to: &RemotePath, overwrite: bool) -> Result<Published> {
        self.inner.publish(from, to, overwrite).await
    }
    async fn rename(&self, from: &RemotePath, to: &RemotePath) -> Result<()> {
        self.inner.rename(from, to).await
    }
    async fn remove(&self, path: &RemotePath) -> Result<()> {
        self.inner.remove(path).await
    }
    async fn make_directory(&self, path: &RemotePath) -> Result<()> {
        self.inner.make_directory(path).await
    }
}

#[tokio::test]
async fn an_endpoint_that_names_one_file_polls_that_file() {
    let memory = MemoryFolder::new();
    memory.put("in/orders.edi", *b"content");
    memory.put("in/other.edi", *b"content");
    let poll = source(Arc::new(memory), "in/orders.edi", false, 0);
    let found = discover(&poll, &Arc::default()).await.unwrap();
    assert_eq!(paths(&found), ["in/orders.edi"]);
    let part = poll.open(&found[0]).await.unwrap().parts.next().await.unwrap().unwrap();
    assert_eq!(part.file_name, RemotePath::from("orders.edi"));
}

fn offer(found: &FoundOffer) -> Offer {
    Offer {
        id: OfferId::new(uuid::Uuid::from_u128(1)),
        identity: found.identity.clone(),
        state: OfferState::Settling,
        found_at: chrono::DateTime::from_timestamp(1_772_366_400, 0).unwrap(),
        failures: 0,
        source_data: found.source_data.clone(),
    }
}

#[tokio::test]
async fn a_new_file_that_looks_the_same_is_not_archived_in_the_old_ones_stead() {
    let memory = MemoryFolder::new();
    memory.put("in/a.edi", *b"taken");
    let after = After::Archive { directory: "done".into(), timestamp: true };
    let source = source_with(
        Arc::new(memory.clone()),
        "in",
        defined::polling(poll(), |polling| polling.after = after),
    );
    let offer = offer(&discover(&source, &Arc::default()).await.unwrap()[0]);
    assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Done);
    // The answer was lost; meanwhile the partner sent another file within the same second.
    memory.duplicate("done/a-20260301T120000000000Z.edi", "in/a.edi");
    assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Changed);
    assert_eq!(memory.files(), ["done/a-20260301T120000000000Z.edi", "in/a.edi"]);
}

#[tokio::test]
async fn a_file_of_the_same_size_and_time_is_told_by_its_version() {
    let memory = MemoryFolder::new();
    memory.put("in/a.edi", *b"taken");
    let source = source_with(
        Arc::new(memory.clone()),
        "in",
        defined::polling(poll(), |polling| polling.after = After::Delete),
    );
    let found = discover(&source, &Arc::default()).await.unwrap().remove(0);
    memory.exchange("in/a.edi", *b"other");
    assert!(matches!(source.look_again(&found).await.unwrap(), AfterRead::Changed(_)));
    assert!(source.open(&found).await.is_err());
    assert_eq!(source.settle(&offer(&found), Outcome::Taken).await.unwrap(), Settled::Changed);
    assert_eq!(memory.get("in/a.edi").as_deref(), Some(&b"other"[..]));
}

#[tokio::test]
async fn an_archive_keeps_the_directories_below_the_polled_one() {
    let memory = MemoryFolder::new();
    memory.put("in/one/two/a.edi", *b"taken");
    let after = After::Archive { directory: "done".into(), timestamp: false };
    let source = source_with(
        Arc::new(memory.clone()),
        "in",
        defined::polling(defined::polling(poll(), |polling| polling.after = after), |polling| {
            polling.recursive = true
        }),
    );
    let offer = offer(&discover(&source, &Arc::default()).await.unwrap()[0]);
    assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Done);
    assert_eq!(memory.files(), ["done/one/two/a.edi"]);
}

/// A place whose files have another time at each look, of which one grows too.
fn restless() -> Arc<ScriptedFolder> {
    let memory = MemoryFolder::new();
    memory.put("in/a.edi", *b"its time moves");
    memory.put("in/b.edi", *b"it stands still");
    memory.put("in/c.edi", *b"it grows");
    memory.put("in/d.edi", *b"the system's time moves");
    let scripted = ScriptedFolder::new(Arc::new(memory));
    let looks = Arc::new(AtomicU64::new(0));
    for way in [Way::Listing, Way::Look] {
        let looks = Arc::clone(&looks);
        scripted.tell(way, move |entry| {
            let look = looks.fetch_add(1, Ordering::Relaxed);
            let later = entry.modified.map(|at| at + chrono::TimeDelta::seconds(look as i64));
            match entry.path.file_name() {
                b"a.edi" => entry.modified = later,
                b"c.edi" => (entry.modified, entry.size) = (later, Some(look)),
                b"d.edi" => entry.changed = later,
                _ => {}
            }
        });
    }
    scripted
}

#[tokio::test]
async fn files_of_which_only_the_time_moves_are_told_of_and_not_offered() {
    let stable_for = Duration::from_secs(5);
    let source =
        source_with(restless(), "in", defined::polling(poll(), |polling| polling.stable_for = stable_for));
    let known = Arc::new(Known::default());
    assert_eq!(paths(&discover(&source, &known).await.unwrap()), ["in/b.edi"]);
    let told = known.unstable();
    let told_of: Vec<String> = told.iter().map(|file| file.path.to_text()).collect();
    assert_eq!(told_of, ["in/a.edi", "in/d.edi"]);
    assert!(told.iter().all(|file| file.was < file.is), "{told:?}");
    assert_eq!(told[0].size, Some(14));
}

#[tokio::test]
async fn files_are_told_by_path_and_size_where_times_are_left_out() {
    let stable_for = Duration::from_secs(5);
    let folder = restless();
    let source = source_with(
        Arc::clone(&folder) as _,
        "in",
        defined::polling(poll(), |polling| (polling.stable_for, polling.ignore_times) = (stable_for, true)),
    );
    let known = Arc::new(Known::default());
    let found = discover(&source, &known).await.unwrap();
    assert_eq!(paths(&found), ["in/a.edi", "in/b.edi", "in/d.edi"]);
    assert!(known.unstable().is_empty());
    for found in found {
        assert_eq!(found.identity.modified, None);
        assert!(source.open(&found).await.is_ok(), "{found:?}");
        assert_eq!(source.look_again(&found).await.unwrap(), AfterRead::Unchanged);
    }
}

#[tokio::test]
async fn no_more_unstable_files_are_told_of_than_the_first_hundred() {
    let memory = MemoryFolder::new();
    for number in 0..150 {
        memory.put(format!("in/{number:03}").as_str(), *b"order");
    }
    let scripted = ScriptedFolder::new(Arc::new(memory));
    let looks = AtomicU64::new(0);
    scripted.tell(Way::Listing, move |entry| {
        let look = looks.fetch_add(1, Ordering::Relaxed);
        entry.modified = entry.modified.map(|at| at + chrono::TimeDelta::seconds(look as i64));
    });
    let stable_for = Duration::from_secs(5);
    let source =
        source_with(scripted, "in", defined::polling(poll(), |polling| polling.stable_for = stable_for));
    let known = Arc::new(Known::default());
    assert!(discover(&source, &known).await.unwrap().is_empty());
    let told = known.unstable();
    assert_eq!((told.len(), told[99].path.to_text().as_str()), (UNSTABLE_LIMIT, "in/099"));
}
