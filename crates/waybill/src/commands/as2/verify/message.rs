//! The message itself: its signature, its MIC, its receipt, and the certificates.

use super::Check;
use super::package::{Package, hashed};
use super::signature::{chain, signature_and_mic, weak, weak_mic};
use super::signer::{Known, Signer, Verifier};
use super::trail::Trail;
use control::evidence::{CONTENT, RECEIPT_FILE};
use model::evidence::{PGP_RECEIPT_SIGNER, PGP_SIGNER, RECEIPT_SIGNER, SIGNED_HEAD, SIGNER};
use model::{PeerText, Result, Sha256, quoted};
use openssl::x509::X509;
use pgp_mime::PartnerKey;
use smime::{Headers, Limits, Mic};
use std::sync::Arc;
use transport_as2::mdn::{self, SignatureState, Trust};

const RECEIPT_CHECK: &str = "receipt";
const CERTIFICATE_CHECK: &str = "certificate";
const DATES_CHECK: &str = "certificate dates";

pub(super) fn checks(package: &mut Package, trail: &Trail) -> Result<Vec<Check>> {
    let mut checks = vec![content(package, trail)?];
    checks.extend(payload(package)?);
    let signer = match (package.piece(PGP_SIGNER)?, package.piece(SIGNER)?) {
        (Some(armour), _) => Signer::of_armour(&armour),
        (None, Some(der)) => X509::from_der(&der).ok().map(Signer::Certificate),
        (None, None) => None,
    };
    let signed = signature_and_mic(package, signer.as_ref())?;
    checks.extend(signed.checks);
    let receipt_signers = receipt_signers(package)?;
    let confirmed = receipt(package, &receipt_signers)?;
    checks.extend(confirmed.checks);
    let (by_sender, by_receiver) = ("the message was signed", "the receipt was signed");
    let (senders, receivers) = (&package.senders, &package.receivers);
    match (&signed.by, &signer) {
        (Some(by), _) => checks.extend(certificate(package, by, by_sender, senders)),
        (None, Some(signer)) => checks.push(unverified(signer, senders)),
        (None, None) => {}
    }
    let receipt_signer = confirmed.by.as_ref();
    checks.extend(receipt_signer.iter().flat_map(|by| certificate(package, by, by_receiver, receivers)));
    let prints = (
        signer.as_ref().and_then(Signer::fingerprint),
        receipt_signer.and_then(|by| by.signer.fingerprint()),
    );
    if let (Some(by_sender), Some(by_receiver)) = prints
        && by_sender == by_receiver
    {
        let found =
            "message and receipt were signed with the same one: whoever sent the message confirmed it too";
        checks.push(Check::fails(CERTIFICATE_CHECK, found));
    }
    Ok(checks)
}

/// Whether the content is the one that was recorded.
fn content(package: &mut Package, trail: &Trail) -> Result<Check> {
    const WHAT: &str = "content";
    let Some(facts) = &package.manifest.content else {
        return Ok(Check::open(
            WHAT,
            "what was signed was not kept: neither can be the signature over it be checked",
        ));
    };
    let (bytes, expected, removed) = (facts.bytes, facts.sha256, facts.removed);
    // Of a message whose payload is all that was signed, the event that recorded it says which bytes they are.
    let sealed = trail.payload(facts.payload);
    if sealed.is_some_and(|sealed| expected != Some(sealed)) {
        return Ok(Check::fails(WHAT, "its SHA-256 is not the one in the event that recorded the message"));
    }
    let Some(content) = package.content()? else {
        let removed = removed.map(|at| format!(" on {}", at.to_rfc3339())).unwrap_or_default();
        return Ok(Check::open(
            WHAT,
            format!(
                "it was removed{removed}; it had {bytes} bytes and SHA-256 {}: give the file with --payload",
                expected.map(|hash| hash.to_string()).unwrap_or_default()
            ),
        ));
    };
    Ok(match hashed(content) {
        Ok((length, hash)) => {
            let is_same = length == bytes && expected == Some(hash);
            let by = if sealed.is_some() { "a sealed event" } else { "evidence.json" };
            Check::is(WHAT, is_same, format!("{length} bytes, SHA-256 {hash}; recorded in {by}"))
        }
        Err(error) => Check::fails(WHAT, error.chain()),
    })
}

