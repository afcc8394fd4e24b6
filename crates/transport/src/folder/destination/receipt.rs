//! The receipt of a file that has arrived.

use super::FolderDestination;
use super::modified::ModifiedTime;
use crate::folder::NotSet;
use crate::{Resumption, Sent};
use model::{ConnectionId, Receipt, ReceiptKind, RemotePath, Sha256};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// A file that has arrived.
pub(super) struct Arrival<'a> {
    /// Its path.
    pub(super) name: &'a RemotePath,
    /// Its length in bytes.
    pub(super) size: u64,
    /// The SHA-256 of its bytes.
    pub(super) sha256: Sha256,
    /// What proves that it is complete.
    pub(super) verified_by: Cow<'static, str>,
    /// The connection over which it went.
    pub(super) connection: Option<ConnectionId>,
    /// What became of its modification time, if it was to be kept.
    pub(super) time: Option<&'a ModifiedTime>,
    /// The times that it went on after its connection broke.
    pub(super) resumptions: &'a [Resumption],
    /// What the flow asks for and the server has not set.
    pub(super) not_set: NotSet,
}

impl FolderDestination {
    /// The end of its delivery; `further` are details that only some have.
    pub(super) fn arrived<const N: usize>(
        &self,
        arrival: Arrival<'_>,
        further: [(&'static str, Value); N],
    ) -> Sent {
        let path = arrival.name.to_text();
        let mut detail = Map::new();
        detail.insert("path".into(), Value::from(path.as_str()));
        detail.insert("size".into(), Value::from(arrival.size));
        detail.insert("sha256".into(), Value::from(arrival.sha256.to_string()));
        detail.insert("verified_by".into(), Value::from(arrival.verified_by));
        detail.extend(further.into_iter().map(|(key, value)| (key.to_owned(), value)));
        if let Some(time) = arrival.time {
            time.tell(&mut detail);
        }
        arrival.not_set.tell(&mut detail);
        if !arrival.resumptions.is_empty() {
            // Plain values always have a JSON form.
            detail.insert("resumed".into(), serde_json::to_value(arrival.resumptions).unwrap_or_default());
        }
        let receipt = Receipt {
            kind: ReceiptKind::Path,
            at: self.services.clock.now(),
            positive: true,
            summary: path,
            connection: arrival.connection,
            mdn: None,
            detail,
        };
        Sent::Delivered { receipt, replies: Vec::new() }
    }
}
