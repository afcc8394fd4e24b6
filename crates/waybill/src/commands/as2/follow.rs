//! Follows a transfer that a person sent, until its delivery has ended or the person waits no longer.

use super::on_the_wire::OnTheWire;
use super::progress::ProgressLine;
use crate::commands::write;
use crate::commands::write::as_far_as_read;
use model::{DeliveryId, DeliveryState, Lifecycle as _, Result, Retry, TELL_PARTNER, TransferId};
use std::time::{Duration, Instant};
use store::{DeliveryView, Store, Waybill};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// How long to wait for a gateway to begin before saying that none is running.
const BEGINS_WITHIN: Duration = Duration::from_secs(15);

/// How long after the end the record of its connection is waited for: connections are recorded a little later.
const CONNECTION_WITHIN: Duration = Duration::from_secs(3);

/// Where a transfer stands when it is followed no longer.
pub(super) struct Followed {
    /// Its records; `None` where its row is gone.
    pub(super) waybill: Option<Waybill>,
    /// Whether its delivery has ended.
    pub(super) ended: bool,
}

impl Followed {
    /// Its only delivery.
    pub(super) fn delivery(&self) -> Option<&DeliveryView> {
        self.waybill.as_ref()?.deliveries.first()
    }

    /// Whether the partner has it.
    pub(super) fn is_delivered(&self) -> bool {
        self.delivery().is_some_and(|delivery| delivery.state == DeliveryState::Delivered)
    }

    /// What the operator can tell the partner, of a delivery that failed.
    pub(super) fn tell_partner(&self) -> Option<&str> {
        if self.is_delivered() {
            return None;
        }
        let mut events = self.waybill.as_ref()?.events.iter().rev();
        events.find_map(|event| event.detail.get(TELL_PARTNER)?.as_str())
    }
}

