//! What a source over a folder finds and opens.

use super::Place;
use super::scene::{Scene, found_names, put};
use crate::fake::{Act, Known};
use futures::StreamExt;
use model::definition::Order;
use model::schedule::TimeZone;
use model::{DirectoryTemplate, ErrorKind, Mask, MaskSpec, RemotePath, Retry, SkipReason};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use transport::folder::{DoneFile, PolledDirectory};
use transport::{AfterRead, Clock, Discovery, Source, Step};

pub(super) async fn stable_files_are_offered_and_growing_ones_are_not(place: Place) {
    let scene = Scene::new(place);
    scene.put("growing.edi", b"begin").await;
    scene.put("going.edi", b"gone in a moment").await;
    scene.put("still.edi", b"whole").await;
    let folder = Arc::clone(&scene.place.folder);
    let (growing, going) = (scene.path("growing.edi"), scene.path("going.edi"));
    scene.clock.during_sleep(move || async move {
        put(&folder, &growing, b"begin and more").await;
        folder.remove(&going).await.unwrap();
    });
    let source = scene.source(scene.poll());
    assert_eq!(found_names(&scene.discover(&source).await), ["still.edi"]);
    assert_eq!(scene.known.skipped()[&SkipReason::Changing], 1);
    assert_eq!(scene.clock.slept(), [Duration::from_secs(5)]);
    assert_eq!(found_names(&scene.discover(&source).await), ["growing.edi", "still.edi"]);
}

pub(super) async fn no_poll_waits_for_files_to_be_stable(place: Place) {
    let scene = Scene::new(place);
    scene.put("a.edi", b"slowly").await;
    let source = scene.source(scene.poll());
    let poll = async |looks_again: bool| {
        let (known, pending) = (Arc::clone(&scene.known) as _, Arc::clone(&scene.pending));
        let offers = source.discover(Discovery { known, pending, looks_again }).await.unwrap();
        found_names(&offers.map(Result::unwrap).collect::<Vec<_>>().await)
    };
    assert!(poll(false).await.is_empty());
    assert!(scene.clock.slept().is_empty());
    assert_eq!(scene.pending.look_again_in(scene.clock.as_ref()), Some(Duration::from_secs(5)));
    // A poll before its time, by whatever reason, takes nothing and leaves the time as it is.
    scene.clock.sleep(Duration::from_secs(3)).await;
    assert!(poll(false).await.is_empty());
    assert_eq!(scene.pending.look_again_in(scene.clock.as_ref()), Some(Duration::from_secs(2)));
    // One that looks again leaves what is new and what has changed to the schedule.
    scene.clock.sleep(Duration::from_secs(2)).await;
    scene.put("a.edi", b"slowly, and slowly").await;
    scene.put("b.edi", b"new").await;
    assert!(poll(true).await.is_empty());
    assert_eq!(scene.pending.look_again_in(scene.clock.as_ref()), None);
    // What was the same for long enough is taken at once, whichever poll it is.
    scene.clock.sleep(Duration::from_secs(60)).await;
    scene.put("c.edi", b"new as well").await;
    assert_eq!(poll(false).await, ["a.edi", "b.edi"]);
    assert_eq!(scene.pending.look_again_in(scene.clock.as_ref()), Some(Duration::from_secs(5)));
    let skipped = scene.known.skipped();
    assert_eq!((skipped[&SkipReason::New], skipped[&SkipReason::Changing]), (4, 1));
}

pub(super) async fn the_limit_counts_after_sorting_and_only_stable_files(place: Place) {
    let scene = Scene::new(place);
    for name in ["e", "d", "c", "b", "a"] {
        scene.put(name, name.as_bytes()).await;
    }
    let folder = Arc::clone(&scene.place.folder);
    let growing = scene.path("a");
    scene.clock.during_sleep(move || async move { put(&folder, &growing, b"grown").await });
    let mut poll = scene.poll();
    poll.read_limit = 2;
    let source = scene.source(poll);
    assert_eq!(found_names(&scene.discover(&source).await), ["b", "c"]);
}

pub(super) async fn known_files_do_not_use_up_the_limit(place: Place) {
    passed_over_files_do_not_use_up_the_limit(place, |known, key| known.add(key)).await;
}

pub(super) async fn files_without_room_do_not_use_up_the_limit(place: Place) {
    let known =
        passed_over_files_do_not_use_up_the_limit(place, |known, key| known.add_without_room(key)).await;
    assert_eq!(known.skipped()[&SkipReason::NoRoom], 2);
}

/// What `pass_over` marks of the first poll's files is not found by the second, which finds as many others.
async fn passed_over_files_do_not_use_up_the_limit(
    place: Place,
    pass_over: impl Fn(&Known, String),
) -> Arc<Known> {
    let scene = Scene::new(place);
    for name in ["a", "b", "c", "d"] {
        scene.put(name, name.as_bytes()).await;
    }
    let mut poll = scene.poll();
    poll.read_limit = 2;
    let source = scene.source(poll);
    for found in scene.discover(&source).await {
        pass_over(&scene.known, found.identity.key());
    }
    assert_eq!(found_names(&scene.discover(&source).await), ["c", "d"]);
    Arc::clone(&scene.known)
}

