//! The audit trail of the message: that its events are those that were sealed, and that they speak of this evidence.

use super::Check;
use super::package::{Package, TransferFacts};
use crate::cli::values;
use control::evidence::{EVENTS, RECEIPT_FILE, SEALS};
use model::evidence::RECORDINGS;
use model::{EventKind, MdnEntity, PayloadId, PeerText, Result, Sha256, Timestamp, canonical_json, quoted};
use openssl::pkey::PKey;
use openssl::sha::sha256;
use openssl::sign::Verifier;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use store::{TrustedKeys, evidence_digest};
use uuid::Uuid;

/// Bytes of one member of a seal: an event's id and its hash.
const MEMBER: usize = 16 + 32;

const SEALS_CHECK: &str = "seals";
const EVENTS_CHECK: &str = "events";
const EVIDENCE_CHECK: &str = "evidence in the audit trail";
const DATES_CHECK: &str = "dates in the audit trail";
const RECEIPT_CHECK: &str = "receipt in the audit trail";
const TRANSFER_CHECK: &str = "transfer";

/// The events that record a transfer.
const RECORDED: [EventKind; 2] = [EventKind::TransferRecorded, EventKind::TransferHeld];
/// How long after an event was made its transaction may end: the row has the time of the transaction.
const LATE: i64 = 3600;

/// The audit trail of the message. Anybody can add a line to a file: only what a seal covers counts for anything.
pub(super) struct Trail {
    /// What was found of seals and events themselves.
    checks: Vec<Check>,
    /// The events that seals cover as they are here.
    sealed: Vec<Value>,
    /// The others.
    unsealed: Vec<Value>,
    /// Whether whoever checks gave the keys that signed the seals; else they came with the package.
    is_trusted: bool,
}

impl Trail {
    /// Reads events and seals, and finds which events the seals cover.
    ///
    /// # Errors
    /// A file of the package cannot be read.
    pub(super) fn read(package: &mut Package) -> Result<Self> {
        let events = lines(package, EVENTS)?;
        let (mut checks, members) = seals(package)?;
        checks.push(sealed(&events, &members, package.manifest.more_events));
        let (mut sealed, mut unsealed) = (Vec::new(), Vec::new());
        for line in &events {
            let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
            let is_sealed =
                event_id(&event).is_some_and(|id| members.contains(&(id, Sha256(sha256(line.as_bytes())))));
            if is_sealed { sealed.push(event) } else { unsealed.push(event) }
        }
        // Where keys were given, those of the package count for nothing.
        Ok(Self { checks, sealed, unsealed, is_trusted: !package.trusted.is_empty() })
    }

    /// What it shows of the evidence.
    ///
    /// # Errors
    /// A file of the package cannot be read.
    pub(super) fn checks(self, package: &mut Package) -> Result<Vec<Check>> {
        let mut checks = self.checks.clone();
        checks.extend(self.evidence(package)?);
        checks.extend(self.receipt(package)?);
        checks.extend(package.manifest.transfers.iter().map(|transfer| self.transfer(transfer)));
        Ok(checks)
    }

    /// The SHA-256 of a payload, as a sealed event says it.
    pub(super) fn payload(&self, payload: PayloadId) -> Option<Sha256> {
        let id = payload.to_string();
        let told = self.sealed.iter().find(|event| {
            RECORDED.iter().any(|kind| is_kind(event, *kind))
                && event["detail"]["payload"].as_str() == Some(id.as_str())
        })?;
        values::sha256(told["detail"]["sha256"].as_str()?)
    }

    /// The first event of which something is true, and whether a seal covers it: a sealed one before others.
    fn find(&self, is: impl Fn(&Value) -> bool) -> Option<(&Value, bool)> {
        let sealed = self.sealed.iter().find(|event| is(event)).map(|event| (event, true));
        sealed.or_else(|| self.unsealed.iter().find(|event| is(event)).map(|event| (event, false)))
    }

    /// What an event is worth that says the same as the package, or another thing.
    fn said(&self, what: &'static str, is_sealed: bool, is_same: bool, found: &str) -> Check {
        match (is_same, is_sealed, self.is_trusted) {
            (false, ..) => Check::fails(what, format!("the package says otherwise: {found}")),
            (true, false, _) => {
                Check::open(what, format!("{found}; no seal covers that event: anybody may have written it"))
            }
            (true, true, false) => {
                Check::open(what, format!("{found}; its seal's key came with the package (--trust)"))
            }
            (true, true, true) => Check::holds(what, found),
        }
    }

