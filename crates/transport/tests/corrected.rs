//! Deliveries that a person retries after correcting the destination's options: what an earlier attempt left is found,
//! and the file arrives once, in the way that is asked for now.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test program: a failed expectation is how it speaks"
)]

use model::{Claim, DeliveryId, Error, Result};
use std::sync::Arc;
use testkit::conformance::Interlude;
use testkit::fake::{
    Act, BytesPayload, Fault, MemoryFolder, MemoryLog, PublishAnswer, ScriptedFolder, services,
};
use transport::folder::{Folder, FolderDestination, WriteOptions};
use transport::{Deliver, DeliveryLog, Destination, Sent};
use uuid::Uuid;

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
            claim: Claim { delivery: DeliveryId::new(Uuid::from_u128(1)), node, epoch: 1, attempt },
            payload: BytesPayload::shared("a.edi", CONTENT),
            file_name: "a.edi".into(),
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

    /// Makes an attempt without temporary names that is cut off while it writes.
    async fn left_partial(&self) {
        self.script.fail(Act::Write, Fault::CUT);
        self.attempt(1, "old-", false).await.unwrap_err();
        assert!(self.memory.files().contains(&"out/old-a.edi".to_owned()), "{:?}", self.memory.files());
    }

    /// Checks that the next attempt delivers the file under this name, and that nothing else is there.
    async fn arrives(&self, prefix: &str, temporary_name: bool, name: &str) {
        let Sent::Delivered { receipt, .. } = self.attempt(2, prefix, temporary_name).await.unwrap() else {
            panic!("a folder gives its receipt at once")
        };
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
