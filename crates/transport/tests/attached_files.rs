//! Files that are read and settled with another one, found beside it by its name.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test program: a failed expectation is how it speaks"
)]

use futures::TryStreamExt;
use model::{ErrorKind, Offer, OfferId, OfferState, Outcome, SkipReason};
use std::sync::{Arc, LazyLock};
use testkit::conformance::Interlude;
use testkit::defined;
use testkit::fake::{Known, MemoryFolder, services};
use testkit::polls::discover_stable;
use tokio::io::AsyncReadExt;
use transport::folder::{After, DoneFile, Folder as _, FolderSource, FolderSourceOptions};
use transport::{AfterRead, FoundOffer, Settled, Source};

/// The clock of all sources here, on which sleeping takes no time.
fn clock() -> Arc<Interlude> {
    static CLOCK: LazyLock<Arc<Interlude>> = LazyLock::new(Arc::default);
    Arc::clone(&CLOCK)
}

fn source(memory: &MemoryFolder, after: After) -> FolderSource {
    let poll = defined::polling(defined::poll("place", after), |polling| {
        let names = ["{stem}.pdf", "{name}.sig"];
        polling.attached_files = names.map(|name| DoneFile::parse(name).unwrap()).into();
        polling.recursive = true;
    });
    let flow = Arc::new(defined::flow("flow", poll));
    let options = FolderSourceOptions { flow, endpoint: "place".into(), directory: "in".into() };
    FolderSource::new(Arc::new(memory.clone()), options, services(clock())).unwrap()
}

async fn discover(source: &FolderSource, known: &Arc<Known>) -> Vec<FoundOffer> {
    let known = Arc::clone(known) as Arc<dyn transport::KnownOffers>;
    discover_stable(source, known, &Arc::default(), clock().as_ref()).await.unwrap()
}

/// Opens an offer and reads all of it: names and bytes, and the offer with what was noted.
async fn read(source: &FolderSource, found: &FoundOffer) -> (Vec<(String, Vec<u8>)>, FoundOffer) {
    let opened = source.open(found).await.unwrap();
    let mut files = Vec::new();
    let mut parts = opened.parts;
    while let Some(mut part) = parts.try_next().await.unwrap() {
        let mut bytes = Vec::new();
        part.reader.read_to_end(&mut bytes).await.unwrap();
        files.push((part.file_name.to_text(), bytes));
    }
    let mut read = found.clone();
    read.source_data.extend(opened.source_data);
    (files, read)
}

fn recorded(found: &FoundOffer) -> Offer {
    Offer {
        id: OfferId::new(uuid::Uuid::nil()),
        identity: found.identity.clone(),
        state: OfferState::Settling,
        found_at: chrono::DateTime::from_timestamp(1_772_366_400, 0).unwrap(),
        failures: 0,
        source_data: found.source_data.clone(),
    }
}

fn files() -> MemoryFolder {
    let memory = MemoryFolder::new();
    memory.put("in/a/po.edi", *b"order");
    memory.put("in/a/po.pdf", *b"plan");
    memory.put("in/a/po.edi.sig", *b"signature");
    memory.put("in/a/other.edi", *b"alone");
    memory.put("in/b/po.pdf", *b"without its file");
    memory
}

#[tokio::test]
async fn attachments_are_read_behind_their_file_and_never_by_themselves() {
    let memory = files();
    let source = source(&memory, After::Delete);
    let known = Arc::new(Known::default());
    let found = discover(&source, &known).await;
    let paths: Vec<String> = found.iter().map(|offer| offer.identity.path.to_text()).collect();
    assert_eq!(paths, ["in/a/other.edi", "in/a/po.edi"]);
    assert_eq!(known.skipped()[&SkipReason::AttachedFile], 3);
    let (alone, other) = read(&source, &found[0]).await;
    assert_eq!(alone, [("a/other.edi".to_owned(), b"alone".to_vec())]);
    assert_eq!(source.look_again(&other).await.unwrap(), AfterRead::Unchanged);
    let (all, with_all) = read(&source, &found[1]).await;
    let expected = [
        ("a/po.edi".to_owned(), b"order".to_vec()),
        ("a/po.pdf".to_owned(), b"plan".to_vec()),
        ("a/po.edi.sig".to_owned(), b"signature".to_vec()),
    ];
    assert_eq!(all, expected);
    assert_eq!(source.look_again(&with_all).await.unwrap(), AfterRead::Unchanged);
    // Settled by the offer alone, again after any interruption.
    for _ in 0..2 {
        source.settle(&recorded(&with_all), Outcome::Taken).await.unwrap();
        assert_eq!(memory.files(), ["in/a/other.edi", "in/b/po.pdf"]);
    }
}

#[tokio::test]
async fn attachments_go_where_their_file_goes() {
    let memory = files();
    let after = After::Archive { directory: "done".into(), timestamp: false };
    let source = source(&memory, after);
    let found = discover(&source, &Arc::default()).await.remove(1);
    let (_, read) = read(&source, &found).await;
    // One that was written anew since belongs to the next file.
    memory.put("in/a/po.pdf", *b"another plan");
    assert_eq!(source.settle(&recorded(&read), Outcome::Taken).await.unwrap(), Settled::Done);
    let left = ["done/a/po.edi", "done/a/po.edi.sig", "in/a/other.edi", "in/a/po.pdf", "in/b/po.pdf"];
    assert_eq!(memory.files(), left);
}

#[tokio::test]
async fn an_attachment_that_changes_while_it_is_read_has_its_file_read_again() {
    let memory = files();
    let source = source(&memory, After::Keep);
    let found = discover(&source, &Arc::default()).await.remove(1);
    let (_, read_once) = read(&source, &found).await;
    memory.put("in/a/po.pdf", *b"another plan");
    assert!(matches!(source.look_again(&read_once).await.unwrap(), AfterRead::Changed(_)));
    let (again, read_again) = read(&source, &found).await;
    assert_eq!(again[1].1, b"another plan");
    assert_eq!(source.look_again(&read_again).await.unwrap(), AfterRead::Unchanged);
    // All stay where they are.
    assert_eq!(source.settle(&recorded(&read_again), Outcome::Taken).await.unwrap(), Settled::Kept);
    assert_eq!(memory.files().len(), 5);
    // One that is gone before it is opened is no failure of the others: the file is read anew.
    let opened = source.open(&found).await.unwrap();
    memory.remove(&"in/a/po.pdf".into()).await.unwrap();
    let parts: Result<Vec<_>, _> = opened.parts.try_collect().await;
    assert_eq!(parts.err().map(|error| error.kind()), Some(ErrorKind::NotFound));
}
