//! Keys that an administrator accepts though nobody vouches for them.

use super::*;

both! {
    a_trail_whose_state_directory_was_lost_is_accepted_with_its_keys(store) {
        let lost = Node::new();
        let before = lost.alone();
        sealed(&store, &before).await;
        before.vouch(&store, "x", "no key", Actor::System, at(60)).await.unwrap();
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
