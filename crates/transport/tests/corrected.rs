//! Deliveries that a person retries after correcting the destination's options: what an earlier attempt left is found,
//! and the file arrives once, in the way that is asked for now.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test program: a failed expectation is how it speaks"
)]

use model::{Claim, DeliveryId, Error, ErrorKind, Result, Retry};
use std::sync::Arc;
use testkit::conformance::Interlude;
use testkit::fake::{
    Act, BytesPayload, Fault, MemoryFolder, MemoryLog, PublishAnswer, ScriptedFolder, Way, services,
};
use tokio::sync::Notify;
use transport::folder::{Folder, FolderDestination, PUBLISHING, WriteOptions};
use transport::{Deliver, DeliveryLog, Destination, Sent};
use uuid::Uuid;

/// A refusal.
const REFUSED: Fault = Fault { kind: ErrorKind::PermissionDenied, retry: Retry::Permanent };

/// The same of a place that is asked again.
const REFUSED_FOR_NOW: Fault = Fault { retry: Retry::Transient, ..REFUSED };

const CONTENT: &[u8] = b"the payload, whole";

struct Scene {
    memory: MemoryFolder,
    script: Arc<ScriptedFolder>,
    log: Arc<MemoryLog>,
}

impl Scene {
    fn new() -> Self {
        let memory = MemoryFolder::new();
        memory.put("out/.keep", *b"");
        let script = ScriptedFolder::new(Arc::new(memory.clone()));
        Self { memory, script, log: Arc::default() }
    }

    async fn attempt(&self, attempt: u32, prefix: &str, temporary_name: bool) -> Result<Sent> {
        let options = WriteOptions {
            prefix: prefix.into(),
            temporary_name,
            ..WriteOptions::new("place", "out".into())
        };
        let services = services(Arc::new(Interlude::default()));
        let node = services.node.clone();
        let folder = Arc::clone(&self.script) as Arc<dyn Folder>;
        let deliver = Deliver {
            attachments: Vec::new(),
            claim: Claim { delivery: DeliveryId::new(Uuid::from_u128(1)), node, epoch: 1, attempt },
            payload: BytesPayload::shared("a.edi", CONTENT),
            file_name: "a.edi".into(),
            received: model::Timestamp::UNIX_EPOCH,
            flow: "flow".into(),
            partner: None,
            notes: self.log.notes(),
            interrupted: false,
            is_last: false,
            log: Arc::clone(&self.log) as Arc<dyn DeliveryLog>,
        };
        FolderDestination::new(folder, options, services).unwrap().deliver(deliver).await
    }

    /// Makes an attempt that does not learn whether its file was published; it was, or it was not.
    async fn left_unknown(&self, answer: PublishAnswer) -> Error {
        self.script.publish_answer(answer);
        self.script.fail(Act::Stat, Fault::CUT);
        self.attempt(1, "old-", true).await.unwrap_err()
    }

    /// The path of the one temporary file.
    fn temporary(&self) -> String {
        let files = self.memory.files();
        let mut temporary = files.iter().filter(|path| path.starts_with("out/.old-a.edi."));
        let first = temporary.next().unwrap().clone();
        assert_eq!(temporary.next(), None);
        first
    }

    /// Makes an attempt whose node ends as the server publishes the file.
    async fn killed_while_publishing(&self, attempt: u32) {
        let (memory, temporary) = (self.memory.clone(), self.temporary());
        let reached = Arc::new(Notify::new());
        let reach = Arc::clone(&reached);
        self.script.before(Act::Publish, move || async move {
            memory.publish(&temporary.as_str().into(), &"out/old-a.edi".into(), false).await.unwrap();
            reach.notify_one();
            std::future::pending().await
        });
        tokio::select! {
            sent = self.attempt(attempt, "old-", true) => panic!("it does not wait for its answer: {sent:?}"),
            () = reached.notified() => {}
        }
    }

    /// Makes an attempt without temporary names that is cut off while it writes.
    async fn left_partial(&self) {
        self.script.fail(Act::Write, Fault::CUT);
        self.attempt(1, "old-", false).await.unwrap_err();
        assert!(self.memory.files().contains(&"out/old-a.edi".to_owned()), "{:?}", self.memory.files());
    }

    /// Checks that the next attempt delivers the file under this name, and that nothing else is there.
    async fn arrives(&self, prefix: &str, temporary_name: bool, name: &str) {
        self.arrives_at(2, prefix, temporary_name, name).await;
    }

    /// Checks the same of a later attempt.
    async fn arrives_at(&self, attempt: u32, prefix: &str, temporary_name: bool, name: &str) {
        let sent = self.attempt(attempt, prefix, temporary_name).await.unwrap();
        let Sent::Delivered { receipt, .. } = sent else { panic!("a folder gives its receipt at once") };
        assert_eq!(receipt.summary, name);
        assert_eq!(self.memory.files(), ["out/.keep", name]);
        assert_eq!(&self.memory.get(name).unwrap()[..], CONTENT);
    }
}

#[tokio::test]
async fn a_file_that_was_not_published_is_written_under_the_name_that_is_asked_for_now() {
    for temporary_name in [true, false] {
        let scene = Scene::new();
        scene.left_unknown(PublishAnswer::UnknownNotDone).await;
        scene.arrives("new-", temporary_name, "out/new-a.edi").await;
    }
}

#[tokio::test]
async fn a_file_that_was_not_published_is_written_without_a_temporary_name_when_that_is_asked_for_now() {
    let scene = Scene::new();
    scene.left_unknown(PublishAnswer::UnknownNotDone).await;
    let publications = scene.script.count(Act::Publish);
    scene.arrives("old-", false, "out/old-a.edi").await;
    assert_eq!(scene.script.count(Act::Publish), publications, "renaming is not tried again");
}

