//! A delivery to an endpoint with several addresses: each is tried once, until one takes the file.
//!
//! Where a file may have arrived at one address, it is never sent to another before that is found out. So it is noted,
//! durably, which address is tried next, before anything is done there; and the note stays as long as the outcome is
//! not known.

use crate::addresses::Address;
use crate::context::Context;
use crate::deliver::sending::Sending;
use crate::health::Reachability;
use async_trait::async_trait;
use model::definition::Endpoint;
use model::{Error, ErrorKind, Result, Retry, SendProgress};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use transport::folder::{LOCKED, is_unsettled};
use transport::{
    AnsweredBy, DeliveryLog, Evidence, KeptBytes, Payload, Sent, StagedPayload, StoredReply, WaitingAnswer,
};

/// The key of the note; transports use other keys.
const ADDRESS: &str = "address";

/// Which address is, or was last, tried.
#[derive(Clone, PartialEq, Eq, Debug)]
struct AddressNote {
    /// [`Address::key`].
    address: String,
    /// [`Address::shown`].
    shown: String,
    /// Whether it is not known what happened there.
    unknown: bool,
}

impl AddressNote {
    fn read(note: &Value) -> Option<Self> {
        let text = |key: &str| note.get(key)?.as_str().map(str::to_owned);
        // A note that cannot be read in full says too little to be relied on.
        let unknown = note.get("unknown")?.as_bool()?;
        Some(Self { address: text("address")?, shown: text("shown")?, unknown })
    }

    fn to_value(&self) -> Value {
        json!({ "address": self.address, "shown": self.shown, "unknown": self.unknown })
    }
}

/// The notes of a delivery as they are after what was written.
struct NotesKept {
    log: Arc<dyn DeliveryLog>,
    notes: Mutex<BTreeMap<String, Value>>,
}

impl NotesKept {
    fn notes(&self) -> BTreeMap<String, Value> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn note_address(&self, note: &AddressNote) -> Result<()> {
        self.log.note(ADDRESS, note.to_value()).await
    }
}

#[async_trait]
impl DeliveryLog for NotesKept {
    async fn note(&self, key: &str, value: Value) -> Result<()> {
        self.log.note(key, value.clone()).await?;
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), value);
        Ok(())
    }

    async fn keep(&self, key: &str, bytes: StagedPayload, about: Value) -> Result<Arc<dyn Payload>> {
        let note = KeptBytes { bytes: bytes.clone(), about: about.clone() }.to_note()?;
        let payload = self.log.keep(key, bytes, about).await?;
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), note);
        Ok(payload)
    }

    fn kept(&self, kept: &KeptBytes) -> Result<Arc<dyn Payload>> {
        self.log.kept(kept)
    }

    async fn correlate(&self, key: &str) -> Result<()> {
        self.log.correlate(key).await
    }

    async fn waiting_answer(&self, of: &AnsweredBy) -> Result<Option<WaitingAnswer>> {
        self.log.waiting_answer(of).await
    }

    async fn give_answer(&self, key: &str, head: StoredReply, body: StagedPayload) -> Result<bool> {
        self.log.give_answer(key, head, body).await
    }

    fn prove(&self, evidence: Evidence) {
        self.log.prove(evidence);
    }

    async fn on_the_wire(&self, progress: SendProgress) {
        self.log.on_the_wire(progress).await;
    }

    fn may_act(&self) -> Result<()> {
        self.log.may_act()
    }
}

