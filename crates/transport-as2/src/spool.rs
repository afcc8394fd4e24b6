//! Messages that cannot be made again exactly are written to staging whole before they are sent: zlib promises no equal
//! output from one version to the next. The other messages are made again for each attempt.

use crate::noted_signature;
use crate::pgp_keys::PgpNames;
use crate::pgp_signature::NotedPgpSignature;
use crate::streaming::{CHUNK, stream_error};
use model::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use smime::{Measured, Mic, MicSlot, NameStyle, Signature};
use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::sync::Arc;
use transport::{Deliver, KeptBytes, Payload, Services, StagedPayload};

/// The key of the note.
pub(crate) const NOTE: &str = "as2_spool";
/// What the note has of a signature that would differ if it were made again: the evidence of the message needs it.
const SIGNATURE: &str = "signature";
/// The same of a signature by OpenPGP, with the key that verifies it.
const PGP_SIGNATURE: &str = "pgp_signature";

/// The names of the OpenPGP keys that the message was made with.
const PGP_NAMES: &str = "pgp_keys";

/// A message's body in staging.
#[derive(Clone)]
pub(crate) struct Spooled {
    body: Arc<dyn Payload>,
    /// The MIC that the receipt must show.
    mic: Mic,
    /// Its signature, if that would differ if it were made again.
    pub(crate) signature: Option<Signature>,
    /// Its signature by OpenPGP, if it has one.
    pub(crate) pgp_signature: Option<NotedPgpSignature>,
    /// The OpenPGP keys that it was made with.
    pub(crate) pgp_names: PgpNames,
}

/// The signatures that were made with a message.
#[derive(Default)]
pub(crate) struct MadeSignatures {
    /// One by S/MIME that would differ if it were made again.
    pub(crate) signature: Option<Signature>,
    /// One by OpenPGP.
    pub(crate) pgp_signature: Option<NotedPgpSignature>,
    /// The keys that it was made with by OpenPGP.
    pub(crate) pgp_names: PgpNames,
}

/// A body from staging. Its MIC is told once all of it was read: a receipt that comes before is none for this message.
struct FromStaging<R> {
    body: smime::Payload<R>,
    mic: Mic,
    slot: MicSlot,
}

impl<R: io::Read> io::Read for FromStaging<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.body.read(out)?;
        if count == 0 && !out.is_empty() {
            self.slot.set(self.mic.clone());
        }
        Ok(count)
    }
}

impl<R: io::Read> Measured for FromStaging<R> {
    fn total_len(&self) -> Option<u64> {
        self.body.total_len()
    }
}

impl Spooled {
    /// The body, under its content coding.
    pub(crate) fn body(&self) -> Arc<dyn Payload> {
        Arc::clone(&self.body)
    }

    /// The body from a byte on, and the slot that its MIC is put into.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) async fn open(&self, from: u64) -> Result<(Box<dyn Measured + Send>, MicSlot)> {
        let (body, length) = (Arc::clone(&self.body), self.body.length());
        let opened = tokio::task::spawn_blocking(move || body.open_blocking(from..length)).await;
        let reader = opened.map_err(|error| {
            Error::transient(ErrorKind::Internal, "open a message in staging").caused_by(error)
        })??;
        let slot = MicSlot::default();
        let body = smime::Payload::new(reader, length.saturating_sub(from));
        Ok((Box::new(FromStaging { body, mic: self.mic.clone(), slot: slot.clone() }), slot))
    }
}

/// Whether an earlier attempt wrote this message.
///
/// # Errors
/// Its note cannot be read.
pub(crate) fn is_kept(notes: &BTreeMap<String, Value>, message_id: &str) -> Result<bool> {
    let Some(note) = notes.get(NOTE) else { return Ok(false) };
    Ok(text(&KeptBytes::of(note)?.about, "message_id")? == message_id)
}

