//! What a destination over a folder does, wherever it is cut off.

use super::Place;
use super::scene::{Scene, arrived, names, put};
use crate::fake::{Act, BytesPayload, Fault, PublishAnswer, Way};
use futures::StreamExt;
use model::schedule::TimeZone;
use model::{ErrorKind, RemotePath, Result, Retry};
use std::sync::Arc;
use std::time::Duration;
use transport::folder::{DirectoryBelow, Folder, FolderDestination, Overwrite, WriteOptions};
use transport::{BufferBudget, Destination, Sent, Source, Step};

const CONTENT: &[u8] = b"the payload";

impl Scene {
    async fn send(&self, attempt: u32) -> Result<Sent> {
        self.deliver(self.write_options(), &"a.edi".into(), CONTENT, attempt).await
    }

    async fn send_overwriting(&self, overwrite: Overwrite) -> Result<Sent> {
        let options = WriteOptions { overwrite, ..self.write_options() };
        self.deliver(options, &"a.edi".into(), CONTENT, 1).await
    }

    /// A receipt must name the connection that the bytes went over, and an error the one that it happened on.
    fn names_the_connection(&self, sent: &Result<Sent>) {
        let named = match sent {
            Ok(Sent::Delivered { receipt, .. }) => receipt.connection,
            Ok(_) => None,
            Err(error) => error.connection(),
        };
        assert_eq!(named.is_some(), self.place.connected, "the connection named by {sent:?}");
    }

    async fn holds_just_the_payload(&self) {
        assert_eq!(self.names().await, ["a.edi"]);
        assert_eq!(self.content(&self.path("a.edi")).await.unwrap(), CONTENT);
    }
}

pub(super) async fn a_payload_arrives_whole_under_its_name(place: Place) {
    let mut scene = Scene::new(place);
    // Less room than the copy asks for: it takes what there is and goes on.
    scene.services.budget = BufferBudget::new(128 * 1024);
    let content: Vec<u8> = (0..1_500_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let options = WriteOptions { prefix: "in-".into(), suffix: ".new".into(), ..scene.write_options() };
    let name = RemotePath::from("a.edi");
    let sent = scene.deliver(options, &name, &content, 1).await;
    assert!(arrived(&sent), "{sent:?}");
    scene.names_the_connection(&sent);
    assert_eq!(scene.names().await, ["in-a.edi.new"]);
    let path = scene.path("in-a.edi.new");
    assert!(scene.content(&path).await.unwrap() == content, "content");
    let Ok(Sent::Delivered { receipt, .. }) = sent else { return };
    assert_eq!(receipt.summary, path.to_text());
    assert_eq!(receipt.detail["size"], content.len());
    let sha256 = BytesPayload::shared(name, &content[..]).sha256().unwrap().to_string();
    assert_eq!(receipt.detail["sha256"], sha256);
    assert_eq!(scene.services.budget.free(), scene.services.budget.total());
}

pub(super) async fn a_taken_name_is_refused_and_nothing_destroyed(place: Place) {
    let scene = Scene::new(place);
    scene.put("a.edi", b"the partner has not fetched it yet").await;
    let error = scene.send(1).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::AlreadyExists, Retry::Permanent));
    let said = error.to_string();
    assert!(said.contains("a.edi") && said.contains("set overwrite ="), "{said}");
    assert_eq!(scene.names().await, ["a.edi"]);
    let content = scene.content(&scene.path("a.edi")).await.unwrap();
    assert_eq!(content, b"the partner has not fetched it yet");
    // Fetched at last, and a person tries again: nothing must say it was delivered already.
    scene.place.folder.remove(&scene.path("a.edi")).await.unwrap();
    assert!(arrived(&scene.send(2).await));
    scene.holds_just_the_payload().await;
}

pub(super) async fn a_taken_name_is_replaced_or_numbered_when_asked(place: Place) {
    let scene = Scene::new(place);
    scene.put("a.edi", b"earlier").await;
    let sent = scene.send_overwriting(Overwrite::Rename(10)).await;
    assert!(arrived(&sent), "{sent:?}");
    assert_eq!(scene.names().await, ["a-2.edi", "a.edi"]);
    assert_eq!(scene.content(&scene.path("a.edi")).await.unwrap(), b"earlier");
    scene.place.folder.remove(&scene.path("a-2.edi")).await.unwrap();
    let scene = Scene::new(scene.place);
    let sent = scene.send_overwriting(Overwrite::Replace).await;
    assert!(arrived(&sent), "{sent:?}");
    scene.holds_just_the_payload().await;
}

