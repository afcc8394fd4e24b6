//! Offers: what sources have, and how far we are with it.

mod known;
mod record;
mod settle;

pub use known::{EarlierTries, KnownOffer};
pub(crate) use record::insert_settled;
pub use record::{OfferFailed, RecordOffer, Recorded};
pub use settle::OfferToSettle;
