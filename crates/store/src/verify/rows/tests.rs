use super::*;
use crate::seal::{SealKey, TrustedKeys};
use crate::testing::{TestStore, at, both};
use crate::tests::fixture::{
    after, claim, claim_one, claim_one_steps, delivered, failed, lease, node, now, offer, receipt, record,
    recorded_with_event, recorded_with_steps, retry, steps_done, steps_failed, transfer,
};
use crate::{
    Act, Claimed, DestinationInForce, Finish, Finished, FlowInForce, Journal, JournalEntry, JournalSettings,
    NewTransfer, NewUser, NodeLease,
};
use model::{
    Actor, AuditEvent, ConnectionClosed, ConnectionFailed, ConnectionId, ConnectionOpened, Direction,
    ErrorKind, EventId, KnownHost, NodeName, PeerText, Protocol, Purpose, Role, Secret, Security, Suspension,
    SuspensionKind, TransferKind, TransferState,
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
            1 | 2 => (retry(now()), EventKind::DeliveryRetrying),
            _ => (delivered(), EventKind::DeliveryDelivered),
        };
        end(&store, one, finish, kind).await;
    }
    // One of two attempts, the other still under way.
    let again = claim(&store, &lease).await;
    end(&store, &again[0], delivered(), EventKind::DeliveryDelivered).await;
    removed_payload(&store, &claimed[6]).await;
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
    store.apply_revision(crate::testing::revision(0, &["orders"], now(), vec![event])).await.unwrap();
    suspensions(&store).await;
    known_hosts(&store).await;
    store.seal_all(now(), &key).await;
    Books { store, key }
}

/// A flow that is paused, and an endpoint that was set offline and online again.
async fn suspensions(store: &TestStore) {
    let event = |kind, at| {
        AuditEvent::new(EventId::new(Uuid::now_v7()), at, node("n1"), kind).by(Actor::User("ada".into()))
    };
    let begun = |kind, name: &str| Suspension {
        kind,
        name: name.into(),
        by: Actor::User("ada".into()),
        reason: Some("the partner moves".into()),
        since: now(),
    };
    let paused = begun(SuspensionKind::Flow, "orders");
    let told =
        event(EventKind::FlowPaused, paused.since).flow("orders").detail("reason", "the partner moves");
    store.suspend(paused, vec![told]).await.unwrap();
    let offline = begun(SuspensionKind::Endpoint, "globex");
    let told = event(EventKind::EndpointSetOffline, offline.since)
        .endpoint("globex")
        .detail("reason", "the partner moves");
    store.suspend(offline, vec![told]).await.unwrap();
    let at = now();
    let end = crate::EndSuspension {
        kind: SuspensionKind::Endpoint,
        name: "globex".into(),
        by: Actor::User("ada".into()),
        reason: None,
        at,
        must_be_in_force: true,
        events: vec![event(EventKind::EndpointSetOnline, at).endpoint("globex")],
    };
    store.end_suspension(end).await.unwrap();
}

/// A known host, and one that was removed again.
async fn known_hosts(store: &TestStore) {
    let event = |kind, host: &KnownHost| {
        let event =
            AuditEvent::new(EventId::new(Uuid::now_v7()), host.at, node("n1"), kind).by(host.by.clone());
        let event = event.detail("known_host", host.id.to_string()).detail("line", host.line.as_str());
        event.detail("fingerprint", host.fingerprint.as_str())
    };
    let host = |line: &str| KnownHost {
        id: Uuid::now_v7(),
        line: line.into(),
        fingerprint: "SHA256:abc".into(),
        comment: None,
        by: Actor::User("ada".into()),
        at: now(),
    };
    let (kept, gone) = (host("getafix ssh-ed25519 AAAA"), host("b ssh-ed25519 AAAB"));
    let added = [&kept, &gone].map(|host| event(EventKind::KnownHostAdded, host));
    let change = crate::ChangeKnownHosts {
        base: 0,
        added: vec![kept, gone.clone()],
        events: added.to_vec(),
        ..crate::ChangeKnownHosts::default()
    };
    store.change_known_hosts(change).await.unwrap();
    let change = crate::ChangeKnownHosts {
        base: 1,
        removed: vec![(gone.id, gone.by.clone(), gone.at)],
        events: vec![event(EventKind::KnownHostRemoved, &gone)],
        ..crate::ChangeKnownHosts::default()
    };
    store.change_known_hosts(change).await.unwrap();
}

/// Ends an attempt, with its event.
async fn end(store: &TestStore, one: &Claimed, finish: Finish, kind: EventKind) -> Finished {
    let node = one.claim.node.clone();
    // The moment is the store's to say.
    let event = AuditEvent::new(EventId::new(Uuid::now_v7()), at(0), node, kind)
        .transfer(one.transfer.id)
        .delivery(one.delivery.id);
    store.finish(&one.claim, finish, now(), vec![event]).await.unwrap()
}

/// The retention of a transfer's payload ends, soon after it was recorded.
async fn removed_payload(store: &TestStore, one: &Claimed) {
    removed_payload_at(store, one, after(now(), 4_000_000)).await;
}

