//! Whether the file at a path is still the file that was found.
//!
//! A server reports a file's metadata in two ways: in the listing of its directory, and in the answer to `stat`. Many
//! servers report less in one of the two, some report different times or sizes. So a value that only one of them
//! reports is not a difference. Where the two contradict each other, the directory is listed once more: a file that the
//! listing still shows as it was found has not changed, and later answers to `stat` are compared with this one.

use super::FolderSource;
use crate::folder::walk::end_listing;
use crate::folder::{Entry, EntryKind};
use crate::pending::Listing;
use chrono::TimeDelta;
use futures::StreamExt;
use model::{Error, ErrorKind, OfferIdentity, RemotePath, Result, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The key in `source_data` of the answer to `stat` when the offer was opened.
const STAT_WHEN_OPENED: &str = "stat_when_opened";

/// The key in `source_data` of the time of the system's last change (ctime), in microseconds.
pub(super) const CHANGED: &str = "changed";

/// Most differences between `stat` and listings that one poll remembers.
const STAT_DIFFERENCE_LIMIT: usize = 16;

/// The metadata of a file, from a listing or from `stat`. A value that was not reported is `None`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Metadata {
    /// What it is, when it is not a file.
    #[serde(skip)]
    pub(super) other_kind: Option<EntryKind>,
    pub(super) size: Option<u64>,
    pub(super) modified: Option<Timestamp>,
    version: Option<String>,
    changed: Option<Timestamp>,
}

impl Metadata {
    fn by(entry: &Entry) -> Self {
        Self {
            other_kind: Some(entry.kind).filter(|kind| !matches!(kind, EntryKind::File | EntryKind::Unknown)),
            size: entry.size,
            modified: entry.modified,
            version: entry.version.clone(),
            changed: entry.changed,
        }
    }

    pub(super) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The metadata in the listing when the offer was found.
    pub(super) fn when_found(identity: &OfferIdentity, changed: Option<Timestamp>) -> Self {
        Self {
            other_kind: None,
            size: identity.size,
            modified: identity.modified,
            version: identity.version.clone(),
            changed,
        }
    }

    /// What an earlier listing showed.
    pub(super) fn listed(listing: &Listing) -> Self {
        let Listing { size, modified, version, changed } = listing.clone();
        Self { other_kind: None, size, modified, version, changed }
    }

    /// The differences to later metadata, as text; empty for the same file.
    pub(super) fn contradictions(&self, later: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(kind) = later.other_kind {
            found.push(format!("it is now a {}", kind_words(kind)));
        }
        if let (Some(a), Some(b)) = (self.size, later.size)
            && a != b
        {
            found.push(format!("its size was {a} bytes and is now {b} bytes"));
        }
        if let (Some(a), Some(b)) = (self.modified, later.modified)
            && a != b
        {
            found.push(format!("its modification time was {a} and is now {b}"));
        }
        if let (Some(a), Some(b)) = (&self.version, &later.version)
            && a != b
        {
            found.push("another file has this name now".to_owned());
        }
        if let (Some(a), Some(b)) = (self.changed, later.changed)
            && a != b
        {
            found.push(format!("its status time (ctime) was {a} and is now {b}"));
        }
        found
    }

    /// The two times, where only the time differs: the file is being written in place, or the server reports another time
    /// in each answer. Where the modification time is the same, the status time (ctime) is compared.
    pub(super) fn times_moved(&self, later: &Self) -> Option<(Timestamp, Timestamp)> {
        if !self.clone().untimed().agrees_with(later) {
            return None;
        }
        let of_both =
            |was: Option<Timestamp>, is: Option<Timestamp>| was.zip(is).filter(|(was, is)| was != is);
        of_both(self.modified, later.modified).or_else(|| of_both(self.changed, later.changed))
    }

    /// The same without times.
    pub(super) fn untimed(self) -> Self {
        Self { modified: None, changed: None, ..self }
    }

    /// The same without the status time, which also changes with permissions and names: for comparing long after the file was read.
    pub(super) fn lasting(mut self) -> Self {
        self.changed = None;
        self
    }

    /// The same with another size.
    pub(super) fn with_size(&self, size: u64) -> Self {
        Self { size: Some(size), ..self.clone() }
    }

