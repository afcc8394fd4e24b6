//! Files in archives whose time is over.

use crate::context::Context;
use crate::maintenance::repeat::{BATCH, Maintenance};
use async_trait::async_trait;
use chrono::TimeDelta;
use model::{AuditEvent, Error, EventKind, Result};
use std::sync::Arc;
use std::time::Duration;
use store::{ArchiveRecord, ArchiveSite};
use transport::folder::remove_unchanged;
use transport::{ArchivedFile, ArchivedRemoval};

/// The wait after a file could not be removed. Shorter than the time between two rounds of any node: the node to which an
/// endpoint is bound must find the file due.
const AGAIN: TimeDelta = TimeDelta::minutes(1);

/// Removes files from archives when their time is over: those that Waybill archived, as they were archived.
pub(crate) struct ArchiveRetention(pub(crate) Arc<Context>);

#[async_trait]
impl Maintenance for ArchiveRetention {
    fn name(&self) -> &'static str {
        "archives"
    }

    fn every(&self) -> Duration {
        self.0.settings.retention_every
    }

    async fn run(&self) -> Result<()> {
        let context = &self.0;
        loop {
            let node = &context.settings.node;
            let past = context.store.archived_past(node, context.now(), BATCH).await?;
            for file in &past {
                match self.remove(file).await {
                    Ok(removal) => {
                        context.store.forget_archived(file, vec![self.event(file, removal)]).await?;
                    }
                    Err(error) => {
                        tracing::warn!(flow = %file.flow, path = %file.path, error = %error.chain(), "a file could not be removed from its archive; it is tried again");
                        context.store.postpone_archived(file, context.now() + AGAIN).await?;
                    }
                }
            }
            if past.len() < BATCH as usize {
                return Ok(());
            }
        }
    }
}

impl ArchiveRetention {
    /// Removes a file from its archive, by the flow in force.
    ///
    /// # Errors
    /// The endpoint cannot be used now, or does not answer.
    async fn remove(&self, file: &ArchiveRecord) -> Result<ArchivedRemoval> {
        let context = &self.0;
        let archived = ArchivedFile { path: file.path.clone(), size: file.size, modified: file.modified };
        let ArchiveSite::Endpoint(name) = &file.site else {
            return remove_unchanged(context.local_archives.as_ref(), &archived).await;
        };
        let unusable = |why: &'static str| {
            Error::transient(model::ErrorKind::Unreachable, "use an endpoint")
                .with("endpoint", name)
                .advice(why)
        };
        let (endpoint, transport) = context.endpoint(name)?;
        let definitions = context.definitions();
        let flow = definitions.flows.get(&file.flow).ok_or_else(|| {
            unusable("the flow that archived the file is no longer defined; the file stays in its archive")
        })?;
        if !context.may_use(&endpoint) {
            return Err(unusable("it is bound to another node"));
        }
        if context.suspensions().endpoint(name).is_some()
            || context.health.offline_until(name, context.now()).is_some()
        {
            return Err(unusable("it is offline"));
        }
        let source = transport.source(endpoint, Arc::clone(flow), context.services.clone())?;
        source.remove_archived(&archived).await
    }

    fn event(&self, file: &ArchiveRecord, removal: ArchivedRemoval) -> AuditEvent {
        let outcome = match removal {
            ArchivedRemoval::Removed => "removed",
            ArchivedRemoval::Gone => "gone",
            ArchivedRemoval::Changed => "changed",
        };
        let event = self.0.event(EventKind::ArchiveRemoved).flow(&file.flow);
        let event = match &file.site {
            ArchiveSite::Endpoint(name) => event.endpoint(name),
            ArchiveSite::Node(name) => event.detail("archive_node", name.as_str()),
        };
        event.detail("path", file.path.to_text()).detail("outcome", outcome)
    }
}
