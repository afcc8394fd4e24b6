//! Queries for pages, the command line and the API: filtered lists, one transfer's waybill, the overview.
//!
//! Every list is newest first and paged by keyset: a page begins after the last row of the previous one, so that a
//! deep page costs as much as the first, and no row is shown twice while rows are added. A statement has only the
//! conditions of its filter, and is planned for their values each time: with `$1 IS NULL OR …` SQLite would find no
//! index, and Postgres would stop using it after five runs.

mod bounded;
mod connections;
mod events;
mod evidence;
mod mdn;
mod overview;
mod partners;
mod problems;
mod query;
mod sealed_events;
mod selection;
mod transfers;
mod unreadable;
mod waybill;

pub use connections::{ConnectionFilter, ConnectionView};
pub(crate) use connections::{ConnectionRow, SELECT as CONNECTIONS};
pub use events::{EventFilter, EventView};
pub use evidence::{EvidencePayload, EvidenceTransfer, EvidenceView, KeptEvidence};
pub use mdn::{KeptMdn, WhichMdn};
pub use overview::{FailingDelivery, FlowDay, HourCount, Overview, StoreMetrics};
pub use partners::{ReceivedExchange, SentExchange, TROUBLES_OF_PARTNERS};
pub use problems::{FailingSteps, RefusedMessages, SourceFiles};
pub(crate) use query::split;
pub use query::{Cursor, Listing, Page};
pub use sealed_events::{ExportedSeal, SealedEvents};
pub use selection::Selection;
pub use transfers::{TransferFilter, TransferView};
pub(crate) use unreadable::Attempted;
pub use unreadable::UnreadableRow;
pub(crate) use waybill::AttemptRow;
pub use waybill::{
    AttachmentView, AttemptView, DeliveryView, EventGap, MadeView, OfferView, ProcessingView, Waybill,
};

#[cfg(test)]
mod tests;
