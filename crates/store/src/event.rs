//! Writing audit events: many rows in one statement.

use crate::either::on;
use crate::fault::Fault;
use crate::tx::Tx;
use model::{AuditEvent, canonical_object};
use sqlx::QueryBuilder;

/// Rows of one statement; 14 values each, and SQLite binds at most 32,766.
const ROWS: usize = 1000;

/// Writes events in a transaction. An event that already exists (same time, same id) is not changed, so a journal can
/// be replayed.
pub(crate) async fn append(tx: &mut Tx<'_>, events: &[AuditEvent]) -> Result<(), Fault> {
    // The stored text is the text that is hashed; PostgreSQL also keeps its own form.
    let json = tx.pick(" AS TEXT)", " AS JSONB)");
    for rows in events.chunks(ROWS) {
        let rows: Vec<AuditEvent> = rows.iter().map(crate::audit::clean).collect();
        on!(tx, c => {
            let mut insert = QueryBuilder::<Db>::new(
                "INSERT INTO audit_events (id, at, node, kind, severity, actor, flow, endpoint, partner, \
                 transfer_id, delivery_id, connection_id, peer, detail) ",
            );
            insert.push_values(&rows, |mut row, event| {
                row.push_bind(event.id.uuid())
                    .push_bind(event.at)
                    .push_bind(event.node.as_str())
                    .push_bind(event.kind.as_str())
                    .push_bind(event.severity.as_str())
                    .push_bind(event.actor.to_text())
                    .push_bind(event.flow.as_deref())
                    .push_bind(event.endpoint.as_deref())
                    .push_bind(event.partner.as_deref())
                    .push_bind(event.transfer.map(|id| id.uuid()))
                    .push_bind(event.delivery.map(|id| id.uuid()))
                    .push_bind(event.connection.map(|id| id.uuid()))
                    .push_bind(event.peer.as_deref())
                    .push("CAST(")
                    .push_bind_unseparated(canonical_object(&event.detail))
                    .push_unseparated(json);
            });
            insert.push(" ON CONFLICT (at, id) DO NOTHING");
            // Statements with few rows are repeated often; long ones are not worth caching.
            insert.build().persistent(rows.len() <= 8).execute(c).await.map(|_| ())
        })?;
    }
    Ok(())
}
