//! From `net`'s connection records to the store's journal.

use async_trait::async_trait;
use model::{AuditEvent, ConnectionClosed, EventId, EventKind, Result};
use net::{ConnectionFailed, ConnectionLog, Opened, RefusedConnections};
use std::sync::Arc;
use store::{Journal, JournalEntry, connection_event_id};
use transport::Random;

/// Writes every connection's record into the journal.
pub(crate) struct JournalLog {
    pub(crate) journal: Arc<Journal>,
    pub(crate) ids: Arc<dyn Random>,
}

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
            self.journal.append(JournalEntry::Event(event)).await?;
        }
        self.journal.append(JournalEntry::Opened(opened.record)).await
    }

    async fn closed(&self, closed: ConnectionClosed) -> Result<()> {
        self.journal.append(JournalEntry::Closed(closed)).await
    }

    async fn failed(&self, failed: ConnectionFailed) -> Result<()> {
        self.journal.append(JournalEntry::Failed(failed)).await
    }
    async fn turned_away(&self, report: RefusedConnections) -> Result<()> {
        let id = EventId::new(self.ids.uuid(report.at));
        let mut event = AuditEvent::new(id, report.at, report.node, EventKind::ListenerLimitReached)
            .detail("listener", report.listener)
            .detail("address", report.address.to_string())
            .detail("refused", report.refused)
            .detail("closed_while_idle", report.closed);
        event.peer = Some(report.last.to_string());
        self.journal.append(JournalEntry::Event(event)).await
    }
}
