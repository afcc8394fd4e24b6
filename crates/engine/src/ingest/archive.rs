//! Archives on this machine: a copy of each file, written before the file is settled at its source.

use crate::context::Context;
use crate::deliver::payload::StagedBytes;
use model::definition::{Flow, FlowSource, LocalArchive};
use model::schedule::TimeZone;
use model::{DirectoryTemplate, Error, ErrorKind, Offer, OfferState, RemotePath, Result, Timestamp};
use std::time::Duration;
use store::{ArchiveRecord, ArchiveSite};
use transport::folder::{ToArchive, archive_payload, path_in_archive};
use transport::{ArchivedFile, Transport};

/// A flow's archive on this machine.
#[derive(Clone)]
pub(crate) struct FlowArchive {
    archive: LocalArchive,
    zone: TimeZone,
}

/// The files that were archived for one offer.
#[derive(Clone, Default)]
pub(crate) struct Archived {
    paths: Vec<String>,
    /// Those that are to be removed when their time is over.
    pub(crate) records: Vec<ArchiveRecord>,
}

impl Archived {
    /// Their paths, for an event.
    pub(crate) fn paths(&self) -> Option<String> {
        (!self.paths.is_empty()).then(|| self.paths.join(", "))
    }

    /// Adds a file; without `keep_for` it stays in the archive.
    pub(crate) fn add(
        &mut self,
        context: &Context,
        offer: &Offer,
        site: ArchiveSite,
        file: ArchivedFile,
        keep_for: Option<Duration>,
    ) {
        self.paths.push(file.path.to_text());
        let Some(keep_for) = keep_for else { return };
        self.records.push(ArchiveRecord {
            flow: offer.identity.flow.clone(),
            site,
            path: file.path,
            size: file.size,
            modified: file.modified,
            remove_at: later(context.now(), keep_for),
        });
    }
}

/// The time after a duration; the end of time if there is none.
fn later(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = chrono::TimeDelta::from_std(wait).unwrap_or(chrono::TimeDelta::MAX);
    now.checked_add_signed(wait).unwrap_or(Timestamp::MAX_UTC)
}

impl FlowArchive {
    /// The archive of a flow; `None` if it has none on this machine.
    pub(crate) fn of(transport: &dyn Transport, flow: &Flow) -> Option<Self> {
        let FlowSource::Poll(poll) = &flow.source else { return None };
        let archive = transport.poll_effects(poll).local_archive?;
        Some(Self { archive, zone: poll.schedule.zone })
    }

    /// The directory for an offer.
    ///
    /// # Errors
    /// `ConfigInvalid`: its name cannot be used.
    fn directory(&self, offer: &Offer) -> Result<RemotePath> {
        let invalid = |why: String| {
            Error::permanent(ErrorKind::ConfigInvalid, "use an archive directory")
                .with("directory", &self.archive.directory)
                .advice(why)
        };
        DirectoryTemplate::parse(&self.archive.directory)
            .and_then(|template| template.directory(offer.found_at, self.zone, &offer.identity.flow))
            .map_err(invalid)
    }

    /// The path that [`copy`](Self::copy) will give a file of an offer; `None` if that is known only afterwards, as without
    /// a time in its name it may get a number.
    pub(crate) fn path(&self, offer: &Offer, file_name: &RemotePath) -> Option<RemotePath> {
        let timestamp = self.archive.timestamp.then_some(offer.found_at)?;
        Some(path_in_archive(&self.directory(offer).ok()?, file_name, Some(timestamp)))
    }

    /// Copies the payloads of an offer from staging to the archive. Durable when it returns; idempotent.
    ///
    /// # Errors
    /// A payload cannot be read, or the archive cannot be written.
    pub(crate) async fn copy(&self, context: &Context, offer: &Offer) -> Result<Archived> {
        let mut archived = Archived::default();
        let directory = self.directory(offer)?;
        for record in context.store.payloads_of_offer(offer.id).await? {
            let staging = context.staging.clone();
            let metadata = serde_json::Map::new();
            // No endpoint's bandwidth limits a copy on this machine.
            let payload = StagedBytes::new(staging, record, metadata, context.paces.of(""))?;
            let to_archive = ToArchive {
                offer: offer.id,
                payload: &payload,
                directory: directory.clone(),
                timestamp: self.archive.timestamp.then_some(offer.found_at),
                again: offer.state == OfferState::Settling,
            };
            let budget = &context.services.budget;
            let file = archive_payload(context.local_archives.as_ref(), budget, to_archive).await?;
            let site = ArchiveSite::Node(context.settings.node.clone());
            archived.add(context, offer, site, file, self.archive.keep_for);
        }
        Ok(archived)
    }
}
