//! What a source over a folder makes of places that tell too little, too much, or something else each time.

use super::Place;
use super::scene::{Scene, offer};
use crate::fake::{Fault, Way};
use chrono::TimeDelta;
use model::{ErrorKind, Outcome, Retry};
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::io::AsyncReadExt;
use transport::folder::After;
use transport::folder::{Entry, EntryKind, FolderSource};
use transport::{AfterRead, FoundOffer, Settled, Source};

const CONTENT: &[u8] = b"the whole file";

impl Scene {
    /// Discovers one file of this content.
    async fn find_one(&self, source: &FolderSource) -> FoundOffer {
        let mut found = self.discover(source).await;
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    /// Reads an offer as the engine does: what came, and what was seen afterwards.
    async fn take(&self, source: &FolderSource, found: &mut FoundOffer) -> (Vec<u8>, AfterRead) {
        let mut opened = source.open(found).await.unwrap();
        found.source_data.append(&mut opened.source_data);
        let mut content = Vec::new();
        let part = futures::StreamExt::next(&mut opened.parts).await.unwrap().unwrap();
        let mut reader = part.reader;
        reader.read_to_end(&mut content).await.unwrap();
        drop(reader);
        (content, source.look_again(found).await.unwrap())
    }

    /// The whole way of a file that nothing is wrong with but what is told of it.
    async fn is_taken_and_settled(&self) {
        for after in
            [After::Delete, After::Archive { directory: self.place.beside.to_text(), timestamp: false }]
        {
            self.put("a.edi", CONTENT).await;
            let source =
                self.source(crate::defined::polling(self.poll(), |polling| polling.after = after.clone()));
            let mut found = self.find_one(&source).await;
            let (content, seen) = self.take(&source, &mut found).await;
            assert_eq!((content.as_slice(), seen), (CONTENT, AfterRead::Unchanged), "{after:?}");
            let settled = source.settle(&offer(&found), Outcome::Taken).await.unwrap();
            assert_eq!(settled, Settled::Done, "{after:?}");
            assert!(self.names().await.is_empty(), "{after:?}");
        }
        assert_eq!(self.names_beside().await, ["a.edi"]);
    }
}

pub(super) async fn a_file_that_is_given_once_is_gone_and_not_changed(place: Place) {
    let scene = Scene::new(place);
    scene.put("a.edi", CONTENT).await;
    scene.folder.give_once();
    let source = scene.source(crate::defined::polling(scene.poll(), |polling| polling.after = After::Delete));
    let mut found = scene.find_one(&source).await;
    let (content, seen) = scene.take(&source, &mut found).await;
    assert_eq!((content.as_slice(), seen), (CONTENT, AfterRead::Gone));
    assert!(scene.names().await.is_empty());
    transport::OfferNotes::change(&mut found.source_data, |notes| notes.gone = true);
    assert_eq!(source.settle(&offer(&found), Outcome::Taken).await.unwrap(), Settled::Gone);
}

type Telling = fn(&mut Entry);

pub(super) async fn what_only_listing_or_look_tells_contradicts_nothing(place: Place) {
    let nothing: Telling = |_| ();
    let no_kind: Telling = |entry| entry.kind = EntryKind::Unknown;
    let no_size: Telling = |entry| entry.size = None;
    let no_time: Telling = |entry| entry.modified = None;
    let no_version: Telling = |entry| (entry.version, entry.changed) = (None, None);
    let hardly_anything: Telling = |entry| {
        *entry = Entry {
            path: entry.path.clone(),
            kind: EntryKind::Unknown,
            size: None,
            modified: None,
            version: None,
            changed: None,
        }
    };
    for (listed, looked) in [
        (nothing, no_kind),
        (no_kind, nothing),
        (no_kind, no_kind),
        (no_size, nothing),
        (nothing, no_size),
        (no_time, no_size),
        (no_version, no_time),
        (nothing, hardly_anything),
        (hardly_anything, hardly_anything),
    ] {
        let scene = Scene::new(place.again());
        // Directories keep their kind where only files are told without one.
        scene.folder.tell(Way::Listing, listed);
        scene.folder.tell(Way::Look, looked);
        scene.is_taken_and_settled().await;
        scene.clear().await;
    }
    // What may be a directory is asked to list itself, and is none of the files.
    let scene = Scene::new(place);
    scene.place.folder.make_directory(&scene.path("a.directory")).await.unwrap();
    scene.put("b.edi", CONTENT).await;
    scene.folder.tell(Way::Listing, no_kind);
    scene.folder.tell(Way::Look, no_kind);
    let source = scene.source(scene.poll());
    assert_eq!(scene.find_one(&source).await.identity.path, scene.path("b.edi"));
}

pub(super) async fn times_and_sizes_that_listing_and_look_tell_differently_are_no_change(place: Place) {
    let an_hour_on: Telling = |entry| entry.modified = entry.modified.map(|at| at + TimeDelta::hours(1));
    let larger: Telling = |entry| entry.size = entry.size.map(|size| size + 16);
    let empty: Telling = |entry| entry.size = entry.size.map(|_| 0);
    for (name, telling) in [("an hour on", an_hour_on), ("larger", larger), ("empty", empty)] {
        for way in [Way::Look, Way::Listing] {
            let scene = Scene::new(place.again());
            scene.folder.tell(way, telling);
            scene.is_taken_and_settled().await;
            // And yet a change is one.
            scene.put("a.edi", CONTENT).await;
            let source = scene.source(scene.poll());
            let mut found = scene.find_one(&source).await;
            let (_, seen) = scene.take(&source, &mut found).await;
            assert_eq!(seen, AfterRead::Unchanged, "{name} {way:?}");
            scene.put("a.edi", b"quite another file").await;
            let seen = source.look_again(&found).await.unwrap();
            assert!(matches!(seen, AfterRead::Changed(_)), "{seen:?}");
            // Where one of them tells no size, and times are in seconds, nothing shows it before the file is opened.
            if name != "empty" {
                let error = source.open(&found).await.err().expect("a file that changed");
                assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Transient));
            }
            let deleting =
                scene.source(crate::defined::polling(scene.poll(), |polling| polling.after = After::Delete));
            let settled = deleting.settle(&offer(&found), Outcome::Taken).await.unwrap();
            assert_eq!(settled, Settled::Changed);
            scene.clear().await;
        }
    }
}

