//! Comparing the database's seals with the notes.

use super::super::mark::{NotedSeal, SealMark};
use super::super::{Bound, Seal, TrustedKeys};
use super::Sealer;
use crate::Store;
use crate::verify::{AcceptedKeys, load_records};
use model::{Result, Sha256};

/// Seals looked at in one go; without their members they are small.
const PAGE: i64 = 500;

/// The result of comparing the database with the note.
pub(super) enum Standing {
    /// Everything matches and is valid; this is the newest seal.
    Good(Option<Box<Seal>>),
    /// A seal is signed with a key that this node does not know.
    UnknownKey { seal: i64, key: String },
    /// The trail differs from the notes.
    Wrong(String),
}

/// The keys whose seals are accepted.
struct Believed {
    trusted: TrustedKeys,
    /// By signed record, up to a seal.
    accepted: Vec<AcceptedKeys>,
    /// Whether the records were read.
    complete: bool,
}

impl Believed {
    /// `None` if the seal's key is unknown.
    async fn holds(&mut self, store: &Store, seal: &Seal) -> Result<Option<bool>> {
        if !self.trusted.has(&seal.key_id) && !self.complete {
            // Perhaps confirmed by a node that this one trusts.
            let records = load_records(store, &self.trusted).await?;
            (self.trusted, self.accepted, self.complete) = (records.trusted, records.accepted, true);
        }
        let accepted = self.accepted.iter().any(|keys| keys.accept(seal));
        Ok(seal.signature_holds(&self.trusted).or(accepted.then_some(true)))
    }
}

impl Sealer {
    /// Verifies the seals after the noted one, notes how far they are valid, and searches for events that no seal can
    /// cover.
    pub(super) async fn compare(&self, store: &Store, mark: &mut SealMark) -> Result<Standing> {
        let standing = self.walk(store, mark).await?;
        if let Standing::Good(_) = &standing
            && let Some(finding) = store.out_of_reach(1).await?.first()
        {
            return Ok(Standing::Wrong(finding.to_string()));
        }
        Ok(standing)
    }

    async fn walk(&self, store: &Store, mark: &mut SealMark) -> Result<Standing> {
        let known = mark.newest;
        let newest = store.last_seal().await?.map_or(0, |seal| seal.seq);
        if newest < known.seal {
            return Ok(Standing::Wrong(format!(
                "this node has noted seal {}, but the newest seal in the database is {newest}: seals were \
                removed, or an older backup was restored",
                known.seal
            )));
        }
        if let Some(wrong) = self.gap(store, mark).await? {
            return Ok(Standing::Wrong(wrong));
        }
        let mut believed = Believed { trusted: self.trusted(mark)?, accepted: Vec::new(), complete: false };
        let mut last: Option<Seal> = None;
        let mut next = known.seal.max(1);
        loop {
            let page = store.seal_headers(next, PAGE).await?;
            if page.is_empty() {
                break;
            }
            for seal in page {
                if seal.seq != next {
                    return Ok(Standing::Wrong(format!("seal {next} is missing")));
                }
                if seal.seq == known.seal {
                    if let Some(wrong) = unlike_noted(&seal, &known) {
                        return Ok(Standing::Wrong(wrong));
                    }
                } else {
                    if let Some(wrong) = does_not_follow(&seal, last.as_ref()) {
                        return Ok(Standing::Wrong(wrong));
                    }
                    match believed.holds(store, &seal).await? {
                        Some(true) => {}
                        Some(false) => {
                            return Ok(Standing::Wrong(format!(
                                "seal {} is not signed by the key that it names",
                                seal.seq
                            )));
                        }
                        None => return Ok(Standing::UnknownKey { seal: seal.seq, key: seal.key_id }),
                    }
                    mark.note(&seal);
                    if let Some(key) = mark.keys.get_mut(&seal.key_id) {
                        key.newest = Some((seal.seq, seal.digest));
                    }
                }
                next = seal.seq + 1;
                last = Some(seal);
            }
        }
        if known.seal > 0 && last.is_none() {
            return Ok(Standing::Wrong(format!(
                "seal {}, which this node has noted, is missing",
                known.seal
            )));
        }
        self.resolve_pending(store, mark, last).await
    }

