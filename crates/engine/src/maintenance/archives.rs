//! Files in archives whose time is over.

use crate::context::Context;
use crate::maintenance::repeat::{BATCH, Maintenance};
use async_trait::async_trait;
use chrono::TimeDelta;
use futures::{StreamExt, TryStreamExt};
use model::{AuditEvent, Error, ErrorKind, EventKind, Result};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::{ArchiveRecord, ArchiveSite};
use transport::folder::remove_unchanged;
use transport::{ArchivedFile, ArchivedRemoval};

/// The wait after a file could not be removed. Shorter than the time between two rounds of any node: the node to which an
/// endpoint is bound must find the file due.
const AGAIN: TimeDelta = TimeDelta::minutes(1);

/// The wait where the flow that archived a file is no longer defined: its files stay until it is defined again.
const UNTIL_DEFINED: TimeDelta = TimeDelta::hours(1);

/// The most archives from which files are removed at once.
const SITES_AT_ONCE: usize = 8;

/// Removes files from archives when their time is over: those that Waybill archived, as they were archived.
pub(crate) struct ArchiveRetention {
    context: Arc<Context>,
    /// The flows of which the log said that they are no longer defined: once is enough.
    undefined: Mutex<BTreeSet<String>>,
}

#[async_trait]
impl Maintenance for ArchiveRetention {
    fn name(&self) -> &'static str {
        "archives"
    }

    fn every(&self) -> Duration {
        self.context.settings.retention_every
    }

    async fn run(&self) -> Result<()> {
        let context = &self.context;
        loop {
            let node = &context.settings.node;
            let past = context.store.archived_past(node, context.now(), BATCH).await?;
            let mut sites: HashMap<ArchiveSite, Vec<ArchiveRecord>> = HashMap::new();
            let is_last = past.len() < BATCH as usize;
            for file in past {
                sites.entry(file.site.clone()).or_default().push(file);
            }
            // One slow server does not delay the others.
            let removals = sites.into_values().map(|files| self.remove_all(files));
            futures::stream::iter(removals)
                .buffer_unordered(SITES_AT_ONCE)
                .try_for_each(|()| std::future::ready(Ok(())))
                .await?;
            if is_last {
                return Ok(());
            }
        }
    }
}

impl ArchiveRetention {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, undefined: Mutex::default() }
    }

    /// Whether the flow that archived a file is no longer defined. The log says so of each flow once, until it is defined again.
    fn is_undefined(&self, file: &ArchiveRecord) -> bool {
        let is_defined = self.context.definitions().flows.contains_key(&file.flow);
        let mut told = self.undefined.lock().unwrap_or_else(PoisonError::into_inner);
        if is_defined {
            told.remove(&file.flow);
        } else if told.insert(file.flow.clone()) {
            tracing::warn!(flow = %file.flow, path = %file.path, "the flow is no longer defined: what it archived at endpoints stays there after its time. Define the flow again, or delete the files");
        }
        !is_defined
    }

    /// Removes files of one archive. After an endpoint did not answer, its other files wait.
    async fn remove_all(&self, files: Vec<ArchiveRecord>) -> Result<()> {
        let context = &self.context;
        for file in files {
            if matches!(file.site, ArchiveSite::Endpoint(_)) && self.is_undefined(&file) {
                context.store.postpone_archived(&file, context.now() + UNTIL_DEFINED).await?;
                continue;
            }
            let error = match self.remove(&file).await {
                Ok(removal) => {
                    context.store.forget_archived(&file, vec![self.event(&file, removal)]).await?;
                    continue;
                }
                Err(error) => error,
            };
            tracing::warn!(flow = %file.flow, path = %file.path, error = %error.chain(), "a file could not be removed from its archive; it is tried again");
            let now = context.now();
            match &file.site {
                ArchiveSite::Endpoint(name) if concerns_endpoint(&error) => {
                    return context.store.postpone_archives_of(name, now, now + AGAIN).await;
                }
                _ => context.store.postpone_archived(&file, now + AGAIN).await?,
            }
        }
        Ok(())
    }

    /// Removes a file from its archive, by the flow in force.
    ///
    /// # Errors
    /// The endpoint cannot be used now, or does not answer.
    async fn remove(&self, file: &ArchiveRecord) -> Result<ArchivedRemoval> {
        let context = &self.context;
        let archived = ArchivedFile { path: file.path.clone(), size: file.size, modified: file.modified };
        let ArchiveSite::Endpoint(name) = &file.site else {
            return remove_unchanged(context.local_archives.as_ref(), &archived).await;
        };
        let failed = |kind: ErrorKind, why: &'static str| {
            Error::transient(kind, "use an endpoint").with("endpoint", name).advice(why)
        };
        let unusable = |why: &'static str| failed(ErrorKind::Unreachable, why);
        let (endpoint, transport) = context.endpoint(name)?;
        let definitions = context.definitions();
        let flow = definitions.flows.get(&file.flow).ok_or_else(|| {
            let why = "the flow that archived the file is no longer defined; the file stays in its archive";
            failed(ErrorKind::ConfigInvalid, why)
        })?;
        if !context.may_use(&endpoint) {
            return Err(unusable("it is bound to another node"));
        }
        if context.set_offline(&definitions, name).is_some()
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
        let event = self.context.event(EventKind::ArchiveRemoved).flow(&file.flow);
        let event = match &file.site {
            ArchiveSite::Endpoint(name) => event.endpoint(name),
            ArchiveSite::Node(name) => event.detail("archive_node", name.as_str()),
        };
        event.detail("path", file.path.to_text()).detail("outcome", outcome)
    }
}

/// Whether an error is about the endpoint, so that its other files would fail with it too.
fn concerns_endpoint(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unreachable
            | ErrorKind::Timeout
            | ErrorKind::Throttled
            | ErrorKind::Busy
            | ErrorKind::Unauthenticated
            | ErrorKind::TrustFailed
    )
}
