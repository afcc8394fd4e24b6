//! Which offers a flow knows already.

use crate::ingest::claimed::ClaimedFiles;
use crate::ingest::room::RoomOfPoll;
use crate::ingest::tally::Tally;
use crate::ingest::unstable::UnstableFiles;
use async_trait::async_trait;
use model::{OfferIdentity, RemotePath, Result, Timestamp};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::Store;
use transport::{ClaimedFile, KnownOffers, SkippedFile, UnstableFile};

/// Which offers one poll of one flow knows already.
pub(crate) struct Known {
    pub(crate) store: Store,
    pub(crate) flow: String,
    pub(crate) endpoint: String,
    /// When the poll began: kept files that are not listed from then on no longer exist.
    pub(crate) listing: Timestamp,
    /// The counter of files of which only the time changes.
    pub(crate) unstable: Arc<UnstableFiles>,
    /// The counter of files that are claimed.
    pub(crate) claimed: Arc<ClaimedFiles>,
    /// Counts what the poll skips.
    pub(crate) tally: Arc<Tally>,
    /// The room for files that are offered, where those without any leave the limit to others: not in an ordered flow, whose
    /// files wait for those before them, nor where nothing is staged.
    pub(crate) room: Option<RoomOfPoll>,
    /// Whether the database query failed: then the failure of the poll is not the source's.
    pub(crate) failed: AtomicBool,
}

impl Known {
    fn noting<T>(&self, answer: Result<T>) -> Result<T> {
        if answer.is_err() {
            self.failed.store(true, Ordering::SeqCst);
        }
        answer
    }
}

#[async_trait]
impl KnownOffers for Known {
    async fn known(&self, keys: Vec<String>) -> Result<HashSet<String>> {
        let known = self.noting(self.store.known(&keys, self.listing).await)?;
        if !known.is_empty() {
            let still_there: Vec<String> = known.iter().cloned().collect();
            self.noting(self.store.listed(&still_there, self.listing).await)?;
        }
        Ok(known)
    }

    async fn used_done_files(&self, keys: Vec<String>) -> Result<HashSet<String>> {
        let used = self.noting(self.store.used_done_files(&keys).await)?;
        if !used.is_empty() {
            let still_there: Vec<String> = used.iter().cloned().collect();
            self.noting(self.store.listed_done_files(&still_there, self.listing).await)?;
        }
        Ok(used)
    }

    async fn orphaned_claims(&self, mut claimed: Vec<ClaimedFile>) -> Result<Vec<RemotePath>> {
        if !claimed.is_empty() {
            let paths: Vec<RemotePath> = claimed.iter().map(|file| file.path.clone()).collect();
            let waiting = self.noting(self.store.unsettled_paths(&paths).await)?;
            claimed.retain(|file| !waiting.contains(&file.path));
        }
        Ok(self.claimed.seen(&self.flow, claimed, self.listing))
    }

    fn unstable(&self, files: Vec<UnstableFile>) {
        for file in files {
            self.unstable.count(&self.flow, &self.endpoint, file, self.listing);
        }
    }

    fn has_room(&self, file: &OfferIdentity) -> bool {
        self.room.as_ref().is_none_or(|room| room.has_room(file))
    }

    fn skipped(&self, file: &SkippedFile<'_>) {
        self.tally.skip(file.why);
    }

    async fn listing_complete(&self) -> Result<()> {
        self.noting(self.store.forget_unlisted(&self.flow, &self.endpoint, self.listing).await).map(drop)
    }
}