async fn removed_payload_at(store: &TestStore, one: &Claimed, at: Timestamp) {
    let payload = one.transfer.payload.id;
    let event = AuditEvent::new(
        EventId::new(Uuid::now_v7()),
        Timestamp::UNIX_EPOCH,
        "n1".parse().unwrap(),
        EventKind::PayloadRemoved,
    );
    let event = event.detail("payload", payload.to_string());
    let removed = store.mark_payloads_removed(vec![(payload, event)], at).await.unwrap();
    assert_eq!(removed.len(), 1);
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
            control: (n == 3).then(|| ConnectionId::new(Uuid::now_v7())),
            through: None,
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

/// Records a transfer as it is, with its event.
async fn told(store: &TestStore, lease: &NodeLease, path: &str, new: &NewTransfer) {
    let event =
        AuditEvent::new(EventId::new(Uuid::now_v7()), now(), lease.node.clone(), EventKind::TransferRecorded);
    let mut record = record(lease, offer(path), vec![new.clone()]);
    record.transfers[0].transfer.offer = Some(record.offer.id);
    record.events = vec![event.transfer(new.transfer.id)];
    store.record_offer(record).await.unwrap();
}

/// The one delivery of a new transfer, claimed.
async fn one_claimed(store: &TestStore, lease: &NodeLease, path: &str) -> Claimed {
    told(store, lease, path, &transfer(None, &["x"])).await;
    claim_one(store, lease).await
}

impl Books {
    async fn agree(&self, when: &str) {
        let report = self.verify(&RowOptions::default()).await;
        assert!(report.holds(), "{when}: {:?}", report.findings);
    }

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
        assert_eq!((report.rows["attempts"], report.rows["users"], report.rows["revisions"]), (10, 2, 1));
        assert_eq!((report.rows["suspensions"], report.unsealed, report.retired), (2, 0, 0));
        assert_eq!(report.rows["known_hosts"], 2);
        let range = RowOptions { from: Some(at(2)), to: Some(at(3)) };
        let report = books.verify(&range).await;
        assert!(report.holds(), "{:?}", report.findings);
        assert_eq!(report.rows, std::collections::BTreeMap::from([("connections", 1)]));
        assert_eq!(report.skipped, ["users", "revisions", "suspensions", "known_hosts"]);
    }

    rows_of_a_gateway_at_work_agree(store) {
        let books = books(store).await;
        let lease = lease(&books.store, "n2").await;
        let work = async {
            for n in 0..60 {
                recorded_with_event(&books.store, &lease, &format!("w{n}"), &["x", "y"]).await;
                for one in claim(&books.store, &lease).await {
                    end(&books.store, &one, delivered(), EventKind::DeliveryDelivered).await;
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
        let nil = if books.store.url.starts_with("sqlite:") { format!("x'{}'", "00".repeat(16)) } else { format!("'{}'", Uuid::nil()) };
        // The delivery that was delivered by its second attempt, and the receipt of that.
        let again = "delivery_id = (SELECT delivery_id FROM attempts WHERE number = 2 AND outcome = 'delivered')";
        let given = "(SELECT receipt FROM attempts WHERE number = 2 AND outcome = 'delivered')";
        let tables = ["connections", "transfers", "deliveries", "attempts", "payloads", "users", "revisions", "definitions", "definition_files", "suspensions", "known_hosts"];
        for (table, sql) in [
            ("connections", format!("UPDATE connections SET remote = '203.0.113.9:22' WHERE id = {}", some("connections"))),
            ("connections", format!("UPDATE connections SET protocol = 'as2' WHERE id = {}", some("connections"))),
            ("connections", "UPDATE connections SET control = NULL WHERE control IS NOT NULL".to_owned()),
            ("connections", format!("UPDATE connections SET bytes_out = 7 WHERE id = {}", last("connections", "closed_at IS NOT NULL"))),
            ("connections", format!("UPDATE connections SET failed = TRUE WHERE id = {}", last("connections", "closed_at IS NOT NULL"))),
            ("connections", format!("UPDATE connections SET closed_at = opened_at, reason = 'x' WHERE id = {}", last("connections", "closed_at IS NULL"))),
            ("connections", "UPDATE connections SET reason = 'none of ours' WHERE reason = 'refused'".to_owned()),
            ("connections", "DELETE FROM connections WHERE reason = 'refused'".to_owned()),
            ("connections", "UPDATE connections SET bytes_out = 7 WHERE reason = 'refused'".to_owned()),
            ("connections", "UPDATE connections SET closed_at = NULL WHERE reason = 'refused'".to_owned()),
            ("connections", "UPDATE connections SET bytes_in = 7 WHERE closed_at IS NULL".to_owned()),
            ("connections", "UPDATE connections SET lost_at = opened_at WHERE reason = 'refused'".to_owned()),
            ("connections", "UPDATE connections SET lost_at = opened_at WHERE closed_at IS NULL".to_owned()),
            ("connections", "UPDATE connections SET failed = TRUE WHERE closed_at IS NULL".to_owned()),
            ("connections", format!("DELETE FROM connections WHERE id = {}", some("connections"))),
            ("transfers", format!("UPDATE transfers SET file_name = 'other.edi' WHERE id = {}", some("transfers"))),
            ("transfers", format!("UPDATE transfers SET flow = 'other' WHERE id = {}", some("transfers"))),
            ("transfers", format!("UPDATE transfers SET revision = 7 WHERE id = {}", some("transfers"))),
            ("transfers", format!("UPDATE transfers SET state = 'cancelled' WHERE id = {}", last("transfers", "state = 'completed'"))),
            ("transfers", format!("UPDATE transfers SET state = 'completed' WHERE id = {}", last("transfers", "state = 'delivering'"))),
            ("transfers", format!("UPDATE transfers SET ended_at = created_at WHERE id = {}", last("transfers", "ended_at IS NOT NULL"))),
            ("transfers", format!("UPDATE transfers SET ended_at = NULL WHERE id = {}", last("transfers", "ended_at IS NOT NULL"))),
            ("transfers", format!("UPDATE transfers SET created_at = updated_at, updated_at = created_at WHERE id = {}", last("transfers", "ended_at IS NOT NULL"))),
            ("transfers", format!("INSERT INTO transfers (id, kind, flow, revision, payload_id, file_name, state, created_at, updated_at, metadata, sequence, retain_for, released) \
                SELECT {nil}, kind, flow, revision, payload_id, file_name, state, created_at, updated_at, metadata, sequence, retain_for, released FROM transfers LIMIT 1")),
            ("connections", format!("INSERT INTO connections (id, node, process_started_at, opened_at, direction) \
                SELECT {nil}, node, process_started_at, opened_at, direction FROM connections LIMIT 1")),
            ("payloads", format!("UPDATE payloads SET file_name = 'other.edi' WHERE id = {}", some("payloads"))),
            ("payloads", format!("UPDATE payloads SET media_type = 'text/plain' WHERE id = {}", some("payloads"))),
            ("payloads", format!("UPDATE payloads SET media_type = NULL WHERE id = {}", some("payloads"))),
            ("payloads", "UPDATE payloads SET removed_at = NULL WHERE removed_at IS NOT NULL".to_owned()),
            ("payloads", "UPDATE payloads SET removed_at = staged_at WHERE removed_at IS NOT NULL".to_owned()),
            ("payloads", format!("UPDATE payloads SET removed_at = staged_at WHERE id = {}", last("payloads", "removed_at IS NULL"))),
            ("payloads", format!("UPDATE payloads SET length = 6 WHERE id = {}", some("payloads"))),
            ("payloads", format!("UPDATE payloads SET sha256 = {zeros} WHERE id = {}", some("payloads"))),
            ("deliveries", format!("UPDATE deliveries SET endpoint = 'elsewhere' WHERE id = {}", some("deliveries"))),
            ("deliveries", format!("UPDATE deliveries SET state = 'delivered' WHERE id = {}", last("deliveries", "state = 'failed'"))),
            ("deliveries", format!("UPDATE deliveries SET receipt = '{{\"kind\":\"forged\"}}' WHERE id = {receipt}")),
            ("deliveries", format!("UPDATE deliveries SET receipt = NULL WHERE id = {receipt}")),
            ("deliveries", "UPDATE deliveries SET error = '551 other' WHERE state = 'failed'".to_owned()),
            ("deliveries", "UPDATE deliveries SET error = NULL, error_kind = NULL WHERE state = 'failed'".to_owned()),
            ("deliveries", "UPDATE deliveries SET error_kind = 'timeout' WHERE state = 'failed'".to_owned()),
            ("deliveries", "UPDATE deliveries SET error = 'x' WHERE state = 'sending'".to_owned()),
            ("deliveries", format!("UPDATE deliveries SET error = 'x' WHERE id = {}", last("deliveries", "state = 'delivered'"))),
            ("deliveries", "UPDATE deliveries SET ended_at = created_at WHERE state = 'failed'".to_owned()),
            ("deliveries", "UPDATE deliveries SET ended_at = NULL WHERE state = 'failed'".to_owned()),
            ("deliveries", "UPDATE deliveries SET ended_at = created_at WHERE state = 'sending'".to_owned()),
            ("deliveries", format!("UPDATE deliveries SET revision = 7 WHERE id = {}", some("deliveries"))),
            ("suspensions", "UPDATE suspensions SET in_force = FALSE WHERE kind = 'flow'".to_owned()),
            ("suspensions", "UPDATE suspensions SET in_force = TRUE WHERE kind = 'endpoint'".to_owned()),
            ("suspensions", "UPDATE suspensions SET actor = 'user:eve' WHERE kind = 'flow'".to_owned()),
            ("suspensions", "UPDATE suspensions SET reason = 'nothing' WHERE kind = 'flow'".to_owned()),
            ("suspensions", "UPDATE suspensions SET changed_at = '2020-01-01T00:00:00Z' WHERE kind = 'flow'".to_owned()),
            ("suspensions", "UPDATE suspensions SET name = 'others' WHERE kind = 'flow'".to_owned()),
            ("suspensions", "DELETE FROM suspensions WHERE kind = 'flow'".to_owned()),
            ("known_hosts", "UPDATE known_hosts SET line = 'getafix ssh-ed25519 EVIL' WHERE removed_at IS NULL".to_owned()),
            ("known_hosts", "UPDATE known_hosts SET fingerprint = 'SHA256:evil' WHERE removed_at IS NULL".to_owned()),
            ("known_hosts", "UPDATE known_hosts SET added_by = 'user:eve' WHERE removed_at IS NULL".to_owned()),
            ("known_hosts", "UPDATE known_hosts SET removed_at = NULL, removed_by = NULL WHERE removed_at IS NOT NULL".to_owned()),
            ("known_hosts", "UPDATE known_hosts SET removed_at = added_at, removed_by = added_by WHERE removed_at IS NULL".to_owned()),
            ("known_hosts", "DELETE FROM known_hosts WHERE removed_at IS NULL".to_owned()),
            ("suspensions", "INSERT INTO suspensions (kind, name, in_force, actor, changed_at, change) \
                SELECT 'flow', 'others', TRUE, actor, changed_at, 99 FROM suspensions WHERE kind = 'flow'".to_owned()),
            ("attempts", "UPDATE attempts SET error = '551 other' WHERE outcome = 'failed'".to_owned()),
            ("attempts", "UPDATE attempts SET error_kind = NULL WHERE outcome = 'failed'".to_owned()),
            ("attempts", "UPDATE attempts SET ended_at = started_at WHERE outcome = 'failed'".to_owned()),
            ("attempts", "UPDATE attempts SET ended_at = NULL, outcome = NULL WHERE outcome = 'failed'".to_owned()),
            ("attempts", format!("UPDATE attempts SET outcome = 'delivered', receipt = {given} WHERE outcome = 'retrying' AND {again}")),
            ("attempts", format!("UPDATE attempts SET outcome = 'retrying' WHERE number = 2 AND {again}")),
            ("attempts", format!("UPDATE attempts SET receipt = {given} WHERE outcome = 'retrying' AND {again}")),
            ("attempts", format!("UPDATE attempts SET node = 'n9' WHERE id = {}", some("attempts"))),
            ("attempts", format!("UPDATE attempts SET number = 17 WHERE id = {}", some("attempts"))),
            ("attempts", format!("DELETE FROM attempts WHERE id = {}", some("attempts"))),
            ("users", "UPDATE users SET role = 'admin' WHERE name = 'bob'".to_owned()),
            ("users", "UPDATE users SET password_hash = '$argon2$forged' WHERE name = 'bob'".to_owned()),
            ("users", "UPDATE users SET name = 'eve' WHERE name = 'bob'".to_owned()),
            ("users", "DELETE FROM users WHERE name = 'bob'".to_owned()),
            ("revisions", "UPDATE definitions SET document = '{\"evil\":1}'".to_owned()),
            ("revisions", "UPDATE definitions SET document = '{\"evil\":1}', digest = 'e'".to_owned()),
            ("revisions", "UPDATE definitions SET origin = 'elsewhere'".to_owned()),
            ("revisions", "UPDATE definitions SET until_revision = 1".to_owned()),
            ("revisions", "UPDATE definitions SET until_revision = 2".to_owned()),
            ("revisions", "UPDATE definitions SET since_revision = 0".to_owned()),
            ("revisions", "DELETE FROM definitions".to_owned()),
            ("revisions", "UPDATE definition_files SET text = 'other'".to_owned()),
            ("revisions", "DELETE FROM definition_files".to_owned()),
            ("revisions", "UPDATE revisions SET kind = 'edit'".to_owned()),
            ("revisions", "UPDATE revisions SET summary = 'nothing'".to_owned()),
            ("users", "UPDATE users SET changed_at = '2020-01-01T00:00:00Z' WHERE name = 'bob'".to_owned()),
            ("users", "UPDATE users SET created_at = '2020-01-01T00:00:00Z' WHERE name = 'bob'".to_owned()),
            ("revisions", "UPDATE revisions SET number = 9".to_owned()),
            ("revisions", "UPDATE revisions SET number = -1".to_owned()),
            ("revisions", "UPDATE revisions SET applied_at = '2020-01-01T00:00:00Z'".to_owned()),
            ("revisions", "UPDATE revisions SET source = '/etc/other'".to_owned()),
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
                let key = match table { "users" | "definitions" | "suspensions" => "name", "definition_files" => "file", "revisions" => "number", _ => "id" };
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

    rows_agree_after_every_way_of_ending(store) {
        let key = SealKey::load_or_create(&store.dir.path().join("key")).unwrap();
        let books = Books { store, key };
        let store = &books.store;
        let n1 = lease(store, "n1").await;
        let act = || Act::new(Actor::User("ada".into()), node("n1"), now());
        let resolve = async |one: &Claimed, positive| {
            store.resolve(&one.delivery.id.to_string(), receipt(positive), &node("n2"), vec![], now()).await.unwrap();
        };
        // Sent, and waiting for a receipt.
        let waiting = async |name: &str, deadline| {
            let one = one_claimed(store, &n1, name).await;
            store.correlate(&one.claim, &one.delivery.id.to_string()).await.unwrap();
            end(store, &one, Finish::Awaiting { deadline, replies: vec![] }, EventKind::DeliveryAwaiting).await;
            one
        };
        let later = after(now(), 60_000);
        let mut delivered_late = vec![];
        for (n, answers) in [&[][..], &[true], &[false], &[true, false], &[true, true]].into_iter().enumerate() {
            let one = waiting(&format!("receipt {n}"), later).await;
            for positive in answers {
                books.agree("waiting").await;
                resolve(&one, *positive).await;
            }
            books.agree(&format!("answers {answers:?}")).await;
            delivered_late.push(one);
        }
        store.cancel_delivery(delivered_late[0].delivery.id, &act()).await.unwrap();
        books.agree("cancelled while waiting").await;
        store.retry_delivery(delivered_late[2].delivery.id, &act()).await.unwrap();
        books.agree("sent again after a receipt that says no").await;
        let again = claim_one(store, &n1).await;
        books.agree("under way again").await;
        end(store, &again, failed(false), EventKind::DeliveryFailed).await;
        books.agree("failed after that").await;
        let destination = DestinationInForce {
            name: "x".into(),
            endpoint: "x".into(),
            expires_after: None,
            lane_continues: false,
        };
        let flow = FlowInForce { revision: 9, destinations: vec![destination] };
        store.retry_transfer(delivered_late[2].transfer.id, &act(), Some(flow)).await.unwrap();
        books.agree("sent again through the flow in force").await;
        for (revision, agrees) in [("NULL", false), ("8", false), ("9", true)] {
            let of = delivered_late[2].delivery.attempt + 1;
            store.tamper(&format!("UPDATE deliveries SET revision = {revision} WHERE state = 'pending' AND attempt = {of}")).await;
            assert_eq!(books.verify(&RowOptions::default()).await.holds(), agrees, "{revision}");
        }
        let again = claim_one(store, &n1).await;
        end(store, &again, failed(false), EventKind::DeliveryFailed).await;
        books.agree("failed through the flow in force").await;

        // A receipt that says no, after which it is sent again; one that proves nothing; and one that contradicts.
        let says = async |one: &Claimed, says: crate::ReceiptSays| {
            let notes = vec![("unproven_mdn".to_owned(), serde_json::json!({ "attempt": 1, "mdn": "Tm8=" }))];
            let key = one.delivery.id.to_string();
            let record = crate::ReceiptRecord { notes, ..crate::ReceiptRecord::default() };
            store.resolve_noting(&key, says, record, &node("n2"), now()).await.unwrap();
        };
        let error = || crate::Failure { kind: ErrorKind::Rejected, text: "no".into() };
        let refusal = |retry_at, may_contradict| crate::ReceiptSays::Refusal { receipt: receipt(false), error: error(), retry_at, may_contradict };
        let one = waiting("refused for now", later).await;
        says(&one, crate::ReceiptSays::NoProof { receipt: receipt(true), error: error() }).await;
        books.agree("a receipt that proves nothing").await;
        says(&one, refusal(Some(now()), true)).await;
        books.agree("refused for now").await;
        says(&one, refusal(Some(now()), true)).await;
        books.agree("refused twice").await;
        let again = claim_one(store, &n1).await;
        end(store, &again, Finish::Awaiting { deadline: later, replies: vec![] }, EventKind::DeliveryAwaiting).await;
        resolve(&one, true).await;
        says(&one, refusal(Some(now()), false)).await;
        books.agree("a refusal that does not count").await;
        says(&one, refusal(None, true)).await;
        books.agree("contradicted").await;
        says(&one, crate::ReceiptSays::NoProof { receipt: receipt(true), error: error() }).await;
        books.agree("contradicted, and nothing proved since").await;

        // A receipt that never came; then one that comes after all, to an attempt that was given up.
        let one = waiting("overdue", now()).await;
        end(store, &one, retry(later), EventKind::DeliveryRetrying).await;
        books.agree("overdue").await;
        resolve(&one, true).await;
        books.agree("a late receipt").await;
        // One that overtakes the answer.
        let one = one_claimed(store, &n1, "overtaken").await;
        store.correlate(&one.claim, &one.delivery.id.to_string()).await.unwrap();
        resolve(&one, true).await;
        end(store, &one, Finish::Awaiting { deadline: later, replies: vec![] }, EventKind::DeliveryAwaiting).await;
        books.agree("overtaken").await;
        // One, and a person, whose time was read before that of the answer, and who were recorded after it.
        let earlier = now() - Duration::from_secs(1);
        for by_hand in [false, true] {
            let one = one_claimed(store, &n1, &format!("read before {by_hand}")).await;
            let key = one.delivery.id.to_string();
            store.correlate(&one.claim, &key).await.unwrap();
            end(store, &one, Finish::Awaiting { deadline: later, replies: vec![] }, EventKind::DeliveryAwaiting).await;
            if by_hand {
                let act = Act { at: earlier, ..act() };
                store.cancel_transfer(one.transfer.id, &act).await.unwrap();
                books.agree("cancelled by a clock that is behind").await;
                store.retry_transfer(one.transfer.id, &act, None).await.unwrap();
                books.agree("retried by a clock that is behind").await;
                let again = claim_one(store, &n1).await;
                end(store, &again, delivered(), EventKind::DeliveryDelivered).await;
            } else {
                store.resolve(&key, receipt(true), &node("n2"), vec![], earlier).await.unwrap();
            }
            books.agree("read before").await;
        }

        // A node that dies, twice, and what is taken over.
        one_claimed(store, &n1, "fenced").await;
        let n1 = lease(store, "n1").await;
        books.agree("interrupted").await;
        let one = claim_one(store, &n1).await;
        books.agree("taken over").await;
        end(store, &one, retry(now()), EventKind::DeliveryRetrying).await;
        books.agree("tried again").await;
        claim_one(store, &n1).await;
        store.release_node(&n1, now()).await.unwrap();
        books.agree("released").await;
        let n1 = lease(store, "n1").await;
        let one = claim_one(store, &n1).await;
        end(store, &one, delivered(), EventKind::DeliveryDelivered).await;
        books.agree("delivered in the end").await;

        // Time that runs out, before an attempt and after one.
        for (n, tried) in [false, true].into_iter().enumerate() {
            let mut new = transfer(None, &["x"]);
            new.deliveries[0].delivery.expires_at = Some(after(now(), 30_000));
            told(store, &n1, &format!("expires {n}"), &new).await;
            if tried {
                let one = claim_one(store, &n1).await;
                end(store, &one, retry(later), EventKind::DeliveryRetrying).await;
            }
            assert_eq!(store.expire_due(&node("n1"), after(now(), 31_000), 10).await.unwrap().len(), 1);
            books.agree("expired").await;
        }

        // What a person does.
        let new = transfer(None, &["x", "y"]);
        let id = new.transfer.id;
        told(store, &n1, "by hand", &new).await;
        store.hold_transfer(id, &act()).await.unwrap();
        books.agree("held").await;
        store.release_transfer(id, &act()).await.unwrap();
        let claimed = claim(store, &n1).await;
        end(store, &claimed[0], failed(false), EventKind::DeliveryFailed).await;
        store.cancel_transfer(id, &act()).await.unwrap();
        books.agree("cancelled beside one under way").await;
        end(store, &claimed[1], delivered(), EventKind::DeliveryDelivered).await;
        books.agree("ended after it was cancelled").await;

        // Cancelled while it is being sent: it fails, its node ends, its receipt comes too late.
        let one = one_claimed(store, &n1, "cancelled, then failed").await;
        store.cancel_transfer(one.transfer.id, &act()).await.unwrap();
        end(store, &one, retry(now()), EventKind::DeliveryRetrying).await;
        books.agree("given up").await;
        let one = one_claimed(store, &n1, "cancelled, then cut off").await;
        store.cancel_transfer(one.transfer.id, &act()).await.unwrap();
        let n1 = lease(store, "n1").await;
        books.agree("given up with its node").await;
        let one = one_claimed(store, &n1, "cancelled, then received").await;
        store.correlate(&one.claim, &one.delivery.id.to_string()).await.unwrap();
        end(store, &one, Finish::Awaiting { deadline: later, replies: vec![] }, EventKind::DeliveryAwaiting).await;
        store.cancel_transfer(one.transfer.id, &act()).await.unwrap();
        books.agree("cancelled while its receipt was awaited").await;
        resolve(&one, true).await;
        books.agree("received after it was cancelled").await;

        // Sent once more.
        let mut child = transfer(None, &["x"]);
        child.transfer.parent = Some(one.transfer.id);
        child.transfer.payload = one.transfer.payload.clone();
        assert!(matches!(store.resubmit(vec![child], &act()).await.unwrap()[0].made, Ok(true)));
        books.agree("resubmitted").await;
        let again = claim_one(store, &n1).await;
        end(store, &again, delivered(), EventKind::DeliveryDelivered).await;
        books.agree("delivered once more").await;

        // What came with the answer, and the end of what is kept.
        let one = one_claimed(store, &n1, "replied").await;
        let mut reply = transfer(None, &[]);
        (reply.transfer.kind, reply.transfer.state, reply.transfer.parent) = (TransferKind::Reply, TransferState::Held, Some(one.transfer.id));
        let event = |kind, of| AuditEvent::new(EventId::new(Uuid::now_v7()), now(), node("n1"), kind).transfer(of);
        let events = vec![
            event(EventKind::DeliveryDelivered, one.transfer.id).delivery(one.delivery.id),
            event(EventKind::TransferHeld, reply.transfer.id),
        ];
        let finish = Finish::Delivered { receipt: receipt(true), replies: vec![reply] };
        store.finish(&one.claim, finish, now(), events).await.unwrap();
        books.agree("replied").await;
        removed_payload(store, &one).await;
        books.agree("payload removed").await;

        // Receipts that are sent later: with a message, with a refusal, and again for a repeated message.
        let later_receipt = |offer| {
            let mut new = transfer(offer, &["acme-as2"]);
            (new.transfer.kind, new.transfer.flow) = (TransferKind::Receipt, "listener:as2".into());
            new
        };
        let recording = |new: &NewTransfer| event(EventKind::TransferRecorded, new.transfer.id);
        let reply = || crate::Reply { head: serde_json::json!({ "status": 200 }), body: vec![] };
        for key in ["received", "refused"] {
            store.intake_begin(&n1, key, now()).await.unwrap();
        }
        let received = offer("received");
        let new = later_receipt(Some(received.id));
        let mut part = transfer(Some(received.id), &[]);
        part.transfer.state = TransferState::Held;
        let events = vec![event(EventKind::TransferHeld, part.transfer.id), recording(&new)];
        let commit = crate::IntakeCommit { answer_until: None, lease: n1.clone(), key: "received".into(), offer: received, transfers: vec![part, new], reply: reply(), content: None, evidence: None, events, now: now() };
        assert_eq!(store.intake_commit(commit).await.unwrap(), crate::IntakeCommitted::Committed);
        books.agree("a receipt to send").await;
        let one = claim_one(store, &n1).await;
        end(store, &one, failed(false), EventKind::DeliveryFailed).await;
        let new = later_receipt(None);
        // Not at once after one that failed.
        let later = now() + std::time::Duration::from_secs(120);
        assert!(store.repeat_receipts("received", vec![new.clone()], vec![recording(&new)], later).await.unwrap());
        let new = later_receipt(None);
        let events = vec![recording(&new)];
        assert!(store.intake_refuse(&n1, "refused", Some(reply()), vec![new], events, now()).await.unwrap());
        books.agree("two more receipts to send").await;
        for one in claim(store, &n1).await {
            end(store, &one, delivered(), EventKind::DeliveryDelivered).await;
        }
        books.agree("receipts sent").await;

        // What this version cannot read is put off.
        let new = transfer(None, &["x"]);
        told(store, &n1, "unreadable", &new).await;
        store.tamper("UPDATE transfers SET kind = 'riddle' WHERE state = 'delivering'").await;
        assert!(claim(store, &n1).await.is_empty());
        store.tamper("UPDATE transfers SET kind = 'payload' WHERE kind = 'riddle'").await;
        books.agree("put off").await;
    }

    users_revisions_and_suspensions_have_their_last_event_whatever_was_removed(store) {
        let books = books(store).await;
        let n1 = node("n1");
        let days = |n| now() + chrono::TimeDelta::days(n);
        // The month goes in which they were made, and later that in which their record was carried over.
        for at in [days(70), days(140)] {
            let months = books.store.remove_audit_before(at, at, &n1, &books.key, Uuid::now_v7).await.unwrap();
            assert!(months.iter().any(|month| month.kept.is_none() && month.events > 0), "{months:?}");
            books.store.seal_all(at, &books.key).await;
            let report = books.verify(&RowOptions::default()).await;
            assert!(report.holds(), "{:?}", report.findings);
            assert_eq!((report.rows["users"], report.rows["revisions"], report.rows["suspensions"]), (2, 1, 2));
        }
        let event = AuditEvent::new(EventId::new(Uuid::now_v7()), days(141), n1.clone(), EventKind::UserChanged);
        let change = crate::UserChange { role: Some(Role::Operator), ..crate::UserChange::default() };
        books.store.change_user("ada", change, days(141), vec![event]).await.unwrap();
        let event = AuditEvent::new(EventId::new(Uuid::now_v7()), days(141), n1.clone(), EventKind::UserChanged);
        books.store.remove_user("bob", vec![event]).await.unwrap();
        books.store.seal_all(days(141), &books.key).await;
        let at = days(210);
        books.store.remove_audit_before(at, at, &n1, &books.key, Uuid::now_v7).await.unwrap();
        let report = books.verify(&RowOptions::default()).await;
        assert!(report.holds(), "{:?}", report.findings);
        for (table, sql) in [
            ("users", "UPDATE users SET role = 'admin' WHERE name = 'ada'"),
            ("users", "UPDATE users SET role = 'operator' WHERE name = 'ada'"),
            ("users", "INSERT INTO users SELECT 'bob', password_hash, role, disabled, created_at, changed_at FROM users"),
            ("users", "DELETE FROM users WHERE name = 'bob'"),
            ("suspensions", "UPDATE suspensions SET in_force = FALSE WHERE kind = 'flow'"),
            ("suspensions", "UPDATE suspensions SET in_force = TRUE WHERE kind = 'flow'"),
            ("revisions", "UPDATE revisions SET author = 'user:eve'"),
            ("revisions", "UPDATE revisions SET author = 'system'"),
            ("revisions", "INSERT INTO revisions SELECT 2, OTHER, applied_at, author, kind, source, summary, digest FROM revisions"),
        ] {
            let other = if books.store.url.starts_with("sqlite:") { "x'00'" } else { "gen_random_uuid()" };
            books.store.tamper(&sql.replace("OTHER", other)).await;
            let findings = books.verify(&RowOptions::default()).await.findings;
            let restores = sql.contains("'operator'") || sql.contains("'system'") || sql.contains("TRUE") || sql.starts_with("DELETE");
            let named = findings.iter().any(|finding| matches!(finding, Finding::Row { table: named, .. } if *named == table));
            assert_eq!(named, !restores, "{sql}: {findings:?}");
        }
    }

    users_changed_by_nodes_with_unlike_clocks_agree(store) {
        let books = books(store).await;
        let fast = now() + chrono::TimeDelta::seconds(3);
        let event = |node: &str, at| AuditEvent::new(EventId::new(Uuid::now_v7()), at, node.parse().unwrap(), EventKind::UserChanged);
        let disabled = |disabled| crate::UserChange { disabled: Some(disabled), ..crate::UserChange::default() };
        // A node that is ahead changes one and removes the other, and a node behind it comes later.
        books.store.change_user("ada", disabled(true), fast, vec![event("n2", fast)]).await.unwrap();
        books.store.change_user("ada", disabled(false), now(), vec![event("n1", now())]).await.unwrap();
        books.store.remove_user("bob", vec![event("n2", fast)]).await.unwrap();
        let bob = NewUser { name: "bob".into(), password_hash: Secret::new("$argon2".into()), role: Role::Operator };
        books.store.create_user(bob, now(), vec![event("n1", now())]).await.unwrap();
        books.store.seal_all(now(), &books.key).await;
        books.agree("changed").await;
        for days in [70, 140] {
            let at = now() + chrono::TimeDelta::days(days);
            let months = books.store.remove_audit_before(at, at, &node("n1"), &books.key, Uuid::now_v7).await.unwrap();
            assert!(months.iter().any(|month| month.kept.is_none() && month.events > 0), "{months:?}");
            books.store.seal_all(at, &books.key).await;
            books.agree("carried over").await;
        }
        books.store.tamper("UPDATE users SET role = 'admin' WHERE name = 'bob'").await;
        assert!(!books.verify(&RowOptions::default()).await.holds());
        books.store.tamper("UPDATE users SET role = 'operator' WHERE name = 'bob'").await;
        // Removed by the node that is ahead, after the other one changed it, or before: nothing is missed.
        books.store.remove_user("ada", vec![event("n1", now())]).await.unwrap();
        books.agree("removed").await;
    }

    a_transfer_whose_bytes_outlived_the_month_of_its_recording_is_retired(store) {
        let books = books(store).await;
        let n1 = lease(&books.store, "n1").await;
        told(&books.store, &n1, "kept long", &transfer(None, &["x"])).await;
        let claimed = claim(&books.store, &n1).await;
        let one = claimed.into_iter().find(|one| one.claim.attempt == 1).unwrap();
        end(&books.store, &one, delivered(), EventKind::DeliveryDelivered).await;
        books.store.seal_all(now(), &books.key).await;
        let report = books.verify(&RowOptions::default()).await;
        let transfers = report.rows["transfers"];
        // The bytes go in a later month, which is still there when the first one goes.
        let later = now() + chrono::TimeDelta::days(40);
        removed_payload_at(&books.store, &one, later).await;
        books.store.seal_all(later, &books.key).await;
        books.agree("payload removed in a later month").await;
        let node = node("n1");
        let months = books.store.remove_audit_before(later, later, &node, &books.key, Uuid::now_v7).await.unwrap();
        assert!(months.iter().all(|month| month.kept.is_none()), "{months:?}");
        books.store.seal_all(later, &books.key).await;
        let report = books.verify(&RowOptions::default()).await;
        assert!(report.holds(), "{:?}", report.findings);
        // And a connection that is still open, an endpoint that was set online again, and a known host that was removed.
        assert_eq!(report.retired, transfers + 3);
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

    steps_agree_with_their_events_and_what_was_changed_is_found(store) {
        let key = SealKey::load_or_create(&store.dir.path().join("key")).unwrap();
        let lease = lease(&store, "n1").await;
        let books = Books { store, key };
        let store = &books.store;
        let (x, failed) = ("x", recorded_with_steps(store, &lease, "b", &["y"], |_| {}).await);
        let steps = claim_one_steps(store, &lease).await;
        store.end_steps(&steps.claim, steps_failed(&lease, &steps), now()).await.unwrap();
        books.agree("failed steps").await;
        recorded_with_steps(store, &lease, "a", &[x, "plain"], |_| {}).await;
        books.agree("waiting for steps").await;
        let steps = claim_one_steps(store, &lease).await;
        let (end, payload) = steps_done(&lease, &steps);
        store.end_steps(&steps.claim, end, now()).await.unwrap();
        books.agree("done").await;
        let act = Act::new(Actor::User("ada".into()), node("n1"), now());
        store.retry_transfer(failed.transfer.id, &act, None).await.unwrap();
        books.agree("to be done again").await;
        let made = match store.backend() {
            crate::Backend::Sqlite => format!("x'{}'", payload.uuid().simple()),
            crate::Backend::Postgres => format!("'{payload}'"),
        };
        let received = "(SELECT payload_id FROM transfers t WHERE t.id = deliveries.transfer_id)";
        for (change, back) in [
            (format!("UPDATE payloads SET length = 7 WHERE id = {made}"), format!("UPDATE payloads SET length = 6 WHERE id = {made}")),
            (format!("UPDATE payloads SET made_by = 'x' WHERE id = {made}"),
             format!("UPDATE payloads SET made_by = 'convert_charset from ISO-8859-1 to UTF-8' WHERE id = {made}")),
            (format!("UPDATE deliveries SET payload_id = {received} WHERE payload_id = {made}"),
             format!("UPDATE deliveries SET payload_id = {made} WHERE endpoint = 'x'")),
            (format!("UPDATE deliveries SET payload_id = {made} WHERE endpoint = 'plain'"),
             format!("UPDATE deliveries SET payload_id = {received} WHERE endpoint = 'plain'")),
            ("UPDATE deliveries SET payload_id = NULL WHERE endpoint = 'plain'".to_owned(),
             format!("UPDATE deliveries SET payload_id = {received} WHERE endpoint = 'plain'")),
        ] {
            store.tamper(&change).await;
            assert!(!books.verify(&RowOptions::default()).await.holds(), "{change}");
            store.tamper(&back).await;
            books.agree(&back).await;
        }
    }
}