    /// Whether an event speaks of this evidence, as it is here, and of its dates.
    fn evidence(&self, package: &mut Package) -> Result<Vec<Check>> {
        let digest = digest(package)?;
        if digest != package.manifest.digest {
            let found = "the digest of what is here is not the one that is stated";
            return Ok(vec![Check::fails(EVIDENCE_CHECK, found)]);
        }
        let manifest = &package.manifest;
        let id = manifest.evidence.to_string();
        let told = self.find(|event| {
            RECORDINGS.iter().any(|kind| is_kind(event, *kind))
                && event["detail"]["evidence"].as_str() == Some(id.as_str())
        });
        let Some((event, is_sealed)) = told else {
            let found = "the event with which it was recorded is not here";
            return Ok(vec![Check::open(EVIDENCE_CHECK, found)]);
        };
        let kind = event["kind"].as_str().unwrap_or_default();
        let of_event = event["detail"]["evidence_digest"].as_str().and_then(values::sha256);
        let stated = of_event.map(|digest| digest.to_string()).unwrap_or_default();
        let found = format!("{kind} states the digest {stated}");
        let same_digest = self.said(EVIDENCE_CHECK, is_sealed, of_event == Some(digest), &found);
        // As an event is sealed: microseconds since 1970.
        let at = event["at"].as_i64().and_then(Timestamp::from_timestamp_micros);
        let until = moment(&event["detail"]["evidence_until"]);
        let is_then = at.is_some_and(|at| (manifest.recorded - at).num_seconds().abs() <= LATE)
            // In the precision of the event.
            && until.is_some_and(|until| until.timestamp_micros() == manifest.kept_until.timestamp_micros());
        let shown = |at: Option<Timestamp>| at.map(|at| at.to_rfc3339()).unwrap_or_default();
        let found = format!("{kind} is of {}, and kept until {}", shown(at), shown(until));
        Ok(vec![same_digest, self.said(DATES_CHECK, is_sealed, is_then, &found)])
    }

    /// Whether the receipt of a message that was sent is the one that the event of its delivery has the digest of. One that
    /// we sent is a piece of the evidence.
    fn receipt(&self, package: &mut Package) -> Result<Option<Check>> {
        let (Some(Value::Object(told)), Some(delivery)) =
            (package.manifest.receipt.clone(), package.manifest.delivery)
        else {
            return Ok(None);
        };
        let mdn: Value = match package.has(RECEIPT_FILE) {
            true => MdnEntity::new(package.small(RECEIPT_FILE)?).to_text().into(),
            false => Value::Null,
        };
        let mut stored = told;
        stored.insert("mdn".to_owned(), mdn);
        let digest = Sha256(sha256(canonical_json(&Value::Object(stored)).as_bytes())).to_string();
        let delivery = delivery.to_string();
        let of_delivery = |event: &Value| {
            is_kind(event, EventKind::DeliveryDelivered)
                && event["delivery"].as_str() == Some(delivery.as_str())
                && event["detail"]["receipt_digest"].is_string()
        };
        let is_same = |event: &Value| event["detail"]["receipt_digest"].as_str() == Some(digest.as_str());
        // A person may have sent the delivery again: one of its receipts it is.
        let told = self.find(|event| of_delivery(event) && is_same(event));
        let sealed = || self.sealed.iter().find(|event| of_delivery(event)).map(|event| (event, true));
        Ok(Some(match told.filter(|(_, is_sealed)| *is_sealed).or_else(sealed).or(told) {
            None => Check::open(RECEIPT_CHECK, "the event of its delivery is not here"),
            Some((event, is_sealed)) => self.said(
                RECEIPT_CHECK,
                is_sealed,
                is_same(event),
                &format!("the digest of the receipt is {digest}"),
            ),
        }))
    }

    /// Whether the event that recorded a transfer says the same of its file.
    fn transfer(&self, transfer: &TransferFacts) -> Check {
        let id = transfer.transfer.to_string();
        // One that is held may have been recorded before that.
        let recorded = RECORDED.iter().find_map(|kind| {
            self.find(|event| is_kind(event, *kind) && event["transfer"].as_str() == Some(id.as_str()))
        });
        let Some((event, is_sealed)) = recorded else {
            return Check::open(TRANSFER_CHECK, format!("the event that recorded transfer {id} is not here"));
        };
        let detail = &event["detail"];
        let name = detail["file_name"].as_str().unwrap_or_default();
        let is_named = name == PeerText::from(transfer.file_name.as_str()).as_str();
        let Some(hash) = detail["sha256"].as_str().and_then(values::sha256) else {
            let found = format!("{id} is on record as {}, without its file's SHA-256", quoted(name));
            return match is_named {
                true => Check::open(TRANSFER_CHECK, found),
                false => self.said(TRANSFER_CHECK, is_sealed, false, &found),
            };
        };
        let is_same =
            is_named && transfer.sha256 == Some(hash) && detail["bytes"].as_u64() == Some(transfer.bytes);
        let found = format!("{id} is on record as {} with the SHA-256 {hash}", quoted(name));
        self.said(TRANSFER_CHECK, is_sealed, is_same, &found)
    }
}

