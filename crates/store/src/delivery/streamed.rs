//! Offers whose files are not staged: each attempt of their delivery reads them at their source.

use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::row::{OfferRow, unreadable, word};
use crate::tx::{Tx, locking};
use model::{
    AuditEvent, Error, ErrorKind, Offer, OfferEvent, OfferId, OfferState, PayloadId, Result, Sha256,
    Timestamp, TransferId, transition,
};
use serde_json::{Map, Value};
use sqlx::types::Json;

/// What is known of a streamed file once it was delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamedContent {
    /// The hash of its bytes; `None` where the destination's receipt does not name it.
    pub sha256: Option<Sha256>,
    /// The data by which its source finds it, for settling.
    pub source_data: Map<String, Value>,
    /// The event about it, in which the store writes what verification compares with its row.
    pub event: AuditEvent,
}

/// What a person can do about a file that is no longer where it was found.
const PUT_BACK: &str = "put the file into the polled directory again: it is then taken as a new one";

impl Store {
    /// An offer by its id.
    ///
    /// # Errors
    /// The database failed, or this version cannot read the row.
    pub async fn offer(&self, id: OfferId) -> Result<Option<Offer>> {
        let row: Option<OfferRow> = self
            .read("read an offer", async {
                on!(self.pool(), c => sqlx::query_as("SELECT * FROM offers WHERE id = $1")
                    .bind(id.uuid()).fetch_optional(c).await)
            })
            .await?;
        row.map(OfferRow::offer).transpose()
    }
}

/// Records what is known of a streamed file since it was delivered.
pub(crate) async fn record_content(
    tx: &mut Tx<'_>,
    payload: PayloadId,
    transfer: TransferId,
    content: &StreamedContent,
) -> Result<(), Fault> {
    on!(tx, c => sqlx::query("UPDATE payloads SET sha256 = $2 WHERE id = $1 AND streamed")
        .bind(payload.uuid()).bind(content.sha256.map(|hash| hash.0.to_vec())).execute(c).await.map(|_| ()))?;
    on!(tx, c => sqlx::query(
        "UPDATE offers SET source_data = $2 WHERE id = (SELECT offer_id FROM transfers WHERE id = $1)")
        .bind(transfer.uuid()).bind(Json(&content.source_data)).execute(c).await.map(|_| ()))?;
    Ok(())
}

/// Lets a streamed file be read again, for a retry: its source is settled when that has ended.
///
/// # Errors
/// `NotFound`: the file is no longer at its source. `Busy`: its source is being settled at this moment.
pub(crate) async fn reopen(
    tx: &mut Tx<'_>,
    operation: &'static str,
    transfer: TransferId,
    now: Timestamp,
) -> Result<(), Fault> {
    let sql = locking!(
        tx,
        "SELECT state, kept, node FROM offers WHERE id = (SELECT offer_id FROM transfers WHERE id = $1)"
    );
    let found: Option<(String, bool, Option<String>)> =
        on!(tx, c => sqlx::query_as(sql).bind(transfer.uuid()).fetch_optional(c).await)?;
    let Some((state, kept, settling_node)) = found else {
        return Err(unreadable("transfers.offer_id", "null").into());
    };
    let state = word(OfferState::parse(&state), "offers.state", &state)?;
    if settling_node.is_some() {
        return Err(Error::transient(ErrorKind::Busy, operation)
            .with("transfer", transfer)
            .advice("its file is being moved at its source at this moment; ask again in a minute")
            .into());
    }
    if state != OfferState::Settled {
        return Ok(());
    }
    if !kept {
        return Err(Error::permanent(ErrorKind::NotFound, operation)
            .with("transfer", transfer)
            .with("the file", "was streamed, and is no longer where it was found")
            .advice(PUT_BACK)
            .into());
    }
    let state = transition(state, OfferEvent::Reopen)?;
    on!(tx, c => sqlx::query(
        "UPDATE offers SET state = $2, kept = false, hides = true, settle_when = 'after_delivery', settle_outcome = 'taken', \
         next_at = NULL, updated_at = $3 WHERE id = (SELECT offer_id FROM transfers WHERE id = $1)")
        .bind(transfer.uuid()).bind(state.as_str()).bind(now).execute(c).await.map(|_| ()))?;
    Ok(())
}
