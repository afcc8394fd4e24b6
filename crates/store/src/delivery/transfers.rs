//! The transfers and payloads of what is claimed.

use crate::either::on;
use crate::fault::Fault;
use crate::row::{DeliveryRow, PayloadRow, TransferRow, hex_list, transfer_columns};
use crate::tx::Tx;
use model::{PayloadRecord, Transfer};
use std::collections::HashMap;
use std::time::Duration;
use uuid::Uuid;

/// How long what this version cannot read is postponed.
pub(super) const PUT_OFF: Duration = Duration::from_secs(300);

/// The payloads of deliveries that send something else than their transfer received. Those that this version cannot read
/// are left out.
pub(super) async fn made_payloads(
    tx: &mut Tx<'_>,
    rows: &[DeliveryRow],
    transfers: &HashMap<Uuid, Transfer>,
) -> Result<HashMap<Uuid, PayloadRecord>, Fault> {
    let received = |row: &DeliveryRow| transfers.get(&row.transfer_id).map(|of| of.payload.id.uuid());
    let made = rows.iter().filter(|row| row.payload_id != received(row)).filter_map(|row| row.payload_id);
    let ids: Vec<Uuid> = made.collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<PayloadRow> = on!(tx,
        sqlite c => sqlx::query_as("SELECT * FROM payloads WHERE id IN (SELECT unhex(value) FROM json_each($1))")
            .bind(hex_list(&ids)).fetch_all(c).await,
        postgres c => sqlx::query_as("SELECT * FROM payloads WHERE id = ANY($1)").bind(&ids).fetch_all(c).await,
    )?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let payload = row.payload().inspect_err(|error| {
                tracing::error!(error = error.chain(), "the result of steps cannot be read");
            });
            payload.ok().map(|payload| (payload.id.uuid(), payload))
        })
        .collect())
}

/// Transfers with what they received. Those that this version cannot read are left out.
pub(super) async fn transfers_of(tx: &mut Tx<'_>, ids: &[Uuid]) -> Result<HashMap<Uuid, Transfer>, Fault> {
    let rows: Vec<TransferRow> = on!(tx,
        sqlite c => sqlx::query_as(concat!("SELECT ", transfer_columns!(),
            " FROM transfers t JOIN payloads p ON p.id = t.payload_id \
             WHERE t.id IN (SELECT unhex(value) FROM json_each($1))"))
            .bind(hex_list(ids)).fetch_all(c).await,
        postgres c => sqlx::query_as(concat!("SELECT ", transfer_columns!(),
            " FROM transfers t JOIN payloads p ON p.id = t.payload_id WHERE t.id = ANY($1)"))
            .bind(ids).fetch_all(c).await,
    )?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let id = row.id();
            let transfer = row.transfer().inspect_err(|error| {
                tracing::error!(transfer = %id, error = error.chain(), "this transfer cannot be read");
            });
            Some((id, transfer.ok()?))
        })
        .collect())
}