    /// What is wrong with the seal before the noted one. On PostgreSQL seals can be removed by a transaction that does
    /// not see the one that this node stores at that moment: the newest is then in place, and those before it are not.
    async fn gap(&self, store: &Store, mark: &SealMark) -> Result<Option<String>> {
        let before = mark.newest.seal - 1;
        let Some(noted) = mark.history.digest(before) else { return Ok(None) };
        Ok(match store.seal_digest(before).await? {
            Some(found) if found == noted => None,
            Some(found) => Some(format!(
                "seal {before} has the digest {found}, but this node has noted {noted}: the seal was replaced"
            )),
            None => Some(format!("seal {before}, which this node has noted, is missing")),
        })
    }

    /// What happened to a seal that was about to be stored.
    async fn resolve_pending(
        &self,
        store: &Store,
        mark: &mut SealMark,
        last: Option<Seal>,
    ) -> Result<Standing> {
        let Some(pending) = mark.pending.clone() else {
            return Ok(Standing::Good(last.map(Box::new)));
        };
        let newest = last.as_ref().map_or(0, |seal| seal.seq);
        if newest >= pending.seq {
            let made = store.seal_headers(pending.seq, 1).await?;
            if made.first().is_some_and(|made| made.digest != pending.digest && made.key_id == pending.key_id)
            {
                return Ok(Standing::Wrong(format!(
                    "seal {} is signed with this node's key, but this node did not create it",
                    pending.seq
                )));
            }
            // It was committed, or another node's was committed first.
            mark.pending = None;
            return Ok(Standing::Good(last.map(Box::new)));
        }
        // Its commit was lost, or never began: the events are unchanged, and give the same seal.
        let Some(members) = store.members_of_range(&pending).await? else {
            return Ok(Standing::Wrong(format!(
                "the events that were about to be put under seal {} were changed or removed",
                pending.seq
            )));
        };
        let seal = Seal { members: Some(members), ..pending };
        if !store.insert_seal(&seal).await? {
            // Another node was faster just now: the next run looks again.
            return Ok(Standing::Good(last.map(Box::new)));
        }
        mark.note(&seal);
        mark.pending = None;
        Ok(Standing::Good(Some(Box::new(seal))))
    }

    pub(super) fn trusted(&self, mark: &SealMark) -> Result<TrustedKeys> {
        let mut trusted = TrustedKeys::of(&self.key)?;
        mark.trust(&mut trusted)?;
        Ok(trusted)
    }
}

pub(super) fn unknown_key(seal: i64, key: &str) -> String {
    format!(
        "seal {seal} is signed with the unknown key {key}: if the key belongs to another node, run `waybill \
        audit trust FILE` with that node's seal.key.pub; if it was a key of this installation and is lost, \
        run `waybill audit accept-restored --reason TEXT`"
    )
}

fn unlike_noted(seal: &Seal, noted: &NotedSeal) -> Option<String> {
    if seal.digest != noted.digest {
        return Some(format!(
            "seal {} has the digest {}, but this node has noted {}: the seal was replaced",
            seal.seq, seal.digest, noted.digest
        ));
    }
    (seal.compute_digest() != noted.row).then(|| format!("seal {} was altered", seal.seq))
}

fn does_not_follow(seal: &Seal, before: Option<&Seal>) -> Option<String> {
    let (digest, to) = before.map_or((Sha256([0; 32]), Bound::START), |before| (before.digest, before.to));
    if seal.compute_digest() != seal.digest {
        return Some(format!("seal {} was altered", seal.seq));
    }
    (seal.previous != digest || seal.from != to || seal.to < seal.from)
        .then(|| format!("seal {} does not follow the one before it", seal.seq))
}
