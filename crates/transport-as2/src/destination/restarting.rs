//! A message that goes on where it broke off (draft-harding-as2-restart-06): which of its bytes each POST sends.
//!
//! The partner says how many it has, by HEAD or in an answer 416. That is believed only of a partner that says nothing of the
//! kind for a transfer id that was never used: many servers answer every HEAD with the length of a page. What cannot be
//! joined is sent whole, under another transfer id. Within one attempt a lost connection is made again while the partner gets
//! further; the next attempt, at any node, goes on from the notes.

mod decisions;

use super::ask_held::{Held, not_supported, unsatisfied};
use super::sending::{BegunMessage, MessagePart, Sending, SentMessage};
use super::{As2Destination, Failed};
use crate::agreement::Agreement;
use crate::disposition::{Disposition, DispositionError};
use crate::outgoing::Envelope;
use crate::prepared::Earlier;
use crate::receipt::PartnerResponse;
use crate::recorded::record;
use crate::restart_terms::AskHeld;
use crate::sent_message::SentTerms;
use crate::streaming::KEPT;
use crate::transfer_id::{NOTE, Transfer, new_etag};
use decisions::{Judged, Tries, is_lost, judge};
use http::StatusCode;
use model::{AuditEvent, Error, ErrorKind, EventKind, PeerText, Result, Retry};
use net::http::CarriedBy;
use std::time::Duration;
use transport::Deliver;
use url::Url;

/// The advice where a partner has refused a message that it joined.
pub(crate) const JOINED_WRONGLY: &str =
    "the partner refused a message that it had received in parts: the next attempt sends all of it";

/// As often a message is begun again under another transfer id within one attempt.
const MOST_BEGUN_AGAIN: u32 = 2;

/// What the log says where an event cannot be recorded.
const LOST: &str = "the event about a message that goes on where it broke off could not be recorded";

/// A message on its way to a partner that may be able to join its parts.
struct Restarting<'a> {
    destination: &'a As2Destination,
    delivery: &'a Deliver,
    envelope: &'a Envelope<'a>,
    noted: Option<&'a SentTerms<'a>>,
    url: &'a Url,
    /// Bytes of the whole message.
    total: u64,
    transfer: Transfer,
    /// What was made of the message in this attempt; `None` of one in staging.
    begun: Option<BegunMessage>,
    tries: Tries,
    /// Whether the partner's server has answered in this attempt.
    has_answered: bool,
    /// Whether it tells transfer ids apart.
    tells_apart: bool,
    /// Whether this attempt goes without the header fields of restart.
    is_plain: bool,
    begun_again: u32,
}

impl As2Destination {
    /// Sends a message, and takes in the whole answer. A large one goes on where it broke off. `earlier` becomes `Open` when
    /// the partner may have all of it, as after an attempt whose answer did not come.
    pub(super) async fn exchange(
        &self,
        delivery: &Deliver,
        (envelope, noted): (&Envelope<'_>, Option<&SentTerms<'_>>),
        earlier: &mut Earlier,
        url: &Url,
    ) -> Result<(PartnerResponse, SentMessage)> {
        let terms = &envelope.agreement.restart;
        // What is read at its source while it is sent can be read once only.
        let total = match terms.offer && !delivery.payload.is_streamed() {
            true => self.body_length(delivery, envelope).await?.filter(|total| terms.covers(*total)),
            false => None,
        };
        let Some(total) = total else {
            return self.post(delivery, Sending { envelope, noted, part: None }, url).await;
        };
        let message_id = envelope.seed.message_id.as_str();
        let is_spooled = envelope.agreement.is_spooled();
        let known = Transfer::noted(&delivery.notes, message_id, total)?;
        let is_new = known.is_none();
        let transfer = known.unwrap_or_else(|| Transfer::new(&self.services, message_id, total));
        let restarting = Restarting {
            destination: self,
            delivery,
            envelope,
            noted,
            url,
            total,
            transfer,
            begun: (!is_spooled).then(BegunMessage::default),
            tries: Tries::default(),
            has_answered: false,
            tells_apart: false,
            is_plain: false,
            begun_again: 0,
        };
        restarting.run(is_new, earlier).await
    }

