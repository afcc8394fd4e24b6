//! A delivery under random faults at every step: it arrives once, whole, whatever is cut off.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test program: a failed expectation is how it speaks"
)]

use model::{Claim, DeliveryId, Result, Retry};
use std::sync::Arc;
use testkit::clock::SeededRandom;
use testkit::conformance::Interlude;
use testkit::fake::{
    Act, BytesPayload, Fault, MemoryFolder, MemoryLog, PublishAnswer, ScriptedFolder, services,
};
use transport::folder::{Folder, FolderDestination, Overwrite, WriteOptions};
use transport::{Deliver, DeliveryLog, Destination, Sent};
use uuid::Uuid;

/// Deliveries played through, each with its own faults.
const RUNS: u64 = 3_000;

/// Attempts that may go wrong; the rest are left in peace.
const TROUBLED: u32 = 8;

const CONTENT: &[u8] = b"the payload, whole";

struct Play {
    memory: MemoryFolder,
    script: Arc<ScriptedFolder>,
    log: Arc<MemoryLog>,
    random: SeededRandom,
    overwrite: Overwrite,
    /// Whether the partner takes files as soon as they appear.
    quick: bool,
    fetched: usize,
}

impl Play {
    fn new(seed: u64) -> Self {
        let random = SeededRandom::new(seed);
        let memory = MemoryFolder::new();
        memory.put("out/.keep", *b"");
        let overwrite = [Overwrite::Refuse, Overwrite::Replace, Overwrite::Rename(5)][random.below(3)];
        Self {
            script: ScriptedFolder::new(Arc::new(memory.clone())),
            memory,
            log: Arc::default(),
            quick: random.below(2) == 0,
            random,
            overwrite,
            fetched: 0,
        }
    }

    /// Up to three things that go wrong in the next attempt.
    fn trouble(&self) {
        for _ in 0..self.random.below(4) {
            let fault = [Fault::CUT, Fault::LOST][self.random.below(2)];
            match self.random.below(9) {
                0 => self.script.fail(Act::BeginWrite, fault),
                1 => self.script.fail(Act::Write, fault),
                2 => self.script.fail(Act::Finish, fault),
                3 => self.script.fail(Act::Stat, fault),
                4 => self.script.fail(Act::Remove, fault),
                // A failure that is certain: nothing was published.
                5 => self.script.fail(Act::Publish, Fault::CUT),
                6 => self.script.publish_answer(PublishAnswer::UnknownDone),
                7 => self.script.publish_answer(PublishAnswer::UnknownNotDone),
                _ => self.log.lose_claim_after_note(),
            }
        }
    }

    async fn attempt(&self, number: u32) -> Result<Sent> {
        let options = WriteOptions { overwrite: self.overwrite, ..WriteOptions::new("place", "out".into()) };
        let folder = Arc::clone(&self.script) as Arc<dyn Folder>;
        let services = services(Arc::new(Interlude::default()));
        let node = services.node.clone();
        let destination = FolderDestination::new(folder, options, services).unwrap();
        let deliver = Deliver {
            claim: Claim {
                delivery: DeliveryId::new(Uuid::from_u128(0x0192_7000)),
                node,
                epoch: 1,
                attempt: number,
            },
            payload: BytesPayload::shared("a.edi", CONTENT),
            file_name: "a.edi".into(),
            flow: "flow".into(),
            partner: None,
            notes: self.log.notes(),
            interrupted: number > 1,
            log: Arc::clone(&self.log) as Arc<dyn DeliveryLog>,
        };
        destination.deliver(deliver).await
    }

    /// What the partner finds; every file that does not begin with a dot is whole.
    async fn fetch(&mut self) {
        for path in self.memory.files() {
            if path.starts_with("out/.") {
                continue;
            }
            let content = self.memory.get(path.as_str()).unwrap();
            assert_eq!(&*content, CONTENT, "{path} is whole");
            self.fetched += 1;
            self.memory.remove(&path.as_str().into()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_payload_arrives_once_whatever_is_cut_off() {
    let mut attempts = 0;
    for seed in 0..RUNS {
        let mut play = Play::new(seed);
        let mut delivered = false;
        for number in 1..=TROUBLED + 40 {
            if number <= TROUBLED {
                play.trouble();
            }
            attempts += 1;
            let sent = play.attempt(number).await;
            play.log.lose_claim(false);
            if play.quick {
                play.fetch().await;
            }
            match sent {
                Ok(_) => {
                    delivered = true;
                    break;
                }
                Err(error) => assert_ne!(error.retry(), Retry::Permanent, "seed {seed}: {error:?}"),
            }
        }
        play.fetch().await;
        assert!(delivered, "seed {seed}: not delivered in the end");
        assert_eq!(play.fetched, 1, "seed {seed}: times it arrived");
    }
    assert!(attempts > RUNS * 2, "the faults do hit: {attempts} attempts");
}
