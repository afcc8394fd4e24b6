//! What becomes of a file at its source.

use super::Place;
use super::scene::{Scene, offer, put, refused};
use crate::fake::{Act, Fault, PublishAnswer};
use model::definition::PollSource;
use model::{ErrorKind, Outcome, RemotePath, Retry, SkipReason};
use std::sync::Arc;
use std::time::Duration;
use transport::OfferNotes;
use transport::folder::FolderSource;
use transport::folder::{After, Claim, DoneFile};
use transport::{AfterRead, ArchivedRemoval, FoundOffer, Settled, Source};

impl Scene {
    /// A poll that does this afterwards, and one file found by it.
    async fn found(&self, poll: PollSource) -> (FolderSource, FoundOffer) {
        self.put("a.edi", b"taken").await;
        let source = self.source(poll);
        let found = self.discover(&source).await.remove(0);
        (source, found)
    }

    fn archiving(&self, timestamp: bool) -> PollSource {
        let directory = self.place.beside.to_text();
        crate::defined::polling(self.poll(), |polling| {
            polling.after = After::Archive { directory, timestamp }
        })
    }

    fn moving(&self) -> PollSource {
        crate::defined::polling(self.poll(), |polling| {
            polling.after = After::Move { directory: self.place.beside.to_text() }
        })
    }
}

fn untimed(poll: PollSource) -> PollSource {
    crate::defined::polling(poll, |polling| polling.ignore_times = true)
}

/// What the engine notes of what it read.
fn digest_noted(found: &FoundOffer, content: &[u8]) -> FoundOffer {
    let mut found = found.clone();
    let digest = model::Sha256(openssl::sha::sha256(content));
    OfferNotes::change(&mut found.source_data, |notes| notes.sha256 = Some(digest));
    found
}

pub(super) async fn without_times_a_file_overwritten_with_as_many_bytes_is_left(place: Place) {
    let scene = Scene::new(place);
    let delete = crate::defined::polling(scene.poll(), |polling| polling.after = After::Delete);
    for (number, poll) in [delete, scene.archiving(true), scene.moving()].into_iter().enumerate() {
        let (source, found) = scene.found(untimed(poll)).await;
        assert_eq!(found.identity.modified, None);
        let offer = offer(&digest_noted(&found, b"taken"));
        scene.put("a.edi", b"other").await;
        assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Changed, "{number}");
        assert_eq!(scene.content(&scene.path("a.edi")).await.unwrap(), b"other");
        // In the moment of the move.
        scene.put("a.edi", b"taken").await;
        let found = scene.discover(&source).await.remove(0);
        let offer = super::scene::offer(&digest_noted(&found, b"taken"));
        if number > 0 {
            let (folder, path) = (Arc::clone(&scene.place.folder), scene.path("a.edi"));
            scene.folder.before(Act::Rename, move || async move { put(&folder, &path, b"other").await });
            assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Changed, "{number}");
            assert_eq!(scene.content(&scene.path("a.edi")).await.unwrap(), b"other");
            assert!(scene.names_beside().await.is_empty());
        }
        // The file that was taken goes, and is known again.
        scene.put("a.edi", b"taken").await;
        let found = scene.discover(&source).await.remove(0);
        let offer = super::scene::offer(&digest_noted(&found, b"taken"));
        for _ in 0..2 {
            assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Done, "{number}");
            assert!(scene.names().await.is_empty());
        }
        for name in scene.names_beside().await {
            scene.place.folder.remove(&scene.beside(&name)).await.unwrap();
        }
        // Gone meanwhile.
        let (source, found) = scene.found(untimed(scene.moving())).await;
        scene.place.folder.remove(&scene.path("a.edi")).await.unwrap();
        let offer = super::scene::offer(&digest_noted(&found, b"taken"));
        assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Gone);
    }
}

pub(super) async fn delete_is_idempotent_and_leaves_what_is_new(place: Place) {
    let scene = Scene::new(place);
    let (source, found) =
        scene.found(crate::defined::polling(scene.poll(), |polling| polling.after = After::Delete)).await;
    let offer = offer(&found);
    assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Done);
    assert!(scene.names().await.is_empty());
    assert_eq!(scene.folder.count(Act::SyncDirectory), 0, "whoever removes it makes it durable");
    assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Done);
    assert_eq!(scene.folder.count(Act::SyncDirectory), 1, "whoever finds it gone makes that durable");
    scene.put("a.edi", b"a new file").await;
    assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Changed);
    assert_eq!(scene.content(&scene.path("a.edi")).await.unwrap(), b"a new file");
}