pub(super) async fn looks_that_are_refused_leave_it_to_the_listing(place: Place) {
    for kind in [ErrorKind::PermissionDenied, ErrorKind::Unsupported, ErrorKind::Rejected] {
        let scene = Scene::new(place.again());
        scene.put("a.edi", CONTENT).await;
        scene.folder.refuse_looks(Fault { kind, retry: Retry::Permanent });
        let source =
            scene.source(crate::defined::polling(scene.poll(), |polling| polling.after = After::Delete));
        let mut found = scene.find_one(&source).await;
        let (content, seen) = scene.take(&source, &mut found).await;
        assert_eq!((content.as_slice(), seen), (CONTENT, AfterRead::Unchanged), "{kind:?}");
        let before = scene.names().await;
        scene.put("a.edi", b"another file").await;
        let seen = source.look_again(&found).await.unwrap();
        assert!(matches!(seen, AfterRead::Changed(_)), "{kind:?} {seen:?}");
        assert_eq!(source.settle(&offer(&found), Outcome::Taken).await.unwrap(), Settled::Changed);
        assert_eq!(scene.names().await, before);
        let mut found = scene.find_one(&source).await;
        let (_, seen) = scene.take(&source, &mut found).await;
        assert_eq!(seen, AfterRead::Unchanged);
        assert_eq!(source.settle(&offer(&found), Outcome::Taken).await.unwrap(), Settled::Done);
        assert_eq!(source.look_again(&found).await.unwrap(), AfterRead::Gone);
        scene.clear().await;
    }
}

pub(super) async fn looks_that_tell_another_time_each_time_are_doubtful_and_settled_all_the_same(
    place: Place,
) {
    let scene = Scene::new(place);
    let counter = AtomicI64::new(0);
    scene.folder.tell(Way::Look, move |entry| {
        let later = TimeDelta::seconds(counter.fetch_add(1, Ordering::Relaxed));
        entry.modified = entry.modified.map(|at| at + later);
    });
    // On its way to an archive a file has a name that begins with a dot; where such are not listed, only looks tell of it.
    let lists_hidden = (scene.place.keeps)(b".hidden");
    for after in [After::Delete, After::Archive { directory: scene.place.beside.to_text(), timestamp: true }]
    {
        if !lists_hidden && after != After::Delete {
            return;
        }
        scene.put("a.edi", CONTENT).await;
        let source =
            scene.source(crate::defined::polling(scene.poll(), |polling| polling.after = after.clone()));
        let mut found = scene.find_one(&source).await;
        let (content, seen) = scene.take(&source, &mut found).await;
        assert_eq!(content, CONTENT);
        assert!(matches!(seen, AfterRead::Doubtful(_)), "{seen:?}");
        assert_eq!(source.settle(&offer(&found), Outcome::Taken).await.unwrap(), Settled::Done, "{after:?}");
        assert!(scene.names().await.is_empty());
    }
    assert_eq!(scene.names_beside().await.len(), 1);
}

pub(super) async fn a_file_whose_time_is_set_back_is_still_changing(place: Place) {
    let scene = Scene::new(place);
    scene.put("a.edi", CONTENT).await;
    let counter = AtomicI64::new(0);
    let counted = move |entry: &mut Entry| {
        let at = chrono::DateTime::from_timestamp(1_700_000_000 + counter.fetch_add(1, Ordering::Relaxed), 0);
        entry.changed = at;
    };
    // Nothing but the system's own time tells that somebody writes.
    scene.folder.tell(Way::Listing, counted);
    let source = scene.source(scene.poll());
    assert!(scene.discover(&source).await.is_empty());
}