pub(super) async fn nothing_new_is_listed_once(place: Place) {
    let scene = Scene::new(place);
    scene.put("a", b"a").await;
    let source = scene.source(scene.poll());
    for found in scene.discover(&source).await {
        scene.known.add(found.identity.key());
    }
    let (lists, sleeps) = (scene.folder.count(Act::List), scene.clock.slept().len());
    assert_eq!((lists, scene.known.complete_listings()), (2, 2));
    assert!(scene.discover(&source).await.is_empty());
    assert_eq!((scene.folder.count(Act::List), scene.clock.slept().len()), (lists + 1, sleeps));
    assert_eq!(scene.known.complete_listings(), 3);
}

pub(super) async fn without_stability_one_listing_is_enough(place: Place) {
    let scene = Scene::new(place);
    scene.put("a", b"a").await;
    let poll = crate::defined::polling(scene.poll(), |polling| polling.stable_for = Duration::ZERO);
    let source = scene.source(poll);
    assert_eq!(found_names(&scene.discover(&source).await), ["a"]);
    assert_eq!((scene.folder.count(Act::List), scene.clock.slept().len()), (1, 0));
}

pub(super) async fn temporary_claimed_and_masked_names_are_left(place: Place) {
    let scene = Scene::new(place);
    for name in ["a.edi", "b.edi.part", "c.edi.stage", "d.txt", "~e.edi"] {
        scene.put(name, b"x").await;
    }
    scene.place.folder.make_directory(&scene.path("f.edi")).await.unwrap();
    scene.put("f.edi/g.edi", b"x").await;
    let mut poll = scene.poll();
    let mask = MaskSpec { include: vec!["*.edi*".into()], exclude: vec!["~*".into()], ..MaskSpec::default() };
    poll.mask = Mask::new(&mask).unwrap();
    let source = scene.source(poll);
    assert_eq!(found_names(&scene.discover(&source).await), ["a.edi"]);
}

pub(super) async fn directories_below_are_walked_when_asked(place: Place) {
    let scene = Scene::new(place);
    for directory in ["one", "one/two", "empty"] {
        scene.place.folder.make_directory(&scene.path(directory)).await.unwrap();
    }
    for name in ["top", "one/middle", "one/two/deep"] {
        scene.put(name, name.as_bytes()).await;
    }
    let poll = crate::defined::polling(scene.poll(), |polling| polling.recursive = true);
    let source = scene.source(poll);
    let found = scene.discover(&source).await;
    let mut relative = Vec::new();
    for offer in &found {
        let part = source.open(offer).await.unwrap().parts.next().await.unwrap().unwrap();
        relative.push(part.file_name.to_text());
    }
    assert_eq!(relative, ["one/middle", "one/two/deep", "top"]);
}