pub(super) async fn keep_leaves_the_file(place: Place) {
    let scene = Scene::new(place);
    let (source, found) = scene.found(scene.poll()).await;
    for outcome in [Outcome::Taken, Outcome::Refused] {
        assert_eq!(source.settle(&offer(&found), outcome).await.unwrap(), Settled::Kept);
    }
    assert_eq!(scene.names().await, ["a.edi"]);
}

pub(super) async fn archive_is_idempotent_and_makes_its_directory(place: Place) {
    let scene = Scene::new(place);
    let (source, found) = scene.found(scene.archiving(true)).await;
    let offer = offer(&found);
    for _ in 0..2 {
        assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Done);
        assert!(scene.names().await.is_empty());
        assert_eq!(scene.names_beside().await, ["a-20260301T120000000000Z.edi"]);
    }
    let archived = scene.beside("a-20260301T120000000000Z.edi");
    assert_eq!(scene.content(&archived).await.unwrap(), b"taken");
    // Somebody clears the archive away altogether; the next file makes it anew.
    scene.place.folder.remove(&archived).await.unwrap();
    assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Gone);
    assert!(scene.names_beside().await.is_empty());
}

pub(super) async fn archive_and_move_replace_nothing(place: Place) {
    let scene = Scene::new(place);
    scene.place.folder.make_directory(&scene.place.beside).await.unwrap();
    put(&scene.place.folder, &scene.beside("a.edi"), b"an earlier file").await;
    for (poll, number) in [(scene.archiving(false), 2), (scene.moving(), 3)] {
        let (source, found) = scene.found(poll).await;
        assert_eq!(source.settle(&offer(&found), Outcome::Taken).await.unwrap(), Settled::Done);
        let moved = scene.beside(&format!("a-{number}.edi"));
        assert_eq!(scene.content(&moved).await.unwrap(), b"taken");
    }
    assert_eq!(scene.content(&scene.beside("a.edi")).await.unwrap(), b"an earlier file");
    assert!(scene.names().await.is_empty());
}

pub(super) async fn a_move_cut_off_after_its_rename_is_done(place: Place) {
    let scene = Scene::new(place);
    let (source, found) = scene.found(scene.moving()).await;
    let offer = offer(&found);
    scene.folder.lose_answer(Act::Rename, Fault::CUT);
    assert!(source.settle(&offer, Outcome::Taken).await.is_err());
    assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Done);
    assert_eq!(scene.names_beside().await, ["a.edi"]);
    assert!(scene.names().await.is_empty());
}

pub(super) async fn a_file_replaced_before_its_rename_is_put_back(place: Place) {
    for timestamp in [true, false] {
        let directory = format!("replaced-{timestamp}");
        let scene = Scene::new(Place {
            folder: Arc::clone(&place.folder),
            directory: place.directory.join(&directory.as_str().into()),
            beside: place.beside.join(&directory.as_str().into()),
            keep: None,
            ..place
        });
        scene.place.folder.make_directory(&scene.place.directory).await.unwrap();
        let (source, found) = scene.found(scene.archiving(timestamp)).await;
        let (folder, path) = (Arc::clone(&scene.place.folder), scene.path("a.edi"));
        scene.folder.before(Act::Rename, move || async move {
            put(&folder, &path, b"put there in the very moment").await;
        });
        assert_eq!(source.settle(&offer(&found), Outcome::Taken).await.unwrap(), Settled::Changed);
        assert!(scene.names_beside().await.is_empty());
        assert_eq!(scene.names().await, ["a.edi"]);
        let content = scene.content(&scene.path("a.edi")).await.unwrap();
        assert_eq!(content, b"put there in the very moment");
        // What was put back is simply a new file.
        let again = scene.discover(&source).await.remove(0);
        assert_ne!(again.identity, found.identity);
        assert_eq!(source.settle(&offer(&again), Outcome::Taken).await.unwrap(), Settled::Done);
        assert_eq!(scene.names_beside().await.len(), 1);
    }
}

