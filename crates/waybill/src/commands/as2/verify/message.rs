//! The message itself: its signature, its MIC, its receipt, and the certificates.

use super::Check;
use super::package::{Package, SMALL, hashed};
use super::trail::Trail;
use control::evidence::RECEIPT_FILE;
use model::evidence::{RECEIPT_SIGNER, SIGNATURE, SIGNED_HEAD, SIGNER};
use model::{PeerText, Result, Sha256};
use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::x509::{X509, X509NameRef};
use smime::{Detached, Headers, Limits, Mic, MicReader, ReadOptions, stated_digest, verify_detached};
use std::io::Read;
use transport_as2::mdn::{self, SignatureState, Trust};

const SIGNATURE_CHECK: &str = "signature";
const MIC_CHECK: &str = "MIC";
const RECEIPT_CHECK: &str = "receipt";
const CERTIFICATE_CHECK: &str = "certificate";
const DATES_CHECK: &str = "certificate dates";

pub(super) fn checks(package: &mut Package, trail: &Trail) -> Result<Vec<Check>> {
    let mut checks = vec![content(package, trail)?];
    let signer = match package.piece(SIGNER)? {
        Some(der) => X509::from_der(&der).ok(),
        None => None,
    };
    checks.extend(signature_and_mic(package, signer.as_ref())?);
    let receipt_signers = receipt_signers(package)?;
    let confirmed = receipt(package, &receipt_signers)?;
    checks.extend(confirmed.checks);
    let (by_sender, by_receiver) = ("the message was signed", "the receipt was signed");
    let (senders, receivers) = (&package.senders, &package.receivers);
    checks.extend(signer.iter().flat_map(|signer| certificate(package, signer, by_sender, senders)));
    let receipt_signer = confirmed.signer.as_ref();
    checks.extend(
        receipt_signer.iter().flat_map(|signer| certificate(package, signer, by_receiver, receivers)),
    );
    let prints = (signer.as_ref().and_then(fingerprint), receipt_signer.and_then(fingerprint));
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

/// The signature over the content, and its digest as the MIC says it.
fn signature_and_mic(package: &mut Package, signer: Option<&X509>) -> Result<Vec<Check>> {
    let mic = package.facts.mic.clone();
    let told = mic.as_deref().and_then(Mic::parse);
    let Some(signature) = package.piece(SIGNATURE)? else {
        if package.facts.signer.is_some() {
            let check = Check::fails(SIGNATURE_CHECK, "the message was signed, and its signature is missing");
            return Ok(vec![check, unsigned_mic(package, told.as_ref())?]);
        }
        let check = Check::open(SIGNATURE_CHECK, "the message was not signed: it does not prove who sent it");
        return Ok(vec![check, unsigned_mic(package, told.as_ref())?]);
    };
    let Some(signer) = signer else {
        return Ok(vec![Check::fails(SIGNATURE_CHECK, "the certificate that verifies it is missing")]);
    };
    // The limit is for one element of a message; here they are all together, with their certificates.
    let limits = Limits { element_bytes: SMALL, ..Limits::default() };
    let options = ReadOptions { limits, accept_weak: true, accept_expired: true, ..ReadOptions::default() };
    let certificates = std::slice::from_ref(signer);
    let covered = package.covered()?;
    let is_whole = covered.is_some();
    let proved = match covered {
        Some(covered) => verify_detached(covered, &signature, certificates, &options),
        None => stated_digest(&signature, certificates, &options),
    };
    let Detached { proof, mic: found } = match proved {
        Ok(proved) => proved,
        // Without signed attributes a signature is over the content itself, and states no digest of it.
        Err(error @ smime::Error::Unsupported(_)) if !is_whole => {
            let found = format!("nothing can be said of it without the content: {}", chain(&error));
            return Ok(vec![Check::open(SIGNATURE_CHECK, found), unsigned_mic(package, told.as_ref())?]);
        }
        Err(error) => return Ok(vec![Check::fails(SIGNATURE_CHECK, chain(&error))]),
    };
    let by = subject(signer.subject_name());
    let mut said = match is_whole {
        true => format!("{by} signed exactly these bytes"),
        false => format!("{by} signed content of the digest {found}; the content itself is not here"),
    };
    if !proof.weaknesses.is_empty() {
        let weak: Vec<String> = proof.weaknesses.iter().map(ToString::to_string).collect();
        said.push_str(&format!("; weak by today's measure: {}", weak.join(", ")));
    }
    let check =
        if is_whole { Check::holds(SIGNATURE_CHECK, said) } else { Check::open(SIGNATURE_CHECK, said) };
    Ok(vec![check, same_mic(told.as_ref(), &found)])
}

fn same_mic(told: Option<&Mic>, found: &Mic) -> Check {
    match told {
        Some(told) => Check::is(MIC_CHECK, told == found, format!("{found}")),
        None => Check::open(MIC_CHECK, "none is recorded"),
    }
}

/// The MIC of a message without a signature.
fn unsigned_mic(package: &mut Package, told: Option<&Mic>) -> Result<Check> {
    let Some(told) = told else { return Ok(Check::open(MIC_CHECK, "none is recorded")) };
    let Some(covered) = package.covered()? else {
        return Ok(Check::open(MIC_CHECK, format!("{told}; the bytes that it covers are not here")));
    };
    Ok(match digest(covered, told) {
        Ok(Some(found)) => same_mic(Some(told), &found),
        Ok(None) => Check::open(MIC_CHECK, format!("{told}; this machine does not compute such digests")),
        Err(error) => Check::fails(MIC_CHECK, error.to_string()),
    })
}

fn digest(content: impl Read, told: &Mic) -> std::io::Result<Option<Mic>> {
    let Ok(mut reader) = MicReader::new(content, told.algorithm) else { return Ok(None) };
    std::io::copy(&mut reader, &mut std::io::sink())?;
    Ok(reader.slot().get().cloned())
}

/// The certificates that may have signed the receipt.
fn receipt_signers(package: &mut Package) -> Result<Vec<X509>> {
    let names: Vec<String> =
        package.manifest.pieces.keys().filter(|name| name.starts_with(RECEIPT_SIGNER)).cloned().collect();
    let mut signers = Vec::new();
    for name in names {
        let der = package.piece(&name)?.unwrap_or_default();
        signers.extend(X509::from_der(&der).ok());
    }
    Ok(signers)
}

/// What a receipt showed.
struct Confirmed {
    checks: Vec<Check>,
    /// The certificate that verified it.
    signer: Option<X509>,
}

impl Confirmed {
    fn only(check: Check) -> Self {
        Self { checks: vec![check], signer: None }
    }
}

/// The receipt: who confirmed which message, and which bytes of it.
fn receipt(package: &mut Package, signers: &[X509]) -> Result<Confirmed> {
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
    let trust = Trust {
        certificates: signers,
        pgp: &[],
        now: package.manifest.recorded.into(),
        accept_expired: true,
        legacy: true,
    };
    let read = match mdn::read(&headers, body, trust) {
        Ok(read) => read,
        Err(error) => return Ok(Confirmed::only(Check::fails(RECEIPT_CHECK, error.chain()))),
    };
    let disposition = read.mdn.disposition.to_string();
    let (signature, signer) = match &read.signature {
        SignatureState::Proved(proved) => {
            let signer =
                signers.iter().find(|known| fingerprint(known).as_ref() == Some(&proved.certificate));
            let by = signer.map(|known| subject(known.subject_name())).unwrap_or_default();
            (Check::holds(RECEIPT_CHECK, format!("{by} signed {disposition}")), signer.cloned())
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
    Ok(Confirmed { checks, signer })
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
        let is_same = told.is_some_and(|told| told.base64() == digest);
        return Ok(Check::is(WHAT, is_same, shown));
    };
    if told.as_ref() == Some(&theirs) {
        return Ok(Check::holds(WHAT, shown));
    }
    let (Some(head), Some(content)) = (package.piece(SIGNED_HEAD)?, package.content()?) else {
        // By which other rule it was made shows only with the content.
        let found = format!("{shown} differs from the MIC of the message; give the content with --payload");
        return Ok(Check::open(WHAT, found));
    };
    let head = head.strip_suffix(b"\r\n").unwrap_or(&head);
    Ok(match smime::every_mic(head, content, theirs.algorithm) {
        Ok(every) => match every.into_iter().find(|ruled| ruled.mic == theirs) {
            Some(ruled) => Check::holds(WHAT, format!("{shown}, made of the {}", ruled.rule.describe())),
            None => Check::fails(WHAT, format!("{shown} differs from every MIC of the message")),
        },
        Err(error) => Check::fails(WHAT, chain(&error)),
    })
}

/// Whose certificate it is, and whether it was valid then.
fn certificate(package: &Package, certificate: &X509, signed: &str, known: &[X509]) -> Vec<Check> {
    let of = subject(certificate.subject_name());
    let print = fingerprint(certificate).unwrap_or_default();
    let whose = match known {
        [] => Check::open(
            CERTIFICATE_CHECK,
            format!("{signed} with that of {of}, SHA-256 {print}: compare it with the one that you know"),
        ),
        known => Check::is(
            CERTIFICATE_CHECK,
            known.iter().any(|known| fingerprint(known).as_ref() == Some(&print)),
            format!("{signed} with that of {of}, SHA-256 {print}"),
        ),
    };
    let then = Asn1Time::from_unix(package.manifest.recorded.timestamp());
    let dates = match then {
        Ok(then) => {
            let is_valid = certificate.not_before() <= then && certificate.not_after() >= then;
            let found = format!("from {} to {}", certificate.not_before(), certificate.not_after());
            match is_valid {
                true => Check::holds(DATES_CHECK, found),
                // Where the partner's accept_expired allowed it.
                false => {
                    Check::open(DATES_CHECK, format!("{found}: not valid when the message was recorded"))
                }
            }
        }
        Err(error) => Check::open(DATES_CHECK, error.to_string()),
    };
    vec![whose, dates]
}

fn fingerprint(certificate: &X509) -> Option<String> {
    let digest = certificate.digest(MessageDigest::sha256()).ok()?;
    let digest: [u8; 32] = digest.to_vec().try_into().ok()?;
    Some(Sha256(digest).to_string())
}

/// A name as people read it: its parts with commas between.
fn subject(name: &X509NameRef) -> String {
    let part = |entry: &openssl::x509::X509NameEntryRef| {
        let kind = entry.object().nid().short_name().unwrap_or("?").to_owned();
        let value = entry.data().to_string().unwrap_or_default();
        PeerText::from(format!("{kind}={value}").as_str()).as_str().to_owned()
    };
    name.entries().map(part).collect::<Vec<_>>().join(", ")
}

fn same_id(a: &str, b: &str) -> bool {
    let bare = |id: &str| id.trim().trim_start_matches('<').trim_end_matches('>').to_owned();
    bare(a) == bare(b)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
