//! What proves a message, for whoever must prove it later.

use crate::StagedPayload;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// The most bytes of all pieces of one [`Evidence`] together.
pub const LARGEST_EVIDENCE: usize = 4 << 20;

/// What proves that a message was sent or received: signatures, receipts, certificates, and which bytes they cover. It is
/// kept for a time of its own, apart from the payload's. What the pieces are called, and what is said of them, is the
/// transport's to say; nobody else reads it but who writes the package for the auditor.
#[derive(Clone, PartialEq, Debug)]
pub struct Evidence {
    /// How long it is kept from the moment when it is recorded.
    pub keep_for: Duration,
    /// What is said of the message: names, ids, MIC. Text from a peer goes through [`model::PeerText`]; numbers are whole.
    pub about: Map<String, Value>,
    /// Small pieces by name, byte for byte; at most [`LARGEST_EVIDENCE`] together.
    pub pieces: BTreeMap<String, Vec<u8>>,
    /// The bytes that a signature or a MIC covers, besides the pieces; `None` if nothing does.
    pub content: Option<EvidenceContent>,
    /// Whether the content is kept as long as the evidence. If not, it is removed with the payload.
    pub keeps_content: bool,
}

/// The bytes that a signature or a MIC covers, besides the pieces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EvidenceContent {
    /// The payload: of a received message its only part, of a delivery what it sends.
    Payload,
    /// Other bytes, staged for the evidence alone.
    Staged(StagedPayload),
}

impl Evidence {
    /// The bytes of all pieces together.
    #[must_use]
    pub fn size(&self) -> usize {
        self.pieces.values().map(Vec::len).sum()
    }

    /// The staged bytes that belong to it alone.
    #[must_use]
    pub fn staged(&self) -> Option<&StagedPayload> {
        match &self.content {
            Some(EvidenceContent::Staged(staged)) => Some(staged),
            Some(EvidenceContent::Payload) | None => None,
        }
    }
}