fn is_kind(event: &Value, kind: EventKind) -> bool {
    event["kind"].as_str() == Some(kind.as_str())
}

fn event_id(event: &Value) -> Option<Uuid> {
    event["id"].as_str()?.parse().ok()
}

fn moment(value: &Value) -> Option<Timestamp> {
    values::moment(value.as_str()?).ok()
}

fn lines(package: &mut Package, path: &str) -> Result<Vec<String>> {
    if !package.has(path) {
        return Ok(Vec::new());
    }
    let text = package.small(path)?;
    Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
}

/// The events that seals cover: their ids and digests.
type SealedEvents = HashSet<(Uuid, Sha256)>;

/// The seals, and what those that hold cover: id and hash of each event.
fn seals(package: &mut Package) -> Result<(Vec<Check>, SealedEvents)> {
    let mut members = HashSet::new();
    let lines = lines(package, SEALS)?;
    if lines.is_empty() {
        let found = "none covers this message yet, or its month was removed from the audit trail";
        return Ok((vec![Check::open(SEALS_CHECK, found)], members));
    }
    let mut checks = Vec::new();
    for line in lines {
        checks.push(match seal(package, &line, &mut members)? {
            Ok(check) => check,
            Err(why) => Check::fails(SEALS_CHECK, why),
        });
    }
    Ok((checks, members))
}

/// One seal; the inner error says what is wrong with it.
fn seal(
    package: &mut Package,
    line: &str,
    members: &mut HashSet<(Uuid, Sha256)>,
) -> Result<std::result::Result<Check, String>> {
    let Some(seal) = Sealed::read(line) else { return Ok(Err("a line is no seal".to_owned())) };
    let number = seal.number;
    if Sha256(sha256(seal.header.as_bytes())) != seal.digest {
        return Ok(Err(format!("seal {number}: its digest is not that of its header")));
    }
    let path = format!("audit/seal-{number}.members");
    if !package.has(&path) {
        return Ok(Err(format!("seal {number}: the list of what it covers is missing")));
    }
    let list = package.small(&path)?;
    if Sha256(sha256(&list)) != seal.members {
        return Ok(Err(format!("seal {number}: the list of what it covers is another one")));
    }
    let check = match key(package, &seal.key)? {
        Key::Missing => {
            let found =
                format!("seal {number}: the public key {} is not here: give it with --trust", seal.key);
            return Ok(Ok(Check::open(SEALS_CHECK, found)));
        }
        Key::Found { pem, is_trusted } => {
            if !is_signed(&pem, &seal) {
                return Ok(Err(format!("seal {number}: its signature is not by key {}", seal.key)));
            }
            match is_trusted {
                true => Check::holds(SEALS_CHECK, format!("seal {number}, signed by key {}", seal.key)),
                false => Check::open(
                    SEALS_CHECK,
                    format!(
                        "seal {number} is signed by key {}, which came with the package: compare it with the \
                         gateway's (--trust)",
                        seal.key
                    ),
                ),
            }
        }
    };
    for member in list.chunks_exact(MEMBER) {
        if let Some((id, hash)) = member.split_first_chunk::<16>()
            && let Ok(hash) = <[u8; 32]>::try_from(hash)
        {
            members.insert((Uuid::from_bytes(*id), Sha256(hash)));
        }
    }
    Ok(Ok(check))
}

/// A seal as it was exported.
struct Sealed {
    number: i64,
    header: String,
    digest: Sha256,
    signature: Vec<u8>,
    members: Sha256,
    key: String,
}

impl Sealed {
    fn read(line: &str) -> Option<Self> {
        let seal: Value = serde_json::from_str(line).ok()?;
        let header = seal.get("header")?.as_str()?.to_owned();
        let told: Value = serde_json::from_str(&header).ok()?;
        let number = seal.get("seq")?.as_i64()?;
        if told.get("seq")?.as_i64()? != number {
            return None;
        }
        Some(Self {
            number,
            digest: values::sha256(seal.get("digest")?.as_str()?)?,
            signature: unhex(seal.get("signature")?.as_str()?)?,
            members: values::sha256(told.get("members")?.as_str()?)?,
            key: told.get("key")?.as_str()?.to_owned(),
            header,
        })
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some((digit(*high)? << 4) | digit(*low)?),
        _ => None,
    });
    pairs.collect()
}

