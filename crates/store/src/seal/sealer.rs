//! Sealing by a node that trusts its own note more than the database.
//!
//! Each run compares the database's seals with what the node noted in its state directory ([`SealMark`]),
//! follows what other nodes have sealed since, and only then seals. What the note knows and the database
//! lacks, or holds differently, raises an alarm: the node seals nothing more, says so in the log, in an
//! event and in [`SealState`], until an administrator has accepted the trail as it is
//! ([`Sealer::accept`]). Whoever altered the trail must therefore change the note as well, and on every node.

mod vouching;

use super::mark::{MarkFile, NotedSeal, SealAlarm, SealMark};
use super::peers::PeerKeys;
use super::{Bound, Seal, SealKey, Sealed, TrustedKeys};
use crate::Store;
use crate::settings::IdGenerator;
use crate::verify::load_records;
use model::{AuditEvent, ErrorKind, EventId, EventKind, NodeName, Result, Sha256, Timestamp};
use std::path::Path;
use tokio::sync::watch;

/// Seals looked at in one go; without their members they are small.
const PAGE: i64 = 500;

/// How sealing stands on this node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SealState {
    /// The trail is not the one that was sealed; stays until it is accepted.
    pub alarm: Option<SealAlarm>,
    /// Why the last run made no seal, when that is no alarm.
    pub stopped: Option<String>,
    /// Whether the last run found the trail as it was sealed; false before the first.
    pub good: bool,
}

/// What comparing the database with the note gave.
enum Standing {
    /// All is as noted and holds; this is the newest seal.
    Good(Option<Box<Seal>>),
    /// A seal is by a key that this node does not know.
    UnknownKey { seal: i64, key: String },
    /// The trail is not what was noted.
    Wrong(String),
}

/// One node's sealing.
pub struct Sealer {
    key: SealKey,
    node: NodeName,
    ids: IdGenerator,
    file: MarkFile,
    peers: Option<PeerKeys>,
    state: watch::Sender<SealState>,
    turn: tokio::sync::Mutex<()>,
}

impl Sealer {
    /// Opens the note and the key of a node (`seal.key`, made if there is none) in its state directory. In
    /// the directory that it shares with the other nodes it shows its key and learns theirs.
    ///
    /// # Errors
    /// The key cannot be used, or the shared directory not written.
    pub fn open(
        state_directory: &Path,
        shared: Option<&Path>,
        node: NodeName,
        ids: IdGenerator,
    ) -> Result<Self> {
        let key = SealKey::load_or_create(&state_directory.join("seal.key"))?;
        let peers = shared.map(PeerKeys::within);
        if let Some(peers) = &peers {
            peers.publish(&key)?;
        }
        let state = watch::Sender::new(SealState::default());
        let file = MarkFile::within(state_directory);
        Ok(Self { key, node, ids, file, peers, state, turn: tokio::sync::Mutex::new(()) })
    }

    /// The key that signs.
    #[must_use]
    pub fn key(&self) -> &SealKey {
        &self.key
    }

    /// How sealing stands, as of the last run.
    #[must_use]
    pub fn state(&self) -> SealState {
        self.state.borrow().clone()
    }

    /// Seals everything below the horizon, unless the trail is not the one that is noted. Any node may, at any
    /// time: when two do at once, one wins and the other stops.
    ///
    /// # Errors
    /// The database or the state directory failed; what was sealed before that stays sealed. An alarm is no
    /// error: it is in [`Sealer::state`].
    pub async fn seal(&self, store: &Store, now: Timestamp) -> Result<Sealed> {
        let _turn = self.turn.lock().await;
        let done = self.seal_in_turn(store, now).await;
        if let Err(error) = &done {
            let stopped = Some(error.chain());
            self.state.send_modify(|state| {
                state.stopped = stopped;
                state.good = false;
            });
        }
        done
    }

    async fn seal_in_turn(&self, store: &Store, now: Timestamp) -> Result<Sealed> {
        let _lock = self.file.lock().await?;
        let mut mark = match self.file.read() {
            Ok(Some(mark)) => mark,
            Ok(None) => self.first_mark(store).await?,
            Err(error) if error.kind() == ErrorKind::IntegrityFailed => {
                // It cannot be written to without losing what it was to guard.
                self.tell(Some(SealAlarm { since: now, what: error.chain() }), None, false);
                return Ok(Sealed::default());
            }
            Err(error) => return Err(error),
        };
        let noted = mark.clone();
        self.learn_keys(store, &mut mark, now).await?;
        let mut standing = self.compare(store, &mut mark).await?;
        if (mark.alarm.is_some() || matches!(standing, Standing::Wrong(_)))
            && self.follow_accepted(store, &mut mark).await?
        {
            standing = self.compare(store, &mut mark).await?;
        }
        if let Standing::Good(_) = &standing {
            self.use_up_accepted(store, &mut mark).await?;
        }
        if let Standing::Wrong(what) = &standing
            && mark.alarm.is_none()
        {
            mark.alarm = Some(SealAlarm { since: now, what: what.clone() });
            // First the note, which stays; the event lies in the very database that was altered.
            self.file.write(&mark).await?;
            self.raise(store, now, what).await;
        } else if mark != noted {
            self.file.write(&mark).await?;
        }
        let stopped = match &standing {
            Standing::UnknownKey { seal, key } => Some(unknown_key(*seal, key)),
            Standing::Good(_) | Standing::Wrong(_) => None,
        };
        let good = mark.alarm.is_none() && matches!(standing, Standing::Good(_));
        self.tell(mark.alarm.clone(), stopped, good);
        match standing {
            Standing::Good(last) if mark.alarm.is_none() => {
                self.make_seals(store, mark, last.map(|seal| *seal), now).await
            }
            _ => Ok(Sealed::default()),
        }
    }

