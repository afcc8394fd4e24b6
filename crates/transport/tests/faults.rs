//! Deliveries and settlings under random faults at every step: a payload arrives once and whole, a file
//! is archived or left, whatever is cut off.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test program: a failed expectation is how it speaks"
)]

use futures::StreamExt;
use model::{Claim, DeliveryId, NameTemplate, Offer, OfferId, OfferState, Outcome, Result, Retry};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use testkit::clock::SeededRandom;
use testkit::conformance::Interlude;
use testkit::defined;
use testkit::fake::{
    Act, BytesPayload, Fault, Known, MemoryFolder, MemoryLog, PublishAnswer, Renames, ScriptedFolder,
    services,
};
use transport::folder::After;
use transport::folder::{
    Folder, FolderCapabilities, FolderDestination, FolderSource, FolderSourceOptions, Overwrite, WRITING,
    WriteOptions,
};
use transport::{Deliver, DeliveryLog, Destination, Discovery, FoundOffer, Sent, Settled, Source};
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
    temporary_name: bool,
    /// Whether the partner takes files as soon as they appear.
    quick: bool,
    fetched: usize,
    /// Whether an empty file follows each file, and how often it was seen.
    marker: bool,
    markers: usize,
    /// Whether temporary files lie in a directory of their own.
    apart: bool,
}

impl Play {
    fn new(seed: u64, temporary_name: bool) -> Self {
        let random = SeededRandom::new(seed);
        let memory = MemoryFolder::new();
        memory.put("out/.keep", *b"");
        let all = [Overwrite::Refuse, Overwrite::Replace, Overwrite::Rename(5), Overwrite::SkipSame];
        let overwrite = all[random.below(4)];
        Self {
            script: ScriptedFolder::new(Arc::new(memory.clone())),
            memory,
            log: Arc::default(),
            quick: random.below(2) == 0,
            marker: random.below(2) == 0,
            apart: random.below(2) == 0,
            random,
            overwrite,
            temporary_name,
            fetched: 0,
            markers: 0,
        }
    }

    /// Up to three things that go wrong in the next attempt.
    fn trouble(&self) {
        for _ in 0..self.random.below(4) {
            let fault = [Fault::CUT, Fault::LOST][self.random.below(2)];
            match self.random.below(10) {
                0 => self.script.fail(Act::BeginWrite, fault),
                1 => self.script.fail(Act::Write, fault),
                2 => self.script.fail(Act::Finish, fault),
                3 => self.script.fail(Act::Stat, fault),
                4 => self.script.fail(Act::Remove, fault),
                // A failure that is certain: nothing was published.
                5 => self.script.fail(Act::Publish, Fault::CUT),
                6 => self.script.publish_answer(PublishAnswer::UnknownDone),
                7 => self.script.publish_answer(PublishAnswer::UnknownNotDone),
                8 => self.script.lose_answer(Act::BeginWrite, Fault::LOST),
                _ => self.log.lose_claim_after_note(),
            }
        }
    }

    async fn attempt(&self, number: u32) -> Result<Sent> {
        let options = WriteOptions {
            overwrite: self.overwrite,
            temporary_name: self.temporary_name,
            marker: self.marker.then(|| NameTemplate::parse("{name}.done").unwrap()),
            temporary_directory: self.apart.then(|| "unfinished".into()),
            ..WriteOptions::new("place", "out".into())
        };
        let folder = Arc::clone(&self.script) as Arc<dyn Folder>;
        let services = services(Arc::new(Interlude::default()));
        let node = services.node.clone();
        let destination = FolderDestination::new(folder, options, services).unwrap();
        let deliver = Deliver {
            attachments: Vec::new(),
            claim: Claim {
                delivery: DeliveryId::new(Uuid::from_u128(0x0192_7000)),
                node,
                epoch: 1,
                attempt: number,
            },
            payload: BytesPayload::shared("a.edi", CONTENT),
            file_name: "a.edi".into(),
            received: model::Timestamp::UNIX_EPOCH,
            flow: "flow".into(),
            partner: None,
            notes: self.log.notes(),
            interrupted: number > 1,
            // Whether anybody tries again by hand makes no difference to what arrives.
            is_last: self.random.below(2) == 0,
            log: Arc::clone(&self.log) as Arc<dyn DeliveryLog>,
        };
        destination.deliver(deliver).await
    }

