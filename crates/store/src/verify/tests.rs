use super::*;
use crate::seal::{SealKey, TrustedKeys};
use crate::testing::{TestStore, at, both, event};
use model::Sha256;

struct Trail {
    store: TestStore,
    key: SealKey,
    options: VerifyOptions,
    ids: Vec<uuid::Uuid>,
}

/// Four seals of five events, and two events that no seal covers yet.
async fn trail(store: TestStore) -> Trail {
    let key = SealKey::load_or_create(&store.dir.path().join("key")).unwrap();
    let mut ids = vec![];
    for round in 0..4 {
        // One at a time, so that positions follow the order.
        for n in 0..5 {
            let event = event(round * 5 + n);
            ids.push(event.id.uuid());
            store.append_events(vec![event]).await.unwrap();
        }
        assert_eq!(store.seal_all(at(100 + round), &key).await.events, 5);
    }
    store.append_events(vec![event(50), event(51)]).await.unwrap();
    let options = VerifyOptions { trusted: TrustedKeys::of(&key).unwrap(), ..Default::default() };
    Trail { store, key, options, ids }
}

impl Trail {
    async fn verify(&self) -> VerifyReport {
        self.store.verify_audit(&self.options, |_| ()).await.unwrap()
    }

    /// The literal of an event's id in this database's words.
    fn id(&self, index: usize) -> String {
        let id = self.ids[index];
        if self.store.url.starts_with("sqlite:") { format!("x'{}'", id.simple()) } else { format!("'{id}'") }
    }
}