pub(super) async fn the_directories_of_the_last_days_are_polled(place: Place) {
    let scene = Scene::new(place);
    // The clock of the scene says 1 March 2026.
    for (directory, content) in
        [("out/2026/03/01", "today"), ("out/2026/02/28", "yesterday"), ("out/2026/02/26", "old")]
    {
        scene.place.folder.make_directory(&scene.path(directory)).await.unwrap();
        scene.put(&format!("{directory}/a.edi"), content.as_bytes()).await;
        scene.put(&format!("{directory}/a.edi.done"), b"").await;
    }
    scene.put("top.edi", b"not below").await;
    let poll = |text: &str, past_days: u32| {
        crate::defined::polling(scene.poll(), |polling| {
            let template = DirectoryTemplate::parse_polled(text).unwrap();
            polling.directory = Some(PolledDirectory { template, zone: TimeZone::default(), past_days });
            polling.done_file = Some(DoneFile::parse("{name}.done").unwrap());
        })
    };
    for (past_days, expected) in
        [(0, vec!["today"]), (2, vec!["today", "yesterday"]), (3, vec!["old", "today", "yesterday"])]
    {
        let source = scene.source(poll("out/{date:%Y/%m/%d}", past_days));
        let mut contents = Vec::new();
        for offer in scene.discover(&source).await {
            let mut part = source.open(&offer).await.unwrap().parts.next().await.unwrap().unwrap();
            let mut content = String::new();
            part.reader.read_to_string(&mut content).await.unwrap();
            assert_eq!(part.file_name.to_text(), "a.edi", "below the directory of its day");
            contents.push(content);
        }
        contents.sort_unstable();
        assert_eq!(contents, expected);
    }
    let source = scene.source(poll("out/2026/02/26", 1));
    assert_eq!(found_names(&scene.discover(&source).await), ["a.edi"]);
    // None of them is there: that is no error, as long as the endpoint's directory is.
    let source = scene.source(poll("none/{date:%Y/%m/%d}", 3));
    assert!(scene.discover(&source).await.is_empty());
    assert!(source.probe().await.passed());
    let moved = Place { directory: scene.beside("missing"), ..scene.place.again() };
    let source = Scene::new(moved).source(poll("{date}", 3));
    let known = Arc::clone(&scene.known) as Arc<dyn transport::KnownOffers>;
    let error = source.discover(Discovery::first(known)).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

pub(super) async fn the_oldest_come_first(place: Place) {
    let scene = Scene::new(place);
    for name in ["c", "a", "b"] {
        scene.put(name, name.as_bytes()).await;
    }
    let mut expected = Vec::new();
    for name in ["a", "b", "c"] {
        let entry = scene.place.folder.stat(&scene.path(name)).await.unwrap();
        expected.push((entry.modified, name.to_owned()));
    }
    expected.sort();
    let mut poll = scene.poll();
    poll.order = Order::Arrival;
    let source = scene.source(poll);
    let expected: Vec<String> = expected.into_iter().map(|(_, name)| name).collect();
    assert_eq!(found_names(&scene.discover(&source).await), expected);
}

pub(super) async fn an_offer_opens_as_it_was_found_or_not_at_all(place: Place) {
    let scene = Scene::new(place);
    scene.put("a.edi", b"content").await;
    let source = scene.source(scene.poll());
    let found = scene.discover(&source).await.remove(0);
    let described = source.describe(&found).unwrap();
    // Where it is streamed, each attempt of its delivery opens it.
    for _ in 0..2 {
        let mut parts: Vec<_> = source.open(&found).await.unwrap().parts.collect().await;
        assert_eq!(parts.len(), 1);
        let mut part = parts.remove(0).unwrap();
        assert_eq!(part.connection.is_some(), scene.place.connected, "the connection it is read over");
        let mut content = Vec::new();
        part.reader.read_to_end(&mut content).await.unwrap();
        assert_eq!(part.file.is_some(), source.is_local(), "the open file of this machine");
        if let Some(file) = &part.file {
            // What staging would take over in the reader's stead.
            let mut whole = vec![0; 8];
            let read = std::os::unix::fs::FileExt::read_at(file, &mut whole, 0).unwrap();
            assert_eq!(&whole[..read], &content[..], "the open file is another one");
        }
        assert_eq!((&part.file_name, &content[..]), (&RemotePath::from("a.edi"), &b"content"[..]));
        assert_eq!(part.metadata["source_size"], 7);
        assert_eq!(
            (described.file_name.clone(), described.metadata.clone()),
            (part.file_name, part.metadata)
        );
        assert_eq!(source.look_again(&found).await.unwrap(), AfterRead::Unchanged);
    }
    scene.put("a.edi", b"another content").await;
    let seen = source.look_again(&found).await.unwrap();
    assert!(
        matches!(&seen, AfterRead::Changed(words) if words.contains("7 bytes and is now 15 bytes")),
        "{seen:?}"
    );
    let error = source.open(&found).await.err().expect("a file that changed");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Transient));
    scene.place.folder.remove(&scene.path("a.edi")).await.unwrap();
    assert_eq!(source.look_again(&found).await.unwrap(), AfterRead::Gone);
    let error = source.open(&found).await.err().expect("a file that is gone");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Transient));
}

pub(super) async fn a_test_tells_what_is_ignored_and_opens_the_first_file(place: Place) {
    let scene = Scene::new(place);
    scene.place.folder.make_directory(&scene.path("archive")).await.unwrap();
    for name in ["a.edi", "b.edi", "c.txt", "d.edi.part", "e.stage"] {
        scene.put(name, name.as_bytes()).await;
    }
    let mut poll = scene.poll();
    poll.mask =
        Mask::new(&MaskSpec { include: vec!["*.edi".into(), "*.part".into()], ..MaskSpec::default() })
            .unwrap();
    let source = scene.source(poll);
    let probe = source.probe().await;
    assert!(probe.passed(), "{probe:?}");
    let words = |wanted: Step| {
        let step = probe.steps.iter().find(|step| step.step == wanted).unwrap();
        step.result.as_ref().unwrap().clone()
    };
    assert_eq!(words(Step::List), "2 files for this flow");
    for expected in
        ["1 directories", "archive", "1 names that do not match the mask: c.txt", "d.edi.part", "e.stage"]
    {
        assert!(words(Step::Ignored).contains(expected), "{expected} in {}", words(Step::Ignored));
    }
    assert!(words(Step::Open).contains("opened, not read"), "{}", words(Step::Open));
    assert_eq!((scene.folder.count(Act::Read), scene.folder.count(Act::TryOpen)), (0, 1));
    assert_eq!(scene.names().await.len(), 5);
    // A file that cannot be taken as a poll takes it fails the test.
    scene.folder.fail(Act::TryOpen, crate::fake::Fault::REFUSED);
    let probe = source.probe().await;
    assert_eq!(probe.steps.last().map(|step| (step.step, step.result.is_ok())), Some((Step::Open, false)));
}
