//! Sending a file that a person chose to an endpoint, as a transfer of its own.

use super::Act;
use crate::command::Command;
use crate::delivery::{NewTransfer, described, insert_transfers};
use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::tx::Tx;
use async_trait::async_trait;
use model::{Error, ErrorKind, EventKind, PeerText, Result};
use uuid::Uuid;

impl Store {
    /// Records the transfer of a staged file that a person sends, with its event, and makes it due. Returns whether this
    /// request recorded it, or it was recorded before.
    ///
    /// # Errors
    /// Another transfer has this id; the database failed. If `Ambiguous`, call again with the same transfer.
    pub async fn send_file(&self, new: NewTransfer, act: &Act) -> Result<bool> {
        self.write(SendFile { new, act: act.clone() }).await
    }
}

struct SendFile {
    new: NewTransfer,
    act: Act,
}

#[async_trait]
impl Command for SendFile {
    type Answer = bool;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        let transfer = &self.new.transfer;
        let there: Option<Uuid> = on!(tx, c => sqlx::query_scalar("SELECT payload_id FROM transfers WHERE id = $1")
            .bind(transfer.id.uuid()).fetch_optional(c).await)?;
        match there {
            Some(payload) if payload == transfer.payload.id.uuid() => return Ok(false),
            Some(_) => {
                return Err(Error::permanent(ErrorKind::AlreadyExists, "send a file")
                    .with("transfer", transfer.id)
                    .advice("another transfer has this id: choose another request id")
                    .into());
            }
            None => {}
        }
        let inserted = insert_transfers(tx, std::slice::from_ref(&self.new), self.act.at).await?;
        let named = PeerText::from(transfer.payload.file_name.to_text().as_str()).as_str().to_owned();
        let mut recorded = self
            .act
            .event(tx, EventKind::TransferRecorded)
            .transfer(transfer.id)
            .detail("file_name", named)
            .detail("by_hand", true);
        recorded.endpoint = self.new.deliveries.first().map(|new| new.delivery.endpoint.clone());
        tx.events(&described(&[recorded], &inserted));
        Ok(true)
    }
}
