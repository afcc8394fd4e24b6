//! What moves: offers, payloads, transfers, deliveries and their receipts.

use crate::connection::words;
use crate::{
    ConnectionId, DeliveryId, DeliveryState, MdnEntity, NodeName, OfferId, OfferState, PayloadId, RemotePath,
    Timestamp, TransferId, TransferState,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};
use std::fmt;

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256(pub [u8; 32]);

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for Sha256 {
    type Err = &'static str;

    /// Reads 64 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut hash = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("a SHA-256 digest has 64 hexadecimal digits");
        }
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16)
                .map_err(|_| "a SHA-256 digest has 64 hexadecimal digits")?;
        }
        Ok(Self(hash))
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

words! {
    /// What tells files apart.
    IdentityRule {
        /// The path, size, time and version.
        NameSizeTime = "name_size_time",
        /// The path alone.
        Name = "name",
        /// The content: path, size, time and version only say which files were read already.
        Content = "content",
    }
}

impl IdentityRule {
    /// The words of definitions.
    pub const WORDS: &'static [&'static str] = &["name_size_time", "name", "content"];
}

#[allow(clippy::derivable_impls, reason = "the macro derives a fixed list")]
impl Default for IdentityRule {
    fn default() -> Self {
        Self::NameSizeTime
    }
}

/// What makes an offer the same offer: while its row is open, the same identity is not offered again.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct OfferIdentity {
    /// The flow that found it.
    pub flow: String,
    /// Where it lies.
    pub endpoint: String,
    /// Its path there.
    pub path: RemotePath,
    /// Its size in bytes, where the place tells it.
    pub size: Option<u64>,
    /// When it last changed, where the place tells it.
    pub modified: Option<Timestamp>,
    /// An etag, inode or UID, where there is one.
    pub version: Option<String>,
    /// What of it tells files apart.
    #[serde(default)]
    pub rule: IdentityRule,
}

impl OfferIdentity {
    /// One text that is equal exactly when the identity is: the database's unique key.
    #[must_use]
    pub fn key(&self) -> String {
        if self.rule == IdentityRule::Name {
            return serde_json::json!([self.flow, self.endpoint, self.path.to_text()]).to_string();
        }
        let size = self.size.map_or(Value::Null, Value::from);
        let modified = self.modified.map_or(Value::Null, |at| Value::from(at.timestamp_micros()));
        Value::from(vec![
            Value::from(self.flow.as_str()),
            Value::from(self.endpoint.as_str()),
            Value::from(self.path.to_text()),
            size,
            modified,
            self.version.as_deref().map_or(Value::Null, Value::from),
        ])
        .to_string()
    }
}

/// Something a source has: plain data, so that any node can settle it, days later, without its reader.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Offer {
    /// This offer.
    pub id: OfferId,
    /// What it is.
    pub identity: OfferIdentity,
    /// Where it stands.
    pub state: OfferState,
    /// When it was first found.
    pub found_at: Timestamp,
    /// Tries to stage or settle it that failed.
    pub failures: u32,
    /// What the source needs to find it again, in its own words (a claimed name, a UID).
    pub source_data: Map<String, Value>,
}

/// Where the bytes of a payload are, and their hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// In staging.
    Staged(Sha256),
    /// At their source, where each attempt of the delivery reads them. The hash is known once they were delivered.
    Streamed(Option<Sha256>),
}

impl Content {
    /// The hash, as far as it is known.
    #[must_use]
    pub const fn sha256(self) -> Option<Sha256> {
        match self {
            Self::Staged(sha256) => Some(sha256),
            Self::Streamed(sha256) => sha256,
        }
    }

    /// Whether the bytes are not staged.
    #[must_use]
    pub const fn is_streamed(self) -> bool {
        matches!(self, Self::Streamed(_))
    }
}

/// A payload, as the database knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PayloadRecord {
    /// These bytes.
    pub id: PayloadId,
    /// Their number; of a streamed payload, as the source reports it.
    pub length: u64,
    /// Where they are, and their hash.
    pub content: Content,
    /// The media type, when the source or the flow told it.
    pub media_type: Option<String>,
    /// The file name as received.
    pub file_name: RemotePath,
    /// When they were staged; of a streamed payload, when it was recorded.
    pub staged_at: Timestamp,
}

/// A file that came with a transfer's payload, and is sent with it in one message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attachment {
    /// Its bytes, with its name and media type.
    pub payload: PayloadRecord,
    /// What its source said of it, as the metadata of a transfer of its own would have it.
    pub metadata: Map<String, Value>,
}

