//! A process that is killed in the middle of its writes: whatever was answered is in the file.

use super::writing::{Count, counted};
use crate::testing::TestStore;
use crate::{Store, StoreSettings};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

const CHILD: &str = "WAYBILL_TEST_CRASH_URL";

/// Writes from many tasks and says each answer, until it is killed.
async fn write_for_ever(url: &str) {
    let (store, _) = Store::open(&StoreSettings::new(url), Arc::new(Uuid::now_v7)).await.unwrap();
    let tasks: Vec<_> = (0..20)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                loop {
                    let lane = format!("t{task}");
                    let count = store.write(Count { lane, fails: false }).await.unwrap();
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "answered t{task} {count}").unwrap();
                    out.flush().unwrap();
                }
            })
        })
        .collect();
    futures::future::join_all(tasks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_a_kill() {
    if let Ok(url) = std::env::var(CHILD) {
        return write_for_ever(&url).await;
    }
    let test = TestStore::sqlite().await;
    test.close().await;
    let mut least: HashMap<String, i64> = HashMap::new();
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::crash::what_was_answered_survives_a_kill", "--nocapture"])
            .env(CHILD, &test.url)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut since = None;
        let mut answered = 0;
        for line in out.lines() {
            let line = line.unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            if let ["answered", lane, count] = words[..] {
                since.get_or_insert_with(Instant::now);
                answered += 1;
                least.insert(lane.to_owned(), count.parse().unwrap());
            }
            if since.is_some_and(|since| since.elapsed() > Duration::from_millis(150 + 40 * round)) {
                // Again and again until its output ends: what it still says was answered before.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(answered > 50, "{answered}");
        let (store, _) = Store::open(&StoreSettings::new(&test.url), Arc::new(Uuid::now_v7)).await.unwrap();
        for (lane, count) in &least {
            let found = counted(&store, lane).await.unwrap();
            // One more may have been committed and not told.
            assert!((*count..=count + 1).contains(&found), "{lane}: told {count}, found {found}");
        }
        store.close().await;
    }
}
