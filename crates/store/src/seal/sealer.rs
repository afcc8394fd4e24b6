//! Sealing by a node that trusts its own notes more than the database.
//!
//! Each run compares the database's seals with the node's notes in its state directory ([`SealMark`]), follows what
//! other nodes have sealed since, and only then seals. If the database lacks a noted seal, or has another one, an
//! alarm is raised: the node stops sealing and reports this in the log, in an event and in [`SealState`], until an
//! administrator has accepted the trail as it is ([`Sealer::accept`]). So a person who changes the trail must also
//! change the notes, on every node.

mod compare;
mod trust;

use super::mark::{AlarmCause, MarkFile, MarkLock, SealAlarm, SealMark, SealingBlocked};
use super::peers::PeerKeys;
use super::{Seal, SealKey, SealMaker, Sealed};
use crate::Store;
use crate::search::{EventFilter, Page};
use crate::settings::IdGenerator;
use compare::Standing;
use model::{AuditEvent, ErrorKind, EventId, EventKind, NodeName, Result, Timestamp};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

/// The state of sealing on this node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SealState {
    /// The alarm, until it ends ([`AlarmCause`]).
    pub alarm: Option<SealAlarm>,
    /// Why the last run created no seal, if that is not an alarm.
    pub stopped: Option<String>,
    /// Whether the last run found the trail as it was sealed; false before the first.
    pub good: bool,
}

/// One node's sealing.
pub struct Sealer {
    key: SealKey,
    node: NodeName,
    ids: IdGenerator,
    file: MarkFile,
    peers: Option<PeerKeys>,
    state: watch::Sender<SealState>,
    /// Since when the notes cannot be read; then this cannot be noted.
    unread: Mutex<Option<Timestamp>>,
    turn: tokio::sync::Mutex<()>,
}

