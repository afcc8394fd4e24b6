//! A file that is still being filled, though neither its size nor its time tells.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test, which writes files and sets their times"
)]

use futures::StreamExt;
use model::RemotePath;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use testkit::conformance::Interlude;
use testkit::defined;
use testkit::fake::{Known, services};
use testkit::polls::discover_stable;
use tokio::io::AsyncReadExt;
use transport::folder::After;
use transport::folder::{FolderSource, FolderSourceOptions};
use transport::{AfterRead, FoundOffer, Source};
use transport_file::LocalFolder;

const SIZE: usize = 100_000;

/// Writes a part of a file that was allocated in full, and sets its time back to what it was.
fn fill(path: &Path, at: usize) {
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(&[7; 1_000], at as u64).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
    // The system notes changes in steps of a few milliseconds.
    std::thread::sleep(Duration::from_millis(20));
}

fn allocated(directory: &Path) -> PathBuf {
    let path = directory.join("order.edi");
    std::fs::write(&path, vec![0; SIZE]).unwrap();
    fill(&path, 0);
    path
}

fn source(directory: &Path, clock: Arc<Interlude>) -> FolderSource {
    let poll = defined::polling(defined::poll("local", After::Delete), |polling| {
        polling.stable_for = Duration::from_secs(5);
        polling.temporary_suffix = ".part".into();
    });
    let flow = defined::flow("flow", poll);
    let place = RemotePath::from(directory.to_str().unwrap());
    let options =
        FolderSourceOptions { flow: Arc::new(flow), endpoint: "local".into(), directory: place.clone() };
    let folder = Arc::new(LocalFolder::new(place.clone(), vec![place]));
    FolderSource::new(folder, options, services(clock)).unwrap()
}

async fn discover(source: &FolderSource, clock: &Interlude) -> Vec<FoundOffer> {
    discover_stable(source, Arc::new(Known::default()), &Arc::default(), clock).await.unwrap()
}

#[tokio::test]
async fn a_file_that_is_filled_behind_its_time_is_not_offered() {
    let ground = tempfile::tempdir().unwrap();
    let path = allocated(ground.path());
    let clock = Arc::new(Interlude::default());
    let source = source(ground.path(), Arc::clone(&clock));
    let filled = path.clone();
    clock.during_sleep(move || async move { fill(&filled, 50_000) });
    assert!(discover(&source, &clock).await.is_empty(), "it is being filled");
    assert_eq!(discover(&source, &clock).await.len(), 1, "it is no longer");
}

#[tokio::test]
async fn a_file_that_is_filled_behind_its_time_while_it_is_read_is_not_taken() {
    let ground = tempfile::tempdir().unwrap();
    let path = allocated(ground.path());
    let clock = Arc::new(Interlude::default());
    let source = source(ground.path(), Arc::clone(&clock));
    let mut found = discover(&source, &clock).await.remove(0);
    let mut opened = source.open(&found).await.unwrap();
    found.source_data.append(&mut opened.source_data);
    let mut content = Vec::new();
    opened.parts.next().await.unwrap().unwrap().reader.read_to_end(&mut content).await.unwrap();
    assert_eq!(source.look_again(&found).await.unwrap(), AfterRead::Unchanged);
    fill(&path, 99_000);
    let seen = source.look_again(&found).await.unwrap();
    assert!(
        matches!(&seen, AfterRead::Changed(words) if words.contains("its status time (ctime) was")),
        "{seen:?}"
    );
    assert!(source.open(&found).await.is_err(), "what was listed is no longer what is there");
    // Other permissions change no content, and keep no file from being settled.
    let mut permissions = std::fs::metadata(&path).unwrap().permissions();
    let found = discover(&source, &clock).await.remove(0);
    permissions.set_readonly(true);
    std::fs::set_permissions(&path, permissions).unwrap();
    let offer = model::Offer {
        id: model::OfferId::new(uuid::Uuid::from_u128(1)),
        identity: found.identity,
        state: model::OfferState::Settling,
        found_at: chrono::DateTime::UNIX_EPOCH,
        failures: 0,
        source_data: found.source_data,
    };
    let settled = source.settle(&offer, model::Outcome::Taken).await.unwrap();
    assert_eq!(settled, transport::Settled::Done);
}