    /// Whether `stat` reports less than the listing did: then only another listing shows whether the file changed.
    fn leaves_out(&self, by_stat: &Self) -> bool {
        let no_size = match (self.size, by_stat.size) {
            (Some(listed), Some(0)) => listed > 0,
            (Some(_), None) => true,
            _ => false,
        };
        no_size
            || (self.modified.is_some() && by_stat.modified.is_none())
            || (self.version.is_some() && by_stat.version.is_none())
            || (self.changed.is_some() && by_stat.changed.is_none())
    }

    /// Whether the metadata of a path is that of this file after a move, which may change its version, but not its
    /// size or time.
    pub(super) fn is_moved_to(&self, there: &Self) -> bool {
        Self { version: None, changed: None, ..self.clone() }.agrees_with(there)
    }

    /// The same, ignoring the modification time.
    pub(super) fn may_be_moved_to(&self, there: &Self) -> bool {
        Self { modified: None, ..self.clone() }.is_moved_to(there)
    }

    fn agrees_with(&self, later: &Self) -> bool {
        self.contradictions(later).is_empty()
    }
}

/// The word for a kind of directory entry.
pub(super) fn kind_words(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
        EntryKind::Link => "link",
        EntryKind::Other => "device, pipe or socket",
        EntryKind::Unknown => "file of unknown kind",
    }
}

/// The answer to `stat` for a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Stat {
    /// The metadata.
    Found(Metadata),
    /// The server refuses `stat`.
    Refused,
    /// The server says that no file is there.
    Missing,
}

/// How `stat` differs from listings on a server, learned from a file that both report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct StatDifference {
    time: Option<TimeDelta>,
    size: Option<i128>,
}

impl StatDifference {
    /// `None` where they differ in more than time and size: it is another file.
    fn between(listed: &Metadata, by_stat: &Metadata) -> Option<Self> {
        let same_file = Metadata { size: None, modified: None, ..listed.clone() };
        if !same_file.agrees_with(by_stat) {
            return None;
        }
        let time = listed.modified.zip(by_stat.modified).map(|(a, b)| b - a).filter(|gap| !gap.is_zero());
        let sizes = listed.size.zip(by_stat.size).filter(|(a, b)| a != b);
        Some(Self { time, size: sizes.map(|(a, b)| i128::from(b) - i128::from(a)) })
    }
}

/// What is at an offer's path now, compared with the file that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Comparison {
    /// The file that was found, with the answer to `stat` now.
    Same(Stat),
    /// The listing shows the file that was found, but answers to `stat` contradict each other; the differences.
    Doubtful(String),
    /// Another or a changed file; the differences.
    Different(String),
    /// No file.
    Missing,
}

impl FolderSource {
    /// The metadata of an entry, without its times where the flow ignores them.
    pub(super) fn metadata(&self, entry: &Entry) -> Metadata {
        let metadata = Metadata::by(entry);
        if self.polling.ignore_times { metadata.untimed() } else { metadata }
    }

    /// Asks for the metadata of a path. A refusal is not an error: listings may report what `stat` does not.
    pub(super) async fn stat(&self, path: &RemotePath) -> Result<Stat> {
        match self.folder.stat(path).await {
            Ok(entry) => Ok(Stat::Found(self.metadata(&entry))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Stat::Missing),
            Err(error) if is_refusal(&error) => Ok(Stat::Refused),
            Err(error) => Err(error),
        }
    }

    /// Compares the file that was found with what is at its path now, by listing and `stat`. `before` is the answer to
    /// `stat` when the offer was opened; `None` when it is being opened.
    pub(super) async fn compare(
        &self,
        identity: &OfferIdentity,
        found: &Metadata,
        before: Option<&Stat>,
    ) -> Result<Comparison> {
        let now = self.stat(&identity.path).await?;
        let expected = match before {
            Some(Stat::Found(metadata)) => metadata,
            Some(Stat::Refused | Stat::Missing) | None => found,
        };
        let mut words = Vec::new();
        match &now {
            Stat::Found(metadata) => {
                words = expected.contradictions(metadata);
                if before.is_none() && (words.is_empty() || self.is_known_difference(found, metadata)) {
                    return Ok(Comparison::Same(now));
                }
                if words.is_empty() && !found.leaves_out(metadata) {
                    return Ok(Comparison::Same(now));
                }
                let other_size = before.is_some()
                    && expected.size.is_some_and(|size| metadata.size.is_some_and(|now| now != size));
                if metadata.other_kind.is_some() || other_size {
                    return Ok(Comparison::Different(words.join(", ")));
                }
            }
            // The server answered `stat` for this file before, so "no such file" can be believed.
            Stat::Missing if matches!(before, Some(Stat::Found(_))) => return Ok(Comparison::Missing),
            Stat::Missing | Stat::Refused => {}
        }
        let Some(listed) = self.list_again(&identity.path).await? else { return Ok(Comparison::Missing) };
        let differences = found.contradictions(&listed);
        Ok(match &now {
            _ if !differences.is_empty() => {
                let words = if words.is_empty() { differences } else { words };
                Comparison::Different(words.join(", "))
            }
            Stat::Found(metadata) if before.is_none() => {
                self.learn_difference(found, metadata);
                Comparison::Same(now)
            }
            Stat::Found(_) if !words.is_empty() => Comparison::Doubtful(words.join(", ")),
            Stat::Found(_) | Stat::Missing | Stat::Refused => Comparison::Same(now),
        })
    }