    /// What the partner finds; every file that does not begin with a dot is whole. Without temporary names the partner
    /// takes files when they are closed, which follows their note.
    async fn fetch(&mut self) {
        for path in self.memory.files() {
            if path.starts_with("out/.") || path.starts_with("unfinished/") {
                continue;
            }
            if path.ends_with(".done") {
                assert!(self.fetched > 0, "a marker follows its file");
                assert_eq!(self.memory.get(path.as_str()).unwrap().len(), 0);
                self.markers += 1;
                self.memory.remove(&path.as_str().into()).await.unwrap();
                continue;
            }
            let content = self.memory.get(path.as_str()).unwrap();
            let is_closed = || self.log.notes().get(WRITING).is_some_and(|note| note["whole"] == true);
            if !self.temporary_name && !is_closed() {
                continue;
            }
            assert_eq!(&*content, CONTENT, "{path} is whole");
            self.fetched += 1;
            self.memory.remove(&path.as_str().into()).await.unwrap();
        }
    }
}

async fn arrives_once(temporary_name: bool) {
    let mut attempts = 0;
    for seed in 0..RUNS {
        let mut play = Play::new(seed, temporary_name);
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
        assert_eq!(play.markers > 0, play.marker, "seed {seed}: {} markers", play.markers);
        if !temporary_name {
            assert_eq!(play.memory.files(), ["out/.keep"], "seed {seed}: what is left");
        }
    }
    assert!(attempts > RUNS * 2, "the faults do hit: {attempts} attempts");
}

#[tokio::test]
async fn a_payload_arrives_once_whatever_is_cut_off() {
    arrives_once(true).await;
}

#[tokio::test]
async fn without_temporary_names_a_payload_arrives_once_whatever_is_cut_off() {
    arrives_once(false).await;
}

const NEWER: &[u8] = b"a newer file, longer than the first";

/// One settling under random faults, at a place that makes these renames; at a random rename the partner replaces the
/// file.
async fn settle_troubled(seed: u64, renames: Renames) -> usize {
    let random = SeededRandom::new(seed);
    let memory = MemoryFolder::with_capabilities(FolderCapabilities {
        rename_no_replace: random.below(2) == 0,
        set_modified: random.below(2) == 0,
    });
    memory.set_renames(renames);
    let copies = matches!(renames, Renames::WithinBorders | Renames::Never);
    memory.put("in/a.edi", CONTENT);
    memory.put("done/a.edi", *b"an earlier file of the name");
    let script = ScriptedFolder::new(Arc::new(memory.clone()));
    let source = source(Arc::clone(&script) as Arc<dyn Folder>, random.below(2) == 0);
    let discovery = Discovery::first(Arc::new(Known::default()));
    let found = source.discover(discovery).await.unwrap().next().await.unwrap().unwrap();
    let mut offer = offer(&found);
    let sha256 = model::Sha256(openssl::sha::sha256(CONTENT));
    transport::OfferNotes::change(&mut offer.source_data, |notes| notes.sha256 = Some(sha256));
    let replaced = Arc::new(AtomicBool::new(false));
    let when = random.below(6);
    let mut calls = 0;
    let settled = loop {
        calls += 1;
        assert!(calls < 50, "seed {seed}: never settled");
        if calls == when {
            let (memory, replaced) = (memory.clone(), Arc::clone(&replaced));
            script.before(Act::Rename, move || async move {
                // Either in the place of the file to be moved, or after that was moved already.
                replaced.store(memory.get("in/a.edi").is_some(), Ordering::SeqCst);
                memory.put("in/a.edi", NEWER);
            });
        }
        for _ in 0..if calls < 8 { random.below(3) } else { 0 } {
            match random.below(if copies { 13 } else { 5 }) {
                0 => script.fail(Act::Stat, Fault::CUT),
                1 => script.fail(Act::Rename, Fault::CUT),
                2 => script.fail(Act::MakeDirectory, Fault::CUT),
                3 => script.lose_answer(Act::Rename, Fault::LOST),
                5 => script.fail(Act::Read, Fault::CUT),
                6 => script.fail(Act::Write, Fault::CUT),
                7 => script.fail(Act::Finish, Fault::CUT),
                8 => script.fail(Act::Remove, Fault::CUT),
                9 => script.lose_answer(Act::Remove, Fault::LOST),
                10 => script.fail(Act::SetModified, Fault::CUT),
                11 => script.fail(Act::BeginWrite, Fault::CUT),
                12 => script.lose_answer(Act::BeginWrite, Fault::LOST),
                _ => script.lose_answer(Act::MakeDirectory, Fault::LOST),
            }
        }
        if let Ok(settled) = source.settle(&offer, Outcome::Taken).await {
            break settled;
        }
    };
    let lying = |content: &[u8], below: &str| {
        let files = memory.files();
        let there = files.iter().filter(|path| path.starts_with(below));
        there.filter(|path| memory.get(path.as_str()).as_deref() == Some(content)).count()
    };
    let was_replaced = replaced.load(Ordering::SeqCst);
    if was_replaced && !copies {
        assert_eq!(settled, Settled::Changed, "seed {seed}");
    } else if was_replaced && settled == Settled::Changed {
        // Replaced before it was copied, or after it was archived by a call whose answer was lost.
        assert!(lying(CONTENT, "") <= 1, "seed {seed}: {:?}", memory.files());
    } else {
        assert_eq!(
            (lying(CONTENT, "in/"), lying(CONTENT, "done/")),
            (0, 1),
            "seed {seed}: {:?}",
            memory.files()
        );
    }
    let newer =
        memory.files().iter().filter(|path| memory.get(path.as_str()).as_deref() == Some(NEWER)).count();
    assert_eq!((lying(NEWER, "in/"), newer), (newer, newer.min(1)), "seed {seed}: {:?}", memory.files());
    assert_eq!(memory.get("done/a.edi").as_deref(), Some(&b"an earlier file of the name"[..]));
    assert!(
        !memory.files().iter().any(|path| [".moving", ".copying", ".copied", ".trial", ".naming", ".made"]
            .iter()
            .any(|end| path.ends_with(end))),
        "seed {seed}: {:?}",
        memory.files()
    );
    calls
}

