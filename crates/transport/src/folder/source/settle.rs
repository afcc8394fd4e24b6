//! Settling: what happens to a source file after it was staged or refused.
//!
//! Everything is decided from the offer alone, so any node can repeat a call that was interrupted.
//!
//! Known gap, if a server neither has file handles nor deletes by version (`Folder::remove_version`): another program may
//! replace the file between the last `stat` and the `remove`, in a plain delete and at the end of a copy. Archiving and moving by renaming have no such gap: the moved
//! file is checked, and put back if it is not the one that was read.

use super::compare::{Comparison, is_refusal};
use super::move_away::{Moved, found};
use super::taken::Taken;
use super::{FolderSource, RELATIVE};
use crate::OfferNotes;
use crate::folder::{After, Published, names};
use crate::{ArchivedFile, Settled};
use model::{DirectoryTemplate, Error, ErrorKind, Offer, Outcome, PeerText, RemotePath, Result};
use serde_json::{Value, json};

/// The most directories that are remembered as existing.
const MADE_LIMIT: usize = 1_000;

impl FolderSource {
    /// Settles the done file and the attachments, then the file. The file is stored by then, and a done file that stayed after an interruption
    /// would let the next file of the name be taken before it is complete.
    pub(super) async fn settle_offer(&self, offer: &Offer, outcome: Outcome) -> Result<Settled> {
        let marker = match (outcome, &self.polling.after, &self.polling.error_directory) {
            (Outcome::Refused, _, None) | (Outcome::Taken, After::Keep, _) => None,
            _ => self.settle_marker(offer, outcome).await?,
        };
        let mut beside = self.settle_attachments(offer, outcome).await?;
        beside.extend(marker);
        let mut settled = self.settle_file(offer, outcome).await?;
        if let Settled::Archived { files, .. } = &mut settled {
            for path in beside {
                files.extend(self.archived(path).await?);
            }
        }
        Ok(settled)
    }

    /// Settles an offer's done file, if it has one, and returns where it was moved to. One that was written anew belongs to
    /// the next file of its name: it is left.
    async fn settle_marker(&self, offer: &Offer, outcome: Outcome) -> Result<Option<RemotePath>> {
        let (Some(marker), Some(done_file)) = (self.marker_offer(offer)?, self.done_file()) else {
            return Ok(None);
        };
        let beside = |target: RemotePath| target.with_file_name(&done_file.marker_of(target.file_name()));
        let target = match (outcome, &self.polling.after, &self.polling.error_directory) {
            (Outcome::Refused, _, Some(directory)) => beside(self.target(offer, directory, false)?),
            (Outcome::Taken, After::Archive { directory, timestamp }, _) => {
                beside(self.target(offer, directory, *timestamp)?)
            }
            (Outcome::Taken, After::Move { directory }, _) => beside(self.target(offer, directory, false)?),
            _ => return self.delete(&marker).await.map(|_| None),
        };
        Ok(match self.move_away(&marker, &target).await? {
            Moved::To(path) => Some(path),
            Moved::Gone | Moved::Changed => None,
        })
    }

    async fn settle_file(&self, offer: &Offer, outcome: Outcome) -> Result<Settled> {
        match (outcome, &self.polling.after, &self.polling.error_directory) {
            (Outcome::Refused, _, None) | (Outcome::Taken, After::Keep, _) => Ok(Settled::Kept),
            (Outcome::Refused, _, Some(directory)) => self.refuse(offer, directory).await,
            // The engine writes the copy of a local archive before.
            (Outcome::Taken, After::Delete | After::ArchiveLocally { .. }, _) => self.delete(offer).await,
            (Outcome::Taken, After::Archive { directory, timestamp }, _) => {
                let target = self.target(offer, directory, *timestamp)?;
                let moved = self.move_away(offer, &target).await?;
                match (moved, self.polling.keep_for) {
                    (Moved::To(path), Some(keep_for)) => {
                        let files = self.archived(path).await?.into_iter().collect();
                        Ok(Settled::Archived { files, keep_for })
                    }
                    (moved, _) => Ok(settled(moved)),
                }
            }
            (Outcome::Taken, After::Move { directory }, _) => {
                let target = self.target(offer, directory, false)?;
                Ok(settled(self.move_away(offer, &target).await?))
            }
        }
    }

    pub(super) async fn delete(&self, offer: &Offer) -> Result<Settled> {
        let taken = self.taken(offer);
        let compared = self.compare_with_taken(&taken).await?;
        match &compared {
            Comparison::Missing => {
                self.sync_parent(taken.path()).await?;
                let was_gone = OfferNotes::of(&offer.source_data).gone;
                return Ok(if was_gone { Settled::Gone } else { Settled::Done });
            }
            Comparison::Different(_) => return Ok(Settled::Changed),
            // The listing shows the file unchanged. `stat` results that contradict each other must not keep it
            // forever.
            Comparison::Same(_) | Comparison::Doubtful(_) => {}
        }
        match self.has_same_content(&taken).await? {
            Some(true) => {}
            Some(false) => return Ok(Settled::Changed),
            None => return Ok(Settled::Gone),
        }
        let version = version_to_remove(&taken, &compared);
        match found(self.folder.remove_version(taken.path(), version).await)? {
            Some(true) => {}
            // It was replaced after it was compared.
            Some(false) => return Ok(Settled::Changed),
            None => self.sync_parent(taken.path()).await?,
        }
        Ok(Settled::Done)
    }

    /// Called if an earlier call renamed or removed a file: it may have been interrupted before that was durable.
    pub(super) async fn sync_parent(&self, path: &RemotePath) -> Result<()> {
        let parent = path.parent().unwrap_or_default();
        found(self.folder.sync_directory(&parent).await).map(drop)
    }

