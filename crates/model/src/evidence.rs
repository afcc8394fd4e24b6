//! What is said of a message in its evidence, and what the pieces are called: who writes a package of it, and who checks
//! that package offline, read the same.

use crate::EventKind;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The events with which evidence is recorded: that of the transfer, of the delivery, or one of its own.
pub const RECORDINGS: [EventKind; 4] = [
    EventKind::TransferRecorded,
    EventKind::TransferHeld,
    EventKind::DeliveryDelivered,
    EventKind::EvidenceRecorded,
];

/// The header fields that the message came or went with, one a line, as they were; without those that log somebody in.
pub const MESSAGE_HEADER: &str = "message-header";
/// The header section, with the empty line behind it, of what was signed, or of what the MIC covers.
pub const SIGNED_HEAD: &str = "signed-head";
/// The signature by S/MIME: a DER or BER SignedData without content.
pub const SIGNATURE: &str = "signature";
/// The signature by OpenPGP: its packet, or the armour in which it came.
pub const PGP_SIGNATURE: &str = "pgp-signature";
/// The receipt (MDN) as a whole MIME entity: the one that we sent, or the one that proved what we sent.
pub const RECEIPT: &str = "receipt";
/// The certificate that verifies the signature, DER.
pub const SIGNER: &str = "signer";
/// The OpenPGP public key that verifies the signature, in armour.
pub const PGP_SIGNER: &str = "pgp-signer";
/// A certificate that verifies the receipt, DER; more of them are called `receipt-signer-2` and so on.
pub const RECEIPT_SIGNER: &str = "receipt-signer";
/// An OpenPGP public key that verifies the receipt, in armour; more of them are called `pgp-receipt-signer-2` and so on.
pub const PGP_RECEIPT_SIGNER: &str = "pgp-receipt-signer";

/// Which way a message went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageWay {
    /// A partner sent it to us.
    Received,
    /// We sent it to a partner.
    Sent,
}

/// Which of the kept bytes a signature and a MIC cover.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Covered {
    /// The piece [`SIGNED_HEAD`], and the content behind it.
    HeadAndContent,
    /// The content alone.
    Content,
    /// They cover other bytes, which were not kept.
    NotKept,
}

/// What is said of a message. Everything that a peer chose went through [`crate::PeerText`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MessageFacts {
    /// Which way it went.
    pub way: MessageWay,
    /// The partner's name in the definitions.
    pub partner: String,
    /// Our identity's name in the definitions.
    pub identity: String,
    /// The AS2 name of the sender.
    pub as2_from: String,
    /// The AS2 name of the receiver.
    pub as2_to: String,
    /// The Message-ID with its angle brackets.
    pub message_id: String,
    /// The `Date` of the message.
    pub date: Option<String>,
    /// Its subject.
    pub subject: Option<String>,
    /// Its MIC, as `base64, algorithm`.
    pub mic: Option<String>,
    /// By which rule the MIC was made.
    pub mic_rule: Option<String>,
    /// Which bytes the MIC, and the signature if there is one, cover.
    pub covered: Covered,
    /// Whether they cover the content with every bare LF read as CRLF.
    pub canonical: bool,
    /// SHA-256 of the certificate that verifies the signature, or the fingerprint of the OpenPGP key, in hexadecimal; `None` of
    /// a message that is not signed.
    pub signer: Option<String>,
    /// How it was encrypted.
    pub cipher: Option<String>,
    /// SHA-256 of the certificate with which we signed the receipt, or the fingerprint of the OpenPGP key, in hexadecimal.
    pub receipt_signer: Option<String>,
}

impl MessageFacts {
    /// As [`Evidence`](self) is stored.
    #[must_use]
    pub fn to_map(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            // Texts, words and a truth value: nothing that JSON cannot hold.
            _ => Map::new(),
        }
    }

    /// Reads what was stored.
    ///
    /// # Errors
    /// It was written by another version, or changed.
    pub fn read(map: &Map<String, Value>) -> Result<Self, serde_json::Error> {
        serde_json::from_value(Value::Object(map.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_come_back_as_they_were() {
        let facts = MessageFacts {
            way: MessageWay::Received,
            partner: "globex".into(),
            identity: "acme".into(),
            as2_from: "GLOBEX".into(),
            as2_to: "ACME".into(),
            message_id: "<1@globex>".into(),
            date: None,
            subject: Some("Orders".into()),
            mic: Some("AAAA, sha-256".into()),
            mic_rule: None,
            covered: Covered::HeadAndContent,
            canonical: true,
            signer: None,
            cipher: Some("AES-256-CBC".into()),
            receipt_signer: None,
        };
        let map = facts.to_map();
        assert_eq!(map["way"], "received");
        assert_eq!(map["covered"], "head_and_content");
        assert_eq!(MessageFacts::read(&map).unwrap(), facts);
        assert!(MessageFacts::read(&Map::new()).is_err());
    }
}