    /// What follows where a partner has refused a message that it joined: the next attempt sends the whole message under
    /// another transfer id.
    pub(super) async fn joined_wrongly(
        &self,
        delivery: &Deliver,
        message_id: &str,
        from: u64,
        error: Error,
    ) -> Failed {
        // Without a length it fits no message, so that the next attempt draws another one.
        let noted = match Transfer::new(&self.services, message_id, 0).to_note() {
            Ok(note) => delivery.log.note(NOTE, note).await,
            Err(error) => Err(error),
        };
        let error = error.retry_as(Retry::Transient).with("went on at byte", from).advice(JOINED_WRONGLY);
        let error = match noted {
            Ok(()) => error,
            Err(failed) => error.with("a note could not be stored", failed.chain()),
        };
        error.into()
    }
}

/// More than what a message has beside its payload, in bytes.
const MOST_OVERHEAD: u64 = 64 * 1024;

/// Bytes of memory that are kept of a message while it is sent, so that it goes on from there: the last ones that were made.
/// One in staging is read from any byte on.
pub(super) fn bytes_in_memory(agreement: &Agreement, delivery: &Deliver) -> usize {
    let is_large = agreement.restart.covers(delivery.payload.length().saturating_add(MOST_OVERHEAD));
    if is_large && !agreement.is_spooled() && !delivery.payload.is_streamed() { KEPT } else { 0 }
}

/// Whether a disposition may come of a message whose parts were not joined to the same bytes.
pub(crate) fn is_about_bytes(disposition: &Disposition) -> bool {
    use DispositionError::{
        AuthenticationFailed, DecompressionFailed, DecryptionFailed, IntegrityCheckFailed,
        UnexpectedProcessingError,
    };
    matches!(
        disposition,
        Disposition::Error(
            AuthenticationFailed
                | DecompressionFailed
                | DecryptionFailed
                | IntegrityCheckFailed
                | UnexpectedProcessingError
        )
    )
}

