//! Searches through text: their indexes, and their ends.

use super::*;
use crate::{Store, StoreSettings, TextIndex};
use std::time::Instant;

async fn fill(store: &TestStore, count: i64) {
    let made = |n: i64| {
        AuditEvent::new(event(0).id, at(n), "n1".parse().unwrap(), EventKind::PollFailed)
            .detail("said", format!("number {n} of many"))
    };
    for from in (0..count).step_by(1000) {
        store.append_events((from..(from + 1000).min(count)).map(made).collect()).await.unwrap();
    }
}

/// What PostgreSQL would do if the tables were large: the way by the index, as looking through all rows is
/// not allowed.
async fn plan_by_index(store: &TestStore, query: Query) -> String {
    let mut connection = sqlx::PgConnection::connect(&store.url).await.unwrap();
    for off in ["seqscan", "indexscan", "indexonlyscan"] {
        let set = format!("SET enable_{off} = off");
        sqlx::query(AssertSqlSafe(set)).execute(&mut connection).await.unwrap();
    }
    let (sql, binds) = query.parts();
    let mut explain = sqlx::query(AssertSqlSafe(format!("EXPLAIN {sql}"))).persistent(false);
    for bind in binds {
        explain = match bind {
            Bind::Text(text) => explain.bind(text),
            Bind::Time(time) => explain.bind(time),
            Bind::Id(id) => explain.bind(id),
            Bind::Whole(number) => explain.bind(number),
        };
    }
    let rows = explain.fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_texts_are_found_by_their_index() {
    let store = TestStore::postgres().await;
    assert_eq!(*store.text_index(), TextIndex::Trigrams);
    // A month that is made later has its own.
    store.ensure_partitions(at(0)).await.unwrap();
    let text = |text: &str| Some(text.to_owned());
    let filter = EventFilter { text: text("850_1.edi"), ..EventFilter::default() };
    let plan = plan_by_index(&store, events(&store, &filter, Page::first(50))).await;
    for index in ["audit_events_2026_11_by_text", "audit_events_default_by_text"] {
        assert!(plan.contains(index), "{index} is not in:\n{plan}");
    }
    let filter = TransferFilter { name_contains: text("850_1"), ..TransferFilter::default() };
    let plan = plan_by_index(&store, transfers(&store, &filter, Page::first(50))).await;
    assert!(plan.contains("transfers_by_text"), "{plan}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_extension_all_rows_are_looked_through_and_it_is_said() {
    let store = TestStore::postgres().await;
    fill(&store, 10).await;
    store.tamper("DROP EXTENSION pg_trgm CASCADE").await;
    let TestStore { store: open, url, dir } = store;
    open.close().await;
    // Who may not make it.
    let role = format!("r{}", Uuid::new_v4().simple());
    let admin = TestStore { store: open, url: url.clone(), dir };
    admin
        .tamper(&format!(
            "CREATE ROLE {role} LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}; \
             GRANT USAGE, CREATE ON SCHEMA public TO {role}; REVOKE CREATE ON DATABASE {} FROM PUBLIC",
            url.rsplit('/').next().unwrap().split('?').next().unwrap()
        ))
        .await;
    let settings = StoreSettings::new(url.replacen("waybill@", &format!("{role}@"), 1));
    let (store, warnings) = Store::open(&settings, std::sync::Arc::new(Uuid::now_v7)).await.unwrap();
    assert!(matches!(store.text_index(), TextIndex::Missing(_)), "{:?}", store.text_index());
    let said = warnings.join("\n");
    assert!(said.contains("pg_trgm is missing") && said.contains("CREATE EXTENSION pg_trgm"), "{said}");
    let filter = EventFilter { text: Some("NUMBER 3".into()), ..EventFilter::default() };
    assert_eq!(store.events(&filter, Page::first(10)).await.unwrap().rows.len(), 1);
    store.close().await;
    // Who may makes it at the next start, with the indexes of what is there already.
    let (store, warnings) =
        Store::open(&StoreSettings::new(&url), std::sync::Arc::new(Uuid::now_v7)).await.unwrap();
    assert_eq!((store.text_index(), warnings.len()), (&TextIndex::Trigrams, 0), "{warnings:?}");
    let store = TestStore { store, url, dir: tempfile::tempdir().unwrap() };
    // Those of tables with rows a little later: nobody waits for them.
    until(async || usable_indexes(&store).await.contains(&"audit_events_default_by_text".to_owned())).await;
    let plan = plan_by_index(&store, events(&store, &filter, Page::first(50))).await;
    assert!(plan.contains("audit_events_default_by_text"), "{plan}");
}

/// The indexes for searching text that can be used.
async fn usable_indexes(store: &TestStore) -> Vec<String> {
    let mut connection = sqlx::PgConnection::connect(&store.url).await.unwrap();
    sqlx::query_scalar(
        "SELECT x.relname::text FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid \
         WHERE i.indisvalid AND x.relname LIKE '%_by_text' ORDER BY 1",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap()
}

async fn another(store: &TestStore, text_search_indexes: bool) -> Store {
    let settings = StoreSettings { text_search_indexes, ..StoreSettings::new(&store.url) };
    Store::open(&settings, std::sync::Arc::new(Uuid::now_v7)).await.unwrap().0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_was_cut_off_or_is_missing_is_made_beside_writers_by_one_node() {
    let store = TestStore::postgres().await;
    store.ensure_partitions(at(0)).await.unwrap();
    fill(&store, 100).await;
    crate::tests::fixture::recorded(&store, &crate::tests::fixture::lease(&store, "n1").await, "a", &["x"])
        .await;
    let all = usable_indexes(&store).await;
    assert_eq!(all.len(), 5, "{all:?}");
    // What a crash in the midst of it leaves; one that is gone; and a writer who keeps a table for long.
    store
        .tamper(
            "UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid IN \
               ('transfers_by_text'::regclass, 'audit_events_2026_12_by_text'::regclass); \
             DROP INDEX audit_events_2026_11_by_text",
        )
        .await;
    let mut writer = sqlx::PgConnection::connect(&store.url).await.unwrap();
    sqlx::raw_sql("BEGIN; UPDATE transfers SET updated_at = updated_at").execute(&mut writer).await.unwrap();
    // Nodes that start together wait neither for the writer nor for each other.
    let (first, second) = tokio::join!(another(&store, true), another(&store, true));
    fill(&store, 100).await;
    sqlx::raw_sql("COMMIT").execute(&mut writer).await.unwrap();
    until(async || usable_indexes(&store).await == all).await;
    // Whoever comes second leaves what the first has made.
    let made = oids(&store).await;
    until(async || builders(&store).await == 0).await;
    first.close().await;
    second.close().await;
    another(&store, true).await.close().await;
    assert_eq!(oids(&store).await, made);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_indexes_can_be_switched_off_and_on_again() {
    let store = TestStore::postgres().await;
    fill(&store, 10).await;
    let all = usable_indexes(&store).await;
    let off = another(&store, false).await;
    assert_eq!(*off.text_index(), TextIndex::Off);
    until(async || usable_indexes(&store).await.is_empty()).await;
    off.ensure_partitions(at(0)).await.unwrap();
    assert!(usable_indexes(&store).await.is_empty());
    let filter = EventFilter { text: Some("NUMBER 3".into()), ..EventFilter::default() };
    assert_eq!(off.events(&filter, Page::first(10)).await.unwrap().rows.len(), 1);
    off.close().await;
    let on = another(&store, true).await;
    until(async || usable_indexes(&store).await.len() == all.len() + 3).await;
    on.close().await;
}

/// What is on disk of each index.
async fn oids(store: &TestStore) -> Vec<(String, i64)> {
    let mut connection = sqlx::PgConnection::connect(&store.url).await.unwrap();
    sqlx::query_as(
        "SELECT relname::text, oid::bigint FROM pg_class WHERE relname LIKE '%_by_text' ORDER BY 1",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap()
}

/// Nodes that see to indexes now, or wait for their turn.
async fn builders(store: &TestStore) -> i64 {
    let mut connection = sqlx::PgConnection::connect(&store.url).await.unwrap();
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
         WHERE l.locktype = 'advisory' AND d.datname = current_database()",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap()
}

both! {
    a_search_finds_whatever_the_case(store) {
        fill(&store, 30).await;
        let found = async |text: &str| {
            let filter = EventFilter { text: Some(text.into()), ..EventFilter::default() };
            store.events(&filter, Page::first(10)).await.unwrap().rows.len()
        };
        assert_eq!(found("NUMBER 3 of").await, 1);
        assert_eq!(found("r 2").await, 10, "2 and 20 to 29, of these the first page");
        assert_eq!(found("%").await, 0);
        assert_eq!(found("3_of").await, 0);
    }

    words_are_found_as_they_are_shown(store) {
        let texts = ["C:\\data\\in", "no \"such\" file", "tab\there", "line\nbreak", "plain", "gr\u{fc}n/\u{1}"];
        let made = texts.iter().enumerate().map(|(n, text)| event(n as i64).detail("said", *text));
        let mut all: Vec<AuditEvent> = made.collect();
        all[4].peer = Some("[fe80::1%eth\\0]:22".into());
        store.append_events(all).await.unwrap();
        let found = async |text: &str| {
            let filter = EventFilter { text: Some(text.into()), ..EventFilter::default() };
            store.events(&filter, Page::first(10)).await.unwrap().rows.len()
        };
        for text in texts {
            assert_eq!(found(text).await, 1, "{text:?}");
        }
        for text in ["c:\\DATA", "\"such", "such\" F", "%eth\\0", "\t", "\\in"] {
            assert_eq!(found(text).await, 1, "{text:?}");
        }
        for text in ["C:\\other", "no \"one\"", "C:/data", "'", "\r"] {
            assert_eq!(found(text).await, 0, "{text:?}");
        }
    }

    a_nul_is_in_no_row(store) {
        fill(&store, 3).await;
        let lease = crate::tests::fixture::lease(&store, "n1").await;
        crate::tests::fixture::recorded(&store, &lease, "a", &["x"]).await;
        for odd in ["\0", "n\0", "a\0b", "\0n1"] {
            let odd = || Some(odd.to_owned());
            let all = EventFilter::default;
            for filter in [
                EventFilter { kind: odd(), ..all() },
                EventFilter { flow: odd(), ..all() },
                EventFilter { endpoint: odd(), ..all() },
                EventFilter { actor: odd(), ..all() },
                EventFilter { text: odd(), ..all() },
            ] {
                assert!(store.events(&filter, Page::first(9)).await.unwrap().rows.is_empty(), "{filter:?}");
            }
            let all = TransferFilter::default;
            for filter in [
                TransferFilter { flow: odd(), ..all() },
                TransferFilter { partner: odd(), ..all() },
                TransferFilter { name_contains: odd(), ..all() },
                TransferFilter { name_begins: odd(), ..all() },
            ] {
                assert!(store.transfers(&filter, Page::first(9)).await.unwrap().rows.is_empty(), "{filter:?}");
            }
            let all = ConnectionFilter::default;
            for filter in [
                ConnectionFilter { endpoint: odd(), ..all() },
                ConnectionFilter { address: odd(), ..all() },
            ] {
                assert!(store.connections(&filter, Page::first(9)).await.unwrap().rows.is_empty(), "{filter:?}");
            }
            assert!(store.user(&odd().unwrap()).await.unwrap().is_none());
            let by = crate::tests::fixture::node("n1");
            let receipt = crate::tests::fixture::receipt(true);
            let resolved = store.resolve(&odd().unwrap(), receipt, &by, vec![], at(0)).await.unwrap();
            assert_eq!(resolved, crate::Resolved::Unmatched);
        }
    }

    what_is_not_searched_to_its_end_is_said(store) {
        slow(&store).await;
        let mut settings = StoreSettings::new(&store.url);
        settings.search_within = Duration::from_millis(50);
        settings.beside_gateway = true;
        let (hasty, _) = Store::open(&settings, std::sync::Arc::new(Uuid::now_v7)).await.unwrap();
        let filter = EventFilter { text: Some("nobody says so".into()), ..EventFilter::default() };
        let listing = hasty.events(&filter, Page::first(10)).await.unwrap();
        assert_eq!(listing.ended_after, Some(Duration::from_millis(50)));
        assert!(listing.rows.is_empty() && listing.next.is_none());
        // The connection is as good as before.
        for _ in 0..10 {
            let first = hasty.transfers(&TransferFilter::default(), Page::first(1)).await.unwrap();
            assert!(first.ended_after.is_none());
        }
        hasty.close().await;
    }

    a_search_ends_when_nobody_waits_for_it(store) {
        slow(&store).await;
        let store = std::sync::Arc::new(store);
        let searching = std::sync::Arc::clone(&store);
        let search = tokio::spawn(async move {
            let filter = EventFilter { text: Some("nobody says so".into()), ..EventFilter::default() };
            searching.events(&filter, Page::first(10)).await
        });
        until(async || running(&store).await > 0).await;
        search.abort();
        let begun = Instant::now();
        until(async || running(&store).await == 0).await;
        // By itself it would have gone on for the whole of its time.
        assert!(begun.elapsed() < store.search_within() / 2, "{:?}", begun.elapsed());
    }
}

/// Makes each search take very long: a thousand million rows stand behind the trail's name.
async fn slow(store: &TestStore) {
    fill(store, 1000).await;
    store
        .tamper(
            "ALTER TABLE audit_events RENAME TO stored; \
             CREATE VIEW audit_events AS SELECT s.id, s.at, s.node, s.kind, s.severity, s.actor, s.flow, s.endpoint, \
             s.partner, s.transfer_id, s.delivery_id, s.connection_id, s.peer, s.detail || b.detail || c.detail AS detail \
             FROM stored s, stored b, stored c",
        )
        .await;
}

/// Searches that the database has in hand.
async fn running(store: &TestStore) -> i64 {
    if store.url.starts_with("sqlite:") {
        // Its turn is given back once its statement has ended.
        let all = 4;
        return all - i64::try_from(store.searches().available_permits()).unwrap();
    }
    let mut connection = sqlx::PgConnection::connect(&store.url).await.unwrap();
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' \
         AND query LIKE '%FROM audit_events%' AND pid <> pg_backend_pid()",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap()
}

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..1000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come to that in 10 s");
}