#[tokio::test]
async fn a_file_that_was_published_is_not_sent_again_under_another_name() {
    for temporary_name in [true, false] {
        let scene = Scene::new();
        scene.left_unknown(PublishAnswer::UnknownDone).await;
        scene.arrives("new-", temporary_name, "out/old-a.edi").await;
    }
}

#[tokio::test]
async fn an_unfinished_file_under_a_name_that_is_not_wanted_any_more_is_removed() {
    for temporary_name in [true, false] {
        let scene = Scene::new();
        scene.left_partial().await;
        scene.arrives("new-", temporary_name, "out/new-a.edi").await;
    }
}

#[tokio::test]
async fn an_unfinished_file_is_replaced_when_temporary_names_are_asked_for_now() {
    let scene = Scene::new();
    scene.left_partial().await;
    scene.arrives("old-", true, "out/old-a.edi").await;
}

#[tokio::test]
async fn an_unfinished_file_that_could_not_be_removed_is_not_forgotten() {
    for fault in [Fault::CUT, Fault::LOST, REFUSED] {
        // Another name; the same name with a temporary one first; both.
        for (prefix, temporary_name) in [("new-", false), ("old-", true), ("new-", true)] {
            let scene = Scene::new();
            scene.left_partial().await;
            scene.script.fail(Act::Remove, fault);
            let error = scene.attempt(2, prefix, temporary_name).await.unwrap_err();
            assert_eq!((error.kind(), error.retry()), (fault.kind, Retry::Transient), "{error:?}");
            assert!(error.to_string().contains("out/old-a.edi"), "{error}");
            assert_eq!(scene.memory.files(), ["out/.keep", "out/old-a.edi"], "nothing was written");
            scene.arrives_at(3, prefix, temporary_name, &format!("out/{prefix}a.edi")).await;
        }
    }
}

#[tokio::test]
async fn an_unfinished_file_whose_removal_was_not_answered_is_not_looked_for_again() {
    let scene = Scene::new();
    scene.left_partial().await;
    scene.script.lose_answer(Act::Remove, Fault::LOST);
    scene.attempt(2, "old-", true).await.unwrap_err();
    // The name is somebody else's now, as that file is gone.
    scene.script.fail(Act::BeginWrite, Fault::CUT);
    scene.attempt(3, "old-", true).await.unwrap_err();
    scene.memory.put("out/old-a.edi", *b"somebody else's");
    let error = scene.attempt(4, "old-", true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(&scene.memory.get("out/old-a.edi").unwrap()[..], b"somebody else's");
}

#[tokio::test]
async fn a_file_that_has_both_its_names_is_published_and_not_sent_again_under_another_name() {
    // The last: a place that tells no versions, as over SFTP.
    for (temporary_name, tells_versions) in [(true, true), (false, true), (true, false)] {
        let scene = Scene::new();
        scene.left_unknown(PublishAnswer::UnknownNotDone).await;
        if !tells_versions {
            scene.script.tell(Way::Look, |entry| entry.version = None);
        }
        scene.memory.duplicate(scene.temporary().as_str(), "out/old-a.edi");
        scene.arrives("new-", temporary_name, "out/old-a.edi").await;
        assert_eq!(scene.script.count(Act::BeginWrite), 1, "the bytes are sent once");
    }
}

#[tokio::test]
async fn a_file_of_somebody_else_under_the_earlier_name_is_no_proof_that_ours_was_published() {
    for tells in [true, false] {
        let scene = Scene::new();
        scene.left_unknown(PublishAnswer::UnknownNotDone).await;
        if !tells {
            scene.script.tell(Way::Look, |entry| (entry.version, entry.modified) = (None, None));
        }
        scene.memory.put("out/old-a.edi", CONTENT.to_ascii_uppercase());
        scene.attempt(2, "new-", true).await.unwrap();
        assert_eq!(scene.memory.files(), ["out/.keep", "out/new-a.edi", "out/old-a.edi"]);
        assert_eq!(&scene.memory.get("out/new-a.edi").unwrap()[..], CONTENT);
    }
}

#[tokio::test]
async fn a_refusal_says_nothing_of_a_later_attempt_that_was_interrupted() {
    // In a drop box, which shows nothing.
    for prefix in ["old-", "new-"] {
        let scene = Scene::new();
        scene.script.refuse_looks(REFUSED);
        scene.script.fail(Act::Publish, REFUSED_FOR_NOW);
        scene.attempt(1, "old-", true).await.unwrap_err();
        assert_eq!(scene.log.notes()[PUBLISHING]["refused"], true);
        scene.killed_while_publishing(2).await;
        // An attempt that does not get as far as to look.
        scene.script.fail(Act::Stat, Fault::CUT);
        scene.attempt(3, prefix, true).await.unwrap_err();
        scene.arrives_at(4, prefix, true, "out/old-a.edi").await;
        assert_eq!(scene.script.count(Act::BeginWrite), 1, "the bytes are sent once");
    }
}

#[tokio::test]
async fn a_file_whose_publications_were_all_refused_is_written_under_the_name_that_is_asked_for_now() {
    let scene = Scene::new();
    scene.script.refuse_looks(REFUSED);
    // The second was not made at all.
    for (attempt, fault) in [(1, REFUSED_FOR_NOW), (2, Fault::CUT), (3, REFUSED_FOR_NOW)] {
        scene.script.fail(Act::Publish, fault);
        scene.attempt(attempt, "old-", true).await.unwrap_err();
    }
    scene.arrives_at(4, "new-", true, "out/new-a.edi").await;
}