/// Follows a transfer; writes a line for each change where `tells`. Ctrl-C ends the following, and nothing else.
///
/// # Errors
/// The database failed, and not for a moment only.
pub(super) async fn follow(
    store: &Store,
    transfer: TransferId,
    wait: Duration,
    tells: bool,
) -> Result<Followed> {
    let begun = Instant::now();
    let mut line = ProgressLine::new(tells);
    let mut wire = OnTheWire::new(tells);
    let mut last = None;
    let mut told_that_none_begins = false;
    let mut told_unreachable = false;
    loop {
        match changed(store, transfer, last).await {
            Ok(None) => told_unreachable = false,
            Ok(Some((now, waybill))) => {
                line.clear();
                (last, told_unreachable) = (now, false);
                // As one read, which may be newer than the other.
                let found = waybill.as_ref().and_then(|waybill| waybill.deliveries.first());
                let ended = found.is_none_or(|delivery| delivery.state.is_final());
                if let Some(found) = found.filter(|_| tells) {
                    as_far_as_read(tell(found))?;
                }
                if ended {
                    let waybill = with_connection(store, transfer, waybill).await?;
                    return Ok(Followed { waybill, ended });
                }
            }
            // The transfer goes on without this command, and a database that is away for a moment comes back.
            Err(error) if error.retry() == Retry::Transient => {
                if !told_unreachable {
                    line.clear();
                    write::note(format_args!("cannot see how far it is, and looks again: {}", error.chain()));
                }
                told_unreachable = true;
            }
            Err(error) => return Err(error),
        }
        if let Some((delivery, state, attempt)) = last {
            let is_sending = state == DeliveryState::Sending && !told_unreachable;
            if !(is_sending && wire.show(store, (delivery, attempt), &mut line).await) {
                line.text(&doing(state, attempt));
            }
        }
        let waits = last.is_some_and(|(_, state, attempt)| state == DeliveryState::Pending && attempt == 0);
        if waits && begun.elapsed() >= BEGINS_WITHIN && !told_that_none_begins {
            line.clear();
            write::note(
                "no gateway has begun to send it yet: is one running, and has it free places for deliveries?",
            );
            told_that_none_begins = true;
        }
        let interrupted = tokio::select! {
            Ok(()) = tokio::signal::ctrl_c() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        if interrupted || begun.elapsed() >= wait {
            line.clear();
            let waybill = match store.waybill(transfer).await {
                // It is recorded all the same: whoever sends it once more sends it twice.
                Err(error) if error.retry() == Retry::Transient => None,
                waybill => waybill?,
            };
            return Ok(Followed { waybill, ended: false });
        }
    }
}

/// The delivery of a transfer, its state, and the number of its attempt; `None` where there is no delivery.
type Standing = Option<(DeliveryId, DeliveryState, u32)>;

/// The state of a transfer's delivery with the transfer's records; `None` where it is as before.
async fn changed(
    store: &Store,
    transfer: TransferId,
    last: Standing,
) -> Result<Option<(Standing, Option<Waybill>)>> {
    let delivery = store.deliveries(transfer).await?.into_iter().next();
    let now = delivery.map(|delivery| (delivery.id, delivery.state, delivery.attempt));
    match now == last {
        true => Ok(None),
        false => Ok(Some((now, store.waybill(transfer).await?))),
    }
}

/// The records with the connection that the message went over, if that is recorded within a moment.
async fn with_connection(
    store: &Store,
    transfer: TransferId,
    mut waybill: Option<Waybill>,
) -> Result<Option<Waybill>> {
    let begun = Instant::now();
    loop {
        let lacks = waybill.as_ref().is_some_and(|waybill| {
            waybill.connections.is_empty() && waybill.events.iter().any(|event| event.connection.is_some())
        });
        if !lacks || begun.elapsed() >= CONNECTION_WITHIN {
            return Ok(waybill);
        }
        tokio::time::sleep(LOOK_EVERY).await;
        match store.waybill(transfer).await {
            Ok(found) => waybill = found,
            // The end is known: what was read of it before is enough.
            Err(error) if error.retry() == Retry::Transient => return Ok(waybill),
            Err(error) => return Err(error),
        }
    }
}

/// What is being done, for the line that changes.
fn doing(state: DeliveryState, attempt: u32) -> String {
    match state {
        DeliveryState::Pending => "waiting for a gateway".to_owned(),
        DeliveryState::Sending => format!("sending, attempt {attempt}"),
        DeliveryState::AwaitingReceipt => "waiting for the receipt".to_owned(),
        DeliveryState::Retrying => format!("waiting after attempt {attempt}"),
        other => other.to_string(),
    }
}

/// Says what has changed.
fn tell(delivery: &DeliveryView) -> Result<()> {
    let error = delivery.error.as_deref().unwrap_or("no reason is on record");
    match delivery.state {
        DeliveryState::Pending => Ok(()),
        DeliveryState::Sending => match delivery.attempts.last() {
            Some(attempt) => {
                write::line(format_args!("attempt {} began on node {}", attempt.number, attempt.node))
            }
            None => Ok(()),
        },
        DeliveryState::AwaitingReceipt => match delivery.receipt_deadline {
            Some(deadline) => write::line(format_args!(
                "the partner's server took the message; its receipt is awaited until {}",
                write::time(deadline)
            )),
            None => write::line("the partner's server took the message; its receipt is awaited"),
        },
        DeliveryState::Retrying => write::line(format_args!(
            "attempt {} failed: {error}; the next one begins {}",
            delivery.attempts.last().map_or(0, |attempt| attempt.number),
            write::time(delivery.due_at)
        )),
        DeliveryState::Delivered => {
            let summary = delivery.receipt.as_ref().map_or("", |receipt| receipt.summary.as_str());
            write::line(format_args!("delivered: {summary}"))
        }
        DeliveryState::Failed | DeliveryState::Expired | DeliveryState::Cancelled => {
            write::line(format_args!("not delivered ({}): {error}", delivery.state))
        }
    }
}