pub(super) async fn a_copy_in_an_archive_is_known_again_after_a_cut(place: Place) {
    let keeps_times = place.folder.capabilities().await.unwrap().set_modified;
    for noted in [true, false] {
        let directory = format!("copied-{noted}");
        let scene = Scene::new(Place {
            folder: Arc::clone(&place.folder),
            directory: place.directory.join(&directory.as_str().into()),
            beside: place.beside.join(&directory.as_str().into()),
            keep: None,
            ..place
        });
        scene.place.folder.make_directory(&scene.place.directory).await.unwrap();
        let (source, mut found) = scene.found(scene.archiving(false)).await;
        if noted {
            let sha256 = model::Sha256(openssl::sha::sha256(b"taken"));
            OfferNotes::change(&mut found.source_data, |notes| notes.sha256 = Some(sha256));
        } else if !keeps_times {
            continue;
        }
        // Other files of its size lie there already, and its renames are refused.
        scene.place.folder.make_directory(&scene.place.beside).await.unwrap();
        if !keeps_times {
            // Of another time than the file taken, at a place that tells whole seconds too.
            tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        }
        put(&scene.place.folder, &scene.beside("a.edi"), b"other").await;
        if keeps_times {
            let at = chrono::DateTime::from_timestamp(1_500_000_000, 0).unwrap();
            scene.place.folder.set_modified(&scene.beside("a.edi"), at).await.unwrap();
        }
        scene.folder.refuse_renames();
        assert_eq!(source.settle(&offer(&found), Outcome::Taken).await.unwrap(), Settled::Done);
        assert_eq!(scene.content(&scene.beside("a-2.edi")).await.unwrap(), b"taken");
        assert!(scene.names().await.is_empty());
        // Cut off before that was on record.
        for _ in 0..2 {
            assert_eq!(source.settle(&offer(&found), Outcome::Taken).await.unwrap(), Settled::Done);
            assert_eq!(scene.names_beside().await, ["a-2.edi", "a.edi"]);
        }
        scene.place.folder.remove(&scene.beside("a-2.edi")).await.unwrap();
        let settled = source.settle(&offer(&found), Outcome::Taken).await.unwrap();
        // The other file of that size may be the copy, as far as its time tells: where there are minutes alone, unless one
        // ended between the two.
        let other = scene.place.folder.stat(&scene.beside("a.edi")).await.unwrap();
        let minute = |at: Option<model::Timestamp>| at.map(|at| at.timestamp().div_euclid(60));
        let may_be_it = place.by_the_minute && minute(other.modified) == minute(found.identity.modified);
        assert_eq!(settled, if may_be_it { Settled::Done } else { Settled::Gone });
    }
}

pub(super) async fn refused_files_go_to_the_error_directory_with_their_cause(place: Place) {
    let scene = Scene::new(place);
    let poll = crate::defined::polling(scene.poll(), |polling| {
        polling.error_directory = Some(scene.place.beside.to_text());
    });
    let (source, found) = scene.found(poll).await;
    let offer = refused(&found, "could not be read\nat all");
    // Cut off between the move and the writing of the cause.
    scene.folder.fail(Act::BeginWrite, Fault::CUT);
    assert!(source.settle(&offer, Outcome::Refused).await.is_err());
    // Written, but nobody tells whether it got its name.
    scene.folder.publish_answer(PublishAnswer::UnknownNotDone);
    assert!(source.settle(&offer, Outcome::Refused).await.is_err());
    for _ in 0..2 {
        assert_eq!(source.settle(&offer, Outcome::Refused).await.unwrap(), Settled::Done);
        assert_eq!(scene.names_beside().await, ["a.edi", "a.edi.error.json"]);
    }
    assert!(scene.names().await.is_empty());
    let cause: RemotePath = scene.beside("a.edi.error.json");
    let text = String::from_utf8(scene.content(&cause).await.unwrap()).unwrap();
    let words: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(words["error"].as_str().unwrap().starts_with("could not be read"), "{text}");
    assert_eq!(
        (&words["flow"], &words["failed_attempts"]),
        (&"flow".into(), &offer.failures.into()),
        "{text}"
    );
}

