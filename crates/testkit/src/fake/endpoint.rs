//! One place of the fake transport: its script, and the ledger of what it saw.

use super::Fault;
use super::destination::Answer;
use super::lent::locked;
use super::source::{Opening, ScriptedOffer, Settling};
use model::{DeliveryId, NodeName, OfferId, Outcome, RemotePath, Result, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use transport::folder::{Folder, Overwrite};
use transport::{AfterRead, Deliver, Probe, ProbeStep, Settled, Step};

/// One attempt, as the destination saw it begin.
#[derive(Clone, Debug)]
pub struct DeliverySeen {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its attempt.
    pub attempt: u32,
    /// The claim's epoch.
    pub epoch: i64,
    /// Who held the claim.
    pub node: NodeName,
    /// The flow.
    pub flow: String,
    /// The name it was to get.
    pub file_name: RemotePath,
    /// What earlier attempts had noted.
    pub notes: BTreeMap<String, Value>,
    /// Whether an earlier attempt was cut off.
    pub interrupted: bool,
    /// The subject that the flow's destination gives, a field that this transport declares.
    pub subject: Option<String>,
    /// How it was answered, in a word.
    pub answer: &'static str,
    /// When.
    pub at: Timestamp,
}

/// One settling, as the source saw it.
#[derive(Clone, Debug)]
pub struct SettleSeen {
    /// The offer.
    pub offer: OfferId,
    /// Its path.
    pub path: RemotePath,
    /// What the engine told.
    pub outcome: Outcome,
    /// What it was told; `None` for an error.
    pub settled: Option<Settled>,
}

#[derive(Default)]
struct State {
    offers: Vec<ScriptedOffer>,
    answers: VecDeque<Answer>,
    otherwise: Option<Answer>,
    fault: Option<Fault>,
    seen: BTreeMap<RemotePath, AfterRead>,
    failing_looks: BTreeMap<RemotePath, u32>,
    discoveries: Vec<usize>,
    mailboxes: Vec<String>,
    opened: Vec<RemotePath>,
    settled: Vec<SettleSeen>,
    deliveries: Vec<DeliverySeen>,
    received: Vec<(DeliveryId, RemotePath, Arc<[u8]>)>,
    folder: Option<FolderPlace>,
    is_local: bool,
}

/// A folder that stands behind a fake endpoint.
#[derive(Clone)]
pub(super) struct FolderPlace {
    pub(super) folder: Arc<dyn Folder>,
    pub(super) directory: RemotePath,
    pub(super) overwrite: Overwrite,
}

/// One place of the fake transport. All of it may be changed while the engine runs.
pub struct FakeEndpoint {
    name: String,
    state: Mutex<State>,
}

impl FakeEndpoint {
    pub(super) fn new(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), state: Mutex::default() })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds an offer; one of the same path is replaced.
    pub fn offer(&self, offer: ScriptedOffer) {
        let mut state = locked(&self.state);
        state.offers.retain(|other| other.path != offer.path);
        state.offers.push(offer);
    }

    /// Makes its offers files of this machine.
    pub fn be_local(&self) {
        locked(&self.state).is_local = true;
    }

    pub(super) fn is_local(&self) -> bool {
        locked(&self.state).is_local
    }

    /// Takes an offer away, as if somebody else had.
    pub fn remove_offer(&self, path: &RemotePath) {
        locked(&self.state).offers.retain(|offer| offer.path != *path);
    }

    /// What it has now.
    #[must_use]
    pub fn offers(&self) -> Vec<ScriptedOffer> {
        locked(&self.state).offers.clone()
    }

    /// Answers one attempt, after those scripted before.
    pub fn answer(&self, answer: Answer) {
        locked(&self.state).answers.push_back(answer);
    }

    /// Answers every attempt for which nothing is scripted; `Delivered` until told.
    pub fn otherwise(&self, answer: Answer) {
        locked(&self.state).otherwise = Some(answer);
    }

    /// Fails every call (`Some`), or serves again.
    pub fn break_down(&self, fault: Option<Fault>) {
        locked(&self.state).fault = fault;
    }

    /// Puts a folder behind the endpoint: its sources and destinations are then a `FolderSource` and a
    /// `FolderDestination` over that folder, and the scripts above are not asked.
    pub fn use_folder(
        &self,
        folder: Arc<dyn Folder>,
        directory: impl Into<RemotePath>,
        overwrite: Overwrite,
    ) {
        let place = FolderPlace { folder, directory: directory.into(), overwrite };
        locked(&self.state).folder = Some(place);
    }

    /// The mailboxes that polls asked for, a field that this transport declares for sources.
    #[must_use]
    pub fn mailboxes(&self) -> Vec<String> {
        locked(&self.state).mailboxes.clone()
    }

    pub(super) fn asked_for(&self, mailbox: &str) {
        locked(&self.state).mailboxes.push(mailbox.to_owned());
    }

    /// Numbers of offers that each poll found.
    #[must_use]
    pub fn discoveries(&self) -> Vec<usize> {
        locked(&self.state).discoveries.clone()
    }

    /// The paths opened, in order.
    #[must_use]
    pub fn opened(&self) -> Vec<RemotePath> {
        locked(&self.state).opened.clone()
    }

    /// The settlings, in order.
    #[must_use]
    pub fn settled(&self) -> Vec<SettleSeen> {
        locked(&self.state).settled.clone()
    }

    /// The attempts, in the order they began.
    #[must_use]
    pub fn deliveries(&self) -> Vec<DeliverySeen> {
        locked(&self.state).deliveries.clone()
    }

    /// What it has received whole: delivery, name and bytes, in order; attachments behind their file. A delivery that is
    /// there twice was delivered twice.
    #[must_use]
    pub fn received(&self) -> Vec<(DeliveryId, RemotePath, Arc<[u8]>)> {
        locked(&self.state).received.clone()
    }

    /// Records a reception; for tests that answer by a call of their own.
    pub fn receive(&self, delivery: &Deliver, bytes: Vec<u8>) {
        locked(&self.state).received.push((
            delivery.claim.delivery,
            delivery.file_name.clone(),
            bytes.into(),
        ));
    }

    /// Records that a file came with another one.
    pub(super) fn receive_attachment(&self, delivery: &Deliver, file_name: &RemotePath, bytes: Vec<u8>) {
        let received = (delivery.claim.delivery, file_name.clone(), bytes.into());
        locked(&self.state).received.push(received);
    }

    pub(super) fn folder(&self) -> Option<FolderPlace> {
        locked(&self.state).folder.clone()
    }

    pub(super) fn check_reachable(&self, doing: &'static str) -> Result<()> {
        match locked(&self.state).fault {
            Some(fault) => Err(fault.error(doing)),
            None => Ok(()),
        }
    }

    pub(super) fn next_answer(&self) -> Answer {
        let mut state = locked(&self.state);
        let scripted = state.answers.pop_front();
        scripted.or_else(|| state.otherwise.clone()).unwrap_or(Answer::Delivered)
    }

    pub(super) fn next_opening(&self, path: &RemotePath) -> Opening {
        let mut state = locked(&self.state);
        let Some(offer) = state.offers.iter_mut().find(|offer| offer.path == *path) else {
            return Opening::Whole;
        };
        let opening = if offer.openings.len() > 1 {
            offer.openings.pop_front()
        } else {
            offer.openings.front().copied()
        };
        let opening = opening.unwrap_or(Opening::Whole);
        let seen = match opening {
            Opening::Changed => Some(AfterRead::Changed("the test asked for it".into())),
            Opening::Doubtful => Some(AfterRead::Doubtful("the test asked for it".into())),
            _ => None,
        };
        if let Opening::OnceUnseen(times) = opening {
            state.failing_looks.insert(path.clone(), times);
        }
        if let Some(seen) = seen {
            state.seen.insert(path.clone(), seen);
        }
        opening
    }

    /// Fails as often as the offer's opening says.
    pub(super) fn look_fails(&self, path: &RemotePath) -> Result<()> {
        match locked(&self.state).failing_looks.get_mut(path) {
            Some(left) if *left > 0 => {
                *left -= 1;
                Err(Fault::LOST.error("look at an offer"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn take_seen(&self, path: &RemotePath) -> Option<AfterRead> {
        locked(&self.state).seen.remove(path)
    }

    pub(super) fn next_settling(&self, path: &RemotePath) -> Settling {
        let mut state = locked(&self.state);
        let offer = state.offers.iter_mut().find(|offer| offer.path == *path);
        offer.and_then(|offer| offer.settlings.pop_front()).unwrap_or(Settling::Honest)
    }

    pub(super) fn saw_discovery(&self, found: usize) {
        locked(&self.state).discoveries.push(found);
    }

    pub(super) fn saw_open(&self, path: &RemotePath) {
        locked(&self.state).opened.push(path.clone());
    }

    pub(super) fn saw_settle(&self, seen: SettleSeen) {
        locked(&self.state).settled.push(seen);
    }

    pub(super) fn saw_delivery(&self, seen: DeliverySeen) {
        locked(&self.state).deliveries.push(seen);
    }

    pub(super) fn probe(&self) -> Probe {
        let result = self.check_reachable("probe").map(|()| "reached".to_owned());
        Probe { steps: vec![ProbeStep { step: Step::Connection, took: Duration::ZERO, result }] }
    }
}
