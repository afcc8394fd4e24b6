//! The transfer id of a message that can go on where it broke off (draft-harding-as2-restart-06, 3.1): drawn with the message
//! and noted before its first byte leaves, so that every attempt, at any node, asks the partner for the same bytes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use transport::Services;

/// The key of the note.
pub(crate) const NOTE: &str = "as2_restart";

/// What a receipt says first of a message that went on: how often it did.
pub(crate) const RESTARTS: &str = "restarts";

/// Bytes of a transfer id that are random.
const RANDOM: usize = 18;

/// In as many attempts in a row a partner is asked in vain; then the whole message is sent.
const MOST_NOT_NOW: u32 = 4;

/// As many of the bytes at which a message went on are named, the last ones.
const MOST_PLACES: usize = 16;

/// A transfer, as it is noted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Transfer {
    /// The message that it sends: one under another Message-ID has a transfer of its own. Under the same one all versions of
    /// Waybill send the same bytes (`prepared`), so that they can be joined.
    message_id: String,
    /// The transfer id: an entity tag with its quotes, not a weak one.
    pub(crate) etag: String,
    /// Bytes of the whole message.
    total: u64,
    /// The partner refused the header fields that it needs: it is sent without them.
    #[serde(default)]
    pub(crate) is_refused: bool,
    /// An event has said that the partner does not support restart.
    #[serde(default)]
    pub(crate) is_warned: bool,
    /// In how many attempts in a row the partner could not be asked, as its server was not available.
    #[serde(default)]
    not_now: u32,
    /// How often a connection was lost and the partner had nothing, since it had something; and in how many attempts the message
    /// went without the header fields of restart because of that.
    #[serde(default)]
    in_vain: u32,
    /// How often the message went on, and the bytes that were not sent again.
    #[serde(default)]
    restarts: u64,
    #[serde(default)]
    saved: u64,
    /// The bytes at which it went on.
    #[serde(default)]
    places: Vec<u64>,
}

/// Whether the partner has said that it has a part of a message, which goes on from there.
///
/// # Errors
/// `Internal`, permanent: the note cannot be read.
pub(crate) fn has_part(notes: &BTreeMap<String, Value>, message_id: &str) -> Result<bool> {
    Ok(Transfer::of_message(notes, message_id)?.is_some_and(|noted| noted.is_proved() && !noted.is_refused))
}

impl Transfer {
    /// Draws a new one.
    pub(crate) fn new(services: &Services, message_id: &str, total: u64) -> Self {
        Self {
            message_id: message_id.to_owned(),
            etag: new_etag(services),
            total,
            is_refused: false,
            is_warned: false,
            not_now: 0,
            in_vain: 0,
            restarts: 0,
            saved: 0,
            places: Vec::new(),
        }
    }

    /// The one that an earlier attempt noted; `None` if that was for another message, or for other bytes.
    ///
    /// # Errors
    /// `Internal`, permanent: the note cannot be read.
    pub(crate) fn noted(
        notes: &BTreeMap<String, Value>,
        message_id: &str,
        total: u64,
    ) -> Result<Option<Self>> {
        let noted = Self::of_message(notes, message_id)?;
        Ok(noted.filter(|noted| noted.total == total))
    }

    fn of_message(notes: &BTreeMap<String, Value>, message_id: &str) -> Result<Option<Self>> {
        let Some(note) = notes.get(NOTE) else { return Ok(None) };
        let noted = Self::deserialize(note).map_err(|error| {
            Error::permanent(
                ErrorKind::Internal,
                "read the note of a message that can go on where it broke off",
            )
            .with("message_id", message_id)
            .caused_by(error)
        })?;
        Ok((noted.message_id == message_id).then_some(noted))
    }

