//! Claims: with `claim = "rename"` a file is renamed to `NAME.stage` before it is read, so that no other program takes
//! it too, and is deleted, archived or moved under that name.
//!
//! A claim whose file was not recorded is released: at once where the poll goes on, otherwise (after a crash) when the
//! engine finds that no offer waits for it, see [`crate::KnownOffers::orphaned_claims`].

use super::compare::{CHANGED, Comparison, Stat, is_refusal};
use super::{FolderSource, metadata_when_found, names};
use crate::{Discovery, FoundOffer};
use model::{Error, ErrorKind, Offer, OfferIdentity, RemotePath, Result};
use serde_json::Value;
use std::sync::PoisonError;

/// The key in `source_data` of an offer whose file has its claimed name.
const CLAIMED: &str = "claimed";

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
    match offer.source_data.contains_key(CLAIMED) {
        true => Offer { identity: claimed_identity(&offer.identity), ..offer.clone() },
        false => offer.clone(),
    }
}

/// The same for an offer that is being read.
pub(super) fn found_at_source(offer: &FoundOffer) -> FoundOffer {
    if !offer.source_data.contains_key(CLAIMED) {
        return offer.clone();
    }
    let mut source_data = offer.source_data.clone();
    // A rename changes the status time.
    source_data.remove(CHANGED);
    FoundOffer { identity: claimed_identity(&offer.identity), source_data }
}

impl FolderSource {
    /// Renames a file that is to be read to its claimed name. Returns the offer as it is then, with the answer to
    /// `stat`.
    ///
    /// # Errors
    /// `NotFound`, transient: the file disappeared or changed. `AlreadyExists`, transient: its claimed name is taken.
    pub(super) async fn claim(&self, offer: &FoundOffer) -> Result<(FoundOffer, Stat)> {
        let path = &offer.identity.path;
        let mut claimed = offer.clone();
        claimed.source_data.insert(CLAIMED.to_owned(), Value::Bool(true));
        let at_source = found_at_source(&claimed);
        let to = &at_source.identity.path;
        let failed = |kind: ErrorKind, advice: String| {
            Error::transient(kind, "claim a file by renaming it")
                .with("endpoint", &offer.identity.endpoint)
                .with("path", path)
                .with("to", to)
                .advice(advice)
        };
        match self.rename_new(path, to).await {
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
        self.claims.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
        match self.compare(&at_source.identity, &metadata_when_found(&at_source), None).await {
            Ok(Comparison::Same(stat)) => Ok((claimed, stat)),
            Ok(Comparison::Missing) => {
                Err(failed(ErrorKind::NotFound, "it disappeared after it was claimed".into()))
            }
            Ok(Comparison::Doubtful(words) | Comparison::Different(words)) => {
                self.release_claim(path).await?;
                Err(failed(
                    ErrorKind::NotFound,
                    format!(
                        "it changed after it was listed ({words}); the file as it is now will be offered again"
                    ),
                ))
            }
            Err(error) => Err(error),
        }
    }

    /// Gives a file its name back that this source has claimed. A new file of the name stays, and the claimed one is
    /// left to a later poll. Does nothing for a file that it has not claimed.
    pub(super) async fn release_claim(&self, path: &RemotePath) -> Result<()> {
        if !self.claims.lock().unwrap_or_else(PoisonError::into_inner).remove(path) {
            return Ok(());
        }
        self.rename_back(path).await
    }

    async fn rename_back(&self, path: &RemotePath) -> Result<()> {
        match self.rename_new(&claimed_path(path), path).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                tracing::warn!(%path, "a claimed file does not get its name back, because a new file has it; it gets it back when the new one is gone");
                Ok(())
            }
            renamed => renamed,
        }
    }

    /// Reports the claimed files that a listing showed, by the names without the claim, and gives those their names back
    /// for which no offer waits: the next poll finds them.
    pub(super) async fn release_orphans(
        &self,
        discovery: &Discovery,
        claimed: Vec<RemotePath>,
    ) -> Result<()> {
        for path in discovery.known.orphaned_claims(claimed).await? {
            tracing::warn!(%path, "the claim of a file was left behind; the file gets its name back, and is offered again");
            self.rename_back(&path).await?;
        }
        Ok(())
    }

    /// Whether an endpoint that names a single file finds it under its claimed name.
    pub(super) async fn is_claimed(&self, path: &RemotePath) -> Result<bool> {
        Ok(matches!(self.stat(&claimed_path(path)).await?, Stat::Found(_)))
    }
}