    async fn refuse(&self, offer: &Offer, directory: &str) -> Result<Settled> {
        let target = self.target(offer, directory, false)?;
        let moved = self.move_away(offer, &target).await?;
        if let Moved::To(path) = &moved {
            let cause = OfferNotes::of(&offer.source_data).cause;
            self.write_cause(offer, path, cause.as_deref().unwrap_or("the cause was not recorded")).await?;
        }
        Ok(settled(moved))
    }

    /// The path to move the file to: the same path below the target directory as it had below the polled one. A time
    /// in the name is the time when the file was found, so that a second call finds what the first one moved.
    pub(super) fn target(&self, offer: &Offer, directory: &str, timestamp: bool) -> Result<RemotePath> {
        let relative = offer
            .source_data
            .get(RELATIVE)
            .and_then(Value::as_str)
            .and_then(|text| RemotePath::from_text(text).ok())
            .filter(|path| !path.escapes() && !path.is_absolute() && !path.is_empty())
            .unwrap_or_else(|| RemotePath::from_bytes(offer.identity.path.file_name()));
        let relative = if timestamp {
            let name = names::timestamped(relative.file_name(), offer.found_at, names::NAME_LIMIT);
            relative.with_file_name(&name)
        } else {
            relative
        };
        let invalid = |why: String| {
            Error::permanent(ErrorKind::ConfigInvalid, "use a directory")
                .with("directory", directory)
                .advice(why)
        };
        let zone = self.poll.schedule.zone;
        let directory = DirectoryTemplate::parse(directory)
            .and_then(|template| template.directory(offer.found_at, zone, &offer.identity.flow))
            .map_err(invalid)?;
        // A date may lead into the polled directory where the check of definitions could not see it.
        if directory.is_within(&self.options.directory) {
            return Err(invalid(format!(
                "'{directory}' is inside the polled directory; choose a directory outside"
            )));
        }
        Ok(directory.join(&relative))
    }

    /// What an archived file looks like in its archive. `None` if it is not shown there: another program has moved it on,
    /// and a file of this name later is not ours to remove.
    async fn archived(&self, path: RemotePath) -> Result<Option<ArchivedFile>> {
        match self.folder.stat(&path).await {
            Ok(entry) => Ok(Some(ArchivedFile { path, size: entry.size, modified: entry.modified })),
            Err(error) if error.kind() == ErrorKind::NotFound || is_refusal(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn write_cause(&self, offer: &Offer, moved: &RemotePath, cause: &str) -> Result<()> {
        let name = names::wrapped_apart(b"", moved.file_name(), b".error.json");
        let temporary = moved.with_file_name(&names::wrapped_apart(b".", moved.file_name(), b".error.a"));
        let words = json!({
            "error": PeerText::new(cause.as_bytes()).as_str(),
            "file": offer.identity.path.to_text(),
            "flow": offer.identity.flow,
            "endpoint": offer.identity.endpoint,
            "offer": offer.id.to_string(),
            "found_at": offer.found_at,
            "failed_attempts": offer.failures,
        });
        let text = format!("{words:#}\n");
        self.write_text(&temporary, &text).await?;
        let name = moved.with_file_name(&name);
        match self.folder.publish(&temporary, &name, true).await {
            Ok(Published::Published) => Ok(()),
            // The engine settles again, and the file is then written again.
            Ok(Published::Exists | Published::Unknown) => {
                Err(Error::transient(ErrorKind::Unreachable, "write the cause beside a refused file")
                    .with("endpoint", &self.options.endpoint)
                    .with("path", name)
                    .advice("the server did not confirm the rename; the file is written again"))
            }
            // The server does not rename. If this is interrupted, it is also written again.
            Err(error) if is_refusal(&error) => {
                self.write_text(&name, &text).await?;
                found(self.folder.remove(&temporary).await).map(drop)
            }
            Err(error) => Err(error),
        }
    }

    async fn write_text(&self, path: &RemotePath, text: &str) -> Result<()> {
        let mut upload = self.folder.begin_write(path, Some(text.len() as u64)).await?;
        upload.write(text.to_owned().into()).await?;
        upload.finish().await.map(drop)
    }

    pub(super) async fn make_parent(&self, target: &RemotePath) -> Result<()> {
        let Some(parent) = target.parent() else { return Ok(()) };
        if self.made.lock().is_ok_and(|made| made.contains(&parent)) {
            return Ok(());
        }
        self.folder.make_directory(&parent).await?;
        if let Ok(mut made) = self.made.lock() {
            if made.len() >= MADE_LIMIT {
                made.clear();
            }
            made.insert(parent);
        }
        Ok(())
    }

    pub(super) fn forget_made(&self) {
        if let Ok(mut made) = self.made.lock() {
            made.clear();
        }
    }
}

/// The version on condition of which a file is removed that was compared just now. A server compares it with what `stat` reports,
/// which may be another one than in listings. `None` if `stat` reports another one each time: none would ever be right.
pub(super) fn version_to_remove<'a>(taken: &'a Taken<'_>, compared: &Comparison) -> Option<&'a str> {
    match compared {
        Comparison::Same(_) => taken.at_open().version().or(taken.identity.version.as_deref()),
        Comparison::Doubtful(_) | Comparison::Different(_) | Comparison::Missing => None,
    }
}

fn settled(moved: Moved) -> Settled {
    match moved {
        Moved::To(_) => Settled::Done,
        Moved::Gone => Settled::Gone,
        Moved::Changed => Settled::Changed,
    }
}
