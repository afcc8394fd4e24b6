//! Both databases have the same tables.

use crate::either::on;
use crate::testing::TestStore;
use std::collections::BTreeSet;

/// Tables and columns, without the partitions of a table and what the migrations keep for themselves.
async fn columns(store: &TestStore) -> BTreeSet<(String, String)> {
    let all: Vec<(String, String)> = on!(store.pool(),
        sqlite c => sqlx::query_as(
            "SELECT m.name, p.name FROM sqlite_schema m JOIN pragma_table_info(m.name) p \
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
            .fetch_all(c).await,
        postgres c => sqlx::query_as(
            "SELECT c.relname::text, a.attname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
             WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') \
             AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped")
            .fetch_all(c).await,
    )
    .unwrap();
    all.into_iter().filter(|(table, _)| table != "_sqlx_migrations").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_databases_have_the_same_tables_and_columns() {
    let (sqlite, mut postgres) =
        (columns(&TestStore::sqlite().await).await, columns(&TestStore::postgres().await).await);
    // Only there can the answer to a commit be lost.
    let all = postgres.len();
    postgres.retain(|(table, _)| table != "commits");
    assert_eq!(all - postgres.len(), 3);
    let differ: Vec<_> = sqlite.symmetric_difference(&postgres).collect();
    assert!(differ.is_empty(), "{differ:?}");
    assert!(sqlite.len() > 150, "{}", sqlite.len());
}