impl Restarting<'_> {
    async fn run(mut self, is_new: bool, earlier: &mut Earlier) -> Result<(PartnerResponse, SentMessage)> {
        let mut from = self.begin(is_new, earlier).await?;
        loop {
            let carried_by = CarriedBy::default();
            let (answer, mut sent) = match self.post(from, &carried_by, *earlier).await {
                Ok(answered) => answered,
                Err(error) => {
                    let had_begun = self.has_answered || carried_by.connection().is_some();
                    if !had_begun || self.is_whole_alone() || !is_lost(&error) {
                        return Err(error);
                    }
                    if error.retry() == Retry::Ambiguous {
                        *earlier = Earlier::Open;
                    }
                    from = self.after_loss(error, earlier).await?;
                    continue;
                }
            };
            self.has_answered = true;
            from = match self.then(&answer, from) {
                Then::Take => {
                    sent.restarts = self.transfer.describe();
                    return Ok((answer, sent));
                }
                Then::GoOn(held, wait) => {
                    self.destination.services.clock.sleep(wait).await;
                    match self.is_believed(held).await? {
                        true => self.go_on(held, earlier).await?,
                        false => self.without_restart(answer.status).await?,
                    }
                }
                Then::BeginAgain => {
                    if answer.status.is_server_error() {
                        *earlier = Earlier::Open;
                    }
                    self.begun_again += 1;
                    self.begin_again(&format!("the partner answered status {}", answer.status)).await?
                }
                Then::WithoutRestart => {
                    if from > 0 && answer.status.is_server_error() {
                        *earlier = Earlier::Open;
                    }
                    self.without_restart(answer.status).await?
                }
            };
        }
    }

    /// Where the first POST of this attempt begins. A new transfer id is noted before anything is sent.
    async fn begin(&mut self, is_new: bool, earlier: &mut Earlier) -> Result<u64> {
        if is_new {
            self.note().await?;
        }
        let asks = !is_new || self.envelope.agreement.restart.head == AskHeld::Always;
        if self.transfer.is_refused || !asks {
            return Ok(0);
        }
        match self.held(is_new).await? {
            Held::Bytes(0) if is_new => Ok(0),
            Held::Bytes(0) => {
                self.is_plain = self.transfer.goes_plain();
                self.note().await?;
                Ok(0)
            }
            Held::Bytes(held) if is_new => {
                self.begin_again(&format!("the partner has {held} bytes under a new transfer id")).await
            }
            Held::Bytes(held) if held > self.total => {
                self.begin_again(&format!("the partner has {held} bytes of {}", self.total)).await
            }
            Held::Bytes(held) => self.go_on(held, earlier).await,
            Held::NotSaid(why) | Held::Unknown(why) => {
                self.warn(&why).await?;
                self.is_plain = !self.transfer.is_proved();
                Ok(0)
            }
            // What it has would be lost if the whole message were sent.
            Held::NotNow(status) if self.transfer.may_wait() && !self.delivery.is_last => {
                self.note().await?;
                Err(Error::transient(ErrorKind::Unreachable, "ask the partner how much it has of a message")
                    .with("endpoint", &self.destination.endpoint.name)
                    .with("status", status)
                    .advice("the partner's system, or a proxy in front of it, is not available; if this continues, ask the partner"))
            }
            Held::NotNow(status) => {
                self.warn(&not_supported(status)).await?;
                self.is_plain = !self.transfer.is_proved();
                Ok(0)
            }
        }
    }

    /// How much the partner has. Of one that says for every transfer id that it has something, that is not believed.
    async fn held(&mut self, is_new: bool) -> Result<Held> {
        let held = self.ask(&self.transfer.etag).await?;
        self.has_answered = true;
        let Held::Bytes(bytes) = held else { return Ok(held) };
        self.transfer.has_answered();
        if bytes == 0 || bytes > self.total || is_new || self.tells_apart {
            return Ok(held);
        }
        let unused = new_etag(&self.destination.services);
        match self.ask(&unused).await? {
            Held::Bytes(other @ 1..) => {
                let why =
                    format!("HEAD was answered with {other} bytes for a transfer id that was never used");
                Ok(Held::NotSaid(why))
            }
            not_now @ Held::NotNow(_) => Ok(not_now),
            // A server that fails, or refuses this request, does not tell them apart.
            Held::NotSaid(why) => {
                Ok(Held::NotSaid(format!("asked for a transfer id that was never used: {why}")))
            }
            Held::Bytes(0) | Held::Unknown(_) => {
                self.tells_apart = true;
                Ok(held)
            }
        }
    }

    async fn ask(&self, etag: &str) -> Result<Held> {
        self.destination.ask_held(self.delivery, self.envelope, etag, self.url).await
    }

    async fn post(
        &self,
        from: u64,
        carried_by: &CarriedBy,
        earlier: Earlier,
    ) -> Result<(PartnerResponse, SentMessage)> {
        let part = MessagePart {
            etag: &self.transfer.etag,
            from,
            total: self.total,
            has_range: from > 0 || self.envelope.agreement.restart.range_first,
            carried_by: carried_by.clone(),
            begun: self.begun.as_ref(),
        };
        let restarts = self.transfer.describe();
        let sent_with = self.noted.map(|noted| [noted.sent_with, restarts.as_slice()].concat());
        let sent_with = sent_with.unwrap_or_default();
        let noted = self.noted.map(|noted| SentTerms { sent_with: &sent_with, earlier, ..*noted });
        let what = Sending {
            envelope: self.envelope,
            noted: noted.as_ref(),
            part: (!self.is_whole_alone()).then_some(&part),
        };
        self.destination.post(self.delivery, what, self.url).await
    }

    /// What follows from the answer to a POST that began at this byte.
    fn then(&mut self, answer: &PartnerResponse, from: u64) -> Then {
        if self.is_whole_alone() {
            return Then::Take;
        }
        let held = answer.headers.get("Content-Range").and_then(unsatisfied);
        match judge(answer.status, held, from, self.total) {
            Judged::Take => Then::Take,
            Judged::GoOn(held) => {
                self.tries.next_wait().map_or_else(|| self.whole(from), |wait| Then::GoOn(held, wait))
            }
            // The partner has read the message, and answers to that.
            Judged::Refused if from == 0 && answer.looks_like_mdn() => Then::Take,
            Judged::Refused => self.whole(from),
        }
    }

    /// How all of the message is sent again after a POST that began at this byte. Where it cannot be joined under other transfer
    /// ids either, it goes as to a partner without restart: no message may fail that such a partner would take.
    const fn whole(&self, from: u64) -> Then {
        if from > 0 && self.begun_again < MOST_BEGUN_AGAIN { Then::BeginAgain } else { Then::WithoutRestart }
    }

    /// Whether the message is sent whole, without the header fields of restart.
    const fn is_whole_alone(&self) -> bool {
        self.transfer.is_refused || self.is_plain
    }

    /// Whether an answer 416 is believed: the length in it may be that of a page, too.
    async fn is_believed(&mut self, held: u64) -> Result<bool> {
        if held == 0 || self.tells_apart {
            return Ok(true);
        }
        Ok(self.held(false).await? == Held::Bytes(held))
    }

    /// The message is sent whole from now on, without the header fields of restart.
    async fn without_restart(&mut self, status: StatusCode) -> Result<u64> {
        self.transfer.is_refused = true;
        self.warn(&format!("the partner answered status {status} to a message that can go on")).await?;
        Ok(0)
    }

    /// Where to go on after the connection was lost.
    ///
    /// # Errors
    /// The loss: the partner does not get further, or has not said how much it has. The next attempt asks again, and sends
    /// the whole message if need be.
    async fn after_loss(&mut self, lost: Error, earlier: &mut Earlier) -> Result<u64> {
        loop {
            let Some(wait) = self.tries.next_wait() else {
                return Err(lost.with("restarts in this attempt", self.tries.restarts));
            };
            self.destination.services.clock.sleep(wait).await;
            match self.held(false).await {
                Ok(Held::Bytes(held)) if held > self.total => return Err(lost),
                Ok(Held::Bytes(0)) if !self.transfer.is_proved() => {
                    self.transfer.had_nothing();
                    return Err(match self.note().await {
                        Ok(()) => lost,
                        Err(failed) => lost.with("a note could not be stored", failed.chain()),
                    });
                }
                Ok(Held::Bytes(held)) => return self.go_on(held, earlier).await,
                Ok(Held::NotSaid(why) | Held::Unknown(why)) => {
                    self.warn(&why).await?;
                    return Err(lost);
                }
                Ok(Held::NotNow(status)) => {
                    tracing::debug!(%status, "a partner's server was not available when it was asked how much it has of a message");
                }
                Err(error) => {
                    tracing::debug!(error = %error.chain(), "a partner could not be asked how much it has of a message");
                }
            }
        }
    }

    /// The message goes on behind what the partner has. Where that is all, its last byte is sent again, so that the partner
    /// can answer (3.2).
    async fn go_on(&mut self, held: u64, earlier: &mut Earlier) -> Result<u64> {
        self.tries.reached(held);
        if held >= self.total {
            *earlier = Earlier::Open;
        }
        let from = held.min(self.total.saturating_sub(1));
        if from == 0 {
            return Ok(0);
        }
        self.transfer.went_on(from);
        self.note().await?;
        let event = self.event(EventKind::MessageRestarted).detail("from_byte", from);
        self.record(event.detail("total", self.total)).await;
        Ok(from)
    }

    /// All of the message is sent again, and nothing used that the partner has.
    async fn begin_again(&mut self, why: &str) -> Result<u64> {
        let message_id = self.envelope.seed.message_id.as_str();
        tracing::warn!(message_id, why, "a message is sent whole under another transfer id");
        self.transfer.renew(&self.destination.services);
        self.tells_apart = false;
        self.note().await?;
        Ok(0)
    }

    /// Says that the partner does not support restart, once for a message.
    async fn warn(&mut self, why: &str) -> Result<()> {
        let is_warned = std::mem::replace(&mut self.transfer.is_warned, true);
        self.note().await?;
        if !is_warned {
            let why = PeerText::from(why).as_str().to_owned();
            let partner = self.delivery.partner.as_deref().unwrap_or_default();
            tracing::warn!(partner, %why, "the partner does not support AS2 restart: the whole message is sent");
            self.record(self.event(EventKind::RestartUnsupported).detail("reason", why)).await;
        }
        Ok(())
    }

    fn event(&self, kind: EventKind) -> AuditEvent {
        let event = self.destination.services.event(kind);
        let event = event.detail("message_id", self.envelope.seed.message_id.as_str());
        match self.destination.endpoint.partner() {
            Some(partner) => event.partner(partner),
            None => event,
        }
    }

    async fn record(&self, event: AuditEvent) {
        let event = self.destination.of_delivery(event, self.delivery);
        record(&*self.destination.services.audit, event, LOST).await;
    }

    async fn note(&self) -> Result<()> {
        self.delivery.log.note(NOTE, self.transfer.to_note()?).await
    }
}

/// What follows from an answer.
enum Then {
    /// It is the answer to the message.
    Take,
    /// The partner has so many bytes; after a wait it gets the others.
    GoOn(u64, Duration),
    /// All of the message is sent again.
    BeginAgain,
    /// The same, without the header fields of restart.
    WithoutRestart,
}

#[cfg(test)]
mod tests;
