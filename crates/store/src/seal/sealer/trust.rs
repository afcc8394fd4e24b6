//! Trust that a node or an administrator confirms with signed records: other nodes' keys, and a restored
//! database.

use super::super::TrustedKeys;
use super::super::mark::{AlarmCause, NotedKey, NotedSeal, SealAlarm, SealMark};
use super::Sealer;
use super::compare::{Standing, unknown_key};
use crate::Store;
use crate::verify::{AcceptedKeys, Restored, key_record, load_records};
use model::{Actor, AuditEvent, Error, ErrorKind, EventId, EventKind, Result, Timestamp};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

impl Sealer {
    /// Reads the keys of the nodes that share the directory, and confirms them in the trail.
    pub(super) async fn learn_keys(&self, store: &Store, mark: &mut SealMark, now: Timestamp) -> Result<()> {
        let Some(peers) = &self.peers else { return Ok(()) };
        // Its own may have been taken away, or the directory made anew. A disk that is away stops no seal.
        let found = peers.exchange(&self.key).await.unwrap_or_else(|error| {
            tracing::warn!(error = error.chain(), "seal keys cannot be exchanged with the other nodes");
            BTreeMap::new()
        });
        for (id, pem) in found {
            if id != self.key.id() && !mark.keys.contains_key(&id) {
                self.confirm_key(store, &id, &pem, Actor::System, now).await?;
                tracing::info!(key = id, "the seal key of another node is trusted now");
                mark.keys.insert(id, NotedKey { public_pem: pem, newest: None });
            }
        }
        Ok(())
    }

    pub(super) async fn confirm_key(
        &self,
        store: &Store,
        id: &str,
        pem: &str,
        actor: Actor,
        now: Timestamp,
    ) -> Result<()> {
        let event = (self.ids)();
        let detail = key_record(event, id, pem, Map::new(), &self.key)?;
        let record = AuditEvent::new(EventId::new(event), now, self.node.clone(), EventKind::AuditKeyTrusted)
            .by(actor);
        store.append_events(vec![AuditEvent { detail, ..record }]).await
    }

    /// Confirms a key that a person names: that of a node without a shared directory. Returns its id.
    ///
    /// # Errors
    /// It is no Ed25519 public key; the database or the state directory failed.
    pub async fn trust_key(&self, store: &Store, pem: &str, actor: Actor, now: Timestamp) -> Result<String> {
        let id = TrustedKeys::id_of_pem(pem.as_bytes())?;
        let lock = self.file.lock().await?;
        let mut mark = self.file.read().await?.unwrap_or_default();
        self.confirm_key(store, &id, pem, actor, now).await?;
        if id != self.key.id() {
            mark.keys.entry(id.clone()).or_insert(NotedKey { public_pem: pem.to_owned(), newest: None });
            self.file.write(&mark, &lock).await?;
        }
        Ok(id)
    }

