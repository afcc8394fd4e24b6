//! The evidence of a message whose receipt is in the answer; and what has to be kept for that of a message whose receipt comes
//! later, which `later_evidence` puts together.

use super::{As2Destination, SentMessage};
use crate::coding::Coding;
use crate::evidence::{self, SentBytes, SentFacts};
use crate::outgoing::pgp::SignedSource;
use crate::outgoing::signed::{self, Covers};
use crate::outgoing::{Envelope, pgp};
use crate::partnership::Partnership;
use crate::pgp_signature::NotedPgpSignature;
use crate::sent_proof::{about_copy, copy_key};
use crate::signer::Signer;
use crate::streaming::{CHUNK, stream_error};
use model::{Error, ErrorKind, Result};
use smime::{Digest, Mic, MicReader};
use std::io::Read;
use std::sync::Arc;
use transport::{Deliver, Evidence, PartWriter, StagedPayload};

impl As2Destination {
    /// Hands in what proves the message. A delivery that is proved stays one where that fails: sent once more it would
    /// only be a repetition.
    pub(super) async fn prove(
        &self,
        delivery: &Deliver,
        partnership: &Partnership,
        envelope: &Envelope<'_>,
        sent: &SentMessage,
    ) {
        match self.evidence(delivery, partnership, envelope, sent).await {
            Ok(Some(evidence)) => delivery.log.prove(evidence),
            Ok(None) => {}
            Err(error) => {
                let message_id = envelope.seed.message_id.as_str();
                tracing::error!(message_id, error = %error.chain(), "the evidence of a message that was delivered could not be kept");
            }
        }
    }

    async fn evidence(
        &self,
        delivery: &Deliver,
        partnership: &Partnership,
        envelope: &Envelope<'_>,
        sent: &SentMessage,
    ) -> Result<Option<Evidence>> {
        let agreement = envelope.agreement;
        if agreement.evidence.keep_for.is_none() {
            return Ok(None);
        }
        let mic = sent.mic.get();
        let signature = match mic {
            Some(mic) => signed::signature(envelope, mic)?,
            None => None,
        };
        let own = signature.as_ref().map(|_| Signer::Certificate(&partnership.own.key.certificate));
        let spooled = envelope.made_once.spool.get();
        let by_pgp = spooled.and_then(|spooled| spooled.pgp_signature.as_ref());
        let by_pgp = by_pgp.map(NotedPgpSignature::read).transpose()?;
        let (signature, signer) = match &by_pgp {
            Some((signature, key)) => (Some(signature.as_slice()), Some(Signer::Pgp(key))),
            None => (signature.as_deref(), own),
        };
        let head = [sent.content_headers.as_slice(), b"\r\n"].concat();
        let covers = match (envelope.covers(), mic) {
            (Covers::Payload, _) => SentBytes::Payload(head),
            (Covers::HeadAndPayload, _) => SentBytes::HeadAndPayload(head),
            (Covers::Layers, Some(mic)) if agreement.evidence.keeps_content => {
                match self.copy_signed(delivery, envelope, Some(mic)).await {
                    Ok(Some((copy, _))) => SentBytes::Copied(copy),
                    // Staging may be full: all the rest is evidence too.
                    Err(error) => {
                        let message_id = envelope.seed.message_id.as_str();
                        tracing::error!(message_id, error = %error.chain(), "what was signed of a message that was delivered could not be copied; its evidence has the signature and the payload");
                        SentBytes::NotKept
                    }
                    Ok(None) => {
                        let message_id = envelope.seed.message_id.as_str();
                        tracing::warn!(
                            message_id,
                            "what was signed of a message that was delivered cannot be made once more; its evidence has the signature and the payload"
                        );
                        SentBytes::NotKept
                    }
                }
            }
            (Covers::Layers, _) => SentBytes::NotKept,
        };
        evidence::of_sent(SentFacts {
            partner: &partnership.partner,
            terms: agreement.evidence,
            identity: &partnership.identity.name,
            as2_from: envelope.from.as_str(),
            as2_to: envelope.to.as_str(),
            message_id: &envelope.seed.message_id,
            headers: &sent.headers,
            mic: mic.map(ToString::to_string),
            covers,
            signer,
            signature,
            cipher: envelope.cipher_name(),
            receipt_signers: &partnership.certificates,
            receipt_keys: &partnership.pgp,
        })
    }

