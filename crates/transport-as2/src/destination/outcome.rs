//! The result of an attempt: evidence, notes and events; and the message that is sent in place of one that the partner could
//! not decrypt or verify.

use super::{As2Destination, Failed};
use crate::disposition::Disposition;
use crate::fallback::{self, NotedFallback};
use crate::legacy;
use crate::partnership::Partnership;
use crate::prepared::{Earlier, NOTE, PreparedMessage};
use crate::receipt::Proof;
use crate::recorded::record;
use model::{AuditEvent, Error, Result, Retry};
use transport::{Deliver, Sent};

/// Notes that the partner does not have a message, where that is certain: the next attempt may send another one in its
/// place. Otherwise the message is sent again as it was.
pub(super) async fn not_received(
    delivery: &Deliver,
    partnership: &Partnership,
    prepared: &mut PreparedMessage,
    error: Error,
) -> Error {
    match (prepared.earlier, error.retry()) {
        (Earlier::Open, _) | (_, Retry::Ambiguous) => error,
        _ => note_answered(delivery, partnership, prepared, error).await,
    }
}

/// Notes that the partner answered, and does not have the message. The error tells if that could not be stored.
pub(super) async fn note_answered(
    delivery: &Deliver,
    partnership: &Partnership,
    prepared: &mut PreparedMessage,
    error: Error,
) -> Error {
    prepared.earlier = Earlier::Answered;
    let noted = match prepared.to_note(&partnership.own_keys) {
        Ok(note) => delivery.log.note(NOTE, note).await,
        Err(error) => Err(error),
    };
    match noted {
        Ok(()) => error,
        Err(failed) => error.with("a note could not be stored", failed.chain()),
    }
}

impl As2Destination {
    /// The receipt of a message that the partner has, with the events that belong to it.
    pub(super) async fn delivered(
        &self,
        delivery: &Deliver,
        partnership: &Partnership,
        mut proof: Proof,
        restarts: &[(&'static str, String)],
    ) -> Sent {
        proof.legacy = [partnership.legacy.as_slice(), &proof.legacy].concat();
        if let Some(event) = legacy::event(&self.services, &partnership.partner, &proof.legacy) {
            record(&*self.services.audit, self.of_delivery(event, delivery), legacy::LOST).await;
        }
        for (key, value) in partnership.sent_with().iter().chain(restarts) {
            proof.add(key, value.clone());
        }
        if let Some(signer) = proof.signed_by().map(str::to_owned) {
            let known = partnership.receipt_signer(&signer);
            if let Some(known) = &known {
                proof.add("signed_with", known.name.to_owned());
            }
            let used: Vec<String> = known.and_then(|known| known.outside).into_iter().collect();
            if let Some(event) = fallback::event(&self.services, &partnership.partner, &used) {
                record(&*self.services.audit, self.of_delivery(event, delivery), fallback::LOST).await;
            }
        }
        Sent::Delivered { receipt: proof.receipt(self.services.clock.now()), replies: Vec::new() }
    }

    pub(super) fn of_delivery(&self, event: AuditEvent, delivery: &Deliver) -> AuditEvent {
        event.flow(&delivery.flow).delivery(delivery.claim.delivery).endpoint(&self.endpoint.name)
    }

    /// What follows from a failed attempt. Where the partner could not decrypt or verify the message, and that was agreed,
    /// it is sent once more, as a new message, with another certificate or key.
    pub(super) async fn once_more(
        &self,
        delivery: &Deliver,
        partnership: Partnership,
        message_id: &str,
        failed: Failed,
    ) -> Result<Sent> {
        let Failed { error, refused } = failed;
        let Some(disposition) = refused.filter(Disposition::is_about_keys) else { return Err(error) };
        // Under the terms of the refused message no other one is made: the next attempt has those of today.
        if partnership.repeated.is_some() {
            let has_other = partnership.instead(&disposition)?.is_some();
            return Err(if has_other { error.retry_as(Retry::Transient) } else { error });
        }
        if let Some(noted) = NotedFallback::of(&delivery.notes)? {
            // This message stood in the place of another one: once is enough.
            return Err(spent(delivery, noted, error).await);
        }
        let Some(instead) = partnership.instead(&disposition)? else { return Err(error) };
        // What cannot be used is not noted: the next attempt would begin with it.
        let usable = partnership.with(&instead).and_then(|other| other.recipients().map(|_| other));
        let partnership = match usable {
            Ok(other) => other,
            Err(unusable) => return Err(error.with("could not be sent once more", unusable.chain())),
        };
        let noted = NotedFallback {
            refused: message_id.to_owned(),
            instead: instead.fingerprint().to_owned(),
            is_spent: false,
        };
        delivery.log.note(fallback::NOTE, noted.to_note()?).await?;
        let why = |error: Error| {
            let error = error.with("sent once more", instead.describe()).with("in place of", message_id);
            error.with("which was refused with", &disposition)
        };
        let mut prepared = self.prepare(delivery, &partnership).await.map_err(why)?;
        let used = format!(
            "the partner answered {disposition} to {message_id}; the file is sent once more as {}, {}",
            prepared.seed.message_id,
            instead.describe()
        );
        if let Some(event) = fallback::event(&self.services, &partnership.partner, &[used]) {
            let event = event.detail("refused_message_id", message_id);
            let event = event.detail("message_id", prepared.seed.message_id.as_str());
            record(&*self.services.audit, self.of_delivery(event, delivery), fallback::LOST).await;
        }
        match self.attempt(delivery, &partnership, &mut prepared).await {
            Ok(sent) => Ok(sent),
            Err(Failed { error, refused }) if refused.as_ref().is_some_and(Disposition::is_about_keys) => {
                Err(spent(delivery, noted, why(error)).await)
            }
            Err(Failed { error, .. }) => Err(why(error)),
        }
    }
}

/// Notes that the message in place of a refused one was refused as well. The error tells if that could not be stored.
async fn spent(delivery: &Deliver, noted: NotedFallback, error: Error) -> Error {
    let noted = NotedFallback { is_spent: true, ..noted };
    let stored = match noted.to_note() {
        Ok(note) => delivery.log.note(fallback::NOTE, note).await,
        Err(error) => Err(error),
    };
    match stored {
        Ok(()) => error,
        Err(failed) => error.with("a note could not be stored", failed.chain()),
    }
}
