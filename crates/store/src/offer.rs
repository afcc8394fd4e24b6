//! Offers: what sources have, and how far we are with it.

mod known;
mod record;
mod settle;

pub use record::{OfferFailed, RecordOffer, Recorded};

use model::{OfferIdentity, Sha256};