words! {
    /// What kind of journey it is.
    TransferKind {
        /// A payload through a flow.
        Payload = "payload",
        /// A receipt that is sent later.
        Receipt = "receipt",
        /// A reply that came with a delivery.
        Reply = "reply",
        /// A payload that another transfer could not deliver, on its failure route.
        Failure = "failure",
        /// A file that a person sends to an endpoint.
        ByHand = "by_hand",
    }
}

/// One payload's journey through a flow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// This transfer.
    pub id: TransferId,
    /// Its kind.
    pub kind: TransferKind,
    /// The flow it goes through.
    pub flow: String,
    /// The revision of the definitions whose flow it goes through, to its end; 0 where there is none.
    pub revision: i64,
    /// The offer it came from.
    pub offer: Option<OfferId>,
    /// The transfer it was made from (part, transform, reply, resubmission, failure route).
    pub parent: Option<TransferId>,
    /// The part's place in its offer or message, from 1.
    pub sequence: u32,
    /// The partner it came from or goes to, when there is one.
    pub partner: Option<String>,
    /// Its bytes.
    pub payload: PayloadRecord,
    /// Where it stands.
    pub state: TransferState,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// Metadata for templates and destinations.
    pub metadata: Map<String, Value>,
}

/// One destination of a transfer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// This delivery.
    pub id: DeliveryId,
    /// Its transfer.
    pub transfer: TransferId,
    /// The flow's name for the destination.
    pub destination: String,
    /// The endpoint it goes to.
    pub endpoint: String,
    /// The revision whose flow it goes through since a person retried it; `None`: that of its transfer.
    pub revision: Option<i64>,
    /// The name it is given there, relative to the endpoint's directory.
    pub file_name: RemotePath,
    /// Where it stands.
    pub state: DeliveryState,
    /// Attempts begun.
    pub attempt: u32,
    /// Its lane, when the flow is ordered.
    pub lane: Option<String>,
    /// When it may be claimed.
    pub due_at: Timestamp,
    /// When it is no longer wanted.
    pub expires_at: Option<Timestamp>,
}

impl Delivery {
    /// The revision of the definitions whose flow it goes through.
    #[must_use]
    pub fn revision_of(&self, transfer: &Transfer) -> i64 {
        self.revision.unwrap_or(transfer.revision)
    }
}

/// The right to do the steps of a transfer, as [`Claim`] is for a delivery.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ProcessingClaim {
    /// The transfer.
    pub transfer: TransferId,
    /// Who holds it.
    pub node: NodeName,
    /// The node's lease epoch.
    pub epoch: i64,
    /// The attempt, from 1.
    pub attempt: u32,
}

/// The right to work on a delivery: every write about it names this, and is refused once another
/// node holds it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Claim {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Who holds it.
    pub node: NodeName,
    /// The node's lease epoch.
    pub epoch: i64,
    /// The attempt, from 1.
    pub attempt: u32,
}

words! {
    /// What kind of evidence a destination gave.
    ReceiptKind {
        /// The path where the file lies, with its size and checksum where verified.
        Path = "path",
        /// An HTTP status.
        HttpStatus = "http_status",
        /// A message disposition notification (RFC 8098, RFC 4130).
        Mdn = "mdn",
    }
}

/// A destination's evidence that it has the payload, or that it will not take it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// What it is.
    pub kind: ReceiptKind,
    /// When it came.
    pub at: Timestamp,
    /// Whether it says yes.
    pub positive: bool,
    /// One line for a list: a path, a status, a disposition.
    pub summary: String,
    /// The connection that the payload went over, where it went over one.
    pub connection: Option<ConnectionId>,
    /// The MDN itself, where the evidence is one.
    pub mdn: Option<MdnEntity>,
    /// The rest, by key: MIC, disposition, status, path, size, checksum.
    pub detail: Map<String, Value>,
}

/// How an offer ended, which the source needs to settle it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Ours: recorded (and, with `settle = "after_delivery"`, delivered).
    Taken,
    /// Given up, or its deliveries failed: goes to the error directory, where the flow names one.
    Refused,
}

/// The key of a note among a delivery's: `true` when a person sent it again after later ones of its lane had been begun, so
/// that what stands at the destination since its last attempt may be theirs.
pub const OVERTAKEN: &str = "overtaken";
