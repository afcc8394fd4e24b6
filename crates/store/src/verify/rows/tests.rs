use super::*;
use crate::seal::{SealKey, TrustedKeys};
use crate::testing::{TestStore, at, both};
use crate::tests::fixture::{claim, claim_one, delivered, failed, lease, now, recorded_with_event, retry};
use crate::{Journal, JournalEntry, JournalSettings, NewUser, Role};
use model::{
    Actor, AuditEvent, ConnectionClosed, ConnectionFailed, ConnectionId, ConnectionOpened, Direction,
    EventId, NodeName, PeerText, Protocol, Purpose, Secret, Security,
};
use std::time::Duration;

struct Books {
    store: TestStore,
    key: SealKey,
}

/// A bit of everything, each with its events, all sealed.
async fn books(store: TestStore) -> Books {
    let key = SealKey::load_or_create(&store.dir.path().join("key")).unwrap();
    let lease = lease(&store, "n1").await;
    for name in ["a", "b", "c", "d"] {
        recorded_with_event(&store, &lease, name, &["x", "y"]).await;
    }
    let claimed = claim(&store, &lease).await;
    for (place, one) in claimed.iter().enumerate() {
        let (finish, kind) = match place {
            0 => (failed(false), EventKind::DeliveryFailed),
            1 => (retry(now()), EventKind::DeliveryRetrying),
            _ => (delivered(), EventKind::DeliveryDelivered),
        };
        let event = AuditEvent::new(EventId::new(Uuid::now_v7()), now(), "n1".parse().unwrap(), kind)
            .transfer(one.transfer.id)
            .delivery(one.delivery.id)
            .detail("attempt", one.claim.attempt);
        store.finish(&one.claim, finish, now(), vec![event]).await.unwrap();
    }
    let _ = claim_one(&store, &lease).await;
    connections(&store).await;
    let user = |name: &str| NewUser {
        name: name.into(),
        password_hash: Secret::new("$argon2".into()),
        role: Role::Viewer,
    };
    for name in ["ada", "bob"] {
        let event = AuditEvent::new(
            EventId::new(Uuid::now_v7()),
            now(),
            "n1".parse().unwrap(),
            EventKind::UserChanged,
        );
        store.create_user(user(name), now(), vec![event]).await.unwrap();
    }
    let event = AuditEvent::new(
        EventId::new(Uuid::now_v7()),
        now(),
        "n1".parse().unwrap(),
        EventKind::DefinitionsApplied,
    );
    store
        .apply_revision(serde_json::json!({"flows": {}}), Actor::System, None, now(), vec![event])
        .await
        .unwrap();
    store.seal_all(now(), &key).await;
    Books { store, key }
}

async fn connections(store: &TestStore) {
    let (dir, node) = (tempfile::tempdir().unwrap(), "n1".parse::<NodeName>().unwrap());
    let journal = Journal::open(JournalSettings::new(dir.path()), node.clone(), now()).unwrap();
    for n in 1..=3 {
        let id = ConnectionId::new(Uuid::now_v7());
        let opened = ConnectionOpened {
            id,
            at: at(n),
            node: node.clone(),
            direction: Direction::Outbound,
            protocol: Protocol::Sftp,
            purpose: Purpose::Deliver,
            endpoint: Some("globex".into()),
            host: Some(PeerText::from("host:22")),
            remote: Some("192.0.2.1:22".parse().unwrap()),
            local: None,
            proxy: None,
            security: Security::None,
        };
        journal.append(JournalEntry::Opened(opened)).await.unwrap();
        if n > 1 {
            let closed = ConnectionClosed {
                id,
                at: at(n + 10),
                bytes_in: 5,
                bytes_out: 6,
                duration: Duration::from_micros(10),
                requests: 1,
                reason: PeerText::from("done"),
                failed: false,
            };
            journal.append(JournalEntry::Closed(closed)).await.unwrap();
        }
    }
    let failed = ConnectionFailed {
        id: ConnectionId::new(Uuid::now_v7()),
        at: at(9),
        node: node.clone(),
        protocol: Protocol::Sftp,
        purpose: Purpose::Deliver,
        endpoint: Some("globex".into()),
        host: PeerText::from("host:22"),
        remote: None,
        proxy: None,
        duration: Duration::from_micros(3),
        error: PeerText::from("refused"),
    };
    journal.append(JournalEntry::Failed(failed)).await.unwrap();
    journal.ship_pending(store, now()).await.unwrap();
}