/// Tries the addresses one after the other.
pub(crate) async fn deliver(sending: &Sending<'_>, endpoint: &Arc<Endpoint>) -> Result<Sent> {
    let Sending { context, claimed, .. } = sending;
    let mut notes = claimed.notes.clone();
    let noted = notes.remove(ADDRESS).as_ref().and_then(AddressNote::read);
    let is_open = claimed.interrupted || is_unsettled(&notes);
    let pinned = match noted {
        Some(noted) => Some(noted).filter(|noted| noted.unknown || is_unsettled(&notes)),
        // It was tried when the endpoint had one address, which is the first one unless they were reordered.
        None if is_open => context.addresses.in_definition(endpoint).first().map(|address| AddressNote {
            address: address.key.clone(),
            shown: address.shown.clone(),
            unknown: true,
        }),
        None => None,
    };
    let log = Arc::new(NotesKept { log: Arc::clone(&sending.log) as _, notes: Mutex::new(notes) });
    let (order, is_pinned) = order(context, endpoint, pinned.as_ref());
    let mut failed: Vec<(&Address, Error)> = Vec::new();
    for (at, address) in order.iter().enumerate() {
        let is_doubted = is_pinned && at == 0;
        let mut note =
            AddressNote { address: address.key.clone(), shown: address.shown.clone(), unknown: true };
        if pinned.as_ref() != Some(&note) || !is_doubted {
            log.note_address(&note).await?;
        }
        crate::crash::point("deliver.address");
        let interrupted = is_doubted && claimed.interrupted;
        // What is surely not published is removed: the next attempt may go to another address.
        let sent =
            sending.send(&address.endpoint, log.notes(), Arc::clone(&log) as _, interrupted, true).await;
        let error = match sent {
            Ok(sent) => {
                observe(context, endpoint, address, Reachability::Answered, None).await;
                context.addresses.took(&endpoint.name, address);
                return Ok(taken_by(sent, address));
            }
            Err(error) => error,
        };
        if context.lease.may_act(claimed.claim.epoch).is_err() || sending.unnoted.load(Ordering::SeqCst) {
            return Err(error);
        }
        let reachability = Reachability::of(&error);
        observe(context, endpoint, address, reachability, Some(&error)).await;
        let notes = log.notes();
        let is_unknown = error.retry() == Retry::Ambiguous
            || is_unsettled(&notes)
            // A lock that was left says nothing of what happened.
            || is_doubted && notes.iter().any(|(key, note)| key != LOCKED && !note.is_null());
        if is_unknown {
            // That this address does not answer says nothing of the others, which are not asked.
            sending.unnoted.store(true, Ordering::SeqCst);
            return Err(error.with("address", &address.shown));
        }
        let is_refused_content =
            error.retry() == Retry::Permanent && reachability != Reachability::AccessRefused;
        failed.push((address, error));
        if is_refused_content || at + 1 == order.len() {
            note.unknown = false;
            log.note_address(&note).await?;
            break;
        }
        tracing::info!(transfer = %claimed.transfer.id, endpoint = %endpoint.name, address = address.shown, "the address did not take the file; the next one is tried");
    }
    Err(all_failed(failed, &endpoint.name))
}

/// The addresses to be tried: first the one at which it is not known what happened, then those that are not offline. If
/// all are offline, all are tried.
fn order(context: &Context, endpoint: &Arc<Endpoint>, pinned: Option<&AddressNote>) -> (Vec<Address>, bool) {
    let order = context.addresses.in_order(endpoint, &*context.services.random);
    let now = context.now();
    let is_online = |address: &Address| !context.health.is_address_offline(&endpoint.name, &address.key, now);
    let is_pinned_to = |address: &Address| pinned.is_some_and(|noted| noted.address == address.key);
    let is_pinned = order.iter().any(is_pinned_to);
    if let Some(gone) = pinned.filter(|_| !is_pinned) {
        tracing::warn!(endpoint = %endpoint.name, address = gone.shown, "the endpoint no longer has the address at which a file may have arrived: the file is sent again");
    }
    let are_all_offline = !order.iter().any(is_online);
    let (mut first, others): (Vec<Address>, Vec<Address>) = order.into_iter().partition(is_pinned_to);
    first.extend(others.into_iter().filter(|address| are_all_offline || is_online(address)));
    (first, is_pinned)
}

async fn observe(
    context: &Context,
    endpoint: &Endpoint,
    address: &Address,
    reachability: Reachability,
    error: Option<&Error>,
) {
    let rule = endpoint.offline.as_ref();
    let key = (endpoint.name.as_str(), address.key.as_str());
    let change = context.health.observe_address(key, rule, reachability, context.now());
    context.record_health(&endpoint.name, Some(&address.shown), change, error).await;
}

/// The receipt names the address.
fn taken_by(sent: Sent, address: &Address) -> Sent {
    match sent {
        Sent::Delivered { mut receipt, replies } => {
            receipt.detail.insert("url".into(), address.shown.clone().into());
            Sent::Delivered { receipt, replies }
        }
        awaiting @ Sent::Awaiting { .. } => awaiting,
    }
}

/// One error for all: of those after which trying again can help, the last, with the others beside it.
fn all_failed(mut failed: Vec<(&Address, Error)>, endpoint: &str) -> Error {
    let is_transient = |(_, error): &(&Address, Error)| error.retry() != Retry::Permanent;
    let at = failed.iter().rposition(is_transient).unwrap_or(failed.len().saturating_sub(1));
    if failed.is_empty() {
        return Error::transient(ErrorKind::ConfigInvalid, "find an address").with("endpoint", endpoint);
    }
    let (address, error) = failed.remove(at);
    let error = error.with("address", &address.shown);
    failed.iter().fold(error, |error, (other, why)| {
        error.with("also tried", format_args!("{}: {}", other.shown, why.chain()))
    })
}