impl Sealer {
    /// Opens the notes and the key of a node (`seal.key`, created if it is missing) in its state directory. Each run
    /// publishes its key in the directory shared with other nodes, and reads theirs.
    ///
    /// # Errors
    /// The key cannot be used.
    pub fn open(
        state_directory: &Path,
        shared: Option<&Path>,
        node: NodeName,
        ids: IdGenerator,
    ) -> Result<Self> {
        let key = SealKey::load_or_create(&state_directory.join("seal.key"))?;
        let peers = shared.map(PeerKeys::within);
        let state = watch::Sender::new(SealState::default());
        let file = MarkFile::within(state_directory);
        let (unread, turn) = (Mutex::new(None), tokio::sync::Mutex::new(()));
        Ok(Self { key, node, ids, file, peers, state, unread, turn })
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

    /// Seals everything below the horizon, unless the trail differs from the notes. Any node may do so, at any time:
    /// if two do at once, one succeeds and the other stops.
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
        let lock = self.file.lock().await?;
        let read = self.file.read().await;
        if !matches!(&read, Err(error) if error.kind() == ErrorKind::IntegrityFailed) {
            *self.unread.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        let noted = match read {
            Ok(Some(mark)) => mark,
            Ok(None) => self.first_mark(store).await?,
            Err(error) if error.kind() == ErrorKind::IntegrityFailed => {
                // It cannot be overwritten without losing what it protects.
                let alarm = self.note_is_unread(store, now, error.chain()).await;
                self.tell(Some(alarm), None, false);
                return Ok(Sealed::default());
            }
            Err(error) => return Err(error),
        };
        let mut mark = noted.clone();
        self.learn_keys(store, &mut mark, now).await?;
        let standing = self.look(store, &mut mark).await?;
        let raised = self.judge(&mut mark, &standing, now);
        if mark != noted {
            // First the notes, which stay; the event is in the database that was changed.
            self.file.write(&mark, &lock).await?;
        }
        if raised {
            self.raise(store, now, &mark).await;
        }
        let done = match &standing {
            Standing::Good(last) if mark.is_in_order() => {
                self.make_seals(store, &mut mark, &lock, last.as_deref().cloned(), now).await
            }
            _ => Ok(Sealed::default()),
        };
        let stopped = match &standing {
            Standing::UnknownKey { seal, key } => Some(compare::unknown_key(*seal, key)),
            Standing::Good(_) | Standing::Wrong(_) => None,
        };
        let good = mark.alarm.is_none() && matches!(standing, Standing::Good(_));
        self.tell(mark.alarm, stopped, good);
        done
    }

    /// How the trail stands, records of accepted databases followed.
    async fn look(&self, store: &Store, mark: &mut SealMark) -> Result<Standing> {
        let mut standing = self.compare(store, mark).await?;
        let altered = mark.alarm.as_ref().is_some_and(|alarm| alarm.cause == AlarmCause::Altered);
        if (altered || matches!(standing, Standing::Wrong(_))) && self.follow_accepted(store, mark).await? {
            standing = self.compare(store, mark).await?;
        }
        if let Standing::Good(_) = &standing {
            self.use_up_accepted(store, mark).await?;
        }
        Ok(standing)
    }

    /// Adds the result of a check to the notes; true if an alarm was raised.
    fn judge(&self, mark: &mut SealMark, standing: &Standing, now: Timestamp) -> bool {
        let alarm = match standing {
            Standing::Good(_) => return false,
            Standing::Wrong(what) => (AlarmCause::Altered, what.clone()),
            Standing::UnknownKey { seal, key } => {
                let halt = SealingBlocked::again(mark.halt.as_ref(), None, now);
                let is_alarming = halt.is_alarming(now);
                mark.halt = Some(halt);
                if !is_alarming {
                    return false;
                }
                (AlarmCause::UnknownKey(key.clone()), compare::unknown_key(*seal, key))
            }
        };
        // An alarm that ends by itself does not hide one that does not.
        let outweighs = |known: &SealAlarm| {
            alarm.0 == AlarmCause::Altered && known.cause != AlarmCause::Altered || !known.stops_sealing()
        };
        if !mark.alarm.as_ref().is_none_or(outweighs) {
            return false;
        }
        let (cause, what) = alarm;
        mark.alarm = Some(SealAlarm { since: now, what, cause });
        true
    }

    /// The alarm that the notes cannot be read: raised once, also over restarts, although it cannot be noted.
    async fn note_is_unread(&self, store: &Store, now: Timestamp, what: String) -> SealAlarm {
        let known = *self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match known {
            Some(since) => Some(since),
            None => self.raised_before(store, &what).await,
        };
        let alarm = SealAlarm { since: since.unwrap_or(now), what, cause: AlarmCause::Altered };
        *self.unread.lock().unwrap_or_else(PoisonError::into_inner) = Some(alarm.since);
        if since.is_none() {
            let mark = SealMark { alarm: Some(alarm.clone()), ..SealMark::default() };
            self.raise(store, now, &mark).await;
        }
        alarm
    }

    /// When an earlier process of this node reported the same, if nothing was accepted since.
    async fn raised_before(&self, store: &Store, what: &str) -> Option<Timestamp> {
        let filter = EventFilter { kind: Some("audit.".into()), ..EventFilter::default() };
        let events = store.events(&filter, Page::first(200)).await.ok()?.rows;
        let since_accepted =
            events.into_iter().take_while(|event| event.kind != EventKind::AuditRestored.as_str());
        let mut alarms = since_accepted.filter(|event| event.kind == EventKind::AuditAlarm.as_str());
        let same = alarms.find(|event| {
            event.node == self.node.as_str()
                && event.detail.get("alarm").and_then(serde_json::Value::as_str) == Some(what)
        });
        same.map(|event| event.at)
    }

    /// A node without notes begins with the trail as it is, as far as that is valid.
    async fn first_mark(&self, store: &Store) -> Result<SealMark> {
        if let Some(last) = store.last_seal().await? {
            tracing::warn!(
                seal = last.seq,
                path = %self.file.path().display(),
                "this node has no note of the newest seal yet: it accepts the audit trail as it is now"
            );
        }
        Ok(SealMark::default())
    }

    async fn make_seals(
        &self,
        store: &Store,
        mark: &mut SealMark,
        lock: &MarkLock,
        mut last: Option<Seal>,
        now: Timestamp,
    ) -> Result<Sealed> {
        let mut done = Sealed::default();
        let mut maker = store.seal_maker(last.as_ref()).await?;
        while let Some(seal) = self.next_seal(store, (&mut maker, last.as_ref()), mark, lock, now).await? {
            mark.pending = Some(Seal { members: None, ..seal.clone() });
            self.file.write(mark, lock).await?;
            crash_point(&self.node, "noted");
            let made = store.insert_seal(&seal).await?;
            crash_point(&self.node, "committed");
            mark.pending = None;
            if !made {
                // What is sealed, and what waits, the next run sees.
                self.file.write(mark, lock).await?;
                return Ok(done);
            }
            mark.note(&seal);
            done.count(&seal);
            last = Some(seal);
        }
        let raised = if mark.is_in_order() {
            self.watch_unsealed(store, mark, last.as_ref(), now).await?
        } else {
            false
        };
        self.file.write(mark, lock).await?;
        if raised {
            self.raise(store, now, mark).await;
        }
        Ok(done)
    }

    /// The next seal; a row that cannot be a valid event raises the alarm.
    async fn next_seal(
        &self,
        store: &Store,
        (maker, last): (&mut SealMaker<'_>, Option<&Seal>),
        mark: &mut SealMark,
        lock: &MarkLock,
        now: Timestamp,
    ) -> Result<Option<Seal>> {
        match maker.next(last, now, &self.key).await {
            Err(error) if error.kind() == ErrorKind::IntegrityFailed => {
                let what = error.chain();
                mark.alarm = Some(SealAlarm { since: now, what, cause: AlarmCause::Altered });
                self.file.write(mark, lock).await?;
                self.raise(store, now, mark).await;
                Ok(None)
            }
            next => next,
        }
    }

    /// Notes which event has waited longest; true if that has become an alarm. Events that remain after a run are at
    /// or above the horizon: something holds the horizon back.
    async fn watch_unsealed(
        &self,
        store: &Store,
        mark: &mut SealMark,
        last: Option<&Seal>,
        now: Timestamp,
    ) -> Result<bool> {
        let from = last.map_or(super::Bound::START, |seal| seal.to);
        let oldest = store.first_unsealed(from).await?;
        let before = mark.halt.take();
        let Some(oldest) = oldest else {
            mark.alarm = None;
            return Ok(false);
        };
        let halt = SealingBlocked::again(before.as_ref(), Some(oldest), now);
        let (is_alarming, since) = (halt.is_alarming(now), halt.since);
        mark.halt = Some(halt);
        if !is_alarming {
            mark.alarm = None;
            return Ok(false);
        }
        if mark.alarm.is_some() {
            return Ok(false);
        }
        let what = format!(
            "event {} and those after it cannot be sealed: the database still waits for a transaction that began before them",
            oldest.id
        );
        mark.alarm = Some(SealAlarm { since, what, cause: AlarmCause::Unsealed });
        Ok(true)
    }

    /// Reports the noted alarm, once.
    async fn raise(&self, store: &Store, now: Timestamp, mark: &SealMark) {
        let Some(alarm) = &mark.alarm else { return };
        let event =
            AuditEvent::new(EventId::new((self.ids)()), now, self.node.clone(), EventKind::AuditAlarm)
                .detail("alarm", alarm.what.as_str())
                .detail("advice", alarm.advice());
        if let Err(error) = store.append_events(vec![event]).await {
            tracing::error!(
                error = error.chain(),
                "the audit alarm could not be recorded in the audit trail"
            );
        }
    }

    fn tell(&self, alarm: Option<SealAlarm>, stopped: Option<String>, good: bool) {
        if let Some(alarm) = &alarm {
            let advice = alarm.advice();
            tracing::error!(since = %alarm.since, alarm = alarm.what, advice, "AUDIT ALARM: {}", alarm.title());
        }
        // An alarm says the same, and more.
        let stopped = stopped.filter(|_| alarm.as_ref().is_none_or(|alarm| !alarm.stops_sealing()));
        if let Some(stopped) = &stopped {
            tracing::warn!(reason = stopped, "nothing is sealed");
        }
        self.state.send_replace(SealState { alarm, stopped, good });
    }
}

/// Where a test interrupts a run.
#[cfg_attr(not(test), expect(clippy::missing_const_for_fn, reason = "tests do something here"))]
fn crash_point(_node: &NodeName, _name: &'static str) {
    #[cfg(test)]
    tests::crash_point(_node, _name);
}

#[cfg(test)]
mod tests;