pub(super) async fn cut_off_while_writing_is_sent_again_under_a_new_name(place: Place) {
    for act in [Act::Write, Act::Finish] {
        let scene = Scene::new(Place {
            folder: Arc::clone(&place.folder),
            directory: place.directory.clone(),
            beside: place.beside.clone(),
            keep: None,
            ..place
        });
        scene.folder.fail(act, Fault::CUT);
        assert!(scene.send(1).await.is_err());
        let left = scene.names().await;
        // A place may be able to take away what was given up; nothing else may be there.
        let is_temporary = |name: &String| name.starts_with(".a.edi.") && name.ends_with("-1.part");
        assert!(left.len() <= 1 && left.iter().all(is_temporary), "{left:?}");
        assert!(arrived(&scene.send(2).await));
        scene.holds_just_the_payload().await;
        scene.place.folder.remove(&scene.path("a.edi")).await.unwrap();
    }
}

pub(super) async fn noted_and_still_there_is_published(place: Place) {
    let scene = Scene::new(place);
    // The claim is lost between the note and the act: the act must not follow.
    scene.log.lose_claim_after_note();
    assert!(scene.send(1).await.is_err());
    assert_eq!(scene.folder.count(Act::Publish), 0);
    scene.log.lose_claim(false);
    let sent = scene.send(2).await;
    assert!(arrived(&sent), "{sent:?}");
    scene.names_the_connection(&sent);
    scene.holds_just_the_payload().await;
    assert_eq!(scene.folder.count(Act::BeginWrite), 1, "the bytes are sent once");
}

pub(super) async fn what_a_lost_claim_leaves_unnoted_goes(place: Place) {
    let scene = Scene::new(place);
    scene.log.lose_claim(true);
    assert_eq!(scene.send(1).await.unwrap_err().kind(), ErrorKind::ClaimLost);
    assert!(scene.names().await.is_empty());
}