both! {
    a_trail_that_nobody_touched_holds(store) {
        let t = trail(store).await;
        let mut told = 0;
        let report = t.store.verify_audit(&t.options, |_| told += 1).await.unwrap();
        assert!(report.holds(), "{:?}", report.findings);
        assert_eq!((report.seals, report.events, report.unsealed, told), (4, 20, 2, 4));
        let part = VerifyOptions { from: Some(2), to: Some(3), ..t.options.clone() };
        let report = t.store.verify_audit(&part, |_| ()).await.unwrap();
        assert!(report.holds(), "{:?}", report.findings);
        assert_eq!((report.seals, report.events), (2, 10));
    }

    an_event_out_of_reach_of_all_seals_is_named(store) {
        let t = trail(store).await;
        assert!(t.verify().await.holds());
        t.store.tamper("UPDATE audit_events SET position = 4611686018427387904 WHERE position = (SELECT max(position) FROM audit_events)").await;
        let findings = t.verify().await.findings;
        assert!(findings.iter().any(|finding| matches!(finding, Finding::EventWithoutSeal { .. })), "{findings:?}");
    }

    a_changed_event_is_named(store) {
        let t = trail(store).await;
        for (column, value) in [
            ("detail", "'{\"n\":8}'"), ("node", "'n2'"), ("flow", "'x'"), ("severity", "'info'"),
            ("actor", "'user:eve'"), ("peer", "''"),
            ("kind", "'made.up'"),
        ] {
            t.store.tamper(&format!("CREATE TABLE saved AS SELECT * FROM audit_events WHERE id = {}", t.id(7))).await;
            t.store.tamper(&format!("UPDATE audit_events SET {column} = {value} WHERE id = {}", t.id(7))).await;
            let findings = t.verify().await.findings;
            assert!(
                matches!(&findings[..], [Finding::EventChanged { seal: 2, event, stored }]
                    if *event == t.ids[7] && stored.contains("\"node\"")),
                "{column}: {findings:?}"
            );
            t.store.tamper(&format!("UPDATE audit_events SET {column} = (SELECT {column} FROM saved) WHERE id = {}", t.id(7))).await;
            t.store.tamper("DROP TABLE saved").await;
        }
        t.store.tamper(&format!("UPDATE audit_events SET at = '2026-11-01 00:00:00.5+00:00' WHERE id = {}", t.id(7))).await;
        assert!(matches!(&t.verify().await.findings[..], [Finding::EventChanged { seal: 2, .. }]));
    }

    what_is_stored_in_another_form_is_named_too(store) {
        let t = trail(store).await;
        let id = t.id(7);
        // Each reads back as what was sealed, here or elsewhere, and shows or sorts as something else.
        let forms: &[&str] = if t.store.url.starts_with("sqlite:") {
            &[
                "detail = '{\"n\":666,\"n\":7}'",
                "detail = '{\"n\":7,\"n\":7}'",
                "detail = '{\"n\": 7}'",
                "detail = CAST('{\"n\":7}' AS BLOB)",
                "at = replace(at, 'T', ' ')",
                "at = replace(at, '+00:00', 'Z')",
                "at = replace(substr(at, 1, 19), 'T00', 'T01') || '.000007+01:00'",
                "node = CAST('n1' AS BLOB)",
                "id = CAST(id AS TEXT)",
            ]
        } else {
            &["detail = '{\"n\": 7.0}'", "detail = '{\"n\": 7.00000000000000000000001}'"]
        };
        for form in forms {
            t.store.tamper(&format!("CREATE TABLE saved AS SELECT * FROM audit_events WHERE id = {id}")).await;
            assert_eq!(t.store.tamper(&format!("UPDATE audit_events SET {form} WHERE id = {id}")).await, 1);
            let findings = t.verify().await.findings;
            assert!(
                matches!(&findings[..], [Finding::EventChanged { seal: 2, .. }]
                    | [Finding::EventAdded { seal: Some(2), .. }, Finding::EventMissing { seal: 2, .. }]),
                "{form}: {findings:?}"
            );
            t.store.tamper("DELETE FROM audit_events WHERE position IN (SELECT position FROM saved)").await;
            t.store.tamper("INSERT INTO audit_events SELECT * FROM saved").await;
            t.store.tamper("DROP TABLE saved").await;
            assert!(t.verify().await.holds());
        }
    }

    a_removed_event_is_named(store) {
        let t = trail(store).await;
        t.store.tamper(&format!("DELETE FROM audit_events WHERE id = {}", t.id(3))).await;
        assert_eq!(t.verify().await.findings, [Finding::EventMissing { seal: 1, event: t.ids[3] }]);
    }

    an_added_event_is_named(store) {
        let t = trail(store).await;
        // In place of one that goes, and in between.
        let copy = format!("INSERT INTO audit_events SELECT position, {}, at, node, kind, severity, actor, flow, \
             endpoint, partner, transfer_id, delivery_id, connection_id, peer, detail FROM audit_events WHERE id = ",
            if t.store.url.starts_with("sqlite:") { "x'00000000000000000000000000000001'" }
            else { "'00000000-0000-0000-0000-000000000001'" });
        if t.store.url.starts_with("sqlite:") {
            t.store.tamper(&format!("CREATE TABLE saved AS SELECT * FROM audit_events WHERE id = {}", t.id(12))).await;
            t.store.tamper(&format!("DELETE FROM audit_events WHERE id = {}", t.id(12))).await;
            t.store.tamper(&format!("{copy}{}", t.id(12)).replace("FROM audit_events WHERE", "FROM saved WHERE")).await;
            let findings = t.verify().await.findings;
            assert!(matches!(&findings[..],
                [Finding::EventAdded { seal: Some(3), event, .. }, Finding::EventMissing { seal: 3, event: gone }]
                if event.as_u128() == 1 && *gone == t.ids[12]), "{findings:?}");
        } else {
            t.store.tamper(&format!("{copy}{}", t.id(12))).await;
            let findings = t.verify().await.findings;
            assert!(matches!(&findings[..],
                [Finding::EventAdded { seal: Some(3), event, .. }] if event.as_u128() == 1), "{findings:?}");
        }
        t.store.tamper("UPDATE audit_events SET position = -1 WHERE id = ".to_owned().as_str().replace(
            "id = ", &format!("id = {}", t.id(0))).as_str()).await;
        let findings = t.verify().await.findings;
        assert!(findings.iter().any(|f| matches!(f, Finding::EventAdded { seal: None, event, .. } if *event == t.ids[0])));
        assert!(findings.contains(&Finding::EventMissing { seal: 1, event: t.ids[0] }));
    }

    a_row_that_is_no_event_any_more_stops_nothing(store) {
        let t = trail(store).await;
        if t.store.url.starts_with("sqlite:") {
            t.store.tamper(&format!("UPDATE audit_events SET detail = 'no json', at = 'never' WHERE id = {}", t.id(1))).await;
        } else {
            t.store.tamper(&format!("UPDATE audit_events SET detail = '[1e400]' WHERE id = {}", t.id(1))).await;
        }
        let findings = t.verify().await.findings;
        assert!(matches!(&findings[..], [Finding::EventChanged { seal: 1, event, stored }]
            if *event == t.ids[1] && stored.contains("not in the form")), "{findings:?}");
    }

    a_removed_seal_is_named(store) {
        let t = trail(store).await;
        t.store.tamper("DELETE FROM audit_seals WHERE seq = 2").await;
        assert_eq!(t.verify().await.findings, [Finding::SealsMissing { first: 2, last: 2 }]);
        t.store.tamper("DELETE FROM audit_seals WHERE seq = 1").await;
        assert_eq!(t.verify().await.findings, [Finding::SealsMissing { first: 1, last: 2 }]);
    }

    swapped_seals_are_named(store) {
        let t = trail(store).await;
        t.store.tamper("UPDATE audit_seals SET seq = 99 WHERE seq = 2").await;
        t.store.tamper("UPDATE audit_seals SET seq = 2 WHERE seq = 3").await;
        t.store.tamper("UPDATE audit_seals SET seq = 3 WHERE seq = 99").await;
        let findings = t.verify().await.findings;
        assert!(findings.contains(&Finding::SealAltered { seal: 2 }), "{findings:?}");
        assert!(findings.contains(&Finding::ChainBroken { seal: 3 }), "{findings:?}");
    }

    a_seal_by_another_key_is_named(store) {
        let t = trail(store).await;
        let other = SealKey::load_or_create(&t.store.dir.path().join("other")).unwrap();
        let seals = t.store.seals_from(3, None, 2).await.unwrap();
        let old = &seals[1];
        let range = (old.from, old.to);
        let made =
            crate::seal::Seal::make(Some(&seals[0]), range, old.members.clone().unwrap(), old.sealed_at, &other)
                .unwrap();
        let hex = |bytes: &[u8]| -> String {
            let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            if t.store.url.starts_with("sqlite:") { format!("x'{digits}'") } else { format!("'\\x{digits}'") }
        };
        t.store.tamper(&format!("UPDATE audit_seals SET signature = {}, digest = {}, key_id = '{}' WHERE seq = 4",
            hex(&made.signature), hex(&made.digest.0), other.id())).await;
        assert_eq!(t.verify().await.findings, [Finding::KeyUnknown { seal: 4, key: other.id().into() }]);
        t.store.tamper(&format!("UPDATE audit_seals SET key_id = '{}' WHERE seq = 4", t.key.id())).await;
        let findings = t.verify().await.findings;
        assert!(findings.contains(&Finding::SignatureInvalid { seal: 4, key: t.key.id().into() }), "{findings:?}");
    }

    altered_members_are_named(store) {
        let t = trail(store).await;
        let cut = if t.store.url.starts_with("sqlite:") { "x'00'" } else { "'\\x00'" };
        t.store.tamper(&format!("UPDATE audit_seals SET members = {cut} WHERE seq = 3")).await;
        assert_eq!(t.verify().await.findings, [Finding::MembersAltered { seal: 3, events_intact: true }]);
        t.store.tamper("UPDATE audit_seals SET members = NULL WHERE seq = 3").await;
        assert_eq!(t.verify().await.findings, [Finding::MembersAltered { seal: 3, events_intact: true }]);
        t.store.tamper(&format!("DELETE FROM audit_events WHERE id = {}", t.id(11))).await;
        assert_eq!(t.verify().await.findings, [Finding::MembersAltered { seal: 3, events_intact: false }]);
    }

    a_cut_tail_shows_against_a_seal_kept_elsewhere(store) {
        let mut t = trail(store).await;
        let (seq, digest): (i64, Sha256) = t.verify().await.newest.unwrap();
        t.store.tamper("DELETE FROM audit_seals WHERE seq = 4").await;
        for index in 15..20 {
            t.store.tamper(&format!("DELETE FROM audit_events WHERE id = {}", t.id(index))).await;
        }
        assert!(t.verify().await.holds(), "in itself the shorter trail is good");
        t.options.expected = vec![(seq, digest)];
        assert_eq!(t.verify().await.findings, [Finding::ExpectedMissing { seal: 4 }]);
        // Sealed over again: the number is there, the digest is another.
        t.store.seal_all(at(1000), &t.key).await;
        assert!(matches!(t.verify().await.findings[..], [Finding::ExpectedDiffers { seal: 4, .. }]));
    }

    a_made_up_record_of_removal_is_not_believed(store) {
        let t = trail(store).await;
        let forged = event(60).detail("seals", serde_json::json!([[1, 4]])).detail("parts", serde_json::json!([]))
            .detail("key", t.key.id()).detail("signature", "AAAA");
        let id = forged.id.uuid();
        t.store.append_events(vec![model::AuditEvent { kind: model::EventKind::AuditRemoved, ..forged }]).await.unwrap();
        t.store.seal_all(at(200), &t.key).await;
        t.store.tamper(&format!("DELETE FROM audit_events WHERE id = {}", t.id(3))).await;
        assert_eq!(t.verify().await.findings,
            [Finding::RecordInvalid { event: id, kind: model::EventKind::AuditRemoved }, Finding::EventMissing { seal: 1, event: t.ids[3] }]);
    }
}

