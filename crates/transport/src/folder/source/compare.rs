//! Whether what lies at a path is still the file that was found.
//!
//! A place tells of a file in two ways: in the listing of its directory, and when it is asked about the path (a
//! look, `stat`). Many servers tell less in one of them, some tell other times or sizes in each. So what only one
//! of them tells contradicts nothing, and where they contradict each other the directory is listed once more: a file
//! that the listing still shows as it was found has not changed, and what the look tells of it now is what later
//! looks are compared with.

use super::FolderSource;
use crate::folder::{Entry, EntryKind};
use chrono::TimeDelta;
use futures::StreamExt;
use model::{Error, ErrorKind, OfferIdentity, RemotePath, Result, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The key in `source_data` of what the look told when the offer was opened.
const LOOKED: &str = "looked";

/// The key in `source_data` of the time of the system's last change (ctime), in microseconds.
const CHANGED: &str = "changed";

/// Most ways in which looks may differ from listings that one poll remembers.
const GAP_LIMIT: usize = 16;

/// What is told of a file in one of the two ways.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Told {
    /// It is told to be something else than a file.
    #[serde(skip)]
    pub(super) other_kind: Option<EntryKind>,
    pub(super) size: Option<u64>,
    pub(super) modified: Option<Timestamp>,
    version: Option<String>,
    changed: Option<Timestamp>,
}

impl Told {
    fn by(entry: &Entry) -> Self {
        Self {
            other_kind: Some(entry.kind).filter(|kind| !matches!(kind, EntryKind::File | EntryKind::Unknown)),
            size: entry.size,
            modified: entry.modified,
            version: entry.version.clone(),
            changed: entry.changed,
        }
    }

    /// What the listing told when the offer was found.
    pub(super) fn when_found(identity: &OfferIdentity, changed: Option<Timestamp>) -> Self {
        Self {
            other_kind: None,
            size: identity.size,
            modified: identity.modified,
            version: identity.version.clone(),
            changed,
        }
    }

    /// What contradicts what is told later, in words; nothing for the same file.
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

    /// Both times, where nothing else differs: of a file that is being filled in place, or of any file at a place that tells
    /// another time at each look. The system's own time of the last change counts as one, where only that moved.
    pub(super) fn times_moved(&self, later: &Self) -> Option<(Timestamp, Timestamp)> {
        if !self.clone().untimed().agrees_with(later) {
            return None;
        }
        let of_both =
            |was: Option<Timestamp>, is: Option<Timestamp>| was.zip(is).filter(|(was, is)| was != is);
        of_both(self.modified, later.modified).or_else(|| of_both(self.changed, later.changed))
    }

    /// The same with no time at all.
    pub(super) fn untimed(self) -> Self {
        Self { modified: None, changed: None, ..self }
    }

    /// The same without what changes with permissions and names too: for looks long after the file was read.
    pub(super) fn lasting(mut self) -> Self {
        self.changed = None;
        self
    }

    /// The same with another size.
    pub(super) fn with_size(&self, size: u64) -> Self {
        Self { size: Some(size), ..self.clone() }
    }

    /// Whether a look tells less than the listing did: then only another listing shows whether the file changed.
    fn leaves_out(&self, looked: &Self) -> bool {
        let no_size = match (self.size, looked.size) {
            (Some(listed), Some(0)) => listed > 0,
            (Some(_), None) => true,
            _ => false,
        };
        no_size
            || (self.modified.is_some() && looked.modified.is_none())
            || (self.version.is_some() && looked.version.is_none())
            || (self.changed.is_some() && looked.changed.is_none())
    }

    /// Whether what is told of a path is this file after a move, which may give it another version, but not another
    /// size or time.
    pub(super) fn is_moved_to(&self, there: &Self) -> bool {
        Self { version: None, changed: None, ..self.clone() }.agrees_with(there)
    }

    /// The same, whatever time is told.
    pub(super) fn may_be_moved_to(&self, there: &Self) -> bool {
        Self { modified: None, ..self.clone() }.is_moved_to(there)
    }

    fn agrees_with(&self, later: &Self) -> bool {
        self.contradictions(later).is_empty()
    }
}

/// The word for what is no file.
pub(super) fn kind_words(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
        EntryKind::Link => "link",
        EntryKind::Other => "device, pipe or socket",
        EntryKind::Unknown => "file of unknown kind",
    }
}

/// A look at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// What the place told.
    Told(Told),
    /// It does not tell: looking is refused.
    Untold,
    /// Nothing is there, it says.
    Missing,
}

/// How looks differ from listings at a place, learned from a file that both tell of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Gap {
    time: Option<TimeDelta>,
    size: Option<i128>,
}

impl Gap {
    /// `None` where they differ in what no place may differ in.
    fn between(listed: &Told, looked: &Told) -> Option<Self> {
        let same_file = Told { size: None, modified: None, ..listed.clone() };
        if !same_file.agrees_with(looked) {
            return None;
        }
        let time = listed.modified.zip(looked.modified).map(|(a, b)| b - a).filter(|gap| !gap.is_zero());
        let sizes = listed.size.zip(looked.size).filter(|(a, b)| a != b);
        Some(Self { time, size: sizes.map(|(a, b)| i128::from(b) - i128::from(a)) })
    }
}

