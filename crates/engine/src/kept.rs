//! Readings that are kept until it is known what became of the file: it may be gone when it is read again, and then what
//! was read before is the only copy.
//!
//! They are known in memory only. What a process that ends leaves of them lies in staging without a row, and the sweep
//! sets it aside, where a person finds it.

use crate::poller::{Poller, Trouble};
use crate::reading::Whole;
use crate::recording::StagedPart;
use crate::taking::{Discovered, READING};
use model::{EventKind, RemotePath, Severity, Timestamp};
use staging::Staging;
use std::sync::Arc;
use store::NodeLease;
use transport::{AfterRead, FoundOffer, Source};

/// Most readings kept at a time. One more is set aside in quarantine.
const KEPT_LIMIT: usize = 1_000;

/// A reading, and of what.
pub(crate) struct KeptReading {
    offer: FoundOffer,
    at: Timestamp,
    whole: Whole,
}

impl Poller {
    /// Keeps a reading, in place of an earlier one of the same offer.
    pub(crate) async fn keep_reading(&self, found: &Discovered, whole: Whole) {
        let key = found.offer.identity.key();
        let earlier = self.shared.kept().remove(&key);
        let dropped = match earlier {
            // What is known to be less than the file does not replace what may be all of it.
            Some(earlier) if whole.partial && !earlier.whole.partial => {
                self.shared.kept().insert(key, earlier);
                Some(whole)
            }
            earlier => {
                let kept = KeptReading { offer: found.offer.clone(), at: found.at, whole };
                let refused = {
                    let mut readings = self.shared.kept();
                    if readings.len() < KEPT_LIMIT {
                        readings.insert(key, kept);
                        None
                    } else {
                        Some(kept)
                    }
                };
                if let Some(KeptReading { offer, whole, .. }) = refused {
                    let why = "too many files wait to be read a second time";
                    self.set_aside(&offer.identity.path, whole.parts, why).await;
                }
                earlier.map(|earlier| earlier.whole)
            }
        };
        if let Some(whole) = dropped {
            self.discard(whole.parts).await;
        }
    }

    /// Drops the kept reading of an offer that was taken.
    pub(crate) async fn drop_reading(&self, key: &str) {
        let Some(kept) = self.shared.kept().remove(key) else { return };
        self.discard(kept.whole.parts).await;
    }

    /// Drops the kept reading of an offer that was given up as it lies at its source. One after which nobody could look
    /// whether the file is still there is set aside instead.
    pub(crate) async fn give_up_reading(&self, key: &str) {
        let Some(KeptReading { offer, whole, .. }) = self.shared.kept().remove(key) else { return };
        if whole.unseen {
            let why = "the file was given up, and its source could not be asked whether it is still there";
            self.set_aside(&offer.identity.path, whole.parts, why).await;
        } else {
            self.discard(whole.parts).await;
        }
    }

    /// Takes the kept readings of files that are gone by now.
    pub(crate) async fn take_kept(
        self: &Arc<Self>,
        source: &Arc<dyn Source>,
        lease: &NodeLease,
    ) -> Result<(), Trouble> {
        let waiting: Vec<(String, FoundOffer)> = {
            let kept = self.shared.kept();
            let of_this_flow = kept.iter().filter(|(_, kept)| {
                let identity = &kept.offer.identity;
                identity.flow == self.flow.name && identity.endpoint == self.poll.endpoint
            });
            of_this_flow.map(|(key, kept)| (key.clone(), kept.offer.clone())).collect()
        };
        for (key, offer) in waiting {
            let seen = match source.look_again(&offer).await {
                Ok(seen) => seen,
                Err(error) => {
                    tracing::warn!(flow = %self.flow.name, path = %offer.identity.path, error = %error.chain(), "a file that was read could not be looked at; the next poll tries it again");
                    return Ok(());
                }
            };
            if matches!(seen, AfterRead::Unchanged | AfterRead::Doubtful(_)) {
                continue;
            }
            let earlier = self.shared.store.earlier_tries(&key).await.map_err(Trouble::Ours)?;
            let Some(KeptReading { offer, at, mut whole }) = self.shared.kept().remove(&key) else {
                continue;
            };
            if seen != AfterRead::Gone || earlier.source_data.get(READING) != Some(&whole.fingerprint()) {
                // Another file took its name; or it was read once more, or taken, by another node.
                let why =
                    "the file was replaced, or another node read it, before it could be read a second time";
                self.set_aside(&offer.identity.path, whole.parts, why).await;
                continue;
            }
            whole.note_gone();
            let found = Discovered { offer, at, lease: lease.clone() };
            Arc::clone(self)
                .hand_over(Arc::clone(source), found, Ok(crate::reading::Reading::Whole(whole)))
                .await?;
        }
        Ok(())
    }

    /// Puts staged bytes that may be the only copy of a file where no row refers to them, and says so.
    pub(crate) async fn set_aside(&self, path: &RemotePath, parts: Vec<StagedPart>, why: &'static str) {
        for part in parts {
            let (id, bytes) = (part.staged.id, part.staged.length);
            let staging: Staging = self.shared.staging.clone();
            let moved = tokio::task::spawn_blocking(move || staging.quarantine(id)).await;
            if let Ok(Err(error)) = &moved {
                tracing::warn!(payload = %id, error = %error.chain(), "staged bytes could not be set aside; the sweep tries it again");
            }
            tracing::error!(flow = %self.flow.name, %path, payload = %id, bytes, why, "a file that was read is not taken; its bytes are set aside in quarantine");
            let event = self.shared.event(EventKind::PayloadQuarantined).flow(&self.flow.name);
            let event = event.endpoint(&self.poll.endpoint).detail("path", path.to_text());
            let event = event.detail("payload", id.to_string()).detail("bytes", bytes).detail("why", why);
            self.shared.record(event.severity(Severity::Error)).await;
        }
    }
}
