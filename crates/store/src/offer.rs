//! Offers: the files that sources have, and their state.

mod archive;
mod known;
mod record;
mod settle;

pub use archive::{ArchiveRecord, ArchiveSite};
pub use known::{EarlierTries, KnownOffer};
pub(crate) use record::insert_settled;
pub use record::{KnownContent, OfferFailed, RecordOffer, Recorded};
pub use settle::OfferToSettle;
