//! From `net`'s connection records to the store's journal.

use async_trait::async_trait;
use model::{AuditEvent, ConnectionClosed, EventKind, Result};
use net::{ConnectionFailed, ConnectionLog, Opened};
use std::sync::Arc;
use store::{Journal, JournalEntry, connection_event_id};

/// Writes every connection's record into the journal.
pub(crate) struct JournalLog(pub(crate) Arc<Journal>);

#[async_trait]
impl ConnectionLog for JournalLog {
    async fn opened(&self, opened: Opened) -> Result<()> {
        if !opened.weakened.is_empty() {
            let record = &opened.record;
            let id = connection_event_id(record.id, "weakened");
            let mut event =
                AuditEvent::new(id, record.at, record.node.clone(), EventKind::ConnectionWeakened)
                    .connection(record.id)
                    .detail("weakened", opened.weakened.join(", "));
            event.endpoint.clone_from(&record.endpoint);
            self.0.append(JournalEntry::Event(event)).await?;
        }
        self.0.append(JournalEntry::Opened(opened.record)).await
    }

    async fn closed(&self, closed: ConnectionClosed) -> Result<()> {
        self.0.append(JournalEntry::Closed(closed)).await
    }

    async fn failed(&self, failed: ConnectionFailed) -> Result<()> {
        self.0.append(JournalEntry::Failed(failed)).await
    }
}