both! {
    /// Prints rates; run by hand: `cargo test -p waybill-store rates -- --ignored --nocapture`.
    #[ignore = "a measurement"]
    rates(store) {
        let key = SealKey::load_or_create(&store.dir.path().join("key")).unwrap();
        let count = 200_000;
        let second = |began: std::time::Instant| f64::from(count as u32) / began.elapsed().as_secs_f64();
        let began = std::time::Instant::now();
        for first in (0..count).step_by(4000) {
            let some = |from: i64| {
                let events = (from..from + 1000).map(|n| event(n).flow("orders").endpoint("acme")).collect();
                store.append_events(events)
            };
            let all = futures::future::join_all((0..4).map(|n| some(first + n * 1000))).await;
            all.into_iter().for_each(|done| done.unwrap());
        }
        let append = second(began);
        store.quiet().await;
        let began = std::time::Instant::now();
        assert_eq!(store.seal(at(0), &key).await.unwrap().events, count as u64);
        let seal = second(began);
        let options = VerifyOptions { trusted: TrustedKeys::of(&key).unwrap(), ..Default::default() };
        let began = std::time::Instant::now();
        assert!(store.verify_audit(&options, |_| ()).await.unwrap().holds());
        println!(
            "{:?}: events a second: append {append:.0}, seal {seal:.0}, verify {:.0}",
            store.backend(), second(began)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_source_of_places_is_named() {
    let t = trail(TestStore::postgres().await).await;
    t.store
        .tamper(
            "CREATE OR REPLACE FUNCTION audit_position(transaction bigint) RETURNS bigint \
             LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT 5::bigint'",
        )
        .await;
    let findings = t.verify().await.findings;
    assert!(
        findings.iter().any(|finding| matches!(finding, Finding::PositionsAltered { .. })),
        "{findings:?}"
    );
}