    /// The metadata of a path in the listing of its directory now; `None` when the listing does not show it.
    pub(super) async fn list_again(&self, path: &RemotePath) -> Result<Option<Metadata>> {
        if *path == self.options.directory {
            // The endpoint names this one file: it is in no listing.
            return Ok(match self.stat(path).await? {
                Stat::Found(metadata) => Some(metadata),
                Stat::Refused | Stat::Missing => None,
            });
        }
        let mut listing = match self.folder.list(&path.parent().unwrap_or_default()).await {
            Ok(listing) => listing,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        while let Some(entry) = listing.next().await.transpose()? {
            if entry.path.as_bytes() == path.file_name() {
                end_listing(listing).await;
                return Ok(Some(self.metadata(&entry)));
            }
        }
        Ok(None)
    }

    fn is_known_difference(&self, listed: &Metadata, by_stat: &Metadata) -> bool {
        let Some(gap) = StatDifference::between(listed, by_stat) else { return false };
        self.stat_differences.lock().is_ok_and(|gaps| gaps.contains(&gap))
    }

    fn learn_difference(&self, listed: &Metadata, by_stat: &Metadata) {
        let Some(gap) = StatDifference::between(listed, by_stat) else { return };
        if let Ok(mut gaps) = self.stat_differences.lock()
            && gaps.len() < STAT_DIFFERENCE_LIMIT
            && !gaps.contains(&gap)
        {
            gaps.push(gap);
        }
    }
}

/// Whether the server refused the request: not a broken connection, nor a missing file.
pub(super) fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Rejected | ErrorKind::Unsupported)
}

/// Notes in `source_data` the answer to `stat` when the offer was opened, where it differs from the offer's identity.
pub(super) fn note_stat(source_data: &mut Map<String, Value>, found: &Metadata, stat: &Stat) {
    let noted = match stat {
        Stat::Found(metadata) if metadata == found => return,
        Stat::Found(metadata) => serde_json::to_value(metadata).unwrap_or_default(),
        Stat::Refused => Value::from("refused"),
        Stat::Missing => Value::from("missing"),
    };
    source_data.insert(STAT_WHEN_OPENED.to_owned(), noted);
}

/// The answer to `stat` when the offer was opened: the metadata of the listing, unless something else was noted.
pub(super) fn noted_stat(source_data: &Map<String, Value>, found: &Metadata) -> Stat {
    match source_data.get(STAT_WHEN_OPENED) {
        Some(Value::String(word)) if word == "refused" => Stat::Refused,
        Some(Value::String(word)) if word == "missing" => Stat::Missing,
        Some(value) => Stat::Found(Metadata::deserialize(value).unwrap_or_else(|_| found.clone())),
        None => Stat::Found(found.clone()),
    }
}

/// Notes in `source_data` when the system last changed the file.
pub(super) fn note_changed(source_data: &mut Map<String, Value>, changed: Option<Timestamp>) {
    if let Some(changed) = changed {
        source_data.insert(CHANGED.to_owned(), Value::from(changed.timestamp_micros()));
    }
}

/// What [`note_changed`] noted.
pub(super) fn noted_changed(source_data: &Map<String, Value>) -> Option<Timestamp> {
    source_data.get(CHANGED)?.as_i64().and_then(chrono::DateTime::from_timestamp_micros)
}
