//! What an administrator accepts, and what it does not cover: restored databases, and keys that nobody vouches for.

use super::*;

/// The database as it was up to a seal.
async fn restore(store: &TestStore, kept: i64) {
    store
        .tamper(&format!(
            "DELETE FROM audit_events WHERE position >= \
        (SELECT to_position FROM audit_seals WHERE seq = {kept}); DELETE FROM audit_seals WHERE seq > {kept}"
        ))
        .await;
}

/// What is found with nothing but a key, and seals that were written down.
async fn expecting(
    store: &TestStore,
    node: &Node,
    sealer: &Sealer,
    seals: &[NotedSeal],
    noted: bool,
) -> VerifyReport {
    let mut trusted = TrustedKeys::of(sealer.key()).unwrap();
    let mark = node.mark().await;
    mark.trust(&mut trusted).unwrap();
    let expected = seals.iter().map(|seal| (seal.seal, seal.digest)).collect();
    let options =
        VerifyOptions { trusted, expected, mark: noted.then_some(mark), ..VerifyOptions::default() };
    store.verify_audit(&options, |_| ()).await.unwrap()
}

both! {
    seals_removed_after_a_restored_database_was_accepted_are_missed(store) {
        let node = Node::new();
        let sealer = node.alone();
        sealed(&store, &sealer).await;
        sealed(&store, &sealer).await;
        let mut noted = vec![];
        for seal in [7, 10] {
            let digest = store.seal_digest(seal).await.unwrap().unwrap();
            noted.push(NotedSeal { seal, digest, row: digest });
        }
        restore(&store, 5).await;
        assert_eq!(seal(&store, &sealer).await, 0);
        sealer.accept(&store, "backup of Monday", Actor::System, at(200)).await.unwrap();
        for n in 20..23 {
            write(&store, n..n + 1).await;
            assert!(seal(&store, &sealer).await > 0);
        }
        let newest = node.mark().await.newest;
        assert_eq!(newest.seal, 8);
        assert!(node.verify(&store).await.holds());
        // What was given up stays given up, and the report says of which that is known by number alone.
        let report = expecting(&store, &node, &sealer, &noted, true).await;
        assert!(report.holds(), "{:?}", report.findings);
        assert_eq!((report.given_up, report.by_number), (2, vec![(7, at(200))]));

        restore(&store, 6).await;
        assert_eq!(node.verify(&store).await.findings, [Finding::ExpectedMissing { seal: 8 }]);
        // A seal that was written down, too, where the note still has it.
        let eight = [newest];
        let report = expecting(&store, &node, &sealer, &eight, true).await;
        assert_eq!(report.findings, vec![Finding::ExpectedMissing { seal: 8 }; 2]);
        let report = expecting(&store, &node, &sealer, &eight, false).await;
        assert_eq!(report.by_number, [(8, at(200))], "without it, that is said");
    }

    a_node_that_was_away_takes_what_was_given_up_meanwhile(store) {
        let (one, two) = (Node::new(), Node::new());
        let (first, second) = (one.start(&store), two.start(&store));
        for sealer in [&first, &second, &first] {
            seal(&store, sealer).await;
        }
        sealed(&store, &first).await;
        seal(&store, &second).await;
        let kept = store.last_seal().await.unwrap().unwrap().seq - 3;
        restore(&store, kept).await;
        seal(&store, &first).await;
        first.accept(&store, "backup of Monday", Actor::System, at(200)).await.unwrap();
        seal(&store, &first).await;
        let report = two.verify(&store).await;
        assert!(report.holds() && report.given_up == 1, "{:?}", report.findings);
        seal(&store, &second).await;
        for node in [&one, &two] {
            let report = node.verify(&store).await;
            assert!(report.holds(), "{:?}", report.findings);
        }
    }

    a_trail_that_another_node_went_on_with_is_accepted_from_where_it_forks_off(store) {
        let (one, two) = (Node::new(), Node::new());
        let (first, second) = (one.alone(), two.alone());
        sealed(&store, &first).await;
        sealed(&store, &first).await;
        let mut given_up = vec![];
        for seal in 6..=10 {
            let digest = store.seal_digest(seal).await.unwrap().unwrap();
            given_up.push(NotedSeal { seal, digest, row: digest });
        }
        restore(&store, 5).await;
        // A node without a note goes on from the backup, further than the other had come.
        second.trust_key(&store, first.key().public_pem(), Actor::System, at(110)).await.unwrap();
        for n in 20..27 {
            write(&store, n..n + 1).await;
            assert!(seal(&store, &second).await > 0);
        }
        first.trust_key(&store, second.key().public_pem(), Actor::System, at(120)).await.unwrap();
        assert_eq!(seal(&store, &first).await, 0);
        let (known, found, _) = first.accept(&store, "as it is", Actor::System, at(200)).await.unwrap();
        assert_eq!((known.seal, found.seal), (10, 12));
        assert!(seal(&store, &first).await > 0);
        let report = expecting(&store, &one, &first, &given_up, true).await;
        assert!(report.holds(), "{:?}", report.findings);
        assert_eq!(report.given_up, 5);
        seal(&store, &second).await;
        assert!(one.verify(&store).await.holds() && two.verify(&store).await.holds());
    }

    a_trail_whose_state_directory_was_lost_is_accepted_with_its_keys(store) {
        let lost = Node::new();
        let before = lost.alone();
        sealed(&store, &before).await;
        before.confirm_key(&store, "x", "no key", Actor::System, at(60)).await.unwrap();
        seal(&store, &before).await;
        // Retention removed a month, by a record of the key that is lost.
        let later = at(0) + chrono::TimeDelta::days(40);
        let removed = store.remove_audit_before(later, later, &lost.name, before.key(), Uuid::now_v7).await.unwrap();
        assert!(removed.iter().any(|month| month.kept.is_none() && month.events > 0), "{removed:?}");
        store.quiet().await;
        before.seal(&store, later).await.unwrap();
        let up_to = store.last_seal().await.unwrap().unwrap();

        let node = Node::new();
        let sealer = node.alone();
        store.quiet().await;
        assert_eq!(sealer.seal(&store, later).await.unwrap().seals, 0);
        assert!(sealer.state().stopped.unwrap().contains("accept-restored"));
        let actor = Actor::CommandLine("ada".into());
        let (_, found, keys) = sealer.accept(&store, "the old machine burned", actor, later).await.unwrap();
        assert_eq!((found.digest, keys), (up_to.digest, vec![before.key().id().to_owned()]));
        let filter = crate::EventFilter { kind: Some(EventKind::AuditRestored.as_str().into()), ..Default::default() };
        let record = store.events(&filter, crate::Page::first(1)).await.unwrap().rows.remove(0).detail;
        assert_eq!(record["unknown_keys"], serde_json::json!([before.key().id()]));
        assert_eq!(record["up_to_seal"], up_to.seq);
        assert!(seal(&store, &sealer).await > 0);
        assert!(sealer.state().good);
        let report = node.verify(&store).await;
        assert!(report.holds(), "{:?}", report.findings);
        assert_eq!(report.accepted_keys, [before.key().id()]);
        assert!(report.accepted > up_to.seq as u64, "its seals and its records: {}", report.accepted);
        assert!(report.removed > 0);

        // A node that comes later believes it too, by that record.
        let third = Node::new();
        let late = third.alone();
        late.trust_key(&store, sealer.key().public_pem(), Actor::System, later).await.unwrap();
        store.quiet().await;
        late.seal(&store, later).await.unwrap();
        assert!(late.state().good, "{:?}", late.state());

        // What is made with the key afterwards is not among what was accepted.
        let newest = store.last_seal().await.unwrap().unwrap().seq;
        seal(&store, &sealer).await;
        forge(&store, &before).await;
        let findings = node.verify(&store).await.findings;
        let key = before.key().id().to_owned();
        assert!(findings.iter().any(|f| matches!(f, Finding::KeyUnknown { seal, key: by } if *seal > newest && *by == key)), "{findings:?}");
        assert!(findings.iter().any(|f| matches!(f, Finding::RecordInvalid { .. })), "{findings:?}");
        store.quiet().await;
        assert_eq!(sealer.seal(&store, later).await.unwrap().seals, 0);
        // Nor is anything accepted once the seals are others than those that were accepted.
        let findings = node.verify(&store).await.findings;
        assert!(!findings.contains(&Finding::KeyUnknown { seal: 1, key: key.clone() }));
        store.tamper(&format!("UPDATE audit_seals SET digest = previous WHERE seq = {}", up_to.seq)).await;
        let findings = node.verify(&store).await.findings;
        assert!(findings.contains(&Finding::KeyUnknown { seal: 1, key }), "{findings:?}");
    }

    an_accepted_key_removes_nothing_that_others_have_sealed(store) {
        let node = Node::new();
        let sealer = node.alone();
        sealed(&store, &sealer).await;
        // A record of removal by a key of the forger's own, and a seal behind it.
        let forger = Node::new().alone();
        let mut removed = crate::verify::Removed::default();
        removed.whole(2);
        let id = Uuid::now_v7();
        let detail = removed.record(id, serde_json::Map::new(), forger.key()).unwrap();
        let record = AuditEvent::new(EventId::new(id), at(70), node.name.clone(), EventKind::AuditRemoved);
        store.append_events(vec![AuditEvent { detail, ..record }]).await.unwrap();
        store.tamper("DELETE FROM audit_events WHERE position >= (SELECT from_position FROM audit_seals WHERE seq = 2) \
            AND position < (SELECT to_position FROM audit_seals WHERE seq = 2)").await;
        forge(&store, &forger).await;
        assert_eq!(seal(&store, &sealer).await, 0);
        sealer.accept(&store, "by mistake", Actor::System, at(80)).await.unwrap();
        seal(&store, &sealer).await;
        let findings = node.verify(&store).await.findings;
        assert!(findings.iter().any(|f| matches!(f, Finding::EventMissing { seal: 2, .. })), "{findings:?}");
        assert!(findings.iter().any(|f| matches!(f, Finding::RecordInvalid { kind: EventKind::AuditRemoved, .. })));
    }
}
