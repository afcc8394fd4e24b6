//! One line of the journal: sixteen hexadecimal digits of a checksum, a space, JSON, a line break.
//!
//! JSON has no raw line breaks, so a line is an entry: after damage the next line can be found, and a person can read
//! the file. The checksum is the beginning of SHA-256 over the JSON.

use model::{AuditEvent, ConnectionClosed, ConnectionFailed, ConnectionOpened, NodeName, Timestamp};
use serde::{Deserialize, Serialize};

/// The longest line, in bytes: the largest possible event, with a margin.
pub(crate) const LONGEST: usize = 1024 * 1024;

/// An entry of the journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalEntry {
    /// A connection was opened.
    Opened(ConnectionOpened),
    /// A connection ended.
    Closed(ConnectionClosed),
    /// A connection failed.
    Failed(ConnectionFailed),
    /// An event about connections without its own row.
    Event(AuditEvent),
}

/// The first line of a segment: the process that wrote it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    /// Format version: 1.
    pub(crate) version: u32,
    /// The node.
    pub(crate) node: NodeName,
    /// When the process that wrote the segment began.
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

/// Reads a line without its line break; `None` if it is incomplete or damaged.
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
