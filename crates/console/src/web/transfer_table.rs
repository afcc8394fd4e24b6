//! Transfers as a table.

use crate::web::badge::Badge;
use crate::web::format::{Moment, ShortId, Size, between, path_text};
use askama::Template;
use model::TransferKind;
use store::TransferView;

/// The path of the list.
pub(crate) const TRANSFERS: &str = "/transfers";

/// A table of transfers.
#[derive(Template)]
#[template(path = "transfer_table.html")]
pub(crate) struct TransferTable {
    caption: &'static str,
    pub(crate) rows: Vec<TransferRow>,
}

impl askama::filters::HtmlSafe for TransferTable {}

impl TransferTable {
    pub(crate) fn new<'a>(caption: &'static str, rows: impl IntoIterator<Item = &'a TransferView>) -> Self {
        Self { caption, rows: rows.into_iter().map(TransferRow::new).collect() }
    }
}

/// A row of a list of transfers.
pub(crate) struct TransferRow {
    pub(crate) id: ShortId,
    pub(crate) badge: Badge,
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) flow: String,
    pub(crate) partner: Option<String>,
    /// Said of what is no ordinary payload.
    pub(crate) kind: Option<&'static str>,
    pub(crate) size: Size,
    pub(crate) delivered: u32,
    pub(crate) deliveries: u32,
    pub(crate) recorded: Moment,
    pub(crate) took: Option<String>,
}

impl TransferRow {
    pub(crate) fn new(transfer: &TransferView) -> Self {
        Self {
            id: ShortId(transfer.id.uuid()),
            badge: Badge::transfer(transfer.state),
            name: path_text(&transfer.file_name),
            url: format!("{TRANSFERS}/{}", transfer.id),
            flow: transfer.flow.clone(),
            partner: transfer.partner.clone(),
            kind: kind_word(transfer.kind),
            size: Size(transfer.length),
            delivered: transfer.delivered,
            deliveries: transfer.deliveries,
            recorded: Moment(transfer.created_at),
            took: transfer.ended_at.map(|end| between(transfer.created_at, end)),
        }
    }
}

pub(crate) const fn kind_word(kind: TransferKind) -> Option<&'static str> {
    match kind {
        TransferKind::Payload => None,
        TransferKind::Receipt => Some("Receipt"),
        TransferKind::Reply => Some("Reply"),
        TransferKind::Failure => Some("Failure route"),
        TransferKind::ByHand => Some("Sent by hand"),
    }
}