pub(super) async fn what_is_dropped_as_it_is_noted_goes_with_its_claim(place: Place) {
    let scene = Scene::new(place);
    for (attempt, is_lost) in [(1, true), (2, false)] {
        scene.log.hold_notes(true);
        tokio::select! {
            sent = scene.send(attempt) => panic!("it does not wait for its note: {sent:?}"),
            () = scene.log.until_asked(attempt.into()) => {}
        }
        scene.log.lose_claim(is_lost);
        scene.log.hold_notes(false);
        let mut looks = 0;
        while if is_lost { !scene.names().await.is_empty() } else { scene.log.notes().is_empty() } {
            looks += 1;
            assert!(looks < 500, "lost: {is_lost}, {:?}", scene.names().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(scene.log.notes().is_empty(), is_lost);
        scene.log.lose_claim(false);
    }
    // What was noted is there, for the next attempt to publish.
    assert!(arrived(&scene.send(3).await));
    scene.holds_just_the_payload().await;
    assert_eq!((scene.folder.count(Act::BeginWrite), scene.folder.count(Act::Publish)), (2, 1));
}

pub(super) async fn noted_and_gone_was_published(place: Place) {
    let scene = Scene::new(place);
    // Published, but neither the answer comes nor can anybody look.
    scene.folder.publish_answer(PublishAnswer::UnknownDone);
    scene.folder.fail(Act::Stat, Fault::CUT);
    assert_eq!(scene.send(1).await.unwrap_err().retry(), Retry::Ambiguous);
    // The partner is quick.
    scene.place.folder.remove(&scene.path("a.edi")).await.unwrap();
    assert!(arrived(&scene.send(2).await));
    assert!(scene.names().await.is_empty(), "not delivered a second time");
    assert_eq!(scene.folder.count(Act::BeginWrite), 1);
    assert_eq!(
        scene.folder.count(Act::SyncDirectory),
        1,
        "the name is made durable by whoever finds it given"
    );
}

/// Whether temporary files are listed: the names of checks begin with a dot.
fn lists_temporary(place: &Place) -> bool {
    (place.keeps)(b".hidden")
}

pub(super) async fn what_was_noted_of_another_place_does_not_count(place: Place) {
    if !lists_temporary(&place) {
        return;
    }
    let scene = Scene::new(place);
    scene.folder.publish_answer(PublishAnswer::UnknownNotDone);
    scene.folder.fail(Act::Stat, Fault::CUT);
    let at = |address: &str| WriteOptions { address: address.into(), ..scene.write_options() };
    let name = RemotePath::from("a.edi");
    let error = scene.deliver(at("here"), &name, CONTENT, 1).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Ambiguous);
    // The endpoint leads to another server now, where the temporary file never was.
    let temporary = scene.names().await.remove(0);
    scene.place.folder.remove(&scene.path(&temporary)).await.unwrap();
    assert!(arrived(&scene.deliver(at("there"), &name, CONTENT, 2).await));
    scene.holds_just_the_payload().await;
    assert_eq!(scene.folder.count(Act::BeginWrite), 2, "sent again");
}

pub(super) async fn a_lost_answer_is_found_out(place: Place) {
    let scene = Scene::new(place);
    scene.folder.publish_answer(PublishAnswer::UnknownNotDone);
    scene.folder.publish_answer(PublishAnswer::UnknownDone);
    assert!(arrived(&scene.send(1).await));
    scene.holds_just_the_payload().await;
    assert_eq!(scene.folder.count(Act::Publish), 2);
}

pub(super) async fn a_publication_that_comes_late_is_not_made_twice(place: Place) {
    if !lists_temporary(&place) {
        return;
    }
    for answer in [None, Some(PublishAnswer::Exists)] {
        let scene = Scene::new(Place {
            folder: Arc::clone(&place.folder),
            directory: place.directory.clone(),
            beside: place.beside.clone(),
            keep: None,
            ..place
        });
        // The server is slow: it does what was asked first only when it is asked a second time.
        scene.folder.publish_answer(PublishAnswer::UnknownNotDone);
        let (folder, script) = (Arc::clone(&scene.place.folder), Arc::clone(&scene.folder));
        let (directory, name) = (scene.place.directory.clone(), scene.path("a.edi"));
        scene.folder.before(Act::Publish, move || async move {
            script.before(Act::Publish, move || async move {
                let temporary = names(&folder, &directory).await.remove(0);
                let temporary = directory.join(&RemotePath::from_text(&temporary).unwrap());
                folder.publish(&temporary, &name, false).await.unwrap();
            });
        });
        if let Some(answer) = answer {
            scene.folder.publish_answer(answer);
        }
        let sent = scene.send(1).await;
        assert!(arrived(&sent), "{sent:?}");
        scene.holds_just_the_payload().await;
        assert_eq!(scene.folder.count(Act::BeginWrite), 1);
        scene.place.folder.remove(&scene.path("a.edi")).await.unwrap();
    }
}

pub(super) async fn a_file_that_is_short_there_is_not_published(place: Place) {
    let leaves_parts = place.leaves_parts;
    let scene = Scene::new(place);
    scene.folder.finish_short();
    let error = scene.send(1).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::IntegrityFailed, Retry::Transient));
    let left = scene.names().await;
    assert!(left.is_empty() || leaves_parts && !left.contains(&"a.edi".to_owned()), "{left:?}");
    assert!(arrived(&scene.send(2).await));
    scene.holds_just_the_payload().await;
}

pub(super) async fn a_whole_file_of_a_wrong_stated_size_is_published(place: Place) {
    let scene = Scene::new(place);
    scene.folder.say_short();
    assert!(arrived(&scene.send(1).await));
    scene.holds_just_the_payload().await;
    scene.place.folder.remove(&scene.path("a.edi")).await.unwrap();
    // The same when an earlier attempt's file is found by a look: it is whole, and published as it is.
    let scene = Scene::new(scene.place);
    scene.folder.tell(Way::Look, |entry| entry.size = Some(0));
    scene.log.lose_claim_after_note();
    assert!(scene.send(1).await.is_err());
    scene.log.lose_claim(false);
    assert!(arrived(&scene.send(2).await));
    scene.holds_just_the_payload().await;
    assert_eq!(scene.folder.count(Act::BeginWrite), 1, "the bytes are sent once");
}

pub(super) async fn a_damaged_temporary_file_is_written_anew(place: Place) {
    if !lists_temporary(&place) {
        return;
    }
    let scene = Scene::new(place);
    scene.folder.fail(Act::Publish, Fault::CUT);
    assert!(scene.send(1).await.is_err());
    let temporary = scene.names().await.remove(0);
    put(&scene.place.folder, &scene.path(&temporary), b"cut").await;
    assert!(arrived(&scene.send(2).await));
    scene.holds_just_the_payload().await;
}

pub(super) async fn directories_of_the_name_are_made(place: Place) {
    let scene = Scene::new(place);
    let name = RemotePath::from("one/two/a.edi");
    let sent = scene.deliver(scene.write_options(), &name, CONTENT, 1).await;
    assert!(arrived(&sent), "{sent:?}");
    assert_eq!(scene.content(&scene.path("one/two/a.edi")).await.unwrap(), CONTENT);
}