pub(super) async fn archives_of_each_month_are_made_and_cleared_of_what_was_archived(place: Place) {
    let scene = Scene::new(place);
    let month = scene.beside("2026-03");
    let poll = crate::defined::polling(scene.poll(), |polling| {
        let directory = format!("{}/{{received:%Y-%m}}", scene.place.beside.to_text());
        polling.after = After::Archive { directory, timestamp: false };
        polling.keep_for = Some(Duration::from_secs(60));
    });
    let (source, found) = scene.found(poll).await;
    let offer = offer(&found);
    let mut archived = None;
    for _ in 0..2 {
        let settled = source.settle(&offer, Outcome::Taken).await.unwrap();
        let Settled::Archived { files, keep_for } = settled else { panic!("{settled:?}") };
        assert_eq!((files.len(), keep_for.as_secs()), (1, 60));
        assert_eq!(files[0].path, month.join(&"a.edi".into()));
        archived = files.into_iter().next();
    }
    let archived = archived.unwrap();
    assert_eq!(scene.content(&archived.path).await.unwrap(), b"taken");
    // A file that somebody else put there stays, also under the name of one that was archived.
    super::scene::put(&scene.place.folder, &month.join(&"other.edi".into()), b"theirs").await;
    for removal in [ArchivedRemoval::Removed, ArchivedRemoval::Gone] {
        assert_eq!(source.remove_archived(&archived).await.unwrap(), removal);
        assert!(scene.content(&archived.path).await.is_none());
    }
    super::scene::put(&scene.place.folder, &archived.path, b"a longer one").await;
    assert_eq!(source.remove_archived(&archived).await.unwrap(), ArchivedRemoval::Changed);
    assert_eq!(scene.content(&archived.path).await.unwrap(), b"a longer one");
    assert_eq!(scene.content(&month.join(&"other.edi".into())).await.unwrap(), b"theirs");
    for name in ["a.edi", "other.edi"] {
        scene.place.folder.remove(&month.join(&name.into())).await.unwrap();
    }
}

pub(super) async fn a_file_is_taken_when_its_done_file_is_there_which_goes_after_it(place: Place) {
    let scene = Scene::new(place);
    let waiting = |poll| {
        crate::defined::polling(poll, |polling| polling.done_file = DoneFile::parse("{name}.done").ok())
    };
    let source = scene.source(waiting(scene.archiving(true)));
    scene.put("a.csv", b"not done").await;
    scene.put("b.csv", b"done").await;
    scene.put("b.csv.done", b"").await;
    scene.put("c.csv.done", b"").await;
    let found = scene.discover(&source).await;
    let [found] = &found[..] else { panic!("{found:?}") };
    assert_eq!(found.identity.path, scene.path("b.csv"));
    let skipped = scene.known.skipped();
    // By both polls.
    assert_eq!((skipped[&SkipReason::NoDoneFile], skipped[&SkipReason::DoneFile]), (2, 4));
    let archived = ["b-20260301T120000000000Z.csv", "b-20260301T120000000000Z.csv.done"];
    for _ in 0..2 {
        assert_eq!(source.settle(&offer(found), Outcome::Taken).await.unwrap(), Settled::Done);
        assert_eq!(scene.names_beside().await, archived);
        assert_eq!(scene.names().await, ["a.csv", "c.csv.done"]);
    }
    // Interrupted between the file and its done file; then the next file of that name comes with another one.
    let deleting = crate::defined::polling(scene.poll(), |polling| polling.after = After::Delete);
    let source = scene.source(waiting(deleting));
    scene.put("a.csv.done", b"1").await;
    let found = scene.discover(&source).await.remove(0);
    scene.place.folder.remove(&scene.path("a.csv")).await.unwrap();
    source.settle(&offer(&found), Outcome::Taken).await.unwrap();
    assert_eq!(scene.names().await, ["c.csv.done"]);
    scene.put("a.csv.done", b"two").await;
    source.settle(&offer(&found), Outcome::Taken).await.unwrap();
    assert_eq!(scene.names().await, ["a.csv.done", "c.csv.done"]);
    // A refused file takes its done file along.
    let refusing = crate::defined::polling(scene.poll(), |polling| {
        polling.error_directory = Some(scene.place.beside.join(&"bad".into()).to_text());
    });
    let source = scene.source(waiting(refusing));
    scene.put("c.csv", b"bad").await;
    let found = scene.discover(&source).await.remove(0);
    source.settle(&refused(&found, "unreadable"), Outcome::Refused).await.unwrap();
    assert_eq!(scene.names().await, ["a.csv.done"]);
    // While a file is known, its done file does not stand for the next file of the name, which may be half written.
    scene.put("d.csv", b"first").await;
    scene.put("d.csv.done", b"1").await;
    let found = scene.discover(&source).await.remove(0);
    scene.known.add(OfferNotes::of(&found.source_data).done_file.unwrap());
    scene.put("d.csv", b"second, longer").await;
    assert!(scene.discover(&source).await.is_empty());
    assert_eq!(scene.known.skipped()[&SkipReason::UsedDoneFile], 1);
    scene.put("d.csv.done", b"two").await;
    assert_eq!(scene.discover(&source).await.len(), 1);
    for name in ["c.csv", "c.csv.done", "c.csv.error.json"] {
        scene.place.folder.remove(&scene.beside("bad").join(&name.into())).await.unwrap();
    }
}

