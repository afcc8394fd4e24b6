//! A directory of a walk and those that it lies in: what tells a link back to one of them from a directory, on servers that
//! show links as directories.

use crate::folder::{Entry, EntryKind};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::iter::successors;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// How many directories above must show the same as a directory until it counts as one of them.
const SAME_ABOVE: usize = 2;

/// A directory on the way of a walk.
#[derive(Debug, Default)]
pub(super) struct Level {
    /// Which directory it is, where the server states that.
    version: OnceLock<String>,
    /// The sum of the hashes of its entries, whatever their order.
    sum: AtomicU64,
    /// Whether a file is among them: directories of which nothing but names is known look the same too often.
    has_file: AtomicBool,
    /// The sum, once it was listed to its end.
    listed: OnceLock<u64>,
    above: Option<Arc<Level>>,
}

impl Level {
    /// A directory in another one.
    pub(super) fn below(above: &Arc<Self>, version: Option<String>) -> Self {
        let version = version.map_or_else(OnceLock::new, OnceLock::from);
        Self { version, above: Some(Arc::clone(above)), ..Self::default() }
    }

    /// The bytes of its version in memory.
    pub(super) fn bytes(&self) -> usize {
        self.version.get().map_or(0, String::len)
    }

    /// Notes which directory it is.
    pub(super) fn is_directory(&self, version: String) {
        self.version.get_or_init(|| version);
    }

    /// Whether it, or a directory that it lies in, is this one.
    pub(super) fn lies_in(&self, version: &str) -> bool {
        successors(Some(self), |level| level.above.as_deref())
            .any(|level| level.version.get().is_some_and(|other| other == version))
    }

    /// Notes an entry of its listing.
    pub(super) fn note(&self, entry: &Entry) {
        let mut hasher = DefaultHasher::new();
        entry.path.as_bytes().hash(&mut hasher);
        (entry.kind == EntryKind::Directory, entry.size, entry.modified).hash(&mut hasher);
        self.sum.fetch_add(hasher.finish(), Relaxed);
        let is_file = matches!(entry.kind, EntryKind::File | EntryKind::Unknown);
        self.has_file.fetch_or(is_file && entry.modified.is_some(), Relaxed);
    }

    /// Its listing is at its end: whether it shows the same as directories that it lies in.
    pub(super) fn end(&self) -> bool {
        if !self.has_file.load(Relaxed) {
            return false;
        }
        let sum = self.sum.load(Relaxed);
        self.listed.get_or_init(|| sum);
        let above = successors(self.above.as_deref(), |level| level.above.as_deref());
        above.filter(|level| level.listed.get() == Some(&sum)).count() >= SAME_ABOVE
    }
}
