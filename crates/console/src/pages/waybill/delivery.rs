//! One delivery with its attempts and its receipt.

use crate::pages::mdn::mdn_path;
use crate::pages::waybill::on_the_wire::OnTheWire;
use crate::web::badge::Badge;
use crate::web::facts::{Facts, facts};
use crate::web::format::{Moment, between, one_line, path_text, safe_text};
use model::{DeliveryState, Lifecycle, Receipt, ReceiptKind, Timestamp, TransferId};
use store::{AttemptView, DeliveryView, KeptMdn, WhichMdn};

/// A delivery, as its section of the page shows it.
pub(crate) struct DeliverySection {
    pub(crate) id: String,
    pub(crate) destination: String,
    pub(crate) endpoint: String,
    /// The revision whose flow it goes through, where that is not its transfer's.
    pub(crate) revision: Option<i64>,
    pub(crate) file_name: String,
    /// What it sends, where that is not what was received.
    pub(crate) sends: Option<String>,
    pub(crate) badge: Badge,
    /// How far the attempt is that is under way.
    pub(crate) on_the_wire: Option<OnTheWire>,
    /// Whether nothing more is done for it, unless a person asks for it.
    pub(crate) ended: bool,
    pub(crate) lane: Option<String>,
    /// When the hours of its destination begin, for which it waits.
    pub(crate) opens: Option<Moment>,
    pub(crate) due: Option<Moment>,
    pub(crate) expires: Option<Moment>,
    pub(crate) deadline: Option<Moment>,
    pub(crate) error: Option<String>,
    pub(crate) error_kind: Option<String>,
    /// What the operator can tell the partner.
    pub(crate) tell_partner: Option<String>,
    pub(crate) receipt: Option<ReceiptFacts>,
    pub(crate) attempts: Vec<AttemptRow>,
    pub(crate) mdns: Vec<MdnLink>,
}

/// The destination's evidence.
pub(crate) struct ReceiptFacts {
    pub(crate) kind: &'static str,
    pub(crate) at: Moment,
    pub(crate) positive: bool,
    pub(crate) summary: String,
    pub(crate) facts: Facts,
}

/// An MDN to download.
pub(crate) struct MdnLink {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// One attempt.
pub(crate) struct AttemptRow {
    pub(crate) number: u32,
    pub(crate) node: String,
    pub(crate) badge: Badge,
    pub(crate) started: Moment,
    pub(crate) took: String,
    pub(crate) text: String,
}

impl DeliverySection {
    pub(crate) fn new(
        transfer: TransferId,
        delivery: &DeliveryView,
        mdns: &[KeptMdn],
        now: Timestamp,
    ) -> Self {
        let waits = matches!(delivery.state, DeliveryState::Pending | DeliveryState::Retrying);
        let open = !delivery.state.is_final();
        Self {
            id: delivery.id.to_string(),
            destination: safe_text(&delivery.destination),
            endpoint: safe_text(&delivery.endpoint),
            revision: delivery.revision,
            file_name: path_text(&delivery.file_name),
            sends: None,
            badge: Badge::delivery(delivery.state),
            on_the_wire: None,
            ended: !open,
            lane: delivery.lane.as_deref().map(safe_text),
            opens: delivery.opens_at.filter(|_| waits).map(Moment),
            due: waits.then_some(Moment(delivery.due_at)),
            expires: delivery.expires_at.filter(|_| open).map(Moment),
            deadline: delivery
                .receipt_deadline
                .filter(|_| delivery.state == DeliveryState::AwaitingReceipt)
                .map(Moment),
            error: delivery
                .error
                .as_deref()
                .filter(|_| delivery.state != DeliveryState::Delivered)
                .map(one_line),
            error_kind: delivery.error_kind.as_deref().map(safe_text),
            tell_partner: None,
            receipt: delivery.receipt.as_ref().map(ReceiptFacts::new),
            attempts: delivery.attempts.iter().map(|attempt| AttemptRow::new(attempt, now)).collect(),
            mdns: mdns
                .iter()
                .filter(|kept| kept.which.delivery() == Some(delivery.id))
                .map(|kept| MdnLink::new(transfer, kept))
                .collect(),
        }
    }
}

impl ReceiptFacts {
    fn new(receipt: &Receipt) -> Self {
        let mut detail = receipt.detail.clone();
        if let Some(connection) = receipt.connection {
            detail.insert("connection".to_owned(), connection.to_string().into());
        }
        let facts = facts(&detail);
        Self {
            kind: match receipt.kind {
                ReceiptKind::Path => "Path",
                ReceiptKind::HttpStatus => "HTTP status",
                ReceiptKind::Mdn => "MDN",
            },
            at: Moment(receipt.at),
            positive: receipt.positive,
            summary: one_line(&receipt.summary),
            facts: facts.into(),
        }
    }
}

impl MdnLink {
    fn new(transfer: TransferId, kept: &KeptMdn) -> Self {
        let text = match (kept.which, kept.attempt) {
            (WhichMdn::NotAccepted(_), Some(attempt)) => {
                format!("Rejected MDN (attempt {attempt})")
            }
            (WhichMdn::NotAccepted(_), None) => "Rejected MDN".to_owned(),
            (WhichMdn::Contradicted(_), _) => "MDN that a later one contradicts".to_owned(),
            (WhichMdn::Accepted(_) | WhichMdn::Sent, _) => "MDN".to_owned(),
        };
        Self { path: mdn_path(transfer, kept.which), text }
    }
}

impl AttemptRow {
    fn new(attempt: &AttemptView, now: Timestamp) -> Self {
        let text = attempt
            .error
            .as_deref()
            .or(attempt.receipt.as_ref().map(|receipt| receipt.summary.as_str()))
            .map(one_line);
        Self {
            number: attempt.number,
            node: safe_text(&attempt.node),
            badge: Badge::attempt(attempt.outcome.as_deref()),
            started: Moment(attempt.started_at),
            took: between(attempt.started_at, attempt.ended_at.unwrap_or(now)),
            text: text.unwrap_or_default(),
        }
    }
}
