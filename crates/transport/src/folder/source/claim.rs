//! Claims: with `claim = "rename"` a file is renamed to `NAME.stage` before it is read, so that no other program takes
//! it too, and is deleted, archived or moved under that name.
//!
//! A claim whose file was not recorded is released: at once where the poll goes on, otherwise (after a crash) when the
//! engine finds that no offer waits for it, see [`crate::KnownOffers::orphaned_claims`].

use super::FolderSource;
use super::compare::{CHANGED, Metadata, Stat, is_refusal};
use crate::folder::destination::is_cut;
use crate::folder::names;
use crate::{ClaimedFile, Discovery, FoundOffer, OfferNotes};
use model::{Error, ErrorKind, Offer, OfferIdentity, RemotePath, Result};
use std::collections::HashSet;
use std::sync::{MutexGuard, PoisonError};

/// The most claimed files that one poll reports; the others are reported by later polls.
pub(super) const CLAIMED_LIMIT: usize = 1_000;

/// The path of a file while it is claimed.
fn claimed_path(path: &RemotePath) -> RemotePath {
    path.with_file_name(&[path.file_name(), names::CLAIMED_SUFFIX].concat())
}

/// The path that a claimed file has when it is released; `None` for a name that no claim gives.
pub(super) fn released_path(path: &RemotePath) -> Option<RemotePath> {
    let name = path.file_name().strip_suffix(names::CLAIMED_SUFFIX)?;
    (!name.is_empty()).then(|| path.with_file_name(name))
}

/// The identity under the claimed name. Servers may give a renamed file another version.
fn claimed_identity(identity: &OfferIdentity) -> OfferIdentity {
    OfferIdentity { path: claimed_path(&identity.path), version: None, ..identity.clone() }
}

/// An offer as it is at the source: under its claimed name, if it was claimed.
pub(super) fn offer_at_source(offer: &Offer) -> Offer {
    match OfferNotes::of(&offer.source_data).claimed {
        true => Offer { identity: claimed_identity(&offer.identity), ..offer.clone() },
        false => offer.clone(),
    }
}

/// The same for an offer that is being read.
pub(super) fn found_at_source(offer: &FoundOffer) -> FoundOffer {
    if !OfferNotes::of(&offer.source_data).claimed {
        return offer.clone();
    }
    let mut source_data = offer.source_data.clone();
    // A rename changes the status time.
    source_data.remove(CHANGED);
    FoundOffer { identity: claimed_identity(&offer.identity), source_data }
}

impl FolderSource {
    fn claims(&self) -> MutexGuard<'_, HashSet<RemotePath>> {
        // A set of paths is consistent after any panic.
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renames a file that is to be read to its claimed name. Returns the offer as it is then, with the answer to
    /// `stat`.
    ///
    /// # Errors
    /// `NotFound`, transient: the file disappeared or changed. `AlreadyExists`, transient: its claimed name is taken.
    pub(super) async fn claim(&self, offer: &FoundOffer) -> Result<(FoundOffer, Stat)> {
        let path = &offer.identity.path;
        let mut claimed = offer.clone();
        OfferNotes::change(&mut claimed.source_data, |notes| notes.claimed = true);
        let at_source = found_at_source(&claimed);
        let to = &at_source.identity.path;
        let failed = |kind: ErrorKind, advice: String| {
            Error::transient(kind, "claim a file by renaming it")
                .with("endpoint", &offer.identity.endpoint)
                .with("path", path)
                .with("to", to)
                .advice(advice)
        };
        // Noted first: where the answer is lost, the file may have been renamed.
        self.claims().insert(path.clone());
        let renamed = self.rename_new(path, to).await;
        if renamed.as_ref().is_err_and(|error| !is_cut(error)) {
            self.claims().remove(path);
        }
        match renamed {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(failed(ErrorKind::NotFound, "it disappeared after it was listed".into()));
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let advice = "another program has claimed a file of this name, or a claim was left behind; such a claim is \
                    released after 30 minutes and 30 polls";
                return Err(failed(ErrorKind::AlreadyExists, advice.into()));
            }
            Err(error) if is_refusal(&error) => {
                return Err(error.advice(
                    "this user may not rename files there, or the name with .stage is too long: ask the server's operator for \
                    the right, or set claim = \"lease\" on the flow's source",
                ));
            }
            Err(error) => return Err(error),
        }
        let found = self.find(&at_source).await;
        if matches!(&found, Err(error) if error.kind() == ErrorKind::NotFound) {
            self.release_claim(path).await?;
        }
        Ok((claimed, found?))
    }

    /// Renames a file back that this source has claimed. A new file of the name stays, and the claimed one is
    /// left to a later poll. Does nothing for a file that it has not claimed.
    pub(super) async fn release_claim(&self, path: &RemotePath) -> Result<()> {
        if !self.claims().remove(path) {
            return Ok(());
        }
        self.rename_back(path).await
    }

    pub(super) async fn rename_back(&self, path: &RemotePath) -> Result<()> {
        match self.rename_new(&claimed_path(path), path).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                tracing::warn!(%path, "a claimed file is not renamed back, as there is a new file of that name; it is when the new one is gone");
                Ok(())
            }
            renamed => renamed,
        }
    }

    /// Reports the claimed files that a listing showed, by the names without the claim, and renames those back
    /// for which no offer waits: the next poll finds them.
    pub(super) async fn release_orphans(
        &self,
        discovery: &Discovery,
        claimed: Vec<ClaimedFile>,
    ) -> Result<()> {
        for path in discovery.known.orphaned_claims(claimed).await? {
            tracing::warn!(%path, "the claim of a file was left behind; the file is renamed back, and offered again");
            self.rename_back(&path).await?;
        }
        Ok(())
    }

    /// The metadata of the claimed file of an endpoint that names a single file.
    pub(super) async fn claimed_file(&self, path: &RemotePath) -> Result<Option<Metadata>> {
        match self.stat(&claimed_path(path)).await? {
            Stat::Found(metadata) => Ok(Some(metadata)),
            Stat::Refused | Stat::Missing => Ok(None),
        }
    }
}