    /// Accepts the trail as it is, although this node has noted another one, mainly after an older database was
    /// restored. The decision is a signed record in the trail, which the other nodes follow; it names the cause of
    /// the alarm. Returns the known seal, the found one, and the unknown keys up to it.
    ///
    /// # Errors
    /// There is nothing to accept; the database or the state directory failed.
    pub async fn accept(
        &self,
        store: &Store,
        reason: &str,
        actor: Actor,
        now: Timestamp,
    ) -> Result<(NotedSeal, NotedSeal, Vec<String>)> {
        const OPERATION: &str = "accept the audit trail as it is";
        let _turn = self.turn.lock().await;
        let lock = self.file.lock().await?;
        let (mut mark, unread) = match self.file.read().await {
            Ok(mark) => (mark.unwrap_or_default(), None),
            Err(error) if error.kind() == ErrorKind::IntegrityFailed => {
                (SealMark::default(), Some(error.chain()))
            }
            Err(error) => return Err(error),
        };
        let known = mark.newest;
        let standing = self.compare(store, &mut mark).await?;
        let alarm = mark.alarm.as_ref().filter(|alarm| alarm.stops_sealing());
        let what = match (alarm, unread, standing) {
            (Some(alarm), _, _) => alarm.what.clone(),
            (None, Some(unread), _) => unread,
            (None, None, Standing::Wrong(what)) => what,
            (None, None, Standing::UnknownKey { seal, key }) => unknown_key(seal, &key),
            (None, None, Standing::Good(_)) => {
                return Err(Error::permanent(ErrorKind::ConfigInvalid, OPERATION).advice(
                    "there is nothing to accept: the audit trail is the one that this node has noted",
                ));
            }
        };
        store.take_in_all_positions().await?;
        let found = store.last_seal().await?.map_or(NotedSeal::BEGINNING, |seal| NotedSeal::of(&seal));
        let records = load_records(store, &self.trusted(&mark)?).await?;
        let is_known = |key: &str| records.trusted.has(key);
        let keys = AcceptedKeys::find(store, &found, &records.invalid, is_known).await?.unwrap_or_default();
        let common = last_in_common(store, &mark, known).await?;
        let restored = Restored { event: (self.ids)(), at: now, known, found, common, keys };
        let facts = Map::from_iter([
            ("reason".to_owned(), Value::from(reason)),
            ("alarm".to_owned(), Value::from(what)),
        ]);
        let detail = restored.record(facts, &self.key)?;
        let id = EventId::new(restored.event);
        let record = AuditEvent::new(id, now, self.node.clone(), EventKind::AuditRestored).by(actor);
        store.append_events(vec![AuditEvent { detail, ..record }]).await?;
        // If this is interrupted, the next run follows the record by itself.
        follow(&mut mark, &restored);
        self.file.write(&mark, &lock).await?;
        self.tell(None, None, false);
        Ok((known, found, restored.keys.keys().collect()))
    }

    /// Follows a record by which an administrator accepted a restored database, on this node or another; at
    /// most one, and each once. True when one was followed.
    pub(super) async fn follow_accepted(&self, store: &Store, mark: &mut SealMark) -> Result<bool> {
        let records = load_records(store, &self.trusted(mark)?).await?;
        let fitting = records.restored.into_iter().rev().find(|restored| {
            mark.newest.seal <= restored.known.seal && !mark.accepted.contains(&restored.event)
        });
        let Some(restored) = fitting else { return Ok(false) };
        tracing::warn!(record = %restored.event, "the trail of a restored database was accepted");
        follow(mark, &restored);
        Ok(true)
    }

    /// Notes records that need no following here: they must not be followed later, after further seals were added to
    /// the accepted trail.
    pub(super) async fn use_up_accepted(&self, store: &Store, mark: &mut SealMark) -> Result<()> {
        let records = load_records(store, &self.trusted(mark)?).await?;
        mark.accepted.extend(records.restored.iter().map(|restored| restored.event));
        if let Some(SealAlarm { cause: AlarmCause::UnknownKey(key), .. }) = &mark.alarm {
            let mut accepted = records.accepted.iter().flat_map(AcceptedKeys::keys);
            if records.trusted.has(key) || accepted.any(|accepted| accepted == *key) {
                tracing::warn!(key, "the unknown key of the audit alarm is trusted now");
                mark.alarm = None;
            }
        }
        Ok(())
    }
}

/// The newest seal that the notes and the database share, as far as the notes remember; the beginning if there is
/// none.
async fn last_in_common(store: &Store, mark: &SealMark, known: NotedSeal) -> Result<NotedSeal> {
    for (seal, digest) in mark.history.newest_first().filter(|(seal, _)| *seal <= known.seal) {
        if store.seal_digest(seal).await? == Some(digest) {
            return Ok(NotedSeal { seal, digest, row: digest });
        }
    }
    Ok(NotedSeal::BEGINNING)
}

fn follow(mark: &mut SealMark, restored: &Restored) {
    mark.newest = restored.found;
    mark.history.cut_after(restored.common.seal.min(restored.found.seal - 1));
    // What is missing before the newest seal was accepted too, and is no alarm again.
    mark.history.forget(restored.found.seal - 1);
    if restored.found.seal > 0 {
        mark.history.note(restored.found.seal, restored.found.digest);
    }
    mark.pending = None;
    mark.alarm = None;
    mark.halt = None;
    mark.accepted.insert(restored.event);
    for key in mark.keys.values_mut() {
        key.newest = key.newest.filter(|(seal, _)| *seal <= restored.found.seal && !restored.gives_up(*seal));
    }
}
