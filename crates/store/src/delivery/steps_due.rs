//! When the steps of a transfer may be begun.

use crate::either::on;
use crate::fault::Fault;
use crate::tx::Tx;
use crate::wake::Topic;
use model::Timestamp;
use uuid::Uuid;

/// Makes the steps of a transfer due; where a node is doing them, as soon as that ends.
pub(crate) async fn due(tx: &mut Tx<'_>, transfer: Uuid, held: bool, now: Timestamp) -> Result<(), Fault> {
    on!(tx, c => sqlx::query(
        "INSERT INTO processing (transfer_id, due_at, held, attempt, failures, updated_at) VALUES ($1, $2, $3, 0, 0, $2) \
         ON CONFLICT (transfer_id) DO UPDATE SET due_at = excluded.due_at, held = excluded.held, failures = 0, \
           updated_at = excluded.updated_at")
        .bind(transfer).bind(now).bind(held).execute(c).await.map(|_| ()))?;
    tx.wake(Topic::Steps);
    Ok(())
}
