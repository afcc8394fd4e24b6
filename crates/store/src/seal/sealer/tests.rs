use super::*;
use crate::seal::{NotedSeal, TrustedKeys};
use crate::testing::{TestStore, at, both, event};
use crate::verify::{Finding, VerifyOptions, VerifyReport};
use model::{Actor, Sha256};
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

mod accepted;
mod alarms;

/// Where the next run of a node is cut off.
static CRASHES: Mutex<Vec<(NodeName, &'static str)>> = Mutex::new(vec![]);

pub(super) fn crash_point(node: &NodeName, name: &'static str) {
    let mut crashes = CRASHES.lock().unwrap_or_else(PoisonError::into_inner);
    let place = crashes.iter().position(|(whose, place)| whose == node && *place == name);
    if let Some(place) = place {
        crashes.remove(place);
        drop(crashes);
        panic!("cut off when {name}");
    }
}

/// One installation: its state directory and the directory it shares.
struct Node {
    state: tempfile::TempDir,
    name: NodeName,
}

impl Node {
    fn new() -> Self {
        let name = format!("n{}", Uuid::new_v4().simple()).parse().unwrap();
        Self { state: tempfile::tempdir().unwrap(), name }
    }

    /// The sealer of its next process.
    fn start(&self, store: &TestStore) -> Sealer {
        let shared = store.dir.path();
        Sealer::open(self.state.path(), Some(shared), self.name.clone(), Arc::new(Uuid::now_v7)).unwrap()
    }

    fn alone(&self) -> Sealer {
        Sealer::open(self.state.path(), None, self.name.clone(), Arc::new(Uuid::now_v7)).unwrap()
    }

    async fn mark(&self) -> SealMark {
        MarkFile::within(self.state.path()).read().await.unwrap().unwrap()
    }

    /// What `audit verify` finds on this node.
    async fn verify(&self, store: &TestStore) -> VerifyReport {
        let mut trusted = TrustedKeys::new();
        trusted.add_pem(&std::fs::read(self.state.path().join("seal.key.pub")).unwrap()).unwrap();
        let mark = MarkFile::within(self.state.path()).read().await.unwrap();
        if let Some(mark) = &mark {
            mark.trust(&mut trusted).unwrap();
        }
        let options = VerifyOptions { trusted, mark, ..VerifyOptions::default() };
        store.verify_audit(&options, |_| ()).await.unwrap()
    }

    /// Runs once in a process that is cut off at a point.
    async fn cut_off(&self, store: &TestStore, point: &'static str) {
        CRASHES.lock().unwrap_or_else(PoisonError::into_inner).push((self.name.clone(), point));
        store.quiet().await;
        let (sealer, inner) = (self.start(store), store.store.clone());
        let run = tokio::spawn(async move { sealer.seal(&inner, at(50)).await });
        assert!(run.await.is_err(), "it was to be cut off when {point}");
    }
}

async fn seal(store: &TestStore, sealer: &Sealer) -> u64 {
    store.quiet().await;
    sealer.seal(store, at(100)).await.unwrap().events
}

async fn write(store: &TestStore, numbers: std::ops::Range<i64>) {
    for n in numbers {
        store.append_events(vec![event(n)]).await.unwrap();
    }
}

/// Five seals of two events.
async fn sealed(store: &TestStore, sealer: &Sealer) {
    for n in 0..5 {
        write(store, 2 * n..2 * n + 2).await;
        assert!(seal(store, sealer).await >= 2);
    }
}

async fn hash_of(store: &TestStore, seal: i64) -> Option<Sha256> {
    store.seal_headers(seal, 1).await.unwrap().first().filter(|s| s.seq == seal).map(|s| s.digest)
}

async fn kinds(store: &TestStore, kind: EventKind) -> usize {
    let filter = crate::EventFilter { kind: Some(kind.as_str().into()), ..Default::default() };
    store.events(&filter, crate::Page::first(100)).await.unwrap().rows.len()
}

both! {
    a_run_that_is_cut_off_at_any_step_raises_no_alarm(store) {
        for point in ["noted", "committed"] {
            let node = Node::new();
            write(&store, 0..3).await;
            let before = store.last_seal().await.unwrap().map_or(0, |seal| seal.seq);
            node.cut_off(&store, point).await;
            let pending = node.mark().await.pending.unwrap();
            assert_eq!(pending.seq, before + 1);
            let committed = hash_of(&store, pending.seq).await;
            assert_eq!(committed.is_some(), point == "committed");
            assert!(node.verify(&store).await.holds(), "{point}");
            write(&store, 3..5).await;
            let sealer = node.start(&store);
            seal(&store, &sealer).await;
            assert_eq!(sealer.state(), SealState { good: true, ..SealState::default() }, "{point}");
            assert_eq!(hash_of(&store, pending.seq).await, Some(pending.digest), "the very same seal");
            assert_eq!(node.mark().await.pending, None);
            let report = node.verify(&store).await;
            assert!(report.holds(), "{point}: {:?}", report.findings);
            assert_eq!(report.unsealed, 0);
        }
    }

    what_is_altered_between_note_and_commit_is_found(store) {
        for (point, sql) in [
            ("noted", "UPDATE audit_events SET node = 'n9' WHERE position = (SELECT min(position) FROM audit_events)"),
            ("noted", "DELETE FROM audit_events WHERE position = (SELECT min(position) FROM audit_events)"),
            ("committed", "DELETE FROM audit_seals; \
              UPDATE audit_events SET node = 'n9' WHERE position = (SELECT min(position) FROM audit_events)"),
        ] {
            store.tamper("DELETE FROM audit_seals").await;
            let node = Node::new();
            write(&store, 0..3).await;
            node.cut_off(&store, point).await;
            store.tamper(sql).await;
            assert!(!node.verify(&store).await.holds(), "before the next start: {sql}");
            let sealer = node.start(&store);
            assert_eq!(seal(&store, &sealer).await, 0);
            assert!(sealer.state().alarm.unwrap().what.contains("about to be put under seal 1"), "{sql}");
            assert!(!node.verify(&store).await.holds(), "{sql}");
        }
    }

    a_seal_that_was_removed_before_it_was_noted_is_made_again(store) {
        let node = Node::new();
        write(&store, 0..3).await;
        node.cut_off(&store, "committed").await;
        let digest = hash_of(&store, 1).await;
        store.tamper("DELETE FROM audit_seals").await;
        let sealer = node.start(&store);
        seal(&store, &sealer).await;
        assert_eq!(hash_of(&store, 1).await, digest);
        assert!(node.verify(&store).await.holds());
    }

    removed_seals_raise_an_alarm_that_stays(store) {
        let node = Node::new();
        let sealer = node.start(&store);
        sealed(&store, &sealer).await;
        store.tamper("CREATE TABLE saved AS SELECT * FROM audit_seals").await;
        store.tamper("DELETE FROM audit_seals WHERE seq >= 3").await;
        let cut = store.last_seal().await.unwrap().unwrap().to;
        store.tamper(&format!("DELETE FROM audit_events WHERE position = {}", cut.position)).await;
        write(&store, 20..22).await;
        assert_eq!(seal(&store, &sealer).await, 0, "it does not seal behind its own seal");
        let alarm = sealer.state().alarm.unwrap();
        assert!(alarm.what.contains("this node has noted seal 5"), "{}", alarm.what);
        assert_eq!(kinds(&store, EventKind::AuditAlarm).await, 1);
        let findings = node.verify(&store).await.findings;
        assert!(findings.contains(&Finding::ExpectedMissing { seal: 5 }), "{findings:?}");
        assert!(findings.iter().any(|finding| matches!(finding, Finding::Alarm(_))));
        // Neither a restart nor the seals' return ends it.
        store.tamper("DELETE FROM audit_seals; INSERT INTO audit_seals SELECT * FROM saved").await;
        let sealer = node.start(&store);
        assert_eq!(seal(&store, &sealer).await, 0);
        assert_eq!(sealer.state().alarm, Some(alarm));
        assert_eq!(kinds(&store, EventKind::AuditAlarm).await, 1, "told once");
        assert!(!node.verify(&store).await.holds());
    }

    no_seal_is_stored_behind_one_that_was_removed_meanwhile(store) {
        let node = Node::new();
        let sealer = node.start(&store);
        sealed(&store, &sealer).await;
        let last = store.last_seal().await.unwrap().unwrap();
        write(&store, 20..22).await;
        store.quiet().await;
        let mut maker = store.seal_maker(Some(&last)).await.unwrap();
        let made = maker.next(Some(&last), at(60), sealer.key()).await.unwrap().unwrap();
        store.tamper("DELETE FROM audit_seals WHERE seq >= 3").await;
        assert!(!store.insert_seal(&made).await.unwrap());
        assert_eq!(store.last_seal().await.unwrap().unwrap().seq, 2);
    }

    seals_removed_before_the_newest_raise_an_alarm_once(store) {
        for sql in [
            "DELETE FROM audit_seals WHERE seq BETWEEN 3 AND 4",
            "UPDATE audit_seals SET digest = (SELECT digest FROM audit_seals WHERE seq = 3) WHERE seq = 4",
        ] {
            store.tamper("DELETE FROM audit_seals; DELETE FROM audit_events").await;
            let node = Node::new();
            let sealer = node.alone();
            sealed(&store, &sealer).await;
            store.tamper(sql).await;
            write(&store, 20..22).await;
            assert_eq!(seal(&store, &sealer).await, 0, "{sql}");
            let alarm = sealer.state().alarm.unwrap();
            assert!(alarm.what.contains("seal 4"), "{}", alarm.what);
            sealer.accept(&store, "as it is", Actor::System, at(200)).await.unwrap();
            assert!(seal(&store, &sealer).await > 0);
            assert_eq!(sealer.state(), SealState { good: true, ..SealState::default() }, "{sql}");
        }
    }

    everything_removed_is_found(store) {
        let node = Node::new();
        let sealer = node.start(&store);
        sealed(&store, &sealer).await;
        store.tamper("DELETE FROM audit_seals; DELETE FROM audit_events").await;
        let findings = node.verify(&store).await.findings;
        assert_eq!(findings, [Finding::ExpectedMissing { seal: 5 }], "while it runs, or is stopped");
        write(&store, 20..22).await;
        assert_eq!(seal(&store, &sealer).await, 0);
        assert!(sealer.state().alarm.is_some());
        assert!(store.last_seal().await.unwrap().is_none());
    }

    what_is_altered_in_the_newest_seal_is_found_before_it_is_built_on(store) {
        for sql in [
            "UPDATE audit_seals SET to_position = to_position + 100000 WHERE seq = 5",
            "UPDATE audit_seals SET digest = (SELECT digest FROM audit_seals WHERE seq = 4) WHERE seq = 5",
            "UPDATE audit_seals SET previous = (SELECT digest FROM audit_seals WHERE seq = 5) WHERE seq = 5",
            "UPDATE audit_seals SET seq = 6 WHERE seq = 5",
        ] {
            store.tamper("DELETE FROM audit_seals; DELETE FROM audit_events").await;
            let node = Node::new();
            let sealer = node.alone();
            sealed(&store, &sealer).await;
            assert_eq!(store.tamper(sql).await, 1);
            write(&store, 20..22).await;
            assert_eq!(seal(&store, &sealer).await, 0, "{sql}");
            assert!(sealer.state().alarm.is_some(), "{sql}");
            assert!(!node.verify(&store).await.holds(), "{sql}");
        }
    }

    a_restored_database_is_accepted_by_a_signed_record_that_all_nodes_follow_once(store) {
        let (one, two) = (Node::new(), Node::new());
        let (first, second) = (one.start(&store), two.start(&store));
        seal(&store, &first).await;
        seal(&store, &second).await;
        sealed(&store, &first).await;
        let head = store.last_seal().await.unwrap().unwrap();
        seal(&store, &second).await;
        let noted = two.mark().await.newest;
        assert!(noted.seal >= head.seq, "it learns of seals that another node made");
        assert!(first.accept(&store, "no need", Actor::System, at(150)).await.is_err());
        let kept = store.last_seal().await.unwrap().unwrap().seq - 3;
        let back = format!("DELETE FROM audit_seals WHERE seq > {kept}; DELETE FROM audit_events \
            WHERE position >= (SELECT to_position FROM audit_seals WHERE seq = {kept})");
        store.tamper(&back).await;
        assert_eq!((seal(&store, &first).await, seal(&store, &second).await), (0, 0));
        assert!(first.state().alarm.is_some() && second.state().alarm.is_some());
        let actor = Actor::CommandLine("ada".into());
        let (known, found, keys) = first.accept(&store, "backup of Monday", actor, at(200)).await.unwrap();
        assert_eq!((known.seal, found.seal, keys.len()), (kept + 3, kept, 0));
        assert!(first.state().alarm.is_none());
        assert!(seal(&store, &first).await > 0);
        seal(&store, &second).await;
        assert_eq!(second.state(), SealState { good: true, ..SealState::default() }, "it followed the record");
        for node in [&one, &two] {
            let report = node.verify(&store).await;
            assert!(report.holds(), "{:?}", report.findings);
        }
        // A copy of the seals that were given up is told apart, by that record.
        let mut options = VerifyOptions { expected: vec![(known.seal, known.digest)], ..Default::default() };
        options.trusted.add_pem(first.key().public_pem().as_bytes()).unwrap();
        let report = store.verify_audit(&options, |_| ()).await.unwrap();
        assert!(report.holds(), "{:?}", report.findings);
        assert_eq!(report.given_up, 1);
        // The record works once: going back to what was accepted is an alarm on both.
        write(&store, 30..32).await;
        seal(&store, &first).await;
        seal(&store, &second).await;
        store.tamper(&format!("DELETE FROM audit_seals WHERE seq > {kept}")).await;
        assert_eq!((seal(&store, &first).await, seal(&store, &second).await), (0, 0));
        assert!(first.state().alarm.is_some() && second.state().alarm.is_some());
        // Not signed, it is worth nothing.
        store.tamper("UPDATE audit_events SET kind = 'audit.restored' WHERE kind = 'audit.alarm'").await;
        assert_eq!(seal(&store, &first).await, 0);
        assert!(one.verify(&store).await.findings.iter().any(|f| matches!(f, Finding::RecordInvalid { .. })));
    }

    an_emptied_database_can_be_accepted_too(store) {
        let node = Node::new();
        let sealer = node.start(&store);
        sealed(&store, &sealer).await;
        store.tamper("DELETE FROM audit_seals; DELETE FROM audit_events").await;
        seal(&store, &sealer).await;
        let (known, found, keys) = sealer.accept(&store, "began anew", Actor::System, at(200)).await.unwrap();
        assert_eq!((known.seal, found, keys.len()), (5, NotedSeal::BEGINNING, 0));
        assert!(seal(&store, &sealer).await > 0);
        let report = node.verify(&store).await;
        assert!(report.holds(), "{:?}", report.findings);
    }

    two_healthy_nodes_are_trusted_with_one_key(store) {
        let (one, two) = (Node::new(), Node::new());
        let (first, second) = (one.start(&store), two.start(&store));
        for n in 0..4 {
            write(&store, 10 * n..10 * n + 2).await;
            seal(&store, if n % 2 == 0 { &first } else { &second }).await;
        }
        let keys = store.seal_headers(1, 100).await.unwrap();
        assert!(keys.iter().any(|s| s.key_id == first.key().id()) && keys.iter().any(|s| s.key_id == second.key().id()));
        for (sealer, other) in [(&first, &second), (&second, &first)] {
            // Anywhere, with nothing but one node's public key.
            let trusted = TrustedKeys::of(sealer.key()).unwrap();
            let options = VerifyOptions { trusted, ..VerifyOptions::default() };
            let report = store.verify_audit(&options, |_| ()).await.unwrap();
            assert!(report.holds(), "{:?}", report.findings);
            assert_eq!(report.vouched, [other.key().id()]);
        }
        assert_eq!(one.mark().await.keys.len(), 1);
        assert!(one.mark().await.keys[second.key().id()].newest.is_some());
    }

    a_key_that_only_the_database_knows_is_not_trusted(store) {
        let node = Node::new();
        let sealer = node.start(&store);
        sealed(&store, &sealer).await;
        // A hand in the database writes a record of its own key, and seals with it.
        let forger = Node::new();
        let forged = forger.alone();
        let pem = forged.key().public_pem().to_owned();
        forged.confirm_key(&store, forged.key().id(), &pem, Actor::System, at(60)).await.unwrap();
        store.quiet().await;
        let last = store.last_seal().await.unwrap();
        let mut maker = store.seal_maker(last.as_ref()).await.unwrap();
        let made = maker.next(last.as_ref(), at(60), forged.key()).await.unwrap().unwrap();
        store.insert_seal(&made).await.unwrap();
        write(&store, 30..32).await;
        assert_eq!(seal(&store, &sealer).await, 0, "it does not seal behind it");
        assert!(sealer.state().stopped.unwrap().contains("audit trust"));
        let findings = node.verify(&store).await.findings;
        assert!(findings.iter().any(|f| matches!(f, Finding::KeyUnknown { .. })), "{findings:?}");
        assert!(findings.iter().any(|f| matches!(f, Finding::RecordInvalid { .. })), "{findings:?}");
        // A person may name it, if it is a node's after all.
        sealer.trust_key(&store, &pem, Actor::CommandLine("ada".into()), at(70)).await.unwrap();
        assert!(seal(&store, &sealer).await > 0);
        assert_eq!(sealer.state(), SealState { good: true, ..SealState::default() });
        assert!(node.verify(&store).await.holds());
    }

    a_note_that_was_changed_is_an_alarm(store) {
        let node = Node::new();
        let sealer = node.start(&store);
        sealed(&store, &sealer).await;
        std::fs::write(node.state.path().join("seals.json"), "{}").unwrap();
        write(&store, 20..22).await;
        assert_eq!(seal(&store, &sealer).await, 0);
        let alarm = sealer.state().alarm.unwrap();
        assert!(alarm.what.contains("seals.json"));
        // Told once, and since when, also by the next process.
        let later = node.start(&store);
        for sealer in [&sealer, &later] {
            assert_eq!(sealer.seal(&store, at(300)).await.unwrap().seals, 0);
            assert_eq!(sealer.state().alarm.unwrap().since, alarm.since);
        }
        assert_eq!(kinds(&store, EventKind::AuditAlarm).await, 1);
        assert!(!later.state().good);
        sealer.accept(&store, "the disk was full", Actor::System, at(200)).await.unwrap();
        assert!(seal(&store, &sealer).await > 0);
        assert!(node.verify(&store).await.holds());
    }

    nodes_that_seal_at_once_disturb_nobody(store) {
        let nodes: Vec<Arc<Node>> = (0..3).map(|_| Arc::new(Node::new())).collect();
        let sealers: Vec<Arc<Sealer>> = nodes.iter().map(|node| Arc::new(node.start(&store))).collect();
        for sealer in &sealers {
            seal(&store, sealer).await;
        }
        let runs: Vec<_> = sealers.iter().cloned().map(|sealer| {
            let store = store.store.clone();
            tokio::spawn(async move {
                for n in 0..25 {
                    store.append_events(vec![event(n)]).await.unwrap();
                    sealer.seal(&store, at(n)).await.unwrap();
                }
            })
        }).collect();
        for run in runs {
            run.await.unwrap();
        }
        for (node, sealer) in nodes.iter().zip(&sealers) {
            seal(&store, sealer).await;
            assert_eq!(sealer.state(), SealState { good: true, ..SealState::default() });
            let report = node.verify(&store).await;
            assert!(report.holds(), "{:?}", report.findings);
        }
    }
}

/// Puts a seal there by a key that nobody knows, with a record by which it vouches for itself.
async fn forge(store: &TestStore, by: &Sealer) {
    by.confirm_key(store, by.key().id(), by.key().public_pem(), Actor::System, at(60)).await.unwrap();
    store.quiet().await;
    let last = store.last_seal().await.unwrap();
    let mut maker = store.seal_maker(last.as_ref()).await.unwrap();
    let made = maker.next(last.as_ref(), at(60), by.key()).await.unwrap().unwrap();
    assert!(store.insert_seal(&made).await.unwrap());
}