    /// A node that has noted nothing yet begins with the trail as it is, as far as that holds.
    async fn first_mark(&self, store: &Store) -> Result<SealMark> {
        if let Some(last) = store.last_seal().await? {
            tracing::warn!(
                seal = last.seq,
                path = %self.file.path().display(),
                "this node has no note of the newest seal yet: it takes the trail as it finds it"
            );
        }
        Ok(SealMark::default())
    }

    async fn make_seals(
        &self,
        store: &Store,
        mut mark: SealMark,
        mut last: Option<Seal>,
        now: Timestamp,
    ) -> Result<Sealed> {
        let mut done = Sealed::default();
        let mut maker = store.seal_maker(last.as_ref()).await?;
        while let Some(seal) = maker.next(last.as_ref(), now, &self.key).await? {
            mark.pending = Some(Seal { members: None, ..seal.clone() });
            self.file.write(&mark).await?;
            crash_point(&self.node, "noted");
            let made = store.insert_seal(&seal).await?;
            crash_point(&self.node, "committed");
            mark.pending = None;
            if !made {
                break;
            }
            mark.newest = NotedSeal::of(&seal);
            done.count(&seal);
            last = Some(seal);
        }
        if done.seals > 0 || mark.pending.is_none() {
            self.file.write(&mark).await?;
        }
        Ok(done)
    }

    /// Walks the seals from the noted one on, and notes how far they hold.
    async fn compare(&self, store: &Store, mark: &mut SealMark) -> Result<Standing> {
        let known = mark.newest;
        let newest = store.last_seal().await?.map_or(0, |seal| seal.seq);
        if newest < known.seal {
            return Ok(Standing::Wrong(format!(
                "seal {} is noted here, and the newest in the database is {newest}: seals were removed, or an \
                 older database was restored",
                known.seal
            )));
        }
        let mut trusted = self.trusted(mark)?;
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
                    if !trusted.has(&seal.key_id) {
                        // Vouched for by a node that this one trusts, perhaps.
                        trusted = load_records(store, &trusted).await?.trusted;
                    }
                    if let Some(wrong) = does_not_follow(&seal, last.as_ref()) {
                        return Ok(Standing::Wrong(wrong));
                    }
                    match seal.signature_holds(&trusted) {
                        Some(true) => {}
                        Some(false) => {
                            return Ok(Standing::Wrong(format!(
                                "seal {} is not signed by the key that it names",
                                seal.seq
                            )));
                        }
                        None => return Ok(Standing::UnknownKey { seal: seal.seq, key: seal.key_id }),
                    }
                    mark.newest = NotedSeal::of(&seal);
                    if let Some(key) = mark.keys.get_mut(&seal.key_id) {
                        key.newest = Some((seal.seq, seal.digest));
                    }
                }
                next = seal.seq + 1;
                last = Some(seal);
            }
        }
        if known.seal > 0 && last.is_none() {
            return Ok(Standing::Wrong(format!("seal {} is noted here and is missing", known.seal)));
        }
        self.resolve_pending(store, mark, last).await
    }

    /// What became of a seal that was about to be made.
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
                    "seal {} is by this node's key and is not the one that this node made",
                    pending.seq
                )));
            }
            // Committed after all; or another node's came first.
            mark.pending = None;
            return Ok(Standing::Good(last.map(Box::new)));
        }
        // Its commit was lost, or never began: the events lie still as they did, and make the same seal.
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
        mark.newest = NotedSeal::of(&seal);
        mark.pending = None;
        Ok(Standing::Good(Some(Box::new(seal))))
    }

    fn trusted(&self, mark: &SealMark) -> Result<TrustedKeys> {
        let mut trusted = TrustedKeys::of(&self.key)?;
        mark.trust(&mut trusted)?;
        Ok(trusted)
    }

    async fn raise(&self, store: &Store, now: Timestamp, what: &str) {
        let event =
            AuditEvent::new(EventId::new((self.ids)()), now, self.node.clone(), EventKind::AuditAlarm)
                .detail("alarm", what)
                .detail("advice", ADVICE);
        if let Err(error) = store.append_events(vec![event]).await {
            tracing::error!(error = error.chain(), "the alarm of the audit trail is not in the trail itself");
        }
    }

    fn tell(&self, alarm: Option<SealAlarm>, stopped: Option<String>, good: bool) {
        if let Some(alarm) = &alarm {
            tracing::error!(since = %alarm.since, alarm = alarm.what, advice = ADVICE, "AUDIT ALARM: nothing is sealed");
        }
        if let Some(stopped) = &stopped {
            tracing::warn!(reason = stopped, "nothing is sealed");
        }
        self.state.send_replace(SealState { alarm, stopped, good });
    }
}

/// What to do about an alarm.
pub(crate) const ADVICE: &str = "find out who changed the database: `waybill audit verify` names what was changed. After an older backup was \
     restored on purpose: `waybill audit accept-restored --reason TEXT`";

fn unknown_key(seal: i64, key: &str) -> String {
    format!(
        "seal {seal} is by key {key}, which this node does not know: if it is another node's, \
         `waybill audit trust FILE` with its seal.key.pub makes it known"
    )
}

fn unlike_noted(seal: &Seal, noted: &NotedSeal) -> Option<String> {
    if seal.digest != noted.digest {
        return Some(format!(
            "seal {} has the digest {}, and {} is noted here: it was replaced",
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

/// Where a test cuts a run off.
#[cfg_attr(not(test), expect(clippy::missing_const_for_fn, reason = "tests do something here"))]
fn crash_point(_node: &NodeName, _name: &'static str) {
    #[cfg(test)]
    tests::crash_point(_node, _name);
}

#[cfg(test)]
mod tests;