/// What is at an offer's path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Presence {
    /// The file that was found, with what a look told of it now.
    Same(Look),
    /// The listing shows the file that was found, but looks at it contradict each other, in these words.
    Doubtful(String),
    /// Something else, in these words.
    Different(String),
    /// Nothing.
    Missing,
}

impl FolderSource {
    /// What an entry tells, without its times where the flow leaves them out.
    pub(super) fn told(&self, entry: &Entry) -> Told {
        let told = Told::by(entry);
        if self.polling.ignore_times { told.untimed() } else { told }
    }

    /// Asks what lies at a path. A refusal is no failure: listings may tell what a look does not.
    pub(super) async fn look(&self, path: &RemotePath) -> Result<Look> {
        match self.folder.stat(path).await {
            Ok(entry) => Ok(Look::Told(self.told(&entry))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Look::Missing),
            Err(error) if is_refusal(&error) => Ok(Look::Untold),
            Err(error) => Err(error),
        }
    }

    /// Whether the file that was found is still at its path, as far as listing and looks tell. `before` is what the
    /// look told when the offer was opened; `None` when it is being opened.
    pub(super) async fn presence(
        &self,
        identity: &OfferIdentity,
        found: &Told,
        before: Option<&Look>,
    ) -> Result<Presence> {
        let now = self.look(&identity.path).await?;
        let expected = match before {
            Some(Look::Told(told)) => told,
            Some(Look::Untold | Look::Missing) | None => found,
        };
        let mut words = Vec::new();
        match &now {
            Look::Told(told) => {
                words = expected.contradictions(told);
                if before.is_none() && (words.is_empty() || self.is_known_gap(found, told)) {
                    return Ok(Presence::Same(now));
                }
                if words.is_empty() && !found.leaves_out(told) {
                    return Ok(Presence::Same(now));
                }
                let other_size = before.is_some()
                    && expected.size.is_some_and(|size| told.size.is_some_and(|now| now != size));
                if told.other_kind.is_some() || other_size {
                    return Ok(Presence::Different(words.join(", ")));
                }
            }
            // It was told before, so that nothing is there now means what it says.
            Look::Missing if matches!(before, Some(Look::Told(_))) => return Ok(Presence::Missing),
            Look::Missing | Look::Untold => {}
        }
        let Some(listed) = self.list_again(&identity.path).await? else { return Ok(Presence::Missing) };
        let differences = found.contradictions(&listed);
        Ok(match &now {
            _ if !differences.is_empty() => {
                let words = if words.is_empty() { differences } else { words };
                Presence::Different(words.join(", "))
            }
            Look::Told(told) if before.is_none() => {
                self.learn_gap(found, told);
                Presence::Same(now)
            }
            Look::Told(_) if !words.is_empty() => Presence::Doubtful(words.join(", ")),
            Look::Told(_) | Look::Missing | Look::Untold => Presence::Same(now),
        })
    }

    /// What the listing of its directory tells of a path now; `None` when it does not show it.
    pub(super) async fn list_again(&self, path: &RemotePath) -> Result<Option<Told>> {
        if *path == self.options.directory {
            // The endpoint names this one file: there is no listing but the look.
            return Ok(match self.look(path).await? {
                Look::Told(told) => Some(told),
                Look::Untold | Look::Missing => None,
            });
        }
        let mut listing = match self.folder.list(&path.parent().unwrap_or_default()).await {
            Ok(listing) => listing,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        while let Some(entry) = listing.next().await.transpose()? {
            if entry.path.as_bytes() == path.file_name() {
                return Ok(Some(self.told(&entry)));
            }
        }
        Ok(None)
    }

    fn is_known_gap(&self, listed: &Told, looked: &Told) -> bool {
        let Some(gap) = Gap::between(listed, looked) else { return false };
        self.gaps.lock().is_ok_and(|gaps| gaps.contains(&gap))
    }

    fn learn_gap(&self, listed: &Told, looked: &Told) {
        let Some(gap) = Gap::between(listed, looked) else { return };
        if let Ok(mut gaps) = self.gaps.lock()
            && gaps.len() < GAP_LIMIT
            && !gaps.contains(&gap)
        {
            gaps.push(gap);
        }
    }
}

/// Whether the place answered and said no: not that a connection broke, nor that nothing is there.
pub(super) fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Rejected | ErrorKind::Unsupported)
}

/// Notes in `source_data` what a look told when the offer was opened, where it says more than the identity does.
pub(super) fn note_look(source_data: &mut Map<String, Value>, found: &Told, look: &Look) {
    let noted = match look {
        Look::Told(told) if told == found => return,
        Look::Told(told) => serde_json::to_value(told).unwrap_or_default(),
        Look::Untold => Value::from("untold"),
        Look::Missing => Value::from("missing"),
    };
    source_data.insert(LOOKED.to_owned(), noted);
}

/// What the look told when the offer was opened: as the listing told, unless it was noted otherwise.
pub(super) fn noted_look(source_data: &Map<String, Value>, found: &Told) -> Look {
    match source_data.get(LOOKED) {
        Some(Value::String(word)) if word == "untold" => Look::Untold,
        Some(Value::String(word)) if word == "missing" => Look::Missing,
        Some(value) => Look::Told(Told::deserialize(value).unwrap_or_else(|_| found.clone())),
        None => Look::Told(found.clone()),
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