impl Books {
    async fn verify(&self, options: &RowOptions) -> RowReport {
        let verify =
            VerifyOptions { trusted: TrustedKeys::of(&self.key).unwrap(), ..VerifyOptions::default() };
        self.store.verify_rows(options, &verify, |_| ()).await.unwrap()
    }
}

both! {
    rows_that_nobody_touched_agree(store) {
        let books = books(store).await;
        let report = books.verify(&RowOptions::default()).await;
        assert!(report.holds(), "{:?}", report.findings);
        assert_eq!((report.rows["transfers"], report.rows["deliveries"], report.rows["connections"]), (4, 8, 4));
        assert_eq!((report.rows["attempts"], report.rows["users"], report.rows["revisions"]), (9, 2, 1));
        assert_eq!((report.unsealed, report.retired), (0, 0));
        let range = RowOptions { from: Some(at(2)), to: Some(at(3)) };
        let report = books.verify(&range).await;
        assert!(report.holds(), "{:?}", report.findings);
        assert_eq!(report.rows, std::collections::BTreeMap::from([("connections", 1)]));
    }

    rows_of_a_gateway_at_work_agree(store) {
        let books = books(store).await;
        let lease = lease(&books.store, "n2").await;
        let work = async {
            for n in 0..60 {
                recorded_with_event(&books.store, &lease, &format!("w{n}"), &["x", "y"]).await;
                for one in claim(&books.store, &lease).await {
                    let kind = EventKind::DeliveryDelivered;
                    let event = AuditEvent::new(EventId::new(Uuid::now_v7()), now(), "n2".parse().unwrap(), kind)
                        .transfer(one.transfer.id)
                        .delivery(one.delivery.id)
                        .detail("attempt", one.claim.attempt);
                    books.store.finish(&one.claim, delivered(), now(), vec![event]).await.unwrap();
                }
            }
        };
        let look = async {
            loop {
                let report = books.verify(&RowOptions::default()).await;
                assert!(report.holds(), "{:?}", report.findings);
                tokio::task::yield_now().await;
            }
        };
        tokio::select! { () = work => {}, () = look => {} }
    }

    every_altered_row_is_named(store) {
        let books = books(store).await;
        let last = |table: &str, more: &str| format!("(SELECT id FROM {table} WHERE {more} ORDER BY id LIMIT 1)");
        let some = |table: &str| last(table, "TRUE");
        let receipt = last("deliveries", "receipt IS NOT NULL");
        let zeros = if books.store.url.starts_with("sqlite:") { format!("x'{}'", "00".repeat(32)) } else { format!("'\\x{}'", "00".repeat(32)) };
        let tables = ["connections", "transfers", "deliveries", "attempts", "payloads", "users", "revisions"];
        for (table, sql) in [
            ("connections", format!("UPDATE connections SET remote = '203.0.113.9:22' WHERE id = {}", some("connections"))),
            ("connections", format!("UPDATE connections SET protocol = 'as2' WHERE id = {}", some("connections"))),
            ("connections", format!("UPDATE connections SET bytes_out = 7 WHERE id = {}", last("connections", "closed_at IS NOT NULL"))),
            ("connections", format!("UPDATE connections SET failed = TRUE WHERE id = {}", last("connections", "closed_at IS NOT NULL"))),
            ("connections", format!("UPDATE connections SET closed_at = opened_at, reason = 'x' WHERE id = {}", last("connections", "closed_at IS NULL"))),
            ("connections", "UPDATE connections SET reason = 'none of ours' WHERE reason = 'refused'".to_owned()),
            ("connections", "DELETE FROM connections WHERE reason = 'refused'".to_owned()),
            ("connections", format!("DELETE FROM connections WHERE id = {}", some("connections"))),
            ("transfers", format!("UPDATE transfers SET file_name = 'other.edi' WHERE id = {}", some("transfers"))),
            ("transfers", format!("UPDATE transfers SET flow = 'other' WHERE id = {}", some("transfers"))),
            ("transfers", format!("UPDATE transfers SET state = 'cancelled' WHERE id = {}", last("transfers", "state = 'completed'"))),
            ("transfers", format!("UPDATE transfers SET state = 'completed' WHERE id = {}", last("transfers", "state = 'delivering'"))),
            ("transfers", format!("UPDATE transfers SET ended_at = created_at WHERE id = {}", last("transfers", "ended_at IS NOT NULL"))),
            ("payloads", format!("UPDATE payloads SET length = 6 WHERE id = {}", some("payloads"))),
            ("payloads", format!("UPDATE payloads SET sha256 = {zeros} WHERE id = {}", some("payloads"))),
            ("deliveries", format!("UPDATE deliveries SET endpoint = 'elsewhere' WHERE id = {}", some("deliveries"))),
            ("deliveries", format!("UPDATE deliveries SET state = 'delivered' WHERE id = {}", last("deliveries", "state = 'failed'"))),
            ("deliveries", format!("UPDATE deliveries SET receipt = '{{\"kind\":\"forged\"}}' WHERE id = {receipt}")),
            ("deliveries", format!("UPDATE deliveries SET receipt = NULL WHERE id = {receipt}")),
            ("attempts", format!("UPDATE attempts SET node = 'n9' WHERE id = {}", some("attempts"))),
            ("attempts", format!("UPDATE attempts SET number = 17 WHERE id = {}", some("attempts"))),
            ("attempts", format!("DELETE FROM attempts WHERE id = {}", some("attempts"))),
            ("users", "UPDATE users SET role = 'admin' WHERE name = 'bob'".to_owned()),
            ("users", "UPDATE users SET password_hash = '$argon2$forged' WHERE name = 'bob'".to_owned()),
            ("users", "UPDATE users SET name = 'eve' WHERE name = 'bob'".to_owned()),
            ("users", "DELETE FROM users WHERE name = 'bob'".to_owned()),
            ("revisions", "UPDATE revisions SET documents = '{\"flows\":{\"evil\":1}}'".to_owned()),
            ("revisions", "UPDATE revisions SET number = 9".to_owned()),
        ] {
            for table in tables {
                books.store.tamper(&format!("CREATE TABLE saved_{table} AS SELECT * FROM {table}")).await;
            }
            assert_eq!(books.store.tamper(&sql).await, 1, "{sql}");
            let findings = books.verify(&RowOptions::default()).await.findings;
            assert!(
                findings.iter().any(|finding| matches!(finding, Finding::Row { table: named, .. } if *named == table)),
                "{sql}: {findings:?}"
            );
            // In the order in which they refer to one another.
            for table in tables {
                let key = match table { "users" => "name", "revisions" => "number", _ => "id" };
                if books.store.url.starts_with("sqlite:") {
                    let off = "PRAGMA foreign_keys = OFF";
                    books.store.tamper(&format!("{off}; DELETE FROM {table}; INSERT INTO {table} SELECT * FROM saved_{table}")).await;
                } else {
                    books.store.tamper(&format!(
                        "SET session_replication_role = replica; DELETE FROM {table}; \
                         INSERT INTO {table} SELECT * FROM saved_{table} ORDER BY {key}"
                    )).await;
                }
                books.store.tamper(&format!("DROP TABLE saved_{table}")).await;
            }
            let after = books.verify(&RowOptions::default()).await.findings;
            assert!(after.is_empty(), "{sql}, restored: {after:?}");
        }
    }

    rows_without_any_event_are_named_and_retired_ones_are_told_apart(store) {
        let books = books(store).await;
        // The month's events go with its end of retention, on signed record; so do the connections' rows.
        let before = at(0) + chrono::TimeDelta::days(70);
        let node: NodeName = "n1".parse().unwrap();
        books.store.remove_audit_before(before, now(), &node, &books.key, Uuid::now_v7).await.unwrap();
        books.store.seal_all(now(), &books.key).await;
        let report = books.verify(&RowOptions::default()).await;
        assert!(report.holds(), "{:?}", report.findings);
        // A hand that removes the same events without such a record.
        books.store.tamper("DELETE FROM audit_events WHERE kind LIKE 'transfer.%' OR kind LIKE 'connection.%'").await;
        books.store.tamper("DELETE FROM audit_events WHERE kind = 'audit.removed'").await;
        let findings = books.verify(&RowOptions::default()).await.findings;
        assert!(findings.iter().any(|finding| matches!(finding, Finding::Row { .. })), "{findings:?}");
    }
}
