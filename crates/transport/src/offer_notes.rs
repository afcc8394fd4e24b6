//! The engine's notes about an offer, for the source that settles it.

use model::Sha256;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The key of the notes in an offer's `source_data`.
const KEY: &str = "engine";

/// The engine's notes about an offer. The source that settles it reads them, perhaps days later on another
/// node. They are kept in the offer's `source_data`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OfferNotes {
    /// Whether the file no longer existed after it was read: the bytes that were read may be the only copy.
    pub gone: bool,
    /// How many bytes were read, if the source reports another size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_bytes: Option<u64>,
    /// The SHA-256 of the bytes that were read, for an offer that is one file. It identifies the file if a
    /// move changes its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// The key of the done file that the file was found with: while this offer is known, the same done file does not
    /// stand for another file of the name ([`crate::KnownOffers::used_done_files`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done_file: Option<String>,
    /// Whether the file has the name of its claim, until it is settled or released.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub claimed: bool,
    /// Why the offer was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

impl OfferNotes {
    /// The notes in `source_data`; empty if there are none.
    #[must_use]
    pub fn of(source_data: &Map<String, Value>) -> Self {
        source_data.get(KEY).and_then(|notes| Self::deserialize(notes).ok()).unwrap_or_default()
    }

    /// Takes the claim out of the notes in `source_data`, as its file is renamed back.
    pub fn release(source_data: &mut Map<String, Value>) {
        if Self::of(source_data).claimed {
            Self::change(source_data, |notes| notes.claimed = false);
        }
    }

    /// Changes the notes in `source_data`.
    pub fn change(source_data: &mut Map<String, Value>, change: impl FnOnce(&mut Self)) {
        let mut notes = Self::of(source_data);
        change(&mut notes);
        // A struct of plain values always has a JSON form.
        if let Ok(notes) = serde_json::to_value(notes) {
            source_data.insert(KEY.to_owned(), notes);
        }
    }
}