pub(super) async fn the_directory_of_the_day_is_made(place: Place) {
    let scene = Scene::new(place);
    let zone = TimeZone::parse("Pacific/Honolulu").unwrap();
    let below = DirectoryBelow::parse("{flow}/{received:%Y/%m/%d-%H}", zone).unwrap();
    let options = WriteOptions { below: Some(below), ..scene.write_options() };
    let sent = scene.deliver(options, &RemotePath::from("one/a.edi"), CONTENT, 1).await;
    assert!(arrived(&sent), "{sent:?}");
    let path = scene.path("flow/2026/03/01-02/one/a.edi");
    assert_eq!(scene.content(&path).await.unwrap(), CONTENT);
    let Ok(Sent::Delivered { receipt, .. }) = sent else { return };
    assert_eq!(receipt.summary, path.to_text());
}

/// G7, with `create_directories` off.
pub(super) async fn the_path_below_the_polled_directory_is_kept(place: Place) {
    let scene = Scene::new(place);
    scene.place.folder.make_directory(&scene.path("one/two")).await.unwrap();
    scene.put("one/two/a.edi", CONTENT).await;
    let source = scene.source(crate::defined::polling(scene.poll(), |polling| polling.recursive = true));
    let found = scene.discover(&source).await.remove(0);
    let part = source.open(&found).await.unwrap().parts.next().await.unwrap().unwrap();
    let name = part.file_name.clone();
    drop(part);
    // The destination's directory is missing: it is named, nothing is made, and a later attempt may find it.
    let options = WriteOptions { directory: scene.place.beside.clone(), ..scene.write_options() };
    let error = scene.deliver(options.clone(), &name, CONTENT, 1).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Transient));
    assert!(error.to_string().contains(&scene.place.beside.to_text()), "{error}");
    let there = scene.place.folder.stat(&scene.place.beside).await;
    assert_eq!(there.unwrap_err().kind(), ErrorKind::NotFound);
    scene.place.folder.make_directory(&scene.place.beside).await.unwrap();
    let sent = scene.deliver(options, &name, CONTENT, 2).await;
    assert!(arrived(&sent), "{sent:?}");
    assert_eq!(scene.content(&scene.beside("one/two/a.edi")).await.unwrap(), CONTENT);
    let Ok(Sent::Delivered { receipt, .. }) = sent else { return };
    assert_eq!(receipt.summary, scene.beside("one/two/a.edi").to_text());
}

pub(super) async fn names_that_lead_out_or_are_too_long_are_refused(place: Place) {
    let scene = Scene::new(place);
    let long = "n".repeat(scene.place.name_limit + 1);
    for name in ["", ".", "..", "../a", "one/../../a", "/etc/passwd", "a\0b", "one/", &long] {
        let name = RemotePath::from(name);
        let error = scene.deliver(scene.write_options(), &name, CONTENT, 1).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Rejected, Retry::Permanent), "{name}");
    }
    assert!(scene.names().await.is_empty());
    assert_eq!(scene.folder.count(Act::BeginWrite), 0);
    // The longest name there is has a temporary one too.
    let longest = RemotePath::from_bytes(vec![b'n'; scene.place.name_limit]);
    let sent = scene.deliver(scene.write_options(), &longest, CONTENT, 1).await;
    assert!(arrived(&sent), "{sent:?}");
}

pub(super) async fn a_missing_directory_is_no_reason_to_give_up(place: Place) {
    let scene = Scene::new(place);
    let options = WriteOptions { directory: scene.place.beside.clone(), ..scene.write_options() };
    let name = RemotePath::from("a.edi");
    let sent = scene.deliver(options.clone(), &name, CONTENT, 1).await;
    scene.names_the_connection(&sent);
    let error = sent.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Transient));
    let options = WriteOptions { create_directories: true, ..options };
    let sent = scene.deliver(options, &name, CONTENT, 2).await;
    assert!(arrived(&sent), "{sent:?}");
    assert_eq!(scene.names_beside().await, ["a.edi"]);
}

pub(super) async fn a_probe_leaves_nothing(place: Place) {
    let scene = Scene::new(place);
    let folder = Arc::clone(&scene.folder) as Arc<dyn Folder>;
    let destination = FolderDestination::new(folder, scene.write_options(), scene.services.clone()).unwrap();
    let probe = destination.probe().await;
    assert!(probe.passed(), "{probe:?}");
    let steps: Vec<_> = probe.steps.iter().map(|step| step.step).collect();
    assert_eq!(steps, [Step::Write, Step::Publish, Step::Delete]);
    assert!(scene.names().await.is_empty());
}