    /// Keeps what is signed of a message whose receipt comes later, where that is not its head and its payload. It is kept
    /// before anything of the message leaves: the receipt may be the next that is heard of it, at another node.
    pub(super) async fn keep_signed(&self, delivery: &Deliver, envelope: &Envelope<'_>) -> Result<()> {
        let terms = envelope.agreement.evidence;
        let key = copy_key(&envelope.seed.message_id);
        let is_needed = terms.keep_for.is_some() && terms.keeps_content;
        if !is_needed || envelope.covers() != Covers::Layers || delivery.notes.contains_key(&key) {
            return Ok(());
        }
        if envelope.agreement.is_protected_by_pgp() {
            // What is signed around an encryption is copied out of the message in staging.
            self.make(delivery, envelope, 0).await?;
        }
        if let Some((copy, mic)) = self.copy_signed(delivery, envelope, None).await? {
            delivery.log.keep(&key, copy, about_copy(&mic)).await?;
        }
        Ok(())
    }

    /// What is signed, in staging, with its MIC. `None` if that is not the one given: an earlier version may have compressed
    /// otherwise.
    async fn copy_signed(
        &self,
        delivery: &Deliver,
        envelope: &Envelope<'_>,
        expected: Option<&Mic>,
    ) -> Result<Option<(StagedPayload, Mic)>> {
        if envelope.agreement.is_protected_by_pgp() {
            return self.copy_signed_by_pgp(delivery, envelope, expected).await;
        }
        let length = delivery.payload.length();
        let payload = Arc::clone(&delivery.payload);
        let reader = blocking(move || payload.open_blocking(0..length)).await?;
        let content = signed::signed_content(envelope, reader, length)?;
        let (staging, expected) = (Arc::clone(&self.services.staging), expected.cloned());
        let digest = signed::mic_digest(envelope);
        blocking(move || {
            let mut part = staging.begin()?;
            let mic = copy(content, &mut *part, digest)?;
            // A part that is not committed is removed.
            if expected.is_some_and(|expected| expected != mic) {
                return Ok(None);
            }
            Ok(Some((part.commit()?, mic)))
        })
        .await
    }

    /// The same of a message by PGP/MIME.
    async fn copy_signed_by_pgp(
        &self,
        delivery: &Deliver,
        envelope: &Envelope<'_>,
        expected: Option<&Mic>,
    ) -> Result<Option<(StagedPayload, Mic)>> {
        let source = SignedSource::of(envelope)?;
        let (from, coding) = match (&source, envelope.made_once.spool.get()) {
            (SignedSource::Payload(_), _) => (Arc::clone(&delivery.payload), Coding::Identity),
            (SignedSource::Body(_), Some(spooled)) => {
                (spooled.body(), Coding::put_on(envelope.agreement.headers.content_coding))
            }
            (SignedSource::Body(_), None) => return Ok(None),
        };
        let (staging, expected) = (Arc::clone(&self.services.staging), expected.cloned());
        let digest = pgp::mic_digest(envelope);
        blocking(move || {
            let length = from.length();
            let reader = coding.decoder(from.open_blocking(0..length)?, u64::MAX);
            let mut part = staging.begin()?;
            let mic = source.read(reader, |content| copy(content, &mut *part, digest))?;
            if expected.is_some_and(|expected| expected != mic) {
                return Ok(None);
            }
            Ok(Some((part.commit()?, mic)))
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| {
        Error::transient(ErrorKind::Internal, "copy what was signed of a message").caused_by(error)
    })?
}

/// Copies content, and tells its MIC. Blocks.
fn copy(content: impl Read, part: &mut dyn PartWriter, digest: Digest) -> Result<Mic> {
    let failed = || Error::permanent(ErrorKind::Internal, "compute the MIC of a message");
    let mut content = MicReader::new(content, digest).map_err(|error| failed().caused_by(error))?;
    let mut chunk = vec![0; CHUNK];
    loop {
        match content.read(&mut chunk).map_err(stream_error)? {
            0 => break,
            count => part.append(&chunk[..count])?,
        }
    }
    content.slot().get().cloned().ok_or_else(failed)
}