/// An offer as the engine knows it once it was opened, and read.
async fn opened(source: &FolderSource, found: &FoundOffer) -> FoundOffer {
    let opened = source.open(found).await.unwrap();
    let mut found = found.clone();
    found.source_data.extend(opened.source_data);
    found
}

pub(super) async fn a_claimed_file_is_settled_under_its_claim_or_is_renamed_back(place: Place) {
    let scene = Scene::new(place);
    let claiming = |poll| crate::defined::polling(poll, |polling| polling.claim = Claim::Rename);
    let source = scene.source(claiming(scene.archiving(false)));
    scene.put("a.edi", b"taken").await;
    let found = scene.discover(&source).await.remove(0);
    assert_eq!(scene.names().await, ["a.edi"]);
    let taken = opened(&source, &found).await;
    assert_eq!(scene.names().await, ["a.edi.stage"]);
    assert_eq!(source.look_again(&taken).await.unwrap(), AfterRead::Unchanged);
    // A new file of the name is another one, which stays.
    scene.put("a.edi", b"the next one").await;
    for _ in 0..2 {
        assert_eq!(source.settle(&offer(&taken), Outcome::Taken).await.unwrap(), Settled::Done);
        assert_eq!(scene.content(&scene.beside("a.edi")).await.unwrap(), b"taken");
        assert_eq!(scene.names().await, ["a.edi"]);
    }
    // A file that is not taken is renamed back, unless a new one has it.
    let found = scene.discover(&source).await.remove(0);
    drop(opened(&source, &found).await);
    for _ in 0..2 {
        source.release(&found).await.unwrap();
        assert_eq!(scene.names().await, ["a.edi"]);
    }
    let found = scene.discover(&source).await.remove(0);
    drop(opened(&source, &found).await);
    scene.put("a.edi", b"a newer one").await;
    source.release(&found).await.unwrap();
    assert_eq!(scene.names().await, ["a.edi", "a.edi.stage"]);
    assert_eq!(scene.content(&scene.path("a.edi")).await.unwrap(), b"a newer one");
    // The claim of another program is not touched, and what changes in the moment of the claim is let go.
    let found = scene.discover(&source).await.remove(0);
    let error = source.open(&found).await.err().unwrap();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::AlreadyExists, Retry::Transient), "{error:?}");
    scene.place.folder.remove(&scene.path("a.edi.stage")).await.unwrap();
    let (folder, path) = (Arc::clone(&scene.place.folder), scene.path("a.edi"));
    scene.folder.before(Act::Rename, move || async move { put(&folder, &path, b"replaced").await });
    let error = source.open(&found).await.err().unwrap();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Transient), "{error:?}");
    assert_eq!(scene.names().await, ["a.edi"]);
    // What a crash left behind is renamed back when the engine says so.
    scene.place.folder.rename(&scene.path("a.edi"), &scene.path("a.edi.stage")).await.unwrap();
    assert!(scene.discover(&source).await.is_empty());
    assert_eq!(scene.names().await, ["a.edi.stage"]);
    scene.known.orphan(scene.path("a.edi"));
    scene.discover(&source).await;
    assert_eq!(scene.names().await, ["a.edi"]);
    assert_eq!(scene.content(&scene.path("a.edi")).await.unwrap(), b"replaced");
}