/// Whether a file from elsewhere is the content that the package has, or a file of the message. Where the content was removed
/// from the package, the file takes its place in the other checks.
fn payload(package: &Package) -> Result<Option<Check>> {
    const WHAT: &str = "payload";
    let manifest = &package.manifest;
    if manifest.content.is_some() && !package.has(CONTENT) {
        return Ok(None);
    }
    let Some((bytes, hash)) = package.given()? else { return Ok(None) };
    let found = format!("the file has {bytes} bytes and SHA-256 {hash}");
    let is_same = |length: u64, sha256: Option<Sha256>| length == bytes && sha256 == Some(hash);
    let of_message = manifest.transfers.iter().find(|of| is_same(of.bytes, of.sha256));
    Ok(Some(match (&manifest.content, of_message) {
        (Some(content), _) if is_same(content.bytes, content.sha256) => {
            Check::holds(WHAT, format!("{found}, as the content"))
        }
        // Several parts, a transfer encoding, a layer inside the signature.
        (_, Some(of)) => Check::open(
            WHAT,
            format!(
                "{found}, as the package says of {}; signature and MIC cover other bytes, and whether the file is in them was \
                 not checked",
                quoted(&of.file_name)
            ),
        ),
        (Some(content), None) => {
            let expected = content.sha256.map(|hash| hash.to_string()).unwrap_or_default();
            let found = format!("{found}; the content has {} bytes and SHA-256 {expected}", content.bytes);
            Check::fails(WHAT, found)
        }
        (None, None) if manifest.transfers.is_empty() => {
            Check::open(WHAT, format!("{found}; the package names nothing to compare it with"))
        }
        (None, None) => Check::fails(WHAT, format!("{found}, and no file of the message has these")),
    }))
}

/// The certificates and OpenPGP keys that may have signed the receipt.
fn receipt_signers(package: &mut Package) -> Result<Vec<Signer>> {
    let names: Vec<String> = package.manifest.pieces.keys().cloned().collect();
    let mut signers = Vec::new();
    for name in names {
        if name.starts_with(RECEIPT_SIGNER) {
            let der = package.piece(&name)?.unwrap_or_default();
            signers.extend(X509::from_der(&der).ok().map(Signer::Certificate));
        } else if name.starts_with(PGP_RECEIPT_SIGNER) {
            signers.extend(Signer::of_armour(&package.piece(&name)?.unwrap_or_default()));
        }
    }
    Ok(signers)
}

/// What a receipt showed.
struct Confirmed {
    checks: Vec<Check>,
    /// What verified it.
    by: Option<Verifier>,
}

impl Confirmed {
    fn only(check: Check) -> Self {
        Self { checks: vec![check], by: None }
    }
}

/// The receipt: who confirmed which message, and which bytes of it.
fn receipt(package: &mut Package, signers: &[Signer]) -> Result<Confirmed> {
    if !package.has(RECEIPT_FILE) {
        let status = package.manifest.receipt.as_ref().and_then(|receipt| receipt.get("summary")?.as_str());
        let found = match status {
            Some(status) => format!("there is no MDN; the partner's server answered {status}"),
            None => "there is no MDN: none was asked for".to_owned(),
        };
        return Ok(Confirmed::only(Check::open(RECEIPT_CHECK, found)));
    }
    let entity = package.small(RECEIPT_FILE)?;
    let (headers, body) = match Headers::parse(&entity, &Limits::default()) {
        Ok(parsed) => parsed,
        Err(error) => return Ok(Confirmed::only(Check::fails(RECEIPT_CHECK, chain(&error)))),
    };
    let certificates: Vec<X509> = signers.iter().filter_map(Signer::certificate).cloned().collect();
    let keys: Vec<Arc<PartnerKey>> = signers.iter().filter_map(Signer::key).cloned().collect();
    let trust = Trust {
        certificates: &certificates,
        pgp: &keys,
        now: package.manifest.recorded.into(),
        accept_expired: true,
        legacy: true,
    };
    let read = match mdn::read(&headers, body, trust) {
        Ok(read) => read,
        Err(error) => return Ok(Confirmed::only(Check::fails(RECEIPT_CHECK, error.chain()))),
    };
    let disposition = read.mdn.disposition.to_string();
    let (signature, by) = match &read.signature {
        SignatureState::Proved(proved) => {
            let signer =
                signers.iter().find(|known| known.fingerprint().as_ref() == Some(&proved.certificate));
            let owner = signer.map(Signer::owner).unwrap_or_default();
            let component = proved.component.clone();
            let by = signer.cloned().map(|signer| Verifier { signer, component });
            let weak = weak(&proved.weaknesses);
            (Check::holds(RECEIPT_CHECK, format!("{owner} signed {disposition}{weak}")), by)
        }
        SignatureState::None => (
            Check::open(
                RECEIPT_CHECK,
                format!("{disposition}; it is not signed: it does not prove who wrote it"),
            ),
            None,
        ),
        SignatureState::Unproved(unproved) => {
            (Check::fails(RECEIPT_CHECK, format!("{disposition}; {}", unproved.reason)), None)
        }
    };
    let mut checks = vec![signature];
    let says_yes = read.mdn.disposition.is_positive() || read.mdn.disposition.is_duplicate();
    checks.push(match &read.unknown_type {
        // The package does not hold what was agreed with the partner about such receipts.
        Some(kind) => Check::open(
            "disposition",
            format!(
                "{:?} in a receipt of the type {:?}: what it means was agreed with the partner",
                read.mdn.text,
                PeerText::from(kind.as_str()).as_str()
            ),
        ),
        None => Check::is("disposition", says_yes, disposition),
    });
    checks.push(match &read.mdn.original_message_id {
        Some(id) => {
            let id = PeerText::from(id.as_str()).as_str().to_owned();
            Check::is("Original-Message-ID", same_id(&id, &package.facts.message_id), id)
        }
        None => Check::open("Original-Message-ID", "the receipt names none"),
    });
    checks.push(received_mic(package, read.mdn.mic.as_deref())?);
    Ok(Confirmed { checks, by })
}

