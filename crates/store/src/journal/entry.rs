//! One line of the journal: sixteen hexadecimal digits of a checksum, a space, JSON, a line break.
//!
//! JSON has no raw line breaks, so a line is a record: after damage the next line is found again, and a
//! person can read the file. The checksum is the beginning of SHA-256 over the JSON.

use model::{AuditEvent, ConnectionClosed, ConnectionFailed, ConnectionOpened, NodeName, Timestamp};
use serde::{Deserialize, Serialize};

/// Longest line, in bytes; what an event can be at most, with room.
pub(crate) const LONGEST: usize = 1024 * 1024;

/// What the journal takes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalEntry {
    /// A connection came up.
    Opened(ConnectionOpened),
    /// A connection ended.
    Closed(ConnectionClosed),
    /// No connection came up.
    Failed(ConnectionFailed),
    /// An event about connections that has no row of its own.
    Event(AuditEvent),
}

/// First line of a segment: whose entries follow.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    /// 1.
    pub(crate) version: u32,
    /// The node.
    pub(crate) node: NodeName,
    /// When the process began that wrote the segment.
    pub(crate) process: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    Segment(Header),
    Entry(Box<JournalEntry>),
}

/// The line, with its line break.
pub(crate) fn encode(line: &Line) -> serde_json::Result<Vec<u8>> {
    let json = serde_json::to_vec(line)?;
    let mut bytes = Vec::with_capacity(json.len() + 18);
    bytes.extend_from_slice(checksum(&json).as_bytes());
    bytes.push(b' ');
    bytes.extend_from_slice(&json);
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads a line without its line break; `None` when it is not whole.
pub(crate) fn decode(line: &[u8]) -> Option<Line> {
    let (sum, json) = line.split_at_checked(17)?;
    let json = (sum[..16] == *checksum(json).as_bytes() && sum[16] == b' ').then_some(json)?;
    serde_json::from_slice(json).ok()
}

fn checksum(json: &[u8]) -> String {
    let mut text = model::Sha256(openssl::sha::sha256(json)).to_string();
    text.truncate(16);
    text
}