enum Key {
    Found {
        pem: Vec<u8>,
        /// Whether whoever checks gave it.
        is_trusted: bool,
    },
    Missing,
}

/// The public key of an id: of those that were given, else the one in the package.
fn key(package: &mut Package, id: &str) -> Result<Key> {
    let is = |pem: &[u8]| TrustedKeys::id_of_pem(pem).is_ok_and(|of| of == id);
    if let Some(pem) = package.trusted.iter().find(|pem| is(pem)) {
        return Ok(Key::Found { pem: pem.clone(), is_trusted: true });
    }
    let path = format!("audit/seal-key-{id}.pem");
    // Where keys were given, those of the package count for nothing.
    if !package.trusted.is_empty() || !package.has(&path) {
        return Ok(Key::Missing);
    }
    let pem = package.small(&path)?;
    Ok(if is(&pem) { Key::Found { pem, is_trusted: false } } else { Key::Missing })
}

fn is_signed(pem: &[u8], seal: &Sealed) -> bool {
    let verified = PKey::public_key_from_pem(pem).and_then(|key| {
        let mut verifier = Verifier::new_without_digest(&key)?;
        verifier.verify_oneshot(&seal.signature, &seal.digest.0)
    });
    // An error means that the signature is malformed, so it is not valid.
    verified.unwrap_or(false)
}

/// Whether seals cover the events as they are here.
fn sealed(events: &[String], members: &HashSet<(Uuid, Sha256)>, more: bool) -> Check {
    if events.is_empty() {
        return Check::open(EVENTS_CHECK, "none is here: their month was removed from the audit trail");
    }
    let id = |event: &str| event_id(&serde_json::from_str::<Value>(event).ok()?);
    let ids: HashSet<Uuid> = members.iter().map(|(id, _)| *id).collect();
    let (mut covered, mut changed) = (0, Vec::new());
    for event in events {
        let Some(id) = id(event) else { return Check::fails(EVENTS_CHECK, "a line is no event") };
        if members.contains(&(id, Sha256(sha256(event.as_bytes())))) {
            covered += 1;
        } else if ids.contains(&id) {
            changed.push(id.to_string());
        }
    }
    if !changed.is_empty() {
        return Check::fails(EVENTS_CHECK, format!("changed since they were sealed: {}", changed.join(", ")));
    }
    let more = if more { "; there are more than are here" } else { "" };
    let found = format!("{covered} of {} are as they were sealed{more}", events.len());
    if covered == events.len() { Check::holds(EVENTS_CHECK, found) } else { Check::open(EVENTS_CHECK, found) }
}

/// The digest of what is here, as the gateway made it.
fn digest(package: &mut Package) -> Result<Sha256> {
    let names: Vec<String> = package.manifest.pieces.keys().cloned().collect();
    let mut pieces = BTreeMap::new();
    for name in names {
        if let Some(bytes) = package.piece(&name)? {
            pieces.insert(name, bytes);
        }
    }
    let payload = package.manifest.content.as_ref().map(|content| content.payload);
    let about = Value::Object(package.manifest.message.clone());
    Ok(evidence_digest(&about, &store::evidence_pieces(&pieces), payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::as2::verify::Outcome;
    use serde_json::json;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn recorded(name: &str) -> Value {
        let detail = json!({ "file_name": name, "bytes": 3, "sha256": "ab".repeat(32) });
        json!({ "kind": "transfer.recorded", "transfer": ID, "detail": detail })
    }

    fn outcome(sealed: Vec<Value>, unsealed: Vec<Value>, is_trusted: bool) -> Outcome {
        let facts = json!({ "transfer": ID, "file_name": "a.edi", "bytes": 3, "sha256": "ab".repeat(32) });
        let facts: TransferFacts = serde_json::from_value(facts).unwrap();
        Trail { checks: Vec::new(), sealed, unsealed, is_trusted }.transfer(&facts).outcome
    }

    #[test]
    fn only_what_a_trusted_key_sealed_holds() {
        let (same, other) = (recorded("a.edi"), recorded("b.edi"));
        assert_eq!(outcome(vec![same.clone()], Vec::new(), true), Outcome::Holds);
        assert_eq!(outcome(vec![same.clone()], Vec::new(), false), Outcome::Open);
        assert_eq!(outcome(Vec::new(), vec![same.clone()], true), Outcome::Open);
        assert_eq!(outcome(Vec::new(), Vec::new(), true), Outcome::Open);
        // An unsealed line does not outweigh a sealed one.
        assert_eq!(outcome(vec![other.clone()], vec![same], true), Outcome::Fails);
        assert_eq!(outcome(Vec::new(), vec![other], true), Outcome::Fails);
    }
}
