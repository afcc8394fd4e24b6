//! The gateway killed in the middle of files that go straight from their source to their destination: each arrives once and
//! whole, its source goes when it has arrived, and nothing of it is ever staged.

use crate::Database;
use crate::books::Books;
use crate::kills::{flow, gateway};
use crate::traffic::Route;
use crate::victim::{Death, start_and_die, tail};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

const DEATHS: [(&str, u64); 15] = [
    ("record.before", 1),
    ("record.after", 1),
    ("deliver.claimed", 1),
    // In the middle of the file: it is read in pieces of at most 256 KiB.
    ("stream.reading", 3),
    ("stream.read", 1),
    ("stream.confirmed", 1),
    // The publication is noted, and then it is asked whether the node may still act.
    ("deliver.noting", 1),
    ("deliver.noted", 1),
    ("deliver.before_act", 1),
    // It is published, and the gateway does not know.
    ("deliver.sent", 1),
    ("finish.before", 1),
    ("finish.after", 1),
    ("settle.before", 1),
    ("settle.after", 1),
    // Once more: what an earlier attempt published is not read again.
    ("deliver.sent", 1),
];

#[test]
fn kills_of_streamed_files_on_sqlite() {
    run(Database::Sqlite);
}

#[test]
fn kills_of_streamed_files_on_postgres() {
    run(Database::Postgres);
}

fn content(at: usize) -> Vec<u8> {
    (0..(2_usize << 20) + at).map(|byte| u8::try_from((byte * 7 + byte / 251 + at) % 256).unwrap()).collect()
}

fn run(database: Database) {
    let root = tempfile::tempdir().unwrap();
    let url = database.url("stream");
    let route = Route::make(root.path(), "straight", 0, 0);
    let mut gateway = gateway(root.path(), url.as_deref(), &[]);
    let delete = "after = \"delete\"";
    let streamed = flow(&route, "").replace(delete, &format!("{delete}, stream = true"));
    gateway.define("straight.toml", &streamed);
    let mut put = BTreeMap::new();
    for (at, (point, count)) in DEATHS.into_iter().enumerate() {
        let name = format!("{at:02}.edi");
        fs::write(root.path().join(&name), content(at)).unwrap();
        fs::rename(root.path().join(&name), route.into.join(&name)).unwrap();
        put.insert(name, at);
        let died = start_and_die(&mut gateway, Death::At(point, count));
        assert!(died, "never came to {point} for time {count}\n{}", tail(&gateway));
        // Whatever has arrived is whole, and what has not is still at its source.
        for (name, at) in &put {
            let arrived = fs::read(route.out.join(name)).ok();
            assert!(arrived.is_none_or(|bytes| bytes == content(*at)), "{name} after {point}");
            assert!(route.out.join(name).exists() || route.into.join(name).exists(), "{name} after {point}");
        }
    }
    gateway.start();
    gateway.wait_for("completed", put.len(), Duration::from_secs(60));
    let books = Books { gateway: &gateway, url: url.as_deref() };
    books.wait_until_settled();
    assert!(gateway.stop().success(), "{}", tail(&gateway));
    let there = fs::read_dir(&route.out).unwrap().map(|entry| entry.unwrap());
    let there: BTreeMap<String, Vec<u8>> = there
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    assert!(there.keys().eq(put.keys()), "{:?}\n{}", there.keys(), tail(&gateway));
    for (name, at) in &put {
        assert!(there[name] == content(*at), "{name} is not what it should be");
    }
    assert_eq!(fs::read_dir(&route.into).unwrap().count(), 0, "each source was settled");
    // Nobody was sent anything twice in effect: each transfer has one receipt, of a file that one attempt published.
    let books = Books { gateway: &gateway, url: url.as_deref() };
    books.assert_audit();
    assert_eq!(books.count("select count(*) from transfers"), put.len());
    assert_eq!(books.count("select count(*) from payloads where streamed and sha256 is not null"), put.len());
    assert_eq!(books.count("select count(*) from audit_events where kind = 'transfer.streamed'"), put.len());
    let fans = fs::read_dir(gateway.directory().join("state/staging/payloads")).unwrap();
    assert_eq!(fans.map(|fan| fs::read_dir(fan.unwrap().path()).unwrap().count()).sum::<usize>(), 0);
}
