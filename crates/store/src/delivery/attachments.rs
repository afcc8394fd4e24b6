//! The attachments of transfers: files that came with a payload, and are sent with it.

use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::row::{content, hex_list, path, unsigned};
use crate::tx::Tx;
use model::{Attachment, PayloadId, PayloadRecord, Result, Timestamp, TransferId};
use serde_json::{Map, Value};
use sqlx::FromRow;
use sqlx::types::Json;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

#[derive(FromRow)]
struct AttachmentRow {
    transfer_id: Uuid,
    metadata: Json<Map<String, Value>>,
    id: Uuid,
    length: i64,
    sha256: Option<Vec<u8>>,
    streamed: bool,
    media_type: Option<String>,
    file_name: String,
    staged_at: Timestamp,
}

/// What [`AttachmentRow`] is read from.
macro_rules! attachment_rows {
    () => {
        "SELECT a.transfer_id, a.metadata, p.id, p.length, p.sha256, p.streamed, p.media_type, p.file_name, p.staged_at \
         FROM attachments a JOIN payloads p ON p.id = a.payload_id WHERE "
    };
}

impl AttachmentRow {
    fn attachment(self) -> Result<Attachment> {
        let payload = PayloadRecord {
            id: PayloadId::new(self.id),
            length: unsigned(self.length)?,
            content: content(self.streamed, self.sha256)?,
            media_type: self.media_type,
            file_name: path(&self.file_name)?,
            staged_at: self.staged_at,
        };
        Ok(Attachment { payload, metadata: self.metadata.0 })
    }
}

/// The attachments of several transfers.
#[derive(Default)]
pub(super) struct Attachments {
    /// In their order, by transfer.
    pub(super) of: HashMap<Uuid, Vec<Attachment>>,
    /// The transfers of which this version cannot read all: nothing is sent without them.
    pub(super) unreadable: HashSet<Uuid>,
}

/// Reads the attachments of transfers.
pub(super) async fn attachments_of(tx: &mut Tx<'_>, transfers: &[Uuid]) -> Result<Attachments, Fault> {
    let rows: Vec<AttachmentRow> = on!(tx,
        sqlite c => sqlx::query_as(concat!(attachment_rows!(),
            "a.transfer_id IN (SELECT unhex(value) FROM json_each($1)) ORDER BY a.transfer_id, a.place"))
            .bind(hex_list(transfers)).fetch_all(c).await,
        postgres c => sqlx::query_as(concat!(attachment_rows!(),
            "a.transfer_id = ANY($1) ORDER BY a.transfer_id, a.place"))
            .bind(transfers).fetch_all(c).await,
    )?;
    let mut found = Attachments::default();
    for row in rows {
        let transfer = row.transfer_id;
        match row.attachment() {
            Ok(attachment) => found.of.entry(transfer).or_default().push(attachment),
            Err(error) => {
                tracing::error!(%transfer, error = error.chain(), "an attachment of this transfer cannot be read");
                found.unreadable.insert(transfer);
            }
        }
    }
    Ok(found)
}

impl Store {
    /// The attachments of a transfer, in their order.
    ///
    /// # Errors
    /// The database failed, or this version cannot read a row.
    pub async fn attachments(&self, transfer: TransferId) -> Result<Vec<Attachment>> {
        let rows: Vec<AttachmentRow> = self
            .read("look up the attachments of a transfer", async {
                on!(self.pool(), c => sqlx::query_as(concat!(attachment_rows!(), "a.transfer_id = $1 ORDER BY a.place"))
                    .bind(transfer.uuid()).fetch_all(c).await)
            })
            .await?;
        rows.into_iter().map(AttachmentRow::attachment).collect()
    }
}