    /// The note.
    ///
    /// # Errors
    /// `Internal`, permanent: it cannot be written.
    pub(crate) fn to_note(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|error| {
            Error::permanent(
                ErrorKind::Internal,
                "write the note of a message that can go on where it broke off",
            )
            .caused_by(error)
        })
    }

    /// The same message under another transfer id: nothing that the partner has under the old one is used.
    pub(crate) fn renew(&mut self, services: &Services) {
        self.etag = new_etag(services);
    }

    /// The partner's server was not available when it was asked. False: it was so too often, and is not asked any more.
    pub(crate) fn may_wait(&mut self) -> bool {
        self.not_now = self.not_now.saturating_add(1);
        self.not_now < MOST_NOT_NOW
    }

    /// The partner was asked, and has answered.
    pub(crate) fn has_answered(&mut self) {
        self.not_now = 0;
    }

    /// The connection was lost, and the partner has nothing of what was sent.
    pub(crate) fn had_nothing(&mut self) {
        self.in_vain = self.in_vain.saturating_add(1);
    }

    /// Whether the message goes without the header fields of restart in this attempt, after two that were in vain: something on
    /// the way may close connections because of these fields. The next attempt has them again, as a bad line looks the same.
    pub(crate) fn goes_plain(&mut self) -> bool {
        let is_plain = !self.is_proved() && self.in_vain > 0 && self.in_vain.is_multiple_of(2);
        if is_plain {
            self.had_nothing();
        }
        is_plain
    }

    /// The message goes on at this byte.
    pub(crate) fn went_on(&mut self, from: u64) {
        self.in_vain = 0;
        self.restarts = self.restarts.saturating_add(1);
        self.saved = self.saved.saturating_add(from);
        if self.places.len() >= MOST_PLACES {
            self.places.remove(0);
        }
        self.places.push(from);
    }

    /// Whether the partner has shown that it supports restart.
    pub(crate) const fn is_proved(&self) -> bool {
        self.restarts > 0
    }

    /// What the receipt says of it; nothing of a message that never went on.
    pub(crate) fn describe(&self) -> Vec<(&'static str, String)> {
        if self.restarts == 0 {
            return Vec::new();
        }
        let places: Vec<String> = self.places.iter().map(u64::to_string).collect();
        vec![
            (RESTARTS, self.restarts.to_string()),
            ("restarted_at_bytes", places.join(", ")),
            ("restart_saved_bytes", self.saved.to_string()),
        ]
    }
}

/// An entity tag that no other system draws (RFC 2616, 3.11, without the weak indicator).
pub(crate) fn new_etag(services: &Services) -> String {
    let mut random = [0_u8; RANDOM];
    services.random.fill(&mut random);
    format!("\"waybill-{}\"", URL_SAFE_NO_PAD.encode(random))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer() -> Transfer {
        Transfer {
            message_id: "<1@acme>".into(),
            etag: "\"waybill-1\"".into(),
            total: 1000,
            is_refused: false,
            is_warned: false,
            not_now: 0,
            in_vain: 0,
            restarts: 0,
            saved: 0,
            places: Vec::new(),
        }
    }

    fn noted(transfer: &Transfer, message_id: &str, total: u64) -> Option<Transfer> {
        let notes = BTreeMap::from([(NOTE.to_owned(), transfer.to_note().unwrap())]);
        Transfer::noted(&notes, message_id, total).unwrap()
    }

    #[test]
    fn a_transfer_is_used_again_for_the_same_bytes_alone() {
        let transfer = transfer();
        assert_eq!(noted(&transfer, "<1@acme>", 1000), Some(transfer.clone()));
        assert_eq!(noted(&transfer, "<2@acme>", 1000), None);
        assert_eq!(noted(&transfer, "<1@acme>", 1001), None);
        assert_eq!(Transfer::noted(&BTreeMap::new(), "<1@acme>", 1000).unwrap(), None);
        let broken = BTreeMap::from([(NOTE.to_owned(), Value::from("broken"))]);
        assert!(Transfer::noted(&broken, "<1@acme>", 1000).is_err());
    }

    #[test]
    fn a_server_that_is_not_available_is_waited_for_in_some_attempts() {
        let mut transfer = transfer();
        assert!((1..MOST_NOT_NOW).all(|_| transfer.may_wait()) && !transfer.may_wait());
        transfer.has_answered();
        assert!(transfer.may_wait());
    }

    #[test]
    fn a_partner_that_never_has_anything_gets_some_attempts_without_the_header_fields() {
        let mut transfer = transfer();
        // Nothing was sent and lost so far.
        assert!(!transfer.goes_plain() && !transfer.goes_plain());
        let mut attempt = || {
            let is_plain = transfer.goes_plain();
            if !is_plain {
                transfer.had_nothing();
            }
            is_plain
        };
        let plain: Vec<bool> = (0..6).map(|_| attempt()).collect();
        assert_eq!(plain, [false, false, true, false, true, false]);
        transfer.went_on(7);
        transfer.had_nothing();
        transfer.had_nothing();
        assert!(!transfer.goes_plain(), "it supports restart");
    }

    #[test]
    fn the_receipt_says_where_a_message_went_on() {
        let mut transfer = transfer();
        assert!(transfer.describe().is_empty());
        for from in 1..=20 {
            transfer.went_on(from);
        }
        let said: BTreeMap<_, _> = transfer.describe().into_iter().collect();
        assert_eq!((said["restarts"].as_str(), said["restart_saved_bytes"].as_str()), ("20", "210"));
        assert!(
            said["restarted_at_bytes"].starts_with("5, 6, ") && said["restarted_at_bytes"].ends_with(", 20")
        );
    }
}
