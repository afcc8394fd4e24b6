//! What the steps of the flow made of the payload.

use crate::web::format::{Moment, Size, one_line, safe_text};
use model::Lifecycle;
use store::{DeliveryView, MadeView, ProcessingView, Waybill};

/// A payload that a step made.
pub(crate) struct MadeSection {
    pub(crate) step: String,
    pub(crate) size: Size,
    pub(crate) sha256: String,
    pub(crate) parent_size: Size,
    pub(crate) parent_sha256: String,
    pub(crate) media_type: Option<String>,
    pub(crate) at: Moment,
    pub(crate) removed: Option<Moment>,
}

impl MadeSection {
    pub(crate) fn new(made: &MadeView) -> Self {
        Self {
            step: safe_text(&made.made_by),
            size: Size(made.length),
            sha256: made.sha256.to_string(),
            parent_size: Size(made.parent_length),
            parent_sha256: made.parent_sha256.to_string(),
            media_type: made.media_type.as_deref().map(safe_text),
            at: Moment(made.made_at),
            removed: made.removed_at.map(Moment),
        }
    }
}

/// Steps that are not done.
pub(crate) struct OpenSteps {
    /// The node that does them now.
    pub(crate) node: Option<String>,
    pub(crate) due: Option<Moment>,
    /// Why the last attempt failed.
    pub(crate) error: Option<String>,
}

impl OpenSteps {
    pub(crate) fn of(processing: &ProcessingView) -> Option<Self> {
        let ProcessingView { due_at, node, error, .. } = processing;
        let is_open = due_at.is_some() || node.is_some();
        is_open.then(|| Self {
            node: node.as_deref().map(safe_text),
            due: due_at.map(Moment),
            error: error.as_deref().map(one_line),
        })
    }
}

/// What a delivery sends, where that is not what was received.
pub(crate) fn sent(waybill: &Waybill, delivery: &DeliveryView) -> Option<String> {
    let Some(payload) = delivery.payload else {
        let words = if delivery.state.is_final() {
            "Nothing: the steps of its flow were not done"
        } else {
            "Nothing yet: the steps of its flow are not done"
        };
        return Some(words.to_owned());
    };
    let made = waybill.made.iter().find(|made| made.payload == payload)?;
    Some(format!("What {} made, SHA-256 {}", safe_text(&made.made_by), made.sha256))
}