/// The MIC that the receipt names, against that of the message. A partner may make it by another rule: then one of the
/// other forms of the content must have it.
fn received_mic(package: &mut Package, received: Option<&str>) -> Result<Check> {
    const WHAT: &str = "Received-content-MIC";
    let Some(received) = received else { return Ok(Check::open(WHAT, "the receipt names none")) };
    let shown = PeerText::from(received).as_str().to_owned();
    let told = package.facts.mic.as_deref().and_then(Mic::parse);
    let Some(theirs) = Mic::parse(received) else {
        // Some leave the algorithm out.
        let digest = received.split(',').next().unwrap_or_default().trim();
        let same = told.filter(|told| told.base64() == digest);
        let weak = same.as_ref().map(weak_mic).unwrap_or_default();
        return Ok(Check::is(WHAT, same.is_some(), format!("{shown}{weak}")));
    };
    let weak = weak_mic(&theirs);
    if told.as_ref() == Some(&theirs) {
        return Ok(Check::holds(WHAT, format!("{shown}{weak}")));
    }
    let (Some(head), Some(content)) = (package.piece(SIGNED_HEAD)?, package.content()?) else {
        // By which other rule it was made shows only with the content.
        let found = format!("{shown} differs from the MIC of the message; give the content with --payload");
        return Ok(Check::open(WHAT, found));
    };
    let head = head.strip_suffix(b"\r\n").unwrap_or(&head);
    Ok(match smime::every_mic(head, content, theirs.algorithm) {
        Ok(every) => match every.into_iter().find(|ruled| ruled.mic == theirs) {
            Some(ruled) => {
                Check::holds(WHAT, format!("{shown}, made of the {}{weak}", ruled.rule.describe()))
            }
            None => Check::fails(WHAT, format!("{shown} differs from every MIC of the message")),
        },
        Err(error) => Check::fails(WHAT, chain(&error)),
    })
}

/// Whose certificate or key the package has of a signature that nothing has verified.
fn unverified(signer: &Signer, known: &[Signer]) -> Check {
    let (what, print) = (signer.describe(), signer.fingerprint());
    let is_other = !known.is_empty() && known.iter().all(|known| known.fingerprint() != print);
    let found = format!("the package has {what}; no signature by it was verified");
    if is_other { Check::fails(CERTIFICATE_CHECK, found) } else { Check::open(CERTIFICATE_CHECK, found) }
}

/// Whose certificate or key has verified a signature, and whether it was valid then.
fn certificate(package: &Package, by: &Verifier, signed: &str, known: &[Signer]) -> Vec<Check> {
    let what = by.signer.describe();
    let how: Vec<Known> = known.iter().map(|known| by.is_known_as(known)).collect();
    let open = |why: &str| Check::open(CERTIFICATE_CHECK, format!("{signed} with {what}: {why}"));
    let whose = if known.is_empty() {
        open("compare it with the one that you know")
    } else if how.contains(&Known::Revoked) {
        open("the key that you gave is revoked; whether that was before the message, its owner must say")
    } else if how.contains(&Known::WithoutIt) && !how.contains(&Known::Yes) {
        open("the key that you gave does not have the subkey that signed, or has revoked it")
    } else {
        Check::is(CERTIFICATE_CHECK, how.contains(&Known::Yes), format!("{signed} with {what}"))
    };
    let dates = match by.validity(package.manifest.recorded) {
        Ok((true, found)) => Check::holds(DATES_CHECK, found),
        // Where the partner's accept_expired allowed it.
        Ok((false, found)) => {
            Check::open(DATES_CHECK, format!("{found}: not valid when the message was recorded"))
        }
        Err(error) => Check::open(DATES_CHECK, error),
    };
    vec![whose, dates]
}

fn same_id(a: &str, b: &str) -> bool {
    let bare = |id: &str| id.trim().trim_start_matches('<').trim_end_matches('>').to_owned();
    bare(a) == bare(b)
}
