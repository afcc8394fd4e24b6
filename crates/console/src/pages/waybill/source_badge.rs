//! The state of a transfer's source file.

use crate::web::badge::{Badge, Icon, Tone};
use model::OfferState;

/// What has been done with the file at its source.
pub(crate) fn source_badge(state: OfferState) -> Badge {
    match state {
        OfferState::Settled => Badge::new(Tone::Good, Icon::Check, "Settled"),
        OfferState::Recorded => Badge::new(Tone::Quiet, Icon::Clock, "Waiting to be settled"),
        OfferState::Settling => Badge::new(Tone::Busy, Icon::Moving, "Settling"),
        OfferState::Refused => Badge::new(Tone::Bad, Icon::Cross, "Refused"),
        OfferState::BackedOff => Badge::new(Tone::Warn, Icon::Repeat, "Retrying"),
        OfferState::Seen => Badge::new(Tone::Quiet, Icon::Info, "Found"),
        OfferState::Staging => Badge::new(Tone::Busy, Icon::Moving, "Staging"),
    }
}
