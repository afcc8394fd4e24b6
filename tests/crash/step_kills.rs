//! The gateway killed in the middle of steps: each file arrives once, converted, and nothing else ever appears.

use crate::Database;
use crate::books::Books;
use crate::kills::{flow, gateway};
use crate::traffic::Route;
use crate::victim::{Death, start_and_die, tail};
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

const DEATHS: [(&str, u64); 8] = [
    ("steps.claimed", 1),
    // In the middle of the file: it is read in pieces of 64 KiB.
    ("steps.reading", 4),
    ("steps.written", 1),
    ("steps.committed", 1),
    ("steps.made", 1),
    ("steps.recorded", 1),
    ("deliver.claimed", 1),
    ("finish.before", 1),
];

/// The most payloads without a row that one death leaves: those of four transfers whose steps ended and are not recorded,
/// and a file that was read and is not recorded. The sweep finds them.
const LEFT_BEHIND: usize = 5;

#[test]
fn kills_in_steps_on_sqlite() {
    run(Database::Sqlite);
}

#[test]
fn kills_in_steps_on_postgres() {
    run(Database::Postgres);
}

fn text(name: &str) -> String {
    format!("{name}: für Café\n").repeat(20_000)
}

fn run(database: Database) {
    let root = tempfile::tempdir().unwrap();
    let url = database.url("steps");
    let route = Route::make(root.path(), "converted", 0, 0);
    let mut gateway = gateway(root.path(), url.as_deref(), &[]);
    let steps = "ordered = true\nsteps = [{ convert_charset = { from = \"ISO-8859-1\" } }]";
    gateway.define("converted.toml", &flow(&route, steps));
    let mut names = BTreeSet::new();
    for (at, (point, count)) in DEATHS.into_iter().enumerate() {
        let name = format!("{at:02}.edi");
        let latin1: Vec<u8> = text(&name).chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        fs::write(root.path().join(&name), latin1).unwrap();
        fs::rename(root.path().join(&name), route.into.join(&name)).unwrap();
        names.insert(name);
        let died = start_and_die(&mut gateway, Death::At(point, count));
        assert!(died, "never came to {point} for time {count}\n{}", tail(&gateway));
    }
    gateway.start();
    gateway.wait_for("completed", names.len(), Duration::from_secs(60));
    let books = Books { gateway: &gateway, url: url.as_deref() };
    books.wait_until_settled();
    assert!(gateway.stop().success(), "{}", tail(&gateway));
    let there =
        fs::read_dir(&route.out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(there.collect::<BTreeSet<_>>(), names, "{}", tail(&gateway));
    for name in &names {
        assert!(
            fs::read_to_string(route.out.join(name)).unwrap() == text(name),
            "{name} is not what it should be"
        );
    }
    let books = Books { gateway: &gateway, url: url.as_deref() };
    let made = books.count("select count(*) from payloads where parent_id is not null");
    assert_eq!((books.count("select count(*) from transfers"), made), (names.len(), names.len()));
    let fans = fs::read_dir(gateway.directory().join("state/staging/payloads")).unwrap();
    let staged = fans.map(|fan| fs::read_dir(fan.unwrap().path()).unwrap().count()).sum::<usize>();
    assert!(
        (2 * names.len()..=2 * names.len() + DEATHS.len() * LEFT_BEHIND).contains(&staged),
        "{staged} payloads are staged for {} files",
        names.len()
    );
    println!("{database:?}: {} kills, audit {}", DEATHS.len(), books.assert_audit());
}
