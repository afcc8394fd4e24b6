//! Polls as the engine makes them: one that finds new files is followed by one that looks at them again.

use futures::TryStreamExt;
use model::Result;
use std::sync::Arc;
use transport::{Clock, Discovery, FoundOffer, KnownOffers, PendingFiles, Source};

/// What a flow's polls find, when they look again at new files as soon as these may be stable. The clock must be that of
/// the source.
///
/// # Errors
/// As [`Source::discover`].
pub async fn discover_stable(
    source: &dyn Source,
    known: Arc<dyn KnownOffers>,
    pending: &Arc<PendingFiles>,
    clock: &dyn Clock,
) -> Result<Vec<FoundOffer>> {
    let discovery = |looks_again| {
        let (known, pending) = (Arc::clone(&known), Arc::clone(pending));
        Discovery { known, pending, looks_again }
    };
    let mut found: Vec<FoundOffer> = source.discover(discovery(false)).await?.try_collect().await?;
    if let Some(stable_for) = pending.look_again_in(clock) {
        clock.sleep(stable_for).await;
        found.extend(source.discover(discovery(true)).await?.try_collect::<Vec<_>>().await?);
    }
    Ok(found)
}