/// The body that an earlier attempt wrote for a message, or this one, durable. `signed` tells the signatures that were made with it.
///
/// # Errors
/// Local errors, such as `StorageFull`; the payload cannot be read; the claim was lost.
pub(crate) async fn spooled(
    services: &Services,
    delivery: &Deliver,
    (message_id, signed): (&str, impl Fn() -> Result<MadeSignatures>),
    body: Box<dyn Measured + Send>,
    mic: MicSlot,
) -> Result<Spooled> {
    if let Some(note) = delivery.notes.get(NOTE) {
        let kept = KeptBytes::of(note)?;
        // One under another Message-ID was made under other terms.
        if text(&kept.about, "message_id")? == message_id {
            let note = kept.about.get(SIGNATURE);
            let signature = note.map_or(Ok(None), |note| noted_signature::read(note, message_id))?;
            let note = kept.about.get(PGP_SIGNATURE).cloned();
            let pgp_signature = note.map(serde_json::from_value).transpose().map_err(|error| {
                Error::permanent(ErrorKind::Internal, "read the note of an OpenPGP signature")
                    .caused_by(error)
            })?;
            let names = kept.about.get(PGP_NAMES).cloned().map(serde_json::from_value).transpose();
            let pgp_names = names
                .map_err(|error| {
                    Error::permanent(ErrorKind::Internal, "read the note of a message's OpenPGP keys")
                        .caused_by(error)
                })?
                .unwrap_or_default();
            let (mic, body) = (read_mic(&kept.about)?, delivery.log.kept(&kept)?);
            return Ok(Spooled { mic, body, signature, pgp_signature, pgp_names });
        }
    }
    let staged = write(services, body).await?;
    let value = mic.get().ok_or_else(|| {
        Error::permanent(ErrorKind::Internal, "compute the MIC of a message").with("message_id", message_id)
    })?;
    let mut about = json!({ "message_id": message_id, "mic": value.to_text(NameStyle::Rfc5751) });
    let MadeSignatures { signature, pgp_signature, pgp_names } = signed()?;
    if pgp_names != PgpNames::default() {
        about[PGP_NAMES] = serde_json::to_value(&pgp_names).map_err(|error| {
            Error::permanent(ErrorKind::Internal, "note a message's OpenPGP keys").caused_by(error)
        })?;
    }
    if let Some(signature) = &pgp_signature {
        about[PGP_SIGNATURE] = serde_json::to_value(signature).map_err(|error| {
            Error::permanent(ErrorKind::Internal, "note an OpenPGP signature").caused_by(error)
        })?;
    }
    if let Some(signature) = &signature {
        about[SIGNATURE] = noted_signature::written(message_id, signature);
    }
    let body = delivery.log.keep(NOTE, staged, about).await?;
    Ok(Spooled { body, mic: value.clone(), signature, pgp_signature, pgp_names })
}

/// Writes a body to staging.
pub(crate) async fn write(services: &Services, mut body: Box<dyn Measured + Send>) -> Result<StagedPayload> {
    let staging = Arc::clone(&services.staging);
    let written = tokio::task::spawn_blocking(move || {
        let mut part = staging.begin()?;
        let mut chunk = vec![0; CHUNK];
        loop {
            match body.read(&mut chunk).map_err(stream_error)? {
                0 => return part.commit(),
                count => part.append(&chunk[..count])?,
            }
        }
    });
    written.await.map_err(|error| {
        Error::transient(ErrorKind::Internal, "write a message to staging").caused_by(error)
    })?
}

fn text<'a>(about: &'a Value, key: &'static str) -> Result<&'a str> {
    about.get(key).and_then(Value::as_str).ok_or_else(|| {
        Error::permanent(ErrorKind::Internal, "read the note of a message in staging").with("missing", key)
    })
}

fn read_mic(about: &Value) -> Result<Mic> {
    let mic = text(about, "mic")?;
    Mic::parse(mic).ok_or_else(|| {
        Error::permanent(ErrorKind::Internal, "read the note of a message in staging").with("mic", mic)
    })
}
