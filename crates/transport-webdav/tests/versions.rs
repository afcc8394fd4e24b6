//! Files that are replaced before they are removed from their source, and servers whose versions are no help in that.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use futures::StreamExt;
use model::{Offer, OfferId, OfferState, Outcome, RemotePath};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};
use support::{DavServer, Scripted, World, answer, directory, file, multistatus, read};
use testkit::defined;
use testkit::fake::{Act, Fault, Known, ScriptedFolder};
use tokio::io::AsyncReadExt;
use transport::folder::{After, Folder, FolderSource, FolderSourceOptions};
use transport::{Discovery, Settled, Source};
use uuid::Uuid;

fn source(world: &World, folder: Arc<dyn Folder>, polled: &str, after: After) -> FolderSource {
    let flow = Arc::new(defined::flow("flow", defined::poll("share", after)));
    let options = FolderSourceOptions { flow, endpoint: "share".into(), directory: polled.into() };
    FolderSource::new(folder, options, world.services.clone()).unwrap()
}

/// The only file that a poll finds, read to its end.
async fn taken(source: &FolderSource) -> (Offer, Vec<u8>) {
    let discovery = Discovery::first(Arc::new(Known::default()));
    let found: Vec<_> = source.discover(discovery).await.unwrap().collect().await;
    assert_eq!(found.len(), 1, "{found:?}");
    let found = found.into_iter().next().unwrap().unwrap();
    let mut opened = source.open(&found).await.unwrap();
    let mut part = opened.parts.next().await.unwrap().unwrap();
    let mut content = Vec::new();
    part.reader.read_to_end(&mut content).await.unwrap();
    let mut source_data = found.source_data.clone();
    source_data.extend(opened.source_data);
    let offer = Offer {
        id: OfferId::new(Uuid::from_u128(1)),
        identity: found.identity,
        state: OfferState::Settling,
        found_at: chrono::DateTime::from_timestamp(1_772_366_400, 0).unwrap(),
        failures: 0,
        source_data,
    };
    (offer, content)
}

/// What a server tells as the version of a file.
#[derive(Clone, Copy, Debug)]
enum Looks {
    /// Another one than its listings.
    Another,
    /// Another one each time.
    Changing,
    /// None.
    None,
}

/// The server refuses each condition but that of the version that its looks tell.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_removed_where_looks_tell_another_version_than_listings() {
    for looks in [Looks::Another, Looks::Changing, Looks::None] {
        let count = AtomicU32::new(0);
        let tells = move |etag: &str| {
            let etag =
                if etag.is_empty() { String::new() } else { format!("<D:getetag>\"{etag}\"</D:getetag>") };
            file("/in/a.edi", 7).replace("<D:resourcetype/>", &format!("{etag}<D:resourcetype/>"))
        };
        let server = Scripted::start(move |_, head| match head.split(' ').next() {
            Some("PROPFIND") if head.contains("depth: 1") => {
                multistatus(&format!("{}{}", directory("/in/"), tells("listed")))
            }
            Some("PROPFIND") if head.starts_with("PROPFIND /in/a.edi ") => {
                let number = count.fetch_add(1, Ordering::Relaxed);
                multistatus(&match looks {
                    Looks::Another => tells("looked"),
                    Looks::Changing => tells(&format!("looked-{number}")),
                    Looks::None => tells(""),
                })
            }
            Some("PROPFIND") => multistatus(&directory("/in/")),
            Some("DELETE") if head.contains("if-match") && !head.contains("\"looked\"") => {
                answer("412 Precondition Failed", "", "")
            }
            Some("DELETE") => answer("204 No Content", "", ""),
            _ => answer("200 OK", "", "content"),
        });
        let world = World::new();
        let folder = world.folder(&server.endpoint(&[]));
        let source = source(&world, folder, "/in", After::Delete);
        let (offer, content) = taken(&source).await;
        assert_eq!(content, b"content");
        let settled = source.settle(&offer, Outcome::Taken).await.unwrap();
        assert_eq!(settled, Settled::Done, "{looks:?}: {:#?}", server.heads());
    }
}

/// A file of long ago: of newer ones Apache tells weak versions only.
fn put(server: &DavServer, bytes: &[u8], seconds: u64) {
    let path = server.files().join("in/a.edi");
    std::fs::write(&path, bytes).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

fn names(server: &DavServer, directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(server.files().join(directory)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Apache, whose file is replaced right before it is deleted: after it was compared, for a plain deletion and for that of a file
/// that was copied to its archive.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_replaced_right_before_it_is_deleted_stays_and_is_offered() {
    for after in [After::Delete, After::Archive { directory: "/done".into(), timestamp: false }] {
        let server = Arc::new(DavServer::apache(&[]));
        let world = World::new();
        let folder = world.folder(&server.endpoint("", &[]));
        folder.make_directory(&"/in".into()).await.unwrap();
        put(&server, b"content", 1_700_000_000);
        let script = ScriptedFolder::new(Arc::clone(&folder));
        let source = source(&world, Arc::clone(&script) as _, "/in", after.clone());
        let (offer, _) = taken(&source).await;
        let replaced = Arc::clone(&server);
        script.before(Act::Remove, move || async move { put(&replaced, b"CONTENT", 1_700_000_100) });
        // With an archive: the file is copied, and then deleted.
        let is_archived = matches!(after, After::Archive { .. });
        if is_archived {
            script.fail(Act::Rename, Fault::REFUSED);
        }
        let settled = source.settle(&offer, Outcome::Taken).await.unwrap();
        assert_eq!(read(&folder, "/in/a.edi", 0).await.unwrap(), b"CONTENT", "{after:?}");
        assert_eq!(script.count(Act::Remove), 1, "{:?}", script.calls());
        if is_archived {
            assert_eq!(settled, Settled::Done);
            assert_eq!(names(&server, "done").iter().filter(|name| *name != ".DAV").count(), 1);
            assert_eq!(read(&folder, "/done/a.edi", 0).await.unwrap(), b"content");
        } else {
            assert_eq!(settled, Settled::Changed);
        }
        let (next, content) = taken(&source).await;
        assert_eq!(content, b"CONTENT");
        assert_eq!(next.identity.path, RemotePath::from("/in/a.edi"));
        assert_ne!(next.identity.version, offer.identity.version);
        assert_eq!(source.settle(&next, Outcome::Taken).await.unwrap(), Settled::Done);
        assert!(names(&server, "in").iter().all(|name| name == ".DAV"), "{after:?}");
    }
}
