//! The files that came together with a transfer's own.

use super::{AT_MOST, apart};
use crate::Store;
use crate::row::{path, sha256, unsigned};
use crate::search::query::{Bind, Query, split};
use crate::search::transfers::{SELECT, TransferRow};
use crate::search::unreadable::{Attempted, UnreadableRow};
use crate::search::{OfferView, TransferView};
use model::{PayloadId, RemotePath, Result, Sha256, Timestamp, TransferId};
use sqlx::FromRow;
use uuid::Uuid;

/// An attachment of a transfer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttachmentView {
    /// Its bytes.
    pub payload: PayloadId,
    /// Its name.
    pub file_name: RemotePath,
    /// The number of its bytes.
    pub length: u64,
    /// Their hash.
    pub sha256: Option<Sha256>,
    /// Its media type.
    pub media_type: Option<String>,
    /// When its bytes were removed, at the end of their retention.
    pub removed_at: Option<Timestamp>,
}

#[derive(FromRow)]
struct AttachmentRow {
    id: Uuid,
    file_name: String,
    length: i64,
    sha256: Option<Vec<u8>>,
    media_type: Option<String>,
    removed_at: Option<Timestamp>,
}

impl AttachmentRow {
    fn view(self) -> Result<AttachmentView> {
        Ok(AttachmentView {
            payload: PayloadId::new(self.id),
            file_name: path(&self.file_name)?,
            length: unsigned(self.length)?,
            sha256: self.sha256.map(sha256).transpose()?,
            media_type: self.media_type,
            removed_at: self.removed_at,
        })
    }
}

impl Store {
    pub(super) async fn attachments_shown(
        &self,
        transfer: TransferId,
        unreadable: &mut Vec<UnreadableRow>,
    ) -> Result<Vec<AttachmentView>> {
        let mut query = Query::new(
            self,
            "SELECT p.id, p.file_name, p.length, p.sha256, p.media_type, p.removed_at \
             FROM attachments a JOIN payloads p ON p.id = a.payload_id WHERE TRUE",
        );
        query.and("a.transfer_id = ?", Some(Bind::Id(transfer.uuid())));
        query.sql.push_str(" ORDER BY a.place");
        let rows: Vec<Attempted<AttachmentRow>> =
            query.fetch(self, "read the attachments of a transfer").await?;
        Ok(apart(split(rows, AttachmentRow::view), unreadable))
    }

    /// The other transfers of the same message or offer, through the same flow, in the order of its files.
    pub(super) async fn came_with(
        &self,
        offer: &OfferView,
        transfer: &TransferView,
        unreadable: &mut Vec<UnreadableRow>,
    ) -> Result<Vec<TransferView>> {
        let mut query = Query::new(self, SELECT);
        query.and("t.offer_id = ?", Some(Bind::Id(offer.id.uuid())));
        query.and("t.id <> ?", Some(Bind::Id(transfer.id.uuid())));
        query.and_text("t.flow = ?", Some(&transfer.flow));
        query.sql.push_str(&format!(" ORDER BY t.sequence, t.id LIMIT {AT_MOST}"));
        let rows: Vec<Attempted<TransferRow>> =
            query.fetch(self, "read the transfers of the same message").await?;
        Ok(apart(split(rows, TransferRow::view), unreadable))
    }
}