fn source(folder: Arc<dyn Folder>, timestamp: bool) -> FolderSource {
    let flow = defined::flow(
        "flow",
        defined::polling(
            defined::poll("place", After::Archive { directory: "done".into(), timestamp }),
            |polling| {
                polling.temporary_suffix = ".part".into();
            },
        ),
    );
    let options =
        FolderSourceOptions { flow: Arc::new(flow), endpoint: "place".into(), directory: "in".into() };
    FolderSource::new(folder, options, services(Arc::new(Interlude::default()))).unwrap()
}

fn offer(found: &FoundOffer) -> Offer {
    Offer {
        id: OfferId::new(Uuid::from_u128(1)),
        identity: found.identity.clone(),
        state: OfferState::Settling,
        found_at: chrono::DateTime::from_timestamp(1_772_366_400, 0).unwrap(),
        failures: 0,
        source_data: found.source_data.clone(),
    }
}

#[tokio::test]
async fn a_file_is_archived_or_left_whatever_is_cut_off() {
    let mut calls = 0;
    for seed in 0..RUNS {
        calls += settle_troubled(seed, Renames::All).await as u64;
    }
    assert!(calls > RUNS * 3 / 2, "the faults do hit: {calls} calls");
}

#[tokio::test]
async fn a_file_is_archived_on_another_file_system_or_left_whatever_is_cut_off() {
    let mut calls = 0;
    for seed in 0..RUNS {
        calls += settle_troubled(seed, Renames::WithinBorders).await as u64;
    }
    assert!(calls > RUNS * 3 / 2, "the faults do hit: {calls} calls");
}

#[tokio::test]
async fn a_file_is_archived_where_nothing_is_renamed_or_left_whatever_is_cut_off() {
    let mut calls = 0;
    for seed in 0..RUNS {
        calls += settle_troubled(seed, Renames::Never).await as u64;
    }
    assert!(calls > RUNS * 3 / 2, "the faults do hit: {calls} calls");
}

#[tokio::test]
async fn a_file_is_archived_where_renames_change_its_time_or_left_whatever_is_cut_off() {
    let mut calls = 0;
    for seed in 0..RUNS {
        calls += settle_troubled(seed, Renames::AsNew).await as u64;
    }
    assert!(calls > RUNS * 3 / 2, "the faults do hit: {calls} calls");
}
