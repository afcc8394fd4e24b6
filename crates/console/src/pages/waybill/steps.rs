//! What happened, in the order in which it happened, with the time each step took.

use crate::pages::waybill::source_badge::source_badge;
use crate::web::badge::{Badge, Icon, Tone};
use crate::web::format::{Moment, between, one_line, path_text, safe_text, size_text};
use model::Timestamp;
use store::{DeliveryView, Waybill};

/// One line of the way.
pub(crate) struct Step {
    pub(crate) at: Moment,
    pub(crate) badge: Badge,
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) took: Option<String>,
}

/// All steps, the oldest first.
pub(crate) fn steps(waybill: &Waybill) -> Vec<Step> {
    let mut steps: Vec<(Timestamp, Step)> = Vec::new();
    let mut add = |at: Timestamp, badge, title: String, text: String, took| {
        steps.push((at, Step { at: Moment(at), badge, title, text, took }));
    };
    let transfer = &waybill.transfer;
    if let Some(offer) = waybill.source() {
        let mut known = vec![path_text(&offer.path)];
        known.extend(offer.size.map(size_text));
        let found = Badge::new(Tone::Good, Icon::File, "Found");
        add(
            offer.found_at,
            found,
            format!("Found at {}", safe_text(&offer.endpoint)),
            known.join(", "),
            None,
        );
    }
    let found_at = waybill.source().map(|offer| offer.found_at);
    let took = found_at.filter(|at| *at < transfer.created_at).map(|at| between(at, transfer.created_at));
    let size = size_text(transfer.length);
    if transfer.content.is_streamed() {
        let recorded = Badge::new(Tone::Good, Icon::Check, "Recorded");
        let title = "Recorded, to be read when it is delivered".to_owned();
        add(transfer.created_at, recorded, title, size, took);
    } else {
        let staged = Badge::new(Tone::Good, Icon::Check, "Staged");
        let text = format!("{size}, SHA-256 calculated");
        add(transfer.created_at, staged, "Staged and recorded".to_owned(), text, took);
    }
    // An offer whose source is not settled, or not yet, has not changed since it was recorded.
    if let Some(offer) = waybill.source()
        && offer.updated_at > transfer.created_at
    {
        let text = offer.error.as_deref().map(one_line).unwrap_or_default();
        let title = format!("Source file at {}", safe_text(&offer.endpoint));
        add(offer.updated_at, source_badge(offer.state), title, text, None);
    }
    for made in &waybill.made {
        let text = format!("{} became {}", size_text(made.parent_length), size_text(made.length));
        let done = Badge::new(Tone::Good, Icon::Check, "Done");
        add(made.made_at, done, safe_text(&made.made_by), text, None);
    }
    for delivery in &waybill.deliveries {
        attempts(delivery, &mut add);
    }
    if let Some(end) = transfer.ended_at {
        let took = Some(between(transfer.created_at, end));
        let text = format!("{} of {} delivered", transfer.delivered, transfer.deliveries);
        add(end, Badge::transfer(transfer.state), "Transfer ended".to_owned(), text, took);
    }
    steps.sort_by_key(|(at, _)| *at);
    steps.into_iter().map(|(_, step)| step).collect()
}

fn attempts(delivery: &DeliveryView, add: &mut impl FnMut(Timestamp, Badge, String, String, Option<String>)) {
    let endpoint = safe_text(&delivery.endpoint);
    for attempt in &delivery.attempts {
        let text = match (&attempt.error, &attempt.receipt) {
            (Some(error), _) => one_line(error),
            (None, Some(receipt)) => one_line(&receipt.summary),
            (None, None) => format!("by node {}", safe_text(&attempt.node)),
        };
        let badge = Badge::attempt(attempt.outcome.as_deref());
        let took = attempt.ended_at.map(|end| between(attempt.started_at, end));
        add(attempt.started_at, badge, format!("Attempt {} to {endpoint}", attempt.number), text, took);
    }
    let without_attempt =
        delivery.ended_at.filter(|end| !delivery.attempts.iter().any(|a| a.ended_at == Some(*end)));
    if let Some(end) = without_attempt {
        let text = delivery.error.as_deref().map(one_line).unwrap_or_default();
        add(end, Badge::delivery(delivery.state), format!("Delivery to {endpoint} ended"), text, None);
    }
}
