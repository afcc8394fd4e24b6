//! The signature of a message over its content, and its MIC.

use super::Check;
use super::package::{Package, SMALL};
use super::signer::{Signer, Verifier};
use model::Result;
use model::evidence::{Covered, PGP_SIGNATURE, SIGNATURE};
use pgp_mime::PartnerKey;
use smime::{Detached, Limits, Mic, MicReader, ReadOptions, Weakness, stated_digest, verify_detached};
use std::io::Read;
use std::sync::Arc;

const SIGNATURE_CHECK: &str = "signature";
const MIC_CHECK: &str = "MIC";

/// What the signature of a message showed.
pub(super) struct Shown {
    pub(super) checks: Vec<Check>,
    /// What verified it; none where nothing did.
    pub(super) by: Option<Verifier>,
}

impl Shown {
    const fn nothing(checks: Vec<Check>) -> Self {
        Self { checks, by: None }
    }
}

/// The signature over the content, and its digest as the MIC says it.
pub(super) fn signature_and_mic(package: &mut Package, signer: Option<&Signer>) -> Result<Shown> {
    let mic = package.facts.mic.clone();
    let told = mic.as_deref().and_then(Mic::parse);
    let signature = match (package.piece(PGP_SIGNATURE)?, package.piece(SIGNATURE)?) {
        (Some(_), Some(_)) => {
            let check = Check::fails(SIGNATURE_CHECK, "there are two: a message is signed once");
            return Ok(Shown::nothing(vec![check, unsigned_mic(package, told.as_ref())?]));
        }
        (Some(signature), None) => {
            return by_pgp(package, &signature, signer.and_then(Signer::key), told.as_ref());
        }
        (None, signature) => signature,
    };
    let Some(signature) = signature else {
        if package.facts.signer.is_some() {
            let check = Check::fails(SIGNATURE_CHECK, "the message was signed, and its signature is missing");
            return Ok(Shown::nothing(vec![check, unsigned_mic(package, told.as_ref())?]));
        }
        let check = Check::open(SIGNATURE_CHECK, "the message was not signed: it does not prove who sent it");
        return Ok(Shown::nothing(vec![check, unsigned_mic(package, told.as_ref())?]));
    };
    let Some(signer) = signer.and_then(Signer::certificate) else {
        let check = Check::fails(SIGNATURE_CHECK, "the certificate that verifies it is missing");
        return Ok(Shown::nothing(vec![check]));
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
            let check = Check::open(SIGNATURE_CHECK, found);
            return Ok(Shown::nothing(vec![check, unsigned_mic(package, told.as_ref())?]));
        }
        Err(error) => return Ok(Shown::nothing(vec![Check::fails(SIGNATURE_CHECK, chain(&error))])),
    };
    let by = Signer::Certificate(signer.clone()).owner();
    let mut said = match is_whole {
        true => format!("{by} signed exactly these bytes"),
        false => format!("{by} signed content of the digest {found}; the content itself is not here"),
    };
    said.push_str(&weak(&proof.weaknesses));
    let check =
        if is_whole { Check::holds(SIGNATURE_CHECK, said) } else { Check::open(SIGNATURE_CHECK, said) };
    let by = Some(Verifier { signer: Signer::Certificate(signer.clone()), component: None });
    Ok(Shown { checks: vec![check, same_mic(told.as_ref(), &found)], by })
}

/// The same of a signature by OpenPGP. It states no digest: without the content nothing can be said of it. The MIC is that of the
/// exact bytes, also where the signature is one over text.
fn by_pgp(
    package: &mut Package,
    signature: &[u8],
    signer: Option<&Arc<PartnerKey>>,
    told: Option<&Mic>,
) -> Result<Shown> {
    let Some(signer) = signer else {
        let check = Check::fails(SIGNATURE_CHECK, "the OpenPGP key that verifies it is missing");
        return Ok(Shown::nothing(vec![check]));
    };
    let recorded = package.manifest.recorded;
    let is_kept = package.facts.covered != Covered::NotKept;
    let Some(covered) = package.covered()? else {
        let found = match is_kept {
            true => "nothing can be said of it without the content: give the content with --payload",
            false => "nothing can be said of it: what was signed was not kept",
        };
        return Ok(Shown::nothing(vec![Check::open(SIGNATURE_CHECK, found), unsigned_mic(package, told)?]));
    };
    let options = pgp_mime::ReadOptions {
        limits: Limits { element_bytes: SMALL, ..Limits::default() },
        mic: told.map(|told| told.algorithm).into_iter().collect(),
        valid_at: Some(recorded.into()),
        accept_weak: true,
        accept_expired: true,
        ..pgp_mime::ReadOptions::default()
    };
    let pgp_mime::Detached { proof, mics } =
        match pgp_mime::verify_detached(covered, signature, &[signer.as_ref()], &options) {
            Ok(verified) => verified,
            Err(error) => return Ok(Shown::nothing(vec![Check::fails(SIGNATURE_CHECK, chain(&error))])),
        };
    let by = Signer::Key(Arc::clone(signer)).owner();
    let said = format!("{by} signed exactly these bytes{}", weak(&proof.weaknesses));
    let algorithm = told.map_or(proof.digest, |told| told.algorithm);
    let mic = match mics.iter().find(|mic| mic.algorithm == algorithm) {
        Some(found) => same_mic(told, found),
        None => Check::open(MIC_CHECK, "this machine does not compute such digests"),
    };
    let by = Some(Verifier { signer: Signer::Key(Arc::clone(signer)), component: Some(proof.component) });
    Ok(Shown { checks: vec![Check::holds(SIGNATURE_CHECK, said), mic], by })
}

/// What of a signature is weak, in words to append.
pub(super) fn weak(weaknesses: &[Weakness]) -> String {
    let weak: Vec<String> = weaknesses.iter().map(ToString::to_string).collect();
    if weak.is_empty() { String::new() } else { format!("; weak by today's measure: {}", weak.join(", ")) }
}

/// The same of a MIC.
pub(super) fn weak_mic(mic: &Mic) -> String {
    weak(Weakness::of_digest(mic.algorithm).as_slice())
}

fn same_mic(told: Option<&Mic>, found: &Mic) -> Check {
    match told {
        Some(told) => Check::is(MIC_CHECK, told == found, format!("{found}{}", weak_mic(found))),
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

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
